/** What a filter is: a function from a valid image to a valid image, with an account of what it did. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { WorkerPool } from "../content/WorkerPool.ts"
import type * as Image from "../image/Image.ts"
import type { Report } from "./Report.ts"

/** A filter could not be made or applied. */
export class FilterError extends Schema.TaggedError<FilterError>()("FilterError", {
  /**
   * `Usage`: no such filter or option, or a value it cannot have. `Unreadable`: the system refuses a layer, or another
   * image cannot be had. `Damaged`: a layer is not what the config says, or no tar that can be edited. `Mismatch`: the
   * image does not go together with another one. `Unwritable`: a file the filter writes. `Unsupported`: a diff_id of
   * an algorithm that cannot be computed.
   */
  reason: Schema.Literal("Usage", "Unreadable", "Damaged", "Mismatch", "Unwritable", "Unsupported"),
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

/** For the receipt: what was applied, and the image IDs before and after. */
export interface AppliedFilter {
  readonly name: string
  readonly options: Readonly<Record<string, unknown>>
  readonly before: string
  readonly after: string
  /** Where several images were filtered, which one: the digest of its manifest in the source, and its platform. */
  readonly manifest?: string
  readonly platform?: string
  /** The IDs of other images that went into it, by the option that names each. */
  readonly inputs?: Readonly<Record<string, string>>
}

export interface Filtered {
  /** The very same one when nothing changed. */
  readonly image: Image.Image
  readonly applied: AppliedFilter
  readonly report: Report
}

export interface Filter {
  readonly name: string
  /** As they are in force, defaults filled in. */
  readonly options: Readonly<Record<string, unknown>>
  readonly apply: (image: Image.Image) => Effect.Effect<Filtered, FilterError, WorkerPool>
}

/** What a filter makes of an image. */
export interface Made {
  readonly image: Image.Image
  readonly report: Report
  readonly inputs?: NonNullable<AppliedFilter["inputs"]>
}

/** A filter from its name, its options, and what it does to an image. */
export const make = (
  name: string,
  options: Readonly<Record<string, unknown>>,
  run: (image: Image.Image) => Effect.Effect<Made, FilterError, WorkerPool>
): Filter => ({
  name,
  options,
  apply: Effect.fn(`Filter.${name}`)(function* (image: Image.Image) {
    const { image: next, inputs, report } = yield* run(image)
    const ids = { before: image.config.digest, after: next.config.digest }
    return { image: next, report, applied: { name, options, ...ids, ...(inputs === undefined ? {} : { inputs }) } }
  })
})

/** What a whole chain did. */
export interface Chained {
  readonly image: Image.Image
  readonly applied: ReadonlyArray<AppliedFilter>
  readonly reports: ReadonlyArray<Report>
}

/** Applies filters one after the other. */
export const applyAll = Effect.fn("Filter.applyAll")(function* (filters: ReadonlyArray<Filter>, image: Image.Image) {
  let current = image
  const applied: Array<AppliedFilter> = []
  const reports: Array<Report> = []
  for (const filter of filters) {
    const done = yield* filter.apply(current)
    current = done.image
    applied.push(done.applied)
    reports.push(done.report)
  }
  return { image: current, applied, reports } satisfies Chained
})
