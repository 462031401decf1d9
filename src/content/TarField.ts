import type { ByteString } from "./ByteString.ts"

/** Everything in a tar archive is a multiple of this many bytes. */
export const blockSize = 512

/** Zero bytes needed after `size` bytes of body to fill the last block. */
export const paddingOf = (size: number): number => (blockSize - (size % blockSize)) % blockSize

/**
 * A numeric header field (POSIX ustar "Each numeric field is terminated by one or more <space> or NUL"; GNU and star
 * base-256 where bit 7 of the first byte is set, two's complement with bit 6 as the sign). An empty field is 0.
 * NaN where readers would not agree on a value: other characters before the first NUL, something behind a field that
 * begins with NUL, or a value beyond 2^53.
 */
export const parseNumber = (bytes: Uint8Array, at: number, length: number): number => {
  const first = bytes[at]!
  const end = at + length
  if ((first & 0x80) !== 0) return parseBase256(bytes, at, end, first)
  let i = at
  while (i < end && bytes[i] === 0x20) i++
  let value = 0
  while (i < end) {
    const digit = bytes[i]! - 0x30
    if (digit < 0 || digit > 7) break
    value = value * 8 + digit
    i++
  }
  while (i < end && bytes[i] === 0x20) i++
  // What stands behind a NUL is ignored by all readers; behind a NUL at the very beginning, by some.
  if (i < end && bytes[i] !== 0) return Number.NaN
  if (i === at) {
    while (i < end && bytes[i] === 0) i++
    if (i < end) return Number.NaN
  }
  return value
}

const parseBase256 = (bytes: Uint8Array, at: number, end: number, first: number): number => {
  const negative = (first & 0x40) !== 0
  const flip = negative ? 0xff : 0
  let value = (first ^ flip) & 0x3f
  for (let i = at + 1; i < end; i++) {
    value = value * 256 + (bytes[i]! ^ flip)
    if (value > Number.MAX_SAFE_INTEGER) return Number.NaN
  }
  return negative ? -value - 1 : value
}

/** Index of the first NUL in `[at, at + length)`, or its end. */
export const fieldEnd = (bytes: Uint8Array, at: number, length: number): number => {
  const end = at + length
  let i = at
  while (i < end && bytes[i] !== 0) i++
  return i
}

/** A text field: up to its first NUL. */
export const parseText = (bytes: Buffer, at: number, length: number): ByteString => {
  if (bytes[at] === 0) return ""
  return bytes.toString("latin1", at, fieldEnd(bytes, at, length))
}

/** The header format, told from magic, version and the star trailer. */
export type TarFormat = "v7" | "ustar" | "gnu" | "star"

export const hasMagic = (bytes: Uint8Array, at: number): boolean =>
  bytes[at + 257] === 0x75 &&
  bytes[at + 258] === 0x73 &&
  bytes[at + 259] === 0x74 &&
  bytes[at + 260] === 0x61 &&
  bytes[at + 261] === 0x72

export const formatOf = (bytes: Uint8Array, at: number): TarFormat => {
  if (!hasMagic(bytes, at)) return "v7"
  if (bytes[at + 262] === 0x20) return "gnu"
  return bytes[at + 508] === 0x74 && bytes[at + 509] === 0x61 && bytes[at + 510] === 0x72 && bytes[at + 511] === 0
    ? "star"
    : "ustar"
}

/** The sum of all 512 bytes of the block; 0 exactly when the block is all zeros. */
export const sumBytes = (bytes: Uint8Array, at: number): number => {
  let sum = 0
  for (let i = at, end = at + blockSize; i < end; i += 4) {
    sum += bytes[i]! + bytes[i + 1]! + bytes[i + 2]! + bytes[i + 3]!
  }
  return sum
}

/** `sumBytes` four bytes at a time, over 128 words: each 16-bit lane stays below 128 * 2 * 255 < 2^16. */
export const sumWords = (words: Uint32Array, at: number): number => {
  let lanes = 0
  for (let i = at, end = at + blockSize / 4; i < end; i += 2) {
    const a = words[i]!
    const b = words[i + 1]!
    lanes = (lanes + (a & 0xff00ff) + ((a >>> 8) & 0xff00ff) + (b & 0xff00ff) + ((b >>> 8) & 0xff00ff)) | 0
  }
  return (lanes & 0xffff) + (lanes >>> 16)
}

/** The unsigned header checksum, given the sum of the block: the checksum field itself counts as eight spaces. */
export const checksumOf = (bytes: Uint8Array, at: number, sum: number): number => {
  let field = 0
  for (let i = at + 148; i < at + 156; i++) field += bytes[i]!
  return sum - field + 8 * 0x20
}

/**
 * Whether the stored checksum fits; `unsigned` is `checksumOf`. Some old writers summed signed chars, and readers have
 * accepted both ever since.
 */
export const checksumFits = (bytes: Uint8Array, at: number, unsigned: number): boolean => {
  for (let i = at + 148; i < at + 156; i++) {
    const byte = bytes[i]!
    if (byte !== 0x20 && byte !== 0 && (byte < 0x30 || byte > 0x37)) return false
  }
  const stored = parseNumber(bytes, at + 148, 8)
  if (stored === unsigned) return true
  if (!(stored < unsigned)) return false
  let signed = unsigned
  // The field itself has no such byte, as was seen above.
  for (let i = 0; i < blockSize; i++) {
    if (bytes[at + i]! >= 0x80) signed -= 256
  }
  return stored === signed
}
