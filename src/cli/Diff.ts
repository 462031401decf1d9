import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { diff } from "../filter/Diff.ts"
import * as DiffText from "../report/DiffText.ts"
import { version } from "../version.ts"
import type { Topic } from "./Help.ts"
import * as Flags from "./Options.ts"
import * as Output from "./Output.ts"
import { withProgress } from "./Progress.ts"
import * as Source from "./Source.ts"
import * as Threads from "./Threads.ts"

export const topic: Topic = {
  usage: "diff A B",
  summary: "Compare two images: config, layers, and file by file what the layers make; exit 1 when they differ"
}

export const command = Command.make("diff", {
  a: Args.text({ name: "A" }).pipe(
    Args.withDescription(
      "An image: a path, whose layout is detected, or a URI as for process; also a bundle, oci://PATH, or mounts://PATH while it is mounted"
    )
  ),
  b: Args.text({ name: "B" }).pipe(Args.withDescription("The image to compare it with")),
  ...Flags.platform,
  format: Flags.format,
  jobs: Flags.jobs,
  tempDirectory: Flags.tempDirectory,
  ...Flags.reading
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler((flags) =>
    Effect.gen(function* () {
      const options = yield* Flags.sourceOptions(flags)
      const a = yield* Source.loadSide(flags.a, options)
      const b = yield* Source.loadSide(flags.b, options)
      const found = yield* withProgress(diff(a, b))
      yield* flags.format === "json"
        ? Output.printJson({
            tool: "tallyman",
            version,
            a_source: a.source,
            b_source: b.source,
            ...DiffText.json(found)
          })
        : Output.printLine(DiffText.text(found))
      if (!found.same) {
        const files = Object.values(found.counts).reduce((sum, count) => sum + count, 0)
        return yield* new Output.VerificationFailed({ errorCount: Math.max(1, found.config.length + files) })
      }
    }).pipe(Effect.scoped, Threads.provide(flags.jobs))
  )
)
