import type * as ByteString from "./ByteString.ts"
import { PathSet } from "./PathSet.ts"
import type { Problem } from "./Problem.ts"
import type { TarEntry } from "./TarEntry.ts"

/**
 * What one layer's entries show without the other layers (layer.md; rules 48, 52-56, 97-99), and what has to be held
 * against the layers below it. Paths are normalised byte strings without leading and trailing slashes; "" is the root.
 */
export interface LayerFacts {
  /** Hardlinks whose target the layer itself has not shown before them: a lower layer must have it. */
  readonly openLinks: ReadonlyArray<readonly [path: ByteString.ByteString, target: ByteString.ByteString]>
  /** Paths that explicit whiteouts hide. */
  readonly whiteouts: ReadonlyArray<ByteString.ByteString>
  /** Directories made opaque. */
  readonly opaques: ReadonlyArray<ByteString.ByteString>
  /** Directories that entries lie in and that have no entry themselves; of each entry, the nearest. */
  readonly implied: ReadonlyArray<ByteString.ByteString>
  /**
   * Every path the layer adds, as latin1 bytes: each a type letter ("d" directory, "l" symlink, "f" anything else), the
   * path and a NUL. Undefined when it would be larger than `maxPathBytes`, or when not all entries were looked at.
   */
  readonly paths: Uint8Array | undefined
}

/** Path tables above this are not kept: what needs them is then reported as skipped. */
const maxPathBytes = 128 * 1024 * 1024
const maxProblems = 100

/** PATH_MAX with its NUL and NAME_MAX of Linux: what is longer can be unpacked nowhere. */
const maxPath = 4095
const maxName = 255

/** What is kept of all entries, in bytes, reckoned with what an entry costs by itself: some four million of them. */
const maxHeld = 640 * 1024 * 1024
const entryCost = 128
/** Hardlinks and whiteouts are held with what they name, and asked about in every layer below. */
const linkCost = 1024

/** More than any image has above one entry, while a hostile name has two thousand, which together take a thousandfold. */
const maxImplied = 32

/** Directories longer than this ask `PathSet` for what is above them: one by one would take time in the square. */
const longPath = 512

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
const resolvePath = (path: ByteString.ByteString): ByteString.ByteString => {
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

const directoryType = 0
const symlinkType = 1
const hardlinkType = 2
const otherType = 3

/**
 * Takes a layer's entries one by one and judges them together at the end: looking each path up as it comes, between
 * hundreds of megabytes of content that drive everything else out of the processor's caches, takes five times as long.
 */
export class LayerScan {
  readonly #onProblem: (problem: Problem) => void
  readonly #paths: Array<ByteString.ByteString> = []
  readonly #types: Array<number> = []
  readonly #offsets: Array<number> = []
  /** Targets of hardlinks, by the entry's position. */
  readonly #targets = new Map<number, ByteString.ByteString>()
  readonly #seen = new Set<ByteString.ByteString>()
  readonly #directories = new Set<ByteString.ByteString>()
  readonly #symlinks = new PathSet()
  /** Directories that entries lie in: far fewer than entries, so that questions about parents are asked once each. */
  readonly #parents = new Set<ByteString.ByteString>()
  readonly #openLinks: Array<readonly [ByteString.ByteString, ByteString.ByteString]> = []
  readonly #whiteouts = new PathSet()
  /** How many entries came before each whiteout. */
  readonly #whiteoutPlaces = new Map<ByteString.ByteString, number>()
  readonly #opaques = new PathSet()
  /** Names of whiteouts that are directories, told once each. */
  readonly #whiteoutDirectories = new Set<ByteString.ByteString>()
  readonly #counts = new Map<Problem["check"], number>()
  #pathBytes = 0
  readonly #maxHeld: number
  #held = 0
  #full = false

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
    const { type } = entry
    if (type === "hardlink") this.#targets.set(this.#paths.length, entry.linkname)
    this.#paths.push(entry.path)
    this.#types.push(
      type === "directory"
        ? directoryType
        : type === "symlink"
          ? symlinkType
          : type === "hardlink"
            ? hardlinkType
            : otherType
    )
    this.#offsets.push(entry.headerOffset)
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
    const isLink = type === "hardlink" || path.includes(whiteoutPrefix)
    this.#held += path.length + (type === "hardlink" ? linkname.length : 0) + (isLink ? linkCost : entryCost)
    if (this.#held <= this.#maxHeld) return true
    this.#full = true
    this.#onProblem({
      check: "layer.too-large",
      message: `the layer has more entries than are looked at; those from the ${this.#paths.length + 1}. on were not`,
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
      if (this.#opaques.has(directory)) this.#duplicateWhiteout(entry, path)
      this.#opaques.add(directory)
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
      const hidden = directory === "" ? name.slice(4) : `${directory}/${name.slice(4)}`
      if (this.#whiteouts.has(hidden)) this.#duplicateWhiteout(entry, path)
      else this.#whiteoutPlaces.set(hidden, this.#paths.length)
      this.#whiteouts.add(hidden)
    }
    if (entry.type !== "file" || entry.size !== 0) {
      if (entry.type === "directory") {
        if (this.#whiteoutDirectories.has(path)) return true
        this.#whiteoutDirectories.add(path)
      }
      this.#problem({
        check: "layer.whiteout-not-empty",
        message: "a whiteout is not an empty regular file",
        path,
        offset: entry.headerOffset,
        expected: "an empty regular file",
        actual: `${entry.type} of ${entry.size} bytes`
      })
    }
    return true
  }

  #duplicateWhiteout(entry: TarEntry, path: ByteString.ByteString): void {
    this.#problem({
      check: "layer.duplicate-whiteout",
      message: "the layer has more than one entry of this whiteout",
      path,
      offset: entry.headerOffset
    })
  }

  /** The entry lies in a directory with the name of a whiteout. */
  #belowWhiteout(entry: TarEntry, directory: ByteString.ByteString, name: ByteString.ByteString): boolean {
    // What the aufs driver kept there, hardlinks may name.
    if (name !== opaqueName && name.startsWith(".wh..wh.")) return false
    if (this.#whiteoutDirectories.has(directory)) return true
    this.#whiteoutDirectories.add(directory)
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

  /** Call once, behind the last entry. */
  end(keepPaths: boolean): LayerFacts {
    for (let index = 0; index < this.#paths.length; index++) this.#judge(index)
    this.#ownWhiteouts()
    this.#underNonDirectories()
    for (const [check, count] of this.#counts) {
      if (count > maxProblems)
        this.#onProblem({ check, message: `and ${count - maxProblems} more of these in this layer` })
    }
    return {
      openLinks: this.#openLinks,
      whiteouts: [...this.#whiteouts],
      opaques: [...this.#opaques],
      implied: this.#implied(),
      paths: keepPaths && !this.#full && this.#pathBytes <= maxPathBytes ? this.#packed() : undefined
    }
  }

  #judge(index: number): void {
    const path = resolvePath(this.#paths[index]!)
    const type = this.#types[index]!
    if (path === "" && type !== directoryType) {
      // Of an entry without any name the scanner has said so.
      if (this.#paths[index] === "") return
      this.#problem({
        check: "layer.root-not-directory",
        message: "an entry would replace the root by something else",
        path: this.#paths[index]!,
        offset: this.#offsets[index]!
      })
      return
    }
    const slash = path.lastIndexOf("/")
    if (slash > 0) this.#parents.add(path.slice(0, slash))
    if (type === hardlinkType) this.#hardlink(index, path)
    const known = this.#seen.size
    this.#seen.add(path)
    if (this.#seen.size > known) this.#pathBytes += path.length + 2
    else if (path !== "") {
      const bothDirectories = type === directoryType && this.#directories.has(path)
      this.#problem({
        check: bothDirectories ? "layer.duplicate-directory" : "layer.duplicate-path",
        message: `the layer has more than one entry of this ${bothDirectories ? "directory" : "path"}`,
        path,
        offset: this.#offsets[index]!
      })
    }
    if (type === directoryType) this.#directories.add(path)
    else if (type === symlinkType) this.#symlinks.add(path)
  }

  #hardlink(index: number, path: ByteString.ByteString): void {
    const linkname = this.#targets.get(index)!
    // The scanner has said so.
    if (linkname === "") return
    const target = resolvePath(linkname)
    const problem = (check: "layer.hardlink-missing-target" | "layer.hardlink-bad-target", message: string): void =>
      this.#problem({ check, message, path, offset: this.#offsets[index]! })
    if (target === path) problem("layer.hardlink-missing-target", "a hardlink names itself as its target")
    else if (target === "" || this.#directories.has(target)) {
      problem("layer.hardlink-bad-target", "a hardlink to a directory")
    } else if (this.#seen.has(target)) return
    else if (this.#symlinks.above(target) !== undefined) {
      this.#problem({
        check: "layer.path-through-non-directory",
        message: "the hardlink's target lies below a symlink of the same layer",
        path,
        offset: this.#offsets[index]!
      })
    } else if (this.#isHidden(target, index)) {
      problem("layer.hardlink-missing-target", "a hardlink to a file of a lower layer that this layer hides")
    } else this.#openLinks.push([path, target])
  }

  /** Whether whiteouts of this layer leave nothing of lower layers at `path` for an entry at `index`. */
  #isHidden(path: ByteString.ByteString, index: number): boolean {
    // An opaque whiteout counts from the beginning, wherever it stands.
    if (this.#opaques.has("") || this.#opaques.above(path) !== undefined) return true
    const whiteout = this.#whiteouts.has(path) ? path : this.#whiteouts.above(path)
    return whiteout !== undefined && this.#whiteoutPlaces.get(whiteout)! <= index
  }

  #ownWhiteouts(): void {
    if (this.#whiteouts.size === 0) return
    /** Whiteouts of directories that this layer has entries in. */
    const implied = new Set<ByteString.ByteString>()
    for (const directory of this.#parents) {
      let hidden = this.#whiteouts.has(directory) ? directory : this.#whiteouts.above(directory)
      for (; hidden !== undefined && !implied.has(hidden); hidden = this.#whiteouts.above(hidden)) implied.add(hidden)
    }
    for (const path of this.#whiteouts) {
      if (this.#seen.has(path) || implied.has(path)) {
        this.#problem({
          check: "layer.whiteout-of-own-path",
          message: "the layer hides by a whiteout a path that it adds itself",
          path
        })
      }
    }
  }

  #implied(): ReadonlyArray<ByteString.ByteString> {
    const implied = new Set<ByteString.ByteString>()
    for (const directory of this.#parents) {
      let parent = directory
      for (let left = directory.length > longPath ? 1 : maxImplied; left > 0; left--) {
        if (this.#directories.has(parent) || implied.has(parent)) break
        implied.add(parent)
        const slash = parent.lastIndexOf("/")
        if (slash <= 0) break
        parent = parent.slice(0, slash)
      }
    }
    return [...implied]
  }

  /** Entries below something that, in the same layer, can hold no entries. */
  #underNonDirectories(): void {
    const wrong = new Set<ByteString.ByteString>()
    for (const path of this.#whiteouts) {
      if (path.includes("/") && this.#symlinks.size > 0 && this.#symlinks.above(path) !== undefined) {
        this.#whiteoutThroughSymlink(path)
      }
    }
    for (const path of this.#opaques) {
      if (this.#symlinks.has(path) || this.#symlinks.above(path) !== undefined) this.#whiteoutThroughSymlink(path)
    }
    const long: Array<ByteString.ByteString> = []
    for (const directory of this.#parents) {
      if (directory.length > longPath) {
        long.push(directory)
        continue
      }
      for (let end = directory.length; end > 0; end = directory.lastIndexOf("/", end - 1)) {
        const parent = end === directory.length ? directory : directory.slice(0, end)
        if (this.#seen.has(parent) && !this.#directories.has(parent)) wrong.add(directory)
      }
    }
    if (long.length > 0) {
      const others = new PathSet()
      for (const path of this.#seen) if (!this.#directories.has(path)) others.add(path)
      for (const directory of long) {
        if (others.has(directory) || others.above(directory) !== undefined) wrong.add(directory)
      }
    }
    if (wrong.size === 0) return
    for (const path of this.#seen) {
      if (wrong.has(path.slice(0, Math.max(0, path.lastIndexOf("/"))))) {
        this.#problem({
          check: "layer.path-through-non-directory",
          message: "the entry lies below a symlink or a file of the same layer",
          path
        })
      }
    }
  }

  #whiteoutThroughSymlink(path: ByteString.ByteString): void {
    this.#problem({
      check: "layer.path-through-non-directory",
      message: "what a whiteout hides lies below a symlink of the same layer",
      path
    })
  }

  #packed(): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(this.#pathBytes)
    let at = 0
    for (const path of this.#seen) {
      const letter = this.#directories.has(path) ? "d" : this.#symlinks.has(path) ? "l" : "f"
      at += bytes.write(letter, at, "latin1")
      at += bytes.write(path, at, "latin1")
      bytes[at++] = 0
    }
    return bytes.subarray(0, at)
  }

  #problem(problem: Problem): void {
    const count = (this.#counts.get(problem.check) ?? 0) + 1
    this.#counts.set(problem.check, count)
    if (count <= maxProblems) this.#onProblem(problem)
  }
}
