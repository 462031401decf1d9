/** How an image archive that is damaged is to be written anew from a right copy of its image. */
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import * as ArchiveStore from "../ArchiveStore.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import type { SourceError } from "../Failure.ts"
import type { Candidate } from "../ImageSource.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import * as OciSource from "../oci-layout/OciSource.ts"
import * as Receipt from "../Receipt.ts"
import { readRegion } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import type { ArchiveWriterOptions } from "./ArchiveWriter.ts"
import * as SavedSource from "./SavedSource.ts"

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
  const listed = store === undefined ? undefined : Either.getOrUndefined(yield* Effect.either(candidatesOf(store)))
  const ids = receipt !== undefined && concerns(receipt, receipt.image) ? [receipt.image] : idsOf(listed)
  const image = images.find(
    ({ config, manifest }) => ids.includes(config.digest) || (manifest !== undefined && ids.includes(manifest.digest))
  )
  const others = (listed ?? []).filter(
    ({ digest }) =>
      digest !== undefined &&
      digest !== image?.config.digest &&
      digest !== image?.manifest?.digest &&
      digest !== manifestOf(receipt)
  )
  const obstacle =
    others.length > 0
      ? `it holds other images too: ${others.map(({ digest, names }) => names.join(", ") || digest).join("; ")}`
      : receipt !== undefined && image !== undefined && !concerns(receipt, image.config.digest)
        ? "its receipt records more than this image"
        : store !== undefined && store.compression !== "none"
          ? `expected a plain tar, found one compressed with ${store.compression}`
          : undefined
  const recorded = receipt?.details["format"]
  const format =
    Files.formats.find((one) => one === recorded) ??
    (has(OciFiles.indexFile) ? (has(Files.manifestFile) ? "hybrid" : "oci") : "docker")
  return {
    image,
    found:
      listed === undefined
        ? ids
        : listed.map(({ digest, names }) => names.join(", ") || digest || "an image without a name"),
    obstacle,
    options: {
      path: file,
      format,
      names: receipt?.names ?? listed?.[0]?.names ?? image?.names ?? [],
      ...storageOf(receipt, format)
    }
  }
})

const receiptOf = (file: string): Receipt.Receipt | undefined => {
  const target = Files.receiptPath(Files.resolve(file))
  const entry = DirectoryStore.make(path.dirname(target)).lookup(path.basename(target))
  const read = entry?.kind === "file" ? readRegion(entry.region, Json.maxBytes) : undefined
  return read !== undefined && "bytes" in read ? Either.getOrUndefined(Receipt.decode(read.bytes)) : undefined
}

const candidatesOf = (store: ArchiveStore.ArchiveStore): Effect.Effect<ReadonlyArray<Candidate>, SourceError> =>
  store.lookup(Files.manifestFile) !== undefined
    ? SavedSource.candidates(store, store.path, Files.manifestFile)
    : OciSource.candidates(store, store.path)

const idsOf = (listed: ReadonlyArray<Candidate> | undefined): ReadonlyArray<string> =>
  (listed ?? []).flatMap(({ digest }) => digest ?? [])

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
