/**
 * `oci-layout://PATH[:REF]`: adds images to an OCI image layout (image-layout.md). Blobs are shared with what is there,
 * verified before they are used; index.json comes last, under a lock.
 */
import * as Effect from "effect/Effect"
import { WorkerPool } from "../../content/WorkerPool.ts"
import type * as Image from "../../image/Image.ts"
import { version } from "../../version.ts"
import type * as ContentGraph from "../ContentGraph.ts"
import type * as Conversion from "../Conversion.ts"
import type { GraphOptions, ImageWriter, WriteOptions } from "../ImageWriter.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import type * as Receipt from "../Receipt.ts"
import * as LayoutBlobs from "./LayoutBlobs.ts"
import * as Files from "./OciFiles.ts"
import * as OciGraphWriter from "./OciGraphWriter.ts"
import * as OciImages from "./OciImages.ts"
import { checkNames, inLayout } from "./OciPublish.ts"

export interface OciLayoutWriterOptions extends OciImages.Storage {
  /** The layout's directory. */
  readonly path: string
  /** The entry's reference name; by default the image's names, each with an entry. */
  readonly ref?: string | undefined
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

export const make = Effect.fn("OciLayoutWriter.make")(function* (options: OciLayoutWriterOptions) {
  const pool = yield* WorkerPool
  const memory = new LayoutBlobs.Memory(options.path)
  return {
    write: (image, writeOptions) =>
      write(options, memory, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool)),
    writeGraph: (graph, graphOptions) =>
      writeGraph(options, memory, graph, graphOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("OciLayoutWriter.write")(function* (
  options: OciLayoutWriterOptions,
  memory: LayoutBlobs.Memory,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const root = options.path
  const names = options.ref === undefined ? image.names : [options.ref]
  yield* checkNames(root, names)
  const use = (journal: Journal.Journal) =>
    Effect.gen(function* () {
      const [written] = yield* OciImages.write(LayoutBlobs.make(root, memory, journal), options, [image])
      const { files, layers, manifest } = written!
      const receiptFor = (refs: ReadonlyArray<string>): Receipt.Receipt => ({
        tool: "tallyman",
        version,
        layout: "oci-layout",
        names: refs,
        image: image.config.digest,
        source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
        filters,
        conversions: manifest.conversions,
        files,
        details: { refs, manifest: manifest.descriptor, layers: layers.map(LayerCopy.detailOf) }
      })
      const entries =
        names.length === 0
          ? [manifest.descriptor]
          : names.map((name) => ({
              ...manifest.descriptor,
              annotations: { ...manifest.descriptor.annotations, [Files.refName]: name }
            }))
      const receipts =
        names.length === 0
          ? [{ file: Files.receiptFile(manifest.descriptor.digest), receipt: receiptFor([]) }]
          : names.map((name) => ({ file: Files.receiptFile(name), receipt: receiptFor([name]) }))
      return { entries, receipts, result: receiptFor(names) }
    })
  return yield* inLayout(root, names[0] ?? image.config.digest, use, options.tempDirectory)
})

const writeGraph = Effect.fn("OciLayoutWriter.writeGraph")(function* (
  options: OciLayoutWriterOptions,
  memory: LayoutBlobs.Memory,
  graph: ContentGraph.ContentGraph,
  graphOptions: GraphOptions
) {
  const root = options.path
  const { descriptor, name: formerly } = graphOptions.root
  const name = options.ref ?? formerly
  const refs = name === undefined ? [] : [name]
  yield* checkNames(root, refs)
  const copy = yield* OciGraphWriter.read(graph, graphOptions, options)
  const use = (journal: Journal.Journal) =>
    Effect.gen(function* () {
      const called = { layout: "oci-layout", names: refs }
      const written = yield* OciGraphWriter.write(LayoutBlobs.make(root, memory, journal), options, copy, called)
      const receipt = { ...written.receipt, details: { refs, ...written.receipt.details } }
      return {
        entries: [named(written.root, name), ...written.referrers],
        receipts: [{ file: Files.receiptFile(name ?? receipt.image), receipt }],
        result: { receipt, counts: written.counts, bytes: written.bytes }
      }
    })
  return yield* inLayout(root, name ?? descriptor.digest, use, options.tempDirectory)
})

const named = (root: Conversion.Descriptor, name: string | undefined): Conversion.Descriptor => {
  const entry = OciGraphWriter.unnamed(root)
  if (name === undefined) return entry
  const full = root.annotations?.[Files.containerdName] === name ? { [Files.containerdName]: name } : {}
  return { ...entry, annotations: { ...entry.annotations, ...full, [Files.refName]: name } }
}
