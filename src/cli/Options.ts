/** Options that several commands have. */
import * as fs from "node:fs"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Policy from "../check/Policy.ts"
import * as Json from "../image/Json.ts"
import * as Platform from "../image/Platform.ts"
import { describe, type SourceError, WriteError } from "../layout/Failure.ts"
import type * as Layouts from "../pipeline/Layouts.ts"
import * as Settings from "../pipeline/Settings.ts"
import { UsageError } from "../pipeline/Uri.ts"

export const format = Options.choice("format", ["text", "json"]).pipe(
  Options.withDefault("text" as const),
  Options.withDescription("How to show the result: text, or JSON on stdout and nothing else there")
)

export const jobs = Options.integer("jobs").pipe(
  Options.withPseudoName("N"),
  Options.withAlias("j"),
  Options.optional,
  Options.withDescription("Threads to read and hash with; by default one for each core, at most 8")
)

export const tempDirectory = Options.text("temp-dir").pipe(
  Options.withPseudoName("DIRECTORY"),
  Options.optional,
  Options.withDescription(
    "Where temporary files go: compressed archives while they are read (by default in the system's), layers while they are compressed or unpacked (by default beside the output)"
  )
)

/** What is wrong with a directory for temporary files, or undefined. */
const unusable = (directory: string): string | undefined => {
  try {
    const stat = fs.statSync(directory, { throwIfNoEntry: false })
    if (stat === undefined) return "nothing"
    if (!stat.isDirectory()) return "something else"
    fs.accessSync(directory, fs.constants.W_OK | fs.constants.X_OK)
    return undefined
  } catch (cause) {
    return `that it cannot be used: ${describe(cause)}`
  }
}

/** --temp-dir, for what opens images. What comes later may take hours until it needs it. */
export const temporary = (
  flag: Option.Option<string>
): Effect.Effect<{ readonly tempDirectory?: string }, WriteError> =>
  Effect.suspend(() => {
    if (Option.isNone(flag)) return Effect.succeed({})
    const found = unusable(flag.value)
    return found === undefined
      ? Effect.succeed({ tempDirectory: flag.value })
      : Effect.fail(
          new WriteError({
            reason: "Unwritable",
            message: `cannot use --temp-dir ${JSON.stringify(flag.value)}: expected a directory that can be written, found ${found}`
          })
        )
  })

export const platform = {
  platform: Options.text("platform").pipe(
    Options.withPseudoName("OS/ARCHITECTURE[/VARIANT]"),
    Options.optional,
    Options.withDescription("Choose the image for this platform")
  ),
  os: Options.text("os").pipe(
    Options.withPseudoName("OS"),
    Options.optional,
    Options.withDescription("Choose the image for this operating system")
  ),
  architecture: Options.text("architecture").pipe(
    Options.withPseudoName("ARCHITECTURE"),
    Options.optional,
    Options.withDescription("Choose the image for this architecture")
  ),
  variant: Options.text("variant").pipe(
    Options.withPseudoName("VARIANT"),
    Options.optional,
    Options.withDescription("Choose the image for this variant of the architecture")
  )
}

export interface PlatformFlags {
  readonly platform: Option.Option<string>
  readonly os: Option.Option<string>
  readonly architecture: Option.Option<string>
  readonly variant: Option.Option<string>
}

/** What the flags say together; single parts go before --platform. */
export const wantedPlatform = (flags: PlatformFlags): Effect.Effect<Platform.Wanted | undefined, UsageError> => {
  const whole = Option.map(flags.platform, (text) => [text, Platform.parse(text)] as const)
  if (Option.isSome(whole) && whole.value[1] === undefined) {
    return Effect.fail(
      new UsageError({
        reason: "BadValue",
        message: `cannot use --platform ${JSON.stringify(whole.value[0])}: expected OS/ARCHITECTURE[/VARIANT]`
      })
    )
  }
  const wanted = {
    ...Option.getOrUndefined(whole)?.[1],
    ...(Option.isSome(flags.os) ? { os: flags.os.value } : {}),
    ...(Option.isSome(flags.architecture) ? { architecture: flags.architecture.value } : {}),
    ...(Option.isSome(flags.variant) ? { variant: flags.variant.value } : {})
  }
  return Effect.succeed(Object.keys(wanted).length === 0 ? undefined : wanted)
}

/** How a source is opened, by the flags of every command that has one. */
export const sourceOptions = (
  flags: PlatformFlags & ReadingFlags & { readonly tempDirectory: Option.Option<string> }
): Effect.Effect<Layouts.SourceOptions, UsageError | WriteError> =>
  Effect.gen(function* () {
    const platform = yield* wantedPlatform(flags)
    const opening = yield* temporary(flags.tempDirectory)
    const { json, limits } = yield* Settings.limitsOf(readingLimits(flags))
    yield* setJson(json)
    return { ...(platform === undefined ? {} : { platform }), ...opening, limits }
  })

export const threads = (flag: Option.Option<number>): Effect.Effect<{ readonly size?: number }, UsageError> =>
  Option.match(flag, {
    onNone: () => Effect.succeed({}),
    onSome: (size) =>
      size >= 1 && size <= 64
        ? Effect.succeed({ size })
        : Effect.fail(new UsageError({ reason: "BadValue", message: `cannot use --jobs ${size}: expected 1 to 64` }))
  })

/** What may be taken in, for every command that reads images. */
export const reading = {
  maxJson: Options.text("max-json").pipe(
    Options.withPseudoName("SIZE"),
    Options.optional,
    Options.withDescription("Size of one JSON document, 16M by default and at most 256M")
  ),
  maxJsonValues: Options.integer("max-json-values").pipe(
    Options.withPseudoName("N"),
    Options.optional,
    Options.withDescription("Values in one JSON document, 500000 by default; half as many different names may be in it")
  ),
  maxMembers: Options.integer("max-members").pipe(
    Options.withPseudoName("N"),
    Options.optional,
    Options.withDescription("Members of one archive, 500000 by default; each takes memory")
  )
}

/** How findings are judged, and what a blob may cost. */
export const settings = {
  profile: Options.choice("profile", Policy.profiles).pipe(
    Options.optional,
    Options.withDescription(
      "Severities as a whole: strict takes every SHOULD for a MUST, docker lets pass what Docker does, occystrap what the older tool's directories all have"
    )
  ),
  severity: Options.text("severity").pipe(
    Options.withPseudoName("CHECK-ID=LEVEL"),
    Options.repeated,
    Options.withDescription("Severity of one check: error, warning, info or ignore; may be given often")
  ),
  config: Options.text("config").pipe(
    Options.withPseudoName("FILE"),
    Options.optional,
    Options.withDescription(
      `Settings file; by default the nearest ${Settings.fileName} at or above the working directory`
    )
  ),
  maxUnpacked: Options.text("max-unpacked").pipe(
    Options.withPseudoName("SIZE"),
    Options.optional,
    Options.withDescription("Bytes that one blob may decompress to, for example 500M or 2T")
  ),
  maxRatio: Options.float("max-ratio").pipe(
    Options.withPseudoName("N"),
    Options.optional,
    Options.withDescription("Decompressed over compressed size of one blob, looked at beyond 1 GiB")
  ),
  ...reading,
  maxFindings: Options.integer("max-findings").pipe(
    Options.withPseudoName("N"),
    Options.optional,
    Options.withDescription("Findings of one check that are listed, 10000 by default; of all checks twice as many are")
  )
}

export interface ReadingFlags {
  readonly maxJson: Option.Option<string>
  readonly maxJsonValues: Option.Option<number>
  readonly maxMembers: Option.Option<number>
}

export interface SettingsFlags extends ReadingFlags {
  readonly profile: Option.Option<Policy.Profile>
  readonly severity: ReadonlyArray<string>
  readonly config: Option.Option<string>
  readonly maxUnpacked: Option.Option<string>
  readonly maxRatio: Option.Option<number>
  readonly maxFindings: Option.Option<number>
}

const given = <A extends Readonly<Record<string, Option.Option<unknown>>>>(
  flags: A
): { readonly [K in keyof A]?: Option.Option.Value<A[K]> } =>
  Object.fromEntries(
    Object.entries(flags).flatMap(([name, flag]) => (Option.isSome(flag) ? [[name, flag.value]] : []))
  ) as never

const readingLimits = (flags: ReadingFlags) =>
  given({ "max-json": flags.maxJson, "max-json-values": flags.maxJsonValues, "max-members": flags.maxMembers })

/** The limit on documents holds for all of them from here on. */
const setJson = (json: Json.JsonLimits): Effect.Effect<void> => Effect.sync(() => Json.setLimits(json))

export const loadSettings = (flags: SettingsFlags): Effect.Effect<Settings.Settings, UsageError | SourceError> =>
  Settings.load({
    severity: flags.severity,
    ...given({ profile: flags.profile, config: flags.config }),
    limits: {
      ...readingLimits(flags),
      ...given({
        "max-unpacked": flags.maxUnpacked,
        "max-ratio": flags.maxRatio,
        "max-findings": flags.maxFindings
      })
    }
  }).pipe(Effect.tap(({ json }) => setJson(json)))
