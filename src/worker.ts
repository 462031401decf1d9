/** A worker thread of the library: every job that can run in one. */
import { parentPort, workerData } from "node:worker_threads"
import * as Inspect from "./content/Inspect.ts"
import { type AnyJob, isWorkerData, serve } from "./content/Job.ts"

/** By kind. All but the one that nearly every run needs are loaded when they are asked for. */
const jobs: Readonly<Record<string, () => AnyJob | Promise<AnyJob>>> = {
  inspect: () => Inspect.job,
  compress: async () => (await import("./content/Compress.ts")).job,
  rewrite: async () => (await import("./content/Rewrite.ts")).job,
  locate: async () => (await import("./content/Locate.ts")).job,
  search: async () => (await import("./filter/SearchLayer.ts")).job,
  inspection: async () => (await import("./filter/Inspection.ts")).job,
  diff: async () => (await import("./filter/Diff.ts")).job,
  "rootfs.scan-files": async () => (await import("./rootfs/ScanFiles.ts")).scanJob,
  "rootfs.write-files": async () => (await import("./rootfs/WriteFiles.ts")).writeJob
}

/** Begins to serve when this thread was started by a `WorkerPool`; tells whether it was. */
export const serveIfWorker = (): boolean => {
  if (parentPort === null || !isWorkerData(workerData)) return false
  serve(parentPort, workerData, (kind) => (Object.hasOwn(jobs, kind) ? jobs[kind]?.() : undefined))
  return true
}

serveIfWorker()
