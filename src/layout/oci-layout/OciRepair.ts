/**
 * What of an OCI image layout has to be written again, whoever wrote it, given right copies of its images. Blobs are
 * named by what they hold, so each that is restored is byte for byte the one that was lost.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Hasher from "../../content/Hasher.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import * as Inspect from "../../content/Inspect.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import type { Region } from "../../image/Region.ts"
import { version } from "../../version.ts"
import * as ContentGraph from "../ContentGraph.ts"
import * as Conversion from "../Conversion.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import type { SourceError } from "../Failure.ts"
import * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import * as Receipt from "../Receipt.ts"
import * as Restore from "../Restore.ts"
import { readJson, readSmall, type Store } from "../Store.ts"
import * as Files from "./OciFiles.ts"
import * as OciGraphWriter from "./OciGraphWriter.ts"
import * as OciIndex from "./OciIndex.ts"

type Descriptor = Conversion.Descriptor

/** What there is to restore from. */
export interface Copies {
  readonly images: ReadonlyArray<Image.Image>
  /** Everything that the source has by digest, where it has more than single images. */
  readonly graph: ContentGraph.ContentGraph | undefined
}

export interface OciPlan extends Restore.Plan {
  /** Images of the layout that are among the copies. */
  readonly matched: ReadonlyArray<Image.Image>
  /** What the layout lists, for a message when none is. */
  readonly found: ReadonlyArray<string>
}

export interface Context {
  readonly store: Store
  readonly copies: Copies
  readonly flagged: Restore.Flagged
  readonly receipts: ReadonlyArray<StoredReceipt>
}

/** A receipt that tells of a manifest, and by which names it is listed. */
export interface StoredReceipt {
  readonly receipt: Receipt.Receipt
  readonly manifest: Descriptor
  readonly refs: ReadonlyArray<string>
}

/**
 * What to write so that every image of the layout that is among the copies is right again. `subjects`: what errors were
 * found about. Changes nothing.
 */
export const plan = Effect.fn("OciRepair.plan")(function* (
  root: string,
  copies: Copies,
  flagged: Restore.Flagged,
  subjects: ReadonlyArray<string> = []
): Effect.fn.Return<OciPlan, SourceError, WorkerPool> {
  const store = DirectoryStore.make(root)
  const names = store.list("") ?? []
  const receipts = names.filter(Files.isReceipt).flatMap((file) => storedReceipt(store, file) ?? [])
  const context: Context = { store, copies, flagged, receipts }
  const draft = new Restore.Draft((file) => Restore.obstacle(root, file))
  const index = yield* indexOf(context)
  if (index.bytes !== undefined) draft.want(Files.indexFile, { kind: "late", make: () => index.bytes! })
  const listed = yield* planBlobs(context, index.entries, subjects, draft, index.bytes !== undefined)
  const targets = new Set<string>([Files.indexFile])
  for (const { descriptor, image, raw, refs } of listed) {
    if (image === undefined) continue
    for (const name of [descriptor.digest, ...refs]) {
      const file = Files.receiptFile(name)
      targets.add(file)
      if (raw !== undefined && flagged(file, "error") && names.includes(file)) {
        draft.want(file, {
          kind: "late",
          make: () =>
            Receipt.encode(receiptAnew(root, name === descriptor.digest ? [] : [name], descriptor, raw, image))
        })
      }
    }
  }
  for (const file of names) {
    if (Files.isReceipt(file) && !targets.has(file) && flagged(file, "error"))
      draft.cannot(file, "nothing that is listed tells which image of the source it is about")
  }
  return {
    files: draft.files,
    impossible: draft.impossible,
    leftovers: [...new Set([...targets].flatMap((target) => Journal.leftovers(root, names, target)))],
    matched: [...new Set(listed.flatMap(({ image }) => image ?? []))],
    found: listed.map(({ descriptor, refs }) => [...refs].join(", ") || descriptor.digest)
  }
}, HasherLoading.loading)

/**
 * Wants in `draft` what of the images that `entries` lead to is not right, of those at least that are among the copies;
 * answers the manifests that were reached. `store` is a layout, in a directory or an archive. `isIndexLost`: what
 * told of `entries` was damaged, so that nobody was led to what they lead to.
 */
export const planBlobs = Effect.fn("OciRepair.planBlobs")(function* (
  context: Context,
  entries: ReadonlyArray<Descriptor>,
  subjects: ReadonlyArray<string>,
  draft: Restore.Draft,
  isIndexLost = false
): Effect.fn.Return<ReadonlyArray<Listed>, SourceError, WorkerPool> {
  const { flagged, store } = context
  if (flagged(Files.layoutFile, "error")) draft.want(Files.layoutFile, { kind: "bytes", bytes: Files.layoutBytes })
  const { blobs, documents, listed, unseen } = yield* walk(context, entries, isIndexLost)
  for (const [digest, raw] of documents) draft.want(Digest.blobPath(digest), { kind: "bytes", bytes: raw })
  for (const { descriptor, image, raw } of listed.values()) {
    const file = Digest.blobPath(descriptor.digest)
    if (raw === undefined && (image !== undefined || flagged(file, "error")))
      draft.cannot(file, "the source has no such manifest, and it cannot be made again")
  }
  // What no manifest leads to may be had all the same, where the source keeps everything by digest.
  for (const file of subjects) {
    const digest = digestAt(file)
    if (digest !== undefined && !blobs.has(digest) && !listed.has(digest) && !documents.has(digest)) {
      blobs.set(digest, {
        descriptor: { mediaType: "application/octet-stream", digest, size: 0 },
        image: undefined,
        layer: undefined
      })
    }
  }
  const isSuspect: Restore.Flagged = (file) => flagged(file) || unseen.has(file)
  const suspects = [...blobs].filter(([digest]) => isSuspect(Digest.blobPath(digest)) && Digest.isComputable(digest))
  const spoilt = yield* Restore.spoilt(
    store,
    suspects.map(([digest]) => ({ path: Digest.blobPath(digest), diffId: undefined, digest })),
    isSuspect
  )
  for (const { digest, path: file } of spoilt) {
    const blob = blobs.get(digest!)!
    const content = contentOf(context, blob) ?? (yield* graphContent(context, blob.descriptor))
    if (content !== undefined) draft.want(file, content)
    else if (blob.image !== undefined || flagged(file, "error"))
      draft.cannot(file, "the source does not have these bytes")
  }
  return [...listed.values()]
})

const storedReceipt = (store: Store, file: string): StoredReceipt | undefined => {
  const receipt = Receipt.read(store, file)
  const manifest = ContentGraph.descriptorOf(receipt?.details["manifest"])
  const refs = receipt?.details["refs"]
  return receipt === undefined || manifest === undefined
    ? undefined
    : { receipt, manifest, refs: Array.isArray(refs) ? refs.filter((ref) => typeof ref === "string") : [] }
}

interface Index {
  readonly entries: ReadonlyArray<Descriptor>
  /** Of index.json, when it has to be written. */
  readonly bytes: Uint8Array | undefined
}

/**
 * What index.json lists. In the place of what is damaged in it stands what receipts record, or else what the source
 * lists and the layout has. What a sound index does not list was taken out on purpose.
 */
const indexOf = Effect.fnUntraced(function* (context: Context): Effect.fn.Return<Index, SourceError> {
  const { flagged, receipts, store } = context
  const raw = readSmall(store, Files.indexFile)
  const { problems, value } = raw === undefined ? { problems: [{}], value: undefined } : Json.parse(raw)
  const listed = Json.isObject(value) ? list(value["manifests"]) : []
  const readable = problems.length === 0 && Json.isObject(value)
  const said = (readable ? listed : []).flatMap((one) => ContentGraph.descriptorOf(one) ?? [])
  const kept = said.filter((one) => !receipts.some(({ manifest }) => isChanged(one, manifest)))
  const sound = readable && kept.length === said.length && !flagged(Files.indexFile, "error")
  const isThere = isIn(store)
  const told = receipts.flatMap(({ manifest, refs }): ReadonlyArray<Descriptor> => {
    if (refs.length === 0) return sound || kept.some(({ digest }) => digest === manifest.digest) ? [] : [manifest]
    return refs.flatMap((ref) => {
      const known = kept.filter((one) => nameOf(one) === ref)
      if (known.some(({ digest }) => digest === manifest.digest)) return []
      // A name whose manifest is not there, and the manifest that it was written for is: then the entry is damaged.
      const lost = known.length === 0 ? !sound : isThere(manifest) && !known.some(isThere)
      return lost ? [{ ...manifest, annotations: { ...manifest.annotations, [Files.refName]: ref } }] : []
    })
  })
  const referrers = sound ? [] : yield* Effect.forEach(receipts, (one) => referrersOf(context.copies, one))
  const listing = [...told, ...referrers.flat()]
  const added = readable || told.length > 0 ? listing : yield* rootsOf(context)
  const broken = readable && !sound && kept.length < listed.length
  if (readable && added.length === 0 && !broken) return { entries: kept, bytes: undefined }
  const entries = OciIndex.merge(kept, added)
  const base = readable ? value : { schemaVersion: 2, mediaType: MediaType.ociIndex }
  return {
    entries: entries.flatMap((one) => ContentGraph.descriptorOf(one) ?? []),
    bytes: OciIndex.encode({ ...base, manifests: entries })
  }
})

/** What a receipt records that index.json listed beside the manifest, as far as the source has it. */
export const referrersOf = Effect.fnUntraced(function* (
  { graph }: Copies,
  { manifest, receipt }: Pick<StoredReceipt, "manifest" | "receipt">
): Effect.fn.Return<ReadonlyArray<Descriptor>> {
  const recorded = list(receipt.details["referrers"])
  if (graph === undefined || recorded.length === 0) return []
  // What the source lacks of it is said when blobs are restored.
  const closure = yield* Effect.option(ContentGraph.closure(graph, manifest, true))
  return Option.toArray(closure)
    .flatMap(OciGraphWriter.referrersOf)
    .filter(({ digest }) => recorded.includes(digest))
})

const isIn =
  (store: Store) =>
  ({ digest }: Descriptor): boolean =>
    store.lookup(Digest.blobPath(digest)) !== undefined

/** What the source lists and is there. */
export const rootsOf = ({
  copies: { graph },
  store
}: Context): Effect.Effect<ReadonlyArray<Descriptor>, SourceError> =>
  graph === undefined
    ? Effect.succeed([])
    : Effect.map(graph.roots, (roots) => roots.map((one) => one.descriptor).filter(isIn(store)))

/** The same manifest, described otherwise than it was written. */
const isChanged = (entry: Descriptor, recorded: Descriptor): boolean =>
  entry.digest === recorded.digest && (entry.mediaType !== recorded.mediaType || entry.size !== recorded.size)

const nameOf = ({ annotations }: Descriptor): string | undefined => annotations?.[Files.refName]

const list = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

const descriptors = (...values: ReadonlyArray<unknown>): ReadonlyArray<Descriptor> =>
  values.flatMap((one) => ContentGraph.descriptorOf(one) ?? [])

/** A manifest that the layout lists. */
export interface Listed {
  readonly descriptor: Descriptor
  readonly refs: Set<string>
  /** The copy of the image that it is. */
  readonly image: Image.Image | undefined
  /** Its bytes, here or restored. */
  readonly raw: Uint8Array | undefined
}

/** A blob that a manifest names. */
interface Blob {
  readonly descriptor: Descriptor
  readonly image: Image.Image | undefined
  /** Of a layer of `image`: its position. */
  readonly layer: number | undefined
}

/** The digest that a blob's name promises. */
const digestAt = (file: string): Digest.Digest | undefined => {
  const match = /^blobs\/([^/]+)\/([^/]+)$/.exec(file)
  const digest = match === null ? undefined : `${match[1]}:${match[2]}`
  return Digest.isDigest(digest) ? digest : undefined
}

interface Walked {
  readonly listed: ReadonlyMap<string, Listed>
  readonly blobs: Map<string, Blob>
  /** Manifests and indexes that have to be written. */
  readonly documents: ReadonlyMap<string, Uint8Array>
  /** Files that nobody was led to, as what leads there was lost. */
  readonly unseen: ReadonlySet<string>
  /** Digests of everything that the index leads to. */
  readonly reached: ReadonlySet<string>
}

/** More than any layout has. */
const maxReached = 100_000

/** Everything that `index` leads to, of which what is damaged is looked for among the copies. */
export const walk = Effect.fnUntraced(function* (
  context: Context,
  index: ReadonlyArray<Descriptor>,
  isIndexLost: boolean
): Effect.fn.Return<Walked, SourceError> {
  const { flagged, store } = context
  const listed = new Map<string, Listed>()
  const blobs = new Map<string, Blob>()
  const documents = new Map<string, Uint8Array>()
  const seen = new Set<string>()
  const unseen = new Set<string>()
  const pending = index.map((descriptor) => ({ descriptor, ref: nameOf(descriptor), nested: false })).reverse()
  if (isIndexLost) for (const { digest } of index) unseen.add(Digest.blobPath(digest))
  for (let next = pending.pop(); next !== undefined && seen.size < maxReached; next = pending.pop()) {
    const { descriptor, nested, ref } = next
    const { digest } = descriptor
    if (seen.has(digest)) {
      if (ref !== undefined) listed.get(digest)?.refs.add(ref)
      continue
    }
    seen.add(digest)
    const file = Digest.blobPath(digest)
    const here = proved(readSmall(store, file), digest)
    // What an index lists may be missing: then nobody complains of it.
    const isSpoilt = unseen.has(file) && store.lookup(file) !== undefined
    const lost = here === undefined && (!nested || flagged(file) || isSpoilt)
    const raw = here ?? (lost ? yield* documentAnew(context, descriptor) : undefined)
    if (lost && raw !== undefined) documents.set(digest, raw)
    const isUnseen = lost || unseen.has(file)
    const value = raw === undefined ? undefined : Json.parse(raw).value
    const fields = Json.isObject(value) ? value : {}
    if (MediaType.kind(descriptor.mediaType) === "manifest") {
      const image = imageOf(context, descriptor, fields)
      listed.set(digest, { descriptor, refs: new Set(ref === undefined ? [] : [ref]), image, raw })
      for (const one of descriptors(fields["config"]))
        blobs.set(one.digest, { descriptor: one, image, layer: undefined })
      for (const [layer, one] of list(fields["layers"]).entries()) {
        for (const found of descriptors(one)) {
          if (blobs.get(found.digest)?.image === undefined) blobs.set(found.digest, { descriptor: found, image, layer })
        }
      }
      if (isUnseen) for (const one of led(fields, store)) unseen.add(one)
    }
    for (const child of descriptors(...list(fields["manifests"])).toReversed()) {
      pending.push({ descriptor: child, ref: undefined, nested: true })
      if (isUnseen) unseen.add(Digest.blobPath(child.digest))
    }
  }
  return { listed, blobs, documents, unseen, reached: new Set([...seen, ...blobs.keys()]) }
})

/** The files that a manifest leads to; a layer that need not be there counts only where it is. */
const led = (fields: Readonly<Record<string, unknown>>, store: Store): ReadonlyArray<string> =>
  descriptors(fields["config"], ...list(fields["layers"])).flatMap(({ digest, mediaType }) => {
    const file = Digest.blobPath(digest)
    return MediaType.isDistributable(mediaType) || store.lookup(file) !== undefined ? [file] : []
  })

const proved = (raw: Uint8Array | undefined, digest: string): Uint8Array | undefined =>
  raw !== undefined && Hasher.digestOfBytes(digest, raw) === digest ? raw : undefined

/** The copy of the image that a manifest describes, or was written for. */
const imageOf = (
  { copies, receipts }: Context,
  { digest }: Descriptor,
  fields: Readonly<Record<string, unknown>>
): Image.Image | undefined => {
  const [config] = descriptors(fields["config"])
  const id = config?.digest ?? receipts.find(({ manifest }) => manifest.digest === digest)?.receipt.image
  return copies.images.find(
    (image) =>
      image.config.digest === id && (config === undefined || image.layers.length === list(fields["layers"]).length)
  )
}

/** A manifest or index with this digest: the source's, or made again as a receipt records it. */
const documentAnew = Effect.fnUntraced(function* (
  context: Context,
  descriptor: Descriptor
): Effect.fn.Return<Uint8Array | undefined, SourceError> {
  const { copies, receipts } = context
  const { digest } = descriptor
  const own = copies.images.find(({ manifest }) => manifest?.digest === digest)?.manifest
  if (own !== undefined) return own.raw
  const region = yield* openGraph(copies, descriptor)
  const read = region === undefined ? undefined : readJson(region)
  const copied = proved(read !== undefined && "bytes" in read ? read.bytes : undefined, digest)
  if (copied !== undefined) return copied
  const recorded = receipts.find(({ manifest }) => manifest.digest === digest)?.receipt
  const image = copies.images.find(({ config }) => config.digest === recorded?.image)
  if (recorded === undefined || image === undefined) return undefined
  const stored = storedLayers(recorded, image)
  if (stored === undefined) return undefined
  const family = MediaType.isDocker(descriptor.mediaType) ? "docker" : "oci"
  return [image, { ...image, manifest: undefined }]
    .map((one) => Conversion.manifestOf(one, stored, family))
    .find((made) => made.descriptor.digest === digest)?.raw
})

/** The image's layers as a receipt records that they were stored. */
const storedLayers = (receipt: Receipt.Receipt, image: Image.Image): ReadonlyArray<LayerCopy.Stored> | undefined => {
  const details = LayerCopy.detailsIn(receipt)
  if (details.length !== image.layers.length) return undefined
  return image.layers.map((layer, index) => {
    const { compression, digest, level, size } = details[index]!
    return {
      layer,
      digest: digest as Digest.Digest,
      size,
      sha256: Digest.encodedOf(digest),
      compression: compression === "gzip" || compression === "zstd" ? compression : "none",
      uncompressedSize: 0,
      kept: layer.digest === digest,
      level
    }
  })
}

const openGraph = ({ graph }: Copies, descriptor: Descriptor): Effect.Effect<Region | undefined, SourceError> =>
  graph === undefined ? Effect.succeed(undefined) : graph.open(descriptor)

const graphContent = ({ copies }: Context, descriptor: Descriptor) =>
  Effect.map(openGraph(copies, descriptor), (region): Restore.Content | undefined =>
    region === undefined ? undefined : { kind: "blob", region, digest: descriptor.digest }
  )

const contentOf = ({ receipts }: Context, { descriptor, image, layer }: Blob): Restore.Content | undefined => {
  if (image === undefined) return undefined
  if (layer === undefined) return { kind: "bytes", bytes: image.config.raw }
  const { digest } = descriptor
  const recorded = receipts.flatMap(({ receipt }) => LayerCopy.detailsIn(receipt))
  const source = image.layers[layer]!
  const form = Restore.formOf(
    source,
    digest,
    recorded.find((one) => one.digest === digest)
  )
  return form === undefined ? undefined : { kind: "layer", layer: source, form, digest }
}

/** Of a file that another algorithm names. Throws when it cannot be read. */
const sha256Of = (file: string, size: number): string => {
  const region = { path: file, offset: 0, size }
  const { digests, failure } = Inspect.run({ region, algorithms: [], as: "blob", keepPaths: false, limits: {} })
  if (failure !== undefined) throw Object.assign(new Error(failure.message), { code: failure.code })
  return digests.sha256!
}

/** As a writer would have left it, but for what only the lost one told: where the image came from, and filters. */
const receiptAnew = (
  root: string,
  refs: ReadonlyArray<string>,
  descriptor: Descriptor,
  raw: Uint8Array,
  image: Image.Image
): Receipt.Receipt => {
  const value = Json.parse(raw).value as { readonly layers?: unknown }
  const layers = descriptors(...list(value.layers))
  const { annotations, ...rest } = descriptor
  const others = Files.withoutNames(annotations ?? {})
  const manifest = Object.keys(others).length === 0 ? rest : { ...rest, annotations: others }
  return {
    tool: "tallyman",
    version,
    layout: "oci-layout",
    names: refs,
    image: image.config.digest,
    source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
    filters: [],
    conversions: [],
    files: [
      Receipt.fileOf(Digest.blobPath(image.config.digest), image.config.raw),
      ...new Map(
        layers.map(({ digest }): readonly [string, Receipt.File] => {
          const file = Digest.blobPath(digest)
          const at = path.join(root, file)
          const { size } = fs.statSync(at)
          const sha256 = Digest.algorithmOf(digest) === "sha256" ? Digest.encodedOf(digest) : sha256Of(at, size)
          return [file, { path: file, size, sha256 }]
        })
      ).values(),
      Receipt.fileOf(Digest.blobPath(descriptor.digest), raw)
    ],
    details: {
      refs,
      manifest: { ...manifest },
      layers: layers.map(({ digest, mediaType, size }, index) => ({
        diffId: image.layers[index]!.diffId,
        digest,
        size,
        compression: MediaType.layerCompression(mediaType) ?? "none"
      }))
    }
  }
}
