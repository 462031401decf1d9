/** source -> filters -> writer -> receipt -> verifier -> report */
import * as Effect from "effect/Effect"
import { choose } from "../layout/ImageSource.ts"
import type { Receipt } from "../layout/Receipt.ts"
import type { Depth, Verification } from "../layout/Verifier.ts"
import * as Layouts from "./Layouts.ts"
import type { Uri } from "./Uri.ts"

export interface ProcessOptions extends Layouts.SourceOptions {
  readonly source: Uri
  readonly destination: Uri
  /** undefined: nothing is verified. */
  readonly verify: Depth | undefined
}

export interface Processed {
  readonly receipt: Receipt
  readonly layerCount: number
  /** Bytes of layers written or found in place. */
  readonly layerBytes: number
  readonly verification: Verification | undefined
}

/** Moves one image and, when asked, proves what was written. */
export const process = Effect.fn("Pipeline.process")(function*(options: ProcessOptions) {
  const writer = yield* Layouts.openWriter(options.destination)
  const { selector, source } = yield* Layouts.openSource(options.source, options)
  const image = yield* choose(source, selector)
  const receipt = yield* writer.write(image, { filters: [] })
  const verification = options.verify === undefined
    ? undefined
    : yield* Effect.flatMap(
      Layouts.openVerifier(options.destination, options),
      (verifier) => verifier.verify({ depth: options.verify!, receipt })
    )
  const layers = new Set(image.layers.map((layer) => layer.diffId.slice("sha256:".length)))
  return {
    receipt,
    layerCount: image.layers.length,
    layerBytes: receipt.files.reduce((sum, file) => layers.has(file.sha256) ? sum + file.size : sum, 0),
    verification
  } satisfies Processed
})
