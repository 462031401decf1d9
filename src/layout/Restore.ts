/**
 * Single files of an output made right again: what is planned is written beside and renamed into place, once every byte
 * of it has proved to be the one that is wanted. Files that are right are not touched.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Inspect from "../content/Inspect.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import type { Region } from "../image/Region.ts"
import { version } from "../version.ts"
import { describe, SourceError, type WriteError } from "./Failure.ts"
import * as Journal from "./Journal.ts"
import * as LayerCopy from "./LayerCopy.ts"
import * as Lock from "./Lock.ts"
import { createEmpty, type Placement, place, replaceRegular, unwritable } from "./OutputFiles.ts"
import * as Packing from "./Packing.ts"
import { removeTree } from "./RemoveTree.ts"
import type { Store } from "./Store.ts"

/** In what form a source's layer becomes the file that is wanted. */
export type Form =
  | { readonly form: "stored" }
  | { readonly form: "uncompressed" }
  | { readonly form: "packed"; readonly compression: "gzip" | "zstd"; readonly level: number }

/** What a file has to hold. */
export type Content =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** A layer of the source; `digest` of the bytes wanted, undefined for the plain tar. */
  | { readonly kind: "layer"; readonly layer: Image.Layer; readonly form: Form; readonly digest: string | undefined }
  /** Bytes of the source as they are. */
  | { readonly kind: "blob"; readonly region: Region; readonly digest: string }
  /** A file that images share or that tells of others: made under the lock when everything else is in place. */
  | { readonly kind: "late"; readonly make: () => Uint8Array }

export interface Wanted {
  /** Relative to the output's root. */
  readonly path: string
  readonly content: Content
}

/** A file, and what is or was the matter with it. */
export interface Change {
  readonly path: string
  readonly reason: string
}

/** What there is to do, and how it is done. */
export interface Work {
  readonly changes: ReadonlyArray<Change>
  readonly impossible: ReadonlyArray<Change>
  readonly run: Effect.Effect<
    { readonly repaired: ReadonlyArray<Change>; readonly impossible: ReadonlyArray<Change> },
    WriteError | SourceError,
    WorkerPool
  >
}

export interface Plan {
  readonly files: ReadonlyArray<Wanted>
  /** Files that cannot be had from the source, and why. */
  readonly impossible: ReadonlyArray<Change>
  /** Names at the root that a run which was cut off has left. */
  readonly leftovers: ReadonlyArray<string>
}

/** A plan as it grows: what cannot be put in place is said instead of wanted. */
export class Draft implements Plan {
  readonly #obstacle: (file: string) => string | undefined
  readonly #files = new Map<string, Content>()
  readonly #impossible = new Map<string, string>()
  readonly leftovers: ReadonlyArray<string>

  /** `obstacle`: what stands in the way of writing a file; see below. */
  constructor(obstacle: (file: string) => string | undefined, leftovers: ReadonlyArray<string> = []) {
    this.#obstacle = obstacle
    this.leftovers = leftovers
  }

  want(file: string, content: Content): void {
    const obstacle = this.#obstacle(file)
    if (obstacle === undefined) {
      this.#files.set(file, content)
      this.#impossible.delete(file)
    } else this.cannot(file, obstacle)
  }

  /** What can be had in one way is not impossible in another; the first reason counts. */
  cannot(file: string, reason: string): void {
    if (!this.#files.has(file) && !this.#impossible.has(file)) this.#impossible.set(file, reason)
  }

  get files(): ReadonlyArray<Wanted> {
    return [...this.#files].map(([file, content]) => ({ path: file, content }))
  }

  get impossible(): ReadonlyArray<Change> {
    return [...this.#impossible].map(([file, reason]) => ({ path: file, reason }))
  }
}

/** Whether findings, or errors alone, are about a file. */
export type Flagged = (path: string, level?: "error") => boolean

/**
 * How `layer` can become a file with `digest`; undefined when it cannot. `recorded`: how it was stored, by the receipt of
 * the run that wrote it.
 */
export const formOf = (
  layer: Image.Layer,
  digest: string | undefined,
  recorded?: LayerCopy.Detail & { readonly version: string }
): Form | undefined => {
  if (digest === undefined || digest === layer.diffId) return { form: "uncompressed" }
  if (layer.digest === digest) return { form: "stored" }
  if (
    recorded?.version === version &&
    recorded.digest === digest &&
    typeof recorded.level === "number" &&
    (recorded.compression === "gzip" || recorded.compression === "zstd")
  ) {
    return { form: "packed", compression: recorded.compression, level: recorded.level }
  }
  // A docker-save source does not say digests of compressed layers: copying it shows.
  return layer.digest === undefined && LayerCopy.plan(layer, {}).found !== "none" ? { form: "stored" } : undefined
}

/** What on the way from `root` to `name` is no directory, and so cannot be gone through; undefined where nothing is. */
export const obstacleOnTheWay = (root: string, name: string): string | undefined => {
  let at = root
  try {
    for (const part of path.posix.dirname(name).split("/")) {
      if (part === ".") continue
      at = path.join(at, part)
      const stat = fs.lstatSync(at, { throwIfNoEntry: false })
      if (stat === undefined) return undefined
      if (!stat.isDirectory()) return `${path.relative(root, at)} is no directory`
    }
    return undefined
  } catch (cause) {
    return `its place cannot be looked at: ${describe(cause)}`
  }
}

/** What stands in the way of writing `file`, or undefined. Nothing that holds names is ever removed for it. */
export const obstacle = (root: string, file: string): string | undefined => {
  const onTheWay = obstacleOnTheWay(root, file)
  if (onTheWay !== undefined) return onTheWay
  try {
    const target = path.join(root, file)
    return fs.lstatSync(target, { throwIfNoEntry: false })?.isDirectory() && fs.readdirSync(target).length > 0
      ? "a directory that is not empty stands in its place"
      : undefined
  } catch (cause) {
    return `its place cannot be looked at: ${describe(cause)}`
  }
}

/** A file that should stand at `path`, by what proves it: one of the two is there. */
export interface Placed {
  readonly path: string
  /** Of a layer that may be stored in any form. */
  readonly diffId: string | undefined
  /** Of the bytes as stored, where that is known. */
  readonly digest: string | undefined
}

/**
 * Those of `files` that are not what they should be. What nobody complained of is not read again; what somebody did
 * complain of may still be right, as the image itself may be odd.
 */
export const spoilt = Effect.fnUntraced(function* (store: Store, files: ReadonlyArray<Placed>, flagged: Flagged) {
  const pool = yield* WorkerPool
  const keyOf = ({ diffId, path: file }: Placed): string => diffId ?? file
  // One file under two names is complained of under one of them.
  const suspects = new Set(files.filter((one) => flagged(one.path)).map(keyOf))
  const found = files.map((file) => ({ file, entry: store.lookup(file.path) }))
  const read = found.flatMap(({ entry, file }) =>
    entry?.kind === "file" && suspects.has(keyOf(file)) ? [{ file, region: entry.region }] : []
  )
  const evidence = yield* pool.runAll(
    Inspect.job,
    read.map(
      ({ file, region }): Inspect.InspectTask => ({
        region,
        algorithms: Digest.algorithmsOf(file.digest),
        as: file.diffId === undefined ? "blob" : "layer",
        diffIds: Digest.algorithmsOf(file.diffId),
        keepPaths: false,
        limits: {}
      })
    )
  )
  const bad = new Set<Placed>()
  for (const { entry, file } of found) if (entry?.kind !== "file") bad.add(file)
  for (const [index, { file }] of read.entries()) if (!isRight(file, evidence[index]!)) bad.add(file)
  return files.filter((file) => bad.has(file))
})

const isRight = ({ diffId, digest }: Placed, { digests, failure, layer }: Inspect.Evidence): boolean =>
  failure === undefined &&
  (diffId === undefined || (layer?.complete === true && Digest.like(diffId, layer.diffIds) === diffId)) &&
  (digest === undefined || digestOf(digest, digests) === digest)

export interface Restoring {
  readonly root: string
  /** The file whose arrival makes the image whole, for the journal. */
  readonly target: string
  /** The image's name, for the journal. */
  readonly image: string
}

/**
 * Writes what is planned. Answers the paths that were written, and what turned out to be impossible: bytes that came out
 * other than wanted. Fails without having changed anything when the source is damaged.
 */
export const carryOut = Effect.fn("Restore.carryOut")(function* (
  { image, root, target }: Restoring,
  plan: Plan
): Effect.fn.Return<
  { readonly written: ReadonlyArray<string>; readonly impossible: ReadonlyArray<Change> },
  WriteError | SourceError,
  WorkerPool
> {
  if (plan.files.length + plan.leftovers.length === 0) return { written: [], impossible: [] }
  const doing = unwritable(`cannot repair ${root}`)
  const journal = yield* Effect.try({ try: () => Journal.open(root, target, image), catch: doing })
  return yield* Effect.gen(function* () {
    const { impossible, placements } = yield* produce(root, plan.files, journal)
    const now = plan.files.filter(({ content }) => content.kind === "bytes")
    const late = plan.files.filter(({ content }) => content.kind === "late")
    const first = yield* Effect.try({
      try: () => {
        for (const { final } of placements) clear(root, final)
        place(root, placements)
        return now.filter((one) => write(root, one, journal))
      },
      catch: doing
    })
    const last = yield* Lock.withLock(
      root,
      Effect.try({
        try: () => {
          for (const name of plan.leftovers) removeTree(path.join(root, name))
          return late.filter((one) => write(root, one, journal))
        },
        catch: doing
      })
    )
    return {
      written: [
        ...placements.map(({ final }) => final),
        ...[...first, ...last].map((one) => one.path),
        ...plan.leftovers
      ],
      impossible
    }
  }).pipe(Effect.ensuring(Effect.sync(journal.abandon)))
})

export const changesOf = ({ files, leftovers }: Plan): ReadonlyArray<Change> => [
  ...files.map((file) => ({ path: file.path, reason: "it is not what belongs to the image" })),
  ...leftovers.map((name) => ({ path: name, reason: "a run that was cut off left it" }))
]

/** A plan as work to be done. */
export const workOf = (restoring: Restoring, plan: Plan): Work => {
  const changes = changesOf(plan)
  return {
    changes,
    impossible: plan.impossible,
    run: Effect.map(carryOut(restoring, plan), ({ impossible, written }) => ({
      repaired: changes.filter((change) => written.includes(change.path)),
      impossible
    }))
  }
}

/** False when it has the bytes already. */
const write = (root: string, { content, path: file }: Wanted, journal: Journal.Journal): boolean => {
  clear(root, file)
  const bytes = bytesOf(content)
  if (bytes === undefined) return false
  const target = path.join(root, file)
  const before = fs.lstatSync(target, { throwIfNoEntry: false })?.ino
  replaceRegular(root, file, bytes, journal)
  return fs.lstatSync(target).ino !== before
}

/** An empty directory in a file's place goes; `rename` replaces everything else that holds no names. */
const clear = (root: string, file: string): void => {
  const target = path.join(root, file)
  if (fs.lstatSync(target, { throwIfNoEntry: false })?.isDirectory()) fs.rmdirSync(target)
}

interface Produced {
  readonly placements: ReadonlyArray<Placement>
  readonly impossible: ReadonlyArray<Change>
}

/** What each file has to hold, proved: in memory, or in a temporary file of the run. For outputs that are one file. */
export const bodies = Effect.fnUntraced(function* (
  output: string,
  files: ReadonlyArray<Wanted>,
  journal: Journal.Journal
): Effect.fn.Return<
  { readonly bodies: ReadonlyMap<string, Region | Uint8Array>; readonly impossible: ReadonlyArray<Change> },
  WriteError | SourceError,
  WorkerPool
> {
  const { impossible, placements } = yield* produce(output, files, journal)
  return {
    bodies: new Map<string, Region | Uint8Array>([
      ...placements.map(
        ({ final, temporary }) => [final, { path: temporary, offset: 0, size: fs.statSync(temporary).size }] as const
      ),
      ...files.flatMap(({ content, path: file }) => {
        const bytes = bytesOf(content)
        return bytes === undefined ? [] : [[file, bytes] as const]
      })
    ]),
    impossible
  }
})

const bytesOf = (content: Content): Uint8Array | undefined =>
  content.kind === "bytes" ? content.bytes : content.kind === "late" ? content.make() : undefined

/** Layers and blobs, each in a temporary file and proved. */
const produce = Effect.fnUntraced(function* (
  root: string,
  files: ReadonlyArray<Wanted>,
  journal: Journal.Journal
): Effect.fn.Return<Produced, WriteError | SourceError, WorkerPool> {
  const pool = yield* WorkerPool
  const doing = unwritable(`cannot write into ${root}`)
  const copies = yield* Effect.try({
    try: () =>
      files.flatMap(({ content, path: final }) => {
        if (content.kind !== "blob" && (content.kind !== "layer" || content.form.form === "packed")) return []
        const temporary = journal.temporary()
        createEmpty(temporary)
        return [{ content, final, temporary, task: taskOf(content, temporary) }]
      }),
    catch: doing
  })
  const evidence = yield* pool.runAll(
    Inspect.job,
    copies.map((one) => one.task)
  )
  const placements: Array<Placement> = []
  const impossible: Array<Change> = []
  const judge = (final: string, temporary: string, wanted: string | undefined, found: string): void => {
    if (wanted === undefined || wanted === found) placements.push({ final, temporary })
    else
      impossible.push({ path: final, reason: `the source has it in other bytes: expected ${wanted}, found ${found}` })
  }
  for (const [index, { content, final, temporary }] of copies.entries()) {
    const one = evidence[index]!
    if (content.kind === "layer") {
      const failed = LayerCopy.failure(root, content.layer, one)
      if (failed !== undefined) return yield* failed
      judge(
        final,
        temporary,
        content.digest,
        digestOf(content.digest, content.form.form === "stored" ? one.digests : one.layer!.diffIds)
      )
    } else {
      if (one.failure !== undefined) {
        return yield* one.failure.during === "write"
          ? doing(one.failure)
          : new SourceError({
              reason: "Unreadable",
              message: `cannot read ${content.digest}: ${describe(one.failure)}`
            })
      }
      judge(final, temporary, content.digest, digestOf(content.digest, one.digests))
    }
  }
  for (const { content, path: final } of files) {
    if (content.kind !== "layer" || content.form.form !== "packed") continue
    const { compression, level } = content.form
    const sink = yield* Effect.try({ try: () => new FileSink(journal.temporary()), catch: doing })
    const packed = yield* Packing.pack(
      root,
      [LayerCopy.plan(content.layer, { compression, level })],
      journal,
      sink
    ).pipe(Effect.ensuring(Effect.sync(() => sink.close())))
    const [stored] = packed.values()
    judge(final, sink.path, content.digest, stored?.digest ?? "nothing")
  }
  return { placements, impossible }
})

/** Algorithms that cannot be computed are trusted to be what the source says: the verification says so. */
const digestOf = (wanted: string | undefined, found: Digest.Hashed): string =>
  wanted === undefined ? Digest.make("sha256", found.sha256!) : (Digest.like(wanted, found) ?? wanted)

const taskOf = (
  content: Extract<Content, { readonly kind: "layer" | "blob" }>,
  temporary: string
): Inspect.InspectTask => {
  if (content.kind === "blob") {
    return {
      region: content.region,
      algorithms: Digest.algorithmsOf(content.digest),
      as: "blob",
      keepPaths: false,
      limits: {},
      output: { path: temporary, offset: 0, form: "stored" }
    }
  }
  const { digest, form, layer } = content
  const task = LayerCopy.task(LayerCopy.plan(layer, form.form === "uncompressed" ? { compression: "none" } : {}), {
    path: temporary,
    offset: 0
  })
  return form.form === "stored"
    ? { ...task, algorithms: Digest.algorithmsOf(layer.digest, digest) }
    : { ...task, diffIds: Digest.algorithmsOf(layer.diffId, digest) }
}

/** One compressed layer. */
class FileSink implements Packing.PackSink {
  readonly path: string
  #fd: number | undefined

  constructor(file: string) {
    this.path = file
    createEmpty(file)
    this.#fd = fs.openSync(file, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
  }

  begin(): void {}

  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) from += fs.writeSync(this.#fd!, bytes, from)
  }

  end(): void {
    fs.fsyncSync(this.#fd!)
  }

  close(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd)
    this.#fd = undefined
  }
}
