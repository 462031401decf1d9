/** Receives bytes `chunk[from, to)`. The buffer is reused: what is needed later has to be copied. */
export type Sink = (chunk: Uint8Array, from: number, to: number) => void

export interface DecoderSummary {
  /** Compressed bytes handed to `write`. */
  readonly bytesIn: number
  /** Bytes handed to the sink. */
  readonly bytesOut: number
  /** gzip members, or zstd frames without the skippable ones, that were read to their end. */
  readonly members: number
  /** Of `bytesOut`, those of members that were read to their end: no later fault is in them. */
  readonly proven: number
  /** Some of it has no checksum, so that damage can come out as content. */
  readonly unchecked: boolean
  /** Compressed bytes that were not decoded: all from the fault on, or all after the last member. 0 for a sound stream. */
  readonly unread: number
  /** False after a problem or an early `close`: the output is then not known to be the whole content. */
  readonly complete: boolean
}

/**
 * A synchronous decoder. It never throws on account of its input: what is wrong with that goes to `onProblem`, at most
 * once, after which the rest of the input is counted but not decoded.
 */
export interface Decoder {
  /** Decodes `chunk[from, to)`; the sink is called from within. */
  write(chunk: Uint8Array, from: number, to: number): void
  /** After the last `write`: finds truncation and trailing data. Releases everything, as `close` does. */
  end(): DecoderSummary
  /** Releases the memory outside the heap. May be called at any time and more than once. */
  close(): void
}

/** How much a decoder may put out before it gives up with `compression.limit`. `Infinity` lifts a limit. */
export interface DecoderLimits {
  /** Bytes of output. */
  readonly maxOutput?: number
  /** Output per byte of input, looked at only past `ratioAfter` bytes of output. */
  readonly maxRatio?: number
  readonly ratioAfter?: number
  /**
   * The size of the whole compressed stream where it is known. The ratio is then taken over all of it, so that a layer
   * that merely begins with a large run of zeros passes.
   */
  readonly inputSize?: number
}

/**
 * Decoding needs bounded memory whatever the input, so these limits guard time only. gzip cannot exceed 1032:1 and zstd
 * reaches 32,768:1 on zeros; real layers stay below 20:1, apart from those with sparse files (databases, lastlog), which
 * are rarely large. Hence a ratio that is generous, and that counts only for large output.
 */
export const defaultLimits: Required<Omit<DecoderLimits, "inputSize">> = {
  maxOutput: 256 * 1024 ** 3,
  maxRatio: 250,
  ratioAfter: 1024 ** 3
}

/** Why `bytesOut` bytes from `bytesIn` are too many, or undefined when they are not. */
export const exceeded = (bytesOut: number, bytesIn: number, limits: DecoderLimits | undefined): string | undefined => {
  const maxOutput = limits?.maxOutput ?? defaultLimits.maxOutput
  if (bytesOut > maxOutput) return `it unpacks to more than ${maxOutput} bytes, the limit for one stream`
  if (bytesOut <= (limits?.ratioAfter ?? defaultLimits.ratioAfter)) return undefined
  const maxRatio = limits?.maxRatio ?? defaultLimits.maxRatio
  const input = Math.max(bytesIn, limits?.inputSize ?? 0)
  return bytesOut > maxRatio * input
    ? `it unpacks to more than ${maxRatio} times its size (${bytesOut} bytes so far), the limit for large output`
    : undefined
}
