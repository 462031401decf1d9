import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as GraphRewrite from "../layout/GraphRewrite.ts"
import type { Depth } from "../layout/Verifier.ts"
import * as Opener from "../pipeline/Opener.ts"
import * as Pipeline from "../pipeline/Pipeline.ts"
import * as Summary from "../pipeline/Summary.ts"
import * as Uri from "../pipeline/Uri.ts"
import * as FilterText from "../report/FilterText.ts"
import * as Json from "../report/Json.ts"
import * as Text from "../report/Text.ts"
import { version } from "../version.ts"
import * as Filter from "./Filter.ts"
import type { Topic } from "./Help.ts"
import * as Flags from "./Options.ts"
import * as Output from "./Output.ts"
import { withProgress } from "./Progress.ts"
import * as Threads from "./Threads.ts"

interface VerifyFlags {
  readonly verify: boolean
  readonly noVerify: boolean
  readonly verifyFull: boolean
}

/** On by default; --verify-full implies --verify; asking for both yes and no is a mistake to be told about. */
const depthOf = (flags: VerifyFlags): Effect.Effect<Depth | undefined, Uri.UsageError> => {
  if (flags.noVerify && (flags.verify || flags.verifyFull)) {
    return Effect.fail(
      new Uri.UsageError({
        reason: "BadValue",
        message: `cannot use --no-verify together with ${flags.verifyFull ? "--verify-full" : "--verify"}`
      })
    )
  }
  return Effect.succeed(flags.noVerify ? undefined : flags.verifyFull ? "full" : "fast")
}

export const topic: Topic = {
  usage: "process SOURCE DESTINATION",
  summary: "Move an image from one form at rest to another, and prove that what was written is complete and right"
}

export const command = Command.make("process", {
  source: Args.text({ name: "SOURCE" }).pipe(
    Args.withDescription(
      "Where the image is: tar://PATH, dir://PATH or oci-layout://PATH[:REF], each with ?image=NAME:TAG or ?index=N"
    )
  ),
  destination: Args.text({ name: "DESTINATION" }).pipe(
    Args.withDescription(
      "Where to write it: dir://PATH[?unique_names=true&expand=true], tar://PATH[?format=hybrid|docker|oci], oci-layout://PATH[:REF], oci://PATH or mounts://PATH; the second and third also take compression=none|gzip|zstd, level=N and media_types=oci|docker"
    )
  ),
  filters: Filter.option,
  verify: Options.boolean("verify").pipe(
    Options.withDescription("Verify what was written: existence, sizes, JSON, references. This is the default")
  ),
  noVerify: Options.boolean("no-verify").pipe(Options.withDescription("Verify nothing")),
  verifyFull: Options.boolean("verify-full").pipe(
    Options.withDescription("Verify by reading back every byte that was written")
  ),
  append: Options.boolean("append").pipe(
    Options.withDescription("Keep the images that the archive at tar://PATH holds")
  ),
  allPlatforms: Options.boolean("all-platforms").pipe(
    Options.withDescription(
      "Copy the whole index, every platform of it, byte for byte but for what filters change (oci-layout:// or tar:// with an index.json to oci-layout:// or tar://PATH?format=oci)"
    )
  ),
  referrers: Options.boolean("referrers").pipe(
    Options.withDescription(
      "Copy the whole index and what refers to it, by subject or by tag (sha256-....sig): signatures, SBOMs, attestations. Those of an image that filters change are left out"
    )
  ),
  ...Flags.platform,
  format: Flags.format,
  jobs: Flags.jobs,
  tempDirectory: Flags.tempDirectory,
  ...Flags.settings
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler((flags) =>
    Effect.gen(function* () {
      const depth = yield* depthOf(flags)
      const settings = yield* Flags.loadSettings(flags)
      const platform = yield* Flags.wantedPlatform(flags)
      const reading = {
        ...settings,
        ...(yield* Flags.temporary(flags.tempDirectory))
      }
      const filters = yield* Filter.parse(flags.filters, yield* Opener.make(reading))
      const source = yield* Uri.parse(flags.source)
      const destination = yield* Uri.parse(flags.destination)
      const started = performance.now()
      const processed = yield* withProgress(
        Pipeline.process({
          source,
          destination,
          filters,
          verify: depth,
          ...reading,
          append: flags.append,
          allPlatforms: flags.allPlatforms,
          referrers: flags.referrers,
          ...(platform === undefined ? {} : { platform })
        })
      )
      const results = processed.verification?.results
      const verifyErrors = results?.errorCount ?? 0
      const { images } = processed.counts
      // An error of what all of them have in common is in no verdict.
      const wrong = verifyErrors === 0 ? 0 : Math.max(1, processed.verification!.images.filter(({ ok }) => !ok).length)
      const summary: Summary.Summary = {
        ...processed.counts,
        succeeded: images,
        bytes: processed.layerBytes,
        seconds: (performance.now() - started) / 1000,
        verified: results === undefined ? undefined : Math.max(0, images - wrong),
        verifyErrors
      }
      if (flags.format === "json") {
        yield* Output.printJson({
          tool: "tallyman",
          version,
          source: source.text,
          destination: destination.text,
          image: processed.receipt.image,
          names: processed.receipt.names,
          filters: processed.reports.map((report, index) =>
            FilterText.toJson(processed.receipt.filters[index]!, report)
          ),
          left_out: processed.leftOut.map(({ digest, mediaType, subject }) => ({
            digest,
            media_type: mediaType,
            subject
          })),
          images: summary.images,
          artifacts: summary.artifacts,
          layers: summary.layers,
          bytes: summary.bytes,
          seconds: Number(summary.seconds.toFixed(3)),
          depth: depth ?? null,
          verification: results === undefined ? null : Json.resultsToJson(results)
        })
        yield* Output.printError(Summary.format(summary))
      } else {
        const told = [
          ...FilterText.all(processed.receipt.filters, processed.reports),
          ...processed.leftOut.map((one) => Text.safe(GraphRewrite.describe(one)))
        ]
        if (told.length > 0) yield* Output.printLine(told.join("\n"))
        const listed = results === undefined ? "" : Text.findings(results, { colour: Output.colour(process.stdout) })
        if (listed !== "") yield* Output.printLine(listed)
        yield* Output.printLine(Summary.format(summary))
      }
      if (verifyErrors > 0) return yield* new Output.VerificationFailed({ errorCount: verifyErrors })
    }).pipe(Effect.scoped, Threads.provide(flags.jobs))
  )
)
