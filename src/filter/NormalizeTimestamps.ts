/** `normalize-timestamps`: every time in the layers, and on request in the config, set to one. */
import * as Effect from "effect/Effect"
import { normalizeTimestamps } from "../content/LayerEdits.ts"
import * as Filter from "./Filter.ts"
import { rewriteLayers, withLayers } from "./Rewrite.ts"

export interface NormalizeOptions {
  /** Seconds since the epoch: 0 to 8^11 - 1. */
  readonly timestamp: number
  /** Also the config's `created` and those of its history, and labels and annotations that say the same. */
  readonly config: boolean
}

/**
 * Sets every time in every layer to `timestamp`, whether it is earlier or later, so that two builds that differ in times
 * alone give the same image ID (with `config`) and the same layers. What is set and what goes: `TimestampEdit`. A layer
 * that says this time everywhere already keeps its bytes and its digest.
 */
export const make = (options: NormalizeOptions): Filter.Filter => {
  const edit = normalizeTimestamps(options.timestamp)
  return Filter.make(
    "normalize-timestamps",
    { ts: options.timestamp, config: options.config },
    Effect.fnUntraced(function* (image) {
      const rewritten = yield* rewriteLayers(
        image.layers,
        image.layers.map(() => edit)
      )
      const created = new Date(options.timestamp * 1000).toISOString().replace(".000Z", "Z")
      const next = yield* withLayers(
        image,
        rewritten.map(({ layer }) => layer),
        options.config ? { created } : {}
      )
      return {
        image: next,
        report: {
          filter: "normalize-timestamps",
          layers: rewritten.map(({ facts, layer }, index) => ({
            index,
            before: image.layers[index]!.diffId,
            after: layer.diffId,
            changed: facts.changed
          }))
        }
      }
    })
  )
}
