import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Hasher from "./Hasher.ts"

/**
 * For synchronous code that reads documents and learns from them which algorithms digests are in: where it meets one that
 * is not loaded yet, the effect is run again with it. So it may do nothing but read before.
 */
export const loading = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.catchSomeDefect(effect, (defect) =>
    defect instanceof Hasher.NotLoaded
      ? Option.some(
          Effect.zipRight(
            Effect.promise(() => Hasher.prepare([defect.algorithm])),
            effect
          )
        )
      : Option.none()
  )
