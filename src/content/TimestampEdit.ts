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
 * The extensions' own headers have an mtime too, which nothing reads: zero, as Go and Python always write it, stays,
 * anything else becomes `timestamp`.
 */
export class TimestampEdit implements MemberEdit {
  readonly #timestamp: number
  /** As nearly all writers put it. */
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
      let patched = this.#ownTime(headers, start, isLong)
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
    const { bytes, format, header } = headers
    let changed = this.#set(bytes, header, 136)
    if (format === "star" || (format === "ustar" && isXustar(bytes, header))) {
      changed = this.#setIfThere(bytes, header, 476) || changed
      changed = this.#setIfThere(bytes, header, 488) || changed
    } else if (format === "gnu" && headers.hasGnuTimes()) {
      changed = this.#setIfThere(bytes, header, 345) || changed
      changed = this.#setIfThere(bytes, header, 357) || changed
    }
    return changed
  }

  /** Of times that need not be there an empty field says nothing. */
  #setIfThere(bytes: Buffer, header: number, field: number): boolean {
    return bytes[header + field] !== 0 && this.#set(bytes, header, field)
  }

  /**
   * A zero stays where the writer has zeros whatever the times: the member has a later time, the header not even a mode, or
   * it is a GNU long name or stands alone. Otherwise the writer may have copied the member's time.
   */
  #ownTime(headers: MemberHeaders, start: number, isLong: boolean): boolean {
    const { bytes, header } = headers
    const isZero = parseNumber(bytes, start + 136, 12) === 0
    const isFixed =
      isLong || header < 0 || parseNumber(bytes, start + 100, 8) === 0 || parseNumber(bytes, header + 136, 12) > 0
    return !(isZero && isFixed) && this.#set(bytes, start, 136)
  }

  /**
   * Puts the time into the field, in the form in which its writer would have written it; true when that changed it. The
   * form of what is there may come from the old time: base-256, a twelfth digit in the terminator's place, as many blanks
   * as were left. That of the size does not.
   */
  #set(bytes: Buffer, header: number, field: number): boolean {
    const at = header + field
    const size = header + 124
    const own = isElevenDigits(bytes, at)
    if (own && isElevenDigits(bytes, size)) {
      if (bytes.compare(this.#digits, 0, 11, at, at + 11) === 0) return false
      const before = sumOf(bytes, at)
      this.#digits.copy(bytes, at)
      this.#delta += sumOf(bytes, at) - before
      return true
    }
    if (bytes[at] === 0 && this.#timestamp === 0 && parseNumber(bytes, at, 12) === 0) return false
    const before = Buffer.from(bytes.subarray(at, at + 12))
    const sum = sumOf(bytes, at)
    if (isStyled(bytes, size)) bytes.copyWithin(at, size, size + 12)
    putOctal(bytes, at, 12, this.#timestamp)
    this.#delta += sumOf(bytes, at) - sum
    return bytes.compare(before, 0, 12, at, at + 12) !== 0
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

/** Digits that fill a field of 12 bytes, with a NUL or a blank behind them: how nearly all writers have their times. */
const isElevenDigits = (bytes: Buffer, at: number): boolean => {
  for (let i = at; i < at + 11; i++) if (bytes[i]! < 0x30 || bytes[i]! > 0x37) return false
  const last = bytes[at + 11]!
  return last === 0 || last === 0x20
}

/** Whether a field holds an octal number, of which the form can be taken. */
const isStyled = (bytes: Buffer, at: number): boolean => bytes[at] !== 0 && (bytes[at]! & 0x80) === 0

/**
 * star's header without its trailing mark: what other readers take for the end of the prefix, behind a NUL, holds times.
 * star itself tells it by these.
 */
const isXustar = (bytes: Buffer, header: number): boolean =>
  bytes[header + 475] === 0 && isStarTime(bytes, header + 476) && isStarTime(bytes, header + 488)

const isStarTime = (bytes: Buffer, at: number): boolean => isElevenDigits(bytes, at) && bytes[at + 11] === 0x20

/** POSIX has mtime, atime and ctime; libarchive and star's kin add the time of creation. */
const isTimeRecord = (cursor: PaxCursor): boolean =>
  cursor.is("mtime") ||
  cursor.is("atime") ||
  cursor.is("ctime") ||
  cursor.is("LIBARCHIVE.creationtime") ||
  cursor.is("SCHILY.creationtime")
