/** Every time in a tar set to one, so that archives that differ in times alone become the same. */
import type { MemberEdit, MemberHeaders } from "./TarEdit.ts"
import { blockSize, paddingOf, parseNumber } from "./TarField.ts"
import { PaxCursor, putChecksum, putOctal, storeChecksum } from "./TarPatch.ts"

/** What an octal field of 11 digits holds: seconds up to the year 2242. */
export const maxTimestamp = 8 ** 11 - 1

/**
 * Sets the mtime of every header to `timestamp`, and atime and ctime where GNU or star headers have them. Times in pax
 * records go: whether a writer needs one depends on the very time (parts of seconds, years beyond the field), so what
 * stays behind could tell two builds apart; a pax header that held nothing else goes with them.
 *
 * The extensions' own headers have an mtime too, which nothing reads: zero, as Go and Python write it, stays, anything
 * else becomes `timestamp`.
 */
export class TimestampEdit implements MemberEdit {
  readonly #timestamp: number
  /** As nearly all writers put it: 11 digits. */
  readonly #digits: Buffer
  /** By how much the sum of a header's bytes has changed. */
  #delta = 0
  readonly #cursor = new PaxCursor()

  constructor(timestamp: number) {
    if (!Number.isSafeInteger(timestamp) || timestamp < 0 || timestamp > maxTimestamp) {
      throw new RangeError(`${timestamp} is no time that every tar header can hold`)
    }
    this.#timestamp = timestamp
    this.#digits = Buffer.from(timestamp.toString(8).padStart(11, "0"), "latin1")
  }

  member(headers: MemberHeaders): void {
    const { bytes, header } = headers
    let changed = false
    let shift = 0
    for (let i = 0; i < headers.extensions; i++) {
      const start = headers.extensionStart[i]!
      const size = headers.extensionSize[i]!
      const type = headers.extensionType[i]!
      const isLong = type === 0x4c || type === 0x4b
      const times = isLong ? 0 : this.#timeBytes(bytes, start + blockSize, size)
      const whole = blockSize + size + paddingOf(size)
      if (times > 0 && times === size) {
        shift += whole
        continue
      }
      let patched = this.#ownTime(bytes, start)
      if (times > 0) {
        this.#dropTimes(bytes, start + blockSize, size, size - times)
        putOctal(bytes, start + 124, 12, size - times)
        patched = true
      }
      if (patched) {
        putChecksum(bytes, start)
        changed = true
      }
      const left = blockSize + size - times + paddingOf(size - times)
      if (shift > 0) bytes.copyWithin(start - shift, start, start + left)
      shift += whole - left
    }
    this.#delta = 0
    if (header >= 0 && this.#memberTimes(headers)) {
      storeChecksum(bytes, header, headers.checksum + this.#delta)
      changed = true
    }
    if (shift > 0) {
      if (header >= 0) bytes.copyWithin(header - shift, header, headers.end)
      headers.shrunk(headers.end - shift)
    } else if (changed) headers.patched()
  }

  #memberTimes(headers: MemberHeaders): boolean {
    const { bytes, header } = headers
    let changed = this.#set(bytes, header + 136)
    if (headers.format === "star") {
      if (this.#isTime(bytes, header + 476)) changed = this.#set(bytes, header + 476) || changed
      if (this.#isTime(bytes, header + 488)) changed = this.#set(bytes, header + 488) || changed
    } else if (headers.format === "gnu" && bytes[header + 345] !== 0 && headers.hasGnuTimes()) {
      changed = this.#set(bytes, header + 345) || changed
    }
    if (headers.format === "gnu" && bytes[header + 357] !== 0 && headers.hasGnuTimes()) {
      changed = this.#set(bytes, header + 357) || changed
    }
    return changed
  }

  /** A field that is there: of those that need not be, an empty one says nothing. */
  #isTime(bytes: Buffer, at: number): boolean {
    return bytes[at] !== 0
  }

  #ownTime(bytes: Buffer, start: number): boolean {
    return parseNumber(bytes, start + 136, 12) !== 0 && this.#set(bytes, start + 136)
  }

  /** True when the field was changed; one that says the time already keeps its form. */
  #set(bytes: Buffer, at: number): boolean {
    if (parseNumber(bytes, at, 12) === this.#timestamp && (bytes[at]! & 0x80) === 0) return false
    const before = sumOf(bytes, at)
    const last = bytes[at + 11]!
    if ((last === 0 || last === 0x20) && isOctal(bytes, at)) this.#digits.copy(bytes, at)
    else putOctal(bytes, at, 12, this.#timestamp)
    this.#delta += sumOf(bytes, at) - before
    return true
  }

  /** Bytes of the records that hold times. */
  #timeBytes(bytes: Buffer, from: number, size: number): number {
    const cursor = this.#cursor.reset(bytes, from, from + size)
    let times = 0
    while (cursor.advance()) if (isTimeRecord(cursor)) times += cursor.end - cursor.start
    return times
  }

  /** Moves the other records together; zeros follow up to the end of the last block of `left` bytes. */
  #dropTimes(bytes: Buffer, from: number, size: number, left: number): void {
    const cursor = this.#cursor.reset(bytes, from, from + size)
    let to = from
    while (cursor.advance()) {
      if (isTimeRecord(cursor)) continue
      if (to < cursor.start) bytes.copyWithin(to, cursor.start, cursor.end)
      to += cursor.end - cursor.start
    }
    bytes.fill(0, to, from + left + paddingOf(left))
  }
}

/** Of a field of 12 bytes. */
const sumOf = (bytes: Buffer, at: number): number => {
  let sum = 0
  for (let i = at; i < at + 12; i++) sum += bytes[i]!
  return sum
}

/** Whether the first 11 bytes of a field are digits. */
const isOctal = (bytes: Buffer, at: number): boolean => {
  for (let i = at; i < at + 11; i++) if (bytes[i]! < 0x30 || bytes[i]! > 0x37) return false
  return true
}

/** POSIX has mtime, atime and ctime; libarchive and star's kin add the time of creation. */
const isTimeRecord = (cursor: PaxCursor): boolean =>
  cursor.is("mtime") ||
  cursor.is("atime") ||
  cursor.is("ctime") ||
  cursor.is("LIBARCHIVE.creationtime") ||
  cursor.is("SCHILY.creationtime")
