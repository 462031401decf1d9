import { count } from "../image/Count.ts"
import type { ByteString } from "./ByteString.ts"
import { display, isUtf8 } from "./ByteString.ts"
import type { Problem, TarCheck } from "./Problem.ts"
import type { TarEntry, TarEntryType } from "./TarEntry.ts"
import {
  blockSize,
  checksumFits,
  checksumOf,
  fieldEnd,
  formatOf,
  hasMagic,
  paddingOf,
  parseNumber,
  parseText,
  sumBytes,
  sumWords,
  type TarFormat
} from "./TarField.ts"
import { overlayPax, type PaxFaults, type PaxRecords, parsePax, parsePaxTime, paxBytes } from "./TarPax.ts"
import { type FlatMap, paxSparse, SparseMapReader, sparseFault, sparseSegments } from "./TarSparse.ts"

export interface TarVisitor {
  /** All headers of the member are known; its body follows. */
  readonly onEntry?: (entry: TarEntry) => void
  /**
   * `chunk[from, to)` are the next bytes of the member's body: in order, without padding, without the map of a sparse
   * 1.0 member. The chunk is the one given to `write` or a buffer that is used again: valid during the call only.
   */
  readonly onBody?: (entry: TarEntry, chunk: Uint8Array, from: number, to: number) => void
  /** The body is complete. Not called for a member that is cut short. */
  readonly onEntryEnd?: (entry: TarEntry) => void
  /** `chunk[from, to)` are bytes behind the end of the archive, from the first on that is not zero. */
  readonly onTrailing?: (chunk: Uint8Array, from: number, to: number) => void
  readonly onProblem: (problem: Problem) => void
}

export interface TarScanOptions {
  /**
   * Bytes that one extended header (pax, GNU long name, sparse map) may have, and all global pax records together;
   * beyond it, it is reported as `tar.too-large` and passed over. Default 1 MiB, as in Go's archive/tar.
   */
  readonly maxMetadataBytes?: number
  /** Problems reported for each check id, before one that says how many more there are. Default 100. */
  readonly maxProblemsPerCheck?: number
}

export interface TarSummary {
  /** Members seen. */
  readonly entries: number
  /** Bytes fed to the scanner. */
  readonly bytes: number
  /** Bytes of members' bodies among them. */
  readonly bodyBytes: number
  /** Whether the two zero blocks that end an archive were there. */
  readonly ended: boolean
}

// What the next bytes are. Those up to `lastBlockState` take whole blocks.
const inHeader = 0
const inSparseBlock = 1
const inSparseMap = 2
const inLinkBody = 3
const inGap = 4
const lastBlockState = inGap
const inBody = 5
const inPadding = 6
const inExtension = 7
const inTrailer = 8
const inRest = 9

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** Bytes that are passed over because no header that fits describes them. */
interface Gap {
  readonly start: number
  /** False when a problem about these bytes has been reported already. */
  readonly report: boolean
  readonly stored: number
  readonly computed: number
  readonly path: ByteString | undefined
}

const reportedGap = (start: number): Gap => ({ start, report: false, stored: 0, computed: 0, path: undefined })

/** Global records that say what only one member can have. */
const globalOverrides = ["path", "linkpath", "size"]

/** Every member with records of its own gets a copy of the global ones: their number has to be bounded, too. */
const maxGlobalRecords = 100

const noWords = new Uint32Array(0)

/** Longer names are shortened in problems, so that a thousand problems stay small. PATH_MAX of Linux. */
const maxShownPath = 4096

/**
 * A strict scanner of tar streams (POSIX.1-2017 pax "ustar Interchange Format" and "pax Interchange Format", GNU tar
 * manual "Basic Tar Format", v7, star): it reports every fault as a Problem and goes on behind it, so that nothing
 * hides. Synchronous; memory is bounded by the options whatever the archive says.
 *
 * Call `write` with consecutive chunks of any sizes (fast from some KiB on), then `end` once.
 */
export class TarScanner {
  private readonly onEntry: ((entry: TarEntry) => void) | undefined
  private readonly onBody: ((entry: TarEntry, chunk: Uint8Array, from: number, to: number) => void) | undefined
  private readonly onEntryEnd: ((entry: TarEntry) => void) | undefined
  private readonly onTrailing: ((chunk: Uint8Array, from: number, to: number) => void) | undefined
  private readonly onProblem: (problem: Problem) => void
  private readonly maxMetadata: number
  private readonly maxProblems: number

  private state = inHeader
  /** Stream offset of the next byte. */
  private position = 0
  /** A block that chunks have split, and how much of it is there. */
  private readonly scratch = Buffer.alloc(blockSize)
  private have = 0
  /** The last chunk with a header, the same as words, and how far its first byte is into the first of them. */
  private summed: Buffer | undefined = undefined
  private words: Uint32Array = noWords
  private wordShift = 0

  private entries = 0
  private bodyBytes = 0
  private ended = false
  private summary: TarSummary | undefined = undefined
  private readonly counts = new Map<TarCheck, number>()

  /** Whether a valid header has been seen: what comes before is perhaps no tar at all. */
  private isTar = false
  private notTar = false
  /** Whether a pax header has been seen: in such an archive a hardlink may have a body. */
  private isPax = false
  /** Offset of a zero block with no other before it, or -1. */
  private zeroAt = -1
  private gap: Gap | undefined = undefined
  /** In a gap: zero bytes up to now. */
  private zeroRun = 0

  /** The member whose body is being read; undefined while bytes are passed over. */
  private entry: TarEntry | undefined = undefined
  private remaining = 0
  private padding = 0
  /** The member that waits for more blocks before it can be announced. */
  private draft: Mutable<TarEntry> | undefined = undefined
  private sparseMap: FlatMap = []
  private sparseBytes = 0
  private sparseTooLarge = false
  private mapReader: SparseMapReader | undefined = undefined

  private extensionType = 0
  private extensionOffset = 0
  private extension: Buffer | undefined = undefined
  private extensionHave = 0

  /** Extensions that belong to the next member. */
  private pendingOffset = -1
  private pax: PaxRecords | undefined = undefined
  private paxSparse: ReadonlyArray<ByteString> | undefined = undefined
  private longName: ByteString | undefined = undefined
  private longLink: ByteString | undefined = undefined
  private globalPax: PaxRecords | undefined = undefined
  private readonly paxFaults: PaxFaults = {
    paxFault: (message, distance) => this.problem("tar.bad-pax", message, this.extensionOffset + blockSize + distance)
  }

  private lastUname: ByteString = ""
  private lastGname: ByteString = ""

  constructor(visitor: TarVisitor, options: TarScanOptions = {}) {
    this.onEntry = visitor.onEntry?.bind(visitor)
    this.onBody = visitor.onBody?.bind(visitor)
    this.onEntryEnd = visitor.onEntryEnd?.bind(visitor)
    this.onTrailing = visitor.onTrailing?.bind(visitor)
    this.onProblem = visitor.onProblem.bind(visitor)
    this.maxMetadata = options.maxMetadataBytes ?? 1 << 20
    this.maxProblems = options.maxProblemsPerCheck ?? 100
  }

  /** Feeds `chunk[from, to)`, the next bytes of the archive. */
  write(chunk: Uint8Array, from = 0, to = chunk.length): void {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let at = from
    while (at < to) {
      const left = to - at
      if (this.state <= lastBlockState) {
        if (this.have === 0 && left >= blockSize) {
          at += blockSize
          this.position += blockSize
          this.block(bytes, at - blockSize, this.sumOf(at - blockSize, bytes))
        } else {
          const take = Math.min(blockSize - this.have, left)
          bytes.copy(this.scratch, this.have, at, at + take)
          at += take
          this.position += take
          this.have += take
          if (this.have === blockSize) {
            this.have = 0
            this.block(this.scratch, 0, sumBytes(this.scratch, 0))
          }
        }
        continue
      }
      let take = left
      switch (this.state) {
        case inBody: {
          take = Math.min(left, this.remaining)
          this.remaining -= take
          this.position += take
          if (this.entry !== undefined) {
            this.bodyBytes += take
            if (this.onBody !== undefined) this.onBody(this.entry, chunk, at, at + take)
          }
          if (this.remaining === 0) this.bodyEnd()
          break
        }
        case inPadding: {
          take = Math.min(left, this.padding)
          this.padding -= take
          this.position += take
          if (this.padding === 0) this.state = inHeader
          break
        }
        case inExtension: {
          take = Math.min(left, this.remaining)
          this.remaining -= take
          this.position += take
          if (this.extension === undefined && this.remaining === 0) {
            this.extensionEnd(bytes, at, at + take)
          } else {
            this.extension ??= Buffer.allocUnsafe(take + this.remaining)
            bytes.copy(this.extension, this.extensionHave, at, at + take)
            this.extensionHave += take
            if (this.remaining === 0) this.extensionEnd(this.extension, 0, this.extensionHave)
          }
          break
        }
        case inTrailer: {
          this.trailer(bytes, at, to)
          this.position += take
          break
        }
        default:
          if (this.ended) this.onTrailing?.(bytes, at, to)
          this.position += take
      }
      at += take
    }
  }

  /** Whether global pax headers are in force for the members to come. */
  get hasGlobals(): boolean {
    return this.globalPax !== undefined
  }

  /** Says that the stream has ended. Problems that only the end shows are reported now. */
  end(): TarSummary {
    if (this.summary !== undefined) return this.summary
    if (this.state === inLinkBody) this.linkWithoutBody()
    this.finish()
    for (const [check, count] of this.counts) {
      if (count > this.maxProblems) {
        this.onProblem({ check, message: `${count - this.maxProblems} more of these were found and are not listed` })
      }
    }
    this.summary = { entries: this.entries, bytes: this.position, bodyBytes: this.bodyBytes, ended: this.ended }
    return this.summary
  }

  private finish(): void {
    const end = this.position
    switch (this.state) {
      case inHeader: {
        if (this.have > 0) this.partialHeader(end - this.have)
        this.closeGap(end)
        break
      }
      case inGap: {
        const left = this.scratch.subarray(0, this.have)
        this.ended = this.zeroRun >= 2 * blockSize && left.every((byte) => byte === 0)
        this.closeGap(this.ended ? end - this.have - this.zeroRun : end)
        break
      }
      case inSparseBlock:
      case inSparseMap: {
        this.truncated("the sparse map is cut short", undefined, this.draft?.path)
        break
      }
      case inBody: {
        if (this.gap === undefined) {
          const size = this.entry?.size
          this.truncated(
            "the body is shorter than the size in the header",
            size === undefined ? undefined : [size, size - this.remaining],
            this.entry?.path
          )
        }
        this.closeGap(end)
        break
      }
      case inExtension: {
        this.truncated(`the ${extensionName(this.extensionType)} is cut short`, undefined, undefined)
        this.clearPending()
        break
      }
      case inPadding: {
        if (this.gap === undefined) {
          this.problem(
            "tar.no-padding",
            `the last body lacks ${count(this.padding, "byte")} of padding to a full block`,
            end,
            this.entry?.path
          )
        }
        this.closeGap(end)
        break
      }
    }
    // That what was cut lacks what would have come goes without saying.
    if (this.notTar || this.counts.has("tar.truncated")) return
    this.dangling()
    if (!this.ended) {
      this.problem(
        "tar.no-end",
        this.zeroAt >= 0
          ? "the archive ends with one zero block instead of two"
          : end === 0
            ? "the archive is empty: not even the two zero blocks at its end are there"
            : "the archive does not end with two zero blocks",
        end
      )
    }
  }

  /** Fewer bytes than a block are left at the end of the stream. */
  private partialHeader(offset: number): void {
    const zero = this.scratch.subarray(0, this.have).every((byte) => byte === 0)
    if (zero) {
      // Readers that take whole blocks (Go) fail here, the ones that stop at the first zero block do not notice.
      this.truncated("the archive ends within a block of zeros", [blockSize, this.have], undefined)
    } else if (this.zeroAt >= 0) {
      this.loneZeroBlock(offset)
    } else if (!this.isTar && this.gap === undefined && !(this.have > 262 && hasMagic(this.scratch, 0))) {
      this.notATar()
    } else if (this.gap === undefined) {
      this.truncated("a header is cut short", [blockSize, this.have], undefined)
    }
  }

  private sumOf(at: number, bytes: Buffer): number {
    if (bytes !== this.summed) {
      this.summed = bytes
      this.wordShift = bytes.byteOffset & 3
      this.words = new Uint32Array(
        bytes.buffer,
        bytes.byteOffset - this.wordShift,
        (bytes.byteLength + this.wordShift) >>> 2
      )
    }
    const aligned = at + this.wordShift
    return (aligned & 3) === 0 ? sumWords(this.words, aligned >>> 2) : sumBytes(bytes, at)
  }

  /** A whole block, `sum` being that of its bytes; `position` is behind it. */
  private block(bytes: Buffer, at: number, sum: number): void {
    switch (this.state) {
      case inHeader:
        return this.header(bytes, at, sum)
      case inSparseBlock:
        return this.sparseBlock(bytes, at)
      case inSparseMap:
        return this.sparseMapBlock(bytes, at)
      case inLinkBody:
        return this.linkBlock(bytes, at, sum)
      default:
        return this.gapBlock(bytes, at, sum)
    }
  }

  private header(bytes: Buffer, at: number, sum: number): void {
    const offset = this.position - blockSize
    if (sum === 0) {
      this.closeGap(offset)
      if (this.zeroAt < 0) {
        this.zeroAt = offset
        this.dangling()
      } else {
        this.ended = true
        this.state = inTrailer
      }
      return
    }
    const computed = checksumOf(bytes, at, sum)
    const fits = checksumFits(bytes, at, computed)
    if (this.zeroAt >= 0) {
      this.loneZeroBlock(offset)
      if (!fits) return this.openGap(reportedGap(offset))
    }
    if (!fits) return this.badHeader(bytes, at, offset, computed)
    if (this.gap !== undefined) this.closeGap(offset)
    this.isTar = true

    const type = bytes[at + 156]!
    switch (type) {
      case 0x78: // x
      case 0x58: // X, Solaris' pax header
      case 0x67: // g
      case 0x4c: // L
      case 0x4b: // K
        return this.extensionHeader(bytes, at, offset, type)
      default:
        return this.member(bytes, at, offset, type)
    }
  }

  private loneZeroBlock(offset: number): void {
    this.problem(
      "tar.trailing-data",
      `data follows a single zero block at ${this.zeroAt}, where most readers end`,
      offset
    )
    this.zeroAt = -1
  }

  // -- headers that do not fit ---------------------------------------------------------------------------------------

  private badHeader(bytes: Buffer, at: number, offset: number, computed: number): void {
    const magic = hasMagic(bytes, at)
    if (!this.isTar && this.gap === undefined && !magic && !looksLikeV7(bytes, at)) return this.notATar()
    // Extensions before a header that is lost are lost with it.
    this.clearPending()
    const size = parseNumber(bytes, at + 124, 12)
    const plausible = magic && size >= 0
    if (this.gap !== undefined) {
      if (!plausible) {
        this.state = inGap
        this.zeroRun = 0
        return
      }
      this.closeGap(offset)
    }
    const path = magic ? parseText(bytes, at, 100) : undefined
    this.openGap({ start: offset, report: true, stored: parseNumber(bytes, at + 148, 8), computed, path })
    if (plausible) {
      const body = hasBody(bytes[at + 156]!) ? size : 0
      this.skipBody(body)
    }
  }

  private notATar(): void {
    this.problem("tar.not-a-tar", "the first block is no tar header", 0)
    this.notTar = true
    this.state = inRest
  }

  private openGap(gap: Gap): void {
    this.gap = gap
    this.zeroRun = 0
    this.state = inGap
  }

  private closeGap(end: number): void {
    const gap = this.gap
    if (gap === undefined) return
    this.gap = undefined
    if (!gap.report) return
    this.emit({
      check: "tar.bad-checksum",
      message: `the header's checksum does not fit; bytes ${gap.start} to ${end} are passed over`,
      expected: gap.computed.toString(8).padStart(6, "0"),
      actual: Number.isNaN(gap.stored) ? "not a number" : gap.stored.toString(8).padStart(6, "0"),
      offset: gap.start,
      ...(gap.path === undefined ? {} : { path: gap.path })
    })
  }

  private gapBlock(bytes: Buffer, at: number, sum: number): void {
    // A zero block ends the archive only where a header is due; here it may be a part of a lost body.
    if (sum === 0) {
      this.zeroRun += blockSize
      return
    }
    this.zeroRun = 0
    if (!checksumFits(bytes, at, checksumOf(bytes, at, sum))) return
    this.state = inHeader
    this.header(bytes, at, sum)
  }

  private skipBody(size: number): void {
    this.entry = undefined
    this.remaining = size
    this.padding = paddingOf(size)
    this.state = size > 0 ? inBody : inHeader
  }

  // -- extended headers ----------------------------------------------------------------------------------------------

  private extensionHeader(bytes: Buffer, at: number, offset: number, type: number): void {
    if (type !== 0x67 && this.pendingOffset < 0) this.pendingOffset = offset
    if (type === 0x78 || type === 0x58 || type === 0x67) this.isPax = true
    this.extensionType = type
    this.extensionOffset = offset
    const size = this.number(bytes, at, 124, 12, "size", offset, undefined)
    const sizeBad = this.numberBad
    // Nothing uses the others, but readers parse all fields of all headers and end where one is malformed.
    this.number(bytes, at, 100, 8, "mode", offset, undefined)
    this.number(bytes, at, 108, 8, "uid", offset, undefined)
    this.number(bytes, at, 116, 8, "gid", offset, undefined)
    this.time(bytes, at, 136, "mtime", offset, undefined)
    if (formatOf(bytes, at) !== "v7") {
      this.number(bytes, at, 329, 8, "devmajor", offset, undefined)
      this.number(bytes, at, 337, 8, "devminor", offset, undefined)
    }
    if (sizeBad) {
      // Where the next header is, and what was meant for it, nobody knows.
      this.clearPending()
      return this.openGap(reportedGap(this.position))
    }
    if (size > this.maxMetadata) {
      this.problem(
        "tar.too-large",
        `a ${extensionName(type)} of ${size} bytes is beyond the limit of ${this.maxMetadata} and passed over`,
        offset
      )
      return this.skipBody(size)
    }
    this.padding = paddingOf(size)
    this.remaining = size
    this.extension = undefined
    this.extensionHave = 0
    if (size > 0) this.state = inExtension
    else this.extensionEnd(bytes, at, at)
  }

  private extensionEnd(bytes: Buffer, from: number, to: number): void {
    this.extension = undefined
    this.entry = undefined
    this.state = this.padding > 0 ? inPadding : inHeader
    const offset = this.extensionOffset
    switch (this.extensionType) {
      case 0x4c:
        this.longName = this.longText(bytes, from, to, offset, this.longName !== undefined, "long name")
        return
      case 0x4b:
        this.longLink = this.longText(bytes, from, to, offset, this.longLink !== undefined, "long link name")
        return
    }
    const { records, sparse } = parsePax(bytes, from, to, this.paxFaults)
    if (this.extensionType === 0x67) return this.globalHeader(records, offset)
    if (this.pax !== undefined) {
      this.problem("tar.bad-pax", "a second pax header for the same member", offset)
    }
    this.pax = records
    this.paxSparse = sparse
  }

  private globalHeader(records: PaxRecords, offset: number): void {
    for (const keyword of records.keys()) {
      if (!globalOverrides.includes(keyword) && !keyword.startsWith("GNU.sparse.")) continue
      // What Go and libarchive do: with such a record in force two readers see two different archives.
      records.delete(keyword)
      this.problem("tar.bad-pax", `a global pax header sets ${quoted(keyword)}, which is not applied`, offset)
    }
    const merged = overlayPax(this.globalPax, records)
    if (merged.size > maxGlobalRecords || paxBytes(merged) > this.maxMetadata) {
      this.problem(
        "tar.too-large",
        `more than ${maxGlobalRecords} global pax records or ${this.maxMetadata} bytes of them; ` +
          "the last header is passed over",
        offset
      )
    } else {
      this.globalPax = merged.size === 0 ? undefined : merged
    }
  }

  /** Undefined for an empty one: the header's own name counts then, as in Go. */
  private longText(
    bytes: Buffer,
    from: number,
    to: number,
    offset: number,
    again: boolean,
    what: string
  ): ByteString | undefined {
    if (again) this.problem("tar.bad-long-name", `a second ${what} for the same member`, offset)
    const end = fieldEnd(bytes, from, to - from)
    for (let i = end; i < to; i++) {
      if (bytes[i] !== 0) {
        this.problem("tar.bad-long-name", `a ${what} goes on behind its NUL`, offset)
        break
      }
    }
    if (end === from) {
      this.problem("tar.bad-long-name", `a ${what} is empty`, offset)
      return undefined
    }
    return bytes.toString("latin1", from, end)
  }

  /** Extensions wait for a member, and there is none. */
  private dangling(): void {
    if (this.pax !== undefined) {
      this.problem("tar.bad-pax", "a pax header without the member it belongs to", this.pendingOffset)
    }
    if (this.longName !== undefined || this.longLink !== undefined) {
      this.problem("tar.bad-long-name", "a long name without the member it belongs to", this.pendingOffset)
    }
    this.clearPending()
  }

  private clearPending(): void {
    this.pendingOffset = -1
    this.pax = undefined
    this.paxSparse = undefined
    this.longName = undefined
    this.longLink = undefined
  }

  // -- members -------------------------------------------------------------------------------------------------------

  private member(bytes: Buffer, at: number, offset: number, type: number): void {
    const format = formatOf(bytes, at)
    let path = this.longName ?? this.headerPath(bytes, at, format, offset)
    let linkname = type === 0x31 || type === 0x32 ? (this.longLink ?? parseText(bytes, at + 157, 100)) : ""
    let size = this.number(bytes, at, 124, 12, "size", offset, path)
    const sizeBad = this.numberBad
    const mode = this.number(bytes, at, 100, 8, "mode", offset, path) & 0o7777
    let uid = this.number(bytes, at, 108, 8, "uid", offset, path)
    let gid = this.number(bytes, at, 116, 8, "gid", offset, path)
    let mtimeSeconds = this.time(bytes, at, 136, "mtime", offset, path)
    let mtimeNanoseconds = 0
    let uname = ""
    let gname = ""
    let devmajor = 0
    let devminor = 0
    if (format !== "v7") {
      if (bytes[at + 265] !== 0) uname = this.lastUname = cachedText(bytes, at + 265, this.lastUname)
      if (bytes[at + 297] !== 0) gname = this.lastGname = cachedText(bytes, at + 297, this.lastGname)
      devmajor = this.number(bytes, at, 329, 8, "devmajor", offset, path)
      devminor = this.number(bytes, at, 337, 8, "devminor", offset, path)
    }

    const repeated = this.paxSparse
    const pax = this.pax === undefined ? this.globalPax : overlayPax(this.globalPax, this.pax)
    if (format === "star") {
      this.time(bytes, at, 476, "atime", offset, path)
      this.time(bytes, at, 488, "ctime", offset, path)
    }
    let sizeKnown = !sizeBad
    if (pax !== undefined) {
      path = pax.get("path") ?? path
      if (type === 0x31 || type === 0x32) linkname = pax.get("linkpath") ?? linkname
      const paxSize = pax.get("size")
      if (paxSize !== undefined) {
        size = Number(paxSize)
        sizeKnown = true
        if (size > 0 && !hasBody(type) && type !== 0x31) {
          this.problem(
            "tar.bad-size",
            "a pax record gives a size to a member without a body, where libarchive looks for one",
            offset,
            path
          )
        }
      }
      uid = Number(pax.get("uid") ?? uid)
      gid = Number(pax.get("gid") ?? gid)
      uname = pax.get("uname") ?? uname
      gname = pax.get("gname") ?? gname
      devmajor = Number(pax.get("SCHILY.devmajor") ?? devmajor)
      devminor = Number(pax.get("SCHILY.devminor") ?? devminor)
      const mtime = pax.get("mtime")
      if (mtime !== undefined) {
        const time = parsePaxTime(mtime)!
        mtimeSeconds = time[0]
        mtimeNanoseconds = time[1]
      }
      if (this.longName !== undefined && this.pax?.has("path") && path !== this.longName) {
        this.problem("tar.bad-long-name", "a GNU long name and a pax path that differ", offset, path)
      }
      if (this.longLink !== undefined && this.pax?.has("linkpath") && linkname !== "" && linkname !== this.longLink) {
        this.problem("tar.bad-long-name", "a GNU long link name and a pax linkpath that differ", offset, path)
      }
    }
    const sparse = pax === undefined ? undefined : paxSparse(pax, repeated)
    if (sparse !== undefined && sparse.version !== "unknown") path = pax!.get("GNU.sparse.name") ?? path
    if (this.longLink !== undefined && type !== 0x31 && type !== 0x32) {
      this.problem("tar.bad-long-name", "a long link name before a member that is no link", offset, path)
    }
    const headerOffset = this.pendingOffset < 0 ? offset : this.pendingOffset
    // Readers that pass over a label take the extensions before it for the next member's.
    if (type === 0x56 || type === 0x4e) this.dangling()
    else this.clearPending()

    const entryType = this.entryType(type, path, size, offset)
    if (entryType === undefined) return this.skipBody(size)
    this.checkNames(entryType, path, linkname, offset)

    const entry: Mutable<TarEntry> = {
      index: 0,
      headerOffset,
      dataOffset: this.position,
      size: hasBody(type) ? size : 0,
      realSize: hasBody(type) ? size : 0,
      type: entryType,
      typeflag: String.fromCharCode(type),
      path,
      linkname,
      mode,
      uid,
      gid,
      uname,
      gname,
      mtimeSeconds,
      mtimeNanoseconds,
      devmajor,
      devminor,
      pax: pax === undefined || pax.size === 0 ? undefined : pax,
      sparse: undefined
    }

    if (type === 0x53 && sparse !== undefined) {
      this.problem("tar.bad-sparse", "a sparse map in the header and sparse records beside it", offset, path)
    }
    if (type === 0x53) return this.oldSparse(entry, bytes, at, format)
    if (sparse !== undefined && entryType !== "file") {
      this.problem("tar.bad-sparse", `a ${entryType} with sparse records`, offset, path)
    }
    if (sparse !== undefined && entryType === "file") {
      entry.realSize = sparse.version === "unknown" ? size : sparse.realSize
      if (sparse.version === "1.0") {
        this.draft = entry
        this.mapReader = new SparseMapReader()
        this.sparseBytes = 0
        this.state = inSparseMap
        if (entry.size < blockSize) this.badSparse(entry, "the body has no room for a sparse map")
        return
      }
      if (sparse.version === "unknown") {
        entry.sparse = []
        this.problem("tar.bad-sparse", sparse.message, offset, path)
      } else {
        this.applyMap(entry, sparse.map)
      }
    } else if (type === 0x31 && size > 0 && (format === "ustar" || format === "star")) {
      entry.size = entry.realSize = size
      this.draft = entry
      this.state = inLinkBody
      return
    }
    this.start(entry)
    // Without a size nobody knows where the next header is; that has been said already.
    if (!sizeKnown && hasBody(type)) this.openGap(reportedGap(this.position))
  }

  private headerPath(bytes: Buffer, at: number, format: TarFormat, offset: number): ByteString {
    const name = parseText(bytes, at, 100)
    if (format === "v7" || bytes[at + 345] === 0) return name
    if (format === "ustar") return `${parseText(bytes, at + 345, 155)}/${name}`
    if (format === "star") return `${parseText(bytes, at + 345, 131)}/${name}`
    const isTimes =
      !Number.isNaN(parseNumber(bytes, at + 345, 12)) &&
      (bytes[at + 357] === 0 || !Number.isNaN(parseNumber(bytes, at + 357, 12)))
    if (isTimes) return name
    const prefix = parseText(bytes, at + 345, 155)
    const path = /^[\x01-\x7f]+$/.test(prefix) ? `${prefix}/${name}` : name
    // Go before 1.8 wrote a ustar prefix here, and reads it until today; GNU tar and libarchive do not.
    this.problem("tar.bad-number", "the atime and ctime of a GNU header are no octal numbers", offset, path)
    return path
  }

  private entryType(type: number, path: ByteString, size: number, offset: number): TarEntryType | undefined {
    switch (type) {
      case 0x30: // 0
      case 0:
      case 0x37: // contiguous file
      case 0x53: // S, GNU sparse
        if (type === 0x37) this.uncommonType('"7": a contiguous file', offset, path)
        if (!path.endsWith("/")) return "file"
        // Before ustar, directories had the type of files and a slash; without a body nobody takes them for a file.
        if (type === 0 && size === 0) return "directory"
        this.problem(
          "tar.bad-type",
          'a file whose name ends with "/", of which some readers make a directory',
          offset,
          path
        )
        return size === 0 && type !== 0x53 ? "directory" : "file"
      case 0x31:
        return "hardlink"
      case 0x32:
        return "symlink"
      case 0x33:
        return "char"
      case 0x34:
        return "block"
      case 0x35:
        return "directory"
      case 0x36:
        return "fifo"
      case 0x44: // D, GNU incremental: a directory with the list of its files as body
        this.uncommonType('"D": a directory of a GNU incremental backup', offset, path)
        return "directory"
      case 0x56: // V, GNU volume label: describes the archive, is none of its files
        this.uncommonType('"V": a GNU volume label', offset, path)
        if (size > 0) {
          this.problem("tar.bad-size", "a volume label with a size, which some readers pass over", offset, path)
        }
        return undefined
      case 0x4d: // M
        this.problem("tar.bad-type", 'type "M": the rest of a file that begins in another volume', offset, path)
        return "file"
      case 0x4e: // N
        this.problem("tar.bad-type", 'type "N": an old GNU list of names, which no reader applies', offset, path)
        return undefined
      default:
        this.problem(
          "tar.bad-type",
          `type "${display(String.fromCharCode(type))}" is not one that POSIX or GNU define`,
          offset,
          path
        )
        // POSIX: a type that is not known is treated as a regular file.
        return "file"
    }
  }

  private uncommonType(what: string, offset: number, path: ByteString): void {
    this.problem("tar.uncommon-type", `type ${what}, which no program that unpacks images knows`, offset, path)
  }

  private start(entry: Mutable<TarEntry>): void {
    entry.index = this.entries++
    if (this.onEntry !== undefined) this.onEntry(entry)
    this.entry = entry
    this.remaining = entry.size
    this.padding = paddingOf(entry.size)
    if (entry.size === 0) this.bodyEnd()
    else this.state = inBody
  }

  private bodyEnd(): void {
    if (this.entry !== undefined && this.onEntryEnd !== undefined) this.onEntryEnd(this.entry)
    this.state = this.padding > 0 ? inPadding : inHeader
  }

  // -- hardlinks -----------------------------------------------------------------------------------------------------

  /**
   * A hardlink has a size. POSIX 1988 (ustar), GNU tar, Go and Python: no body, whatever the size says. POSIX 2001
   * (pax) and libarchive: a body of that size. What comes next tells: a header (a damaged one, even) or the end, or
   * else a body.
   */
  private linkBlock(bytes: Buffer, at: number, sum: number): void {
    const isNext = sum === 0 || hasMagic(bytes, at) || checksumFits(bytes, at, checksumOf(bytes, at, sum))
    if (isNext) {
      this.linkWithoutBody()
      this.header(bytes, at, sum)
      return
    }
    const entry = this.draft!
    this.draft = undefined
    this.problem(
      "tar.bad-size",
      `a hardlink with a body of ${count(entry.size, "byte")}, which several readers take for headers`,
      entry.dataOffset - blockSize,
      entry.path
    )
    this.start(entry)
    const take = Math.min(blockSize, entry.size)
    this.remaining -= take
    this.bodyBytes += take
    if (this.onBody !== undefined) this.onBody(entry, bytes, at, at + take)
    if (this.remaining === 0) {
      this.bodyEnd()
      this.state = inHeader
    }
  }

  private linkWithoutBody(): void {
    const entry = this.draft!
    this.draft = undefined
    if (this.isPax) {
      this.problem(
        "tar.bad-size",
        `a hardlink with size ${entry.size} and no body, in a pax archive, where readers may look for one`,
        entry.dataOffset - blockSize,
        entry.path
      )
    }
    entry.size = entry.realSize = 0
    this.start(entry)
    this.state = inHeader
  }

  // -- sparse files --------------------------------------------------------------------------------------------------

  private oldSparse(entry: Mutable<TarEntry>, bytes: Buffer, at: number, format: TarFormat): void {
    if (format !== "gnu") {
      return this.badSparse(entry, "a GNU sparse file without GNU's magic: where its map is, is not known")
    }
    entry.realSize = this.number(bytes, at, 483, 12, "real size", this.position - blockSize, entry.path)
    this.draft = entry
    this.sparseMap = []
    this.sparseBytes = 0
    this.sparseTooLarge = false
    this.addSegments(bytes, at + 386, 4)
    if (bytes[at + 482] === 0) this.oldSparseEnd()
    else this.state = inSparseBlock
  }

  private addSegments(bytes: Buffer, at: number, count: number): void {
    for (let i = at; i < at + 24 * count && bytes[i] !== 0; i += 24) {
      this.sparseMap.push(parseNumber(bytes, i, 12), parseNumber(bytes, i + 12, 12))
    }
  }

  private sparseBlock(bytes: Buffer, at: number): void {
    this.sparseBytes += blockSize
    if (this.sparseBytes > this.maxMetadata) this.mapTooLarge()
    else this.addSegments(bytes, at, 21)
    if (bytes[at + 504] === 0) this.oldSparseEnd()
  }

  private mapTooLarge(): void {
    if (this.sparseTooLarge) return
    this.sparseTooLarge = true
    this.sparseMap = []
    const entry = this.draft!
    this.problem(
      "tar.too-large",
      `a sparse map of more than ${this.maxMetadata} bytes is passed over`,
      entry.headerOffset,
      entry.path
    )
  }

  private oldSparseEnd(): void {
    const entry = this.draft!
    this.draft = undefined
    entry.dataOffset = this.position
    if (this.sparseTooLarge) entry.sparse = []
    else this.applyMap(entry, this.sparseMap)
    this.sparseMap = []
    this.start(entry)
  }

  private sparseMapBlock(bytes: Buffer, at: number): void {
    const entry = this.draft!
    const reader = this.mapReader!
    this.sparseBytes += blockSize
    entry.dataOffset = this.position
    entry.size = Math.max(0, entry.size - blockSize)
    const more = reader.block(bytes, at, blockSize)
    if (reader.fault !== undefined) return this.badSparse(entry, reader.fault)
    if (!more) {
      this.draft = undefined
      this.mapReader = undefined
      this.applyMap(entry, reader.map)
      this.start(entry)
    } else if (this.sparseBytes >= this.maxMetadata) {
      this.sparseTooLarge = false
      this.mapTooLarge()
      this.draft = undefined
      this.mapReader = undefined
      entry.sparse = []
      this.start(entry)
    } else if (entry.size < blockSize) {
      this.badSparse(entry, "the sparse map goes on behind the body")
    }
  }

  /** The body is delivered as it is stored (from behind what was read of a map in it): what it means is not known. */
  private badSparse(entry: Mutable<TarEntry>, message: string): void {
    this.draft = undefined
    this.mapReader = undefined
    entry.sparse = []
    if (!Number.isSafeInteger(entry.realSize)) entry.realSize = entry.size
    this.problem("tar.bad-sparse", message, entry.headerOffset, entry.path)
    this.start(entry)
  }

  private applyMap(entry: Mutable<TarEntry>, map: FlatMap): void {
    const fault = Number.isSafeInteger(entry.realSize)
      ? sparseFault(map, entry.realSize, entry.size)
      : "a sparse file without its real size"
    if (fault === undefined) {
      entry.sparse = sparseSegments(map)
      return
    }
    entry.sparse = []
    if (!Number.isSafeInteger(entry.realSize)) entry.realSize = entry.size
    this.problem("tar.bad-sparse", fault, entry.headerOffset, entry.path)
  }

  // -- fields --------------------------------------------------------------------------------------------------------

  /** Whether the last `number` was not one. */
  private numberBad = false

  private number(
    bytes: Buffer,
    at: number,
    field: number,
    length: number,
    name: string,
    offset: number,
    path: ByteString | undefined
  ): number {
    const value = parseNumber(bytes, at + field, length)
    if (value >= 0) {
      this.numberBad = false
      return value
    }
    this.numberBad = true
    this.badNumber(bytes, at + field, length, value, name, offset, path)
    return 0
  }

  private time(
    bytes: Buffer,
    at: number,
    field: number,
    name: string,
    offset: number,
    path: ByteString | undefined
  ): number {
    const value = parseNumber(bytes, at + field, 12)
    if (!Number.isNaN(value)) return value
    this.badNumber(bytes, at + field, 12, value, name, offset, path)
    return 0
  }

  private badNumber(
    bytes: Buffer,
    at: number,
    length: number,
    value: number,
    name: string,
    offset: number,
    path: ByteString | undefined
  ): void {
    const message =
      value < 0
        ? `the ${name} field is negative`
        : (bytes[at]! & 0x80) !== 0
          ? `the ${name} field is a number beyond 2^53`
          : `the ${name} field is not an octal number`
    this.emit({
      check: "tar.bad-number",
      message,
      actual: value < 0 ? String(value) : display(bytes.toString("latin1", at, at + length)),
      offset,
      ...(path === undefined ? {} : { path })
    })
  }

  private checkNames(type: TarEntryType, path: ByteString, linkname: ByteString, offset: number): void {
    const bits = nameBits(path)
    if (bits !== 0) this.nameProblems(path, bits, "the path", true, offset, path)
    if (type !== "hardlink" && type !== "symlink") return
    const linkBits = nameBits(linkname)
    if (linkBits !== 0) this.nameProblems(linkname, linkBits, "the link target", type === "hardlink", offset, path)
  }

  private nameProblems(
    name: ByteString,
    bits: number,
    what: string,
    inside: boolean,
    offset: number,
    path: ByteString
  ): void {
    if (bits & nameEmpty) this.problem("tar.path-empty", `${what} is empty`, offset, path)
    if (bits & nameNul) this.problem("tar.path-nul", `${what} holds a NUL`, offset, path)
    if (inside && bits & nameAbsolute) {
      this.problem("tar.path-absolute", `${what} ${quoted(name)} is absolute`, offset, path)
    }
    if (inside && bits & nameDots && leavesRoot(name)) {
      this.problem("tar.path-escapes", `${what} ${quoted(name)} leaves the root`, offset, path)
    }
    if (bits & nameHigh && !isUtf8(name)) {
      this.problem("tar.path-not-utf8", `${what} ${quoted(name)} is not UTF-8`, offset, path)
    }
  }

  // -- the end -------------------------------------------------------------------------------------------------------

  private trailer(bytes: Buffer, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      if (bytes[i] !== 0) {
        this.problem(
          "tar.trailing-data",
          "something other than zeros follows the end of the archive",
          this.position + i - from
        )
        this.state = inRest
        this.onTrailing?.(bytes, i, to)
        return
      }
    }
  }

  private truncated(
    message: string,
    sizes: readonly [expected: number, actual: number] | undefined,
    path: ByteString | undefined
  ): void {
    this.emit({
      check: "tar.truncated",
      message,
      ...(sizes === undefined ? {} : { expected: count(sizes[0], "byte"), actual: count(sizes[1], "byte") }),
      offset: this.position,
      ...(path === undefined ? {} : { path })
    })
  }

  private problem(check: TarCheck, message: string, offset: number, path?: ByteString): void {
    this.emit(path === undefined ? { check, message, offset } : { check, message, offset, path })
  }

  private emit(problem: Problem & { readonly check: TarCheck }): void {
    const count = (this.counts.get(problem.check) ?? 0) + 1
    this.counts.set(problem.check, count)
    if (count > this.maxProblems) return
    const path = problem.path
    this.onProblem(
      path !== undefined && path.length > maxShownPath ? { ...problem, path: copy(path, maxShownPath) } : problem
    )
  }
}

/** The beginning of a string that does not keep the whole of it alive. */
const copy = (value: ByteString, length: number): ByteString =>
  Buffer.from(value.slice(0, length), "latin1").toString("latin1")

const quoted = (name: ByteString): string =>
  name.length <= 200 ? `"${display(name)}"` : `"${display(copy(name, 200))}…"`

const extensionName = (type: number): string =>
  type === 0x4c ? "long name" : type === 0x4b ? "long link name" : type === 0x67 ? "global pax header" : "pax header"

/** POSIX: no data is stored for the types 1 to 6 (hardlinks are looked at separately). */
const hasBody = (type: number): boolean => type < 0x31 || type > 0x36

/** For archives without magic: most numeric fields are numbers. */
const looksLikeV7 = (bytes: Buffer, at: number): boolean => {
  let numbers = 0
  for (const [field, length] of [
    [100, 8],
    [108, 8],
    [116, 8],
    [124, 12],
    [136, 12],
    [148, 8]
  ] as const) {
    const first = bytes[at + field]!
    if (first !== 0 && first < 0x80 && !Number.isNaN(parseNumber(bytes, at + field, length))) numbers++
  }
  return numbers >= 4
}

/** The text of a 32-byte field, without making a new string when it is the one seen last. */
const cachedText = (bytes: Buffer, at: number, last: ByteString): ByteString => {
  const length = last.length
  let i = 0
  while (i < length && bytes[at + i] === last.charCodeAt(i)) i++
  if (i === length && (length === 32 || bytes[at + length] === 0)) return last
  return parseText(bytes, at, 32)
}

const nameEmpty = 1
const nameAbsolute = 2
const nameDots = 4
const nameNul = 8
const nameHigh = 16

/** What about a name has to be looked at more closely; 0 for nearly all. */
const nameBits = (name: ByteString): number => {
  const length = name.length
  if (length === 0) return nameEmpty
  let bits = name.charCodeAt(0) === 0x2f ? nameAbsolute : 0
  let last = 0
  for (let i = 0; i < length; i++) {
    const char = name.charCodeAt(i)
    if (char >= 0x80) bits |= nameHigh
    else if (char === 0) bits |= nameNul
    else if (char === 0x2e && last === 0x2e) bits |= nameDots
    last = char
  }
  return bits
}

const leavesRoot = (name: ByteString): boolean => {
  let depth = 0
  for (const component of name.split("/")) {
    if (component === "..") {
      if (--depth < 0) return true
    } else if (component !== "" && component !== ".") depth++
  }
  return false
}
