/** Tar blocks made by hand, so that the scanner is not judged by the writer that shares its ideas. */
import type { Problem, TarCheck } from "../../src/content/Problem.ts"
import type { TarEntry } from "../../src/content/TarEntry.ts"
import { TarScanner, type TarScanOptions, type TarSummary } from "../../src/content/TarScan.ts"

export interface Fields {
  readonly name?: string
  readonly mode?: string
  readonly uid?: string
  readonly gid?: string
  /** A number is written as octal digits, a string goes into the field as it is. */
  readonly size?: number | string
  readonly mtime?: string
  readonly type?: string
  readonly linkname?: string
  readonly format?: "ustar" | "gnu" | "v7" | "star"
  readonly prefix?: string
  readonly uname?: string
  readonly gname?: string
  readonly devmajor?: string
  readonly devminor?: string
  /** Bytes at any offset, written last before the checksum. */
  readonly raw?: ReadonlyArray<readonly [offset: number, text: string]>
  readonly checksum?: "unsigned" | "signed" | "wrong"
}

const magics = { ustar: "ustar\x0000", star: "ustar\x0000", gnu: "ustar  \0", v7: "" }

export const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0")

export const header = (fields: Fields = {}): Buffer => {
  const block = Buffer.alloc(512)
  const put = (offset: number, text: string) => block.write(text, offset, "latin1")
  const format = fields.format ?? "ustar"
  put(0, fields.name ?? "file")
  put(100, fields.mode ?? "0000644\0")
  put(108, fields.uid ?? "0000000\0")
  put(116, fields.gid ?? "0000000\0")
  put(124, typeof fields.size === "string" ? fields.size : `${octal(fields.size ?? 0, 11)}\0`)
  put(136, fields.mtime ?? "00000000000\0")
  put(156, fields.type ?? "0")
  put(157, fields.linkname ?? "")
  put(257, magics[format])
  if (format !== "v7") {
    put(265, fields.uname ?? "")
    put(297, fields.gname ?? "")
    put(329, fields.devmajor ?? "0000000\0")
    put(337, fields.devminor ?? "0000000\0")
    put(345, fields.prefix ?? "")
  }
  if (format === "star") put(508, "tar\0")
  for (const [offset, text] of fields.raw ?? []) put(offset, text)
  let sum = 256
  for (let i = 0; i < 512; i++) {
    const byte = i >= 148 && i < 156 ? 0 : block[i]!
    sum += fields.checksum === "signed" && byte > 127 ? byte - 256 : byte
  }
  put(148, `${octal(fields.checksum === "wrong" ? sum + 1 : sum, 6)}\0 `)
  return block
}

/** `bytes` and the padding behind them. */
export const padded = (bytes: Uint8Array | string): Buffer => {
  const body = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes
  return Buffer.concat([body, Buffer.alloc((512 - (body.length % 512)) % 512)])
}

export const member = (fields: Fields, body: Uint8Array | string = ""): Buffer =>
  Buffer.concat([header({ size: body.length, ...fields }), padded(body)])

export const record = (keyword: string, value: string): string => {
  const rest = ` ${keyword}=${value}\n`
  let length = rest.length
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return `${length}${rest}`
}

/** A pax header of these records; a single string is its body as it is. */
export const pax = (records: ReadonlyArray<readonly [string, string]> | string, type = "x"): Buffer =>
  member(
    { name: "PaxHeaders/file", type },
    typeof records === "string" ? records : records.map(([keyword, value]) => record(keyword, value)).join("")
  )

export const longName = (name: string, type = "L"): Buffer =>
  member({ name: "././@LongLink", type, format: "gnu" }, `${name}\0`)

export const end = Buffer.alloc(1024)

export interface Seen {
  readonly entry: TarEntry
  readonly body: Buffer
  /** Whether onEntryEnd was called. */
  readonly complete: boolean
}

export interface Scanned {
  readonly entries: ReadonlyArray<Seen>
  readonly problems: ReadonlyArray<Problem>
  readonly summary: TarSummary
}

/** Scans `bytes`, cut into chunks of the sizes that `cuts` gives over and over. */
export const scan = (
  bytes: Uint8Array,
  options: TarScanOptions = {},
  cuts: ReadonlyArray<number> = [bytes.length]
): Scanned => {
  const entries: Array<{ entry: TarEntry; parts: Array<Buffer>; complete: boolean }> = []
  const problems: Array<Problem> = []
  const scanner = new TarScanner(
    {
      onEntry: (entry) => {
        entries.push({ entry, parts: [], complete: false })
      },
      onBody: (entry, chunk, from, to) => {
        const last = entries.at(-1)
        if (last === undefined || last.entry !== entry) throw new Error("a body without its entry")
        if (last.complete) throw new Error("a body goes on behind its end")
        if (from >= to) throw new Error("an empty piece of a body")
        last.parts.push(Buffer.from(chunk.subarray(from, to)))
      },
      onEntryEnd: (entry) => {
        const last = entries.at(-1)
        if (last === undefined || last.entry !== entry || last.complete) throw new Error("an end without its entry")
        last.complete = true
      },
      onProblem: (problem) => {
        problems.push(problem)
      }
    },
    options
  )
  let turn = 0
  for (let at = 0; at < bytes.length; ) {
    const next = Math.min(bytes.length, at + Math.max(1, cuts[turn++ % cuts.length]!))
    scanner.write(bytes, at, next)
    at = next
  }
  const summary = scanner.end()
  return {
    entries: entries.map(({ entry, parts, complete }) => ({ entry, body: Buffer.concat(parts), complete })),
    problems,
    summary
  }
}

export const scanAll = (...parts: ReadonlyArray<Uint8Array>): Scanned => scan(Buffer.concat(parts))

/** Check ids with the offset or path that each is about: what a test compares. */
export const found = (scanned: Scanned): ReadonlyArray<readonly [TarCheck, number | undefined, string | undefined]> =>
  scanned.problems.map((problem) => [problem.check as TarCheck, problem.offset, problem.path])

export const paths = (scanned: Scanned): ReadonlyArray<string> => scanned.entries.map(({ entry }) => entry.path)

/** The content of a sparse file with its holes. */
export const expanded = ({ body, entry }: Seen): Buffer => {
  if (entry.sparse === undefined) return body
  const whole = Buffer.alloc(entry.realSize)
  let at = 0
  for (const [offset, length] of entry.sparse) {
    body.copy(whole, offset, at, at + length)
    at += length
  }
  return whole
}

/**
 * An entry's time as Python's `float` reads its decimal text: the nearest double, so that the two are equal and not
 * merely close.
 */
export const asPythonReads = (entry: { readonly mtimeSeconds: number; readonly mtimeNanoseconds: number }): number => {
  const all = BigInt(entry.mtimeSeconds) * 1_000_000_000n + BigInt(entry.mtimeNanoseconds)
  const digits = (all < 0n ? -all : all).toString().padStart(10, "0")
  const value = Number(`${digits.slice(0, -9)}.${digits.slice(-9)}`)
  return all < 0n ? -value : value
}
