/** One fault, one report: what comes out of a damaged stream is no tar that anybody wrote. */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Codec from "../../src/content/Compression.ts"
import * as Inspect from "../../src/content/Inspect.ts"
import { compress } from "../../src/fault/ImageBuilder.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as ArchiveVerifier from "../../src/layout/docker-archive/ArchiveVerifier.ts"
import * as OciVerifier from "../../src/layout/oci-layout/OciVerifier.ts"
import { complaints, makeLayout, pack, pool, tar, told, withDirectory, writeTree } from "./ociFixture.ts"

const noise = (size: number): string => {
  let text = ""
  for (let i = 0; text.length < size; i++) text += crypto.createHash("sha256").update(`${i}`).digest("base64")
  return text.slice(0, size)
}

const sound = tar({ "etc/": "", "etc/hostname": "base", "etc/noise": noise(700), "etc/zeros": "\0".repeat(2000) })

/** With something wrong at its beginning and at its end. */
const faulty = Buffer.concat([
  tar({ "etc/": "", "/absolute": "1", "etc/noise": noise(1500) }, Buffer.alloc(0)),
  tar({ "etc/more": noise(900), "../escapes": "2", "etc/noise": "again" })
])

const members = (bytes: Buffer, size = 1024): Buffer =>
  Buffer.concat(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      zlib.gzipSync(bytes.subarray(i * size, (i + 1) * size))
    )
  )

const word = 2n ** 64n - 1n
const primes = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n
] as const

/** The lower half of XXH64 with the seed 0, the content checksum of RFC 8878. */
const xxh64 = (bytes: Buffer): Buffer => {
  const [p1, p2, p3, p4, p5] = primes
  const multiply = (a: bigint, b: bigint): bigint => (a * b) & word
  const rotate = (a: bigint, by: bigint): bigint => ((a << by) | (a >> (64n - by))) & word
  const round = (a: bigint, lane: bigint): bigint => multiply(rotate((a + multiply(lane, p2)) & word, 31n), p1)
  let at = 0
  let hash: bigint = p5
  if (bytes.length >= 32) {
    const lanes = [(p1 + p2) & word, p2, 0n, (word + 1n - p1) & word]
    for (; at + 32 <= bytes.length; at += 32)
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i]!, bytes.readBigUInt64LE(at + 8 * i))
    hash = [1n, 7n, 12n, 18n].reduce((sum, by, i) => (sum + rotate(lanes[i]!, by)) & word, 0n)
    for (const lane of lanes) hash = (multiply(hash ^ round(0n, lane), p1) + p4) & word
  }
  hash = (hash + BigInt(bytes.length)) & word
  for (; at + 8 <= bytes.length; at += 8)
    hash = (multiply(rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n), p1) + p4) & word
  for (; at + 4 <= bytes.length; at += 4)
    hash = (multiply(rotate(hash ^ multiply(BigInt(bytes.readUInt32LE(at)), p1), 23n), p2) + p3) & word
  for (; at < bytes.length; at++) hash = multiply(rotate(hash ^ multiply(BigInt(bytes[at]!), p5), 11n), p1)
  hash = multiply(hash ^ (hash >> 33n), p2)
  hash = multiply(hash ^ (hash >> 29n), p3)
  const whole = Buffer.alloc(8)
  whole.writeBigUInt64LE(hash ^ (hash >> 32n))
  return whole.subarray(0, 4)
}

/** One frame with a checksum, as skopeo, BuildKit and `zstd` write them. */
const checked = (bytes: Buffer): Buffer => {
  const frame = Buffer.from(compress(bytes, "zstd"))
  frame[4]! |= 4
  return Buffer.concat([frame, xxh64(bytes)])
}

const frames = (bytes: Buffer, size = 1024): Buffer =>
  Buffer.concat(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => checked(bytes.subarray(i * size, (i + 1) * size)))
  )

const forms: ReadonlyArray<readonly [name: string, pack: (bytes: Buffer) => Buffer]> = [
  ["gzip", (bytes) => zlib.gzipSync(bytes)],
  ["gzip, stored", (bytes) => zlib.gzipSync(bytes, { level: 0 })],
  ["gzip of several members", members],
  ["zstd", checked],
  ["zstd of several frames", frames]
]

const inspect = (file: string, bytes: Buffer, uncut: boolean): Inspect.Evidence => {
  fs.writeFileSync(file, bytes)
  return Inspect.run({
    region: { path: file, offset: 0, size: bytes.length },
    algorithms: [],
    as: "layer",
    keepPaths: false,
    limits: {},
    uncut
  })
}

const checksOf = ({ problems }: Inspect.Evidence): ReadonlyArray<string> => problems.map(({ check }) => check)

/** Of the tar that these problems are about, those that stand before this byte. */
const before = (evidence: Inspect.Evidence, at: number): ReadonlyArray<string> =>
  evidence.problems.filter((one) => one.offset !== undefined && one.offset < at).map((one) => one.check)

describe("a broken stream", () => {
  for (const [name, packed] of forms) {
    it.effect(`of ${name}: a byte damaged anywhere brings no finding of the tar`, () =>
      withDirectory((directory) =>
        Effect.promise(async () => {
          await Codec.prepare()
          const good = packed(sound)
          const file = path.join(directory, "layer")
          assert.deepStrictEqual(checksOf(inspect(file, good, true)), [])
          const diffId = crypto.createHash("sha256").update(sound).digest("hex")
          let failed = 0
          // Each broken zstd stream takes a decoder with it.
          const step = name.startsWith("zstd") ? 131 : 11
          // The magic bytes at the very beginning say what the stream is.
          for (let at = 4; at < good.length; at += step) {
            const bad = Buffer.from(good)
            bad[at]! ^= 1 << (at % 8)
            const evidence = inspect(file, bad, true)
            for (const check of checksOf(evidence)) assert.match(check, /^compression\./, `byte ${at}`)
            if (checksOf(evidence).length > 0) failed++
            else
              assert.strictEqual(
                evidence.layer!.diffIds.sha256,
                diffId,
                `byte ${at} changed the content, and nothing was said`
              )
          }
          assert.isAbove(failed, (good.length / step) * 0.7)
        })
      )
    )

    it.effect(`of ${name}: cut anywhere, what stands before the cut is told, and the cut once`, () =>
      withDirectory((directory) =>
        Effect.promise(async () => {
          await Codec.prepare()
          const good = packed(faulty)
          const file = path.join(directory, "layer")
          const whole = inspect(file, good, false)
          assert.includeMembers([...checksOf(whole)], ["tar.path-absolute", "tar.path-escapes", "layer.duplicate-path"])
          for (let size = 4; size < good.length; size += 37) {
            const evidence = inspect(file, good.subarray(0, size), false)
            // A cut between two members shows in the tar alone.
            const stream = checksOf(evidence).filter((check) => check.startsWith("compression."))
            if (stream.length === 0) {
              assert.isUndefined(evidence.layer!.judged)
              continue
            }
            assert.deepStrictEqual(stream, ["compression.truncated"], `${size}`)
            const { uncompressedSize } = evidence.layer!
            assert.strictEqual(evidence.layer!.judged, uncompressedSize)
            const own = evidence.problems.filter((one) => !one.check.startsWith("compression."))
            assert.notIncludeMembers(
              own.map((one) => one.check),
              ["tar.truncated", "tar.no-end", "tar.no-padding"]
            )
            assert.deepStrictEqual(
              own.map((one) => one.check).sort(),
              [...before(whole, uncompressedSize - 511)].sort(),
              `${size}`
            )
          }
        })
      )
    )
  }

  it.effect("of the size that it should have was damaged, not cut", () =>
    withDirectory((directory) =>
      Effect.promise(async () => {
        await Codec.prepare()
        const file = path.join(directory, "layer")
        const bytes = zlib.gzipSync(faulty).subarray(0, -300)
        assert.deepStrictEqual(checksOf(inspect(file, bytes, true)), ["compression.truncated"])
        assert.includeMembers([...checksOf(inspect(file, bytes, false))], ["tar.path-absolute"])
      })
    )
  )

  it.effect("keeps what was found in members that are sound", () =>
    withDirectory((directory) =>
      Effect.promise(async () => {
        await Codec.prepare()
        const file = path.join(directory, "layer")
        for (const packed of [members, frames]) {
          const bytes = packed(faulty)
          bytes[bytes.length - 2]! ^= 0x55
          const evidence = inspect(file, bytes, true)
          assert.include([...checksOf(evidence)], "tar.path-absolute")
          assert.notInclude([...checksOf(evidence)], "tar.truncated")
          assert.strictEqual(evidence.layer!.judged! % 1024, 0)
        }
      })
    )
  )

  it.effect("whose second member is none says so, and not that the tar is cut", () =>
    withDirectory((directory) =>
      Effect.promise(async () => {
        await Codec.prepare()
        const bytes = members(sound)
        bytes[bytes.indexOf(Buffer.from([0x1f, 0x8b, 8]), 10)]! ^= 0x55
        const evidence = inspect(path.join(directory, "layer"), bytes, true)
        assert.deepStrictEqual(checksOf(evidence), ["compression.trailing-data"])
      })
    )
  )

  it.effect("is said of a layout's layer once, with the digest that differs, and that its tar was not judged", () =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const layout = makeLayout({ layers: [sound] })
        const name = layout.layers[0]!
        const bytes = layout.files.get(name)!
        bytes[100]! ^= 0x10
        writeTree(directory, layout.files)
        const verifier = yield* OciVerifier.make({ path: directory })
        const verification = yield* verifier.verify({ depth: "full" })
        const errors = complaints(verification)
        assert.deepStrictEqual(
          errors.map((one) => `${one.check} ${one.subject}`).sort(),
          [`compression.corrupt ${name}`, `layer.digest-mismatch ${name}`],
          told(verification)
        )
        const skipped = verification.results.skipped.map((one) => `${one.check}: ${one.reason}`)
        assert.include(
          skipped,
          `tar.truncated: ${name}: its tar could not be judged, as the stream that it comes out of is damaged`
        )
        assert.notInclude([...verification.results.checked], "tar.bad-checksum")
      }).pipe(Effect.provide(pool))
    )
  )

  it.effect("that has lost its first byte, or all of them, is no tar that is wrong", () =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        for (const damage of [(bytes: Buffer) => bytes.fill(0, 0, 1), (bytes: Buffer) => bytes.subarray(0, 0)]) {
          const layout = makeLayout({ layers: [sound] })
          const name = layout.layers[0]!
          layout.files.set(name, damage(layout.files.get(name)!))
          writeTree(directory, layout.files)
          const verifier = yield* OciVerifier.make({ path: directory })
          const verification = yield* verifier.verify({ depth: "full" })
          const checks = complaints(verification).map((one) => one.check)
          assert.includeMembers([...checks], ["layer.digest-mismatch", "compression.media-type-mismatch"])
          assert.deepStrictEqual(
            checks.filter((check) => check.startsWith("tar.")),
            [],
            told(verification)
          )
          assert.isTrue(verification.results.skipped.some(({ check }) => check === "tar.truncated"))
        }
      }).pipe(Effect.provide(pool))
    )
  )

  it.effect("of a form that no media type declares is that, and not a wrong declaration as well", () =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const layout = makeLayout({
          layers: [Buffer.concat([Buffer.from("fd377a585a0000", "hex"), sound])],
          compression: "none",
          manifest: (document) => {
            document.layers[0].mediaType = MediaType.ociLayerGzip
          }
        })
        writeTree(directory, layout.files)
        const verifier = yield* OciVerifier.make({ path: directory })
        const verification = yield* verifier.verify({ depth: "full" })
        assert.deepStrictEqual(
          complaints(verification).map((one) => `${one.check} ${one.subject}`),
          [`compression.unsupported ${layout.layers[0]}`],
          told(verification)
        )
      }).pipe(Effect.provide(pool))
    )
  )

  it.effect("without checksums is known by its digest", () =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const layout = makeLayout({ layers: [sound], compression: "zstd" })
        const name = layout.layers[0]!
        layout.files.get(name)![600]! ^= 0x10
        writeTree(directory, layout.files)
        const verifier = yield* OciVerifier.make({ path: directory })
        const verification = yield* verifier.verify({ depth: "full" })
        assert.deepStrictEqual(
          complaints(verification)
            .map((one) => `${one.check} ${one.subject}`)
            .sort(),
          [`layer.diff-id-mismatch ${name}`, `layer.digest-mismatch ${name}`],
          told(verification)
        )
        assert.isTrue(verification.results.skipped.some(({ check }) => check === "tar.truncated"))
      }).pipe(Effect.provide(pool))
    )
  )

  it.effect("of a whole archive is said once", () =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const bytes = zlib.gzipSync(pack(makeLayout({ layers: [sound] }).files))
        const file = path.join(directory, "image.tar.gz")
        for (const at of [30, bytes.length >> 1, bytes.length - 6]) {
          const bad = Buffer.from(bytes)
          bad[at]! ^= 0x20
          fs.writeFileSync(file, bad)
          const verifier = yield* ArchiveVerifier.make({ path: file })
          const verification = yield* verifier.verify({ depth: "full" })
          const about = verification.results.results.filter((one) => one.subject === "image.tar.gz")
          assert.deepStrictEqual(
            about.map((one) => one.check),
            ["compression.corrupt"],
            `${at}\n${told(verification)}`
          )
        }
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  )
})
