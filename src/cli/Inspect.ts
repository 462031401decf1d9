import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { inspect } from "../filter/Inspection.ts"
import { UsageError } from "../pipeline/Uri.ts"
import * as InspectionText from "../report/InspectionText.ts"
import { version } from "../version.ts"
import type { Topic } from "./Help.ts"
import * as Flags from "./Options.ts"
import * as Output from "./Output.ts"
import { withProgress } from "./Progress.ts"
import * as Source from "./Source.ts"
import * as Threads from "./Threads.ts"

export const topic: Topic = {
  usage: "inspect SOURCE",
  summary: "Show an image: digests, config, history beside layers, sizes, waste, largest files (also called info)"
}

const make = <const Name extends string>(name: Name) =>
  Command.make(name, {
    source: Args.text({ name: "SOURCE" }).pipe(
      Args.withDescription("Where the image is: a path, whose layout is detected, or a URI as for process")
    ),
    top: Options.integer("top").pipe(
      Options.withPseudoName("N"),
      Options.withDefault(10),
      Options.withDescription("How many of the largest and of the most wasteful files to name; 10 by default")
    ),
    format: Options.choice("format", ["text", "table", "json"]).pipe(
      Options.withDefault("text" as const),
      Options.withDescription("How to show it: text, a table that fits the terminal, or JSON")
    ),
    ...Flags.platform,
    jobs: Flags.jobs,
    tempDirectory: Flags.tempDirectory,
    ...Flags.reading
  }).pipe(
    Command.withDescription(topic.summary),
    Command.withHandler((flags) =>
      Effect.gen(function* () {
        if (flags.top < 0 || flags.top > 10_000) {
          return yield* new UsageError({
            reason: "BadValue",
            message: `cannot use --top ${flags.top}: expected 0 to 10000`
          })
        }
        const image = yield* Source.load(flags.source, yield* Flags.sourceOptions(flags))
        const found = yield* withProgress(inspect(image, { top: flags.top }))
        switch (flags.format) {
          case "json":
            return yield* Output.printJson({ tool: "tallyman", version, ...InspectionText.json(found) })
          case "table":
            return yield* Output.printLine(InspectionText.table(found, Output.columns()))
          case "text":
            return yield* Output.printLine(InspectionText.text(found))
        }
      }).pipe(Effect.scoped, Threads.provide(flags.jobs))
    )
  )

export const command = make("inspect")

/** The older tool's name for it. */
export const alias = make("info")
