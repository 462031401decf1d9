import * as Crc32 from "./Crc32.ts"
import type { Sink } from "./Decoder.ts"

export interface EncoderSummary {
  /** Bytes handed to `write`. */
  readonly bytesIn: number
  /** Bytes handed to the sink. */
  readonly bytesOut: number
}

/** A synchronous encoder. What it puts out depends on the content and the level alone, not on how the content was cut. */
export interface Encoder {
  /** Takes `chunk[from, to)`; the sink may be called from within. */
  write(chunk: Uint8Array, from: number, to: number): void
  /** To be called once after the last `write`. */
  end(): EncoderSummary
}

/**
 * A compressed form as a sequence of blocks that can be encoded in any order and in any thread: `head`, each block's
 * output, and `tail`, concatenated, are what an `Encoder` puts out.
 */
export interface BlockFormat {
  /** The content is cut into blocks of this size; the last is smaller unless the content is a multiple of it. */
  readonly blockSize: number
  /** How much of the content before a block has to be there to encode it; less at the start of the content. */
  readonly historySize: number
  readonly minLevel: number
  readonly maxLevel: number
  readonly head: Uint8Array
  /**
   * Encodes the block `input[start, end)`, with its history at `input[0, start)`. `last` for the last block of the
   * content, which has no bytes if the content has none. The result is valid until the next call.
   */
  encode(level: number, input: Uint8Array, start: number, end: number, last: boolean): Uint8Array
  /** `crc` and `length` of the whole content; the CRC as in `Crc32`. */
  tail(crc: number, length: number): Uint8Array
}

/** Encodes block by block as the content comes. */
export const make = (format: BlockFormat, level: number, sink: Sink): Encoder => {
  if (!Number.isInteger(level) || level < format.minLevel || level > format.maxLevel) {
    throw new RangeError(`compression level ${level} is not between ${format.minLevel} and ${format.maxLevel}`)
  }
  const buffer = Buffer.allocUnsafeSlow(format.historySize + format.blockSize)
  /** In the buffer: this much history, and behind it this much of the present block. */
  let history = 0
  let filled = 0
  let bytesIn = 0
  let bytesOut = 0
  let crc = 0

  const emit = (bytes: Uint8Array): void => {
    if (bytes.length === 0) return
    bytesOut += bytes.length
    sink(bytes, 0, bytes.length)
  }

  const encodeBlock = (last: boolean): void => {
    if (bytesOut === 0) emit(format.head)
    const end = history + filled
    emit(format.encode(level, buffer, history, end, last))
    const kept = Math.min(format.historySize, end)
    buffer.copyWithin(0, end - kept, end)
    history = kept
    filled = 0
  }

  return {
    write(chunk, from, to) {
      bytesIn += to - from
      crc = Crc32.update(crc, chunk, from, to)
      for (let position = from; position < to; ) {
        // A full block waits for more content, since it may be the last.
        if (filled === format.blockSize) encodeBlock(false)
        const size = Math.min(format.blockSize - filled, to - position)
        buffer.set(chunk.subarray(position, position + size), history + filled)
        filled += size
        position += size
      }
    },
    end() {
      encodeBlock(true)
      emit(format.tail(crc, bytesIn))
      return { bytesIn, bytesOut }
    }
  }
}
