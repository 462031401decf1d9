/** Options that several commands have. */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Platform from "../image/Platform.ts"
import { UsageError } from "../pipeline/Uri.ts"

export const format = Options.choice("format", ["text", "json"]).pipe(
  Options.withDefault("text" as const),
  Options.withDescription("How to show the result: text, or JSON on stdout and nothing else there")
)

export const jobs = Options.integer("jobs").pipe(
  Options.withAlias("j"),
  Options.optional,
  Options.withDescription("Threads to read and hash with; by default one for each core, at most 8")
)

export const tempDirectory = Options.text("temp-dir").pipe(
  Options.optional,
  Options.withDescription("Where compressed archives are unpacked to while they are read; by default the system's")
)

export const platform = {
  platform: Options.text("platform").pipe(
    Options.optional,
    Options.withDescription("Choose the image for OS/ARCHITECTURE[/VARIANT]")
  ),
  os: Options.text("os").pipe(Options.optional, Options.withDescription("Choose the image for this operating system")),
  architecture: Options.text("architecture").pipe(
    Options.optional,
    Options.withDescription("Choose the image for this architecture")
  ),
  variant: Options.text("variant").pipe(
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

export const threads = (flag: Option.Option<number>): Effect.Effect<{ readonly size?: number }, UsageError> =>
  Option.match(flag, {
    onNone: () => Effect.succeed({}),
    onSome: (size) =>
      size >= 1 && size <= 64
        ? Effect.succeed({ size })
        : Effect.fail(new UsageError({ reason: "BadValue", message: `cannot use --jobs ${size}: expected 1 to 64` }))
  })
