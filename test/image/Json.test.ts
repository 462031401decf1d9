import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Json from "../../src/image/Json.ts"

const parse = (text: string | Uint8Array): Json.JsonDocument =>
  Json.parse(typeof text === "string" ? Buffer.from(text) : text)
// biome-ignore lint/suspicious/noExplicitAny: documents of any form
type Doc = any
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

describe("a number that has to be an integer", () => {
  const sizeOf = (literal: string): unknown => (parse(`{"x":[{},{"size":${literal}}]}`).value as Doc).x[1].size

  it("and is not written as one is kept as it was written", () => {
    for (const literal of ["1.0", "1e3", "1E+3", "-2.50e-7", "1e999"]) {
      const size = sizeOf(literal)
      assert.instanceOf(size, Json.Decimal)
      assert.strictEqual(`${size}`, literal)
      assert.strictEqual((size as Json.Decimal).toJSON(), Number(literal))
      assert.isFalse(Json.isObject(size))
    }
    for (const literal of ["1", "0", "-5", "12345678901234567890", "true", "false", '"1.5"', "null"])
      assert.strictEqual(sizeOf(literal), JSON.parse(literal), literal)
  })

  it("is one by its name and place only", () => {
    const text = '{"size":[1.5],"other":1.5,"schemaVersion":{"a":2.0},"false":false,"a":["size",1.5]}'
    assert.deepStrictEqual(parse(text).value, JSON.parse(text))
  })

  it("takes time in proportion to the length, whatever stands in its place", () => {
    const begin = performance.now()
    for (const part of ["e", "1.", "1e", ".", "true"]) parse(`{"size":${part.repeat(2_000_000)}}`)
    assert.isBelow(performance.now() - begin, 20_000)
  })
})

/** Half of the values that a document may have. */
const maxNames = 250_000

describe("names", () => {
  it("that differ from a property's in case only are told, as Go folds them", () => {
    const variants = (value: Record<string, unknown>) => Json.caseVariants(value, ["layers", "mediaType", "k"])
    assert.deepStrictEqual(variants({ layers: 1, LAYERS: 2, "layer\u017f": 3, "\u212a": 4 }), [
      ["LAYERS", "layers"],
      ["layer\u017f", "layers"],
      ["\u212a", "k"]
    ])
    assert.deepStrictEqual(variants({ layers: 1, mediaType: 2, layer: 3, "layer s": 4, "": 5, media_type: 6 }), [])
  })

  it("that are lone surrogates are the same to other readers", () => {
    assert.deepStrictEqual(kinds(`{"\\ud800":1,"\\udc01":2}`), ["duplicate-key"])
    assert.deepStrictEqual(kinds(`{"\\ud83d\\ude00":1,"\\ud83d\\ude01":2}`), [])
  })

  it("are counted: an object of a million is not taken in", () => {
    const object = (count: number): string =>
      `{${Array.from({ length: count }, (_, index) => `"k${index}":0`).join(",")}}`
    assert.deepStrictEqual(kinds(object(maxNames)), [])
    assert.deepStrictEqual(kinds(object(maxNames + 1)), ["too-large"])
  })

  it("are counted over the whole document, each once", () => {
    const object = (prefix: string): string =>
      `{${Array.from({ length: maxNames / 3 }, (_, index) => `"${prefix}${index}":0`).join(",")}}`
    assert.deepStrictEqual(kinds(`[${["a", "b", "c", "d"].map(object).join(",")}]`), ["too-large"])
    assert.deepStrictEqual(kinds(`[${["a", "a", "a", "a"].map(object).join(",")}]`), [])
  })
})
