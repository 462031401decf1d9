import { assert, describe, it } from "@effect/vitest"
import * as Digest from "../../src/image/Digest.ts"

const hex = (length: number): string => "0123456789abcdef".repeat(8).slice(0, length)

describe("a digest", () => {
  it("has the grammar of descriptor.md", () => {
    for (const good of [
      `sha256:${hex(64)}`,
      `sha512:${hex(128)}`,
      `sha384:${hex(96)}`,
      `blake3:${hex(64)}`,
      "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
      "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
      "a.b_c-d+e:x=",
      "md5:anything"
    ])
      assert.isUndefined(Digest.invalid(good), good)
  })

  it("is none otherwise, and the reason is said", () => {
    for (const [bad, why] of [
      ["", /grammar/],
      [hex(64), /grammar/],
      ["sha256:", /grammar/],
      [":abc", /grammar/],
      [`SHA256:${hex(64)}`, /grammar/],
      [`sha256:${hex(64)}\n`, /grammar/],
      [`sha256 :${hex(64)}`, /grammar/],
      ["sha256+:abc", /grammar/],
      [`sha256:${hex(63)}`, /64 hex characters, not 63/],
      [`sha256:${hex(64).toUpperCase()}`, /lower-case/],
      [`sha256:${"g".repeat(64)}`, /lower-case hex/],
      [`sha512:${hex(64)}`, /128 hex characters, not 64/],
      [`blake3:${hex(63)}`, /64 hex/]
    ] as const) {
      assert.match(Digest.invalid(bad) ?? "valid", why, bad)
      assert.isFalse(Digest.isDigest(bad), bad)
    }
    for (const other of [undefined, null, 5, {}]) assert.isFalse(Digest.isDigest(other))
  })

  it("comes apart and goes together again", () => {
    const digest = Digest.make("sha256", hex(64))
    assert.strictEqual(Digest.algorithmOf(digest), "sha256")
    assert.strictEqual(Digest.encodedOf(digest), hex(64))
    assert.strictEqual(Digest.short(digest), "sha256:0123456789ab")
    assert.strictEqual(Digest.short("x:short"), "x:short")
    assert.strictEqual(Digest.blobPath(digest), `blobs/sha256/${hex(64)}`)
  })

  it("of millions of parts are refused before the grammar takes stack for each", () => {
    assert.match(Digest.invalid(`${"a+".repeat(3_000_000)}a:b`) ?? "", /^has 6000003 characters/)
  })

  it("can be computed here or not", () => {
    for (const algorithm of ["sha256", "sha384", "sha512", "blake3"])
      assert.strictEqual(Digest.computable(`${algorithm}:x`), algorithm)
    for (const other of ["blake2b:x", "md5:x", "toString:x", "sha256+b64u:x"]) {
      assert.isUndefined(Digest.computable(other), other)
      assert.isFalse(Digest.isComputable(other), other)
    }
  })
})
