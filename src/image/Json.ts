/**
 * JSON documents that came from outside (considerations.md; rules 1, 2). The raw bytes stay what is hashed and copied;
 * this only reads them, and tells what JSON.parse does not: duplicate names, bytes that are not UTF-8, absurd nesting.
 */

export interface JsonProblem {
  readonly kind: "invalid-json" | "not-utf8" | "duplicate-key" | "too-deep" | "too-large"
  readonly message: string
}

export interface JsonDocument {
  readonly raw: Uint8Array
  /** undefined when the document could not be parsed; a problem says why. */
  readonly value: unknown
  readonly problems: ReadonlyArray<JsonProblem>
}

/** Real documents nest less than 20 levels; recursive code further up stays safe below this. */
export const maxDepth = 128
/** Larger than any manifest or config a registry accepts (4 MiB is the usual limit), small enough to hold in memory. */
export const maxBytes = 32 * 1024 * 1024

/** An index of 100,000 images has fewer; what has more would take a hundred times its bytes in memory. */
export const maxValues = 2_000_000

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Reads a whole document. Never throws. */
export const parse = (raw: Uint8Array): JsonDocument => {
  if (raw.length > maxBytes) {
    return failed(raw, { kind: "too-large", message: `JSON of ${raw.length} bytes is over the limit of ${maxBytes}` })
  }
  const problems: Array<JsonProblem> = []
  let text: string
  try {
    text = decoder.decode(raw)
  } catch {
    problems.push({ kind: "not-utf8", message: "JSON is not valid UTF-8" })
    text = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString("utf8")
  }
  if (text.startsWith("\ufeff")) {
    problems.push({ kind: "not-utf8", message: "JSON begins with a byte order mark" })
    text = text.slice(1)
  }
  const scan = scanKeys(text)
  if (scan.tooDeep) {
    problems.push({ kind: "too-deep", message: `JSON nests deeper than ${maxDepth} levels` })
    return { raw, value: undefined, problems }
  }
  if (scan.tooMany) {
    problems.push({ kind: "too-large", message: `JSON holds more than ${maxValues} values` })
    return { raw, value: undefined, problems }
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    problems.push({ kind: "invalid-json", message: describe(text, cause) })
    return { raw, value: undefined, problems }
  }
  for (const key of scan.duplicates) {
    problems.push({
      kind: "duplicate-key",
      message: `the name ${JSON.stringify(key)} stands more than once in one object`
    })
  }
  return { raw, value, problems }
}

const failed = (raw: Uint8Array, problem: JsonProblem): JsonDocument => ({ raw, value: undefined, problems: [problem] })

const describe = (text: string, cause: unknown): string => {
  if (text.trim() === "") return "JSON is empty"
  const message = cause instanceof Error ? cause.message : String(cause)
  return `JSON does not parse: ${message.replace(/\s+/g, " ").slice(0, 160)}`
}

interface KeyScan {
  readonly duplicates: ReadonlyArray<string>
  readonly tooDeep: boolean
  readonly tooMany: boolean
}

const maxDuplicates = 20

/**
 * One iterative pass over the text for what the parsed value no longer shows. It may run over text that is not JSON, in
 * which case its answer does not matter: the parser refuses that text.
 */
const scanKeys = (text: string): KeyScan => {
  const stack: Array<Set<string> | undefined> = []
  const duplicates = new Set<string>()
  let expectKey = false
  let values = 0
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x7b: // {
        stack.push(new Set())
        values++
        expectKey = true
        break
      case 0x5b: // [
        stack.push(undefined)
        values++
        expectKey = false
        break
      case 0x7d: // }
      case 0x5d: // ]
        stack.pop()
        expectKey = false
        break
      case 0x2c: // ,
        expectKey = stack.at(-1) !== undefined
        values++
        break
      case 0x22: {
        // "
        const end = endOfString(text, i)
        if (expectKey) {
          const literal = text.slice(i + 1, end)
          const key = literal.includes("\\") ? unescaped(`"${literal}"`) : literal
          const keys = stack.at(-1)
          if (keys?.has(key) && duplicates.size < maxDuplicates) duplicates.add(key)
          keys?.add(key)
          expectKey = false
        }
        i = end
        break
      }
    }
    if (stack.length > maxDepth) return { duplicates: [], tooDeep: true, tooMany: false }
    if (values > maxValues) return { duplicates: [], tooDeep: false, tooMany: true }
  }
  return { duplicates: [...duplicates], tooDeep: false, tooMany: false }
}

/** Where the string that begins at `start` ends, by search: most of a document is text. The text's length if nowhere. */
const endOfString = (text: string, start: number): number => {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++
    if (backslashes % 2 === 0) return end
  }
  return text.length
}

const unescaped = (literal: string): string => {
  try {
    return JSON.parse(literal) as string
  } catch {
    return literal
  }
}

/** A JSON object, as against null and arrays. */
export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** For messages: what kind of JSON value stands where another was expected. */
export const typeName = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : value === null
      ? "null"
      : Array.isArray(value)
        ? "an array"
        : `a${typeof value === "object" ? "n object" : ` ${typeof value}`}`
