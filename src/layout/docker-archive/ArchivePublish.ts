/** A run that writes an archive: its journal, and the moment in which the archive stands under its name. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import { type SourceError, WriteError } from "../Failure.ts"
import * as Journal from "../Journal.ts"
import * as Lock from "../Lock.ts"
import { occupied, unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./ArchiveFiles.ts"
import * as WholeCompression from "./WholeCompression.ts"

export interface PublishOptions {
  readonly path: string
  /** Keep the images that the archive at `path` holds. */
  readonly append?: boolean | undefined
  /** How to compress the archive as a whole; not at all by default. */
  readonly whole?: WholeCompression.Whole | undefined
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

/** A whole archive under another name. */
export interface Built<A> {
  readonly temporary: string
  readonly receipt: Receipt.Receipt
  readonly result: A
}

/** Runs that append at the same time begin again when another one was first. */
const maxAttempts = 20

/**
 * Runs `build`, which writes an archive that is to stand at `target` into a temporary file, beside what is there if that is
 * to be kept; then puts it there under the lock. `image`: what it is about, for the journal.
 */
export const inArchive = Effect.fnUntraced(function* <A>(
  options: PublishOptions,
  image: string,
  build: (
    target: string,
    append: boolean,
    journal: Journal.Journal
  ) => Effect.Effect<Built<A>, WriteError | SourceError, WorkerPool>
) {
  const { journal, target } = yield* Effect.try({
    try: () => {
      const target = Files.resolve(options.path)
      identify(target)
      fs.mkdirSync(path.dirname(target), { recursive: true })
      return {
        target,
        journal: Journal.open(path.dirname(target), path.basename(target), image, options.tempDirectory)
      }
    },
    catch: unwritable(`cannot write ${options.path}`)
  })
  return yield* Effect.gen(function* () {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const before = yield* Effect.try({ try: () => identify(target), catch: unwritable(`cannot write ${target}`) })
      const { receipt, result, temporary } = yield* build(
        target,
        before !== undefined && options.append === true,
        journal
      )
      const finished = options.whole === undefined ? temporary : journal.temporary()
      if (options.whole !== undefined) {
        const size = fs.statSync(temporary).size
        yield* WholeCompression.compress({ path: temporary, offset: 0, size }, options.whole, finished)
      }
      const placed = yield* Lock.withLock(
        path.dirname(target),
        Effect.try({
          try: () => {
            if (options.append === true && identify(target) !== before) return false
            publish(target, finished, receipt, journal)
            return true
          },
          catch: unwritable(`cannot write ${target}`)
        })
      )
      if (placed) return result
      for (const one of [temporary, finished]) fs.rmSync(one, { force: true })
    }
    return yield* new WriteError({
      reason: "Locked",
      message: `cannot append to ${target}: other runs changed it ${maxAttempts} times meanwhile`
    })
  }).pipe(Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(journal.abandon) : Effect.void)))
})

/** Tells one content of the target from another; undefined where there is none. Throws for what cannot be replaced. */
export const identify = (target: string): string | undefined => {
  const stat = fs.lstatSync(target, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  if (!stat.isFile()) {
    throw occupied(
      `cannot write ${target}: expected a file or nothing, found ${stat.isDirectory() ? "a directory" : "no regular file"}`
    )
  }
  return `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs}`
}

/** Under the lock: the archive, then its receipt. */
const publish = (target: string, temporary: string, receipt: Receipt.Receipt, journal: Journal.Journal): void => {
  const directory = path.dirname(target)
  // A run that is killed here leaves no receipt rather than one of another archive.
  fs.rmSync(Files.receiptPath(target), { force: true })
  fs.renameSync(temporary, target)
  Journal.replace(Files.receiptPath(target), Receipt.encode(receipt), journal.temporary())
  for (const leftover of Journal.leftovers(directory, fs.readdirSync(directory), path.basename(target))) {
    fs.rmSync(path.join(directory, leftover), { force: true, recursive: true })
  }
  journal.close()
}
