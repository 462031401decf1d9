/** Where blobs are put, whatever lists them later: the directory of a layout, an archive that holds one. */
import type * as Effect from "effect/Effect"
import type * as Inspect from "../../content/Inspect.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import type { Region } from "../../image/Region.ts"
import type { GraphBlob } from "../ContentGraph.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import type * as LayerCopy from "../LayerCopy.ts"
import type * as Receipt from "../Receipt.ts"

export interface BlobPlace {
  /** For messages. */
  readonly path: string
  /** Layers in the form that is planned; one that is there already is shared, verified before it is used. */
  readonly layers: (
    plans: ReadonlyArray<LayerCopy.Plan>
  ) => Effect.Effect<ReadonlyMap<LayerCopy.Plan, LayerCopy.Stored>, WriteError | SourceError, WorkerPool>
  /** Blobs as they are, of the source that `uri` names; the same goes for those that are there. */
  readonly blobs: (
    uri: string,
    blobs: ReadonlyArray<GraphBlob>
  ) => Effect.Effect<ReadonlyArray<Receipt.File>, WriteError | SourceError, WorkerPool>
  /** A config, a manifest, an index: from memory. Throws. */
  readonly document: (file: string, bytes: Uint8Array) => void
  /** Where the bytes of a file are that was written here. */
  readonly region: (file: Receipt.File) => Region
}

/** What went wrong with a blob that was copied as it is, or with one that was there; undefined when it holds. */
export const blobFailure = (
  path: string,
  uri: string,
  { descriptor }: GraphBlob,
  { digests, failure, size }: Inspect.Evidence
): WriteError | SourceError | undefined => {
  if (failure?.during === "write") {
    return new WriteError({
      reason: "Unwritable",
      message: `cannot write ${descriptor.digest} into ${path}: ${describe(failure)}`
    })
  }
  const damaged = (reason: "Unreadable" | "Damaged", message: string): SourceError =>
    new SourceError({ reason, message: `cannot copy ${descriptor.digest} from ${uri}: ${message}` })
  if (failure !== undefined) return damaged("Unreadable", describe(failure))
  if (size !== descriptor.size) return damaged("Damaged", `expected ${count(descriptor.size, "byte")}, found ${size}`)
  const found = Digest.like(descriptor.digest, digests) ?? descriptor.digest
  return found === descriptor.digest ? undefined : damaged("Damaged", `expected ${descriptor.digest}, found ${found}`)
}
