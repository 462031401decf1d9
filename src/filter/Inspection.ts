/** All there is to say about an image: its names and digests, its config, its history beside its layers, its waste. */
import * as Effect from "effect/Effect"
import * as Bytes from "../content/ByteString.ts"
import * as Codec from "../content/Compression.ts"
import type { Job } from "../content/Job.ts"
import { bytesRead } from "../content/LayerEdits.ts"
import { failureOf, type Rewritten } from "../content/Rewrite.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import type { Compression } from "../image/Compression.ts"
import type * as Image from "../image/Image.ts"
import type { ContainerConfig } from "../image/ImageConfig.ts"
import type { Platform } from "../image/Platform.ts"
import type { Shadowed } from "../rootfs/ApplyLayer.ts"
import type { Inode } from "../rootfs/FileTree.ts"
import { FilterError } from "./Filter.ts"
import { imageTree, type TreeLayer } from "./ImageTree.ts"

export interface Inspection {
  /** `name:tag` of every name. */
  readonly names: ReadonlyArray<string>
  /** Where it was read, as a URI. */
  readonly source: string
  /** The sha256 of its config. */
  readonly id: string
  readonly configSize: number
  readonly manifest: { readonly digest: string; readonly mediaType: string; readonly size: number } | undefined
  readonly platform: Platform | undefined
  readonly created: string | undefined
  readonly author: string | undefined
  /** How a container of it runs. */
  readonly config: ContainerConfig | undefined
  /** Base first. */
  readonly layers: ReadonlyArray<InspectedLayer>
  /** Oldest first. */
  readonly history: ReadonlyArray<HistoryStep>
  readonly totals: {
    /** Bytes of all layers, as stored and as tars. */
    readonly stored: number
    readonly uncompressed: number
    /** Files of the finished file system, and bytes of their content. */
    readonly files: number
    readonly bytes: number
    /** Bytes of content in layers that no container sees. */
    readonly wasted: number
  }
  /** Largest first. */
  readonly wasted: ReadonlyArray<WastedFile>
  readonly largest: ReadonlyArray<LargeFile>
  /** What is wrong, as far as it showed; `verify` looks for more. */
  readonly problems: ReadonlyArray<string>
}

export interface InspectedLayer {
  readonly index: number
  readonly diffId: string
  /** Of the bytes as stored, where the source says it. */
  readonly digest: string | undefined
  readonly mediaType: string
  readonly compression: Compression
  /** Bytes as stored, and as a tar. */
  readonly size: number
  readonly uncompressedSize: number
  /** Members that put something into the file system, and whiteouts. */
  readonly entries: number
  readonly whiteouts: number
  /** Bytes of content in the layers below, of files that this one replaces or deletes. */
  readonly overwritten: number
  readonly deleted: number
  /** Position of its step in `history`. */
  readonly step: number | undefined
}

export interface HistoryStep {
  readonly created: string | undefined
  readonly createdBy: string
  readonly comment: string
  readonly author: string | undefined
  /** Index of the layer it made; undefined for a step that changed only the config, or beyond the layers there are. */
  readonly layer: number | undefined
}

export interface WastedFile {
  readonly path: string
  readonly size: number
  /** The layer that holds it, and the one that hides it. */
  readonly layer: number
  readonly by: number
  readonly how: "overwritten" | "deleted"
}

export interface LargeFile {
  readonly path: string
  readonly size: number
  readonly layer: number
}

/** Plain data: it crosses to a worker. */
export interface InspectionTask {
  readonly layers: ReadonlyArray<TreeLayer>
  /** How many of the largest and of the most wasteful files are wanted. */
  readonly top: number
}

export interface InspectionResult {
  readonly layers: ReadonlyArray<
    Pick<InspectedLayer, "compression" | "uncompressedSize" | "entries" | "whiteouts" | "overwritten" | "deleted">
  >
  readonly files: number
  readonly bytes: number
  readonly wasted: ReadonlyArray<WastedFile>
  readonly largest: ReadonlyArray<LargeFile>
  readonly problems: ReadonlyArray<string>
  readonly failure?: NonNullable<Rewritten["failure"]>
}

/** The largest of many, by size, without keeping the others. */
class Largest<A extends { readonly size: number }> {
  readonly #top: number
  readonly #kept: Array<A> = []

  constructor(top: number) {
    this.#top = top
  }

  add(size: number, make: () => A): void {
    if (size === 0 || this.#top === 0) return
    if (this.#kept.length === this.#top) {
      if (this.#kept.at(-1)!.size >= size) return
      this.#kept.pop()
    }
    const at = this.#kept.findIndex((one) => one.size < size)
    this.#kept.splice(at < 0 ? this.#kept.length : at, 0, make())
  }

  list(): ReadonlyArray<A> {
    return this.#kept
  }
}

export const run = (task: InspectionTask, progress: (bytes: number) => void = () => {}): InspectionResult => {
  const wasted = new Largest<WastedFile>(task.top)
  const largest = new Largest<LargeFile>(task.top)
  const onShadowed = ({ by, how, layer, path, size }: Shadowed): void =>
    wasted.add(size, () => ({ path: Bytes.display(path), size, layer, by, how }))
  try {
    const { layers, problems, tree } = imageTree(task.layers, { content: false, onShadowed, onProgress: progress })
    const seen = new Set<Inode>()
    for (const [path, { inode }] of tree.entries()) {
      if (inode.type !== "file" || (inode.nlink > 1 && seen.has(inode))) continue
      if (inode.nlink > 1) seen.add(inode)
      largest.add(inode.dataSize, () => ({ path: Bytes.display(path), size: inode.dataSize, layer: inode.layer }))
    }
    const { bytes, files } = tree.totals()
    return {
      layers: layers.map((layer) => ({
        compression: layer.compression,
        uncompressedSize: layer.size,
        entries: layer.entries,
        whiteouts: layer.whiteouts + layer.opaques,
        overwritten: layer.overwrittenBytes,
        deleted: layer.deletedBytes
      })),
      files,
      bytes,
      wasted: wasted.list(),
      largest: largest.list(),
      problems
    }
  } catch (cause) {
    return { layers: [], files: 0, bytes: 0, wasted: [], largest: [], problems: [], failure: failureOf(cause) }
  }
}

export const job: Job<InspectionTask, InspectionResult> = {
  kind: "inspection",
  prepare: Codec.prepare,
  run,
  cost: (task) => task.layers.reduce((sum, layer) => sum + bytesRead(layer), 0)
}

export interface InspectionOptions {
  /** Files to name of the largest and of the most wasteful ones; 10 by default. */
  readonly top?: number
}

/** What `tallyman inspect` shows. Layers are read by their headers where they are plain tars, and unpacked where not. */
export const inspect = Effect.fn("Inspection.inspect")(function* (
  image: Image.Image,
  options: InspectionOptions = {}
): Effect.fn.Return<Inspection, FilterError, WorkerPool> {
  const pool = yield* WorkerPool
  const layers = image.layers.map(({ bytes, diffId, edits }) => ({ region: bytes, edits, diffId }))
  const [result] = yield* pool.runAll(job, [{ layers, top: options.top ?? 10 }])
  const { failure } = result!
  if (failure !== undefined) {
    return yield* new FilterError({
      reason: failure.reason === "unreadable" ? "Unreadable" : "Damaged",
      message: `cannot inspect the layers of ${image.source}: ${failure.message}`
    })
  }
  const { value } = image.config
  const history = stepsOf(image)
  const inspected = image.layers.map(
    (layer, index): InspectedLayer => ({
      index,
      diffId: layer.diffId,
      digest: layer.digest,
      mediaType: layer.mediaType,
      size: layer.bytes.size,
      ...result!.layers[index]!,
      step: stepOf(history, index)
    })
  )
  const sum = (of: (layer: InspectedLayer) => number): number =>
    inspected.reduce((total, layer) => total + of(layer), 0)
  return {
    names: image.names,
    source: image.source,
    id: image.config.digest,
    configSize: image.config.raw.length,
    manifest:
      image.manifest === undefined
        ? undefined
        : { digest: image.manifest.digest, mediaType: image.manifest.mediaType, size: image.manifest.raw.length },
    platform: image.platform,
    created: value.created ?? undefined,
    author: value.author ?? undefined,
    config: value.config ?? undefined,
    layers: inspected,
    history,
    totals: {
      stored: sum((layer) => layer.size),
      uncompressed: sum((layer) => layer.uncompressedSize),
      files: result!.files,
      bytes: result!.bytes,
      wasted: sum((layer) => layer.overwritten + layer.deleted)
    },
    wasted: result!.wasted,
    largest: result!.largest,
    problems: result!.problems
  }
})

const stepsOf = (image: Image.Image): ReadonlyArray<HistoryStep> => {
  let next = 0
  return (image.config.value.history ?? []).map((step) => {
    const layer = step.empty_layer === true ? undefined : next++
    return {
      created: step.created ?? undefined,
      createdBy: step.created_by ?? "",
      comment: step.comment ?? "",
      author: step.author ?? undefined,
      layer: layer !== undefined && layer < image.layers.length ? layer : undefined
    }
  })
}

const stepOf = (history: ReadonlyArray<HistoryStep>, layer: number): number | undefined => {
  const at = history.findIndex((step) => step.layer === layer)
  return at < 0 ? undefined : at
}
