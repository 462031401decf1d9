/**
 * The manifest that describes an image as it was written: the source's own bytes wherever they still fit, otherwise one
 * made anew, with every change of form said in words for the receipt. The config's bytes are never touched, so the image
 * ID and the diff_ids stay.
 */
import * as crypto from "node:crypto"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import type { Stored } from "./LayerCopy.ts"

/** Whose media types a manifest uses: the image-spec's, or those of Docker's image manifest version 2, schema 2. */
export type Family = "oci" | "docker"

/** A descriptor as JSON (image-spec descriptor.md); further properties are kept. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly [property: string]: unknown
}

export interface WrittenManifest {
  readonly raw: Uint8Array
  readonly descriptor: Descriptor
  /** True when these are the source's bytes. */
  readonly kept: boolean
  /** For the receipt. */
  readonly conversions: ReadonlyArray<string>
}

const familyOf = (mediaType: string): Family => (MediaType.isDocker(mediaType) ? "docker" : "oci")

/** The manifest of an image whose layers were written as `layers` say, in the image's order. */
export const manifestOf = (
  image: Image.Image,
  layers: ReadonlyArray<Stored>,
  wanted: Family | undefined
): WrittenManifest => {
  const source = sourceOf(image)
  const family = wanted ?? source?.family ?? "oci"
  const own = layerConversions(layers)
  if (
    source !== undefined &&
    source.family === family &&
    source.fits &&
    source.layers.every((one, index) => one["digest"] === layers[index]!.digest)
  ) {
    const { digest, mediaType, raw } = image.manifest!
    const descriptor = { mediaType, digest, size: raw.length, ...annotated(image.manifest!.annotations) }
    return { raw, descriptor, kept: true, conversions: own }
  }
  const value =
    source === undefined || source.family !== family
      ? anew(image, layers, family, source)
      : {
          ...source.value,
          config: configDescriptor(image, source),
          layers: layers.map((layer) => layerDescriptor(layer, family, source))
        }
  const raw = Buffer.from(JSON.stringify(value))
  const mediaType = family === "docker" ? MediaType.dockerManifest : MediaType.ociManifest
  const digest = Digest.make("sha256", crypto.createHash("sha256").update(raw).digest("hex"))
  return {
    raw,
    descriptor: { mediaType, digest, size: raw.length, ...annotated(stillTrue(image, layers)) },
    kept: false,
    conversions: [
      ...own,
      source === undefined
        ? `manifest: the source has none; made ${mediaType} ${digest}`
        : source.family === family
          ? `manifest: ${image.manifest!.digest} became ${digest}`
          : `manifest: ${source.mediaType} ${image.manifest!.digest} became ${mediaType} ${digest}${lost(source, family)}`
    ]
  }
}

const annotated = (
  annotations: Readonly<Record<string, string>> = {}
): { readonly annotations?: Readonly<Record<string, string>> } =>
  Object.keys(annotations).length === 0 ? {} : { annotations }

/** Where containerd can have the very bytes from: `containerd.io/distribution.source.HOST`. */
const distributionSource = "containerd.io/distribution.source."

/** What the source's index says of the manifest and holds for the one in its place too: nothing about bytes that were. */
const stillTrue = (
  { annotations: changes = {}, config, manifest }: Image.Image,
  layers: ReadonlyArray<Stored>
): Readonly<Record<string, string>> => {
  const now = new Set<string>([config.digest, ...layers.map(({ digest }) => digest)])
  const { value } = Json.parse(manifest?.raw ?? new Uint8Array())
  const described = Json.isObject(value)
    ? [value["config"], ...(Array.isArray(value["layers"]) ? value["layers"] : [])]
    : []
  const gone = [manifest?.digest, ...described.map((one) => (Json.isObject(one) ? one["digest"] : undefined))].filter(
    (digest): digest is string => typeof digest === "string" && !now.has(digest)
  )
  return Object.fromEntries(
    Object.entries(manifest?.annotations ?? {}).flatMap(([key, stated]) => {
      const text = Object.hasOwn(changes, key) ? changes[key] : stated
      return text === undefined || key.startsWith(distributionSource) || gone.some((digest) => text.includes(digest))
        ? []
        : [[key, text]]
    })
  )
}

/** What is said for the receipt where layers are written without a manifest. */
export const withoutManifest = (image: Image.Image, layers: ReadonlyArray<Stored>): ReadonlyArray<string> => [
  ...layerConversions(layers),
  ...(image.manifest === undefined
    ? []
    : [`manifest: ${image.manifest.mediaType} ${image.manifest.digest} is left out: the format holds none`])
]

const layerConversions = (layers: ReadonlyArray<Stored>): ReadonlyArray<string> =>
  layers.flatMap(({ compression, digest, kept, layer, level }) => {
    const to = kept ? "" : compression === "none" ? "uncompressed " : `${compression} level ${level} `
    return kept && digest === (layer.digest ?? digest)
      ? []
      : [`layer ${layer.index}: ${layer.digest ?? layer.name} became ${to}${digest}`]
  })

interface Source {
  readonly value: Readonly<Record<string, unknown>>
  readonly mediaType: string
  readonly family: Family
  readonly config: Readonly<Record<string, unknown>>
  readonly layers: ReadonlyArray<Readonly<Record<string, unknown>>>
  /** Whether it is a manifest of this very image: a filter leaves the manifest that was there before it. */
  readonly fits: boolean
}

const sourceOf = (image: Image.Image): Source | undefined => {
  if (image.manifest === undefined) return undefined
  const { value: stated } = Json.parse(image.manifest.raw)
  if (!Json.isObject(stated) || !Json.isObject(stated["config"])) return undefined
  const value = image.annotations === undefined ? stated : withAnnotations(stated, image.annotations)
  const layers = Array.isArray(value["layers"]) ? value["layers"].filter(Json.isObject) : []
  return {
    value,
    mediaType: image.manifest.mediaType,
    family: familyOf(image.manifest.mediaType),
    config: stated["config"],
    layers,
    fits:
      stated["config"]["digest"] === image.config.digest &&
      layers.length === image.layers.length &&
      image.manifest.isEdited !== true
  }
}

const withAnnotations = (
  { annotations, ...rest }: Readonly<Record<string, unknown>>,
  changes: NonNullable<Image.Image["annotations"]>
): Readonly<Record<string, unknown>> => {
  const stated = Json.isObject(annotations) ? Object.entries(annotations) : []
  const left = stated.flatMap(([key, text]) => {
    const now = Object.hasOwn(changes, key) ? changes[key] : text
    return now === undefined ? [] : [[key, now]]
  })
  return { ...rest, ...(left.length === 0 ? {} : { annotations: Object.fromEntries(left) }) }
}

/** Another config's bytes are neither embedded in the source's descriptor nor where it says. */
const configDescriptor = ({ config }: Image.Image, source: Source): Readonly<Record<string, unknown>> => {
  const { data, urls, ...rest } = source.config
  const isSame = source.config["digest"] === config.digest
  return { ...(isSame ? source.config : rest), digest: config.digest, size: config.raw.length }
}

const anew = (
  image: Image.Image,
  layers: ReadonlyArray<Stored>,
  family: Family,
  source: Source | undefined
): Readonly<Record<string, unknown>> => ({
  schemaVersion: 2,
  mediaType: family === "docker" ? MediaType.dockerManifest : MediaType.ociManifest,
  config: {
    mediaType: family === "docker" ? MediaType.dockerConfig : MediaType.ociConfig,
    digest: image.config.digest,
    size: image.config.raw.length
  },
  layers: layers.map((layer) => layerDescriptor(layer, family, source)),
  ...(source === undefined || family === "docker" ? {} : pick(source.value, ociFields))
})

/** What an OCI manifest may say about itself; schema 2 has no place for it. */
const ociFields = ["artifactType", "subject", "annotations"]

const pick = (
  value: Readonly<Record<string, unknown>>,
  fields: ReadonlyArray<string>
): Readonly<Record<string, unknown>> =>
  Object.fromEntries(fields.flatMap((field) => (value[field] === undefined ? [] : [[field, value[field]]])))

const lost = (source: Source, family: Family): string => {
  const fields = family === "docker" ? ociFields.filter((field) => source.value[field] !== undefined) : []
  return fields.length === 0 ? "" : `, which cannot hold ${fields.join(", ")}`
}

/** A layer that was kept keeps what its source's descriptor says; anything else there is about other bytes. */
const layerDescriptor = (
  layer: Stored,
  family: Family,
  source: Source | undefined
): Readonly<Record<string, unknown>> => {
  const named = layer.kept ? (layer.layer.digest ?? layer.digest) : layer.digest
  const own = source?.layers.find((one) => one["digest"] === named)
  if (own === undefined)
    return { mediaType: typeFor(layer, family, layer.layer.mediaType), digest: layer.digest, size: layer.size }
  const mediaType = String(own["mediaType"])
  const { annotations, ...rest } = own
  return {
    ...rest,
    digest: layer.digest,
    mediaType:
      familyOf(mediaType) === family && MediaType.layerCompression(mediaType) === layer.compression
        ? mediaType
        : typeFor(layer, family, mediaType),
    ...(annotations === undefined || family === "docker" ? {} : { annotations })
  }
}

const foreign: Readonly<Record<string, string>> = {
  "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
}

/** Layers that may not be distributed stay so. */
const typeFor = (layer: Stored, family: Family, source: string): string => {
  if (layer.kept && !MediaType.isDistributable(source)) {
    const other = family === "oci" ? foreign[source] : Object.keys(foreign).find((key) => foreign[key] === source)
    if (other !== undefined) return other
  }
  return MediaType.layerWith(layer.compression, family === "docker")
}
