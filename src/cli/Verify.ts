import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Layouts from "../pipeline/Layouts.ts"
import * as Json from "../report/Json.ts"
import * as Text from "../report/Text.ts"
import type { Topic } from "./Help.ts"
import * as Flags from "./Options.ts"
import * as Output from "./Output.ts"
import { withProgress } from "./Progress.ts"
import * as Threads from "./Threads.ts"

export const topic: Topic = {
  usage: "verify TARGET",
  summary: "Audit what any tool wrote, and report everything that is wrong with it"
}

export const command = Command.make("verify", {
  target: Args.text({ name: "TARGET" }).pipe(
    Args.withDescription("What to audit: a path, whose layout is detected, or dir://, tar:// or oci-layout://")
  ),
  full: Options.boolean("full").pipe(
    Options.withDescription("Read every byte: digests, diff_ids, decompression, tar. Without it: existence, sizes, JSON, references")
  ),
  format: Flags.format,
  jobs: Flags.jobs,
  tempDirectory: Flags.tempDirectory,
  ...Flags.settings
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ format, full, jobs, target, tempDirectory, ...flags }) =>
    Effect.gen(function*() {
      const settings = yield* Flags.loadSettings(flags)
      const uri = yield* Layouts.locate(target)
      const depth = full ? "full" as const : "fast" as const
      const verifier = yield* Layouts.openVerifier(uri, {
        limits: settings.limits,
        ...(Option.isSome(tempDirectory) ? { tempDirectory: tempDirectory.value } : {})
      })
      const verification = yield* withProgress(verifier.verify({ depth, ...settings }))
      const report = { target, layout: uri.scheme, depth, ...verification }
      yield* format === "json"
        ? Output.printJson(Json.toJson(report))
        : Output.printLine(Text.toText(report, { colour: Output.colour(process.stdout) }))
      if (report.results.hasErrors) return yield* new Output.VerificationFailed({ errorCount: report.results.errorCount })
    }).pipe(Effect.scoped, Threads.provide(jobs))
  )
)
