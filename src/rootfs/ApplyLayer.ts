/**
 * Applying one layer's entries to a tree (layer.md "Applying Changesets", "Whiteouts"), in one streaming pass.
 *
 * Where the specification leaves room this follows what umoci does, which is also what containerd and the chroot-based
 * unpackers do when all layers are in one directory: ".." is resolved lexically and cannot leave the root, a symlink on
 * the way to an entry is resolved inside the root, an entry below a file replaces that file. Each of the latter is
 * reported, as overlay-based tools unpack each layer by itself and so come to another result.
 */
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { type TarEntry, xattrsOf } from "../content/TarEntry.ts"
import { ContentHash } from "./ContentHash.ts"
import type { FileColumns } from "./FileColumns.ts"
import { type FileTree, heldBy, Inode, impliedDirectory, pathOf, TreeNode } from "./FileTree.ts"
import { ProblemList, type RootfsProblem, type TreeCheck } from "./RootfsProblem.ts"

export interface LayerOptions {
  /** Compute sha256 of every file's content, for which `onBody` must be called. Default true. */
  readonly digests?: boolean
  /** Sparse files get no digest beyond so many bytes of them all, as hashing holes takes time. Default 64 GiB. */
  readonly maxSparseDigest?: number
  /** Told of each file whose content an entry or a whiteout of this layer hides for good. */
  readonly onShadowed?: (shadowed: Shadowed) => void
  /** Problems kept of each check; more are counted. Default 1000. */
  readonly maxProblems?: number
}

/** A file that was there in vain. */
export interface Shadowed {
  readonly path: ByteString
  /** Bytes of content stored in `layer`. */
  readonly size: number
  /** The layer that holds it and the one that hides it (the same one for an entry that comes twice). */
  readonly layer: number
  readonly by: number
  readonly how: "overwritten" | "deleted"
}

/** What one layer brought and hid. */
export interface AppliedLayer {
  readonly layer: number
  /** False when the tree has become too large and entries were left out. */
  readonly complete: boolean
  /** Entries that put something into the tree; whiteouts and what was not applied are not among them. */
  readonly entries: number
  /** Stored bytes of the files among them. */
  readonly contentBytes: number
  readonly whiteouts: number
  readonly opaques: number
  /** Stored bytes of earlier content that entries of this layer replaced, and that its whiteouts removed. */
  readonly overwrittenBytes: number
  readonly deletedBytes: number
  /**
   * Where lower layers' files were hidden by explicit whiteouts, or in the root by an opaque one, and directories by
   * something else, as it is in the tree.
   */
  readonly hidden: ReadonlyArray<readonly [directory: TreeNode, name: ByteString]>
  /** Directories made opaque, as they are in the tree. */
  readonly opaque: ReadonlyArray<TreeNode>
  readonly problems: ReadonlyArray<RootfsProblem>
  /** Problems found of each check, including those not kept. */
  readonly problemCounts: ReadonlyMap<string, number>
}

/** Linux refuses longer paths and names (PATH_MAX with its NUL, NAME_MAX) and follows no more symlinks (MAXSYMLINKS). */
const maxPath = 4095
const maxName = 255
const maxSymlinks = 40
/** Directories above each other; twice what fits in one path, which symlinks can add up to. */
const maxDepth = 2048
/** Directories remembered by what entries call them. */
const maxDirectories = 4096
/** Steps that symlinks add to the ways to all of a layer's entries: forty long ones could cost milliseconds for each. */
const maxLinkSteps = 10_000_000
/** What is shown of names and targets, so that a thousand problems stay small. */
const maxShown = 4096
/** What a hardlink that waits for its target takes besides its names, and a file that the aufs driver kept aside. */
const linkCost = 128

const dot = 0x2e
const whiteoutPrefix = ".wh."
const opaqueMarker = ".wh..wh..opq"
const aufsPrefix = ".wh..wh."
const aufsLinks = ".wh..wh.plnk"

/**
 * `path` as components without "", "." and "..", which is resolved lexically as every unpacker does; it cannot rise above
 * the root. Undefined when no file system can hold it.
 */
export const splitPath = (path: ByteString): Array<ByteString> | undefined => {
  const parts: Array<ByteString> = []
  if (path.length > 4 * maxPath || path.includes("\0")) return undefined
  let length = 0
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue
    if (part === "..") {
      const last = parts.pop()
      if (last !== undefined) length -= last.length + 1
      continue
    }
    if (part.length > maxName) return undefined
    length += part.length + 1
    parts.push(part)
  }
  return length - 1 > maxPath ? undefined : parts
}

/** A name that `splitPath` takes as it is, and that is no whiteout. */
const isOrdinary = (name: ByteString): boolean =>
  name !== "" && name.length <= maxName && name.charCodeAt(0) !== dot && !name.includes("\0")

const hasUnusableTarget = ({ linkname, type }: TarEntry): boolean =>
  type === "symlink" && (linkname === "" || linkname.length > maxPath || linkname.includes("\0"))

/** What is needed of a hardlink's entry. */
interface Link {
  readonly path: ByteString
  readonly linkname: ByteString
}

const linkHeld = (link: Link): number => link.path.length + link.linkname.length + linkCost

/** What is kept of a name that may be a MiB long, without what it was cut from. */
const shortened = (text: string): string =>
  text.length <= maxShown ? text : Buffer.from(text.slice(0, maxShown), "utf16le").toString("utf16le")

/** Whether ".." leads above where `path` begins. */
const escapes = (path: ByteString): boolean => {
  if (!path.includes("..")) return false
  let depth = 0
  for (const part of path.split("/")) {
    if (part === "..") depth--
    else if (part !== "" && part !== ".") depth++
    if (depth < 0) return true
  }
  return false
}

/** Marks of overlayfs itself: in a tree that becomes a lower layer they redirect, hide or replace what is below. */
const isOverlayXattr = (name: ByteString): boolean =>
  name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.")

/**
 * Takes the entries of one layer in their order. `onEntry`, then `onBody` for the stored bytes, then `onEntryEnd` of each;
 * `finish` once, behind the last one. The tree is right only after `finish`.
 */
export class LayerApplier {
  readonly #tree: FileTree
  /** Undefined when files have to be objects. */
  readonly #columns: FileColumns | undefined
  readonly #layer: number
  readonly #digests: boolean
  readonly #maxSparseDigest: number
  readonly #onShadowed: ((shadowed: Shadowed) => void) | undefined
  readonly #problems: ProblemList
  readonly #hidden: Array<readonly [TreeNode, ByteString]> = []
  readonly #opaque = new Set<TreeNode>()
  /** Hardlinks whose target had not come yet. */
  readonly #pending: Array<Link> = []
  /** Names of this layer that a whiteout has gone through already: nothing of lower layers is left at or below them. */
  readonly #pruned = new Set<TreeNode>()
  /** Directories by what entries of this layer call them, as long as nothing is taken out of the tree. */
  readonly #directories = new Map<ByteString, TreeNode>()
  /** Bodies that the aufs driver kept aside for hardlinks to name. */
  readonly #aufsFiles = new Map<ByteString, Inode>()
  #hash: ContentHash | undefined
  #hashed: Inode | undefined
  #complete = true
  #symlinks = 0
  #linkSteps = 0
  #sparseBytes = 0
  #entries = 0
  #contentBytes = 0
  #whiteouts = 0
  #overwrittenBytes = 0
  #deletedBytes = 0

  constructor(tree: FileTree, layer: number, options: LayerOptions = {}) {
    this.#tree = tree
    this.#layer = layer
    this.#digests = options.digests ?? true
    this.#columns = this.#digests ? undefined : tree.columns
    this.#maxSparseDigest = options.maxSparseDigest ?? 64 * 1024 ** 3
    this.#onShadowed = options.onShadowed
    this.#problems = new ProblemList(options.maxProblems ?? 1000)
  }

  readonly onEntry = (entry: TarEntry): void => {
    this.#hash = undefined
    this.#hashed = undefined
    const inode = this.#apply(entry)
    if (inode === undefined || inode.type !== "file" || !this.#digests) return
    // A hardlink's inode is another member's, perhaps one at the same position of a lower layer.
    if (inode.entry !== entry.index || inode.layer !== this.#layer) return
    if (inode.sparse !== undefined) {
      this.#sparseBytes += inode.size
      if (this.#sparseBytes > this.#maxSparseDigest) {
        this.#sparseBytes -= inode.size
        return
      }
    }
    this.#hashed = inode
    this.#hash = new ContentHash(inode.size, inode.sparse)
  }

  readonly onBody = (_entry: TarEntry, chunk: Uint8Array, from: number, to: number): void => {
    this.#hash?.update(chunk, from, to)
  }

  readonly onEntryEnd = (): void => {
    if (this.#hash === undefined) return
    this.#hashed!.sha256 = this.#hash.digest()
    this.#hash = undefined
  }

  finish(): AppliedLayer {
    // A body that the archive's end cut off is not what the entry promised: no digest vouches for it.
    this.#hash = undefined
    for (const entry of this.#pending) {
      this.#tree.held -= linkHeld(entry)
      this.#late(entry)
    }
    for (const [name, inode] of this.#aufsFiles) {
      this.#tree.held -= name.length + linkCost + heldBy(inode)
    }
    return {
      layer: this.#layer,
      complete: this.#complete,
      entries: this.#entries,
      contentBytes: this.#contentBytes,
      whiteouts: this.#whiteouts,
      opaques: this.#opaque.size,
      overwrittenBytes: this.#overwrittenBytes,
      deletedBytes: this.#deletedBytes,
      hidden: this.#hidden,
      opaque: [...this.#opaque],
      problems: this.#problems.problems,
      problemCounts: this.#problems.counts
    }
  }

  #problem(
    check: TreeCheck,
    path: ByteString,
    message: string,
    more: { expected?: string; actual?: string } = {}
  ): void {
    const { expected, actual } = more
    this.#problems.add({
      check,
      path: shortened(path),
      message,
      layer: this.#layer,
      ...(expected === undefined ? {} : { expected: shortened(expected) }),
      ...(actual === undefined ? {} : { actual: shortened(actual) })
    })
  }

  /** The inode that the entry put into the tree, if it did. */
  #apply(entry: TarEntry): Inode | undefined {
    const { names, maxNames, held, maxHeld } = this.#tree
    if (names >= maxNames || held >= maxHeld) {
      this.#problem(
        "rootfs.too-large",
        "",
        names >= maxNames
          ? `the image has more than ${maxNames} files; the rest is not looked at`
          : `names, link targets, extended attributes and sparse maps take more than ${maxHeld} bytes; the rest is not looked at`
      )
      this.#complete = false
      return undefined
    }
    const { path } = entry
    const slash = path.lastIndexOf("/")
    const known = slash > 0 && path.length <= maxPath ? this.#directories.get(path.slice(0, slash)) : undefined
    if (known !== undefined && entry.type !== "hardlink") {
      if (path.charCodeAt(slash + 1) !== dot && this.#toColumns(entry, known, path, slash + 1)) return undefined
      const name = path.slice(slash + 1)
      if (isOrdinary(name) && !hasUnusableTarget(entry)) return this.#put(entry, known, name)
    }
    const parts = splitPath(path)
    if (parts === undefined) {
      this.#problem("rootfs.path-unusable", path, "no file system can hold this name")
      return undefined
    }
    const name = parts.pop()
    if (name === undefined) return this.#root(entry)
    if (path.includes(whiteoutPrefix)) {
      if (parts.some((part) => part.startsWith(whiteoutPrefix))) return this.#belowWhiteout(entry, parts, name)
      if (name.startsWith(whiteoutPrefix)) {
        this.#whiteout(entry, parts, name)
        return undefined
      }
    }
    return entry.type === "hardlink" ? this.#hardlink(entry, parts, name, false) : this.#place(entry, parts, name)
  }

  #root(entry: TarEntry): Inode | undefined {
    if (entry.type !== "directory") {
      this.#problem("rootfs.root-not-directory", "", "an entry would replace the root by something else", {
        expected: "directory",
        actual: entry.type
      })
      return undefined
    }
    const { root } = this.#tree
    this.#tree.held -= heldBy(root.inode)
    root.inode = this.#inode(entry)
    this.#tree.held += heldBy(root.inode)
    root.inode.nlink = 1
    root.layer = this.#layer
    this.#entries++
    return root.inode
  }

  #place(entry: TarEntry, parts: ReadonlyArray<ByteString>, name: ByteString): Inode | undefined {
    if (hasUnusableTarget(entry)) {
      this.#problem("rootfs.path-unusable", entry.path, "a symlink's target that no file system can hold")
      return undefined
    }
    const symlinks = this.#symlinks
    const parent = this.#directory(parts, entry.path, true)
    if (parent === undefined) return undefined
    const inode = this.#toColumns(entry, parent, name, 0) ? undefined : this.#put(entry, parent, name)
    // A way through symlinks is told of each entry.
    if (this.#symlinks === symlinks && entry.path.endsWith(`/${name}`)) {
      if (this.#directories.size === maxDirectories) this.#directories.clear()
      this.#directories.set(entry.path.slice(0, -name.length - 1), parent)
    }
    return inode
  }

  /** Whether the entry, named `path` from `from` on, is a file of which columns have all that there is to say. */
  #toColumns(entry: TarEntry, parent: TreeNode, path: ByteString, from: number): boolean {
    if (this.#columns === undefined || entry.type !== "file" || entry.sparse !== undefined) return false
    if (entry.pax !== undefined && xattrsOf(entry).size > 0) return false
    const length = path.length - from
    if (length === 0 || length > maxName) return false
    if (!parent.addFile(this.#columns, path, from, entry, this.#layer)) return false
    this.#tree.names++
    this.#tree.held += length
    this.#entries++
    this.#contentBytes += entry.size
    return true
  }

  #put(entry: TarEntry, parent: TreeNode, name: ByteString): Inode | undefined {
    const inode = this.#inode(entry)
    const existing = parent.child(name)
    if (existing !== undefined && inode.type === "directory" && existing.inode.type === "directory") {
      this.#tree.held += heldBy(inode) - heldBy(existing.inode)
      existing.inode = inode
      inode.nlink = 1
      existing.layer = this.#layer
    } else {
      this.#attach(parent, name, inode, existing)
    }
    this.#entries++
    this.#contentBytes += inode.dataSize
    return inode
  }

  /** Puts a name for `inode` below `parent`, in place of `existing` if that is there. */
  #attach(parent: TreeNode, name: ByteString, inode: Inode, existing: TreeNode | undefined): TreeNode {
    if (inode.nlink === 0) this.#tree.held += heldBy(inode)
    this.#tree.held += name.length
    if (inode.type === "directory") inode.nlink = 1
    else inode.nlink++
    if (existing !== undefined) {
      if (existing.nodes !== undefined) this.#hidden.push([parent, name])
      this.#remove(existing, "overwritten")
    }
    this.#tree.names++
    const node = new TreeNode(name, parent, inode, this.#layer)
    parent.nodes!.set(name, node)
    return node
  }

  #inode(entry: TarEntry): Inode {
    const type = entry.type === "hardlink" ? "file" : entry.type
    const inode = new Inode(
      type,
      type === "symlink" ? 0o777 : entry.mode,
      entry.uid,
      entry.gid,
      entry.mtimeSeconds,
      entry.mtimeNanoseconds
    )
    inode.layer = this.#layer
    inode.entry = entry.index
    if (type === "file") {
      inode.dataOffset = entry.dataOffset
      inode.dataSize = entry.size
      inode.size = entry.realSize
      inode.sparse = entry.sparse
    } else if (type === "symlink") {
      inode.link = entry.linkname
    } else if (type === "char" || type === "block") {
      inode.devmajor = entry.devmajor
      inode.devminor = entry.devminor
      if (type === "char" && entry.devmajor === 0 && entry.devminor === 0) {
        this.#problem(
          "rootfs.overlay-artifact",
          entry.path,
          "a 0:0 character device, which overlay reads as a whiteout"
        )
      }
    }
    if (entry.pax !== undefined) this.#xattrs(entry, inode)
    return inode
  }

  #xattrs(entry: TarEntry, inode: Inode): void {
    let xattrs: Map<ByteString, ByteString> | undefined
    for (const [name, value] of xattrsOf(entry)) {
      if (isOverlayXattr(name)) {
        this.#problem(
          "rootfs.overlay-artifact",
          entry.path,
          `an attribute of overlay itself, not applied: ${Bytes.display(name)}`
        )
        continue
      }
      xattrs ??= new Map()
      xattrs.set(name, value.toString("latin1"))
    }
    inode.xattrs = xattrs
  }

  #hardlink(entry: Link, parts: ReadonlyArray<ByteString>, name: ByteString, late: boolean): Inode | undefined {
    if (escapes(entry.linkname)) return this.#badTarget(entry, "a hardlink to a path that leads out of the root")
    const found = this.#linkTarget(entry)
    if (found === undefined) {
      if (late) {
        this.#problem("rootfs.hardlink-missing-target", entry.path, "a hardlink to nothing", {
          expected: Bytes.display(entry.linkname)
        })
      } else {
        this.#pending.push({ path: entry.path, linkname: entry.linkname })
        this.#tree.held += linkHeld(entry)
      }
      return undefined
    }
    const target = found instanceof TreeNode ? found.inode : found
    if (target.type === "directory") return this.#badTarget(entry, "a hardlink to a directory")
    const parent = this.#directory(parts, entry.path, true)
    if (parent === undefined) return undefined
    const existing = parent.child(name)
    for (let at = found instanceof TreeNode ? found : undefined; at !== undefined; at = at.parent) {
      if (at !== existing) continue
      return this.#badTarget(
        entry,
        at === found ? "a hardlink to itself" : "a hardlink to what is in the directory that it replaces"
      )
    }
    if (target.layer !== this.#layer) {
      this.#problem("rootfs.hardlink-across-layers", entry.path, "a hardlink to a file that only a lower layer has", {
        actual: `${Bytes.display(entry.linkname)} of layer ${target.layer}`
      })
    }
    this.#attach(parent, name, target, existing)
    this.#entries++
    return target
  }

  #badTarget(entry: Link, message: string): undefined {
    this.#problem("rootfs.hardlink-bad-target", entry.path, message, { actual: Bytes.display(entry.linkname) })
    return undefined
  }

  /** A hardlink that came before its target: tar and every runtime fail on it, so it is reported although it resolves. */
  #late(entry: Link): void {
    const parts = splitPath(entry.path)
    const name = parts?.pop()
    if (parts === undefined || name === undefined) return
    if (this.#hardlink(entry, parts, name, true) === undefined) return
    this.#problem("rootfs.hardlink-missing-target", entry.path, "a hardlink to a file that comes later in the layer", {
      expected: "the target before the link",
      actual: Bytes.display(entry.linkname)
    })
  }

  #linkTarget(entry: Link): TreeNode | Inode | undefined {
    const parts = splitPath(entry.linkname)
    const name = parts?.pop()
    if (parts === undefined || name === undefined) return undefined
    if (parts[0] === aufsLinks) return this.#aufsFiles.get(name)
    return this.#directory(parts, entry.path, false)?.child(name)
  }

  #whiteout(entry: TarEntry, parts: ReadonlyArray<ByteString>, marker: ByteString): void {
    if (marker !== opaqueMarker && marker.startsWith(aufsPrefix)) return
    const name = marker.slice(whiteoutPrefix.length)
    if (marker !== opaqueMarker && (name === "" || name === "." || name === "..")) {
      this.#problem("rootfs.whiteout-escapes", entry.path, "a whiteout that names no file of its directory")
      return
    }
    const parent = this.#directory(parts, entry.path, false)
    if (marker === opaqueMarker) {
      if (parent === undefined) {
        this.#problem(
          "rootfs.whiteout-missing-target",
          entry.path,
          "an opaque whiteout of a directory that is not there"
        )
        return
      }
      // What came to it since then is this layer's own.
      if (this.#opaque.has(parent)) return
      this.#opaque.add(parent)
      for (const child of parent.children!.values()) {
        // Overlay's own root merges whatever is said of it: name by name is the only way to hide what is in it.
        if (parent === this.#tree.root) this.#hidden.push([parent, child.name])
        this.#prune(child)
      }
      return
    }
    this.#whiteouts++
    const node = parent?.child(name)
    if (parent === undefined || node === undefined) {
      // What an opaque whiteout of this layer already removed may be listed as well.
      if (parent === undefined || !this.#opaque.has(parent)) {
        this.#problem("rootfs.whiteout-missing-target", entry.path, "a whiteout of something that no lower layer has")
      }
      return
    }
    if (this.#pruned.has(node)) return
    this.#hidden.push([parent, name])
    this.#prune(node)
  }

  /**
   * Removes what lower layers put there and keeps what this layer put there, as if the whiteout had come first, whatever
   * the order (layer.md: whiteouts apply to lower layers only).
   */
  #prune(node: TreeNode): void {
    if (node.layer !== this.#layer) {
      this.#remove(node, "deleted")
      return
    }
    if (this.#pruned.has(node)) return
    this.#pruned.add(node)
    if (node.inode.type !== "directory") return
    if (node.inode.layer !== this.#layer) {
      this.#tree.held -= heldBy(node.inode)
      node.inode = impliedDirectory()
    }
    for (const child of node.children!.values()) this.#prune(child)
  }

  #remove(node: TreeNode, how: Shadowed["how"]): void {
    node.parent!.nodes!.delete(node.name)
    this.#directories.clear()
    const stack = [node]
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { inode } = next
      this.#tree.names--
      this.#tree.held -= next.name.length
      // A directory has one name.
      if (--inode.nlink === 0) this.#tree.held -= heldBy(inode)
      if (next.children !== undefined) for (const child of next.children.values()) stack.push(child)
      else if (inode.nlink === 0 && inode.type === "file") {
        if (how === "overwritten") this.#overwrittenBytes += inode.dataSize
        else this.#deletedBytes += inode.dataSize
        this.#onShadowed?.({ path: pathOf(next), size: inode.dataSize, layer: inode.layer, by: this.#layer, how })
      }
    }
  }

  /** An entry below a name that begins with ".wh.", which no file system made of layers can have. */
  #belowWhiteout(entry: TarEntry, parts: ReadonlyArray<ByteString>, name: ByteString): Inode | undefined {
    if (parts[0] === aufsLinks && parts.length === 1 && entry.type === "file") {
      const inode = this.#inode(entry)
      this.#aufsFiles.set(name, inode)
      this.#tree.held += name.length + linkCost + heldBy(inode)
      return inode
    }
    if (!parts.some((part) => part.startsWith(aufsPrefix))) {
      this.#problem(
        "rootfs.path-unusable",
        entry.path,
        "the entry lies below a directory whose name is that of a whiteout"
      )
    }
    return undefined
  }

  /**
   * The directory at `parts`, symlinks resolved inside the root. With `create`, what is missing is made, what is no
   * directory is replaced, and all on the way counts as touched by this layer; without, undefined when it is not there.
   */
  #directory(parts: ReadonlyArray<ByteString>, subject: ByteString, create: boolean): TreeNode | undefined {
    let node = this.#tree.root
    let depth = 0
    let symlinks = 0
    let steps = 0
    let todo: Array<ByteString> | undefined
    let next = 0
    for (;;) {
      let part: ByteString
      if (todo !== undefined && todo.length > 0) {
        part = todo.pop()!
        if (++this.#linkSteps > maxLinkSteps) return this.#tooManyLinks(subject)
      } else if (next < parts.length) part = parts[next++]!
      else break
      if (++steps > 2 * maxPath) return this.#loop(subject)
      if (part === "" || part === ".") continue
      if (part === "..") {
        if (node.parent !== undefined) {
          node = node.parent
          depth--
        }
        continue
      }
      let child = node.child(part)
      if (child !== undefined && child.inode.type === "symlink") {
        this.#symlinks++
        if (++symlinks > maxSymlinks) return this.#loop(subject)
        if (symlinks === 1) this.#throughSymlink(subject, child)
        const target = child.inode.link
        if (target.startsWith("/")) {
          node = this.#tree.root
          depth = 0
        }
        todo ??= []
        const pieces = target.split("/")
        for (let index = pieces.length - 1; index >= 0; index--) todo.push(pieces[index]!)
        continue
      }
      if (child === undefined || child.inode.type !== "directory") {
        if (!create) return undefined
        if (part.length > maxName || depth >= maxDepth) {
          this.#problem("rootfs.path-unusable", subject, "no file system can hold the directories on the way to it")
          return undefined
        }
        if (child !== undefined) {
          this.#problem("rootfs.path-through-file", subject, `it lies below a ${child.inode.type}, which it replaces`, {
            expected: "directory",
            actual: `${child.inode.type} ${Bytes.display(pathOf(child))}`
          })
        }
        child = this.#attach(node, part, impliedDirectory(), child)
      }
      node = child
      depth++
    }
    // Directories just made have the layer's mark already, those above them not yet.
    if (create) for (let at: TreeNode | undefined = node; at !== undefined; at = at.parent) at.layer = this.#layer
    return node
  }

  #throughSymlink(subject: ByteString, symlink: TreeNode): void {
    this.#problem("rootfs.path-through-symlink", subject, "the way to it leads through a symlink", {
      expected: "directory",
      actual: `symlink ${Bytes.display(pathOf(symlink))} to ${Bytes.display(symlink.inode.link)}`
    })
  }

  #tooManyLinks(subject: ByteString): undefined {
    this.#problem(
      "rootfs.path-unusable",
      subject,
      "the ways to entries of this layer lead through more symlinks than are followed"
    )
    return undefined
  }

  #loop(subject: ByteString): undefined {
    this.#problem("rootfs.path-unusable", subject, "the way to it leads through a loop of symlinks")
    return undefined
  }
}
