/**
 * JSON documents that came from outside (considerations.md; rules 1, 2). The raw bytes stay what is hashed and copied;
 * this only reads them, and tells what JSON.parse does not: duplicate names, bytes that are not UTF-8, absurd nesting.
 */

import * as Garbage from "./Garbage.ts"

export interface JsonProblem {
  readonly kind: "invalid-json" | "not-utf8" | "duplicate-key" | "too-deep" | "too-large"
  readonly message: string
}

export interface JsonDocument {
  readonly raw: Uint8Array
  /**
   * undefined when the document could not be parsed; a problem says why. A `size` or `schemaVersion` that is written with
   * a point or an exponent is a `Decimal`.
   */
  readonly value: unknown
  readonly problems: ReadonlyArray<JsonProblem>
}

/**
 * A number that has to be an integer and is not written as one, such as `1e3` or `2.0`: its value may be whole, but
 * readers in Go refuse the document.
 */
export class Decimal {
  readonly literal: string

  constructor(literal: string) {
    this.literal = literal
  }

  toJSON(): number {
    return Number(this.literal)
  }

  toString(): string {
    return this.literal
  }
}

/** Real documents nest less than 20 levels; recursive code further up stays safe below this. */
export const maxDepth = 128
/**
 * Larger than any manifest or config a registry accepts (4 MiB is the usual limit), small enough to hold in memory: as
 * bytes, as text, and as what the text says, all at a time.
 */
export let maxBytes = 16 * 1024 * 1024

/** An index of 50,000 images has fewer; what has more would take a hundred times its bytes in memory. */
let maxValues = 500_000

/** No real document has names for more of its values that differ; each costs as much memory as a small document. */
const valuesPerName = 2

export interface JsonLimits {
  readonly maxBytes?: number
  readonly maxValues?: number
}

/** Sets how large a document may be, for the whole process: everything that reads one goes by it. */
export const setLimits = (limits: JsonLimits): void => {
  maxBytes = limits.maxBytes ?? maxBytes
  maxValues = limits.maxValues ?? maxValues
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Reads a whole document. Never throws. */
export const parse = (raw: Uint8Array): JsonDocument => {
  if (raw.length > maxBytes) {
    return failed(raw, {
      kind: "too-large",
      message: `JSON of ${raw.length} bytes is over the limit of ${maxBytes} (--max-json raises it)`
    })
  }
  Garbage.make(raw.length)
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
    problems.push({
      kind: "too-large",
      message: `JSON holds more than ${maxValues} values, or more than ${Math.floor(maxValues / valuesPerName)} different names (--max-json-values raises it)`
    })
    return { raw, value: undefined, problems }
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    // Bytes that are no UTF-8 rarely parse: that they do not is the same fault.
    if (problems.length === 0) problems.push({ kind: "invalid-json", message: describe(text, cause) })
    return { raw, value: undefined, problems }
  }
  for (const { literal, path } of scan.decimals) place(value, path, new Decimal(literal))
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
  readonly decimals: ReadonlyArray<{ readonly path: ReadonlyArray<string | number>; readonly literal: string }>
  readonly tooDeep: boolean
  readonly tooMany: boolean
}

const maxDuplicates = 20
/** Each is a fault of its own. */
const maxDecimals = 100

/** Properties of manifests and indexes that are integers. */
const integers: ReadonlySet<string> = new Set(["size", "schemaVersion"])

/** An object or array that is open: its names so far, the last of them; or how many entries it has behind it. */
interface Open {
  readonly keys: Set<string> | undefined
  key: string
  index: number
}

const place = (value: unknown, path: ReadonlyArray<string | number>, number: Decimal): void => {
  let at = value as Record<string | number, unknown> | undefined
  for (const step of path.slice(0, -1)) at = at?.[step] as Record<string | number, unknown> | undefined
  const last = path.at(-1)!
  // Where a name stands twice the path may lead to the other one.
  if (typeof at === "object" && at !== null && typeof at[last] === "number") at[last] = number
}

/**
 * One iterative pass over the text for what the parsed value no longer shows. It may run over text that is not JSON, in
 * which case its answer does not matter: the parser refuses that text.
 */
const scanKeys = (text: string): KeyScan => {
  const stack: Array<Open> = []
  const duplicates = new Set<string>()
  const decimals: Array<KeyScan["decimals"][number]> = []
  /** Of all objects. */
  const names = new Set<string>()
  let expectKey = false
  let values = 0
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x7b: // {
        stack.push({ keys: new Set(), key: "", index: 0 })
        values++
        expectKey = true
        break
      case 0x5b: // [
        stack.push({ keys: undefined, key: "", index: 0 })
        values++
        expectKey = false
        break
      case 0x7d: // }
      case 0x5d: // ]
        stack.pop()
        expectKey = false
        break
      case 0x2c: {
        // ,
        const open = stack.at(-1)
        expectKey = open?.keys !== undefined
        if (open !== undefined) open.index++
        values++
        break
      }
      case 0x2e: // .
      case 0x45: // E
      case 0x65: {
        // e
        const open = stack.at(-1)
        if (open?.keys !== undefined && integers.has(open.key) && decimals.length < maxDecimals) {
          const literal = numberAround(text, i)
          if (/^-?\d/.test(literal))
            decimals.push({ path: stack.map((one) => (one.keys === undefined ? one.index : one.key)), literal })
          while (isOfNumber(text.charCodeAt(i + 1))) i++
        }
        break
      }
      case 0x22: {
        // "
        const end = endOfString(text, i)
        const open = stack.at(-1)
        if (expectKey && open?.keys !== undefined) {
          const literal = text.slice(i + 1, end)
          // Readers in Go take every lone surrogate for one character.
          const key = literal.includes("\\") ? wellFormed(unescaped(`"${literal}"`)) : literal
          if (open.keys.has(key) && duplicates.size < maxDuplicates) duplicates.add(key)
          open.keys.add(key)
          names.add(key)
          if (names.size > maxValues / valuesPerName)
            return { duplicates: [], decimals: [], tooDeep: false, tooMany: true }
          open.key = key
          expectKey = false
        }
        i = end
        break
      }
    }
    if (stack.length > maxDepth) return { duplicates: [], decimals: [], tooDeep: true, tooMany: false }
    if (values > maxValues) return { duplicates: [], decimals: [], tooDeep: false, tooMany: true }
  }
  return { duplicates: [...duplicates], decimals, tooDeep: false, tooMany: false }
}

/** A character that numbers have: `-+.`, a digit, `E` or `e`. */
const isOfNumber = (char: number): boolean =>
  (char >= 0x30 && char <= 0x39) || char === 0x2d || char === 0x2b || char === 0x2e || char === 0x45 || char === 0x65

/** The number of which the character at `at` is part, or the `e` of `true`. */
const numberAround = (text: string, at: number): string => {
  let [from, end] = [at, at]
  while (from > 0 && isOfNumber(text.charCodeAt(from - 1))) from--
  while (isOfNumber(text.charCodeAt(end))) end++
  return text.slice(from, end)
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

const wellFormed = (text: string): string => Buffer.from(text, "utf8").toString("utf8")

/** A JSON object, as against null and arrays. */
export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Decimal)

const folded = (name: string): string => name.replaceAll("\u017f", "s").replaceAll("\u212a", "k").toLowerCase()

/**
 * Names in `value` that are none of `known` and differ from one of them in case only, with it. Names are told apart by
 * case (RFC 8259), but readers in Go take such a one for the property, and the last one wins.
 */
export const caseVariants = (
  value: Readonly<Record<string, unknown>>,
  known: ReadonlyArray<string>
): ReadonlyArray<readonly [name: string, property: string]> =>
  Object.keys(value).flatMap((name) => {
    if (known.includes(name)) return []
    const property = known.find((one) => one.length === name.length && folded(one) === folded(name))
    return property === undefined ? [] : [[name, property] as const]
  })

/** An object whose properties have their `known` names, whatever their case, as Go reads it: of several the last one counts. */
export const withKnownNames = (
  value: Readonly<Record<string, unknown>>,
  known: ReadonlyArray<string>
): Readonly<Record<string, unknown>> => {
  const variants = caseVariants(value, known).filter(([, property]) => value[property] === undefined)
  return variants.length === 0
    ? value
    : { ...value, ...Object.fromEntries(variants.map(([name, property]) => [property, value[name]])) }
}

/** For messages: what kind of JSON value stands where another was expected. */
export const typeName = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : value === null
      ? "null"
      : Array.isArray(value)
        ? "an array"
        : value instanceof Decimal
          ? `the number ${value.literal.slice(0, 50)}`
          : `a${typeof value === "object" ? "n object" : ` ${typeof value}`}`
