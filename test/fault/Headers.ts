/** Tar headers that no sound writer makes, for tests. */
import { putChecksum } from "../../src/content/TarWrite.ts"
import * as Entry from "../../src/fault/Entry.ts"

/** One encoded member with `text` (latin1) at an offset of its last header block, and the checksum that fits. */
export const withField = (entry: Entry.Entry, at: number, text: string): Uint8Array => {
  const bytes = Buffer.from(Entry.encode(entry))
  const block = bytes.subarray(bytes.length - 512 * (1 + Math.ceil(entry.body.length / 512))).subarray(0, 512)
  block.write(text, at, "latin1")
  putChecksum(block)
  return bytes
}

/** The two zero blocks at the end. */
export const end = new Uint8Array(1024)

/** Offsets of header fields (POSIX ustar). */
export const field = { name: 0, mode: 100, size: 124, mtime: 136, checksum: 148, type: 156, linkname: 157 } as const
