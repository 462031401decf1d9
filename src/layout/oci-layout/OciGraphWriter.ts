/** Indexes with all their platforms, artifacts and what refers to them, copied by digest to where an index.json lists them. */

import * as Effect from "effect/Effect"
import * as Digest from "../../image/Digest.ts"
import * as Platform from "../../image/Platform.ts"
import { version } from "../../version.ts"
import * as ContentGraph from "../ContentGraph.ts"
import type * as Conversion from "../Conversion.ts"
import { WriteError } from "../Failure.ts"
import * as GraphRewrite from "../GraphRewrite.ts"
import type { FilteredImage, GraphOptions } from "../ImageWriter.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import type { BlobPlace } from "./BlobPlace.ts"
import * as Files from "./OciFiles.ts"
import * as OciImages from "./OciImages.ts"

/** What is to be copied: a root of a graph with all it leads to. */
export interface Copy extends GraphOptions {
  readonly graph: ContentGraph.ContentGraph
  readonly source: ContentGraph.Closure
}

/** Reads what `options` mean of a graph, before anything is written. */
export const read = Effect.fn("OciGraphWriter.read")(function* (
  graph: ContentGraph.ContentGraph,
  options: GraphOptions,
  { compression, mediaTypes }: OciImages.Storage
) {
  const { descriptor, name } = options.root
  if (compression !== undefined || mediaTypes !== undefined) {
    return yield* new WriteError({
      reason: "Unsupported",
      message: `cannot convert ${name ?? descriptor.digest} of ${graph.uri}: indexes and artifacts are copied as they are`
    })
  }
  const source = yield* ContentGraph.closure(graph, descriptor, options.referrers)
  return { ...options, graph, source } satisfies Copy
})

/** What is in place, and not listed yet. */
export interface Written {
  /** For index.json: what was to be copied, called as in the source. */
  readonly root: Conversion.Descriptor
  /** For index.json: what refers to it, and is in no index of it. */
  readonly referrers: ReadonlyArray<Conversion.Descriptor>
  readonly counts: ContentGraph.Counts
  /** Bytes of all blobs. */
  readonly bytes: number
  /** Of the blobs alone. */
  readonly receipt: Receipt.Receipt
}

/**
 * Puts it all into `place`. Every digest stays, but for images that filters changed and the indexes that lead to them:
 * these are rewritten once, and what vouches for the old ones is left out.
 */
export const write = Effect.fn("OciGraphWriter.write")(function* (
  place: BlobPlace,
  storage: OciImages.Storage,
  copy: Copy,
  called: Pick<Receipt.Receipt, "layout" | "names">
) {
  const { filtered, graph, root: from, source } = copy
  const made = filtered === undefined ? undefined : yield* rewrite(place, storage, { ...copy, filtered })
  const { closure, files: written, top } = made ?? { closure: source, files: new Map(), top: from.descriptor }
  const blobs = yield* place.blobs(
    graph.uri,
    [...closure.blobs.values()].filter(({ descriptor }) => !written.has(Digest.blobPath(descriptor.digest)))
  )
  const documents = [...closure.documents.values()].reverse()
  yield* Effect.try({
    try: () => {
      for (const { descriptor, raw } of documents) place.document(Digest.blobPath(descriptor.digest), raw)
    },
    catch: unwritable(`cannot write into ${place.path}`)
  })
  const documentFiles = documents.map(({ descriptor, raw }) => Receipt.fileOf(Digest.blobPath(descriptor.digest), raw))
  const isDocument = new Set(documentFiles.map((file) => file.path))
  const referrers = referrersOf(closure)
  const files = [...blobs, ...[...written.values()].filter((file) => !isDocument.has(file.path)), ...documentFiles]
  return {
    root: top,
    referrers,
    counts: closure.counts,
    bytes: files.reduce((sum, file) => sum + file.size, 0),
    receipt: {
      tool: "tallyman",
      version,
      ...called,
      image: top.digest,
      source: { uri: graph.uri, digest: from.descriptor.digest },
      filters: (filtered ?? []).flatMap(({ filters }) => filters),
      conversions: made?.conversions ?? [],
      files,
      details: {
        manifest: top,
        referrers: referrers.map((one) => one.digest),
        absent: closure.absent.map((one) => one.digest),
        ...made?.details
      }
    }
  } satisfies Written
})

/** Writes the images that became others and the indexes that lead to them; answers what there is to copy beside these. */
const rewrite = Effect.fnUntraced(function* (
  place: BlobPlace,
  storage: OciImages.Storage,
  { filtered, graph, referrers, root: from, source }: Copy & { readonly filtered: ReadonlyArray<FilteredImage> }
) {
  const changed = filtered.filter(({ after, before }) => after !== before)
  const images = yield* OciImages.write(
    place,
    storage,
    changed.map(({ after }) => after)
  )
  const successors = new Map<string, GraphRewrite.Successor | undefined>(
    filtered.map(({ before }) => [before.manifest!.digest, undefined])
  )
  for (const [index, { manifest }] of images.entries()) {
    const { after, before } = changed[index]!
    if (manifest.kept) continue
    successors.set(before.manifest!.digest, { ...manifest, osVersion: after.config.value["os.version"] ?? undefined })
  }
  const { indexes, leftOut, root: top } = yield* GraphRewrite.rewrite(graph.uri, source, from.descriptor, successors)
  yield* Effect.try({
    try: () => {
      for (const { descriptor, raw } of indexes.values()) place.document(Digest.blobPath(descriptor.digest), raw)
    },
    catch: unwritable(`cannot write into ${place.path}`)
  })
  const files = new Map(
    [
      ...images.flatMap((image) => image.files),
      ...[...indexes.values()].map(({ descriptor, raw }) => Receipt.fileOf(Digest.blobPath(descriptor.digest), raw))
    ].map((file) => [file.path, file])
  )
  const closure = yield* ContentGraph.closure(
    {
      ...graph,
      open: (descriptor) => {
        const file = files.get(Digest.blobPath(descriptor.digest))
        return file === undefined ? graph.open(descriptor) : Effect.succeed(place.region(file))
      }
    },
    top,
    referrers
  )
  // Nothing refers to what an image or an index became, so what referred to it before is not reached any more.
  const lost = source.referrers.flatMap(({ annotations, digest, mediaType }): ReadonlyArray<GraphRewrite.LeftOut> => {
    const subject = GraphRewrite.subjectOf(source.documents.get(digest)) ?? Files.subjectByName(annotations)
    return subject === undefined || closure.documents.has(digest) ? [] : [{ digest, mediaType, subject }]
  })
  const gone = [...leftOut, ...lost]
  return {
    top,
    closure,
    files,
    conversions: [
      ...images.flatMap(({ manifest }) => manifest.conversions),
      ...[...indexes].map(([before, { descriptor }]) => `index: ${before} became ${descriptor.digest}`),
      ...gone.map(GraphRewrite.describe)
    ],
    details: {
      images: filtered.map(({ before: { manifest, platform } }) => ({
        ...(platform === undefined ? {} : { platform: Platform.show(platform) }),
        before: manifest!.digest,
        after: (successors.get(manifest!.digest)?.descriptor ?? manifest!).digest
      })),
      layers: images.flatMap(({ layers }) => layers.map(LayerCopy.detailOf)),
      leftOut: gone
    }
  }
})

/**
 * What refers to a root, as index.json lists it. Names in the source may be others' here, but for those that say what they
 * are about.
 */
export const referrersOf = ({ referrers }: ContentGraph.Closure): ReadonlyArray<Conversion.Descriptor> =>
  referrers.map((one) => (Files.subjectByName(one.annotations) === undefined ? unnamed(one) : one))

/** An entry of index.json without its names: what else the source says about it stays. */
export const unnamed = ({ annotations = {}, ...rest }: Conversion.Descriptor): Conversion.Descriptor => {
  const others = Files.withoutNames(annotations)
  return (Object.keys(others).length === 0 ? rest : { ...rest, annotations: others }) as Conversion.Descriptor
}
