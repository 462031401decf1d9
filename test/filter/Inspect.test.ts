import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { inspect } from "../../src/filter/Inspection.ts"
import { pool } from "../layout/writing.ts"
import { dir, file, hardlink, opaque, tar, whiteout } from "../rootfs/Layers.ts"
import { filtered, inside, withImage } from "./Rewriting.ts"

const history = [
  { created: "2024-01-01T00:00:00.5Z", created_by: "ADD base", comment: "ü" },
  { created: "2024-01-01T00:00:01Z", created_by: "ENV A=b", empty_layer: true },
  { created: "2024-01-02T01:00:00+01:00", created_by: "COPY" },
  { created: null }
]

describe("the filter inspect", () => {
  it.effect("appends a line as the older tool writes it, at every place in a chain", () =>
    withImage(
      [[file("a.pyc", "12345")], [file("b")], [file("c")]],
      (image, directory) =>
        Effect.gen(function* () {
          const jsonl = inside(directory, "out.jsonl")
          fs.writeFileSync(jsonl, "kept\n")
          const { image: next, reports } = yield* filtered(
            image,
            `inspect:file=${jsonl}`,
            "exclude:pattern=*.pyc",
            `inspect:file=${jsonl}`
          )
          const [kept, before, after, end] = fs.readFileSync(jsonl, "utf8").split("\n")
          assert.deepStrictEqual([kept, end], ["kept", ""])
          const line = (id: string, size: number) =>
            `{"layers": [{"Comment": "", "Created": 0, "CreatedBy": "", "Id": "${image.layers[2]!.diffId}", "Size": 1536, "Tags": ["localhost/test:1"]}, ` +
            `{"Comment": "", "Created": 1704153600, "CreatedBy": "COPY", "Id": "${image.layers[1]!.diffId}", "Size": 1536, "Tags": null}, ` +
            `{"Comment": "\\u00fc", "Created": 1704067200, "CreatedBy": "ADD base", "Id": "${id}", "Size": ${size}, "Tags": null}], "name": "localhost/test:1"}`
          assert.strictEqual(before, line(image.layers[0]!.diffId, 2048))
          assert.strictEqual(after, line(next.layers[0]!.diffId, 1024))
          assert.deepStrictEqual(reports[0], { filter: "inspect", file: jsonl, layers: 3 })
        }),
      { compression: "gzip", config: { history } }
    )
  )

  it.effect("is refused a file that it cannot write", () =>
    withImage([[file("a")]], (image, directory) =>
      Effect.gen(function* () {
        const error = yield* filtered(image, `inspect:file=${directory}`).pipe(Effect.flip)
        assert.strictEqual(error.reason, "Unwritable")
        assert.include(error.message, directory)
      })
    )
  )

  it.effect("takes an image without a name and without history", () =>
    withImage(
      [[file("a")]],
      (image, directory) =>
        Effect.gen(function* () {
          const jsonl = inside(directory, "out.jsonl")
          yield* filtered(image, `inspect:file=${jsonl}`)
          const { layers, name } = JSON.parse(fs.readFileSync(jsonl, "utf8"))
          assert.deepStrictEqual([name, layers.length, layers[0].Tags, layers[0].CreatedBy], ["", 1, null, ""])
        }),
      { names: [], config: { history: null } }
    )
  )
})

describe("an inspection", () => {
  it.effect("holds layers beside their history, sizes, waste and the largest files", () =>
    withImage(
      [
        [
          dir("d/"),
          file("d/large", "x".repeat(3000)),
          file("old", "y".repeat(700)),
          file("keep", "z".repeat(10)),
          hardlink("keep2", "keep")
        ],
        [file("old", "new"), opaque("d"), file("d/small", "s")],
        [whiteout("old")]
      ],
      (image) =>
        Effect.gen(function* () {
          const found = yield* inspect(image, { top: 2 }).pipe(Effect.provide(pool))
          assert.deepStrictEqual(
            found.layers.map(({ compression, deleted, entries, index, overwritten, step, whiteouts }) => [
              index,
              compression,
              entries,
              whiteouts,
              overwritten,
              deleted,
              step
            ]),
            [
              [0, "gzip", 5, 0, 0, 0, 0],
              [1, "gzip", 2, 1, 700, 3000, 2],
              [2, "gzip", 0, 1, 0, 3, 3]
            ]
          )
          for (const [index, layer] of found.layers.entries()) {
            assert.strictEqual(layer.size, image.layers[index]!.bytes.size)
            assert.strictEqual(layer.diffId, image.layers[index]!.diffId)
            assert.strictEqual(layer.digest, image.layers[index]!.digest)
            assert.isAbove(layer.uncompressedSize, layer.size)
          }
          assert.deepStrictEqual(found.wasted, [
            { path: "d/large", size: 3000, layer: 0, by: 1, how: "deleted" },
            { path: "old", size: 700, layer: 0, by: 1, how: "overwritten" }
          ])
          assert.deepStrictEqual(found.largest, [
            { path: "keep", size: 10, layer: 0 },
            { path: "d/small", size: 1, layer: 1 }
          ])
          assert.strictEqual(found.totals.wasted, 3703)
          assert.deepStrictEqual([found.totals.files, found.totals.bytes], [2, 11])
          assert.strictEqual(
            found.totals.stored,
            image.layers.reduce((sum, layer) => sum + layer.bytes.size, 0)
          )
          assert.deepStrictEqual(
            found.history.map(({ createdBy, layer }) => [createdBy, layer]),
            [
              ["ADD base", 0],
              ["ENV A=b", undefined],
              ["COPY", 1],
              ["", 2]
            ]
          )
          assert.deepStrictEqual(
            [found.id, found.manifest?.digest, found.names],
            [image.config.digest, image.manifest?.digest, ["localhost/test:1"]]
          )
          assert.deepStrictEqual(
            [found.created, found.config?.Cmd, found.problems],
            ["2024-01-02T03:04:05Z", ["sh"], []]
          )
        }),
      { compression: "gzip", manifest: "oci", config: { history } }
    )
  )

  it.effect("is of what filters have made", () =>
    withImage([[file("a.pyc", "12345"), file("b", "123")]], (image) =>
      Effect.gen(function* () {
        const { image: next } = yield* filtered(image, "exclude:pattern=*.pyc")
        const found = yield* inspect(next).pipe(Effect.provide(pool))
        assert.deepStrictEqual(
          found.largest.map(({ path }) => path),
          ["b"]
        )
        assert.strictEqual(found.layers[0]!.uncompressedSize, 2048)
      })
    )
  )

  it.effect("says what it could not read", () =>
    withImage([Buffer.concat([tar([file("a", "x".repeat(2000))]).subarray(0, 1500)])], (image) =>
      Effect.gen(function* () {
        const found = yield* inspect(image).pipe(Effect.provide(pool))
        assert.deepStrictEqual(
          found.problems.map((line) => /\[(.*)\]/.exec(line)?.[1]),
          ["tar.truncated"]
        )
        const gone = {
          ...image,
          layers: [{ ...image.layers[0]!, bytes: { path: "/nonexistent", offset: 0, size: 5 } }]
        }
        const error = yield* inspect(gone).pipe(Effect.provide(pool), Effect.flip)
        assert.strictEqual(error.reason, "Unreadable")
      })
    )
  )
})
