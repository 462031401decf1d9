/** Unpacked trees that were damaged in every way, and repaired from another copy of their image. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Repair from "../../src/pipeline/Repair.ts"
import * as Workbench from "../fault/Workbench.ts"
import { everything, imageOf, seen, sourceOf, usable } from "../layout/unpacked.ts"
import { leaveDeadRun } from "../layout/writing.ts"
import { dir, file, hardlink } from "../rootfs/Layers.ts"

const repair = (target: string, source: string, options: Repair.RepairOptions = {}) =>
  Effect.gen(function* () {
    return yield* Repair.repair(yield* Layouts.locate(target), yield* Layouts.locate(source), options)
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

/** What the image itself has is not the damage's. */
const found = (verification: Parameters<typeof Workbench.findings>[0]) =>
  Workbench.findings(verification).filter(([check]) => check !== "tar.path-not-utf8")

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
const damages: ReadonlyArray<
  readonly [name: string, check: string, damage: (root: string) => void, anew: ReadonlyArray<string>]
> = [
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
const everyDamage = Effect.fnUntraced(function* (out: string, tree: string, source: string) {
  const whole = seen(tree)
  for (const [name, check, damage, anew] of damages) {
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
    fs.rmSync(path.join(out, "../stolen"), { force: true })
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
