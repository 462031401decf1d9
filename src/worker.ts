/** A worker thread of the library: every job that can run in one. */
import { parentPort, workerData } from "node:worker_threads"
import * as Compress from "./content/Compress.ts"
import * as Inspect from "./content/Inspect.ts"
import { isWorkerData, serve } from "./content/Job.ts"
import * as Locate from "./content/Locate.ts"
import * as Rewrite from "./content/Rewrite.ts"
import * as Diff from "./filter/Diff.ts"
import * as Inspection from "./filter/Inspection.ts"
import * as SearchLayer from "./filter/SearchLayer.ts"
import { scanJob } from "./rootfs/ScanFiles.ts"
import { writeJob } from "./rootfs/WriteFiles.ts"

/** Begins to serve when this thread was started by a `WorkerPool`; tells whether it was. */
export const serveIfWorker = (): boolean => {
  if (parentPort === null || !isWorkerData(workerData)) return false
  serve(parentPort, workerData, [
    Inspect.job,
    Compress.job,
    Rewrite.job,
    Locate.job,
    SearchLayer.job,
    Inspection.job,
    Diff.job,
    scanJob,
    writeJob
  ])
  return true
}

serveIfWorker()
