import { version } from "../version.ts"
import type { Grammar } from "./Arguments.ts"

/** A command as the first page of help shows it. */
export interface Topic {
  readonly usage: string
  readonly summary: string
}

/** The lines of a text, each as long as `width` allows. */
export const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}

/** What `tallyman COMMAND --help` prints, in lines of at most `columns` where words allow it. */
export const page = ({ summary, usage }: Topic, { args, flags }: Grammar, columns: number): string => {
  const lines = (text: string, indent: number): string =>
    wrap(text, columns - indent)
      .map((line) => `${" ".repeat(indent)}${line}`)
      .join("\n")
  const list = (title: string, all: ReadonlyArray<readonly [term: string, description: string]>): string =>
    all.length === 0 ? "" : `\n${title}\n${all.map(([term, text]) => `  ${term}\n${lines(text, 6)}\n`).join("")}`
  const terms = flags.map(({ description, isRepeated, names, type, value }) => {
    const choices = typeof type === "string" ? "" : ` (${type.join(", ")})`
    const shown = value === undefined ? "" : ` ${choices === "" ? value : names.at(-1)!.slice(2).toUpperCase()}`
    return [`${names.join(", ")}${shown}${isRepeated ? " ..." : ""}`, `${description}${choices}`] as const
  })
  return `USAGE
  tallyman ${usage}${flags.length === 0 ? "" : " [OPTIONS]"}

${lines(summary, 0)}
${list(
  "ARGUMENTS",
  args.map((one) => [one.name, one.description])
)}${list("OPTIONS", terms)}`
}

/** What `tallyman --help` prints: short enough for one screen; each command has help of its own. */
export const overview = (topics: ReadonlyArray<Topic>): string => {
  const width = Math.max(...topics.map((topic) => topic.usage.length))
  const commands = topics.map(
    ({ summary, usage }) => `  ${usage.padEnd(width)}  ${wrap(summary, 96 - width).join(`\n${" ".repeat(width + 4)}`)}`
  )
  return `tallyman ${version} -- the fsck for container images

USAGE
  tallyman COMMAND [OPTIONS] ...

COMMANDS
${commands.join("\n")}

EXAMPLES
  tallyman process tar://image.tar dir://mirror --verify-full
  tallyman verify mirror --full
  tallyman verify image.tar --full --format json
  tallyman explain layer.diff-id-mismatch

\`tallyman COMMAND --help\` shows a command's options; --verbose adds stack traces to errors;
--completions bash|zsh|fish prints shell completions; --version prints the version.
Exit codes: 0 fine, 1 verification found errors, 2 wrong usage, 3 could not do it, 130 interrupted.
`
}
