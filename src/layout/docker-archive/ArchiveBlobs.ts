/** Blobs in an archive that is being written: each once, by all threads at the same time. */

import * as Effect from "effect/Effect"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type { Region } from "../../image/Region.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { createEmpty, unwritable } from "../OutputFiles.ts"
import { type BlobPlace, blobFailure } from "../oci-layout/BlobPlace.ts"
import * as Packing from "../Packing.ts"
import type { ArchiveTar } from "./ArchiveTar.ts"

/** `target`: where the archive is going to stand, for messages. */
export const make = (target: string, archive: ArchiveTar, journal: Journal.Journal): BlobPlace => ({
  path: target,
  layers: (plans) => layers(target, archive, plans, journal),
  blobs: (uri, blobs) =>
    Effect.gen(function* () {
      const all = blobs.map((blob) => ({ digest: blob.descriptor.digest as Digest.Digest, region: blob.region, blob }))
      yield* copy(
        target,
        archive,
        all.filter(({ digest }) => !archive.has(Digest.blobPath(digest))),
        ({ blob }, evidence) => blobFailure(target, uri, blob, evidence)
      )
      return all.map(({ digest }) => archive.fileAt(Digest.blobPath(digest)))
    }),
  document: (file, bytes) => archive.file(file, bytes),
  region: ({ path }) => archive.region(path)
})

interface Known {
  readonly digest: Digest.Digest
  readonly region: Region
}

/** What is kept of an earlier archive. */
export const keep = (target: string, archive: ArchiveTar, blobs: ReadonlyArray<Known>) =>
  copy(target, archive, blobs, (blob, evidence) => copyFailure(target, true, blob, evidence))

const copy = Effect.fnUntraced(function* <A extends Known>(
  target: string,
  archive: ArchiveTar,
  blobs: ReadonlyArray<A>,
  failureOf: (blob: A, evidence: Inspect.Evidence) => WriteError | SourceError | undefined
) {
  const pool = yield* WorkerPool
  const tasks = yield* Effect.try({
    try: () => blobs.map((blob) => blobTask(blob, reserve(archive, blob.digest, blob.region.size))),
    catch: unwritable(`cannot write ${target}`)
  })
  const evidence = yield* pool.runAll(Inspect.job, tasks)
  for (const [index, blob] of blobs.entries()) {
    const failed = failureOf(blob, evidence[index]!)
    if (failed !== undefined) return yield* failed
    const { digests, size } = evidence[index]!
    archive.filled({ path: Digest.blobPath(blob.digest), size, sha256: digests.sha256! })
  }
})

type Output = NonNullable<Parameters<typeof LayerCopy.task>[1]>

const reserve = (archive: ArchiveTar, digest: Digest.Digest, size: number): Output => ({
  path: archive.path,
  offset: archive.reserve(Digest.blobPath(digest), size),
  sync: false
})

const blobTask = ({ digest, region }: Known, output: Output): Inspect.InspectTask => ({
  region,
  algorithms: Digest.algorithmsOf(digest),
  as: "blob",
  keepPaths: false,
  limits: {},
  output: { ...output, form: "stored" }
})

/** Answers what layers became; those that an earlier archive, or another image, has brought are verified and shared. */
export const layers = Effect.fn("ArchiveBlobs.layers")(function* (
  target: string,
  archive: ArchiveTar,
  plans: ReadonlyArray<LayerCopy.Plan>,
  journal: Journal.Journal
) {
  const there = yield* reuse(target, archive, plans)
  const left = plans.filter((plan) => !there.has(plan))
  const ready = yield* readyLayers(
    target,
    left.filter((plan) => !Packing.isPacked(plan)),
    journal
  )
  const copied = yield* copyLayers(target, archive, ready)
  const packed = yield* Packing.pack(target, left.filter(Packing.isPacked), journal, {
    begin: (_, content) => archive.begin(content),
    write: (bytes) => archive.append(bytes),
    end: (_, { sha256, size }) => archive.finish({ path: Digest.blobPath(`sha256:${sha256}`), size, sha256 })
  })
  return new Map([...there, ...copied, ...packed])
})

/** The layers whose blobs are there. */
const reuse = Effect.fnUntraced(function* (target: string, archive: ArchiveTar, plans: ReadonlyArray<LayerCopy.Plan>) {
  const pool = yield* WorkerPool
  const found = plans.flatMap((plan) => {
    const file = plan.digest === undefined ? undefined : Digest.blobPath(plan.digest)
    return file !== undefined && archive.has(file) ? [{ plan, file }] : []
  })
  const evidence = yield* pool.runAll(
    Inspect.job,
    found.map(({ file, plan }) => LayerCopy.check(plan, archive.region(file)))
  )
  const stored = new Map<LayerCopy.Plan, LayerCopy.Stored>()
  for (const [index, { file, plan }] of found.entries()) {
    if (!LayerCopy.holds(plan, evidence[index]!)) {
      return yield* LayerCopy.failure(target, plan.layer, evidence[index]!) ??
        new WriteError({
          reason: "Unsupported",
          message: `cannot write ${LayerCopy.nameOf(plan.layer)} into ${target}: its ${file} is not that layer`
        })
    }
    stored.set(plan, LayerCopy.stored(plan, evidence[index]!))
  }
  return stored
})

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

/** Copies what is not there yet, all at the same time; answers what the layers became. */
const copyLayers = Effect.fnUntraced(function* (target: string, archive: ArchiveTar, ready: ReadonlyArray<Ready>) {
  const pool = yield* WorkerPool
  const stored = new Map(ready.flatMap((one) => (one.stored === undefined ? [] : [[one.plan, one.stored] as const])))
  // What is there of these was found only when they were read.
  const left = ready.filter(({ digest }) => !archive.has(Digest.blobPath(digest)))
  const tasks = yield* Effect.try({
    try: () =>
      left.map(({ digest, plan, region, size, stored }) => {
        const output = reserve(archive, digest, size)
        return stored === undefined ? LayerCopy.task(plan, output) : blobTask({ digest, region: region! }, output)
      }),
    catch: unwritable(`cannot write ${target}`)
  })
  const evidence = yield* pool.runAll(Inspect.job, tasks)
  for (const [index, { digest, plan, region, stored: known }] of left.entries()) {
    const found = evidence[index]!
    const failed =
      known === undefined
        ? LayerCopy.failure(target, plan.layer, found)
        : copyFailure(target, false, { digest, region: region! }, found)
    if (failed !== undefined) return yield* failed
    const { sha256, size } = known ?? LayerCopy.stored(plan, found)
    archive.filled({ path: Digest.blobPath(digest), size, sha256 })
    if (known === undefined) stored.set(plan, LayerCopy.stored(plan, found))
  }
  return stored
})

/** What went wrong with bytes whose digest is known. */
const copyFailure = (
  target: string,
  old: boolean,
  { digest, region }: Known,
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
