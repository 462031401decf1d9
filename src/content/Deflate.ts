import { deflateModule } from "./DeflateModule.ts"

/** What `deflate/deflate.as` exports. */
interface DeflateExports {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly INPUT: { readonly value: number }
  readonly OUTPUT: { readonly value: number }
  init(): void
  deflate(level: number, start: number, end: number, final: number): number
}

const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array) => object
    readonly Instance: new (module: object, imports: object) => { readonly exports: DeflateExports }
  }
}

/** How many bytes one call takes. */
export const segmentSize = 1024 * 1024

/** How many bytes before a segment can be referred to from within it (RFC 1951 section 2). */
export const historySize = 32 * 1024

interface Loaded {
  readonly exports: DeflateExports
  readonly memory: Buffer
}

let loaded: Loaded | undefined

const load = (): Loaded => {
  const module = new WebAssembly.Module(Buffer.from(deflateModule, "base64"))
  const { exports } = new WebAssembly.Instance(module, {})
  exports.init()
  // Its memory never grows.
  return { exports, memory: Buffer.from(exports.memory.buffer) }
}

/**
 * Compresses the segment `input[start, end)` of a stream, with up to `historySize` bytes before it at
 * `input[0, start)`. The outputs of a stream's segments, of which `last` marks the last, make up a deflate stream (RFC
 * 1951) when they are concatenated. They depend on nothing but the arguments: neither on the machine nor on calls before.
 * Level 1 is fast, 9 small; 6 gives the size of `gzip -6` within two per cent, for files as images have them. The result is valid until the next call.
 */
export const deflate = (level: number, input: Uint8Array, start: number, end: number, last: boolean): Uint8Array => {
  if (start > historySize || end - start > segmentSize)
    throw new RangeError(`a segment of ${start} + ${end - start} bytes`)
  const { exports, memory } = (loaded ??= load())
  memory.set(input.subarray(0, end), exports.INPUT.value)
  const size = exports.deflate(level, start, end, last ? 1 : 0)
  return memory.subarray(exports.OUTPUT.value, exports.OUTPUT.value + size)
}
