import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ImageBuilder from "../../../src/fault/ImageBuilder.ts"
import * as BundleVerifier from "../../../src/layout/runtime-bundle/BundleVerifier.ts"
import * as Libc from "../../../src/rootfs/Libc.ts"
import {
  archiveAt,
  findings,
  pool,
  processUris,
  scratch,
  tallyman,
  verifyTarget,
  withScratch
} from "../../fault/Workbench.ts"
import { peerTest, run } from "../../peers/Peers.ts"
import { dir, file, hardlink, type Member, symlink, tar, whiteout } from "../../rootfs/Layers.ts"
import { defaultAcl, everything, imageOf, seen, sourceOf, unpacked, usable } from "../unpacked.ts"
import { leaveDeadRun } from "../writing.ts"

const json = (...parts: ReadonlyArray<string>) => JSON.parse(fs.readFileSync(path.join(...parts), "utf8"))

describe.skipIf(!usable)("a runtime bundle", () => {
  it.scoped("holds the tree, both configurations, manifest and receipt, and nothing of the layers", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const image = imageOf(everything, {
        User: "app",
        Env: ["PATH=/bin", "A=b"],
        WorkingDir: "/srv",
        Labels: { l: "v" }
      })
      const out = yield* unpacked(directory, "oci", image)
      assert.deepStrictEqual(fs.readdirSync(out).sort(), [
        "config.json",
        "container-config.json",
        "receipt.json",
        "rootfs",
        "rootfs.mtree"
      ])
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), ["image.tar", "out"])
      assert.deepStrictEqual(fs.readFileSync(path.join(out, "container-config.json")), Buffer.from(image.config))
      const { annotations, process } = json(out, "config.json")
      assert.deepStrictEqual(process.user, { uid: 1000, gid: 1001, additionalGids: [50] })
      assert.deepStrictEqual(process.args, ["sh"])
      assert.deepStrictEqual(process.env, ["PATH=/bin", "A=b"])
      assert.strictEqual(process.cwd, "/srv")
      assert.strictEqual(annotations.l, "v")
      for (const depth of ["fast", "full"] as const) {
        assert.deepStrictEqual(
          findings(yield* verifyTarget(out, depth)).filter(([check]) => check !== "tar.path-not-utf8"),
          []
        )
      }
    })
  )

  it.scoped("does not say that its user is unknown to who may not look him up", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = path.join(directory, "out")
      yield* processUris(sourceOf(directory, imageOf(everything, { User: "app" })), `oci://${out}`)
      fs.chmodSync(directory, 0o755)
      fs.chmodSync(`${out}/rootfs`, 0o700)
      process.setegid!(65534)
      process.seteuid!(65534)
      const told = yield* Effect.ensuring(
        verifyTarget(out, "fast"),
        Effect.sync(() => {
          process.seteuid!(0)
          process.setegid!(0)
        })
      )
      assert.includeDeepMembers([...findings(told)], [["bundle.unreadable", "rootfs"]])
      assert.notInclude(
        findings(told).map(([check]) => check),
        "bundle.unresolvable-user"
      )
    })
  )

  it.scoped("takes over no ACL of the directory that it is written into", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const acl = defaultAcl.toString("latin1")
      assert.strictEqual(Libc.load()!.lsetxattr(Libc.path(Buffer.from(directory)), "system.posix_acl_default", acl), 0)
      const out = path.join(directory, "out")
      yield* processUris(sourceOf(directory, imageOf()), `oci://${out}`)
      assert.deepStrictEqual(
        findings(yield* verifyTarget(out, "full")).filter(([check]) => check !== "tar.path-not-utf8"),
        []
      )
    })
  )

  it.scoped("is not written over anything", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const source = sourceOf(directory, imageOf())
      const out = path.join(directory, "out")
      fs.mkdirSync(out)
      yield* processUris(source, `oci://${out}`)
      // As if that run had been killed when its output was in place.
      leaveDeadRun(directory, "out")
      const again = yield* Effect.flip(processUris(source, `oci://${out}`))
      assert.strictEqual(again._tag, "WriteError")
      assert.match(again.message, /expected nothing or an empty directory, found "config\.json"/)
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), ["image.tar", "out"])
    })
  )

  for (const compression of ["none", "gzip"] as const) {
    it.scoped(`is not written from a damaged layer (${compression})`, () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const layout = path.join(directory, "layout")
        const archive = archiveAt(directory, ImageBuilder.dockerDigestNames([imageOf()]))
        yield* processUris(`tar://${archive}`, `oci-layout://${layout}?compression=${compression}`)
        const blobs = path.join(layout, "blobs/sha256")
        const [largest] = fs
          .readdirSync(blobs)
          .sort((a, b) => fs.statSync(path.join(blobs, b)).size - fs.statSync(path.join(blobs, a)).size)
        const bytes = fs.readFileSync(path.join(blobs, largest!))
        bytes[Math.floor(bytes.length / 3)]! ^= 1
        fs.writeFileSync(path.join(blobs, largest!), bytes)
        const failed = yield* Effect.flip(processUris(`oci-layout://${layout}`, `oci://${path.join(directory, "out")}`))
        assert.strictEqual(failed._tag, "SourceError")
        assert.deepStrictEqual(fs.readdirSync(directory).sort(), ["image.tar", "layout"])
      })
    )
  }

  it.scoped("needs the image's user to be in the image", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const source = sourceOf(directory, imageOf(everything, { User: "nobody" }))
      const failed = yield* Effect.flip(processUris(source, `oci://${path.join(directory, "out")}`))
      assert.strictEqual(failed._tag, "SourceError")
      assert.match(failed.message, /\/etc\/passwd has no user "nobody"/)
      assert.deepStrictEqual(fs.readdirSync(directory), ["image.tar"])
    })
  )

  it.scoped("looks the user up inside the image, wherever its symlinks lead", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const outside = path.join(directory, "passwd")
      fs.writeFileSync(outside, "evil:x:0:0::/:/bin/sh\n")
      const image = (layer: ReadonlyArray<Member>, user: string) => imageOf([layer], { User: user })
      const escaping = [dir("etc/"), symlink("etc/passwd", `../../../../../..${outside}`)]
      const failed = yield* Effect.flip(
        processUris(sourceOf(directory, image(escaping, "evil")), `oci://${directory}/a`)
      )
      assert.match(failed.message, /has no user "evil"/)
      const inside = [
        dir("etc/"),
        symlink("etc/passwd", "/data/users"),
        dir("data/"),
        file("data/users", "me:x:7:8::/:\n")
      ]
      yield* processUris(sourceOf(directory, image(inside, "me")), `oci://${directory}/b`)
      assert.deepStrictEqual(json(directory, "b/config.json").process.user, { uid: 7, gid: 8 })
    })
  )
})

const root = "rootfs"

/** A damage of one file of the tree, and everything that is to be said of it. */
const damages: ReadonlyArray<
  readonly [name: string, damage: (out: string) => void, ReadonlyArray<readonly [string, string]>]
> = [
  [
    "content of the same size",
    (out) => rewrite(`${out}/rootfs/etc/group`, "X"),
    [["rootfs.content-mismatch", "etc/group"]]
  ],
  [
    "a cut file",
    (out) => keepTime(`${out}/rootfs/etc/group`, (at) => fs.truncateSync(at, 3)),
    [["rootfs.size-mismatch", "etc/group"]]
  ],
  ["permissions", (out) => fs.chmodSync(`${out}/rootfs/suid`, 0o755), [["rootfs.mode-mismatch", "suid"]]],
  ["an owner", (out) => fs.chownSync(`${out}/rootfs/etc/group`, 5, 0), [["rootfs.owner-mismatch", "etc/group"]]],
  [
    "an mtime",
    (out) => fs.utimesSync(`${out}/rootfs/hard1`, 1, 1),
    [
      ["rootfs.mtime-mismatch", "hard1"],
      ["rootfs.mtime-mismatch", "hard2"]
    ]
  ],
  [
    "nanoseconds",
    (out) => fs.utimesSync(`${out}/rootfs/nanoseconds`, 1_600_000_000, 1_600_000_000),
    [["rootfs.mtime-mismatch", "nanoseconds"]]
  ],
  [
    "a symlink",
    (out) => inPlace(out, "", () => replaceLink(`${out}/rootfs/lib`, "usr/lib64")),
    [["rootfs.link-mismatch", "lib"]]
  ],
  [
    "a missing file",
    (out) => inPlace(out, "etc", () => fs.rmSync(`${out}/rootfs/etc/group`)),
    [["rootfs.missing", "etc/group"]]
  ],
  [
    "an added file",
    (out) => inPlace(out, "etc", () => fs.writeFileSync(`${out}/rootfs/etc/new`, "")),
    [["rootfs.extra", "etc/new"]]
  ],
  [
    "a lost directory",
    (out) => inPlace(out, "usr", () => fs.rmSync(`${out}/rootfs/usr/lib64`, { recursive: true })),
    [["rootfs.missing", "usr/lib64"]]
  ],
  [
    "another type",
    (out) => inPlace(out, "", () => replaceByDirectory(`${out}/rootfs/pipe`)),
    [["rootfs.type-mismatch", "pipe"]]
  ],
  [
    "a device's numbers",
    (out) => inPlace(out, "", () => replaceDevice(`${out}/rootfs/null`)),
    [["rootfs.device-mismatch", "null"]]
  ],
  [
    "a lost capability",
    (out) => {
      Libc.load()!.lremovexattr(Libc.path(Buffer.from(`${out}/rootfs/caps`)), "security.capability")
    },
    [["rootfs.xattr-mismatch", "caps"]]
  ],
  [
    "hardlinks apart",
    (out) => inPlace(out, "", () => separate(`${out}/rootfs/hard2`)),
    [["rootfs.hardlink-mismatch", "hard2"]]
  ],
  [
    "a whiteout that took its sibling",
    (out) => inPlace(out, "usr", () => fs.rmSync(`${out}/rootfs/usr/lib64`, { recursive: true })),
    [["rootfs.missing", "usr/lib64"]]
  ]
]

const times = (stat: fs.Stats) => [stat.atimeMs / 1000, stat.mtimeMs / 1000] as const

const keepTime = (at: string, change: (at: string) => void): void => {
  const [atime, mtime] = times(fs.lstatSync(at))
  change(at)
  fs.lutimesSync(at, atime, mtime)
}

/** Changes names of a directory, which then has its old time again. */
const inPlace = (out: string, directory: string, change: () => void): void =>
  keepTime(path.join(out, root, directory), () => change())

const rewrite = (at: string, start: string): void =>
  keepTime(at, () => {
    const fd = fs.openSync(at, "r+")
    fs.writeSync(fd, start, 0)
    fs.closeSync(fd)
  })

const replaceLink = (at: string, target: string): void => {
  const [atime, mtime] = times(fs.lstatSync(at))
  fs.rmSync(at)
  fs.symlinkSync(target, at)
  fs.lutimesSync(at, atime, mtime)
}

const replaceByDirectory = (at: string): void => {
  fs.rmSync(at)
  fs.mkdirSync(at)
}

const replaceDevice = (at: string): void => {
  const stat = fs.lstatSync(at)
  fs.rmSync(at)
  Libc.load()!.mknod(Libc.path(Buffer.from(at)), "char", 0o660, 1, 5)
  fs.chmodSync(at, stat.mode & 0o7777)
  fs.lutimesSync(at, ...times(stat))
}

const separate = (at: string): void => {
  const stat = fs.lstatSync(at)
  const bytes = fs.readFileSync(at)
  fs.rmSync(at)
  fs.writeFileSync(at, bytes)
  fs.chmodSync(at, stat.mode & 0o7777)
  fs.lutimesSync(at, ...times(stat))
}

describe.skipIf(!usable)("damage of a bundle's tree", () => {
  for (const [name, damage, expected] of damages) {
    it.scoped(name, () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const out = yield* unpacked(directory, "oci", imageOf())
        damage(out)
        const found = findings(yield* verifyTarget(out)).filter(([check]) => check !== "tar.path-not-utf8")
        assert.deepStrictEqual(
          found,
          expected.map(([check, at]) => [check, `rootfs/${at}`])
        )
      })
    )
  }

  it.scoped("a thousand lost files are told one by one, and how many more there are", () =>
    Effect.gen(function* () {
      const files = Array.from({ length: 1005 }, (_, index) => file(`d/${index}`, ""))
      const out = yield* unpacked(yield* scratch, "oci", imageOf([[dir("./"), dir("d/"), ...files]]))
      inPlace(out, "d", () => {
        for (const { path: name } of files) fs.rmSync(`${out}/rootfs/${name}`)
      })
      const lost = (yield* verifyTarget(out)).results.results.filter(({ check }) => check === "rootfs.missing")
      assert.lengthOf(lost, 1001)
      assert.deepInclude(lost.at(-1), { subject: "rootfs", message: "and 5 more of these" })
    })
  )

  it.scoped("a lost file is noticed at fast depth too, and a tolerance is said", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = yield* unpacked(directory, "oci", imageOf([[file("etc/x", "x")]]))
      fs.rmSync(`${out}/rootfs/etc/x`)
      assert.deepStrictEqual(findings(yield* verifyTarget(out, "fast")), [["bundle.entry-count", "rootfs"]])
      const verifier = yield* BundleVerifier.make({ path: out })
      const tolerant = yield* verifier.verify({ depth: "fast", tolerances: ["runtime-files"] })
      assert.deepStrictEqual(findings(tolerant), [])
      assert.include(
        tolerant.results.skipped.map(({ check }) => check),
        "bundle.entry-count"
      )
    }).pipe(Effect.provide(pool))
  )
})

describe.skipIf(!usable)("what the disk did not take", () => {
  it.scoped("is told whenever the bundle is looked at, and not held against it", () =>
    Effect.gen(function* () {
      // The kernel has no user attributes of symlinks.
      const layer = [dir("./"), symlink("link", "x", { xattrs: new Map([["user.a", Buffer.from("1")]]) })]
      const out = yield* unpacked(yield* scratch, "oci", imageOf([layer]))
      for (const depth of ["fast", "full"] as const) {
        assert.deepStrictEqual(findings(yield* verifyTarget(out, depth)), [["rootfs.unrestored", "rootfs"]])
      }
    })
  )
})

describe.skipIf(!usable)("a bundle in which a container ran", () => {
  it("differs from the image, unless that is to be tolerated", () =>
    withScratch(async (directory) => {
      const out = await Effect.runPromise(
        unpacked(directory, "oci", imageOf([[dir("./"), dir("etc/"), file("etc/x", "x")]]))
      )
      fs.writeFileSync(`${out}/rootfs/etc/hosts`, "127.0.0.1 localhost\n")
      fs.mkdirSync(`${out}/rootfs/proc`)
      const strict = await tallyman(["verify", out, "--full", "--format", "json"])
      assert.strictEqual(strict.code, 1)
      assert.deepStrictEqual(
        JSON.parse(strict.stdout).results.map(({ check, subject }: Record<string, string>) => [check, subject]),
        [
          ["rootfs.mtime-mismatch", "rootfs"],
          ["rootfs.extra", "rootfs/proc"],
          ["rootfs.mtime-mismatch", "rootfs/etc"],
          ["rootfs.extra", "rootfs/etc/hosts"]
        ]
      )
      const tolerant = await tallyman(["verify", out, "--full", "--tolerate", "runtime-files"])
      assert.strictEqual(tolerant.code, 0, tolerant.stdout)
      assert.match(tolerant.stdout, /runtime-files tolerated 4 times/)
      fs.writeFileSync(`${out}/rootfs/etc/other`, "")
      assert.strictEqual((await tallyman(["verify", out, "--full", "--tolerate", "runtime-files"])).code, 1)
    }))
})

describe.skipIf(!usable)("damage of a bundle's files", () => {
  const cases: ReadonlyArray<readonly [string, (out: string) => void, ReadonlyArray<readonly [string, string]>]> = [
    ["no config.json", (out) => fs.rmSync(`${out}/config.json`), [["bundle.missing-config", "config.json"]]],
    [
      "no container-config.json",
      (out) => fs.rmSync(`${out}/container-config.json`),
      [["bundle.missing-container-config", "container-config.json"]]
    ],
    ["no rootfs/", (out) => fs.rmSync(`${out}/rootfs`, { recursive: true }), [["bundle.missing-rootfs", "rootfs"]]],
    ["no manifest", (out) => fs.rmSync(`${out}/rootfs.mtree`), [["receipt.missing-file", "rootfs.mtree"]]],
    ["no receipt", (out) => fs.rmSync(`${out}/receipt.json`), [["receipt.missing", "receipt.json"]]],
    [
      "a layer left behind",
      (out) => {
        fs.mkdirSync(`${out}/${"a".repeat(64)}`)
      },
      [["bundle.layers-left", "a".repeat(64)]]
    ],
    [
      "a config.json cut off",
      (out) => fs.truncateSync(`${out}/config.json`, 100),
      [
        ["bundle.invalid-json", "config.json"],
        ["receipt.size-mismatch", "config.json"],
        ["receipt.digest-mismatch", "config.json"]
      ]
    ],
    [
      "a manifest with another line",
      (out) => fs.appendFileSync(`${out}/rootfs.mtree`, "nonsense type=dir\n"),
      [
        ["receipt.size-mismatch", "rootfs.mtree"],
        ["receipt.digest-mismatch", "rootfs.mtree"],
        ["rootfs.missing", "rootfs/nonsense"]
      ]
    ],
    [
      "a config.json that is a directory",
      (out) => replaceByDirectory(`${out}/config.json`),
      [["bundle.unreadable", "config.json"]]
    ],
    [
      "a container-config.json that is a directory",
      (out) => replaceByDirectory(`${out}/container-config.json`),
      [["bundle.unreadable", "container-config.json"]]
    ],
    [
      "a config.json with a name twice",
      (out) => {
        const text = fs.readFileSync(`${out}/config.json`, "utf8")
        fs.writeFileSync(`${out}/config.json`, text.replace("{", '{"x":1,"x":1,'))
      },
      [
        ["bundle.duplicate-key", "config.json"],
        ["receipt.size-mismatch", "config.json"],
        ["receipt.digest-mismatch", "config.json"]
      ]
    ],
    [
      "a container-config.json that says the same in other bytes",
      (out) => fs.appendFileSync(`${out}/container-config.json`, "\n"),
      [
        ["receipt.size-mismatch", "container-config.json"],
        ["receipt.digest-mismatch", "container-config.json"]
      ]
    ],
    [
      "a manifest that is a directory",
      (out) => replaceByDirectory(`${out}/rootfs.mtree`),
      [
        ["receipt.missing-file", "rootfs.mtree"],
        ["bundle.invalid-manifest", "rootfs.mtree"]
      ]
    ],
    [
      "a manifest with a line that is none",
      (out) => fs.appendFileSync(`${out}/rootfs.mtree`, "x type=nonsense\n"),
      [
        ["receipt.size-mismatch", "rootfs.mtree"],
        ["receipt.digest-mismatch", "rootfs.mtree"],
        ["bundle.invalid-manifest", "rootfs.mtree"]
      ]
    ],
    [
      "a manifest cut to nothing",
      (out) => fs.truncateSync(`${out}/rootfs.mtree`),
      [
        ["receipt.size-mismatch", "rootfs.mtree"],
        ["receipt.digest-mismatch", "rootfs.mtree"],
        ["bundle.invalid-manifest", "rootfs.mtree"],
        ["rootfs.extra", "rootfs/etc"]
      ]
    ]
  ]
  for (const [name, damage, expected] of cases) {
    it.scoped(name, () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const out = yield* unpacked(directory, "oci", imageOf([[dir("./"), file("etc/x", "x")]]))
        damage(out)
        assert.deepStrictEqual(findings(yield* verifyTarget(out)), expected)
      })
    )
  }

  it.scoped("a configuration that is not what the image says", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const image = imageOf(everything, { User: "app", Env: ["A=b"], WorkingDir: "/srv", Labels: { l: "v" } })
      const out = yield* unpacked(directory, "oci", image)
      const config = json(out, "config.json")
      config.process.args = ["other"]
      config.process.env = ["A=c"]
      config.process.user = { uid: 0, gid: 0 }
      config.annotations = { "org.opencontainers.image.os": "plan9" }
      fs.writeFileSync(path.join(out, "config.json"), JSON.stringify(config))
      for (const name of ["receipt.json", "rootfs.mtree"]) fs.rmSync(path.join(out, name))
      const found = (yield* verifyTarget(out, "fast")).results.results.filter((one) => one.severity === "error")
      assert.deepStrictEqual(
        new Set(found.map(({ check, subject }) => `${check} ${subject}`)),
        new Set([
          "bundle.process-mismatch config.json",
          "bundle.user-mismatch config.json",
          "bundle.label-mismatch config.json",
          "bundle.annotation-mismatch config.json"
        ])
      )
    })
  )

  it.scoped("a large manifest in which nothing but a comment changed, at full depth", () =>
    Effect.gen(function* () {
      const files = Array.from({ length: 4000 }, (_, index) => file(`d/${"n".repeat(240)}${index}`, ""))
      const out = yield* unpacked(yield* scratch, "oci", imageOf([[dir("./"), dir("d/"), ...files]]))
      const bytes = fs.readFileSync(`${out}/rootfs.mtree`)
      assert.isAbove(bytes.length, 1024 * 1024)
      assert.strictEqual(bytes.toString("latin1", 0, 1), "#")
      bytes[2]! ^= 1
      fs.writeFileSync(`${out}/rootfs.mtree`, bytes)
      assert.deepStrictEqual(findings(yield* verifyTarget(out, "fast")), [])
      assert.deepStrictEqual(findings(yield* verifyTarget(out)), [["receipt.digest-mismatch", "rootfs.mtree"]])
    })
  )

  it.scoped("a user that the tree does not have any more", () =>
    Effect.gen(function* () {
      const out = yield* unpacked(yield* scratch, "oci", imageOf(everything, { User: "app" }))
      inPlace(out, "etc", () => fs.rmSync(`${out}/rootfs/etc/passwd`))
      assert.deepStrictEqual(
        findings(yield* verifyTarget(out, "fast")).filter(([check]) => check !== "tar.path-not-utf8"),
        [
          ["bundle.unresolvable-user", "config.json"],
          ["bundle.entry-count", "rootfs"]
        ]
      )
    })
  )

  it.scoped("a configuration as occystrap fills its template, of which the image has more", () =>
    Effect.gen(function* () {
      const out = yield* unpacked(yield* scratch, "oci", imageOf([[dir("./")]], { Env: ["A=b"] }))
      for (const name of ["receipt.json", "rootfs.mtree"]) fs.rmSync(path.join(out, name))
      const { annotations: _, ...config } = json(out, "config.json")
      const template = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]
      const filled = { ...config, hostname: "occystrap", process: { ...config.process, env: template } }
      fs.writeFileSync(path.join(out, "config.json"), JSON.stringify(filled))
      assert.deepStrictEqual(findings(yield* verifyTarget(out)), [["bundle.partial-conversion", "config.json"]])
      // With as little as a name of its own it is nobody's template, and has to be right.
      fs.writeFileSync(path.join(out, "config.json"), JSON.stringify({ ...filled, hostname: "other" }))
      assert.deepStrictEqual(
        new Set(findings(yield* verifyTarget(out)).map(([check]) => check)),
        new Set(["bundle.process-mismatch", "bundle.annotation-mismatch"])
      )
    })
  )

  it.scoped("a root.path that leads out, or is a symlink", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = yield* unpacked(directory, "oci", imageOf([[dir("./")]]))
      for (const name of ["receipt.json", "rootfs.mtree", "container-config.json"]) fs.rmSync(path.join(out, name))
      fs.renameSync(`${out}/rootfs`, `${directory}/elsewhere`)
      fs.symlinkSync("../elsewhere", `${out}/rootfs`)
      assert.deepStrictEqual(findings(yield* verifyTarget(out)), [["runtime.bad-root", "config.json"]])
      const config = json(out, "config.json")
      fs.writeFileSync(`${out}/config.json`, JSON.stringify({ ...config, root: { path: "../elsewhere" } }))
      assert.deepStrictEqual(findings(yield* verifyTarget(out)), [["runtime.bad-root", "config.json"]])
    })
  )
})

describe.skipIf(!usable)("hostile layers", () => {
  const cases: ReadonlyArray<readonly [string, (outside: string) => ReadonlyArray<ReadonlyArray<Member>>, string]> = [
    [
      "a write through a symlink",
      (outside) => [[symlink("d", outside), file("d/evil", "x")]],
      "rootfs.path-through-symlink"
    ],
    [
      "a write through a symlink of a lower layer",
      (outside) => [[symlink("d", outside)], [file("d/evil", "x")]],
      "rootfs.path-through-symlink"
    ],
    ["..", () => [[file("../evil", "x")]], "tar.path-escapes"],
    ["an absolute name", (outside) => [[file(`${outside}/evil`, "x")]], "tar.path-absolute"],
    [
      "a hardlink to outside",
      (outside) => [[hardlink("evil", `../../../../../../../../..${outside}/victim`)]],
      "rootfs.hardlink-bad-target"
    ],
    [
      "a whiteout through a symlink",
      (outside) => [[symlink("d", outside)], [whiteout("d/victim")]],
      "rootfs.path-through-symlink"
    ],
    ["a whiteout of ..", () => [[file("etc/x", "x")], [file("etc/.wh...", "")]], "rootfs.whiteout-escapes"],
    [
      "overlay's own attributes",
      () => [[dir("d/", { xattrs: new Map([["trusted.overlay.redirect", Buffer.from("/")]]) })]],
      "rootfs.overlay-artifact"
    ]
  ]
  for (const [name, layers, check] of cases) {
    it.scoped(`${name}: nothing outside is touched, and it is told`, () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const outside = path.join(directory, "outside")
        fs.mkdirSync(outside)
        fs.writeFileSync(path.join(outside, "victim"), "victim")
        const image = ImageBuilder.build({ layers: layers(outside).map((layer) => tar(layer)) })
        const source = sourceOf(directory, image)
        const before = fs.statSync(outside).mtimeMs
        const { verification } = yield* processUris(source, `oci://${directory}/out`)
        assert.include(
          verification!.results.results.map((one) => one.check),
          check
        )
        assert.deepStrictEqual(fs.readdirSync(outside), ["victim"])
        assert.strictEqual(fs.readFileSync(path.join(outside, "victim"), "utf8"), "victim")
        assert.strictEqual(fs.statSync(path.join(outside, "victim")).nlink, 1)
        assert.strictEqual(fs.statSync(outside).mtimeMs, before)
        assert.deepStrictEqual(fs.readdirSync(directory).sort(), ["image.tar", "out", "outside"])
      })
    )
  }
})

describe.skipIf(!usable)("other programs", () => {
  peerTest(["umoci", "bsdtar", "setfattr"], "umoci makes the same tree, and its bundle is right as well", () =>
    withScratch(async (directory) => {
      const out = await Effect.runPromise(
        Effect.gen(function* () {
          const source = sourceOf(directory, imageOf())
          yield* processUris(source, `oci-layout://${directory}/layout:t?compression=gzip`)
          yield* processUris(`oci-layout://${directory}/layout:t`, `oci://${directory}/out`)
          return path.join(directory, "out")
        })
      )
      const theirs = path.join(directory, "umoci")
      run("umoci", ["unpack", "--image", `${directory}/layout:t`, theirs])
      const timeless = [".", `./${"n".repeat(200)}`]
      assert.deepStrictEqual(seen(`${out}/rootfs`, timeless), seen(`${theirs}/rootfs`, timeless))
      assert.deepStrictEqual(findings(await Effect.runPromise(verifyTarget(theirs))), [])
    })
  )

  for (const runtime of ["runc", "crun"] as const) {
    peerTest([runtime, "gnutar"], `${runtime} runs it`, () =>
      withScratch(async (directory) => {
        const shell = ["/bin/busybox", "/usr/bin/busybox"].find((at) => fs.existsSync(at))
        if (shell === undefined) return
        const image = imageOf([[dir("bin/"), file("bin/busybox", fs.readFileSync(shell), { mode: 0o755 })]], {
          Entrypoint: ["/bin/busybox", "echo"],
          Cmd: ["hello", "bundle"]
        })
        const out = await Effect.runPromise(unpacked(directory, "oci", image))
        const args = ["--root", path.join(directory, "state"), "run", "--bundle", out, `tallyman-${process.pid}`]
        // crun does not run where both versions of cgroups are mounted: it is shown the second alone.
        const ran =
          runtime === "runc"
            ? run("runc", args, { allowFailure: true })
            : run(
                "unshare",
                [
                  "-m",
                  "sh",
                  "-c",
                  'mount -t cgroup2 none /sys/fs/cgroup; exec "$0" "$@"',
                  "crun",
                  "--cgroup-manager=disabled",
                  ...args
                ],
                {
                  allowFailure: true
                }
              )
        // Where the system lets nobody make containers there is nothing to learn of the bundle.
        if (ran.code !== 0 && /cgroup|permission|not permitted/i.test(ran.stderr)) return
        assert.strictEqual(ran.stdout, "hello bundle\n", ran.stderr)
      })
    )
  }
})
