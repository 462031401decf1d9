/**
 * `oci-layout://PATH[:REF]`: adds images to an OCI image layout (image-layout.md). Blobs are shared with what is there,
 * verified before they are used; index.json comes last, under a lock.
 */
import * as Effect from "effect/Effect"
import { WorkerPool } from "../../content/WorkerPool.ts"
import type * as Image from "../../image/Image.ts"
import { version } from "../../version.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import type * as Receipt from "../Receipt.ts"
import * as Files from "./OciFiles.ts"
import { writeGraph } from "./OciGraphWriter.ts"
import * as OciImages from "./OciImages.ts"
import { checkNames, inLayout } from "./OciPublish.ts"

export interface OciLayoutWriterOptions extends OciImages.Target {
  /** The entry's reference name; by default the image's names, each with an entry. */
  readonly ref?: string | undefined
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

export const make = Effect.fn("OciLayoutWriter.make")(function* (options: OciLayoutWriterOptions) {
  const pool = yield* WorkerPool
  const memory = new OciImages.Memory(options.path)
  return {
    write: (image, writeOptions) =>
      write(options, memory, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool)),
    writeGraph: (graph, graphOptions) =>
      writeGraph(options, memory, graph, graphOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("OciLayoutWriter.write")(function* (
  options: OciLayoutWriterOptions,
  memory: OciImages.Memory,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const root = options.path
  const names = options.ref === undefined ? image.names : [options.ref]
  yield* checkNames(root, names)
  const use = (journal: Journal.Journal) =>
    Effect.gen(function* () {
      const [written] = yield* OciImages.write(options, memory, [image], journal)
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
