import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CheckResults } from "../check/CheckResults.ts"
import type { Policy } from "../check/Policy.ts"
import type { Tolerance } from "../rootfs/Tolerance.ts"
import type { Limits } from "./Limits.ts"
import type { Receipt } from "./Receipt.ts"

/** `fast`: existence, sizes, JSON, cross-references. `full`: every byte read, hashed, decompressed, walked as tar. */
export type Depth = "fast" | "full"

export interface VerifyOptions {
  readonly depth: Depth
  /** Of the run that just wrote the output: then that image alone is verified, against it. */
  readonly receipt?: Receipt
  readonly limits?: Limits
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

/** An image and the subjects of findings that concern it. */
export interface Judged {
  readonly image: string
  readonly subjects: ReadonlySet<string>
  /** More of them, which it has in common with other images. */
  readonly shared?: ReadonlySet<string>
}

/** An image is right when none of the subjects it is made of has an error; `errors` are how many each subject has. */
export const verdicts = (
  errors: ReadonlyMap<string, number>,
  images: ReadonlyArray<Judged>
): ReadonlyArray<Verdict> => {
  const totals = new Map<ReadonlySet<string>, number>()
  const total = (subjects: ReadonlySet<string>): number => {
    let count = 0
    for (const subject of subjects) count += errors.get(subject) ?? 0
    return count
  }
  return images.map(({ image, shared, subjects }) => {
    let errorCount = 0
    for (const subject of subjects) if (!shared?.has(subject)) errorCount += errors.get(subject) ?? 0
    if (shared !== undefined) {
      const known = totals.get(shared) ?? total(shared)
      totals.set(shared, known)
      errorCount += known
    }
    return { image, ok: errorCount === 0, errorCount }
  })
}
