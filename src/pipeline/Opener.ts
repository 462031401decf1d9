/** Images for those who know a source only by what a user wrote. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { DecoderLimits } from "../content/Compression.ts"
import { FilterError } from "../filter/Filter.ts"
import type { OpenImage } from "../filter/Rebase.ts"
import type { Image } from "../image/Image.ts"
import type { SourceError } from "../layout/Failure.ts"
import { choose, matching } from "../layout/ImageSource.ts"
import * as Layouts from "./Layouts.ts"
import type { UsageError } from "./Uri.ts"

/** The image of an opened source that is meant. What may be read of a layer goes with it, to whoever reads it. */
export const load = Effect.fn("Opener.load")(function* (
  { selector, source }: Layouts.OpenedSource,
  limits: DecoderLimits | undefined
): Effect.fn.Return<Image, SourceError> {
  return limited(yield* choose(source, selector), limits)
})

export const limited = (image: Image, limits: DecoderLimits | undefined): Image =>
  limits === undefined ? image : { ...image, layers: image.layers.map((layer) => ({ ...layer, limits })) }

/** For filters. What it opens can be read until the scope ends: when what was made of it is written. */
export const make = (
  options: Omit<Layouts.SourceOptions, "platform"> = {}
): Effect.Effect<OpenImage, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope): OpenImage => {
    // Images that are filtered together have the same bases; an archive is unpacked for all of them once.
    const known = new Map<string, Layouts.OpenedSource>()
    return (target, platform) =>
      Effect.gen(function* () {
        const opened = known.get(target) ?? (yield* Layouts.openSource(yield* Layouts.locate(target), options))
        known.set(target, opened)
        const { selector, source } = opened
        const several = matching(yield* source.candidates, selector).length > 1
        return yield* load(
          several && selector.platform === undefined && platform !== undefined
            ? { source, selector: { ...selector, platform } }
            : opened,
          options.limits
        )
      }).pipe(Scope.extend(scope), Effect.mapError(asFilterError))
  })

const reasons: Readonly<Partial<Record<SourceError["reason"], FilterError["reason"]>>> = {
  Damaged: "Damaged",
  NotAnImage: "Damaged",
  Unsupported: "Unsupported"
}

const asFilterError = (cause: UsageError | SourceError): FilterError =>
  new FilterError({
    reason: cause._tag === "UsageError" ? "Usage" : (reasons[cause.reason] ?? "Unreadable"),
    message: cause.message,
    cause
  })
