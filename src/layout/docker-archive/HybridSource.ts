/**
 * Images of an archive that is a docker-save archive and an OCI layout in one: manifest.json has the names as Docker
 * knows them, the layout has the manifests, whose bytes and digests would be lost if only the former were read.
 */
import * as Effect from "effect/Effect"
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
    load: Effect.flatMap(one.load, (image) => Effect.map(known, (all) => withManifest(image, all)))
  }))
})

/** By the digest of their config. What cannot be loaded is left out: manifest.json alone tells all that is needed. */
const manifests = (store: Store, uri: string): Effect.Effect<ReadonlyMap<string, ReadonlyArray<Image.Image>>> =>
  Effect.gen(function* () {
    const found = new Map<string, Array<Image.Image>>()
    for (const candidate of yield* OciSource.candidates(store, uri)) {
      const image = yield* Effect.option(candidate.load)
      if (image._tag === "None") continue
      const same = found.get(image.value.config.digest)
      if (same === undefined) found.set(image.value.config.digest, [image.value])
      else same.push(image.value)
    }
    return found
  }).pipe(Effect.orElseSucceed(() => new Map<string, ReadonlyArray<Image.Image>>()))

const withManifest = (image: Image.Image, known: ReadonlyMap<string, ReadonlyArray<Image.Image>>): Image.Image => {
  const same = known
    .get(image.config.digest)
    ?.find(
      (one) =>
        one.layers.length === image.layers.length &&
        one.layers.every((layer, index) => isSame(layer.bytes, image.layers[index]!.bytes))
    )
  return same === undefined ? image : { ...image, manifest: same.manifest, layers: same.layers }
}

/** The same member: its name may be another one in each of the two. */
const isSame = (one: Region, other: Region): boolean => one.path === other.path && one.offset === other.offset
