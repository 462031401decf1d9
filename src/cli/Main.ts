/** The command line: all commands together, and what their ends mean for the exit code. */
import * as Command from "@effect/cli/Command"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Span from "@effect/cli/HelpDoc/Span"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { version } from "../version.ts"
import { explain } from "./Explain.ts"
import * as Output from "./Output.ts"
import { processImage } from "./Process.ts"
import { verify } from "./Verify.ts"

const command = Command.make("tallyman").pipe(
  Command.withDescription("The fsck for container images: moves them between the forms they take at rest and proves that every byte is right"),
  Command.withSubcommands([processImage, verify, explain])
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

/** Runs a whole command line; fails as the exit code says. */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<void, unknown> => {
  const verbose = argv.includes("--verbose")
  // `tallyman` alone is a question for help.
  const args = argv.filter((arg, index) => index < 2 || arg !== "--verbose")
  return cli(args.length <= 2 ? [...args, "--help"] : args).pipe(
    Effect.tapErrorCause((cause) => tell(cause, verbose)),
    Effect.provide(NodeContext.layer),
    Effect.provide(CliConfig.layer({ showBuiltIns: false }))
  )
}
