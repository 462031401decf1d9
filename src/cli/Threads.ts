import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { WorkerPool } from "../content/WorkerPool.ts"
import * as Flags from "./Options.ts"

/**
 * Gives a command its threads. In the bundled command this file's URL is the bundle's, which serves as a worker when it
 * is started as one.
 */
export const provide = (jobs: Option.Option<number>) =>
<A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Flags.threads(jobs), (size) =>
    Effect.provide(effect, WorkerPool.layer({ ...size, entry: new URL(import.meta.url) })))
