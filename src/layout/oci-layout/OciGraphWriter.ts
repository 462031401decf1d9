/** Indexes with all their platforms, artifacts and what refers to them, copied into an OCI image layout by digest. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import { version } from "../../version.ts"
import * as ContentGraph from "../ContentGraph.ts"
import type * as Conversion from "../Conversion.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import type { GraphOptions } from "../ImageWriter.ts"
import type * as Journal from "../Journal.ts"
import { createEmpty, place, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./OciFiles.ts"
import type * as OciImages from "./OciImages.ts"
import { checkNames, inLayout } from "./OciPublish.ts"

export interface GraphTarget extends OciImages.Target {
  readonly ref?: string | undefined
  readonly tempDirectory?: string | undefined
}

export const writeGraph = Effect.fn("OciGraphWriter.writeGraph")(function* (
  options: GraphTarget,
  graph: ContentGraph.ContentGraph,
  { referrers, root: from }: GraphOptions
) {
  const root = options.path
  const name = options.ref ?? from.name
  yield* checkNames(root, name === undefined ? [] : [name])
  if (options.compression !== undefined || options.mediaTypes !== undefined) {
    return yield* new WriteError({
      reason: "Unsupported",
      message: `cannot convert ${from.name ?? from.descriptor.digest} of ${graph.uri}: indexes and artifacts are copied as they are`
    })
  }
  const closure = yield* ContentGraph.closure(graph, from.descriptor, referrers)
  return yield* inLayout(root, name ?? from.descriptor.digest, (journal) =>
    Effect.gen(function* () {
      const blobs = yield* writeBlobs(root, graph, [...closure.blobs.values()], journal)
      const documents = [...closure.documents.values()].reverse()
      yield* Effect.try({
        try: () => {
          for (const { descriptor, raw } of documents)
            replaceRegular(root, Digest.blobPath(descriptor.digest), raw, journal)
        },
        catch: unwritable(`cannot write into ${root}`)
      })
      // Their names in the source may be others' here.
      const listed = closure.referrers.map((one) => named(one, undefined))
      const receipt: Receipt.Receipt = {
        tool: "tallyman",
        version,
        layout: "oci-layout",
        names: name === undefined ? [] : [name],
        image: from.descriptor.digest,
        source: { uri: graph.uri, digest: from.descriptor.digest },
        filters: [],
        conversions: [],
        files: [
          ...blobs,
          ...documents.map(({ descriptor, raw }) => Receipt.fileOf(Digest.blobPath(descriptor.digest), raw))
        ],
        details: {
          refs: name === undefined ? [] : [name],
          manifest: from.descriptor,
          referrers: listed.map((one) => one.digest),
          absent: closure.absent.map((one) => one.digest)
        }
      }
      return {
        entries: [named(from.descriptor, name), ...listed],
        receipts: [{ file: Files.receiptFile(name ?? from.descriptor.digest), receipt }],
        result: receipt
      }
    })
  )
})

/** An entry of index.json under a name, or without one: what else the source says about it stays. */
const named = (descriptor: Conversion.Descriptor, name: string | undefined): Conversion.Descriptor => {
  const { annotations = {}, ...rest } = descriptor
  const { [Files.containerdName]: full, [Files.refName]: _, ...others } = annotations
  const all = {
    ...others,
    ...(full !== undefined && full === name ? { [Files.containerdName]: full } : {}),
    ...(name === undefined ? {} : { [Files.refName]: name })
  }
  return Object.keys(all).length === 0 ? (rest as Conversion.Descriptor) : { ...descriptor, annotations: all }
}

/** Writes the blobs that are not there yet, and verifies those that are before they are used. */
const writeBlobs = Effect.fnUntraced(function* (
  root: string,
  graph: ContentGraph.ContentGraph,
  blobs: ReadonlyArray<ContentGraph.GraphBlob>,
  journal: Journal.Journal
) {
  const pool = yield* WorkerPool
  const attempt = Effect.fnUntraced(function* (wanted: ReadonlyArray<ContentGraph.GraphBlob>, trust: boolean) {
    const prepared = yield* Effect.try({
      try: () => wanted.map((blob) => prepareBlob(root, blob, trust, journal)),
      catch: unwritable(`cannot write into ${root}`)
    })
    const evidence = yield* pool.runAll(
      Inspect.job,
      prepared.map((one) => one.task)
    )
    return prepared.map((one, index) => ({ ...one, evidence: evidence[index]! }))
  })
  const first = yield* attempt(blobs, true)
  const spoilt = first.filter(
    (one) => one.temporary === undefined && blobFailure(root, graph, one.blob, one.evidence) !== undefined
  )
  const all = [
    ...first.filter((one) => !spoilt.includes(one)),
    ...(yield* attempt(
      spoilt.map((one) => one.blob),
      false
    ))
  ]
  for (const { blob, evidence } of all) {
    const failed = blobFailure(root, graph, blob, evidence)
    if (failed !== undefined) return yield* failed
  }
  const fileOf = (blob: ContentGraph.GraphBlob): string => Digest.blobPath(blob.descriptor.digest)
  yield* Effect.try({
    try: () =>
      place(
        root,
        all.flatMap(({ blob, temporary }) => (temporary === undefined ? [] : [{ temporary, final: fileOf(blob) }]))
      ),
    catch: unwritable(`cannot put blobs in place in ${root}`)
  })
  return all.map(
    ({ blob, evidence }): Receipt.File => ({
      path: fileOf(blob),
      size: evidence.size,
      sha256: evidence.digests.sha256!
    })
  )
})

const prepareBlob = (root: string, blob: ContentGraph.GraphBlob, trust: boolean, journal: Journal.Journal) => {
  const { digest } = blob.descriptor
  const common = {
    algorithms: Digest.algorithmsOf(digest),
    as: "blob",
    keepPaths: false,
    limits: {}
  } as const
  const file = path.join(root, Digest.blobPath(digest))
  const there = fs.lstatSync(file, { throwIfNoEntry: false })
  // What cannot be verified is not used.
  if (trust && Digest.isComputable(digest) && there?.isFile()) {
    return { blob, temporary: undefined, task: { ...common, region: { path: file, offset: 0, size: there.size } } }
  }
  const temporary = journal.temporary()
  createEmpty(temporary)
  return {
    blob,
    temporary,
    task: { ...common, region: blob.region, output: { path: temporary, offset: 0, form: "stored" as const } }
  }
}

const blobFailure = (
  root: string,
  graph: ContentGraph.ContentGraph,
  { descriptor }: ContentGraph.GraphBlob,
  { digests, failure, size }: Inspect.Evidence
): WriteError | SourceError | undefined => {
  if (failure?.during === "write") {
    return new WriteError({
      reason: "Unwritable",
      message: `cannot write ${descriptor.digest} into ${root}: ${describe(failure)}`
    })
  }
  const damaged = (reason: "Unreadable" | "Damaged", message: string): SourceError =>
    new SourceError({ reason, message: `cannot copy ${descriptor.digest} from ${graph.uri}: ${message}` })
  if (failure !== undefined) return damaged("Unreadable", describe(failure))
  if (size !== descriptor.size) return damaged("Damaged", `expected ${descriptor.size} bytes, found ${size}`)
  const found = Digest.like(descriptor.digest, digests) ?? descriptor.digest
  return found === descriptor.digest ? undefined : damaged("Damaged", `expected ${descriptor.digest}, found ${found}`)
}
