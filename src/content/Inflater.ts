import * as zlib from "node:zlib"
import { InflateRaw as MiniInflateRaw } from "minizlib"

/**
 * Raw deflate (RFC 1951) decoding that tells how much of its input it used, which Node's public zlib API does not: without
 * it neither trailing bytes nor the boundaries of gzip members can be seen.
 */
export interface Inflater {
  /**
   * Decodes `input[from, to)` up to the end of the deflate stream and returns the position after the last byte used.
   * Output goes to the sink in chunks of a reused buffer. When less than all was used, the stream has ended, or `error`
   * is set, or the sink asked to stop.
   */
  write(input: Uint8Array, from: number, to: number): number
  /** What zlib said, when the data is corrupt. */
  readonly error: string | undefined
  /** Prepares for another stream. Not after an error. */
  reset(): void
  close(): void
}

/** Returns false to stop. */
export type InflaterSink = (chunk: Uint8Array, from: number, to: number) => boolean

interface RawHandle {
  writeSync(
    flush: number,
    input: Uint8Array | null,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number
  ): void
  reset(): void
  close(): void
  onerror: (message: string, errno: number, code: string) => void
}

interface ZlibInternals {
  _handle?: RawHandle
  _writeState?: Uint32Array
  bytesWritten: number
}

// Small enough that output is still in the L2 cache when the hash and the tar scanner read it.
const outputSize = 256 * 1024

/** On an error zlib does not say how far it came, so the input is handed over in slices that bound the uncertainty. */
const sliceSize = 64 * 1024

/**
 * Over the binding that `node:zlib` itself is made of: no buffer is allocated per call. Node guards it with assertions
 * that abort the process, hence the checks in `hasKnownBinding`.
 */
const makeBindingInflater = (sink: InflaterSink): Inflater => {
  const stream = zlib.createInflateRaw()
  const { _handle: handle, _writeState: state } = stream as unknown as Required<ZlibInternals>
  const output = Buffer.allocUnsafeSlow(outputSize)
  let error: string | undefined
  let closed = false
  handle.onerror = (message) => {
    error = message
  }
  return {
    write(input, from, to) {
      let position = from
      while (position < to) {
        const length = Math.min(sliceSize, to - position)
        handle.writeSync(zlib.constants.Z_NO_FLUSH, input, position, length, output, 0, outputSize)
        if (error !== undefined) return position
        const outputLeft = state[0]!
        const inputLeft = state[1]!
        position += length - inputLeft
        if (outputLeft < outputSize && !sink(output, 0, outputSize - outputLeft)) return position
        if (inputLeft > 0 && outputLeft > 0) return position
        if (inputLeft === 0 && outputLeft === 0) {
          // More output may be pending that needs no more input.
          for (;;) {
            handle.writeSync(zlib.constants.Z_NO_FLUSH, null, 0, 0, output, 0, outputSize)
            if (error !== undefined) return position
            const left = state[0]!
            if (left < outputSize && !sink(output, 0, outputSize - left)) return position
            if (left > 0) break
          }
        }
      }
      return position
    },
    get error() {
      return error
    },
    reset() {
      handle.reset()
    },
    close() {
      if (closed) return
      closed = true
      stream.close()
    }
  }
}

/** Over minizlib: slower by a sixth, and sound on every Node. */
const makeMiniInflater = (sink: InflaterSink): Inflater => {
  // Its types leave out what it passes on to zlib.
  const options: object = { chunkSize: outputSize }
  const stream = new MiniInflateRaw(options)
  const inner = stream.handle as unknown as ZlibInternals
  let error: string | undefined
  let going = true
  stream.on("error", (cause) => {
    error = String(cause instanceof Error ? cause.message : cause).replace(/^zlib: /, "")
  })
  stream.on("data", (chunk: Buffer) => {
    if (going) going = sink(chunk, 0, chunk.length)
  })
  return {
    write(input, from, to) {
      let position = from
      // A slice of 16 KiB cannot inflate to more than 17 MiB, which is what a call may hold in memory.
      while (position < to && going && error === undefined) {
        const length = Math.min(16 * 1024, to - position)
        stream.write(Buffer.from(input.buffer, input.byteOffset + position, length))
        if (error !== undefined) break
        const used = inner.bytesWritten
        position += used
        if (used < length) break
      }
      return position
    },
    get error() {
      return error
    },
    reset() {
      stream.reset()
    },
    close() {
      stream.close()
    }
  }
}

/** The lines on which the binding has been tested. On others minizlib serves until somebody has looked. */
const isKnownNode = (): boolean => {
  const major = Number.parseInt(process.versions.node, 10)
  return major >= 20 && major <= 24 && process.versions["bun"] === undefined && process.versions["deno"] === undefined
}

const hasKnownBinding = (): boolean => {
  if (!isKnownNode()) return false
  const stream = zlib.createInflateRaw()
  try {
    const { _handle: handle, _writeState: state } = stream as unknown as ZlibInternals
    return (
      handle !== undefined &&
      typeof handle.writeSync === "function" &&
      typeof handle.reset === "function" &&
      typeof handle.onerror === "function" &&
      state instanceof Uint32Array &&
      state.length === 2
    )
  } finally {
    stream.close()
  }
}

/** Two streams, bytes after the end, and a corrupt stream: all that the decoder relies on. */
const passesSelfTest = (make: (sink: InflaterSink) => Inflater): boolean => {
  const content = Buffer.alloc(20_000)
  for (let i = 0; i < content.length; i++) content[i] = (i * i) >>> 7
  const packed = zlib.deflateRawSync(content)
  const input = Buffer.concat([packed, Buffer.from("beyond")])
  const parts: Array<Buffer> = []
  const collect: InflaterSink = (chunk, from, to) => {
    parts.push(Buffer.from(chunk.subarray(from, to)))
    return true
  }
  const inflater = make(collect)
  try {
    const half = packed.length >> 1
    if (inflater.write(input, 0, half) !== half || inflater.error !== undefined) return false
    if (inflater.write(input, half, input.length) !== packed.length || inflater.error !== undefined) return false
    if (!Buffer.concat(parts).equals(content)) return false
    inflater.reset()
    parts.length = 0
    if (inflater.write(input, 0, packed.length) !== packed.length || !Buffer.concat(parts).equals(content)) return false
    if (inflater.write(input, packed.length, input.length) !== packed.length) return false
  } finally {
    inflater.close()
  }
  const corrupt = make(() => true)
  try {
    corrupt.write(Buffer.from([0xff, 0xff, 0xff, 0xff]), 0, 4)
    return corrupt.error !== undefined
  } finally {
    corrupt.close()
  }
}

let bindingServes: boolean | undefined

const canUseBinding = (): boolean => {
  if (bindingServes === undefined) {
    try {
      bindingServes = hasKnownBinding() && passesSelfTest(makeBindingInflater)
    } catch {
      bindingServes = false
    }
  }
  return bindingServes
}

/** An inflater; `engine` is for tests, the default is the fastest that works here. */
export const make = (
  sink: InflaterSink,
  engine: "binding" | "minizlib" = canUseBinding() ? "binding" : "minizlib"
): Inflater => (engine === "binding" ? makeBindingInflater(sink) : makeMiniInflater(sink))
