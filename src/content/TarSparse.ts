import { count } from "../image/Count.ts"
import type { ByteString } from "./ByteString.ts"
import { type PaxRecords, parseDecimal } from "./TarPax.ts"

/** A sparse map as it is read: offset, length, offset, length, … */
export type FlatMap = Array<number>

/** Why the map cannot be one of a file of `realSize` bytes of which the archive holds `dataSize`, if it cannot. */
export const sparseFault = (map: FlatMap, realSize: number, dataSize: number): string | undefined => {
  if (map.length % 2 !== 0) return "the sparse map has an offset without a length"
  let end = 0
  let data = 0
  for (let i = 0; i < map.length; i += 2) {
    const offset = map[i]!
    const length = map[i + 1]!
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      return "the sparse map holds something that is not a number"
    }
    if (offset < end) return `sparse segment at ${offset} begins before the one before it ends (${end})`
    end = offset + length
    if (end > realSize) return `sparse segment at ${offset} ends at ${end}, behind the file's size ${realSize}`
    data += length
  }
  return data === dataSize ? undefined : `the sparse segments hold ${count(data, "byte")}, the archive ${dataSize}`
}

/** The segments that hold data: maps end with an empty one where the file ends with a hole. */
export const sparseSegments = (map: FlatMap): ReadonlyArray<readonly [offset: number, length: number]> => {
  const segments: Array<readonly [number, number]> = []
  for (let i = 0; i + 1 < map.length; i += 2) {
    if (map[i + 1]! > 0) segments.push([map[i]!, map[i + 1]!])
  }
  return segments
}

/** How an entry with GNU.sparse records is stored. */
export type PaxSparse =
  | { readonly version: "0"; readonly realSize: number; readonly map: FlatMap }
  | { readonly version: "1.0"; readonly realSize: number }
  | { readonly version: "unknown"; readonly message: string }

const strayKeywords = ["GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size", "GNU.sparse.numblocks"]

/** The sparse description in pax records (GNU tar manual, "Storing Sparse Files"), undefined for an ordinary file. */
export const paxSparse = (
  records: PaxRecords,
  repeated: ReadonlyArray<ByteString> | undefined
): PaxSparse | undefined => {
  const major = records.get("GNU.sparse.major")
  const minor = records.get("GNU.sparse.minor")
  const list = records.get("GNU.sparse.map")
  if (major === undefined && minor === undefined && list === undefined && repeated === undefined) {
    // One reader takes the name and size that are here, the next one those in the header.
    return strayKeywords.some((keyword) => records.has(keyword))
      ? { version: "unknown", message: "GNU sparse records without a map" }
      : undefined
  }
  const size = records.get("GNU.sparse.realsize") ?? records.get("GNU.sparse.size")
  const realSize = size === undefined ? Number.NaN : parseDecimal(size)
  if (major === "1" && minor === "0") return { version: "1.0", realSize }
  if ((major !== undefined && major !== "0") || (minor !== undefined && minor !== "0" && minor !== "1")) {
    return { version: "unknown", message: `GNU sparse version ${major ?? "?"}.${minor ?? "?"} is not known` }
  }
  const values = list === undefined ? (repeated ?? []) : list.split(",")
  const map = values.map(parseDecimal)
  const blocks = records.get("GNU.sparse.numblocks")
  // A count that does not fit makes the map a wrong one whichever of the two is meant.
  if (blocks === undefined || parseDecimal(blocks) * 2 !== map.length) map.push(Number.NaN, Number.NaN)
  return { version: "0", realSize, map }
}

/**
 * Reads the decimal map at the head of a sparse 1.0 body, block by block: a count, then an offset and a length for
 * each segment, each ended by a newline, the whole padded to a block.
 */
export class SparseMapReader {
  readonly map: FlatMap = []
  /** What is wrong with the map's text. */
  fault: string | undefined = undefined
  private wanted = -1
  private value = 0
  private digits = 0

  /** True when more blocks are needed. */
  block(bytes: Uint8Array, at: number, length: number): boolean {
    for (let i = at; i < at + length; i++) {
      const byte = bytes[i]!
      if (byte === 0x0a && this.digits > 0) {
        if (this.wanted < 0) this.wanted = this.value * 2
        else this.map.push(this.value)
        if (this.map.length === this.wanted) return false
        this.value = 0
        this.digits = 0
      } else if (byte >= 0x30 && byte <= 0x39) {
        this.value = this.value * 10 + (byte - 0x30)
        this.digits++
        if (this.value > Number.MAX_SAFE_INTEGER) {
          this.fault = "the sparse map holds a number beyond 2^53"
          return false
        }
      } else {
        this.fault = "the sparse map holds something that is not a number"
        return false
      }
    }
    return true
  }
}
