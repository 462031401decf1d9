/** source -> filters -> writer -> receipt -> verifier -> report */
import * as Effect from "effect/Effect"
import type { Policy } from "../check/Policy.ts"
import { applyAll, type Filter } from "../filter/Filter.ts"
import type { Report } from "../filter/Report.ts"
import { KnownLayers } from "../filter/Rewrite.ts"
import type { Image } from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import * as Platform from "../image/Platform.ts"
import * as ContentGraph from "../layout/ContentGraph.ts"
import { SourceError } from "../layout/Failure.ts"
import * as GraphRewrite from "../layout/GraphRewrite.ts"
import type { Selector } from "../layout/ImageSource.ts"
import type { FilteredImage, ImageWriter } from "../layout/ImageWriter.ts"
import type { Receipt } from "../layout/Receipt.ts"
import type { Depth, Verification } from "../layout/Verifier.ts"
import * as Layouts from "./Layouts.ts"
import * as Opener from "./Opener.ts"
import * as Uri from "./Uri.ts"

export interface ProcessOptions extends Layouts.SourceOptions, Layouts.WriterOptions {
  readonly source: Uri.Uri
  readonly destination: Uri.Uri
  /** Applied in their order, before anything is written. */
  readonly filters?: ReadonlyArray<Filter>
  /** undefined: nothing is verified. */
  readonly verify: Depth | undefined
  readonly policy?: Policy
  /** Copy a whole index, every platform of it: byte for byte, but for images that filters change and what names them. */
  readonly allPlatforms?: boolean
  /** Also copy what refers to it: signatures, SBOMs. Implies `allPlatforms`. */
  readonly referrers?: boolean
}

export interface Processed {
  readonly receipt: Receipt
  /** What was copied: one image, or all that an index leads to. */
  readonly counts: ContentGraph.Counts
  /** Bytes of layers written or found in place; with an index, of all blobs. */
  readonly layerBytes: number
  readonly verification: Verification | undefined
  /** What the filters have to tell, one for each of the receipt's. */
  readonly reports: ReadonlyArray<Report>
  /** Attestations and signatures that were left out, as filters changed what they are about. */
  readonly leftOut: ReadonlyArray<GraphRewrite.LeftOut>
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
  const counts = { images: 1, artifacts: 0, layers: image.layers.length }
  return { receipt, counts, layerBytes: layerBytes(receipt, image), reports, leftOut: [] }
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
  { destination, filters = [], limits, referrers = false, source: from }: ProcessOptions
) {
  const asked = referrers ? "--referrers" : "--all-platforms"
  if (selector.platform !== undefined) {
    return yield* new Uri.UsageError({
      reason: "BadValue",
      message: `cannot use ${asked} with the choice of a platform: it copies every one`
    })
  }
  if (source.graph === undefined || writer.writeGraph === undefined) {
    const [uri, what] = source.graph === undefined ? [from, "source"] : [destination, "destination"]
    const instead = uri === destination && uri.scheme === "tar" ? " (format=oci makes one that holds all)" : ""
    return yield* new Uri.UsageError({
      reason: "BadValue",
      message: `cannot use ${asked} with ${JSON.stringify(uri.text)}: ${Uri.described(uri, what)} holds single images${instead}`
    })
  }
  const root = yield* ContentGraph.choose(source.graph, rootSelector(selector))
  const filtered = filters.length === 0 ? undefined : yield* filterImages(source.graph, root, filters, limits)
  const { bytes, counts, receipt } = yield* writer.writeGraph(source.graph, {
    root,
    referrers,
    ...(filtered === undefined ? {} : { filtered: filtered.images })
  })
  return {
    receipt,
    counts,
    layerBytes: bytes,
    reports: filtered?.reports ?? [],
    leftOut: GraphRewrite.leftOutIn(receipt)
  }
})

/** Applies filters to every image that a root leads to, each once, in their order. */
const filterImages = Effect.fnUntraced(
  function* (
    graph: ContentGraph.ContentGraph,
    root: ContentGraph.Root,
    filters: ReadonlyArray<Filter>,
    limits: ProcessOptions["limits"]
  ) {
    const { documents } = yield* ContentGraph.closure(graph, root.descriptor, false)
    const found = [...(yield* graph.images)].filter(([digest]) => documents.has(digest))
    if (found.length === 0) {
      return yield* new SourceError({
        reason: "NoSuchImage",
        message: `cannot filter ${root.name ?? root.descriptor.digest} of ${graph.uri}: expected an image, found none`
      })
    }
    const images: Array<FilteredImage> = []
    const reports: Array<Report> = []
    for (const [manifest, load] of found) {
      const before = Opener.limited(yield* load, limits)
      const chained = yield* applyAll(filters, before)
      const which = { manifest, ...(before.platform === undefined ? {} : { platform: Platform.show(before.platform) }) }
      images.push({ before, after: chained.image, filters: chained.applied.map((one) => ({ ...one, ...which })) })
      reports.push(...chained.reports)
    }
    return { images, reports }
  },
  Effect.provideServiceEffect(
    KnownLayers,
    Effect.sync(() => new Map())
  )
)

const rootSelector = ({ image, index }: Selector): ContentGraph.RootSelector => ({
  ...(image === undefined ? {} : { image }),
  ...(index === undefined ? {} : { index })
})
