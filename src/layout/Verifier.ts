import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CheckResults } from "../check/CheckResults.ts"
import type { Policy } from "../check/Policy.ts"
import type { DecoderLimits } from "../content/Compression.ts"
import type { Tolerance } from "../rootfs/Tolerance.ts"
import type { Receipt } from "./Receipt.ts"

/** `fast`: existence, sizes, JSON, cross-references. `full`: every byte read, hashed, decompressed, walked as tar. */
export type Depth = "fast" | "full"

export interface VerifyOptions {
  readonly depth: Depth
  /** Of the run that just wrote the output: then that image alone is verified, against it. */
  readonly receipt?: Receipt
  readonly limits?: DecoderLimits
  /** Severities that differ from the catalogue's. */
  readonly policy?: Policy
  /** Differences of unpacked trees to put up with; none by default. */
  readonly tolerances?: ReadonlyArray<Tolerance>
}

/** The verdict on one image of the output. */
export interface Verdict {
  readonly image: string
  readonly ok: boolean
  readonly errorCount: number
}

export interface Verification {
  readonly results: CheckResults
  readonly images: ReadonlyArray<Verdict>
  /** Distinct layers that belong to the images. */
  readonly layerCount: number
}

/** Says whether an output is complete and right. It has no error: what cannot be read is a finding. */
export class Verifier extends Context.Tag("tallyman/Verifier")<
  Verifier,
  {
    readonly verify: (options: VerifyOptions) => Effect.Effect<Verification>
  }
>() {}

/** An image is right when none of the subjects it is made of has an error. */
export const verdicts = (
  results: CheckResults,
  images: ReadonlyArray<{ readonly image: string; readonly subjects: ReadonlySet<string> }>
): ReadonlyArray<Verdict> => {
  const errors = new Map<string, number>()
  for (const { severity, subject } of results.results) {
    if (severity === "error") errors.set(subject, (errors.get(subject) ?? 0) + 1)
  }
  return images.map(({ image, subjects }) => {
    let errorCount = 0
    for (const subject of subjects) errorCount += errors.get(subject) ?? 0
    return { image, ok: errorCount === 0, errorCount }
  })
}
