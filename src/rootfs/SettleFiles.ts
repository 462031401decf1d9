/**
 * Files of a tree on disk of which an mtree manifest says exactly what is there: for each directory, the lines that
 * `Mtree.write` would make of its files are held against those that the manifest has. Where they are the same there is
 * nothing left to compare, so that a tree that is as it should be is never taken into memory, and all of the work is done
 * by threads; where anything differs, a comparison has to find out what.
 */
import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import type { Job } from "../content/Job.ts"
import { compareNames, type Inode } from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import type { FileLines } from "./MtreeFiles.ts"
import { encodeName, indent, LineMatcher, putDigest, putEnd, putKeywords } from "./MtreeLine.ts"
import { nodePath } from "./Restore.ts"
import { hashFile, inodeOf, numberColumns, readFlags } from "./ScanFiles.ts"
import { isHostLabel } from "./Tolerance.ts"

/** Plain data: it crosses to a worker. */
export interface SettleTask {
  /** Absolute path in bytes, as a byte string. */
  readonly root: ByteString
  /** In shared memory, or each thread gets a copy. */
  readonly manifest: Uint8Array
  readonly directories: ReadonlyArray<FileLines>
}

/** Plain data: it crosses back from a worker. */
export interface SettleResult {
  /** For each directory of the task, undefined where something is not as the manifest says. */
  readonly settled: ReadonlyArray<SettledDirectory | undefined>
}

export interface SettledDirectory {
  /** Names of the directories in it. */
  readonly directories: ReadonlyArray<ByteString>
  /** Files hashed, and bytes read for it. */
  readonly files: number
  readonly bytes: number
  /** Attributes that the host gave its files, which the manifest does not tell. */
  readonly hostLabels: number
}

/**
 * Never throws: what cannot be read is not settled, and nothing is without the calls that Node lacks. No symlink is
 * followed on the way to anything.
 */
export const settleFiles = (task: SettleTask, progress: (bytes: number) => void = () => {}): SettleResult => {
  const libc = Libc.load()
  if (libc?.files === undefined) return { settled: task.directories.map(() => undefined) }
  const settler = new Settler(task, { libc, files: libc.files }, progress)
  return { settled: task.directories.map((lines) => settler.settle(lines)) }
}

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants
const directoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW

interface Calls {
  readonly libc: Libc.Libc
  readonly files: Libc.FileCalls
}

class Settler {
  readonly #task: SettleTask
  readonly #progress: (bytes: number) => void
  readonly #line: LineMatcher
  readonly #calls: Calls
  readonly #numbers = new Float64Array(numberColumns)
  /** Paths of the tree that are, or are not, directories of its own file system behind nothing but such directories. */
  readonly #directories = new Map<ByteString, boolean>()
  #device: bigint | undefined
  #files = 0
  #bytes = 0
  #hostLabels = 0

  constructor(task: SettleTask, calls: Calls, progress: (bytes: number) => void) {
    this.#task = task
    this.#calls = calls
    this.#progress = progress
    this.#line = new LineMatcher(task.manifest)
  }

  settle(lines: FileLines): SettledDirectory | undefined {
    let fd: number | undefined
    try {
      if (!this.#isDirectory(lines.directory)) return undefined
      const path = this.#full(lines.directory)
      fd = fs.openSync(nodePath(path), directoryFlags)
      return this.#directory(fd, path, lines)
    } catch {
      return undefined
    } finally {
      if (fd !== undefined) fs.closeSync(fd)
    }
  }

  #directory(fd: number, path: ByteString, { from, names, to }: FileLines): SettledDirectory | undefined {
    const directories: Array<ByteString> = []
    const others: Array<fs.Dirent> = []
    for (const entry of fs.readdirSync(nodePath(path), { withFileTypes: true, encoding: "latin1" })) {
      if (entry.isDirectory()) directories.push(entry.name)
      else others.push(entry)
    }
    if (others.length !== names) return undefined
    others.sort((a, b) => compareNames(a.name, b.name))
    this.#line.begin(from, to)
    this.#files = this.#bytes = this.#hostLabels = 0
    for (const entry of others) {
      if (!(entry.isFile() ? this.#file(fd, entry.name) : this.#other(fd, entry.name, path))) return undefined
    }
    this.#progress(this.#bytes)
    if (!this.#line.complete) return undefined
    return { directories, files: this.#files, bytes: this.#bytes, hostLabels: this.#hostLabels }
  }

  #full(path: ByteString): ByteString {
    return path === "" ? this.#task.root || "/" : `${this.#task.root}/${path}`
  }

  #isDirectory(path: ByteString): boolean {
    const known = this.#directories.get(path)
    if (known !== undefined) return known
    const is = (path === "" || this.#isDirectory(parentOf(path))) && this.#isDirectoryItself(path)
    this.#directories.set(path, is)
    return is
  }

  #isDirectoryItself(path: ByteString): boolean {
    const stat = fs.lstatSync(nodePath(this.#full(path)), { bigint: true })
    this.#device ??= stat.dev
    return stat.isDirectory() && stat.dev === this.#device
  }

  #file(directory: number, name: ByteString): boolean {
    const { files, libc } = this.#calls
    const fd = files.openat(directory, name, readFlags)
    if (fd < 0) return false
    try {
      if (files.fstat(fd, this.#numbers) !== 0) return false
      const inode = this.#inode(name)
      if (inode?.type !== "file") return false
      putKeywords(this.#line, inode)
      // Nothing is read of a file that cannot be right.
      if (!this.#line.matches || !this.#attributes(inode, libc.fxattrs(fd))) return false
      const { digest, read } = hashFile(fd, inode.size)
      this.#files++
      this.#bytes += read
      putDigest(this.#line, digest)
      putEnd(this.#line, inode, "comment")
      return this.#line.matches
    } finally {
      files.close(fd)
    }
  }

  #other(directory: number, name: ByteString, parent: ByteString): boolean {
    const { files, libc } = this.#calls
    if (files.lstatat(directory, name, this.#numbers) !== 0) return false
    const inode = this.#inode(name)
    if (inode === undefined || inode.type === "file" || inode.type === "directory") return false
    const path = `${parent}/${name}`
    if (inode.type === "symlink") inode.link = fs.readlinkSync(nodePath(path), "latin1")
    if (!this.#attributes(inode, libc.xattrs(Libc.path(Buffer.from(path, "latin1"))))) return false
    putKeywords(this.#line, inode)
    putEnd(this.#line, inode, "comment")
    return this.#line.matches
  }

  /** Undefined for a file with several names: what a manifest tells does not say which these are. */
  #inode(name: ByteString): Inode | undefined {
    if (this.#numbers[3] !== 1) return undefined
    this.#line.text(indent)
    this.#line.text(encodeName(name))
    const inode = inodeOf(this.#numbers, 0)
    inode.nlink = 1
    return inode
  }

  #attributes(inode: Inode, found: ReadonlyMap<ByteString, ByteString> | number): boolean {
    if (typeof found === "number") return false
    if (found.size === 0) return true
    const image = [...found].filter(([name]) => !isHostLabel(name))
    this.#hostLabels += found.size - image.length
    if (image.length > 0) inode.xattrs = new Map(image)
    return true
  }
}

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf("/")))

/** `settleFiles` for a pool of workers. Looking at a file, or an empty directory, costs about as much as hashing 8 KiB. */
export const settleJob: Job<SettleTask, SettleResult> = {
  kind: "rootfs.settle-files",
  run: settleFiles,
  cost: ({ directories }) => directories.reduce((sum, { bytes, names }) => sum + bytes + (names + 1) * 8192, 0)
}
