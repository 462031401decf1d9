import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { PathSet } from "../../src/content/PathSet.ts"

const setOf = (paths: Iterable<string>): PathSet => {
  const set = new PathSet()
  for (const path of paths) set.add(path)
  return set
}

/** The specification: one by one, from the nearest. */
const above = (path: string, members: ReadonlyArray<string>): string | undefined =>
  members
    .filter((member) => path.startsWith(`${member}/`))
    .toSorted((a, b) => b.length - a.length)
    .at(0)

describe("PathSet", () => {
  it("finds the nearest member above a path, and not the path itself", () => {
    const set = setOf(["a", "a/b/c", "ab"])
    assert.strictEqual(set.above("a/b/c/d"), "a/b/c")
    assert.strictEqual(set.above("a/b/c"), "a")
    assert.isUndefined(set.above("a"))
    assert.isUndefined(set.above("abc/d"))
    assert.isTrue(set.has("ab"))
    assert.deepStrictEqual([set.size, [...set]], [3, ["a", "a/b/c", "ab"]])
  })

  it("does so for short and long paths, whatever is added between questions", () => {
    const part = fc.constantFrom("a", "b", "ab", "x".repeat(120))
    const path = fc.array(part, { minLength: 1, maxLength: 12 }).map((parts) => parts.join("/"))
    fc.assert(
      fc.property(fc.array(path, { maxLength: 8 }), fc.array(path, { maxLength: 8 }), path, (first, then, asked) => {
        const set = setOf(first)
        assert.strictEqual(set.above(asked), above(asked, first))
        for (const one of then) set.add(one)
        assert.strictEqual(set.above(asked), above(asked, [...first, ...then]))
      }),
      { numRuns: 500 }
    )
  })

  it("takes time in proportion to the path", () => {
    const set = setOf(["nowhere", ...Array.from({ length: 2000 }, (_, depth) => "a/".repeat(depth).concat("b"))])
    const started = performance.now()
    for (let i = 0; i < 2000; i++) assert.isUndefined(set.above(`${i}/${"a/".repeat(2000)}x`))
    assert.isBelow(performance.now() - started, 5000)
  })
})
