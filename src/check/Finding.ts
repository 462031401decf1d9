import * as Schema from "effect/Schema"

/** `error`: the output is wrong or a MUST is broken. `warning`: a SHOULD, or something to look at. `info`: good to know. */
export const Severity = Schema.Literal("error", "warning", "info")
export type Severity = typeof Severity.Type

/** One fact that a check reports about one subject. */
export class Finding extends Schema.Class<Finding>("tallyman/Finding")({
  severity: Severity,
  /** A catalogue id, `family.name`. */
  check: Schema.String,
  /** One line. */
  message: Schema.String,
  /** What it is about: a file in the output, a blob, an image, an entry of a layer. */
  subject: Schema.String,
  expected: Schema.optionalWith(Schema.String, { exact: true }),
  actual: Schema.optionalWith(Schema.String, { exact: true })
}) {}

export interface Detail {
  readonly expected?: string | number | undefined
  readonly actual?: string | number | undefined
}
