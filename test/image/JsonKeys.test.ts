import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Json from "../../src/image/Json.ts"

const kinds = (text: string) => Json.parse(Buffer.from(text)).problems.map((one) => one.kind)

describe("names that stand twice", () => {
  it("are not seen where there are none", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(0, 2), (value, indent) => {
        assert.deepStrictEqual(kinds(JSON.stringify(value, null, indent)), [])
      })
    )
  })

  it("are seen wherever they stand, however they are written", () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), fc.boolean(), (key, one, other, escaped) => {
        const literal = JSON.stringify(key)
        const again = escaped
          ? `"${[
              ...Buffer.from(key, "utf16le")
                .toString("hex")
                .matchAll(/(..)(..)/g)
            ]
              .map(([, low, high]) => `\\u${high}${low}`)
              .join("")}"`
          : literal
        assert.deepStrictEqual(
          kinds(`{"outer":[{${literal}:${JSON.stringify(one)},"\\\\":"\\\\\\"",${again}:${JSON.stringify(other)}}]}`),
          ["duplicate-key"]
        )
      })
    )
  })

  it("end where the text ends", () => {
    for (const text of ['{"', '{"a', '{"a\\', '{"a\\"', '"\\\\\\\\'])
      assert.deepStrictEqual(kinds(text), ["invalid-json"])
  })
})

describe("documents that would fill the memory", () => {
  it("are not parsed", () => {
    for (const text of [`[${"{},".repeat(2_000_001)}{}]`, `[${"1,".repeat(2_000_001)}1]`]) {
      assert.deepStrictEqual(kinds(text), ["too-large"])
    }
  })
})
