/**
 * A layer compressed by several threads at once: pieces of its tar are encoded in any order and put together in theirs,
 * which gives the bytes that one thread alone would (see `BlockFormat`). The pass that proves the tar is one of the tasks,
 * so that it runs beside them.
 */

import * as fs from "node:fs"
import { count } from "../image/Count.ts"
import type { Region } from "../image/Region.ts"
import * as Codec from "./Compression.ts"
import * as Crc32 from "./Crc32.ts"
import * as Inspect from "./Inspect.ts"
import type { Job } from "./Job.ts"
import { openForRead } from "./OpenFile.ts"

/** How a stream is to be compressed. */
export interface Coding {
  readonly kind: "gzip" | "zstd"
  readonly level: number
  /** From `Codec.locateEncoder`, for zstd. */
  readonly encoder?: string
}

/** Plain data: it crosses to a worker. */
export interface PieceTask extends Coding {
  readonly step: "piece"
  /** All of the tar. */
  readonly region: Region
  /** Offset in the region where the piece begins, a multiple of the size of pieces. */
  readonly from: number
}

export interface InspectStep {
  readonly step: "inspect"
  readonly task: Inspect.InspectTask
}

export interface Piece {
  readonly step: "piece"
  /**
   * Its encoded blocks, in memory that all threads share and that the next piece of the same thread overwrites: whoever
   * needs them longer copies them. Undefined after a failure.
   */
  readonly bytes: Uint8Array | undefined
  /** CRC-32 of the piece of tar, 0 where the format has none. */
  readonly crc: number
  /** Bytes of tar. */
  readonly size: number
  readonly failure?: { readonly code: string; readonly message: string }
}

export interface Inspected {
  readonly step: "inspect"
  readonly evidence: Inspect.Evidence
}

/**
 * Bytes of tar in a piece: long enough that threads do not wait for each other, short enough that they end at the same
 * time. A multiple of the format's block size.
 */
const pieceSizes = { gzip: 2 * 1024 * 1024, zstd: 4 * 1024 * 1024 } as const

/** The tasks that encode a tar, in order. An empty one is one piece. */
export const pieces = (region: Region, coding: Coding): ReadonlyArray<PieceTask> => {
  const size = pieceSizes[coding.kind]
  return Array.from({ length: Math.max(1, Math.ceil(region.size / size)) }, (_, index) => ({
    ...coding,
    step: "piece",
    region,
    from: index * size
  }))
}

let input: Buffer | undefined
/** The piece as it grows. Used again and again: memory for each piece would be freed late, 100 MB of it at a time. */
let staging = new Uint8Array(new SharedArrayBuffer(1024 * 1024))

const readAll = (fd: number, region: Region, from: number, length: number): Buffer => {
  input ??= Buffer.allocUnsafeSlow(pieceSizes.zstd + 64 * 1024)
  for (let done = 0; done < length; ) {
    const read = fs.readSync(fd, input, done, length - done, region.offset + from + done)
    if (read === 0)
      throw Object.assign(new Error(`it ends after ${from + done} of ${count(region.size, "byte")}`), {
        code: "ESHORT"
      })
    done += read
  }
  return input.subarray(0, length)
}

const encode = (task: PieceTask): Piece => {
  const { from, kind, level, region } = task
  const format = Codec.blockFormat(kind)
  let fd: number | undefined
  try {
    fd = openForRead(region.path)
    const before = Math.min(format.historySize, from)
    const size = Math.min(pieceSizes[kind], region.size - from)
    const bytes = readAll(fd, region, from - before, before + size)
    let length = 0
    for (let at = 0; at < size || at === 0; at += format.blockSize) {
      const start = before + at
      const end = before + Math.min(size, at + format.blockSize)
      const history = Math.min(format.historySize, start)
      const last = from + at + format.blockSize >= region.size
      const block = format.encode(level, bytes.subarray(start - history, end), history, end - start + history, last)
      staging = withRoom(staging, length, block.length)
      staging.set(block, length)
      length += block.length
    }
    return {
      step: "piece",
      bytes: staging.subarray(0, length),
      crc: kind === "gzip" ? Crc32.update(0, bytes, before, before + size) : 0,
      size
    }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "EUNKNOWN"
    return {
      step: "piece",
      bytes: undefined,
      crc: 0,
      size: 0,
      failure: { code, message: cause instanceof Error ? cause.message : String(cause) }
    }
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

/** `bytes`, of which `used` are in use, or a copy that has room for `more`. */
const withRoom = (bytes: typeof staging, used: number, more: number): typeof staging => {
  if (used + more <= bytes.length) return bytes
  const larger = new Uint8Array(new SharedArrayBuffer(2 * (used + more)))
  larger.set(bytes.subarray(0, used))
  return larger
}

export const job: Job<PieceTask | InspectStep, Piece | Inspected> = {
  kind: "compress",
  prepare: async (task) => {
    await (task.step === "inspect" ? Inspect.job.prepare?.(task.task) : Codec.prepareEncoder(task.kind, task.encoder))
  },
  run: (task, progress) => {
    if (task.step === "inspect") return { step: "inspect", evidence: Inspect.run(task.task, progress) }
    const piece = encode(task)
    progress(pieceSizes[task.kind])
    return piece
  },
  // The last piece counts as much as the others: it would be put off behind all layers that come after it.
  cost: (task) => (task.step === "inspect" ? Inspect.job.cost(task.task) : pieceSizes[task.kind]),
  transfer: (result) => (result.step === "inspect" ? (Inspect.job.transfer?.(result.evidence) ?? []) : [])
}

/** Puts the pieces of one stream together, in their order. */
export class Assembly {
  readonly #format: Codec.BlockFormat
  readonly #write: (bytes: Uint8Array) => void
  #crc = 0
  #size = 0
  #begun = false

  /** `write` takes the stream's bytes in order. */
  constructor(kind: "gzip" | "zstd", write: (bytes: Uint8Array) => void) {
    this.#format = Codec.blockFormat(kind)
    this.#write = write
  }

  add(piece: Piece): void {
    if (!this.#begun) this.#write(this.#format.head)
    this.#begun = true
    this.#crc = Crc32.combine(this.#crc, piece.crc, piece.size)
    this.#size += piece.size
    this.#write(piece.bytes!)
  }

  end(): void {
    this.#write(this.#format.tail(this.#crc, this.#size))
  }
}
