import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Json from "../../src/image/Json.ts"

const parse = (text: string | Uint8Array): Json.JsonDocument =>
  Json.parse(typeof text === "string" ? Buffer.from(text) : text)
const kinds = (text: string | Uint8Array): ReadonlyArray<string> => parse(text).problems.map((one) => one.kind)

describe("a JSON document", () => {
  it("is read as JSON.parse reads it, and kept as it came", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        const raw = Buffer.from(text)
        const document = Json.parse(raw)
        assert.deepStrictEqual(document.value, JSON.parse(text))
        assert.deepStrictEqual(document.problems, [])
        assert.strictEqual(document.raw, raw)
      })
    )
  })

  it("that JSON.parse refuses is refused, and never throws", () => {
    for (const bad of ["", " ", "{", "[1,]", '{"a":}', "nul", "'a'", '{"a":1}x', "\u0000", "[1 2]", '"\n"', "01"]) {
      assert.deepStrictEqual(kinds(bad), ["invalid-json"], JSON.stringify(bad))
      assert.isUndefined(parse(bad).value)
    }
    fc.assert(
      fc.property(fc.uint8Array(), (raw) => {
        const { problems, value } = Json.parse(raw)
        if (value === undefined) assert.isNotEmpty(problems)
      })
    )
  })

  it("names what stands twice in one object, however it is spelt", () => {
    assert.deepStrictEqual(kinds(`{"a":1,"a":2}`), ["duplicate-key"])
    assert.deepStrictEqual(kinds(`{"a":1,"\\u0061":2}`), ["duplicate-key"])
    assert.deepStrictEqual(kinds(`[{"x":{"b":1 , "c":[{}], "b":{}}}]`), ["duplicate-key"])
    assert.match(parse(`{"a\\"b":1,"a\\"b":2}`).problems[0]!.message, /"a\\"b"/)
    for (const fine of [
      `{"a":{"a":{"a":1}}}`,
      `[{"a":1},{"a":2}]`,
      `{"a":"a","b":"a"}`,
      `{"a":["a","a"]}`,
      `{"a":"{\\"a\\":1,\\"a\\":2}","b":1}`,
      `{"A":1,"a":2}`,
      `{"":1," ":2}`
    ])
      assert.deepStrictEqual(kinds(fine), [], fine)
  })

  it("finds duplicates in any object that has some", () => {
    const object = fc.array(fc.tuple(fc.constantFrom("a", "b", "\u00e9", '"', "\\"), fc.json({ maxDepth: 1 })), {
      maxLength: 4
    })
    fc.assert(
      fc.property(object, object, (one, other) => {
        const text = (pairs: typeof one): string =>
          `{${pairs.map(([key, value]) => `${JSON.stringify(key)}: ${value}`).join(" , ")}}`
        const twice = (pairs: typeof one): boolean => new Set(pairs.map(([key]) => key)).size < pairs.length
        const found = kinds(`[${text(one)},${text(other)}]`).includes("duplicate-key")
        assert.strictEqual(found, twice(one) || twice(other))
      })
    )
  })

  it("is UTF-8, without a byte order mark", () => {
    assert.deepStrictEqual(kinds(Buffer.from([0x22, 0xe9, 0x22])), ["not-utf8"])
    assert.deepStrictEqual(kinds(Buffer.from([0x22, 0xc3, 0x28, 0x22])), ["not-utf8"])
    assert.deepStrictEqual(kinds(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])), ["not-utf8"])
    assert.deepStrictEqual(kinds("\ufeff{}"), ["not-utf8"])
    assert.deepStrictEqual(parse("\ufeff{}").value, {})
    assert.deepStrictEqual(kinds('"\u00e9\u{1f41f}"'), [])
  })

  it("does not nest for ever, nor grow for ever", () => {
    const nested = (depth: number): string => `${"[".repeat(depth)}${"]".repeat(depth)}`
    assert.deepStrictEqual(kinds(nested(Json.maxDepth)), [])
    assert.deepStrictEqual(kinds(nested(Json.maxDepth + 1)), ["too-deep"])
    assert.deepStrictEqual(kinds(nested(100_000)), ["too-deep"])
    assert.deepStrictEqual(kinds('{"a":'.repeat(100_000)), ["too-deep"])
    assert.deepStrictEqual(kinds(`"${"[".repeat(1000)}"`), [])
    assert.deepStrictEqual(kinds(Buffer.alloc(Json.maxBytes + 1, 0x20)), ["too-large"])
  })

  it("with more duplicates than anyone reads names some", () => {
    const many = Array.from({ length: 1000 }, (_, index) => `"k${index}":1,"k${index}":2`).join(",")
    const { problems } = parse(`{${many}}`)
    assert.isAtLeast(problems.length, 1)
    assert.isAtMost(problems.length, 100)
  })
})

describe("values", () => {
  it("are objects, or something else that has a name", () => {
    for (const [value, name, isObject] of [
      [undefined, "nothing", false],
      [null, "null", false],
      [[], "an array", false],
      [{}, "an object", true],
      ["", "a string", false],
      [1, "a number", false],
      [true, "a boolean", false]
    ] as const) {
      assert.strictEqual(Json.typeName(value), name)
      assert.strictEqual(Json.isObject(value), isObject)
    }
  })
})
