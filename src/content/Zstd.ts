import { ZSTDDecoder } from "zstddec/stream"
import { count } from "../image/Count.ts"
import { type Decoder, type DecoderLimits, type DecoderSummary, exceeded, type Sink } from "./Decoder.ts"
import type { CompressionCheck, Problem } from "./Problem.ts"

/** What zstddec's WebAssembly module exports and this decoder uses (zstd.h, "Streaming decompression"). */
interface ZstdExports {
  readonly memory: { readonly buffer: ArrayBuffer }
  malloc(size: number): number
  free(pointer: number): void
  ZSTD_createDCtx(): number
  ZSTD_freeDCtx(context: number): number
  /** Takes pointers to `{ void* data; size_t size; size_t pos }`. */
  ZSTD_decompressStream(context: number, output: number, input: number): number
}

const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Instance: new (module: unknown, imports: object) => { readonly exports: ZstdExports }
  }
}

let preparing: Promise<void> | undefined
let module: unknown
let idle: ZstdExports | undefined

/**
 * Compiles the decoder. zstddec's own streaming loop does not return on corrupt input and does not tell how much it has
 * read, so only its WebAssembly module is used; it is handed over by the hook with which the class installs its instance.
 */
export const prepare = (): Promise<void> => (preparing ??= load())

const load = async (): Promise<void> => {
  const source = new ZSTDDecoder()
  const install = source._init
  source._init = (result: { readonly module: unknown }) => {
    module = result.module
    install(result)
  }
  await withoutFetch(() => source.init())
  if (module === undefined) throw new Error("zstddec was already in use in this thread: its module cannot be had")
}

/** Where there is `fetch`, zstddec decodes its own data: URL with it, which takes Node 25 ms to load. */
const withoutFetch = <A>(use: () => A): A => {
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, "fetch")
  if (descriptor?.configurable !== true) return use()
  Reflect.deleteProperty(globalThis, "fetch")
  try {
    return use()
  } finally {
    Object.defineProperty(globalThis, "fetch", descriptor)
  }
}

const instantiate = (): ZstdExports => {
  if (module === undefined) throw new Error("Zstd.prepare() has not been awaited")
  return new WebAssembly.Instance(module, { env: { emscripten_notify_memory_growth: () => {} } }).exports
}

/** WebAssembly memory never shrinks: an instance that a large window has blown up is not kept. */
const keptMemory = 40 * 1024 * 1024

const inputSize = 128 * 1024
/** Of a frame, little is handed over at first: with millions of tiny ones, each would copy what follows it as well. */
const firstInputSize = 256
const outputSize = 256 * 1024

/** What `zstd -d` accepts without `--long` (RFC 8878 section 3.1.1.1.2 asks for 8 MiB only). */
const maxWindow = 2 ** 27

const frameMagic = 0xfd2fb528
const skippableMagic = 0x184d2a50
/** The longest frame header: magic, descriptor, window, dictionary id, content size. */
const maxHeader = 18

// zstd_errors.h
const errorMemory = 64
const errorWindowTooLarge = 16
const errorUnsupported = 14
const errorMessages: ReadonlyMap<number, string> = new Map([
  [16, "window too large"],
  [20, "corrupt block"],
  [22, "the content's checksum does not match"],
  [24, "corrupt literals header"],
  [64, "not enough memory"],
  [70, "more content than announced"],
  [72, "wrong size"]
])

type State =
  | "header"
  | "body"
  | "skippable"
  /** After the last frame, bytes that start no other. */
  | "trailing"
  /** After a problem. */
  | "stopped"

/** See `Compression.makeDecoder`. Needs `prepare` to have been awaited. */
export const makeDecoder = (
  sink: Sink,
  onProblem: (problem: Problem) => void,
  limits: DecoderLimits | undefined
): Decoder => {
  let state: State = "header"
  let bytesIn = 0
  let bytesOut = 0
  let members = 0
  let proven = 0
  let unchecked = false
  let skippables = 0
  let complete = true
  /** Set when decoding stops before the end of the input. */
  let unreadFrom: number | undefined
  let summary: DecoderSummary | undefined

  let frameStart = 0
  let pieceSize = firstInputSize
  const header = Buffer.alloc(maxHeader)
  let headerRead = 0
  /** How many bytes of the header have to be there for the next step. */
  let headerNeeded = 4
  let skipLeft = 0
  let trailingIsZero = true

  const zstd = idle ?? instantiate()
  idle = undefined
  const context = zstd.ZSTD_createDCtx()
  const inputPointer = zstd.malloc(inputSize)
  const outputPointer = zstd.malloc(outputSize)
  const inputStruct = zstd.malloc(24)
  const outputStruct = inputStruct + 12
  if (context === 0 || inputPointer === 0 || outputPointer === 0 || inputStruct === 0) {
    throw new Error("zstd: no memory for a decoder")
  }
  let heap = Buffer.from(zstd.memory.buffer)
  let words = new Uint32Array(zstd.memory.buffer)
  let closed = false

  const report = (check: CompressionCheck, offset: number, message: string, details?: Partial<Problem>): void => {
    complete = false
    onProblem({ check, message, offset, ...details })
  }

  const stop = (check: CompressionCheck, offset: number, message: string, details?: Partial<Problem>): void => {
    state = "stopped"
    unreadFrom = offset
    report(check, offset, `${message}; nothing after it was decoded`, details)
  }

  const enterHeader = (offset: number): void => {
    state = "header"
    frameStart = offset
    headerRead = 0
    headerNeeded = 4
    pieceSize = firstInputSize
  }

  /**
   * Feeds part of a frame and returns the position after what was used: `to`, unless the frame ended or `state` became
   * "stopped".
   */
  const decode = (chunk: Uint8Array, from: number, to: number, base: number): number => {
    let position = from
    while (position < to) {
      const size = Math.min(pieceSize, to - position)
      pieceSize = Math.min(inputSize, pieceSize * 4)
      heap.set(chunk.subarray(position, position + size), inputPointer)
      words[inputStruct >> 2] = inputPointer
      words[(inputStruct >> 2) + 1] = size
      words[(inputStruct >> 2) + 2] = 0
      for (;;) {
        words[outputStruct >> 2] = outputPointer
        words[(outputStruct >> 2) + 1] = outputSize
        words[(outputStruct >> 2) + 2] = 0
        const before = words[(inputStruct >> 2) + 2]!
        const result = zstd.ZSTD_decompressStream(context, outputStruct, inputStruct)
        if (heap.buffer !== zstd.memory.buffer) {
          heap = Buffer.from(zstd.memory.buffer)
          words = new Uint32Array(zstd.memory.buffer)
        }
        const used = words[(inputStruct >> 2) + 2]!
        const produced = words[(outputStruct >> 2) + 2]!
        const offset = base + position + used
        // Errors are the last values of a size_t, which arrives as a signed number.
        if (result < 0 && result > -120) {
          fail(-result, offset)
          return position
        }
        if (produced > 0) {
          const limitReached = exceeded(bytesOut + produced, bytesIn, limits)
          if (limitReached !== undefined) {
            stop("compression.limit", offset, limitReached)
            return position
          }
          bytesOut += produced
          sink(heap, outputPointer, outputPointer + produced)
          // The sink may have closed the decoder.
          if (closed) return to
        }
        if (result === 0) {
          members++
          proven = bytesOut
          enterHeader(offset)
          return position + used
        }
        if (used === size && produced < outputSize) break
        if (used === before && produced === 0) {
          stop("compression.corrupt", offset, `the zstd frame at ${frameStart} makes no progress`)
          return position
        }
      }
      position += size
    }
    return position
  }

  const fail = (code: number, offset: number): void => {
    const what = errorMessages.get(code) ?? `error ${code}`
    if (code === errorMemory || code === errorWindowTooLarge) {
      return stop("compression.limit", offset, `the zstd frame at ${frameStart} needs too much memory (${what})`)
    }
    if (code === errorUnsupported) {
      return stop("compression.unsupported", frameStart, `the zstd frame at ${frameStart} uses what RFC 8878 reserves`)
    }
    stop("compression.corrupt", offset, `the zstd frame at ${frameStart} is corrupt near ${offset} (${what})`)
  }

  /** Called with `headerNeeded` bytes of a header; enters the next state, or asks for more bytes. */
  const readHeader = (offset: number): void => {
    const magic = header.readUInt32LE(0)
    if ((magic & 0xfffffff0) >>> 0 === skippableMagic) {
      if (headerRead < 8) {
        headerNeeded = 8
        return
      }
      skipLeft = header.readUInt32LE(4)
      state = "skippable"
      if (skipLeft === 0) endSkippable(offset)
      return
    }
    if (magic !== frameMagic) {
      if (magic >= 0xfd2fb51e && magic < frameMagic) {
        return stop(
          "compression.unsupported",
          frameStart,
          `the zstd frame at ${frameStart} has a format from before zstd 0.8`
        )
      }
      if (members + skippables === 0) return stop("compression.corrupt", 0, "it does not begin with a zstd frame")
      trailingIsZero = header.subarray(0, headerRead).every((byte) => byte === 0)
      state = "trailing"
      return
    }
    if (headerRead === 4) {
      headerNeeded = 5
      return
    }
    const descriptor = header[4]!
    const singleSegment = (descriptor & 0x20) !== 0
    const dictionarySize = [0, 1, 2, 4][descriptor & 3]!
    const contentSizeSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
    const windowSize = singleSegment ? 0 : 1
    const total = 5 + windowSize + dictionarySize + contentSizeSize
    if (headerRead < total) {
      headerNeeded = total
      return
    }
    const dictionary = dictionarySize === 0 ? 0 : header.readUIntLE(5 + windowSize, dictionarySize)
    if (dictionary !== 0) {
      return stop(
        "compression.unsupported",
        frameStart,
        `the zstd frame at ${frameStart} needs the dictionary ${dictionary}`
      )
    }
    let window: number
    if (singleSegment) {
      const at = 5 + dictionarySize
      window =
        contentSizeSize === 8
          ? header.readUInt32LE(at) + header.readUInt32LE(at + 4) * 2 ** 32
          : header.readUIntLE(at, contentSizeSize) + (contentSizeSize === 2 ? 256 : 0)
    } else {
      const base = 2 ** (10 + (header[5]! >> 3))
      window = base + (base / 8) * (header[5]! & 7)
    }
    if (window > maxWindow) {
      return stop(
        "compression.limit",
        frameStart,
        `the zstd frame at ${frameStart} needs a window of ${window} bytes, more than ${maxWindow}`
      )
    }
    if ((descriptor & 4) === 0) unchecked = true
    state = "body"
    decode(header, 0, total, frameStart)
  }

  const endSkippable = (offset: number): void => {
    skippables++
    enterHeader(offset)
  }

  /** One step in the present state; returns the position after what it read. */
  const step = (chunk: Uint8Array, from: number, to: number, base: number): number => {
    switch (state) {
      case "header": {
        const end = Math.min(to, from + headerNeeded - headerRead)
        for (let i = from; i < end; i++) header[headerRead++] = chunk[i]!
        if (headerRead === headerNeeded) readHeader(base + end)
        return end
      }
      case "body":
        return decode(chunk, from, to, base)
      case "skippable": {
        const end = Math.min(to, from + skipLeft)
        skipLeft -= end - from
        if (skipLeft === 0) endSkippable(base + end)
        return end
      }
      case "trailing": {
        for (let i = from; i < to && trailingIsZero; i++) if (chunk[i] !== 0) trailingIsZero = false
        return to
      }
      case "stopped":
        return to
    }
  }

  /** Whether the one to three bytes at the end could be the beginning of a frame. */
  const mayBeMagic = (): boolean => {
    const wanted = Buffer.alloc(4)
    wanted.writeUInt32LE(frameMagic)
    if (header.subarray(0, headerRead).equals(wanted.subarray(0, headerRead))) return true
    wanted.writeUInt32LE(skippableMagic)
    return (header[0]! & 0xf0) === 0x50 && header.subarray(1, headerRead).equals(wanted.subarray(1, headerRead))
  }

  const finish = (): void => {
    if (state === "stopped") return
    if (state === "header" && headerRead === 0 && members + skippables > 0) return
    if (state === "header" && headerRead > 0 && headerRead < 4 && !mayBeMagic()) {
      if (members + skippables === 0) return stop("compression.corrupt", 0, "it does not begin with a zstd frame")
      trailingIsZero = header.subarray(0, headerRead).every((byte) => byte === 0)
      state = "trailing"
    }
    if (state === "trailing") {
      unreadFrom = frameStart
      const rest = bytesIn - frameStart
      return report(
        "compression.trailing-data",
        frameStart,
        trailingIsZero
          ? `${count(rest, "zero byte")} behind the last zstd frame`
          : `${count(rest, "byte")} of something else behind the last zstd frame`
      )
    }
    const where =
      bytesIn === 0
        ? "it is empty, without a zstd frame"
        : `it ends within the ${state === "body" ? "data" : state === "skippable" ? "content" : "header"} of the ${
            state === "skippable" ? "skippable" : "zstd"
          } frame at ${frameStart}`
    report("compression.truncated", bytesIn, where)
  }

  const close = (): void => {
    if (state !== "stopped" && summary === undefined) {
      complete = false
      unreadFrom = bytesIn
    }
    state = "stopped"
    if (closed) return
    closed = true
    zstd.ZSTD_freeDCtx(context)
    zstd.free(inputPointer)
    zstd.free(outputPointer)
    zstd.free(inputStruct)
    // What hostile input did to an instance's memory must not reach the next stream.
    if (complete && zstd.memory.buffer.byteLength <= keptMemory) idle = zstd
  }

  return {
    write(chunk, from, to) {
      const base = bytesIn - from
      bytesIn += to - from
      let position = from
      try {
        while (position < to) position = step(chunk, position, to, base)
      } catch (cause) {
        // The sink threw: what it did not take cannot be made up for.
        close()
        throw cause
      }
    },
    end() {
      if (summary === undefined) {
        finish()
        summary = {
          bytesIn,
          bytesOut,
          members,
          proven,
          unchecked,
          unread: unreadFrom === undefined ? 0 : bytesIn - unreadFrom,
          complete
        }
        close()
      }
      return summary
    },
    close
  }
}
