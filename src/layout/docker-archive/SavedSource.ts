/** Images of a docker-save manifest.json, in an archive or a directory, as a source. */

import * as crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Collector } from "../../check/Collector.ts"
import * as Hasher from "../../content/Hasher.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as ImageConfig from "../../image/ImageConfig.ts"
import * as MediaType from "../../image/MediaType.ts"
import * as PythonJson from "../../image/PythonJson.ts"
import * as Document from "../Document.ts"
import { SourceError } from "../Failure.ts"
import type { Candidate } from "../ImageSource.ts"
import type { Store } from "../Store.ts"
import * as DockerSave from "./DockerSave.ts"
import { promisedDigest } from "./SavedAudit.ts"

/** Turns what a reader reported into the one error of a source that cannot be used. */
export const firstError = (doing: string, report: Collector): SourceError | undefined => {
  const errors = report.results().results.filter((one) => one.severity === "error")
  const first = errors[0]
  if (first === undefined) return undefined
  const found =
    first.expected === undefined && first.actual === undefined
      ? ""
      : ` (expected ${first.expected ?? "something else"}, found ${first.actual ?? "nothing"})`
  const more = errors.length > 1 ? `; and ${errors.length - 1} more` : ""
  return new SourceError({
    reason: "Damaged",
    message: `cannot read ${doing}: ${first.subject}: ${first.message}${found}${more}`
  })
}

/** Every image that `manifestFile` names. */
export const candidates = Effect.fn("SavedSource.candidates")(function* (
  store: Store,
  uri: string,
  manifestFile: string
): Effect.fn.Return<ReadonlyArray<Candidate>, SourceError> {
  const report = new Collector()
  const document = Document.read(store, manifestFile, Document.manifestChecks, report)
  const saved = document === undefined ? [] : DockerSave.readManifest(document, manifestFile, report, store)
  const failed = firstError(store.path, report)
  if (failed !== undefined) return yield* failed
  return merged(saved).map((one): Candidate => {
    const head = readConfig(store, one)
    return {
      names: one.names,
      digest: Either.isRight(head) ? head.right.digest : undefined,
      config: promisedDigest(one.config!) ?? (Either.isRight(head) ? head.right.digest : undefined),
      platform:
        Either.isRight(head) && head.right.value.os && head.right.value.architecture
          ? {
              os: head.right.value.os,
              architecture: head.right.value.architecture,
              ...(head.right.value.variant ? { variant: head.right.value.variant } : {})
            }
          : undefined,
      load: HasherLoading.loading(Effect.suspend(() => load(store, uri, one)))
    }
  })
}, HasherLoading.loading)

/**
 * Entries that name the same config and layers are one image with all their names, as Bazel writes an entry for each tag.
 * No name at all is none.
 */
const merged = (saved: ReadonlyArray<DockerSave.SavedImage>): ReadonlyArray<DockerSave.SavedImage> => {
  const known = new Map<string, { readonly first: DockerSave.SavedImage; readonly names: Set<string> }>()
  for (const one of saved) {
    const key = JSON.stringify([one.config, one.layers])
    const same = known.get(key) ?? { first: one, names: new Set() }
    known.set(key, same)
    for (const name of one.names) if (name !== "") same.names.add(name)
  }
  return [...known.values()].map(({ first, names }) => ({ ...first, names: [...names] }))
}

const readConfig = (
  store: Store,
  saved: DockerSave.SavedImage
): Either.Either<Image.Document<ImageConfig.ImageConfig>, SourceError> => {
  const report = new Collector()
  const document = Document.read(store, saved.config!, Document.configChecks, report)
  const failed = firstError(store.path, report)
  if (failed !== undefined) return Either.left(failed)
  const damaged = (message: string): Either.Either<never, SourceError> =>
    Either.left(
      new SourceError({ reason: "Damaged", message: `cannot read ${store.path}: ${saved.config}: ${message}` })
    )
  const value = ImageConfig.decode(document!.value)
  if (Either.isLeft(value)) return damaged(value.left)
  const promised = promisedDigest(saved.config!)
  const found = promised === undefined ? undefined : Hasher.digestOfBytes(promised, document!.raw)
  if (found !== undefined && found !== promised && !PythonJson.isReserialized(document!.raw, document!.value)) {
    return damaged(`it was changed: expected ${promised}, found ${found}`)
  }
  const digest = Digest.make("sha256", crypto.createHash("sha256").update(document!.raw).digest("hex"))
  return Either.right({ raw: document!.raw, value: value.right, digest })
}

const load = Effect.fnUntraced(function* (store: Store, uri: string, saved: DockerSave.SavedImage) {
  const config = yield* readConfig(store, saved)
  const diffIds = config.value.rootfs.diff_ids
  const names = saved.layers ?? []
  const damaged = (message: string): SourceError =>
    new SourceError({ reason: "Damaged", message: `cannot read ${store.path}: ${saved.subject}: ${message}` })
  if (names.length !== diffIds.length) {
    return yield* damaged(`expected ${count(diffIds.length, "layer")} as in the config, found ${names.length}`)
  }
  const layers: Array<Image.Layer> = []
  for (const [index, name] of names.entries()) {
    const diffId = diffIds[index]!
    if (!Digest.isDigest(diffId))
      return yield* damaged(`expected a digest as diff_id ${index}, found ${JSON.stringify(diffId.slice(0, 100))}`)
    const entry = store.lookup(name)
    if (entry === undefined) return yield* damaged(`expected layer ${index} at ${JSON.stringify(name)}, found nothing`)
    if (entry.kind !== "file") {
      return yield* damaged(
        `expected layer ${index} at ${JSON.stringify(name)} to be a file, found ${entry.kind === "directory" ? "a directory" : entry.what}`
      )
    }
    layers.push({ index, name, mediaType: MediaType.dockerLayer, diffId, bytes: entry.region, edits: [] })
  }
  const { architecture, os, variant } = config.value
  return {
    names: saved.names,
    manifest: undefined,
    config,
    layers,
    platform: os && architecture ? { os, architecture, ...(variant ? { variant } : {}) } : undefined,
    source: uri
  } satisfies Image.Image
})
