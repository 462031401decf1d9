/** Outputs that are one directory: written beside their place and renamed, so that they are whole or not there. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Image from "../image/Image.ts"
import * as Libc from "../rootfs/Libc.ts"
import type { WriteError } from "./Failure.ts"
import * as Journal from "./Journal.ts"
import { occupied, unwritable } from "./OutputFiles.ts"
import { removeTree } from "./RemoveTree.ts"

export interface Beside {
  /** Whose temporary names are beside the output's place. */
  readonly journal: Journal.Journal
  /** The output's place, without a slash at the end. */
  readonly root: string
}

/** Makes sure that nothing but an empty directory stands at `target`, and begins a run. `what` names it in messages. */
export const beside = (
  target: string,
  what: string,
  image: Image.Image,
  tempDirectory?: string
): Effect.Effect<Beside, WriteError> =>
  Effect.try({
    try: () => {
      const root = path.resolve(target)
      const stat = fs.lstatSync(root, { throwIfNoEntry: false })
      if (stat !== undefined && !stat.isDirectory()) {
        throw occupied(
          `cannot write ${what} at ${target}: expected nothing or an empty directory, found a ${stat.isSymbolicLink() ? "symlink" : "file"}`
        )
      }
      const names = stat === undefined ? [] : fs.readdirSync(root).sort()
      if (names.length > 0) {
        // Left by a run that was killed when its output stood there already: no other will be begun for it.
        clearLeftovers(root)
        const shown = names
          .slice(0, 3)
          .map((name) => JSON.stringify(name))
          .join(", ")
        throw occupied(
          `cannot write ${what} at ${target}: expected nothing or an empty directory, found ${shown}${names.length > 3 ? ", ..." : ""}`
        )
      }
      const directory = path.dirname(root)
      fs.mkdirSync(directory, { recursive: true })
      const journal = Journal.open(directory, path.basename(root), image.names[0] ?? image.config.digest, tempDirectory)
      clearLeftovers(root)
      return { journal, root }
    },
    catch: unwritable(`cannot write ${what} at ${target}`)
  })

/** What dead runs for this output left beside it. */
const clearLeftovers = (root: string): void => {
  const directory = path.dirname(root)
  for (const leftover of Journal.leftovers(directory, fs.readdirSync(directory), path.basename(root))) {
    removeTree(path.join(directory, leftover))
  }
}

/** Puts a finished directory in its place, on the disk when it returns, and ends the run. */
export const publish = (temporary: string, root: string, journal: Journal.Journal): Effect.Effect<void, WriteError> =>
  Effect.try({
    try: () => {
      syncAll(temporary)
      fs.renameSync(temporary, root)
      Journal.syncDirectory(path.dirname(root))
      journal.close()
    },
    catch: unwritable(`cannot put ${root} in place`)
  })

/** Every file of a tree at once: a call for each of a hundred thousand files takes minutes on a disk. */
export const syncAll = (directory: string): void => {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY)
  try {
    if (Libc.load()?.syncfs(fd) !== 0) fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}
