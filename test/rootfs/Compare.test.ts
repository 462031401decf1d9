import * as ChildProcess from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { type CompareOptions, type CompareResult, compare } from "../../src/rootfs/Compare.ts"
import { readDiskSync } from "../../src/rootfs/DiskTree.ts"
import type { FileTree } from "../../src/rootfs/FileTree.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import * as Mtree from "../../src/rootfs/Mtree.ts"
import { hashAlways, type ScanTask, scanFiles, scanJob } from "../../src/rootfs/ScanFiles.ts"
import { tolerances } from "../../src/rootfs/Tolerance.ts"
import { unpackSync } from "../../src/rootfs/Unpack.ts"
import { type Applied, apply, device, dir, file, hardlink, isRoot, symlink, withDirectory } from "./Layers.ts"

const withLibc = Libc.load() !== undefined

const image = (): Applied =>
  apply([
    [
      dir("./", { mtimeSeconds: 1 }),
      dir("etc/"),
      file("etc/passwd", "root:x:0:0\n"),
      file("etc/hosts", ""),
      dir("usr/"),
      dir("usr/lib/"),
      file("usr/lib/a.so", "library a", { mode: 0o755 }),
      file("usr/lib/b.so", "library b", { mode: 0o755 }),
      hardlink("usr/lib/a.so.1", "usr/lib/a.so"),
      symlink("lib", "usr/lib"),
      file("usr/suid", "s", { mode: 0o4755, mtimeNanoseconds: withLibc ? 123_456_789 : 0 }),
      file("implied/x", "x"),
      dir("dev/")
    ]
  ])

const run = (expected: FileTree, root: string, options?: CompareOptions): Promise<CompareResult> =>
  Effect.runPromise(compare(expected, Buffer.from(root), options))

const found = (result: CompareResult) => result.problems.map(({ check, path }) => `${check} ${path}`)

/** Unpacks the image, damages it, keeping the times of directories unless told, and compares. */
const damaged = (
  damage: (root: string) => void,
  options: CompareOptions = {},
  applied: Applied = image()
): Promise<CompareResult> =>
  withDirectory((directory) => {
    const root = path.join(directory, "root")
    unpackSync(applied.tree, Buffer.from(root), applied.feed, { digests: false })
    const times = new Map<string, fs.Stats>()
    for (const [name, { inode }] of applied.tree.entries()) {
      if (inode.type === "directory") times.set(path.join(root, name), fs.lstatSync(path.join(root, name)))
    }
    damage(root)
    for (const [name, { atime, mtime }] of times) {
      if (fs.lstatSync(name, { throwIfNoEntry: false })?.isDirectory() === true) fs.utimesSync(name, atime, mtime)
    }
    return run(applied.tree, root, options).finally(() => {
      if (fs.existsSync(path.join(root, "usr/mounted"))) ChildProcess.execFileSync("umount", [path.join(root, "usr")])
    })
  })

const rewrite = (name: string, content: string): void => {
  const { atime, mtime } = fs.statSync(name)
  fs.writeFileSync(name, content)
  fs.utimesSync(name, atime, mtime)
}

/** As a user to whom nothing belongs; for root alone. */
const asNobody = async <A>(act: () => Promise<A>): Promise<A> => {
  process.setegid!(65534)
  process.seteuid!(65534)
  try {
    return await act()
  } finally {
    process.seteuid!(0)
    process.setegid!(0)
  }
}

describe("a tree as it was unpacked", () => {
  it("has no differences, and everything was compared", async () => {
    const applied = image()
    const result = await damaged(() => {}, {}, applied)
    assert.deepStrictEqual(found(result), [])
    assert.strictEqual(result.names, applied.tree.names)
    // Hardlinks once.
    assert.strictEqual(result.files, 6)
    assert.strictEqual(result.bytes, applied.tree.totals().bytes)
    assert.deepStrictEqual(
      result.notCompared.map(({ what }) => what),
      withLibc ? [] : ["xattrs"]
    )
  })

  it.runIf(isRoot)("says which tolerances held, with what they covered", async () => {
    const result = await damaged(() => {}, { tolerances: ["directory-mtime"] })
    const implied = result.tolerated.find(({ tolerance }) => tolerance === "implied-directories")!
    assert.deepStrictEqual([implied.count, implied.examples], [1, ["implied"]])
    assert.deepStrictEqual(
      result.tolerated.map(({ tolerance }) => tolerance),
      ["directory-mtime", "implied-directories", "host-labels"]
    )
    assert.isTrue(result.tolerated.every((one) => one.explanation === tolerances[one.tolerance].explanation))
  })
})

describe("each difference has its own check", () => {
  const cases: ReadonlyArray<readonly [name: string, damage: (root: string) => void, expected: ReadonlyArray<string>]> =
    [
      ["a file that is missing", (root) => fs.rmSync(`${root}/usr/lib/b.so`), ["rootfs.missing usr/lib/b.so"]],
      [
        "a directory that is missing",
        (root) => fs.rmSync(`${root}/implied`, { recursive: true }),
        ["rootfs.missing implied"]
      ],
      ["a symlink that is missing", (root) => fs.rmSync(`${root}/lib`), ["rootfs.missing lib"]],
      ["a file too many", (root) => fs.writeFileSync(`${root}/usr/extra`, ""), ["rootfs.extra usr/extra"]],
      [
        "a directory too many",
        (root) => {
          fs.mkdirSync(`${root}/usr/extra`)
          fs.writeFileSync(`${root}/usr/extra/x`, "")
        },
        ["rootfs.extra usr/extra"]
      ],
      [
        "a byte changed",
        (root) => rewrite(`${root}/usr/lib/b.so`, "library c"),
        ["rootfs.content-mismatch usr/lib/b.so"]
      ],
      ["a byte more", (root) => rewrite(`${root}/usr/lib/b.so`, "library b."), ["rootfs.size-mismatch usr/lib/b.so"]],
      ["a mode bit", (root) => fs.chmodSync(`${root}/usr/suid`, 0o755), ["rootfs.mode-mismatch usr/suid"]],
      ["a directory's mode", (root) => fs.chmodSync(`${root}/usr/lib`, 0o777), ["rootfs.mode-mismatch usr/lib"]],
      ["an mtime", (root) => fs.utimesSync(`${root}/etc/passwd`, 5, 5), ["rootfs.mtime-mismatch etc/passwd"]],
      ["a symlink's mtime", (root) => fs.lutimesSync(`${root}/lib`, 5, 5), ["rootfs.mtime-mismatch lib"]],
      [
        "a symlink's target",
        (root) => {
          fs.rmSync(`${root}/lib`)
          fs.symlinkSync("usr/lib64", `${root}/lib`)
          fs.lutimesSync(`${root}/lib`, 1_600_000_000, 1_600_000_000)
        },
        ["rootfs.link-mismatch lib"]
      ],
      [
        "a symlink in place of a directory",
        (root) => {
          fs.renameSync(`${root}/usr/lib`, `${root}/../lib`)
          fs.symlinkSync("../../lib", `${root}/usr/lib`)
        },
        ["rootfs.type-mismatch usr/lib"]
      ],
      [
        "a directory in place of a file",
        (root) => {
          fs.rmSync(`${root}/usr/suid`)
          fs.mkdirSync(`${root}/usr/suid`)
        },
        ["rootfs.type-mismatch usr/suid"]
      ],
      [
        "a hardlink turned into a copy",
        (root) => {
          const { atime, mtime } = fs.statSync(`${root}/usr/lib/a.so`)
          fs.rmSync(`${root}/usr/lib/a.so.1`)
          fs.copyFileSync(`${root}/usr/lib/a.so`, `${root}/usr/lib/a.so.1`)
          fs.utimesSync(`${root}/usr/lib/a.so.1`, atime, mtime)
        },
        ["rootfs.hardlink-mismatch usr/lib/a.so.1"]
      ],
      [
        "a hardlink to outside",
        (root) => fs.linkSync(`${root}/etc/passwd`, `${root}/../outside`),
        ["rootfs.hardlink-mismatch etc/passwd"]
      ]
    ]
  it.each(cases)("%s", async (_name, damage, expected) => {
    assert.deepStrictEqual(found(await damaged(damage)), expected)
  })

  it("two files made one", async () => {
    const result = await damaged((root) => {
      fs.rmSync(`${root}/usr/lib/b.so`)
      fs.linkSync(`${root}/usr/lib/a.so`, `${root}/usr/lib/b.so`)
    })
    assert.deepStrictEqual(found(result), [
      "rootfs.content-mismatch usr/lib/b.so",
      "rootfs.hardlink-mismatch usr/lib/b.so"
    ])
  })

  it("shows both sides", async () => {
    const result = await damaged((root) => {
      fs.chmodSync(`${root}/usr/suid`, 0o600)
      rewrite(`${root}/etc/passwd`, "toor:x:0:0\n")
    })
    const sha256 = (text: string) => `sha256:${crypto.createHash("sha256").update(text).digest("hex")}`
    assert.deepStrictEqual(
      result.problems.map(({ actual, expected }) => [expected, actual]),
      [
        [sha256("root:x:0:0\n"), sha256("toor:x:0:0\n")],
        ["4755", "0600"]
      ]
    )
  })

  it.runIf(isRoot)("an owner", async () => {
    const result = await damaged((root) => {
      fs.chownSync(`${root}/etc/passwd`, 5, 0)
      fs.lchownSync(`${root}/lib`, 0, 6)
    })
    assert.deepStrictEqual(found(result), ["rootfs.owner-mismatch etc/passwd", "rootfs.owner-mismatch lib"])
    assert.deepStrictEqual([result.problems[0]!.expected, result.problems[0]!.actual], ["0:0", "5:0"])
  })

  it.runIf(isRoot && withLibc)("devices", async () => {
    const applied = apply([
      [device("null", 1, 3), device("zero", 1, 5), device("disk", 8, 1, "block"), device("gone", 1, 7)]
    ])
    const result = await damaged(
      (root) => {
        const libc = Libc.load()!
        for (const name of ["zero", "disk", "gone"]) fs.rmSync(`${root}/${name}`)
        libc.mknod(Libc.path(Buffer.from(`${root}/zero`)), "char", 0o660, 1, 3)
        libc.mknod(Libc.path(Buffer.from(`${root}/disk`)), "char", 0o660, 8, 1)
        for (const name of ["zero", "disk"]) {
          fs.chmodSync(`${root}/${name}`, 0o660)
          fs.utimesSync(`${root}/${name}`, 1_600_000_000, 1_600_000_000)
        }
      },
      {},
      applied
    )
    assert.deepStrictEqual(found(result), [
      "rootfs.missing gone",
      "rootfs.type-mismatch disk",
      "rootfs.device-mismatch zero"
    ])
    assert.deepStrictEqual([result.problems[2]!.expected, result.problems[2]!.actual], ["1:5", "1:3"])
  })

  it.runIf(isRoot && withLibc)("attributes", async () => {
    const applied = apply([
      [
        file("caps", "c", {
          xattrs: new Map([["security.capability", Buffer.from("0100000200200000000000000000000000000000", "hex")]])
        }),
        file("changed", "c", { xattrs: new Map([["user.a", Buffer.from("1")]]) }),
        dir("more/")
      ]
    ])
    const result = await damaged(
      (root) => {
        const libc = Libc.load()!
        const at = (name: string) => Libc.path(Buffer.from(`${root}/${name}`))
        assert.strictEqual(libc.lremovexattr(at("caps"), "security.capability"), 0)
        assert.strictEqual(libc.lsetxattr(at("changed"), "user.a", "2"), 0)
        assert.strictEqual(libc.lsetxattr(at("more"), "trusted.b", "\0"), 0)
      },
      {},
      applied
    )
    assert.deepStrictEqual(found(result), [
      "rootfs.xattr-mismatch caps",
      "rootfs.xattr-mismatch changed",
      "rootfs.xattr-mismatch more"
    ])
    assert.deepStrictEqual(
      result.problems.map(({ actual, expected }) => [expected, actual]),
      [
        ["0x0100000200200000000000000000000000000000", "none"],
        ["0x31", "0x32"],
        ["none", "0x00"]
      ]
    )
  })

  it.runIf(isRoot)(
    "names of a file in a directory that cannot be read are not taken for hardlinks outside",
    async () => {
      const applied = apply([[dir("./"), dir("closed/"), file("closed/a", "a"), hardlink("b", "closed/a")]])
      await withDirectory(async (directory) => {
        fs.chmodSync(directory, 0o755)
        const root = path.join(directory, "root")
        unpackSync(applied.tree, Buffer.from(root), applied.feed)
        const compared = (mode: number): Promise<CompareResult> => {
          fs.chmodSync(`${root}/closed`, mode)
          return asNobody(() => run(applied.tree, root))
        }
        const result = await compared(0o700)
        assert.sameMembers(found(result), ["rootfs.unreadable closed", "rootfs.mode-mismatch closed"])
        assert.deepStrictEqual(
          result.notCompared.filter(({ what }) => what === "hardlinks").map(({ examples }) => examples),
          [["b"]]
        )
        fs.linkSync(`${root}/b`, `${directory}/outside`)
        assert.deepStrictEqual(found(await compared(0o755)), ["rootfs.hardlink-mismatch b"])
      })
    }
  )

  it.runIf(isRoot && withLibc)("attributes that only root is shown are not missing to others", async () => {
    const xattrs = new Map([
      ["trusted.t", Buffer.from("t")],
      ["user.u", Buffer.from("u")]
    ])
    const applied = apply([[dir("./"), file("a", "a", { xattrs })]])
    await withDirectory(async (directory) => {
      fs.chmodSync(directory, 0o755)
      const root = path.join(directory, "root")
      unpackSync(applied.tree, Buffer.from(root), applied.feed)
      const result = await asNobody(() => run(applied.tree, root))
      assert.deepStrictEqual(found(result), [])
      assert.deepStrictEqual(
        result.notCompared.map(({ count, examples, what }) => [what, count, examples]),
        [["xattrs", 1, ["a"]]]
      )
      for (const name of xattrs.keys()) Libc.load()!.lremovexattr(Libc.path(Buffer.from(`${root}/a`)), name)
      assert.deepStrictEqual(found(await asNobody(() => run(applied.tree, root))), ["rootfs.xattr-mismatch a"])
      assert.deepStrictEqual(found(await run(applied.tree, root)), [
        "rootfs.xattr-mismatch a",
        "rootfs.xattr-mismatch a"
      ])
    })
  })

  it.runIf(isRoot)("what cannot be read is told, and the rest is compared", async () => {
    await withDirectory(async (directory) => {
      fs.chmodSync(directory, 0o755)
      const applied = image()
      const root = path.join(directory, "root")
      unpackSync(applied.tree, Buffer.from(root), applied.feed)
      fs.chmodSync(`${root}/etc/passwd`, 0o000)
      fs.chmodSync(`${root}/usr/lib`, 0o700)
      rewrite(`${root}/implied/x`, "y")
      process.setegid!(65534)
      process.seteuid!(65534)
      let result: CompareResult
      try {
        result = await run(applied.tree, root)
      } finally {
        process.seteuid!(0)
        process.setegid!(0)
      }
      assert.sameMembers(found(result), [
        "rootfs.unreadable usr/lib",
        "rootfs.unreadable etc/passwd",
        "rootfs.mode-mismatch etc/passwd",
        "rootfs.mode-mismatch usr/lib",
        "rootfs.content-mismatch implied/x"
      ])
    })
  })
})

describe("tolerances", () => {
  const covered = (result: CompareResult, name: string) => result.tolerated.find(({ tolerance }) => tolerance === name)!

  it("runtime-files", async () => {
    const start = (root: string) => {
      fs.writeFileSync(`${root}/etc/hosts`, "127.0.0.1 localhost")
      fs.writeFileSync(`${root}/etc/resolv.conf`, "")
      fs.writeFileSync(`${root}/.dockerenv`, "")
      fs.writeFileSync(`${root}/dev/null`, "")
      fs.mkdirSync(`${root}/proc`)
      fs.mkdirSync(`${root}/run`)
      fs.writeFileSync(`${root}/run/.containerenv`, "")
    }
    const strict = await damaged(start)
    assert.includeMembers(
      [...found(strict)],
      ["rootfs.extra etc/resolv.conf", "rootfs.extra proc", "rootfs.size-mismatch etc/hosts"]
    )
    const tolerant = await damaged(start, { tolerances: ["runtime-files"] })
    assert.deepStrictEqual(found(tolerant), [])
    assert.isAbove(covered(tolerant, "runtime-files").count, 6)
    const hidden = await damaged(
      (root) => {
        fs.mkdirSync(`${root}/run`)
        fs.writeFileSync(`${root}/run/backdoor`, "")
        fs.writeFileSync(`${root}/etc/shadow`, "")
        fs.rmSync(`${root}/etc/hosts`)
      },
      { tolerances: ["runtime-files"] }
    )
    assert.deepStrictEqual(found(hidden), ["rootfs.extra run", "rootfs.missing etc/hosts", "rootfs.extra etc/shadow"])
    const replaced = await damaged(
      (root) => {
        fs.renameSync(`${root}/etc`, `${root}/dev/etc`)
        fs.symlinkSync("dev/etc", `${root}/etc`)
      },
      { tolerances: ["runtime-files"] }
    )
    assert.deepStrictEqual(found(replaced), ["rootfs.type-mismatch etc"])
  })

  it("runtime-files, where a configuration has mounts", async () => {
    const start = (root: string) => {
      fs.mkdirSync(`${root}/srv/data`, { recursive: true })
      fs.mkdirSync(`${root}/usr/mount`)
      fs.writeFileSync(`${root}/usr/file`, "")
    }
    const places = ["srv/data", "usr/mount", "usr/file", "usr/lib/a.so"]
    assert.sameMembers(found(await damaged(start, { places })), [
      "rootfs.extra srv",
      "rootfs.extra usr/mount",
      "rootfs.extra usr/file"
    ])
    const tolerant = { places, tolerances: ["runtime-files"] } as const
    assert.deepStrictEqual(found(await damaged(start, tolerant)), [])
    const hidden = await damaged((root) => {
      start(root)
      fs.writeFileSync(`${root}/srv/data/left`, "")
      fs.writeFileSync(`${root}/usr/file`, "not empty")
      fs.mkdirSync(`${root}/usr/other`)
      fs.writeFileSync(`${root}/usr/lib/a.so`, "LIBRARY A")
    }, tolerant)
    assert.sameMembers(
      found(hidden).filter((one) => !one.startsWith("rootfs.mtime")),
      [
        "rootfs.extra srv",
        "rootfs.extra usr/file",
        "rootfs.extra usr/other",
        "rootfs.content-mismatch usr/lib/a.so",
        "rootfs.content-mismatch usr/lib/a.so.1"
      ]
    )
  })

  it("directory-mtime", async () => {
    const applied = image()
    await withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      unpackSync(applied.tree, Buffer.from(root), applied.feed)
      fs.utimesSync(`${root}/usr`, 7, 7)
      assert.deepStrictEqual(found(await run(applied.tree, root)), ["rootfs.mtime-mismatch usr"])
      const result = await run(applied.tree, root, { tolerances: ["directory-mtime"] })
      assert.deepStrictEqual([found(result), covered(result, "directory-mtime").examples], [[], ["usr"]])
    })
  })

  it.runIf(withLibc)("mtime-microseconds and mtime-seconds", async () => {
    const coarse = (root: string) => fs.utimesSync(`${root}/usr/suid`, 1_600_000_000, 1_600_000_000)
    assert.deepStrictEqual(found(await damaged(coarse)), ["rootfs.mtime-mismatch usr/suid"])
    assert.deepStrictEqual(found(await damaged(coarse, { tolerances: ["mtime-microseconds"] })), [
      "rootfs.mtime-mismatch usr/suid"
    ])
    assert.deepStrictEqual(found(await damaged(coarse, { tolerances: ["mtime-seconds"] })), [])
    const micro = (root: string) => fs.utimesSync(`${root}/usr/suid`, 1_600_000_000.1234562, 1_600_000_000.1234562)
    assert.deepStrictEqual(found(await damaged(micro, { tolerances: ["mtime-microseconds"] })), [])
  })

  it.runIf(isRoot)("owner and devices", async () => {
    const applied = apply([[file("x", "x", { uid: 9 }), device("null", 1, 3), device("zero", 1, 5)]])
    const rootless = (root: string) => {
      fs.chownSync(`${root}/x`, 1000, 1000)
      fs.rmSync(`${root}/null`, { force: true })
      fs.rmSync(`${root}/zero`, { force: true })
      fs.writeFileSync(`${root}/zero`, "", { mode: 0 })
    }
    assert.deepStrictEqual(found(await damaged(rootless, {}, applied)), [
      "rootfs.missing null",
      "rootfs.owner-mismatch x",
      "rootfs.type-mismatch zero"
    ])
    const result = await damaged(rootless, { tolerances: ["owner", "devices"] }, applied)
    assert.deepStrictEqual(found(result), [])
    assert.deepStrictEqual(covered(result, "devices").examples, ["null", "zero"])
  })

  it("external-links", async () => {
    const link = (root: string) => fs.linkSync(`${root}/etc/passwd`, `${root}/../outside`)
    assert.deepStrictEqual(found(await damaged(link, { tolerances: ["external-links"] })), [])
  })
})

describe("against a manifest", () => {
  it.runIf(isRoot)("finds the same, except which names are hardlinks of which", async () => {
    const applied = image()
    await withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      unpackSync(applied.tree, Buffer.from(root), applied.feed)
      const { tree } = Mtree.parse(Buffer.from([...Mtree.write(applied.tree)].join("")))
      const clean = await run(tree, root)
      assert.deepStrictEqual(found(clean), [])
      assert.deepStrictEqual(
        clean.notCompared.map(({ what }) => what),
        withLibc ? ["hardlinks"] : ["xattrs", "hardlinks"]
      )
      fs.chmodSync(`${root}/implied`, 0o700)
      fs.chmodSync(`${root}/usr`, 0o700)
      rewrite(`${root}/usr/lib/a.so`, "library A")
      fs.rmSync(`${root}/lib`)
      fs.linkSync(`${root}/etc/passwd`, `${root}/../outside`)
      assert.sameMembers(
        [...found(await run(tree, root))],
        [
          "rootfs.mtime-mismatch ",
          "rootfs.missing lib",
          "rootfs.hardlink-mismatch etc/passwd",
          "rootfs.mode-mismatch implied",
          "rootfs.mode-mismatch usr",
          "rootfs.content-mismatch usr/lib/a.so",
          "rootfs.content-mismatch usr/lib/a.so.1"
        ]
      )
    })
  })
})

describe("how it is done", () => {
  it("never follows a symlink, not even to a file of the same content", async () => {
    const result = await damaged((root) => {
      fs.renameSync(`${root}/etc/passwd`, `${root}/../passwd`)
      fs.symlinkSync("../../passwd", `${root}/etc/passwd`)
    })
    assert.deepStrictEqual(found(result), ["rootfs.type-mismatch etc/passwd"])
    await withDirectory((directory) => {
      fs.writeFileSync(path.join(directory, "target"), "x")
      fs.symlinkSync("target", path.join(directory, "link"))
      // As if they had been files when they were listed.
      const paths = ["link", "target", "none"]
      const result = scanFiles({
        root: directory,
        paths,
        wanted: Float64Array.of(hashAlways, hashAlways, hashAlways),
        xattrs: false,
        bytes: 0
      })
      assert.deepStrictEqual([...result.hashed], [0, 1, 0])
      assert.deepStrictEqual(result.extras, [
        { index: 0, link: "target" },
        { index: 2, failed: { what: "entry", code: "ENOENT" } }
      ])
      assert.strictEqual(
        Buffer.from(result.digests.subarray(64, 128)).toString("latin1"),
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
      )
    })
  })

  it("does not wait for a FIFO in place of a file", async () => {
    if (!withLibc) return
    const result = await damaged((root) => {
      fs.rmSync(`${root}/etc/passwd`)
      Libc.load()!.mkfifo(Libc.path(Buffer.from(`${root}/etc/passwd`)), 0o600)
    })
    assert.deepStrictEqual(found(result), ["rootfs.type-mismatch etc/passwd"])
  })

  it("hashes in slices that another thread may take, each file once", async () => {
    const applied = apply([Array.from({ length: 5000 }, (_, index) => file(`f${index}`, `content ${index}`))])
    const slices: Array<ScanTask> = []
    const result = await damaged(
      (root) => rewrite(`${root}/f4321`, "CONTENT 4321"),
      {
        scan: (tasks) =>
          Effect.sync(() => {
            slices.push(...tasks)
            return tasks.map((task) => structuredClone(scanJob.run(structuredClone(task), () => {})))
          })
      },
      applied
    )
    assert.isAbove(slices.length, 1)
    assert.strictEqual(new Set(slices.flatMap(({ paths }) => paths)).size, 5000)
    assert.strictEqual(slices.flatMap(({ paths }) => paths).length, 5000)
    assert.deepStrictEqual(found(result), ["rootfs.content-mismatch f4321"])
  })

  it("reads a tree for itself, whatever the size of its files", () =>
    withDirectory((directory) => {
      const contents = [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 1_000_000].map((size) =>
        Buffer.alloc(size, `${size}`)
      )
      for (const content of contents) fs.writeFileSync(path.join(directory, `f${content.length}`), content)
      const { bytes, files, tree } = readDiskSync(Buffer.from(directory), { hash: "all" })
      for (const content of contents) {
        const { inode } = tree.lookup(`f${content.length}`)!
        assert.strictEqual(inode.sha256, crypto.createHash("sha256").update(content).digest("hex"))
        assert.strictEqual(inode.size, content.length)
      }
      assert.deepStrictEqual([files, bytes], [6, contents.reduce((sum, content) => sum + content.length, 0)])
    }))

  it.runIf(isRoot)("does not look into what is mounted in the tree, and says so", async () => {
    const result = await damaged((root) => {
      ChildProcess.execFileSync("mount", ["-t", "tmpfs", "tmpfs", `${root}/usr`])
      fs.writeFileSync(`${root}/usr/mounted`, "")
    })
    assert.deepStrictEqual(found(result), [])
    assert.deepStrictEqual(
      result.notCompared
        .filter(({ what }) => what === "mounted")
        .map(({ count, examples, what }) => [what, count, examples]),
      [["mounted", 6, ["usr"]]]
    )
  })

  it("takes the system's own root, and slashes behind a path", () =>
    withDirectory((directory) => {
      fs.mkdirSync(path.join(directory, "d"))
      fs.writeFileSync(path.join(directory, "d/x"), "")
      const { tree } = readDiskSync(Buffer.from(`${directory}//`))
      assert.strictEqual(tree.lookup("d/x")!.inode.type, "file")
      const task = {
        root: "",
        paths: [`${directory.slice(1)}/d/x`],
        wanted: Float64Array.of(hashAlways),
        xattrs: false,
        bytes: 0
      }
      assert.deepStrictEqual([...scanFiles(task).hashed], [1])
    }))

  it("compares sizes only when asked, and says so", async () => {
    const result = await damaged((root) => rewrite(`${root}/usr/lib/b.so`, "library c"), { content: "size" })
    assert.deepStrictEqual(found(result), [])
    assert.deepStrictEqual(
      result.notCompared.map(({ count, what }) => [what, count]).filter(([what]) => what === "content"),
      [["content", 7]]
    )
    assert.strictEqual(result.bytes, 0)
  })

  it("says that content was not compared when the layers' was not hashed", async () => {
    const applied = apply([[file("x", "1")]], { digests: false })
    const result = await damaged((root) => rewrite(`${root}/x`, "2"), {}, applied)
    assert.deepStrictEqual(found(result), [])
    assert.deepStrictEqual(result.notCompared[0]!.examples, ["x"])
  })

  it("says when attributes were not read", async () => {
    const result = await damaged(() => {}, { xattrs: false })
    assert.deepStrictEqual(
      result.notCompared.map(({ what }) => what),
      ["xattrs"]
    )
    assert.deepStrictEqual(found(result), [])
  })

  it("keeps a bounded number of problems and counts all", async () => {
    const applied = apply([Array.from({ length: 50 }, (_, index) => file(`f${index}`, "x"))])
    const result = await damaged(
      (root) => {
        for (let index = 0; index < 50; index++) fs.rmSync(`${root}/f${index}`)
      },
      { maxProblems: 10 },
      applied
    )
    assert.strictEqual(result.problems.length, 10)
    assert.strictEqual(result.counts.get("rootfs.missing"), 50)
  })

  it.each([
    ["not-found", "nothing"],
    ["not-a-directory", "file"],
    ["not-a-directory", "link"]
  ])("fails with %s for %s", (reason, name) =>
    withDirectory(async (directory) => {
      fs.writeFileSync(path.join(directory, "file"), "")
      fs.symlinkSync(".", path.join(directory, "link"))
      const error = await Effect.runPromise(Effect.flip(compare(image().tree, Buffer.from(path.join(directory, name)))))
      assert.deepStrictEqual([error._tag, error.reason], ["DiskError", reason])
    })
  )
})
