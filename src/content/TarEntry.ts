import type { ByteString } from "./ByteString.ts"

export type TarEntryType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo"

/** One member of a tar archive, its extended headers (pax, GNU long names, sparse maps) already applied. */
export interface TarEntry {
  /** 0-based position among the members. */
  readonly index: number
  /** Offset of the first header block that belongs to this member (its pax or GNU header, where it has one). */
  readonly headerOffset: number
  /** Offset of its body; for a sparse 1.0 entry this is behind the map. */
  readonly dataOffset: number
  /**
   * Bytes of body that the archive holds from `dataOffset` on, without padding. 0 for all but files, apart from GNU's
   * incremental directories (type "D": the list of their files) and the rare hardlink that has its content with it.
   */
  readonly size: number
  /** Size of the file when extracted: differs from `size` for sparse entries only. */
  readonly realSize: number
  readonly type: TarEntryType
  /** The type byte as stored: "0", "\0", "7", "S", "L", ... */
  readonly typeflag: string
  /** As stored, after pax/GNU overrides: not normalised, may begin with "./" and end with "/". */
  readonly path: ByteString
  /** Target of a hardlink or symlink, "" otherwise. */
  readonly linkname: ByteString
  /** Permission bits with setuid, setgid and sticky: 0..0o7777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly uname: ByteString
  readonly gname: ByteString
  /** Seconds since the epoch, floored (may be negative), and 0..999_999_999. */
  readonly mtimeSeconds: number
  readonly mtimeNanoseconds: number
  readonly devmajor: number
  readonly devminor: number
  /** Effective pax records (global ones overlaid by local ones): keyword and value as byte strings. */
  readonly pax: ReadonlyMap<ByteString, ByteString> | undefined
  /**
   * Data segments `[offset, length]` of a sparse file, in order; undefined for an ordinary one. Their lengths add up to
   * `size`, but for a map that could not be read: then there are none, and a problem has said so.
   */
  readonly sparse: ReadonlyArray<readonly [offset: number, length: number]> | undefined
}

const schily = "SCHILY.xattr."
const libarchive = "LIBARCHIVE.xattr."

/**
 * The extended attributes that the pax records carry: `SCHILY.xattr.NAME` with the value's bytes (star, GNU tar, Go),
 * else `LIBARCHIVE.xattr.NAME` with the value in base64. bsdtar writes both, with the name URL-encoded in both.
 */
export const xattrsOf = (entry: TarEntry): ReadonlyMap<ByteString, Buffer> => {
  if (entry.pax === undefined) return noXattrs
  let xattrs: Map<ByteString, Buffer> | undefined
  for (const [keyword, value] of entry.pax) {
    if (keyword.startsWith(schily)) {
      xattrs ??= new Map()
      const name = keyword.slice(schily.length)
      xattrs.set(entry.pax.has(libarchive + name) ? urlDecoded(name) : name, Buffer.from(value, "latin1"))
    } else if (keyword.startsWith(libarchive)) {
      const name = keyword.slice(libarchive.length)
      if (entry.pax.has(schily + name)) continue
      xattrs ??= new Map()
      xattrs.set(urlDecoded(name), Buffer.from(value, "base64"))
    }
  }
  return xattrs ?? noXattrs
}

const noXattrs: ReadonlyMap<ByteString, Buffer> = new Map()

const urlDecoded = (name: ByteString): ByteString =>
  name.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
