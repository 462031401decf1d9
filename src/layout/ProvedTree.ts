/** The tree of a source's image, before anything is held against it or made of it. */
import * as Effect from "effect/Effect"
import type { LayerInput } from "../content/LayerStream.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import type { FileTree } from "../rootfs/FileTree.ts"
import { type ReadLayer, readLayers } from "../rootfs/ReadLayers.ts"
import { SourceError } from "./Failure.ts"

/** The tree that an image's layers make, every file of it with its digest, and the layers as they were read. */
export interface Proved {
  readonly tree: FileTree
  readonly layers: ReadonlyArray<ReadLayer>
  readonly inputs: ReadonlyArray<LayerInput>
}

/**
 * Reads all layers once and proves each to be what the image's config says. `doing` begins the errors, for example
 * "cannot use"; `onLayer` as in `readLayers`.
 */
export const prove = Effect.fn("ProvedTree.prove")(function* (
  image: Image.Image,
  doing: string,
  onLayer: (tree: FileTree, layer: ReadLayer) => void = () => {}
): Effect.fn.Return<Proved, SourceError> {
  const damaged = (reason: "Unreadable" | "Damaged" | "Unsupported", message: string) =>
    new SourceError({ reason, message: `${doing} ${image.source}: ${message}` })
  const inputs = image.layers.map(
    ({ bytes, edits, limits }): LayerInput => ({
      region: bytes,
      edits,
      ...(limits === undefined ? {} : { limits })
    })
  )
  const diffIds = image.layers.map(({ diffId }) => diffId)
  const { layers, tree } = yield* readLayers(inputs, { diffIds, onLayer }).pipe(
    Effect.mapError(({ message, reason }) => damaged(reason === "unreadable" ? "Unreadable" : "Damaged", message))
  )
  for (const [index, { diffId }] of layers.entries()) {
    const { diffId: expected, name } = image.layers[index]!
    if (diffId === undefined) {
      return yield* damaged(
        "Unsupported",
        `layer ${index} (${name}) cannot be proved: expected a diff_id of ${Digest.known}, found ${expected}`
      )
    }
    if (diffId !== expected) {
      return yield* damaged(
        "Damaged",
        `layer ${index} (${name}) is damaged: expected diff_id ${expected}, found ${diffId}`
      )
    }
  }
  return { tree, layers, inputs }
})
