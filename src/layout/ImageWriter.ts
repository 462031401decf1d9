import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Image from "../image/Image.ts"
import type { ContentGraph, Counts, Root } from "./ContentGraph.ts"
import type { SourceError, WriteError } from "./Failure.ts"
import type { AppliedFilter, Receipt } from "./Receipt.ts"

/** What a writer is told besides the image. */
export interface WriteOptions {
  readonly filters: ReadonlyArray<AppliedFilter>
}

/** What of a source's graph is to be copied. */
export interface GraphOptions {
  readonly root: Root
  /** Also what refers to any manifest of it: signatures, SBOMs. */
  readonly referrers: boolean
  /** The images of it, where filters were applied to all of them; what names one that changed is rewritten. */
  readonly filtered?: ReadonlyArray<FilteredImage>
}

export interface FilteredImage {
  /** As the source has it. */
  readonly before: Image.Image
  /** The very same one when no filter changed anything. */
  readonly after: Image.Image
  readonly filters: ReadonlyArray<AppliedFilter>
}

export interface WrittenGraph {
  readonly receipt: Receipt
  readonly counts: Counts
  /** Of all blobs, written or found in place. */
  readonly bytes: number
}

/** Writes images into one output. */
export class ImageWriter extends Context.Tag("tallyman/ImageWriter")<
  ImageWriter,
  {
    /**
     * Returns when everything of the output is in place and synced. SourceError when the image turns out damaged while it
     * is copied: then nothing was published.
     */
    readonly write: (image: Image.Image, options: WriteOptions) => Effect.Effect<Receipt, WriteError | SourceError>
    /**
     * Copies an index with all its platforms, or an artifact: byte for byte, but for images that filters changed and what
     * names them. Undefined where the layout holds single images only.
     */
    readonly writeGraph?: (
      graph: ContentGraph,
      options: GraphOptions
    ) => Effect.Effect<WrittenGraph, WriteError | SourceError>
  }
>() {}
