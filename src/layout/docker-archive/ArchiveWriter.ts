/**
 * `tar://PATH`: one archive of images that Docker, Podman, skopeo and containerd all load. The same images give the same
 * bytes: members are in a fixed order, headers hold no times and no owners. It is written beside its place and renamed;
 * its receipt stands beside it, at `PATH.receipt.json`.
 */

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import { version } from "../../version.ts"
import type * as ContentGraph from "../ContentGraph.ts"
import * as Conversion from "../Conversion.ts"
import * as DockerIdentity from "../DockerIdentity.ts"
import { type SourceError, WriteError } from "../Failure.ts"
import type { GraphOptions, ImageWriter, WriteOptions, WrittenGraph } from "../ImageWriter.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { createEmpty, unwritable } from "../OutputFiles.ts"
import * as OciGraphWriter from "../oci-layout/OciGraphWriter.ts"
import type * as Receipt from "../Receipt.ts"
import * as Blobs from "./ArchiveBlobs.ts"
import * as Documents from "./ArchiveDocuments.ts"
import * as Existing from "./ArchiveExisting.ts"
import type * as Files from "./ArchiveFiles.ts"
import { type Built, inArchive, type PublishOptions } from "./ArchivePublish.ts"
import { ArchiveTar } from "./ArchiveTar.ts"

export interface ArchiveWriterOptions extends LayerCopy.Wanted, PublishOptions {
  /** `hybrid` by default. An archive that is appended to keeps what it has and gains what this asks for. */
  readonly format?: Files.Format | undefined
  /** What to call the image, `NAME:TAG`; as the source calls it by default. */
  readonly names?: ReadonlyArray<string> | undefined
  /** Media types to convert the manifest to; as the source has it by default. */
  readonly mediaTypes?: Conversion.Family | undefined
}

export const make = Effect.fn("ArchiveWriter.make")(function* (options: ArchiveWriterOptions) {
  const pool = yield* WorkerPool
  const writer: ImageWriter["Type"] = {
    write: (image, writeOptions) =>
      write(options, options.names === undefined ? image : { ...image, names: options.names }, writeOptions).pipe(
        Effect.provideService(WorkerPool, pool)
      )
  }
  // What docker save writes lists images, each for one platform.
  if (options.format !== "oci") return writer
  return {
    ...writer,
    writeGraph: (graph, graphOptions) =>
      writeGraph(options, graph, graphOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("ArchiveWriter.write")(function* (
  options: ArchiveWriterOptions,
  image: Image.Image,
  { filters }: WriteOptions
) {
  return yield* inArchive(options, image.names[0] ?? image.config.digest, (target, append, journal) =>
    Effect.scoped(build(target, options, image, filters, append, journal))
  )
})

/** An image to be listed, and how its layers are to be written. */
interface Part {
  readonly image: Image.Image
  readonly plans: ReadonlyArray<LayerCopy.Plan>
  readonly mediaTypes: Conversion.Family | undefined
}

/** Writes the whole archive into a temporary file. */
const build = Effect.fnUntraced(function* (
  target: string,
  options: ArchiveWriterOptions,
  original: Image.Image,
  filters: WriteOptions["filters"],
  append: boolean,
  journal: Journal.Journal
): Effect.fn.Return<Built<Receipt.Receipt>, WriteError | SourceError, Scope.Scope | WorkerPool> {
  const wanted = options.format ?? "hybrid"
  const existing = append ? yield* Existing.read(target, wanted) : Existing.none
  const format = existing.format === undefined || existing.format === wanted ? wanted : "hybrid"
  const image = format === "oci" ? original : yield* DockerIdentity.inDocker(original, target, "; format=oci keeps it")
  const own: Part = {
    image,
    plans: image.layers.map((layer) => LayerCopy.plan(layer, { ...options, sha256: format !== "oci" })),
    mediaTypes: options.mediaTypes
  }
  const parts: ReadonlyArray<Part> = [
    ...existing.images.map((one) => ({
      image: one,
      plans: one.layers.map((layer) => LayerCopy.plan(layer, {})),
      mediaTypes: undefined
    })),
    own
  ]
  const distinct = LayerCopy.distinct(parts.flatMap((part) => part.plans))
  const begun = yield* begin(target, digestsOf(parts), existing, journal)
  const { archive } = begun
  const stored = yield* Blobs.layers(target, archive, distinct.wanted, journal)
  const { documents, rest } = yield* Effect.try({
    try: () => {
      let documents = existing.documents
      let rest: Pick<Receipt.Receipt, "conversions" | "details"> | undefined
      for (const part of parts) {
        const layers = part.plans.map((plan) => ({ ...stored.get(distinct.of(plan))!, layer: plan.layer }))
        const manifest = Conversion.manifestOf(part.image, layers, part.mediaTypes)
        archive.file(Digest.blobPath(part.image.config.digest), part.image.config.raw)
        if (format !== "docker") archive.file(Digest.blobPath(manifest.descriptor.digest), manifest.raw)
        const listed = format === "docker" ? undefined : manifest.descriptor
        documents = Documents.withImage(documents, {
          image: part.image,
          layers: layers.map((layer) => layer.digest),
          manifest: listed
        })
        if (part === own) {
          rest = {
            conversions: listed === undefined ? Conversion.withoutManifest(image, layers) : manifest.conversions,
            details: {
              format,
              ...(listed === undefined ? {} : { manifest: listed }),
              layers: layers.map(LayerCopy.detailOf)
            }
          }
        }
      }
      return { documents, rest: rest! }
    },
    catch: unwritable(`cannot write ${target}`)
  })
  const { files, size } = yield* begun.end(documents, format)
  const receipt: Receipt.Receipt = {
    tool: "tallyman",
    version,
    layout: "tar",
    names: image.names,
    image: image.config.digest,
    source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
    filters,
    conversions: rest.conversions,
    files,
    details: { ...rest.details, size }
  }
  return { temporary: archive.path, receipt, result: receipt }
})

/** Of all that names blobs, as far as it is known before they are written. */
const digestsOf = (parts: ReadonlyArray<Part>): ReadonlyArray<string> =>
  parts.flatMap(({ image, plans }) => [
    image.config.digest,
    ...(image.manifest === undefined ? [] : [image.manifest.digest]),
    ...plans.flatMap((plan) => plan.digest ?? [])
  ])

const writeGraph = Effect.fn("ArchiveWriter.writeGraph")(function* (
  options: ArchiveWriterOptions,
  graph: ContentGraph.ContentGraph,
  graphOptions: GraphOptions
) {
  const { descriptor, name } = graphOptions.root
  const names = options.names ?? (name === undefined ? [] : [name])
  const copy = yield* OciGraphWriter.read(graph, graphOptions, options)
  return yield* inArchive(options, names[0] ?? descriptor.digest, (target, append, journal) =>
    Effect.scoped(buildGraph(target, options, names, copy, append, journal))
  )
})

const buildGraph = Effect.fnUntraced(function* (
  target: string,
  options: ArchiveWriterOptions,
  names: ReadonlyArray<string>,
  copy: OciGraphWriter.Copy,
  append: boolean,
  journal: Journal.Journal
): Effect.fn.Return<Built<WrittenGraph>, WriteError | SourceError, Scope.Scope | WorkerPool> {
  const format = "oci"
  const existing = append ? yield* Existing.read(target, format) : Existing.none
  if (existing.format !== undefined && existing.format !== format) {
    return yield* new WriteError({
      reason: "Unsupported",
      message: `cannot append to ${target}: expected an oci-archive, found one with a manifest.json, which lists single images only`
    })
  }
  const { blobs, documents } = copy.source
  const begun = yield* begin(target, [...blobs.keys(), ...documents.keys()], existing, journal)
  const called = { layout: "tar", names }
  const written = yield* OciGraphWriter.write(Blobs.make(target, begun.archive, journal), options, copy, called)
  const { files, size } = yield* begun.end(
    Documents.withGraph(existing.documents, names, OciGraphWriter.unnamed(written.root), written.referrers),
    format
  )
  const receipt = { ...written.receipt, files, details: { format, ...written.receipt.details, size } }
  const { bytes, counts } = written
  return { temporary: begun.archive.path, receipt, result: { receipt, counts, bytes } }
})

/** An archive as far as its directories and what is kept of an earlier one. It is closed with the scope. */
const begin = Effect.fnUntraced(function* (
  target: string,
  digests: ReadonlyArray<string>,
  existing: Existing.Existing,
  journal: Journal.Journal
) {
  const doing = unwritable(`cannot write ${target}`)
  const archive = yield* Effect.acquireRelease(
    Effect.try({
      try: () => {
        const temporary = journal.temporary()
        createEmpty(temporary)
        return new ArchiveTar(temporary)
      },
      catch: doing
    }),
    (made) => Effect.sync(() => made.close())
  )
  yield* Effect.try({
    try: () => {
      archive.directory("blobs")
      // What this program computes itself is sha256.
      const all = ["sha256:", ...existing.blobs.map((blob) => blob.digest), ...digests]
      for (const algorithm of new Set(all.map(Digest.algorithmOf))) archive.directory(`blobs/${algorithm}`)
    },
    catch: doing
  })
  yield* Blobs.keep(target, archive, existing.blobs)
  /** Completes it, on the disk when it returns. */
  const end = (documents: Documents.Documents, format: Files.Format) =>
    Effect.gen(function* () {
      const ended = yield* Effect.try({
        try: () => {
          for (const [name, bytes] of Documents.files(documents, format)) archive.file(name, bytes)
          return archive.end()
        },
        catch: doing
      })
      yield* Effect.tryPromise({ try: () => archive.sync(), catch: doing })
      return ended
    })
  return { archive, end }
})
