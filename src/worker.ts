/** A worker thread: serves every job that can run in one. */
import { parentPort, workerData } from "node:worker_threads"
import * as Inspect from "./content/Inspect.ts"
import { type AnyJob, isWorkerData, serve } from "./content/Job.ts"

/** The one that nearly every run needs is here from the start. */
const find = async (kind: string): Promise<AnyJob | undefined> => {
  if (kind === Inspect.job.kind) return Inspect.job
  const { jobs } = await import("./jobs.ts")
  return Object.hasOwn(jobs, kind) ? jobs[kind]?.() : undefined
}

/** Begins to serve when this thread was started by a `WorkerPool`; tells whether it was. */
export const serveIfWorker = (): boolean => {
  if (parentPort === null || !isWorkerData(workerData)) return false
  serve(parentPort, workerData, find)
  return true
}

serveIfWorker()
