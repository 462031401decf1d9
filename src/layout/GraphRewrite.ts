/**
 * Indexes of which a part became another one: each is made anew once, behind all that it lists. What an index lists that
 * speaks of bytes which are not there any more is left out of it; one of which nothing changed keeps its bytes.
 */
import * as crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as Digest from "../image/Digest.ts"
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import * as ContentGraph from "./ContentGraph.ts"
import type { Descriptor } from "./Conversion.ts"
import { SourceError } from "./Failure.ts"
import type { Receipt } from "./Receipt.ts"

/** What a manifest or an index became. */
export interface Successor {
  /** Its media type, digest and size. */
  readonly descriptor: Descriptor
  readonly raw: Uint8Array
  /** What an image's config says. */
  readonly osVersion?: string | undefined
}

/** An attestation, a signature: it is left out, as what it is about was changed or left out itself. */
export interface LeftOut {
  readonly digest: string
  readonly mediaType: string
  /** The digest of what it is about, in the source. */
  readonly subject: string
}

/** What a receipt's details say was left out. */
export const leftOutIn = ({ details }: Receipt): ReadonlyArray<LeftOut> =>
  (Array.isArray(details["leftOut"]) ? details["leftOut"] : []).filter(
    (one): one is LeftOut =>
      Json.isObject(one) && ["digest", "mediaType", "subject"].every((field) => typeof one[field] === "string")
  )

/** In words, for the receipt and the results. */
export const describe = ({ digest, mediaType, subject }: LeftOut): string =>
  `left out: ${digest} (${mediaType}): it is about ${subject}, which was changed or left out`

export interface Rewritten {
  readonly root: Descriptor
  /** By the digests of what they were, each behind those that it lists. */
  readonly indexes: ReadonlyMap<string, Successor>
  readonly leftOut: ReadonlyArray<LeftOut>
}

/**
 * Rewrites what leads from `root` to images that became others. `images`: every image that may have, by the digest of its
 * manifest in the source; undefined for one that stayed.
 */
export const rewrite = Effect.fn("GraphRewrite.rewrite")(function* (
  uri: string,
  { documents }: ContentGraph.Closure,
  root: Descriptor,
  images: ReadonlyMap<string, Successor | undefined>
): Effect.fn.Return<Rewritten, SourceError> {
  const settled = new Map(images)
  const indexes = new Map<string, Successor>()
  const leftOut = new Map<string, LeftOut>()
  // An index may list the same thing as often as it likes: each document is looked into once.
  const subjects = new Map<string, string | undefined>()
  const repeats = new Map<string, Repeats>()

  // No document can name its own digest, however indirectly: none of this goes in circles.
  const successorOf = (digest: string): Effect.Effect<Successor | undefined, SourceError> =>
    Effect.suspend(() => {
      const document = documents.get(digest)
      if (settled.has(digest) || document === undefined || !isIndex(document.descriptor))
        return Effect.succeed(settled.get(digest))
      return Effect.tap(rewriteIndex(document), (next) => {
        settled.set(digest, next)
        if (next !== undefined) indexes.set(digest, next)
      })
    })

  const rewriteIndex = Effect.fnUntraced(function* (
    document: ContentGraph.GraphDocument
  ): Effect.fn.Return<Successor | undefined, SourceError> {
    const { problems, value } = Json.parse(document.raw)
    const stated = Json.isObject(value) && Array.isArray(value["manifests"]) ? value["manifests"] : []
    const manifests: Array<unknown> = []
    for (const entry of stated) {
      const descriptor = ContentGraph.descriptorOf(entry)!
      const subject = yield* changedSubject(descriptor)
      if (subject === undefined) manifests.push((yield* renewed(descriptor)) ?? entry)
      else leftOut.set(descriptor.digest, { digest: descriptor.digest, mediaType: descriptor.mediaType, subject })
    }
    if (manifests.length === stated.length && manifests.every((one, index) => one === stated[index])) return undefined
    const { digest, mediaType } = document.descriptor
    if (problems.length > 0) {
      return yield* new SourceError({
        reason: "Damaged",
        message: `cannot rewrite the index ${digest} of ${uri}: ${problems[0]!.message}`
      })
    }
    const raw = Buffer.from(JSON.stringify({ ...(value as object), manifests }))
    return { descriptor: { mediaType, digest: digestOf(raw), size: raw.length }, raw }
  })

  /** What an entry is about, where that is not what it was. An image is about nothing, and an index as a part is kept. */
  const changedSubject = Effect.fnUntraced(function* (
    descriptor: Descriptor
  ): Effect.fn.Return<string | undefined, SourceError> {
    if (images.has(descriptor.digest) || isIndex(descriptor)) return undefined
    const attested = descriptor.annotations?.[attestedDigest]
    if (attested !== undefined && (yield* successorOf(attested)) !== undefined) return attested
    return yield* lostSubject(descriptor.digest)
  })

  const lostSubject = Effect.fnUntraced(function* (digest: string): Effect.fn.Return<string | undefined, SourceError> {
    if (subjects.has(digest)) return subjects.get(digest)
    const subject = images.has(digest) ? undefined : subjectOf(documents.get(digest))
    const isLost =
      subject !== undefined &&
      ((yield* successorOf(subject)) !== undefined || (yield* lostSubject(subject)) !== undefined)
    subjects.set(digest, isLost ? subject : undefined)
    return subjects.get(digest)
  })

  /** An entry for what its manifest became; undefined where it stayed. */
  const renewed = Effect.fnUntraced(function* (
    entry: Descriptor
  ): Effect.fn.Return<Descriptor | undefined, SourceError> {
    const next = yield* successorOf(entry.digest)
    if (next === undefined) return undefined
    const known = repeats.get(entry.digest) ?? {
      before: annotationsOf(documents.get(entry.digest)!.raw),
      after: annotationsOf(next.raw)
    }
    repeats.set(entry.digest, known)
    return withSuccessor(entry, next, known)
  })

  return {
    root: (yield* renewed(root)) ?? root,
    indexes,
    leftOut: [...leftOut.values()]
  }
})

/** Where BuildKit says which image of the index an attestation is about. */
const attestedDigest = "vnd.docker.reference.digest"

const isIndex = ({ mediaType }: Descriptor): boolean => MediaType.kind(mediaType) === "index"

const digestOf = (raw: Uint8Array): Digest.Digest =>
  Digest.make("sha256", crypto.createHash("sha256").update(raw).digest("hex"))

/** The digest that a manifest names as its `subject` (manifest.md). */
export const subjectOf = (document: ContentGraph.GraphDocument | undefined): string | undefined => {
  const value = document === undefined ? undefined : Json.parse(document.raw).value
  const subject = Json.isObject(value) && Json.isObject(value["subject"]) ? value["subject"]["digest"] : undefined
  return typeof subject === "string" ? subject : undefined
}

/** The annotations of a manifest and of what it became. */
interface Repeats {
  readonly before: ReadonlyMap<string, unknown>
  readonly after: ReadonlyMap<string, unknown>
}

/**
 * What the source embedded in an entry, or says where to get, is the old manifest. What the entry repeats of its image goes
 * on repeating it: annotations of the manifest, the config's os.version.
 */
const withSuccessor = (entry: Descriptor, { descriptor, osVersion }: Successor, repeats: Repeats): Descriptor => {
  const { annotations, data: _, urls: __, ...rest } = entry
  const platform = rest["platform"]
  const repeated = Json.isObject(annotations) ? repeating(annotations, repeats) : {}
  return {
    ...rest,
    ...descriptor,
    ...(Json.isObject(platform) && platform["os.version"] !== undefined && osVersion !== undefined
      ? { platform: { ...platform, "os.version": osVersion } }
      : {}),
    ...(Object.keys(repeated).length === 0 ? {} : { annotations: repeated })
  }
}

const annotationsOf = (raw: Uint8Array): ReadonlyMap<string, unknown> => {
  const { value } = Json.parse(raw)
  const annotations = Json.isObject(value) ? value["annotations"] : undefined
  return new Map(Json.isObject(annotations) ? Object.entries(annotations) : [])
}

const repeating = (
  stated: Readonly<Record<string, unknown>>,
  { after, before }: Repeats
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(stated).flatMap(([key, text]) => {
      const next = before.get(key) === text ? after.get(key) : text
      return next === undefined ? [] : [[key, next as string]]
    })
  )
