/** Images for tests of writers, made by hand in a directory, and what the tests ask of them. */

import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as zlib from "node:zlib"
import * as Effect from "effect/Effect"
import { assert } from "vitest"
import { normalizeTimestamps } from "../../src/content/LayerEdits.ts"
import * as Rewrite from "../../src/content/Rewrite.ts"
import { WorkerPool } from "../../src/content/WorkerPool.ts"
import * as Digest from "../../src/image/Digest.ts"
import type * as Image from "../../src/image/Image.ts"
import * as ImageConfig from "../../src/image/ImageConfig.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as ArchiveVerifier from "../../src/layout/docker-archive/ArchiveVerifier.ts"
import * as OciVerifier from "../../src/layout/oci-layout/OciVerifier.ts"
import type * as Receipt from "../../src/layout/Receipt.ts"
import { member, scan } from "../content/tarFixtures.ts"

export const sha256 = (bytes: Uint8Array | string): string => crypto.createHash("sha256").update(bytes).digest("hex")
export const digestOf = (bytes: Uint8Array): Digest.Digest => Digest.make("sha256", sha256(bytes))

/** A layer's tar with these files. */
export const tar = (files: Readonly<Record<string, string | Uint8Array>>): Buffer =>
  Buffer.concat([...Object.entries(files).map(([name, body]) => member({ name }, body)), Buffer.alloc(1024)])

/** Bytes that compress to about half, the same for the same seed. */
export const content = (seed: string, size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let at = 0, i = 0; at < size; at += 64, i++) {
    crypto.createHash("sha256").update(`${seed} ${i}`).digest().copy(bytes, at)
  }
  return bytes
}

export interface ImageOptions {
  readonly layers: ReadonlyArray<Uint8Array>
  readonly names?: ReadonlyArray<string>
  /** How the layers lie in the source. */
  readonly compression?: "none" | "gzip"
  /** The manifest of the source; a docker-save source has none. */
  readonly manifest?: "oci" | "docker"
  readonly annotations?: Readonly<Record<string, string>>
  readonly config?: Readonly<Record<string, unknown>>
}

/** An image whose layers are files below `directory`. */
export const makeImage = (directory: string, options: ImageOptions): Image.Image => {
  const raw = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: "2024-01-02T03:04:05Z",
      config: { Env: ["PATH=/bin"], Cmd: ["sh"] },
      rootfs: { type: "layers", diff_ids: options.layers.map(digestOf) },
      history: options.layers.map((_, index) => ({ created: "2024-01-02T03:04:05Z", created_by: `step ${index}` })),
      ...options.config
    })
  )
  const docker = options.manifest === "docker"
  const blobs = options.layers.map((layer) =>
    options.compression === "gzip" ? zlib.gzipSync(layer) : Buffer.from(layer)
  )
  const layers = options.layers.map((layer, index): Image.Layer => {
    const bytes = blobs[index]!
    const file = path.join(directory, `${sha256(bytes)}.blob`)
    fs.writeFileSync(file, bytes)
    return {
      index,
      name: `layers/${index}`,
      mediaType: MediaType.layerWith(options.compression ?? "none", docker || options.manifest === undefined),
      diffId: digestOf(layer),
      ...(options.manifest === undefined ? {} : { digest: digestOf(bytes) }),
      bytes: { path: file, offset: 0, size: bytes.length },
      edits: []
    }
  })
  const manifest = Buffer.from(
    JSON.stringify(
      {
        schemaVersion: 2,
        mediaType: docker ? MediaType.dockerManifest : MediaType.ociManifest,
        config: {
          mediaType: docker ? MediaType.dockerConfig : MediaType.ociConfig,
          size: raw.length,
          digest: digestOf(raw)
        },
        layers: layers.map(({ bytes, digest, mediaType }) => ({ mediaType, size: bytes.size, digest })),
        ...(options.annotations === undefined ? {} : { annotations: options.annotations })
      },
      null,
      3
    )
  )
  const value = ImageConfig.decode(JSON.parse(raw.toString()))
  if (value._tag === "Left") throw value.left
  return {
    names: options.names ?? [],
    manifest:
      options.manifest === undefined
        ? undefined
        : {
            raw: manifest,
            mediaType: docker ? MediaType.dockerManifest : MediaType.ociManifest,
            digest: digestOf(manifest)
          },
    config: { raw, value: value.right, digest: digestOf(raw) },
    layers,
    platform: { os: "linux", architecture: "amd64" },
    source: "test://image"
  }
}

/** The image as a filter answers it that sets every time in its layers, and says so in its config. */
export const edited = (image: Image.Image): Image.Image => {
  const edits = [normalizeTimestamps(1234)]
  const layers = image.layers.map((layer) => {
    const result = Rewrite.run({ region: layer.bytes, edits, stored: [], before: [], after: ["sha256"] })
    return { ...layer, edits, diffId: Digest.make("sha256", result.after.sha256!) }
  })
  assert.notStrictEqual(layers[0]!.diffId, image.layers[0]!.diffId)
  const value = { ...image.config.value, rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) } }
  const raw = Buffer.from(JSON.stringify(value))
  return { ...image, layers, config: { raw, value, digest: digestOf(raw) } }
}

/** A fresh directory that goes with the test. */
export const withDirectory = <A, E, R>(use: (directory: string) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "writer-"))),
    use,
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )

export const pool = WorkerPool.layer()

// biome-ignore lint/suspicious/noExplicitAny: documents that tests look into
export type Doc = any

export const readJson = (...parts: ReadonlyArray<string>): Doc =>
  JSON.parse(fs.readFileSync(path.join(...parts), "utf8"))

/** The members of an archive in their order. */
export const membersOf = (file: string): ReadonlyMap<string, Buffer> => {
  const bytes = fs.readFileSync(file)
  const scanned = scan(bytes)
  assert.deepStrictEqual(scanned.problems, [])
  const members = scanned.entries.map(
    ({ entry }) => [entry.path, bytes.subarray(entry.dataOffset, entry.dataOffset + entry.size)] as const
  )
  assert.strictEqual(new Set(members.map(([name]) => name)).size, members.length, "every name once")
  return new Map(members)
}

export const documentOf = (file: string, name: string): Doc => JSON.parse(membersOf(file).get(name)!.toString())

/** What a full audit of an archive or a layout finds, apart from what is only good to know. */
export const audit = (target: string, receipt?: Receipt.Receipt) =>
  Effect.gen(function* () {
    const verifier = yield* fs.statSync(target).isDirectory()
      ? OciVerifier.make({ path: target })
      : ArchiveVerifier.make({ path: target })
    const { results } = yield* verifier.verify({ depth: "full", ...(receipt === undefined ? {} : { receipt }) })
    return results.results.filter((one) => one.severity !== "info").map((one) => `${one.check} ${one.subject}`)
  }).pipe(Effect.scoped)

/** Fails unless an output is sound, both by itself and against its receipt. */
export const assertSound = Effect.fnUntraced(function* (target: string, receipt: Receipt.Receipt) {
  assert.deepStrictEqual(yield* audit(target, receipt), [])
  assert.deepStrictEqual(yield* audit(target), [])
})

/** Journals and temporary files. */
export const traces = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync(directory).filter((name) => name.startsWith(".tallyman"))

/** A run whose process is gone, with a temporary file. */
export const leaveDeadRun = (directory: string, target: string): void => {
  const run = { pid: 2 ** 22 + 1, started: "1", host: os.hostname(), boot: "", target, image: "left" }
  fs.writeFileSync(path.join(directory, ".tallyman-run-1-aaaaaaaaaaaa.json"), JSON.stringify(run))
  fs.writeFileSync(path.join(directory, ".tallyman-run-1-aaaaaaaaaaaa.0.partial"), "half of it")
}
