import { count } from "../image/Count.ts"
import type * as ByteString from "./ByteString.ts"
import { PathTree, type PathTreeData, root } from "./PathTree.ts"
import type { Problem } from "./Problem.ts"
import type { TarEntry } from "./TarEntry.ts"
import { blockSize } from "./TarField.ts"

/**
 * What one layer's entries show without the other layers (layer.md; rules 48, 52-56, 97-99), and what has to be held
 * against the layers below it.
 */
export interface LayerFacts {
  /**
   * A `PathTree`, its records with the marks below. Undefined when no other layer will ask for it and it asks nothing
   * itself.
   */
  readonly paths: PathTreeData | undefined
  /** False when there were more entries than are looked at. */
  readonly whole: boolean
  /** How many records are marked `openLink`, `whiteout`, and `implied`. */
  readonly openLinks: number
  readonly whiteouts: number
  readonly implied: number
}

// What an entry is, in its record's lowest marks. A hardlink's target is the record behind it.
const kinds = 7
const directoryKind = 1
const symlinkKind = 2
const hardlinkKind = 3
const rootLinkKind = 4
const otherKind = 5
const whiteoutKind = 6

/** An entry has this path. */
export const isEntry = 1 << 3
/** An entry has it as a directory. */
export const isDirectory = 1 << 4
/** An entry has it as a symlink. */
export const isSymlink = 1 << 5
/** Some entry lies below it. */
export const hasEntries = 1 << 6
/** A directory that entries lie in and that has no entry itself; of each entry, the nearest ones. */
export const implied = 1 << 7
/** An explicit whiteout hides it. */
export const whiteout = 1 << 8
/** A directory made opaque. */
export const opaque = 1 << 9
/** A hardlink whose target the layer itself has not shown before it: a lower layer must have it. */
export const openLink = 1 << 10
/** Marks from here on are the reader's. */
export const firstFreeMark = 1 << 16

/** Some entry lies directly in it. */
const isParent = 1 << 11
/** It lies below something that can hold no entries. */
const isBlocked = 1 << 12
/** A directory with the name of a whiteout, which has been told. */
const isTold = 1 << 13

const maxProblems = 100

/** PATH_MAX with its NUL and NAME_MAX of Linux: what is longer can be unpacked nowhere. */
const maxPath = 4095
const maxName = 255

/** What is kept of all entries, in bytes: some ten million of them. */
const maxHeld = 384 * 1024 * 1024

/** More than any image has above one entry, while a hostile name has two thousand, each of which would be a question. */
const maxImplied = 32

/** "./a//b/./c/" becomes "a/b/c"; ".." is kept as it is, the scanner reports it. */
export const normalizePath = (path: ByteString.ByteString): ByteString.ByteString => {
  let start = 0
  let end = path.length
  while (start < end) {
    const code = path.charCodeAt(start)
    if (code === 0x2f) start++
    else if (code === 0x2e && (start + 1 === end || path.charCodeAt(start + 1) === 0x2f))
      start += start + 1 === end ? 1 : 2
    else break
  }
  while (end > start && path.charCodeAt(end - 1) === 0x2f) end--
  const trimmed = start === 0 && end === path.length ? path : path.slice(start, end)
  return trimmed.includes("//") || trimmed.includes("/./") || trimmed.endsWith("/.")
    ? trimmed
        .split("/")
        .filter((part) => part !== "" && part !== ".")
        .join("/")
    : trimmed
}

/** `normalizePath`, and ".." resolved by name as unpackers do, the root being its own parent. */
export const resolvePath = (path: ByteString.ByteString): ByteString.ByteString => {
  const normal = normalizePath(path)
  if (!normal.includes("..")) return normal
  const parts: Array<ByteString.ByteString> = []
  for (const part of normal.split("/")) {
    if (part === "..") parts.pop()
    else parts.push(part)
  }
  return parts.join("/")
}

/** Whether no file system can hold it. */
const isUnusable = (path: ByteString.ByteString): boolean => {
  if (path.length <= maxName) return false
  const normal = resolvePath(path)
  if (normal.length > maxPath) return true
  for (let start = 0; start < normal.length; ) {
    const slash = normal.indexOf("/", start)
    const end = slash < 0 ? normal.length : slash
    if (end - start > maxName) return true
    start = end + 1
  }
  return false
}

/** Of overlay's own attributes: in a layer that becomes a lower directory they hide or redirect what is below. */
const overlayKeyword = /^(?:SCHILY|LIBARCHIVE)\.xattr\.(?:trusted|user)\.overlay\./

const whiteoutPrefix = ".wh."
const opaqueName = ".wh..wh..opq"

/** Directories whose nodes are remembered by their paths. */
const maxKnown = 4096

/** Directories of one path after the other, which mostly are the same, or one of few. */
class Directories {
  readonly #tree: PathTree
  readonly #known = new Map<ByteString.ByteString, number>()
  #path: ByteString.ByteString = ""
  #node = root

  constructor(tree: PathTree) {
    this.#tree = tree
  }

  /** The node of the directory `path[0, end)`. */
  at(path: ByteString.ByteString, end: number): number {
    if (end <= 0) return root
    if (end === this.#path.length && path.startsWith(this.#path)) return this.#node
    const directory = path.slice(0, end)
    let node = this.#known.get(directory)
    if (node === undefined) {
      if (this.#known.size === maxKnown) this.#known.clear()
      node = this.#tree.reach(directory)
      this.#known.set(directory, node)
    }
    this.#path = directory
    this.#node = node
    return node
  }
}

/**
 * Takes a layer's entries one by one and judges them together at the end: looking each path up as it comes, between
 * hundreds of megabytes of content that drive everything else out of the processor's caches, takes five times as long.
 */
export class LayerScan {
  readonly #onProblem: (problem: Problem) => void
  readonly #tree = new PathTree()
  readonly #directories = new Directories(this.#tree)
  readonly #targets = new Directories(this.#tree)
  readonly #counts = new Map<Problem["check"], number>()
  readonly #maxHeld: number
  #entries = 0
  #full = false
  #openLinks = 0
  #whiteouts = 0
  #opaques = 0
  #implied = 0

  /** `held`: bytes that may be remembered of all entries; past them the rest is reported as not looked at. */
  constructor(onProblem: (problem: Problem) => void, held: number = maxHeld) {
    this.#onProblem = onProblem
    this.#maxHeld = held
  }

  entry(entry: TarEntry): void {
    if (this.#full || !this.#holds(entry)) return
    if (entry.sparse !== undefined) {
      this.#problem({
        check: "layer.sparse-entry",
        message: "the layer holds a sparse entry, which not every implementation can unpack",
        path: entry.path,
        offset: entry.headerOffset
      })
    }
    if (entry.path.includes(whiteoutPrefix) && this.#whiteout(entry)) return
    if (entry.pax !== undefined || entry.type === "char") this.#overlayMarks(entry)
    const path = resolvePath(entry.path)
    if (path === "") this.#root(entry)
    else if (entry.type === "hardlink") this.#hardlink(entry, path)
    else {
      this.#append(
        path,
        entry.type === "directory" ? directoryKind : entry.type === "symlink" ? symlinkKind : otherKind,
        entry
      )
    }
  }

  #append(path: ByteString.ByteString, kind: number, entry: TarEntry): void {
    const slash = path.lastIndexOf("/")
    const directory = this.#directories.at(path, slash)
    this.#tree.append(directory, path, slash + 1, path.length, kind, entry.headerOffset / blockSize)
  }

  #hardlink(entry: TarEntry, path: ByteString.ByteString): void {
    const target = resolvePath(entry.linkname)
    // Of one without any target the scanner has said so.
    if (target === "") this.#append(path, entry.linkname === "" ? otherKind : rootLinkKind, entry)
    else {
      const slash = target.lastIndexOf("/")
      const directory = this.#targets.at(target, slash)
      this.#append(path, hardlinkKind, entry)
      this.#tree.append(directory, target, slash + 1, target.length)
    }
  }

  #root(entry: TarEntry): void {
    // Of an entry without any name the scanner has said so.
    if (entry.type === "directory" || entry.path === "") return
    this.#problem({
      check: "layer.root-not-directory",
      message: "an entry would replace the root by something else",
      path: entry.path,
      offset: entry.headerOffset
    })
  }

  /** Whether the entry can be unpacked at all, and there is room for what has to be remembered of it. */
  #holds(entry: TarEntry): boolean {
    const { path, linkname, type } = entry
    if (isUnusable(path) || (type === "symlink" ? linkname.length > maxPath : isUnusable(linkname))) {
      const shown = Buffer.from(path.slice(0, maxPath), "latin1").toString("latin1")
      this.#problem({
        check: "layer.path-unusable",
        message: isUnusable(path)
          ? "the name is longer than any file system can hold"
          : "the link's target is longer than any file system can hold",
        path: shown,
        offset: entry.headerOffset,
        expected: `at most ${maxName} bytes between slashes and ${maxPath} in all`
      })
      return false
    }
    if (this.#tree.size < this.#maxHeld) {
      this.#entries++
      return true
    }
    this.#full = true
    this.#onProblem({
      check: "layer.too-large",
      message: `the layer has more entries than are looked at; those from the ${this.#entries + 1}. on were not`,
      offset: entry.headerOffset
    })
    return false
  }

  #overlayMarks(entry: TarEntry): void {
    if (entry.type === "char" && entry.devmajor === 0 && entry.devminor === 0) {
      this.#problem({
        check: "layer.overlay-artifact",
        message: "a 0:0 character device, which overlay reads as a whiteout",
        path: entry.path,
        offset: entry.headerOffset
      })
    }
    if (entry.pax === undefined) return
    for (const keyword of entry.pax.keys()) {
      const first = keyword.charCodeAt(0)
      // Nearly all records are times, and this is asked for each.
      if ((first !== 0x53 && first !== 0x4c) || !overlayKeyword.test(keyword)) continue
      this.#problem({
        check: "layer.overlay-artifact",
        message: "an extended attribute of overlay itself",
        path: entry.path,
        offset: entry.headerOffset
      })
      return
    }
  }

  /** True when the entry is a whiteout, or a marker that stands for none of the image's files. */
  #whiteout(entry: TarEntry): boolean {
    const path = resolvePath(entry.path)
    const start = path.startsWith(whiteoutPrefix) ? 0 : path.indexOf(`/${whiteoutPrefix}`) + 1
    if (start === 0 && !path.startsWith(whiteoutPrefix)) return false
    const end = path.indexOf("/", start)
    if (end >= 0) return this.#belowWhiteout(entry, path.slice(0, end), path.slice(start, end))
    const name = path.slice(start)
    const directory = start === 0 ? "" : path.slice(0, start - 1)
    if (name === opaqueName) {
      const node = this.#tree.reach(directory)
      if (this.#tree.has(node, opaque)) this.#duplicateWhiteout(path, entry.headerOffset)
      else this.#opaques++
      this.#tree.mark(node, opaque)
    } else if (name.startsWith(".wh..wh.")) {
      // Bookkeeping of the aufs driver (.wh..wh.plnk, .wh..wh.aufs, .wh..wh.orph): every implementation skips it.
      return true
    } else if (name === ".wh." || name === ".wh..." || name === ".wh..") {
      this.#problem({
        check: "layer.bad-whiteout",
        message: "a whiteout names no file",
        path,
        offset: entry.headerOffset
      })
      return true
    } else {
      const node = this.#directories.at(path, start - 1)
      const place = entry.headerOffset / blockSize
      this.#tree.append(node, path, start + whiteoutPrefix.length, path.length, whiteoutKind, place)
    }
    if (entry.type !== "file" || entry.size !== 0) {
      if (entry.type === "directory") {
        if (this.#wasTold(path)) return true
      }
      this.#problem({
        check: "layer.whiteout-not-empty",
        message: "a whiteout is not an empty regular file",
        path,
        offset: entry.headerOffset,
        expected: "an empty regular file",
        actual: `${entry.type} of ${count(entry.size, "byte")}`
      })
    }
    return true
  }

  #duplicateWhiteout(path: ByteString.ByteString, offset: number): void {
    this.#problem({
      check: "layer.duplicate-whiteout",
      message: "the layer has more than one entry of this whiteout",
      path,
      offset
    })
  }

  /** Whether the directory with the name of a whiteout has been told; from now on it has. */
  #wasTold(path: ByteString.ByteString): boolean {
    const node = this.#tree.reach(path)
    if (this.#tree.has(node, isTold)) return true
    this.#tree.mark(node, isTold)
    return false
  }

  /** The entry lies in a directory with the name of a whiteout. */
  #belowWhiteout(entry: TarEntry, directory: ByteString.ByteString, name: ByteString.ByteString): boolean {
    // What the aufs driver kept there, hardlinks may name.
    if (name !== opaqueName && name.startsWith(".wh..wh.")) return false
    if (this.#wasTold(directory)) return true
    this.#problem({
      check: "layer.whiteout-not-empty",
      message: "entries lie below a name that is a whiteout's",
      path: directory,
      offset: entry.headerOffset,
      expected: "an empty regular file",
      actual: "directory"
    })
    return true
  }

  /** Call once, behind the last entry. `keepPaths`: other layers will ask for them. */
  end(keepPaths: boolean): LayerFacts {
    const tree = this.#tree
    tree.reserve()
    for (let id = tree.first; id < tree.end; id = tree.next(id)) this.#judge(id)
    if (this.#whiteouts > 0) this.#ownWhiteouts()
    if (this.#whiteouts > 0 || this.#opaques > 0) this.#whiteoutsThroughSymlinks()
    this.#underNonDirectories()
    this.#markImplied()
    for (const [check, count] of this.#counts) {
      if (count > maxProblems)
        this.#onProblem({ check, message: `and ${count - maxProblems} more of these in this layer` })
    }
    return {
      paths: keepPaths || this.#openLinks > 0 || this.#whiteouts > 0 ? tree.data() : undefined,
      whole: !this.#full,
      openLinks: this.#openLinks,
      whiteouts: this.#whiteouts,
      implied: this.#implied
    }
  }

  #judge(id: number): void {
    const tree = this.#tree
    const kind = tree.marks(id) & kinds
    if (kind === 0) return
    const node = tree.settle(id)
    if (kind === whiteoutKind) {
      if (tree.has(node, whiteout)) this.#duplicateWhiteout(this.#whiteoutPath(id), this.#offset(id))
      else this.#whiteouts++
      tree.mark(node, whiteout)
      return
    }
    const directory = tree.directory(id)
    tree.mark(directory, isParent)
    if (kind === hardlinkKind || kind === rootLinkKind) this.#judgeLink(id, node, kind === rootLinkKind)
    if (tree.has(node, isEntry)) {
      const bothDirectories = kind === directoryKind && tree.has(node, isDirectory)
      this.#problem({
        check: bothDirectories ? "layer.duplicate-directory" : "layer.duplicate-path",
        message: `the layer has more than one entry of this ${bothDirectories ? "directory" : "path"}`,
        path: tree.pathOf(node),
        offset: this.#offset(id)
      })
    }
    tree.mark(
      node,
      kind === directoryKind ? isEntry | isDirectory : kind === symlinkKind ? isEntry | isSymlink : isEntry
    )
    for (let above = directory; !tree.has(above, hasEntries); above = tree.directory(above))
      tree.mark(above, hasEntries)
  }

  #judgeLink(id: number, node: number, toRoot: boolean): void {
    const tree = this.#tree
    const problem = (check: "layer.hardlink-missing-target" | "layer.hardlink-bad-target", message: string): void =>
      this.#problem({ check, message, path: tree.pathOf(node), offset: this.#offset(id) })
    const target = toRoot ? root : tree.settle(tree.next(id))
    if (target === node) problem("layer.hardlink-missing-target", "a hardlink names itself as its target")
    else if (toRoot || tree.has(target, isDirectory)) problem("layer.hardlink-bad-target", "a hardlink to a directory")
    else if (tree.has(target, isEntry)) return
    else if (this.#hasAbove(target, isSymlink)) {
      this.#problem({
        check: "layer.path-through-non-directory",
        message: "the hardlink's target lies below a symlink of the same layer",
        path: tree.pathOf(node),
        offset: this.#offset(id)
      })
    } else if (this.#isHidden(target)) {
      problem("layer.hardlink-missing-target", "a hardlink to a file of a lower layer that this layer hides")
    } else {
      tree.mark(id, openLink)
      this.#openLinks++
    }
  }

  /** Whether whiteouts that came until now leave nothing of lower layers there. */
  #isHidden(node: number): boolean {
    // An opaque whiteout counts from the beginning, wherever it stands; all of them are marked by now.
    return this.#tree.has(node, whiteout) || this.#hasAbove(node, whiteout | opaque) || this.#tree.has(root, opaque)
  }

  /** Whether one of the directories above it, but for the root, has one of the marks. */
  #hasAbove(node: number, marks: number): boolean {
    for (let above = this.#tree.directory(node); above !== root; above = this.#tree.directory(above)) {
      if (this.#tree.has(above, marks)) return true
    }
    return false
  }

  #ownWhiteouts(): void {
    const tree = this.#tree
    for (let id = tree.first; id < tree.end; id = tree.next(id)) {
      if (!tree.has(id, whiteout) || !tree.has(id, isEntry | hasEntries)) continue
      this.#problem({
        check: "layer.whiteout-of-own-path",
        message: "the layer hides by a whiteout a path that it adds itself",
        path: tree.pathOf(id)
      })
    }
  }

  #whiteoutsThroughSymlinks(): void {
    const tree = this.#tree
    for (let id = tree.first; id < tree.end; id = tree.next(id)) {
      if (!tree.has(id, whiteout | opaque)) continue
      if (!this.#hasAbove(id, isSymlink) && !(tree.has(id, opaque) && tree.has(id, isSymlink))) continue
      this.#problem({
        check: "layer.path-through-non-directory",
        message: "what a whiteout hides lies below a symlink of the same layer",
        path: tree.pathOf(id)
      })
    }
  }

  /** Entries below something that, in the same layer, can hold no entries. */
  #underNonDirectories(): void {
    const tree = this.#tree
    for (let id = tree.first; id < tree.end; id = tree.next(id)) {
      const above = tree.marks(tree.directory(id))
      if ((above & isBlocked) === 0 && (above & (isEntry | isDirectory)) !== isEntry) continue
      tree.mark(id, isBlocked)
      if (!tree.has(id, isEntry)) continue
      this.#problem({
        check: "layer.path-through-non-directory",
        message: "the entry lies below a symlink or a file of the same layer",
        path: tree.pathOf(id)
      })
    }
  }

  #markImplied(): void {
    const tree = this.#tree
    for (let id = tree.first; id < tree.end; id = tree.next(id)) {
      if (!tree.has(id, isParent)) continue
      for (let left = maxImplied, node = id; left > 0 && node !== root; left--, node = tree.directory(node)) {
        if (tree.has(node, isDirectory | implied)) break
        tree.mark(node, implied)
        this.#implied++
      }
    }
  }

  /** Where the record's entry begins. */
  #offset(id: number): number {
    return this.#tree.number(id) * blockSize
  }

  /** The whiteout's own name, where the record has the name of what it hides. */
  #whiteoutPath(id: number): ByteString.ByteString {
    const hidden = this.#tree.pathOf(id)
    const start = hidden.lastIndexOf("/") + 1
    return hidden.slice(0, start) + whiteoutPrefix + hidden.slice(start)
  }

  #problem(problem: Problem): void {
    const count = (this.#counts.get(problem.check) ?? 0) + 1
    this.#counts.set(problem.check, count)
    if (count <= maxProblems) this.#onProblem(problem)
  }
}
