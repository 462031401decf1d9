import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { type CompareResult, compare } from "../../src/rootfs/Compare.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import * as Mtree from "../../src/rootfs/Mtree.ts"
import { fileLines } from "../../src/rootfs/MtreeFiles.ts"
import { type Settled, type SettleOptions, settle } from "../../src/rootfs/Settle.ts"
import { settleJob } from "../../src/rootfs/SettleFiles.ts"
import { slices } from "../../src/rootfs/Slices.ts"
import { unpackSync } from "../../src/rootfs/Unpack.ts"
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
import { member, withoutFaults } from "./RandomLayers.ts"

const usable = isRoot && Libc.load()?.files !== undefined

const capability = Buffer.from("0100000200200000000000000000000000000000", "hex")

const members: ReadonlyArray<Member> = [
  dir("./", { mtimeSeconds: 1 }),
  dir("etc/", { mode: 0o2750, uid: 3, gid: 4, xattrs: new Map([["user.note", Buffer.from("d")]]) }),
  file("etc/passwd", "root:x:0:0\n", { mtimeNanoseconds: 123_456_789 }),
  file("etc/size=1", "odd", { mode: 0o4711, uid: 70_000, gid: 5 }),
  file("etc/a b\n\xff\\", "", { mtimeSeconds: 5_000_000_000 }),
  dir("usr/"),
  dir("usr/lib/"),
  file("usr/lib/large", Buffer.alloc(600_000, "x")),
  file("usr/lib/caps", "c", { xattrs: new Map([["security.capability", capability]]) }),
  symlink("usr/lib/link", "large"),
  dir("usr/empty/"),
  dir("links/"),
  file("links/one", "1"),
  hardlink("links/two", "links/one"),
  dir("dev/"),
  device("dev/null", 1, 3),
  device("dev/disk", 259, 70_000, "block"),
  fifo("dev/pipe"),
  symlink("lib", "usr/lib")
]

interface Unpacked {
  readonly root: string
  readonly manifest: Buffer
  readonly applied: Applied
}

const unpacked = (layers: ReadonlyArray<ReadonlyArray<Member>>, use: (unpacked: Unpacked) => void | Promise<void>) =>
  withDirectory(async (directory) => {
    const applied = apply(layers)
    const root = path.join(directory, "root")
    unpackSync(applied.tree, Buffer.from(root), applied.feed)
    await use({ root, manifest: Buffer.concat([...Mtree.write(applied.tree)]), applied })
  })

const settled = (manifest: Uint8Array, root: string, options?: SettleOptions): Promise<Settled> =>
  Effect.runPromise(settle(manifest, Buffer.from(root), options))

const compared = (manifest: Uint8Array, root: string, known?: Settled) => {
  const { problems, tree } = Mtree.parse(manifest, known?.lines)
  return Effect.runPromise(compare(tree, Buffer.from(root), known === undefined ? {} : { settled: known })).then(
    (result: CompareResult) => ({ ...result, lines: problems })
  )
}

/** Says what a comparison of everything says; answers what needed none. */
const agrees = async (manifest: Uint8Array, root: string): Promise<Settled> => {
  const known = await settled(manifest, root)
  assert.deepStrictEqual(await compared(manifest, root, known), await compared(manifest, root))
  return known
}

const at = (known: Settled): ReadonlyArray<string> => [...known.directories.keys()].sort()

/** Changes something in the directory of `name` and puts its times back. */
const quietly = (name: string, change: (name: string) => void): void => {
  const parent = path.dirname(name)
  const { atime, mtime } = fs.lstatSync(parent)
  change(name)
  fs.utimesSync(parent, atime, mtime)
}

describe.runIf(usable)("a tree as its manifest tells it", () => {
  it("is settled, but for names of one file", () =>
    unpacked([members], async ({ manifest, root }) => {
      const known = await agrees(manifest, root)
      assert.deepStrictEqual(at(known), ["", "dev", "etc", "usr", "usr/empty", "usr/lib"])
      assert.sameMembers([...known.directories.get("usr")!], ["lib", "empty"])
      assert.strictEqual(known.names, 10)
      assert.strictEqual(known.files, 5)
      assert.strictEqual(known.bytes, 11 + 3 + 600_000 + 1)
      const result = await compared(manifest, root, known)
      assert.deepStrictEqual(result.problems, [])
      assert.strictEqual(result.names, members.length)
      assert.strictEqual(result.files, 6)
    }))

  it("is settled by tasks that another thread may take", () =>
    unpacked([members], async ({ manifest, root }) => {
      const run: SettleOptions["run"] = (tasks) =>
        Effect.sync(() => tasks.map((task) => structuredClone(settleJob.run(structuredClone(task), () => {}))))
      assert.deepStrictEqual(await settled(manifest, root, { run }), await settled(manifest, root))
    }))

  it("leaves out what it is told to", () =>
    unpacked([members], async ({ manifest, root }) => {
      assert.deepStrictEqual(at(await settled(manifest, root, { except: new Set(["etc", "", "usr/lib"]) })), [
        "dev",
        "usr",
        "usr/empty"
      ])
    }))

  it("counts the labels of the host", () =>
    unpacked([members], async ({ manifest, root }) => {
      const libc = Libc.load()!
      const target = Libc.path(Buffer.from(`${root}/etc/passwd`))
      if (libc.lsetxattr(target, "security.ima", "x") !== 0) return
      const known = await settled(manifest, root)
      assert.include(at(known), "etc")
      assert.strictEqual(known.hostLabels, 1)
      const result = await compared(manifest, root, known)
      assert.deepStrictEqual(result.problems, [])
      assert.strictEqual(result.tolerated.find(({ tolerance }) => tolerance === "host-labels")!.count, 1)
    }))
})

const changes: ReadonlyArray<
  readonly [name: string, directory: string, change: (root: string) => void, ReadonlyArray<string>]
> = [
  [
    "content",
    "etc",
    (root) => {
      const { atime, mtime } = fs.statSync(`${root}/etc/size=1`)
      fs.writeFileSync(`${root}/etc/size=1`, "ODD")
      fs.utimesSync(`${root}/etc/size=1`, atime, mtime)
    },
    // Writing takes the upper bits away.
    ["rootfs.content-mismatch etc/size=1"]
  ],
  ["permissions", "etc", (root) => fs.chmodSync(`${root}/etc/passwd`, 0o600), ["rootfs.mode-mismatch etc/passwd"]],
  [
    "an owner",
    "usr/lib",
    (root) => fs.chownSync(`${root}/usr/lib/large`, 0, 9),
    ["rootfs.owner-mismatch usr/lib/large"]
  ],
  [
    "a time",
    "usr/lib",
    (root) => fs.utimesSync(`${root}/usr/lib/large`, 7, 7),
    ["rootfs.mtime-mismatch usr/lib/large"]
  ],
  [
    "an added file",
    "usr/empty",
    (root) => quietly(`${root}/usr/empty/new`, (name) => fs.writeFileSync(name, "")),
    ["rootfs.extra usr/empty/new"]
  ],
  [
    "a removed file",
    "etc",
    (root) => quietly(`${root}/etc/passwd`, (name) => fs.rmSync(name)),
    ["rootfs.missing etc/passwd"]
  ],
  [
    "an attribute",
    "usr/lib",
    (root) => Libc.load()!.lremovexattr(Libc.path(Buffer.from(`${root}/usr/lib/caps`)), "security.capability"),
    ["rootfs.xattr-mismatch usr/lib/caps"]
  ],
  [
    "a symlink",
    "usr/lib",
    (root) =>
      quietly(`${root}/usr/lib/link`, (name) => {
        fs.rmSync(name)
        fs.symlinkSync("caps", name)
        fs.lutimesSync(name, 1_600_000_000, 1_600_000_000)
      }),
    ["rootfs.link-mismatch usr/lib/link"]
  ],
  [
    "a name outside",
    "usr/lib",
    (root) => fs.linkSync(`${root}/usr/lib/large`, `${root}/../outside`),
    ["rootfs.hardlink-mismatch usr/lib/large"]
  ],
  [
    "a device",
    "dev",
    (root) =>
      quietly(`${root}/dev/null`, (name) => {
        const { atime, mtime } = fs.lstatSync(name)
        fs.rmSync(name)
        Libc.load()!.mknod(Libc.path(Buffer.from(name)), "char", 0o660, 1, 5)
        fs.chmodSync(name, 0o660)
        fs.utimesSync(name, atime, mtime)
      }),
    ["rootfs.device-mismatch dev/null"]
  ],
  [
    "a directory in place of a file",
    "etc",
    (root) =>
      quietly(`${root}/etc/passwd`, (name) => {
        fs.rmSync(name)
        fs.mkdirSync(name)
      }),
    ["rootfs.type-mismatch etc/passwd"]
  ]
]

describe.runIf(usable)("what is not as the manifest tells", () => {
  for (const [name, directory, change, expected] of changes) {
    it(`${name} leaves its directory to the comparison`, () =>
      unpacked([members], async ({ manifest, root }) => {
        const before = at(await settled(manifest, root))
        assert.include(before, directory)
        change(root)
        const known = await agrees(manifest, root)
        assert.deepStrictEqual(
          at(known),
          before.filter((one) => one !== directory)
        )
        const { problems } = await compared(manifest, root, known)
        const found = problems.map(({ check, path }) => `${check} ${path}`)
        assert.includeMembers(found, [...expected])
      }))
  }

  it("a symlink on the way is not followed, whatever is behind it", () =>
    unpacked([members], async ({ manifest, root }) => {
      fs.renameSync(`${root}/usr`, `${root}/../usr`)
      fs.symlinkSync("../usr", `${root}/usr`)
      const known = await agrees(manifest, root)
      assert.notIncludeMembers([...at(known)], ["usr", "usr/lib", "usr/empty"])
      const { problems } = await compared(manifest, root, known)
      assert.includeMembers(
        problems.map(({ check, path }) => `${check} ${path}`),
        ["rootfs.type-mismatch usr"]
      )
    }))

  it("any change of a random tree is found by both", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(member, { maxLength: 12 }), { minLength: 1, maxLength: 2 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(8)), { maxLength: 3 }),
        async (random, damages) => {
          await unpacked(withoutFaults(random), async ({ applied, manifest, root }) => {
            const names = [...applied.tree.entries()].map(([name]) => name)
            for (const [which, how] of damages) damage(path.join(root, names[which % names.length]!), how)
            await agrees(manifest, root)
          })
        }
      ),
      { numRuns: 60 }
    ))
})

const damage = (name: string, how: number): void => {
  const stat = fs.lstatSync(name, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (how === 0) fs.lchownSync(name, 77, 0)
  else if (how === 1) fs.lutimesSync(name, 3, 3)
  else if (how === 2 && stat.isFile()) fs.appendFileSync(name, "more")
  else if (how === 3 && stat.isFile()) quietly(name, () => fs.linkSync(name, `${name}-link`))
  else if (how === 4 && stat.isDirectory()) quietly(`${name}/new`, () => fs.writeFileSync(`${name}/new`, ""))
  else if (how === 5 && path.basename(name) !== "root") quietly(name, () => fs.rmSync(name, { recursive: true }))
  else if (how === 6 && stat.isDirectory()) quietly(`${name}/d`, () => fs.mkdirSync(`${name}/d`, { recursive: true }))
  else if (how === 7 && path.basename(name) !== "root" && !fs.existsSync(`${name}.moved`)) {
    quietly(name, () => {
      fs.renameSync(name, `${name}.moved`)
      fs.symlinkSync(`${path.basename(name)}.moved`, name)
    })
  } else if (!stat.isSymbolicLink()) fs.chmodSync(name, 0o711)
}

describe.runIf(usable)("a manifest that is not as it was written", () => {
  const lines = (manifest: Buffer): Array<string> => manifest.toString("latin1").split("\n")
  const agreesWith = (lines: ReadonlyArray<string>, root: string): Promise<Settled> =>
    agrees(Buffer.from(lines.join("\n"), "latin1"), root)

  const odd = [
    "/set uid=5",
    "/unset uid",
    "    /set type=dir",
    "    ..",
    "..",
    "    inside type=dir",
    "./etc/passwd uid=5",
    "    usr\\057lib\\057large uid=5",
    "    etc/passwd uid=5",
    "etc type=dir mode=0700",
    "\tetc type=dir mode=0700",
    "type=file uid=7 ./etc/passwd",
    "    type=file uid=7 ./etc/passwd",
    "    passwd uid=5 \\",
    "# comment \\",
    "    # xattr.user.x=eHg=",
    "    #",
    "#  keywords: xattr",
    "",
    "    ",
    "  passwd"
  ]

  it("means what it means to a comparison, with any odd line anywhere", () =>
    unpacked([members], async ({ manifest, root }) => {
      const whole = lines(manifest)
      for (const line of odd) {
        for (let index = 4; index < whole.length; index += 1 + (odd.indexOf(line) % 3)) {
          await agreesWith(whole.toSpliced(index, 0, line), root)
        }
      }
    }))

  it("means what it means to a comparison, with lines removed, repeated, moved or changed", () =>
    unpacked([members], async ({ manifest, root }) => {
      const whole = lines(manifest)
      const edit = fc.tuple(fc.nat(whole.length - 1), fc.nat(whole.length - 1), fc.nat(4), fc.nat())
      await fc.assert(
        fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 2 }), async (edits) => {
          const edited = [...whole]
          for (const [from, to, how, seed] of edits) {
            const line = edited[from] ?? ""
            if (how === 0) edited.splice(from, 1)
            else if (how === 1) edited.splice(to, 0, line)
            else if (how === 2) edited.splice(to, 0, ...edited.splice(from, 1))
            else if (how === 3) edited[from] = line.slice(0, seed % (line.length + 1))
            else
              edited[from] = `${line.slice(0, seed % (line.length + 1))}7${line.slice((seed % (line.length + 1)) + 1)}`
          }
          await agreesWith(edited, root)
        }),
        { numRuns: 150 }
      )
    }))

  it("is cut where it names each directory once, and nowhere else", () => {
    const head =
      "#mtree\n#      keywords: type,mode,uid,gid,nlink,size,link,device,time,sha256digest,xattr\n\n/set type=file uid=0 gid=0\n"
    const cut = (text: string) =>
      fileLines(Buffer.from(head + text))?.map(({ bytes, directory, lines, names }) => ({
        bytes,
        directory,
        lines,
        names
      }))
    assert.deepStrictEqual(cut(". type=dir\n    a size=7 time=1.000000000\n    # xattr.b=\n..\n"), [
      { directory: "", lines: 2, names: 1, bytes: 7 }
    ])
    assert.isUndefined(cut(". type=dir\n    a\nb\n..\n"))
    assert.isUndefined(cut(". type=dir\nb type=dir\n..\nb type=dir\n..\n..\n"))
    assert.isUndefined(cut(". type=dir\n..\n..\n"))
    assert.isUndefined(cut(". type=dir\nb type=dir type=file\n..\n"))
    assert.isUndefined(cut("b type=dir\n..\n"))
    assert.isUndefined(fileLines(Buffer.from(`${head.replace(" uid=0", " uid=1")}. type=dir\n..\n`)))
  })
})

describe("slices", () => {
  it("hold everything once, in order, large ones first", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40_000_000), { maxLength: 200 }), (work) => {
        const ends = slices(work.length, (index) => work[index]!)
        assert.strictEqual(ends.at(-1) ?? 0, work.length)
        assert.isTrue(ends.every((end, index) => end > (ends[index - 1] ?? 0)))
      })
    )
    const even = slices(1000, () => 1024 * 1024).map((end, index, ends) => end - (ends[index - 1] ?? 0))
    assert.deepStrictEqual([even[0], even.at(-1)! <= 16, even.length < 40], [125, true, true])
    assert.deepStrictEqual(
      even,
      even.toSorted((a, b) => b - a)
    )
  })
})
