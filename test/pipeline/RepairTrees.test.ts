/** Unpacked trees that were damaged in every way, and repaired from another copy of their image. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { unmount } from "../../src/layout/mounts/Mounting.ts"
import * as Overlay from "../../src/layout/mounts/Overlay.ts"
import * as Workbench from "../fault/Workbench.ts"
import { repair } from "../fault/Workbench.ts"
import { defaultAcl, everything, imageOf, mountable, seen, sourceOf, usable } from "../layout/unpacked.ts"
import { leaveDeadRun } from "../layout/writing.ts"
import { dir, file, hardlink, opaque, symlink, whiteout } from "../rootfs/Layers.ts"

/** What the image itself has is not the damage's. */
const found = (verification: Parameters<typeof Workbench.findings>[0]) =>
  Workbench.findings(verification).filter(([check]) => check !== "tar.path-not-utf8" && check !== "mounts.not-mounted")

/** Inode of every name below a directory; links are not followed. */
const inodes = (root: string): ReadonlyMap<string, string> => {
  const { stdout } = childProcess.spawnSync("find", [".", "-printf", "%p\\0%i\\0"], { cwd: root, encoding: "latin1" })
  const parts = stdout.split("\0")
  return new Map(
    Array.from({ length: (parts.length - 1) / 2 }, (_, index) => [parts[index * 2]!, parts[index * 2 + 1]!])
  )
}

const keepTime = (target: string, change: () => void): void => {
  const { atime, mtime } = fs.statSync(target)
  change()
  fs.utimesSync(target, atime, mtime)
}

/** What is done to the tree at `root`, and the names that then have to be others. */
type Damages = ReadonlyArray<
  readonly [name: string, check: string, damage: (root: string) => void, anew: ReadonlyArray<string>]
>

const damages: Damages = [
  [
    "other content of the same size",
    "rootfs.content-mismatch",
    (root) => keepTime(`${root}/etc/group`, () => Damage.flipByte(`${root}/etc/group`, 3)),
    ["etc/group"]
  ],
  [
    "a cut file",
    "rootfs.size-mismatch",
    (root) => keepTime(`${root}/suid`, () => fs.truncateSync(`${root}/suid`)),
    ["suid"]
  ],
  ["a lost file", "rootfs.missing", (root) => fs.rmSync(`${root}/caps`), ["caps"]],
  [
    "a lost name that is no UTF-8",
    "rootfs.missing",
    (root) => fs.rmSync(Buffer.from(`${root}/\xff\xfe`, "latin1")),
    ["\xff\xfe"]
  ],
  [
    "a lost directory with all below it",
    "rootfs.missing",
    (root) => fs.rmSync(`${root}/etc`, { recursive: true }),
    ["etc", "etc/passwd", "etc/group"]
  ],
  ["a lost FIFO", "rootfs.missing", (root) => fs.rmSync(`${root}/pipe`), ["pipe"]],
  ["a lost device", "rootfs.missing", (root) => fs.rmSync(`${root}/null`), ["null"]],
  [
    "another device",
    "rootfs.device-mismatch",
    (root) => {
      fs.rmSync(`${root}/null`)
      childProcess.execFileSync("mknod", ["-m", "660", `${root}/null`, "c", "1", "5"])
    },
    ["null"]
  ],
  ["a file too much", "rootfs.extra", (root) => fs.writeFileSync(`${root}/usr/intruder`, "x"), ["usr/intruder"]],
  [
    "a directory too much",
    "rootfs.extra",
    (root) => {
      fs.mkdirSync(`${root}/usr/deep/er`, { recursive: true })
      fs.writeFileSync(Buffer.from(`${root}/usr/deep/er/\xfe`, "latin1"), "x")
      fs.symlinkSync("/etc/passwd", `${root}/usr/deep/link`)
    },
    ["usr/deep", "usr/deep/er", "usr/deep/er/\xfe", "usr/deep/link"]
  ],
  ["other permissions", "rootfs.mode-mismatch", (root) => fs.chmodSync(`${root}/suid`, 0o755), []],
  ["other permissions of a directory", "rootfs.mode-mismatch", (root) => fs.chmodSync(`${root}/usr`, 0o700), []],
  ["another owner", "rootfs.owner-mismatch", (root) => fs.chownSync(`${root}/suid`, 1, 2), []],
  ["an owner other than root", "rootfs.owner-mismatch", (root) => fs.chownSync(`${root}/etc/group`, 1, 0), []],
  ["another owner of a directory", "rootfs.owner-mismatch", (root) => fs.chownSync(`${root}/etc`, 0, 2), []],
  ["another owner of a symlink", "rootfs.owner-mismatch", (root) => fs.lchownSync(`${root}/lib`, 1, 2), []],
  ["another mtime", "rootfs.mtime-mismatch", (root) => fs.utimesSync(`${root}/nanoseconds`, 1, 1), []],
  ["another mtime of a directory", "rootfs.mtime-mismatch", (root) => fs.utimesSync(`${root}/opaque`, 1, 1), []],
  ["another mtime of a symlink", "rootfs.mtime-mismatch", (root) => fs.lutimesSync(`${root}/lib`, 1, 1), []],
  [
    "a lost capability",
    "rootfs.xattr-mismatch",
    (root) => childProcess.execFileSync("setfattr", ["-x", "security.capability", `${root}/caps`]),
    []
  ],
  [
    "an attribute too much",
    "rootfs.xattr-mismatch",
    (root) => childProcess.execFileSync("setfattr", ["-n", "trusted.more", "-v", "x", `${root}/etc`]),
    []
  ],
  [
    "an attribute too much of a file with two names",
    "rootfs.xattr-mismatch",
    (root) => childProcess.execFileSync("setfattr", ["-n", "trusted.more", "-v", "x", `${root}/hard1`]),
    []
  ],
  [
    "another link target",
    "rootfs.link-mismatch",
    (root) => {
      fs.rmSync(`${root}/lib`)
      fs.symlinkSync("/etc", `${root}/lib`)
    },
    ["lib"]
  ],
  [
    "a file in a directory's place",
    "rootfs.type-mismatch",
    (root) => Damage.replaceByFile(`${root}/opaque`, Buffer.from("x")),
    ["opaque", "opaque/new"]
  ],
  [
    "a directory in a file's place",
    "rootfs.type-mismatch",
    (root) => {
      Damage.replaceByDirectory(`${root}/to-file`)
      fs.writeFileSync(`${root}/to-file/x`, "x")
    },
    ["to-file", "to-file/x"]
  ],
  ["a FIFO in a file's place", "rootfs.type-mismatch", (root) => Damage.replaceByFifo(`${root}/to-file`), ["to-file"]],
  [
    "a hardlink that is a file of its own",
    "rootfs.hardlink-mismatch",
    (root) => {
      fs.copyFileSync(`${root}/hard2`, `${root}/copy`)
      fs.renameSync(`${root}/copy`, `${root}/hard2`)
    },
    ["hard2"]
  ],
  [
    "a hardlink that is damaged",
    "rootfs.content-mismatch",
    (root) => keepTime(`${root}/hard1`, () => Damage.flipByte(`${root}/hard1`, 0)),
    ["hard1", "hard2"]
  ],
  ["a hardlink that is lost", "rootfs.missing", (root) => fs.rmSync(`${root}/hard1`), ["hard1"]],
  [
    "a hardlink to another file",
    "rootfs.hardlink-mismatch",
    (root) => {
      fs.rmSync(`${root}/to-file`)
      fs.linkSync(`${root}/to-dir/y`, `${root}/to-file`)
    },
    ["to-file"]
  ],
  [
    "a hardlink out of the tree",
    "rootfs.hardlink-mismatch",
    (root) => fs.linkSync(`${root}/suid`, path.join(root, "../../stolen")),
    ["suid"]
  ]
]

const names = (before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): ReadonlyArray<string> =>
  [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => name.slice(2))
    .sort()

/** Damages the tree in each way, and expects it to be as it was and nothing else to be touched. */
const everyDamage = Effect.fnUntraced(function* (out: string, tree: string, source: string, all: Damages = damages) {
  const whole = seen(tree)
  for (const [name, check, damage, anew] of all) {
    const before = inodes(tree)
    // A lost directory may come back at the very same inode.
    damage(tree)
    const damaged = inodes(tree)
    const dry = yield* repair(out, source, { dryRun: true })
    assert.deepStrictEqual(inodes(tree), damaged, name)
    const done = yield* repair(out, source)
    assert.include(
      found(done.before).map(([id]) => id),
      check,
      name
    )
    assert.deepStrictEqual(found(done.after), [], name)
    assert.deepStrictEqual(done.impossible, [], name)
    assert.deepStrictEqual(done.repaired, dry.repaired, name)
    assert.deepStrictEqual(seen(tree), whole, name)
    assert.includeMembers([...anew], names(damaged, inodes(tree)) as Array<string>, name)
    const untouched = names(before, inodes(tree)).filter((one) => !anew.includes(one))
    assert.deepStrictEqual(untouched, [], name)
    assert.deepStrictEqual(
      fs.readdirSync(out).filter((one) => one.startsWith(".tallyman")),
      [],
      name
    )
    fs.rmSync(path.join(tree, "../../stolen"), { force: true })
  }
})

describe.skipIf(!usable)("repairing a bundle", () => {
  for (const compression of ["none", "gzip"] as const) {
    it.scoped(`restores its tree, whatever happened to it (${compression})`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const out = path.join(directory, "out")
        const archive = sourceOf(directory, imageOf())
        yield* Workbench.processUris(archive, `oci-layout://${directory}/layout?compression=${compression}`, undefined)
        yield* Workbench.processUris(archive, `oci://${out}`, undefined)
        yield* everyDamage(out, `${out}/rootfs`, `${directory}/layout`)
      })
    )
  }

  it.scoped("restores everything at once, and a root that is lost or a symlink", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf())
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      const whole = seen(`${out}/rootfs`)
      // Each of them on what the others left.
      for (const [, , damage] of damages) {
        try {
          damage(`${out}/rootfs`)
        } catch {}
      }
      fs.rmSync(`${directory}/stolen`, { force: true })
      const all = yield* repair(out, source)
      assert.deepStrictEqual([found(all.after), all.impossible], [[], []])
      assert.deepStrictEqual(seen(`${out}/rootfs`), whole)
      const outside = path.join(directory, "outside")
      for (const damage of [
        () => fs.rmSync(`${out}/rootfs`, { recursive: true }),
        () => {
          fs.renameSync(`${out}/rootfs`, outside)
          fs.symlinkSync(outside, `${out}/rootfs`)
        },
        () => Damage.replaceByFile(`${out}/rootfs`, Buffer.from("x"))
      ]) {
        damage()
        const done = yield* repair(`oci://${out}`, source)
        assert.deepStrictEqual([found(done.after), done.repaired.map((one) => one.path)], [[], ["rootfs"]])
        assert.deepStrictEqual(seen(`${out}/rootfs`), whole)
      }
      assert.deepStrictEqual(seen(outside), whole)
    })
  )

  it.scoped("restores an attribute that was refused of other names alone", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const capability = new Map([
        ["security.capability", Buffer.from("0100000200200000000000000000000000000000", "hex")]
      ])
      const source = sourceOf(
        directory,
        imageOf([
          [
            file("caps", "c", { xattrs: capability }),
            // No system gives such an attribute to a symlink.
            symlink("link", "caps", { xattrs: new Map([["user.x", Buffer.from("x")]]) }),
            hardlink("another", "link")
          ]
        ])
      )
      for (const scheme of ["oci", "dir"] as const) {
        const out = path.join(directory, scheme)
        const uri = scheme === "oci" ? `oci://${out}` : `dir://${out}?expand=true`
        yield* Workbench.processUris(source, uri, undefined)
        const [root] = childProcess
          .execFileSync("find", [out, "-name", "caps", "-printf", "%h"], { encoding: "utf8" })
          .split("\n")
        const told = [["rootfs.unrestored", path.relative(out, root!)]] as const
        assert.deepStrictEqual(found(yield* Workbench.verifyTarget(out)), [...told])
        childProcess.execFileSync("setfattr", ["-x", "security.capability", `${root}/caps`])
        const lost = ["rootfs.xattr-mismatch", path.relative(out, `${root}/caps`)] as const
        assert.deepStrictEqual(found(yield* Workbench.verifyTarget(out)), [...told, lost])
        const { after, repaired } = yield* repair(out, source)
        assert.deepStrictEqual(
          repaired.map((one) => one.path),
          [lost[1]]
        )
        assert.deepStrictEqual(found(after), [...told])
      }
    })
  )

  it.scoped("goes on behind a name that nobody may change, and says which", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = sourceOf(directory, imageOf())
      const out = path.join(directory, "out")
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      const whole = seen(`${out}/rootfs`)
      const [group, suid] = [`${out}/rootfs/etc/group`, `${out}/rootfs/suid`]
      fs.writeFileSync(`${out}/../theirs`, "theirs")
      childProcess.execFileSync("mount", ["--bind", `${out}/../theirs`, group])
      keepTime(suid, () => fs.truncateSync(suid))
      const first = yield* Effect.ensuring(
        repair(out, source),
        Effect.sync(() => childProcess.execFileSync("umount", [group]))
      )
      assert.deepStrictEqual(
        first.repaired.map((one) => one.path),
        ["rootfs/suid"]
      )
      assert.deepStrictEqual(first.impossible, [
        { path: "rootfs/etc/group", reason: "it cannot be made or changed: EBUSY" }
      ])
      assert.deepStrictEqual(seen(`${out}/rootfs`), whole)
      assert.deepStrictEqual(found(yield* Workbench.verifyTarget(out)), [])
    })
  )

  it.scoped("gives a lost directory no ACL of the one above it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const xattrs = new Map([["system.posix_acl_default", defaultAcl]])
      const source = sourceOf(directory, imageOf([[dir("d/", { xattrs }), dir("d/e/"), file("d/e/f", "f")]]))
      const out = path.join(directory, "out")
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      const whole = seen(`${out}/rootfs`)
      keepTime(`${out}/rootfs/d`, () => fs.rmSync(`${out}/rootfs/d/e`, { recursive: true }))
      const { after, repaired } = yield* repair(out, source)
      assert.deepStrictEqual(
        repaired.map((one) => one.path),
        ["rootfs/d/e"]
      )
      assert.deepStrictEqual(found(after), [])
      assert.deepStrictEqual(seen(`${out}/rootfs`), whole)
    })
  )

  it.scoped("never writes through a symlink that stands in its way", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(
        directory,
        imageOf([[dir("./"), dir("a/"), dir("a/b/"), file("a/b/c", "c"), file("a/d", "d")]])
      )
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      const outside = path.join(directory, "outside")
      fs.mkdirSync(`${outside}/b`, { recursive: true })
      fs.writeFileSync(`${outside}/b/c`, "theirs")
      fs.rmSync(`${out}/rootfs/a`, { recursive: true })
      fs.symlinkSync(outside, `${out}/rootfs/a`)
      const before = seen(outside)
      const done = yield* repair(out, source)
      assert.deepStrictEqual(found(done.before), [
        ["rootfs.mtime-mismatch", "rootfs"],
        ["rootfs.type-mismatch", "rootfs/a"]
      ])
      assert.deepStrictEqual(found(done.after), [])
      assert.deepStrictEqual(seen(outside), before)
      assert.strictEqual(fs.readFileSync(`${out}/rootfs/a/b/c`, "utf8"), "c")
    })
  )

  it.scoped("restores its documents to the very bytes", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf(everything, { User: "app" }))
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      const documents = ["config.json", "container-config.json", "rootfs.mtree", "receipt.json"]
      const whole = new Map(documents.map((name) => [name, fs.readFileSync(`${out}/${name}`)]))
      const tree = inodes(`${out}/rootfs`)
      for (const name of documents) {
        for (const [what, damage] of Object.entries({
          flipped: (at: string) => Damage.flipByte(at, Math.floor(fs.statSync(at).size / 2)),
          cut: (at: string) => Damage.truncate(at, 20),
          emptied: (at: string) => Damage.truncate(at, 0),
          gone: Damage.remove,
          "a symlink": (at: string) => Damage.replaceBySymlink(at, "/etc/passwd"),
          "a directory": Damage.replaceByDirectory,
          "a FIFO": Damage.replaceByFifo
        })) {
          damage(`${out}/${name}`)
          const done = yield* repair(`oci://${out}`, source)
          assert.isNotEmpty(found(done.before), `${name} is ${what}`)
          assert.deepStrictEqual(found(done.after), [], `${name} is ${what}`)
          assert.deepStrictEqual(
            done.repaired.map((one) => one.path),
            [name],
            `${name} is ${what}`
          )
          for (const other of documents) {
            if (other === "receipt.json") continue
            assert.deepStrictEqual(fs.readFileSync(`${out}/${other}`), whole.get(other), `${name} is ${what}: ${other}`)
          }
        }
      }
      assert.deepStrictEqual(inodes(`${out}/rootfs`), tree)
      const receipt = (bytes: Buffer) => JSON.parse(bytes.toString()).predicate.receipt
      assert.deepStrictEqual(
        receipt(fs.readFileSync(`${out}/receipt.json`)).details,
        receipt(whole.get("receipt.json")!).details
      )
    })
  )

  it.scoped("restores a damaged receipt and a lost manifest of the tree at once", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf(everything))
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      Damage.flipByte(`${out}/receipt.json`, 100)
      Damage.remove(`${out}/rootfs.mtree`)
      const done = yield* repair(out, source)
      assert.deepStrictEqual(done.repaired.map((one) => one.path).sort(), ["receipt.json", "rootfs.mtree"])
      assert.isFalse(done.after.results.hasErrors)
    })
  )

  it.scoped("completes what a repair left that was cut off", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf())
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      const whole = seen(`${out}/rootfs`)
      leaveDeadRun(out, "receipt.json")
      fs.rmSync(`${out}/rootfs/caps`)
      const cut = yield* Workbench.verifyTarget(out, "fast")
      assert.deepInclude(found(cut), ["directory.incomplete", ".tallyman-run-1-aaaaaaaaaaaa.json"])
      assert.deepInclude(found(cut), ["directory.leftover", ".tallyman-run-1-aaaaaaaaaaaa.0.partial"])
      assert.isTrue(cut.results.hasErrors)
      const done = yield* repair(out, source)
      assert.deepStrictEqual(found(done.after), [])
      assert.deepStrictEqual(seen(`${out}/rootfs`), whole)
      assert.deepStrictEqual(
        fs.readdirSync(out).filter((one) => one.startsWith(".")),
        []
      )
    })
  )

  it.scoped("leaves alone what is to be tolerated", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf([[dir("./"), dir("etc/"), file("etc/x", "x"), file("y", "y")]]))
      yield* Workbench.processUris(source, `oci://${out}`, undefined)
      fs.writeFileSync(`${out}/rootfs/etc/hosts`, "127.0.0.1 me")
      fs.rmSync(`${out}/rootfs/y`)
      const done = yield* repair(out, source, { tolerances: ["runtime-files"] })
      assert.deepStrictEqual(
        done.repaired.map((one) => one.path),
        ["rootfs/y"]
      )
      assert.deepStrictEqual(found(done.after), [])
      assert.strictEqual(fs.readFileSync(`${out}/rootfs/etc/hosts`, "utf8"), "127.0.0.1 me")
      const strict = yield* repair(out, source)
      assert.include(
        strict.repaired.map((one) => one.path),
        "rootfs/etc/hosts"
      )
      assert.isFalse(fs.existsSync(`${out}/rootfs/etc/hosts`))
      assert.deepStrictEqual(found(strict.after), [])
    })
  )

  it.scoped("takes no other image, nothing from a damaged one, and changes nothing then", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const image = imageOf([[file("a", "a"), hardlink("b", "a")]])
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([image]))
      yield* Workbench.processUris(`tar://${source}`, `oci://${out}`, undefined)
      fs.writeFileSync(`${out}/rootfs/a`, "wrong")
      const before = seen(`${out}/rootfs`)
      const other = Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([imageOf()]), "other.tar")
      assert.deepInclude(yield* Effect.flip(repair(out, other)), { _tag: "SourceError", reason: "NoSuchImage" })
      Damage.flipByte(source, fs.readFileSync(source).indexOf("ustar"))
      const layers = fs.readFileSync(source)
      const at = layers.lastIndexOf("ustar")
      Damage.flipByte(source, at)
      assert.deepInclude(yield* Effect.flip(repair(out, source)), { _tag: "SourceError" })
      assert.deepStrictEqual(seen(`${out}/rootfs`), before)
      assert.deepStrictEqual(
        fs.readdirSync(out).filter((one) => one.startsWith(".")),
        []
      )
    })
  )
})

describe.skipIf(!usable)("repairing a directory with its tree", () => {
  it.scoped("restores the tree, whatever happened to it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf())
      yield* Workbench.processUris(source, `dir://${out}?expand=true`, undefined)
      yield* everyDamage(out, `${out}/manifest`, source)
    })
  )

  it.scoped("restores layers, documents and the tree together", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const image = imageOf()
      const source = sourceOf(directory, image)
      yield* Workbench.processUris(source, `dir://${out}?expand=true`, undefined)
      const whole = seen(`${out}/manifest`)
      const details = () => JSON.parse(fs.readFileSync(`${out}/receipt.json`, "utf8")).predicate.receipt.details
      const recorded = details()
      const layer = `${image.layers[0]!.diffId.slice(7)}/layer.tar`
      fs.rmSync(`${out}/manifest/caps`)
      Damage.remove(`${out}/${layer}`)
      Damage.truncate(`${out}/receipt.json`, 30)
      const done = yield* repair(out, source)
      assert.includeMembers(
        done.repaired.map((one) => one.path),
        ["manifest/caps", layer, "receipt.json"]
      )
      assert.deepStrictEqual([found(done.after), done.impossible], [[], []])
      assert.deepStrictEqual(seen(`${out}/manifest`), whole)
      assert.deepStrictEqual(details(), recorded)
      fs.rmSync(`${out}/manifest`, { recursive: true })
      const again = yield* repair(out, source)
      assert.deepStrictEqual(
        again.repaired.map((one) => one.path),
        ["manifest"]
      )
      assert.deepStrictEqual(found(again.after), [])
      assert.deepStrictEqual(seen(`${out}/manifest`), whole)
    })
  )

  it.scoped("of the older tool has its files again, and keeps the times that it gave", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf(everything))
      yield* Workbench.processUris(source, `dir://${out}?expand=true`, undefined)
      for (const name of ["receipt.json", "catalog.json"]) fs.rmSync(`${out}/${name}`)
      fs.lutimesSync(`${out}/manifest/lib`, 5, 5)
      fs.utimesSync(`${out}/manifest/usr`, 6, 6)
      const whole = seen(`${out}/manifest`)
      fs.rmSync(`${out}/manifest/usr/lib64`, { recursive: true })
      fs.utimesSync(`${out}/manifest/usr`, 6, 6)
      const done = yield* repair(out, source)
      assert.deepStrictEqual(
        done.repaired.map((one) => one.path),
        ["manifest/usr/lib64"]
      )
      assert.deepStrictEqual(found(done.after), [])
      assert.deepStrictEqual(seen(`${out}/manifest`), whole)
    })
  )
})

/** A lower layer with what the upper one hides, and that with every kind of file and every mark of overlay. */
const overlaid = [
  [dir("./"), dir("opaque/"), file("opaque/lower", "o"), dir("deep/"), file("deep/gone", "g"), file("gone", "g")],
  [
    ...everything[0]!.filter(({ path: name }) => !/^(?:opaque|to-|usr\/lib\/)/.test(name)),
    dir("opaque/"),
    opaque("opaque"),
    file("opaque/new", "n"),
    dir("to-dir/"),
    file("to-dir/y", "y"),
    file("to-file", "f"),
    dir("deep/"),
    whiteout("deep/gone"),
    whiteout("gone")
  ]
]

const inDirectory = (root: string, name: string, change: (at: string) => void): void =>
  keepTime(path.dirname(`${root}/${name}`), () => change(`${root}/${name}`))

/** What only a layer in overlay's form can lose. */
const overlayDamages: Damages = [
  ["a lost whiteout", "rootfs.missing", (root) => inDirectory(root, "deep/gone", fs.rmSync), ["deep/gone"]],
  [
    "a file in a whiteout's place",
    "rootfs.type-mismatch",
    (root) => inDirectory(root, "gone", (at) => Damage.replaceByFile(at, Buffer.from(""))),
    ["gone"]
  ],
  [
    "a whiteout as archives have it",
    "mounts.bad-whiteout",
    (root) =>
      inDirectory(root, "deep/gone", (at) => {
        fs.rmSync(at)
        fs.writeFileSync(`${root}/deep/.wh.gone`, "")
      }),
    ["deep/gone", "deep/.wh.gone"]
  ],
  [
    "another device as a whiteout",
    "rootfs.device-mismatch",
    (root) =>
      inDirectory(root, "gone", (at) => {
        fs.rmSync(at)
        childProcess.execFileSync("mknod", ["-m", "0", at, "c", "0", "1"])
        childProcess.execFileSync("touch", ["-d", "@0", at])
      }),
    ["gone"]
  ],
  [
    "a whiteout too much",
    "rootfs.extra",
    (root) => inDirectory(root, "usr/extra", (at) => childProcess.execFileSync("mknod", [at, "c", "0", "0"])),
    ["usr/extra"]
  ],
  [
    "an opaque directory that is none any more",
    "rootfs.xattr-mismatch",
    (root) => childProcess.execFileSync("setfattr", ["-x", "trusted.overlay.opaque", `${root}/opaque`]),
    []
  ],
  [
    "an opaque directory too much",
    "rootfs.xattr-mismatch",
    (root) => childProcess.execFileSync("setfattr", ["-n", "trusted.overlay.opaque", "-v", "y", `${root}/deep`]),
    []
  ],
  [
    "a directory that leads somewhere else",
    "rootfs.xattr-mismatch",
    (root) => childProcess.execFileSync("setfattr", ["-n", "trusted.overlay.redirect", "-v", "/etc", `${root}/deep`]),
    []
  ]
]

const layersOf = (out: string): ReadonlyArray<string> =>
  JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers

/** Mounts of these layers that were taken down, and their source. */
const unmounted = Effect.fnUntraced(function* (directory: string, layers = overlaid, name = "out") {
  const out = path.join(directory, name)
  const source = sourceOf(directory, imageOf(layers))
  yield* Effect.acquireRelease(Workbench.processUris(source, `mounts://${out}`, undefined), () =>
    Effect.ignore(unmount(out))
  )
  yield* unmount(out)
  return { out, source, layers: layersOf(out) }
})

/** Every layer's tree, and what is above them, without what the kernel notes in there when it mounts. */
const everythingIn = (out: string): ReadonlyArray<string> =>
  [...layersOf(out), "delta"]
    .flatMap((directory) => seen(`${out}/${directory}`))
    .filter((line) => !line.includes("trusted.overlay.uuid"))

describe.skipIf(!mountable)("repairing mounts", () => {
  it.scoped("restores a layer, whatever happened to it, and touches no other", () =>
    Effect.gen(function* () {
      const { layers, out, source } = yield* unmounted(yield* Workbench.scratch)
      const whole = seen(`${out}/rootfs`)
      const base = inodes(`${out}/${layers[0]}`)
      yield* everyDamage(out, `${out}/${layers[1]}`, source, [...damages, ...overlayDamages])
      assert.deepStrictEqual(inodes(`${out}/${layers[0]}`), base)
      Overlay.mount(out, layers, "trusted")
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs/opaque`), ["new"])
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs/deep`), [])
      assert.isFalse(fs.existsSync(`${out}/rootfs/gone`))
      assert.deepStrictEqual(found(yield* Workbench.verifyTarget(out)), [])
      yield* unmount(out)
      assert.deepStrictEqual(seen(`${out}/rootfs`), whole)
    })
  )

  it.scoped("restores the mark of a directory that no entry describes", () =>
    Effect.gen(function* () {
      const { layers, out, source } = yield* unmounted(yield* Workbench.scratch, [
        [file("d/old", "o")],
        [opaque("d"), file("d/new", "n")]
      ])
      const whole = everythingIn(out)
      childProcess.execFileSync("setfattr", ["-x", "trusted.overlay.opaque", `${out}/${layers[1]}/d`])
      const { after, before, impossible } = yield* repair(out, source)
      assert.deepStrictEqual(
        found(before).map(([check]) => check),
        ["rootfs.xattr-mismatch"]
      )
      assert.deepStrictEqual(found(after), [])
      assert.deepStrictEqual(impossible, [])
      assert.deepStrictEqual(everythingIn(out), whole)
    })
  )

  it.scoped("restores layers that are lost, several at once, and the directories of the mount", () =>
    Effect.gen(function* () {
      const { layers, out, source } = yield* unmounted(yield* Workbench.scratch)
      const whole = everythingIn(out)
      const [base, top] = layers as [string, string]
      const hex = path.dirname(base)
      const outside = path.join(out, "../outside")
      const losses: ReadonlyArray<readonly [damage: () => void, repaired: ReadonlyArray<string>]> = [
        [() => fs.rmSync(`${out}/${base}`, { recursive: true }), [base]],
        [() => fs.rmSync(`${out}/${hex}`, { recursive: true }), [base, `${base}.mtree`]],
        [() => Damage.replaceByFile(`${out}/${top}`, Buffer.from("x")), [top]],
        [
          () => {
            fs.renameSync(`${out}/${top}`, outside)
            fs.symlinkSync(outside, `${out}/${top}`)
          },
          [top]
        ],
        [
          () => {
            fs.rmSync(`${out}/${base}/gone`)
            fs.writeFileSync(`${out}/${top}/more`, "")
          },
          [base, top, `${base}/gone`, `${top}/more`]
        ],
        [() => fs.rmSync(`${out}/delta`, { recursive: true }), ["delta"]],
        [
          () => {
            fs.rmSync(`${out}/working`, { recursive: true })
            Damage.replaceBySymlink(`${out}/rootfs`, "/etc")
          },
          ["rootfs", "working"]
        ]
      ]
      for (const [damage, repaired] of losses) {
        damage()
        const done = yield* repair(`mounts://${out}`, source)
        assert.deepStrictEqual(done.repaired.map((one) => one.path).sort(), [...repaired].sort())
        assert.deepStrictEqual([found(done.after), done.impossible], [[], []])
        assert.deepStrictEqual(everythingIn(out), whole)
      }
      assert.isTrue(fs.existsSync(`${outside}/caps`))
      Overlay.mount(out, layers, "trusted")
      assert.deepStrictEqual(found(yield* Workbench.verifyTarget(out)), [])
    })
  )

  it.scoped("restores their documents to the very bytes, while they are mounted too", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { layers, out, source } = yield* unmounted(directory)
      Overlay.mount(out, layers, "trusted")
      const documents = [
        "config.json",
        "container-config.json",
        "manifest.json",
        "receipt.json",
        ...layers.map((layer) => `${layer}.mtree`)
      ]
      const whole = new Map(documents.map((name) => [name, fs.readFileSync(`${out}/${name}`)]))
      const files = new Map(layers.map((layer) => [layer, inodes(`${out}/${layer}`)]))
      for (const name of documents) {
        for (const [what, damage] of Object.entries({
          flipped: (at: string) => Damage.flipByte(at, Math.floor(fs.statSync(at).size / 2)),
          cut: (at: string) => Damage.truncate(at, 20),
          gone: Damage.remove,
          "a symlink": (at: string) => Damage.replaceBySymlink(at, "/etc/passwd"),
          "a directory": Damage.replaceByDirectory
        })) {
          damage(`${out}/${name}`)
          const done = yield* repair(`mounts://${out}`, source)
          assert.isNotEmpty(found(done.before), `${name} is ${what}`)
          assert.deepStrictEqual(
            Workbench.findings(done.after).filter(([id]) => id !== "tar.path-not-utf8"),
            []
          )
          assert.deepStrictEqual(
            done.repaired.map((one) => one.path),
            [name],
            `${name} is ${what}`
          )
          for (const other of documents) {
            if (other === "receipt.json") continue
            assert.deepStrictEqual(fs.readFileSync(`${out}/${other}`), whole.get(other), `${name} is ${what}: ${other}`)
          }
        }
      }
      for (const layer of layers) assert.deepStrictEqual(inodes(`${out}/${layer}`), files.get(layer))
      const receipt = (bytes: Buffer) => JSON.parse(bytes.toString()).predicate.receipt
      for (const field of ["details", "files", "names", "image"]) {
        assert.deepStrictEqual(
          receipt(fs.readFileSync(`${out}/receipt.json`))[field],
          receipt(whole.get("receipt.json")!)[field]
        )
      }
    })
  )

  it.scoped("refuses to change layers that are mounted, here or by another overlay", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { layers, out, source } = yield* unmounted(directory)
      const lost = `${out}/${layers[1]}/suid`
      fs.rmSync(lost)
      Overlay.mount(out, layers, "trusted")
      const dry = yield* repair(out, source, { dryRun: true })
      assert.include(
        dry.repaired.map((one) => one.path),
        `${layers[1]}/suid`
      )
      assert.deepStrictEqual(
        dry.impossible.map((one) => one.path),
        ["rootfs"]
      )
      const error = yield* Effect.flip(repair(out, source))
      assert.strictEqual(
        error.message,
        `cannot repair ${out}: rootfs: the layers are mounted, and must not be changed meanwhile: tallyman unmount ${out} first`
      )
      assert.isFalse(fs.existsSync(lost))
      yield* unmount(out)
      const other = path.join(directory, "other")
      fs.mkdirSync(other)
      const lower = [...layers].reverse().map((layer) => `${out}/${layer}`)
      childProcess.execFileSync("mount", ["-t", "overlay", "overlay", "-o", `lowerdir=${lower.join(":")}`, other])
      try {
        assert.match((yield* Effect.flip(repair(out, source))).message, / are mounted on .*\/other, and must not be /)
      } finally {
        childProcess.execFileSync("umount", [other])
      }
      const done = yield* repair(out, source)
      assert.deepStrictEqual(found(done.after), [])
      assert.isTrue(fs.existsSync(lost))
    })
  )

  it.scoped("keeps the marks of mounts without root, and layers that come again", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const again = [dir("./"), dir("d/"), file("d/x", "first")]
      const { layers, out, source } = yield* unmounted(directory, [
        again,
        [dir("./"), dir("d/"), opaque("d"), file("d/y", "y")],
        [],
        again,
        []
      ])
      assert.lengthOf(layers, 4)
      const whole = everythingIn(out)
      fs.rmSync(`${out}/${layers[3]}/d/x`)
      const done = yield* repair(out, source)
      assert.deepStrictEqual([found(done.after), everythingIn(out)], [[], whole])
      // As if it had been written by a user: other marks, and manifests and a receipt that tell of them.
      const opaqueDirectory = `${out}/${layers[1]}/d`
      childProcess.execFileSync("setfattr", ["-x", "trusted.overlay.opaque", opaqueDirectory])
      childProcess.execFileSync("setfattr", ["-n", "user.overlay.opaque", "-v", "y", opaqueDirectory])
      const manifest = `${out}/${layers[1]}.mtree`
      fs.writeFileSync(
        manifest,
        fs.readFileSync(manifest, "latin1").replace("trusted.overlay.opaque", "user.overlay.opaque"),
        "latin1"
      )
      fs.rmSync(`${out}/receipt.json`)
      assert.deepStrictEqual(
        (yield* repair(out, source)).repaired.map((one) => one.path),
        ["receipt.json"]
      )
      const users = everythingIn(out)
      childProcess.execFileSync("setfattr", ["-x", "user.overlay.opaque", opaqueDirectory])
      fs.rmSync(manifest)
      const mended = yield* repair(out, source)
      assert.deepStrictEqual(
        mended.repaired.map((one) => one.path).sort(),
        [`${layers[1]}.mtree`, `${layers[1]}/d`].sort()
      )
      assert.deepStrictEqual([found(mended.after), everythingIn(out)], [[], users])
    })
  )

  it.scoped("completes what a repair left that was cut off, and leaves alone what a container wrote", () =>
    Effect.gen(function* () {
      const { layers, out, source } = yield* unmounted(yield* Workbench.scratch)
      const whole = seen(`${out}/${layers[1]}`)
      fs.writeFileSync(`${out}/delta/theirs`, "x")
      leaveDeadRun(out, "receipt.json")
      fs.rmSync(`${out}/${layers[1]}/caps`)
      const cut = yield* Workbench.verifyTarget(out, "fast")
      assert.deepInclude(found(cut), ["directory.incomplete", ".tallyman-run-1-aaaaaaaaaaaa.json"])
      assert.isTrue(cut.results.hasErrors)
      const done = yield* repair(out, source)
      assert.deepStrictEqual(found(done.after), [["mounts.changed", "delta"]])
      assert.deepStrictEqual(seen(`${out}/${layers[1]}`), whole)
      assert.deepStrictEqual(fs.readdirSync(`${out}/delta`), ["theirs"])
      assert.deepStrictEqual(
        fs.readdirSync(out).filter((one) => one.startsWith(".")),
        []
      )
    })
  )

  it.scoped("does not make a bundle of what is left of them", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { out, source } = yield* unmounted(directory)
      for (const name of ["manifest.json", "working", "delta"]) fs.rmSync(`${out}/${name}`, { recursive: true })
      const names = () => fs.readdirSync(out, { recursive: true, encoding: "latin1" }).sort()
      const before = names()
      assert.match((yield* Effect.flip(repair(out, source))).message, /found the receipt of mounts:\/\/$/)
      assert.deepStrictEqual(names(), before)
      const { after } = yield* repair(`mounts://${out}`, source)
      assert.isFalse(after.results.hasErrors)
    })
  )

  it.scoped("takes no other image, changes nothing then, and does not go through a symlink", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { layers, out, source } = yield* unmounted(directory)
      fs.rmSync(`${out}/${layers[1]}/caps`)
      const before = everythingIn(out)
      const other = Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([imageOf(everything)]), "other.tar")
      assert.deepInclude(yield* Effect.flip(repair(out, other)), { _tag: "SourceError", reason: "NoSuchImage" })
      assert.deepStrictEqual(everythingIn(out), before)
      const hex = path.dirname(layers[1]!)
      const outside = path.join(directory, "outside")
      fs.renameSync(`${out}/${hex}`, outside)
      fs.symlinkSync(outside, `${out}/${hex}`)
      const theirs = seen(outside)
      const done = yield* repair(out, source)
      assert.include(
        done.impossible.map((one) => `${one.path}: ${one.reason}`),
        `${layers[1]}: ${hex} is no directory`
      )
      assert.isTrue(done.after.results.hasErrors)
      assert.deepStrictEqual(seen(outside), theirs)
    })
  )
})
