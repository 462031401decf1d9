/** Indexes with all their platforms, artifacts and what refers to them, copied into an OCI image layout by digest. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import * as Platform from "../../image/Platform.ts"
import { version } from "../../version.ts"
import * as ContentGraph from "../ContentGraph.ts"
import type * as Conversion from "../Conversion.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import * as GraphRewrite from "../GraphRewrite.ts"
import type { FilteredImage, GraphOptions } from "../ImageWriter.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { createEmpty, place, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./OciFiles.ts"
import * as OciImages from "./OciImages.ts"
import { checkNames, inLayout } from "./OciPublish.ts"

export interface GraphTarget extends OciImages.Target {
  readonly ref?: string | undefined
  readonly tempDirectory?: string | undefined
}

/**
 * Copies a root of a graph with all it leads to. Every digest stays, but for images that filters changed and the indexes
 * that lead to them: these are rewritten once, and what vouches for the old ones is left out.
 */
export const writeGraph = Effect.fn("OciGraphWriter.writeGraph")(function* (
  options: GraphTarget,
  memory: OciImages.Memory,
  graph: ContentGraph.ContentGraph,
  { filtered, referrers, root: from }: GraphOptions
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
  const source = yield* ContentGraph.closure(graph, from.descriptor, referrers)
  const use = (journal: Journal.Journal) =>
    Effect.gen(function* () {
      const made =
        filtered === undefined
          ? undefined
          : yield* rewrite(options, memory, graph, source, { filtered, referrers, root: from }, journal)
      const { closure, files: written, top } = made ?? { closure: source, files: new Map(), top: from.descriptor }
      const blobs = yield* writeBlobs(
        root,
        graph,
        [...closure.blobs.values()].filter(({ descriptor }) => !written.has(Digest.blobPath(descriptor.digest))),
        journal
      )
      const documents = [...closure.documents.values()].reverse()
      yield* Effect.try({
        try: () => {
          for (const { descriptor, raw } of documents)
            replaceRegular(root, Digest.blobPath(descriptor.digest), raw, journal)
        },
        catch: unwritable(`cannot write into ${root}`)
      })
      const documentFiles = documents.map(({ descriptor, raw }) =>
        Receipt.fileOf(Digest.blobPath(descriptor.digest), raw)
      )
      const isDocument = new Set(documentFiles.map((file) => file.path))
      // Their names in the source may be others' here, but for those that say what they are about.
      const listed = closure.referrers.map((one) =>
        Files.subjectByName(one.annotations) === undefined ? named(one, undefined) : one
      )
      const receipt: Receipt.Receipt = {
        tool: "tallyman",
        version,
        layout: "oci-layout",
        names: name === undefined ? [] : [name],
        image: top.digest,
        source: { uri: graph.uri, digest: from.descriptor.digest },
        filters: (filtered ?? []).flatMap(({ filters }) => filters),
        conversions: made?.conversions ?? [],
        files: [...blobs, ...[...written.values()].filter((file) => !isDocument.has(file.path)), ...documentFiles],
        details: {
          refs: name === undefined ? [] : [name],
          manifest: top,
          referrers: listed.map((one) => one.digest),
          absent: closure.absent.map((one) => one.digest),
          ...made?.details
        }
      }
      return {
        entries: [named(top, name), ...listed],
        receipts: [{ file: Files.receiptFile(name ?? top.digest), receipt }],
        result: { receipt, counts: closure.counts }
      }
    })
  return yield* inLayout(root, name ?? from.descriptor.digest, use, options.tempDirectory)
})

/** Writes the images that became others and the indexes that lead to them; answers what there is to copy beside these. */
const rewrite = Effect.fnUntraced(function* (
  options: GraphTarget,
  memory: OciImages.Memory,
  graph: ContentGraph.ContentGraph,
  source: ContentGraph.Closure,
  { filtered, referrers, root: from }: GraphOptions & { readonly filtered: ReadonlyArray<FilteredImage> },
  journal: Journal.Journal
) {
  const root = options.path
  const changed = filtered.filter(({ after, before }) => after !== before)
  const images = yield* OciImages.write(
    options,
    memory,
    changed.map(({ after }) => after),
    journal
  )
  const successors = new Map<string, GraphRewrite.Successor | undefined>(
    filtered.map(({ before }) => [before.manifest!.digest, undefined])
  )
  for (const [index, { manifest }] of images.entries()) {
    const { after, before } = changed[index]!
    if (manifest.kept) continue
    successors.set(before.manifest!.digest, { ...manifest, osVersion: after.config.value["os.version"] ?? undefined })
  }
  const { indexes, leftOut, root: top } = yield* GraphRewrite.rewrite(graph.uri, source, from.descriptor, successors)
  yield* Effect.try({
    try: () => {
      for (const { descriptor, raw } of indexes.values())
        replaceRegular(root, Digest.blobPath(descriptor.digest), raw, journal)
    },
    catch: unwritable(`cannot write into ${root}`)
  })
  const files = new Map(
    [
      ...images.flatMap((image) => image.files),
      ...[...indexes.values()].map(({ descriptor, raw }) => Receipt.fileOf(Digest.blobPath(descriptor.digest), raw))
    ].map((file) => [file.path, file])
  )
  const closure = yield* ContentGraph.closure(
    {
      ...graph,
      open: (descriptor) => {
        const file = files.get(Digest.blobPath(descriptor.digest))
        return file === undefined
          ? graph.open(descriptor)
          : Effect.succeed({ path: path.join(root, file.path), offset: 0, size: file.size })
      }
    },
    top,
    referrers
  )
  // Nothing refers to what an image or an index became, so what referred to it before is not reached any more.
  const lost = source.referrers.flatMap(({ annotations, digest, mediaType }): ReadonlyArray<GraphRewrite.LeftOut> => {
    const subject = GraphRewrite.subjectOf(source.documents.get(digest)) ?? Files.subjectByName(annotations)
    return subject === undefined || closure.documents.has(digest) ? [] : [{ digest, mediaType, subject }]
  })
  const gone = [...leftOut, ...lost]
  return {
    top,
    closure,
    files,
    conversions: [
      ...images.flatMap(({ manifest }) => manifest.conversions),
      ...[...indexes].map(([before, { descriptor }]) => `index: ${before} became ${descriptor.digest}`),
      ...gone.map(GraphRewrite.describe)
    ],
    details: {
      images: filtered.map(({ before: { manifest, platform } }) => ({
        ...(platform === undefined ? {} : { platform: Platform.show(platform) }),
        before: manifest!.digest,
        after: (successors.get(manifest!.digest)?.descriptor ?? manifest!).digest
      })),
      layers: images.flatMap(({ layers }) => layers.map(LayerCopy.detailOf)),
      leftOut: gone
    }
  }
})

/** An entry of index.json under a name, or without one: what else the source says about it stays. */
const named = (descriptor: Conversion.Descriptor, name: string | undefined): Conversion.Descriptor => {
  const { annotations = {}, ...rest } = descriptor
  const full = annotations[Files.containerdName]
  const all = {
    ...Files.withoutNames(annotations),
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
  if (size !== descriptor.size) return damaged("Damaged", `expected ${count(descriptor.size, "byte")}, found ${size}`)
  const found = Digest.like(descriptor.digest, digests) ?? descriptor.digest
  return found === descriptor.digest ? undefined : damaged("Damaged", `expected ${descriptor.digest}, found ${found}`)
}
