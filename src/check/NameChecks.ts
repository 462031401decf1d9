/** Names of properties that readers tell apart or do not (image-spec considerations.md; rule 2). */
import * as Json from "../image/Json.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"

/** Every id that looking at names can report. */
export const nameChecks: ReadonlyArray<CheckId> = ["json.ambiguous-name", "json.name-case"]

/** Reports names in an object that differ from one of its `known` properties in case only; `field` is its place, "" at the top. */
export const checkNames = (
  value: Readonly<Record<string, unknown>>,
  known: ReadonlyArray<string>,
  field: string,
  subject: string,
  report: Collector
): void => {
  const prefix = field === "" ? "" : `${field}.`
  for (const [name, property] of Json.caseVariants(value, known)) {
    const there = value[property] !== undefined
    report.report(
      there ? "json.ambiguous-name" : "json.name-case",
      subject,
      there
        ? `${prefix}${name} differs from ${property} in case only, and both are there`
        : `${prefix}${name} differs from the property ${property} in case only`,
      { expected: property, actual: name }
    )
  }
}
