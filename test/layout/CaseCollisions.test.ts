import { assert, describe, it } from "@effect/vitest"
import { caseCollisions } from "../../src/layout/CaseCollisions.ts"

describe("caseCollisions", () => {
  it("gives each name with the first that it would fall together with", () => {
    assert.deepStrictEqual(
      [...caseCollisions(["B", "a", "A", "b", "c", "aA", "AA", "aa"])],
      [
        ["A", "a"],
        ["b", "B"],
        ["AA", "aA"],
        ["aa", "aA"]
      ]
    )
  })

  it("has nothing to say of names in lower case", () => {
    assert.deepStrictEqual([...caseCollisions(["a", "b", "", "\u00e9"])], [])
  })
})
