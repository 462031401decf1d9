/** Images put into an OCI layout: layers, configs and manifests, which nothing there lists yet. */

import * as Effect from "effect/Effect"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Conversion from "../Conversion.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import type { BlobPlace } from "./BlobPlace.ts"

/** How they are to be stored. */
export interface Storage extends LayerCopy.Wanted {
  /** Media types to convert manifests to; as the source has them by default. */
  readonly mediaTypes?: Conversion.Family | undefined
}

export interface WrittenImage {
  readonly manifest: Conversion.WrittenManifest
  readonly layers: ReadonlyArray<LayerCopy.Stored>
  /** The manifest is the last. */
  readonly files: ReadonlyArray<Receipt.File>
}

/** Writes images, in their order; a layer that several of them have is written once. */
export const write = Effect.fn("OciImages.write")(function* (
  place: BlobPlace,
  storage: Storage,
  images: ReadonlyArray<Image.Image>
) {
  const plans = images.map((image) => image.layers.map((layer) => LayerCopy.plan(layer, storage)))
  const distinct = LayerCopy.distinct(plans.flat())
  const stored = new Map<LayerCopy.Plan, LayerCopy.Stored>()
  const written: Array<WrittenImage> = []
  for (const [index, image] of images.entries()) {
    const wanted = new Set(plans[index]!.map(distinct.of))
    const left = [...wanted].filter((plan) => !stored.has(plan))
    for (const [plan, one] of yield* place.layers(left)) stored.set(plan, one)
    const layers = plans[index]!.map((plan) => ({ ...stored.get(distinct.of(plan))!, layer: plan.layer }))
    written.push(yield* writeDocuments(place, image, layers, storage.mediaTypes))
  }
  return written
})

/** The config and the manifest of an image whose layers are in place. */
const writeDocuments = Effect.fnUntraced(function* (
  place: BlobPlace,
  image: Image.Image,
  layers: ReadonlyArray<LayerCopy.Stored>,
  mediaTypes: Conversion.Family | undefined
) {
  const manifest = Conversion.manifestOf(image, layers, mediaTypes)
  const config = Digest.blobPath(image.config.digest)
  const manifestFile = Digest.blobPath(manifest.descriptor.digest)
  yield* Effect.try({
    try: () => {
      place.document(config, image.config.raw)
      place.document(manifestFile, manifest.raw)
    },
    catch: unwritable(`cannot write into ${place.path}`)
  })
  const blobs = new Map(
    layers.map((layer): readonly [string, Receipt.File] => {
      const file = Digest.blobPath(layer.digest)
      return [file, { path: file, size: layer.size, sha256: layer.sha256 }]
    })
  )
  return {
    manifest,
    layers,
    files: [Receipt.fileOf(config, image.config.raw), ...blobs.values(), Receipt.fileOf(manifestFile, manifest.raw)]
  } satisfies WrittenImage
})
