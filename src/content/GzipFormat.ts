import * as Deflate from "./Deflate.ts"
import type { BlockFormat } from "./Encoder.ts"

/**
 * One gzip member (RFC 1952) without name and time, and with 255, "unknown", as the operating system, so that it is the
 * same everywhere.
 */
export const gzipFormat: BlockFormat = {
  blockSize: Deflate.segmentSize,
  historySize: Deflate.historySize,
  minLevel: 1,
  maxLevel: 9,
  head: Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]),
  encode: Deflate.deflate,
  tail: (crc, length) => {
    const tail = Buffer.alloc(8)
    tail.writeUInt32LE(crc, 0)
    tail.writeUInt32LE(length % 2 ** 32, 4)
    return tail
  }
}
