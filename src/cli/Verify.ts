import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Depth, Verification } from "../layout/Verifier.ts"
import * as Against from "../pipeline/Against.ts"
import * as Layouts from "../pipeline/Layouts.ts"
import { UsageError } from "../pipeline/Uri.ts"
import * as Json from "../report/Json.ts"
import * as RepairText from "../report/RepairText.ts"
import * as Text from "../report/Text.ts"
import { type Tolerance, tolerances } from "../rootfs/Tolerance.ts"
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
    Args.withDescription(
      "What to audit: a path, whose layout is detected, or dir://, tar://, oci-layout://, oci:// or mounts://"
    )
  ),
  full: Options.boolean("full").pipe(
    Options.withDescription(
      "Read every byte: digests, diff_ids, decompression, tar, every file of an unpacked tree. Without it: existence, sizes, JSON, references"
    )
  ),
  tolerate: Options.choice("tolerate", toleranceNames).pipe(
    Options.repeated,
    Options.withDescription(
      "A kind of difference of an unpacked tree to put up with, for example runtime-files after a container ran in it; may be given often"
    )
  ),
  against: Options.text("against").pipe(
    Options.withPseudoName("SOURCE"),
    Options.optional,
    Options.withDescription(
      "Also verify that TARGET is exactly this image, in whatever form each of them is: config, layers, and every file of an unpacked tree; of several images in SOURCE the one that TARGET is, or else the one for its platform"
    )
  ),
  repair: Options.text("repair").pipe(
    Options.withPseudoName("SOURCE"),
    Options.optional,
    Options.withDescription(
      "Fetch what is damaged or missing again from another copy of the same image, and verify again; implies --full"
    )
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("With --repair: say what would be done, and change nothing")
  ),
  format: Flags.format,
  jobs: Flags.jobs,
  tempDirectory: Flags.tempDirectory,
  ...Flags.settings
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ against, dryRun, format, full, jobs, repair, target, tempDirectory, tolerate, ...flags }) =>
    Effect.gen(function* () {
      const settings = yield* Flags.loadSettings(flags)
      const problem = conflict({ against, dryRun, repair })
      if (problem !== undefined) return yield* new UsageError({ reason: "BadValue", message: problem })
      const opening = { limits: settings.limits, ...(yield* Flags.temporary(tempDirectory)) }
      const uri = yield* Layouts.locate(target)
      const options = { ...opening, policy: settings.policy }
      const show = (verification: Verification, depth: Depth, told: Told) =>
        Effect.gen(function* () {
          const report = { target, layout: uri.scheme, depth, ...verification }
          const colour = Output.colour(process.stdout)
          yield* format === "json"
            ? Output.printJson({ ...Json.toJson(report), ...told.json })
            : Output.printLine([...told.text({ colour }), Text.toText(report, { colour })].join("\n"))
          if (report.results.hasErrors)
            return yield* new Output.VerificationFailed({ errorCount: report.results.errorCount })
        })
      if (Option.isSome(repair)) {
        // It knows how every layout is written: too much to load for a look at one.
        const Repair = yield* Effect.promise(() => import("../pipeline/Repair.ts"))
        const done = yield* withProgress(
          Repair.repair(uri, yield* Layouts.locate(repair.value), { ...options, dryRun, tolerances: tolerate })
        )
        return yield* show(done.after, "full", {
          json: RepairText.json(done, dryRun),
          text: (textOptions) => RepairText.text(done, dryRun, textOptions)
        })
      }
      const depth = full ? ("full" as const) : ("fast" as const)
      if (Option.isSome(against)) {
        const source = yield* Layouts.locate(against.value)
        const verification = yield* withProgress(
          Against.verify(uri, source, { ...options, depth, tolerances: tolerate })
        )
        return yield* show(verification, depth, { json: { against: against.value }, text: () => [] })
      }
      const verifier = yield* withProgress(Layouts.openTarget(uri, opening))
      yield* show(yield* withProgress(verifier.verify({ depth, tolerances: tolerate, ...settings })), depth, {
        json: {},
        text: () => []
      })
    }).pipe(Effect.scoped, Threads.provide(jobs))
  )
)

/** What a report is shown with. */
interface Told {
  readonly json: Readonly<Record<string, unknown>>
  readonly text: (options: Text.TextOptions) => ReadonlyArray<string>
}

/** Why flags cannot be meant together, or undefined. */
const conflict = (flags: {
  readonly against: Option.Option<string>
  readonly dryRun: boolean
  readonly repair: Option.Option<string>
}): string | undefined => {
  if (Option.isNone(flags.repair))
    return flags.dryRun ? "cannot use --dry-run: expected --repair SOURCE with it" : undefined
  return Option.isSome(flags.against)
    ? "cannot use --against with --repair: a repair takes the very same image only"
    : undefined
}
