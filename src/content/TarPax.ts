import { count } from "../image/Count.ts"
import type { ByteString } from "./ByteString.ts"

export type PaxRecords = Map<ByteString, ByteString>

export interface PaxFaults {
  /** Called for each malformed thing, with its distance from the beginning of the records. */
  paxFault(message: string, distance: number): void
}

/** What one pax header block ("x" or "g") holds. */
export interface PaxHeader {
  readonly records: PaxRecords
  /**
   * The offset and numbytes values of a GNU sparse 0.0 map in their order, which a Map would lose: that version
   * repeats its keywords.
   */
  readonly sparse: ReadonlyArray<ByteString> | undefined
}

/**
 * Seconds, floored, and nanoseconds of a pax time ("decimal representation of the time in seconds since the Epoch",
 * perhaps with a fraction, perhaps negative); undefined if it is none.
 */
export const parsePaxTime = (value: ByteString): readonly [seconds: number, nanoseconds: number] | undefined => {
  const length = value.length
  const negative = value.charCodeAt(0) === 0x2d
  let at = negative ? 1 : 0
  const start = at
  let whole = 0
  for (; at < length; at++) {
    const digit = value.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9) break
    whole = whole * 10 + digit
  }
  if (at === start || whole > Number.MAX_SAFE_INTEGER) return undefined
  let nanoseconds = 0
  if (at < length) {
    if (value.charCodeAt(at) !== 0x2e) return undefined
    let unit = 100_000_000
    for (at++; at < length; at++) {
      const digit = value.charCodeAt(at) - 0x30
      if (digit < 0 || digit > 9) return undefined
      nanoseconds += digit * unit
      // Digits beyond nanoseconds count nothing: 1 / 10 has to become 0.
      unit = unit > 1 ? unit / 10 : 0
    }
  }
  if (!negative) return [whole, nanoseconds]
  return nanoseconds === 0 ? [0 - whole, 0] : [-whole - 1, 1_000_000_000 - nanoseconds]
}

/** A non-negative decimal integer up to 2^53, NaN otherwise. */
export const parseDecimal = (value: ByteString): number => {
  const length = value.length
  if (length === 0) return Number.NaN
  let number = 0
  for (let i = 0; i < length; i++) {
    const digit = value.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return Number.NaN
    number = number * 10 + digit
  }
  return number <= Number.MAX_SAFE_INTEGER ? number : Number.NaN
}

const frequentKeywords: ReadonlyArray<ByteString> = [
  "mtime",
  "atime",
  "ctime",
  "path",
  "linkpath",
  "size",
  "uid",
  "gid"
]

/** `bytes[from, to)` as a string, without making a new one for the keywords that nearly all records have. */
const keywordOf = (bytes: Buffer, from: number, to: number): ByteString => {
  const length = to - from
  if (length <= 8) {
    for (const keyword of frequentKeywords) {
      if (keyword.length !== length) continue
      let i = 0
      while (i < length && keyword.charCodeAt(i) === bytes[from + i]) i++
      if (i === length) return keyword
    }
  }
  return bytes.toString("latin1", from, to)
}

const isXattr = (keyword: ByteString): boolean =>
  keyword.startsWith("SCHILY.xattr.") || keyword.startsWith("LIBARCHIVE.xattr.")

const valueFault = (keyword: ByteString, value: ByteString): string | undefined => {
  switch (keyword) {
    case "size":
    case "uid":
    case "gid":
    case "SCHILY.devmajor":
    case "SCHILY.devminor":
      return Number.isNaN(parseDecimal(value)) ? "is not a decimal number" : undefined
    case "mtime":
    case "atime":
    case "ctime":
      return parsePaxTime(value) === undefined ? "is not a time in seconds" : undefined
    case "uname":
    case "gname":
      return value.includes("\0") ? "holds a NUL" : undefined
  }
  return undefined
}

/**
 * Parses the records of a pax header (POSIX pax "pax Header Block": "%d %s=%s\n", the length counting itself).
 * What is malformed is left out, and behind a record whose length makes no sense nothing more can be found.
 */
export const parsePax = (bytes: Buffer, from: number, to: number, sink: PaxFaults): PaxHeader => {
  const records: PaxRecords = new Map()
  let sparse: Array<ByteString> | undefined
  let at = from
  while (at < to) {
    let i = at
    let length = 0
    while (i < to && i - at < 10) {
      const digit = bytes[i]! - 0x30
      if (digit < 0 || digit > 9) break
      length = length * 10 + digit
      i++
    }
    const end = at + length
    if (i === at || bytes[i] !== 0x20 || i >= to) {
      sink.paxFault("a pax record does not begin with its length", at - from)
      break
    }
    if (end > to || end <= i + 1) {
      sink.paxFault(`a pax record has length ${length}, with ${count(to - at, "byte")} left`, at - from)
      break
    }
    if (bytes[end - 1] !== 0x0a) {
      sink.paxFault("a pax record does not end with a newline", at - from)
      break
    }
    const start = i + 1
    let equals = start
    let nul = false
    while (equals < end - 1 && bytes[equals] !== 0x3d) {
      if (bytes[equals] === 0) nul = true
      equals++
    }
    if (equals === end - 1) {
      sink.paxFault('a pax record has no "="', at - from)
    } else if (equals === start) {
      sink.paxFault("a pax record has no keyword", at - from)
    } else if (nul) {
      sink.paxFault("a pax keyword holds a NUL", at - from)
    } else if (bytes[start] === 0x20 || bytes[start] === 0x09) {
      // GNU tar skips it and knows the keyword, others take it for a part of one that they do not know.
      sink.paxFault("a pax keyword begins with a blank", at - from)
    } else {
      const keyword = keywordOf(bytes, start, equals)
      const value = bytes.toString("latin1", equals + 1, end - 1)
      const wrong = value === "" ? undefined : valueFault(keyword, value)
      if (wrong !== undefined) {
        sink.paxFault(`the pax record "${keyword}" ${wrong}`, at - from)
      } else if (keyword === "GNU.sparse.offset" || keyword === "GNU.sparse.numbytes") {
        sparse ??= []
        // Pairs in the order offset, numbytes: an empty place shows one that is missing.
        if ((sparse.length & 1) !== (keyword === "GNU.sparse.offset" ? 0 : 1)) sparse.push("")
        sparse.push(value)
      } else {
        records.set(keyword, value)
      }
    }
    at = end
  }
  return { records, sparse }
}

/**
 * Lays `local` records over `global` ones. An empty value deletes (POSIX pax "if the value field is zero length"), so
 * that the header's own field counts; not for extended attributes, where writers mean one with an empty value.
 */
export const overlayPax = (global: PaxRecords | undefined, local: PaxRecords): PaxRecords => {
  let deletes = false
  for (const [keyword, value] of local) {
    if (value === "" && !isXattr(keyword)) {
      deletes = true
      break
    }
  }
  if (!deletes && (global === undefined || global.size === 0)) return local
  const result: PaxRecords = new Map(global)
  for (const [keyword, value] of local) {
    if (value === "" && !isXattr(keyword)) result.delete(keyword)
    else result.set(keyword, value)
  }
  return result
}

/** Bytes that the records hold, for bounding what is kept. */
export const paxBytes = (records: PaxRecords): number => {
  let bytes = 0
  for (const [keyword, value] of records) bytes += keyword.length + value.length
  return bytes
}
