/**
 * Writing a tree to disk, once, straight from the layers.
 *
 * Paths are built from the tree's own names only, and every directory on the way was made by this very call, 0700 until
 * the end: nothing in a layer can make a write follow a symlink or leave the root. Files are opened with
 * O_CREAT | O_EXCL | O_NOFOLLOW, so that even a device or FIFO of the same name is never opened.
 */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import * as Codec from "../content/Compression.ts"
import type { LayerInput } from "../content/LayerStream.ts"
import { openForRead } from "../content/OpenFile.ts"
import { childPath, type FileTree, type Inode, isImplied, pathOf, type TreeNode } from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import { codeOf, nodePath, Restorer, spaceErrors, type UnrestoredWhat, withoutSlash } from "./Restore.ts"
import {
  type EntryVisitor,
  nameErrors,
  nameMessage,
  pathAt,
  type WriteResult,
  type WriteTask,
  writeFiles
} from "./WriteFiles.ts"
import { planColumns, planNodes, tasksOf, type WritePlan } from "./WritePlan.ts"

export type { UnrestoredWhat } from "./Restore.ts"
export type { EntryVisitor } from "./WriteFiles.ts"

/**
 * Streams the members of one layer, by its index, through `visitor`: a `TarScanner` over its uncompressed bytes. It may
 * throw when the layer cannot be read.
 */
export type LayerFeed = (layer: number, visitor: EntryVisitor) => void

export interface UnpackOptions {
  /**
   * Compute sha256 of the files written that have no digest in the tree, and note it there. Default true: it is cheaper
   * than hashing all files of all layers before.
   */
  readonly digests?: boolean
  /** A sparse file larger than this gets no digest, as hashing holes takes time in proportion. Default 64 GiB. */
  readonly maxSparseDigest?: number
  /** Whether to use the calls Node lacks. Default: where `Libc.load()` gives them. */
  readonly libc?: boolean
  /**
   * Writes files by slices and tells the result of each, by its index, as soon as it is there. By default in this thread;
   * for several: `(tasks, onResult) => pool.runAll(writeJob, tasks, { onResult })`.
   */
  readonly write?: (
    tasks: ReadonlyArray<WriteTask>,
    onResult: (result: WriteResult, index: number) => void
  ) => Effect.Effect<unknown>
  /** Entries of `unrestored` that are kept; more are counted. Default 100,000. */
  readonly maxUnrestored?: number
}

/** Something of the tree that the disk does not have. */
export interface Unrestored {
  readonly path: ByteString
  readonly what: UnrestoredWhat
  /** Why: the system's error, or what is missing here. */
  readonly message: string
}

export interface UnpackResult {
  /** Names made, the root included. */
  readonly names: number
  /** Files and bytes of content written; holes are not counted. */
  readonly files: number
  readonly bytes: number
  readonly unrestored: ReadonlyArray<Unrestored>
  /** How many of each, those not kept included. */
  readonly unrestoredCounts: ReadonlyMap<UnrestoredWhat, number>
}

export class UnpackError extends Schema.TaggedError<UnpackError>()("UnpackError", {
  /**
   * `exists`: the root is there already. `no-space`: the disk or the quota is full. `layer-changed`: a layer is not the
   * one the tree was made from. `layer-read`: a layer cannot be read. `write`: anything else the system refuses.
   */
  reason: Schema.Literal("exists", "no-space", "layer-changed", "layer-read", "write"),
  path: Schema.String,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

/**
 * Writes `tree` to the new directory `root`, an absolute path in bytes whose parent exists; `layers` are those that it
 * was made from, base first. On failure what was written so far stays.
 */
export const unpack = (
  tree: FileTree,
  root: Buffer,
  layers: ReadonlyArray<LayerInput>,
  options: UnpackOptions = {}
): Effect.Effect<UnpackResult, UnpackError> =>
  Effect.gen(function* () {
    yield* Effect.promise(Codec.prepare)
    const unpacker = new Unpacker(tree, root, options)
    const tasks = yield* attempt(() => unpacker.begin((layer) => layers[layer]))
    const write = options.write ?? inThisThread
    yield* write(tasks, (result, index) => unpacker.take(result, index))
    return yield* attempt(() => unpacker.end())
  })

/** `unpack` in this thread from whatever gives the layers' members. Throws `UnpackError`. */
export const unpackSync = (
  tree: FileTree,
  root: Buffer,
  feed: LayerFeed,
  options: Omit<UnpackOptions, "write"> = {}
): UnpackResult => {
  const unpacker = new Unpacker(tree, root, options)
  const tasks = unpacker.begin(() => undefined)
  for (const [index, task] of tasks.entries()) {
    unpacker.take(
      writeFiles(task, undefined, (visitor) => feed(unpacker.layerOf(index), visitor)),
      index
    )
  }
  return unpacker.end()
}

const inThisThread: NonNullable<UnpackOptions["write"]> = (tasks, onResult) =>
  Effect.forEach(tasks, (task, index) => Effect.sync(() => onResult(writeFiles(task), index)), { discard: true })

const attempt = <A>(run: () => A): Effect.Effect<A, UnpackError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(run())
    } catch (cause) {
      return cause instanceof UnpackError ? Effect.fail(cause) : Effect.die(cause)
    }
  })

const linkErrors = new Set(["EMLINK", "EPERM", "EOPNOTSUPP", "ENOTSUP", "EXDEV", "EACCES"])

class Unpacker {
  readonly #tree: FileTree
  readonly #root: ByteString
  readonly #options: UnpackOptions
  readonly #libc: boolean
  readonly #restorer: Restorer
  readonly #unrestored: Array<Unrestored> = []
  readonly #counts = new Map<UnrestoredWhat, number>()
  /** Directories in the order in which they were made: parents first. */
  readonly #directories: Array<TreeNode> = []
  /** Paths of those that have files in columns, by their numbers there. */
  readonly #paths: Array<ByteString | undefined>
  /** Regular files by layer, and names of anything else. */
  readonly #files = new Map<number, Array<TreeNode>>()
  readonly #special: Array<TreeNode> = []
  /** First name of a file with several, and the other names. */
  readonly #first = new Map<Inode, TreeNode>()
  readonly #links: Array<TreeNode> = []
  readonly #lost = new Set<Inode>()
  readonly #tasks: Array<{ readonly plan: WritePlan; readonly task: WriteTask }> = []
  #names = 0
  #written = 0
  #bytes = 0
  #copies = 0
  #failure: UnpackError | undefined
  #cachedDirectory: TreeNode | undefined
  #cachedPath: ByteString = ""

  constructor(tree: FileTree, root: Buffer, options: UnpackOptions) {
    this.#tree = tree
    this.#root = withoutSlash(Bytes.fromBytes(root))
    this.#options = options
    this.#libc = options.libc ?? true
    this.#paths = new Array(tree.columns?.directories ?? 0).fill(undefined)
    this.#restorer = new Restorer(this.#libc ? Libc.load() : undefined)
  }

  layerOf(task: number): number {
    return this.#tasks[task]!.plan.layer
  }

  /** Makes all directories; answers what is left to write. */
  begin(sourceOf: (layer: number) => LayerInput | undefined): ReadonlyArray<WriteTask> {
    this.#makeRoot()
    this.#makeDirectories()
    const { columns } = this.#tree
    const options = {
      digests: this.#options.digests ?? true,
      maxSparseDigest: this.#options.maxSparseDigest ?? 64 * 1024 ** 3
    }
    if (options.digests) columns?.expectDigests()
    const plans = [
      ...[...this.#files].map(([layer, nodes]) => planNodes(layer, nodes, options)),
      ...(columns === undefined ? [] : planColumns(columns, this.#paths))
    ].sort((a, b) => a.layer - b.layer)
    for (const plan of plans) {
      const source = sourceOf(plan.layer)
      const inPlace = source !== undefined && source.edits.length === 0 && isPlain(source)
      for (const task of tasksOf(plan, { root: this.#root, source, inPlace, libc: this.#libc })) {
        this.#tasks.push({ plan, task })
      }
    }
    return this.#tasks.map(({ task }) => task)
  }

  /** What came of one of the tasks. */
  take(result: WriteResult, index: number): void {
    const { plan, task } = this.#tasks[index]!
    for (const { message, row, what } of result.unrestored) {
      const node = plan.nodeOf(row)
      if (what === "entry" && node !== undefined) this.#lost.add(node.inode)
      this.#fail(pathAt(task, row), what, message)
    }
    if (result.failure !== undefined && this.#failure === undefined) {
      const { message, reason, row } = result.failure
      const shown = Bytes.display(row < 0 ? this.#root : `${this.#root}/${pathAt(task, row)}`)
      this.#failure = new UnpackError({
        reason,
        path: shown,
        message:
          reason === "layer-changed"
            ? `cannot take ${shown} from layer ${plan.layer}: ${message}`
            : reason === "layer-read"
              ? `cannot read layer ${plan.layer}: ${message}`
              : `cannot write ${shown}: ${message}`
      })
    }
    plan.take(task.rows)
    this.#written += result.files
    this.#bytes += result.bytes
  }

  /** Makes everything that needs no bytes from a layer, when all tasks are done. */
  end(): UnpackResult {
    if (this.#failure !== undefined) throw this.#failure
    this.#names += this.#written
    for (const node of this.#special) this.#makeSpecial(node)
    for (const node of this.#links) this.#makeLink(node)
    for (let index = this.#directories.length - 1; index >= 0; index--) {
      const node = this.#directories[index]!
      this.#restore(node, this.#pathIn(node))
    }
    return {
      names: this.#names,
      files: this.#written + this.#copies,
      bytes: this.#bytes,
      unrestored: this.#unrestored,
      unrestoredCounts: this.#counts
    }
  }

  /** Ours alone, and without the group, setgid bit and ACL that a directory above may hand down. */
  #makeRoot(): void {
    const path = nodePath(this.#root)
    try {
      fs.mkdirSync(path, 0o700)
      this.#restorer.disinherit(this.#root)
      fs.chownSync(path, process.geteuid?.() ?? 0, process.getegid?.() ?? 0)
      fs.chmodSync(path, 0o700)
    } catch (cause) {
      throw this.#error(cause, "")
    }
    this.#made(this.#tree.root)
  }

  #made(directory: TreeNode): void {
    if (directory.files !== undefined) this.#paths[directory.files.id] = pathOf(directory)
    this.#directories.push(directory)
    this.#names++
  }

  #makeDirectories(): void {
    for (let index = 0; index < this.#directories.length; index++) {
      for (const node of this.#directories[index]!.nodes!.values()) {
        if (node.inode.type !== "directory") {
          this.#plan(node)
          continue
        }
        try {
          fs.mkdirSync(nodePath(this.#pathIn(node)), 0o700)
          this.#made(node)
        } catch (cause) {
          this.#entryFailed(cause, node)
        }
      }
    }
  }

  #plan(node: TreeNode): void {
    const { inode } = node
    if (inode.nlink > 1) {
      if (this.#first.has(inode)) {
        this.#links.push(node)
        return
      }
      this.#first.set(inode, node)
    }
    if (inode.type !== "file") {
      this.#special.push(node)
      return
    }
    const planned = this.#files.get(inode.layer)
    if (planned === undefined) this.#files.set(inode.layer, [node])
    else planned.push(node)
  }

  #makeSpecial(node: TreeNode): void {
    const path = this.#pathIn(node)
    try {
      if (node.inode.type === "symlink") {
        fs.symlinkSync(nodePath(node.inode.link), nodePath(path))
      } else if (!this.#makeNode(node, path)) {
        this.#lost.add(node.inode)
        return
      }
    } catch (cause) {
      this.#entryFailed(cause, node)
      return
    }
    this.#names++
    this.#restore(node, path)
  }

  /** A device or FIFO: first for nobody, its mode comes after its owner. */
  #makeNode(node: TreeNode, path: ByteString): boolean {
    const { inode } = node
    const { libc } = this.#restorer
    const what = inode.type === "fifo" ? "fifo" : "device"
    if (inode.type === "socket") {
      this.#fail(pathOf(node), "entry", "no archive can hold a socket")
      return false
    }
    if (libc === undefined) {
      this.#fail(pathOf(node), what, this.#restorer.noLibc())
      return false
    }
    const target = Libc.path(Buffer.from(path, "latin1"))
    const errno =
      inode.type === "fifo"
        ? libc.mkfifo(target, 0o600)
        : libc.mknod(target, inode.type === "char" ? "char" : "block", 0o600, inode.devmajor, inode.devminor)
    if (errno === 0) return true
    this.#fail(pathOf(node), what, Libc.errorName(errno))
    return false
  }

  #makeLink(node: TreeNode): void {
    const { inode } = node
    if (this.#lost.has(inode)) {
      const what = inode.type === "fifo" ? "fifo" : inode.type === "char" || inode.type === "block" ? "device" : "entry"
      this.#fail(pathOf(node), what, "its first name could not be made")
      return
    }
    const from = nodePath(this.#pathIn(this.#first.get(inode)!))
    const path = this.#pathIn(node)
    try {
      fs.linkSync(from, nodePath(path))
    } catch (cause) {
      const code = codeOf(cause)
      if (inode.type !== "file" || !linkErrors.has(code)) this.#entryFailed(cause, node)
      else this.#copyInsteadOfLink(node, from, path, code)
      return
    }
    this.#names++
  }

  /** The file system allows no (more) links: the content is what matters most. */
  #copyInsteadOfLink(node: TreeNode, from: string | Buffer, path: ByteString, code: string): void {
    this.#fail(pathOf(node), "hardlink", code)
    try {
      fs.copyFileSync(from, nodePath(path), fs.constants.COPYFILE_EXCL)
    } catch (cause) {
      this.#entryFailed(cause, node)
      return
    }
    this.#names++
    this.#copies++
    this.#restore(node, path)
  }

  /** The path's last part is ours, and no symlink unless `node` is one. */
  #restore(node: TreeNode, path: ByteString): void {
    try {
      this.#restorer.path(path, node.inode, node.inode.type === "symlink", (what, message) => {
        // Nothing says whose an implied directory is: that it is this user's is as good.
        if (what !== "owner" || !isImplied(node.inode)) this.#fail(pathOf(node), what, message)
      })
    } catch (cause) {
      throw this.#error(cause, pathOf(node))
    }
  }

  #entryFailed(cause: unknown, node: TreeNode): void {
    const code = codeOf(cause)
    if (!nameErrors.has(code)) throw this.#error(cause, pathOf(node))
    this.#lost.add(node.inode)
    this.#fail(pathOf(node), "entry", nameMessage(code))
  }

  #fail(path: ByteString, what: UnrestoredWhat, message: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
    if (this.#unrestored.length >= (this.#options.maxUnrestored ?? 100_000)) return
    this.#unrestored.push({ path, what, message })
  }

  #error(cause: unknown, path: ByteString): UnpackError {
    const code = codeOf(cause)
    const reason = spaceErrors.has(code) ? "no-space" : code === "EEXIST" && path === "" ? "exists" : "write"
    const shown = Bytes.display(path === "" ? this.#root : childPath(this.#root, path))
    return new UnpackError({ reason, path: shown, message: `cannot write ${shown}: ${code}`, cause })
  }

  #pathIn(node: TreeNode): ByteString {
    const { parent } = node
    if (parent === undefined) return this.#root
    if (this.#cachedDirectory !== parent) {
      this.#cachedDirectory = parent
      const path = pathOf(parent)
      this.#cachedPath = path === "" ? `${this.#root}/` : `${this.#root}/${path}/`
    }
    return this.#cachedPath + node.name
  }
}

/** Whether a layer is stored as the tar itself. What cannot be read is left to the pass that reads it. */
const isPlain = ({ region }: LayerInput): boolean => {
  try {
    const fd = openForRead(region.path)
    try {
      const head = Buffer.alloc(Math.min(512, region.size))
      return Codec.detect(head.subarray(0, fs.readSync(fd, head, 0, head.length, region.offset))) === "none"
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    return false
  }
}
