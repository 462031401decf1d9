import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CheckResults } from "../check/CheckResults.ts"
import type { DecoderLimits } from "../content/Compression.ts"
import type { Receipt } from "./Receipt.ts"

/** `fast`: existence, sizes, JSON, cross-references. `full`: every byte read, hashed, decompressed, walked as tar. */
export type Depth = "fast" | "full"

export interface VerifyOptions {
  readonly depth: Depth
  /** Of the run that just wrote the output: then that image alone is verified, against it. */
  readonly receipt?: Receipt
  readonly limits?: DecoderLimits
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
export class Verifier extends Context.Tag("tallyman/Verifier")<Verifier, {
  readonly verify: (options: VerifyOptions) => Effect.Effect<Verification>
}>() {}
