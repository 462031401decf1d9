import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { compare } from "../../src/rootfs/Compare.ts"
import { FileColumns, hashOf } from "../../src/rootfs/FileColumns.ts"
import { type FileTree, type Inode, pathOf } from "../../src/rootfs/FileTree.ts"
import * as Mtree from "../../src/rootfs/Mtree.ts"
import { unpack } from "../../src/rootfs/Unpack.ts"
import { writeFiles } from "../../src/rootfs/WriteFiles.ts"
import {
  type Applied,
  apply,
  dir,
  file,
  hardlink,
  type Member,
  opaque,
  symlink,
  whiteout,
  withDirectory
} from "./Layers.ts"
import { member } from "./RandomLayers.ts"

type Layers = ReadonlyArray<ReadonlyArray<Member>>

const plain = (layers: Layers): Applied => apply(layers, { digests: false })
const inColumns = (layers: Layers, columns = new FileColumns()): Applied => apply(layers, { digests: false }, columns)

/** All there is to say of a tree, which makes objects of all its files. */
const dump = (tree: FileTree): ReadonlyArray<unknown> => {
  const numbers = new Map<Inode, number>()
  return [
    { names: tree.names, held: tree.held },
    ...[...tree.entries()].map(([name, { inode, layer }]) => {
      if (!numbers.has(inode)) numbers.set(inode, numbers.size)
      return { name, made: layer, same: numbers.get(inode), ...inode }
    })
  ]
}

const told = ({ layers }: Applied): ReadonlyArray<unknown> =>
  layers.map(({ hidden, opaque, ...rest }) => ({
    ...rest,
    // In the order of a directory's names, which says nothing.
    hidden: hidden.map(([directory, name]) => `${pathOf(directory)}/${name}`).sort(),
    opaque: opaque.map(pathOf)
  }))

const manifest = (tree: FileTree): string => Buffer.concat([...Mtree.write(tree)]).toString("latin1")

/** Layers in files, in which threads could read. */
const inFiles = (applied: Applied, directory: string) =>
  applied.tars.map((tar, index) => {
    const file = path.join(directory, `${index}.tar`)
    fs.writeFileSync(file, tar)
    return { region: { path: file, offset: 0, size: tar.length }, edits: [] }
  })

/** Random layers, with more files than anything else, and names that files and others share. */
const layers = fc.array(
  fc.array(
    fc.oneof(
      { weight: 2, arbitrary: member },
      {
        weight: 3,
        arbitrary: fc
          .tuple(fc.constantFrom("", "a/", "a/b/", "./a/", "ab/"), fc.constantFrom("f", "g", "a", ".h", "\xff", "x=1"))
          .map(([directory, name]) => file(directory + name, name))
      }
    ),
    { maxLength: 12 }
  ),
  { maxLength: 4 }
)

describe("files in columns", () => {
  it("are the same tree as objects, whatever layers do to it", () => {
    fc.assert(
      fc.property(layers, (layers) => {
        const expected = plain(layers)
        const found = inColumns(layers)
        assert.strictEqual(manifest(found.tree), manifest(expected.tree))
        assert.deepStrictEqual(told(found), told(expected))
        assert.deepStrictEqual(dump(found.tree), dump(expected.tree))
      }),
      { numRuns: 500 }
    )
  })

  it("are written as objects are, and their digests go into the manifest", async () => {
    await fc.assert(
      fc.asyncProperty(layers, (layers) =>
        withDirectory(async (directory) => {
          const expected = plain(layers)
          const found = inColumns(layers)
          const root = Buffer.from(path.join(directory, "root"))
          const draft = new Mtree.Draft(found.tree)
          await Effect.runPromise(unpack(found.tree, root, inFiles(found, directory), { libc: true }))
          while (draft.next());
          const pieces = draft.complete()
          const other = Buffer.from(path.join(directory, "other"))
          await Effect.runPromise(unpack(expected.tree, other, inFiles(expected, directory), { libc: true }))
          assert.strictEqual(Buffer.concat(pieces ?? []).toString("latin1"), manifest(expected.tree))
          assert.deepStrictEqual((await Effect.runPromise(compare(expected.tree, root))).problems, [])
        })
      ),
      { numRuns: 60 }
    )
  })

  it("grow in number, and later ones of the same name take the place of earlier ones", () => {
    const many: ReadonlyArray<Member> = [
      dir("d/"),
      dir("e/"),
      ...Array.from({ length: 5000 }, (_, index) => file(`${"de"[index % 2]}/file-${index}`, "x".repeat(index % 7)))
    ]
    const again: ReadonlyArray<Member> = [
      ...Array.from({ length: 50 }, (_, index) => file(`d/file-${index * 20}`, "newer")),
      symlink("d/file-2", "file-4"),
      hardlink("e/hard", "e/file-77"),
      whiteout("e/file-1"),
      file("e/file-1/inside", "")
    ]
    for (const layers of [[many], [many, again], [many, again, [opaque("d"), file("d/file-0", "last")]]]) {
      const expected = plain(layers)
      const found = inColumns(layers)
      assert.strictEqual(manifest(found.tree), manifest(expected.tree))
      assert.deepStrictEqual(told(found), told(expected))
      assert.deepStrictEqual(dump(found.tree), dump(expected.tree))
    }
  })

  it("of names that the table finds hard to tell apart are objects where need be", () => {
    const seed = 12345
    const names: Array<string> = []
    // The first directory that has files, and the home of all of them in tables of up to 4096 places.
    for (let at = 0; names.length < 200; at++) if ((hashOf(seed, 0, `n${at}`) & 4095) < 2) names.push(`n${at}`)
    const members = [dir("d/"), ...names.map((name) => file(`d/${name}`, name))]
    const columns = new FileColumns(seed)
    const found = inColumns([members, [file(`d/${names[150]}`, "again")]], columns)
    assert.isBelow(columns.count, 200)
    assert.deepStrictEqual(dump(found.tree), dump(plain([members, [file(`d/${names[150]}`, "again")]]).tree))
  })

  it("that become objects while they are written get their digests", () =>
    withDirectory(async (directory) => {
      const members = [
        dir("d/"),
        dir("e/"),
        file("d/f", "one"),
        file("d/g", "two"),
        file("e/f", "three"),
        file("e/g", "")
      ]
      const found = inColumns([members])
      const draft = new Mtree.Draft(found.tree)
      await Effect.runPromise(
        unpack(found.tree, Buffer.from(path.join(directory, "root")), inFiles(found, directory), {
          write: (tasks, onResult) =>
            Effect.sync(() => {
              assert.strictEqual(found.tree.lookup("d")!.children!.size, 2)
              for (const [index, task] of tasks.entries()) onResult(writeFiles(task), index)
              assert.strictEqual(found.tree.lookup("e")!.children!.size, 2)
            })
        })
      )
      const expected = apply([members])
      const digests = ({ tree }: Applied) => [...tree.entries()].map(([name, { inode }]) => [name, inode.sha256])
      assert.strictEqual(digests(expected).filter(([, digest]) => digest !== undefined).length, 4)
      assert.deepStrictEqual(digests(found), digests(expected))
      while (draft.next());
      assert.strictEqual(Buffer.concat(draft.complete() as Array<Buffer>).toString("latin1"), manifest(expected.tree))
    }))

  it("hold what columns have no place for as objects", () => {
    const columns = new FileColumns()
    const { tree } = inColumns(
      [
        [
          file("a", "1", { xattrs: new Map([["user.x", Buffer.from("1")]]) }),
          file("b", "2", { records: { comment: "no attribute" } }),
          symlink("c", "a"),
          file("d", "3"),
          hardlink("e", "a")
        ]
      ],
      columns
    )
    assert.strictEqual(columns.count, 2)
    assert.deepStrictEqual([...tree.root.nodes!.keys()], ["a", "c", "e"])
    assert.strictEqual(tree.lookup("b")?.inode.nlink, 1)
    assert.deepStrictEqual([...tree.root.nodes!.keys()].sort(), ["a", "b", "c", "d", "e"])
  })
  it("have no name that no file system can have", () => {
    const members = [
      file("d/f", ""),
      file("x", "", { records: { path: "d/a\0b" } }),
      file("y", "", { records: { path: `d/${"n".repeat(256)}` } })
    ]
    const found = inColumns([members])
    assert.deepStrictEqual(told(found), told(plain([members])))
    assert.deepStrictEqual(
      found.layers[0]!.problems.map(({ check }) => check),
      ["rootfs.path-unusable", "rootfs.path-unusable"]
    )
    assert.strictEqual(found.tree.columns!.count, 1)
  })
})
