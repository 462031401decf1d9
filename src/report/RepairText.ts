/** What a repair found, did and left, for people and as JSON. */
import type { Change } from "../layout/Restore.ts"
import type { Repaired } from "../pipeline/Repair.ts"
import { resultsToJson } from "./Json.ts"
import { findings, safe, type TextOptions } from "./Text.ts"

const section = (title: string, changes: ReadonlyArray<Change>): ReadonlyArray<string> =>
  changes.length === 0 ? [] : [`${title}:`, ...changes.map(({ path, reason }) => `  ${safe(path)}: ${safe(reason)}`)]

/** What comes before the report on what stands there now; empty when there was nothing to do. */
export const text = (
  { before, impossible, repaired }: Repaired,
  dryRun: boolean,
  options: TextOptions
): ReadonlyArray<string> => {
  // What a dry run found stands there still: the report tells it.
  const found = dryRun || repaired.length === 0 ? "" : findings(before.results, options)
  return [
    ...(found === "" ? [] : ["Found:", ...found.split("\n").map((line) => `  ${line}`)]),
    ...section(dryRun ? "Would repair" : "Repaired", repaired),
    ...section("Cannot be repaired", impossible)
  ]
}

/** Fields besides those of the report on what stands there now. */
export const json = ({ before, impossible, repaired }: Repaired, dryRun: boolean) => ({
  before: resultsToJson(before.results),
  repaired: dryRun ? [] : repaired,
  ...(dryRun ? { would_repair: repaired } : {}),
  not_repaired: impossible
})
