import { fromBytes } from "./ByteString.ts"
import type { Decoder, DecoderLimits, Sink } from "./Decoder.ts"
import { type BlockFormat, type Encoder, make as makeBlockEncoder } from "./Encoder.ts"
import { gzipFormat } from "./GzipFormat.ts"
import type { Problem } from "./Problem.ts"
import * as ZstdFormat from "./ZstdFormat.ts"

export type { Decoder, DecoderLimits, DecoderSummary, Sink } from "./Decoder.ts"
export type { BlockFormat, Encoder } from "./Encoder.ts"

/** The forms that layers and archives may have (image-spec layer.md; docker-save archives). */
export type Compression = "none" | "gzip" | "zstd"

/** What magic bytes can tell. Those that are not a `Compression` are recognised so that they can be named in messages. */
export type DetectedCompression = Compression | "xz" | "bzip2" | "lz4" | "lzip" | "lzma" | "compress"

// Not imported: layers at rest are often plain, and each thread would evaluate both decoders as it starts.
let gzip: typeof import("./Gzip.ts") | undefined
let zstd: typeof import("./Zstd.ts") | undefined

/** Loads what decoding one form needs; `makeDecoder` is synchronous after it. Cheap when repeated. */
export const prepareFor = async (kind: "gzip" | "zstd"): Promise<void> => {
  if (kind === "gzip") gzip ??= await import("./Gzip.ts")
  else {
    zstd ??= await import("./Zstd.ts")
    await zstd.prepare()
  }
}

/** `prepareFor` every form. */
export const prepare = async (): Promise<void> => {
  await prepareFor("gzip")
  await prepareFor("zstd")
}

/**
 * A decoder for one stream. RFC 1952 (all members, header checksums, CRC32, ISIZE) or RFC 8878 (all frames, skippable
 * frames, content size, checksums; windows up to 128 MiB, no dictionaries).
 *
 * Problems: `compression.truncated`, `compression.corrupt`, `compression.trailing-data`, `compression.limit`,
 * `compression.unsupported`, each with its offset in the compressed stream. Throws when `prepare` has not been awaited.
 */
export const makeDecoder = (
  kind: "gzip" | "zstd",
  sink: Sink,
  onProblem: (problem: Problem) => void,
  limits?: DecoderLimits
): Decoder => {
  const decoders = kind === "gzip" ? gzip : zstd
  if (decoders === undefined) throw new Error(`the decoder of ${kind} has not been prepared`)
  return decoders.makeDecoder(sink, onProblem, limits)
}

/** The file that `prepareEncoder("zstd")` loads; found where the package is installed, for threads that cannot look. */
export const locateEncoder = ZstdFormat.locate

/**
 * Loads what encoding needs; `makeEncoder` is synchronous after it (gzip needs nothing). Cheap when repeated.
 * `file` is what `locateEncoder` returned, for a thread that runs code from a string.
 */
export const prepareEncoder = (kind: "gzip" | "zstd", file?: string): Promise<void> =>
  kind === "gzip" ? Promise.resolve() : ZstdFormat.prepare(file)

/** The form's blocks, for whoever spreads one stream's encoding over several threads. */
export const blockFormat = (kind: "gzip" | "zstd"): BlockFormat =>
  kind === "gzip" ? gzipFormat : ZstdFormat.zstdFormat

/**
 * An encoder whose output depends on nothing but the content, the level and this package's version. Levels are 1 to 9 for
 * gzip and 1 to 19 for zstd, a RangeError otherwise. One gzip member, or a zstd frame per 4 MiB.
 */
export const makeEncoder = (kind: "gzip" | "zstd", level: number, sink: Sink): Encoder =>
  makeBlockEncoder(blockFormat(kind), level, sink)

const startsWith = (head: Uint8Array, ...magic: ReadonlyArray<number>): boolean =>
  head.length >= magic.length && magic.every((byte, index) => head[index] === byte)

/** A tar's first bytes are a name that anybody may choose, so a header that is one wins over magic bytes. */
const isTarHeader = (head: Uint8Array): boolean => {
  if (head.length < 512) return false
  let sum = 8 * 32
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += head[i]!
  const field = fromBytes(head, 148, 156)
  const digits = /^ *([0-7]+)[\0 ]/.exec(field)
  return digits !== null && Number.parseInt(digits[1]!, 8) === sum
}

/**
 * What the first bytes of a stream say (512 or more are best, fewer will do). A stream that starts with zstd skippable
 * frames counts as zstd (RFC 8878 section 3.1.2). Everything unknown is "none".
 */
export const detect = (head: Uint8Array): DetectedCompression => {
  if (isTarHeader(head)) return "none"
  if (startsWith(head, 0x1f, 0x8b)) return "gzip"
  if (startsWith(head, 0x28, 0xb5, 0x2f, 0xfd)) return "zstd"
  if (head.length >= 4 && (head[0]! & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18) {
    return "zstd"
  }
  if (startsWith(head, 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz"
  if (startsWith(head, 0x42, 0x5a, 0x68) && head.length >= 10) {
    const block = Buffer.from(head.buffer, head.byteOffset + 4, 6).toString("hex")
    if (block === "314159265359" || block === "177245385090") return "bzip2"
  }
  if (startsWith(head, 0x04, 0x22, 0x4d, 0x18) || startsWith(head, 0x02, 0x21, 0x4c, 0x18)) return "lz4"
  if (startsWith(head, 0x4c, 0x5a, 0x49, 0x50, 0x01)) return "lzip"
  if (startsWith(head, 0x5d, 0x00, 0x00) && head.length >= 13 && (head[12] === 0xff || head[12] === 0x00)) {
    // The dictionary size is a power of two, and the content size is given or all ones.
    const dictionary = head[1]! + head[2]! * 2 ** 8 + head[3]! * 2 ** 16 + head[4]! * 2 ** 24
    if (dictionary >= 4096 && Number.isInteger(Math.log2(dictionary))) return "lzma"
  }
  if (startsWith(head, 0x1f, 0x9d)) return "compress"
  return "none"
}
