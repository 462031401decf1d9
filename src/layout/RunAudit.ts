/** What runs have left in an output: journals of those that were cut off or still write, temporary files. */
import type { CheckId } from "../check/Catalog.ts"
import type { Collector } from "../check/Collector.ts"
import * as Journal from "./Journal.ts"
import type { Store } from "./Store.ts"

const runChecks: ReadonlyArray<CheckId> = ["directory.incomplete", "directory.in-progress", "directory.leftover"]

/** Reports what is such a file; answers whether one of `names` is. */
export const tellRuns = (
  store: Store,
  names: ReadonlyArray<string>,
  report: Collector
): ((name: string) => boolean) => {
  report.ran(...runChecks)
  const dead = new Set(Journal.leftovers(store.path, names))
  for (const name of names) {
    if (Journal.isJournal(name)) {
      const run = Journal.read(`${store.path}/${name}`)
      const what = run === undefined ? "an image" : `${run.image} (${run.target})`
      if (dead.has(name)) report.report("directory.incomplete", name, `a run that wrote ${what} was cut off`)
      else {
        const writer = run === undefined ? "a process" : `process ${run.pid}`
        report.report("directory.in-progress", name, `${writer} is writing ${what}`)
      }
    } else if (Journal.isTemporary(name) && dead.has(name)) {
      report.report("directory.leftover", name, "a temporary file of a run that is gone")
    }
  }
  return (name) => Journal.isJournal(name) || Journal.isTemporary(name)
}
