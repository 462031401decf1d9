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
import { slices } from "./Slices.ts"
import {
  dataSizeColumn,
  digestSize,
  type EntryVisitor,
  fileCost,
  nameErrors,
  nameMessage,
  type WriteExtra,
  type WriteResult,
  type WriteTask,
  writeColumns,
  writeFiles
} from "./WriteFiles.ts"

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

/** By their places in the layer, of which each has another. Plain loops: there may be millions. */
const inOrder = (nodes: ReadonlyArray<TreeNode>): ReadonlyArray<TreeNode> => {
  const keys = new Float64Array(nodes.length)
  for (let index = 0; index < nodes.length; index++) keys[index] = nodes[index]!.inode.entry * maxFiles + index
  keys.sort()
  const sorted = new Array<TreeNode>(nodes.length)
  for (let index = 0; index < nodes.length; index++) sorted[index] = nodes[keys[index]! % maxFiles]!
  return sorted
}

/** More than any tree may have: with a place in the layer it makes one exact number. */
const maxFiles = 2 ** 24

/** A task's, of all files of a layer. */
type Columns = Pick<WriteTask, "names" | "directories" | "parents" | "numbers" | "wanted">

/** Those of the files from `from` up to `to`. */
const part = (columns: Columns, from: number, to: number): Columns => {
  if (from === 0 && to === columns.names.length) return columns
  const directories: Array<ByteString> = []
  const known = new Map<number, number>()
  return {
    names: columns.names.slice(from, to),
    directories,
    parents: columns.parents.slice(from, to).map((place) => {
      let own = known.get(place)
      if (own === undefined) known.set(place, (own = directories.push(columns.directories[place]!) - 1))
      return own
    }),
    numbers: columns.numbers.slice(from * writeColumns, to * writeColumns),
    wanted: columns.wanted.slice(from, to)
  }
}

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
  /** Regular files by layer, and names of anything else. */
  readonly #files = new Map<number, Array<TreeNode>>()
  readonly #special: Array<TreeNode> = []
  /** First name of a file with several, and the other names. */
  readonly #first = new Map<Inode, TreeNode>()
  readonly #links: Array<TreeNode> = []
  readonly #lost = new Set<Inode>()
  /** Files and layer of each task. */
  readonly #slices: Array<{ readonly layer: number; readonly nodes: ReadonlyArray<TreeNode> }> = []
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
    this.#restorer = new Restorer(this.#libc ? Libc.load() : undefined)
  }

  layerOf(task: number): number {
    return this.#slices[task]!.layer
  }

  /** Makes all directories; answers what is left to write. */
  begin(sourceOf: (layer: number) => LayerInput | undefined): ReadonlyArray<WriteTask> {
    this.#makeRoot()
    this.#makeDirectories()
    const tasks: Array<WriteTask> = []
    for (const layer of [...this.#files.keys()].sort((a, b) => a - b)) {
      const nodes = inOrder(this.#files.get(layer)!)
      const source = sourceOf(layer)
      const inPlace = source !== undefined && source.edits.length === 0 && isPlain(source)
      const extras: Array<WriteExtra> = []
      const columns = this.#columns(nodes, extras)
      const { numbers } = columns
      let from = 0
      let extra = 0
      for (const slice of inPlace
        ? slices(nodes, (_, index) => numbers[index * writeColumns + dataSizeColumn]! + fileCost)
        : [nodes]) {
        this.#slices.push({ layer, nodes: slice })
        const to = from + slice.length
        const own: Array<WriteExtra> = []
        for (; extra < extras.length && extras[extra]!.index < to; extra++) {
          own.push({ ...extras[extra]!, index: extras[extra]!.index - from })
        }
        tasks.push({
          root: this.#root,
          source,
          inPlace,
          libc: this.#libc,
          extras: own,
          ...part(columns, from, to)
        })
        from = to
      }
    }
    return tasks
  }

  /** What there is to know of the files of a layer; what few of them have goes to `extras`. */
  #columns(nodes: ReadonlyArray<TreeNode>, extras: Array<WriteExtra>): Columns {
    const numbers = new Float64Array(nodes.length * writeColumns)
    const wanted = new Uint8Array(nodes.length)
    const digests = this.#options.digests ?? true
    const maxSparse = this.#options.maxSparseDigest ?? 64 * 1024 ** 3
    const directories: Array<ByteString> = []
    const known = new Map<TreeNode, number>()
    const parents = new Uint32Array(nodes.length)
    const names = nodes.map(({ inode, name, parent }, index) => {
      let directory = known.get(parent!)
      if (directory === undefined) known.set(parent!, (directory = directories.push(pathOf(parent!)) - 1))
      parents[index] = directory
      let at = index * writeColumns
      numbers[at++] = inode.entry
      numbers[at++] = inode.dataOffset
      numbers[at++] = inode.dataSize
      numbers[at++] = inode.size
      numbers[at++] = inode.mode
      numbers[at++] = inode.uid
      numbers[at++] = inode.gid
      numbers[at++] = inode.mtimeSeconds
      numbers[at] = inode.mtimeNanoseconds
      const { sparse, xattrs } = inode
      if (xattrs !== undefined || sparse !== undefined) {
        extras.push({
          index,
          ...(xattrs === undefined ? {} : { xattrs }),
          ...(sparse === undefined ? {} : { sparse })
        })
      }
      if (digests && inode.sha256 === undefined && (sparse === undefined || inode.size <= maxSparse)) wanted[index] = 1
      return name
    })
    return { names, directories, parents, numbers, wanted }
  }

  /** What came of one of the tasks. */
  take(result: WriteResult, task: number): void {
    const { layer, nodes } = this.#slices[task]!
    for (const { index, message, what } of result.unrestored) {
      const node = nodes[index]!
      if (what === "entry") this.#lost.add(node.inode)
      this.#fail(node, what, message)
    }
    if (result.failure !== undefined && this.#failure === undefined) {
      const { index, message, reason } = result.failure
      const shown = Bytes.display(index < 0 ? this.#root : `${this.#root}/${pathOf(nodes[index]!)}`)
      this.#failure = new UnpackError({
        reason,
        path: shown,
        message:
          reason === "layer-changed"
            ? `cannot take ${shown} from layer ${layer}: ${message}`
            : reason === "layer-read"
              ? `cannot read layer ${layer}: ${message}`
              : `cannot write ${shown}: ${message}`
      })
    }
    nodes.forEach(({ inode }, index) => {
      if (result.hashed[index] === 1) inode.sha256 = result.digests.slice(index * digestSize, (index + 1) * digestSize)
    })
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

  /** Ours alone, and without the group and setgid bit that a directory above may hand down. */
  #makeRoot(): void {
    const path = nodePath(this.#root)
    try {
      fs.mkdirSync(path, 0o700)
      fs.chownSync(path, process.geteuid?.() ?? 0, process.getegid?.() ?? 0)
      fs.chmodSync(path, 0o700)
    } catch (cause) {
      throw this.#error(cause, "")
    }
    this.#directories.push(this.#tree.root)
    this.#names++
  }

  #makeDirectories(): void {
    for (let index = 0; index < this.#directories.length; index++) {
      for (const node of this.#directories[index]!.children!.values()) {
        if (node.inode.type !== "directory") {
          this.#plan(node)
          continue
        }
        try {
          fs.mkdirSync(nodePath(this.#pathIn(node)), 0o700)
          this.#directories.push(node)
          this.#names++
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
      this.#fail(node, "entry", "no archive can hold a socket")
      return false
    }
    if (libc === undefined) {
      this.#fail(node, what, this.#restorer.noLibc())
      return false
    }
    const target = Libc.path(Buffer.from(path, "latin1"))
    const errno =
      inode.type === "fifo"
        ? libc.mkfifo(target, 0o600)
        : libc.mknod(target, inode.type === "char" ? "char" : "block", 0o600, inode.devmajor, inode.devminor)
    if (errno === 0) return true
    this.#fail(node, what, Libc.errorName(errno))
    return false
  }

  #makeLink(node: TreeNode): void {
    const { inode } = node
    if (this.#lost.has(inode)) {
      const what = inode.type === "fifo" ? "fifo" : inode.type === "char" || inode.type === "block" ? "device" : "entry"
      this.#fail(node, what, "its first name could not be made")
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
    this.#fail(node, "hardlink", code)
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
        if (what !== "owner" || !isImplied(node.inode)) this.#fail(node, what, message)
      })
    } catch (cause) {
      throw this.#error(cause, pathOf(node))
    }
  }

  #entryFailed(cause: unknown, node: TreeNode): void {
    const code = codeOf(cause)
    if (!nameErrors.has(code)) throw this.#error(cause, pathOf(node))
    this.#lost.add(node.inode)
    this.#fail(node, "entry", nameMessage(code))
  }

  #fail(node: TreeNode, what: UnrestoredWhat, message: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
    if (this.#unrestored.length >= (this.#options.maxUnrestored ?? 100_000)) return
    this.#unrestored.push({ path: pathOf(node), what, message })
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
