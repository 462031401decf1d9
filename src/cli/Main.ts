/** The command line: all commands together, and what their ends mean for the exit code. */

import { stripVTControlCharacters } from "node:util"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as Span from "@effect/cli/HelpDoc/Span"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { SourceError, WriteError } from "../layout/Failure.ts"
import { UsageError } from "../pipeline/Uri.ts"
import { version } from "../version.ts"
import * as Arguments from "./Arguments.ts"
import * as Help from "./Help.ts"
import * as Output from "./Output.ts"

const config = CliConfig.make({ showBuiltIns: false })

/** Each command with its module, in the order of the overview. A run evaluates the one it needs. */
const modules = {
  process: () => import("./Process.ts"),
  verify: () => import("./Verify.ts"),
  search: () => import("./Search.ts"),
  inspect: () => import("./Inspect.ts"),
  diff: () => import("./Diff.ts"),
  mount: () => import("./Mount.ts"),
  unmount: () => import("./Unmount.ts"),
  explain: () => import("./Explain.ts")
}

const aliases: Readonly<Record<string, keyof typeof modules>> = { info: "inspect" }

/** What a command may end with: it could not do it, it was asked wrongly, or what it looked at is wrong. */
export type CommandError =
  | SourceError
  | WriteError
  | UsageError
  | Output.VerificationFailed
  | ValidationError.ValidationError

// biome-ignore lint/suspicious/noExplicitAny: commands differ in name and options.
type AnyCommand = Command.Command<any, never, CommandError, any>

interface Loaded {
  readonly topic: Help.Topic
  readonly command: AnyCommand
  readonly alias?: AnyCommand
}

const loadModules = (names: ReadonlyArray<keyof typeof modules>): Effect.Effect<ReadonlyArray<Loaded>> =>
  Effect.promise(() => Promise.all(names.map((name) => modules[name]() as unknown as Promise<Loaded>)))

/** The commands that a command line may mean: the one it names, or all for help, completions and mistakes. */
const loadFor = (name: string | undefined): Effect.Effect<ReadonlyArray<Loaded>> => {
  const known =
    name === undefined
      ? undefined
      : (aliases[name] ?? (Object.hasOwn(modules, name) ? (name as keyof typeof modules) : undefined))
  return loadModules(known === undefined ? (Object.keys(modules) as ReadonlyArray<keyof typeof modules>) : [known])
}

const commandOf = (loaded: ReadonlyArray<Loaded>): AnyCommand => {
  const [first, ...rest] = loaded.flatMap((one) => (one.alias === undefined ? [one.command] : [one.command, one.alias]))
  return Command.make("tallyman").pipe(
    Command.withDescription(
      "The fsck for container images: moves them between the forms they take at rest and proves that every byte is right"
    ),
    Command.withSubcommands([first!, ...rest])
  ) as AnyCommand
}

/** Exit codes: 0 fine, 1 findings, 2 usage, 3 could not do it, 130 interrupted. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.isInterruptedOnly(exit.cause)) return 130
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (failure instanceof Output.VerificationFailed) return 1
  if (ValidationError.isValidationError(failure)) return 2
  const { _tag: tag, reason } = (failure ?? {}) as { readonly _tag?: string; readonly reason?: string }
  return tag === "UsageError" || (tag === "FilterError" && reason === "Usage") ? 2 : 3
}

/** One line on stderr for an error; the parser has printed its own already. */
const tell = (cause: Cause.Cause<CommandError>, verbose: boolean): Effect.Effect<void> => {
  if (Cause.isInterruptedOnly(cause)) return Output.printError("tallyman: interrupted")
  const failure = Cause.failureOption(cause)
  if (Option.isNone(failure)) {
    const defect = Option.getOrUndefined(Cause.dieOption(cause))
    if (defect instanceof Output.CannotPrint) return Output.printError(`tallyman: ${defect.message}`)
    const first = Cause.pretty(cause).split("\n")[0]
    return Output.printError(
      verbose ? Cause.pretty(cause) : `tallyman: internal error: ${first} (--verbose shows where)`
    )
  }
  if (failure.value instanceof Output.VerificationFailed || ValidationError.isValidationError(failure.value))
    return Effect.void
  const line = `tallyman: ${failure.value.message.replace(/[\x00-\x1f\x7f]+/g, " ")}`
  return Output.printError(verbose ? `${line}\n${Cause.pretty(cause, { renderErrorCause: true })}` : line)
}

/** The parser's own output: colour on terminals only. */
const plainConsole: Effect.Effect<Console.Console> = Effect.map(Effect.console, (base) => {
  const show =
    (stream: NodeJS.WriteStream) =>
    (text: unknown): Effect.Effect<void> => {
      const line = Output.colour(stream) ? String(text) : stripVTControlCharacters(String(text))
      return stream === process.stdout ? Output.printLine(line) : Output.printError(line.trimEnd())
    }
  return { ...base, log: show(process.stdout), error: show(process.stderr) }
})

const noCommand = (name: string): UsageError =>
  new UsageError({
    reason: "UnknownOption",
    message: `cannot run ${JSON.stringify(name)}: expected a command, one of ${Object.keys(modules).join(", ")}`
  })

const shells = ["bash", "zsh", "fish"]

const noShell = (found = "nothing"): UsageError =>
  new UsageError({
    reason: "BadValue",
    message: `cannot use --completions: expected one of ${shells.join(", ")} behind it, found ${found}`
  })

/** Runs a whole command line; fails as the exit code says. */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<void, CommandError> => {
  const verbose = argv.includes("--verbose")
  const args = argv.filter((arg, index) => index < 2 || arg !== "--verbose")
  const only = args.length === 3 ? args[2] : undefined
  const parsed = Effect.gen(function* () {
    // `tallyman` alone is a question for help.
    if (args.length <= 2 || only === "--help" || only === "-h") {
      const all = yield* loadFor(undefined)
      return yield* Output.printLine(Help.overview(all.map((one) => one.topic)).trimEnd())
    }
    const [name, ...rest] = args.slice(2) as [string, ...Array<string>]
    const loaded = yield* loadFor(name)
    const command = commandOf(loaded)
    const grammar = Arguments.grammarOf(command, name, config)
    const end = rest.indexOf("--")
    if (
      grammar !== undefined &&
      rest.slice(0, end < 0 ? undefined : end).some((arg) => arg === "--help" || arg === "-h")
    )
      return yield* Output.printLine(Help.page(loaded[0]!.topic, grammar, Output.columns()).trimEnd())
    if (name === "--completions" && !(rest.length === 1 && shells.includes(rest[0]!))) return yield* noShell(rest[0])
    if (grammar === undefined && name !== "--completions") return yield* noCommand(name)
    const normal = grammar === undefined ? rest : Arguments.normalize(name, grammar, rest)
    if (normal instanceof UsageError) return yield* normal
    const cli = Command.run(command, {
      name: "tallyman",
      version,
      executable: "tallyman",
      summary: Span.text("the fsck for container images")
    })
    return yield* Effect.withConsole(cli([...args.slice(0, 2), name, ...normal]), yield* plainConsole)
  })
  return parsed.pipe(
    // Not `tapErrorCause`: that is passed over when the run is interrupted.
    Effect.onError((cause) => tell(cause, verbose)),
    Effect.provide(Layer.merge(NodeContext.layer, CliConfig.layer(config)))
  )
}
