/** The command line: all commands together, and what their ends mean for the exit code. */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Span from "@effect/cli/HelpDoc/Span"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import { stripVTControlCharacters } from "node:util"
import { UsageError } from "../pipeline/Uri.ts"
import { version } from "../version.ts"
import * as Diff from "./Diff.ts"
import * as Explain from "./Explain.ts"
import * as Help from "./Help.ts"
import * as Inspect from "./Inspect.ts"
import * as Output from "./Output.ts"
import * as Process from "./Process.ts"
import * as Search from "./Search.ts"
import * as Unmount from "./Unmount.ts"
import * as Verify from "./Verify.ts"

const config = CliConfig.make({ showBuiltIns: false })

/** In the order of the overview. */
export const topics: ReadonlyArray<Help.Topic> = [Process.topic, Verify.topic, Search.topic, Inspect.topic, Diff.topic, Unmount.topic, Explain.topic]

export const command = Command.make("tallyman").pipe(
  Command.withDescription("The fsck for container images: moves them between the forms they take at rest and proves that every byte is right"),
  Command.withSubcommands([
    Process.command,
    Verify.command,
    Search.command,
    Inspect.command,
    Inspect.alias,
    Diff.command,
    Unmount.command,
    Explain.command
  ])
)

const cli = Command.run(command, {
  name: "tallyman",
  version,
  executable: "tallyman",
  summary: Span.text("the fsck for container images")
})

/** Exit codes: 0 fine, 1 findings, 2 usage, 3 could not do it, 130 interrupted. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.isInterruptedOnly(exit.cause)) return 130
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (failure instanceof Output.VerificationFailed) return 1
  if (ValidationError.isValidationError(failure)) return 2
  return (failure as { readonly _tag?: string } | undefined)?._tag === "UsageError" ? 2 : 3
}

/** One line on stderr for an error; the parser has printed its own already. */
const tell = (cause: Cause.Cause<unknown>, verbose: boolean): Effect.Effect<void> => {
  if (Cause.isInterruptedOnly(cause)) return Output.printError("tallyman: interrupted")
  const failure = Cause.failureOption(cause)
  if (Option.isNone(failure)) {
    const first = Cause.pretty(cause).split("\n")[0]
    return Output.printError(verbose ? Cause.pretty(cause) : `tallyman: internal error: ${first} (--verbose shows where)`)
  }
  if (failure.value instanceof Output.VerificationFailed || ValidationError.isValidationError(failure.value)) return Effect.void
  const { message } = failure.value as { readonly message?: string }
  const line = `tallyman: ${String(message ?? failure.value).replace(/[\x00-\x1f\x7f]+/g, " ")}`
  return Output.printError(verbose ? `${line}\n${Cause.pretty(cause, { renderErrorCause: true })}` : line)
}

/** Options that a command knows, by its own help; every command has --help. */
const optionsOf = (name: string): ReadonlySet<string> | undefined => {
  const found = Command.getSubcommands(command).pipe(HashMap.get(name), Option.getOrUndefined)
  return found === undefined
    ? undefined
    : new Set(["--help", ...(stripVTControlCharacters(HelpDoc.toAnsiText(CommandDescriptor.getHelp(found, config))).match(/(?<=^|[ (])--?[a-z][a-z-]*/gm) ?? [])])
}

/** The parser blames the argument behind an option that it does not know; this names the option. */
const unknownOption = (args: ReadonlyArray<string>): UsageError | undefined => {
  const [name, ...rest] = args
  const known = name === undefined ? undefined : optionsOf(name)
  if (known === undefined) return undefined
  const end = rest.indexOf("--")
  for (const arg of end < 0 ? rest : rest.slice(0, end)) {
    const option = /^--[a-z][a-z-]*(?==|$)/.exec(arg)?.[0]
    if (option !== undefined && !known.has(option) && !builtIn.has(option)) {
      const longer = [...known].filter((one) => one.startsWith("--")).sort().join(", ")
      return new UsageError({ reason: "UnknownOption", message: `${name} has no option ${option}: expected one of ${longer}` })
    }
  }
  return undefined
}

const builtIn = new Set(["--version", "--completions", "--log-level", "--wizard", "--verbose"])

/** The parser's own output: colour on terminals only, and the program's name before its commands' usage. */
const plainConsole: Effect.Effect<Console.Console> = Effect.map(Effect.console, (base) => {
  const show = (stream: NodeJS.WriteStream) => (text: unknown): Effect.Effect<void> => {
    const named = String(text).replace(/^(\x1b\[[\d;]*m)*\$ (?=[a-z])(?!tallyman)/m, "$ tallyman ")
    const line = Output.colour(stream) ? named : stripVTControlCharacters(named)
    return stream === process.stdout ? Output.printLine(line) : Output.printError(line.trimEnd())
  }
  return { ...base, log: show(process.stdout), error: show(process.stderr) }
})

/** Runs a whole command line; fails as the exit code says. */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<void, unknown> => {
  const verbose = argv.includes("--verbose")
  const args = argv.filter((arg, index) => index < 2 || arg !== "--verbose")
  const only = args.length === 3 ? args[2] : undefined
  // `tallyman` alone is a question for help.
  if (args.length <= 2 || only === "--help" || only === "-h") return Output.printLine(Help.overview(topics).trimEnd())
  const parsed = Effect.gen(function*() {
    const unknown = unknownOption(args.slice(2))
    return yield* unknown ?? Effect.withConsole(cli(args), yield* plainConsole)
  })
  return parsed.pipe(
    // Not `tapErrorCause`: that is passed over when the run is interrupted.
    Effect.onError((cause) => tell(cause, verbose)),
    Effect.provide(NodeContext.layer),
    Effect.provide(CliConfig.layer(config))
  )
}
