import * as crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "fast-check"
import * as Receipt from "../../src/layout/Receipt.ts"

const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"))

const arbitrary: fc.Arbitrary<Receipt.Receipt> = fc.record({
  tool: fc.constant("tallyman"),
  version: fc.string(),
  layout: fc.constant("dir"),
  names: fc.array(fc.string({ unit: "grapheme" })),
  image: hex.map((digest) => `sha256:${digest}`),
  source: fc.record({ uri: fc.string(), digest: hex }, { requiredKeys: ["uri"] }),
  filters: fc.array(
    fc.record({
      name: fc.string(),
      options: fc.dictionary(
        fc.string().filter((key) => key !== "__proto__"),
        fc.jsonValue({ maxDepth: 2 })
      ),
      before: fc.string(),
      after: fc.string()
    }),
    { maxLength: 2 }
  ),
  conversions: fc.array(fc.string(), { maxLength: 2 }),
  files: fc.array(fc.record({ path: fc.string({ unit: "grapheme" }), size: fc.maxSafeNat(), sha256: hex }), {
    maxLength: 4
  }),
  details: fc.dictionary(
    fc.string().filter((key) => key !== "__proto__"),
    fc.jsonValue({ maxDepth: 2 })
  )
})

/** JSON has no -0. */
const normal = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const sample: Receipt.Receipt = {
  tool: "tallyman",
  version: "0.1.0",
  layout: "dir",
  names: ["a:1"],
  image: `sha256:${"a".repeat(64)}`,
  source: { uri: "tar://x" },
  filters: [],
  conversions: [],
  files: [{ path: "manifest.json", size: 3, sha256: "b".repeat(64) }],
  details: {}
}

describe("a receipt", () => {
  it("comes back as it was", () => {
    fc.assert(
      fc.property(arbitrary, (receipt) => {
        const read = Receipt.decode(Receipt.encode(normal(receipt) as Receipt.Receipt))
        assert.deepStrictEqual(Either.map(read, normal), Either.right(normal(receipt)))
      }),
      { numRuns: 60 }
    )
  })

  it("is an in-toto Statement v1 whose subjects are the files", () => {
    const statement = JSON.parse(Buffer.from(Receipt.encode(sample)).toString()) as Record<string, unknown>
    assert.deepInclude(statement, {
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "manifest.json", digest: { sha256: "b".repeat(64) } }],
      predicateType: "urn:tallyman:receipt:v1"
    })
  })

  it("does not pass when any byte of it is another, or any is missing", () => {
    const raw = Buffer.from(Receipt.encode(sample))
    for (let at = 0; at < raw.length; at++) {
      for (const mask of [0x01, 0x20, 0x80]) {
        raw[at]! ^= mask
        assert.isTrue(Either.isLeft(Receipt.decode(raw)), `byte ${at} with ${mask}`)
        raw[at]! ^= mask
      }
      assert.isTrue(Either.isLeft(Receipt.decode(raw.subarray(0, at))), `cut to ${at}`)
    }
    assert.isTrue(Either.isRight(Receipt.decode(raw)))
    assert.isTrue(Either.isLeft(Receipt.decode(Buffer.concat([raw, Buffer.from(" ")]))))
  })

  it("says in one line why it is none", () => {
    const why = (value: unknown): string =>
      Either.getOrThrow(
        Either.flip(Receipt.decode(Buffer.from(typeof value === "string" ? value : JSON.stringify(value))))
      )
    const statement = JSON.parse(Buffer.from(Receipt.encode(sample)).toString()) as Record<string, never>
    assert.match(why("{"), /does not parse/)
    assert.match(why({}), /_type/)
    assert.match(why({ ...statement, predicateType: "https://slsa.dev/provenance/v1" }), /predicateType/)
    assert.match(why(statement), /seal/)
    for (const value of ["{", {}, [], null, { ...statement, subject: 1 }]) assert.notInclude(why(value), "\n")
  })

  it("records files by size and sha256", () => {
    const bytes = Buffer.from("content")
    const sha256 = crypto.createHash("sha256").update(bytes).digest("hex")
    const file = Receipt.fileOf("a/b", bytes)
    assert.deepStrictEqual(file, { path: "a/b", size: 7, sha256 })
    assert.strictEqual(Receipt.digestOf(file), `sha256:${sha256}`)
  })
})
