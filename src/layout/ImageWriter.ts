import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Image from "../image/Image.ts"
import type { SourceError, WriteError } from "./Failure.ts"
import type { AppliedFilter, Receipt } from "./Receipt.ts"

/** What a writer is told besides the image. */
export interface WriteOptions {
  readonly filters: ReadonlyArray<AppliedFilter>
}

/** Writes images into one output. */
export class ImageWriter extends Context.Tag("tallyman/ImageWriter")<ImageWriter, {
  /**
   * Returns when everything of the output is in place and synced. SourceError when the image turns out damaged while it
   * is copied: then nothing was published.
   */
  readonly write: (image: Image.Image, options: WriteOptions) => Effect.Effect<Receipt, WriteError | SourceError>
}>() {}
