/**
 * Images of an archive that is a docker-save archive and an OCI layout in one: manifest.json has the names as Docker
 * knows them, the layout has the manifests, whose bytes and digests would be lost if only the former were read.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Image from "../../image/Image.ts"
import type { Region } from "../../image/Region.ts"
import type { SourceError } from "../Failure.ts"
import type { Candidate } from "../ImageSource.ts"
import * as OciSource from "../oci-layout/OciSource.ts"
import type { Store } from "../Store.ts"
import { manifestFile } from "./ArchiveFiles.ts"
import * as SavedSource from "./SavedSource.ts"

/**
 * The images of manifest.json, each with the manifest of the same config and layers that `layout` has, where there is
 * one. `layout` is the same archive, seen as a layout.
 */
export const candidates = Effect.fn("HybridSource.candidates")(function* (
  store: Store,
  layout: Store,
  uri: string
): Effect.fn.Return<ReadonlyArray<Candidate>, SourceError> {
  const saved = yield* SavedSource.candidates(store, uri, manifestFile)
  const known = yield* Effect.cached(manifests(layout, uri))
  return saved.map((one) => ({
    ...one,
    load: Effect.gen(function* () {
      const image = yield* one.load
      const { images, refused } = yield* known
      const same = withManifest(image, images.get(image.config.digest) ?? [])
      const refusal = same.manifest === undefined ? refused.get(image.config.digest) : undefined
      return refusal === undefined ? same : yield* refusal
    })
  }))
})

/** What the layout has, by the digest of the config. */
interface Known {
  readonly images: Map<string, Array<Image.Image>>
  /** Images whose layers are not all tars, which manifest.json cannot say. */
  readonly refused: Map<string, SourceError>
}

/** What cannot be loaded for other reasons is left out: manifest.json alone tells all that is needed. */
const manifests = (store: Store, uri: string): Effect.Effect<Known> => {
  const known: Known = { images: new Map(), refused: new Map() }
  return Effect.gen(function* () {
    for (const candidate of yield* OciSource.candidates(store, uri)) {
      const loaded = yield* Effect.either(candidate.load)
      if (Either.isLeft(loaded)) {
        if (candidate.notOfTars !== undefined) known.refused.set(candidate.notOfTars, loaded.left)
        continue
      }
      const { digest } = loaded.right.config
      known.images.set(digest, [...(known.images.get(digest) ?? []), loaded.right])
    }
    return known
  }).pipe(Effect.orElseSucceed(() => known))
}

const withManifest = (image: Image.Image, known: ReadonlyArray<Image.Image>): Image.Image => {
  const same = known.find(
    (one) =>
      one.layers.length === image.layers.length &&
      one.layers.every((layer, index) => isSame(layer.bytes, image.layers[index]!.bytes))
  )
  return same === undefined ? image : { ...image, manifest: same.manifest, layers: same.layers }
}

/** The same member: its name may be another one in each of the two. */
const isSame = (one: Region, other: Region): boolean => one.path === other.path && one.offset === other.offset
