import { createRequire } from "node:module"
import type { BlockFormat } from "./Encoder.ts"

type Package = typeof import("@bokuweb/zstd-wasm")

let preparing: Promise<void> | undefined
let zstd: Package | undefined

/**
 * Where the package with zstd's encoder is. It reads its WebAssembly from a file beside it, so that it cannot be part of
 * a bundle, and code that was started from a string cannot find it: whoever starts such a worker tells it.
 */
export const locate = (): string => createRequire(import.meta.url).resolve("@bokuweb/zstd-wasm")

/** Loads the encoder, once per thread. */
export const prepare = (file = locate()): Promise<void> => (preparing ??= load(file))

const load = async (file: string): Promise<void> => {
  const loaded: Package = createRequire(file)(file)
  await loaded.init()
  zstd = loaded
}

const nothing = new Uint8Array(0)

/**
 * Each block is a frame of its own (RFC 8878), with its content's size: this bounds memory, and costs no space, as the
 * encoder suits its parameters to a size that it knows. The encoder is zstd itself in WebAssembly, the same for every
 * machine and Node, as long as the package's version stays the same.
 */
export const zstdFormat: BlockFormat = {
  blockSize: 4 * 1024 * 1024,
  historySize: 0,
  minLevel: 1,
  maxLevel: 19,
  head: nothing,
  encode: (level, input, start, end) => {
    if (zstd === undefined) throw new Error("the zstd encoder has not been prepared")
    return zstd.compress(input.subarray(start, end), level)
  },
  tail: () => nothing
}
