/** A layer's tar as a stream of bytes: read, decompressed, edited. Synchronous, for worker threads. */

import * as fs from "node:fs"
import type { Compression } from "../image/Compression.ts"
import { count } from "../image/Count.ts"
import type { Region } from "../image/Region.ts"
import * as Codec from "./Compression.ts"
import { type CopyMember, TakeEdit } from "./ExcludeEdit.ts"
import { type EditFacts, makeChain, type OtherLayers } from "./LayerEdits.ts"
import type { LayerInput } from "./LayerInput.ts"
import { openForRead } from "./OpenFile.ts"
import type { Problem } from "./Problem.ts"
import { TarEditError, TarEditor } from "./TarEdit.ts"
import { blockSize, paddingOf } from "./TarField.ts"

export type { LayerInput } from "./LayerInput.ts"

/** A layer cannot be read to its end. `unreadable`: the system says so. `damaged`: its bytes are no layer's. */
export class LayerReadError extends Error {
  override readonly name = "LayerReadError"
  readonly reason: "unreadable" | "damaged"
  readonly code: string

  constructor(reason: "unreadable" | "damaged", code: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.reason = reason
    this.code = code
  }
}

export interface StreamHooks {
  /** The bytes as stored, before they are touched. */
  readonly onStored?: (chunk: Uint8Array) => void
  /** The uncompressed tar before the edits. */
  readonly onUnedited?: (chunk: Uint8Array) => void
  /** Bytes read since the last call. */
  readonly onProgress?: (bytes: number) => void
}

export interface Streamed {
  readonly compression: Compression
  /** Bytes that came out. */
  readonly size: number
  readonly edits: ReadonlyArray<EditFacts>
}

/** Larger reads are hardly faster, and what they bring has left the cache when the hash comes to it. */
const chunkSize = 256 * 1024
/** Buffers that no stream uses at present: a copy from another layer reads while its own layer is being read. */
const buffers: Array<Buffer> = []

/** Loads the decoder that the first bytes ask for, and no other: that takes longer than to hash a small layer. */
export const prepare = async ({ edits, region }: LayerInput): Promise<void> => {
  // Edits may read other layers too.
  if (edits.length > 0) return Codec.prepare()
  const compression = compressionOf(region)
  if (compression === "gzip" || compression === "zstd") await Codec.prepareFor(compression)
}

const compressionOf = (region: Region): Codec.DetectedCompression | undefined => {
  try {
    const fd = open(region)
    try {
      const head = Buffer.alloc(Math.min(8, region.size))
      return Codec.detect(head.subarray(0, readAt(fd, head, head.length, region.offset)))
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    // Whoever streams it meets the same failure.
    return undefined
  }
}

/**
 * Streams the whole of a layer into `sink`, whose chunks are valid during the call and may be changed by it. Throws
 * `LayerReadError`, and whatever the sink throws. `prepare` has to be done before.
 */
export const stream = (input: LayerInput, sink: Codec.Sink, hooks: StreamHooks = {}): Streamed => {
  const { region } = input
  const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(chunkSize)
  let fd: number | undefined
  try {
    fd = open(region)
    let pass: Pass | undefined
    let done = 0
    while (done < region.size) {
      const read = readAt(fd, buffer, Math.min(chunkSize, region.size - done), region.offset + done)
      if (read === 0) {
        throw new LayerReadError(
          "damaged",
          "ESHORT",
          `it ends early: expected ${count(region.size, "byte")}, found ${done}`
        )
      }
      const chunk = read === chunkSize ? buffer : buffer.subarray(0, read)
      hooks.onStored?.(chunk)
      pass ??= new Pass(chunk, input, sink, hooks)
      pass.write(chunk)
      done += read
      hooks.onProgress?.(read)
    }
    pass ??= new Pass(buffer.subarray(0, 0), input, sink, hooks)
    return pass.end()
  } catch (cause) {
    if (cause instanceof TarEditError) throw new LayerReadError("damaged", cause.code, cause.message, cause)
    throw cause
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
    buffers.push(buffer)
  }
}

/** For reading; a `LayerReadError` when it is no regular file. */
export const open = (region: Region): number => {
  try {
    const fd = openForRead(region.path)
    if (fs.fstatSync(fd).isFile()) return fd
    fs.closeSync(fd)
  } catch (cause) {
    throw unreadable(cause)
  }
  throw new LayerReadError("unreadable", "ENOTREG", "it is no regular file")
}

const unreadable = (cause: unknown): LayerReadError =>
  new LayerReadError(
    "unreadable",
    (cause as NodeJS.ErrnoException).code ?? "EUNKNOWN",
    cause instanceof Error ? cause.message : String(cause),
    cause
  )

export const readAt = (fd: number, buffer: Buffer, length: number, position: number): number => {
  try {
    return fs.readSync(fd, buffer, 0, length, position)
  } catch (cause) {
    throw unreadable(cause)
  }
}

class Pass {
  readonly compression: Compression
  readonly #decoder: Codec.Decoder | undefined
  readonly #write: Codec.Sink
  readonly #end: () => ReadonlyArray<EditFacts>
  #problem: Problem | undefined
  #size = 0

  constructor(head: Uint8Array, input: LayerInput, sink: Codec.Sink, hooks: StreamHooks) {
    const detected = Codec.detect(head)
    if (detected !== "none" && detected !== "gzip" && detected !== "zstd") {
      throw new LayerReadError("damaged", "ECOMPRESSION", `expected tar, gzip or zstd, found ${detected}`)
    }
    this.compression = detected
    const out: Codec.Sink = (chunk, from, to) => {
      this.#size += to - from
      sink(chunk, from, to)
    }
    const chain = input.edits.length === 0 ? undefined : makeChain(input.edits, out, otherLayers)
    const inner = chain?.write ?? out
    const { onUnedited } = hooks
    this.#end = chain?.end ?? (() => [])
    this.#write =
      onUnedited === undefined
        ? inner
        : (chunk, from, to) => {
            onUnedited(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
            inner(chunk, from, to)
          }
    if (detected !== "none") {
      const limits = { inputSize: input.region.size, ...input.limits }
      this.#decoder = Codec.makeDecoder(
        detected,
        this.#write,
        (problem) => {
          this.#problem = problem
        },
        limits
      )
    }
  }

  write(chunk: Uint8Array): void {
    if (this.#decoder === undefined) this.#write(chunk, 0, chunk.length)
    else {
      this.#decoder.write(chunk, 0, chunk.length)
      this.#check()
    }
  }

  #check(): void {
    // Bytes behind the compressed stream are a fault of the file, none of the tar in it: that is whole by then.
    if (this.#problem === undefined || this.#problem.check === "compression.trailing-data") return
    this.#decoder?.close()
    throw new LayerReadError("damaged", "ECOMPRESSION", this.#problem.message)
  }

  end(): Streamed {
    if (this.#decoder !== undefined) {
      this.#decoder.end()
      this.#decoder.close()
      this.#check()
    }
    const edits = this.#end()
    return { compression: this.compression, size: this.#size, edits }
  }
}

/** Ends the reading of a layer early, from within. */
class Enough extends Error {}

/** The member that a copy names, under `path`, with its padding. */
const copyMember: CopyMember = (copy, path, globals, sink) => {
  const from = copy.from as LayerInput
  let left = -1
  let size = 0
  const take = new TarEditor(
    new TakeEdit(copy.entry, path, globals, (bytes) => {
      left = size = bytes
    }),
    (chunk, start, end) => {
      // What comes before is global headers, what comes behind is padding and the end of that archive.
      if (left < 0) return
      const taken = Math.min(left, end - start)
      if (taken > 0) sink(chunk, start, start + taken)
      left -= taken
      if (left === 0) throw new Enough()
    }
  )
  try {
    stream(from, (chunk, start, end) => take.write(chunk, start, end))
    take.end()
  } catch (cause) {
    if (!(cause instanceof Enough)) throw cause
  }
  if (left !== 0)
    throw new LayerReadError("damaged", "ECHANGED", `member ${copy.entry} of the lower layer is not there`)
  const padding = paddingOf(size)
  if (padding > 0) sink(zeros, 0, padding)
}

const zeros = Buffer.alloc(blockSize)

/** How edits get at other layers, in this thread. */
export const otherLayers: OtherLayers = {
  copy: copyMember,
  open: (input, sink) => {
    stream(input, sink)
  }
}
