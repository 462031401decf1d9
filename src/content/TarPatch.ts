/** Changing header blocks in place, in the style in which they were written. */
import { count } from "../image/Count.ts"
import type { ByteString } from "./ByteString.ts"
import { blockSize, paddingOf, sumBytes } from "./TarField.ts"

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x37

/**
 * Writes an octal number into a numeric field and keeps what writers differ in: zeros or spaces before the digits, NUL,
 * space or nothing behind them. A field whose style cannot take the number (base-256, too narrow, empty) becomes zeros,
 * digits and one NUL. `value` has to fit into `length - 1` octal digits.
 */
export const putOctal = (bytes: Uint8Array, at: number, length: number, value: number): void => {
  let from = at
  let to = at + length
  while (to > at && (bytes[to - 1] === 0 || bytes[to - 1] === 0x20)) to--
  while (from < to && bytes[from] === 0x20) from++
  const pad = from > at ? 0x20 : 0x30
  let styled = from < to
  for (let i = from; i < to; i++) if (!isDigit(bytes[i]!)) styled = false
  if (!styled || value >= 8 ** (to - at)) {
    to = at + length - 1
    bytes[to] = 0
    putDigits(bytes, at, to, value, 0x30)
  } else putDigits(bytes, at, to, value, pad)
}

const putDigits = (bytes: Uint8Array, from: number, to: number, value: number, pad: number): void => {
  let rest = value
  let i = to
  do {
    bytes[--i] = 0x30 + (rest % 8)
    rest = Math.floor(rest / 8)
  } while (rest > 0)
  while (i > from) bytes[--i] = pad
}

/** Stores a header block's checksum (POSIX ustar "chksum"). */
export const storeChecksum = (bytes: Uint8Array, at: number, checksum: number): void =>
  putOctal(bytes, at + 148, 8, checksum)

/** Computes the checksum of the header block at `at` anew and stores it. */
export const putChecksum = (bytes: Uint8Array, at: number): void => {
  let sum = sumBytes(bytes, at) + 8 * 0x20
  for (let i = at + 148; i < at + 156; i++) sum -= bytes[i]!
  storeChecksum(bytes, at, sum)
}

/** One record after the other of a pax header's body, without an allocation for each. */
export class PaxCursor {
  private bytes: Buffer = empty
  private next = 0
  private to = 0
  /** The record is `[start, end)`, its keyword `[key, equals)`, its value `[equals + 1, end - 1)`. */
  start = 0
  key = 0
  equals = 0
  end = 0
  /** What is wrong with the record at `start`; nothing behind it can be read then. */
  fault: string | undefined = undefined

  reset(bytes: Buffer, from: number, to: number): this {
    this.bytes = bytes
    this.next = from
    this.to = to
    this.fault = undefined
    return this
  }

  /** Goes to the next record; false at the end of the body or at a fault. */
  advance(): boolean {
    const { bytes, to } = this
    const at = (this.start = this.next)
    if (at >= to) return false
    let i = at
    let length = 0
    for (; i < to && i - at < 10; i++) {
      const digit = bytes[i]! - 0x30
      if (digit < 0 || digit > 9) break
      length = length * 10 + digit
    }
    const end = at + length
    if (i === at || i >= to || bytes[i] !== 0x20) return this.failed("does not begin with its length")
    if (end > to || end <= i + 1) return this.failed(`has length ${length}, with ${count(to - at, "byte")} left`)
    if (bytes[end - 1] !== 0x0a) return this.failed("does not end with a newline")
    const equals = bytes.indexOf(0x3d, i + 1)
    if (equals < 0 || equals >= end - 1) return this.failed('has no "="')
    if (equals === i + 1) return this.failed("has no keyword")
    this.key = i + 1
    this.equals = equals
    this.end = this.next = end
    return true
  }

  private failed(message: string): false {
    this.fault = `a pax record ${message}`
    return false
  }

  /** Whether the keyword is `keyword`, in ASCII. */
  is(keyword: string): boolean {
    if (this.equals - this.key !== keyword.length) return false
    for (let i = 0; i < keyword.length; i++) if (this.bytes[this.key + i] !== keyword.charCodeAt(i)) return false
    return true
  }

  keyStartsWith(prefix: string): boolean {
    if (this.equals - this.key < prefix.length) return false
    for (let i = 0; i < prefix.length; i++) if (this.bytes[this.key + i] !== prefix.charCodeAt(i)) return false
    return true
  }

  value(): ByteString {
    return this.bytes.toString("latin1", this.equals + 1, this.end - 1)
  }
}

const empty = Buffer.alloc(0)

/** A pax record (POSIX pax "%d %s=%s\n", the length counting itself). */
export const paxRecord = (keyword: ByteString, value: ByteString): Buffer => {
  const rest = ` ${keyword}=${value}\n`
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.from(`${length}${rest}`, "latin1")
}

/** A header block of an extension made anew: it owns nothing and was made at no time. */
export const extensionHeader = (type: "x" | "L" | "K", body: Buffer): Buffer => {
  const blocks = Buffer.alloc(blockSize + body.length + paddingOf(body.length))
  blocks.write(type === "x" ? "PaxHeaders.0/entry" : "././@LongLink", 0, "latin1")
  blocks.write("0000644\x000000000\x000000000\0", 100, "latin1")
  blocks.write(`${body.length.toString(8).padStart(11, "0")}\x0000000000000\0`, 124, "latin1")
  blocks.write(type, 156, "latin1")
  blocks.write(type === "x" ? "ustar\x0000" : "ustar  \0", 257, "latin1")
  putChecksum(blocks, 0)
  body.copy(blocks, blockSize)
  return blocks
}
