/** The files of a tree that need no comparison, as they are to the byte what an mtree manifest tells. */
import * as Effect from "effect/Effect"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import * as Libc from "./Libc.ts"
import { type FileLines, fileLines, interfere } from "./MtreeFiles.ts"
import { withoutSlash } from "./Restore.ts"
import { type SettledDirectory, type SettleResult, type SettleTask, settleFiles, settleJob } from "./SettleFiles.ts"
import { slices } from "./Slices.ts"

/** What a comparison need not look at: in these directories everything but the directories in them. */
export interface Settled {
  /** By path: the names of the directories in each. */
  readonly directories: ReadonlyMap<ByteString, ReadonlyArray<ByteString>>
  /** Where the manifest tells of them. */
  readonly lines: ReadonlyArray<FileLines>
  /** Names settled, files among them that were hashed, and bytes read for it. */
  readonly names: number
  readonly files: number
  readonly bytes: number
  /** Attributes of theirs that are the host's. */
  readonly hostLabels: number
}

export const nothing: Settled = { directories: new Map(), lines: [], names: 0, files: 0, bytes: 0, hostLabels: 0 }

export interface SettleOptions {
  /** Directories to leave to the comparison: those with names of which more is known than the manifest tells. */
  readonly except?: ReadonlySet<ByteString>
  /** By default in this thread: `(tasks) => pool.runAll(settleJob, tasks)` for several. */
  readonly run?: (tasks: ReadonlyArray<SettleTask>) => Effect.Effect<ReadonlyArray<SettleResult>>
}

/**
 * Settles what can be settled of the directory `root`, an absolute path in bytes, by a manifest as `Mtree.write` makes it;
 * of any other manifest, nothing.
 */
export const settle: (manifest: Uint8Array, root: Buffer, options?: SettleOptions) => Effect.Effect<Settled> =
  Effect.fn("Settle.settle")(function* (manifest, root, options = {}) {
    const lines = Libc.load()?.files === undefined ? undefined : fileLines(manifest)
    if (lines === undefined) return nothing
    const cost = settleJob.cost
    const task = (directories: ReadonlyArray<FileLines>): SettleTask => ({
      root: withoutSlash(Bytes.fromBytes(root)),
      manifest,
      directories
    })
    // One thread looks at a directory, several compare a large one.
    const most = Math.max(largeCost, cost(task(lines)) / 8)
    const small = lines.filter((one) => options.except?.has(one.directory) !== true && cost(task([one])) <= most)
    const ends = slices(small.length, (index) => cost(task([small[index]!])))
    const tasks = ends.map((end, index) => task(small.slice(ends[index - 1] ?? 0, end)))
    const results = yield* (options.run ?? inThisThread)(tasks)
    const settled = tasks.flatMap(({ directories }, index) =>
      directories.flatMap((one, at): ReadonlyArray<readonly [FileLines, SettledDirectory]> => {
        const found = results[index]!.settled[at]
        return found === undefined ? [] : [[one, found]]
      })
    )
    const proved = new Set(settled.map(([one]) => one))
    if (interfere(manifest, lines, proved)) return nothing
    const sum = (of: (one: SettledDirectory) => number): number =>
      settled.reduce((total, [, found]) => total + of(found), 0)
    return {
      directories: new Map(settled.map(([{ directory }, { directories }]) => [directory, directories])),
      lines: settled.map(([one]) => one),
      names: settled.reduce((total, [{ names }]) => total + names, 0),
      files: sum((one) => one.files),
      bytes: sum((one) => one.bytes),
      hostLabels: sum((one) => one.hostLabels)
    }
  })

const inThisThread = (tasks: ReadonlyArray<SettleTask>): Effect.Effect<ReadonlyArray<SettleResult>> =>
  Effect.forEach(tasks, (task) => Effect.sync(() => settleFiles(task)))

const largeCost = 64 * 1024 * 1024
