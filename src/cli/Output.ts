/** How commands speak: results on stdout, everything else on stderr, exit codes by kind of error. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The one error that means that something was checked and is wrong. */
export class VerificationFailed extends Schema.TaggedError<VerificationFailed>()("VerificationFailed", {
  errorCount: Schema.Number
}) {}

/** A defect: nobody can be told what was found. */
export class CannotPrint extends Schema.TaggedError<CannotPrint>()("CannotPrint", { message: Schema.String }) {}

/** The write's callback has the error too; without a listener the stream would throw it. */
const ignore = (): void => {}

/**
 * Writes all of it before it returns, also into a pipe. A reader that has gone (`head`, a pager) has seen what it wanted:
 * the exit code still says what was found.
 */
const write = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (!stream.listeners("error").includes(ignore)) stream.on("error", ignore)
    stream.write(text, (cause) => {
      if (cause === undefined || cause === null || (cause as NodeJS.ErrnoException).code === "EPIPE")
        return resume(Effect.void)
      const name = stream === process.stdout ? "output" : "error"
      resume(Effect.die(new CannotPrint({ message: `cannot write to standard ${name}: ${cause.message}` })))
    })
  })

export const printLine = (text: string): Effect.Effect<void> => write(process.stdout, `${text}\n`)
export const printError = (text: string): Effect.Effect<void> => write(process.stderr, `${text}\n`)
export const printJson = (value: unknown): Effect.Effect<void> => printLine(JSON.stringify(value, null, 2))

/** Width to fit text into: the terminal's, or what COLUMNS says, or enough to be read in a file. */
export const columns = (): number => {
  const wanted = Number(process.env["COLUMNS"])
  // Terminals that were told no size say 0.
  return process.stdout.columns || (Number.isInteger(wanted) && wanted > 0 ? wanted : 120)
}

/** Colour on a terminal only, never against NO_COLOR (no-color.org). */
export const colour = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb"
