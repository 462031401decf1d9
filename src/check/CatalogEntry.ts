import type { Severity } from "./Finding.ts"

/** One row of the catalogue. Its id is never reused for another meaning. */
export interface CatalogEntry {
  /** As the specification says it: MUST is an error, SHOULD a warning. */
  readonly severity: Severity
  /** A few words, for lists. */
  readonly title: string
  /** The clause it rests on. */
  readonly spec: string
  /** Numbers of the conformance rules it covers (docs/checks.md). */
  readonly rules: ReadonlyArray<number>
  /** What it means when this is reported. */
  readonly explanation: string
  /** What to do then. */
  readonly remedy: string
}

export type CatalogFamily = Readonly<Record<string, CatalogEntry>>
