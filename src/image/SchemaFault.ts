/** What does not fit a schema, for people. */
import * as ParseResult from "effect/ParseResult"

/** The first thing that is wrong, in one line. */
export const explain = (error: ParseResult.ParseError): string => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
  const where = issues[0]!.path.join(".")
  // A choice has an issue for each of its members.
  const sides = issues
    .filter((issue) => issue.path.join(".") === where)
    .map((issue) => /^Expected (.*), actual (.*)$/s.exec(issue.message))
  const text = sides.every((side) => side !== null)
    ? `expected ${[...new Set(sides.map((side) => side[1]))].filter((one) => one !== "undefined").join(" or ")}, found ${sides[0]![2]}`
    : issues[0]!.message
  return `${where}: ${text}`.replaceAll(/\s*\n\s*/g, " ").slice(0, 400)
}
