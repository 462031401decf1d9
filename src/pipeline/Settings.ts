/** What verification goes by besides depth: severities and limits, from `tallyman.json` and from the command line. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Policy from "../check/Policy.ts"
import * as Json from "../image/Json.ts"
import { explain } from "../image/SchemaFault.ts"
import { describe, SourceError } from "../layout/Failure.ts"
import type { Limits } from "../layout/Limits.ts"
import { UsageError } from "./Uri.ts"

export const fileName = "tallyman.json"

const Count = Schema.Int.pipe(Schema.positive())
const Size = Schema.Union(Schema.NonNegativeInt, Schema.String)

/** The content of `tallyman.json`; `tallyman.schema.json` says the same to editors. */
export const SettingsFile = Schema.Struct({
  $schema: Schema.optional(Schema.String),
  profile: Schema.optional(Schema.Literal(...Policy.profiles)),
  severity: Schema.optional(
    Schema.Record({ key: Schema.String, value: Schema.Literal("error", "warning", "info", "ignore") })
  ),
  "max-unpacked": Schema.optional(Size),
  "max-ratio": Schema.optional(Schema.Positive),
  "max-json": Schema.optional(Size),
  "max-json-values": Schema.optional(Count),
  "max-members": Schema.optional(Count),
  "max-findings": Schema.optional(Count)
})

export interface Settings {
  readonly policy: Policy.Policy
  readonly limits: Limits
  readonly json: Json.JsonLimits
}

export interface SettingsOptions {
  /** A file to read rather than the one found upwards from the working directory. */
  readonly config?: string
  readonly profile?: Policy.Profile
  /** `ID=LEVEL` each; these win over the file. */
  readonly severity: ReadonlyArray<string>
  readonly limits?: GivenLimits
}

const bad = (message: string): UsageError => new UsageError({ reason: "BadValue", message })

const units: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 }

/** Bytes from `500`, `64M`, `10GiB`, ...; undefined when it is no size. */
const parseSize = (text: string): number | undefined => {
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

/** `what` names the file in messages. */
const readFile = (
  file: string,
  what: string,
  found: boolean
): Effect.Effect<typeof SettingsFile.Type, UsageError | SourceError> =>
  Effect.gen(function* () {
    const raw = yield* Effect.try({
      try: () => {
        // One that was found may be anything, also what never ends; one that was named is what the user wants.
        if (found && !fs.statSync(file).isFile()) throw Object.assign(new Error(), { code: "ENOTREG" })
        return fs.readFileSync(file)
      },
      catch: (cause) =>
        new SourceError({
          reason: (cause as NodeJS.ErrnoException).code === "ENOENT" ? "NotFound" : "Unreadable",
          message: `cannot read ${what}: ${describe(cause)}`,
          cause
        })
    })
    const document = Json.parse(raw)
    const problem = document.problems[0]
    if (problem !== undefined) return yield* bad(`cannot use ${what}: ${problem.message}`)
    if (!Json.isObject(document.value))
      return yield* bad(`cannot use ${what}: expected an object, found ${Json.typeName(document.value)}`)
    return yield* Effect.mapError(decode(document.value), (error) => bad(`cannot use ${what}: ${explain(error)}`))
  })

/** A document is read as one string, and V8 has none that are much longer. */
const mostJson = 256 * units["m"]!

/** Limits by the names of their options, which are those in the settings file. */
export type GivenLimits = Partial<
  Pick<
    typeof SettingsFile.Type,
    "max-unpacked" | "max-ratio" | "max-json" | "max-json-values" | "max-members" | "max-findings"
  >
>

/** What limits say; `what` names one in messages. */
export const limitsOf = Effect.fnUntraced(function* (
  given: GivenLimits,
  what: (name: keyof GivenLimits) => string = (name) => `--${name}`
) {
  const counted = (name: "max-ratio" | "max-json-values" | "max-members" | "max-findings") => {
    const value = given[name]
    const least = name === "max-ratio" ? "a number above 0" : "1 or more"
    return value === undefined || value > 0
      ? Effect.succeed(value)
      : Effect.fail(bad(`cannot use ${what(name)} ${value}: expected ${least}`))
  }
  const sized = (name: "max-unpacked" | "max-json") => {
    const value = given[name]
    return value === undefined ? Effect.succeed(undefined) : sizeOf(value, what(name))
  }
  const maxBytes = yield* sized("max-json")
  if (maxBytes !== undefined && maxBytes > mostJson)
    return yield* bad(`cannot use ${what("max-json")} ${JSON.stringify(given["max-json"])}: expected at most 256M`)
  return {
    json: defined({ maxBytes, maxValues: yield* counted("max-json-values") }),
    limits: defined({
      maxOutput: yield* sized("max-unpacked"),
      maxRatio: yield* counted("max-ratio"),
      maxMembers: yield* counted("max-members"),
      maxFindings: yield* counted("max-findings")
    })
  }
})

const defined = <A extends object>(all: A): { readonly [K in keyof A]?: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as never

const sizeOf = (value: string | number, what: string): Effect.Effect<number, UsageError> => {
  const size = typeof value === "number" ? value : parseSize(value)
  return size === undefined
    ? Effect.fail(bad(`cannot use ${what} ${JSON.stringify(value)}: expected bytes, for example 500M or 10G`))
    : Effect.succeed(size)
}

/** File and flags together; flags win. */
export const load = Effect.fn("Settings.load")(function* (
  options: SettingsOptions
): Effect.fn.Return<Settings, UsageError | SourceError> {
  const file = options.config ?? find(process.cwd())
  const what = options.config === undefined ? `the settings file ${file}` : `--config ${JSON.stringify(file)}`
  const fromFile: typeof SettingsFile.Type =
    file === undefined ? {} : yield* readFile(file, what, options.config === undefined)
  const overrides = [
    ...Object.entries(fromFile.severity ?? {}).map(
      ([id, level]) => [`cannot use ${what}: `, Policy.overrideOf(id, level)] as const
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
  const flags = options.limits ?? {}
  const limits = yield* limitsOf({ ...fromFile, ...flags }, (name) =>
    flags[name] === undefined ? `${name} of ${what}` : `--${name}`
  )
  return { policy, ...limits }
})
