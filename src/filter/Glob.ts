/** Python's fnmatch, in which users of the older tool write what they look for. */

const escaped = (char: string): string => (/[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char)
/** Within brackets. */
const escapeInSet = (char: string): string => (char === "-" ? "\\-" : escaped(char))

/**
 * The regular expression of a shell pattern as `fnmatch.translate` makes it: `*` (also across slashes), `?`, `[seq]`,
 * `[!seq]`, over the whole of a text, in its case.
 */
export const fnmatch = (pattern: string): RegExp => {
  let source = ""
  // At an end of the pattern a star only takes the anchor away, which spares the engine to go back and forth.
  const middle = pattern.replace(/^\*+/, "").replace(/\*+$/, "")
  const begins = pattern.startsWith("*") ? "" : "^"
  const ends = pattern.endsWith("*") ? "" : "$"
  const chars = [...middle]
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i]!
    if (char === "*") source += ".*"
    else if (char === "?") source += "."
    else if (char === "[") {
      const negated = chars[i + 1] === "!"
      const from = i + (negated ? 2 : 1)
      // The first character belongs to the set even when it is a bracket.
      const end = chars.indexOf("]", from + 1)
      if (end < 0) {
        source += "\\["
        continue
      }
      source += setOf(chars.slice(from, end), negated)
      i = end
    } else source += escaped(char)
  }
  return new RegExp(`${begins}(?:${source})${ends}`, "su")
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
