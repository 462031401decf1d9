import type { CheckResults } from "../check/CheckResults.ts"
import type { Depth, Verdict } from "../layout/Verifier.ts"

/** One audit, ready to be shown. */
export interface Report {
  readonly target: string
  readonly layout: string
  readonly depth: Depth
  readonly results: CheckResults
  readonly images: ReadonlyArray<Verdict>
  readonly layerCount: number
}
