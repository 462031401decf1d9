import type { MessagePort } from "node:worker_threads"

/**
 * A kind of work that can run in any thread: a name both sides know, a synchronous function from plain data to plain
 * data, and what it costs, so that large ones start first and small ones need no thread.
 */
export interface Job<Task, Result> {
  readonly kind: string
  /** Loads what `run` needs for this task and loads asynchronously. */
  readonly prepare?: (task: Task) => Promise<void>
  /** Never throws; failures are part of the result. `progress` takes bytes done since its last call. */
  readonly run: (task: Task, progress: (bytes: number) => void) => Result
  /** Bytes to be read. */
  readonly cost: (task: Task) => number
  /** Buffers of a result to hand over rather than copy. */
  readonly transfer?: (result: Result) => ReadonlyArray<ArrayBuffer>
}

/** Code of a thread, and what V8 made of it in an earlier run. */
export interface ThreadScript {
  readonly code: string
  readonly cached: Uint8Array | undefined
}

/** What a worker thread is started with. */
export interface WorkerData {
  readonly tallyman: "worker"
  /** Of the module that starts it: what a thread loads beside itself, it looks for there. */
  readonly url: string
  /** One counter of bytes done, added to by every thread. */
  readonly progress: SharedArrayBuffer
  /** A kind of job that will be wanted: loaded while the parent finds out of what. */
  readonly soon?: string
}

export interface Request {
  readonly kind: string
  readonly task: unknown
}

export type Response = { readonly result: unknown } | { readonly failed: string }

export const isWorkerData = (data: unknown): data is WorkerData =>
  typeof data === "object" && data !== null && (data as Partial<WorkerData>).tallyman === "worker"

/** A job among others, of which only the kind is known. */
// biome-ignore lint/suspicious/noExplicitAny: tasks and results of different jobs have nothing in common.
export type AnyJob = Job<any, any>

/** Serves the jobs that `find` knows by kind over `port`, until the parent ends the thread. */
export const serve = (
  port: MessagePort,
  data: WorkerData,
  find: (kind: string) => Promise<AnyJob | undefined>
): void => {
  const counter = new BigInt64Array(data.progress)
  const progress = (bytes: number): void => {
    Atomics.add(counter, 0, BigInt(bytes))
  }
  // What goes wrong here goes wrong again when the job is asked for, and is told then.
  if (data.soon !== undefined) find(data.soon).catch(() => {})
  port.on("message", async ({ kind, task }: Request) => {
    try {
      const job = await find(kind)
      if (job === undefined) throw new Error(`no job of kind ${kind}`)
      await job.prepare?.(task)
      const result = job.run(task, progress)
      port.postMessage({ result } satisfies Response, (job.transfer?.(result) ?? []) as Array<ArrayBuffer>)
    } catch (cause) {
      port.postMessage({
        failed: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
      } satisfies Response)
    }
  })
}
