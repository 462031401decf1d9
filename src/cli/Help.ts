import { version } from "../version.ts"

/** A command as the first page of help shows it. */
export interface Topic {
  readonly usage: string
  readonly summary: string
}

const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of text.split(" ")) {
    const last = lines.at(-1)
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
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
