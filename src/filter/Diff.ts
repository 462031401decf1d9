/**
 * Two images, held against each other: config, layers, and file by file what the layers make. One or both of them may be
 * unpacked.
 */

import * as Effect from "effect/Effect"
import * as Bytes from "../content/ByteString.ts"
import type { Job } from "../content/Job.ts"
import { failureOf, type Rewritten } from "../content/Rewrite.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import { count } from "../image/Count.ts"
import type * as Image from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import { diff as compareTrees } from "../rootfs/Compare.ts"
import { DiskError, type DiskTree, readDiskSync } from "../rootfs/DiskTree.ts"
import { isImplied } from "../rootfs/FileTree.ts"
import * as ReadLayers from "../rootfs/ReadLayers.ts"
import type { RootfsCheck } from "../rootfs/RootfsProblem.ts"
import { FilterError } from "./Filter.ts"
import { imageTree, type TreeLayer } from "./ImageTree.ts"

/** How a file differs. */
export type DifferenceKind =
  | "only-in-a"
  | "only-in-b"
  | "type"
  | "content"
  | "size"
  | "mode"
  | "owner"
  | "mtime"
  | "xattr"
  | "link"
  | "device"
  | "hardlink"

export interface FileDifference {
  readonly path: string
  readonly kind: DifferenceKind
  /** What each side has, in words. */
  readonly a: string | undefined
  readonly b: string | undefined
}

export interface ConfigDifference {
  /** A JSON pointer (RFC 6901) into the config. */
  readonly pointer: string
  /** The JSON values; undefined where one side has none. */
  readonly a: unknown
  readonly b: unknown
}

export interface LayerDifference {
  readonly index: number
  /** diff_ids; undefined where one image has fewer layers. */
  readonly a: string | undefined
  readonly b: string | undefined
}

/** A file system that an image was unpacked to. */
export interface UnpackedImage {
  /** For messages. */
  readonly source: string
  /** The directory that is its root. */
  readonly rootfs: string
  /** The image's config beside it; undefined when there is none, and then it is not compared. */
  readonly config: { readonly raw: Uint8Array; readonly digest: string } | undefined
}

export type Side = Image.Image | UnpackedImage

const isUnpacked = (side: Side): side is UnpackedImage => "rootfs" in side

export interface ImageDiff {
  /** True when the configs are the same bytes and no file differs. */
  readonly same: boolean
  /** Image IDs; undefined where an unpacked image has no config beside it. */
  readonly a: string | undefined
  readonly b: string | undefined
  readonly config: ReadonlyArray<ConfigDifference>
  /** The configs say the same and are not the same bytes. */
  readonly configFormOnly: boolean
  readonly layers: ReadonlyArray<LayerDifference>
  /** In the order of the trees; the first ones of each kind. */
  readonly files: ReadonlyArray<FileDifference>
  readonly counts: Readonly<Partial<Record<DifferenceKind, number>>>
  /** Names compared. */
  readonly names: number
  /** What was not compared, one line each. */
  readonly notCompared: ReadonlyArray<string>
  readonly problems: ReadonlyArray<string>
}

const kinds: Readonly<Partial<Record<RootfsCheck, DifferenceKind>>> = {
  "rootfs.missing": "only-in-a",
  "rootfs.extra": "only-in-b",
  "rootfs.type-mismatch": "type",
  "rootfs.content-mismatch": "content",
  "rootfs.size-mismatch": "size",
  "rootfs.mode-mismatch": "mode",
  "rootfs.owner-mismatch": "owner",
  "rootfs.mtime-mismatch": "mtime",
  "rootfs.xattr-mismatch": "xattr",
  "rootfs.link-mismatch": "link",
  "rootfs.device-mismatch": "device",
  "rootfs.hardlink-mismatch": "hardlink"
}

/** Layers to be applied, or a directory to be read. */
export type TreeOrigin = { readonly layers: ReadonlyArray<TreeLayer> } | { readonly rootfs: string }

/** Plain data: it crosses to a worker. */
export interface DiffTask {
  readonly a: TreeOrigin
  readonly b: TreeOrigin
  /** Differences kept of each kind; more are counted. */
  readonly max: number
}

export interface DiffResult extends Pick<ImageDiff, "files" | "counts" | "names" | "notCompared" | "problems"> {
  /** Things in unpacked images that could not be read. */
  readonly unreadable: number
  readonly failure?: NonNullable<Rewritten["failure"]> & { readonly side: "a" | "b" }
}

const nothing: DiffResult = { files: [], counts: {}, names: 0, notCompared: [], problems: [], unreadable: 0 }

export const run = (task: DiffTask, progress: (bytes: number) => void = () => {}): DiffResult => {
  let side: "a" | "b" = "a"
  try {
    const a = treeOf(task.a, progress)
    side = "b"
    const b = treeOf(task.b, progress)
    // What layers leave open, a directory has made up for: they are what is expected of it.
    const turned = a.unpacked && !b.unpacked
    const [expectedSide, actualSide] = turned ? [b, a] : [a, b]
    const compared = compareTrees(expectedSide.disk.tree, actualSide.disk, {
      tolerances: a.unpacked || b.unpacked ? ["implied-directories", "mtime-microseconds"] : ["implied-directories"],
      maxProblems: task.max
    })
    const kindOf = (check: RootfsCheck): DifferenceKind | undefined => {
      const kind = kinds[check]
      return !turned ? kind : kind === "only-in-a" ? "only-in-b" : kind === "only-in-b" ? "only-in-a" : kind
    }
    const counts: Partial<Record<DifferenceKind, number>> = {}
    for (const [check, count] of compared.counts) {
      const kind = kindOf(check)
      if (kind !== undefined) counts[kind] = count
    }
    const files: Array<FileDifference> = []
    for (const { actual, check, expected, message, path } of compared.problems) {
      const kind = kindOf(check)
      if (kind === undefined) continue
      const other = actualSide.disk.tree.lookup(path)
      // A directory that only its members imply has no attributes to compare, on either side.
      if (other !== undefined && isImplied(other.inode) && (kind === "mode" || kind === "owner" || kind === "mtime")) {
        counts[kind]!--
        continue
      }
      const name =
        kind === "xattr"
          ? /attribute (.+?) (?:is missing|of its own|has another value)$/s.exec(message)?.[1]
          : undefined
      const value = (text: string | undefined): string | undefined =>
        text === undefined || name === undefined ? text : `${name}=${text}`
      const [one, two] = turned ? [actual, expected] : [expected, actual]
      files.push({ path: Bytes.display(path), kind, a: value(one), b: value(two) })
    }
    return {
      files,
      counts: Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)),
      names: compared.names,
      unreadable: a.disk.unreadable.length + b.disk.unreadable.length,
      notCompared: compared.notCompared.map(
        ({ count: files, reason, what }) => `${what} of ${count(files, "file")}: ${reason}`
      ),
      problems: [...a.problems.map((line) => `a: ${line}`), ...b.problems.map((line) => `b: ${line}`)]
    }
  } catch (cause) {
    const failure =
      cause instanceof DiskError
        ? { reason: "unreadable" as const, code: cause.reason, message: cause.message }
        : failureOf(cause)
    return { ...nothing, failure: { ...failure, side } }
  }
}

interface SideTree {
  readonly unpacked: boolean
  readonly disk: DiskTree
  readonly problems: ReadonlyArray<string>
}

const treeOf = (origin: TreeOrigin, onProgress: (bytes: number) => void): SideTree => {
  if ("rootfs" in origin) {
    const disk = readDiskSync(Buffer.from(origin.rootfs), { hash: "all" })
    const problems = disk.unreadable.map(
      ({ code, path, what }) => `${Bytes.display(path)}: ${what} not readable: ${code}`
    )
    return { unpacked: true, disk, problems }
  }
  const { problems, tree } = imageTree(origin.layers, { content: true, onProgress })
  const disk = { tree, unreadable: [], mounts: new Set<never>(), links: new Map<never, never>(), files: 0, bytes: 0 }
  return { unpacked: false, disk, problems }
}

export const job: Job<DiffTask, DiffResult> = {
  kind: "diff",
  prepare: ({ a, b }) =>
    ReadLayers.prepare([a, b].flatMap((side) => ("rootfs" in side ? [] : side.layers.map(({ diffId }) => diffId)))),
  run,
  cost: ({ a, b }) => [a, b].reduce((sum, side) => sum + ("rootfs" in side ? unknownCost : sizeOf(side.layers)), 0)
}

/** A directory may hold anything: enough for a thread of its own. */
const unknownCost = 64 * 1024 * 1024

const sizeOf = (layers: ReadonlyArray<TreeLayer>): number => layers.reduce((sum, { region }) => sum + region.size, 0)

export interface DiffOptions {
  /** Files kept of each kind of difference; more are counted. 10,000 by default. */
  readonly max?: number
}

/**
 * Reads both images whole; a layer that is not what its config says is an error, not a difference. Of an unpacked one,
 * what could not be read counts as a difference.
 */
export const diff = Effect.fn("Diff.diff")(function* (
  a: Side,
  b: Side,
  options: DiffOptions = {}
): Effect.fn.Return<ImageDiff, FilterError, WorkerPool> {
  const pool = yield* WorkerPool
  const originOf = (side: Side): TreeOrigin =>
    isUnpacked(side)
      ? { rootfs: side.rootfs }
      : { layers: side.layers.map(({ bytes, diffId, edits }) => ({ region: bytes, edits, diffId })) }
  const [result] = yield* pool.runAll(job, [{ a: originOf(a), b: originOf(b), max: options.max ?? 10_000 }])
  const { failure, unreadable, ...trees } = result!
  if (failure !== undefined) {
    return yield* new FilterError({
      reason: failure.reason === "unreadable" ? "Unreadable" : "Damaged",
      message: `cannot read the files of ${(failure.side === "a" ? a : b).source}: ${failure.message}`
    })
  }
  const [one, other] = [a.config, b.config]
  const compared = one !== undefined && other !== undefined
  // Not by their digests, which may be in different algorithms.
  const sameConfig = !compared || Buffer.compare(one.raw, other.raw) === 0
  const config =
    compared && !sameConfig ? [...configDifferences(Json.parse(one.raw).value, Json.parse(other.raw).value, "")] : []
  return {
    same: sameConfig && trees.files.length === 0 && Object.keys(trees.counts).length === 0 && unreadable === 0,
    a: one?.digest,
    b: other?.digest,
    config,
    configFormOnly: !sameConfig && config.length === 0,
    layers: isUnpacked(a) || isUnpacked(b) ? [] : layerDifferences(a, b),
    ...trees,
    notCompared: [
      ...(isUnpacked(a) || isUnpacked(b) ? ["layers: an unpacked image has none"] : []),
      ...(compared ? [] : ["config: an unpacked image has none beside it"]),
      ...trees.notCompared
    ]
  }
})

const layerDifferences = (a: Image.Image, b: Image.Image): ReadonlyArray<LayerDifference> => {
  const differences: Array<LayerDifference> = []
  for (let index = 0; index < Math.max(a.layers.length, b.layers.length); index++) {
    const [one, other] = [a.layers[index]?.diffId, b.layers[index]?.diffId]
    if (one !== other) differences.push({ index, a: one, b: other })
  }
  return differences
}

/** Where two JSON values differ, object by object and element by element; `pointer` is where they stand themselves. */
export function* configDifferences(a: unknown, b: unknown, pointer: string): Generator<ConfigDifference> {
  if (Json.isObject(a) && Json.isObject(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const own = (value: Readonly<Record<string, unknown>>): unknown =>
        Object.hasOwn(value, key) ? value[key] : undefined
      yield* configDifferences(own(a), own(b), `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`)
    }
  } else if (Array.isArray(a) && Array.isArray(b)) {
    for (let index = 0; index < Math.max(a.length, b.length); index++) {
      yield* configDifferences(a[index], b[index], `${pointer}/${index}`)
    }
  } else if (!Object.is(a, b)) yield { pointer, a, b }
}
