import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { WorkerPool } from "../../src/content/WorkerPool.ts"
import * as Digest from "../../src/image/Digest.ts"
import type * as Image from "../../src/image/Image.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as ContentGraph from "../../src/layout/ContentGraph.ts"
import * as ArchiveWriter from "../../src/layout/docker-archive/ArchiveWriter.ts"
import { choose, type Selector } from "../../src/layout/ImageSource.ts"
import * as OciFiles from "../../src/layout/oci-layout/OciFiles.ts"
import * as OciLayoutSource from "../../src/layout/oci-layout/OciLayoutSource.ts"
import * as OciLayoutWriter from "../../src/layout/oci-layout/OciLayoutWriter.ts"
import * as Receipt from "../../src/layout/Receipt.ts"
import {
  assertSound,
  audit,
  content,
  type Doc,
  digestOf,
  edited,
  leaveDeadRun,
  makeImage,
  pool,
  readJson,
  sha256,
  tar,
  traces,
  withDirectory
} from "./writing.ts"

type Options = Omit<OciLayoutWriter.OciLayoutWriterOptions, "path">

const write = (directory: string, image: Image.Image, options: Options = {}) =>
  Effect.flatMap(OciLayoutWriter.make({ path: directory, ...options }), (writer) =>
    writer.write(image, { filters: [] })
  )

const open = (directory: string) => OciLayoutSource.make({ path: directory, uri: `oci-layout://${directory}` })

const read = (directory: string, selector: Selector = {}) =>
  Effect.flatMap(open(directory), (source) => choose(source, selector))

/** A test in a directory of its own: what it makes images from lies in `from`, what it writes goes to `to`. */
const test = <E>(name: string, body: (from: string, to: string) => Effect.Effect<void, E, WorkerPool>) =>
  it.effect(name, () =>
    withDirectory((directory) =>
      Effect.suspend(() => {
        const [from, to] = [path.join(directory, "from"), path.join(directory, "to")]
        fs.mkdirSync(from)
        return body(from, to)
      })
    ).pipe(Effect.provide(pool))
  )

const base = tar({ "etc/os": "linux", "usr/bin/tool": content("tool", 30_000) })
const top = tar({ "app/main": content("main", 200_000), "app/note": "note" })

const blobsIn = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync(path.join(directory, "blobs/sha256")).sort()
const entriesOf = (directory: string): ReadonlyArray<Doc> => readJson(directory, "index.json").manifests
const refsOf = (directory: string): ReadonlyArray<string | undefined> =>
  entriesOf(directory).map((entry) => entry.annotations?.[OciFiles.refName])

describe("a layout", () => {
  for (const manifest of ["oci", "docker", undefined] as const) {
    for (const compression of ["none", "gzip"] as const) {
      test(`keeps what the source has: ${manifest ?? "docker-save"}, ${compression}`, (from, to) =>
        Effect.gen(function* () {
          const image = makeImage(from, {
            layers: [base, top, base],
            names: ["app:1"],
            compression,
            ...(manifest === undefined ? {} : { manifest })
          })
          const receipt = yield* write(to, image)
          yield* assertSound(to, receipt)
          assert.deepStrictEqual(readJson(to, "oci-layout"), { imageLayoutVersion: "1.0.0" })
          const again = yield* read(to)
          assert.isTrue(Buffer.from(again.config.raw).equals(image.config.raw))
          assert.deepStrictEqual(
            again.layers.map((layer) => [layer.diffId, layer.bytes.size]),
            image.layers.map((layer) => [layer.diffId, layer.bytes.size])
          )
          if (manifest === undefined) {
            assert.deepStrictEqual(receipt.conversions, [
              `manifest: the source has none; made ${MediaType.ociManifest} ${again.manifest!.digest}`
            ])
          } else {
            assert.isTrue(Buffer.from(again.manifest!.raw).equals(image.manifest!.raw))
            assert.deepStrictEqual(receipt.conversions, [])
          }
        }))
    }
  }

  for (const compression of ["none", "gzip", "zstd"] as const) {
    for (const source of ["none", "gzip"] as const) {
      test(`converts from ${source} to ${compression}, diff_ids kept and the change told`, (from, to) =>
        Effect.gen(function* () {
          const image = makeImage(from, {
            layers: [base, top],
            names: ["app:1"],
            compression: source,
            manifest: "docker"
          })
          const receipt = yield* write(to, image, { compression, mediaTypes: "oci" })
          yield* assertSound(to, receipt)
          const again = yield* read(to)
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.deepStrictEqual(
            again.layers.map((layer) => [layer.diffId, layer.mediaType]),
            image.layers.map((layer) => [layer.diffId, MediaType.layerWith(compression, false)])
          )
          assert.strictEqual(receipt.conversions.length, source === compression ? 1 : 3)
          assert.include(
            receipt.conversions.at(-1),
            `manifest: ${MediaType.dockerManifest} ${image.manifest!.digest} became ${MediaType.ociManifest} ${again.manifest!.digest}`
          )
        }))
    }
  }

  test("has layers as a filter edits them", (from, to) =>
    Effect.gen(function* () {
      for (const source of ["none", "gzip"] as const) {
        for (const compression of [undefined, "none", "gzip", "zstd"] as const) {
          const image = edited(
            makeImage(from, { layers: [base, top], names: ["app:1"], compression: source, manifest: "oci" })
          )
          const target = path.join(to, `${source}-${compression}`)
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

  test("has a config that a manifest of another type describes", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base], names: ["app:1"], manifest: "docker" })
      yield* write(to, image, { mediaTypes: "oci" })
      const manifest = readJson(to, "blobs/sha256", Digest.encodedOf(entriesOf(to)[0].digest))
      assert.deepStrictEqual(manifest.config, {
        mediaType: MediaType.ociConfig,
        digest: image.config.digest,
        size: image.config.raw.length
      })
    }))
})

describe("adding to a layout", () => {
  test("shares blobs and replaces what has the same reference name", (from, to) =>
    Effect.gen(function* () {
      const one = makeImage(from, { layers: [base], names: ["app:1"] })
      const two = makeImage(from, { layers: [base, top], names: ["app:2"] })
      yield* write(to, one)
      const receipt = yield* write(to, two)
      yield* assertSound(to, receipt)
      assert.deepStrictEqual(refsOf(to), ["app:1", "app:2"])
      assert.strictEqual(blobsIn(to).length, 6)
      yield* write(to, one, { ref: "app:2" })
      assert.deepStrictEqual(refsOf(to), ["app:1", "app:2"])
      assert.strictEqual(entriesOf(to)[0].digest, entriesOf(to)[1].digest)
      assert.deepStrictEqual(yield* audit(to), [])
    }))

  test("writes the same image again without a change", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base, top], names: ["app:1", "app:latest"] })
      const options = { compression: "gzip" } as const
      yield* write(to, image, options)
      const stats = blobsIn(to).map((name) => fs.statSync(path.join(to, "blobs/sha256", name)))
      const index = fs.readFileSync(path.join(to, "index.json"))
      const receipt = yield* write(to, image, options)
      assert.deepStrictEqual(
        blobsIn(to).map((name) => fs.statSync(path.join(to, "blobs/sha256", name)).ino),
        stats.map((stat) => stat.ino),
        "blobs that hold are used, those compressed before too"
      )
      assert.isTrue(index.equals(fs.readFileSync(path.join(to, "index.json"))))
      yield* assertSound(to, receipt)
    }))

  test("does not trust what is there", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base, top], names: ["app:1"], manifest: "oci" })
      const receipt = yield* write(to, image, { compression: "gzip" })
      for (const file of receipt.files) {
        for (const damage of [
          (bytes: Buffer) => bytes.fill(0, 10, 11),
          (bytes: Buffer) => bytes.subarray(0, bytes.length - 1),
          (bytes: Buffer) => Buffer.concat([bytes, Buffer.from("\n")])
        ]) {
          const target = path.join(to, file.path)
          const sound = fs.readFileSync(target)
          fs.writeFileSync(target, damage(Buffer.from(sound)))
          yield* assertSound(to, yield* write(to, image, { compression: "gzip" }))
          assert.isTrue(sound.equals(fs.readFileSync(target)))
        }
      }
    }))

  test("keeps all else that index.json says", (from, to) =>
    Effect.gen(function* () {
      yield* write(to, makeImage(from, { layers: [base], names: ["app:1"], manifest: "oci" }))
      const index = readJson(to, "index.json")
      index.manifests[0].platform = { os: "linux", architecture: "amd64" }
      index.annotations = { "com.example.kept": "yes" }
      index["com.example.future"] = [1]
      delete index.mediaType
      fs.writeFileSync(path.join(to, "index.json"), JSON.stringify(index, null, 2))
      yield* write(to, makeImage(from, { layers: [top], manifest: "oci" }), { ref: "other" })
      const after = readJson(to, "index.json")
      assert.deepStrictEqual(after.manifests[0], index.manifests[0])
      assert.deepStrictEqual({ ...after, manifests: [] }, { ...index, manifests: [] })
      assert.deepStrictEqual(refsOf(to), ["app:1", "other"])
    }))

  test("lists what has no name once", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base] })
      for (let i = 0; i < 2; i++) yield* assertSound(to, yield* write(to, image))
      assert.deepStrictEqual(refsOf(to), [undefined])
    }))

  test("by many at a time loses none", (from, to) =>
    Effect.gen(function* () {
      const images = Array.from({ length: 6 }, (_, index) =>
        makeImage(from, { layers: [base, tar({ file: `${index}` })], names: [`app:${index}`] })
      )
      const receipts = yield* Effect.forEach([...images, ...images], (image) => write(to, image), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        [...refsOf(to)].sort(),
        images.map((image) => image.names[0])
      )
      for (const receipt of receipts) assert.deepStrictEqual(yield* audit(to, receipt), [])
      assert.deepStrictEqual(yield* audit(to), [])
      assert.deepStrictEqual(traces(to), [])
    }))

  test("refuses what is no layout that it knows", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base], names: ["app:1"] })
      const cases: ReadonlyArray<readonly [Readonly<Record<string, string>>, string]> = [
        [{ "some.file": "" }, "expected an empty directory or an OCI image layout"],
        [{ "oci-layout": '{"imageLayoutVersion":"2.0.0"}' }, "expected imageLayoutVersion 1.0.0"],
        [{ "oci-layout": "{" }, "JSON does not parse"],
        [{ "index.json": '{"manifests":{}}' }, "expected manifests as an array"],
        [{ "index.json": '{"manifests":[],"manifests":[]}' }, "more than once"],
        [{ "index.json": "[]" }, "expected an object"]
      ]
      for (const [index, [files, message]] of cases.entries()) {
        const directory = `${to}${index}`
        fs.mkdirSync(directory)
        for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(directory, name), text)
        const failed = yield* Effect.flip(write(directory, image))
        assert.strictEqual(failed.reason, "Occupied")
        assert.include(failed.message, message)
        assert.deepStrictEqual(fs.readdirSync(directory), Object.keys(files))
      }
      fs.writeFileSync(to, "")
      assert.strictEqual((yield* Effect.flip(write(to, image))).reason, "Occupied")
    }))

  test("follows no link that stands in it", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base], names: ["app:1"], manifest: "oci" })
      for (const link of ["blobs", "blobs/sha256"]) {
        const directory = path.join(to, link.replace("/", "-"))
        const outside = path.join(to, `outside-${link.replace("/", "-")}`)
        fs.mkdirSync(outside, { recursive: true })
        fs.mkdirSync(path.join(directory, path.dirname(link)), { recursive: true })
        fs.symlinkSync(outside, path.join(directory, link))
        const failed = yield* Effect.flip(write(directory, image))
        assert.strictEqual(failed.reason, "Occupied")
        assert.deepStrictEqual(fs.readdirSync(outside), [])
      }
      const directory = path.join(to, "blob")
      const victim = path.join(to, "victim")
      fs.writeFileSync(victim, "untouched")
      fs.mkdirSync(path.join(directory, "blobs/sha256"), { recursive: true })
      for (const name of [sha256(base), sha256(image.config.raw), sha256(image.manifest!.raw)]) {
        fs.symlinkSync(victim, path.join(directory, "blobs/sha256", name))
      }
      fs.symlinkSync(victim, path.join(directory, "oci-layout.x"))
      fs.rmSync(path.join(directory, "oci-layout.x"))
      yield* assertSound(directory, yield* write(directory, image))
      assert.strictEqual(fs.readFileSync(victim, "utf8"), "untouched")
    }))

  test("takes reference names of the image-spec alone", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base] })
      for (const ref of ["a b", "", "ä", "x\n", "?"]) {
        const failed = yield* Effect.flip(write(to, image, { ref }))
        assert.strictEqual(failed.reason, "Unsupported")
      }
      assert.isFalse(fs.existsSync(to))
      for (const ref of ["v1.0.0-vendor.0", "localhost:5000/a/b@sha256:x", "a+b"]) yield* write(to, image, { ref })
      assert.strictEqual(refsOf(to).length, 3)
    }))
})

describe("nothing is published", () => {
  test("of a layer that is not what its source says", (from, to) =>
    Effect.gen(function* () {
      for (const compression of [undefined, "none", "gzip"] as const) {
        const sound = makeImage(from, { layers: [base, top], names: ["app:1"], compression: "gzip", manifest: "oci" })
        const layer = sound.layers[1]!
        const other = digestOf(Buffer.from("other"))
        const cases: ReadonlyArray<readonly [Partial<Image.Layer>, string]> = [
          [{ digest: other }, `expected ${other}, found ${layer.digest}`],
          [{ diffId: other }, `expected diff_id ${other}, found ${layer.diffId}`],
          [{ bytes: { ...layer.bytes, size: layer.bytes.size + 1 } }, `found ${layer.bytes.size}`]
        ]
        for (const [change, message] of cases) {
          const image = { ...sound, layers: [sound.layers[0]!, { ...layer, ...change }] }
          const failed = yield* Effect.flip(write(to, image, { compression }))
          assert.strictEqual(failed.reason, "Damaged")
          assert.include(failed.message, message)
        }
        assert.deepStrictEqual(fs.readdirSync(to), [])
      }
    }))
})

describe("receipts of a layout", () => {
  test("stand at its root, one for each name", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base, top], names: ["app:1", "host/app:2"], manifest: "oci" })
      const receipt = yield* write(to, image)
      assert.deepStrictEqual(receipt.details["refs"], image.names)
      for (const name of image.names) {
        const stored = Receipt.decode(fs.readFileSync(path.join(to, OciFiles.receiptFile(name))))
        assert.deepStrictEqual(Either.getOrThrow(stored), {
          ...receipt,
          names: [name],
          details: { ...receipt.details, refs: [name] }
        })
      }
      assert.strictEqual(receipt.source.digest, image.manifest!.digest)
      assert.deepStrictEqual((receipt.details["manifest"] as Doc).digest, image.manifest!.digest)
      assert.deepStrictEqual(
        receipt.files.at(-1),
        Receipt.fileOf(Digest.blobPath(image.manifest!.digest), image.manifest!.raw)
      )
    }))

  it("have file names that differ wherever names do", () => {
    const names = ["a/b", "a_b", "a%2fb", "A", "a", "x".repeat(1024), "x".repeat(1023), "..", "sha256:1"]
    const files = names.map(OciFiles.receiptFile)
    assert.strictEqual(new Set(files.map((file) => file.toLowerCase())).size, names.length)
    for (const file of files) {
      assert.isTrue(OciFiles.isReceipt(file) && file.length <= 255 && /^[a-z0-9%._-]+$/.test(file), file)
    }
  })
})

describe("every damage to a layout", () => {
  const spoilt = (
    name: string,
    damage: (file: (part: "layer" | "config" | "manifest") => string, to: string) => void,
    expected: string
  ) =>
    test(name, (from, to) =>
      Effect.gen(function* () {
        const image = makeImage(from, { layers: [base, top], names: ["app:1"] })
        const receipt = yield* write(to, image, { compression: "gzip" })
        const files = { config: receipt.files[0]!, layer: receipt.files[2]!, manifest: receipt.files.at(-1)! }
        damage((part) => path.join(to, files[part].path), to)
        for (const found of [yield* audit(to), yield* audit(to, receipt)]) {
          assert.include(
            found.map((one) => one.split(" ")[0]),
            expected,
            found.join("\n")
          )
        }
      })
    )
  const flip = (file: string): void => {
    const bytes = fs.readFileSync(file)
    bytes[30] = bytes[30]! ^ 1
    fs.writeFileSync(file, bytes)
  }
  spoilt("a bit of a layer", (file) => flip(file("layer")), "layer.digest-mismatch")
  spoilt("a bit of the config", (file) => flip(file("config")), "config.digest-mismatch")
  spoilt("a bit of the manifest", (file) => flip(file("manifest")), "manifest.digest-mismatch")
  spoilt("a layer's end", (file) => fs.truncateSync(file("layer"), 100), "layer.size-mismatch")
  spoilt("a layer gone", (file) => fs.rmSync(file("layer")), "layer.missing")
  spoilt("the manifest gone", (file) => fs.rmSync(file("manifest")), "manifest.missing")
  spoilt("the layout file gone", (_, to) => fs.rmSync(path.join(to, "oci-layout")), "oci-layout.missing")
  spoilt("index.json gone", (_, to) => fs.rmSync(path.join(to, "index.json")), "index.missing")
})

describe("a run that was cut off", () => {
  test("is told, and completed by the next", (from, to) =>
    Effect.gen(function* () {
      const image = makeImage(from, { layers: [base], names: ["app:1"] })
      yield* write(to, makeImage(from, { layers: [top], names: ["other:1"] }))
      leaveDeadRun(to, OciFiles.receiptFile("app:1"))
      assert.include((yield* audit(to)).join("\n"), "directory.incomplete")
      yield* write(to, makeImage(from, { layers: [top], names: ["other:1"] }))
      assert.include((yield* audit(to)).join("\n"), "directory.incomplete", "another image does not complete it")
      yield* assertSound(to, yield* write(to, image))
      assert.deepStrictEqual(traces(to), [])
    }))

  const command = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../dist/bin/tallyman.mjs")
  const process_ = (args: ReadonlyArray<string>, killAfter?: number) =>
    Effect.async<number>((resume) => {
      const child = ChildProcess.spawn(process.execPath, [command, "process", ...args], { stdio: "ignore" })
      const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfter)
      child.on("exit", (code) => {
        clearTimeout(timer)
        resume(Effect.succeed(code ?? -1))
      })
    })

  test("by SIGKILL at any moment never looks complete when it is not", (from, to) =>
    Effect.gen(function* () {
      const layers = [tar({ a: content("a", 6_000_000) }), tar({ b: content("b", 3_000_000) })]
      const image = makeImage(from, { layers, names: ["app:1"] })
      const source = path.join(from, "image.tar")
      yield* Effect.flatMap(ArchiveWriter.make({ path: source, format: "docker" }), (writer) =>
        writer.write(image, { filters: [] })
      )
      const args = (directory: string) => [
        `tar://${source}`,
        `oci-layout://${directory}:app?compression=gzip`,
        "--no-verify"
      ]
      const started = Date.now()
      assert.strictEqual(yield* process_(args(`${to}-whole`)), 0)
      const whole = Date.now() - started
      for (let moment = 0; moment < 12; moment++) {
        const directory = `${to}-${moment}`
        yield* process_(args(directory), Math.round((whole * (moment + 1)) / 12))
        if (fs.existsSync(directory) && fs.readdirSync(directory).length > 0) {
          const found = yield* audit(directory)
          const published = fs.existsSync(path.join(directory, "index.json"))
          assert.isTrue(
            published && found.length === 0 ? true : found.join("\n").includes("directory.incomplete"),
            found.join("\n")
          )
        }
        assert.strictEqual(yield* process_(args(directory)), 0)
        assert.deepStrictEqual(yield* audit(directory), [])
        assert.deepStrictEqual(traces(directory), [])
        assert.deepStrictEqual(blobsIn(directory), blobsIn(`${to}-whole`))
      }
    }))

  test("threads in any number give the same bytes", (from, to) =>
    Effect.gen(function* () {
      const large = Buffer.alloc(40 * 1024 * 1024)
      content("large", 1024 * 1024).copy(large, 20 * 1024 * 1024)
      const image = makeImage(from, { layers: [tar({ large }), top, tar({ large, top })], names: ["app:1"] })
      const source = path.join(from, "image.tar")
      yield* Effect.flatMap(ArchiveWriter.make({ path: source }), (writer) => writer.write(image, { filters: [] }))
      for (const compression of ["gzip", "zstd"]) {
        for (const threads of ["1", "3"]) {
          const target = `oci-layout://${to}-${compression}-${threads}?compression=${compression}`
          assert.strictEqual(yield* process_([`tar://${source}`, target, "-j", threads, "--verify-full"]), 0)
        }
        assert.deepStrictEqual(blobsIn(`${to}-${compression}-1`), blobsIn(`${to}-${compression}-3`))
      }
    }))

  test("processes that add at the same time all succeed", (from, to) =>
    Effect.gen(function* () {
      const sources = yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.gen(function* () {
          const image = makeImage(from, { layers: [base, top, tar({ name })], names: [`${name}:1`] })
          const file = path.join(from, `${name}.tar`)
          yield* Effect.flatMap(ArchiveWriter.make({ path: file }), (writer) => writer.write(image, { filters: [] }))
          return file
        })
      )
      const codes = yield* Effect.forEach(
        [...sources, ...sources],
        (file) => process_([`tar://${file}`, `oci-layout://${to}`, "--verify-full"]),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(codes, [0, 0, 0, 0, 0, 0])
      assert.deepStrictEqual([...refsOf(to)].sort(), ["a:1", "b:1", "c:1"])
      assert.deepStrictEqual(yield* audit(to), [])
      assert.deepStrictEqual(traces(to), [])
    }))
})

/** A layout with two platforms in a nested index, an artifact and two that refer to each other and to it. */
const makeGraph = Effect.fnUntraced(function* (from: string, directory: string) {
  const put = (value: unknown): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value))
    const digest = digestOf(bytes)
    fs.writeFileSync(path.join(directory, Digest.blobPath(digest)), bytes)
    return { digest, size: bytes.length }
  }
  const platforms = ["amd64", "arm64"]
  for (const architecture of platforms) {
    const image = makeImage(from, { layers: [base, tar({ architecture })], manifest: "oci", config: { architecture } })
    yield* write(directory, image, { ref: architecture })
  }
  const manifests = entriesOf(directory).map(({ digest, mediaType, size }, index) => ({
    mediaType,
    digest,
    size,
    platform: { os: "linux", architecture: platforms[index] }
  }))
  const inner = put({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [manifests[1]] })
  const gone = { mediaType: MediaType.ociManifest, digest: digestOf(Buffer.from("gone")), size: 4 }
  const outer = put({
    schemaVersion: 2,
    mediaType: MediaType.ociIndex,
    manifests: [
      manifests[0],
      { mediaType: MediaType.ociIndex, ...inner },
      { ...gone, platform: { os: "linux", architecture: "s390x" } }
    ]
  })
  const empty = { mediaType: MediaType.ociEmpty, ...put({}) }
  const artifact = (type: string, subject: { digest: string; size: number }) =>
    put({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      artifactType: type,
      config: empty,
      layers: [{ mediaType: "text/plain", ...put({ type, of: subject.digest }) }],
      subject: { mediaType: MediaType.ociManifest, ...subject },
      annotations: { "com.example.type": type }
    })
  const sbom = artifact("application/sbom", manifests[1]!)
  const signature = artifact("application/signature", sbom)
  const named = (descriptor: object, name?: string) => ({
    ...descriptor,
    ...(name === undefined ? {} : { annotations: { [OciFiles.refName]: name } })
  })
  const index = {
    schemaVersion: 2,
    manifests: [
      named({ mediaType: MediaType.ociIndex, ...outer }, "app"),
      named({ mediaType: MediaType.ociManifest, ...sbom }),
      named({ mediaType: MediaType.ociManifest, ...signature }, "app-signature"),
      named(manifests[0]!, "amd")
    ]
  }
  fs.writeFileSync(path.join(directory, "index.json"), JSON.stringify(index))
  for (const name of fs.readdirSync(directory).filter(OciFiles.isReceipt)) fs.rmSync(path.join(directory, name))
  return { outer: outer.digest, sbom: sbom.digest, signature: signature.digest, gone: gone.digest, manifests }
})

const copyGraph = (
  source: string,
  to: string,
  selector: ContentGraph.RootSelector,
  referrers: boolean,
  options: Options = {}
) =>
  Effect.gen(function* () {
    const graph = (yield* open(source)).graph!
    const root = yield* ContentGraph.choose(graph, selector)
    const writer = yield* OciLayoutWriter.make({ path: to, ...options })
    return yield* writer.writeGraph(graph, { root, referrers })
  })

describe("a graph", () => {
  test("takes along what names its subject in a tag, under that name", (from, to) =>
    Effect.gen(function* () {
      const source = path.join(from, "layout")
      const ids = yield* makeGraph(from, source)
      const put = (value: unknown) => {
        const bytes = Buffer.from(JSON.stringify(value))
        fs.writeFileSync(path.join(source, Digest.blobPath(digestOf(bytes))), bytes)
        return { digest: digestOf(bytes), size: bytes.length }
      }
      const simple = "application/vnd.dev.cosign.simplesigning.v1+json"
      const sign = (of: string, suffix: string) => {
        const payload = put({ of, suffix })
        const config = put({ architecture: "", os: "", rootfs: { type: "layers", diff_ids: [payload.digest] } })
        const manifest = {
          schemaVersion: 2,
          mediaType: MediaType.ociManifest,
          config: { mediaType: MediaType.ociConfig, ...config },
          layers: [{ mediaType: simple, ...payload, annotations: { "dev.cosignproject.cosign/signature": "x" } }]
        }
        return {
          mediaType: MediaType.ociManifest,
          ...put(manifest),
          annotations: { [OciFiles.refName]: `${of.replace(":", "-")}${suffix}` }
        }
      }
      const arm = ids.manifests[1]!.digest
      const signatures = [sign(ids.outer, ".sig"), sign(arm, ".att")]
      const other = sign(digestOf(Buffer.from("other")), ".sig")
      const index = JSON.parse(fs.readFileSync(path.join(source, "index.json"), "utf8"))
      index.manifests.push(...signatures, other)
      fs.writeFileSync(path.join(source, "index.json"), JSON.stringify(index))
      const without = yield* copyGraph(source, path.join(to, "without"), { image: "app" }, false)
      assert.deepStrictEqual(without.counts.artifacts, 0)
      const { counts, receipt } = yield* copyGraph(source, path.join(to, "with"), { image: "app" }, true)
      assert.deepStrictEqual(counts.artifacts, 4)
      assert.sameDeepMembers(
        entriesOf(path.join(to, "with")).filter((one) => OciFiles.subjectByName(one.annotations) !== undefined),
        signatures
      )
      assert.notInclude(receipt.details["referrers"], other.digest)
      assert.deepStrictEqual(yield* audit(path.join(to, "with")), [])
      const lost = path.join(to, "with", Digest.blobPath(signatures[0]!.digest as Digest.Digest))
      fs.rmSync(lost)
      assert.include(
        yield* audit(path.join(to, "with")),
        `manifest.missing ${path.relative(path.join(to, "with"), lost)}`
      )
    }))

  test("is copied whole, nested indexes too, byte for byte", (from, to) =>
    Effect.gen(function* () {
      const source = path.join(from, "layout")
      const ids = yield* makeGraph(from, source)
      const { counts, receipt } = yield* copyGraph(source, to, { image: "app" }, false)
      assert.deepStrictEqual(counts, { images: 2, artifacts: 0, layers: 3 })
      yield* assertSound(to, receipt)
      assert.deepStrictEqual(receipt.details["absent"], [ids.gone])
      assert.deepStrictEqual(receipt.conversions, [])
      assert.deepStrictEqual(
        entriesOf(to).map((entry) => [entry.digest, entry.annotations]),
        [[ids.outer, { [OciFiles.refName]: "app" }]]
      )
      const images = yield* Effect.flatMap(open(to), (one) => one.candidates)
      assert.deepStrictEqual(images.map((image) => image.platform?.architecture).sort(), ["amd64", "arm64"])
      assert.notInclude(blobsIn(to), Digest.encodedOf(ids.sbom))
      for (const name of blobsIn(to)) {
        const bytes = fs.readFileSync(path.join(source, "blobs/sha256", name))
        assert.isTrue(bytes.equals(fs.readFileSync(path.join(to, "blobs/sha256", name))))
      }
    }))

  test("with what refers to any part of it", (from, to) =>
    Effect.gen(function* () {
      const source = path.join(from, "layout")
      const ids = yield* makeGraph(from, source)
      const { counts, receipt } = yield* copyGraph(source, to, { image: "app" }, true, { ref: "other" })
      assert.deepStrictEqual(counts, { images: 2, artifacts: 2, layers: 3 })
      yield* assertSound(to, receipt)
      assert.deepStrictEqual(receipt.details["referrers"], [ids.sbom, ids.signature])
      assert.deepStrictEqual(
        entriesOf(to).map((entry) => [entry.digest, entry.artifactType, entry.annotations]),
        [
          [ids.outer, undefined, { [OciFiles.refName]: "other" }],
          [ids.sbom, "application/sbom", { "com.example.type": "application/sbom" }],
          [ids.signature, "application/signature", undefined]
        ]
      )
      assert.deepStrictEqual(blobsIn(to), blobsIn(source))
      const { receipt: again } = yield* copyGraph(source, to, { image: "app" }, true, { ref: "other" })
      yield* assertSound(to, again)
      assert.strictEqual(entriesOf(to).length, 3)
    }))

  test("is one of several only when told which", (from) =>
    Effect.gen(function* () {
      const source = path.join(from, "layout")
      const ids = yield* makeGraph(from, source)
      const graph = (yield* open(source)).graph!
      const several = yield* Effect.flip(ContentGraph.choose(graph, {}))
      assert.strictEqual(several.reason, "Ambiguous")
      assert.include(several.message, "0: app (")
      assert.notInclude(several.message, "app-signature", "a signature is no choice beside what it signs")
      assert.strictEqual((yield* Effect.flip(ContentGraph.choose(graph, { image: "no" }))).reason, "NoSuchImage")
      assert.strictEqual((yield* ContentGraph.choose(graph, { index: 1 })).descriptor.digest, ids.sbom)
      assert.strictEqual((yield* ContentGraph.choose(graph, { image: ids.outer })).name, "app")
    }))

  test("that is damaged is not copied", (from, to) =>
    Effect.gen(function* () {
      const source = path.join(from, "layout")
      const ids = yield* makeGraph(from, source)
      const spoil = (digest: string, change: (file: string) => void) =>
        Effect.gen(function* () {
          const file = path.join(source, Digest.blobPath(digest))
          const sound = fs.readFileSync(file)
          change(file)
          const failed = yield* Effect.flip(copyGraph(source, to, { image: "app" }, true))
          assert.strictEqual(failed.reason, "Damaged")
          assert.include(failed.message, digest)
          assert.isFalse(fs.existsSync(path.join(to, "index.json")))
          fs.rmSync(file, { force: true, recursive: true })
          fs.writeFileSync(file, sound)
        })
      const layer = readJson(source, Digest.blobPath(ids.manifests[0]!.digest)).layers[1].digest
      const flip = (file: string) => {
        const bytes = fs.readFileSync(file)
        bytes[5] = bytes[5]! ^ 1
        fs.writeFileSync(file, bytes)
      }
      for (const digest of [ids.outer, ids.manifests[1]!.digest, ids.sbom, layer]) {
        yield* spoil(digest, flip)
        yield* spoil(digest, (file) => fs.truncateSync(file, 3))
      }
      yield* spoil(layer, (file) => fs.rmSync(file))
      yield* assertSound(to, (yield* copyGraph(source, to, { image: "app" }, true)).receipt)
    }))

  test("is never converted", (from, to) =>
    Effect.gen(function* () {
      const source = path.join(from, "layout")
      yield* makeGraph(from, source)
      const failed = yield* Effect.flip(copyGraph(source, to, { image: "app" }, false, { compression: "zstd" }))
      assert.strictEqual(failed.reason, "Unsupported")
      assert.isFalse(fs.existsSync(to))
    }))
})
