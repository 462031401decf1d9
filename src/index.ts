/**
 * tallyman as a library. Two effects do what the two commands do:
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { processImage, verify, WorkerPool } from "tallyman"
 *
 * const program = Effect.gen(function* () {
 *   yield* processImage("tar://image.tar", "dir://out", { verify: "full" })
 *   const { results } = yield* verify("out", { depth: "full" })
 *   return results.hasErrors
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(WorkerPool.layer())))
 * ```
 *
 * What was found wrong is a value, `CheckResults`. The error channel says that something could not be done: the image
 * could not be read (`SourceError`), changed by a filter (`FilterError`) or written (`WriteError`), or that a URI could
 * not be meant (`UsageError`).
 *
 * `tallyman/testing` has images to test with, and ways to damage them.
 */
import * as Effect from "effect/Effect"
import type * as Policy from "./check/Policy.ts"
import type { WorkerPool } from "./content/WorkerPool.ts"
import type { FilterError } from "./filter/Filter.ts"
import type { SourceError, WriteError } from "./layout/Failure.ts"
import type { Limits } from "./layout/Limits.ts"
import type { Depth } from "./layout/Verifier.ts"
import * as Against from "./pipeline/Against.ts"
import * as Layouts from "./pipeline/Layouts.ts"
import * as Pipeline from "./pipeline/Pipeline.ts"
import * as Repair from "./pipeline/Repair.ts"
import * as Uri from "./pipeline/Uri.ts"
import type { Report } from "./report/Report.ts"

/** What `verify` may be told. */
export interface VerifyTargetOptions {
  /** `fast`, the default: existence, sizes, JSON, references. `full`: every byte as well. */
  readonly depth?: Depth
  /** Where compressed archives are unpacked to while they are read; the system's by default. */
  readonly tempDirectory?: string
  /** How much a layer may unpack to before it is given up, how many members an archive may have, findings are listed. */
  readonly limits?: Limits
  /** Severities that differ from the catalogue's: `Policy.policyOf.strict`, or check by check. */
  readonly policy?: Policy.Policy
  /** A path or URI: also verify that `target` is exactly this image, in whatever form each of them is. */
  readonly against?: string
}

/**
 * Audits what any tool wrote: `target` is a path, whose layout is detected, or a URI such as `oci-layout://PATH`. Fails
 * only when there is nothing that could be audited; whatever is wrong with what is there is in the report.
 */
export const verify = (
  target: string,
  options: VerifyTargetOptions = {}
): Effect.Effect<Report, Uri.UsageError | SourceError, WorkerPool> =>
  Effect.gen(function* () {
    const { against, depth = "fast", policy, ...opening } = options
    const uri = yield* Layouts.locate(target)
    if (against !== undefined) {
      const judged = { depth, ...opening, ...(policy === undefined ? {} : { policy }) }
      const verification = yield* Against.verify(uri, yield* Layouts.locate(against), judged)
      return { target, layout: uri.scheme, depth, ...verification }
    }
    const verifier = yield* Layouts.openTarget(uri, opening)
    const verification = yield* verifier.verify({
      depth,
      ...(opening.limits === undefined ? {} : { limits: opening.limits }),
      ...(policy === undefined ? {} : { policy })
    })
    return { target, layout: uri.scheme, depth, ...verification }
  }).pipe(Effect.scoped, Effect.withSpan("tallyman.verify"))

/**
 * Verifies `target` at full depth unless told otherwise, fetches what is damaged from `source`, another copy of the same
 * image in any layout, and verifies again; with `dryRun` it only says what it would do. Fails, having changed nothing, when
 * `source` is another image or damaged itself.
 */
export const repair = (
  target: string,
  source: string,
  options: Repair.RepairOptions = {}
): Effect.Effect<Repair.Repaired, Uri.UsageError | SourceError | WriteError, WorkerPool> =>
  Effect.gen(function* () {
    return yield* Repair.repair(yield* Layouts.locate(target), yield* Layouts.locate(source), options)
  }).pipe(Effect.scoped, Effect.withSpan("tallyman.repair"))

/** What `processImage` may be told. */
export interface ProcessImageOptions extends Omit<Pipeline.ProcessOptions, "source" | "destination" | "verify"> {
  /** How deep what was written is verified: `fast` by default, or not at all. */
  readonly verify?: Depth | "none"
}

/**
 * Moves one image from one form at rest to another, both named by URIs, and verifies what was written. When it succeeds,
 * `verification` says whether that is right; with `verify: "none"` it is undefined.
 */
export const processImage = (
  source: string,
  destination: string,
  options: ProcessImageOptions = {}
): Effect.Effect<Pipeline.Processed, Uri.UsageError | SourceError | FilterError | WriteError, WorkerPool> =>
  Effect.gen(function* () {
    const { verify: depth = "fast", ...opening } = options
    return yield* Pipeline.process({
      source: yield* Uri.parse(source),
      destination: yield* Uri.parse(destination),
      verify: depth === "none" ? undefined : depth,
      ...opening
    })
  }).pipe(Effect.scoped, Effect.withSpan("tallyman.processImage"))

/** Every check there is, with its severity, the clause it rests on, and what to do. */
export * as Catalog from "./check/Catalog.ts"
export type { CatalogEntry } from "./check/CatalogEntry.ts"
export { CheckResults, Skipped } from "./check/CheckResults.ts"
export { type Detail, Finding, Severity } from "./check/Finding.ts"
/** Severities as a whole or check by check. */
export * as Policy from "./check/Policy.ts"
export type { DecoderLimits } from "./content/Compression.ts"
/** The threads that read and hash; provide `WorkerPool.layer()` once. */
export { WorkerPool, type WorkerPoolOptions } from "./content/WorkerPool.ts"
/** What two images differ in. */
export * as Diff from "./filter/Diff.ts"
/** What a filter is; `Filter.applyAll` applies a chain of them to an image. */
export * as Filter from "./filter/Filter.ts"
/** The filters there are: `Filters.parse("exclude:pattern=*.pyc")`. */
export * as Filters from "./filter/Filters.ts"
/** All there is to say about an image. */
export * as Inspection from "./filter/Inspection.ts"
/** Where in the layers a path is. */
export * as Search from "./filter/Search.ts"
export * as Digest from "./image/Digest.ts"
export type * as Image from "./image/Image.ts"
export * as ImageConfig from "./image/ImageConfig.ts"
/** How large a JSON document may be, for the whole process. */
export { type JsonLimits, setLimits as setJsonLimits } from "./image/Json.ts"
export * as MediaType from "./image/MediaType.ts"
export * as Platform from "./image/Platform.ts"
export * as Reference from "./image/Reference.ts"
export type { Region } from "./image/Region.ts"
export { SourceError, WriteError } from "./layout/Failure.ts"
export type { LeftOut } from "./layout/GraphRewrite.ts"
export { type Candidate, choose, ImageSource, matching, type Selector } from "./layout/ImageSource.ts"
export { ImageWriter, type WriteOptions } from "./layout/ImageWriter.ts"
export type { Limits } from "./layout/Limits.ts"
/** The in-toto Statement that is stored beside what was written. */
export * as Receipt from "./layout/Receipt.ts"
export { type Depth, type Verdict, type Verification, Verifier, type VerifyOptions } from "./layout/Verifier.ts"
/** From URIs to sources, writers and verifiers, for more than the two effects above do. */
export * as Layouts from "./pipeline/Layouts.ts"
/** What `Filters.parse` needs for `rebase`: `{ open: yield* Opener.make() }`. */
export * as Opener from "./pipeline/Opener.ts"
export type { Processed } from "./pipeline/Pipeline.ts"
export type { Repaired, RepairOptions } from "./pipeline/Repair.ts"
export * as Summary from "./pipeline/Summary.ts"
/** `scheme://PATH[?option=value&...]`. */
export * as Uri from "./pipeline/Uri.ts"
export * as JsonReport from "./report/Json.ts"
export type { Report } from "./report/Report.ts"
export * as TextReport from "./report/Text.ts"
export { version } from "./version.ts"
