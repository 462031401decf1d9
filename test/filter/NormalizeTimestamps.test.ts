import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { digestOf, pool } from "../layout/writing.ts"
import { dir, file, hardlink, tar } from "../rootfs/Layers.ts"
import { filter, filtered, membersOf, tarOf, withImage } from "./Rewriting.ts"

const layer = (seconds: number, more: object = {}) => [
  dir("etc/", { mtimeSeconds: seconds }),
  file("etc/a", "content", { mtimeSeconds: seconds, xattrs: new Map([["user.a", Buffer.from("b")]]), ...more })
]

describe("normalize-timestamps", () => {
  it.effect("changes layers, diff_ids and the image ID together", () =>
    withImage([layer(5), layer(0)], (image) =>
      Effect.gen(function* () {
        const { applied, image: next, reports } = yield* filtered(image, "normalize-timestamps")
        const [first, second] = next.layers
        assert.notStrictEqual(first!.diffId, image.layers[0]!.diffId)
        assert.strictEqual(first!.diffId, digestOf(tarOf(first!)))
        assert.strictEqual(first!.uncompressedSize, tarOf(first!).length)
        assert.strictEqual(second, image.layers[1])
        assert.deepStrictEqual(next.config.value.rootfs.diff_ids, [first!.diffId, second!.diffId])
        assert.strictEqual(next.config.digest, digestOf(next.config.raw))
        assert.deepStrictEqual(applied, [
          {
            name: "normalize-timestamps",
            options: { ts: 0, config: false },
            before: image.config.digest,
            after: next.config.digest
          }
        ])
        assert.deepStrictEqual(reports, [
          {
            filter: "normalize-timestamps",
            layers: [
              { index: 0, before: image.layers[0]!.diffId, after: first!.diffId, changed: 2 },
              { index: 1, before: second!.diffId, after: second!.diffId, changed: 0 }
            ]
          }
        ])
      })
    )
  )

  it.effect("leaves an image that says the time already as it is", () =>
    withImage(
      [layer(7), layer(7)],
      (image) =>
        Effect.gen(function* () {
          const { image: next } = yield* filtered(image, "normalize-timestamps:ts=7", "normalize-timestamps:ts=7")
          assert.strictEqual(next, image)
        }),
      { manifest: "oci", compression: "gzip" }
    )
  )

  it.effect("keeps every byte of the config but the diff_ids", () =>
    withImage([layer(5)], (image) =>
      Effect.gen(function* () {
        const text = `{ "created" : "2024-01-01T00:00:00Z",\n\t"big": 12345678901234567890.50, "__proto__": {"x": 1e400},
          "rootfs": {"diff_ids" :["${image.layers[0]!.diffId}" ] , "type":"layers"}, "diff_ids": ["${image.layers[0]!.diffId}"],
          "history":[{"created":"2024-01-01T00:00:00Z","created_by":"a \\u0022b\\" \\\\"},{"created":null,"empty_layer":true}], "ü": "\\ud83d" }\n`
        const raw = Buffer.from(text)
        const odd = { ...image, config: { ...image.config, raw, digest: digestOf(raw) } }
        const { image: next } = yield* filtered(odd, "normalize-timestamps")
        const expected = text.replace(image.layers[0]!.diffId, next.layers[0]!.diffId)
        assert.strictEqual(Buffer.from(next.config.raw).toString(), expected)
        const { image: dated } = yield* filtered(odd, "normalize-timestamps:ts=86400,config=true")
        assert.strictEqual(
          Buffer.from(dated.config.raw).toString(),
          text
            .replace(image.layers[0]!.diffId, dated.layers[0]!.diffId)
            .replaceAll("2024-01-01T00:00:00Z", "1970-01-02T00:00:00Z")
        )
      })
    )
  )

  it.effect("makes two builds the same that differ in times alone", () =>
    withImage([layer(1_600_000_000), layer(1_600_000_001)], (one) =>
      withImage(
        [layer(1_700_000_000, { mtimeNanoseconds: 5000 }), layer(3)],
        (two) =>
          Effect.gen(function* () {
            const spec = "normalize-timestamps:ts=1650000000,config=true"
            const [a, b] = [(yield* filtered(one, spec)).image, (yield* filtered(two, spec)).image]
            assert.strictEqual(a.config.digest, b.config.digest)
            assert.deepStrictEqual(
              a.layers.map((layer) => layer.diffId),
              b.layers.map((layer) => layer.diffId)
            )
            assert.strictEqual(a.config.value.created, "2022-04-15T05:20:00Z")
            assert.deepStrictEqual(
              a.config.value.history?.map((step) => step.created),
              ["2022-04-15T05:20:00Z", "2022-04-15T05:20:00Z"]
            )
          }),
        {
          config: {
            created: "2023-03-03T03:03:03.123Z",
            history: [
              { created: "2023-01-01T00:00:00Z", created_by: "step 0" },
              { created: "2023-01-02T00:00:00+01:00", created_by: "step 1" }
            ]
          }
        }
      )
    )
  )

  it.effect("reads compressed layers, and drops the digest of what they were", () =>
    withImage(
      [layer(5), layer(0)],
      (image) =>
        Effect.gen(function* () {
          const { image: next } = yield* filtered(image, "normalize-timestamps")
          assert.isDefined(image.layers[0]!.digest)
          assert.isFalse("digest" in next.layers[0]!)
          assert.strictEqual(next.layers[0]!.mediaType, image.layers[0]!.mediaType)
          assert.strictEqual(next.layers[1]!.digest, image.layers[1]!.digest)
          assert.deepStrictEqual(membersOf(next.layers[0]!), ["directory etc/", "file etc/a content"])
        }),
      { manifest: "oci", compression: "gzip" }
    )
  )

  it.effect("reads a layer that stands twice once, and rewrites both", () =>
    withImage([layer(5), layer(5)], (image) =>
      Effect.gen(function* () {
        const { image: next } = yield* filtered(image, "normalize-timestamps")
        assert.strictEqual(next.layers[0]!.diffId, next.layers[1]!.diffId)
        assert.deepStrictEqual(
          next.layers.map((layer) => layer.index),
          [0, 1]
        )
        assert.notInclude(next.config.value.rootfs.diff_ids, image.layers[0]!.diffId)
      })
    )
  )

  for (const compression of ["none", "gzip"] as const) {
    it.effect(`does not make a damaged layer look sound (${compression})`, () =>
      withImage(
        [layer(5)],
        (image) =>
          Effect.gen(function* () {
            const [damaged] = image.layers
            const bytes = fs.readFileSync(damaged!.bytes.path)
            const other = tar([...layer(5), file("etc/b", "more")])
            const cases = [
              [{ ...damaged!, diffId: digestOf(other) }, "expected diff_id"],
              [{ ...damaged!, digest: digestOf(Buffer.from("other")) }, `expected ${digestOf(Buffer.from("other"))}`],
              [{ ...damaged!, bytes: { ...damaged!.bytes, size: bytes.length + 5 } }, "ends early"],
              [{ ...damaged!, bytes: { ...damaged!.bytes, path: "/nonexistent" } }, "ENOENT"]
            ] as const
            for (const [layer, message] of cases) {
              const error = yield* filtered({ ...image, layers: [layer] }, "normalize-timestamps").pipe(Effect.flip)
              assert.include(error.message, message)
              assert.include(error.message, "layers/0")
            }
          }),
        { compression, manifest: "oci" }
      )
    )
  }

  it.effect("refuses a tar whose members are not sure", () =>
    withImage(
      [Buffer.concat([tar([file("a")]).subarray(0, 512), Buffer.alloc(512), tar([hardlink("b", "a")])])],
      (image) =>
        Effect.gen(function* () {
          const error = yield* filtered(image, "normalize-timestamps").pipe(Effect.flip)
          assert.strictEqual(error.reason, "Damaged")
          assert.include(error.message, "data follows a single zero block")
        })
    )
  )

  it.effect("takes the default time from the environment it is given", () =>
    withImage([layer(5)], (image) =>
      Effect.gen(function* () {
        const { image: next } = yield* filter("normalize-timestamps", { sourceDateEpoch: "99" })
          .apply(image)
          .pipe(Effect.provide(pool))
        const { image: same } = yield* filtered(image, "normalize-timestamps:ts=99")
        assert.strictEqual(next.config.digest, same.config.digest)
      })
    )
  )
})
