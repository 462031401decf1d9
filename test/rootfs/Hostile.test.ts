/**
 * Every known way in which a layer makes an unpacker touch what is not its own: the tree outside the root stays as it
 * was, to the nanosecond, and each attempt is reported.
 */

import * as fs from "node:fs"
import * as path from "node:path"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { readDiskSync } from "../../src/rootfs/DiskTree.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
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
  opaque,
  symlink,
  whiteout,
  withDirectory
} from "./Layers.ts"

/** All there is to know of everything below `directory`, without `root`. */
const state = (directory: string): unknown => {
  const lines: Array<unknown> = []
  const visit = (at: string): void => {
    const stat = fs.lstatSync(at, { bigint: true })
    const xattrs = Libc.load()?.xattrs(Libc.path(Buffer.from(at)))
    lines.push([
      at,
      stat.mode,
      stat.uid,
      stat.gid,
      stat.nlink,
      stat.ino,
      stat.size,
      stat.mtimeNs,
      stat.ctimeNs,
      stat.isFile() ? fs.readFileSync(at, "latin1") : stat.isSymbolicLink() ? fs.readlinkSync(at) : "",
      xattrs
    ])
    if (stat.isDirectory()) for (const name of fs.readdirSync(at).sort()) visit(path.join(at, name))
  }
  visit(path.join(directory, "outside"))
  return [lines, fs.readdirSync(directory).sort()]
}

interface Attempt {
  readonly applied: Applied
  /** Check ids of the scanner and of the tree, each once. */
  readonly checks: ReadonlyArray<string>
  readonly names: ReadonlyArray<string>
}

/** Unpacks beside `outside`, whose path is the argument of `layers`. */
const attempt = (layers: (outside: string) => ReadonlyArray<ReadonlyArray<Member>>): Promise<Attempt> =>
  withDirectory((directory) => {
    const outside = path.join(directory, "outside")
    fs.mkdirSync(path.join(outside, "dir/sub"), { recursive: true })
    fs.writeFileSync(path.join(outside, "secret"), "secret", { mode: 0o600 })
    fs.writeFileSync(path.join(outside, "dir/file"), "file")
    fs.symlinkSync("secret", path.join(outside, "link"))
    fs.mkdirSync(path.join(directory, "parent"))
    const applied = apply(layers(outside))
    const before = state(directory)
    const root = path.join(directory, "parent/root")
    unpackSync(applied.tree, Buffer.from(root), applied.feed)
    assert.deepStrictEqual(state(directory), before)
    assert.deepStrictEqual(fs.readdirSync(path.join(directory, "parent")), ["root"])
    const names: Array<string> = []
    for (const [name, { inode }] of readDiskSync(Buffer.from(root)).tree.entries()) {
      names.push(name)
      // A file that is linked to from outside the root would be one that was there before.
      if (inode.type !== "directory") assert.strictEqual(fs.lstatSync(path.join(root, name)).nlink, inode.nlink)
    }
    const checks = new Set([
      ...applied.tarProblems.map(({ check }) => check),
      ...applied.layers.flatMap(({ problems }) => problems.map(({ check }) => check))
    ])
    return { applied, checks: [...checks], names }
  })

type Case = readonly [
  name: string,
  layers: (outside: string) => ReadonlyArray<ReadonlyArray<Member>>,
  checks: ReadonlyArray<string>
]

const cases: ReadonlyArray<Case> = [
  [
    "a name with ..",
    () => [[file("../../outside/secret", "x"), file("a/../../../outside/new", "x")]],
    ["tar.path-escapes"]
  ],
  ["an absolute name", (outside) => [[file(`${outside}/secret`, "x")]], ["tar.path-absolute"]],
  [
    "a symlink to a directory, then a file through it",
    (outside) => [[symlink("l", outside), file("l/secret", "x"), file("l/new", "x")]],
    ["rootfs.path-through-symlink"]
  ],
  [
    "the same in a later layer",
    (outside) => [[symlink("l", outside)], [file("l/secret", "x")]],
    ["rootfs.path-through-symlink"]
  ],
  [
    "a relative symlink upwards",
    () => [[symlink("l", "../../outside"), file("l/secret", "x")]],
    ["rootfs.path-through-symlink"]
  ],
  [
    "two symlinks, one through the other",
    () => [[symlink("a", "."), symlink("a/b", "../.."), file("b/outside/secret", "x")]],
    ["rootfs.path-through-symlink"]
  ],
  [
    "a symlink in the middle of symlinks",
    (outside) => [[symlink("x", "y"), symlink("y", outside), dir("x/dir/"), file("x/dir/file", "x")]],
    ["rootfs.path-through-symlink"]
  ],
  ["a symlink to a file, then the file itself", (outside) => [[symlink("l", `${outside}/secret`), file("l", "x")]], []],
  [
    "a directory's attributes through a symlink",
    (outside) => [[symlink("l", outside)], [dir("l/", { mode: 0o777, uid: 7 })]],
    []
  ],
  [
    "a directory below a symlink",
    (outside) => [[symlink("l", outside), dir("l/dir/", { mode: 0o777, uid: 7 })]],
    ["rootfs.path-through-symlink"]
  ],
  [
    "a whiteout through a symlink",
    (outside) => [[symlink("l", outside)], [whiteout("l/secret"), whiteout("l/dir")]],
    ["rootfs.path-through-symlink", "rootfs.whiteout-missing-target"]
  ],
  [
    "an opaque whiteout through a symlink",
    (outside) => [[symlink("l", outside)], [opaque("l")]],
    ["rootfs.path-through-symlink", "rootfs.whiteout-missing-target"]
  ],
  [
    "a whiteout of ..",
    () => [[dir("d/")], [file("d/.wh..."), file(".wh..."), file(".wh..")]],
    ["rootfs.whiteout-escapes"]
  ],
  [
    "a whiteout with a path in its name",
    () => [[dir("d/")], [file("d/.wh.../../../../outside/secret")]],
    ["tar.path-escapes"]
  ],
  [
    "a hardlink to an absolute path outside",
    (outside) => [[hardlink("h", `${outside}/secret`)]],
    ["rootfs.hardlink-missing-target"]
  ],
  ["a hardlink upwards", () => [[hardlink("h", "../../outside/secret")]], ["rootfs.hardlink-bad-target"]],
  [
    "a hardlink through a symlink",
    (outside) => [[symlink("l", outside), hardlink("h", "l/secret")]],
    ["rootfs.path-through-symlink", "rootfs.hardlink-missing-target"]
  ],
  [
    "a hardlink to a symlink, then a write to it",
    (outside) => [[symlink("l", `${outside}/secret`), hardlink("h", "l"), file("h", "x")]],
    []
  ],
  [
    "a hardlink to a symlink to a directory, then a file below it",
    (outside) => [[symlink("l", outside), hardlink("h", "l"), file("h/secret", "x")]],
    ["rootfs.path-through-symlink"]
  ],
  [
    "attributes of a hardlinked symlink",
    (outside) => [[symlink("l", `${outside}/secret`), hardlink("h", "l", { mode: 0o777, uid: 7, mtimeSeconds: 1 })]],
    []
  ],
  [
    "the root as a symlink",
    (outside) => [[symlink("./", outside), file("secret", "x")]],
    ["rootfs.root-not-directory"]
  ],
  [
    "the root as a file, and as a hardlink",
    () => [[file("./", "x"), hardlink(".", "x")]],
    ["rootfs.root-not-directory"]
  ],
  ["a device, then a file of its name", () => [[device("zero", 1, 5), file("zero", "x")]], []],
  ["a FIFO, then a file of its name", () => [[fifo("p"), file("p", "x")]], []],
  ["a file below a device", () => [[device("d", 1, 3), file("d/x", "x")]], ["rootfs.path-through-file"]],
  [
    "overlay's marks",
    () => [
      [device("w", 0, 0), dir("d/", { xattrs: new Map([["trusted.overlay.redirect", Buffer.from("/../../outside")]]) })]
    ],
    ["rootfs.overlay-artifact"]
  ],
  [
    "attributes of what a symlink points to",
    (outside) => [
      [
        symlink("l", `${outside}/secret`, {
          xattrs: new Map([
            ["trusted.evil", Buffer.from("x")],
            ["user.evil", Buffer.from("x")]
          ])
        })
      ]
    ],
    []
  ],
  [
    "a loop",
    () => [[symlink("a", "b"), symlink("b", "a"), file("a/x", "x")]],
    ["rootfs.path-through-symlink", "rootfs.path-unusable"]
  ]
]

describe("nothing outside the root is touched by", () => {
  it.each(cases)("%s", async (_name, layers, checks) => {
    const { checks: found } = await attempt(layers)
    assert.includeMembers([...found], [...checks])
  })

  it("any mixture", async () => {
    const name = fc.constantFrom(
      "a",
      "b",
      "a/b",
      "l",
      "l/a",
      "l/secret",
      "l/dir/file",
      "b/l",
      "../outside/secret",
      "/outside/secret",
      "a/../l/x"
    )
    const target = fc.constantFrom(
      "..",
      "../..",
      "/",
      "../../outside",
      "OUT",
      "OUT/secret",
      "l",
      "a",
      "b",
      ".",
      "OUT/dir/.."
    )
    const member: fc.Arbitrary<(outside: string) => Member> = fc.oneof(
      fc.tuple(name, target).map(
        ([at, to]) =>
          (outside: string) =>
            symlink(at, to.replace("OUT", outside))
      ),
      fc.tuple(name, target).map(
        ([at, to]) =>
          (outside: string) =>
            hardlink(at, to.replace("OUT", outside))
      ),
      name.map((at) => () => file(at, "hostile", { mode: 0o6777 })),
      name.map((at) => () => dir(`${at}/`, { mode: 0o777, mtimeSeconds: 3 })),
      name.map((at) => () => whiteout(at)),
      name.map((at) => () => opaque(at))
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(member, { maxLength: 8 }), { minLength: 1, maxLength: 3 }), async (layers) => {
        await attempt((outside) => layers.map((members) => members.map((make) => make(outside))))
      }),
      { numRuns: Number(process.env["HOSTILE_RUNS"] ?? 150) }
    )
  })

  it("a directory swapped for a symlink while it is written", () => {
    // Nothing can be swapped by another user: until the end only the owner may enter.
    return withDirectory((directory) => {
      const applied = apply([
        [dir("./", { mode: 0o777 }), dir("open/", { mode: 0o777 }), file("open/x", "x"), file("open/y", "y")]
      ])
      const root = path.join(directory, "root")
      const modes: Array<number> = []
      unpackSync(applied.tree, Buffer.from(root), (layer, visitor) =>
        applied.feed(layer, {
          ...visitor,
          onEntryEnd: (entry) => {
            visitor.onEntryEnd(entry)
            modes.push(fs.lstatSync(root).mode & 0o777, fs.lstatSync(path.join(root, "open")).mode & 0o777)
          }
        })
      )
      assert.isNotEmpty(modes)
      assert.isTrue(modes.every((mode) => mode === 0o700))
      assert.strictEqual(fs.lstatSync(path.join(root, "open")).mode & 0o777, 0o777)
    })
  })
})

describe("a file that is there already", () => {
  it.runIf(isRoot)("is never opened, whatever it is", () =>
    withDirectory((directory) => {
      const applied = apply([[dir("d/"), file("d/x", "new")]])
      const root = path.join(directory, "root")
      fs.writeFileSync(path.join(directory, "target"), "old")
      // Between making directories and writing files somebody with our own rights interferes.
      const result = unpackSync(applied.tree, Buffer.from(root), (layer, visitor) => {
        fs.symlinkSync(path.join(directory, "target"), path.join(root, "d/x"))
        applied.feed(layer, visitor)
      })
      assert.strictEqual(fs.readFileSync(path.join(directory, "target"), "utf8"), "old")
      assert.deepStrictEqual(
        result.unrestored.map(({ path, what }) => [what, path]),
        [["entry", "d/x"]]
      )
    })
  )
})
