/** A run that adds to an OCI image layout: its journal, and the moment in which its entries appear in index.json. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Conversion from "../Conversion.ts"
import { WriteError } from "../Failure.ts"
import * as Journal from "../Journal.ts"
import * as Lock from "../Lock.ts"
import { foreign, openRoot, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./OciFiles.ts"
import * as OciIndex from "./OciIndex.ts"

/** Fails for a reference name that index.json may not hold. */
export const checkNames = (root: string, names: ReadonlyArray<string>): Effect.Effect<void, WriteError> => {
  const wrong = names.find((name) => !OciIndex.isReferenceName(name))
  return wrong === undefined
    ? Effect.void
    : new WriteError({
        reason: "Unsupported",
        message: `cannot write into ${root}: expected a reference name of letters, digits and -._:@/+, found ${JSON.stringify(wrong)}`
      })
}

export interface Published<A> {
  /** For index.json: those with a reference name take the place of what had it. */
  readonly entries: ReadonlyArray<Conversion.Descriptor>
  readonly receipts: ReadonlyArray<{ readonly file: string; readonly receipt: Receipt.Receipt }>
  readonly result: A
}

/** Runs `use`, which writes blobs, with a journal; then publishes under the lock what it answers. */
export const inLayout = Effect.fnUntraced(function* <A, E, R>(
  root: string,
  target: string,
  use: (journal: Journal.Journal) => Effect.Effect<Published<A>, E, R>,
  tempDirectory?: string
) {
  const journalTarget = Files.receiptFile(target)
  const journal = yield* Effect.try({
    try: () => {
      prepare(root)
      return Journal.open(root, journalTarget, target, tempDirectory)
    },
    catch: unwritable(`cannot write into ${root}`)
  })
  const publishing = { begun: false }
  return yield* Effect.gen(function* () {
    const { entries, receipts, result } = yield* use(journal)
    return yield* Lock.withLock(
      root,
      Effect.try({
        try: () => {
          Journal.syncDirectory(root)
          const index = OciIndex.merged(root, entries)
          publishing.begun = true
          replaceRegular(root, Files.layoutFile, Files.layoutBytes, journal)
          for (const { file, receipt } of receipts) replaceRegular(root, file, Receipt.encode(receipt), journal)
          replaceRegular(root, Files.indexFile, index, journal)
          for (const leftover of Journal.leftovers(root, fs.readdirSync(root), journalTarget)) {
            fs.rmSync(path.join(root, leftover), { force: true, recursive: true })
          }
          journal.close()
          return result
        },
        catch: unwritable(`cannot complete ${root}`)
      })
    )
  }).pipe(
    // Once the shared files are being changed, the journal has to stay: it tells that they may not fit together.
    Effect.onExit((exit) => (exit._tag === "Failure" && !publishing.begun ? Effect.sync(journal.abandon) : Effect.void))
  )
})

/** Makes the root, or makes sure that what is there is a layout that can be added to. */
const prepare = (root: string): void => {
  const names = openRoot(root)
  if (names.includes(Files.layoutFile) || names.includes(Files.indexFile)) OciIndex.read(root)
  else if (
    !names.every(
      (name) => name === Files.blobs || Journal.isJournal(name) || Journal.isTemporary(name) || Lock.isLock(name)
    )
  ) {
    throw foreign(root, "an empty directory or an OCI image layout", names)
  }
}
