import { type ByteString, fromBytes, isUtf8 } from "./ByteString.ts"
import type { TarEntry, TarEntryType } from "./TarEntry.ts"
import { blockSize, paddingOf } from "./TarField.ts"

/**
 * What a header says of a member. What is missing is 0 or empty. A `TarEntry` fits, with fields changed as wanted: for
 * a sparse one `size` has to become that of the body that is going to follow, for anything but a file 0.
 */
export interface TarWriteEntry
  extends Partial<
    Pick<
      TarEntry,
      | "mode"
      | "uid"
      | "gid"
      | "uname"
      | "gname"
      | "mtimeSeconds"
      | "mtimeNanoseconds"
      | "linkname"
      | "devmajor"
      | "devminor"
    >
  > {
  readonly path: ByteString
  readonly type: TarEntryType
  /** Bytes of body that follow the header; files only, 0 for all other types. */
  readonly size?: number
  /** Further pax records. The ones that the fields above stand for are left out, and those of a sparse map. */
  readonly pax?: ReadonlyMap<ByteString, ByteString> | undefined
  /** Extended attributes, written as `SCHILY.xattr.` records; if given, in place of all that `pax` has. */
  readonly xattrs?: ReadonlyMap<ByteString, Uint8Array> | undefined
}

/** The two zero blocks that end an archive. */
export const endOfArchive: Uint8Array = new Uint8Array(2 * blockSize)

/** The zero bytes to write after a body of `size` bytes. */
export const padding = (size: number): Uint8Array => endOfArchive.subarray(0, paddingOf(size))

/** Records that follow from the fields of an entry: kept from elsewhere they would contradict a changed field. */
const ownKeywords: ReadonlySet<ByteString> = new Set([
  "path",
  "linkpath",
  "size",
  "uid",
  "gid",
  "uname",
  "gname",
  "mtime",
  "hdrcharset",
  "SCHILY.devmajor",
  "SCHILY.devminor",
  "SCHILY.realsize"
])

const isXattr = (keyword: ByteString): boolean =>
  keyword.startsWith("SCHILY.xattr.") || keyword.startsWith("LIBARCHIVE.xattr.")

const typeflags: Readonly<Record<TarEntryType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6"
}

/**
 * The header blocks of a member: a ustar header, behind a pax header for what does not fit into it (POSIX.1-2017 pax):
 * long or non-ASCII names, numbers beyond their octal fields, parts of seconds, extended attributes, further records.
 * The same entry gives the same bytes. The body, `padding(size)`, and after the last member `endOfArchive`, are the
 * caller's to write.
 *
 * Throws a RangeError for what no reader would take back: an empty path or link target, a NUL in a name or keyword,
 * a size, id or time that is not a safe integer, a body for another type than a file.
 */
export const encodeHeader = (entry: TarWriteEntry): Uint8Array => {
  const records = new Map<ByteString, ByteString>()
  const header = Buffer.alloc(blockSize)
  const isLink = entry.type === "hardlink" || entry.type === "symlink"
  const size = checkedInteger(entry.size ?? 0, "size", 0)
  if (size > 0 && entry.type !== "file") throw new RangeError(`a ${entry.type} of ${size} bytes: it has no body`)
  const linkname = isLink ? (entry.linkname ?? "") : ""
  checkName(entry.path, "path")
  if (isLink) checkName(linkname, "linkname")

  putPath(header, entry.path, records)
  putText(header, 157, 100, linkname, "linkpath", records)
  putOctal(header, 100, 8, (entry.mode ?? 0) & 0o7777)
  putNumber(header, 108, 8, checkedInteger(entry.uid ?? 0, "uid", 0), "uid", records)
  putNumber(header, 116, 8, checkedInteger(entry.gid ?? 0, "gid", 0), "gid", records)
  putNumber(header, 124, 12, size, "size", records)
  putTime(header, entry.mtimeSeconds ?? 0, entry.mtimeNanoseconds ?? 0, records)
  header.write(typeflags[entry.type], 156, "latin1")
  header.write("ustar\x0000", 257, "latin1")
  putText(header, 265, 32, entry.uname ?? "", "uname", records)
  putText(header, 297, 32, entry.gname ?? "", "gname", records)
  const isDevice = entry.type === "char" || entry.type === "block"
  const major = isDevice ? checkedInteger(entry.devmajor ?? 0, "devmajor", 0) : 0
  const minor = isDevice ? checkedInteger(entry.devminor ?? 0, "devminor", 0) : 0
  putNumber(header, 329, 8, major, "SCHILY.devmajor", records)
  putNumber(header, 337, 8, minor, "SCHILY.devminor", records)
  putChecksum(header)

  // POSIX: values are UTF-8 unless the header says otherwise.
  if ([...records.values()].some((value) => !isUtf8(value))) records.set("hdrcharset", "BINARY")
  for (const [keyword, value] of entry.pax ?? []) {
    const replaced =
      ownKeywords.has(keyword) || keyword.startsWith("GNU.sparse.") || (entry.xattrs !== undefined && isXattr(keyword))
    if (!replaced) records.set(keyword, value)
  }
  for (const [name, value] of entry.xattrs ?? []) putXattr(name, value, records)
  return records.size === 0 ? header : Buffer.concat([encodePax(entry, records), header])
}

/**
 * A keyword cannot hold "=", the name of an attribute can: then it is encoded as GNU tar does, and libarchive's record
 * beside it says that it is.
 */
const putXattr = (name: ByteString, value: Uint8Array, records: Map<ByteString, ByteString>): void => {
  if (!name.includes("=")) {
    records.set(`SCHILY.xattr.${name}`, fromBytes(value))
    return
  }
  const encoded = name.replace(/[%=]/g, (char) => (char === "=" ? "%3D" : "%25"))
  records.set(`SCHILY.xattr.${encoded}`, fromBytes(value))
  records.set(`LIBARCHIVE.xattr.${encoded}`, Buffer.from(value).toString("base64"))
}

const checkedInteger = (value: number, name: string, least: number): number => {
  if (!Number.isSafeInteger(value) || value < least) throw new RangeError(`${name} ${value} cannot be written`)
  return value
}

const checkName = (value: ByteString, name: string): void => {
  if (value === "") throw new RangeError(`the ${name} is empty`)
  if (value.includes("\0")) throw new RangeError(`the ${name} holds a NUL`)
}

/** Whether a header field means the same to all readers: ASCII does, and what is no text at all. */
const isPlain = (value: ByteString): boolean => /^[\x00-\x7f]*$/.test(value) || !isUtf8(value)

const putText = (
  header: Buffer,
  at: number,
  length: number,
  value: ByteString,
  keyword: string,
  records: Map<ByteString, ByteString>
): void => {
  if (value.includes("\0")) throw new RangeError(`the ${keyword} holds a NUL`)
  // The 32-byte fields of names end with a NUL (POSIX "NUL-terminated"), the others need not.
  const width = length === 32 ? 31 : length
  if (value.length > width || !isPlain(value)) records.set(keyword, value)
  header.write(value.slice(0, width), at, "latin1")
}

const putPath = (header: Buffer, path: ByteString, records: Map<ByteString, ByteString>): void => {
  if (path.length > 100 && isPlain(path)) {
    // The last slash with a prefix of at most 155 bytes before it; not one that ends the path.
    const slash = path.lastIndexOf("/", Math.min(155, path.length - 2))
    if (slash > 0 && path.length - slash - 1 <= 100) {
      header.write(path.slice(0, slash), 345, "latin1")
      header.write(path.slice(slash + 1), 0, "latin1")
      return
    }
  }
  putText(header, 0, 100, path, "path", records)
}

const putOctal = (header: Buffer, at: number, length: number, value: number): void => {
  header.write(value.toString(8).padStart(length - 1, "0"), at, "latin1")
}

const putNumber = (
  header: Buffer,
  at: number,
  length: number,
  value: number,
  keyword: string,
  records: Map<ByteString, ByteString>
): void => {
  if (value < 8 ** (length - 1)) return putOctal(header, at, length, value)
  records.set(keyword, String(value))
  putOctal(header, at, length, 0)
}

const putTime = (header: Buffer, seconds: number, nanoseconds: number, records: Map<ByteString, ByteString>): void => {
  checkedInteger(seconds, "mtimeSeconds", Number.MIN_SAFE_INTEGER)
  if (!Number.isInteger(nanoseconds) || nanoseconds < 0 || nanoseconds > 999_999_999) {
    throw new RangeError(`mtimeNanoseconds ${nanoseconds} cannot be written`)
  }
  const fits = seconds >= 0 && seconds < 8 ** 11
  putOctal(header, 136, 12, fits ? seconds : 0)
  if (!fits || nanoseconds > 0) records.set("mtime", encodePaxTime(seconds, nanoseconds))
}

/** Decimal seconds: -1.5 s is floored seconds -2 and 500_000_000 ns. */
const encodePaxTime = (seconds: number, nanoseconds: number): ByteString => {
  if (nanoseconds === 0) return String(seconds)
  const whole = seconds < 0 ? -(seconds + 1) : seconds
  const part = seconds < 0 ? 1_000_000_000 - nanoseconds : nanoseconds
  return `${seconds < 0 ? "-" : ""}${whole}.${String(part).padStart(9, "0").replace(/0+$/, "")}`
}

/** Writes the checksum of a header block into it, as GNU tar does: six digits, a NUL and a blank. */
export const putChecksum = (header: Buffer): void => {
  header.fill(0x20, 148, 156)
  let sum = 0
  for (const byte of header) sum += byte
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1")
}

const encodePax = (entry: TarWriteEntry, records: ReadonlyMap<ByteString, ByteString>): Buffer => {
  const keywords = [...records.keys()].sort()
  const body = Buffer.from(keywords.map((keyword) => encodeRecord(keyword, records.get(keyword)!)).join(""), "latin1")
  const header = Buffer.alloc(blockSize)
  const name = entry.path.replace(/\/+$/, "").split("/").at(-1)!
  header.write(`PaxHeaders.0/${name.replace(/[^\x20-\x7e]/g, "_")}`.slice(0, 100), 0, "latin1")
  putOctal(header, 100, 8, 0o644)
  putOctal(header, 108, 8, 0)
  putOctal(header, 116, 8, 0)
  putOctal(header, 124, 12, body.length)
  putOctal(header, 136, 12, 0)
  header.write("x", 156, "latin1")
  header.write("ustar\x0000", 257, "latin1")
  putOctal(header, 329, 8, 0)
  putOctal(header, 337, 8, 0)
  putChecksum(header)
  return Buffer.concat([header, body, padding(body.length)])
}

const encodeRecord = (keyword: ByteString, value: ByteString): ByteString => {
  if (keyword === "" || /[=\0]/.test(keyword)) throw new RangeError(`"${keyword}" cannot be a pax keyword`)
  const rest = ` ${keyword}=${value}\n`
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return `${length}${rest}`
}
