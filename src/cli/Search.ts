import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { imageName, patternFault, search } from "../filter/Search.ts"
import { UsageError } from "../pipeline/Uri.ts"
import * as FilterText from "../report/FilterText.ts"
import { version } from "../version.ts"
import type { Topic } from "./Help.ts"
import * as Flags from "./Options.ts"
import * as Output from "./Output.ts"
import { withProgress } from "./Progress.ts"
import * as Source from "./Source.ts"
import * as Threads from "./Threads.ts"

export const topic: Topic = {
  usage: "search SOURCE PATTERN",
  summary: "Find files in an image's layers, with what became of them in the layers above"
}

export const command = Command.make("search", {
  source: Args.text({ name: "SOURCE" }).pipe(
    Args.withDescription("Where the image is: a path, whose layout is detected, or a URI as for process")
  ),
  pattern: Args.text({ name: "PATTERN" }).pipe(
    Args.withDescription("A shell pattern over whole paths or file names; * matches slashes too")
  ),
  regex: Options.boolean("regex").pipe(
    Options.withDescription("PATTERN is a regular expression, found anywhere in a path")
  ),
  scriptFriendly: Options.boolean("script-friendly").pipe(
    Options.withDescription("One line for each match and nothing else: image:tag:layer:path")
  ),
  ...Flags.platform,
  format: Flags.format,
  jobs: Flags.jobs,
  tempDirectory: Flags.tempDirectory,
  ...Flags.reading
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler((flags) =>
    Effect.gen(function* () {
      const pattern = { pattern: flags.pattern, regex: flags.regex }
      const fault =
        flags.scriptFriendly && flags.format === "json"
          ? "cannot use --script-friendly with --format json: each is a form of its own"
          : patternFault(pattern)
      if (fault !== undefined) return yield* new UsageError({ reason: "BadValue", message: fault })
      const image = yield* Source.load(flags.source, yield* Flags.sourceOptions(flags))
      const layers = yield* withProgress(search(image, pattern))
      if (flags.format === "json") {
        return yield* Output.printJson({
          tool: "tallyman",
          version,
          source: image.source,
          image: imageName(image),
          id: image.config.digest,
          pattern: flags.pattern,
          regex: flags.regex,
          matches: FilterText.searchJson(layers),
          problems: layers.flatMap(({ index, problems }) => problems.map((message) => ({ layer: index, message })))
        })
      }
      if (!flags.scriptFriendly) return yield* Output.printLine(FilterText.searchText(layers).join("\n"))
      for (const { index, problems } of layers) {
        for (const problem of problems) yield* Output.printError(`tallyman: layer ${index} is damaged: ${problem}`)
      }
      const lines = FilterText.searchScript(imageName(image), layers)
      if (lines.length > 0) yield* Output.printLine(lines.join("\n"))
    }).pipe(Effect.scoped, Threads.provide(flags.jobs))
  )
)
