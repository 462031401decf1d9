/**
 * What a command line may say, as the commands describe it. The parser's own messages name neither the option nor what
 * was found, and blame the argument behind what is wrong; so a line is looked at before, and handed on in a plain form.
 */

import type * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import type * as HelpDoc from "@effect/cli/HelpDoc"
import type * as Span from "@effect/cli/HelpDoc/Span"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import { UsageError } from "../pipeline/Uri.ts"

export interface Argument {
  readonly name: string
  readonly isOptional: boolean
  readonly description: string
}

export interface Flag {
  /** With their dashes, the long one last. */
  readonly names: ReadonlyArray<string>
  /** What stands behind it, for people; undefined when nothing does. */
  readonly value: string | undefined
  readonly type: "text" | "integer" | "number" | ReadonlyArray<string>
  readonly isRepeated: boolean
  readonly description: string
}

export interface Grammar {
  readonly args: ReadonlyArray<Argument>
  readonly flags: ReadonlyArray<Flag>
}

const textOf = (span: Span.Span): string =>
  span._tag === "Sequence"
    ? textOf(span.left) + textOf(span.right)
    : typeof span.value === "string"
      ? span.value
      : textOf(span.value)

/** Laying a help out as text takes 40 ms. */
const paragraphsOf = (help: HelpDoc.HelpDoc): ReadonlyArray<string> =>
  help._tag === "Paragraph"
    ? [textOf(help.value)]
    : help._tag === "Sequence"
      ? [...paragraphsOf(help.left), ...paragraphsOf(help.right)]
      : []

const definitionsOf = (help: HelpDoc.HelpDoc): ReadonlyArray<readonly [Span.Span, HelpDoc.HelpDoc]> =>
  help._tag === "DescriptionList"
    ? help.definitions
    : help._tag === "Sequence"
      ? [...definitionsOf(help.left), ...definitionsOf(help.right)]
      : []

const choicesIn = "One of the following: "
const isOptional = "This setting is optional."

/** What the parser says by itself of every argument and option. */
const isGenerated = (text: string): boolean =>
  /^(?:A user-defined piece of text|A true or false value|An integer|A floating point number|This setting is optional|This option may be repeated)\b/.test(
    text
  ) || text.startsWith(choicesIn)

/** What the command `name` takes; undefined when there is none of that name. */
// biome-ignore lint/suspicious/noExplicitAny: commands differ in name and options.
export const grammarOf = (command: Command.Command<any, any, any, any>, name: string, config: CliConfig.CliConfig) =>
  Option.map(HashMap.get(Command.getSubcommands(command), name), (found): Grammar => {
    const definitions = definitionsOf(CommandDescriptor.getHelp(found, config)).map(([term, help]) => ({
      term: textOf(term),
      says: paragraphsOf(help)
    }))
    const description = (says: ReadonlyArray<string>): string => says.filter((one) => !isGenerated(one)).join(" ")
    return {
      args: definitions.flatMap(({ says, term }) => {
        const arg = /^\[?<(.+?)>\]?$/.exec(term)
        return arg === null
          ? []
          : [{ name: arg[1]!, isOptional: says.includes(isOptional), description: description(says) }]
      }),
      flags: definitions.flatMap(({ says, term }) => {
        const flag = /^\(?(-.+?)\)?(\.\.\.)?$/.exec(term)
        if (flag === null) return []
        const [, names, value] = /^((?:-[a-z-]+, )*-[a-z-]+)(?: (.*))?$/.exec(flag[1]!) ?? []
        const choices = says.find((one) => one.startsWith(choicesIn))
        const type =
          choices !== undefined
            ? choices.slice(choicesIn.length).split(", ")
            : says.includes("An integer.")
              ? "integer"
              : says.includes("A floating point number.")
                ? "number"
                : "text"
        return [
          {
            names: names!.split(", "),
            value,
            type,
            isRepeated: flag[2] !== undefined,
            description: description(says)
          } satisfies Flag
        ]
      })
    }
  }).pipe(Option.getOrUndefined)

/** The option that `arg` is, and the value in the same argument: `--jobs=4`, `-j4`. */
const flagIn = (
  { flags }: Grammar,
  arg: string
): { readonly flag?: Flag; readonly name: string; readonly value?: string } => {
  const equals = arg.indexOf("=")
  const name = equals < 0 ? arg : arg.slice(0, equals)
  const flag = flags.find(({ names }) => names.includes(name))
  if (flag !== undefined || arg.startsWith("--"))
    return { name, ...(flag === undefined ? {} : { flag }), ...(equals < 0 ? {} : { value: arg.slice(equals + 1) }) }
  const short = flags.find(({ names, value }) => value !== undefined && names.includes(arg.slice(0, 2)))
  return short === undefined ? { name } : { flag: short, name: arg.slice(0, 2), value: arg.slice(2) }
}

const listed = (all: ReadonlyArray<string>): string =>
  all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} or ${all.at(-1)}`

const wrongValue = ({ type }: Flag, value: string): string | undefined => {
  if (typeof type !== "string") return type.includes(value) ? undefined : `expected ${listed(type)}`
  if (type === "integer") return /^-?\d+$/.test(value) ? undefined : "expected a whole number"
  return type === "text" || (value.trim() !== "" && Number.isFinite(Number(value))) ? undefined : "expected a number"
}

/** The arguments of the command `name` in the form that the parser takes, or what is wrong with them. */
export const normalize = (
  name: string,
  grammar: Grammar,
  args: ReadonlyArray<string>
): ReadonlyArray<string> | UsageError => {
  const bad = (message: string, reason: UsageError["reason"] = "BadValue"): UsageError =>
    new UsageError({ reason, message })
  const options: Array<string> = []
  const positional: Array<string> = []
  const given = new Set<Flag>()
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!
    if (arg === "--") {
      positional.push(...args.slice(index + 1))
      break
    }
    if (!arg.startsWith("-") || arg === "-") {
      positional.push(arg)
      continue
    }
    const found = flagIn(grammar, arg)
    const { flag } = found
    if (flag === undefined) {
      const known = [...grammar.flags.flatMap(({ names }) => names.at(-1)!), "--help"].sort()
      return bad(`${name} has no option ${found.name}: expected one of ${known.join(", ")}`, "UnknownOption")
    }
    const long = flag.names.at(-1)!
    if (given.has(flag) && !flag.isRepeated) return bad(`cannot use ${found.name} twice: ${name} takes one`)
    given.add(flag)
    if (flag.value === undefined) {
      if (found.value !== undefined)
        return bad(`cannot use ${found.name} with a value: expected nothing behind it, found ${quoted(found.value)}`)
      options.push(long)
      continue
    }
    const value = found.value ?? args[++index]
    if (value === undefined) return bad(`cannot use ${found.name}: expected ${flag.value} behind it, found nothing`)
    const wrong = value === "" ? `expected ${flag.value}` : wrongValue(flag, value)
    if (wrong !== undefined) return bad(`cannot use ${found.name} ${quoted(value)}: ${wrong}`)
    options.push(long, value)
  }
  const names = grammar.args.map((one) => one.name).join(" ")
  const missing = grammar.args[positional.length]
  if (missing !== undefined && !missing.isOptional)
    return bad(`cannot run ${name}: expected ${names}, found no ${missing.name}`)
  if (positional.length > grammar.args.length)
    return bad(
      `cannot run ${name}: expected ${names} and nothing else, found ${quoted(positional[grammar.args.length]!)}`
    )
  const empty = positional.indexOf("")
  if (empty >= 0) return bad(`cannot run ${name}: expected ${grammar.args[empty]!.name}, found an empty argument`)
  return [...options, ...(positional.some((one) => one.startsWith("-")) ? ["--"] : []), ...positional]
}

const quoted = (text: string): string => JSON.stringify(text)
