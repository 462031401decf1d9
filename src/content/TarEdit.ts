/**
 * Editing a tar in the stream: headers are changed, members dropped or renamed, and every other byte goes through as it
 * is, odd padding and whatever follows the end included. Memory is that of one member's headers, whatever the archive
 * says.
 *
 * An edit must not guess: where readers could disagree on where a member begins or ends, or the archive is damaged,
 * `TarEditError` is thrown rather than something that looks like a sound archive put out.
 */
import type { ByteString } from "./ByteString.ts"
import type { Sink } from "./Decoder.ts"
import type { TarCheck } from "./Problem.ts"
import {
  blockSize,
  checksumFits,
  checksumOf,
  formatOf,
  hasMagic,
  paddingOf,
  parseNumber,
  parseText,
  sumBytes,
  sumWords,
  type TarFormat
} from "./TarField.ts"
import { PaxCursor } from "./TarPatch.ts"
import { parseDecimal } from "./TarPax.ts"

/** Why a tar cannot be edited: what the scanner would report under `check`. */
export class TarEditError extends Error {
  override readonly name = "TarEditError"
  readonly code = "EBADTAR"
  readonly check: TarCheck
  /** Bytes from the start of the stream that was given to the editor. */
  readonly offset: number

  constructor(check: TarCheck, message: string, offset: number) {
    super(`the tar cannot be edited: ${message} (at byte ${offset})`)
    this.check = check
    this.offset = offset
  }
}

/** As the scanner's default: no real archive has more, and a length field must not decide how much memory is taken. */
const maxExtension = 1024 * 1024
const maxHeaders = 4 * maxExtension

const typeGlobal = 0x67

/** x, and X, which is Solaris' pax header. */
const isPax = (type: number): boolean => type === 0x78 || type === 0x58
const isExtension = (type: number): boolean => isPax(type) || type === typeGlobal || type === 0x4c || type === 0x4b

/** POSIX: no data is stored for the types 1 to 6, whatever their size fields say. */
const hasBody = (type: number): boolean => type < 0x31 || type > 0x36

/**
 * The headers of one member as they stand in the stream: extensions (pax, GNU long names, and global pax headers that
 * happen to come here), the header block, and the further blocks of an old GNU sparse map. One object serves all members.
 *
 * An edit may change bytes within `[start, end)` in place, and then says so by one of the methods.
 */
export class MemberHeaders {
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  /** Where the header block itself begins; -1 for a global pax header, which comes by itself. */
  header = 0
  format: TarFormat = "ustar"
  /** The type byte of the header block. */
  type = 0
  /** The checksum of the header block, as it should be before any change. */
  checksum = 0
  /** Bytes of body that follow, without padding. */
  size = 0
  /** 0-based position among all header blocks that are no extension. */
  index = 0
  /** Of `start`, from the beginning of the stream. */
  offset = 0
  /** Extensions, in their order: type byte, where their header block begins, and the size of their body behind it. */
  extensions = 0
  readonly extensionType: Array<number> = []
  readonly extensionStart: Array<number> = []
  readonly extensionSize: Array<number> = []

  /** What the edit decided. */
  changed = false
  dropped = false
  outEnd = 0
  replacement: Uint8Array | undefined = undefined
  body: ((sink: Sink) => void) | undefined = undefined

  private readonly cursor = new PaxCursor()

  reset(): void {
    this.changed = this.dropped = false
    this.outEnd = this.end
    this.replacement = this.body = undefined
  }

  /** Bytes were changed in place, and there are as many as before. */
  patched(): void {
    this.changed = true
  }

  /** The headers now end at `end`, which is not beyond the old one. */
  shrunk(end: number): void {
    this.changed = true
    this.outEnd = end
  }

  /** The member goes, with its body; a global pax header among its extensions stays, as it concerns what follows. */
  drop(): void {
    this.changed = true
    this.dropped = true
  }

  /** `headers` take the place of all headers; `body`, for a member that has none, puts one out with its padding. */
  replace(headers: Uint8Array, body?: (sink: Sink) => void): void {
    this.changed = true
    this.replacement = headers
    this.body = body
  }

  /** The value that the member's own pax header has for `keyword`; the last one counts. */
  pax(keyword: string): ByteString | undefined {
    let value: ByteString | undefined
    for (let i = 0; i < this.extensions; i++) {
      if (!isPax(this.extensionType[i]!)) continue
      const from = this.extensionStart[i]! + blockSize
      const { cursor } = this
      cursor.reset(this.bytes, from, from + this.extensionSize[i]!)
      while (cursor.advance()) if (cursor.is(keyword)) value = cursor.value()
    }
    return value === "" ? undefined : value
  }

  /** Takes the records of the global pax headers among the extensions into `records`, which are those in force so far. */
  readGlobals(records: Map<ByteString, ByteString>): void {
    for (let i = 0; i < this.extensions; i++) {
      if (this.extensionType[i] !== typeGlobal) continue
      this.eachRecord(i, (keyword, value) => {
        if (value === "") records.delete(keyword)
        else records.set(keyword, value)
      })
    }
  }

  /** Whether a global pax header stands among the extensions. */
  hasGlobals(): boolean {
    for (let i = 0; i < this.extensions; i++) if (this.extensionType[i] === typeGlobal) return true
    return false
  }

  /** Calls `visit` for each record of the member's own pax header. */
  readOwn(visit: (keyword: ByteString, value: ByteString) => void): void {
    for (let i = 0; i < this.extensions; i++) if (isPax(this.extensionType[i]!)) this.eachRecord(i, visit)
  }

  private eachRecord(extension: number, visit: (keyword: ByteString, value: ByteString) => void): void {
    const from = this.extensionStart[extension]! + blockSize
    const cursor = this.cursor.reset(this.bytes, from, from + this.extensionSize[extension]!)
    while (cursor.advance()) visit(this.bytes.toString("latin1", cursor.key, cursor.equals), cursor.value())
  }

  /** The text of a GNU long name ("L") or long link name ("K") header. */
  gnuLong(type: "L" | "K"): ByteString | undefined {
    const code = type.charCodeAt(0)
    for (let i = this.extensions - 1; i >= 0; i--) {
      if (this.extensionType[i] === code)
        return parseText(this.bytes, this.extensionStart[i]! + blockSize, this.extensionSize[i]!)
    }
    return undefined
  }

  /** The member's path, as every reader of the extensions sees it. */
  path(): ByteString {
    if (this.extensions === 0) return this.headerPath()
    return this.sparseName() ?? this.pax("path") ?? this.gnuLong("L") ?? this.headerPath()
  }

  /** GNU tar keeps the name of a sparse file in a record of its own, so that no other reader takes the body for it. */
  sparseName(): ByteString | undefined {
    if (this.extensions === 0) return undefined
    const isSparse =
      this.pax("GNU.sparse.major") ??
      this.pax("GNU.sparse.minor") ??
      this.pax("GNU.sparse.map") ??
      this.pax("GNU.sparse.offset")
    return isSparse === undefined ? undefined : this.pax("GNU.sparse.name")
  }

  linkname(): ByteString {
    const own = (): ByteString => parseText(this.bytes, this.header + 157, 100)
    return this.extensions === 0 ? own() : (this.pax("linkpath") ?? this.gnuLong("K") ?? own())
  }

  private headerPath(): ByteString {
    const { bytes, format, header } = this
    const name = parseText(bytes, header, 100)
    if (format === "v7" || bytes[header + 345] === 0) return name
    if (format === "ustar") return `${parseText(bytes, header + 345, 155)}/${name}`
    if (format === "star") return `${parseText(bytes, header + 345, 131)}/${name}`
    return this.hasGnuTimes() ? name : gnuPrefixed(parseText(bytes, header + 345, 155), name)
  }

  /** GNU has atime and ctime behind the device numbers, where Go before 1.8 wrote a ustar prefix all the same. */
  hasGnuTimes(): boolean {
    const { bytes, format, header } = this
    return (
      format === "gnu" &&
      !Number.isNaN(parseNumber(bytes, header + 345, 12)) &&
      (bytes[header + 357] === 0 || !Number.isNaN(parseNumber(bytes, header + 357, 12)))
    )
  }
}

const gnuPrefixed = (prefix: ByteString, name: ByteString): ByteString =>
  /^[\x01-\x7f]+$/.test(prefix) ? `${prefix}/${name}` : name

/** What is done to each member. */
export interface MemberEdit {
  /** Called for every member, and for every global pax header that does not stand among a member's extensions. */
  readonly member: (headers: MemberHeaders) => void
  /** Called once behind the last member. */
  readonly end?: () => void
}

const zeros = Buffer.alloc(blockSize)

/** Writers of tapes fill their last record up: GNU tar, bsdtar and Python write 20 blocks at a time. */
const recordSize = 20 * blockSize

const endBlocks = 2 * blockSize

const inHeaders = 0
const inBody = 1
const afterZero = 2
const inZeros = 3
const inTrailer = 4

export interface TarEditorOptions {
  /**
   * The members become part of another archive: neither the end of this one nor its global pax headers come out, and the
   * last member is complete.
   */
  readonly membersOnly?: boolean
}

/**
 * Applies one edit. An archive that fills whole records goes on to do so when members shrink or go: how many zeros are behind the
 * end depends on what is before it, and would tell archives apart that have become the same.
 *
 * Call `write` with consecutive chunks of any sizes, then `end` once. It changes the bytes it is given
 * and hands them on; what it hands to the sink is valid during the call only.
 */
export class TarEditor {
  readonly #edit: MemberEdit
  readonly #sink: Sink
  readonly #membersOnly: boolean
  readonly #headers = new MemberHeaders()
  readonly #cursor = new PaxCursor()

  #state = inHeaders
  /** Stream offset of the first byte of the chunk that is being worked on. */
  #base = 0
  /** Body and padding to pass, and how much of it is padding, which the end of the stream may lack. */
  #remaining = 0
  #padding = 0
  #dropping = false
  /** Headers that chunks have split. */
  #carry = Buffer.alloc(4 * blockSize)
  #have = 0
  #need = 0
  #members = 0
  #changed = 0
  /** Bytes that came out, and the zeros from the end of the members on that are held back. */
  #out = 0
  #zeros = 0
  /** The chunk as words, where these begin at a multiple of four bytes into it; undefined while it is the carry. */
  #words: Uint32Array | undefined
  #wordShift = 0

  constructor(edit: MemberEdit, sink: Sink, { membersOnly = false }: TarEditorOptions = {}) {
    this.#edit = edit
    this.#sink = (chunk, from, to) => {
      this.#out += to - from
      sink(chunk, from, to)
    }
    this.#membersOnly = membersOnly
  }

  /** Header blocks seen, without extensions, and how many of them were changed or dropped. */
  get members(): number {
    return this.#members
  }

  get changed(): number {
    return this.#changed
  }

  write(chunk: Uint8Array, from: number, to: number): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const base = this.#base - from
    this.#words = undefined
    let at = from
    /** Everything from here to `at` goes through. */
    let run = from
    if (this.#have > 0) {
      at = run = this.#complete(bytes, from, to, base)
      if (this.#have > 0) {
        this.#base = base + to
        return
      }
    }
    this.#wordShift = bytes.byteOffset & 3
    this.#words = new Uint32Array(
      bytes.buffer,
      bytes.byteOffset - this.#wordShift,
      (bytes.byteLength + this.#wordShift) >>> 2
    )
    while (at < to) {
      if (this.#state === inBody) {
        const take = Math.min(to - at, this.#remaining)
        at += take
        this.#remaining -= take
        if (this.#dropping) run = at
        if (this.#remaining > 0) break
        this.#dropping = false
        this.#state = inHeaders
      } else if (this.#state === inZeros) {
        const start = at
        while (at < to && bytes[at] === 0) at++
        this.#zeros += at - start
        run = at
        if (at === to) break
        this.#state = inTrailer
        if (!this.#membersOnly) this.#putZeros(this.#zeros)
      } else if (this.#state === inTrailer) {
        at = to
        if (this.#membersOnly) run = to
      } else {
        const need = this.#parse(bytes, at, to, base + at)
        if (need > 0) {
          if (at > run) this.#sink(bytes, run, at)
          this.#keep(bytes, at, to, need)
          at = run = to
        } else run = this.#apply(bytes, run, (at = this.#headers.end))
      }
    }
    this.#base = base + to
    if (at > run) this.#sink(bytes, run, at)
  }

  /** Behind the last chunk. Throws when the archive is cut short. */
  end(): void {
    if (this.#have > 0) {
      const zero = this.#carry.subarray(0, this.#have).every((byte) => byte === 0)
      // An end that is cut short moves no boundary.
      if (!zero || this.#have >= blockSize)
        throw this.#error("tar.truncated", "the headers of a member are cut short", this.#base)
      this.#zeros += this.#have
    }
    if (this.#state === inBody && this.#remaining > this.#padding) {
      throw this.#error("tar.truncated", "the body of a member is cut short", this.#base)
    }
    if (this.#membersOnly && this.#state === inBody && !this.#dropping) this.#sink(zeros, 0, this.#remaining)
    if (!this.#membersOnly && this.#state !== inTrailer) this.#putZeros(this.#endSize())
    this.#edit.end?.()
  }

  /** How many zeros end what comes out. */
  #endSize(): number {
    const isRecords = this.#state === inZeros && this.#base % recordSize === 0
    if (!isRecords || this.#base - this.#zeros === this.#out) return this.#zeros
    return Math.ceil((this.#out + endBlocks) / recordSize) * recordSize - this.#out
  }

  #putZeros(count: number): void {
    const some = Buffer.alloc(Math.min(count, 64 * 1024))
    for (let left = count; left > 0; left -= some.length) this.#sink(some, 0, Math.min(left, some.length))
  }

  #error(check: TarCheck, message: string, offset: number): TarEditError {
    return new TarEditError(check, message, offset)
  }

  /** Puts aside headers of which `need` bytes are needed to go on. */
  #keep(bytes: Buffer, from: number, to: number, need: number): void {
    this.#reserve(need)
    bytes.copy(this.#carry, this.#have, from, to)
    this.#have += to - from
    this.#need = need
  }

  #reserve(need: number): void {
    if (need <= this.#carry.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(need, 2 * this.#carry.length))
    this.#carry.copy(larger, 0, 0, this.#have)
    this.#carry = larger
  }

  /** Goes on with headers that were put aside; answers where in the chunk they end. */
  #complete(bytes: Buffer, from: number, to: number, base: number): number {
    let at = from
    for (;;) {
      const take = Math.min(this.#need - this.#have, to - at)
      bytes.copy(this.#carry, this.#have, at, at + take)
      this.#have += take
      at += take
      if (this.#have < this.#need) return at
      const need = this.#parse(this.#carry, 0, this.#have, base + at - this.#have)
      if (need === 0) break
      this.#reserve(need)
      this.#need = need
    }
    const { end } = this.#headers
    const run = this.#apply(this.#carry, 0, end)
    if (end > run) this.#sink(this.#carry, run, end)
    this.#have = 0
    return at
  }

  /**
   * Reads the headers of one member, or a zero block, at `[at, to)`. 0 when they are all there; otherwise how many bytes
   * from `at` on are needed to go on, which is never more than they have.
   */
  #parse(bytes: Buffer, at: number, to: number, offset: number): number {
    const headers = this.#headers
    headers.bytes = bytes
    headers.start = at
    headers.offset = offset
    headers.extensions = 0
    for (let p = at; ; ) {
      if (to - p < blockSize) return p - at + blockSize
      const sum = this.#sumOf(bytes, p)
      if (sum === 0) {
        if (headers.extensions > 0) throw this.#error("tar.bad-pax", "an extended header has no member", offset)
        headers.end = p + blockSize
        headers.type = -1
        return 0
      }
      if (this.#state === afterZero)
        throw this.#error("tar.trailing-data", "data follows a single zero block", offset + p - at)
      const checksum = checksumOf(bytes, p, sum)
      if (!checksumFits(bytes, p, checksum)) {
        const isTar = offset > 0 || headers.extensions > 0 || hasMagic(bytes, p)
        throw this.#error(
          isTar ? "tar.bad-checksum" : "tar.not-a-tar",
          isTar ? "a header's checksum does not fit" : "it is no tar",
          offset + p - at
        )
      }
      const type = bytes[p + 156]!
      if (!isExtension(type)) {
        let end = p + blockSize
        headers.header = p
        headers.type = type
        headers.checksum = checksum
        headers.format = formatOf(bytes, p)
        if (type === 0x53) {
          if (headers.format !== "gnu")
            throw this.#error("tar.bad-sparse", "where the map of a sparse file is, is not known", offset + p - at)
          for (let more = bytes[p + 482]! !== 0; more; more = bytes[end - 8]! !== 0) {
            end += blockSize
            if (end - at > maxHeaders)
              throw this.#error("tar.too-large", "the headers of a member are too large", offset)
            if (end > to) return end - at
          }
        }
        headers.end = end
        const size = this.#bodySize(p, offset + p - at)
        if (hasBody(type)) {
          if (!(size >= 0)) throw this.#error("tar.bad-number", "the size of a member is no number", offset + p - at)
          headers.size = size
        } else headers.size = 0
        return 0
      }
      const size = parseNumber(bytes, p + 124, 12)
      if (!(size >= 0))
        throw this.#error("tar.bad-number", "the size of an extended header is no number", offset + p - at)
      if (size > maxExtension)
        throw this.#error("tar.too-large", `an extended header of ${size} bytes`, offset + p - at)
      const next = p + blockSize + size + paddingOf(size)
      if (next - at > maxHeaders) throw this.#error("tar.too-large", "the headers of a member are too large", offset)
      for (let i = 0; i < headers.extensions; i++) {
        const other = headers.extensionType[i]!
        if (type !== typeGlobal && (other === type || (isPax(other) && isPax(type)))) {
          throw this.#error(
            isPax(type) ? "tar.bad-pax" : "tar.bad-long-name",
            "a member has two extended headers of one kind",
            offset + p - at
          )
        }
      }
      const alone = type === typeGlobal && headers.extensions === 0
      if (next > to) return next - at + (alone ? 0 : blockSize)
      headers.extensionType[headers.extensions] = type
      headers.extensionStart[headers.extensions] = p
      headers.extensionSize[headers.extensions++] = size
      if (type === typeGlobal) this.#checkGlobal(bytes, p + blockSize, p + blockSize + size, offset + p - at)
      if (alone) {
        headers.header = -1
        headers.end = next
        headers.type = typeGlobal
        headers.size = 0
        return 0
      }
      p = next
    }
  }

  #sumOf(bytes: Buffer, at: number): number {
    const aligned = at + this.#wordShift
    return this.#words !== undefined && (aligned & 3) === 0 ? sumWords(this.#words, aligned >>> 2) : sumBytes(bytes, at)
  }

  /** Some readers apply these to every member that follows, some do not: they do not see the same members. */
  #checkGlobal(bytes: Buffer, from: number, to: number, offset: number): void {
    const cursor = this.#cursor.reset(bytes, from, to)
    while (cursor.advance()) {
      if (cursor.is("path") || cursor.is("linkpath") || cursor.is("size") || cursor.keyStartsWith("GNU.sparse.")) {
        throw this.#error("tar.bad-pax", "a global pax header sets what only a member's own may", offset)
      }
    }
    if (cursor.fault !== undefined) throw this.#error("tar.bad-pax", cursor.fault, offset)
  }

  /** What the headers say the size is, every pax record looked at. */
  #bodySize(header: number, offset: number): number {
    const headers = this.#headers
    const own = parseNumber(headers.bytes, header + 124, 12)
    let size = own
    for (let i = 0; i < headers.extensions; i++) {
      if (!isPax(headers.extensionType[i]!)) continue
      const from = headers.extensionStart[i]! + blockSize
      const cursor = this.#cursor.reset(headers.bytes, from, from + headers.extensionSize[i]!)
      while (cursor.advance()) {
        // An empty value takes the record back.
        if (cursor.is("size")) size = cursor.end - cursor.equals === 2 ? own : parseDecimal(cursor.value())
      }
      if (cursor.fault !== undefined) throw this.#error("tar.bad-pax", cursor.fault, offset)
    }
    return size
  }

  /** Edits the parsed headers; bytes from `run` on wait to go through. Answers from where on they wait afterwards. */
  #apply(bytes: Buffer, run: number, end: number): number {
    const headers = this.#headers
    if (headers.type < 0) {
      this.#state = this.#state === afterZero ? inZeros : afterZero
      this.#zeros += blockSize
      if (headers.start > run) this.#sink(bytes, run, headers.start)
      return end
    }
    headers.index = this.#members
    if (headers.header >= 0) this.#members++
    headers.reset()
    this.#edit.member(headers)
    this.#padding = paddingOf(headers.size)
    this.#remaining = headers.size + this.#padding
    if (this.#remaining > 0) this.#state = inBody
    if (!headers.changed) return run
    this.#changed++
    if (headers.dropped) {
      this.#dropping = this.#remaining > 0
      if (headers.start > run) this.#sink(bytes, run, headers.start)
      for (let i = 0; i < headers.extensions; i++) {
        if (headers.extensionType[i] !== typeGlobal || this.#membersOnly) continue
        const start = headers.extensionStart[i]!
        const size = headers.extensionSize[i]!
        this.#sink(bytes, start, start + blockSize + size + paddingOf(size))
      }
      return end
    }
    if (headers.replacement !== undefined) {
      if (headers.start > run) this.#sink(bytes, run, headers.start)
      this.#sink(headers.replacement, 0, headers.replacement.length)
      headers.body?.(this.#sink)
      return end
    }
    if (headers.outEnd === end) return run
    if (headers.outEnd > run) this.#sink(bytes, run, headers.outEnd)
    return end
  }
}
