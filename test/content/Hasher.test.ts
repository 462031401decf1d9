import * as crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Hasher from "../../src/content/Hasher.ts"
import { loading } from "../../src/content/HasherLoading.ts"
import type { Algorithm } from "../../src/image/Digest.ts"

const hex = (algorithm: Algorithm, ...chunks: ReadonlyArray<Uint8Array>): string => {
  const hasher = Hasher.make(algorithm)
  for (const chunk of chunks) hasher.update(chunk)
  return hasher.digest("hex")
}

/** The input of the vectors that come with BLAKE3. */
const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index % 251)

describe("Hasher", () => {
  // The first one: later ones have it loaded.
  it.effect("loads blake3 when it is asked for, and runs again what asked", () =>
    Effect.gen(function* () {
      assert.throws(() => Hasher.make("blake3"), Hasher.NotLoaded)
      let runs = 0
      const digest = `blake3:${"0".repeat(64)}`
      const found = yield* loading(
        Effect.sync(() => {
          runs++
          return Hasher.digestOfBytes(digest, Buffer.from("abc"))
        })
      )
      assert.strictEqual(found, "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85")
      assert.strictEqual(runs, 2)
    })
  )

  it.effect("runs nothing again that fails in another way", () =>
    Effect.gen(function* () {
      let runs = 0
      const exit = yield* Effect.exit(
        loading(
          Effect.sync(() => {
            runs++
            throw new Error("something else")
          })
        )
      )
      assert.strictEqual(exit._tag, "Failure")
      assert.strictEqual(runs, 1)
    })
  )

  it("computes what the standards say", () => {
    // FIPS 180-4, its examples.
    assert.strictEqual(
      hex("sha256", Buffer.from("abc")),
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert.strictEqual(
      hex("sha512", Buffer.from("abc")),
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    // BLAKE3's test_vectors.json: around the sizes of a chunk and of more than one.
    for (const [length, expected] of [
      [0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"],
      [1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"],
      [1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"],
      [1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"],
      [1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"],
      [2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"],
      [102400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"]
    ] as const) {
      assert.strictEqual(hex("blake3", pattern(length)), expected, `${length} bytes`)
    }
  })

  it("keeps hashes apart that take turns, and does not mind how bytes are cut", () => {
    const bytes = fc.uint8Array({ maxLength: 3000 })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), bytes), { maxLength: 20 }), (steps) => {
        const hashers = [0, 1, 2].map(() => Hasher.make("blake3"))
        for (const [which, chunk] of steps) hashers[which]!.update(chunk)
        // One that is never finished stays in nobody's way.
        Hasher.make("blake3").update(Buffer.from("abandoned"))
        for (const which of [2, 0, 1]) {
          const own = steps.filter(([one]) => one === which).map(([, chunk]) => chunk)
          assert.strictEqual(hashers[which]!.digest("hex"), hex("blake3", Buffer.concat(own)))
        }
      })
    )
  })

  it("computes several at once, each once", () => {
    const hashers = new Hasher.Hashers(["sha256", "blake3", "sha512", "sha256"])
    hashers.update(Buffer.from("a"))
    hashers.update(Buffer.from("bc"))
    assert.deepStrictEqual(hashers.end(), {
      sha256: crypto.createHash("sha256").update("abc").digest("hex"),
      blake3: "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
      sha512: crypto.createHash("sha512").update("abc").digest("hex")
    })
    assert.isTrue(new Hasher.Hashers([]).isEmpty)
  })
})
