/** All that an OCI layout holds, on disk or in an archive, as a graph to be copied. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import type { Region } from "../../image/Region.ts"
import * as ContentGraph from "../ContentGraph.ts"
import type { Descriptor } from "../Conversion.ts"
import { SourceError } from "../Failure.ts"
import { readJson, type Store } from "../Store.ts"
import { Blobs } from "./Blobs.ts"
import * as Files from "./OciFiles.ts"
import * as OciSource from "./OciSource.ts"

export const make = (store: Store, uri: string): ContentGraph.ContentGraph => {
  const reader = new Reader(store)
  return {
    uri,
    roots: Effect.suspend(() => reader.roots()),
    open: (descriptor) => Effect.suspend(() => reader.open(descriptor)),
    referrers: (digest) => Effect.suspend(() => Either.map(reader.referrers(), (all) => all.get(digest) ?? [])),
    images: Effect.map(
      OciSource.candidates(store, uri),
      (all) => new Map(all.flatMap(({ digest, load }) => (digest === undefined ? [] : [[digest, load] as const])))
    )
  }
}

type Result<A> = Either.Either<A, SourceError>

class Reader {
  readonly #store: Store
  readonly #blobs: Blobs
  #referrers: Result<ReadonlyMap<string, ReadonlyArray<Descriptor>>> | undefined

  constructor(store: Store) {
    this.#store = store
    this.#blobs = new Blobs(store)
  }

  #fail(message: string): SourceError {
    return new SourceError({ reason: "Damaged", message: `cannot read ${this.#store.path}: ${message}` })
  }

  roots(): Result<ReadonlyArray<ContentGraph.Root>> {
    const entry = this.#store.lookup(Files.indexFile)
    const read = entry?.kind === "file" ? readJson(entry.region) : { failure: "expected a file, found none" }
    if ("failure" in read) return Either.left(this.#fail(`${Files.indexFile}: ${read.failure}`))
    const { problems, value } = Json.parse(read.bytes)
    const entries = Json.isObject(value) ? (value["manifests"] ?? []) : undefined
    if (!Array.isArray(entries)) {
      return Either.left(
        this.#fail(`${Files.indexFile}: ${problems[0]?.message ?? "expected an object with manifests, found another"}`)
      )
    }
    const roots: Array<ContentGraph.Root> = []
    for (const [index, one] of entries.entries()) {
      const descriptor = ContentGraph.descriptorOf(one)
      if (descriptor === undefined)
        return Either.left(
          this.#fail(`${Files.indexFile}: expected manifests[${index}] to be a descriptor, found none`)
        )
      roots.push({
        descriptor,
        name: descriptor.annotations?.[Files.containerdName] ?? descriptor.annotations?.[Files.refName]
      })
    }
    return Either.right(roots)
  }

  open(descriptor: Descriptor): Result<Region | undefined> {
    const entry = this.#blobs.find(descriptor.digest as Digest.Digest)?.entry
    if (entry === undefined) return Either.right(undefined)
    return entry.kind === "file"
      ? Either.right(entry.region)
      : Either.left(
          this.#fail(
            `expected ${Digest.blobPath(descriptor.digest)} to be a file, found ${entry.kind === "directory" ? "a directory" : entry.what}`
          )
        )
  }

  /** By the digest of what they are about: every manifest that index.json leads to is looked at, once. */
  referrers(): Result<ReadonlyMap<string, ReadonlyArray<Descriptor>>> {
    return (this.#referrers ??= Either.flatMap(this.roots(), (roots) =>
      this.#findReferrers(roots.map((root) => root.descriptor))
    ))
  }

  #findReferrers(roots: ReadonlyArray<Descriptor>): Result<ReadonlyMap<string, ReadonlyArray<Descriptor>>> {
    const found = new Map<string, Array<Descriptor>>()
    const add = (subject: string, referrer: Descriptor): void => {
      const same = found.get(subject)
      if (same === undefined) found.set(subject, [referrer])
      else same.push(referrer)
    }
    for (const root of roots) {
      const subject = Files.subjectByName(root.annotations)
      if (subject !== undefined && ContentGraph.isDocument(root)) add(subject, root)
    }
    const seen = new Set<string>()
    const pending = [...roots].reverse()
    let bytes = 0
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (seen.has(next.digest) || !ContentGraph.isDocument(next)) continue
      seen.add(next.digest)
      const opened = this.open(next)
      const region = Either.isRight(opened) ? opened.right : undefined
      bytes += region?.size ?? 0
      if (seen.size > ContentGraph.maxDocuments || bytes > ContentGraph.maxDocumentBytes) {
        return Either.left(ContentGraph.tooMuch(this.#store.path))
      }
      if (region === undefined) continue
      const read = readJson(region)
      const value = "bytes" in read ? Json.parse(read.bytes).value : undefined
      if (!Json.isObject(value)) {
        const why = "failure" in read ? read.failure : "it is no JSON object"
        return Either.left(this.#fail(`what ${next.digest} refers to cannot be told: ${why}`))
      }
      const subject = Json.isObject(value["subject"]) ? value["subject"]["digest"] : undefined
      if (typeof subject === "string" && !found.get(subject)?.some(({ digest }) => digest === next.digest))
        add(subject, listed(next, value))
      const children = value["manifests"]
      for (const child of Array.isArray(children) ? children.toReversed() : []) {
        const descriptor = ContentGraph.descriptorOf(child)
        if (descriptor !== undefined) pending.push(descriptor)
      }
    }
    return Either.right(found)
  }
}

/** As a registry lists a referrer (distribution-spec "Listing Referrers"): with its type, and its annotations. */
const listed = (descriptor: Descriptor, manifest: Readonly<Record<string, unknown>>): Descriptor => {
  const config = manifest["config"]
  const type = manifest["artifactType"] ?? (Json.isObject(config) ? config["mediaType"] : undefined)
  const annotations = descriptor.annotations ?? manifest["annotations"]
  return {
    ...descriptor,
    ...(descriptor["artifactType"] === undefined && typeof type === "string" ? { artifactType: type } : {}),
    ...(Json.isObject(annotations) ? { annotations: annotations as Readonly<Record<string, string>> } : {})
  }
}
