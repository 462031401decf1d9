/** Python's fnmatch, in which users of the older tool write what they look for. */

const escaped = (char: string): string => (/[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char)
/** Within brackets. */
const escapeInSet = (char: string): string => (char === "-" ? "\\-" : escaped(char))

/**
 * The regular expression of a shell pattern as `fnmatch.translate` makes it: `*` (also across slashes), `?`, `[seq]`,
 * `[!seq]`, over the whole of a text, in its case. What stands between two stars is taken where it comes first and never
 * looked for again, so that many stars cost no more than one after the other.
 */
export const fnmatch = (pattern: string): RegExp => {
  const parts = partsOf(pattern)
  const [first = "", ...others] = parts
  const last = others.pop()
  if (last === undefined) return new RegExp(`^${first}$`, "su")
  const middle = others
    .filter((part) => part !== "")
    .map((part, index) => `(?=(?<s${index}>.*?${part}))\\k<s${index}>`)
    .join("")
  // At an end of the pattern a star only takes the anchor away, which spares the engine to go back and forth.
  const begins = first === "" && middle === "" ? "" : `^${first}`
  return new RegExp(`${begins}${middle}${last === "" ? "" : `${begins === "" ? "" : ".*"}${last}$`}`, "su")
}

/** The expressions of what is between the stars. */
const partsOf = (pattern: string): ReadonlyArray<string> => {
  const parts = [""]
  const add = (source: string): void => {
    parts[parts.length - 1] += source
  }
  const chars = [...pattern]
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i]!
    if (char === "*") parts.push("")
    else if (char === "?") add(".")
    else if (char === "[") {
      const negated = chars[i + 1] === "!"
      const from = i + (negated ? 2 : 1)
      // The first character belongs to the set even when it is a bracket.
      const end = chars.indexOf("]", from + 1)
      if (end < 0) {
        add("\\[")
        continue
      }
      add(setOf(chars.slice(from, end), negated))
      i = end
    } else add(escaped(char))
  }
  return parts
}

/** Ranges whose ends are in the wrong order hold nothing. */
const setOf = (chars: ReadonlyArray<string>, negated: boolean): string => {
  let inner = ""
  for (let i = 0; i < chars.length; i++) {
    const first = chars[i]!
    const last = chars[i + 1] === "-" && i + 2 < chars.length ? chars[i + 2]! : undefined
    if (last === undefined) inner += escapeInSet(first)
    else {
      if (first.codePointAt(0)! <= last.codePointAt(0)!) inner += `${escapeInSet(first)}-${escapeInSet(last)}`
      i += 2
    }
  }
  if (inner === "") return negated ? "." : "(?!)"
  return `[${negated ? "^" : ""}${inner}]`
}
