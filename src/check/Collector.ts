import { catalog, type CheckId } from "./Catalog.ts"
import { CheckResults, finding, Skipped } from "./CheckResults.ts"
import type { Detail, Finding } from "./Finding.ts"

/** Gathers findings while one verification runs; the severity comes from the catalogue. */
export class Collector {
  readonly #results: Array<Finding> = []
  readonly #checked = new Set<string>()
  readonly #skipped = new Map<string, Skipped>()

  /** Reports a finding; that its check ran is implied. */
  report(check: CheckId, subject: string, message: string, detail: Detail = {}): void {
    this.#checked.add(check)
    this.#results.push(finding(catalog[check].severity, check, subject, message, detail))
  }

  /** Says that these checks ran, whatever they found. */
  ran(...checks: ReadonlyArray<CheckId>): void {
    for (const check of checks) this.#checked.add(check)
  }

  /** Says that a check could not run on something. */
  skip(check: CheckId, reason: string): void {
    this.#skipped.set(`${check}\0${reason}`, new Skipped({ check, reason }, { disableValidation: true }))
  }

  get errorSubjects(): ReadonlySet<string> {
    return new Set(this.#results.filter((one) => one.severity === "error").map((one) => one.subject))
  }

  results(): CheckResults {
    return new CheckResults({
      results: [...this.#results],
      checked: [...this.#checked],
      skipped: [...this.#skipped.values()]
    }, { disableValidation: true })
  }
}
