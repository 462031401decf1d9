/** Whole programs measured side by side: A and B in turn, so that a machine whose speed drifts favours neither. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"

export interface Sample {
  /** Seconds. */
  readonly wall: number
  /** Seconds, user and system, of the program and its children. */
  readonly cpu: number
  /** MiB, of the largest process seen; 0 where nobody looked. */
  readonly rss: number
}

const highWater = (pid: number): number => {
  let largest = 0
  try {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8")
    largest = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim()
    for (const child of children === "" ? [] : children.split(" "))
      largest = Math.max(largest, highWater(Number(child)))
  } catch {
    // It has ended.
  }
  return largest
}

/**
 * Runs a shell command once. Its output is thrown away; a failure is an error unless `mayFail`. To look at its memory takes
 * time on a core that a program with several threads wants.
 */
export const once = (command: string, mayFail = false, look = true): Promise<Sample> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      "bash",
      ["-c", `TIMEFORMAT='%R %U %S'; time { ${command} ; } >/dev/null 2>/tmp/.tallyman-bench-stderr`],
      {
        stdio: ["ignore", "ignore", "pipe"]
      }
    )
    let text = ""
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()))
    let rss = 0
    const poll = look ? setInterval(() => (rss = Math.max(rss, highWater(child.pid!))), 25) : undefined
    child.on("close", (code) => {
      clearInterval(poll)
      const match = /([\d.]+) ([\d.]+) ([\d.]+)\s*$/.exec(text)
      if (match === null || (code !== 0 && !mayFail)) {
        reject(
          new Error(
            `${command}: exit ${code}: ${text} ${fs.readFileSync("/tmp/.tallyman-bench-stderr", "utf8").slice(0, 500)}`
          )
        )
      } else resolve({ wall: Number(match[1]), cpu: Number(match[2]) + Number(match[3]), rss })
    })
  })

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export interface Comparison {
  readonly a: Sample
  readonly b: Sample
  /** Medians of the ratios A/B, pair by pair. */
  readonly wall: number
  readonly cpu: number
}

const medians = (samples: ReadonlyArray<Sample>, rss: number): Sample => ({
  wall: median(samples.map((one) => one.wall)),
  cpu: median(samples.map((one) => one.cpu)),
  rss
})

export interface Side {
  readonly command: string
  /** Run before each measurement, not measured. */
  readonly before?: string
  readonly mayFail?: boolean
}

export const compare = async (a: Side, b: Side, runs: number): Promise<Comparison> => {
  const as: Array<Sample> = []
  const bs: Array<Sample> = []
  const largest: Array<number> = []
  for (let run = -1; run < runs; run++) {
    for (const [side, samples] of [
      [a, as],
      [b, bs]
    ] as const) {
      if (side.before !== undefined) await once(side.before)
      // The first round warms the page cache, and tells how much memory is needed.
      const sample = await once(side.command, side.mayFail, run < 0)
      if (run >= 0) samples.push(sample)
      else largest.push(sample.rss)
    }
  }
  return {
    a: medians(as, largest[0]!),
    b: medians(bs, largest[1]!),
    wall: median(as.map((one, index) => one.wall / bs[index]!.wall)),
    cpu: median(as.map((one, index) => one.cpu / bs[index]!.cpu))
  }
}
