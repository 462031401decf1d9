/** The image that an argument names: what `search`, `inspect` and `diff` begin with. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WorkerPool } from "../content/WorkerPool.ts"
import type * as Image from "../image/Image.ts"
import type { SourceError } from "../layout/Failure.ts"
import { choose } from "../layout/ImageSource.ts"
import * as Layouts from "../pipeline/Layouts.ts"
import type { UsageError } from "../pipeline/Uri.ts"

/** A path, whose layout is detected, or a URI. The image can be read until the scope ends. */
export const load = Effect.fn("Source.load")(function* (
  target: string,
  options: Layouts.SourceOptions
): Effect.fn.Return<Image.Image, UsageError | SourceError, Scope.Scope | WorkerPool> {
  const { selector, source } = yield* Layouts.openSource(yield* Layouts.locate(target), options)
  return yield* choose(source, selector)
})
