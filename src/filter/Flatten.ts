/** `flatten`: one layer that holds what all of them make. */

import * as Effect from "effect/Effect"
import type { FlattenOptions } from "../content/FlattenEdit.ts"
import { flatten } from "../content/LayerEdits.ts"
import type { LayerInput } from "../content/LayerStream.ts"
import * as Rewrite from "../content/Rewrite.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import * as Filter from "./Filter.ts"
import * as FlattenLayers from "./FlattenLayers.ts"
import { replaceValues, withMember } from "./JsonText.ts"
import { damaged, failed, mismatch, unprovable, withConfig } from "./Rewrite.ts"

/**
 * One layer in the place of all: every file of the finished file system once, with the headers that its own layer has for
 * it, layer by layer in their order. What later layers replaced or deleted is not in it, and neither are whiteouts.
 * Further names of a file follow it as hardlinks. The config's history becomes a single step that says so.
 *
 * Nothing is written for it: the layers are read again whenever the new one is. An image that is flat already stays as it
 * is.
 */
export const make = (): Filter.Filter =>
  Filter.make(
    "flatten",
    {},
    Effect.fnUntraced(function* (image) {
      const pool = yield* WorkerPool
      const { layers } = image
      const kept = { filter: "flatten", layers: layers.length, entries: 0, bytes: 0 } as const
      const [base, ...above] = layers
      if (base === undefined) return { image, report: { ...kept, diffId: undefined } }
      const unsupported = layers.find(({ diffId }) => !Digest.isComputable(diffId))
      if (unsupported !== undefined) return yield* unprovable(unsupported)
      const [found] = yield* pool.runAll(FlattenLayers.job, [
        {
          layers: layers.map((layer) => ({
            ...inputOf(layer),
            stored: Digest.algorithmsOf(layer.digest),
            diffIds: Digest.algorithmsOf(layer.diffId)
          }))
        }
      ])
      const flattened = found!
      if (flattened.failure !== undefined) return yield* failed(layers[flattened.failure.layer]!, flattened.failure)
      for (const [index, layer] of layers.entries()) {
        const { diffIds, stored } = flattened.layers[index]!
        const wrong = mismatch(layer, stored, diffIds)
        if (wrong !== undefined) return yield* damaged(layer, wrong)
      }
      if (flattened.isFlat) return { image, report: { ...kept, diffId: base.diffId } }
      const options: FlattenOptions = {
        base: flattened.layers[0]!.remains,
        above: above.map((layer, index) => ({
          from: inputOf(layer),
          remains: flattened.layers[index + 1]!.remains
        })),
        directories: flattened.directories
      }
      const edits = [...base.edits, flatten(options)]
      const [output] = yield* pool.runAll(Rewrite.job, [
        { ...inputOf(base), edits, stored: [], before: [], after: ["sha256"] }
      ])
      if (output!.failure !== undefined) return yield* failed(base, output!.failure)
      const { digest: _, ...rest } = base
      const layer: Image.Layer = {
        ...rest,
        name: `flattened from ${count(layers.length, "layer")}`,
        edits,
        diffId: Digest.make("sha256", output!.after.sha256!),
        uncompressedSize: output!.size
      }
      return {
        image: yield* withConfig(image, configOf(image, layer), [layer]),
        report: {
          filter: "flatten",
          layers: layers.length,
          diffId: layer.diffId,
          entries: flattened.layers.reduce((sum, { gone }) => sum + gone, 0),
          bytes: flattened.layers.reduce((sum, { goneBytes }) => sum + goneBytes, 0)
        }
      }
    })
  )

const inputOf = ({ bytes, edits, limits }: Image.Layer): LayerInput => ({
  region: bytes,
  edits,
  ...(limits === undefined ? {} : { limits })
})

/** The config's text with one diff_id and one step of history. */
const configOf = ({ config, layers }: Image.Image, { diffId }: Image.Layer): string => {
  const { created } = config.value
  const history = JSON.stringify([
    {
      ...(typeof created === "string" ? { created } : {}),
      created_by: "tallyman flatten",
      comment: `flattened from ${count(layers.length, "layer")}`
    }
  ])
  const text = Buffer.from(config.raw).toString("utf8")
  const next = replaceValues(text, (path) =>
    path.length === 2 && path[0] === "rootfs" && path[1] === "diff_ids"
      ? JSON.stringify([diffId])
      : path.length === 1 && path[0] === "history"
        ? history
        : undefined
  )
  return config.value.history === undefined ? withMember(next, "history", history) : next
}
