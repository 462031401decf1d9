/** A zstd encoder that does not compress: Node has none before 22.15, and its bytes are the same everywhere. */

const maxBlock = 128 * 1024

/** One frame of raw blocks with its content size, without a checksum (RFC 8878 section 3.1.1). */
export const frame = (bytes: Uint8Array): Uint8Array => {
  const header = Buffer.alloc(13)
  header.writeUInt32LE(0xfd2fb528, 0)
  // Frame_Content_Size_flag 3: eight bytes; Single_Segment_flag: the window is the content.
  header[4] = 0b1110_0000
  header.writeBigUInt64LE(BigInt(bytes.length), 5)
  const parts: Array<Uint8Array> = [header]
  let at = 0
  do {
    const piece = bytes.subarray(at, at + maxBlock)
    at += piece.length
    const block = Buffer.alloc(3)
    block.writeUIntLE((piece.length << 3) | (at === bytes.length ? 1 : 0), 0, 3)
    parts.push(block, piece)
  } while (at < bytes.length)
  return Buffer.concat(parts)
}
