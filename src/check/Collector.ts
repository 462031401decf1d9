import { type CheckId, catalog } from "./Catalog.ts"
import { CheckResults, finding, Skipped } from "./CheckResults.ts"
import type { Detail, Finding, Severity } from "./Finding.ts"
import type { Policy } from "./Policy.ts"

/** Findings of one check that are listed: a hostile layout can hold a million files that are wrong. Of all, twice as many. */
const defaultMaxFindings = 10_000

/** Those about one subject are a part of these: a hostile document can break the same rule a million times. */
const alikePart = 50
const leastAlike = 200

const unlisted = "more of these, which are not listed (--max-findings raises how many are)"

/** Gathers findings while one verification runs; the severity comes from the catalogue unless a policy changes it. */
export class Collector {
  readonly #policy: Policy
  readonly #maxOfCheck: number
  readonly #maxAlike: number
  readonly #results: Array<Finding> = []
  readonly #told = new Set<string>()
  /** How many findings a check has about a subject. */
  readonly #counts = new Map<string, number>()
  /** How many findings of a check are listed, and how many are not for want of room. */
  readonly #listed = new Map<CheckId, number>()
  readonly #left = new Map<CheckId, { count: number; readonly subject: string }>()
  /** What errors are counted for, listed or not, and how many each has. */
  readonly #errors = new Map<string, number>()
  readonly #counted = new Set<string>()
  #about: string | undefined
  readonly #checked = new Set<string>()
  readonly #skipped = new Map<string, Skipped>()

  constructor(policy: Policy = {}, maxOfCheck = defaultMaxFindings) {
    this.#policy = policy
    this.#maxOfCheck = maxOfCheck
    this.#maxAlike = Math.max(leastAlike, Math.floor(maxOfCheck / alikePart))
  }

  /**
   * Reports a finding, the same one once; that its check ran is implied. An error is counted for its subject, or for
   * `about`: what only some of the images say about a file that others have too.
   */
  report(check: CheckId, subject: string, message: string, detail: Detail = {}, about = this.#about ?? subject): void {
    const severity = this.#policy[check] ?? catalog[check].severity
    if (severity === "ignore") {
      this.skip(check, "findings of it are to be ignored")
      return
    }
    this.#checked.add(check)
    if (this.#isFull(check)) {
      if (severity === "error") this.#count(about)
      const left = this.#left.get(check)
      if (left === undefined) this.#left.set(check, { count: 1, subject })
      else left.count++
      return
    }
    const pair = `${check}\0${subject}`
    const count = this.#counts.get(pair) ?? 0
    if (count >= this.#maxAlike) {
      this.#counts.set(pair, count + 1)
      if (severity === "error" && about !== subject) this.#count(about)
      return
    }
    const key = `${pair}\0${message}\0${detail.expected}\0${detail.actual}`
    const counted = `${about}\0${key}`
    if (severity === "error" && !this.#counted.has(counted)) {
      this.#counted.add(counted)
      this.#count(about)
    }
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#counts.set(pair, count + 1)
    this.#listed.set(check, (this.#listed.get(check) ?? 0) + 1)
    this.#results.push(finding(severity, check, subject, message, detail))
  }

  #isFull(check: CheckId): boolean {
    return this.#results.length >= 2 * this.#maxOfCheck || (this.#listed.get(check) ?? 0) >= this.#maxOfCheck
  }

  #count(about: string): void {
    this.#errors.set(about, (this.#errors.get(about) ?? 0) + 1)
  }

  /** While `run` reports, errors are counted for `about`. */
  countFor<A>(about: string, run: () => A): A {
    const outer = this.#about
    this.#about = about
    try {
      return run()
    } finally {
      this.#about = outer
    }
  }

  /** Counts an error of a finding that stands for several. */
  count(check: CheckId, about: string): void {
    if ((this.#policy[check] ?? catalog[check].severity) === "error") this.#count(about)
  }

  /** Says that these checks ran, whatever they found. */
  ran(...checks: ReadonlyArray<CheckId>): void {
    for (const check of checks) this.#checked.add(check)
  }

  /** Says that a check could not run on something. */
  skip(check: CheckId, reason: string): void {
    this.#skipped.set(`${check}\0${reason}`, new Skipped({ check, reason }, { disableValidation: true }))
  }

  /** Subjects, and what else errors are counted for, and how many each has. */
  get errorsBySubject(): ReadonlyMap<string, number> {
    return this.#errors
  }

  /** One finding for all those of a kind that are not listed. */
  #unlisted(): ReadonlyArray<Finding> {
    const severityOf = (check: CheckId): Severity => {
      const severity = this.#policy[check] ?? catalog[check].severity
      return severity === "ignore" ? "info" : severity
    }
    const alike = [...this.#counts].flatMap(([pair, count]) => {
      if (count <= this.#maxAlike) return []
      const [check, subject] = pair.split("\0") as [CheckId, string]
      return [finding(severityOf(check), check, subject, `and ${count - this.#maxAlike} ${unlisted}`)]
    })
    const left = [...this.#left].map(([check, { count, subject }]) =>
      finding(severityOf(check), check, subject, `it is the first of ${count} ${unlisted}`)
    )
    return [...alike, ...left]
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
