/**
 * What of an image archive has to be written again: as a whole, from a right copy of its one image, or single members of
 * one that holds others too.
 */
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import { Collector } from "../../check/Collector.ts"
import * as Hasher from "../../content/Hasher.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import * as ArchiveStore from "../ArchiveStore.ts"
import * as ContentGraph from "../ContentGraph.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as Document from "../Document.ts"
import type { SourceError } from "../Failure.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import * as OciRepair from "../oci-layout/OciRepair.ts"
import * as Receipt from "../Receipt.ts"
import * as Restore from "../Restore.ts"
import { readSmall } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import type { ArchiveWriterOptions } from "./ArchiveWriter.ts"
import * as DockerSave from "./DockerSave.ts"
import * as IndexBeside from "./IndexBeside.ts"
import * as IndexRepair from "./IndexRepair.ts"
import * as SavedIdentity from "./SavedIdentity.ts"
import * as SavedRepair from "./SavedRepair.ts"
import type { Whole } from "./WholeCompression.ts"

export interface Repairable {
  readonly file: string
  /** undefined when it cannot be read as an archive at all. */
  readonly store: ArchiveStore.ArchiveStore | undefined
  /** undefined as `store` is. */
  readonly index: IndexRepair.Index | undefined
  /** The copy of an image of it, of its one image where it has no more; undefined when there is none, or nothing tells. */
  readonly image: Image.Image | undefined
  /** What the archive holds, for a message. */
  readonly found: ReadonlyArray<string>
  /** Images besides `image`. Without any, the archive can be written anew as a whole. */
  readonly others: ReadonlyArray<string>
  /** Why it cannot be repaired, or undefined. */
  readonly obstacle: string | undefined
  /** To write it anew. */
  readonly options: ArchiveWriterOptions
}

/** Which images an archive holds: as its documents say, or the receipt beside it where they cannot be read. */
export const look = Effect.fn("ArchiveRepair.look")(function* (
  file: string,
  copies: OciRepair.Copies,
  flagged: Restore.Flagged,
  options: ArchiveStore.ArchiveOptions
): Effect.fn.Return<Repairable, SourceError, Scope.Scope | WorkerPool> {
  const { images } = copies
  const receipt = receiptOf(file)
  const opened = yield* Effect.either(ArchiveStore.open(file, options))
  const store = Either.getOrUndefined(opened)
  const has = (name: string): boolean => store?.lookup(name) !== undefined
  const context = store === undefined ? undefined : contextOf(store, copies, flagged, receipt)
  const index = context === undefined ? undefined : yield* IndexRepair.look(context, receipt)
  const listed =
    context === undefined || index === undefined
      ? []
      : [...savedImages(context.store), ...(yield* indexedImages(context, index))]
  const matched = images.find((one) => listed.some(({ is }) => is(one) === true))
  // What the documents say counts more than a receipt, which may be that of an archive that stood here before.
  const recorded = receipt === undefined ? undefined : images.find((one) => concerns(receipt, one.config.digest))
  const image =
    matched ?? (recorded !== undefined && listed.every(({ is }) => is(recorded) === undefined) ? recorded : undefined)
  const alone = (one: Listed): boolean => listed.every((other) => other === one || other.by !== one.by)
  // The one entry of a document of which nothing is left that tells cannot be of another image than the rest is of.
  const others = listed.filter((one) => {
    const is = image === undefined || one.is(image)
    return is === false || (is === undefined && image !== recorded && !alone(one))
  })
  const own = receipt?.image === image?.config.digest ? receipt : undefined
  const names = own?.names ?? listed[0]?.names ?? image?.names ?? []
  const formerly = own?.details["format"]
  const format =
    Files.formats.find((one) => one === formerly) ??
    (has(OciFiles.indexFile) ? (has(Files.manifestFile) ? "hybrid" : "oci") : "docker")
  const whole = wholeOf(file, store)
  return {
    file,
    store,
    index,
    image,
    found: listed.map(({ label }) => label),
    others: others.map(({ label }) => label),
    obstacle:
      store === undefined
        ? undefined
        : others.length > 0
          ? brokenFrame(store, others)
          : doubtfulNames(store, own, names, image),
    options: {
      path: file,
      format,
      tempDirectory: options.tempDirectory,
      names,
      ...(whole === undefined ? {} : { whole }),
      ...storageOf(own, format)
    }
  }
}, HasherLoading.loading)

/** How the archive is compressed as a whole, or was before nothing was left that tells. */
const wholeOf = (file: string, store: ArchiveStore.ArchiveStore | undefined): Whole | undefined => {
  const found = store?.compression
  if (found !== undefined) return found === "gzip" || found === "zstd" ? found : undefined
  return /\.t?gz$/.test(file) ? "gzip" : /\.t?zst$/.test(file) ? "zstd" : undefined
}

/** An index may list more than a message holds. */
const maxShown = 10

/** What of the archive itself keeps its members from being told from each other. */
const brokenFrame = ({ problems }: ArchiveStore.ArchiveStore, others: ReadonlyArray<Listed>): string | undefined => {
  const problem = problems.find(({ check }) => check === "tar.truncated" || check.startsWith("compression."))
  return problem === undefined
    ? undefined
    : `the archive itself is damaged (${problem.message}), and it holds other images too: ${others
        .slice(0, maxShown)
        .map(({ label }) => label)
        .join("; ")}`
}

/** A stream whose checksum is wrong may have any bytes wrong, those too that nothing else proves. */
const doubtfulNames = (
  { problems }: ArchiveStore.ArchiveStore,
  receipt: Receipt.Receipt | undefined,
  names: ReadonlyArray<string>,
  image: Image.Image | undefined
): string | undefined =>
  receipt !== undefined ||
  image === undefined ||
  !problems.some(({ check }) => check.startsWith("compression.")) ||
  JSON.stringify([...names].sort()) === JSON.stringify([...image.names].sort())
    ? undefined
    : `what it is compressed in is damaged, so that its names may be wrong: expected ${shown(image.names)} as in the source, found ${shown(names)}`

const shown = (names: ReadonlyArray<string>): string => names.join(", ") || "none"

/**
 * What to write so that those of the archive's images that are among the copies are right again, member by member.
 * Changes nothing.
 */
export const members = Effect.fn("ArchiveRepair.members")(function* (
  file: string,
  store: ArchiveStore.ArchiveStore,
  index: IndexRepair.Index,
  copies: OciRepair.Copies,
  flagged: Restore.Flagged,
  subjects: ReadonlyArray<string>
): Effect.fn.Return<Restore.Plan, SourceError, WorkerPool> {
  const receipt = receiptOf(file)
  const entries = savedIn(store).map((saved) => ({
    saved,
    image: copies.images.find((one) => SavedIdentity.isImage(store, saved, one) === true)
  }))
  const draft = new Restore.Draft(
    SavedRepair.disputed(entries.map(({ image, saved }) => SavedRepair.claimOf(store, saved, image)))
  )
  for (const { image, saved } of entries) {
    const named = image === undefined ? undefined : SavedRepair.namesOf(saved, image)
    if (image !== undefined && typeof named === "object") {
      yield* SavedRepair.plan(store, named, image, receipt, flagged, draft)
      continue
    }
    for (const name of [saved.config, ...(saved.layers ?? [])]) {
      if (name !== undefined && flagged(name, "error"))
        draft.cannot(name, typeof named === "string" ? named : "the source does not have its image")
    }
  }
  if (index.obstacle !== undefined) draft.cannot(OciFiles.indexFile, index.obstacle)
  const isLost = index.bytes !== undefined
  if (isLost) draft.want(OciFiles.indexFile, { kind: "bytes", bytes: index.bytes })
  if (isLost || (store.lookup(OciFiles.indexFile) !== undefined && !IndexBeside.isBeside(store))) {
    const context = contextOf(store, copies, flagged, receipt)
    yield* OciRepair.planBlobs(context, index.entries, subjects, draft, isLost)
  }
  const lost = (document: string, readable: boolean): void => {
    if (!readable && flagged(document, "error")) draft.cannot(document, "it tells of other images too")
  }
  lost(Files.manifestFile, entries.length > 0)
  lost(path.basename(Files.receiptPath(Files.resolve(file))), receipt !== undefined)
  return draft
}, HasherLoading.loading)

const contextOf = (
  store: ArchiveStore.ArchiveStore,
  copies: OciRepair.Copies,
  flagged: Restore.Flagged,
  receipt: Receipt.Receipt | undefined
): IndexRepair.Context => {
  const manifest = ContentGraph.descriptorOf(receipt?.details["manifest"])
  const receipts = receipt === undefined || manifest === undefined ? [] : [{ receipt, manifest, refs: [] }]
  return { store, copies, flagged, receipts }
}

const receiptOf = (file: string): Receipt.Receipt | undefined => {
  const target = Files.receiptPath(Files.resolve(file))
  return Receipt.read(DirectoryStore.make(path.dirname(target)), path.basename(target))
}

/** An image that the archive's documents tell of. */
interface Listed {
  /** The document that does. */
  readonly by: string
  readonly names: ReadonlyArray<string>
  readonly label: string
  /** As `SavedIdentity.isImage`. */
  readonly is: (image: Image.Image) => boolean | undefined
}

/** What manifest.json says; nothing when that cannot be relied on. */
const savedIn = (store: ArchiveStore.ArchiveStore): ReadonlyArray<DockerSave.SavedImage> => {
  const report = new Collector()
  const document =
    store.lookup(Files.manifestFile) === undefined
      ? undefined
      : Document.read(store, Files.manifestFile, Document.manifestChecks, report)
  const saved = document === undefined ? [] : DockerSave.readManifest(document, Files.manifestFile, report, store)
  return report.results().hasErrors ? [] : saved
}

const savedImages = (store: ArchiveStore.ArchiveStore): ReadonlyArray<Listed> =>
  savedIn(store).map((one) => ({
    by: Files.manifestFile,
    names: one.names,
    label: one.names.join(", ") || SavedIdentity.idOf(store, one) || "an image without a name",
    is: (image) => SavedIdentity.isImage(store, one, image)
  }))

/** What index.json lists, and what nested indexes lead to. */
const indexedImages = Effect.fnUntraced(function* (
  context: IndexRepair.Context,
  { bytes, entries }: IndexRepair.Index
): Effect.fn.Return<ReadonlyArray<Listed>, SourceError> {
  const { store } = context
  const byDigest = new Map<string, { readonly isIndex: boolean; readonly names: Array<string> }>()
  for (const { annotations, digest, mediaType } of entries) {
    const name = annotations?.[OciFiles.refName]
    const { names = [] } = byDigest.get(digest) ?? {}
    byDigest.set(digest, {
      isIndex: MediaType.kind(mediaType) === "index",
      names: [...names, ...(name === undefined ? [] : [name])]
    })
  }
  // An index, or another platform's manifest, is something else that would be lost.
  const top = [...byDigest].map(
    ([digest, { isIndex, names }]): Listed => ({
      by: OciFiles.indexFile,
      names,
      label: names.join(", ") || digest,
      is: (image) => (isIndex ? false : isManifestOf(store, digest, image))
    })
  )
  if (![...byDigest.values()].some(({ isIndex }) => isIndex)) return top
  const { listed } = yield* OciRepair.walk(context, entries, bytes !== undefined)
  const nested = [...listed.values()].flatMap(
    ({ descriptor: { digest }, image: found }): ReadonlyArray<Listed> =>
      byDigest.has(digest)
        ? []
        : [
            {
              by: OciFiles.indexFile,
              names: [],
              label: digest,
              is: (image) => image.config.digest === found?.config.digest
            }
          ]
  )
  return [...top, ...nested]
})

const isManifestOf = (store: ArchiveStore.ArchiveStore, digest: string, image: Image.Image): boolean | undefined => {
  if (image.manifest?.digest === digest) return true
  const raw = readSmall(store, Digest.blobPath(digest))
  if (raw === undefined || Hasher.digestOfBytes(digest, raw) !== digest) return undefined
  const { value } = Json.parse(raw)
  return ContentGraph.descriptorOf(Json.isObject(value) ? value["config"] : undefined)?.digest === image.config.digest
}

const manifestOf = (receipt: Receipt.Receipt | undefined): string | undefined => {
  const manifest = receipt?.details["manifest"]
  return Json.isObject(manifest) && typeof manifest["digest"] === "string" ? manifest["digest"] : undefined
}

const layersOf = (receipt: Receipt.Receipt | undefined): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  const layers = receipt?.details["layers"]
  return Array.isArray(layers) ? layers.filter(Json.isObject) : []
}

/** Whether an archive of which this is the receipt holds one image alone, the one with the config `id`. */
const concerns = (receipt: Receipt.Receipt, id: string): boolean => {
  const own = new Set([id, manifestOf(receipt), ...layersOf(receipt).map((layer) => layer["digest"])])
  return (
    receipt.image === id &&
    receipt.files.every(({ path: name }) => {
      const digest = Files.blobDigest(name)
      return digest === undefined || own.has(digest)
    })
  )
}

/** As the layers were stored before, as far as that is known. */
const storageOf = (
  receipt: Receipt.Receipt | undefined,
  format: Files.Format
): Pick<ArchiveWriterOptions, "compression" | "level" | "mediaTypes"> => {
  const layers = layersOf(receipt)
  const manifest = receipt?.details["manifest"]
  const mediaType = Json.isObject(manifest) ? manifest["mediaType"] : undefined
  const mediaTypes =
    typeof mediaType !== "string"
      ? {}
      : { mediaTypes: MediaType.isDocker(mediaType) ? ("docker" as const) : ("oci" as const) }
  const ways = new Set(layers.map(({ compression, level }) => `${String(compression)} ${String(level)}`))
  const [first] = layers
  if (ways.size !== 1 || first === undefined)
    return receipt === undefined && format === "docker" ? { compression: "none" } : mediaTypes
  const { compression, level } = first
  if (compression === "none") return { compression, ...mediaTypes }
  return (compression === "gzip" || compression === "zstd") && typeof level === "number"
    ? { compression, level, ...mediaTypes }
    : mediaTypes
}
