/** How commands speak: results on stdout, everything else on stderr, exit codes by kind of error. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The one error that means that something was checked and is wrong. */
export class VerificationFailed extends Schema.TaggedError<VerificationFailed>()("VerificationFailed", {
  errorCount: Schema.Number
}) {}

/** Writes all of it before it returns, also into a pipe. */
const write = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    stream.write(text, () => resume(Effect.void))
  })

export const printLine = (text: string): Effect.Effect<void> => write(process.stdout, `${text}\n`)
export const printError = (text: string): Effect.Effect<void> => write(process.stderr, `${text}\n`)
export const printJson = (value: unknown): Effect.Effect<void> => printLine(JSON.stringify(value, null, 2))

/** Width to fit text into: the terminal's, or what COLUMNS says, or enough to be read in a file. */
export const columns = (): number => {
  const wanted = Number(process.env["COLUMNS"])
  return process.stdout.columns ?? (Number.isInteger(wanted) && wanted > 0 ? wanted : 120)
}

/** Colour on a terminal only, never against NO_COLOR (no-color.org). */
export const colour = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb"
