/** An archive whose images are to be kept while others are added to it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { catalog } from "../../check/Catalog.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import type * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import type { Region } from "../../image/Region.ts"
import * as ArchiveStore from "../ArchiveStore.ts"
import { type SourceError, WriteError } from "../Failure.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import * as OciSource from "../oci-layout/OciSource.ts"
import { readJson, type Store } from "../Store.ts"
import * as Documents from "./ArchiveDocuments.ts"
import * as Files from "./ArchiveFiles.ts"
import * as SavedSource from "./SavedSource.ts"

export interface Existing {
  /** undefined when there was no archive. */
  readonly format: Files.Format | undefined
  /** Images that are written once more, because the archive stores them under other names. */
  readonly images: ReadonlyArray<Image.Image>
  /** Blobs that are kept, in the archive's order. */
  readonly blobs: ReadonlyArray<{ readonly name: string; readonly digest: Digest.Digest; readonly region: Region }>
  readonly documents: Documents.Documents
}

export const none: Existing = { format: undefined, images: [], blobs: [], documents: Documents.empty }

type JsonObject = Readonly<Record<string, unknown>>

/** Reads it, so that it can be written anew in `wanted`; `files` of its regions stay as long as the scope. */
export const read = Effect.fn("ArchiveExisting.read")(function* (
  file: string,
  wanted: Files.Format
): Effect.fn.Return<Existing, WriteError | SourceError, Scope.Scope | WorkerPool> {
  const store = yield* ArchiveStore.open(file)
  const refuse = (message: string) =>
    new WriteError({ reason: "Unsupported", message: `cannot append to ${file}: ${message}` })
  if (store.compression !== "none")
    return yield* refuse(`expected a plain tar, found one compressed with ${store.compression}`)
  const problem = store.problems.find((one) => catalog[one.check].severity === "error")
  if (problem !== undefined)
    return yield* refuse(`${problem.message}${problem.offset === undefined ? "" : ` at byte ${problem.offset}`}`)
  const doubled = [...store.duplicates].find(([, same]) => !same)
  if (doubled !== undefined)
    return yield* refuse(`expected one entry named ${JSON.stringify(doubled[0])}, found several that differ`)
  const document = (name: string): Effect.Effect<unknown, WriteError> =>
    Effect.suspend(() => {
      const entry = store.lookup(name)
      if (entry === undefined) return Effect.succeed(undefined)
      const read = entry.kind === "file" ? readJson(entry.region) : { failure: "it is no regular file" }
      if ("failure" in read) return refuse(`${name}: ${read.failure}`)
      const { problems, value } = Json.parse(read.bytes)
      return problems.length > 0 ? refuse(`${name}: ${problems[0]!.message}`) : Effect.succeed(value)
    })
  const saved = yield* document(Files.manifestFile)
  const index = yield* document(OciFiles.indexFile)
  if (saved === undefined && index === undefined)
    return yield* refuse("expected manifest.json or index.json in it, found neither")
  const uri = `tar://${file}`
  if (index === undefined) {
    const candidates = yield* SavedSource.candidates(store, uri, Files.manifestFile)
    return { ...none, format: "docker", images: yield* Effect.forEach(candidates, (one) => one.load) }
  }
  const entries = Json.isObject(index) ? (index["manifests"] ?? []) : undefined
  if (!Json.isObject(index) || !Array.isArray(entries))
    return yield* refuse(`${OciFiles.indexFile}: expected an object with manifests, found another`)
  if (saved !== undefined && !(Array.isArray(saved) && saved.every(Json.isObject))) {
    return yield* refuse(`${Files.manifestFile}: expected an array of objects, found another`)
  }
  const repositories = yield* document(Files.repositoriesFile)
  const documents: Documents.Documents = {
    index,
    entries,
    saved: (saved as ReadonlyArray<JsonObject> | undefined) ?? [],
    repositories: repositoriesOf(repositories)
  }
  const outside = documents.saved
    .flatMap((one) => [one["Config"], ...(Array.isArray(one["Layers"]) ? one["Layers"] : [])])
    .find((name) => typeof name !== "string" || Files.blobDigest(name) === undefined)
  if (outside !== undefined)
    return yield* refuse(`expected its manifest.json to name files below blobs/, found ${JSON.stringify(outside)}`)
  return {
    format: saved === undefined ? "oci" : "hybrid",
    images: [],
    blobs: blobsOf(store),
    documents: saved === undefined && wanted !== "oci" ? yield* withSaved(store, uri, documents) : documents
  }
})

const repositoriesOf = (value: unknown): Documents.Documents["repositories"] =>
  new Map(
    Object.entries(Json.isObject(value) ? value : {}).flatMap(([name, tags]) =>
      Json.isObject(tags)
        ? [
            [
              name,
              new Map(Object.entries(tags).flatMap(([tag, id]) => (typeof id === "string" ? [[tag, id] as const] : [])))
            ] as const
          ]
        : []
    )
  )

const blobsOf = (store: ArchiveStore.ArchiveStore): Existing["blobs"] =>
  store
    .files()
    .flatMap((name) => {
      const digest = Files.blobDigest(name)
      const entry = store.lookup(name)
      return digest === undefined || entry?.kind !== "file" ? [] : [{ name, digest, region: entry.region }]
    })
    .sort((a, b) => a.region.offset - b.region.offset)

/** manifest.json and repositories for the images that index.json lists; what it lists by an index stays in there alone. */
const withSaved = Effect.fnUntraced(function* (store: Store, uri: string, documents: Documents.Documents) {
  const direct = new Set(documents.entries.map((entry) => (Json.isObject(entry) ? entry["digest"] : undefined)))
  const candidates = (yield* OciSource.candidates(store, uri)).filter((one) => direct.has(one.digest))
  let all = documents
  for (const candidate of candidates) {
    const image = yield* candidate.load
    const layers = image.layers.flatMap((layer) => layer.digest ?? [])
    const named = { ...image, names: image.names.map(Files.familiarName) }
    all = Documents.withImage(all, { image: named, layers, manifest: undefined })
  }
  return all
})
