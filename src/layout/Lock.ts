/** A lock between processes on one directory, held for the moment in which files that images share are changed. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { describe, WriteError } from "./Failure.ts"
import * as Journal from "./Journal.ts"

const lockFile = ".tallyman-lock"
const breakFile = ".tallyman-lock-break"

export const isLock = (name: string): boolean => name === lockFile || name === breakFile

/** Runs `use` while no other process holds the lock of `directory`; waits for it up to `seconds`. */
export const withLock = <A, E, R>(
  directory: string,
  use: Effect.Effect<A, E, R>,
  seconds = 60
): Effect.Effect<A, E | WriteError, R> =>
  Effect.acquireUseRelease(
    acquire(directory, seconds),
    () => use,
    (file) => Effect.sync(() => fs.rmSync(file, { force: true }))
  )

const acquire = Effect.fn("Lock.acquire")(function* (directory: string, seconds: number) {
  const file = path.join(directory, lockFile)
  const deadline = Date.now() + seconds * 1000
  while (true) {
    const taken = yield* Effect.try({
      try: () => tryTake(directory, file),
      catch: (cause) =>
        new WriteError({ reason: "Unwritable", message: `cannot lock ${directory}: ${describe(cause)}`, cause })
    })
    if (taken) return file
    if (Date.now() > deadline) {
      return yield* new WriteError({
        reason: "Locked",
        message: `cannot lock ${directory}: another run has held ${lockFile} for ${seconds} s (process ${Journal.read(file)?.pid ?? "unknown"})`
      })
    }
    yield* Effect.sleep(20 + Math.random() * 30)
  }
})

const tryTake = (directory: string, file: string): boolean => {
  if (takeNew(file)) return true
  const holder = Journal.read(file)
  if (holder === undefined ? youngerThan(file, 5_000) : Journal.isAlive(holder)) return false
  // Two processes may both find a dead holder: only the one that makes the second file removes the lock.
  const breaker = path.join(directory, breakFile)
  if (!takeNew(breaker)) {
    if (!youngerThan(breaker, 10_000)) fs.rmSync(breaker, { force: true })
    return false
  }
  try {
    const still = Journal.read(file)
    if (still === undefined ? !youngerThan(file, 5_000) : !Journal.isAlive(still)) fs.rmSync(file, { force: true })
  } finally {
    fs.rmSync(breaker, { force: true })
  }
  return takeNew(file)
}

const takeNew = (file: string): boolean => {
  try {
    Journal.writeNew(file, Journal.describeSelf(path.basename(file)))
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false
    throw cause
  }
}

const youngerThan = (file: string, milliseconds: number): boolean => {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs < milliseconds
}
