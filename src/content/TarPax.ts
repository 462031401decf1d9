import type { ByteString } from "./ByteString.ts"

export type PaxRecords = Map<ByteString, ByteString>

/** What one pax header block ("x" or "g") holds. */
export interface PaxHeader {
  readonly records: PaxRecords
  /**
   * The offset and numbytes values of a GNU sparse 0.0 map in their order, which a Map would lose: that version
   * repeats its keywords.
   */
  readonly sparse: ReadonlyArray<ByteString> | undefined
}

/** Seconds, floored, and nanoseconds of a pax time ("decimal representation of the time in seconds", may be negative). */
export const parsePaxTime = (value: ByteString): readonly [seconds: number, nanoseconds: number] | undefined => {
  const match = /^(-?)([0-9]{1,16})(?:\.([0-9]*))?$/.exec(value)
  if (match === null) return undefined
  const whole = Number(match[2])
  if (!Number.isSafeInteger(whole)) return undefined
  const nanoseconds = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"))
  if (match[1] === "") return [whole, nanoseconds]
  return nanoseconds === 0 ? [0 - whole, 0] : [-whole - 1, 1_000_000_000 - nanoseconds]
}

/** A non-negative decimal integer up to 2^53, NaN otherwise. */
export const parseDecimal = (value: ByteString): number => {
  if (!/^[0-9]+$/.test(value)) return Number.NaN
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : Number.NaN
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
 * `fault` is called for each malformed thing with its offset in `bytes`; what is malformed is left out, and behind a
 * record whose length makes no sense nothing more can be found.
 */
export const parsePax = (
  bytes: Buffer,
  from: number,
  to: number,
  fault: (message: string, at: number) => void
): PaxHeader => {
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
      fault("a pax record does not begin with its length", at)
      break
    }
    if (end > to || end <= i + 1) {
      fault(`a pax record has length ${length}, with ${to - at} bytes left`, at)
      break
    }
    if (bytes[end - 1] !== 0x0a) {
      fault("a pax record does not end with a newline", at)
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
      fault("a pax record has no \"=\"", at)
    } else if (equals === start) {
      fault("a pax record has no keyword", at)
    } else if (nul) {
      fault("a pax keyword holds a NUL", at)
    } else {
      const keyword = bytes.toString("latin1", start, equals)
      const value = bytes.toString("latin1", equals + 1, end - 1)
      const wrong = value === "" ? undefined : valueFault(keyword, value)
      if (wrong !== undefined) fault(`the pax record "${keyword}" ${wrong}`, at)
      else if (keyword === "GNU.sparse.offset" || keyword === "GNU.sparse.numbytes") {
        sparse ??= []
        // Pairs in the order offset, numbytes: an empty place shows one that is missing.
        if ((sparse.length & 1) !== (keyword === "GNU.sparse.offset" ? 0 : 1)) sparse.push("")
        sparse.push(value)
      } else records.set(keyword, value)
    }
    at = end
  }
  return { records, sparse }
}

/**
 * Lays `local` records over `global` ones. An empty value deletes (POSIX pax "zero length … shall delete"), except for
 * extended attributes, where writers mean an attribute with an empty value.
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
