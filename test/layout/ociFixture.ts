/** A small OCI layout in memory, each document of which a test can change before it is hashed, and its files after. */

import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { catalog } from "../../src/check/Catalog.ts"
import type { Finding } from "../../src/check/Finding.ts"
import * as Hasher from "../../src/content/Hasher.ts"
import { encodeHeader, endOfArchive, padding } from "../../src/content/TarWrite.ts"
import { WorkerPool } from "../../src/content/WorkerPool.ts"
import { compress } from "../../src/fault/ImageBuilder.ts"
import type { Compression } from "../../src/image/Compression.ts"
import type * as Digest from "../../src/image/Digest.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import type { Verification } from "../../src/layout/Verifier.ts"

// biome-ignore lint/suspicious/noExplicitAny: documents that tests break on purpose
export type Doc = any

export type Files = Map<string, Buffer>

/** Changes a document; a Buffer takes the place of its bytes, undefined keeps what was changed in place. */
export type Edit = (document: Doc) => unknown

export interface Edits {
  /** Tars, from the base up. */
  readonly layers?: ReadonlyArray<Buffer>
  readonly compression?: Compression
  readonly docker?: boolean
  /** Of every blob; blake3 has to be prepared before. */
  readonly algorithm?: Digest.Algorithm
  readonly diffIds?: Digest.Algorithm
  readonly config?: Edit
  readonly manifest?: Edit
  /** The entry of index.json. */
  readonly entry?: Edit
  readonly index?: Edit
  readonly layoutFile?: Edit
}

export interface Layout {
  readonly files: Files
  readonly manifest: string
  readonly config: string
  readonly layers: ReadonlyArray<string>
  /** The image's entry as it stands in index.json. */
  readonly entry: Doc
  readonly diffIds: ReadonlyArray<string>
}

export const hash = (bytes: Uint8Array, algorithm: Digest.Algorithm = "sha256"): string => {
  const hasher = Hasher.make(algorithm)
  hasher.update(bytes)
  return `${algorithm}:${hasher.digest("hex")}`
}

export const pathOf = (digest: string): string => `blobs/${digest.replace(":", "/")}`

export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** Puts a blob in place; answers what a descriptor says of it. */
export const put = (
  files: Files,
  bytes: Buffer,
  algorithm: Digest.Algorithm = "sha256"
): { digest: string; size: number } => {
  const digest = hash(bytes, algorithm)
  files.set(pathOf(digest), bytes)
  return { digest, size: bytes.length }
}

/** A tar of these files; a name that ends in a slash is a directory. */
export const tar = (entries: Readonly<Record<string, string>>, end: Uint8Array = endOfArchive): Buffer =>
  Buffer.concat([
    ...Object.entries(entries).flatMap(([name, body]) => {
      const bytes = Buffer.from(body)
      return name.endsWith("/")
        ? [encodeHeader({ path: name, type: "directory", mode: 0o755 })]
        : [encodeHeader({ path: name, type: "file", mode: 0o644, size: bytes.length }), bytes, padding(bytes.length)]
    }),
    end
  ])

const edited = (document: Doc, edit: Edit | undefined): Buffer => {
  const result = edit?.(document)
  return Buffer.isBuffer(result) ? result : json(result === undefined ? document : result)
}

export const platform = { architecture: "amd64", os: "linux" }

export const makeLayout = (edits: Edits = {}): Layout => {
  const files: Files = new Map()
  const algorithm = edits.algorithm ?? "sha256"
  const docker = edits.docker === true
  const compression = edits.compression ?? "gzip"
  const tars = edits.layers ?? [tar({ "etc/": "", "etc/hostname": "base" }), tar({ "etc/motd": "second layer\n" })]
  const diffIds = tars.map((one) => hash(one, edits.diffIds))
  const layers = tars.map((one) => ({
    mediaType: MediaType.layerWith(compression, docker),
    ...put(files, Buffer.from(compress(one, compression)), algorithm)
  }))
  const config = put(
    files,
    edited(
      {
        created: "2024-01-02T03:04:05Z",
        ...platform,
        config: { Env: ["PATH=/bin"], Cmd: ["sh"], Labels: null },
        rootfs: { type: "layers", diff_ids: [...diffIds] },
        history: [
          { created_by: "ENV x", empty_layer: true },
          ...tars.map((_, index) => ({ created_by: `step ${index}` }))
        ]
      },
      edits.config
    ),
    algorithm
  )
  const mediaType = docker ? MediaType.dockerManifest : MediaType.ociManifest
  const manifest = put(
    files,
    edited(
      {
        schemaVersion: 2,
        mediaType,
        config: { mediaType: docker ? MediaType.dockerConfig : MediaType.ociConfig, ...config },
        layers: layers.map((layer) => ({ ...layer }))
      },
      edits.manifest
    ),
    algorithm
  )
  const entry: Doc = { mediaType, ...manifest, annotations: { "org.opencontainers.image.ref.name": "v1" } }
  edits.entry?.(entry)
  files.set("index.json", edited({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [entry] }, edits.index))
  files.set("oci-layout", edited({ imageLayoutVersion: "1.0.0" }, edits.layoutFile))
  return {
    files,
    manifest: pathOf(manifest.digest),
    config: pathOf(config.digest),
    layers: layers.map((layer) => pathOf(layer.digest)),
    entry,
    diffIds
  }
}

/** Several layouts as one, whose index.json lists what `entries` makes of theirs. */
export const join = (
  layouts: ReadonlyArray<Layout>,
  entries: (entries: ReadonlyArray<Doc>, files: Files) => ReadonlyArray<Doc>
): Files => {
  const files: Files = new Map(layouts.flatMap((one) => [...one.files]))
  const manifests = entries(
    layouts.map((one) => one.entry),
    files
  )
  files.set("index.json", json({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }))
  return files
}

/** An index over these entries as a blob; answers its descriptor. */
export const putIndex = (files: Files, manifests: ReadonlyArray<Doc>, edit?: Edit): Doc => ({
  mediaType: MediaType.ociIndex,
  ...put(files, edited({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }, edit))
})

export const writeTree = (directory: string, files: Files): void => {
  for (const [name, bytes] of files) {
    fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true })
    fs.writeFileSync(path.join(directory, name), bytes)
  }
}

/** The files as members of a tar, in their order. */
export const pack = (files: Iterable<readonly [string, Buffer]>, end: Uint8Array = endOfArchive): Buffer =>
  Buffer.concat([
    ...[...files].flatMap(([name, bytes]) => [
      encodeHeader({ path: name, type: "file", mode: 0o644, size: bytes.length }),
      bytes,
      padding(bytes.length)
    ]),
    end
  ])

export const withDirectory = <A, E, R>(use: (directory: string) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "tallyman-oci-"))),
    use,
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )

export const pool = WorkerPool.layer()

/** For messages of failing tests. */
export const told = ({ results }: Verification): string =>
  results.results
    .map((one) => `${one.severity} ${one.check} ${one.subject}: ${one.message} (${one.expected} / ${one.actual})`)
    .join("\n")

/** Findings that say that something is wrong. */
export const complaints = ({ results }: Verification): ReadonlyArray<Finding> =>
  results.results.filter((one) => one.severity !== "info")

/** The findings of a check about a subject. */
export const found = ({ results }: Verification, check: string, subject: string): ReadonlyArray<Finding> =>
  results.results.filter((one) => one.check === check && one.subject === subject)

/** Ids of the catalogue that begin with one of these families. */
export const idsOf = (...families: ReadonlyArray<string>): ReadonlyArray<string> =>
  Object.keys(catalog).filter((id) => families.includes(id.slice(0, id.indexOf("."))))
