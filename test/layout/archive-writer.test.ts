import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "fast-check"
import * as Codec from "../../src/content/Compression.ts"
import type { WorkerPool } from "../../src/content/WorkerPool.ts"
import type * as Image from "../../src/image/Image.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as ArchiveStore from "../../src/layout/ArchiveStore.ts"
import * as ArchiveFiles from "../../src/layout/docker-archive/ArchiveFiles.ts"
import * as ArchiveSource from "../../src/layout/docker-archive/ArchiveSource.ts"
import { ArchiveTar } from "../../src/layout/docker-archive/ArchiveTar.ts"
import * as ArchiveWriter from "../../src/layout/docker-archive/ArchiveWriter.ts"
import { choose, type Selector } from "../../src/layout/ImageSource.ts"
import * as Receipt from "../../src/layout/Receipt.ts"
import {
  assertSound,
  audit,
  content,
  type Doc,
  digestOf,
  documentOf,
  edited,
  leaveDeadRun,
  makeImage,
  membersOf,
  pool,
  sha256,
  tar,
  traces,
  withDirectory
} from "./writing.ts"

type Options = Omit<ArchiveWriter.ArchiveWriterOptions, "path">

const write = (file: string, image: Image.Image, options: Options = {}) =>
  Effect.flatMap(ArchiveWriter.make({ path: file, ...options }), (writer) => writer.write(image, { filters: [] }))

const read = (file: string, selector: Selector = {}) =>
  Effect.scoped(
    Effect.flatMap(ArchiveSource.make({ path: file, uri: `tar://${file}` }), (source) => choose(source, selector))
  )

/** The IDs of all images of an archive. */
const imagesOf = (file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const source = yield* ArchiveSource.make({ path: file, uri: `tar://${file}` })
      const images = yield* Effect.forEach(yield* source.candidates, (one) => one.load)
      return new Set<string>(images.map((image) => image.config.digest))
    })
  )

/** A test in a directory of its own: what it makes images from lies in `from`, what it writes goes to `to`. */
const test = <E>(name: string, body: (from: string, to: string) => Effect.Effect<void, E, WorkerPool>) =>
  it.effect(name, () =>
    withDirectory((directory) =>
      Effect.suspend(() => {
        const [from, to] = [path.join(directory, "from"), path.join(directory, "to")]
        fs.mkdirSync(from)
        fs.mkdirSync(to)
        return body(from, to)
      })
    ).pipe(Effect.provide(pool))
  )

const base = tar({ "etc/os": "linux", "usr/bin/tool": content("tool", 30_000) })
const top = tar({ "app/main": content("main", 200_000), "app/note": "note" })

describe("an archive", () => {
  for (const format of ArchiveFiles.formats) {
    for (const manifest of ["oci", "docker", undefined] as const) {
      test(`is sound: ${format}, from ${manifest ?? "docker-save"}`, (from, to) =>
        Effect.gen(function* () {
          const image = makeImage(from, {
            layers: [base, top, base],
            names: ["example.org/app:1", "app:latest"],
            ...(manifest === undefined ? {} : { manifest, compression: "gzip" })
          })
          const file = path.join(to, "image.tar")
          const receipt = yield* write(file, image, { format })
          yield* assertSound(file, receipt)
          assert.deepStrictEqual(traces(to), [])
          const again = yield* read(file, { index: 0 })
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.deepStrictEqual(
            again.layers.map((layer) => layer.diffId),
            image.layers.map((layer) => layer.diffId)
          )
          if (manifest !== undefined && format !== "docker") {
            assert.strictEqual(again.manifest?.digest, image.manifest?.digest, "the manifest's bytes are kept")
            assert.deepStrictEqual(receipt.conversions, [])
          }
        }))
    }
  }

  test("holds what its format says, once and in order", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base, top, base], names: ["app:1"], manifest: "oci" })
      const blob = (bytes: Uint8Array) => `blobs/sha256/${sha256(bytes)}`
      const blobs = ["blobs/", "blobs/sha256/", blob(base), blob(top), blob(image.config.raw)]
      const manifest = blob(image.manifest!.raw)
      const expected = {
        hybrid: [...blobs, manifest, "index.json", "manifest.json", "oci-layout", "repositories"],
        docker: [...blobs, "manifest.json", "repositories"],
        oci: [...blobs, manifest, "index.json", "oci-layout"]
      }
      for (const format of ArchiveFiles.formats) {
        const file = path.join(to, `${format}.tar`)
        yield* write(file, image, { format })
        assert.deepStrictEqual([...membersOf(file).keys()], expected[format])
      }
    }))

  test("has the same bytes every time, whatever the source stores and where it is written", (from, to) =>
    Effect.gen(function* () {
      const options = { layers: [base, top], names: ["app:1"] }
      fs.mkdirSync(path.join(to, "elsewhere"))
      const written: Array<string> = []
      for (const [index, compression] of (["none", "gzip", "none"] as const).entries()) {
        const image = makeImage(from, { ...options, compression })
        const file = path.join(to, index === 2 ? "elsewhere/other.tar" : `${index}.tar`)
        yield* write(file, image, { compression: "gzip", level: 6 })
        written.push(sha256(fs.readFileSync(file)))
      }
      assert.deepStrictEqual([...new Set(written)], [written[0]])
      const headers = fs.readFileSync(path.join(to, "0.tar")).subarray(0, 512)
      assert.strictEqual(headers.toString("latin1", 136, 147), "00000000000", "no time")
      assert.strictEqual(headers.toString("latin1", 108, 115), "0000000", "no owner")
      assert.strictEqual(headers.toString("latin1", 265, 297).replaceAll("\0", ""), "", "no owner's name")
    }))

  test("tells the same names everywhere", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      const image = makeImage(from, {
        layers: [base],
        names: ["debian:12", "localhost/team/app:v1", "quay.io:8080/x/y:z@sha256:" + "0".repeat(64), "only-a-ref"]
      })
      yield* write(file, image)
      const [saved] = documentOf(file, "manifest.json")
      assert.deepStrictEqual(saved.RepoTags, ["debian:12", "localhost/team/app:v1", "quay.io:8080/x/y:z"])
      assert.deepStrictEqual(documentOf(file, "repositories"), {
        debian: { 12: sha256(base) },
        "localhost/team/app": { v1: sha256(base) },
        "quay.io:8080/x/y": { z: sha256(base) }
      })
      assert.deepStrictEqual(
        documentOf(file, "index.json").manifests.map((one: Doc) => one.annotations),
        [
          { "io.containerd.image.name": "docker.io/library/debian:12", "org.opencontainers.image.ref.name": "12" },
          { "io.containerd.image.name": "localhost/team/app:v1", "org.opencontainers.image.ref.name": "v1" },
          { "io.containerd.image.name": "quay.io:8080/x/y:z", "org.opencontainers.image.ref.name": "z" },
          { "org.opencontainers.image.ref.name": "only-a-ref" }
        ]
      )
      yield* write(file, image, { names: ["team/app:2"] })
      assert.deepStrictEqual(documentOf(file, "manifest.json")[0].RepoTags, ["team/app:2"])
      yield* write(file, { ...image, names: [] })
      assert.isNull(documentOf(file, "manifest.json")[0].RepoTags)
      assert.isUndefined(documentOf(file, "index.json").manifests[0].annotations)
      assert.isFalse(membersOf(file).has("repositories"))
    }))

  test("of an image without layers", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      const receipt = yield* write(file, makeImage(from, { layers: [], names: ["empty:1"] }))
      assert.deepStrictEqual(documentOf(file, "manifest.json")[0].Layers, [])
      const found = yield* audit(file, receipt)
      assert.deepStrictEqual(
        found.filter((one) => !one.startsWith("manifest.no-layers")),
        []
      )
    }))
})

describe("layers of an archive", () => {
  for (const compression of ["none", "gzip", "zstd"] as const) {
    for (const source of ["none", "gzip"] as const) {
      test(`from ${source} to ${compression}, diff_ids kept and the change told`, (from, to) =>
        Effect.gen(function* () {
          const file = path.join(to, "image.tar")
          const image = makeImage(from, { layers: [base, top], names: ["app:1"], compression: source, manifest: "oci" })
          const receipt = yield* write(file, image, { compression })
          yield* assertSound(file, receipt)
          const again = yield* read(file)
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.deepStrictEqual(
            again.layers.map((layer) => [layer.diffId, layer.mediaType]),
            image.layers.map((layer) => [layer.diffId, MediaType.layerWith(compression, false)])
          )
          if (source === compression) {
            assert.strictEqual(again.manifest!.digest, image.manifest!.digest)
            assert.deepStrictEqual(receipt.conversions, [])
          } else {
            assert.deepStrictEqual(
              receipt.conversions.map((one) => one.replace(/ (became|from) .*/, "")),
              [
                `layer 0: ${image.layers[0]!.digest}`,
                `layer 1: ${image.layers[1]!.digest}`,
                `manifest: ${image.manifest!.digest}`
              ]
            )
            const to =
              compression === "none" ? "uncompressed" : `${compression} level ${compression === "gzip" ? 6 : 3}`
            assert.include(receipt.conversions[0], `became ${to} ${again.layers[0]!.digest}`)
            assert.include(receipt.conversions[2], `became ${again.manifest!.digest}`)
          }
        }))
    }
  }

  test("are what one encoder makes of them, however many pieces they have", (from, to) =>
    Effect.gen(function* () {
      const large = tar({ large: content("large", 5 * 1024 * 1024 + 1234), small: "s" })
      const file = path.join(to, "image.tar")
      const receipt = yield* write(file, makeImage(from, { layers: [large, top, tar({})], names: ["app:1"] }), {
        compression: "gzip",
        level: 1
      })
      yield* assertSound(file, receipt)
      const members = membersOf(file)
      const [saved] = documentOf(file, "manifest.json")
      for (const [index, layer] of [large, top, tar({})].entries()) {
        const parts: Array<Buffer> = []
        const encoder = Codec.makeEncoder("gzip", 1, (chunk, start, end) =>
          parts.push(Buffer.from(chunk.subarray(start, end)))
        )
        encoder.write(layer, 0, layer.length)
        encoder.end()
        const bytes = members.get(saved.Layers[index])!
        assert.isTrue(bytes.equals(Buffer.concat(parts)))
        assert.isTrue(zlib.gunzipSync(bytes).equals(layer))
      }
    }))

  test("are written as a filter edits them", (from, to) =>
    Effect.gen(function* () {
      for (const source of ["none", "gzip"] as const) {
        for (const compression of [undefined, "none", "gzip", "zstd"] as const) {
          const image = edited(
            makeImage(from, { layers: [base, top], names: ["app:1"], compression: source, manifest: "oci" })
          )
          const target = path.join(to, "image.tar")
          const receipt = yield* write(target, image, { compression })
          yield* assertSound(target, receipt)
          const again = yield* read(target)
          const stored = compression ?? source
          assert.deepStrictEqual(
            again.layers.map((layer) => [layer.diffId, layer.mediaType]),
            image.layers.map((layer) => [layer.diffId, MediaType.layerWith(stored, false)])
          )
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.include(receipt.conversions.at(-1), `manifest: ${image.manifest!.digest} became `)
        }
      }
    }))

  test("are compressed anew when a level is asked for", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [top], names: ["app:1"], compression: "gzip", manifest: "oci" })
      const sizes: Array<number> = []
      for (const level of [1, 9]) {
        const file = path.join(to, `${level}.tar`)
        const receipt = yield* write(file, image, { compression: "gzip", level })
        yield* assertSound(file, receipt)
        sizes.push((receipt.details["layers"] as ReadonlyArray<{ size: number }>)[0]!.size)
      }
      assert.isBelow(sizes[1]!, sizes[0]!)
      const refused = yield* Effect.either(write(path.join(to, "x.tar"), image, { compression: "gzip", level: 10 }))
      assert.strictEqual(Either.isLeft(refused) && refused.left.reason, "Unsupported")
    }))

  test("keep what the source says of them, and lose it with their bytes", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base, top], names: ["app:1"], manifest: "oci", annotations: { a: "b" } })
      const value = JSON.parse(Buffer.from(image.manifest!.raw).toString())
      for (const layer of value.layers) layer.annotations = { toc: "of these bytes" }
      const raw = Buffer.from(JSON.stringify(value))
      const annotated = { ...image, manifest: { ...image.manifest!, raw, digest: digestOf(raw) } }
      const file = path.join(to, "image.tar")
      const manifestIn = () => {
        const digest: string = documentOf(file, "index.json").manifests[0].digest
        return JSON.parse(
          membersOf(file)
            .get(`blobs/${digest.replace(":", "/")}`)!
            .toString()
        )
      }
      yield* write(file, annotated)
      assert.deepStrictEqual(manifestIn(), value)
      yield* write(file, annotated, { compression: "gzip" })
      const converted = manifestIn()
      assert.deepStrictEqual(converted.annotations, { a: "b" })
      assert.deepStrictEqual(
        converted.layers.map((layer: Doc) => layer.annotations),
        [undefined, undefined]
      )
    }))

  test("from OCI's types to Docker's and back", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, {
        layers: [base, top],
        names: ["app:1"],
        compression: "gzip",
        manifest: "oci",
        annotations: { a: "b" }
      })
      const file = path.join(to, "image.tar")
      const there = yield* write(file, image, { mediaTypes: "docker" })
      yield* assertSound(file, there)
      const docker = yield* read(file)
      assert.strictEqual(docker.manifest!.mediaType, MediaType.dockerManifest)
      assert.deepStrictEqual(
        docker.layers.map(({ digest, mediaType }) => [digest, mediaType]),
        image.layers.map(({ digest }) => [digest, MediaType.dockerLayerGzip])
      )
      assert.deepStrictEqual(there.conversions, [
        `manifest: ${MediaType.ociManifest} ${image.manifest!.digest} became ${MediaType.dockerManifest} ${
          docker.manifest!.digest
        }, which cannot hold annotations`
      ])
      const back = yield* write(path.join(to, "back.tar"), docker, { mediaTypes: "oci" })
      yield* assertSound(path.join(to, "back.tar"), back)
      const again = yield* read(path.join(to, "back.tar"))
      assert.deepStrictEqual(
        again.layers.map(({ digest, mediaType }) => [digest, mediaType]),
        image.layers.map(({ digest, mediaType }) => [digest, mediaType])
      )
      assert.strictEqual(again.config.digest, image.config.digest)
    }))
})

describe("appending", () => {
  const first = (from: string) => makeImage(from, { layers: [base], names: ["one:1"] })
  const second = (from: string) => makeImage(from, { layers: [base, top], names: ["two:1", "two:2"], manifest: "oci" })

  for (const format of ArchiveFiles.formats) {
    test(`keeps what is there and shares blobs: ${format}`, (from, to) =>
      Effect.gen(function* () {
        const file = path.join(to, "image.tar")
        yield* write(file, first(from), { format, append: true })
        const receipt = yield* write(file, second(from), { format, append: true })
        yield* assertSound(file, receipt)
        assert.strictEqual([...membersOf(file).keys()].filter((name) => name.endsWith(sha256(base))).length, 1)
        for (const image of [first(from), second(from)]) {
          const again = yield* read(file, { image: image.names[0]! })
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.deepStrictEqual(
            again.layers.map((layer) => layer.diffId),
            image.layers.map((layer) => layer.diffId)
          )
        }
        const before = fs.readFileSync(file)
        yield* write(file, second(from), { format, append: true })
        assert.isTrue(before.equals(fs.readFileSync(file)), "the same image again changes nothing")
      }))
  }

  for (const [there, asked] of [
    ["docker", "hybrid"],
    ["oci", "hybrid"],
    ["docker", "oci"],
    ["oci", "docker"],
    ["hybrid", "docker"]
  ] as const) {
    test(`${asked} to ${there} makes a hybrid of both`, (from, to) =>
      Effect.gen(function* () {
        const file = path.join(to, "image.tar")
        yield* write(file, first(from), { format: there })
        const receipt = yield* write(file, second(from), { format: asked, append: true })
        yield* assertSound(file, receipt)
        assert.deepStrictEqual(
          documentOf(file, "manifest.json").map((one: Doc) => one.RepoTags),
          [["one:1"], ["two:1", "two:2"]]
        )
        assert.strictEqual(documentOf(file, "index.json").manifests.length, 3)
        assert.deepStrictEqual(Object.keys(documentOf(file, "repositories")), ["one", "two"])
      }))
  }

  test("a name goes to the image that is added last", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      yield* write(file, { ...first(from), names: ["app:1", "app:old"] })
      const receipt = yield* write(file, { ...second(from), names: ["app:1"] }, { append: true })
      yield* assertSound(file, receipt)
      assert.deepStrictEqual(
        documentOf(file, "manifest.json").map((one: Doc) => one.RepoTags),
        [["app:old"], ["app:1"]]
      )
      assert.deepStrictEqual(documentOf(file, "repositories"), { app: { 1: sha256(top), old: sha256(base) } })
      const third = makeImage(from, { layers: [top], names: ["app:old", "other:1"] })
      yield* assertSound(file, yield* write(file, third, { append: true }))
      assert.deepStrictEqual(
        documentOf(file, "manifest.json").map((one: Doc) => one.RepoTags),
        [null, ["app:1"], ["app:old", "other:1"]]
      )
      assert.deepStrictEqual(
        documentOf(file, "index.json").manifests.map(
          (one: Doc) => one.annotations?.["org.opencontainers.image.ref.name"]
        ),
        [undefined, "1", "old", "other:1"]
      )
    }))

  test("drops compressed layers that are there already", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      yield* write(file, makeImage(from, { layers: [base, top], names: ["one:1"] }), { compression: "gzip" })
      const more = makeImage(from, { layers: [top, base, tar({ more: "more" })], names: ["two:1"] })
      const receipt = yield* write(file, more, { compression: "gzip", append: true })
      yield* assertSound(file, receipt)
      const saved = documentOf(file, "manifest.json")
      assert.deepStrictEqual(saved[1].Layers.slice(0, 2), saved[0].Layers.toReversed())
    }))

  test("never takes over what is damaged", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      yield* write(file, second(from))
      const bytes = fs.readFileSync(file)
      const at = bytes.indexOf(content("main", 64))
      bytes[at] = bytes[at]! ^ 1
      fs.writeFileSync(file, bytes)
      const failed = yield* Effect.flip(write(file, first(from), { append: true }))
      assert.include(failed.message, `blobs/sha256/${sha256(top)} is damaged`)
      assert.isTrue(bytes.equals(fs.readFileSync(file)), "what was there is untouched")
      assert.deepStrictEqual(traces(to), [])
    }))

  test("refuses what it cannot keep", (from, to) =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, Uint8Array, string]> = [
        ["no archive", Buffer.from("hello"), "expected a tar archive"],
        ["another tar", tar({ file: "x" }), "expected manifest.json or index.json"],
        ["compressed", zlib.gzipSync(tar({ file: "x" })), "compressed with gzip"],
        ["no JSON", tar({ "index.json": "{" }), "index.json: JSON does not parse"],
        ["cut off", tar({ "index.json": content("x", 5000) }).subarray(0, 3000), "cannot append"]
      ]
      for (const [name, bytes, message] of cases) {
        const file = path.join(to, name)
        fs.writeFileSync(file, bytes)
        const failed = yield* Effect.flip(write(file, first(from), { append: true }))
        assert.include(failed.message, message, name)
        assert.isTrue(Buffer.from(bytes).equals(fs.readFileSync(file)))
      }
      assert.deepStrictEqual(traces(to), [])
    }))

  test("by several at a time loses none", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      const images = Array.from({ length: 5 }, (_, index) =>
        makeImage(from, { layers: [base, tar({ file: `${index}` })], names: [`app:${index}`] })
      )
      yield* Effect.forEach(images, (image) => write(file, image, { append: true }), { concurrency: "unbounded" })
      const tags = documentOf(file, "manifest.json").flatMap((one: Doc) => one.RepoTags)
      assert.deepStrictEqual(
        tags.sort(),
        images.map((image) => image.names[0])
      )
      assert.deepStrictEqual(yield* audit(file), [])
      assert.deepStrictEqual(traces(to), [])
    }))

  it("keeps every image of any sequence", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            layers: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
            tag: fc.constantFrom("a:1", "b:1", "a:2")
          }),
          { minLength: 1, maxLength: 4 }
        ),
        fc.constantFrom(...ArchiveFiles.formats),
        (steps, format) =>
          Effect.runPromise(
            withDirectory((directory) =>
              Effect.gen(function* () {
                const file = path.join(directory, "image.tar")
                const owners = new Map<string, string>()
                const ids = new Set<string>()
                for (const { layers, tag } of steps) {
                  const image = makeImage(directory, {
                    layers: layers.map((one) => tar({ file: `${one}` })),
                    names: [tag]
                  })
                  yield* write(file, image, { append: true, format })
                  owners.set(tag, image.config.digest)
                  ids.add(image.config.digest)
                }
                const found = (yield* audit(file)).filter((one) => !one.startsWith("manifest.no-layers"))
                assert.deepStrictEqual(found, [])
                for (const [tag, id] of owners)
                  assert.strictEqual((yield* read(file, { image: tag })).config.digest, id)
                assert.deepStrictEqual(yield* imagesOf(file), ids)
              })
            ).pipe(Effect.provide(pool))
          )
      ),
      { numRuns: 25 }
    ))
})

describe("nothing is written", () => {
  test("of a layer that is not what its source says", (from, to) =>
    Effect.gen(function* () {
      for (const compression of [undefined, "none", "gzip"] as const) {
        const file = path.join(to, "image.tar")
        const sound = makeImage(from, { layers: [base, top], names: ["app:1"], compression: "gzip", manifest: "oci" })
        const layer = sound.layers[1]!
        const spoil = (change: Partial<Image.Layer>) => ({
          ...sound,
          layers: [sound.layers[0]!, { ...layer, ...change }]
        })
        const other = digestOf(Buffer.from("other"))
        const cases: ReadonlyArray<readonly [Image.Image, string, string]> = [
          [spoil({ digest: other }), "Damaged", `expected ${other}, found ${layer.digest}`],
          [spoil({ diffId: other }), "Damaged", `expected diff_id ${other}, found ${layer.diffId}`],
          [spoil({ bytes: { ...layer.bytes, size: layer.bytes.size + 1 } }), "Damaged", `found ${layer.bytes.size}`],
          [spoil({ bytes: { ...layer.bytes, path: `${layer.bytes.path}.gone` } }), "Unreadable", "it does not exist"]
        ]
        for (const [image, reason, message] of cases) {
          const failed = yield* Effect.flip(write(file, image, { compression }))
          assert.strictEqual(failed._tag, "SourceError")
          assert.strictEqual(failed.reason, reason)
          assert.include(failed.message, "layer 1 (layers/1)")
          assert.include(failed.message, message)
        }
        assert.deepStrictEqual(fs.readdirSync(to), [])
      }
    }))

  test("when one blob is said to be two layers", (from, to) =>
    Effect.gen(function* () {
      const sound = makeImage(from, { layers: [base, top], names: ["app:1"], manifest: "oci" })
      const [one, two] = [sound.layers[0]!, sound.layers[1]!]
      const image = { ...sound, layers: [one, { ...two, digest: one.digest!, bytes: one.bytes }] }
      const failed = yield* Effect.flip(write(path.join(to, "image.tar"), image))
      assert.strictEqual(failed.reason, "Damaged")
      assert.deepStrictEqual(fs.readdirSync(to), [])
    }))

  test("where something else stands, or nothing can", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base], names: ["app:1"] })
      fs.mkdirSync(path.join(to, "directory"))
      fs.writeFileSync(path.join(to, "file"), "")
      const directory = yield* Effect.flip(write(path.join(to, "directory"), image))
      assert.strictEqual(directory.reason, "Occupied")
      assert.include(directory.message, "found a directory")
      const below = yield* Effect.flip(write(path.join(to, "file", "image.tar"), image))
      assert.strictEqual(below.reason, "Unwritable")
      assert.deepStrictEqual(fs.readdirSync(to).sort(), ["directory", "file"])
    }))
})

describe("beside an archive", () => {
  test("stands its receipt, which an audit holds against it", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      const image = makeImage(from, { layers: [base, top], names: ["app:1"] })
      const receipt = yield* write(file, image)
      assert.deepStrictEqual(fs.readdirSync(to), ["image.tar", "image.tar.receipt.json"])
      const stored = Receipt.decode(fs.readFileSync(ArchiveFiles.receiptPath(file)))
      assert.deepStrictEqual(Either.getOrThrow(stored), receipt)
      const members = membersOf(file)
      assert.deepStrictEqual(
        receipt.files.map((one) => [one.path, one.size, one.sha256]),
        receipt.files.map((one) => [one.path, members.get(one.path)!.length, sha256(members.get(one.path)!)])
      )
      assert.strictEqual(receipt.files.length, [...members.keys()].filter((name) => !name.endsWith("/")).length)
      // The other layer of the same size would pass without the receipt, and its digest with it.
      const other = path.join(to, "other.tar")
      yield* write(other, makeImage(from, { layers: [base, tar({ x: "y" })], names: ["app:1"] }))
      fs.renameSync(other, file)
      assert.include((yield* audit(file)).join("\n"), "receipt.")
    }))

  test("is cleared what dead runs left for it, not what others left", (from, to) =>
    Effect.gen(function* () {
      const file = path.join(to, "image.tar")
      leaveDeadRun(to, "image.tar")
      fs.writeFileSync(path.join(to, "bystander.tar"), "")
      yield* write(file, makeImage(from, { layers: [base], names: ["app:1"] }))
      assert.deepStrictEqual(traces(to), [])
      assert.isTrue(fs.existsSync(path.join(to, "bystander.tar")))
    }))

  test("a link that the user names is followed", (from, to) =>
    Effect.gen(function* () {
      fs.mkdirSync(path.join(to, "real"))
      const real = path.join(to, "real", "image.tar")
      const link = path.join(to, "link.tar")
      const image = makeImage(from, { layers: [base], names: ["app:1"] })
      yield* write(real, image)
      fs.symlinkSync(real, link)
      const receipt = yield* write(link, makeImage(from, { layers: [top], names: ["app:2"] }), { append: true })
      assert.isTrue(fs.lstatSync(link).isSymbolicLink())
      assert.strictEqual(documentOf(real, "manifest.json").length, 2)
      yield* assertSound(real, receipt)
    }))
})

describe("every damage to an archive", () => {
  const spoilt = (
    name: string,
    damage: (bytes: Buffer, members: ReadonlyMap<string, Buffer>) => Buffer | undefined,
    expected: string
  ) =>
    test(name, (from, to) =>
      Effect.gen(function* () {
        const file = path.join(to, "image.tar")
        const receipt = yield* write(file, makeImage(from, { layers: [base, top], names: ["app:1"] }), {
          compression: "gzip"
        })
        const bytes = fs.readFileSync(file)
        const changed = damage(bytes, membersOf(file)) ?? bytes
        fs.writeFileSync(file, changed)
        for (const found of [yield* audit(file), yield* audit(file, receipt)]) {
          assert.include(
            found.map((one) => one.split(" ")[0]),
            expected,
            found.join("\n")
          )
        }
      })
    )
  const inMember =
    (name: (members: ReadonlyMap<string, Buffer>) => string) =>
    (bytes: Buffer, members: ReadonlyMap<string, Buffer>) => {
      const at = bytes.indexOf(members.get(name(members))!) + 20
      bytes[at] = bytes[at]! ^ 1
      return undefined
    }
  const layer = (members: ReadonlyMap<string, Buffer>): string =>
    JSON.parse(members.get("manifest.json")!.toString())[0].Layers[1]
  const config = (members: ReadonlyMap<string, Buffer>): string =>
    JSON.parse(members.get("manifest.json")!.toString())[0].Config
  spoilt("a bit of a layer", inMember(layer), "layer.digest-mismatch")
  spoilt("a bit of the config", inMember(config), "config.digest-mismatch")
  spoilt(
    "a bit of the manifest",
    inMember(
      (members) => `blobs/${JSON.parse(members.get("index.json")!.toString()).manifests[0].digest.replace(":", "/")}`
    ),
    "manifest.digest-mismatch"
  )
  spoilt("its end", (bytes) => bytes.subarray(0, bytes.length - 3000), "tar.truncated")
  spoilt(
    "a header",
    (bytes) => {
      bytes[bytes.indexOf("manifest.json")] = 0x4d
      return bytes
    },
    "tar.bad-checksum"
  )
})

describe("a member beyond 8 GiB", () => {
  const huge = 9 * 1024 ** 3
  const withTar = (use: (archive: ArchiveTar) => void) =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const file = path.join(directory, "huge.tar")
        fs.writeFileSync(file, "")
        const archive = new ArchiveTar(file)
        use(archive)
        const { files, size } = archive.end()
        archive.close()
        assert.strictEqual(fs.statSync(file).size, size)
        const store = yield* ArchiveStore.open(file)
        assert.deepStrictEqual(store.problems, [])
        return { files, store }
      })
    ).pipe(Effect.scoped, Effect.provide(pool))

  it.effect("has a header that says its size", () =>
    Effect.gen(function* () {
      const { store } = yield* withTar((archive) => {
        const at = archive.reserve("blobs/sha256/huge", huge)
        assert.strictEqual(at, 1536)
        archive.file("index.json", Buffer.from("{}"))
      })
      for (const [name, size] of [
        ["blobs/sha256/huge", huge],
        ["index.json", 2]
      ] as const) {
        const entry = store.lookup(name)
        assert.strictEqual(entry?.kind === "file" && entry.region.size, size)
      }
    })
  )

  it.effect("may turn out smaller than what it is made from", () =>
    Effect.gen(function* () {
      const { files, store } = yield* withTar((archive) => {
        for (const name of ["one", "two", "one"]) {
          archive.begin(huge)
          archive.append(Buffer.from("some "))
          archive.append(Buffer.from(name))
          archive.finish({ path: name, size: 8, sha256: sha256(`some ${name}`) })
        }
        archive.file("index.json", Buffer.from("{}"))
      })
      assert.deepStrictEqual(
        files.map((one) => one.path),
        ["one", "two", "index.json"]
      )
      assert.deepStrictEqual(store.files(), ["index.json", "one", "two"])
      const entry = store.lookup("two")
      assert.strictEqual(entry?.kind === "file" && entry.region.size, 8)
    })
  )
})
