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
 * one, and behind them those that only the layout has. What it says to be no image is none: containerd lists artifacts in
 * manifest.json too. `layout` is the same archive, seen as a layout.
 */
export const candidates = Effect.fn("HybridSource.candidates")(function* (
  store: Store,
  layout: Store,
  uri: string
): Effect.fn.Return<ReadonlyArray<Candidate>, SourceError> {
  const saved = yield* SavedSource.candidates(store, uri, manifestFile)
  // What is wrong with the layout is no fault of these: manifest.json alone tells all that is needed.
  const { artifacts, images, none } = yield* Effect.orElseSucceed(OciSource.contents(layout, uri), () => nothing)
  const known = yield* Effect.cached(manifests(images))
  const listed = saved
    .filter(({ config, digest }) => digest !== undefined || config === undefined || !artifacts.has(config))
    .map((one) => ({
      ...one,
      load: Effect.gen(function* () {
        const image = yield* one.load
        const { loaded, refused } = yield* known
        const same = withManifest(image, loaded.get(image.config.digest) ?? [])
        const refusal = same.manifest === undefined ? refused.get(image.config.digest) : undefined
        return refusal === undefined ? same : yield* refusal
      })
    }))
  if (listed.length === 0) return none === undefined || saved.length === 0 ? images : yield* none
  const configs = new Set(listed.map(({ config }) => config))
  const others = images.filter(({ config }) => config !== undefined && !configs.has(config))
  return [...listed, ...others.map((one) => ({ ...one, isBeside: true }))]
})

const nothing: OciSource.Contents = { images: [], artifacts: new Set(), none: undefined }

/** What the layout has, by the digest of the config. */
interface Known {
  readonly loaded: Map<string, Array<Image.Image>>
  /** Images whose layers are not all tars, which manifest.json cannot say. */
  readonly refused: Map<string, SourceError>
}

/** What cannot be loaded for other reasons is left out. */
const manifests = (images: ReadonlyArray<Candidate>): Effect.Effect<Known> =>
  Effect.gen(function* () {
    const known: Known = { loaded: new Map(), refused: new Map() }
    for (const { config, isOfTars, load } of images) {
      const image = yield* Effect.either(load)
      if (Either.isLeft(image)) {
        if (isOfTars === false && config !== undefined) known.refused.set(config, image.left)
        continue
      }
      const { digest } = image.right.config
      known.loaded.set(digest, [...(known.loaded.get(digest) ?? []), image.right])
    }
    return known
  })

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
