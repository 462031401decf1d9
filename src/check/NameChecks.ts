/** Names of properties that readers tell apart or do not (image-spec considerations.md; rule 2). */
import * as Json from "../image/Json.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"

/** Every id that looking at names can report. */
export const nameChecks: ReadonlyArray<CheckId> = ["json.ambiguous-name", "json.name-case"]

/**
 * Reports names in an object that differ from one of its `known` properties in case only; `field` is its place, "" at the
 * top.
 */
export const checkNames = (
  value: Readonly<Record<string, unknown>>,
  known: ReadonlyArray<string>,
  field: string,
  subject: string,
  report: Collector
): void => {
  const prefix = field === "" ? "" : `${field}.`
  const seen = new Map<string, string>()
  for (const [name, property] of Json.caseVariants(value, known)) {
    const other = value[property] !== undefined ? property : seen.get(property)
    seen.set(property, name)
    report.report(
      other === undefined ? "json.name-case" : "json.ambiguous-name",
      subject,
      other === undefined
        ? `${prefix}${name} differs from the property ${property} in case only`
        : `${prefix}${name} differs from ${other} in case only, and both are there`,
      { expected: property, actual: name }
    )
  }
}
