/** What filters have to tell, as plain values; commands show them. */
import type { TarEntryType } from "../content/TarEntry.ts"

export type Report =
  | {
      readonly filter: "normalize-timestamps"
      readonly layers: ReadonlyArray<ChangedLayer>
    }
  | { readonly filter: "exclude"; readonly layers: ReadonlyArray<ExcludedFromLayer> }
  | {
      readonly filter: "flatten"
      /** How many there were. */
      readonly layers: number
      /** The new layer's diff_id; undefined for an image without layers. */
      readonly diffId: string | undefined
      /** Members that are not in it, whiteouts among them, and bytes of their bodies. */
      readonly entries: number
      readonly bytes: number
    }
  | {
      readonly filter: "rebase"
      readonly oldBase: Base
      readonly newBase: Base
      /** Layers above them, which stay as they are. */
      readonly kept: number
    }
  | {
      readonly filter: "search"
      readonly scriptFriendly: boolean
      readonly name: string
      readonly layers: ReadonlyArray<LayerMatches>
    }
  | { readonly filter: "inspect"; readonly file: string; readonly layers: number }

/** An image that another one stands on. */
export interface Base {
  /** Its ID. */
  readonly id: string
  readonly layers: number
}

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

/** What a match is in the finished file system. */
export type MatchState =
  | { readonly state: "visible" }
  /** Another member of the layer `by` takes its place, or that of a directory above it. */
  | { readonly state: "overwritten"; readonly by: number }
  /** A whiteout of the layer `by` hides it. */
  | { readonly state: "deleted"; readonly by: number }
  /** It is a whiteout itself: what it hides in the layers below, a directory's content when it is opaque. */
  | { readonly state: "whiteout"; readonly hides: string; readonly opaque: boolean }
  /** The layers above hold more paths than are kept. */
  | { readonly state: "unknown" }

export interface Match {
  /** For people: as the layer stores it, bytes that are no text escaped. */
  readonly path: string
  readonly type: TarEntryType
  /** Bytes of a file's content. */
  readonly size: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since the epoch. */
  readonly mtime: number
  /** Of links. */
  readonly linkname: string | undefined
  readonly state: MatchState
}

export interface LayerMatches {
  readonly index: number
  readonly diffId: string
  /** How the source calls it, in the words of the older tool: the name of its directory or blob. */
  readonly id: string
  readonly matches: ReadonlyArray<Match>
  /** What is wrong with the layer's tar, where that may hide more matches. */
  readonly problems: ReadonlyArray<string>
}
