import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import type { LayerInput } from "../../src/content/LayerStream.ts"
import { compare } from "../../src/rootfs/Compare.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import { UnpackError, type UnpackOptions, type UnpackResult, unpack, unpackSync } from "../../src/rootfs/Unpack.ts"
import { writeJob } from "../../src/rootfs/WriteFiles.ts"
import {
  type Applied,
  apply,
  device,
  dir,
  fifo,
  file,
  hardlink,
  isRoot,
  type Member,
  symlink,
  withDirectory
} from "./Layers.ts"

const run = async (applied: Applied, root: string, options?: UnpackOptions): Promise<UnpackResult> =>
  unpackSync(applied.tree, Buffer.from(root), applied.feed, options)

/** Check ids and paths of all differences between the tree and what is on disk. */
const differences = async (applied: Applied, root: string) =>
  (await Effect.runPromise(compare(applied.tree, Buffer.from(root)))).problems.map(({ check, path }) => [check, path])

const withLibc = Libc.load() !== undefined
const caps = Buffer.from("0100000200200000000000000000000000000000", "hex")

describe("unpack", () => {
  it.runIf(isRoot && withLibc)("restores every attribute", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      const applied = apply([
        [
          dir("./", { mode: 0o711, mtimeSeconds: 1_500_000_000, mtimeNanoseconds: 1 }),
          dir("d/", { mode: 0o2770, uid: 12, gid: 34, mtimeSeconds: 77, mtimeNanoseconds: 999_999_999 }),
          file("d/suid", "#!", {
            mode: 0o6755,
            uid: 1000,
            gid: 1001,
            mtimeSeconds: 1_600_000_000,
            mtimeNanoseconds: 123_456_789
          }),
          file("d/readonly", "r", { mode: 0o0, xattrs: new Map([["user.note", Buffer.from("a\0b")]]) }),
          file("caps", "c", { mode: 0o755, xattrs: new Map([["security.capability", caps]]) }),
          file("old", "o", { mtimeSeconds: 0 }),
          file("older", "o", { records: { mtime: "-5.5" } }),
          file("sticky", "", { mode: 0o1644 }),
          symlink("link", "d/../../etc/passwd", { uid: 3, gid: 4, mtimeSeconds: 5, mtimeNanoseconds: 6 }),
          symlink("dangling", "/no/where"),
          hardlink("d/hard", "d/suid"),
          hardlink("hardsymlink", "link"),
          device("char", 1, 3),
          device("block", 259, 70_000, "block"),
          fifo("fifo", { mode: 0o622 })
        ],
        [dir("d/", { mode: 0o1777 }), file("implied/x", "x"), file("d/readonly2", "", { mode: 0o444 })]
      ])
      const result = await run(applied, root)
      assert.deepStrictEqual(result.unrestored, [])
      assert.strictEqual(result.names, applied.tree.names)
      assert.deepStrictEqual(await differences(applied, root), [])

      const suid = fs.lstatSync(path.join(root, "d/suid"), { bigint: true })
      assert.deepStrictEqual([suid.mode & 0o7777n, suid.uid, suid.gid, suid.nlink], [0o6755n, 1000n, 1001n, 2n])
      assert.strictEqual(suid.mtimeNs, 1_600_000_000_123_456_789n)
      assert.strictEqual(fs.lstatSync(path.join(root, "d/hard"), { bigint: true }).ino, suid.ino)
      const top = fs.lstatSync(root, { bigint: true })
      assert.deepStrictEqual([top.mode & 0o7777n, top.mtimeNs], [0o711n, 1_500_000_000_000_000_001n])
      assert.strictEqual(fs.lstatSync(path.join(root, "d"), { bigint: true }).mode & 0o7777n, 0o1777n)
      assert.strictEqual(fs.lstatSync(path.join(root, "older"), { bigint: true }).mtimeNs, -5_500_000_000n)
      const link = fs.lstatSync(path.join(root, "link"), { bigint: true })
      assert.deepStrictEqual([link.uid, link.gid, link.mtimeNs], [3n, 4n, 5_000_000_006n])
      assert.strictEqual(fs.readlinkSync(path.join(root, "link")), "d/../../etc/passwd")
      assert.strictEqual(fs.lstatSync(path.join(root, "hardsymlink"), { bigint: true }).ino, link.ino)
      const block = fs.lstatSync(path.join(root, "block"))
      assert.isTrue(block.isBlockDevice())
      assert.strictEqual(block.mode & 0o7777, 0o660)
      assert.isTrue(fs.lstatSync(path.join(root, "fifo")).isFIFO())
      assert.deepStrictEqual(
        Libc.load()!.xattrs(Libc.path(Buffer.from(path.join(root, "caps")))),
        new Map([["security.capability", caps.toString("latin1")]])
      )
      assert.deepStrictEqual(fs.lstatSync(path.join(root, "implied"), { bigint: true }).mtimeNs, 0n)
    })
  )

  it("writes what survives, from the layer that has it, and nothing else", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      const big = Buffer.alloc(300_000, "0123456789abcdef")
      const applied = apply([
        [file("a", "lower"), file("b", "lower b"), file("gone/x", "x"), file("big", big)],
        [file("a", "upper"), file(".wh.gone"), file("empty")],
        [file("c", "third"), hardlink("b2", "b")]
      ])
      const result = await run(applied, root)
      assert.deepStrictEqual(fs.readdirSync(root).sort(), ["a", "b", "b2", "big", "c", "empty"])
      assert.strictEqual(fs.readFileSync(path.join(root, "a"), "utf8"), "upper")
      assert.strictEqual(fs.readFileSync(path.join(root, "b2"), "utf8"), "lower b")
      assert.isTrue(big.equals(fs.readFileSync(path.join(root, "big"))))
      assert.deepStrictEqual([result.files, result.bytes], [5, 5 + 7 + 5 + big.length])
    }))

  it("takes names and targets that are no UTF-8", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "rööt")
      const applied = apply([
        [dir("d\xff/"), file("d\xff/n\xc3\xa9\xfe\n", "x"), symlink("l", "d\xff/n\xc3\xa9\xfe\n")]
      ])
      await run(applied, root)
      const d = Buffer.concat([Buffer.from(`${root}/d`), Buffer.from([0xff])])
      assert.deepStrictEqual(fs.readdirSync(d, "latin1" as BufferEncoding), ["n\xc3\xa9\xfe\n"])
      assert.strictEqual(fs.readFileSync(path.join(root, "l"), "utf8"), "x")
      assert.deepStrictEqual(await differences(applied, root), [])
    }))

  it("takes names of 255 bytes and paths of more than 1,000", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      const deep = `${"x".repeat(255)}/${"y".repeat(255)}/${"z".repeat(255)}/${"w".repeat(255)}`
      const applied = apply([[file(deep, "deep")]])
      await run(applied, root)
      assert.strictEqual(fs.readFileSync(path.join(root, deep), "utf8"), "deep")
    }))

  it("names what the system does not take, and writes the rest", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "r".repeat(200))
      const long = `${"d".repeat(250)}/`.repeat(15)
      const applied = apply([[file(`${long}${"x".repeat(255)}/file`, "x"), file("ok", "ok")]])
      const result = await run(applied, root)
      assert.deepStrictEqual(
        result.unrestored.map(({ message, what }) => [what, message]),
        [["entry", "ENAMETOOLONG"]]
      )
      assert.strictEqual(fs.readFileSync(path.join(root, "ok"), "utf8"), "ok")
    }))

  it("lists per file what it cannot restore without libc", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      const applied = apply([
        [
          file("x", "content", { mtimeNanoseconds: 1, xattrs: new Map([["user.a", Buffer.from("1")]]) }),
          device("null", 1, 3),
          hardlink("null2", "null"),
          fifo("pipe")
        ]
      ])
      const result = await run(applied, root, { libc: false })
      assert.sameDeepMembers(
        result.unrestored.map(({ path, what }) => [what, path]),
        [
          ["xattr", "x"],
          ["mtime", "x"],
          ["device", "null"],
          ["device", "null2"],
          ["fifo", "pipe"]
        ]
      )
      for (const { message } of result.unrestored) assert.isNotEmpty(message)
      assert.strictEqual(fs.readFileSync(path.join(root, "x"), "utf8"), "content")
      assert.deepStrictEqual(fs.readdirSync(root), ["x"])
    }))

  it.runIf(isRoot)("lists per file what it cannot restore without root, and the content is right", () =>
    withDirectory(async (directory) => {
      fs.chmodSync(directory, 0o777)
      const root = path.join(directory, "root")
      const applied = apply([
        [
          dir("closed/", { mode: 0o0, uid: 0 }),
          file("closed/x", "content", { mode: 0o400, uid: 5, gid: 6 }),
          file("user", "u", {
            mode: 0o444,
            xattrs: new Map([
              ["trusted.a", Buffer.from("1")],
              ["security.capability", caps]
            ])
          }),
          device("null", 1, 3),
          fifo("pipe")
        ]
      ])
      process.setegid!(65534)
      process.seteuid!(65534)
      let result: UnpackResult
      try {
        result = await run(applied, root)
      } finally {
        process.seteuid!(0)
        process.setegid!(0)
      }
      const listed = result.unrestored.map(({ path, what }) => `${what} ${path}`)
      assert.includeMembers(listed, ["owner closed/x", "owner closed", "owner user", "device null", "xattr user"])
      assert.notInclude(listed, "mode closed/x")
      assert.strictEqual(fs.readFileSync(path.join(root, "closed/x"), "utf8"), "content")
      assert.strictEqual(fs.lstatSync(path.join(root, "closed")).mode & 0o7777, 0)
      assert.isFalse(fs.existsSync(path.join(root, "null")))
      assert.strictEqual(fs.existsSync(path.join(root, "pipe")), withLibc)
    })
  )

  it("keeps holes as holes", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      const applied = apply([sparseLayer])
      await run(applied, root)
      const stat = fs.statSync(path.join(root, "sparse"))
      assert.strictEqual(stat.size, 64 * 1024 * 1024)
      assert.isBelow(stat.blocks * 512, 1024 * 1024)
      const bytes = fs.readFileSync(path.join(root, "sparse"))
      assert.strictEqual(bytes.toString("latin1", 32 * 1024 * 1024, 32 * 1024 * 1024 + 5), "DATA\n")
      assert.deepStrictEqual(await differences(applied, root), [])
    }))

  it("writes no run of zeros as a hole that the layer holds", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      await run(apply([[file("zeros", Buffer.alloc(1024 * 1024))]]), root)
      assert.isAtLeast(fs.statSync(path.join(root, "zeros")).blocks * 512, 1024 * 1024)
    }))

  it("does not inherit the group of the directory it is in", () =>
    withDirectory(async (directory) => {
      fs.chmodSync(directory, 0o2755)
      if (isRoot) fs.chownSync(directory, 0, 50)
      const root = path.join(directory, "root")
      const applied = apply([[file("d/x", "x")]])
      await run(applied, root)
      assert.strictEqual(fs.lstatSync(root).mode & 0o7777, 0o755)
      assert.strictEqual(fs.lstatSync(path.join(root, "d/x")).gid, process.getegid!())
      assert.strictEqual(fs.lstatSync(path.join(root, "d")).gid, process.getegid!())
    }))

  it("refuses a root that is there", () =>
    withDirectory(async (directory) => {
      const root = path.join(directory, "root")
      fs.symlinkSync(directory, root)
      const error = await failing(apply([[file("x", "y")]]), root)
      assert.deepStrictEqual([error._tag, error.reason], ["UnpackError", "exists"])
      assert.deepStrictEqual(fs.readdirSync(directory), ["root"])
    }))

  it("notices a layer that is not the one that was read", () =>
    withDirectory(async (directory) => {
      const applied = apply([[file("x", "content"), file("y", "more")]])
      const changes: ReadonlyArray<ReadonlyArray<Member>> = [
        [file("x", "longer content"), file("y", "more")],
        [file("x", "content")],
        [symlink("x", "content"), file("y", "more")]
      ]
      for (const [index, members] of changes.entries()) {
        const other = apply([members])
        const error = await failing({ ...applied, feed: other.feed }, path.join(directory, `root${index}`))
        assert.strictEqual(error.reason, "layer-changed")
      }
    }))

  it("fails with the feed's own trouble", () =>
    withDirectory(async (directory) => {
      const applied = apply([[file("x", "content")]])
      const error = await failing(
        {
          ...applied,
          feed: () => {
            throw new Error("read failed")
          }
        },
        path.join(directory, "root")
      )
      assert.strictEqual(error.reason, "layer-read")
      assert.include(error.message, "read failed")
    }))

  it("leaves the umask as it was", () =>
    withDirectory(async (directory) => {
      const before = process.umask(0o027)
      try {
        await run(apply([[file("x", "y", { mode: 0o666 })]]), path.join(directory, "root"))
        assert.strictEqual(fs.lstatSync(path.join(directory, "root/x")).mode & 0o7777, 0o666)
      } finally {
        assert.strictEqual(process.umask(before), 0o027)
      }
    }))
})

describe("layers in files", () => {
  const layers = (): ReadonlyArray<ReadonlyArray<Member> | Buffer> => [
    Array.from({ length: 2500 }, (_, index) =>
      file(`d${index % 7}/f${index}`, "x".repeat(index * 3), { mtimeNanoseconds: withLibc ? index : 0 })
    ),
    sparseLayer,
    [
      file("big", Buffer.alloc(3_000_000, "0123456789")),
      hardlink("big2", "big"),
      file("d1/f1", ""),
      file("d2/f2", "changed"),
      file("empty")
    ]
  ]

  const inputs = (applied: Applied, directory: string, form: "plain" | "gzip", offset = 0): ReadonlyArray<LayerInput> =>
    applied.tars.map((bytes, index) => {
      const name = path.join(directory, `${index}.tar`)
      const stored = form === "plain" ? bytes : zlib.gzipSync(bytes)
      fs.writeFileSync(name, Buffer.concat([Buffer.alloc(offset, "#"), stored, Buffer.from("behind")]))
      return { region: { path: name, offset, size: stored.length }, edits: [] }
    })

  it.each([
    ["plain", 0],
    ["plain", 12345],
    ["gzip", 0],
    ["gzip", 77]
  ] as const)("%s at %i", (form, offset) =>
    withDirectory(async (directory) => {
      const applied = apply(layers(), { digests: false })
      const hashed = apply(layers())
      const root = path.join(directory, "root")
      const result = await Effect.runPromise(
        unpack(applied.tree, Buffer.from(root), inputs(applied, directory, form, offset))
      )
      assert.deepStrictEqual(
        result.unrestored.filter(({ what }) => what !== "mtime"),
        []
      )
      assert.strictEqual(result.names, applied.tree.names)
      // The digests that unpacking noted are those of a pass over the layers, and of the disk.
      for (const [name, { inode }] of hashed.tree.entries())
        assert.strictEqual(applied.tree.lookup(name)!.inode.sha256, inode.sha256, name)
      if (withLibc) assert.deepStrictEqual(await differences(applied, root), [])
    })
  )

  it("are written by slices that another thread may take", () =>
    withDirectory(async (directory) => {
      const applied = apply(layers(), { digests: false })
      const root = path.join(directory, "root")
      let slices = 0
      await Effect.runPromise(
        unpack(applied.tree, Buffer.from(root), inputs(applied, directory, "plain"), {
          write: (tasks, onResult) =>
            Effect.sync(() => {
              slices = tasks.length
              for (const [index, task] of tasks.entries()) {
                onResult(structuredClone(writeJob.run(structuredClone(task), () => {})), index)
              }
            })
        })
      )
      assert.isAbove(slices, 3)
      assert.match(applied.tree.lookup("big")?.inode.sha256 ?? "", /^[0-9a-f]{64}$/)
      if (withLibc) assert.deepStrictEqual(await differences(applied, root), [])
    }))

  it("that are gone, cut or damaged since are told", () =>
    withDirectory(async (directory) => {
      const applied = apply([[file("a", "x".repeat(100_000)), file("b", "y".repeat(100_000))]])
      const attempt = async (name: string, form: "plain" | "gzip", damage: (file: string) => void) => {
        const sources = inputs(applied, directory, form)
        damage(sources[0]!.region.path)
        const error = await Effect.runPromise(
          Effect.flip(unpack(applied.tree, Buffer.from(path.join(directory, name)), sources))
        )
        return error.reason
      }
      assert.strictEqual(await attempt("r1", "plain", (name) => fs.rmSync(name)), "layer-read")
      assert.strictEqual(await attempt("r2", "plain", (name) => fs.truncateSync(name, 150_000)), "layer-changed")
      assert.strictEqual(await attempt("r3", "gzip", (name) => fs.truncateSync(name, 300)), "layer-read")
      assert.strictEqual(await attempt("r4", "gzip", (name) => fs.rmSync(name)), "layer-read")
      assert.strictEqual(
        await attempt("r5", "gzip", (name) => fs.writeFileSync(name, "x".repeat(100_000))),
        "layer-changed"
      )
    }))

  it("that their layer cuts short are told to be so, and not to have changed", () =>
    withDirectory(async (directory) => {
      const applied = apply([[file("a", "x".repeat(1000)), file("b", "y".repeat(300_000))]])
      const cut = { ...applied, tars: [applied.tars[0]!.subarray(0, 200_000)] }
      for (const form of ["plain", "gzip"] as const) {
        const error = await Effect.runPromise(
          Effect.flip(unpack(applied.tree, Buffer.from(path.join(directory, form)), inputs(cut, directory, form)))
        )
        assert.match(error.message, /^cannot take .*\/b from layer 0: the layer ends before its body does$/)
      }
    }))

  it("fail with what is there when the disk is full", async () => {
    if (!isRoot) return
    await withDirectory(async (directory) => {
      const small = path.join(directory, "small")
      fs.mkdirSync(small)
      ChildProcess.execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small])
      try {
        const error = await failing(apply([[file("a", Buffer.alloc(3_000_000, "x"))]]), path.join(small, "root"))
        assert.deepStrictEqual([error.reason, error.path], ["no-space", path.join(small, "root/a")])
      } finally {
        ChildProcess.execFileSync("umount", [small])
      }
    })
  })
})

const failing = async (applied: Applied, root: string): Promise<UnpackError> => {
  try {
    unpackSync(applied.tree, Buffer.from(root), applied.feed)
  } catch (error) {
    assert.instanceOf(error, UnpackError)
    return error as UnpackError
  }
  return assert.fail("it does not fail")
}

/** A pax 1.0 sparse member as GNU tar writes it: 64 MiB with five bytes in the middle. */
const sparseLayer = ((): Buffer => {
  const map = Buffer.alloc(512)
  map.write(`2\n${32 * 1024 * 1024}\n5\n${64 * 1024 * 1024}\n0\n`)
  const member = file("GNUSparseFile.1/sparse", Buffer.concat([map, Buffer.from("DATA\n")]), {
    records: {
      "GNU.sparse.major": "1",
      "GNU.sparse.minor": "0",
      "GNU.sparse.name": "sparse",
      "GNU.sparse.realsize": String(64 * 1024 * 1024)
    }
  })
  return apply([[member]]).tars[0]!
})()
