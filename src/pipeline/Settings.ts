/** What verification goes by besides depth: severities and limits, from `tallyman.json` and from the command line. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Policy from "../check/Policy.ts"
import type { DecoderLimits } from "../content/Compression.ts"
import * as Json from "../image/Json.ts"
import { describe } from "../layout/Failure.ts"
import { UsageError } from "./Uri.ts"

export const fileName = "tallyman.json"

const Size = Schema.Union(Schema.NonNegativeInt, Schema.String)

/** The content of `tallyman.json`; `tallyman.schema.json` says the same to editors. */
export const SettingsFile = Schema.Struct({
  $schema: Schema.optional(Schema.String),
  profile: Schema.optional(Schema.Literal(...Policy.profiles)),
  severity: Schema.optional(
    Schema.Record({ key: Schema.String, value: Schema.Literal("error", "warning", "info", "ignore") })
  ),
  "max-unpacked": Schema.optional(Size),
  "max-ratio": Schema.optional(Schema.Positive)
})

export interface Settings {
  readonly policy: Policy.Policy
  readonly limits: DecoderLimits
}

export interface SettingsOptions {
  /** A file to read rather than the one found upwards from the working directory. */
  readonly config?: string
  readonly profile?: Policy.Profile
  /** `ID=LEVEL` each; these win over the file. */
  readonly severity: ReadonlyArray<string>
  readonly maxUnpacked?: string
  readonly maxRatio?: number
}

const bad = (message: string): UsageError => new UsageError({ reason: "BadValue", message })

const units: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 }

/** Bytes from `500`, `64M`, `10GiB`, ...; undefined when it is no size. */
export const parseSize = (text: string): number | undefined => {
  const match = /^(\d{1,15})\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim())
  return match === null ? undefined : Number(match[1]) * units[match[2]!.toLowerCase()]!
}

/** The nearest settings file at or above a directory. */
const find = (directory: string): string | undefined => {
  const file = path.join(directory, fileName)
  if (fs.existsSync(file)) return file
  const parent = path.dirname(directory)
  return parent === directory ? undefined : find(parent)
}

const decode = Schema.decodeUnknownEither(SettingsFile, { errors: "first", onExcessProperty: "error" })

const readFile = (file: string): Effect.Effect<typeof SettingsFile.Type, UsageError> =>
  Effect.gen(function* () {
    const raw = yield* Effect.try({
      try: () => fs.readFileSync(file),
      catch: (cause) => bad(`cannot read ${file}: ${describe(cause)}`)
    })
    const document = Json.parse(raw)
    const problem = document.problems[0]
    if (problem !== undefined) return yield* bad(`cannot use ${file}: ${problem.message}`)
    if (!Json.isObject(document.value))
      return yield* bad(`cannot use ${file}: expected an object, found ${Json.typeName(document.value)}`)
    return yield* Effect.mapError(decode(document.value), (error) => bad(`cannot use ${file}: ${explain(error)}`))
  })

/** The first thing that is wrong, in one line. */
const explain = (error: ParseResult.ParseError): string => {
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

const sizeOf = (value: string | number, what: string): Effect.Effect<number, UsageError> => {
  const size = typeof value === "number" ? value : parseSize(value)
  return size === undefined
    ? Effect.fail(bad(`cannot use ${what} ${JSON.stringify(value)}: expected bytes, for example 500M or 10G`))
    : Effect.succeed(size)
}

/** File and flags together; flags win. */
export const load = Effect.fn("Settings.load")(function* (
  options: SettingsOptions
): Effect.fn.Return<Settings, UsageError> {
  const file = options.config ?? find(process.cwd())
  const fromFile: typeof SettingsFile.Type = file === undefined ? {} : yield* readFile(file)
  const overrides = [
    ...Object.entries(fromFile.severity ?? {}).map(
      ([id, level]) => [`${file}: `, Policy.overrideOf(id, level)] as const
    ),
    ...options.severity.map((text) => ["--severity: ", Policy.parseOverride(text)] as const)
  ]
  const policy: Partial<Record<string, Policy.Level>> = {
    ...Policy.policyOf[options.profile ?? fromFile.profile ?? "default"]
  }
  for (const [where, override] of overrides) {
    if (typeof override === "string") return yield* bad(`${where}${override}`)
    policy[override[0]] = override[1]
  }
  const maxUnpacked = options.maxUnpacked ?? fromFile["max-unpacked"]
  const maxRatio = options.maxRatio ?? fromFile["max-ratio"]
  if (maxRatio !== undefined && !(maxRatio > 0))
    return yield* bad(`cannot use --max-ratio ${maxRatio}: expected a number above 0`)
  return {
    policy,
    limits: {
      ...(maxUnpacked === undefined ? {} : { maxOutput: yield* sizeOf(maxUnpacked, "--max-unpacked") }),
      ...(maxRatio === undefined ? {} : { maxRatio })
    }
  }
})
