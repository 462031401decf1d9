import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { WorkerPool } from "../content/WorkerPool.ts"
import { entry, started } from "./EarlyThreads.ts"
import * as Flags from "./Options.ts"

/** Gives a command its threads. */
export const provide =
  (jobs: Option.Option<number>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Flags.threads(jobs), (size) => Effect.provide(effect, WorkerPool.layer({ ...size, entry, started })))
