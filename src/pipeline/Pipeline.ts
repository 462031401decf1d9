/** source -> filters -> writer -> receipt -> verifier -> report */
import * as Effect from "effect/Effect"
import type { Policy } from "../check/Policy.ts"
import { applyAll, type Filter } from "../filter/Filter.ts"
import type { Report } from "../filter/Report.ts"
import type { Image } from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import * as ContentGraph from "../layout/ContentGraph.ts"
import type { Selector } from "../layout/ImageSource.ts"
import type { ImageWriter } from "../layout/ImageWriter.ts"
import type { Receipt } from "../layout/Receipt.ts"
import type { Depth, Verification } from "../layout/Verifier.ts"
import * as Layouts from "./Layouts.ts"
import * as Opener from "./Opener.ts"
import { type Uri, UsageError } from "./Uri.ts"

export interface ProcessOptions extends Layouts.SourceOptions, Layouts.WriterOptions {
  readonly source: Uri
  readonly destination: Uri
  /** Applied in their order, before anything is written. */
  readonly filters?: ReadonlyArray<Filter>
  /** undefined: nothing is verified. */
  readonly verify: Depth | undefined
  readonly policy?: Policy
  /** Copy a whole index, every platform of it, byte for byte. */
  readonly allPlatforms?: boolean
  /** Also copy what refers to it: signatures, SBOMs. Implies `allPlatforms`. */
  readonly referrers?: boolean
}

export interface Processed {
  readonly receipt: Receipt
  readonly layerCount: number
  /** Bytes of layers written or found in place. */
  readonly layerBytes: number
  readonly verification: Verification | undefined
  /** What the filters have to tell, one for each. */
  readonly reports: ReadonlyArray<Report>
}

/** Moves one image, or a whole index, and when asked proves what was written. */
export const process = Effect.fn("Pipeline.process")(function* (options: ProcessOptions) {
  const writer = yield* Layouts.openWriter(options.destination, options)
  const opened = yield* Layouts.openSource(options.source, options)
  const written =
    options.allPlatforms === true || options.referrers === true
      ? yield* copyGraph(opened, writer, options)
      : yield* copyImage(opened, writer, options)
  const { receipt } = written
  const verification =
    options.verify === undefined
      ? undefined
      : yield* Effect.flatMap(Layouts.openVerifier(options.destination, options), (verifier) =>
          verifier.verify({
            depth: options.verify!,
            receipt,
            ...(options.policy === undefined ? {} : { policy: options.policy }),
            ...(options.limits === undefined ? {} : { limits: options.limits })
          })
        )
  return { ...written, verification } satisfies Processed
})

const copyImage = Effect.fnUntraced(function* (
  opened: Layouts.OpenedSource,
  writer: ImageWriter["Type"],
  { filters = [], limits }: ProcessOptions
) {
  const { applied, image, reports } = yield* applyAll(filters, yield* Opener.load(opened, limits))
  const receipt = yield* writer.write(image, { filters: applied })
  return { receipt, layerCount: image.layers.length, layerBytes: layerBytes(receipt, image), reports }
})

/** As stored: from the receipt's details of layers, or from the files that are layers themselves. */
const layerBytes = (receipt: Receipt, image: Image): number => {
  const stored = new Map<string, number>()
  const { layers } = receipt.details
  for (const one of Array.isArray(layers) ? layers : []) {
    if (Json.isObject(one) && typeof one["diffId"] === "string" && typeof one["size"] === "number")
      stored.set(one["diffId"], one["size"])
  }
  if (stored.size === 0) {
    const diffIds = new Set<string>(image.layers.map((layer) => layer.diffId))
    for (const file of receipt.files) if (diffIds.has(`sha256:${file.sha256}`)) stored.set(file.sha256, file.size)
  }
  return [...stored.values()].reduce((sum, size) => sum + size, 0)
}

const copyGraph = Effect.fnUntraced(function* (
  { selector, source }: Layouts.OpenedSource,
  writer: ImageWriter["Type"],
  { destination, filters, referrers, source: from }: ProcessOptions
) {
  const flag = referrers === true ? "--referrers" : "--all-platforms"
  if (filters !== undefined && filters.length > 0) {
    return yield* new UsageError({
      reason: "BadValue",
      message: `cannot use ${flag} together with a filter: it copies everything byte for byte`
    })
  }
  if (source.graph === undefined || writer.writeGraph === undefined) {
    const uri = source.graph === undefined ? from : destination
    return yield* new UsageError({
      reason: "BadValue",
      message: `cannot use ${flag} with ${JSON.stringify(uri.text)}: a ${uri.scheme}:// ${
        source.graph === undefined ? "source" : "destination"
      } holds single images`
    })
  }
  const root = yield* ContentGraph.choose(source.graph, rootSelector(selector))
  const receipt = yield* writer.writeGraph(source.graph, { root, referrers: referrers === true })
  return {
    receipt,
    layerCount: receipt.files.length,
    layerBytes: receipt.files.reduce((sum, file) => sum + file.size, 0),
    reports: []
  }
})

const rootSelector = ({ image, index }: Selector): ContentGraph.RootSelector => ({
  ...(image === undefined ? {} : { image }),
  ...(index === undefined ? {} : { index })
})
