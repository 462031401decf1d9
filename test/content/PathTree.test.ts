import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { PathTree, root } from "../../src/content/PathTree.ts"

/** All hash alike when `factor` is 0. */
const treeOf = (factor?: number): PathTree => {
  const tree = new PathTree()
  return factor === undefined ? tree : new PathTree({ ...tree.data(), factor })
}

const pathsOf = (tree: PathTree): Array<string> => {
  const paths: Array<string> = []
  for (let id = tree.first; id < tree.end; id = tree.next(id)) paths.push(tree.pathOf(id))
  return paths
}

const split = (path: string): readonly [directory: string, name: string] => {
  const slash = path.lastIndexOf("/")
  return [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)]
}

/** The path and all above it. */
const upwards = (path: string): ReadonlyArray<string> => {
  const parts = path.split("/")
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"))
}

describe("PathTree", () => {
  const name = fc.oneof(
    fc.constantFrom("a", "b", "ab", "\xff\x00", ".", "x".repeat(255)),
    fc
      .array(
        fc.integer({ min: 0, max: 255 }).filter((code) => code !== 0x2f),
        { minLength: 1, maxLength: 9 }
      )
      .map((codes) => String.fromCharCode(...codes))
  )
  const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/"))
  const paths = fc.array(path, { maxLength: 40 })

  for (const [how, factor] of [
    ["with the hashes of every day", undefined],
    ["when all hashes are the same", 0]
  ] as const) {
    it(`is what a map of strings is, ${how}`, () => {
      fc.assert(
        fc.property(paths, paths, (first, asked) => {
          const tree = treeOf(factor)
          // Records first, then their nodes, as a scan has them.
          const records = first.map((one, number) => {
            const [directory, last] = split(one)
            return tree.append(tree.reach(directory), last, 0, last.length, number & 7, number)
          })
          tree.reserve()
          const nodes = new Map<string, number>()
          for (const [number, one] of first.entries()) {
            const node = tree.settle(records[number]!)
            assert.strictEqual(nodes.get(one) ?? node, node)
            for (const above of upwards(one).slice(0, -1)) nodes.set(above, tree.reach(above))
            nodes.set(one, node)
            assert.strictEqual(tree.number(records[number]!), number)
            assert.strictEqual(tree.marks(records[number]!), number & 7)
          }
          assert.strictEqual(new Set(nodes.values()).size, nodes.size)
          for (const [one, node] of nodes) {
            assert.strictEqual(tree.pathOf(node), one)
            assert.strictEqual(tree.directory(node), nodes.get(split(one)[0]) ?? root)
            assert.isBelow(tree.directory(node), node)
            tree.mark(node, 1 << 20)
          }
          assert.includeMembers(pathsOf(tree), first)

          // As another thread has it, asked by records of another tree.
          const read = new PathTree(structuredClone(tree.data()))
          assert.deepStrictEqual(pathsOf(read), pathsOf(tree))
          const questions = treeOf(factor)
          for (const one of [...asked, ...first]) {
            let node: number | undefined = root
            for (const above of upwards(one)) {
              if (node !== undefined) node = read.child(node, questions, questions.reach(above))
            }
            assert.strictEqual(node, nodes.get(one))
            if (node !== undefined) assert.isTrue(read.has(node, 1 << 20))
          }
          for (const one of asked) nodes.set(one, nodes.get(one) ?? read.reach(one))
          for (const [one, node] of nodes) assert.deepStrictEqual([read.reach(one), read.pathOf(node)], [node, one])
        }),
        { numRuns: 300 }
      )
    })
  }

  it("keeps ids, marks and order over many pages", () => {
    const tree = new PathTree()
    const expected: Array<string> = []
    for (let i = 0; i < 60_000; i++) {
      const one = `${i}-${"n".repeat(i % 200)}`
      tree.append(root, one, 0, one.length, i & 3, 0xffffffff - i)
      expected.push(one)
    }
    assert.isAbove(tree.data().pages.length, 10)
    tree.reserve()
    let i = 0
    for (let id = tree.first; id < tree.end; id = tree.next(id), i++) {
      assert.strictEqual(tree.settle(id), id)
      if (tree.marks(id) !== (i & 3) || tree.number(id) !== 0xffffffff - i) assert.fail(`record ${i}`)
    }
    assert.deepStrictEqual(pathsOf(tree), expected)
    assert.strictEqual(tree.reach("59999-".padEnd(6 + (59_999 % 200), "n")), tree.reach(expected[59_999]!))
  })

  it("grows on where another one ended", () => {
    let tree = new PathTree()
    const ids = Array.from({ length: 20_000 }, (_, i) => {
      if (i % 500 === 0) tree = new PathTree(structuredClone(tree.data()))
      return tree.reach(`d${i % 7}/${i}`)
    })
    for (const [i, id] of ids.entries()) {
      assert.strictEqual(tree.reach(`d${i % 7}/${i}`), id)
      assert.strictEqual(tree.pathOf(id), `d${i % 7}/${i}`)
    }
  })

  it("finds what it has again, and takes no room for it", () => {
    const tree = new PathTree()
    const deep = "a/".repeat(2000).concat("b")
    const node = tree.reach(deep)
    const { size } = tree
    for (let i = 0; i < 1000; i++) assert.strictEqual(tree.reach(deep), node)
    assert.strictEqual(tree.size, size)
    assert.strictEqual(tree.pathOf(node), deep)
    assert.strictEqual(tree.reach(""), root)
  })

  it("takes less than fifty bytes for a name like others", () => {
    const tree = new PathTree()
    for (let i = 0; i < 100_000; i++) {
      const one = `file-${i}.txt`
      tree.append(tree.reach(`usr/share/d${i % 200}`), one, 0, one.length)
    }
    tree.reserve()
    for (let id = tree.first; id < tree.end; id = tree.next(id)) tree.settle(id)
    assert.isBelow(tree.size, 5_000_000)
  })

  it("refuses a name that no file system has room for", () => {
    assert.throws(() => new PathTree().reach(`a/${"x".repeat(256)}`), /256 bytes/)
  })
})
