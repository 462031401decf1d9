/**
 * Threads for commands that read much, begun before anything else of the command is loaded: on a second core they are
 * ready when the first work is. Imported first by `bin.ts`, for its effect.
 */
import * as os from "node:os"
import type { ThreadScript } from "../content/Job.ts"
import { type StartedThreads, start, type WorkerEntry } from "../content/WorkerPool.ts"

/** Given by the launcher: a part of the command's file. */
declare const __part: (name: "worker" | "jobs") => ThreadScript

export const entry: WorkerEntry = {
  get worker() {
    return __part("worker")
  },
  get jobs() {
    return __part("jobs")
  }
}

/** More are started when there is work for them. */
const early = Math.min(2, os.availableParallelism())

const command = process.argv[2] ?? ""
const readsMuch = ["process", "search"].includes(command) || (command === "verify" && process.argv.includes("--full"))

export const started: StartedThreads = start(
  entry,
  readsMuch && !process.argv.includes("--help") ? early : 0,
  command === "search" ? "search" : undefined
)
