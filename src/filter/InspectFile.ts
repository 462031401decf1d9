/** `inspect`: what the layers are at this point of a chain, appended to a file as one line of JSON. */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Job from "../content/Rewrite.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import type * as Image from "../image/Image.ts"
import { describe } from "../layout/Failure.ts"
import * as Filter from "./Filter.ts"
import { failed, isPlain } from "./Rewrite.ts"
import { imageName } from "./Search.ts"

/** One line of the file, with the older tool's names. */
export interface InspectRecord {
  /** `name:tag`, empty for an image without a name. */
  readonly name: string
  /** Newest first. */
  readonly layers: ReadonlyArray<{
    /** The digest of the layer's blob where the source calls it by that, its diff_id otherwise. */
    readonly Id: string
    /** Bytes, uncompressed. */
    readonly Size: number
    /** Seconds since the epoch; 0 where the history says none. */
    readonly Created: number
    readonly CreatedBy: string
    readonly Comment: string
    /** The image's name, at its newest layer. */
    readonly Tags: ReadonlyArray<string> | null
  }>
}

export const record = Effect.fn("InspectFile.record")(function* (
  image: Image.Image
): Effect.fn.Return<InspectRecord, Filter.FilterError, WorkerPool> {
  const sizes = yield* layerSizes(image)
  const history = (image.config.value.history ?? []).filter((step) => step.empty_layer !== true)
  const name = image.names.length === 0 ? undefined : imageName(image)
  const layers = image.layers.map((layer, index) => {
    const step = history[index]
    return {
      Id: idOf(layer),
      Size: sizes[index]!,
      Created: seconds(step?.created),
      CreatedBy: step?.created_by ?? "",
      Comment: step?.comment ?? "",
      Tags: name !== undefined && index === image.layers.length - 1 ? [name] : null
    }
  })
  return { name: name ?? "", layers: layers.toReversed() }
})

/** As the older tool has it, which knows a layer by the blob it came from, and by its content once a filter has changed it. */
const idOf = (layer: Image.Layer): string => {
  const blob = /^blobs\/(sha256)\/([a-f0-9]{64})$/.exec(layer.name)
  return layer.edits.length === 0 && blob !== null ? `${blob[1]}:${blob[2]}` : layer.diffId
}

const seconds = (created: string | null | undefined): number => {
  const time = Date.parse(created ?? "")
  return Number.isNaN(time) ? 0 : Math.floor(time / 1000)
}

/** Uncompressed, edits applied; what nobody knows yet is read. */
const layerSizes = Effect.fnUntraced(function* (
  image: Image.Image
): Effect.fn.Return<ReadonlyArray<number>, Filter.FilterError, WorkerPool> {
  const pool = yield* WorkerPool
  const known = image.layers.map(
    (layer) => layer.uncompressedSize ?? (layer.edits.length === 0 && isPlain(layer) ? layer.bytes.size : undefined)
  )
  const unknown = image.layers.filter((_, index) => known[index] === undefined)
  const results = yield* pool.runAll(
    Job.job,
    unknown.map(({ bytes, edits }) => ({ region: bytes, edits, stored: [], before: [], after: [] }))
  )
  for (const [index, { failure }] of results.entries()) {
    if (failure !== undefined) return yield* failed(unknown[index]!, failure)
  }
  let next = 0
  return known.map((size) => size ?? results[next++]!.size)
})

/** JSON as Python's `json.dumps(value, sort_keys=True)` writes it. */
const pythonLine = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(pythonLine).join(", ")}]`
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${members.map(([key, one]) => `${pythonLine(key)}: ${pythonLine(one)}`).join(", ")}}`
  }
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
}

/** The line as it is written, with its newline. */
export const encode = (record: InspectRecord): string => `${pythonLine(record)}\n`

/** Appends a line to `file`; the image goes through as it is. May stand in a chain more than once. */
export const make = (file: string): Filter.Filter =>
  Filter.make(
    "inspect",
    { file },
    Effect.fnUntraced(function* (image) {
      const line = encode(yield* record(image))
      yield* Effect.try({
        // One write to a file opened for appending: lines of runs at the same time do not mix.
        try: () => fs.appendFileSync(file, line),
        catch: (cause) =>
          new Filter.FilterError({
            reason: "Unwritable",
            message: `cannot append to ${file}: ${describe(cause)}`,
            cause
          })
      })
      return { image, report: { filter: "inspect", file, layers: image.layers.length } }
    })
  )
