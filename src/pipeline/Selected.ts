/** Whether the image that a target's URI selects is one of those that stand there. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ContentGraph from "../layout/ContentGraph.ts"
import type { SourceError } from "../layout/Failure.ts"
import { choose, type ImageSource, matching, type Selector } from "../layout/ImageSource.ts"
import type { UsageError } from "./Uri.ts"

interface Opened {
  readonly source: ImageSource["Type"]
  readonly selector: Selector
}

/** Fails, listing what there is, when nothing is what the URI selects. What cannot be listed is for an audit to tell. */
export const selected = Effect.fn("Selected.selected")(function* <R>(
  opening: Effect.Effect<Opened, UsageError | SourceError, R>
) {
  const listed = yield* Effect.either(
    Effect.gen(function* () {
      const { selector, source } = yield* opening
      return { selector, source, candidates: yield* Effect.either(source.candidates) }
    })
  )
  if (Either.isLeft(listed)) {
    if (listed.left._tag === "UsageError") return yield* listed.left
    return
  }
  const { candidates, selector, source } = listed.right
  if (Either.isRight(candidates) && matching(candidates.right, selector).length > 0) return
  if (Either.isLeft(candidates) && candidates.left.reason !== "NoSuchImage") return
  const { platform, ...named } = selector
  // Artifacts are no images, but have names.
  if (platform === undefined && source.graph !== undefined) {
    const root = yield* Effect.either(ContentGraph.choose(source.graph, named))
    if (Either.isRight(root) || root.left.reason !== "NoSuchImage") return
  }
  yield* choose(source, selector)
})
