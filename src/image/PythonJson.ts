import * as Json from "./Json.ts"

/**
 * JSON as Python's `json.dumps(value, indent=4, sort_keys=True)` writes it: the form of the older tool's catalogs,
 * manifests and re-serialised configs. Writing our catalogs the same way keeps a directory that both write canonical,
 * and knowing the form tells a re-serialised config from a damaged one.
 */
export const stringify = (value: unknown, indent = ""): string => {
  if (typeof value === "string") return ascii(value)
  if (typeof value !== "object" || value === null || value instanceof Json.Decimal)
    return JSON.stringify(value) ?? "null"
  const inner = `${indent}    `
  if (Array.isArray(value)) {
    return value.length === 0 ? "[]" : `[\n${value.map((one) => inner + stringify(one, inner)).join(",\n")}\n${indent}]`
  }
  const entries = Object.entries(value as Record<string, unknown>).sort(([a], [b]) => byCodePoint(a, b))
  return entries.length === 0
    ? "{}"
    : `{\n${entries.map(([key, one]) => `${inner}${ascii(key)}: ${stringify(one, inner)}`).join(",\n")}\n${indent}}`
}

/** Python orders strings by code point, JavaScript by UTF-16 unit. */
const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a, "utf8"), Buffer.from(b, "utf8"))

/** Python escapes DEL and everything beyond ASCII; JSON.stringify leaves them. */
const ascii = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** True when `raw` is the re-serialised form of `value`, white space at the end aside. */
export const isReserialized = (raw: Uint8Array, value: unknown): boolean =>
  Buffer.from(raw).toString("utf8").trimEnd() === stringify(value)
