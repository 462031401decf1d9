/** How an image archive that is damaged is to be written anew from a right copy of its image. */
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
import * as OciFiles from "../oci-layout/OciFiles.ts"
import * as Receipt from "../Receipt.ts"
import { readSmall } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import type { ArchiveWriterOptions } from "./ArchiveWriter.ts"
import * as DockerSave from "./DockerSave.ts"
import * as SavedIdentity from "./SavedIdentity.ts"

export interface ArchivePlan {
  /** The copy of the archive's one image; undefined when it is another one, or not known. */
  readonly image: Image.Image | undefined
  /** What the archive holds, for a message. */
  readonly found: ReadonlyArray<string>
  /** Why the archive cannot be written anew, or undefined. */
  readonly obstacle: string | undefined
  readonly options: ArchiveWriterOptions
}

/**
 * An archive is written as a whole, so it may hold no other image than the one there is a copy of: as its documents say,
 * or the receipt beside it where they cannot be read.
 */
export const plan = Effect.fn("ArchiveRepair.plan")(function* (
  file: string,
  images: ReadonlyArray<Image.Image>,
  options: ArchiveStore.ArchiveOptions
): Effect.fn.Return<ArchivePlan, never, Scope.Scope | WorkerPool> {
  const receipt = receiptOf(file)
  const opened = yield* Effect.either(ArchiveStore.open(file, options))
  const store = Either.getOrUndefined(opened)
  const has = (name: string): boolean => store?.lookup(name) !== undefined
  const listed = store === undefined ? [] : imagesIn(store)
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
  const obstacle =
    others.length > 0
      ? `it holds other images too: ${others.map(({ label }) => label).join("; ")}`
      : store !== undefined && store.compression !== "none"
        ? `expected a plain tar, found one compressed with ${store.compression}`
        : undefined
  const own = receipt?.image === image?.config.digest ? receipt : undefined
  const formerly = own?.details["format"]
  const format =
    Files.formats.find((one) => one === formerly) ??
    (has(OciFiles.indexFile) ? (has(Files.manifestFile) ? "hybrid" : "oci") : "docker")
  return {
    image,
    found: listed.map(({ label }) => label),
    obstacle,
    options: {
      path: file,
      format,
      tempDirectory: options.tempDirectory,
      names: own?.names ?? listed[0]?.names ?? image?.names ?? [],
      ...storageOf(own, format)
    }
  }
}, HasherLoading.loading)

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

const imagesIn = (store: ArchiveStore.ArchiveStore): ReadonlyArray<Listed> => {
  const report = new Collector()
  const document =
    store.lookup(Files.manifestFile) === undefined
      ? undefined
      : Document.read(store, Files.manifestFile, Document.manifestChecks, report)
  const saved = document === undefined ? [] : DockerSave.readManifest(document, Files.manifestFile, report, store)
  const fromSaved = (report.results().hasErrors ? [] : saved).map(
    (one): Listed => ({
      by: Files.manifestFile,
      names: one.names,
      label: one.names.join(", ") || SavedIdentity.idOf(store, one) || "an image without a name",
      is: (image) => SavedIdentity.isImage(store, one, image)
    })
  )
  const index = Json.parse(readSmall(store, OciFiles.indexFile) ?? new Uint8Array()).value
  const entries =
    Json.isObject(index) && Array.isArray(index["manifests"]) ? (index["manifests"] as ReadonlyArray<unknown>) : []
  const byDigest = new Map<string, Array<string>>()
  for (const entry of entries) {
    const descriptor = ContentGraph.descriptorOf(entry)
    if (descriptor === undefined) continue
    const name = descriptor.annotations?.[OciFiles.refName]
    byDigest.set(descriptor.digest, [...(byDigest.get(descriptor.digest) ?? []), ...(name === undefined ? [] : [name])])
  }
  // An index there, or another platform's manifest, is something else that would be lost.
  const fromIndex = [...byDigest].map(
    ([digest, names]): Listed => ({
      by: OciFiles.indexFile,
      names,
      label: names.join(", ") || digest,
      is: (image) => isManifestOf(store, digest, image)
    })
  )
  return [...fromSaved, ...fromIndex]
}

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
