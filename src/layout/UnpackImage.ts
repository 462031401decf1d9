/**
 * What every writer of an unpacked form does: the image's layers as plain tars that threads can read in place, proved
 * against their diff_ids while the tree that they make is written.
 */
import * as Effect from "effect/Effect"
import * as ByteString from "../content/ByteString.ts"
import * as Inspect from "../content/Inspect.ts"
import type { LayerInput } from "../content/LayerStream.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import type { FileTree } from "../rootfs/FileTree.ts"
import { type ReadLayer, readLayers } from "../rootfs/ReadLayers.ts"
import type { Leeway, Tolerance } from "../rootfs/Tolerance.ts"
import { type UnpackResult, type UnrestoredWhat, unpack } from "../rootfs/Unpack.ts"
import { writeJob } from "../rootfs/WriteFiles.ts"
import { SourceError, WriteError } from "./Failure.ts"
import type * as Journal from "./Journal.ts"
import * as LayerCopy from "./LayerCopy.ts"
import { createEmpty, unwritable } from "./OutputFiles.ts"

/** A fault of the layers themselves, as a receipt keeps it. */
export interface KeptProblem {
  readonly check: string
  readonly subject: string
  readonly message: string
  readonly expected?: string
  readonly actual?: string
}

/** What the disk could not take, as a receipt keeps it. */
export interface KeptUnrestored {
  readonly what: UnrestoredWhat
  readonly count: number
  readonly examples: ReadonlyArray<string>
  /** Every name concerned, where they are few enough to be listed: what has to be put up with in these and no others. */
  readonly paths?: ReadonlyArray<ByteString.ByteString>
  readonly message: string
}

/** Problems of each check that a receipt keeps of one layer. */
const maxKept = 20
const maxExamples = 5
const maxPaths = 1000

/**
 * Gives `use` the layers as plain tars and succeeds when all of them have proved to be the image's. Compressed and edited
 * ones are stored for that time beside the output, plain ones are used where they are and proved at the same time: what
 * `use` has made is worth nothing when this fails, and the layers' own fault is told before what came of it.
 */
export const withPlainLayers = <A, E>(
  image: Image.Image,
  destination: string,
  journal: Journal.Journal,
  use: (layers: ReadonlyArray<LayerInput>) => Effect.Effect<A, E, WorkerPool>
): Effect.Effect<A, E | SourceError | WriteError, WorkerPool> =>
  Effect.gen(function* () {
    const pool = yield* WorkerPool
    const plans = image.layers.map((layer) => LayerCopy.plan(layer, { compression: "none" }))
    const { of, wanted } = LayerCopy.distinct(plans)
    const stored = wanted.filter((plan) => plan.form === "stored")
    const inputs = new Map(
      stored.map((plan): [LayerCopy.Plan, LayerInput] => [
        plan,
        {
          region: plan.layer.bytes,
          edits: [],
          ...(plan.layer.limits === undefined ? {} : { limits: plan.layer.limits })
        }
      ])
    )
    const spooled = wanted.filter((plan) => plan.form !== "stored").map((plan) => ({ plan, path: journal.spool() }))
    yield* Effect.try({
      try: () => {
        for (const { path } of spooled) createEmpty(path)
      },
      catch: unwritable(`cannot write beside ${destination}`)
    })
    const evidence = yield* pool.runAll(
      Inspect.job,
      spooled.map(({ path, plan }) => LayerCopy.task(plan, { path, offset: 0, sync: false }))
    )
    for (const [index, { path, plan }] of spooled.entries()) {
      const failed = LayerCopy.failure(destination, plan.layer, evidence[index]!)
      if (failed !== undefined) return yield* failed
      inputs.set(plan, { region: { path, offset: 0, size: evidence[index]!.layer!.uncompressedSize }, edits: [] })
    }
    const prove = Effect.gen(function* () {
      // Walking them as tar is what `use` does: here they are only hashed.
      const proofs = yield* pool.runAll(
        Inspect.job,
        stored.map((plan) => ({
          ...LayerCopy.probe(plan),
          as: "blob" as const,
          algorithms: Digest.algorithmsOf(plan.layer.digest, plan.layer.diffId)
        }))
      )
      for (const [index, plan] of stored.entries()) {
        const failed = LayerCopy.failure(destination, plan.layer, plainEvidence(proofs[index]!))
        if (failed !== undefined) return yield* failed
      }
    })
    const [proved, used] = yield* Effect.all(
      [Effect.either(prove), Effect.either(use(plans.map((plan) => inputs.get(of(plan))!)))],
      { concurrency: 2 }
    )
    if (proved._tag === "Left") return yield* proved.left
    return yield* used
  })

/** The bytes of a plain layer are those of its tar. */
const plainEvidence = (evidence: Inspect.Evidence): Inspect.Evidence => ({
  ...evidence,
  layer: {
    compression: "none",
    members: 0,
    diffIds: { ...evidence.digests, sha256: evidence.digests.sha256! },
    uncompressedSize: evidence.size,
    entries: 0,
    facts: { paths: undefined, whole: true, openLinks: 0, whiteouts: 0, implied: 0 },
    complete: true
  }
})

/** A layer as a receipt's details name it. */
export interface KeptLayer {
  readonly diffId: string
  /** Bytes of the uncompressed tar. */
  readonly size: number
}

export const layersOf = (image: Image.Image, inputs: ReadonlyArray<LayerInput>): ReadonlyArray<KeptLayer> =>
  image.layers.map((layer, index) => ({ diffId: layer.diffId, size: inputs[index]!.region.size }))

/** The tree that the layers make, and what is wrong with them, for a receipt. `onLayer` as in `readLayers`. */
export const applyLayers = (
  image: Image.Image,
  layers: ReadonlyArray<LayerInput>,
  onLayer?: (tree: FileTree, layer: ReadLayer) => void
): Effect.Effect<{ readonly tree: FileTree; readonly problems: ReadonlyArray<KeptProblem> }, SourceError> =>
  readLayers(layers, {
    digests: false,
    maxProblems: maxKept,
    // Who looks at every layer's tree looks at all files.
    ...(onLayer === undefined ? { columns: true } : { onLayer })
  }).pipe(
    Effect.map((read) => ({
      tree: read.tree,
      problems: keptProblems(image, read.layers)
    })),
    Effect.mapError(
      (cause) =>
        new SourceError({
          reason: cause.reason === "unreadable" ? "Unreadable" : "Damaged",
          message: `layer ${cause.layer} (${image.layers[cause.layer]!.name}) cannot be unpacked: ${cause.message}`,
          cause
        })
    )
  )

/** What is wrong with layers that were read, as a receipt keeps it. */
export const keptProblems = (image: Image.Image, layers: ReadonlyArray<ReadLayer>): ReadonlyArray<KeptProblem> =>
  layers.flatMap((layer, index) => problemsOf(layer, image.layers[index]!))

const problemsOf = (read: ReadLayer, layer: Image.Layer): ReadonlyArray<KeptProblem> => {
  const subject = `layer ${layer.index} (${layer.name})`
  const tar = new Map<string, number>()
  const kept: Array<KeptProblem> = []
  const keep = (
    { actual, check, expected, message }: { check: string; message: string; expected?: string; actual?: string },
    path: string | undefined
  ): void => {
    const shown = path === undefined ? "" : ByteString.display(path) || "/"
    kept.push({
      check,
      subject,
      message: shown === "" || message.includes(shown) ? message : `${message} (${shown})`,
      ...(expected === undefined ? {} : { expected }),
      ...(actual === undefined ? {} : { actual })
    })
  }
  for (const problem of read.problems) keep(problem, problem.path)
  for (const [check, count] of read.problemCounts) {
    if (count > maxKept) keep({ check, message: `and ${count - maxKept} more of these in this layer` }, undefined)
  }
  for (const problem of read.tarProblems) {
    const count = (tar.get(problem.check) ?? 0) + 1
    tar.set(problem.check, count)
    if (count <= maxKept) keep(problem, problem.path)
  }
  for (const [check, count] of tar) {
    if (count > maxKept) keep({ check, message: `and ${count - maxKept} more of these in this layer` }, undefined)
  }
  return kept
}

/**
 * Writes a tree to the new directory `root` with all threads; the digests of its files are in the tree afterwards, and
 * `onWritten` is told when so many files have got theirs.
 */
export const unpackTree = (
  tree: FileTree,
  root: string,
  layers: ReadonlyArray<LayerInput>,
  onWritten: (files: number) => void = () => {}
): Effect.Effect<UnpackResult, SourceError | WriteError, WorkerPool> =>
  Effect.gen(function* () {
    const pool = yield* WorkerPool
    return yield* unpack(tree, Buffer.from(root), layers, {
      write: (tasks, onResult) =>
        pool.runAll(writeJob, tasks, {
          onResult: (result, index) => {
            onResult(result, index)
            onWritten(result.files)
          }
        })
    }).pipe(
      Effect.mapError((cause): SourceError | WriteError =>
        cause.reason === "layer-changed" || cause.reason === "layer-read"
          ? new SourceError({ reason: "Damaged", message: cause.message, cause })
          : new WriteError({
              reason: cause.reason === "exists" ? "Occupied" : "Unwritable",
              message: cause.message,
              cause
            })
      )
    )
  })

export const unrestoredOf = (result: UnpackResult): ReadonlyArray<KeptUnrestored> =>
  [...result.unrestoredCounts].map(([what, count]) => kept(what, count, result.unrestored))

/** The same of single things that the disk did not take. */
export const keptUnrestored = (
  unrestored: ReadonlyArray<Pick<UnpackResult["unrestored"][number], "path" | "what" | "message">>
): ReadonlyArray<KeptUnrestored> =>
  [...new Set(unrestored.map(({ what }) => what))].map((what) =>
    kept(what, unrestored.filter((one) => one.what === what).length, unrestored)
  )

const kept = (
  what: UnrestoredWhat,
  count: number,
  unrestored: Parameters<typeof keptUnrestored>[0]
): KeptUnrestored => {
  const those = unrestored.filter((one) => one.what === what)
  const isListed = toleranceOf(what) !== undefined && those.length === count && count <= maxPaths
  return {
    what,
    count,
    examples: those.slice(0, maxExamples).map((one) => ByteString.display(one.path)),
    ...(isListed ? { paths: [...new Set(those.map(({ path }) => path))] } : {}),
    message: those[0]?.message ?? ""
  }
}

/** What has to be put up with where something could not be restored. A name that is not there at all never is. */
export const toleranceOf = (what: unknown): Tolerance | undefined => toleranceByWhat.get(what)

const toleranceByWhat: ReadonlyMap<unknown, Tolerance> = new Map<UnrestoredWhat, Tolerance>([
  ["owner", "owner"],
  ["device", "devices"],
  ["xattr", "xattrs"],
  ["mtime", "mtime-microseconds"]
])

/** What a comparison has to put up with by what a receipt keeps. */
export const tolerancesFor = (unrestored: ReadonlyArray<Readonly<Record<string, unknown>>>): ReadonlyArray<Leeway> =>
  unrestored.flatMap(({ paths, what }) => {
    const tolerance = toleranceOf(what)
    if (tolerance === undefined) return []
    return [Array.isArray(paths) ? { tolerance, paths: new Set(paths) } : tolerance]
  })
