/** Changing values in a JSON document while every other byte of it stays: its formatting, its numbers, what nobody knows. */

export type JsonPath = ReadonlyArray<string | number>

/**
 * Calls `replace` with the path and the text of every scalar (string, number, true, false, null); what it answers, a JSON
 * text, takes its place. `text` has to be valid JSON.
 */
export const replaceScalars = (text: string, replace: (path: JsonPath, scalar: string) => string | undefined): string =>
  edit(text, () => undefined, replace)

/** The same of every value: an object or an array for which `replace` answers something goes as a whole. */
export const replaceValues = (text: string, replace: (path: JsonPath) => string | undefined): string =>
  edit(text, replace, replace)

/** Adds a member to an object that has none of that name. `text` has to be a valid object that is not empty. */
export const withMember = (text: string, name: string, value: string): string => {
  const end = text.lastIndexOf("}")
  const last = text.slice(0, end).trimEnd().length
  return `${text.slice(0, last)},${JSON.stringify(name)}:${value}${text.slice(last)}`
}

const edit = (
  text: string,
  replaceWhole: (path: JsonPath) => string | undefined,
  replace: (path: JsonPath, scalar: string) => string | undefined
): string => {
  const parts: Array<string> = []
  let copied = 0
  let at = 0
  /** Within a value that goes as a whole. */
  let skipping = false
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
    const other = skipping ? undefined : replace(path, text.slice(start, at))
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
    if (text[at] !== "{" && text[at] !== "[") {
      scalar()
      return
    }
    const start = at
    const other = skipping ? undefined : replaceWhole(path)
    if (other !== undefined) skipping = true
    members(text[at] === "{" ? "}" : "]")
    if (other === undefined) return
    skipping = false
    parts.push(text.slice(copied, start), other)
    copied = at
  }

  if (text.startsWith("\ufeff")) at++
  value()
  parts.push(text.slice(copied))
  return parts.join("")
}
