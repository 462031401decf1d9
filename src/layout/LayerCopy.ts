/** What every writer does with a layer: choose the form it is written in, and judge what the pass over it found. */

import * as fs from "node:fs"
import * as Codec from "../content/Compression.ts"
import * as Inspect from "../content/Inspect.ts"
import type { Compression } from "../image/Compression.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import { describe, SourceError, WriteError } from "./Failure.ts"
import type * as Receipt from "./Receipt.ts"

/** As the programs gzip and zstd have them. */
export const defaultLevels = { gzip: 6, zstd: 3 } as const

/** How layers are to be stored. */
export interface Wanted {
  /** undefined: as the source has them. */
  readonly compression?: Compression | undefined
  /** gzip 1-9, zstd 1-19. Given, it compresses anew what is compressed in the same way already. */
  readonly level?: number | undefined
  /** Name it by sha256, whatever the source names it by. */
  readonly sha256?: boolean
}

/** A layer and the form in which it will be written. */
export interface Plan {
  readonly layer: Image.Layer
  /** `stored`: its bytes are kept as they are. */
  readonly form: "stored" | "uncompressed" | "gzip" | "zstd"
  readonly level: number | undefined
  /** How its bytes are compressed in the source. */
  readonly found: Codec.DetectedCompression
  /** Of the bytes to be written, where it is known before they are. */
  readonly digest: Digest.Digest | undefined
}

/** A layer as it was written. */
export interface Stored {
  readonly layer: Image.Layer
  readonly digest: Digest.Digest
  readonly size: number
  /** Hex, whatever the digest's algorithm. */
  readonly sha256: string
  readonly compression: Compression
  readonly uncompressedSize: number
  /** True when the source's bytes were kept. */
  readonly kept: boolean
  readonly level: number | undefined
}

/** How a layer was stored, as a receipt's details say it. */
export interface Detail {
  readonly diffId: string
  readonly digest: string
  readonly size: number
  readonly compression: string
  readonly level?: number
}

export const detailOf = ({ compression, digest, layer, level, size }: Stored): Detail => ({
  diffId: layer.diffId,
  digest,
  size,
  compression,
  ...(level === undefined ? {} : { level })
})

/** How a run stored its layers, with the version that did. */
export const detailsIn = (
  receipt: Receipt.Receipt | undefined
): ReadonlyArray<Detail & { readonly version: string }> => {
  const layers = receipt?.details["layers"]
  return (Array.isArray(layers) ? layers : []).flatMap((one) =>
    Json.isObject(one) &&
    Digest.isDigest(one["digest"]) &&
    typeof one["size"] === "number" &&
    typeof one["diffId"] === "string" &&
    typeof one["compression"] === "string"
      ? [{ ...(one as unknown as Detail), version: receipt!.version }]
      : []
  )
}

/** What the first bytes say. What cannot be read counts as plain: the pass over it says why. */
const compressionOf = (region: Image.Layer["bytes"]): Codec.DetectedCompression => {
  let fd: number | undefined
  try {
    fd = Inspect.openForRead(region.path)
    const head = Buffer.alloc(Math.min(512, region.size))
    return Codec.detect(head.subarray(0, fs.readSync(fd, head, 0, head.length, region.offset)))
  } catch {
    return "none"
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

/** Chooses a layer's form. */
export const plan = (layer: Image.Layer, wanted: Wanted): Plan => {
  const found = compressionOf(layer.bytes)
  const target = wanted.compression ?? (found === "gzip" || found === "zstd" ? found : "none")
  // What is compressed in an unknown way is left to the pass, which says so.
  const keep =
    layer.edits.length === 0 &&
    (wanted.compression === undefined ||
      (wanted.compression === found && (found === "none" || wanted.level === undefined)))
  const form = keep ? "stored" : target === "none" ? "uncompressed" : target
  const digest =
    form === "uncompressed" || (form === "stored" && found === "none" && layer.digest === undefined)
      ? layer.diffId
      : form === "stored"
        ? layer.digest
        : undefined
  return {
    layer,
    form,
    found,
    level: form === "gzip" || form === "zstd" ? (wanted.level ?? defaultLevels[form]) : undefined,
    digest:
      digest !== undefined && wanted.sha256 === true && Digest.algorithmOf(digest) !== "sha256" ? undefined : digest
  }
}

/** The pass that reads a layer from its source and writes it into `output`: as it is, or uncompressed. */
export const task = (
  plan: Plan,
  output: { readonly path: string; readonly offset: number; readonly sync?: boolean }
): Inspect.InspectTask => ({
  region: plan.layer.bytes,
  algorithms: Digest.algorithmsOf(plan.layer.digest),
  as: "layer",
  diffIds: Digest.algorithmsOf(plan.layer.diffId),
  keepPaths: false,
  limits: plan.layer.limits ?? {},
  ...(plan.layer.edits.length === 0 ? {} : { edits: plan.layer.edits }),
  output: { ...output, form: plan.form === "stored" ? "stored" : "uncompressed" }
})

/** The pass that only proves a layer in its source. */
export const probe = (plan: Plan): Inspect.InspectTask => ({
  region: plan.layer.bytes,
  algorithms: Digest.algorithmsOf(plan.layer.digest),
  as: "layer",
  diffIds: Digest.algorithmsOf(plan.layer.diffId),
  keepPaths: false,
  limits: plan.layer.limits ?? {}
})

/** The pass over what stands already where a planned layer goes. */
export const check = (plan: Plan, region: Image.Layer["bytes"]): Inspect.InspectTask => ({
  region,
  algorithms: Digest.algorithmsOf(plan.digest),
  as: "layer",
  diffIds: Digest.algorithmsOf(plan.layer.diffId),
  keepPaths: false,
  limits: plan.layer.limits ?? {}
})

/** Whether what `check` found is the layer, in the bytes that are wanted. */
export const holds = ({ digest, layer }: Plan, evidence: Inspect.Evidence): boolean =>
  evidence.failure === undefined &&
  evidence.layer?.complete === true &&
  Digest.like(layer.diffId, evidence.layer.diffIds) === layer.diffId &&
  (digest === undefined || (Digest.like(digest, evidence.digests) ?? digest) === digest)

/** For messages. */
export const nameOf = (layer: Image.Layer): string => `layer ${layer.index} (${layer.name})`

/** Why the layer that was read is not the one that the image means, in words that follow its name; undefined when it is. */
export const fault = (
  layer: Image.Layer,
  evidence: Inspect.Evidence
): { readonly reason: "Unreadable" | "Damaged" | "Unsupported"; readonly message: string } | undefined => {
  if (evidence.failure !== undefined) return { reason: "Unreadable", message: describe(evidence.failure) }
  const damaged = (message: string) =>
    ({ reason: "Damaged", message: `it is damaged in the source: ${message}` }) as const
  if (evidence.size < layer.bytes.size)
    return damaged(`expected ${count(layer.bytes.size, "byte")}, found ${evidence.size}`)
  if (evidence.layer?.complete !== true) {
    const problem = evidence.problems.find((one) => one.check.startsWith("compression."))
    return damaged(problem?.message ?? "it does not decompress")
  }
  const digest = layer.digest === undefined ? undefined : Digest.like(layer.digest, evidence.digests)
  if (digest !== undefined && digest !== layer.digest) return damaged(`expected ${layer.digest}, found ${digest}`)
  const diffId = Digest.like(layer.diffId, evidence.layer.diffIds)
  if (diffId === undefined)
    return { reason: "Unsupported", message: `expected a diff_id of ${Digest.known}, found ${layer.diffId}` }
  return diffId === layer.diffId ? undefined : damaged(`expected diff_id ${layer.diffId}, found ${diffId}`)
}

/** What went wrong with a layer that was read from the source and written into `destination`, or undefined. */
export const failure = (
  destination: string,
  layer: Image.Layer,
  evidence: Inspect.Evidence
): WriteError | SourceError | undefined => {
  const name = nameOf(layer)
  if (evidence.failure?.during === "write") {
    return new WriteError({
      reason: "Unwritable",
      message: `cannot write ${name} into ${destination}: ${describe(evidence.failure)}`
    })
  }
  const found = fault(layer, evidence)
  if (found === undefined) return undefined
  const doing = {
    Unreadable: `cannot read ${name}`,
    Damaged: `cannot copy ${name} into ${destination}`,
    Unsupported: `cannot prove ${name}`
  }[found.reason]
  return new SourceError({ reason: found.reason, message: `${doing}: ${found.message}` })
}

/** What a layer became, from the evidence of `task`, of `probe`, or of `check` where it holds. */
export const stored = (plan: Plan, evidence: Inspect.Evidence): Stored => {
  const layer = evidence.layer!
  const [size, sha256] =
    plan.form === "uncompressed"
      ? [layer.uncompressedSize, layer.diffIds.sha256]
      : [evidence.size, evidence.digests.sha256!]
  return {
    layer: plan.layer,
    digest: plan.digest ?? Digest.make("sha256", sha256),
    size,
    sha256,
    compression: plan.form === "stored" ? layer.compression : plan.form === "uncompressed" ? "none" : plan.form,
    uncompressedSize: layer.uncompressedSize,
    kept: plan.form === "stored",
    level: plan.level
  }
}

/**
 * Groups the layers that become one file: those with the same uncompressed content, unless the source stores it in
 * several ways and these are kept. Answers the plans to carry out, and for each plan the one that stands for it.
 */
export const distinct = (
  plans: ReadonlyArray<Plan>
): { readonly wanted: ReadonlyArray<Plan>; readonly of: (plan: Plan) => Plan } => {
  const byDiffId = new Map<string, Array<Plan>>()
  const chosen = new Map<Plan, Plan>()
  // Those of a known digest first: a manifest that is kept needs exactly that one.
  for (const plan of [...plans].sort((a, b) => Number(a.digest === undefined) - Number(b.digest === undefined))) {
    const known = byDiffId.get(plan.layer.diffId) ?? []
    const same = known.find((one) => one.digest === plan.digest || plan.digest === undefined)
    if (same === undefined) byDiffId.set(plan.layer.diffId, [...known, plan])
    chosen.set(plan, same ?? plan)
  }
  return { wanted: [...new Set(plans.map((plan) => chosen.get(plan)!))], of: (plan) => chosen.get(plan)! }
}
