/** Images of an OCI layout, on disk or in an archive, as a source. */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { imageName, refName } from "../../check/AnnotationChecks.ts"
import { Collector } from "../../check/Collector.ts"
import type { Descriptor } from "../../check/DescriptorChecks.ts"
import { checkIndex, type IndexEntry } from "../../check/IndexChecks.ts"
import { type CheckedManifest, checkManifest } from "../../check/ManifestChecks.ts"
import * as Hasher from "../../content/Hasher.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as ImageConfig from "../../image/ImageConfig.ts"
import * as MediaType from "../../image/MediaType.ts"
import type * as Platform from "../../image/Platform.ts"
import * as Document from "../Document.ts"
import { SourceError } from "../Failure.ts"
import type { Candidate } from "../ImageSource.ts"
import type { Store } from "../Store.ts"
import { Blobs } from "./Blobs.ts"
import * as Documents from "./OciDocument.ts"
import * as Files from "./OciFiles.ts"

type Result<A> = Either.Either<A, SourceError>

/** Deeper than any producer nests. */
const maxIndexes = 32
/** More than any index has: what is beyond is no list of images. */
const maxReferences = 100_000

/** What a layout has. */
export interface Contents {
  readonly images: ReadonlyArray<Candidate>
  /** Digests of the configs of what it has besides images. */
  readonly artifacts: ReadonlySet<string>
  /** Why there is no image, although the layout is not empty. */
  readonly none: SourceError | undefined
}

/**
 * Every image that index.json leads to, through nested indexes; one that has several names is one candidate. What an
 * index lists and the layout does not hold is left out, as exports for fewer platforms leave it. Attestations and other
 * artifacts are no candidates. A damaged image is one, whose `load` fails with what is wrong.
 */
export const contents = Effect.fn("OciSource.contents")(function* (store: Store, uri: string) {
  const found = yield* new Reader(store, uri).contents()
  return found
}, HasherLoading.loading)

/** The images alone; that there is none is an error. */
export const candidates = Effect.fn("OciSource.candidates")(function* (store: Store, uri: string) {
  const { images, none } = yield* contents(store, uri)
  return none === undefined ? images : yield* none
})

interface Found {
  readonly names: Set<string>
  /** Of every entry that describes it, but for those that name it. */
  readonly annotations: Map<string, string>
  readonly digest: Digest.Digest
  readonly platform: Platform.Platform | undefined
  readonly config: Digest.Digest | undefined
  readonly isOfTars: boolean
  readonly load: Effect.Effect<Image.Image, SourceError>
}

interface OpenManifest {
  readonly raw: Uint8Array
  readonly mediaType: string
  readonly digest: Digest.Digest
  readonly value: CheckedManifest
  readonly path: string
}

class Reader {
  readonly #store: Store
  readonly #uri: string
  readonly #blobs: Blobs
  readonly #found = new Map<string, Found>()
  #references = 0
  readonly #artifacts = new Set<string>()
  readonly #artifactConfigs = new Set<string>()
  #absent = 0

  constructor(store: Store, uri: string) {
    this.#store = store
    this.#uri = uri
    this.#blobs = new Blobs(store)
  }

  #fail(message: string, reason: SourceError["reason"] = "Damaged"): SourceError {
    return new SourceError({ reason, message: `cannot read ${this.#store.path}: ${message}` })
  }

  contents(): Result<Contents> {
    const entry = this.#store.lookup(Files.indexFile)
    if (entry === undefined) return Either.left(this.#fail("expected index.json, found nothing", "NotAnImage"))
    const report = new Collector()
    const document = Document.readEntry(entry, Files.indexFile, Documents.indexChecks, report)
    const index =
      document?.value === undefined ? undefined : checkIndex(document.value, undefined, Files.indexFile, report)
    const failed = this.#firstError(report, (subject) => subject === Files.indexFile)
    if (failed !== undefined || index === undefined)
      return Either.left(failed ?? this.#fail("index.json cannot be used"))
    for (const one of index.entries) {
      const over = this.#follow(one, nameOf(one), [])
      if (over !== undefined) return Either.left(over)
    }
    const isEmpty = this.#artifacts.size + this.#absent === 0
    return Either.right({
      images: [...this.#found.values()].map(({ config, digest, isOfTars, load, names, platform }) => ({
        names: [...names],
        digest,
        platform,
        config,
        isOfTars,
        load
      })),
      artifacts: this.#artifactConfigs,
      none:
        this.#found.size > 0 || isEmpty
          ? undefined
          : this.#fail(
              this.#artifacts.size > 0
                ? `expected an image, found ${count(this.#artifacts.size, "artifact")} and no image`
                : "expected an image, found an index of images that are not in the layout",
              "NoSuchImage"
            )
    })
  }

  #follow(entry: IndexEntry, name: string | undefined, indexes: ReadonlyArray<string>): SourceError | undefined {
    if (++this.#references > maxReferences)
      return this.#fail(`expected at most ${maxReferences} references, found more`, "Limit")
    const { digest, mediaType } = entry.descriptor
    if (digest === undefined || mediaType === undefined) {
      this.#broken(
        entry,
        name,
        this.#fail(`${entry.subject}: the entry of index.json does not say a digest and a media type`)
      )
      return undefined
    }
    const known = this.#found.get(digest)
    if (known !== undefined) {
      if (name !== undefined) known.names.add(name)
      for (const [key, text] of entry.descriptor.annotations)
        if (!known.annotations.has(key)) known.annotations.set(key, text)
      return undefined
    }
    switch (MediaType.kind(mediaType)) {
      case "manifest":
        this.#manifest(entry, digest, name, indexes)
        return undefined
      case "index":
        return this.#index(entry, digest, name, indexes)
      default:
        this.#artifacts.add(digest)
        return undefined
    }
  }

  /** A candidate that is listed and cannot be loaded. */
  #broken({ descriptor, platform, subject }: IndexEntry, name: string | undefined, error: SourceError): void {
    const digest = descriptor.digest ?? (subject as Digest.Digest)
    this.#found.set(digest, {
      names: new Set(name === undefined ? [] : [name]),
      annotations: new Map(),
      digest,
      platform,
      config: undefined,
      isOfTars: true,
      load: Effect.fail(error)
    })
  }

  #index(
    entry: IndexEntry,
    digest: Digest.Digest,
    name: string | undefined,
    indexes: ReadonlyArray<string>
  ): SourceError | undefined {
    if (indexes.includes(digest)) return this.#fail(`the index ${digest} contains itself`)
    if (indexes.length >= maxIndexes)
      return this.#fail(`expected at most ${maxIndexes} nested indexes, found more`, "Limit")
    if (indexes.length > 0 && this.#blobs.find(digest) === undefined) {
      this.#absent++
      return undefined
    }
    const report = new Collector()
    const read = this.#document(entry.descriptor, digest, Documents.indexChecks, report)
    const path = Digest.blobPath(digest)
    const index = Either.isRight(read)
      ? checkIndex(read.right.value, entry.descriptor.mediaType, path, report)
      : undefined
    const failed = Either.isLeft(read) ? read.left : this.#firstError(report, (subject) => subject === path)
    if (failed !== undefined || index === undefined) {
      this.#broken(entry, name, failed ?? this.#fail(`${path} cannot be used`))
      return undefined
    }
    for (const one of index.entries) {
      const over = this.#follow(one, name, [...indexes, digest])
      if (over !== undefined) return over
    }
    return undefined
  }

  #manifest(entry: IndexEntry, digest: Digest.Digest, name: string | undefined, indexes: ReadonlyArray<string>): void {
    if (indexes.length > 0 && this.#blobs.find(digest) === undefined) {
      this.#absent++
      return
    }
    const manifest = this.#openManifest(entry.descriptor, digest)
    if (Either.isLeft(manifest)) return this.#broken(entry, name, manifest.left)
    const { config, layers } = manifest.right.value
    const isImage = config?.mediaType !== undefined && MediaType.kind(config.mediaType) === "config"
    if (!isImage || isAttestation(entry) || isSignature(layers)) {
      this.#artifacts.add(digest)
      if (!isImage && config?.digest !== undefined) this.#artifactConfigs.add(config.digest)
      return
    }
    const names = new Set(name === undefined ? [] : [name])
    const annotations = new Map(entry.descriptor.annotations)
    const opened = entry.platform === undefined ? this.#openConfig(manifest.right) : undefined
    this.#found.set(digest, {
      names,
      annotations,
      digest,
      platform:
        entry.platform ?? (opened !== undefined && Either.isRight(opened) ? platformOf(opened.right.value) : undefined),
      config: config.digest,
      isOfTars: (layers ?? []).every(
        (layer) => layer?.mediaType === undefined || MediaType.kind(layer.mediaType) === "layer"
      ),
      load: HasherLoading.loading(Effect.suspend(() => this.#load(manifest.right, entry, [...names], annotations)))
    })
  }

  #openManifest(descriptor: Descriptor, digest: Digest.Digest): Result<OpenManifest> {
    const report = new Collector()
    const path = Digest.blobPath(digest)
    const document = this.#document(descriptor, digest, Documents.manifestChecks, report)
    if (Either.isLeft(document)) return Either.left(document.left)
    const value = checkManifest(document.right.value, descriptor.mediaType!, path, report)
    const failed = this.#firstError(report, () => true)
    return failed !== undefined || value === undefined
      ? Either.left(failed ?? this.#fail(`${path} cannot be used`))
      : Either.right({ raw: document.right.raw, mediaType: descriptor.mediaType!, digest, value, path })
  }

  #openConfig(manifest: OpenManifest): Result<Image.Document<ImageConfig.ImageConfig>> {
    const { config } = manifest.value
    const digest = config!.digest!
    const report = new Collector()
    const document = this.#document(config!, digest, Documents.configChecks, report)
    if (Either.isLeft(document)) return Either.left(document.left)
    const failed = this.#firstError(report, () => true)
    if (failed !== undefined) return Either.left(failed)
    const value = ImageConfig.decode(document.right.value)
    return Either.isLeft(value)
      ? Either.left(this.#fail(`${Digest.blobPath(digest)}: ${value.left}`))
      : Either.right({ raw: document.right.raw, value: value.right, digest })
  }

  /** A document whose size and digest are the descriptor's. */
  #document(
    descriptor: Descriptor,
    digest: Digest.Digest,
    checks: Documents.BlobDocumentChecks,
    report: Collector
  ): Result<Document.ReadDocument> {
    const path = Digest.blobPath(digest)
    const child = this.#blobs.find(digest)
    if (child === undefined) return Either.left(this.#fail(`expected ${path}, found nothing${this.#blobs.hint()}`))
    const document = Document.readEntry(child.entry, path, checks, report)
    if (document === undefined)
      return Either.left(this.#firstError(report, () => true) ?? this.#fail(`${path} cannot be read`))
    if (descriptor.size !== undefined && document.raw.length !== descriptor.size) {
      return Either.left(
        this.#fail(`${path}: expected ${count(descriptor.size, "byte")}, found ${document.raw.length}`)
      )
    }
    const actual = Hasher.digestOfBytes(digest, document.raw)
    if (actual === undefined) {
      return Either.left(
        this.#fail(`${path}: expected a digest of ${Digest.known}, found ${Digest.algorithmOf(digest)}`, "Unsupported")
      )
    }
    return actual === digest
      ? Either.right(document)
      : Either.left(this.#fail(`${path} was changed: expected ${digest}, found ${actual}`))
  }

  #firstError(report: Collector, concerns: (subject: string) => boolean): SourceError | undefined {
    const errors = report.results().results.filter((one) => one.severity === "error" && concerns(one.subject))
    const first = errors[0]
    if (first === undefined) return undefined
    const found =
      first.expected === undefined && first.actual === undefined
        ? ""
        : ` (expected ${first.expected ?? "something else"}, found ${first.actual ?? "nothing"})`
    return this.#fail(
      `${first.subject}: ${first.message}${found}${errors.length > 1 ? `; and ${errors.length - 1} more` : ""}`
    )
  }

  #load(
    manifest: OpenManifest,
    entry: IndexEntry,
    names: ReadonlyArray<string>,
    stated: ReadonlyMap<string, string>
  ): Result<Image.Image> {
    const config = this.#openConfig(manifest)
    if (Either.isLeft(config)) return Either.left(config.left)
    const diffIds = config.right.value.rootfs.diff_ids
    const descriptors = manifest.value.layers ?? []
    const { path } = manifest
    if (descriptors.length !== diffIds.length) {
      return Either.left(
        this.#fail(`${path}: expected ${count(diffIds.length, "layer")} as in the config, found ${descriptors.length}`)
      )
    }
    const annotations = Files.withoutNames(Object.fromEntries(stated))
    const layers: Array<Image.Layer> = []
    for (const [index, layer] of descriptors.entries()) {
      const one = this.#layer(layer!, index, diffIds[index]!, path)
      if (Either.isLeft(one)) return Either.left(one.left)
      layers.push(one.right)
    }
    return Either.right({
      names,
      manifest: {
        raw: manifest.raw,
        mediaType: manifest.mediaType,
        digest: manifest.digest,
        ...(Object.keys(annotations).length === 0 ? {} : { annotations })
      },
      config: config.right,
      layers,
      platform: platformOf(config.right.value) ?? entry.platform,
      source: this.#uri
    })
  }

  #layer(layer: Descriptor, index: number, diffId: string, manifest: string): Result<Image.Layer> {
    const digest = layer.digest!
    const mediaType = layer.mediaType!
    const path = Digest.blobPath(digest)
    if (!Digest.isDigest(diffId)) {
      return Either.left(
        this.#fail(`${manifest}: expected a digest as diff_id ${index}, found ${JSON.stringify(diffId.slice(0, 100))}`)
      )
    }
    if (MediaType.layerCompression(mediaType) === undefined) {
      return Either.left(
        this.#fail(`${manifest}: expected layer ${index} to be a tar, found ${mediaType}`, "Unsupported")
      )
    }
    const child = this.#blobs.find(digest)
    if (child === undefined) {
      return Either.left(
        MediaType.isDistributable(mediaType) && layer.urls.length === 0
          ? this.#fail(`expected layer ${index} at ${path}, found nothing`)
          : this.#fail(
              `expected layer ${index} at ${path}, found only where it is to be had: ${layer.urls[0] ?? mediaType}`,
              "Unsupported"
            )
      )
    }
    if (child.entry.kind !== "file") {
      return Either.left(
        this.#fail(`expected layer ${index} at ${path} to be a file, found ${Document.whatIs(child.entry)}`)
      )
    }
    if (layer.size !== undefined && child.entry.region.size !== layer.size) {
      return Either.left(this.#fail(`${path}: expected ${count(layer.size, "byte")}, found ${child.entry.region.size}`))
    }
    return Either.right({ index, name: path, mediaType, diffId, digest, bytes: child.entry.region, edits: [] })
  }
}

const nameOf = ({ descriptor }: IndexEntry): string | undefined =>
  descriptor.annotations.get(imageName) ?? descriptor.annotations.get(refName)

/** BuildKit's provenance and SBOMs, stored like an image for no platform. */
const isAttestation = ({ descriptor, platform }: IndexEntry): boolean =>
  descriptor.annotations.has("vnd.docker.reference.type") ||
  (platform?.os === "unknown" && platform.architecture === "unknown")

/** What cosign and its like store beside an image: with an image's config, and documents in place of layers. */
const isSignature = (layers: CheckedManifest["layers"]): boolean =>
  layers !== undefined &&
  layers.length > 0 &&
  layers.every((layer) => layer?.mediaType !== undefined && documents.test(layer.mediaType))

const documents =
  /^application\/vnd\.(?:dev\.(?:cosign|sigstore)\..+|in-toto\+json|dsse\.envelope\.v1\+json)$|^(?:text|application)\/(?:spdx|vnd\.cyclonedx|vnd\.syft|.*[+.]json$)/

const platformOf = ({ architecture, os, variant }: ImageConfig.ImageConfig): Platform.Platform | undefined =>
  os && architecture ? { os, architecture, ...(variant ? { variant } : {}) } : undefined
