/** Layers compressed anew, by all threads together, and proved against their diff_ids meanwhile. */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Compress from "../content/Compress.ts"
import * as Codec from "../content/Compression.ts"
import * as Inspect from "../content/Inspect.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import * as Digest from "../image/Digest.ts"
import type { Region } from "../image/Region.ts"
import { describe, SourceError, WriteError } from "./Failure.ts"
import type * as Journal from "./Journal.ts"
import * as LayerCopy from "./LayerCopy.ts"
import { createEmpty, unwritable } from "./OutputFiles.ts"

/** A layer's compressed bytes. */
export interface Written {
  readonly size: number
  /** Hex. */
  readonly sha256: string
}

/** Takes the compressed layers one after the other. Every method may throw what the file system says. */
export interface PackSink {
  /** `content`: bytes of the uncompressed tar. */
  readonly begin: (plan: LayerCopy.Plan, content: number) => void
  readonly write: (bytes: Uint8Array) => void
  readonly end: (plan: LayerCopy.Plan, written: Written) => void
}

/** Whether a plan is carried out here rather than by a single pass. */
export const isPacked = (plan: LayerCopy.Plan): boolean => plan.form === "gzip" || plan.form === "zstd"

/**
 * Compresses the layers of `plans` in their order into `sink`. Memory stays within a few pieces however large they are;
 * what is not a plain tar in the source is unpacked into a temporary file first.
 */
export const pack = Effect.fn("Packing.pack")(function* (
  destination: string,
  plans: ReadonlyArray<LayerCopy.Plan>,
  journal: Journal.Journal,
  sink: PackSink
) {
  const stored = new Map<LayerCopy.Plan, LayerCopy.Stored>()
  if (plans.length === 0) return stored
  const pool = yield* WorkerPool
  const codings = yield* Effect.try({
    try: () => plans.map(codingOf),
    catch: unwritable(`cannot write ${destination}`)
  })
  const unpacked = yield* unpack(destination, plans, journal)
  const tasks: Array<Compress.PieceTask | Compress.InspectStep> = []
  const steps: Array<Step> = []
  for (const [index, plan] of plans.entries()) {
    const done = unpacked.get(plan)
    if (done === undefined) {
      steps.push({ plan, content: 0, last: false, inspect: true })
      tasks.push({ step: "inspect", task: LayerCopy.probe(plan) })
    }
    const region = done?.region ?? plan.layer.bytes
    const pieces = Compress.pieces(region, codings[index]!)
    for (const [at, piece] of pieces.entries()) {
      steps.push({ plan, content: region.size, last: at === pieces.length - 1, inspect: false })
      tasks.push(piece)
    }
  }
  const line = new Line(steps, sink)
  const evidence = new Map<LayerCopy.Plan, Inspect.Evidence>([...unpacked].map(([plan, done]) => [plan, done.evidence]))
  yield* pool.runAll(Compress.job, tasks, {
    onResult: (result, index) => {
      if (result.step === "inspect") evidence.set(steps[index]!.plan, result.evidence)
      else line.arrived(result, index)
    }
  })
  for (const plan of plans) {
    const failed = LayerCopy.failure(destination, plan.layer, evidence.get(plan)!)
    if (failed !== undefined) return yield* failed
  }
  if (line.failure !== undefined) {
    const { during, plan, what } = line.failure
    const doing = `layer ${plan.layer.index} (${plan.layer.name})`
    return yield* during === "read"
      ? new SourceError({ reason: "Unreadable", message: `cannot read ${doing}: ${what}` })
      : new WriteError({ reason: "Unwritable", message: `cannot write ${doing} into ${destination}: ${what}` })
  }
  for (const { region } of unpacked.values()) yield* Effect.sync(() => fs.rmSync(region.path, { force: true }))
  for (const [plan, { sha256, size }] of line.written) {
    stored.set(plan, {
      layer: plan.layer,
      digest: Digest.make("sha256", sha256),
      size,
      sha256,
      compression: plan.form as "gzip" | "zstd",
      uncompressedSize: evidence.get(plan)!.layer!.uncompressedSize,
      kept: false,
      level: plan.level
    })
  }
  return stored
})

/** Throws for a level that there is not, and when what encodes zstd is not installed. */
const codingOf = ({ form, level }: LayerCopy.Plan): Compress.Coding => {
  const kind = form === "zstd" ? "zstd" : "gzip"
  const { maxLevel, minLevel } = Codec.blockFormat(kind)
  if (level === undefined || !Number.isInteger(level) || level < minLevel || level > maxLevel) {
    throw new WriteError({
      reason: "Unsupported",
      message: `cannot compress with ${kind}: expected a level from ${minLevel} to ${maxLevel}, found ${level}`
    })
  }
  return kind === "zstd" ? { kind, level, encoder: Codec.locateEncoder() } : { kind, level }
}

interface Unpacked {
  readonly region: Region
  readonly evidence: Inspect.Evidence
}

/** The tars of layers that do not lie open in the source, which pieces can be cut from. */
const unpack = Effect.fnUntraced(function* (
  destination: string,
  plans: ReadonlyArray<LayerCopy.Plan>,
  journal: Journal.Journal
) {
  const pool = yield* WorkerPool
  const closed = plans.filter((plan) => plan.found !== "none" || plan.layer.edits.length > 0)
  const temporaries = yield* Effect.try({
    try: () =>
      closed.map(() => {
        const temporary = journal.spool()
        createEmpty(temporary)
        return temporary
      }),
    catch: unwritable(`cannot write into ${destination}`)
  })
  const evidence = yield* pool.runAll(
    Inspect.job,
    closed.map((plan, index) =>
      LayerCopy.task({ ...plan, form: "uncompressed" }, { path: temporaries[index]!, offset: 0, sync: false })
    )
  )
  const unpacked = new Map<LayerCopy.Plan, Unpacked>()
  for (const [index, plan] of closed.entries()) {
    const found = evidence[index]!
    const failed = LayerCopy.failure(destination, plan.layer, found)
    if (failed !== undefined) return yield* failed
    unpacked.set(plan, {
      evidence: found,
      region: { path: temporaries[index]!, offset: 0, size: found.layer!.uncompressedSize }
    })
  }
  return unpacked
})

/** What a task is for, in the order in which the tasks' results are wanted. */
interface Step {
  readonly plan: LayerCopy.Plan
  /** Bytes of the layer's tar. */
  readonly content: number
  /** The last piece of its layer. */
  readonly last: boolean
  readonly inspect: boolean
}

/** Pieces come in the order in which threads finish them and leave in that of the layers. */
class Line {
  readonly written = new Map<LayerCopy.Plan, Written>()
  failure: { readonly during: "read" | "write"; readonly plan: LayerCopy.Plan; readonly what: string } | undefined
  readonly #steps: ReadonlyArray<Step>
  readonly #sink: PackSink
  readonly #waiting = new Map<number, Compress.Piece>()
  /** For the bytes of pieces that wait. */
  readonly #spare: Array<Buffer> = []
  #next = 0
  #open: { readonly assembly: Compress.Assembly; readonly hash: crypto.Hash; size: number } | undefined

  constructor(steps: ReadonlyArray<Step>, sink: PackSink) {
    this.#steps = steps
    this.#sink = sink
  }

  arrived(piece: Compress.Piece, index: number): void {
    if (this.failure !== undefined) return
    this.#passInspections()
    if (index !== this.#next) {
      this.#waiting.set(index, this.#kept(piece))
      return
    }
    for (let next: Compress.Piece | undefined = piece; next !== undefined && this.failure === undefined; ) {
      const step = this.#steps[this.#next++]!
      try {
        this.#take(next, step)
      } catch (cause) {
        this.failure = { during: "write", plan: step.plan, what: describe(cause) }
      }
      if (next !== piece && next.bytes !== undefined) this.#spare.push(Buffer.from(next.bytes.buffer))
      this.#passInspections()
      next = this.#waiting.get(this.#next)
      this.#waiting.delete(this.#next)
    }
  }

  #passInspections(): void {
    while (this.#steps[this.#next]?.inspect === true) this.#next++
  }

  #kept(piece: Compress.Piece): Compress.Piece {
    const { bytes } = piece
    if (bytes === undefined) return piece
    const spare = this.#spare.pop()
    const copy = spare !== undefined && spare.length >= bytes.length ? spare : Buffer.allocUnsafeSlow(bytes.length)
    copy.set(bytes)
    return { ...piece, bytes: copy.subarray(0, bytes.length) }
  }

  #take(piece: Compress.Piece, { content, last, plan }: Step): void {
    if (piece.failure !== undefined) {
      this.failure = { during: "read", plan, what: describe(piece.failure) }
      return
    }
    if (this.#open === undefined) {
      this.#sink.begin(plan, content)
      const open = {
        hash: crypto.createHash("sha256"),
        size: 0,
        assembly: new Compress.Assembly(plan.form as "gzip" | "zstd", (bytes) => {
          open.hash.update(bytes)
          open.size += bytes.length
          this.#sink.write(bytes)
        })
      }
      this.#open = open
    }
    const { assembly, hash } = this.#open
    assembly.add(piece)
    if (!last) return
    assembly.end()
    const written = { size: this.#open.size, sha256: hash.digest("hex") }
    this.#open = undefined
    this.#sink.end(plan, written)
    this.written.set(plan, written)
  }
}
