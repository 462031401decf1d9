/** What filters have to tell, as plain values; commands show them. */
import type { LayerMatches } from "./Search.ts"

export type Report =
  | {
      readonly filter: "normalize-timestamps"
      readonly layers: ReadonlyArray<ChangedLayer>
      readonly configChanged: boolean
    }
  | { readonly filter: "exclude"; readonly layers: ReadonlyArray<ExcludedFromLayer> }
  | {
      readonly filter: "search"
      readonly scriptFriendly: boolean
      readonly name: string
      readonly layers: ReadonlyArray<LayerMatches>
    }
  | { readonly filter: "inspect"; readonly file: string; readonly layers: number }

/** One layer and what became of it. */
export interface ChangedLayer {
  readonly index: number
  /** diff_ids; the same when nothing changed. */
  readonly before: string
  readonly after: string
  /** Members whose headers were changed, or that were left out. */
  readonly changed: number
}

export interface ExcludedFromLayer extends ChangedLayer {
  /** Members left out, and bytes of their bodies. */
  readonly entries: number
  readonly bytes: number
  /** Their paths, for people; not more than 1000. */
  readonly paths: ReadonlyArray<string>
  /** Excluded files that live on under the path of a hardlink to them. */
  readonly promoted: ReadonlyArray<string>
}
