import { createRequire } from "node:module"
import type { BlockFormat } from "./Encoder.ts"

/** What the package's WebAssembly module exports and this encoder uses (zstd.h, "Simple API"). */
interface ZstdExports {
  /** All of its memory; another view after the memory has grown. */
  readonly HEAPU8: Uint8Array
  _malloc(size: number): number
  _ZSTD_compressBound(size: number): number
  _ZSTD_compress(target: number, room: number, source: number, size: number, level: number): number
  _ZSTD_isError(result: number): number
}

interface Loaded {
  readonly exports: ZstdExports
  /** Where a block is put, and where its frame is written: each has room for the largest. */
  readonly source: number
  readonly target: number
  readonly room: number
}

let preparing: Promise<void> | undefined
let zstd: Loaded | undefined

/**
 * Where the package with zstd's encoder is. It reads its WebAssembly from a file beside it, so that it cannot be part of
 * a bundle, and code that was started from a string cannot find it: whoever starts such a worker tells it.
 */
export const locate = (): string => createRequire(import.meta.url).resolve("@bokuweb/zstd-wasm")

/**
 * Loads the encoder, once per thread. The package's own function makes a new array of each frame, which the collector
 * gets to late, hundreds of megabytes of them at a time: only its module is used.
 */
export const prepare = (file = locate()): Promise<void> => (preparing ??= load(file))

const load = async (file: string): Promise<void> => {
  const take = createRequire(file)
  await (take(file) as { readonly init: () => Promise<void> }).init()
  const { Module: exports } = take("./module.js") as { readonly Module: ZstdExports }
  const room = exports._ZSTD_compressBound(blockSize)
  const [target, source] = [exports._malloc(room), exports._malloc(blockSize)]
  if (target === 0 || source === 0) throw new Error("zstd: no memory for an encoder")
  zstd = { exports, source, target, room }
}

const nothing = new Uint8Array(0)

const blockSize = 4 * 1024 * 1024

/**
 * Each block is a frame of its own (RFC 8878), with its content's size: this bounds memory, and costs no space, as the
 * encoder suits its parameters to a size that it knows. The encoder is zstd itself in WebAssembly, the same for every
 * machine and Node, as long as the package's version stays the same.
 */
export const zstdFormat: BlockFormat = {
  blockSize,
  historySize: 0,
  minLevel: 1,
  maxLevel: 19,
  head: nothing,
  encode: (level, input, start, end) => {
    if (zstd === undefined) throw new Error("the zstd encoder has not been prepared")
    const { exports, room, source, target } = zstd
    exports.HEAPU8.set(input.subarray(start, end), source)
    const size = exports._ZSTD_compress(target, room, source, end - start, level)
    if (exports._ZSTD_isError(size)) throw new Error(`zstd: a block cannot be encoded (error ${-size})`)
    return exports.HEAPU8.subarray(target, target + size)
  },
  tail: () => nothing
}
