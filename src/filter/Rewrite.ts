/** Layers rewritten by edits, and the config that names them rewritten once. */

import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Codec from "../content/Compression.ts"
import type { EditFacts } from "../content/LayerEdits.ts"
import { openForRead } from "../content/OpenFile.ts"
import * as Job from "../content/Rewrite.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import * as ImageConfig from "../image/ImageConfig.ts"
import { FilterError } from "./Filter.ts"
import { type JsonPath, replaceScalars } from "./JsonText.ts"

/** One layer, as it is behind an edit. */
export interface RewrittenLayer {
  /** The one that was given when the edit changed nothing. */
  readonly layer: Image.Layer
  readonly facts: EditFacts
}

/** For messages. */
export const nameOf = (layer: Image.Layer): string => `layer ${layer.index} (${layer.name})`

export const damaged = (layer: Image.Layer, message: string): FilterError =>
  new FilterError({ reason: "Damaged", message: `cannot filter ${nameOf(layer)}: ${message}` })

/** The error for a layer of which nothing can tell whether it is the image's. */
export const unprovable = (layer: Image.Layer): FilterError =>
  new FilterError({
    reason: "Unsupported",
    message: `cannot filter ${nameOf(layer)}: expected a diff_id of ${Digest.known}, found ${layer.diffId}`
  })

/** The error for what a pass over a layer met. */
export const failed = (
  layer: Image.Layer,
  failure: NonNullable<Job.Rewritten["failure"]>,
  doing: "filter" | "search" = "filter"
): FilterError =>
  new FilterError({
    reason: failure.reason === "unreadable" ? "Unreadable" : "Damaged",
    message: `cannot ${doing} ${nameOf(layer)}: ${failure.message}`
  })

/**
 * What edits made of layers already, for as long as this is provided: images that are filtered together share layers.
 */
export class KnownLayers extends Context.Reference<KnownLayers>()("tallyman/KnownLayers", {
  defaultValue: (): Map<string, RewrittenLayer> | undefined => undefined
}) {}

/**
 * What an edit each makes of layers: every one is read once, proved to be what the config says, and hashed behind the edit. Nothing
 * is written; writers apply the edits again. Layers of the same bytes are read once.
 */
export const rewriteLayers = Effect.fn("Rewrite.rewriteLayers")(function* (
  layers: ReadonlyArray<Image.Layer>,
  edits: ReadonlyArray<Image.Edit>
): Effect.fn.Return<ReadonlyArray<RewrittenLayer>, FilterError, WorkerPool> {
  const pool = yield* WorkerPool
  const done = (yield* KnownLayers) ?? new Map<string, RewrittenLayer>()
  const passes = new Map<string, Pass>()
  const keys: Array<string> = []
  for (const [position, layer] of layers.entries()) {
    if (!Digest.isComputable(layer.diffId)) return yield* unprovable(layer)
    const edit = edits[position]!
    const key = JSON.stringify([layer.bytes, layer.diffId, layer.digest, layer.edits, edit])
    keys.push(key)
    if (!done.has(key) && !passes.has(key)) passes.set(key, passOver(layer, edit))
  }
  const all = [...passes.values()]
  const results = yield* pool.runAll(
    Job.job,
    all.flatMap((pass) => pass.tasks)
  )
  let next = 0
  for (const [key, pass] of passes) {
    const own = results.slice(next, (next += pass.tasks.length))
    done.set(key, yield* judge(pass, own))
  }
  return layers.map((layer, position) => {
    const { facts, layer: rewritten } = done.get(keys[position]!)!
    const same = rewritten.diffId === layer.diffId
    return { facts, layer: same ? layer : { ...rewritten, index: layer.index, name: layer.name } }
  })
})

interface Pass {
  readonly layer: Image.Layer
  readonly edits: ReadonlyArray<Image.Edit>
  readonly tasks: ReadonlyArray<Job.RewriteTask>
}

/**
 * A layer that is edited already was hashed when it was. Of an untouched one both sides have to be hashed: where it is a
 * plain tar two threads can do that, as reading it twice costs next to nothing; decompressing it twice would not.
 */
const passOver = (layer: Image.Layer, edit: Image.Edit): Pass => {
  const edits = [...layer.edits, edit]
  const input = { region: layer.bytes, ...(layer.limits === undefined ? {} : { limits: layer.limits }) }
  const stored = Digest.algorithmsOf(layer.digest)
  // Both sides in the same one: whether they differ tells whether anything was edited.
  const diffId = Digest.algorithmsOf(layer.diffId)
  const tasks: ReadonlyArray<Job.RewriteTask> =
    layer.edits.length > 0
      ? [{ ...input, edits, stored: [], before: [], after: diffId }]
      : isPlain(layer)
        ? [
            { ...input, edits: [], stored, before: diffId, after: [] },
            { ...input, edits, stored: [], before: [], after: diffId }
          ]
        : [{ ...input, edits, stored, before: diffId, after: diffId }]
  return { layer, edits, tasks }
}

/** Whether the bytes as stored are the tar. What cannot be read counts as plain: the pass over it says why. */
export const isPlain = (layer: Image.Layer): boolean => {
  let fd: number | undefined
  try {
    fd = openForRead(layer.bytes.path)
    const head = Buffer.alloc(Math.min(512, layer.bytes.size))
    return Codec.detect(head.subarray(0, fs.readSync(fd, head, 0, head.length, layer.bytes.offset))) === "none"
  } catch {
    return true
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

const judge = (
  { edits, layer }: Pass,
  results: ReadonlyArray<Job.Rewritten>
): Either.Either<RewrittenLayer, FilterError> => {
  const [input, output] = [results[0]!, results.at(-1)!]
  // A layer that is not the one the config names says more than that it cannot be edited.
  if (input.failure === undefined && layer.edits.length === 0) {
    const wrong = mismatch(layer, input.stored, input.before)
    if (wrong !== undefined) return Either.left(damaged(layer, wrong))
  }
  const failure = input.failure ?? output.failure
  if (failure !== undefined) return Either.left(failed(layer, failure))
  const diffId = Digest.like(layer.diffId, output.after)!
  const facts = output.edits.at(-1)!
  if (diffId === layer.diffId) return Either.right({ layer, facts })
  const { digest: _, ...rest } = layer
  return Either.right({ layer: { ...rest, diffId, edits, uncompressedSize: output.size }, facts })
}

/** In what a layer that was read is not the one that the image names; `tar` was computed over the uncompressed one. */
export const mismatch = (layer: Image.Layer, stored: Digest.Hashed, tar: Digest.Hashed): string | undefined => {
  const digest = layer.digest === undefined ? undefined : Digest.like(layer.digest, stored)
  if (digest !== undefined && digest !== layer.digest) return `expected ${layer.digest}, found ${digest}`
  const diffId = Digest.like(layer.diffId, tar)
  return diffId === layer.diffId ? undefined : `expected diff_id ${layer.diffId}, found ${diffId}`
}

/** What changes in a config besides the diff_ids. */
export interface ConfigChange {
  /**
   * An RFC 3339 time for every one that is there: `created` of the config and of its history, labels and the manifest's
   * annotations that say when the image was made.
   */
  readonly created?: string
}

/**
 * The image with these layers: the diff_ids in its config replaced, everything else in it kept byte for byte, and thereby
 * a new image ID. The very same image when nothing changed. The manifest stays for what it says beside its descriptors;
 * it no longer fits, which writers see by the config's digest.
 */
export const withLayers = (
  image: Image.Image,
  layers: ReadonlyArray<Image.Layer>,
  change: ConfigChange = {}
): Effect.Effect<Image.Image, FilterError> =>
  Effect.suspend(() => {
    const text = Buffer.from(image.config.raw).toString("utf8")
    const wanted = layers.map((layer) => layer.diffId)
    const created = change.created === undefined ? undefined : JSON.stringify(change.created)
    const next = replaceScalars(text, (path, scalar) => {
      const position = diffIdAt(path)
      if (position !== undefined) {
        const diffId = wanted[position]
        return diffId === undefined || diffId === image.layers[position]!.diffId ? undefined : JSON.stringify(diffId)
      }
      return created !== undefined && scalar.startsWith('"') && isCreated(path) ? created : undefined
    })
    const dated = created === undefined ? image : withDatedManifest(image, created)
    return next === text ? Effect.succeed(dated) : withConfig(dated, next, layers)
  })

const withDatedManifest = (image: Image.Image, created: string): Image.Image => {
  const { manifest } = image
  if (manifest === undefined) return image
  const text = Buffer.from(manifest.raw).toString("utf8")
  const next = replaceScalars(text, ([first, name, ...rest], scalar) =>
    first === "annotations" && rest.length === 0 && isDated(name) && scalar.startsWith('"') ? created : undefined
  )
  const dated = Object.entries(manifest.annotations ?? {}).flatMap(([key, was]) =>
    isDated(key) && was !== JSON.parse(created) ? [key] : []
  )
  if (next === text && dated.length === 0) return image
  const annotations = { ...manifest.annotations, ...Object.fromEntries(dated.map((key) => [key, JSON.parse(created)])) }
  return {
    ...image,
    manifest: {
      ...manifest,
      ...(dated.length === 0 ? {} : { annotations }),
      ...(next === text ? {} : { raw: Buffer.from(next), isEdited: true })
    }
  }
}

/** The image with these layers and another config, which has to name them. */
export const withConfig = (
  image: Image.Image,
  text: string,
  layers: ReadonlyArray<Image.Layer>
): Effect.Effect<Image.Image, FilterError> =>
  Effect.suspend(() => {
    const raw = Buffer.from(text)
    const value = ImageConfig.decode(JSON.parse(text.replace(/^\ufeff/, "")))
    if (
      Either.isLeft(value) ||
      value.right.rootfs.diff_ids.length !== layers.length ||
      value.right.rootfs.diff_ids.some((diffId, index) => diffId !== layers[index]!.diffId)
    ) {
      return Effect.fail(
        new FilterError({
          reason: "Damaged",
          message: "cannot filter the image: its config has no diff_ids that could be rewritten"
        })
      )
    }
    const digest = Digest.make("sha256", crypto.createHash("sha256").update(raw).digest("hex"))
    return Effect.succeed({ ...image, config: { raw, value: value.right, digest }, layers })
  })

const diffIdAt = (path: JsonPath): number | undefined =>
  path.length === 3 && path[0] === "rootfs" && path[1] === "diff_ids" && typeof path[2] === "number"
    ? path[2]
    : undefined

const isCreated = (path: JsonPath): boolean =>
  (path.length === 1 && path[0] === "created") ||
  (path.length === 3 && path[0] === "history" && typeof path[1] === "number" && path[2] === "created") ||
  (path.length === 3 && configs.has(path[0]) && path[1] === "Labels" && isDated(path[2]))

/** Docker keeps the config of the container in which the last step ran beside the image's. */
const configs: ReadonlySet<string | number | undefined> = new Set(["config", "container_config"])

/** Keys that say when an image was made, in the same form as `created` (image-spec annotations.md, label-schema.org). */
const isDated = (key: string | number | undefined): boolean =>
  key === "org.opencontainers.image.created" || key === "org.label-schema.build-date"
