/** Where manifest.json, repositories and index.json are all there, they tell the same story (rule 92). */

import * as path from "node:path"
import type { Collector } from "../../check/Collector.ts"
import { checkDescriptor } from "../../check/DescriptorChecks.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import * as Reference from "../../image/Reference.ts"
import type { Region } from "../../image/Region.ts"
import type { LayerAudit } from "../LayerAudit.ts"
import type { EntryName, LayoutImage } from "../oci-layout/LayoutAudit.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import type { Store } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import * as LegacyAudit from "./LegacyAudit.ts"
import * as Repositories from "./Repositories.ts"
import { type AuditedImage, promisedDigest } from "./SavedAudit.ts"

/** The digest by which manifest.json means a config. */
export const configOf = ({ id, saved }: AuditedImage): string | undefined =>
  (saved.config === undefined ? undefined : promisedDigest(saved.config)) ?? id

/** manifest.json against index.json. */
export const compareIndex = (
  saved: ReadonlyArray<AuditedImage>,
  layout: ReadonlyArray<LayoutImage>,
  report: Collector
): void => {
  report.ran("archive.index-mismatch", "archive.unlisted")
  const byConfig = new Map<string, Array<LayoutImage>>()
  const artifacts = new Map<string, Array<LayoutImage>>()
  for (const image of layout) {
    if (image.kind === "broken" || image.config === undefined) continue
    const same = image.kind === "image" ? byConfig : artifacts
    const known = same.get(image.config)
    if (known === undefined) same.set(image.config, [image])
    else known.push(image)
  }
  const known = new Map<string, LayerLists>()
  const listsOf = (config: string, same: ReadonlyArray<LayoutImage>): LayerLists => {
    const found = known.get(config) ?? layerLists(same)
    known.set(config, found)
    return found
  }
  const tagsByConfig = new Map<string, Set<string>>()
  for (const image of saved) {
    const config = configOf(image)
    if (config === undefined) continue
    if (image.isArtifact) {
      compareLayers(image, listsOf(`artifact ${config}`, artifacts.get(config) ?? []), report)
      continue
    }
    const tags = tagsByConfig.get(config) ?? new Set()
    for (const name of image.saved.names) tags.add(name)
    tagsByConfig.set(config, tags)
    const same = byConfig.get(config)
    if (same === undefined && image.saved.names.length === 0) {
      report.report("archive.unlisted", image.saved.subject, "it has no name, and index.json does not list it")
    } else if (same === undefined) {
      report.report("archive.index-mismatch", image.saved.subject, "no image of index.json has its config", {
        expected: config,
        actual: [...byConfig.keys()].slice(0, 3).join(", ") || "no image"
      })
    } else compareLayers(image, listsOf(config, same), report)
  }
  for (const [config, tags] of tagsByConfig) {
    const images = byConfig.get(config)
    if (images !== undefined)
      compareNames(
        config,
        tags,
        images.flatMap((image) => image.names),
        report
      )
  }
  for (const { config, digest, direct, kind, label } of layout) {
    // What an index lists for other platforms, manifest.json cannot: docker load knows one.
    if (kind === "image" && direct && config !== undefined && !tagsByConfig.has(config)) {
      report.report("archive.index-mismatch", OciFiles.indexFile, `manifest.json does not have ${label}`, {
        expected: `an image with the config ${config}`,
        actual: `only ${digest} in index.json`
      })
    }
  }
}

const list = (digests: ReadonlyArray<string | undefined>): string => digests.map((one) => one ?? "nothing").join(", ")

/** Layers of all images that have one config, as text. */
interface LayerLists {
  readonly first: string
  readonly all: ReadonlySet<string>
}

const layerLists = (same: ReadonlyArray<LayoutImage>): LayerLists => {
  const all = new Set(same.map((image) => list(image.layers)))
  return { first: [...all][0]!, all }
}

const compareLayers = ({ saved }: AuditedImage, lists: LayerLists, report: Collector): void => {
  const own = saved.layers?.map(Files.blobDigest)
  if (own === undefined || own.some((digest) => digest === undefined)) return
  if (lists.all.has(list(own))) return
  report.report(
    "archive.index-mismatch",
    saved.subject,
    "its layers are not those of the image in index.json with its config",
    {
      expected: lists.first.slice(0, 500),
      actual: list(own).slice(0, 500)
    }
  )
}

/** Names that both give have to agree; either may be without any. */
const compareNames = (
  config: string,
  tags: ReadonlySet<string>,
  names: ReadonlyArray<EntryName>,
  report: Collector
): void => {
  const given = names
    .map((name) => (name.whole !== undefined && isPlace(name.whole) ? { ...name, whole: undefined } : name))
    .filter(({ ref, whole }) => ref !== undefined || whole !== undefined)
  if (tags.size === 0 || given.length === 0) return
  const whole = new Set(given.flatMap((name) => (name.whole === undefined ? [] : [Reference.familiar(name.whole)])))
  const refs = new Set(given.flatMap((name) => (name.whole === undefined ? [name.ref!] : [])))
  for (const ref of [...refs]) whole.add(Reference.familiar(ref))
  const familiar = new Set([...tags].map(Reference.familiar))
  const bare = new Set([...tags].map((tag) => Reference.split(tag).tag))
  // A reference name may be the tag alone.
  const left = [...tags].filter(
    (tag) => !whole.has(Reference.familiar(tag)) && !refs.has(Reference.split(tag).tag ?? "")
  )
  const right = given.filter(
    (name) =>
      !familiar.has(Reference.familiar(name.whole ?? name.ref!)) && (name.whole !== undefined || !bare.has(name.ref))
  )
  if (left.length === 0 && right.length === 0) return
  report.report(
    "archive.index-mismatch",
    OciFiles.indexFile,
    `the image with the config ${Digest.short(config)} has other names than in manifest.json`,
    {
      expected: shown([...tags]),
      actual: shown(given.map((name) => name.whole ?? name.ref!))
    }
  )
}

/** regctl calls an image that comes out of a layout by where that was, `ocidir://PATH:TAG`. */
const isPlace = (name: string): boolean => name.includes("://")

/** One image can have thousands of names. */
const shown = (names: ReadonlyArray<string>): string =>
  names.length <= 20 ? names.join(", ") : `${names.slice(0, 20).join(", ")} and ${names.length - 20} more`

/** manifest.json against repositories. */
export const compareRepositories = (
  store: Store,
  saved: ReadonlyArray<AuditedImage>,
  repositories: ReadonlyArray<Repositories.RepositoryTag>,
  report: Collector
): void => {
  report.ran("archive.repositories-mismatch", "repositories.not-top")
  const byName = new Map<string, Set<AuditedImage>>()
  for (const image of saved) {
    for (const tag of image.saved.names) {
      const key = Reference.familiar(tag)
      byName.set(key, (byName.get(key) ?? new Set()).add(image))
    }
  }
  const listed = new Set(repositories.map(({ name }) => Reference.familiar(name)))
  for (const { id, name } of repositories) {
    const named = [...(byName.get(Reference.familiar(name)) ?? [])].slice(0, maxNamed)
    if (named.length === 0) {
      report.report(
        "archive.repositories-mismatch",
        Files.repositoriesFile,
        `manifest.json does not have ${JSON.stringify(name)}`,
        {
          expected:
            saved
              .flatMap((image) => image.saved.names)
              .slice(0, 5)
              .join(", ") || "no names",
          actual: name
        }
      )
      continue
    }
    const meant = Repositories.layerOf(store, id)
    const tops = named.map((image) => topLayer(store, image))
    if (meant === undefined || tops.some((top) => top === undefined || isSame(top, meant))) continue
    if (named.some((image) => isOneOfLoose(store, image, meant))) {
      report.report(
        "repositories.not-top",
        Files.repositoriesFile,
        `${JSON.stringify(name)} is not the image's top layer`,
        {
          expected: named.map((image) => image.saved.layers?.at(-1)).join(" or "),
          actual: id
        }
      )
    } else {
      report.report(
        "archive.repositories-mismatch",
        Files.repositoriesFile,
        `${JSON.stringify(name)} is another image than in manifest.json`,
        {
          expected: named.map((image) => image.saved.layers?.at(-1) ?? "no layer").join(" or "),
          actual: id
        }
      )
    }
  }
  for (const {
    saved: { names, subject }
  } of saved) {
    for (const tag of names) {
      if (!listed.has(Reference.familiar(tag))) {
        report.report("archive.repositories-mismatch", subject, `repositories does not have ${JSON.stringify(tag)}`, {
          expected: tag,
          actual:
            repositories
              .slice(0, 5)
              .map(({ name }) => name)
              .join(", ") || "no names"
        })
      }
    }
  }
}

/** A name belongs to one image; where it is given to more, some of them tell as much as all. */
const maxNamed = 100

const topLayer = (store: Store, { saved }: AuditedImage): Region | undefined => {
  const top = saved.layers?.at(-1)
  const entry = top === undefined ? undefined : store.lookup(top)
  return entry?.kind === "file" ? entry.region : undefined
}

/**
 * True when `meant` is a layer of an image whose legacy layers stand on nothing: without parents an ID stands for a single
 * layer, and none of them for the image.
 */
const isOneOfLoose = (store: Store, { saved }: AuditedImage, meant: Region): boolean => {
  const layers = (saved.layers ?? []).map((name) => ({ name, entry: store.lookup(name) }))
  return (
    layers.some(({ entry }) => entry?.kind === "file" && isSame(entry.region, meant)) &&
    layers.every(({ name }) => name.endsWith("/layer.tar") && LegacyAudit.isLoose(store, path.posix.dirname(name)))
  )
}

const isSame = (one: Region, other: Region): boolean => one.path === other.path && one.offset === other.offset

/** Descriptors of layers that Docker and regctl put beside the paths. */
export const layerSources = (
  store: Store,
  manifest: unknown,
  saved: ReadonlyArray<AuditedImage>,
  audit: LayerAudit,
  report: Collector
): void => {
  if (!Array.isArray(manifest)) return
  const items = manifest.filter(Json.isObject)
  for (const [position, image] of saved.entries()) {
    const sources = items[position]?.["LayerSources"]
    if (sources === undefined || sources === null) continue
    report.ran("archive.layer-sources-mismatch")
    const { subject } = image.saved
    if (!Json.isObject(sources)) {
      report.report("archive.layer-sources-mismatch", subject, "LayerSources is not an object", {
        expected: "an object",
        actual: Json.typeName(sources)
      })
      continue
    }
    const stored = new Map(image.saved.layers?.map((name) => [Files.blobDigest(name), name]) ?? [])
    const diffIds = image.config?.diffIds === undefined ? undefined : new Set(image.config.diffIds)
    for (const [key, value] of Object.entries(sources))
      layerSource(store, image, { stored, diffIds }, key, value, audit, report)
  }
}

interface Known {
  /** Names of layers by their digests; under undefined one that has none. */
  readonly stored: ReadonlyMap<string | undefined, string>
  readonly diffIds: ReadonlySet<string> | undefined
}

const layerSource = (
  store: Store,
  image: AuditedImage,
  { diffIds, stored }: Known,
  key: string,
  value: unknown,
  audit: LayerAudit,
  report: Collector
): void => {
  const { layers, subject } = image.saved
  const field = `LayerSources[${JSON.stringify(key.slice(0, 200))}]`
  const descriptor = checkDescriptor(value, field, subject, report)
  const digest = descriptor?.digest
  // A foreign layer is described as its urls have it, while its path holds it as a plain tar.
  if (digest === undefined || descriptor!.urls.length > 0 || !MediaType.isDistributable(descriptor!.mediaType ?? ""))
    return
  const mismatch = (message: string, expected: string | number, actual: string | number): void =>
    report.report("archive.layer-sources-mismatch", subject, `${field} ${message}`, { expected, actual })
  // Docker's keys are diff_ids, regctl's the digests of the layers as stored.
  if (key !== digest && diffIds !== undefined && !diffIds.has(key)) {
    mismatch("is for no layer of the image", "a diff_id of the config", key.slice(0, 200))
  }
  const path = stored.get(digest)
  if (path === undefined) {
    if (layers !== undefined && !stored.has(undefined))
      mismatch("describes none of the layers listed", layers.slice(0, 5).join(", ").slice(0, 300), digest)
    return
  }
  const entry = store.lookup(path)
  if (entry?.kind === "file" && descriptor!.size !== undefined && entry.region.size !== descriptor!.size) {
    mismatch("has another size than the layer", count(entry.region.size, "byte"), count(descriptor!.size, "byte"))
  }
  const compression =
    descriptor!.mediaType === undefined ? undefined : MediaType.layerCompression(descriptor!.mediaType)
  const layer = image.layers[layers?.indexOf(path) ?? -1]
  if (layer !== undefined && compression !== undefined)
    audit.compression(layer, { value: compression, by: `${field} of ${subject}` })
}
