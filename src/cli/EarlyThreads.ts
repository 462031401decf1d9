/**
 * Threads for commands that read much, begun before anything else of the command is loaded: on a second core they are
 * ready when the first work is. Imported first by `bin.ts`, for its effect.
 */
import * as os from "node:os"
import { type StartedThreads, start } from "../content/WorkerPool.ts"

/** Put in by the build: the code of a worker thread. */
declare const __TALLYMAN_WORKER__: string

export const entry = { code: __TALLYMAN_WORKER__ }

/** More are started when there is work for them. */
const early = Math.min(2, os.availableParallelism())

const readsMuch = process.argv[2] === "process" || (process.argv[2] === "verify" && process.argv.includes("--full"))

export const started: StartedThreads = start(entry, readsMuch && !process.argv.includes("--help") ? early : 0)
