/**
 * Writing a tree to disk, once, straight from the layers.
 *
 * Paths are built from the tree's own names only, and every directory on the way was made by this very call, 0700 until
 * the end: nothing in a layer can make a write follow a symlink or leave the root. Files are opened with
 * O_CREAT | O_EXCL | O_NOFOLLOW, so that even a device or FIFO of the same name is never opened.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import * as Bytes from "../content/ByteString.ts"
import type { ByteString } from "../content/ByteString.ts"
import type { TarEntry } from "../content/TarEntry.ts"
import type { TarVisitor } from "../content/TarScan.ts"
import { childPath, type FileTree, type Inode, pathOf, type TreeNode } from "./FileTree.ts"
import * as Libc from "./Libc.ts"

/** What receives the members of a layer. */
export type EntryVisitor = Required<Pick<TarVisitor, "onEntry" | "onBody" | "onEntryEnd">>

/**
 * Streams the members of one layer, by its index, through `visitor`: a `TarScanner` over its uncompressed bytes. It may
 * throw when the layer cannot be read.
 */
export type LayerFeed = (layer: number, visitor: EntryVisitor) => void

export interface UnpackOptions {
  /** The calls Node lacks; by default `Libc.load()`. Undefined: none. */
  readonly libc?: Libc.Libc | undefined
  /** Entries of `unrestored` that are kept; more are counted. Default 100,000. */
  readonly maxUnrestored?: number
  /** Called with bytes of content written since the last call. */
  readonly onProgress?: (bytes: number) => void
}

/** `entry`, `device`, `fifo`: the name itself is not there. `hardlink`: a copy is there instead. */
export type UnrestoredWhat = "owner" | "mode" | "mtime" | "xattr" | "hardlink" | "device" | "fifo" | "entry"

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
 * Writes `tree` to the new directory `root`, a path in bytes whose parent exists. Synchronous, and sets the process's
 * umask to 0 meanwhile; on failure what was written so far stays. Fails with `UnpackError`.
 */
export const unpack = (
  tree: FileTree,
  root: Buffer,
  feed: LayerFeed,
  options: UnpackOptions = {}
): Effect.Effect<UnpackResult, UnpackError> =>
  Effect.try({
    try: () => unpackSync(tree, root, feed, options),
    catch: (cause) =>
      cause instanceof UnpackError
        ? cause
        : new UnpackError({ reason: "layer-read", path: root.toString(), message: `cannot read a layer: ${cause}`, cause })
  })

/** `unpack` that throws: `UnpackError`, or whatever `feed` throws. */
export const unpackSync = (
  tree: FileTree,
  root: Buffer,
  feed: LayerFeed,
  options: UnpackOptions = {}
): UnpackResult => {
  const umask = setUmask(0)
  try {
    return new Unpacker(tree, root, feed, options).run()
  } finally {
    if (umask !== undefined) setUmask(umask)
  }
}

/** The umask before, or undefined in a worker thread, where it cannot be set. */
const setUmask = (mask: number): number | undefined => {
  try {
    return process.umask(mask)
  } catch {
    return undefined
  }
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
const createOnly = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW

/** Node's `uid_t` -1 means "leave it". */
const maxId = 0xfffffffe

/** Host-specific: a label of the machine where the layer was made says nothing here. */
const hostXattr = "security.selinux"
/** Set after the mode, as each changes the other. */
const aclPrefix = "system.posix_acl_"

/** A file system's refusal of one name; anything else concerns the whole. */
const nameErrors = new Set(["ENAMETOOLONG", "EINVAL", "EILSEQ", "EEXIST", "ELOOP", "EOPNOTSUPP", "ENOTSUP"])
const spaceErrors = new Set(["ENOSPC", "EDQUOT", "EFBIG"])
const linkErrors = new Set(["EMLINK", "EPERM", "EOPNOTSUPP", "ENOTSUP", "EXDEV", "EACCES"])

/** ASCII is passed as text, which is quicker than a buffer of the same bytes. */
const nonAscii = /[^\x00-\x7f]/
const nodePath = (path: ByteString): string | Buffer => nonAscii.test(path) ? Buffer.from(path, "latin1") : path

class Unpacker {
  readonly #tree: FileTree
  readonly #root: ByteString
  readonly #feed: LayerFeed
  readonly #libc: Libc.Libc | undefined
  readonly #maxUnrestored: number
  readonly #onProgress: ((bytes: number) => void) | undefined
  readonly #euid = process.geteuid?.() ?? 0
  readonly #egid = process.getegid?.() ?? 0
  readonly #umask = process.umask()
  readonly #unrestored: Array<Unrestored> = []
  readonly #counts = new Map<UnrestoredWhat, number>()
  /** Owners that this user may not give away: asked once each. */
  readonly #refusedOwners = new Set<string>()
  /** Directories in the order in which they were made: parents first. */
  readonly #directories: Array<TreeNode> = []
  /** Files with content by layer, and names without any. */
  readonly #planned = new Map<number, Array<TreeNode>>()
  readonly #special: Array<TreeNode> = []
  /** First name of a file with several, and the other names. */
  readonly #first = new Map<Inode, TreeNode>()
  readonly #links: Array<TreeNode> = []
  readonly #lost = new Set<Inode>()
  #names = 0
  #files = 0
  #bytes = 0
  #cachedDirectory: TreeNode | undefined
  #cachedPath: ByteString = ""

  constructor(tree: FileTree, root: Buffer, feed: LayerFeed, options: UnpackOptions) {
    this.#tree = tree
    this.#root = Bytes.fromBytes(root)
    this.#feed = feed
    this.#libc = "libc" in options ? options.libc : Libc.load()
    this.#maxUnrestored = options.maxUnrestored ?? 100_000
    this.#onProgress = options.onProgress
  }

  run(): UnpackResult {
    this.#makeRoot()
    this.#makeDirectories()
    for (const layer of [...this.#planned.keys()].sort((a, b) => a - b)) this.#writeLayer(layer, this.#planned.get(layer)!)
    for (const node of this.#special) this.#makeSpecial(node)
    for (const node of this.#links) this.#makeLink(node)
    for (let index = this.#directories.length - 1; index >= 0; index--) this.#finishDirectory(this.#directories[index]!)
    return {
      names: this.#names,
      files: this.#files,
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
      fs.chownSync(path, this.#euid, this.#egid)
      fs.chmodSync(path, 0o700)
    } catch (cause) {
      throw this.#error(cause, "")
    }
    this.#directories.push(this.#tree.root)
    this.#names++
  }

  #makeDirectories(): void {
    for (let index = 0; index < this.#directories.length; index++) {
      const directory = this.#directories[index]!
      for (const node of directory.children!.values()) {
        if (node.inode.type !== "directory") {
          this.#plan(node)
          continue
        }
        try {
          fs.mkdirSync(nodePath(this.#pathIn(directory, node)), 0o700)
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
    if (inode.type !== "file" || inode.dataSize === 0) {
      this.#special.push(node)
      return
    }
    const planned = this.#planned.get(inode.layer)
    if (planned === undefined) this.#planned.set(inode.layer, [node])
    else planned.push(node)
  }

  #writeLayer(layer: number, planned: Array<TreeNode>): void {
    planned.sort((a, b) => a.inode.entry - b.inode.entry)
    let next = 0
    let wanted = planned[0]!.inode.entry
    let fd = -1
    let node: TreeNode | undefined
    let path: ByteString = ""
    let position = 0
    let segment = 0
    let left = 0
    try {
      this.#feed(layer, {
        onEntry: (entry) => {
          if (entry.index !== wanted) return
          node = planned[next++]!
          wanted = planned[next]?.inode.entry ?? -1
          this.#sameEntry(node, entry)
          path = this.#pathIn(node.parent!, node)
          fd = this.#create(node, path)
          if (fd === -1) node = undefined
          position = segment = left = 0
        },
        onBody: (_entry, chunk, from, to) => {
          if (fd === -1) return
          const { sparse } = node!.inode
          if (sparse === undefined) {
            this.#write(fd, node!, chunk, from, to, null)
            return
          }
          for (let at = from; at < to;) {
            if (left === 0) {
              const next = sparse[segment++]
              if (next === undefined) return
              position = next[0]
              left = next[1]
              continue
            }
            const taken = Math.min(left, to - at)
            this.#write(fd, node!, chunk, at, at + taken, position)
            position += taken
            left -= taken
            at += taken
          }
        },
        onEntryEnd: () => {
          if (fd === -1) return
          const done = fd
          this.#finishFile(done, node!, path)
          fd = -1
          fs.closeSync(done)
          node = undefined
        }
      })
    } finally {
      if (fd !== -1) fs.closeSync(fd)
    }
    const missing = node ?? planned[next]
    if (missing !== undefined) this.#changed(missing, layer, "the entry is not there any more")
  }

  #sameEntry(node: TreeNode, entry: TarEntry): void {
    const { inode } = node
    if (entry.type === "file" && entry.size === inode.dataSize && entry.realSize === inode.size) return
    this.#changed(node, inode.layer, `the entry is a ${entry.type} of ${entry.size} bytes now`)
  }

  #changed(node: TreeNode, layer: number, what: string): never {
    throw new UnpackError({
      reason: "layer-changed",
      path: Bytes.display(pathOf(node)),
      message: `layer ${layer} has changed since it was read: ${what}`
    })
  }

  /** Opened for writing, or -1 when this name cannot be. */
  #create(node: TreeNode, path: ByteString): number {
    const { inode } = node
    try {
      return fs.openSync(nodePath(path), createOnly, this.#modeIsLate(inode) ? 0o600 : inode.mode)
    } catch (cause) {
      this.#entryFailed(cause, node)
      return -1
    }
  }

  /** Whether the mode has to be set behind the rest: chown and write clear its upper bits, attributes need write access. */
  #modeIsLate(inode: Inode): boolean {
    return (inode.mode & (0o7000 | this.#umask)) !== 0 || inode.xattrs !== undefined
  }

  #write(fd: number, node: TreeNode, chunk: Uint8Array, from: number, to: number, position: number | null): void {
    try {
      let at = from
      while (at < to) {
        const written = fs.writeSync(fd, chunk, at, to - at, position)
        at += written
        if (position !== null) position += written
      }
    } catch (cause) {
      throw this.#error(cause, pathOf(node))
    }
    this.#bytes += to - from
    this.#onProgress?.(to - from)
  }

  #finishFile(fd: number, node: TreeNode, path: ByteString): void {
    const { inode } = node
    this.#names++
    this.#files++
    try {
      if (inode.sparse !== undefined) fs.ftruncateSync(fd, inode.size)
      if (inode.uid !== this.#euid || inode.gid !== this.#egid) {
        this.#own(node, () => fs.fchownSync(fd, inode.uid, inode.gid))
      }
      if (this.#modeIsLate(inode)) {
        this.#setXattrs(node, path, false)
        this.#attempt(node, "mode", () => fs.fchmodSync(fd, inode.mode))
        this.#setXattrs(node, path, true)
      }
      if (inode.mtimeNanoseconds > 0 || inode.mtimeSeconds < 0) {
        this.#preciseTime(node, (libc) => libc.futimes(fd, inode.mtimeSeconds, inode.mtimeNanoseconds), (time) =>
          fs.futimesSync(fd, time, time))
      } else fs.futimesSync(fd, inode.mtimeSeconds, inode.mtimeSeconds)
    } catch (cause) {
      throw this.#error(cause, pathOf(node))
    }
  }

  /** Everything that needs no bytes from a layer, empty files included. */
  #makeSpecial(node: TreeNode): void {
    const { inode } = node
    const path = this.#pathIn(node.parent!, node)
    if (inode.type === "file") {
      const fd = this.#create(node, path)
      if (fd === -1) return
      try {
        this.#finishFile(fd, node, path)
      } finally {
        fs.closeSync(fd)
      }
      return
    }
    try {
      if (inode.type === "symlink") {
        fs.symlinkSync(nodePath(inode.link), nodePath(path))
      } else if (!this.#makeNode(node, path)) {
        this.#lost.add(inode)
        return
      }
    } catch (cause) {
      this.#entryFailed(cause, node)
      return
    }
    this.#names++
    this.#finishPath(node, path)
  }

  /** A device or FIFO: first for nobody, its mode comes after its owner. */
  #makeNode(node: TreeNode, path: ByteString): boolean {
    const { inode } = node
    const what = inode.type === "fifo" ? "fifo" : "device"
    if (inode.type === "socket") {
      this.#fail(node, "entry", "no archive can hold a socket")
      return false
    }
    if (this.#libc === undefined) {
      this.#fail(node, what, this.#noLibc())
      return false
    }
    const target = Libc.path(Buffer.from(path, "latin1"))
    const errno = inode.type === "fifo"
      ? this.#libc.mkfifo(target, 0o600)
      : this.#libc.mknod(target, inode.type === "char" ? "char" : "block", 0o600, inode.devmajor, inode.devminor)
    if (errno === 0) return true
    this.#fail(node, what, Libc.errorName(errno))
    return false
  }

  #makeLink(node: TreeNode): void {
    const { inode } = node
    if (this.#lost.has(inode)) {
      this.#fail(node, inode.type === "fifo" ? "fifo" : inode.type === "file" ? "entry" : "device", "its first name could not be made")
      return
    }
    const first = this.#first.get(inode)!
    const from = nodePath(this.#pathIn(first.parent!, first))
    const path = this.#pathIn(node.parent!, node)
    try {
      fs.linkSync(from, nodePath(path))
    } catch (cause) {
      const code = codeOf(cause)
      if (inode.type !== "file" || !linkErrors.has(code)) {
        this.#entryFailed(cause, node)
        return
      }
      this.#copyInsteadOfLink(node, from, path, code)
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
    this.#files++
    this.#finishPath(node, path)
  }

  #finishDirectory(node: TreeNode): void {
    this.#finishPath(node, node.parent === undefined ? this.#root : this.#pathIn(node.parent, node))
  }

  /** Attributes of something that is not open. The path's last part is ours, and no symlink unless `node` is one. */
  #finishPath(node: TreeNode, path: ByteString): void {
    const { inode } = node
    const target = nodePath(path)
    try {
      if (inode.uid !== this.#euid || inode.gid !== this.#egid) {
        this.#own(node, () => fs.lchownSync(target, inode.uid, inode.gid))
      }
      this.#setXattrs(node, path, false)
      if (inode.type !== "symlink") this.#attempt(node, "mode", () => fs.chmodSync(target, inode.mode))
      this.#setXattrs(node, path, true)
      const seconds = inode.mtimeNanoseconds < 0 ? 0 : inode.mtimeSeconds
      if (inode.mtimeNanoseconds > 0 || seconds < 0) {
        this.#preciseTime(
          node,
          (libc) => libc.lutimes(Libc.path(Buffer.from(path, "latin1")), seconds, inode.mtimeNanoseconds),
          (time) => fs.lutimesSync(target, time, time)
        )
      } else fs.lutimesSync(target, seconds, seconds)
    } catch (cause) {
      throw this.#error(cause, pathOf(node))
    }
  }

  #own(node: TreeNode, chown: () => void): void {
    const { gid, uid } = node.inode
    const owner = `${uid}:${gid}`
    if (uid < 0 || gid < 0 || uid > maxId || gid > maxId) {
      this.#fail(node, "owner", `${owner} is out of range`)
      return
    }
    if (this.#refusedOwners.has(owner)) {
      this.#fail(node, "owner", `EPERM for ${owner}`)
      return
    }
    try {
      chown()
    } catch (cause) {
      const code = codeOf(cause)
      if (code !== "EPERM" && code !== "EINVAL") throw cause
      this.#refusedOwners.add(owner)
      this.#fail(node, "owner", `${code} for ${owner}`)
    }
  }

  #attempt(node: TreeNode, what: UnrestoredWhat, act: () => void): void {
    try {
      act()
    } catch (cause) {
      const code = codeOf(cause)
      if (code !== "EPERM" && code !== "EINVAL" && code !== "EOPNOTSUPP") throw cause
      this.#fail(node, what, code)
    }
  }

  #setXattrs(node: TreeNode, path: ByteString, acls: boolean): void {
    const { xattrs } = node.inode
    if (xattrs === undefined) return
    let target: Buffer | undefined
    for (const [name, value] of xattrs) {
      if (name === hostXattr || name.startsWith(aclPrefix) !== acls) continue
      if (this.#libc === undefined) {
        this.#fail(node, "xattr", `${Bytes.display(name)}: ${this.#noLibc()}`)
        continue
      }
      target ??= Libc.path(Buffer.from(path, "latin1"))
      const errno = this.#libc.lsetxattr(target, name, value)
      if (errno === 0) continue
      const code = Libc.errorName(errno)
      if (spaceErrors.has(code)) throw new UnpackError({ reason: "no-space", path: Bytes.display(pathOf(node)), message: `cannot set ${Bytes.display(name)}: ${code}` })
      this.#fail(node, "xattr", `${Bytes.display(name)}: ${code}`)
    }
  }

  /** Node's own calls cut times to microseconds and mangle those before 1970. */
  #preciseTime(node: TreeNode, precise: (libc: Libc.Libc) => number, coarse: (time: number) => void): void {
    const { mtimeNanoseconds, mtimeSeconds } = node.inode
    if (this.#libc !== undefined) {
      const errno = precise(this.#libc)
      if (errno !== 0) this.#fail(node, "mtime", Libc.errorName(errno))
      return
    }
    coarse(Math.max(0, mtimeSeconds + mtimeNanoseconds / 1e9))
    this.#fail(node, "mtime", `not to the nanosecond: ${this.#noLibc()}`)
  }

  #noLibc(): string {
    return Libc.reason() ?? "not asked for"
  }

  #entryFailed(cause: unknown, node: TreeNode): void {
    const code = codeOf(cause)
    if (!nameErrors.has(code)) throw this.#error(cause, pathOf(node))
    this.#lost.add(node.inode)
    this.#fail(node, "entry", code === "EEXIST" ? "EEXIST: the file system takes it for another name of the tree" : code)
  }

  #fail(node: TreeNode, what: UnrestoredWhat, message: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
    if (this.#unrestored.length < this.#maxUnrestored) this.#unrestored.push({ path: pathOf(node), what, message })
  }

  #error(cause: unknown, path: ByteString): UnpackError {
    if (cause instanceof UnpackError) return cause
    const code = codeOf(cause)
    const reason = spaceErrors.has(code) ? "no-space" : code === "EEXIST" && path === "" ? "exists" : "write"
    const shown = Bytes.display(childPath(this.#root, path))
    return new UnpackError({ reason, path: shown, message: `cannot write ${shown}: ${code}`, cause })
  }

  #pathIn(directory: TreeNode, node: TreeNode): ByteString {
    if (this.#cachedDirectory !== directory) {
      this.#cachedDirectory = directory
      const path = pathOf(directory)
      this.#cachedPath = path === "" ? `${this.#root}/` : `${this.#root}/${path}/`
    }
    return this.#cachedPath + node.name
  }
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException | undefined)?.code ?? String(cause)
