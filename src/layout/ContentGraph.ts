/**
 * More of a source than one image: indexes with all they lead to, artifacts, and what refers to them. It is copied by
 * digest, byte for byte, but for images that filters changed and what names them: nothing in it is converted.
 */

import * as Effect from "effect/Effect"
import * as Hasher from "../content/Hasher.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import * as Reference from "../image/Reference.ts"
import type { Region } from "../image/Region.ts"
import type { Descriptor } from "./Conversion.ts"
import { SourceError } from "./Failure.ts"
import { readJson } from "./Store.ts"

/** An entry at the top of a source: index.json's of a layout, a tag's of a registry. */
export interface Root {
  readonly name: string | undefined
  readonly descriptor: Descriptor
}

export interface ContentGraph {
  /** For messages. */
  readonly uri: string
  readonly roots: Effect.Effect<ReadonlyArray<Root>, SourceError>
  /** Where a descriptor's content can be read; undefined when the source does not have it. */
  readonly open: (descriptor: Descriptor) => Effect.Effect<Region | undefined, SourceError>
  /** What refers to this digest, by its `subject` (manifest.md) or by its tag, as the source lists it. */
  readonly referrers: (digest: string) => Effect.Effect<ReadonlyArray<Descriptor>, SourceError>
  /** Every image that the roots lead to, in their order, by the digest of its manifest. */
  readonly images: Effect.Effect<ReadonlyMap<string, Effect.Effect<Image.Image, SourceError>>, SourceError>
}

/** A descriptor as far as copying needs it; undefined when the value is none. */
export const descriptorOf = (value: unknown): Descriptor | undefined =>
  Json.isObject(value) &&
  typeof value["mediaType"] === "string" &&
  Digest.isDigest(value["digest"]) &&
  typeof value["size"] === "number" &&
  Number.isSafeInteger(value["size"]) &&
  value["size"] >= 0
    ? (value as Descriptor)
    : undefined

/** Which root is meant; what is not given does not narrow the choice. */
export interface RootSelector {
  /** `NAME:TAG` or a digest. */
  readonly image?: string
  /** Position in the source's list, from 0. */
  readonly index?: number
}

/** The root that a selector means. Its error lists what is there when that is none or several. */
export const choose = Effect.fn("ContentGraph.choose")(function* (graph: ContentGraph, selector: RootSelector) {
  const roots = yield* graph.roots
  const left = roots.filter(
    ({ descriptor, name }, index) =>
      (selector.index === undefined || selector.index === index) &&
      (selector.image === undefined ||
        descriptor.digest === selector.image ||
        (name !== undefined && (name === selector.image || Reference.same(selector.image, name))))
  )
  const candidates = digestsOf(left).size > 1 ? yield* withoutReferrers(graph, left) : left
  // Several names of one thing are no choice.
  if (digestsOf(candidates).size === 1) return candidates[0]!
  const list = (candidates.length === 0 ? roots : candidates)
    .slice(0, 20)
    .map((root) => `${roots.indexOf(root)}: ${root.name ?? root.descriptor.digest} (${root.descriptor.mediaType})`)
    .join("; ")
  return yield* candidates.length === 0
    ? new SourceError({
        reason: "NoSuchImage",
        message: `cannot choose what to copy of ${graph.uri}: expected ${selector.image ?? `index ${selector.index ?? 0}`}, found ${list || "nothing"}`
      })
    : new SourceError({
        reason: "Ambiguous",
        message: `cannot choose what to copy of ${graph.uri}: expected one, found ${candidates.length} (choose with ?image=NAME or ?index=N): ${list}`
      })
})

const digestsOf = (roots: ReadonlyArray<Root>): ReadonlySet<string> =>
  new Set(roots.map((root) => root.descriptor.digest))

/** A signature that is listed beside what it signs is no choice of its own. */
const withoutReferrers = Effect.fnUntraced(function* (graph: ContentGraph, roots: ReadonlyArray<Root>) {
  const referrers = new Set<string>()
  for (const { descriptor } of roots) {
    const listed = yield* Effect.orElseSucceed(graph.referrers(descriptor.digest), () => [])
    for (const one of listed) referrers.add(one.digest)
  }
  return roots.filter(({ descriptor }) => !referrers.has(descriptor.digest))
})

/** A manifest or an index of which every byte is known to be right. */
export interface GraphDocument {
  readonly descriptor: Descriptor
  readonly raw: Uint8Array
}

export interface GraphBlob {
  readonly descriptor: Descriptor
  readonly region: Region
}

/** Everything that a root leads to. */
export interface Closure {
  readonly documents: ReadonlyMap<string, GraphDocument>
  readonly blobs: ReadonlyMap<string, GraphBlob>
  /** Manifests that refer to a document of the closure, and that no index in it lists. */
  readonly referrers: ReadonlyArray<Descriptor>
  /** What is listed, may be missing, and is not there: other platforms of an index, external layers. */
  readonly absent: ReadonlyArray<Descriptor>
  readonly counts: Counts
}

/** What a graph is made of, each thing once. */
export interface Counts {
  readonly images: number
  /** Manifests that are no images: signatures, attestations. */
  readonly artifacts: number
  /** Of images, as far as the source has them. */
  readonly layers: number
}

/** More than any real source has; one that has more is not copied but attacks. */
export const maxDocuments = 100_000
export const maxDocumentBytes = 256 * 1024 * 1024

export const tooMuch = (source: string): SourceError =>
  new SourceError({
    reason: "Limit",
    message: `cannot copy from ${source}: expected at most ${maxDocuments} manifests of ${maxDocumentBytes} bytes in all, found more`
  })

/** Reads the documents that `root` leads to, through nested indexes, and finds their blobs. */
export const closure = Effect.fn("ContentGraph.closure")(function* (
  graph: ContentGraph,
  root: Descriptor,
  withReferrers: boolean
) {
  const documents = new Map<string, GraphDocument>()
  const blobs = new Map<string, GraphBlob>()
  const referrers = new Map<string, Descriptor>()
  const absent = new Map<string, Descriptor>()
  const pending: Array<Reached> = [{ descriptor: root, optional: false }]
  // Looked at when nothing else is left: what an index lists anyway is a part of it, whatever it refers to.
  const referring: Array<Descriptor> = []
  const layers = new Set<string>()
  let images = 0
  let indexes = 0
  let bytes = 0
  const damaged = (message: string): SourceError =>
    new SourceError({ reason: "Damaged", message: `cannot copy from ${graph.uri}: ${message}` })
  for (;;) {
    const next = pending.pop() ?? nextReferrer(referring, documents, referrers)
    if (next === undefined) break
    const { descriptor, optional } = next
    const { digest, size } = descriptor
    if (documents.has(digest) || (blobs.has(digest) && !isDocument(descriptor))) continue
    const region = yield* graph.open(descriptor)
    if (region === undefined) {
      if (!optional) return yield* damaged(`expected ${digest} (${descriptor.mediaType}), found nothing`)
      absent.set(digest, descriptor)
      continue
    }
    if (region.size !== size)
      return yield* damaged(`expected ${digest} to have ${count(size, "byte")}, found ${region.size}`)
    if (!isDocument(descriptor)) {
      blobs.set(digest, { descriptor, region })
      continue
    }
    const read = readJson(region)
    if ("failure" in read) return yield* damaged(`${digest}: ${read.failure}`)
    yield* Effect.promise(() => Hasher.prepare(Digest.algorithmsOf(digest)))
    const found = Hasher.digestOfBytes(digest, read.bytes)
    if (found === undefined) {
      return yield* new SourceError({
        reason: "Unsupported",
        message: `cannot copy from ${graph.uri}: expected a digest of ${Digest.known}, found ${digest}`
      })
    }
    if (found !== digest) return yield* damaged(`expected ${digest}, found ${found}`)
    bytes += size
    if (documents.size >= maxDocuments || bytes > maxDocumentBytes) {
      return yield* tooMuch(graph.uri)
    }
    documents.set(digest, { descriptor, raw: read.bytes })
    // Something may name it as a mere blob, too.
    blobs.delete(digest)
    const { problems, value } = Json.parse(read.bytes)
    if (!Json.isObject(value))
      return yield* damaged(`${digest}: ${problems[0]?.message ?? `expected an object, found ${Json.typeName(value)}`}`)
    const children = childrenOf(value, descriptor.mediaType)
    if (typeof children === "string") return yield* damaged(`${digest}: ${children}`)
    // An index may list more than fit into the arguments of one call.
    for (const child of children) pending.push(child)
    if (MediaType.kind(descriptor.mediaType) === "index") indexes++
    else if (isImage(value, children)) {
      images++
      for (const child of children) {
        if (MediaType.kind(child.descriptor.mediaType) === "layer") layers.add(child.descriptor.digest)
      }
    }
    if (!withReferrers) continue
    for (const one of (yield* graph.referrers(digest)).toReversed()) referring.push(one)
  }
  const counts = {
    images,
    artifacts: documents.size - indexes - images,
    layers: [...layers].filter((digest) => blobs.has(digest)).length
  }
  return {
    documents,
    blobs,
    referrers: [...referrers.values()],
    absent: [...absent.values()],
    counts
  } satisfies Closure
})

/** BuildKit's attestations have an image's config, too, and layers of their own type. */
const isImage = ({ config }: Readonly<Record<string, unknown>>, children: ReadonlyArray<Reached>): boolean =>
  MediaType.kind(descriptorOf(config)?.mediaType ?? "") === "config" &&
  children.every(({ descriptor }) => {
    const kind = MediaType.kind(descriptor.mediaType)
    return kind === "layer" || kind === "config"
  })

const nextReferrer = (
  referring: Array<Descriptor>,
  documents: ReadonlyMap<string, GraphDocument>,
  referrers: Map<string, Descriptor>
): Reached | undefined => {
  for (let one = referring.pop(); one !== undefined; one = referring.pop()) {
    if (documents.has(one.digest)) continue
    referrers.set(one.digest, one)
    return { descriptor: one, optional: false }
  }
  return undefined
}

interface Reached {
  readonly descriptor: Descriptor
  /** Whether it may be missing. */
  readonly optional: boolean
}

export const isDocument = ({ mediaType }: Descriptor): boolean => {
  const kind = MediaType.kind(mediaType)
  return kind === "manifest" || kind === "index" || mediaType === artifactManifest
}

/** Of image-spec 1.1's release candidates; ORAS wrote it. */
const artifactManifest = "application/vnd.oci.artifact.manifest.v1+json"

/** What a manifest or index leads to, or why it cannot be told. Its subject is no part of it. */
const childrenOf = (value: Readonly<Record<string, unknown>>, mediaType: string): ReadonlyArray<Reached> | string => {
  const children: Array<Reached> = []
  const isIndex = MediaType.kind(mediaType) === "index"
  const fields = isIndex ? ["manifests"] : mediaType === artifactManifest ? ["blobs"] : ["config", "layers"]
  for (const field of fields) {
    const stated = value[field]
    for (const [index, one] of (Array.isArray(stated)
      ? stated
      : stated === undefined || stated === null
        ? []
        : [stated]
    ).entries()) {
      const descriptor = descriptorOf(one)
      if (descriptor === undefined)
        return `expected ${field}[${index}] to be a descriptor, found ${Json.typeName(one)} that is none`
      const embedded = typeof descriptor["data"] === "string"
      const elsewhere = Array.isArray(descriptor["urls"]) && descriptor["urls"].length > 0
      children.push({
        descriptor,
        optional: isIndex || embedded || elsewhere || !MediaType.isDistributable(descriptor.mediaType)
      })
    }
  }
  return children
}
