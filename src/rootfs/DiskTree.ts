/** What a directory on disk holds, as a `FileTree`. Symlinks are never followed. */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { childPath, FileTree, type Inode, pathOf, TreeNode, unknown } from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import { codeOf, nodePath, withoutSlash } from "./Restore.ts"
import {
  digestSize,
  hashAlways,
  hashNever,
  inodeOf,
  numberColumns,
  putStat,
  type ScanResult,
  type ScanTask,
  scanFiles
} from "./ScanFiles.ts"
import { nothing, type Settled } from "./Settle.ts"

export interface DiskOptions {
  /** Whether to hash files: all, none, or those of `expected` that have a digest there and the right size. */
  readonly hash?: "all" | "none" | FileTree
  /** Read extended attributes. Default: where `Libc.load()` gives the calls. */
  readonly xattrs?: boolean
  /** Looks at slices of the files, by default in this thread: `(tasks) => pool.runAll(scanJob, tasks)` for several. */
  readonly scan?: (tasks: ReadonlyArray<ScanTask>) => Effect.Effect<ReadonlyArray<ScanResult>>
  /** What has been looked at: it is counted, but left out of the tree. */
  readonly settled?: Settled
}

export interface DiskTree {
  /** `records.xattrs` is false where attributes were not read. */
  readonly tree: FileTree
  readonly unreadable: ReadonlyArray<Unreadable>
  /** Directories on which another file system is mounted; what is in that is not part of the tree. */
  readonly mounts: ReadonlySet<TreeNode>
  /** Links of files that have more than one, as the system counts them: the tree's `nlink` counts names below the root. */
  readonly links: ReadonlyMap<Inode, number>
  /** Files hashed and bytes read for it, those settled before included. */
  readonly files: number
  readonly bytes: number
  /** What the tree lacks. */
  readonly settled?: Settled
}

/** Something that the system would not show. */
export interface Unreadable {
  readonly path: ByteString
  /** `entry`: not even what it is; `children`: the names in a directory; `content`; `xattrs`: the attributes. */
  readonly what: "entry" | "children" | "content" | "xattrs"
  /** "EACCES" and the like. */
  readonly code: string
}

/** The root cannot be looked at: it is missing, no directory, or may not be read. */
export class DiskError extends Schema.TaggedError<DiskError>()("DiskError", {
  reason: Schema.Literal("not-found", "not-a-directory", "unreadable"),
  path: Schema.String,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

/** Reads the directory `root`, an absolute path in bytes. Only what is wrong with the root itself is an error. */
export const readDisk: (root: Buffer, options?: DiskOptions) => Effect.Effect<DiskTree, DiskError> = Effect.fn(
  "DiskTree.readDisk"
)(function* (root, options = {}) {
  const reader = yield* Effect.try({ try: () => new Reader(root, options), catch: (cause) => rootError(root, cause) })
  const scan = options.scan ?? inThisThread
  return reader.finish(yield* scan(reader.tasks))
})

/** `readDisk` in this thread; throws `DiskError`. */
export const readDiskSync = (root: Buffer, options: Omit<DiskOptions, "scan"> = {}): DiskTree => {
  let reader: Reader
  try {
    reader = new Reader(root, options)
  } catch (cause) {
    throw rootError(root, cause)
  }
  return reader.finish(reader.tasks.map((task) => scanFiles(task)))
}

const inThisThread = (tasks: ReadonlyArray<ScanTask>): Effect.Effect<ReadonlyArray<ScanResult>> =>
  Effect.forEach(tasks, (task) => Effect.sync(() => scanFiles(task)))

const rootError = (root: Buffer, cause: unknown): DiskError => {
  const code = codeOf(cause)
  const path = Bytes.display(Bytes.fromBytes(root))
  const reason = code === "ENOENT" ? "not-found" : code === "ENOTDIR" ? "not-a-directory" : "unreadable"
  return new DiskError({ reason, path, message: `cannot read ${path}: ${code}`, cause })
}

/** Small enough that several threads end at nearly the same time, large enough to be few. */
const sliceBytes = 16 * 1024 * 1024
const sliceFiles = 1000

/**
 * Names and directories first, in this thread, as that is a small part; then everything else by slices of one list.
 */
class Reader {
  readonly tasks: Array<ScanTask> = []
  readonly #root: ByteString
  readonly #xattrs: boolean
  readonly #hash: "all" | "none" | FileTree
  readonly #settled: Settled
  readonly #tree: FileTree
  readonly #unreadable: Array<Unreadable> = []
  readonly #mounts = new Set<TreeNode>()
  readonly #links = new Map<Inode, number>()
  /** Parents of the names of each task. */
  readonly #parents: Array<ReadonlyArray<TreeNode>> = []
  #paths: Array<ByteString> = []
  #wanted: Array<number> = []
  #owners: Array<TreeNode> = []
  #bytes = 0

  constructor(root: Buffer, options: DiskOptions) {
    this.#root = withoutSlash(Bytes.fromBytes(root))
    this.#xattrs = (options.xattrs ?? true) && Libc.load() !== undefined
    this.#hash = options.hash ?? "none"
    this.#settled = options.settled ?? nothing
    const stat = fs.lstatSync(nodePath(this.#root === "" ? "/" : this.#root), { bigint: true })
    if (!stat.isDirectory()) throw Object.assign(new Error("ENOTDIR: not a directory"), { code: "ENOTDIR" })
    this.#tree = new FileTree({
      root: this.#directory("", this.#root === "" ? "/" : this.#root, stat),
      records: { xattrs: this.#xattrs, hardlinks: true },
      maxNames: Infinity
    })
    this.#walk(stat.dev)
    this.#cut()
  }

  #walk(device: bigint): void {
    const expected = typeof this.#hash === "string" ? undefined : this.#hash.root
    const stack: Array<readonly [TreeNode, TreeNode | undefined]> = [[this.#tree.root, expected]]
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const [directory, wanted] = next
      const path = pathOf(directory)
      const full = `${this.#root}/${path}`
      try {
        this.#list(path, full, (name, isDirectory, isFile) => {
          const child = childPath(path, name)
          const counterpart = wanted?.children?.get(name)
          if (!isDirectory) {
            this.#file(directory, child, isFile ? this.#wish(counterpart) : hashNever)
            return
          }
          let inode: Inode
          let sameDevice: boolean
          try {
            const stat = fs.lstatSync(nodePath(`${this.#root}/${child}`), { bigint: true })
            if (!stat.isDirectory()) {
              this.#file(directory, child, hashNever)
              return
            }
            sameDevice = stat.dev === device
            inode = this.#directory(child, `${this.#root}/${child}`, stat)
          } catch (cause) {
            this.#fail(child, "entry", codeOf(cause))
            return
          }
          const node = this.#add(directory, name, inode)
          if (sameDevice) stack.push([node, counterpart])
          else this.#mounts.add(node)
        })
      } catch (cause) {
        this.#fail(path, "children", codeOf(cause))
      }
    }
  }

  /** Names in a directory that are not settled, with what the directory itself knows of them. */
  #list(
    path: ByteString,
    full: ByteString,
    visit: (name: ByteString, isDirectory: boolean, isFile: boolean) => void
  ): void {
    const settled = this.#settled.directories.get(path)
    if (settled !== undefined) {
      for (const name of settled) visit(name, true, false)
      return
    }
    let entries: ReadonlyArray<fs.Dirent>
    try {
      entries = fs.readdirSync(nodePath(full), { withFileTypes: true, encoding: "latin1" })
    } catch (cause) {
      // A file system that tells no types makes Node look at each name, which it cannot when that is no UTF-8.
      if (codeOf(cause) !== "ENOENT") throw cause
      for (const name of fs.readdirSync(nodePath(full), "latin1")) {
        const stat = fs.lstatSync(nodePath(`${full}/${name}`), { throwIfNoEntry: false })
        visit(name, stat?.isDirectory() ?? false, stat?.isFile() ?? false)
      }
      return
    }
    for (const entry of entries) visit(entry.name, entry.isDirectory(), entry.isFile())
  }

  #wish(expected: TreeNode | undefined): number {
    if (this.#hash === "none") return hashNever
    if (this.#hash === "all") return hashAlways
    if (expected === undefined || expected.inode.type !== "file" || expected.inode.sha256 === undefined)
      return hashNever
    return expected.inode.size >= 0 ? expected.inode.size : hashAlways
  }

  #file(parent: TreeNode, path: ByteString, wanted: number): void {
    this.#paths.push(path)
    this.#wanted.push(wanted)
    this.#owners.push(parent)
    if (wanted > 0) this.#bytes += wanted
    if (this.#bytes >= sliceBytes || this.#paths.length >= sliceFiles) this.#cut()
  }

  #cut(): void {
    if (this.#paths.length === 0) return
    this.tasks.push({
      root: this.#root,
      paths: this.#paths,
      wanted: Float64Array.from(this.#wanted),
      xattrs: this.#xattrs,
      bytes: this.#bytes
    })
    this.#parents.push(this.#owners)
    this.#paths = []
    this.#wanted = []
    this.#owners = []
    this.#bytes = 0
  }

  #directory(path: ByteString, full: ByteString, stat: fs.BigIntStats): Inode {
    const numbers = new Float64Array(numberColumns)
    putStat(stat, numbers, 0, new BigUint64Array(2), 0)
    const inode = inodeOf(numbers, 0)
    inode.nlink = 1
    if (this.#xattrs) {
      const xattrs = Libc.load()!.xattrs(Libc.path(Buffer.from(full, "latin1")))
      if (typeof xattrs === "number") this.#fail(path, "xattrs", Libc.errorName(xattrs))
      else if (xattrs.size > 0) inode.xattrs = xattrs
    }
    return inode
  }

  #add(parent: TreeNode, name: ByteString, inode: Inode): TreeNode {
    const node = new TreeNode(name, parent, inode, unknown)
    parent.children!.set(name, node)
    this.#tree.names++
    return node
  }

  #fail(path: ByteString, what: Unreadable["what"], code: string): void {
    this.#unreadable.push({ path, what, code })
  }

  finish(results: ReadonlyArray<ScanResult>): DiskTree {
    /** Files with several links, by device and number. */
    const shared = new Map<string, Inode>()
    let { bytes, files } = this.#settled
    results.forEach((result, task) => {
      const { paths } = this.tasks[task]!
      const parents = this.#parents[task]!
      const { digests, hashed, ids, numbers } = result
      const hex = Buffer.from(digests.buffer, digests.byteOffset, digests.byteLength).toString("latin1")
      const lost = new Set<number>()
      for (const { failed, index } of result.extras) {
        if (failed === undefined) continue
        this.#fail(paths[index]!, failed.what, failed.code)
        if (failed.what === "entry") lost.add(index)
      }
      const inodes = paths.map((path, index) => {
        if (lost.has(index)) return undefined
        const row = index * numberColumns
        const links = numbers[row + 3]!
        const key = links > 1 ? `${ids[index * 2]}:${ids[index * 2 + 1]}` : ""
        let inode = links > 1 ? shared.get(key) : undefined
        if (inode === undefined) {
          inode = inodeOf(numbers, row)
          if (links > 1) {
            shared.set(key, inode)
            this.#links.set(inode, links)
          }
          if (hashed[index] === 1) files++
        }
        inode.nlink++
        if (hashed[index] === 1) inode.sha256 = hex.slice(index * digestSize, (index + 1) * digestSize)
        const parent = parents[index]!
        this.#add(parent, path.slice(path.lastIndexOf("/") + 1), inode)
        return inode
      })
      for (const { index, link, xattrs } of result.extras) {
        const inode = inodes[index]
        if (inode === undefined) continue
        if (link !== undefined) inode.link = link
        if (xattrs !== undefined) inode.xattrs = xattrs
      }
      bytes += result.bytes
    })
    return {
      tree: this.#tree,
      unreadable: this.#unreadable,
      mounts: this.#mounts,
      links: this.#links,
      files,
      bytes,
      settled: this.#settled
    }
  }
}
