/** Text in columns that fits a terminal. */

export interface Column {
  readonly title: string
  readonly align?: "right"
  /** Takes what the others leave, and is cut where that is too little. */
  readonly fills?: true
  /** Left out where the width is too little for all, the lowest number first. */
  readonly dispensable?: number
}

/** Two columns for characters of East Asia and pictures, none for marks that go on top of others (Unicode UAX #11). */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]|[\u{20000}-\u{3fffd}]/u
const zero = /\p{Mn}|\p{Me}|\u200d|\u200b/u

const widthOf = (char: string): number => (zero.test(char) ? 0 : wide.test(char) ? 2 : 1)

/** Columns that `text` takes on a terminal. */
export const width = (text: string): number =>
  /^[\x20-\x7e]*$/.test(text) ? text.length : [...text].reduce((sum, char) => sum + widthOf(char), 0)

/** The beginning of `text`, with an ellipsis where something was cut. */
export const shorten = (text: string, columns: number): string => {
  if (width(text) <= columns) return text
  let kept = ""
  let used = 1
  for (const char of text) {
    used += widthOf(char)
    if (used > columns) break
    kept += char
  }
  return columns < 1 ? "" : `${kept}…`
}

const least = 10

/** Rows under their titles, two spaces apart, no line wider than `total` unless the indispensable columns are. */
export const table = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  total: number
): ReadonlyArray<string> => {
  const lines = lay(columns, rows, total)
  const first = columns.reduce<number>(
    (chosen, { dispensable }, index) =>
      dispensable !== undefined && (chosen < 0 || dispensable < columns[chosen]!.dispensable!) ? index : chosen,
    -1
  )
  if (first < 0 || lines.every((line) => width(line) <= total)) return lines
  const without = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => all.filter((_, index) => index !== first)
  return table(without(columns), rows.map(without), total)
}

const lay = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  total: number
): ReadonlyArray<string> => {
  const widths = columns.map((column, index) =>
    Math.max(width(column.title), ...rows.map((row) => width(row[index] ?? "")))
  )
  const filling = columns.findIndex((column) => column.fills === true)
  if (filling >= 0) {
    const others =
      widths.reduce((sum, one, index) => (index === filling ? sum : sum + one), 0) + 2 * (columns.length - 1)
    widths[filling] = Math.min(widths[filling]!, Math.max(least, total - others))
  }
  const line = (cells: ReadonlyArray<string>): string =>
    columns
      .map(({ align }, index) => {
        const cell = shorten(cells[index] ?? "", widths[index]!)
        const space = " ".repeat(widths[index]! - width(cell))
        return align === "right" ? space + cell : cell + space
      })
      .join("  ")
      .trimEnd()
  return [line(columns.map(({ title }) => title)), ...rows.map(line)]
}
