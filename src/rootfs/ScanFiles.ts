/**
 * What many files are, and the sha256 of their content: a pure function over a root and a list of paths, so that slices
 * of one list can be taken by several threads at once.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import type { Job } from "../content/Job.ts"
import { digestOf } from "./ContentHash.ts"
import { Inode, type InodeType } from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import { codeOf, nodePath } from "./Restore.ts"

/** Plain data: it crosses to a worker. */
export interface ScanTask {
  /** Absolute path in bytes, as a byte string. */
  readonly root: ByteString
  /** Anything but directories, below the root. */
  readonly paths: ReadonlyArray<ByteString>
  /** For each path the size that a regular file must have to be hashed; `hashAlways`, or `hashNever`. */
  readonly wanted: Float64Array
  /** Read extended attributes, which needs libc. */
  readonly xattrs: boolean
  /** Bytes to be hashed, as an estimate of the work. */
  readonly bytes: number
}

export const hashNever = -1
export const hashAlways = -2

/** Plain data: it crosses back from a worker. Tables have a row for each path. */
export interface ScanResult {
  /** Rows of `numberColumns`: mode with type, uid, gid, links, size, mtime seconds and nanoseconds, device major, minor. */
  readonly numbers: Float64Array<ArrayBuffer>
  /** Rows of two: device and inode number. */
  readonly ids: BigUint64Array<ArrayBuffer>
  /** `digestSize` for each path: hex, as text. */
  readonly digests: Uint8Array<ArrayBuffer>
  /** 1 for each path whose digest was computed. */
  readonly hashed: Uint8Array<ArrayBuffer>
  /** What few files have. */
  readonly extras: ReadonlyArray<ScanExtra>
  /** Bytes of content read. */
  readonly bytes: number
}

export interface ScanExtra {
  readonly index: number
  /** Target of a symlink. */
  readonly link?: ByteString
  readonly xattrs?: ReadonlyMap<ByteString, ByteString>
  /** What failed and how ("EACCES"). After `entry` the row of the tables means nothing. */
  readonly failed?: { readonly what: "entry" | "content" | "xattrs"; readonly code: string }
}

export const numberColumns = 9
export const digestSize = 64

/** Large enough that calls do not count, small enough to stay in the cache beside the hash. */
const chunkSize = 256 * 1024
let shared: Buffer | undefined

/** O_NONBLOCK: what was a file when it was listed may be a FIFO now. */
export const readFlags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK

const S_IFMT = 0o170000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000
const types: ReadonlyMap<number, InodeType> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
  [0o140000, "socket"]
])
const thousandMillion = 1_000_000_000n

/** The row of one file, from `at` and `id` on. */
export const putStat = (
  stat: fs.BigIntStats,
  numbers: Float64Array,
  at: number,
  ids: BigUint64Array,
  id: number
): void => {
  numbers[at] = Number(stat.mode)
  numbers[at + 1] = Number(stat.uid)
  numbers[at + 2] = Number(stat.gid)
  numbers[at + 3] = Number(stat.nlink)
  numbers[at + 4] = Number(stat.size)
  const nanoseconds = ((stat.mtimeNs % thousandMillion) + thousandMillion) % thousandMillion
  numbers[at + 5] = Number((stat.mtimeNs - nanoseconds) / thousandMillion)
  numbers[at + 6] = Number(nanoseconds)
  const device = stat.rdev !== 0n
  numbers[at + 7] = device ? Number(((stat.rdev >> 32n) & 0xfffff000n) | ((stat.rdev >> 8n) & 0xfffn)) : 0
  numbers[at + 8] = device ? Number(((stat.rdev >> 12n) & 0xffffff00n) | (stat.rdev & 0xffn)) : 0
  ids[id] = stat.dev
  ids[id + 1] = stat.ino
}

/** What a row says. Names and links are not in it. */
export const inodeOf = (numbers: Float64Array, row: number): Inode => {
  const mode = numbers[row]!
  const type = types.get(mode & S_IFMT) ?? "socket"
  const inode = new Inode(
    type,
    mode & 0o7777,
    numbers[row + 1]!,
    numbers[row + 2]!,
    numbers[row + 5]!,
    numbers[row + 6]!
  )
  if (type === "file") inode.size = numbers[row + 4]!
  if (type === "char" || type === "block") {
    inode.devmajor = numbers[row + 7]!
    inode.devminor = numbers[row + 8]!
  }
  return inode
}

/** Never throws: what cannot be read is told, and the rest is read all the same. No symlink is followed. */
export const scanFiles = (task: ScanTask, progress: (bytes: number) => void = () => {}): ScanResult => {
  const { paths, wanted } = task
  const libc = task.xattrs ? Libc.load() : undefined
  const numbers = new Float64Array(paths.length * numberColumns)
  const ids = new BigUint64Array(paths.length * 2)
  const digests = new Uint8Array(paths.length * digestSize)
  const digestText = Buffer.from(digests.buffer)
  const hashed = new Uint8Array(paths.length)
  const extras: Array<ScanExtra> = []
  /** Index of the first name of a file with several. */
  const links = new Map<bigint, number>()
  let bytes = 0

  const fail = (index: number, what: "entry" | "content" | "xattrs", cause: unknown): void => {
    extras.push({ index, failed: { what, code: typeof cause === "number" ? Libc.errorName(cause) : codeOf(cause) } })
  }

  const attributes = (index: number, found: ReadonlyMap<ByteString, ByteString> | number): void => {
    if (typeof found === "number") fail(index, "xattrs", found)
    else if (found.size > 0) extras.push({ index, xattrs: found })
  }

  /** Of a name that is not opened, or cannot be. */
  const byPath = (index: number, path: ByteString): void => {
    try {
      const target = nodePath(path)
      const stat = fs.lstatSync(target, { bigint: true })
      putStat(stat, numbers, index * numberColumns, ids, index * 2)
      if ((Number(stat.mode) & S_IFMT) === S_IFLNK) extras.push({ index, link: fs.readlinkSync(target, "latin1") })
    } catch (cause) {
      fail(index, "entry", cause)
      return
    }
    if (libc !== undefined) attributes(index, libc.xattrs(Libc.path(Buffer.from(path, "latin1"))))
  }

  const hash = (index: number, fd: number, size: number): void => {
    const { digest, read } = hashFile(fd, size)
    digestText.write(digest, index * digestSize, "latin1")
    progress(read)
    bytes += read
    hashed[index] = 1
  }

  const byDescriptor = (index: number, path: ByteString, want: number): void => {
    let fd: number
    try {
      fd = fs.openSync(nodePath(path), readFlags)
    } catch (cause) {
      byPath(index, path)
      const row = numbers[index * numberColumns]!
      if ((row & S_IFMT) === S_IFREG) fail(index, "content", cause)
      return
    }
    try {
      const stat = fs.fstatSync(fd, { bigint: true })
      putStat(stat, numbers, index * numberColumns, ids, index * 2)
      if (libc !== undefined) attributes(index, libc.fxattrs(fd))
      const size = numbers[index * numberColumns + 4]!
      if ((Number(stat.mode) & S_IFMT) !== S_IFREG || (want !== hashAlways && want !== size)) return
      if (stat.nlink > 1n) {
        const first = links.get(stat.ino)
        if (first !== undefined && ids[first * 2] === stat.dev) {
          digests.copyWithin(index * digestSize, first * digestSize, (first + 1) * digestSize)
          hashed[index] = 1
          return
        }
      }
      hash(index, fd, size)
      if (stat.nlink > 1n) links.set(stat.ino, index)
    } catch (cause) {
      fail(index, numbers[index * numberColumns] === 0 ? "entry" : "content", cause)
    } finally {
      fs.closeSync(fd)
    }
  }

  for (let index = 0; index < paths.length; index++) {
    const path = `${task.root}/${paths[index]!}`
    const want = wanted[index]!
    if (want === hashNever) byPath(index, path)
    else byDescriptor(index, path, want)
  }
  return { numbers, ids, digests, hashed, extras, bytes }
}

/** sha256 in hex of an open file from its beginning, of which `size` bytes are expected, and how many were read. */
export const hashFile = (fd: number, size: number): { readonly digest: string; readonly read: number } => {
  const buffer = (shared ??= Buffer.allocUnsafeSlow(chunkSize))
  let count = fs.readSync(fd, buffer, 0, chunkSize, null)
  let read = count
  // A file of the size it should have ends there: one call less than waiting for the end.
  if (read === size) return { digest: digestOf(buffer.subarray(0, read)), read }
  const whole = crypto.createHash("sha256")
  while (count > 0) {
    whole.update(count === chunkSize ? buffer : buffer.subarray(0, count))
    if (read === size) break
    count = fs.readSync(fd, buffer, 0, chunkSize, null)
    read += count
  }
  return { digest: whole.digest("hex"), read }
}

/** `scanFiles` for a pool of workers. Looking at a file costs about as much as hashing 8 KiB. */
export const scanJob: Job<ScanTask, ScanResult> = {
  kind: "rootfs.scan-files",
  run: scanFiles,
  cost: (task) => task.bytes + task.paths.length * 8192,
  transfer: (result) => [result.numbers.buffer, result.ids.buffer, result.digests.buffer, result.hashed.buffer]
}
