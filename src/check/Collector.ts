import { catalog, type CheckId } from "./Catalog.ts"
import { CheckResults, finding, Skipped } from "./CheckResults.ts"
import type { Detail, Finding } from "./Finding.ts"
import type { Policy } from "./Policy.ts"

/** Gathers findings while one verification runs; the severity comes from the catalogue unless a policy changes it. */
export class Collector {
  readonly #policy: Policy
  readonly #results: Array<Finding> = []
  readonly #told = new Set<string>()
  readonly #checked = new Set<string>()
  readonly #skipped = new Map<string, Skipped>()

  constructor(policy: Policy = {}) {
    this.#policy = policy
  }

  /** Reports a finding, the same one once; that its check ran is implied. */
  report(check: CheckId, subject: string, message: string, detail: Detail = {}): void {
    const severity = this.#policy[check] ?? catalog[check].severity
    if (severity === "ignore") {
      this.skip(check, "findings of it are to be ignored")
      return
    }
    this.#checked.add(check)
    const key = [check, subject, message, detail.expected, detail.actual].join("\0")
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#results.push(finding(severity, check, subject, message, detail))
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
