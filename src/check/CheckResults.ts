import * as Schema from "effect/Schema"
import { type Detail, Finding, type Severity } from "./Finding.ts"

/** Something that was not checked, and why. */
export class Skipped extends Schema.Class<Skipped>("tallyman/Skipped")({
  check: Schema.String,
  reason: Schema.String
}) {}

/**
 * What a verification found, what it checked and what it could not check. Immutable; `combine` is associative and
 * `CheckResults.empty` is its identity, so that results of parts can be put together in any grouping.
 */
export class CheckResults extends Schema.Class<CheckResults>("tallyman/CheckResults")({
  results: Schema.Array(Finding),
  /** Ids of the checks that ran, each once, in the order in which they first ran. */
  checked: Schema.Array(Schema.String),
  skipped: Schema.Array(Skipped)
}) {
  static readonly empty: CheckResults = new CheckResults({ results: [], checked: [], skipped: [] })

  static error(check: string, subject: string, message: string, detail: Detail = {}): CheckResults {
    return CheckResults.of(finding("error", check, subject, message, detail))
  }

  static warning(check: string, subject: string, message: string, detail: Detail = {}): CheckResults {
    return CheckResults.of(finding("warning", check, subject, message, detail))
  }

  static info(check: string, subject: string, message: string, detail: Detail = {}): CheckResults {
    return CheckResults.of(finding("info", check, subject, message, detail))
  }

  /** The results of one check that reported `one`. */
  static of(one: Finding): CheckResults {
    return new CheckResults({ results: [one], checked: [one.check], skipped: [] })
  }

  /** A check that ran and found nothing. */
  static passed(check: string): CheckResults {
    return new CheckResults({ results: [], checked: [check], skipped: [] })
  }

  static skipped(check: string, reason: string): CheckResults {
    return new CheckResults({ results: [], checked: [], skipped: [new Skipped({ check, reason })] })
  }

  static combineAll(all: Iterable<CheckResults>): CheckResults {
    let combined = CheckResults.empty
    for (const one of all) combined = combined.combine(one)
    return combined
  }

  combine(that: CheckResults): CheckResults {
    if (this === CheckResults.empty) return that
    if (that === CheckResults.empty) return this
    return new CheckResults(
      {
        results: [...this.results, ...that.results],
        checked: [...new Set([...this.checked, ...that.checked])],
        skipped: distinct([...this.skipped, ...that.skipped])
      },
      { disableValidation: true }
    )
  }

  get hasErrors(): boolean {
    return this.results.some((one) => one.severity === "error")
  }

  get errorCount(): number {
    return this.count("error")
  }

  get warningCount(): number {
    return this.count("warning")
  }

  get infoCount(): number {
    return this.count("info")
  }

  private count(severity: Severity): number {
    return this.results.reduce((sum, one) => (one.severity === severity ? sum + 1 : sum), 0)
  }
}

export const finding = (
  severity: Severity,
  check: string,
  subject: string,
  message: string,
  detail: Detail = {}
): Finding =>
  new Finding(
    {
      severity,
      check,
      message,
      subject,
      ...(detail.expected === undefined ? {} : { expected: String(detail.expected) }),
      ...(detail.actual === undefined ? {} : { actual: String(detail.actual) })
    },
    { disableValidation: true }
  )

const distinct = (skipped: ReadonlyArray<Skipped>): ReadonlyArray<Skipped> => [
  ...new Map(skipped.map((one) => [`${one.check}\0${one.reason}`, one])).values()
]
