/** Putting files in place below a root that others may use too: never through a symlink, whole or not at all. */
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, WriteError } from "./Failure.ts"
import * as Journal from "./Journal.ts"

/** For `Effect.try`: a system error while doing something, for example "cannot write into PATH". */
export const unwritable =
  (doing: string) =>
  (cause: unknown): WriteError =>
    cause instanceof WriteError
      ? cause
      : new WriteError({ reason: "Unwritable", message: `${doing}: ${describe(cause)}`, cause })

/** Something stands where the output has to go. */
export const occupied = (message: string): WriteError => new WriteError({ reason: "Occupied", message })

/** With the directories above it. Node's own recursive mkdir says ENOENT where the file system is read-only. */
const makeDirectory = (directory: string): void => {
  try {
    fs.mkdirSync(directory)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const parent = path.dirname(directory)
    if (code === "ENOENT" && parent !== directory) {
      makeDirectory(parent)
      makeDirectory(directory)
    } else if (code !== "EEXIST" || !fs.statSync(directory).isDirectory()) throw cause
  }
}

/** Makes the root, or makes sure that it is a directory; answers the names in it. Throws. */
export const openRoot = (root: string): ReadonlyArray<string> => {
  const stat = fs.lstatSync(root, { throwIfNoEntry: false })
  if (stat === undefined) {
    makeDirectory(root)
    return []
  }
  if (!fs.statSync(root).isDirectory()) {
    throw occupied(`cannot write a directory at ${root}: expected a directory or nothing, found a file`)
  }
  return fs.readdirSync(root)
}

/** Says what is in the way in a root. */
export const foreign = (root: string, expected: string, names: ReadonlyArray<string>): WriteError =>
  occupied(
    `cannot write a directory at ${root}: expected ${expected}, found ${names
      .slice(0, 3)
      .map((name) => JSON.stringify(name))
      .join(", ")}${names.length > 3 ? ", ..." : ""}`
  )

/** Creates a file that passes then write into. Throws when anything stands there. */
export const createEmpty = (file: string): void =>
  fs.closeSync(
    fs.openSync(
      file,
      fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW,
      0o644
    )
  )

/** A finished temporary file and its place below the root. */
export interface Placement {
  readonly temporary: string
  readonly final: string
}

/** Renames finished files to their places and makes that last. Throws. */
export const place = (root: string, placements: ReadonlyArray<Placement>): void => {
  const changed = new Set<string>()
  for (const { final, temporary } of placements) {
    let directory = root
    for (const part of path.posix.dirname(final).split("/")) {
      if (part === ".") continue
      const parent = directory
      directory = path.join(directory, part)
      const stat = fs.lstatSync(directory, { throwIfNoEntry: false })
      if (stat === undefined) {
        try {
          fs.mkdirSync(directory)
        } catch (cause) {
          // Another run may have made it meanwhile.
          if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause
        }
        changed.add(parent)
      } else if (!stat.isDirectory()) {
        throw occupied(`cannot write ${final} into ${root}: expected a directory, found something else`)
      }
    }
    fs.renameSync(temporary, path.join(root, final))
    changed.add(directory)
  }
  for (const directory of changed) Journal.syncDirectory(directory)
}

/** Writes a small file whole, unless it stands there with the same bytes. Throws. */
export const replaceRegular = (root: string, file: string, bytes: Uint8Array, journal: Journal.Journal): void => {
  const target = path.join(root, file)
  const stat = fs.lstatSync(target, { throwIfNoEntry: false })
  if (stat?.isDirectory()) throw occupied(`cannot write ${file} into ${root}: expected a file, found a directory`)
  if (stat?.isFile() && stat.size === bytes.length && Buffer.compare(fs.readFileSync(target), bytes) === 0) return
  const temporary = journal.temporary()
  Journal.writeNew(temporary, bytes)
  place(root, [{ temporary, final: file }])
}
