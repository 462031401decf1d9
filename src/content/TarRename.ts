/** A member's headers with another path or link target. */
import type { ByteString } from "./ByteString.ts"
import type { MemberHeaders } from "./TarEdit.ts"
import { blockSize, paddingOf } from "./TarField.ts"
import { extensionHeader, PaxCursor, paxRecord, putChecksum, putOctal } from "./TarPatch.ts"

const isPax = (type: number): boolean => type === 0x78 || type === 0x58
const isAscii = (value: ByteString): boolean => /^[\x00-\x7f]*$/.test(value)

/**
 * New bytes for all headers of a member, in the member's own format: what fits goes into the header's fields, anything
 * else into a GNU long name or a pax record; everything the names do not concern stays as it is. Names hold no NUL and
 * are not empty.
 */
export const renamed = (
  headers: MemberHeaders,
  names: {
    readonly path?: ByteString
    readonly linkname?: ByteString
    /** Further pax records, in place of the member's own of the same keyword. */
    readonly records?: ReadonlyMap<ByteString, ByteString>
    /** Leave out global pax headers among the member's own. */
    readonly withoutGlobals?: boolean
  }
): Buffer => {
  const { bytes, format, header } = headers
  const blocks = Buffer.from(bytes.subarray(header, headers.end))
  const records = new Map<ByteString, ByteString>(names.records)
  const parts: Array<Buffer> = []
  const gone = new Set<string>()
  const goneTypes = new Set<number>()
  if (names.path !== undefined) {
    if (headers.sparseName() !== undefined) records.set("GNU.sparse.name", names.path)
    else {
      gone.add("path")
      goneTypes.add(0x4c)
      if (!putPath(blocks, format, names.path)) {
        if (format === "gnu") parts.push(extensionHeader("L", Buffer.from(`${names.path}\0`, "latin1")))
        else records.set("path", names.path)
      }
    }
  }
  if (names.linkname !== undefined) {
    gone.add("linkpath")
    goneTypes.add(0x4b)
    const fits = names.linkname.length <= 100 && (format === "gnu" || isAscii(names.linkname))
    blocks.fill(0, 157, 257)
    blocks.write(names.linkname.slice(0, 100), 157, "latin1")
    if (!fits) {
      if (format === "gnu") parts.push(extensionHeader("K", Buffer.from(`${names.linkname}\0`, "latin1")))
      else records.set("linkpath", names.linkname)
    }
  }
  putChecksum(blocks, 0)

  for (const keyword of records.keys()) gone.add(keyword)
  let added = records.size === 0
  const extra = Buffer.concat([...records].map(([keyword, value]) => paxRecord(keyword, value)))
  for (let i = 0; i < headers.extensions; i++) {
    const type = headers.extensionType[i]!
    const start = headers.extensionStart[i]!
    const size = headers.extensionSize[i]!
    if (goneTypes.has(type) || (type === 0x67 && names.withoutGlobals === true)) continue
    if (!isPax(type)) {
      parts.push(Buffer.from(bytes.subarray(start, start + blockSize + size + paddingOf(size))))
      continue
    }
    const body = Buffer.concat([withoutRecords(bytes, start + blockSize, size, gone), ...(added ? [] : [extra])])
    added = true
    if (body.length === 0 && size > 0) continue
    const extension = Buffer.alloc(blockSize + body.length + paddingOf(body.length))
    bytes.copy(extension, 0, start, start + blockSize)
    putOctal(extension, 124, 12, body.length)
    putChecksum(extension, 0)
    body.copy(extension, blockSize)
    parts.push(extension)
  }
  if (!added) parts.push(extensionHeader("x", extra))
  return Buffer.concat([...parts, blocks])
}

/** The global pax headers among the member's extensions, which concern what follows it too. */
export const globalsOf = (headers: MemberHeaders): Buffer => {
  const parts: Array<Buffer> = []
  for (let i = 0; i < headers.extensions; i++) {
    if (headers.extensionType[i] !== 0x67) continue
    const start = headers.extensionStart[i]!
    const size = headers.extensionSize[i]!
    parts.push(Buffer.from(headers.bytes.subarray(start, start + blockSize + size + paddingOf(size))))
  }
  return Buffer.concat(parts)
}

/** False when the fields cannot hold it: they then hold its beginning, as other writers do it. */
const putPath = (block: Buffer, format: MemberHeaders["format"], path: ByteString): boolean => {
  const prefixLength = format === "ustar" ? 155 : format === "star" ? 131 : 0
  // Behind the device numbers GNU headers have times and sparse maps; only a prefix that is none of these goes.
  if (format === "gnu" && block[345] !== 0 && !isNumeric(block, 345)) block.fill(0, 345, 500)
  block.fill(0, 345, 345 + prefixLength)
  block.fill(0, 0, 100)
  block.write(path.slice(0, 100), 0, "latin1")
  if (format !== "gnu" && !isAscii(path)) return false
  if (path.length <= 100) return true
  const slash = path.lastIndexOf("/", prefixLength)
  if (slash <= 0 || path.length - slash - 1 > 100 || slash === path.length - 1) return false
  block.fill(0, 0, 100)
  block.write(path.slice(slash + 1), 0, "latin1")
  block.write(path.slice(0, slash), 345, "latin1")
  return true
}

const isNumeric = (block: Buffer, at: number): boolean =>
  (block[at]! & 0x80) !== 0 || /^[0-7 ]+$/.test(block.toString("latin1", at, at + 11))

const withoutRecords = (bytes: Buffer, from: number, size: number, keywords: ReadonlySet<string>): Buffer => {
  const cursor = new PaxCursor().reset(bytes, from, from + size)
  const kept: Array<Buffer> = []
  while (cursor.advance()) {
    if (!keywords.has(bytes.toString("latin1", cursor.key, cursor.equals)))
      kept.push(bytes.subarray(cursor.start, cursor.end))
  }
  return Buffer.concat(kept)
}
