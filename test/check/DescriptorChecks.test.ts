import * as crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Collector } from "../../src/check/Collector.ts"
import { checkDescriptor, isUri } from "../../src/check/DescriptorChecks.ts"

const check = (value: unknown) => {
  const report = new Collector()
  const descriptor = checkDescriptor(value, "config", "manifest", report)
  return {
    descriptor,
    ids: report.results().results.map((one) => one.check),
    subjects: new Set(report.results().results.map((one) => one.subject))
  }
}

const of = (bytes: Uint8Array, algorithm = "sha256") => ({
  mediaType: "application/octet-stream",
  digest: `${algorithm}:${crypto.createHash(algorithm).update(bytes).digest("hex")}`,
  size: bytes.length
})

describe("isUri", () => {
  for (const uri of [
    "https://example.com/layer?x=1&y=%20#top",
    "http://user@[2001:db8::1]:8080/a/b;c=1",
    "ftp://ftp.is.co.za/rfc/rfc1808.txt",
    "mailto:John.Doe@example.com",
    "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
    "file:///etc/passwd",
    "https://example.com"
  ])
    it(`takes ${uri}`, () => assert.isTrue(isUri(uri)))

  for (const uri of [
    "",
    "example.com/layer",
    "/a",
    "//example.com",
    "http://exa mple.com",
    "https://example.com/%zz",
    "https://example.com/\u00e9",
    "1http://x",
    "https://[::1",
    "https://x/[a]",
    "https://x\n"
  ]) {
    it(`refuses ${JSON.stringify(uri)}`, () => assert.isFalse(isUri(uri)))
  }

  it("takes time in proportion to the length", () => {
    const begin = performance.now()
    for (const part of ["a", "a/", "%41", "@", ":", "a@", "//", "?"]) isUri(`https://${part.repeat(4000)} `)
    assert.isBelow(performance.now() - begin, 1000)
  })
})

describe("checkDescriptor", () => {
  it("finds nothing wrong with what describes its content", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom("sha256", "sha384", "sha512"),
        fc.boolean(),
        (bytes, algorithm, embedded) => {
          const { descriptor, ids } = check({
            ...of(bytes, algorithm),
            ...(embedded ? { data: Buffer.from(bytes).toString("base64") } : {})
          })
          assert.deepStrictEqual(ids, [])
          assert.strictEqual(descriptor!.size, bytes.length)
          assert.deepStrictEqual(
            descriptor!.data === undefined ? undefined : Buffer.from(descriptor!.data),
            embedded ? Buffer.from(bytes) : undefined
          )
        }
      )
    )
  })

  it("finds embedded data that is other content", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.uint8Array({ maxLength: 50 }), (bytes, other) => {
        fc.pre(Buffer.compare(bytes, other) !== 0)
        const { descriptor, ids } = check({ ...of(bytes), data: Buffer.from(other).toString("base64") })
        assert.deepStrictEqual(ids, ["descriptor.data-mismatch"])
        assert.isUndefined(descriptor!.data)
      })
    )
  })

  it("never throws, and says something about whatever is no descriptor", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const { ids, subjects } = check(value)
        assert.isAbove(ids.length, 0)
        assert.deepStrictEqual(subjects, new Set(["manifest"]))
      })
    )
  })

  it("reports each property that is wrong, not the first alone", () => {
    const { descriptor, ids } = check({
      mediaType: "x",
      digest: "sha256:1",
      size: -1,
      urls: ["a b", 1],
      data: "?",
      annotations: [],
      artifactType: "y"
    })
    assert.sameMembers(ids, [
      "descriptor.bad-media-type",
      "descriptor.bad-digest",
      "descriptor.bad-size",
      "descriptor.bad-url",
      "descriptor.wrong-type",
      "descriptor.bad-data",
      "annotation.not-a-map",
      "descriptor.bad-artifact-type"
    ])
    assert.isUndefined(descriptor!.digest)
    assert.isUndefined(descriptor!.size)
  })

  it("takes a digest of an algorithm that it cannot compute, and says that it cannot", () => {
    assert.deepStrictEqual(check({ ...of(Buffer.from("x")), digest: "md5:9dd4e461268c8034f5c8564e155c67a6" }).ids, [
      "descriptor.unknown-algorithm"
    ])
    assert.deepStrictEqual(check({ ...of(Buffer.from("x")), digest: `blake3:${"0".repeat(64)}` }).ids, [])
    assert.deepStrictEqual(check({ ...of(Buffer.from("x")), digest: "blake3:0" }).ids, ["descriptor.bad-digest"])
  })
})

describe("a reference name", () => {
  it("of millions of parts is refused before the grammar takes stack for each", () => {
    const annotations = { "org.opencontainers.image.ref.name": `${"a.".repeat(3_000_000)}a` }
    assert.deepStrictEqual(check({ ...of(Buffer.from("x")), annotations }).ids, ["annotation.bad-ref-name"])
  })
})
