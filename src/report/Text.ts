import type { CheckResults } from "../check/CheckResults.ts"
import type { Finding, Severity } from "../check/Finding.ts"
import { count } from "../image/Count.ts"
import type { Report } from "./Report.ts"

const colours: Readonly<Record<Severity, string>> = { error: "\x1b[31m", warning: "\x1b[33m", info: "\x1b[36m" }

export interface TextOptions {
  readonly colour: boolean
}

const paint = (text: string, code: string, { colour }: TextOptions): string => (colour ? `${code}${text}\x1b[0m` : text)

/** Names and values come from images: they must not drive the terminal. */
export const safe = (text: string): string =>
  text.replace(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, (char) => {
    const code = char.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`
  })

/** Findings grouped by what they are about, errors first; empty when there are none. */
export const findings = (results: CheckResults, options: TextOptions): string => {
  const groups = new Map<string, Array<Finding>>()
  for (const one of results.results) {
    const group = groups.get(one.subject)
    if (group === undefined) groups.set(one.subject, [one])
    else group.push(one)
  }
  const rank = { error: 0, warning: 1, info: 2 } as const
  // No spread: a group can be longer than a call's arguments.
  const worst = (group: ReadonlyArray<Finding>): number =>
    group.reduce<number>((least, one) => Math.min(least, rank[one.severity]), rank.info)
  return [...groups]
    .sort(([, a], [, b]) => worst(a) - worst(b))
    .map(([subject, group]) =>
      [
        paint(safe(subject), "\x1b[1m", options),
        ...group.sort((a, b) => rank[a.severity] - rank[b.severity]).map((one) => line(one, options))
      ].join("\n")
    )
    .join("\n")
}

const line = (one: Finding, options: TextOptions): string => {
  const detail =
    one.expected === undefined && one.actual === undefined
      ? ""
      : one.expected === undefined
        ? ` (found ${safe(one.actual!)})`
        : ` (expected ${safe(one.expected)}, found ${safe(one.actual ?? "nothing")})`
  return `  ${paint(one.severity, colours[one.severity], options)} [${one.check}] ${safe(one.message)}${detail}`
}

/** The whole audit for people. */
export const toText = (report: Report, options: TextOptions): string => {
  const { results } = report
  const parts: Array<string> = []
  const listed = findings(results, options)
  if (listed !== "") parts.push(listed)
  for (const one of skippedLines(results)) parts.push(one)
  if (report.images.length > 1) {
    const wrong = report.images.filter((image) => !image.ok)
    for (const image of wrong)
      parts.push(
        `${paint("not verified", colours.error, options)}: ${safe(image.image)} (${count(image.errorCount, "error")})`
      )
  }
  const good = report.images.filter((image) => image.ok).length
  const verdict = results.hasErrors ? paint("FAILED", colours.error, options) : paint("OK", "\x1b[32m", options)
  parts.push(
    `${verdict}: ${safe(report.target)} (${report.layout}, ${report.depth}): ${good}/${report.images.length} images, ${count(
      report.layerCount,
      "layer"
    )}, ${count(results.errorCount, "error")}, ${count(results.warningCount, "warning")}`
  )
  return parts.join("\n")
}

/** What was not checked, one line for each reason, as far as it is not plain from the depth. */
const skippedLines = (results: CheckResults): ReadonlyArray<string> => {
  const all = results.skipped
  const shown = all.slice(0, 20).map((one) => `not checked: [${one.check}] ${safe(one.reason)}`)
  return all.length > 20 ? [...shown, `not checked: ${all.length - 20} more, see --format json`] : shown
}
