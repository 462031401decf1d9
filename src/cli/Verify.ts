import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Layouts from "../pipeline/Layouts.ts"
import { type Tolerance, tolerances } from "../rootfs/Tolerance.ts"
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

const toleranceNames = (Object.keys(tolerances) as Array<Tolerance>).filter((name) => !tolerances[name].always)

export const command = Command.make("verify", {
  target: Args.text({ name: "TARGET" }).pipe(
    Args.withDescription("What to audit: a path, whose layout is detected, or dir://, tar://, oci-layout://, oci:// or mounts://")
  ),
  full: Options.boolean("full").pipe(
    Options.withDescription("Read every byte: digests, diff_ids, decompression, tar, every file of an unpacked tree. Without it: existence, sizes, JSON, references")
  ),
  tolerate: Options.choice("tolerate", toleranceNames).pipe(
    Options.repeated,
    Options.withDescription("A kind of difference of an unpacked tree to put up with, for example runtime-files after a container ran in it; may be given often")
  ),
  format: Flags.format,
  jobs: Flags.jobs,
  tempDirectory: Flags.tempDirectory,
  ...Flags.settings
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ format, full, jobs, target, tempDirectory, tolerate, ...flags }) =>
    Effect.gen(function*() {
      const settings = yield* Flags.loadSettings(flags)
      const uri = yield* Layouts.locate(target)
      const depth = full ? "full" as const : "fast" as const
      const verifier = yield* Layouts.openVerifier(uri, {
        limits: settings.limits,
        ...(Option.isSome(tempDirectory) ? { tempDirectory: tempDirectory.value } : {})
      })
      const verification = yield* withProgress(verifier.verify({ depth, tolerances: tolerate, ...settings }))
      const report = { target, layout: uri.scheme, depth, ...verification }
      yield* format === "json"
        ? Output.printJson(Json.toJson(report))
        : Output.printLine(Text.toText(report, { colour: Output.colour(process.stdout) }))
      if (report.results.hasErrors) return yield* new Output.VerificationFailed({ errorCount: report.results.errorCount })
    }).pipe(Effect.scoped, Threads.provide(jobs))
  )
)
