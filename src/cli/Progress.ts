import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { WorkerPool } from "../content/WorkerPool.ts"
import { formatSize } from "../pipeline/Summary.ts"

/** Shows on a terminal how far `effect` has come, once it has taken a second. */
export const withProgress = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | WorkerPool> =>
  process.stderr.isTTY !== true
    ? effect
    : Effect.gen(function* () {
        const pool = yield* WorkerPool
        const bar = yield* Effect.fork(show(pool))
        return yield* Effect.ensuring(effect, Fiber.interrupt(bar))
      })

const show = Effect.fnUntraced(function* (pool: WorkerPool["Type"]) {
  yield* Effect.sleep("1 second")
  const { SingleBar } = (yield* Effect.promise(() => import("cli-progress"))).default
  const bar = new SingleBar({
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    barsize: 24,
    format: "[{bar}] {percentage}% {done} of {all}"
  })
  const state = Effect.map(pool.progress, ({ done, planned }) => ({
    done,
    planned: Math.max(planned, 1),
    payload: { done: formatSize(done), all: formatSize(planned) }
  }))
  const first = yield* state
  bar.start(first.planned, first.done, first.payload)
  return yield* Effect.gen(function* () {
    const now = yield* state
    bar.setTotal(now.planned)
    bar.update(now.done, now.payload)
    yield* Effect.sleep("200 millis")
  }).pipe(Effect.forever, Effect.ensuring(Effect.sync(() => bar.stop())))
})
