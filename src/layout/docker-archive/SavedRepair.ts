/** What of an image that a manifest.json names has to be written again, in a directory or an archive: its config and layers. */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as ImageConfig from "../../image/ImageConfig.ts"
import * as Json from "../../image/Json.ts"
import * as LayerCopy from "../LayerCopy.ts"
import * as Receipt from "../Receipt.ts"
import * as Restore from "../Restore.ts"
import { plainName, readSmall, type Store } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import type { SavedImage } from "./DockerSave.ts"
import * as SavedIdentity from "./SavedIdentity.ts"

/** The image's files, layers from the base up. */
export interface Named {
  readonly config: string
  readonly layers: ReadonlyArray<string>
}

/** A string says why the files cannot be told from what an entry of the manifest has. */
export const namesOf = (
  saved: { readonly config: string | undefined; readonly layers: ReadonlyArray<string> | undefined },
  image: Image.Image
): Named | string => {
  if (saved.config === undefined || saved.layers === undefined) return "it does not name a config and layers"
  return saved.layers.length === image.layers.length
    ? { config: saved.config, layers: saved.layers }
    : `it names ${count(saved.layers.length, "layer")}, the image has ${image.layers.length}`
}

/** What an image means by names of files: content by its digest, undefined where nothing tells. */
export type Claim = ReadonlyArray<readonly [file: string, digest: string | undefined]>

/** What an entry of the manifest means by its layers' names; `image` is the copy of it, undefined where there is none. */
export const claimOf = (store: Store, saved: SavedImage, image: Image.Image | undefined): Claim => {
  const diffIds = image?.layers.map(({ diffId }) => diffId) ?? diffIdsOf(store, saved)
  return (saved.layers ?? []).map((file, index) => [file, diffIds[index]] as const)
}

/** As its config has them; nothing when that tells none. */
const diffIdsOf = (store: Store, { config }: SavedImage): ReadonlyArray<string> => {
  const raw = config === undefined ? undefined : readSmall(store, config)
  const decoded = raw === undefined ? undefined : Either.getOrUndefined(ImageConfig.decode(Json.parse(raw).value))
  return decoded?.rootfs.diff_ids ?? []
}

/** What stands in the way of writing a file that several images name: that they do not all mean the same content by it. */
export const disputed = (claims: ReadonlyArray<Claim>): ((file: string) => string | undefined) => {
  const meant = new Map<string, Set<string | undefined>>()
  for (const claim of claims) {
    for (const [file, digest] of claim)
      meant.set(plainName(file), (meant.get(plainName(file)) ?? new Set()).add(digest))
  }
  const isDisputed = (file: string): boolean => {
    // A blob's name says what it has to hold, whoever names it.
    if (Files.blobDigest(file) !== undefined) return false
    const [one, other, ...more] = [...(meant.get(file) ?? [])].sort()
    // So does one with the digest in it that an image means, where nothing tells what others mean.
    const isSettled = other === undefined && one !== undefined && file.includes(Digest.encodedOf(one as Digest.Digest))
    return (meant.get(file)?.size ?? 0) > 1 && !(isSettled && more.length === 0)
  }
  return (file) => (isDisputed(plainName(file)) ? "another image names it too, and means other content" : undefined)
}

/**
 * Wants in `draft` what of `named` is not as it belongs to `image`. `receipt`: of the run that wrote it. `unseen`: its
 * manifest was not there to lead anybody to its files.
 */
export const plan = Effect.fn("SavedRepair.plan")(function* (
  store: Store,
  named: Named,
  image: Image.Image,
  receipt: Receipt.Receipt | undefined,
  flagged: Restore.Flagged,
  draft: Restore.Draft,
  unseen = false
) {
  const isConfig = SavedIdentity.isConfigOf(store, named.config, image)
  if (!isConfig) draft.want(named.config, { kind: "bytes", bytes: image.config.raw })
  const layers = named.layers.map((file, index) => placed(file, image.layers[index]!, receipt))
  const recorded = LayerCopy.detailsIn(receipt)
  // A config that cannot be read told nobody what the layers should be.
  const isSuspect: Restore.Flagged = unseen || !isConfig ? () => true : flagged
  const spoilt = new Set((yield* Restore.spoilt(store, layers, isSuspect)).map((one) => one.path))
  for (const [index, { digest, path: file }] of layers.entries()) {
    if (!spoilt.delete(file)) continue
    const layer = image.layers[index]!
    const misplaced = misplacedIn(file, layer, image)
    const form =
      misplaced === undefined
        ? Restore.formOf(
            layer,
            digest,
            recorded.find((one) => one.digest === digest)
          )
        : undefined
    if (form !== undefined) draft.want(file, { kind: "layer", layer, form, digest })
    else draft.cannot(file, misplaced ?? `the source has the layer in other bytes than ${digest}`)
  }
})

const placed = (file: string, { diffId }: Image.Layer, receipt: Receipt.Receipt | undefined): Restore.Placed => {
  const recorded = receipt?.files.find((one) => one.path === file)
  const promised = /^blobs\/sha256\/([a-f0-9]{64})$/.exec(file)?.[1]
  return {
    path: file,
    diffId,
    digest:
      recorded !== undefined ? Receipt.digestOf(recorded) : promised === undefined ? undefined : `sha256:${promised}`
  }
}

/** A directory that is named after another layer of the image is not to be filled with this one. */
const misplacedIn = (file: string, { diffId }: Image.Layer, { layers }: Image.Image): string | undefined => {
  const hex = /([a-f0-9]{64})/.exec(file)?.[1]
  return hex !== undefined &&
    Digest.encodedOf(diffId) !== hex &&
    layers.some((one) => Digest.encodedOf(one.diffId) === hex)
    ? "the manifest names it in the place of another layer"
    : undefined
}
