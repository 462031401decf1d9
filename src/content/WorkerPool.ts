/** Threads for work that keeps a core busy: hashing, inflating, walking (one task = one blob, largest first). */

import * as os from "node:os"
import { Worker } from "node:worker_threads"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Job, Request, Response, ThreadScript, WorkerData } from "./Job.ts"

/** The module that serves jobs in a thread, or the script that does, with the script of the jobs that it loads late. */
export type WorkerEntry = URL | { readonly worker: ThreadScript; readonly jobs: ThreadScript }

/** Threads that were started before there was a pool to use them. They end with the process: nobody waits for that. */
export interface StartedThreads {
  readonly workers: ReadonlyArray<Worker>
  /** One counter of bytes done, which all threads add to. */
  readonly progress: SharedArrayBuffer
}

/**
 * Code handed to `Worker` itself is parsed twice there, once as a string of a script around it; this is what is handed
 * over instead, and takes the scripts from the thread's data.
 */
const bootstrap = `
const { workerData } = require("node:worker_threads")
const { Script } = require("node:vm")
workerData.load = (name) => {
  const { cached: cachedData, code } = workerData[name]
  return new Script(code, { filename: name, cachedData }).runInThisContext()
}
workerData.load("worker")
`

const startWorker = (entry: WorkerEntry, progress: SharedArrayBuffer, soon?: string): Worker => {
  const workerData: WorkerData = {
    tallyman: "worker",
    url: import.meta.url,
    progress,
    ...(soon === undefined ? {} : { soon })
  }
  const worker =
    entry instanceof URL
      ? new Worker(entry, { workerData })
      : new Worker(bootstrap, { workerData: { ...workerData, worker: entry.worker, jobs: entry.jobs }, eval: true })
  worker.unref()
  worker.setMaxListeners(0)
  return worker
}

/** Starts `count` threads at once, for jobs of the kind `soon` if that is known. */
export const start = (entry: WorkerEntry, count: number, soon?: string): StartedThreads => {
  const progress = new SharedArrayBuffer(8)
  return { progress, workers: Array.from({ length: count }, () => startWorker(entry, progress, soon)) }
}

export interface WorkerPoolOptions {
  /** Threads; by default one for each core, at most 8. */
  readonly size?: number
  /** Without one everything runs in the calling thread. */
  readonly entry?: WorkerEntry
  readonly started?: StartedThreads
}

export interface RunOptions<Result> {
  /** Called in the order in which tasks end. */
  readonly onResult?: (result: Result, index: number) => void
}

/**
 * Starting a thread takes 35 ms and loading the module as much again: below this many bytes in all, the calling thread
 * is done sooner by itself.
 */
const inlineBelow = 48 * 1024 * 1024

export class WorkerPool extends Context.Tag("tallyman/WorkerPool")<
  WorkerPool,
  {
    /** Results in the order of the tasks. A defect only when a thread dies or a job breaks its promise not to throw. */
    readonly runAll: <Task, Result>(
      job: Job<Task, Result>,
      tasks: ReadonlyArray<Task>,
      options?: RunOptions<Result>
    ) => Effect.Effect<ReadonlyArray<Result>>
    /** Bytes that all jobs have read since the pool was made, and how many they have been asked to. */
    readonly progress: Effect.Effect<{ readonly done: number; readonly planned: number }>
    readonly size: number
  }
>() {
  /** The library's own worker module when this file is compiled; inline when it runs from source. */
  static layer(options: WorkerPoolOptions = {}): Layer.Layer<WorkerPool> {
    return Layer.scoped(WorkerPool, make(options))
  }
}

const libraryEntry = (): URL | undefined =>
  import.meta.url.endsWith("/content/WorkerPool.js") ? new URL("../worker.js", import.meta.url) : undefined

const make = Effect.fnUntraced(function* (options: WorkerPoolOptions) {
  const size = Math.max(1, options.size ?? Math.min(8, os.availableParallelism()))
  const entry = options.entry ?? libraryEntry()
  const progress = options.started?.progress ?? new SharedArrayBuffer(8)
  const counter = new BigInt64Array(progress)
  let planned = 0
  const idle: Array<Worker> = [...(options.started?.workers ?? [])]
  const own = new Set<Worker>()
  const startOwn = (): Worker => {
    const worker = startWorker(entry!, progress)
    own.add(worker)
    worker.once("exit", () => own.delete(worker))
    return worker
  }
  yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all([...own].map((worker) => worker.terminate()))))

  /** Calls that overlap share the threads: a third one for two cores would only take time and memory to start. */
  const turns = yield* Effect.makeSemaphore(size)

  const inThread = <Task, Result>(job: Job<Task, Result>, task: Task): Effect.Effect<Result> =>
    Effect.async<Result>((resume) => {
      const worker = idle.pop() ?? startOwn()
      const settle = (effect: Effect.Effect<Result>, alive: boolean): void => {
        worker.off("message", onMessage)
        worker.off("error", onError)
        worker.unref()
        if (alive) idle.push(worker)
        resume(effect)
      }
      const onMessage = (response: Response): void =>
        "failed" in response
          ? settle(Effect.dieMessage(`a worker failed at ${job.kind}: ${response.failed}`), true)
          : settle(Effect.succeed(response.result as Result), true)
      const onError = (cause: Error): void => settle(Effect.die(cause), false)
      worker.ref()
      worker.on("message", onMessage)
      worker.on("error", onError)
      worker.postMessage({ kind: job.kind, task } satisfies Request)
      return Effect.promise(() => worker.terminate())
    }).pipe(turns.withPermits(1))

  const inline = <Task, Result>(job: Job<Task, Result>, task: Task): Effect.Effect<Result> =>
    Effect.promise(async () => {
      await job.prepare?.(task)
      return job.run(task, (bytes) => {
        Atomics.add(counter, 0, BigInt(bytes))
      })
    })

  return WorkerPool.of({
    size,
    progress: Effect.sync(() => ({ done: Number(Atomics.load(counter, 0)), planned })),
    runAll: Effect.fnUntraced(function* <Task, Result>(
      job: Job<Task, Result>,
      tasks: ReadonlyArray<Task>,
      options?: RunOptions<Result>
    ) {
      const costs = tasks.map(job.cost)
      const total = costs.reduce((sum, cost) => sum + cost, 0)
      planned += total
      const threads = entry !== undefined && total > inlineBelow
      const order = tasks.map((_, index) => index).sort((a, b) => costs[b]! - costs[a]!)
      const results = new Array<Result>(tasks.length)
      yield* Effect.forEach(
        order,
        Effect.fnUntraced(function* (index) {
          const task = tasks[index]!
          const result = yield* threads ? inThread(job, task) : inline(job, task)
          results[index] = result
          options?.onResult?.(result, index)
          if (!threads) yield* Effect.yieldNow()
        }),
        { concurrency: threads ? size : 1, discard: true }
      )
      return results
    })
  })
})
