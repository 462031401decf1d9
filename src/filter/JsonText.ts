/** Changing values in a JSON document while every other byte of it stays: its formatting, its numbers, what nobody knows. */

export type JsonPath = ReadonlyArray<string | number>

/**
 * Calls `replace` with the path and the text of every scalar (string, number, true, false, null); what it answers, a JSON
 * text, takes its place. `text` has to be valid JSON.
 */
export const replaceScalars = (
  text: string,
  replace: (path: JsonPath, scalar: string) => string | undefined
): string => {
  const parts: Array<string> = []
  let copied = 0
  let at = 0
  const path: Array<string | number> = []

  const space = (): void => {
    while (at < text.length && /\s/.test(text[at]!)) at++
  }
  const string = (): string => {
    const start = at++
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1
    return text.slice(start, ++at)
  }
  const scalar = (): void => {
    const start = at
    if (text[at] === '"') string()
    else while (at < text.length && /[-+.0-9A-Za-z]/.test(text[at]!)) at++
    if (at === start) throw new SyntaxError(`no JSON at ${at}`)
    const other = replace(path, text.slice(start, at))
    if (other === undefined) return
    parts.push(text.slice(copied, start), other)
    copied = at
  }
  /** The members of an object or array up to its end. */
  const members = (close: "}" | "]"): void => {
    at++
    space()
    for (let index = 0; text[at] !== close; index++) {
      if (at >= text.length) throw new SyntaxError("JSON ends early")
      if (close === "]") path.push(index)
      else {
        path.push(JSON.parse(string()) as string)
        space()
        at++
      }
      value()
      path.pop()
      space()
      if (text[at] === ",") at++
      space()
    }
    at++
  }
  const value = (): void => {
    space()
    if (text[at] === "{") members("}")
    else if (text[at] === "[") members("]")
    else scalar()
  }

  if (text.startsWith("\ufeff")) at++
  value()
  parts.push(text.slice(copied))
  return parts.join("")
}
