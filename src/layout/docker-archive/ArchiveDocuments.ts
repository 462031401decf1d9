/** The documents of an archive that tell which images it holds, made so that all of them tell the same story. */
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import type { Descriptor } from "../Conversion.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import * as OciIndex from "../oci-layout/OciIndex.ts"
import * as Files from "./ArchiveFiles.ts"

type JsonObject = Readonly<Record<string, unknown>>

/** One image to be listed. */
export interface Listed {
  readonly image: Image.Image
  /** Digests of its layers as stored, from the base up. */
  readonly layers: ReadonlyArray<Digest.Digest>
  /** Its manifest; a docker archive has none. */
  readonly manifest: Descriptor | undefined
}

/** What the documents say, each undefined where the format has none. */
export interface Documents {
  /** Entries of manifest.json. */
  readonly saved: ReadonlyArray<JsonObject>
  /** Entries of index.json, and what else stands in it. */
  readonly entries: ReadonlyArray<unknown>
  readonly index: JsonObject
  /** repositories: name to tag to an ID. */
  readonly repositories: ReadonlyMap<string, ReadonlyMap<string, string>>
}

export const empty: Documents = {
  saved: [],
  entries: [],
  index: { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [] },
  repositories: new Map()
}

/** The documents with one more image, which takes its names from any other that had them. */
export const withImage = (documents: Documents, listed: Listed): Documents => ({
  saved: withSaved(documents.saved, listed),
  entries:
    listed.manifest === undefined
      ? documents.entries
      : withEntries(documents.entries, listed.image.names, listed.manifest),
  index: documents.index,
  repositories: withRepositories(documents.repositories, listed)
})

/**
 * The documents with an index, or whatever else stands at the top of a graph, under these names, and what refers to it.
 * manifest.json and repositories have no place for it.
 */
export const withGraph = (
  documents: Documents,
  names: ReadonlyArray<string>,
  root: Descriptor,
  referrers: ReadonlyArray<Descriptor>
): Documents => ({
  ...documents,
  entries: OciIndex.merge(withEntries(documents.entries, names, root), referrers)
})

const tagsOf = (image: Image.Image): ReadonlyArray<string> => [
  ...new Set(image.names.flatMap((name) => Files.repoTag(name)?.text ?? []))
]

/** Names that Docker takes for the same one. */
const canonical = (name: string): string => {
  const tagged = Files.repoTag(name)
  return tagged === undefined ? name : Files.canonicalName(tagged.repository, tagged.tag)
}

const strings = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : []

const withSaved = (saved: ReadonlyArray<JsonObject>, { image, layers }: Listed): ReadonlyArray<JsonObject> => {
  const tags = tagsOf(image)
  const taken = new Set(tags.map(canonical))
  const entry = { Config: Digest.blobPath(image.config.digest), Layers: layers.map(Digest.blobPath) }
  const isSame = (one: JsonObject): boolean =>
    one["Config"] === entry.Config && JSON.stringify(one["Layers"] ?? []) === JSON.stringify(entry.Layers)
  const changed = saved.map((one) => {
    const had = strings(one["RepoTags"])
    const left = had.filter((tag) => !taken.has(canonical(tag)))
    const all = isSame(one) ? [...left, ...tags] : left
    return left.length === had.length && all.length === left.length
      ? one
      : { ...one, RepoTags: all.length === 0 ? null : all }
  })
  return changed.some(isSame)
    ? changed
    : // Go's form of no names at all, which every reader knows from `docker save ID`.
      [...changed, { Config: entry.Config, RepoTags: tags.length === 0 ? null : tags, Layers: entry.Layers }]
}

const annotationsOf = (entry: unknown): Readonly<Record<string, unknown>> => {
  const annotations = Json.isObject(entry) ? entry["annotations"] : undefined
  return Json.isObject(annotations) ? annotations : {}
}

const withEntries = (
  entries: ReadonlyArray<unknown>,
  names: ReadonlyArray<string>,
  manifest: Descriptor
): ReadonlyArray<unknown> => {
  let all = entries
  for (const name of names) {
    const tagged = Files.repoTag(name)
    const full = tagged === undefined ? undefined : Files.canonicalName(tagged.repository, tagged.tag)
    all = without(all, (annotations) =>
      annotations[OciFiles.containerdName] === undefined
        ? annotations[OciFiles.refName] === name
        : annotations[OciFiles.containerdName] === full
    )
    const refTaken = (ref: string): boolean => all.some((entry) => annotationsOf(entry)[OciFiles.refName] === ref)
    all = [
      ...all,
      {
        ...manifest,
        annotations: {
          ...manifest.annotations,
          ...(full === undefined ? {} : { [OciFiles.containerdName]: full }),
          // Docker's choice is the tag alone; with several images in one archive the tag may name another one already.
          [OciFiles.refName]: tagged === undefined || refTaken(tagged.tag) ? name : tagged.tag
        }
      }
    ]
  }
  const listed = all.some((entry) => Json.isObject(entry) && entry["digest"] === manifest.digest)
  return onceEach(listed ? all : [...all, manifest])
}

/** Takes the name from entries that have it; one that is left without any stays as a nameless entry. */
const without = (
  entries: ReadonlyArray<unknown>,
  has: (annotations: Readonly<Record<string, unknown>>) => boolean
): ReadonlyArray<unknown> =>
  entries.map((entry) => {
    if (!Json.isObject(entry) || !has(annotationsOf(entry))) return entry
    const { annotations, ...rest } = entry
    const left = OciFiles.withoutNames(annotations as JsonObject)
    return Object.keys(left).length === 0 ? rest : { ...rest, annotations: left }
  })

/** Nameless entries say nothing where another one of the same manifest says all that they do. */
const onceEach = (entries: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const isNameless = (entry: unknown): entry is JsonObject => {
    const annotations = annotationsOf(entry)
    return (
      Json.isObject(entry) &&
      annotations[OciFiles.refName] === undefined &&
      annotations[OciFiles.containerdName] === undefined
    )
  }
  const says = (other: unknown, entry: JsonObject): boolean =>
    Json.isObject(other) &&
    other["digest"] === entry["digest"] &&
    Object.entries(annotationsOf(entry)).every(([key, text]) => annotationsOf(other)[key] === text)
  return entries.filter(
    (entry, index) =>
      !isNameless(entry) ||
      !entries.some(
        (other, at) => at !== index && says(other, entry) && (!isNameless(other) || at < index || !says(entry, other))
      )
  )
}

const withRepositories = (
  repositories: Documents["repositories"],
  { image, layers }: Listed
): Documents["repositories"] => {
  const taken = new Set(image.names.map(canonical))
  const all = new Map<string, Map<string, string>>()
  for (const [name, tags] of repositories) {
    const left = [...tags].filter(([tag]) => !taken.has(canonical(`${name}:${tag}`)))
    if (left.length > 0) all.set(name, new Map(left))
  }
  for (const name of image.names) {
    const tagged = Files.repoTag(name)
    if (tagged === undefined) continue
    // The legacy ID of an image was that of its top layer; Docker 25 puts that layer's digest here.
    const id = Digest.encodedOf(layers.at(-1) ?? image.config.digest)
    all.set(tagged.repository, new Map([...(all.get(tagged.repository) ?? []), [tagged.tag, id]]))
  }
  return all
}

/** The documents of a format as files, in the order in which they stand in the archive. */
export const files = (
  documents: Documents,
  format: Files.Format
): ReadonlyArray<readonly [name: string, bytes: Uint8Array]> => {
  const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
  const repositories = Object.fromEntries(
    [...documents.repositories].map(([name, tags]) => [name, Object.fromEntries(tags)])
  )
  const oci: ReadonlyArray<readonly [string, Uint8Array]> = [
    [OciFiles.indexFile, json({ ...documents.index, manifests: documents.entries })]
  ]
  const docker: ReadonlyArray<readonly [string, Uint8Array]> = [[Files.manifestFile, json(documents.saved)]]
  return [
    ...(format === "docker" ? [] : oci),
    ...(format === "oci" ? [] : docker),
    ...(format === "docker" ? [] : [[OciFiles.layoutFile, OciFiles.layoutBytes] as const]),
    ...(format === "oci" || documents.repositories.size === 0
      ? []
      : [[Files.repositoriesFile, json(repositories)] as const])
  ]
}
