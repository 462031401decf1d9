/** Options that several commands have. */
import * as fs from "node:fs"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Policy from "../check/Policy.ts"
import * as Platform from "../image/Platform.ts"
import { describe, WriteError } from "../layout/Failure.ts"
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
  flags: PlatformFlags & { readonly tempDirectory: Option.Option<string> }
): Effect.Effect<Layouts.SourceOptions, UsageError | WriteError> =>
  Effect.zipWith(wantedPlatform(flags), temporary(flags.tempDirectory), (platform, opening) => ({
    ...(platform === undefined ? {} : { platform }),
    ...opening
  }))

export const threads = (flag: Option.Option<number>): Effect.Effect<{ readonly size?: number }, UsageError> =>
  Option.match(flag, {
    onNone: () => Effect.succeed({}),
    onSome: (size) =>
      size >= 1 && size <= 64
        ? Effect.succeed({ size })
        : Effect.fail(new UsageError({ reason: "BadValue", message: `cannot use --jobs ${size}: expected 1 to 64` }))
  })

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
  )
}

export interface SettingsFlags {
  readonly profile: Option.Option<Policy.Profile>
  readonly severity: ReadonlyArray<string>
  readonly config: Option.Option<string>
  readonly maxUnpacked: Option.Option<string>
  readonly maxRatio: Option.Option<number>
}

export const loadSettings = (flags: SettingsFlags): Effect.Effect<Settings.Settings, UsageError> =>
  Settings.load({
    severity: flags.severity,
    ...(Option.isSome(flags.profile) ? { profile: flags.profile.value } : {}),
    ...(Option.isSome(flags.config) ? { config: flags.config.value } : {}),
    ...(Option.isSome(flags.maxUnpacked) ? { maxUnpacked: flags.maxUnpacked.value } : {}),
    ...(Option.isSome(flags.maxRatio) ? { maxRatio: flags.maxRatio.value } : {})
  })
