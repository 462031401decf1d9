/** Members of a tar archive, for building layers and archives by hand. */
import * as ByteString from "../content/ByteString.ts"
import type { TarEntryType } from "../content/TarEntry.ts"
import { encodeHeader, endOfArchive, padding, putChecksum, type TarWriteEntry } from "../content/TarWrite.ts"

/** A name: text, which is stored as UTF-8, or the bytes themselves. */
export type Name = string | Uint8Array

/** What a member has besides its name and content. */
export interface Attributes {
  /** Permission bits with setuid, setgid and sticky; 0o644, for directories 0o755, unless given. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly uname?: string
  readonly gname?: string
  /** Seconds since the epoch; 2020-09-13T12:26:40Z unless given. */
  readonly mtimeSeconds?: number
  readonly mtimeNanoseconds?: number
  /** Extended attributes, for example `{ "user.note": "text" }`. */
  readonly xattrs?: Readonly<Record<string, string | Uint8Array>>
  /** Further pax records, as they are. */
  readonly pax?: Readonly<Record<string, string>>
}

/** One member with its content. Names are byte strings: use the functions of this module to make them. */
export interface Entry extends Omit<TarWriteEntry, "size"> {
  /** Empty for everything but files. */
  readonly body: Uint8Array
  /** The body is the segments of a sparse file. */
  readonly sparse?: { readonly form: SparseForm; readonly map: SparseMap }
}

/** How GNU tar stores holes: format 1.0, with pax records and the map before the data, or the older typeflag `S`. */
export type SparseForm = "pax" | "gnu"

/** Where the bytes of a sparse file lie; holes are between them. */
export interface SparseMap {
  readonly realSize: number
  readonly segments: ReadonlyArray<readonly [offset: number, bytes: Uint8Array]>
}

const defaultTime = 1_600_000_000
const none = new Uint8Array()

const nameOf = (name: Name): ByteString.ByteString =>
  typeof name === "string" ? ByteString.fromText(name) : ByteString.fromBytes(name)

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? Buffer.from(content) : content

const make = (
  type: TarEntryType,
  name: Name,
  attributes: Attributes,
  more: Partial<Entry> & { readonly mode: number }
): Entry => {
  const { gname, pax, uname, xattrs, ...rest } = attributes
  return {
    path: nameOf(name),
    type,
    mtimeSeconds: defaultTime,
    body: none,
    ...more,
    ...rest,
    ...(uname === undefined ? {} : { uname: ByteString.fromText(uname) }),
    ...(gname === undefined ? {} : { gname: ByteString.fromText(gname) }),
    ...(xattrs === undefined
      ? {}
      : { xattrs: new Map(Object.entries(xattrs).map(([key, value]) => [ByteString.fromText(key), bytesOf(value)])) }),
    ...(pax === undefined && more.pax === undefined
      ? {}
      : {
          pax: new Map([
            ...(more.pax ?? []),
            ...Object.entries(pax ?? {}).map(([key, value]) => [key, ByteString.fromText(value)] as const)
          ])
        })
  }
}

/** A regular file. */
export const file = (name: Name, content: string | Uint8Array = none, attributes: Attributes = {}): Entry =>
  make("file", name, attributes, { mode: 0o644, body: bytesOf(content) })

export const directory = (name: Name, attributes: Attributes = {}): Entry =>
  make("directory", name, attributes, { mode: 0o755 })

export const symlink = (name: Name, target: Name, attributes: Attributes = {}): Entry =>
  make("symlink", name, attributes, { mode: 0o777, linkname: nameOf(target) })

/** A second name of a file of the same layer or a lower one; `target` is named from the root. */
export const hardlink = (name: Name, target: Name, attributes: Attributes = {}): Entry =>
  make("hardlink", name, attributes, { mode: 0o644, linkname: nameOf(target) })

export const device = (
  name: Name,
  type: "char" | "block",
  major: number,
  minor: number,
  attributes: Attributes = {}
): Entry => make(type, name, attributes, { mode: 0o600, devmajor: major, devminor: minor })

export const fifo = (name: Name, attributes: Attributes = {}): Entry => make("fifo", name, attributes, { mode: 0o644 })

/** Hides `name` of the lower layers (image-spec layer.md "Whiteouts"). */
export const whiteout = (name: Name, attributes: Attributes = {}): Entry => {
  const path = nameOf(name)
  const slash = path.lastIndexOf("/") + 1
  return file(ByteString.toBytes(`${path.slice(0, slash)}.wh.${path.slice(slash)}`), none, attributes)
}

/** Hides everything that the lower layers have in `name` (image-spec layer.md "Opaque Whiteout"). */
export const opaque = (name: Name, attributes: Attributes = {}): Entry =>
  file(ByteString.toBytes(`${nameOf(name)}/.wh..wh..opq`), none, attributes)

/**
 * A file with holes. The segments are in order and do not overlap; all but the last are whole blocks of 512 bytes, as
 * readers differ on what lies between them otherwise. The name has at most 80 ASCII characters, and the attributes are
 * such as need no pax records; the gnu form takes three segments.
 */
export const sparse = (name: Name, map: SparseMap, form: SparseForm = "pax", attributes: Attributes = {}): Entry => {
  if (map.segments.slice(0, -1).some(([, bytes]) => bytes.length % 512 !== 0)) {
    throw new RangeError("a segment before the last is no multiple of 512 bytes")
  }
  if (nameOf(name).length > 80) throw new RangeError("the name of a sparse file has more than 80 bytes here")
  if (form === "gnu" && map.segments.length > 3) {
    throw new RangeError(`${map.segments.length} segments: the gnu form takes three here`)
  }
  return make("file", name, attributes, {
    mode: 0o644,
    body: Buffer.concat(map.segments.map(([, bytes]) => bytes)),
    sparse: { form, map }
  })
}

/** Header blocks, body and padding of one member. */
export const encode = (entry: Entry): Uint8Array => {
  const { body, sparse, ...rest } = entry
  if (sparse === undefined) return member(encodeHeader({ ...rest, size: body.length }), body)
  // A segment without bytes stands for a hole at the end.
  const { realSize } = sparse.map
  const segments = [...sparse.map.segments.map(([at, bytes]) => [at, bytes.length] as const), [realSize, 0] as const]
  if (sparse.form === "gnu") {
    return member(
      patched(encodeHeader({ ...rest, size: body.length }), (block) => {
        // GNU tar manual, "Basic Tar Format": struct oldgnu_header.
        const octal = (at: number, value: number): void => {
          block.write(`${value.toString(8).padStart(11, "0")}\0`, at, "latin1")
        }
        block.write("S", 156, "latin1")
        block.write("ustar  \0", 257, "latin1")
        for (const [index, [offset, length]] of segments.entries()) {
          octal(386 + 24 * index, offset)
          octal(398 + 24 * index, length)
        }
        octal(483, realSize)
      }),
      body
    )
  }
  // GNU tar manual, "PAX Format, Version 1.0".
  const records = Buffer.from(
    record("GNU.sparse.major", "1") +
      record("GNU.sparse.minor", "0") +
      record("GNU.sparse.name", entry.path) +
      record("GNU.sparse.realsize", String(realSize))
  )
  const table = Buffer.from([segments.length, ...segments.flat()].map((number) => `${number}\n`).join(""))
  const stored = Buffer.concat([table, padding(table.length), body])
  const slash = entry.path.lastIndexOf("/") + 1
  const path = `${entry.path.slice(0, slash)}GNUSparseFile.0/${entry.path.slice(slash)}`
  return Buffer.concat([
    member(
      patched(encodeHeader({ path: "PaxHeaders.0/sparse", type: "file", mode: 0o644, size: records.length }), (block) =>
        block.write("x", 156, "latin1")
      ),
      records
    ),
    member(
      patched(encodeHeader({ ...rest, path, size: stored.length }), () => {}),
      stored
    )
  ])
}

/** The archive of these members, in this order, with its two end blocks. */
export const tar = (entries: ReadonlyArray<Entry>): Uint8Array => Buffer.concat([...entries.map(encode), endOfArchive])

const member = (header: Uint8Array, body: Uint8Array): Uint8Array => Buffer.concat([header, body, padding(body.length)])

/** One pax record, which begins with its own length. */
const record = (keyword: string, value: string): string => {
  const rest = ` ${keyword}=${value}\n`
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return `${length}${rest}`
}

/** A header of one block with other fields, and the checksum that fits. */
const patched = (header: Uint8Array, change: (block: Buffer) => void): Uint8Array => {
  if (header.length !== 512) throw new RangeError("a sparse file takes no attributes that need pax records here")
  const block = Buffer.from(header)
  change(block)
  putChecksum(block)
  return block
}
