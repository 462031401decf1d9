import type * as ByteString from "./ByteString.ts"
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
  /**
   * Every path the layer adds, as latin1 bytes: each a type letter ("d" directory, "l" symlink, "f" anything else), the
   * path and a NUL. Undefined when it would be larger than `maxPathBytes`.
   */
  readonly paths: Uint8Array | undefined
}

/** Path tables above this are not kept: what needs them is then reported as skipped. */
const maxPathBytes = 128 * 1024 * 1024
const maxProblems = 100
const maxFacts = 100_000

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
  readonly #symlinks = new Set<ByteString.ByteString>()
  /** Directories that entries lie in: far fewer than entries, so that questions about parents are asked once each. */
  readonly #parents = new Set<ByteString.ByteString>()
  readonly #openLinks: Array<readonly [ByteString.ByteString, ByteString.ByteString]> = []
  readonly #whiteouts: Array<ByteString.ByteString> = []
  readonly #opaques: Array<ByteString.ByteString> = []
  readonly #counts = new Map<Problem["check"], number>()
  #pathBytes = 0

  constructor(onProblem: (problem: Problem) => void) {
    this.#onProblem = onProblem
  }

  entry(entry: TarEntry): void {
    if (entry.sparse !== undefined) {
      this.#problem({
        check: "layer.sparse-entry",
        message: "the layer holds a sparse entry, which not every implementation can unpack",
        path: entry.path,
        offset: entry.headerOffset
      })
    }
    if (entry.path.includes(".wh.") && this.#whiteout(entry)) return
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

  /** True when the entry is a whiteout, or a marker that stands for none of the image's files. */
  #whiteout(entry: TarEntry): boolean {
    const path = normalizePath(entry.path)
    const slash = path.lastIndexOf("/")
    if (!path.startsWith(".wh.", slash + 1)) return false
    const name = path.slice(slash + 1)
    const directory = slash < 0 ? "" : path.slice(0, slash)
    if (name === opaqueName) {
      if (this.#opaques.length < maxFacts) this.#opaques.push(directory)
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
    } else if (this.#whiteouts.length < maxFacts) {
      this.#whiteouts.push(directory === "" ? name.slice(4) : `${directory}/${name.slice(4)}`)
    }
    if (entry.type !== "file" || entry.size !== 0) {
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

  /** Call once, behind the last entry. */
  end(keepPaths: boolean): LayerFacts {
    for (let index = 0; index < this.#paths.length; index++) this.#judge(index)
    for (const path of this.#whiteouts) {
      if (this.#seen.has(path)) {
        this.#problem({
          check: "layer.whiteout-of-own-path",
          message: "the layer hides by a whiteout a path that it adds itself",
          path
        })
      }
    }
    this.#underNonDirectories()
    for (const [check, count] of this.#counts) {
      if (count > maxProblems)
        this.#onProblem({ check, message: `and ${count - maxProblems} more of these in this layer` })
    }
    return {
      openLinks: this.#openLinks,
      whiteouts: this.#whiteouts,
      opaques: this.#opaques,
      paths: keepPaths && this.#pathBytes <= maxPathBytes ? this.#packed() : undefined
    }
  }

  #judge(index: number): void {
    const path = normalizePath(this.#paths[index]!)
    const type = this.#types[index]!
    const slash = path.lastIndexOf("/")
    if (slash > 0) this.#parents.add(path.slice(0, slash))
    if (type === hardlinkType) this.#hardlink(index, path)
    const known = this.#seen.size
    this.#seen.add(path)
    if (this.#seen.size > known) this.#pathBytes += path.length + 2
    else if (path !== "" || type !== directoryType) {
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
    const target = normalizePath(this.#targets.get(index)!)
    if (target === path) {
      this.#problem({
        check: "layer.hardlink-missing-target",
        message: "a hardlink names itself as its target",
        path,
        offset: this.#offsets[index]!
      })
    } else if (!this.#seen.has(target) && this.#openLinks.length < maxFacts) this.#openLinks.push([path, target])
  }

  /** Entries below something that, in the same layer, can hold no entries. */
  #underNonDirectories(): void {
    const wrong = new Set<ByteString.ByteString>()
    for (const directory of this.#parents) {
      for (let end = directory.length; end > 0; end = directory.lastIndexOf("/", end - 1)) {
        const parent = end === directory.length ? directory : directory.slice(0, end)
        if (this.#seen.has(parent) && !this.#directories.has(parent)) wrong.add(directory)
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
