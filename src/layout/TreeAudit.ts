/** An unpacked tree on disk against what it should be, as findings. */
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { CheckId } from "../check/Catalog.ts"
import { isCheckId } from "../check/Catalog.ts"
import type { Collector } from "../check/Collector.ts"
import * as ByteString from "../content/ByteString.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import * as Json from "../image/Json.ts"
import { type CompareResult, compare, type NotCompared } from "../rootfs/Compare.ts"
import type { FileTree } from "../rootfs/FileTree.ts"
import { scanJob } from "../rootfs/ScanFiles.ts"
import { nothing, type Settled } from "../rootfs/Settle.ts"
import { type Leeway, nameOf, type Tolerance } from "../rootfs/Tolerance.ts"

/** Every id that a comparison looks for. */
const compareChecks: ReadonlyArray<CheckId> = [
  "rootfs.missing",
  "rootfs.extra",
  "rootfs.type-mismatch",
  "rootfs.content-mismatch",
  "rootfs.size-mismatch",
  "rootfs.mode-mismatch",
  "rootfs.owner-mismatch",
  "rootfs.mtime-mismatch",
  "rootfs.link-mismatch",
  "rootfs.hardlink-mismatch",
  "rootfs.device-mismatch",
  "rootfs.xattr-mismatch",
  "rootfs.unreadable"
]

/** What each tolerance lets pass, for what is said not to have been checked. */
const toleratedChecks: Readonly<Record<Tolerance, CheckId>> = {
  "runtime-files": "rootfs.extra",
  "directory-mtime": "rootfs.mtime-mismatch",
  "mtime-microseconds": "rootfs.mtime-mismatch",
  "mtime-seconds": "rootfs.mtime-mismatch",
  owner: "rootfs.owner-mismatch",
  devices: "rootfs.device-mismatch",
  xattrs: "rootfs.xattr-mismatch",
  "external-links": "rootfs.hardlink-mismatch",
  "implied-directories": "rootfs.mtime-mismatch",
  "host-labels": "rootfs.xattr-mismatch"
}

const notComparedChecks: Readonly<Record<NotCompared["what"], CheckId>> = {
  content: "rootfs.content-mismatch",
  xattrs: "rootfs.xattr-mismatch",
  hardlinks: "rootfs.hardlink-mismatch",
  mounted: "rootfs.missing"
}

/** Findings of each check that are reported one by one. */
const maxFindings = 1000

export interface TreeTarget {
  /** The tree's directory. */
  readonly root: string
  /** What stands for it in subjects, for example `rootfs`. */
  readonly subject: string
  /** As in `CompareOptions`. */
  readonly places?: ReadonlyArray<ByteString.ByteString>
}

/**
 * Compares every file, content included, with all threads. What could not be compared is said. `expected` is without what
 * is settled.
 */
export const auditTree = (
  expected: FileTree,
  { places = [], root, subject }: TreeTarget,
  tolerances: ReadonlyArray<Leeway>,
  report: Collector,
  settled: Settled = nothing
): Effect.Effect<CompareResult | undefined, never, WorkerPool> =>
  Effect.gen(function* () {
    const pool = yield* WorkerPool
    const compared = yield* Effect.either(
      compare(expected, Buffer.from(path.resolve(root)), {
        tolerances,
        places,
        maxProblems: maxFindings,
        settled,
        scan: (tasks) => pool.runAll(scanJob, tasks)
      })
    )
    if (compared._tag === "Left") {
      report.report("rootfs.unreadable", subject, compared.left.message)
      return undefined
    }
    const result = compared.right
    report.ran(...compareChecks)
    for (const { actual, check, expected: wanted, message, path: at } of result.problems) {
      report.report(check, at === "" ? subject : `${subject}/${ByteString.display(at)}`, message, {
        expected: wanted,
        actual
      })
    }
    for (const [check, count] of result.counts) {
      if (count > maxFindings) report.report(check, subject, `and ${count - maxFindings} more of these`)
    }
    for (const { count, explanation, tolerance } of result.tolerated) {
      // Those that always hold are said once, however many trees there are.
      const asked = tolerances.some((one) => nameOf(one) === tolerance)
      if (asked)
        report.skip(toleratedChecks[tolerance], `${subject}: ${tolerance} tolerated ${times(count)}: ${explanation}`)
      else if (count > 0) report.skip(toleratedChecks[tolerance], `${tolerance} tolerated: ${explanation}`)
    }
    for (const { count, reason, what } of result.notCompared) {
      report.skip(
        notComparedChecks[what],
        `${subject}: ${what} not compared${count === 0 ? "" : ` ${times(count)}`}: ${reason}`
      )
    }
    return result
  })

const times = (count: number): string => (count === 1 ? "once" : `${count} times`)

/** Findings that a receipt keeps of the layers, told again whenever the output is looked at. */
export const tellKept = (problems: unknown, report: Collector): void => {
  if (!Array.isArray(problems)) return
  for (const one of problems) {
    if (!Json.isObject(one)) continue
    const { actual, check, expected, message, subject } = one
    if (typeof check !== "string" || !isCheckId(check) || typeof message !== "string" || typeof subject !== "string")
      continue
    report.report(check, subject, message, {
      ...(typeof expected === "string" ? { expected } : {}),
      ...(typeof actual === "string" ? { actual } : {})
    })
  }
}

/** What the disk could not take when the tree was written. */
export const tellUnrestored = (unrestored: unknown, subject: string, report: Collector): void => {
  report.ran("rootfs.unrestored")
  if (!Array.isArray(unrestored)) return
  for (const one of unrestored) {
    if (!Json.isObject(one) || typeof one["what"] !== "string") continue
    const examples = Array.isArray(one["examples"]) ? one["examples"].filter((name) => typeof name === "string") : []
    report.report(
      "rootfs.unrestored",
      subject,
      `${one["what"]} could not be restored of ${String(one["count"])} files, for example /${examples[0] ?? ""}: ${String(one["message"])}`
    )
  }
}
