import { type CheckId, catalog } from "./Catalog.ts"
import { CheckResults, finding, Skipped } from "./CheckResults.ts"
import type { Detail, Finding } from "./Finding.ts"
import type { Policy } from "./Policy.ts"

/** Findings of one check about one subject that are listed: a hostile document can break the same rule a million times. */
const maxAlike = 200

/** Gathers findings while one verification runs; the severity comes from the catalogue unless a policy changes it. */
export class Collector {
  readonly #policy: Policy
  readonly #results: Array<Finding> = []
  readonly #told = new Set<string>()
  /** How many findings a check has about a subject. */
  readonly #counts = new Map<string, number>()
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
    const pair = `${check}\0${subject}`
    const count = this.#counts.get(pair) ?? 0
    if (count >= maxAlike) {
      this.#counts.set(pair, count + 1)
      return
    }
    const key = `${pair}\0${message}\0${detail.expected}\0${detail.actual}`
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#counts.set(pair, count + 1)
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

  /** One finding for all those of a kind that are not listed. */
  #unlisted(): ReadonlyArray<Finding> {
    return [...this.#counts].flatMap(([pair, count]) => {
      if (count <= maxAlike) return []
      const [check, subject] = pair.split("\0") as [CheckId, string]
      const severity = this.#policy[check] ?? catalog[check].severity
      return severity === "ignore"
        ? []
        : [finding(severity, check, subject, `and ${count - maxAlike} more of these, which are not listed`)]
    })
  }

  results(): CheckResults {
    return new CheckResults(
      {
        results: [...this.#results, ...this.#unlisted()],
        checked: [...this.#checked],
        skipped: [...this.#skipped.values()]
      },
      { disableValidation: true }
    )
  }
}
