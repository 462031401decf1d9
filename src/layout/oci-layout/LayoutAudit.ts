/**
 * Everything that an OCI image layout holds, followed from index.json: each document read and judged once, each other
 * blob said to the audit of blobs, however many images share it (image-layout.md; rules 1-46, 57-60, 100).
 */

import { imageName, refName } from "../../check/AnnotationChecks.ts"
import type { CheckId } from "../../check/Catalog.ts"
import type { Collector } from "../../check/Collector.ts"
import * as ConfigChecks from "../../check/ConfigChecks.ts"
import { type Descriptor, descriptorChecks } from "../../check/DescriptorChecks.ts"
import type { Detail } from "../../check/Finding.ts"
import * as IndexChecks from "../../check/IndexChecks.ts"
import * as ManifestChecks from "../../check/ManifestChecks.ts"
import { checkNames } from "../../check/NameChecks.ts"
import * as Hasher from "../../content/Hasher.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import * as Platform from "../../image/Platform.ts"
import type { Region } from "../../image/Region.ts"
import * as Document from "../Document.ts"
import { type BlobChecks, type BlobKey, type LayerAudit, layerChecks, statement } from "../LayerAudit.ts"
import { readJson, type Store, type StoreChild } from "../Store.ts"
import { Blobs } from "./Blobs.ts"
import * as ChunkedLayer from "./ChunkedLayer.ts"
import * as Documents from "./OciDocument.ts"
import * as Files from "./OciFiles.ts"
import { type Absent, auditRest, blobChecks, type Walked } from "./UnreferencedBlobs.ts"

/** What an entry of index.json calls an image. */
export interface EntryName {
  /** The whole name, where the entry says one. */
  readonly whole: string | undefined
  /** Its reference name: a tag, or a whole name as some tools write it. */
  readonly ref: string | undefined
}

/** One manifest, or what stands in for one that could not be reached. */
export interface LayoutImage {
  /** For people: names, and the platform of one of many. */
  readonly label: string
  readonly names: ReadonlyArray<EntryName>
  readonly digest: string
  readonly platform: Platform.Platform | undefined
  /** `image`: it has an image's config. `broken`: nothing is known but that something is wrong. */
  readonly kind: "image" | "artifact" | "broken"
  /** Listed in index.json itself, not in an index that it lists. */
  readonly direct: boolean
  readonly config: Digest.Digest | undefined
  /** Digests as stored, base first; undefined where a descriptor has none. */
  readonly layers: ReadonlyArray<Digest.Digest | undefined>
  /** Media types by the names of blobs that the manifest lists as layers and that are of no layer's type. */
  readonly otherTypes: ReadonlyMap<string, string>
  /** Whether its config has no diff_ids for those of them that no root file system is made of. */
  readonly withoutDiffIds: boolean
  /** What findings that concern this image name as their subject. */
  readonly subjects: ReadonlySet<string>
}

export interface AuditedLayout {
  /** Whether index.json could be read as an index. */
  readonly readable: boolean
  /** Every entry of index.json, followed or not. */
  readonly entries: ReadonlyArray<IndexChecks.IndexEntry>
  readonly images: ReadonlyArray<LayoutImage>
  /** Documents that were read and hashed, by their names in the layout. */
  readonly documents: ReadonlyMap<string, { readonly size: number; readonly sha256: string }>
  /**
   * Looks at what nothing refers to: to be called when everything else has been followed. `known` are names of blobs
   * that something outside the layout's own documents refers to.
   */
  readonly rest: (known: ReadonlySet<string>) => void
}

export interface LayoutOptions {
  /** Only entries of index.json for which this holds are followed. */
  readonly only?: (entry: IndexChecks.IndexEntry) => boolean
  /** False where index.json is not a layout's: neither oci-layout nor blobs/ is asked for. */
  readonly frame?: boolean
}

/** Deeper than any producer nests. */
const maxIndexes = 32

/** Ways through indexes to images, of which hostile ones have as many as entries times entries. */
const maxWays = 200_000

const configBlobChecks: BlobChecks = {
  size: "config.size-mismatch",
  digest: "config.digest-mismatch",
  unreadable: "config.unreadable"
}

/** Follows a layout from its index.json and reports what is wrong at fast depth; `audit` gets the blobs to be read. */
export const auditLayout = (
  store: Store,
  audit: LayerAudit,
  report: Collector,
  options: LayoutOptions = {}
): AuditedLayout => {
  const walk = new Walk(store, audit, report)
  walk.frame(options.frame ?? true)
  const entries = walk.root(options.only ?? (() => true))
  return {
    readable: entries !== undefined,
    entries: entries ?? [],
    images: walk.found(),
    documents: walk.documents(),
    rest: (known) => auditRest(walk.walked, known)
  }
}

/** What an index entry, a manifest or a subject says about the document it refers to. */
interface Reference {
  readonly descriptor: Descriptor
  /** For messages: who says it. */
  readonly by: string
  readonly platform: Platform.Platform | undefined
  readonly names: ReadonlyArray<EntryName>
  /** Subjects of the indexes on the way here. */
  readonly above: ReadonlyArray<string>
  /** Indexes on the way here, index.json aside. */
  readonly indexes: ReadonlyArray<string>
}

interface Found {
  readonly path: string
  readonly digest: string
  kind: LayoutImage["kind"]
  direct: boolean
  platform: Platform.Platform | undefined
  config: Digest.Digest | undefined
  checked: ConfigChecks.CheckedConfig | undefined
  layers: ReadonlyArray<Digest.Digest | undefined>
  readonly otherTypes: Map<string, string>
  withoutDiffIds: boolean
  readonly names: Map<string, EntryName>
  readonly subjects: Set<string>
}

/** A document that was read. */
interface Read {
  readonly size: number
  readonly sha256: string | undefined
  /** Whether it parses. */
  readonly parsed: boolean
  /** Until it has been judged: thousands of documents would fill the memory. */
  value: unknown
}

class Walk {
  readonly #store: Store
  readonly #audit: LayerAudit
  readonly #report: Collector
  readonly #blobs: Blobs
  readonly #documents = new Map<string, Read | undefined>()
  readonly #images = new Map<string, Found>()
  /** Manifests that have been judged, with the media type by which they were referred to. */
  readonly #opened = new Map<string, string>()
  readonly #configs = new Map<string, ConfigChecks.CheckedConfig | undefined>()
  /** The images below an index that has been followed. */
  readonly #below = new Map<string, ReadonlySet<string>>()
  readonly #referenced = new Set<string>()
  readonly #absent: Array<Absent> = []
  readonly #subjects: Array<Reference> = []
  readonly #told = new Set<string>()
  /** Digests of layers, one string for each, however many manifests list it. */
  readonly #digests = new Map<string, Digest.Digest>()
  /** Of tables in layers, by the annotation and the layer's digest. */
  readonly #positions = new Map<string, string>()
  #ways = 0

  constructor(store: Store, audit: LayerAudit, report: Collector) {
    this.#store = store
    this.#audit = audit
    this.#report = report
    this.#blobs = new Blobs(store)
  }

  #once(check: CheckId, subject: string, message: string, detail: Detail = {}): void {
    const key = `${check}\0${subject}`
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#report.report(check, subject, message, detail)
  }

  /** The version file and the directory of blobs (rules 35, 36). */
  frame(expected: boolean): void {
    const report = this.#report
    report.ran(...descriptorChecks, ...ManifestChecks.manifestChecks, ...IndexChecks.indexChecks, ...ownChecks)
    if (!expected) return
    const blobs = this.#store.lookup(Files.blobs)
    if (blobs?.kind !== "directory") {
      report.report(
        "oci-layout.no-blobs",
        Files.blobs,
        blobs === undefined ? "it does not exist" : "it is no directory",
        {
          expected: "a directory",
          actual: blobs === undefined ? "nothing" : Document.whatIs(blobs)
        }
      )
    }
    const entry = this.#store.lookup(Files.layoutFile)
    if (entry === undefined) {
      report.report("oci-layout.missing", Files.layoutFile, "it does not exist", {
        expected: "a JSON object",
        actual: "nothing"
      })
      return
    }
    const document = Document.readEntry(entry, Files.layoutFile, Documents.layoutFileChecks, report)
    if (document?.value === undefined) return
    if (!Json.isObject(document.value)) {
      report.report("oci-layout.invalid-json", Files.layoutFile, "it is not a JSON object", {
        expected: "an object",
        actual: Json.typeName(document.value)
      })
      return
    }
    checkNames(document.value, ["imageLayoutVersion"], "", Files.layoutFile, report)
    const version = document.value["imageLayoutVersion"]
    if (version !== Files.layoutVersion) {
      report.report("oci-layout.bad-version", Files.layoutFile, "imageLayoutVersion is not 1.0.0", {
        expected: '"1.0.0"',
        actual: version === undefined ? "nothing" : JSON.stringify(version).slice(0, 100)
      })
    }
  }

  /** index.json and everything behind it; its entries, unless it is no index. */
  root(only: (entry: IndexChecks.IndexEntry) => boolean): ReadonlyArray<IndexChecks.IndexEntry> | undefined {
    const report = this.#report
    const entry = this.#store.lookup(Files.indexFile)
    if (entry === undefined) {
      report.report("index.missing", Files.indexFile, "it does not exist", {
        expected: "an image index",
        actual: "nothing"
      })
      return undefined
    }
    const document = Document.readEntry(entry, Files.indexFile, Documents.indexChecks, report)
    if (document?.value === undefined) return undefined
    const unlisted = isUnlisted(this.#store, document.value)
    if (unlisted) report.report("archive.unlisted", Files.indexFile, "it lists no image of manifest.json")
    const index = IndexChecks.checkIndex(
      unlisted ? { ...document.value, manifests: [] } : document.value,
      undefined,
      Files.indexFile,
      report
    )
    if (index === undefined) return undefined
    if (index.entries.length === 0 && Array.isArray((document.value as { readonly manifests?: unknown }).manifests)) {
      report.report("index.empty", Files.indexFile, "it lists no image")
    }
    names(index.entries, report)
    for (const one of index.entries) {
      if (only(one)) this.#follow(referenceOf(one, Files.indexFile, [entryName(one)], [], []))
    }
    if (index.subject !== undefined) this.#subject(index.subject, Files.indexFile)
    // Subjects can form long chains: one after the other, not one inside the other.
    for (let next = this.#subjects.pop(); next !== undefined; next = this.#subjects.pop()) this.#follow(next)
    return index.entries
  }

  /** The manifests that something below this reference led to. */
  #follow(reference: Reference): ReadonlySet<string> {
    const { digest, mediaType } = reference.descriptor
    if (this.#ways > maxWays) {
      this.#once(
        "index.too-many-entries",
        Files.indexFile,
        "its entries lead to images in more ways than are looked at",
        {
          expected: `at most ${maxWays}`,
          actual: "more"
        }
      )
      return nothing
    }
    switch (mediaType === undefined ? "other" : MediaType.kind(mediaType)) {
      case "manifest":
        return this.#manifest(reference)
      case "index":
        return this.#index(reference)
      case "layer":
        this.#blob(reference.descriptor, reference.by, "layer", layerChecks, "layer.missing")
        return nothing
      default:
        // An index may list more than an export of some of its platforms holds.
        if (
          digest !== undefined &&
          mediaType !== undefined &&
          reference.indexes.length > 0 &&
          this.#blobs.find(digest) === undefined
        ) {
          this.#absent.push({ path: Digest.blobPath(digest), by: reference.by, platform: undefined })
          return nothing
        }
        // What is of an unknown type is no error, and not looked into (image-index.md).
        this.#blob(reference.descriptor, reference.by, "blob", blobChecks, "blob.missing")
        if (digest === undefined || mediaType === undefined)
          return this.#broken(reference, digest === undefined ? reference.by : Digest.blobPath(digest))
        this.#report.skip(
          "manifest.missing-field",
          `of content of type ${JSON.stringify(mediaType.slice(0, 100))} size and digest are compared, and nothing in it`
        )
        return nothing
    }
  }

  #broken(reference: Reference, path: string): ReadonlySet<string> {
    const found = this.#found(path, reference)
    return new Set([found.path])
  }

  #found(path: string, reference: Reference): Found {
    const known = this.#images.get(path)
    const found: Found = known ?? {
      path,
      digest: reference.descriptor.digest ?? "",
      kind: "broken",
      direct: false,
      platform: undefined,
      config: undefined,
      checked: undefined,
      layers: [],
      otherTypes: new Map(),
      withoutDiffIds: false,
      names: new Map(),
      // What is wrong with the layout as a whole is wrong for each of its images.
      subjects: new Set([path, Files.layoutFile, Files.blobs])
    }
    this.#images.set(path, found)
    this.#mention(found, reference)
    return found
  }

  /** Another way that leads to an image. */
  #mention(found: Found, { above, indexes, names, platform }: Reference): void {
    this.#ways++
    if (indexes.length === 0 && above.length > 0) found.direct = true
    else found.platform ??= platform
    for (const name of names) found.names.set(`${name.whole}\0${name.ref}`, name)
    for (const subject of above) found.subjects.add(subject)
  }

  // -- indexes -------------------------------------------------------------------------------------------------------

  #index(reference: Reference): ReadonlySet<string> {
    const { descriptor, indexes } = reference
    if (descriptor.digest === undefined) return this.#broken(reference, reference.by)
    const path = Digest.blobPath(descriptor.digest)
    if (indexes.includes(path)) {
      this.#once("index.cycle", path, `${reference.by} leads back to it`)
      return nothing
    }
    if (indexes.length >= maxIndexes) {
      this.#once("index.too-deep", path, "it is not followed any further", {
        expected: `at most ${maxIndexes} levels`,
        actual: count(indexes.length + 1, "level")
      })
      return nothing
    }
    const document = this.#document(reference, path, Documents.indexChecks)
    if (document === "absent") return nothing
    if (document?.parsed !== true) return this.#broken(reference, path)
    const known = this.#below.get(path)
    if (known !== undefined) {
      const again = { ...reference, indexes: [...indexes, path] }
      for (const image of known) {
        if (this.#ways > maxWays) break
        this.#mention(this.#images.get(image)!, again)
      }
      return known
    }
    const index = IndexChecks.checkIndex(document.value, descriptor.mediaType, path, this.#report)
    document.value = undefined
    if (index === undefined) {
      const broken = this.#broken(reference, path)
      this.#below.set(path, broken)
      return broken
    }
    const below = new Set<string>()
    for (const one of index.entries) {
      const inner = referenceOf(one, path, reference.names, reference.above, [...indexes, path])
      for (const image of this.#follow(inner)) below.add(image)
      if (this.#ways > maxWays) break
    }
    if (index.subject !== undefined) this.#subject(index.subject, path)
    this.#below.set(path, below)
    return below
  }

  // -- manifests -----------------------------------------------------------------------------------------------------

  #manifest(reference: Reference): ReadonlySet<string> {
    const { descriptor } = reference
    if (descriptor.digest === undefined) return this.#broken(reference, reference.by)
    const path = Digest.blobPath(descriptor.digest)
    const document = this.#document(reference, path, Documents.manifestChecks)
    if (document === "absent") return nothing
    if (document?.parsed !== true) return this.#broken(reference, path)
    const found = this.#found(path, reference)
    const declared = this.#opened.get(path)
    if (declared === undefined) {
      this.#opened.set(path, descriptor.mediaType!)
      this.#open(found, document.value, descriptor)
      document.value = undefined
    } else if (declared !== descriptor.mediaType) {
      this.#report.report(
        "manifest.media-type-mismatch",
        path,
        `${reference.by} refers to it by another media type than others do`,
        {
          expected: declared,
          actual: descriptor.mediaType
        }
      )
    }
    if (reference.platform !== undefined && found.checked !== undefined) {
      IndexChecks.checkPlatform(reference.platform, found.checked, path, reference.by, this.#report)
    }
    return new Set([path])
  }

  /** A manifest met for the first time. */
  #open(found: Found, value: unknown, { mediaType }: Descriptor): void {
    const { path } = found
    const manifest = ManifestChecks.checkManifest(value, mediaType!, path, this.#report)
    if (manifest === undefined) return
    const { config, layers } = manifest
    const isImage = config?.mediaType !== undefined && MediaType.kind(config.mediaType) === "config"
    found.kind = isImage ? "image" : "artifact"
    found.config = config?.digest
    found.layers = (layers ?? []).map((layer) => layer?.digest && this.#shared(layer.digest))
    if (config !== undefined) {
      if (config.digest !== undefined) found.subjects.add(Digest.blobPath(config.digest))
      if (isImage) found.checked = this.#config(config, found)
      // A config of another type is not parsed (manifest.md).
      else this.#blob(config, `config of ${path}`, "blob", configBlobChecks, "config.missing", found)
    }
    const diffIds = found.checked?.diffIds
    // Most give a diff_id to whatever they list; images for containerd's wasm shims have none for their modules.
    const some =
      layers !== undefined &&
      diffIds?.length !== layers.length &&
      diffIds?.length === layers.filter((layer) => isForRootfs(layer)).length
    found.withoutDiffIds = some
    let next = 0
    const keys = (layers ?? []).map((layer, index) => {
      if (layer?.digest !== undefined) {
        const name = Digest.blobPath(layer.digest)
        found.subjects.add(name)
        if (layer.mediaType !== undefined && MediaType.kind(layer.mediaType) !== "layer")
          found.otherTypes.set(name, layer.mediaType)
      }
      if (layer === undefined) return undefined
      if (!isImage) return this.#blob(layer, `layers[${index}] of ${path}`, "blob", blobChecks, "blob.missing", found)
      const diffId = some && !isForRootfs(layer) ? undefined : diffIds?.[next++]
      return this.#layer(layer, index, diffId, found, config!)
    })
    if (isImage) {
      if (layers?.some((layer) => layer?.mediaType !== undefined && MediaType.kind(layer.mediaType) === "layer")) {
        this.#audit.stack(path, keys)
      }
      if (layers !== undefined && diffIds !== undefined && layers.length !== diffIds.length && !some) {
        this.#report.report("layer.count-mismatch", path, "the config has another number of layers than the manifest", {
          expected: `${diffIds.length} diff_ids`,
          actual: count(layers.length, "layer")
        })
      }
    }
    if (manifest.subject !== undefined) this.#subject(manifest.subject, path)
  }

  #shared(digest: Digest.Digest): Digest.Digest {
    const known = this.#digests.get(digest)
    if (known === undefined) this.#digests.set(digest, digest)
    return known ?? digest
  }

  /** What a referrer refers to: it may be elsewhere (manifest.md, subject). */
  #subject(descriptor: Descriptor, by: string): void {
    if (descriptor.digest === undefined) return
    if (this.#blobs.find(descriptor.digest) === undefined) {
      this.#once("blob.absent", Digest.blobPath(descriptor.digest), `it is the subject of ${by}, and not here`)
    } else {
      this.#subjects.push({
        descriptor,
        by: `subject of ${by}`,
        platform: undefined,
        names: [],
        above: [],
        indexes: []
      })
    }
  }

  #config(descriptor: Descriptor, of: Found): ConfigChecks.CheckedConfig | undefined {
    if (descriptor.digest === undefined) return undefined
    const path = Digest.blobPath(descriptor.digest)
    const by = `config of ${of.path}`
    // An artifact may have the same blob as something else: the empty one, for example.
    const asConfig = statement(path, "as", "config")
    of.subjects.add(asConfig)
    const document = this.#document(
      { descriptor, by, platform: undefined, names: [], above: [], indexes: [] },
      path,
      Documents.configChecks,
      of
    )
    if (document === "absent" || document?.parsed !== true) return undefined
    if (this.#configs.has(path)) return this.#configs.get(path)
    const { value } = document
    const form = MediaType.isDocker(descriptor.mediaType!) ? "docker" : "oci"
    const checked = this.#report.countFor(asConfig, () => ConfigChecks.checkConfig(value, form, path, this.#report))
    document.value = undefined
    this.#configs.set(path, checked)
    return checked
  }

  #layer(
    layer: Descriptor,
    index: number,
    diffId: string | undefined,
    of: Found,
    config: Descriptor
  ): BlobKey | undefined {
    const by = `layers[${index}] of ${of.path}`
    const compression = layer.mediaType === undefined ? undefined : MediaType.layerCompression(layer.mediaType)
    const key = this.#blob(layer, by, compression === undefined ? "blob" : "layer", layerChecks, "layer.missing", of)
    const said = diffId !== undefined && Digest.isDigest(diffId) ? diffId : undefined
    if (key === undefined) {
      if (said !== undefined && layer.digest !== undefined) {
        this.#report.skip("layer.diff-id-mismatch", `${Digest.blobPath(layer.digest)} is not here`)
      }
      return undefined
    }
    if (compression === undefined) {
      // Content that is no layer is commonly given its own digest as diff_id; what else it would be taken over, nothing says.
      if (said !== undefined && said !== layer.digest) {
        this.#report.skip(
          "layer.diff-id-mismatch",
          `${by} is of type ${layer.mediaType ?? "unknown"}, which is no layer's`
        )
      }
      return undefined
    }
    this.#tables(layer, key, by, of)
    concern(of, this.#audit.compression(key, { value: compression, by, own: true }))
    if (said !== undefined) {
      const ofConfig = `layer ${index} of ${Digest.blobPath(config.digest!)}`
      concern(of, this.#audit.diffId(key, { value: said, by: ofConfig, own: true }))
    }
    return key
  }

  /** The tables that a layer's annotations say are in it. One layer has one of each, whoever lists it. */
  #tables({ annotations, digest }: Descriptor, key: BlobKey, by: string, of: Found): void {
    this.#report.ran("layer.toc-mismatch")
    for (const { annotation, digest: value, place, position } of ChunkedLayer.tables(annotations)) {
      const name = `${annotation} ${digest}`
      const known = this.#positions.get(name) ?? position
      this.#positions.set(name, known)
      const part = place === undefined || known !== position ? undefined : this.#audit.part(key, place)
      if (part !== undefined) {
        if (value !== undefined)
          concern(of, this.#audit.digest(part, { value, by: `the checksum beside ${annotation} of ${by}`, own: true }))
        continue
      }
      const about = statement(key.subject, annotation, position)
      concern(of, about)
      const detail = {
        expected: known === position ? "offset:size:uncompressed size, within its bytes" : known,
        actual: position.slice(0, 100)
      }
      const message = `${annotation} of ${by} is no place of a table in it`
      this.#report.report("layer.toc-mismatch", key.subject, message, detail, about)
    }
  }

  // -- content -------------------------------------------------------------------------------------------------------

  /**
   * A blob to be read at full depth; answers its key in the audit, or undefined when there is nothing to read. `of`: what
   * has the descriptor in its manifest.
   */
  #blob(
    descriptor: Descriptor,
    by: string,
    as: "layer" | "blob",
    checks: BlobChecks,
    missing: CheckId,
    of?: Found
  ): BlobKey | undefined {
    if (descriptor.digest === undefined) return undefined
    const path = Digest.blobPath(descriptor.digest)
    const region = this.#region(descriptor, path, by, missing, checks.unreadable)
    if (region === undefined) return undefined
    const key = this.#audit.add({ subject: path, region, as }, checks)
    if (descriptor.size !== undefined)
      concern(of, this.#audit.size(key, { value: descriptor.size, by, own: of !== undefined }))
    this.#audit.named(key, path)
    return key
  }

  #region(descriptor: Descriptor, path: string, by: string, missing: CheckId, unreadable: CheckId): Region | undefined {
    this.#referenced.add(path)
    this.#report.ran(missing, unreadable)
    const child = this.#blobs.find(descriptor.digest!)
    if (child === undefined) {
      const reason = mayBeAbsent(descriptor)
      if (reason !== undefined) this.#once("blob.absent", path, `${by} names it, and it is not here: ${reason}`)
      else this.#once(missing, path, `${by} names it, but it does not exist${this.#blobs.hint()}`)
      return undefined
    }
    this.#linked(child, path)
    if (child.entry.kind === "file") return child.entry.region
    this.#once(unreadable, path, "it is no regular file", { expected: "a file", actual: Document.whatIs(child.entry) })
    return undefined
  }

  #linked(child: StoreChild, path: string): void {
    if (child.symlink && child.entry.kind === "file")
      this.#once("blob.symlink", path, "it is a symlink to another file of the layout")
  }

  /**
   * A document by its descriptor: read, hashed and parsed at the first reference, its size compared at each. "absent"
   * when it is allowed not to be here, and is not.
   */
  #document(
    reference: Reference,
    path: string,
    checks: Documents.BlobDocumentChecks,
    of?: Found
  ): Read | "absent" | undefined {
    const { by, descriptor, indexes } = reference
    const report = this.#report
    report.ran(checks.missing, checks.size, checks.digest)
    const known = `${checks.invalid}\0${path}`
    let document = this.#documents.get(known)
    if (document === undefined && !this.#documents.has(known)) {
      this.#referenced.add(path)
      const child = this.#blobs.find(descriptor.digest!)
      if (child === undefined) {
        if (descriptor.data !== undefined) {
          this.#once("blob.absent", path, `${by} names it, and it is not here: ${mayBeAbsent(descriptor)}`)
          document = readOf(Document.parse(descriptor.data, path, checks, report), undefined)
        } else if (indexes.length > 0) {
          this.#absent.push({ path, by, platform: reference.platform })
          return "absent"
        } else {
          this.#once(checks.missing, path, `${by} names it, but it does not exist${this.#blobs.hint()}`)
          return undefined
        }
      } else {
        this.#linked(child, path)
        document = this.#read(child, path, descriptor.digest!, checks)
      }
      this.#documents.set(known, document)
    }
    if (document !== undefined && descriptor.size !== undefined && document.size !== descriptor.size) {
      const about = of === undefined ? undefined : statement(path, "size", descriptor.size)
      concern(of, about)
      const detail = { expected: count(descriptor.size, "byte"), actual: count(document.size, "byte") }
      report.report(checks.size, path, `its size is not what ${by} says`, detail, about)
    }
    return document
  }

  #read(
    child: StoreChild,
    path: string,
    digest: Digest.Digest,
    checks: Documents.BlobDocumentChecks
  ): Read | undefined {
    const report = this.#report
    const document = Document.readEntry(child.entry, path, checks, report)
    if (document === undefined) {
      // Too large to be parsed, it can still be hashed.
      if (child.entry.kind === "file" && child.entry.region.size > Json.maxBytes) {
        const key = this.#audit.add({ subject: path, region: child.entry.region, as: "blob" }, checks)
        this.#audit.named(key, path)
      }
      return undefined
    }
    const actual = Hasher.digestOfBytes(digest, document.raw)
    if (actual === undefined)
      report.skip(checks.digest, `${path}: ${Digest.algorithmOf(digest)} cannot be computed here`)
    else if (actual !== digest) {
      report.report(checks.digest, path, "its bytes are not what its name says", { expected: digest, actual })
    }
    return readOf(document, actual)
  }

  // -- answers -------------------------------------------------------------------------------------------------------

  get walked(): Walked {
    return {
      store: this.#store,
      audit: this.#audit,
      report: this.#report,
      blobs: this.#blobs,
      referenced: this.#referenced,
      absent: this.#absent,
      once: (check, subject, message, detail) => this.#once(check, subject, message, detail),
      linked: (child, path) => this.#linked(child, path)
    }
  }

  found(): ReadonlyArray<LayoutImage> {
    return [...this.#images.values()].map((found) => ({
      label: labelOf(found),
      names: [...found.names.values()],
      digest: found.digest,
      platform: found.platform,
      kind: found.kind,
      direct: found.direct,
      config: found.config,
      layers: found.layers,
      otherTypes: found.otherTypes,
      withoutDiffIds: found.withoutDiffIds,
      subjects: found.subjects
    }))
  }

  documents(): AuditedLayout["documents"] {
    const found = new Map<string, { readonly size: number; readonly sha256: string }>()
    for (const [key, document] of this.#documents) {
      if (document?.sha256 !== undefined)
        found.set(key.slice(key.indexOf("\0") + 1), { size: document.size, sha256: document.sha256 })
    }
    return found
  }
}

/** Whether containerd takes it for a layer, which has a diff_id, whether or not it can unpack it. */
const isForRootfs = (layer: Descriptor | undefined): boolean =>
  layer?.mediaType === undefined ||
  /^application\/vnd\.(?:oci\.image\.layer|docker\.image\.rootfs)\./.test(layer.mediaType)

/** What errors are counted for besides the blobs of an image. */
const concern = (of: Found | undefined, about: string | undefined): void => {
  if (about !== undefined) of?.subjects.add(about)
}

const nothing: ReadonlySet<string> = new Set()

/** Docker 25 lists images by their names: of what was saved by ID its index.json has null, and manifest.json all. */
const isUnlisted = (store: Store, index: unknown): index is Readonly<Record<string, unknown>> => {
  if (!Json.isObject(index) || index["manifests"] !== null) return false
  const entry = store.lookup("manifest.json")
  const read = entry?.kind === "file" ? readJson(entry.region) : undefined
  const saved = read !== undefined && "bytes" in read ? Json.parse(read.bytes).value : undefined
  return (
    Array.isArray(saved) &&
    saved.length > 0 &&
    saved.every((one) => Json.isObject(one) && (one["RepoTags"] === null || one["RepoTags"] === undefined))
  )
}

const readOf = ({ raw, value }: Document.ReadDocument, digest: string | undefined): Read => ({
  size: raw.length,
  sha256: digest?.startsWith("sha256:") ? Digest.encodedOf(digest) : undefined,
  parsed: value !== undefined,
  value
})

const ownChecks: ReadonlyArray<CheckId> = [
  "oci-layout.missing",
  "oci-layout.no-blobs",
  "oci-layout.bad-version",
  "index.missing",
  "index.empty",
  "index.duplicate-name",
  "index.cycle",
  "index.too-deep",
  "layer.count-mismatch"
]

const entryName = ({ descriptor }: IndexChecks.IndexEntry): EntryName => ({
  whole: descriptor.annotations.get(imageName),
  ref: descriptor.annotations.get(refName)
})

const referenceOf = (
  entry: IndexChecks.IndexEntry,
  index: string,
  names: ReadonlyArray<EntryName>,
  above: ReadonlyArray<string>,
  indexes: ReadonlyArray<string>
): Reference => ({
  descriptor: entry.descriptor,
  by: entry.subject,
  platform: entry.platform,
  names,
  above: [...above, index, ...(entry.subject === index ? [] : [entry.subject])],
  indexes
})

/** Which of two images a name means has to be told by something. */
const names = (entries: ReadonlyArray<IndexChecks.IndexEntry>, report: Collector): void => {
  const first = new Map<string, string>()
  const told = new Set<string>()
  for (const entry of entries) {
    const { ref, whole } = entryName(entry)
    const name = whole ?? ref
    const { digest } = entry.descriptor
    if (name === undefined || digest === undefined) continue
    // hauler names an image and cosign's signatures and attestations of it alike, and tells them apart by their kind.
    const what = entry.descriptor.annotations.get("kind") ?? ""
    const key = `${name}\0${entry.platform === undefined ? "" : Platform.show(entry.platform)}\0${what}`
    const known = first.get(key)
    if (known === undefined) first.set(key, digest)
    else if (known !== digest && !told.has(key)) {
      told.add(key)
      report.report("index.duplicate-name", Files.indexFile, `${JSON.stringify(name)} names two images`, {
        expected: known,
        actual: digest
      })
    }
  }
}

/** Why the layout may lack what a descriptor refers to; undefined when it may not. */
const mayBeAbsent = ({ data, mediaType, urls }: Descriptor): string | undefined =>
  data !== undefined
    ? "its content is embedded in the descriptor"
    : mediaType !== undefined && !MediaType.isDistributable(mediaType)
      ? "it may not be distributed"
      : urls.length > 0
        ? "it is to be had from its urls"
        : undefined

const labelOf = (found: Found): string => {
  const names = [...found.names.values()].flatMap(({ ref, whole }) => whole ?? ref ?? [])
  const platform = found.platform ?? (found.direct ? undefined : configPlatform(found.checked))
  return (
    (names.length === 0 ? found.digest || found.path : listed([...new Set(names)])) +
    (platform === undefined || found.direct ? "" : ` (${Platform.show(platform)})`)
  )
}

/** One image can have hundreds of tags. */
const listed = (names: ReadonlyArray<string>): string =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 4).join(", ")} and ${names.length - 4} more`

const configPlatform = (config: ConfigChecks.CheckedConfig | undefined): Platform.Platform | undefined =>
  config?.os && config.architecture
    ? { os: config.os, architecture: config.architecture, ...(config.variant ? { variant: config.variant } : {}) }
    : undefined
