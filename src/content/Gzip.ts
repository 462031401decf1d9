import { count } from "../image/Count.ts"
import * as Crc32 from "./Crc32.ts"
import { type Decoder, type DecoderLimits, type DecoderSummary, exceeded, type Sink } from "./Decoder.ts"
import * as Inflater from "./Inflater.ts"
import type { CompressionCheck, Problem } from "./Problem.ts"

/** What the next byte belongs to (RFC 1952 section 2.3). */
type State =
  | "header"
  | "extraLength"
  | "extra"
  | "name"
  | "comment"
  | "headerChecksum"
  | "body"
  | "trailer"
  /** After the last member, bytes that start no other. */
  | "trailing"
  /** After a problem. */
  | "stopped"

const reservedFlags = 0xe0

/** The optional fields in their order, with the flag that announces each. */
const optionalFields: ReadonlyArray<readonly [flag: number, state: State]> = [
  [4, "extraLength"],
  [8, "name"],
  [16, "comment"],
  [2, "headerChecksum"]
]

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, "0")

/** See `Compression.makeDecoder`. `engine` is for tests. */
export const makeDecoder = (
  sink: Sink,
  onProblem: (problem: Problem) => void,
  limits: DecoderLimits | undefined,
  engine?: "binding" | "minizlib"
): Decoder => {
  let state: State = "header"
  let bytesIn = 0
  let bytesOut = 0
  let members = 0
  let proven = 0
  let complete = true
  /** Set when decoding stops before the end of the input. */
  let unreadFrom: number | undefined
  let summary: DecoderSummary | undefined

  let memberStart = 0
  let flags = 0
  /** The field of fixed length that is being read; the fixed part of the header is the longest. */
  const field = Buffer.alloc(10)
  let fieldRead = 0
  let extraLeft = 0
  let headerCrc = 0
  /** Of the member's content: its CRC and its length modulo 2^32. */
  let crc = 0
  let length = 0
  let trailingIsZero = true
  let limitReached: string | undefined

  const report = (check: CompressionCheck, offset: number, message: string, details?: Partial<Problem>): void => {
    complete = false
    onProblem({ check, message, offset, ...details })
  }

  const stop = (check: CompressionCheck, offset: number, message: string, details?: Partial<Problem>): void => {
    state = "stopped"
    unreadFrom = offset
    report(check, offset, `${message}; nothing after it was decoded`, details)
  }

  const isStopped = (): boolean => state === "stopped"

  const inflater = Inflater.make((chunk, from, to) => {
    const size = to - from
    limitReached = exceeded(bytesOut + size, bytesIn, limits)
    if (limitReached !== undefined) return false
    crc = Crc32.update(crc, chunk, from, to)
    length = (length + size) >>> 0
    bytesOut += size
    sink(chunk, from, to)
    // The sink may have closed the decoder.
    return !isStopped()
  }, engine)

  const enter = (next: State): void => {
    state = next
    fieldRead = 0
  }

  const enterFieldAfter = (present: State): void => {
    let index = optionalFields.findIndex(([, name]) => name === present) + 1
    while (index < optionalFields.length && (flags & optionalFields[index]![0]) === 0) index++
    enter(optionalFields[index]?.[1] ?? "body")
  }

  /** Copies into `field` what is there of its `size` bytes. */
  const readField = (size: number, chunk: Uint8Array, from: number, to: number): number => {
    const end = Math.min(to, from + size - fieldRead)
    for (let i = from; i < end; i++) field[fieldRead++] = chunk[i]!
    return end
  }

  const checkHeader = (): void => {
    flags = field[3]!
    if (field[2] !== 8) {
      return stop(
        "compression.unsupported",
        memberStart,
        `the gzip member at ${memberStart} has the unknown compression method ${field[2]}`
      )
    }
    if ((flags & reservedFlags) !== 0) {
      return stop("compression.corrupt", memberStart, `the gzip member at ${memberStart} has reserved flags set`)
    }
    headerCrc = Crc32.update(0, field, 0, 10)
    crc = 0
    length = 0
    enterFieldAfter("header")
  }

  const checkTrailer = (offset: number): void => {
    const storedCrc = field.readUInt32LE(0)
    const storedLength = field.readUInt32LE(4)
    if (storedCrc !== crc) {
      return stop(
        "compression.corrupt",
        offset - 8,
        `the CRC-32 of the gzip member at ${memberStart} does not match its content`,
        {
          expected: hex(storedCrc),
          actual: hex(crc)
        }
      )
    }
    if (storedLength !== length) {
      return stop(
        "compression.corrupt",
        offset - 4,
        `the length in the trailer of the gzip member at ${memberStart} does not match its content`,
        {
          expected: String(storedLength),
          actual: String(length)
        }
      )
    }
    members++
    proven = bytesOut
    memberStart = offset
    inflater.reset()
    enter("header")
  }

  /** One step in the present state; returns the position after what it read. */
  const step = (chunk: Uint8Array, from: number, to: number, base: number): number => {
    switch (state) {
      case "header": {
        const end = readField(10, chunk, from, to)
        if (field[0] !== 0x1f || (fieldRead > 1 && field[1] !== 0x8b)) {
          if (members === 0) {
            stop("compression.corrupt", 0, "it does not begin with a gzip member")
            return to
          }
          for (let i = 0; i < fieldRead; i++) if (field[i] !== 0) trailingIsZero = false
          enter("trailing")
        } else if (fieldRead === 10) {
          checkHeader()
        }
        return end
      }
      case "extraLength": {
        const end = readField(2, chunk, from, to)
        if (fieldRead === 2) {
          headerCrc = Crc32.update(headerCrc, field, 0, 2)
          extraLeft = field.readUInt16LE(0)
          enter("extra")
          if (extraLeft === 0) enterFieldAfter("extraLength")
        }
        return end
      }
      case "extra": {
        const end = Math.min(to, from + extraLeft)
        headerCrc = Crc32.update(headerCrc, chunk, from, end)
        extraLeft -= end - from
        if (extraLeft === 0) enterFieldAfter("extraLength")
        return end
      }
      case "name":
      case "comment": {
        const zero = chunk.indexOf(0, from)
        const end = zero === -1 || zero >= to ? to : zero + 1
        headerCrc = Crc32.update(headerCrc, chunk, from, end)
        if (zero !== -1 && zero < to) enterFieldAfter(state)
        return end
      }
      case "headerChecksum": {
        const end = readField(2, chunk, from, to)
        if (fieldRead === 2) {
          const stored = field.readUInt16LE(0)
          if (stored !== (headerCrc & 0xffff)) {
            stop(
              "compression.corrupt",
              base + end - 2,
              `the header checksum of the gzip member at ${memberStart} does not match`
            )
          } else {
            enterFieldAfter("headerChecksum")
          }
        }
        return end
      }
      case "body": {
        const end = inflater.write(chunk, from, to)
        if (isStopped()) return to
        if (limitReached !== undefined) {
          stop("compression.limit", base + end, limitReached)
        } else if (inflater.error !== undefined) {
          stop(
            "compression.corrupt",
            base + end,
            `the gzip member at ${memberStart} is corrupt near ${base + end} (${inflater.error})`
          )
        } else if (end < to) {
          enter("trailer")
        }
        return end
      }
      case "trailer": {
        const end = readField(8, chunk, from, to)
        if (fieldRead === 8) checkTrailer(base + end)
        return end
      }
      case "trailing": {
        for (let i = from; i < to && trailingIsZero; i++) if (chunk[i] !== 0) trailingIsZero = false
        return to
      }
      case "stopped":
        return to
    }
  }

  const finish = (): void => {
    if (state === "stopped") return
    if (state === "trailing") {
      unreadFrom = memberStart
      const rest = bytesIn - memberStart
      return report(
        "compression.trailing-data",
        memberStart,
        trailingIsZero
          ? `${count(rest, "zero byte")} behind the last gzip member`
          : `${count(rest, "byte")} of something else behind the last gzip member`
      )
    }
    if (state === "header" && fieldRead === 0 && members > 0) return
    const where =
      bytesIn === 0
        ? "it is empty, without a gzip member"
        : `it ends within the ${state === "body" ? "data" : state === "trailer" ? "trailer" : "header"} of the gzip member at ${memberStart}`
    report("compression.truncated", bytesIn, where)
  }

  const close = (): void => {
    if (state !== "stopped" && summary === undefined) {
      complete = false
      unreadFrom = bytesIn
    }
    state = "stopped"
    inflater.close()
  }

  return {
    write(chunk, from, to) {
      const base = bytesIn - from
      bytesIn += to - from
      let position = from
      try {
        while (position < to) position = step(chunk, position, to, base)
      } catch (cause) {
        // The sink threw: what it did not take cannot be made up for.
        close()
        throw cause
      }
    },
    end() {
      if (summary === undefined) {
        finish()
        summary = {
          bytesIn,
          bytesOut,
          members,
          proven,
          unchecked: false,
          unread: unreadFrom === undefined ? 0 : bytesIn - unreadFrom,
          complete
        }
        close()
      }
      return summary
    },
    close
  }
}
