/** `rebase`: an image's own layers on the layers of another base. */

import * as Effect from "effect/Effect"
import type { LayerInput } from "../content/LayerStream.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import { count } from "../image/Count.ts"
import type * as Image from "../image/Image.ts"
import type * as ImageConfig from "../image/ImageConfig.ts"
import * as Json from "../image/Json.ts"
import * as Platform from "../image/Platform.ts"
import * as Reference from "../image/Reference.ts"
import * as ApplyLayers from "./ApplyLayers.ts"
import * as Filter from "./Filter.ts"
import { replaceValues, withMember } from "./JsonText.ts"
import { nameOf, withConfig } from "./Rewrite.ts"

/**
 * Opens the image that a source names, to be read as long as what is made of it. Where the source holds several and does
 * not say which, the one for this platform is meant.
 */
export type OpenImage = (
  source: string,
  platform: Platform.Platform | undefined
) => Effect.Effect<Image.Image, Filter.FilterError, WorkerPool>

export interface RebaseOptions {
  /** Sources, as a command line names them. */
  readonly oldBase: string
  readonly newBase: string
}

/**
 * Replaces the layers of `oldBase`, which have to be the image's first ones, by those of `newBase`. The layers above them
 * keep their bytes; that they can be applied to the new base is proved first, by their headers. The config stays the
 * image's own but for the diff_ids, the history of the base, and the os.version, which is the base's.
 */
export const make = ({ newBase, oldBase }: RebaseOptions, open: OpenImage): Filter.Filter =>
  Filter.make(
    "rebase",
    { old_base: oldBase, new_base: newBase },
    Effect.fnUntraced(function* (image) {
      const old = yield* open(oldBase, image.platform)
      const fresh = yield* open(newBase, image.platform)
      const refusal =
        baseMismatch(image, old, oldBase) ?? platformMismatch(image, fresh, newBase) ?? historyMismatch(image, fresh)
      if (refusal !== undefined) return yield* mismatch(refusal)
      const own = image.layers.slice(old.layers.length)
      const layers = [...fresh.layers, ...own].map((layer, index) => ({ ...layer, index }))
      const text = configOf(image, old, fresh)
      const done = {
        report: {
          filter: "rebase",
          oldBase: { id: old.config.digest, layers: old.layers.length },
          newBase: { id: fresh.config.digest, layers: fresh.layers.length },
          kept: own.length
        },
        inputs: { old_base: old.config.digest, new_base: fresh.config.digest }
      } as const
      if (text === Buffer.from(image.config.raw).toString("utf8")) return { ...done, image }
      const pool = yield* WorkerPool
      const [applied] = yield* pool.runAll(ApplyLayers.job, [{ layers: layers.map(inputOf) }])
      const failure = applied!.failure
      if (failure !== undefined) {
        const at = failure.layer - fresh.layers.length
        const which = at < 0 ? `${nameOf(layers[failure.layer]!)} of ${newBase}` : `${nameOf(own[at]!)} on ${newBase}`
        return yield* new Filter.FilterError({
          reason: failure.reason === "unreadable" ? "Unreadable" : at < 0 ? "Damaged" : "Mismatch",
          message: `cannot rebase ${which}: ${failure.message}`
        })
      }
      const next = yield* withConfig(image, text, layers)
      return { ...done, image: { ...next, annotations: { ...image.annotations, ...annotationsOf(image, fresh) } } }
    })
  )

const mismatch = (message: string): Filter.FilterError =>
  new Filter.FilterError({ reason: "Mismatch", message: `cannot rebase: ${message}` })

const inputOf = ({ bytes, edits, limits }: Image.Layer): LayerInput => ({
  region: bytes,
  edits,
  ...(limits === undefined ? {} : { limits })
})

/** Why the image does not stand on that base. */
const baseMismatch = (image: Image.Image, old: Image.Image, source: string): string | undefined => {
  const at = old.layers.findIndex(({ diffId }, index) => diffId !== image.layers[index]?.diffId)
  if (at < 0) return undefined
  const found = image.layers[at]
  const expected = `expected diff_id ${old.layers[at]!.diffId} as layer ${at}, as in the old base ${source}`
  if (found === undefined) return `${expected}, found an image of ${count(image.layers.length, "layer")}`
  const changed = found.edits.length > 0 ? " (a filter before this one made it: rebase first)" : ""
  return `${expected}, found ${found.diffId}${changed}`
}

const platformMismatch = (image: Image.Image, fresh: Image.Image, source: string): string | undefined => {
  const [wanted, found] = [platformOf(image.config.value), platformOf(fresh.config.value)]
  return wanted === found
    ? undefined
    : `expected a base for ${wanted}, as the image is, found ${source} to be for ${found}`
}

const platformOf = ({ architecture, os, variant }: ImageConfig.ImageConfig): string =>
  Platform.show(
    Platform.normalize({
      os: os ?? "",
      architecture: architecture ?? "",
      ...(variant === undefined || variant === null ? {} : { variant })
    })
  )

/** A step of history as it stands in the config, whatever else it says. */
type Step = Readonly<Record<string, unknown>>

const stepsOf = ({ raw }: Image.Image["config"]): ReadonlyArray<Step> => {
  const { value } = Json.parse(raw)
  const history = Json.isObject(value) ? value["history"] : undefined
  return Array.isArray(history) ? history.filter(Json.isObject) : []
}

const makesLayer = (step: Step): boolean => step["empty_layer"] !== true

/** Which step belongs to which layer cannot be told when these are not as many. No history at all is none to keep. */
const historyMismatch = (...images: ReadonlyArray<Image.Image>): string | undefined => {
  for (const { config, layers, source } of images) {
    const steps = stepsOf(config)
    const found = steps.filter(makesLayer).length
    if (steps.length > 0 && found !== layers.length) {
      return `expected ${layers.length} steps with a layer in the history of ${source}, as it has layers, found ${found}`
    }
  }
  return undefined
}

/** The position behind the step that made the layer `layers - 1`. */
const behind = (steps: ReadonlyArray<Step>, layers: number): number => {
  let at = 0
  for (let left = layers; left > 0; at++) if (makesLayer(steps[at]!)) left--
  return at
}

/**
 * The new base's steps and those of the image that are not its old base's. Steps without a layer that follow the base's
 * last layer are the base's as far as it has the same ones there. An image without history gets none.
 */
const historyOf = (image: Image.Image, old: Image.Image, fresh: Image.Image): ReadonlyArray<Step> => {
  const own = stepsOf(image.config)
  if (own.length === 0) return own
  const below = stepsOf(old.config)
  let at = behind(own, old.layers.length)
  if (below.filter(makesLayer).length === old.layers.length) {
    for (const step of below.slice(behind(below, old.layers.length))) {
      const same = own[at]
      if (same === undefined || makesLayer(same) || (same["created_by"] ?? "") !== (step["created_by"] ?? "")) break
      at++
    }
  }
  const steps = stepsOf(fresh.config)
  return [...(steps.length > 0 ? steps : fresh.layers.map(() => unknownStep(fresh))), ...own.slice(at)]
}

const unknownStep = ({ config: { value } }: Image.Image): Step => ({
  ...(typeof value.created === "string" ? { created: value.created } : {}),
  created_by: "tallyman rebase",
  comment: "a layer of the new base, which has no history"
})

/** The config's text: every byte of it that says the same as before stays. */
const configOf = (image: Image.Image, old: Image.Image, fresh: Image.Image): string => {
  const { raw, value } = image.config
  const diffIds = [...fresh.layers, ...image.layers.slice(old.layers.length)].map(({ diffId }) => diffId)
  const history = JSON.stringify(historyOf(image, old, fresh))
  const isSameHistory = history === JSON.stringify(stepsOf(image.config))
  const isSameRoot = JSON.stringify(diffIds) === JSON.stringify(value.rootfs.diff_ids)
  const version = fresh.config.value["os.version"] ?? value["os.version"] ?? undefined
  const text = replaceValues(Buffer.from(raw).toString("utf8"), ([first, second, ...rest]) => {
    if (first === "rootfs" && second === "diff_ids" && rest.length === 0) {
      return isSameRoot ? undefined : JSON.stringify(diffIds)
    }
    if (second !== undefined) return undefined
    if (first === "history") return isSameHistory ? undefined : history
    return first === "os.version" && version !== value["os.version"] ? JSON.stringify(version) : undefined
  })
  return version === undefined || value["os.version"] !== undefined
    ? text
    : withMember(text, "os.version", JSON.stringify(version))
}

const baseDigest = "org.opencontainers.image.base.digest"
const baseName = "org.opencontainers.image.base.name"

/** What is said of its base would be untrue from now on. What is not known of the new one goes. */
const annotationsOf = ({ manifest }: Image.Image, fresh: Image.Image): NonNullable<Image.Image["annotations"]> => {
  const value = manifest === undefined ? undefined : Json.parse(manifest.raw).value
  const own = Json.isObject(value) && Json.isObject(value["annotations"]) ? value["annotations"] : {}
  const stated: Readonly<Record<string, unknown>> = { ...manifest?.annotations, ...own }
  const name =
    fresh.names.find((one) => Reference.same(one, String(stated[baseName]))) ??
    fresh.names.find((one) => Reference.parse(one)?.tag !== undefined)
  return {
    ...(baseDigest in stated ? { [baseDigest]: fresh.manifest?.digest } : {}),
    ...(baseName in stated ? { [baseName]: name } : {})
  }
}
