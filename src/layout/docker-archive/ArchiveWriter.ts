/**
 * `tar://PATH`: one archive of images that Docker, Podman, skopeo and containerd all load. The same images give the same
 * bytes: members are in a fixed order, headers hold no times and no owners. It is written beside its place and renamed;
 * its receipt stands beside it, at `PATH.receipt.json`.
 */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import type { Region } from "../../image/Region.ts"
import { version } from "../../version.ts"
import * as Conversion from "../Conversion.ts"
import * as DockerIdentity from "../DockerIdentity.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import * as Lock from "../Lock.ts"
import { createEmpty, occupied, unwritable } from "../OutputFiles.ts"
import * as Packing from "../Packing.ts"
import * as Receipt from "../Receipt.ts"
import * as Documents from "./ArchiveDocuments.ts"
import * as Existing from "./ArchiveExisting.ts"
import * as Files from "./ArchiveFiles.ts"
import { ArchiveTar } from "./ArchiveTar.ts"
import * as WholeCompression from "./WholeCompression.ts"

export interface ArchiveWriterOptions extends LayerCopy.Wanted {
  readonly path: string
  /** `hybrid` by default. An archive that is appended to keeps what it has and gains what this asks for. */
  readonly format?: Files.Format | undefined
  /** Keep the images that the archive at `path` holds. */
  readonly append?: boolean | undefined
  /** What to call the image, `NAME:TAG`; as the source calls it by default. */
  readonly names?: ReadonlyArray<string> | undefined
  /** Media types to convert the manifest to; as the source has it by default. */
  readonly mediaTypes?: Conversion.Family | undefined
  /** How to compress the archive as a whole; not at all by default. */
  readonly whole?: WholeCompression.Whole | undefined
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

export const make = Effect.fn("ArchiveWriter.make")(function* (options: ArchiveWriterOptions) {
  const pool = yield* WorkerPool
  return {
    write: (image, writeOptions) =>
      write(options, options.names === undefined ? image : { ...image, names: options.names }, writeOptions).pipe(
        Effect.provideService(WorkerPool, pool)
      )
  } satisfies ImageWriter["Type"]
})

/** Runs that append at the same time begin again when another one was first. */
const maxAttempts = 20

const write = Effect.fn("ArchiveWriter.write")(function* (
  options: ArchiveWriterOptions,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const { journal, target } = yield* Effect.try({
    try: () => {
      const target = Files.resolve(options.path)
      identify(target)
      fs.mkdirSync(path.dirname(target), { recursive: true })
      return {
        target,
        journal: Journal.open(
          path.dirname(target),
          path.basename(target),
          image.names[0] ?? image.config.digest,
          options.tempDirectory
        )
      }
    },
    catch: unwritable(`cannot write ${options.path}`)
  })
  return yield* Effect.gen(function* () {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const before = yield* Effect.try({ try: () => identify(target), catch: unwritable(`cannot write ${target}`) })
      const append = before !== undefined && options.append === true
      const built = yield* Effect.scoped(build(target, options, image, append, journal))
      const finished = options.whole === undefined ? built.temporary : journal.temporary()
      if (options.whole !== undefined) {
        const size = fs.statSync(built.temporary).size
        yield* WholeCompression.compress({ path: built.temporary, offset: 0, size }, options.whole, finished)
      }
      const receipt: Receipt.Receipt = {
        tool: "tallyman",
        version,
        layout: "tar",
        names: image.names,
        image: built.image,
        source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
        filters,
        conversions: built.conversions,
        files: built.files,
        details: built.details
      }
      const placed = yield* Lock.withLock(
        path.dirname(target),
        Effect.try({
          try: () => {
            if (options.append === true && identify(target) !== before) return false
            publish(target, finished, receipt, journal)
            return true
          },
          catch: unwritable(`cannot write ${target}`)
        })
      )
      if (placed) return receipt
      for (const temporary of [built.temporary, finished]) fs.rmSync(temporary, { force: true })
    }
    return yield* new WriteError({
      reason: "Locked",
      message: `cannot append to ${target}: other runs changed it ${maxAttempts} times meanwhile`
    })
  }).pipe(Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(journal.abandon) : Effect.void)))
})

/** Tells one content of the target from another; undefined where there is none. Throws for what cannot be replaced. */
export const identify = (target: string): string | undefined => {
  const stat = fs.lstatSync(target, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  if (!stat.isFile()) {
    throw occupied(
      `cannot write ${target}: expected a file or nothing, found ${stat.isDirectory() ? "a directory" : "no regular file"}`
    )
  }
  return `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs}`
}

/** Under the lock: the archive, then its receipt. */
const publish = (target: string, temporary: string, receipt: Receipt.Receipt, journal: Journal.Journal): void => {
  const directory = path.dirname(target)
  // A run that is killed here leaves no receipt rather than one of another archive.
  fs.rmSync(Files.receiptPath(target), { force: true })
  fs.renameSync(temporary, target)
  Journal.replace(Files.receiptPath(target), Receipt.encode(receipt), journal.temporary())
  for (const leftover of Journal.leftovers(directory, fs.readdirSync(directory), path.basename(target))) {
    fs.rmSync(path.join(directory, leftover), { force: true, recursive: true })
  }
  journal.close()
}

interface Built {
  readonly temporary: string
  /** What names the config. */
  readonly image: string
  readonly conversions: ReadonlyArray<string>
  readonly files: ReadonlyArray<Receipt.File>
  readonly details: Receipt.Receipt["details"]
}

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
  append: boolean,
  journal: Journal.Journal
): Effect.fn.Return<Built, WriteError | SourceError, Scope.Scope | WorkerPool> {
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
  const ready = yield* readyLayers(
    target,
    distinct.wanted.filter((plan) => !Packing.isPacked(plan)),
    journal
  )
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
      for (const algorithm of algorithmsOf(parts, existing)) archive.directory(`blobs/${algorithm}`)
    },
    catch: doing
  })
  const copied = yield* copyBlobs(target, archive, existing, ready)
  const packed = yield* Packing.pack(target, distinct.wanted.filter(Packing.isPacked), journal, {
    begin: (_, content) => archive.begin(content),
    write: (bytes) => archive.append(bytes),
    end: (_, { sha256, size }) => archive.finish({ path: Digest.blobPath(`sha256:${sha256}`), size, sha256 })
  })
  const stored = new Map([...copied, ...packed])
  const built = yield* Effect.try({
    try: (): Built => {
      let documents = existing.documents
      let rest: Pick<Built, "conversions" | "details"> | undefined
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
      for (const [name, bytes] of Documents.files(documents, format)) archive.file(name, bytes)
      const { files, size } = archive.end()
      return {
        temporary: archive.path,
        image: image.config.digest,
        conversions: rest!.conversions,
        files,
        details: { ...rest!.details, size }
      }
    },
    catch: doing
  })
  yield* Effect.tryPromise({ try: () => archive.sync(), catch: doing })
  return built
})

/** Of all digests that name blobs, as far as they are known; what this program computes itself is sha256. */
const algorithmsOf = (parts: ReadonlyArray<Part>, existing: Existing.Existing): ReadonlySet<string> =>
  new Set([
    "sha256",
    ...[
      ...existing.blobs.map((blob) => blob.digest),
      ...parts.flatMap(({ image, plans }) => [
        image.config.digest,
        ...(image.manifest === undefined ? [] : [image.manifest.digest]),
        ...plans.flatMap((plan) => plan.digest ?? [])
      ])
    ].map(Digest.algorithmOf)
  ])

/** What goes into the archive, of known digest and size. */
interface Ready {
  readonly plan: LayerCopy.Plan
  readonly digest: Digest.Digest
  /** Bytes to be copied as they are; undefined for a layer that changes its form on the way. */
  readonly region: Region | undefined
  readonly size: number
  /** undefined when the layer is first looked at while it is copied. */
  readonly stored: LayerCopy.Stored | undefined
}

/**
 * A header comes before its body, so a layer whose digest or size is not known yet is read beforehand, into a temporary
 * file where it changes its form. What a filter made is known.
 */
const readyLayers = Effect.fnUntraced(function* (
  target: string,
  plans: ReadonlyArray<LayerCopy.Plan>,
  journal: Journal.Journal
) {
  const pool = yield* WorkerPool
  const unknown = yield* Effect.try({
    try: () =>
      plans
        .filter((plan) => !isDirect(plan) && (plan.form !== "stored" || plan.digest === undefined))
        .map((plan) => {
          if (plan.form === "stored") return { plan, temporary: undefined, task: LayerCopy.probe(plan) }
          const temporary = journal.spool()
          createEmpty(temporary)
          return { plan, temporary, task: LayerCopy.task(plan, { path: temporary, offset: 0, sync: false }) }
        }),
    catch: unwritable(`cannot write ${target}`)
  })
  const evidence = yield* pool.runAll(
    Inspect.job,
    unknown.map((one) => one.task)
  )
  const ready = new Map<LayerCopy.Plan, Ready>()
  for (const [index, { plan, temporary }] of unknown.entries()) {
    const failed = LayerCopy.failure(target, plan.layer, evidence[index]!)
    if (failed !== undefined) return yield* failed
    const stored = LayerCopy.stored(plan, evidence[index]!)
    const region = temporary === undefined ? plan.layer.bytes : { path: temporary, offset: 0, size: stored.size }
    ready.set(plan, { plan, digest: stored.digest, region, size: region.size, stored })
  }
  const all = plans.map((plan): Ready => {
    const region = isDirect(plan) ? undefined : plan.layer.bytes
    const size = region?.size ?? plan.layer.uncompressedSize!
    return ready.get(plan) ?? { plan, digest: plan.digest!, region, size, stored: undefined }
  })
  for (const [
    index,
    {
      digest,
      plan: { layer }
    }
  ] of all.entries()) {
    const other = all.findIndex((one) => one.digest === digest)
    if (other < index) {
      return yield* new SourceError({
        reason: "Damaged",
        message: `cannot archive layer ${layer.index} (${layer.name}): it is damaged in the source: expected diff_id ${layer.diffId}, found it to be ${digest}, whose diff_id is ${
          all[other]!.plan.layer.diffId
        }`
      })
    }
  }
  return all
})

/** Whether a layer changes its form into bytes whose digest and size are known before. */
const isDirect = ({ form, layer }: LayerCopy.Plan): boolean =>
  form === "uncompressed" && layer.uncompressedSize !== undefined

/** Copies what is kept of an earlier archive and the layers, all at the same time; answers what the layers became. */
const copyBlobs = Effect.fnUntraced(function* (
  target: string,
  archive: ArchiveTar,
  existing: Existing.Existing,
  ready: ReadonlyArray<Ready>
) {
  const pool = yield* WorkerPool
  const kept = new Map(existing.blobs.map((blob) => [blob.digest as string, blob]))
  const copies = [
    ...existing.blobs.map(({ digest, region }) => ({
      digest,
      region,
      size: region.size,
      ready: ready.find((one) => one.digest === digest),
      old: true
    })),
    ...ready
      .filter((one) => !kept.has(one.digest))
      .map((one) => ({ digest: one.digest, region: one.region, size: one.size, ready: one, old: false }))
  ]
  const tasks = yield* Effect.try({
    try: () =>
      copies.map(({ digest, ready, region, size }): Inspect.InspectTask => {
        const output = { path: archive.path, offset: archive.reserve(Digest.blobPath(digest), size), sync: false }
        if (region === undefined) return LayerCopy.task(ready!.plan, output)
        return {
          region,
          algorithms: Digest.algorithmsOf(digest),
          as: ready === undefined || ready.stored !== undefined ? "blob" : "layer",
          diffIds: Digest.algorithmsOf(ready?.plan.layer.diffId),
          keepPaths: false,
          limits: {},
          output: { ...output, form: "stored" }
        }
      }),
    catch: unwritable(`cannot write ${target}`)
  })
  const evidence = yield* pool.runAll(Inspect.job, tasks)
  const stored = new Map<LayerCopy.Plan, LayerCopy.Stored>()
  for (const [index, { digest, old, ready, region, size }] of copies.entries()) {
    const found = evidence[index]!
    const seen = ready === undefined || ready.stored !== undefined
    const failed =
      (region !== undefined && (old || seen) ? copyFailure(target, old, digest, region, found) : undefined) ??
      (seen ? undefined : LayerCopy.failure(target, ready.plan.layer, found))
    if (failed !== undefined) return yield* failed
    const sha256 = region === undefined ? found.layer!.diffIds.sha256 : found.digests.sha256!
    archive.filled({ path: Digest.blobPath(digest), size, sha256 })
    if (ready !== undefined) stored.set(ready.plan, ready.stored ?? LayerCopy.stored(ready.plan, found))
  }
  return stored
})

/** What went wrong with bytes whose digest is known. */
const copyFailure = (
  target: string,
  old: boolean,
  digest: Digest.Digest,
  region: Region,
  evidence: Inspect.Evidence
): WriteError | undefined => {
  const doing = old ? `cannot append to ${target}: its ${Digest.blobPath(digest)}` : `cannot write ${target}: ${digest}`
  const { failure } = evidence
  if (failure !== undefined) return new WriteError({ reason: "Unwritable", message: `${doing}: ${describe(failure)}` })
  const found = Digest.like(digest, evidence.digests) ?? digest
  return evidence.size === region.size && found === digest
    ? undefined
    : new WriteError({
        reason: old ? "Unsupported" : "SourceChanged",
        message: `${doing} ${old ? "is damaged" : "changed while it was copied"}: expected ${digest}, found ${found}`
      })
}
