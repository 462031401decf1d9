/**
 * Named, reproducible damages to files: what a failing disk, a cut-off copy or a careless tool leaves behind. Each
 * function does one damage at once and answers what it did; each throws what the file system says.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

/** The kinds of damage, as they are named in reports. */
export type Kind =
  | "flip-byte"
  | "overwrite"
  | "truncate"
  | "extend"
  | "delete"
  | "swap"
  | "replace-by-file"
  | "replace-by-directory"
  | "replace-by-symlink"
  | "replace-by-fifo"

/** What was done. */
export interface Damage {
  readonly kind: Kind
  /** The damaged paths: two for a swap. */
  readonly paths: ReadonlyArray<string>
  /** One line: what was done, without the path. */
  readonly what: string
}

const damage = (kind: Kind, paths: ReadonlyArray<string>, what: string): Damage => ({ kind, paths, what })

/** Every regular file below `directory`, with `/` between parts, sorted; links are not followed. */
export const files = (directory: string): ReadonlyArray<string> =>
  fs
    .readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory()
        ? files(path.join(directory, entry.name)).map((name) => `${entry.name}/${name}`)
        : entry.isFile()
          ? [entry.name]
          : []
    )
    .sort()

const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, "0")}`

/** Inverts the bits of `mask` (1..255, all by default) in the byte at `offset`. */
export const flipByte = (file: string, offset: number, mask = 0xff): Damage => {
  if (!Number.isInteger(mask) || mask < 1 || mask > 255) throw new RangeError(`the mask ${mask} is none of 1 to 255`)
  const fd = fs.openSync(file, "r+")
  try {
    const byte = Buffer.alloc(1)
    if (fs.readSync(fd, byte, 0, 1, offset) === 0) throw new RangeError(`${file} has no byte ${offset}`)
    const before = byte[0]!
    byte[0] = before ^ mask
    fs.writeSync(fd, byte, 0, 1, offset)
    return damage("flip-byte", [file], `byte ${offset} changed from ${hex(before)} to ${hex(byte[0])}`)
  } finally {
    fs.closeSync(fd)
  }
}

/** Puts other bytes in the place of those at `offset`; the size stays. */
export const overwrite = (file: string, offset: number, bytes: Uint8Array): Damage => {
  const fd = fs.openSync(file, "r+")
  try {
    if (offset + bytes.length > fs.fstatSync(fd).size)
      throw new RangeError(`${file} ends before ${offset + bytes.length}`)
    fs.writeSync(fd, bytes, 0, bytes.length, offset)
    return damage("overwrite", [file], `${bytes.length} bytes at ${offset} overwritten`)
  } finally {
    fs.closeSync(fd)
  }
}

/** Cuts the file to `size` bytes. */
export const truncate = (file: string, size: number): Damage => {
  const before = fs.statSync(file).size
  if (size >= before) throw new RangeError(`${file} has ${before} bytes: it cannot be cut to ${size}`)
  fs.truncateSync(file, size)
  return damage("truncate", [file], `cut from ${before} to ${size} bytes`)
}

/** Adds bytes at the end. */
export const extend = (file: string, bytes: Uint8Array): Damage => {
  const before = fs.statSync(file).size
  fs.appendFileSync(file, bytes)
  return damage("extend", [file], `extended from ${before} to ${before + bytes.length} bytes`)
}

/** Deletes a file, or a directory with all that is in it. */
export const remove = (file: string): Damage => {
  fs.rmSync(file, { recursive: true })
  return damage("delete", [file], "deleted")
}

/** Exchanges two files or directories. */
export const swap = (one: string, other: string): Damage => {
  const aside = `${one}.swap-${process.pid}`
  fs.renameSync(one, aside)
  fs.renameSync(other, one)
  fs.renameSync(aside, other)
  return damage("swap", [one, other], `exchanged with ${path.basename(other)}`)
}

const replace = (kind: Kind, file: string, what: string, make: () => void): Damage => {
  fs.rmSync(file, { recursive: true })
  make()
  return damage(kind, [file], what)
}

/** Puts a file with other content in its place. */
export const replaceByFile = (file: string, bytes: Uint8Array): Damage =>
  replace("replace-by-file", file, `replaced by a file of ${bytes.length} bytes`, () => fs.writeFileSync(file, bytes))

/** Puts an empty directory in its place. */
export const replaceByDirectory = (file: string): Damage =>
  replace("replace-by-directory", file, "replaced by an empty directory", () => fs.mkdirSync(file))

/** Puts a symlink in its place; the target is taken as it is. */
export const replaceBySymlink = (file: string, target: string): Damage =>
  replace("replace-by-symlink", file, `replaced by a symlink to ${target}`, () => fs.symlinkSync(target, file))

/** Puts a FIFO in its place, which a careless reader waits on for ever. Needs the program `mkfifo`. */
export const replaceByFifo = (file: string): Damage =>
  replace("replace-by-fifo", file, "replaced by a FIFO", () => childProcess.execFileSync("mkfifo", [file]))
