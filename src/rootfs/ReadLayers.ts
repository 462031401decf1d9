/** The tree that the layers of an image make. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Codec from "../content/Compression.ts"
import * as Hasher from "../content/Hasher.ts"
import { type LayerInput, LayerReadError, stream } from "../content/LayerStream.ts"
import { walk } from "../content/LayerWalk.ts"
import type { Problem } from "../content/Problem.ts"
import { TarScanner } from "../content/TarScan.ts"
import type { Compression } from "../image/Compression.ts"
import * as Digest from "../image/Digest.ts"
import { type AppliedLayer, LayerApplier, type LayerOptions } from "./ApplyLayer.ts"
import { FileColumns } from "./FileColumns.ts"
import { FileTree } from "./FileTree.ts"

export interface ReadLayersOptions extends LayerOptions {
  /** Names that the tree may have; see `FileTree`. */
  readonly maxNames?: number
  /** Keep ordinary files in `FileColumns`: for a tree that is to be written as it is, with `digests` false. */
  readonly columns?: boolean
  /** What each uncompressed tar should be, base first: it is hashed by that algorithm in the same pass. */
  readonly diffIds?: ReadonlyArray<string>
  /** Called after each layer, when the tree is that of the layers up to it. */
  readonly onLayer?: (tree: FileTree, layer: ReadLayer) => void
  /** Bytes read since the last call. */
  readonly onProgress?: (bytes: number) => void
}

export interface ReadLayer extends AppliedLayer {
  /** What is wrong with the tar itself. */
  readonly tarProblems: ReadonlyArray<Problem>
  /** How its bytes are stored. */
  readonly compression: Compression
  /** Of the uncompressed tar, edits applied. */
  readonly size: number
  /** Undefined when it was not asked for, or in an algorithm that cannot be computed. */
  readonly diffId: Digest.Digest | undefined
}

export interface LayersRead {
  readonly tree: FileTree
  readonly layers: ReadonlyArray<ReadLayer>
}

/** A layer that cannot be read to its end: what the image's tree is cannot be told. */
export class LayersError extends Schema.TaggedError<LayersError>()("LayersError", {
  /** `unreadable`: the system says so. `damaged`: its bytes are no layer's. */
  reason: Schema.Literal("unreadable", "damaged"),
  /** Index of the layer. */
  layer: Schema.Number,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

/** Applies `layers`, base first, in one pass over each (layer.md "Applying Changesets"). */
export const readLayers: (
  layers: ReadonlyArray<LayerInput>,
  options?: ReadLayersOptions
) => Effect.Effect<LayersRead, LayersError> = Effect.fn("ReadLayers.readLayers")(function* (layers, options = {}) {
  yield* Effect.promise(() => prepare(options.diffIds ?? []))
  const tree = new FileTree({
    ...(options.columns === true ? { columns: new FileColumns() } : {}),
    ...(options.maxNames === undefined ? {} : { maxNames: options.maxNames })
  })
  const read: Array<ReadLayer> = []
  for (const [index, input] of layers.entries()) {
    const layer = yield* Effect.try({
      try: () => readLayerSync(tree, index, input, options),
      catch: (cause) => layerError(index, cause)
    })
    read.push(layer)
    options.onLayer?.(tree, layer)
    yield* Effect.yieldNow()
  }
  return { tree, layers: read }
})

/** Loads what `readLayerSync` needs. */
export const prepare = async (diffIds: ReadonlyArray<string>): Promise<void> => {
  await Hasher.prepare(Digest.algorithmsOf(...diffIds))
  await Codec.prepare()
}

const layerError = (layer: number, cause: unknown): LayersError =>
  new LayersError({
    reason: cause instanceof LayerReadError ? cause.reason : "damaged",
    layer,
    message: `cannot read layer ${layer}: ${cause instanceof Error ? cause.message : String(cause)}`,
    cause
  })

/** One layer of them, for threads: `prepare` has to be done before. Throws `LayerReadError`. */
export const readLayerSync = (
  tree: FileTree,
  index: number,
  input: LayerInput,
  options: ReadLayersOptions
): ReadLayer => {
  const tarProblems: Array<Problem> = []
  const applier = new LayerApplier(tree, index, options)
  const hooks = options.onProgress === undefined ? {} : { onProgress: options.onProgress }
  const visitor = {
    onEntry: applier.onEntry,
    onEntryEnd: applier.onEntryEnd,
    onProblem: (problem: Problem): void => {
      tarProblems.push(problem)
    }
  }
  const expected = options.diffIds?.[index]
  const hashers = new Hasher.Hashers(Digest.algorithmsOf(expected))
  if (options.digests === false && hashers.isEmpty) {
    // Nothing looks at bodies: those of plain layers are not even read.
    const { compression, size } = walk(input, visitor, hooks)
    return { ...applier.finish(), tarProblems, compression, size, diffId: undefined }
  }
  const scanner = new TarScanner({
    ...visitor,
    // Without it the scanner passes over bodies.
    ...(options.digests === false ? {} : { onBody: applier.onBody })
  })
  const { compression, size } = stream(
    input,
    (chunk, from, to) => {
      hashers.update(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
      scanner.write(chunk, from, to)
    },
    hooks
  )
  scanner.end()
  const diffId = expected === undefined ? undefined : Digest.like(expected, hashers.end())
  return { ...applier.finish(), tarProblems, compression, size, diffId }
}
