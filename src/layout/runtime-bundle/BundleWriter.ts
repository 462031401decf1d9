/**
 * `oci://PATH`: a runtime bundle. The image's tree is written once, straight from its layers, beside the output's place
 * and renamed when it is whole: a run that is cut off leaves nothing that looks like a bundle.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { WorkerPool } from "../../content/WorkerPool.ts"
import type * as Image from "../../image/Image.ts"
import { version } from "../../version.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import * as Journal from "../Journal.ts"
import { beside, publish } from "../NewDirectory.ts"
import { unwritable } from "../OutputFiles.ts"
import type * as Receipt from "../Receipt.ts"
import { encode } from "../Receipt.ts"
import { hardlinksOf, unpackWithManifest } from "../TreeManifest.ts"
import { applyLayers, layersOf, unrestoredOf, withPlainLayers } from "../UnpackImage.ts"
import { configFiles } from "./BundleConfig.ts"
import * as Files from "./BundleFiles.ts"

export interface BundleWriterOptions {
  readonly path: string
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

export const make = Effect.fn("BundleWriter.make")(function* (options: BundleWriterOptions) {
  const pool = yield* WorkerPool
  return {
    write: (image, writeOptions) => write(options, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("BundleWriter.write")(function* (
  { path: target, tempDirectory }: BundleWriterOptions,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const { journal, root } = yield* beside(target, "a bundle", image, tempDirectory)
  return yield* Effect.gen(function* () {
    const temporary = journal.temporary()
    yield* Effect.try({
      try: () => fs.mkdirSync(temporary, { mode: 0o755 }),
      catch: unwritable(`cannot write beside ${target}`)
    })
    const receipt = yield* withPlainLayers(image, target, journal, (layers) =>
      Effect.gen(function* () {
        const { problems, tree } = yield* applyLayers(image, layers)
        const configs = yield* configFiles(image, tree, layers)
        const doing = unwritable(`cannot write ${target}`)
        const { manifest, unpacked } = yield* unpackWithManifest(
          tree,
          path.join(temporary, Files.rootfs),
          layers,
          { name: Files.manifest, target: path.join(temporary, Files.manifest) },
          doing
        )
        const receipt: Receipt.Receipt = {
          tool: "tallyman",
          version,
          layout: "oci",
          names: image.names,
          image: image.config.digest,
          source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
          filters,
          conversions: [],
          files: [...configs.map(({ file }) => file), manifest],
          details: {
            layers: layersOf(image, layers),
            entries: unpacked.names,
            hardlinks: hardlinksOf(tree),
            problems,
            unrestored: unrestoredOf(unpacked)
          }
        }
        yield* Effect.try({
          try: () => {
            for (const { bytes, file } of configs) Journal.writeNew(path.join(temporary, file.path), bytes)
            Journal.writeNew(path.join(temporary, Files.receipt), encode(receipt))
          },
          catch: doing
        })
        return receipt
      })
    )
    yield* publish(temporary, root, journal)
    return receipt
  }).pipe(Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(journal.abandon) : Effect.void)))
})
