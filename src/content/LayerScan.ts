import * as ByteString from "./ByteString.ts"
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

const letters = { directory: "d", symlink: "l", other: "f" } as const
type Letter = typeof letters[keyof typeof letters]

/** "./a//b/./c/" becomes "a/b/c"; ".." is kept as it is, the scanner reports it. */
export const normalizePath = (path: ByteString.ByteString): ByteString.ByteString => {
  let start = 0
  let end = path.length
  while (start < end) {
    const code = path.charCodeAt(start)
    if (code === 0x2f) start++
    else if (code === 0x2e && (start + 1 === end || path.charCodeAt(start + 1) === 0x2f)) start += start + 1 === end ? 1 : 2
    else break
  }
  while (end > start && path.charCodeAt(end - 1) === 0x2f) end--
  const trimmed = start === 0 && end === path.length ? path : path.slice(start, end)
  return trimmed.includes("//") || trimmed.includes("/./") || trimmed.endsWith("/.")
    ? trimmed.split("/").filter((part) => part !== "" && part !== ".").join("/")
    : trimmed
}

const opaqueName = ".wh..wh..opq"

export class LayerScan {
  readonly #seen = new Map<ByteString.ByteString, Letter>()
  readonly #openLinks: Array<readonly [ByteString.ByteString, ByteString.ByteString]> = []
  readonly #whiteouts: Array<ByteString.ByteString> = []
  readonly #opaques: Array<ByteString.ByteString> = []
  readonly #onProblem: (problem: Problem) => void
  readonly #counts = new Map<Problem["check"], number>()
  #pathBytes = 0

  constructor(onProblem: (problem: Problem) => void) {
    this.#onProblem = onProblem
  }

  entry(entry: TarEntry): void {
    const path = normalizePath(entry.path)
    const slash = path.lastIndexOf("/")
    if (path.startsWith(".wh.", slash + 1)) {
      this.#whiteout(entry, path, slash)
      return
    }
    const letter = entry.type === "directory" ? letters.directory : entry.type === "symlink" ? letters.symlink : letters.other
    const before = this.#seen.get(path)
    if (before === undefined) this.#pathBytes += path.length + 2
    else if (path !== "" || letter !== "d") {
      this.#problem({
        check: "layer.duplicate-path",
        message: "the layer has more than one entry of this path",
        path,
        offset: entry.headerOffset
      })
    }
    if (entry.type === "hardlink") {
      const target = normalizePath(entry.linkname)
      if (target === path) {
        this.#problem({
          check: "layer.hardlink-missing-target",
          message: "a hardlink names itself as its target",
          path,
          offset: entry.headerOffset
        })
      } else if (!this.#seen.has(target) && this.#openLinks.length < maxFacts) this.#openLinks.push([path, target])
    }
    if (entry.sparse !== undefined) {
      this.#problem({
        check: "layer.sparse-entry",
        message: "the layer holds a sparse entry, which not every implementation can unpack",
        path,
        offset: entry.headerOffset
      })
    }
    this.#seen.set(path, letter)
  }

  #whiteout(entry: TarEntry, path: ByteString.ByteString, slash: number): void {
    const name = path.slice(slash + 1)
    const directory = slash < 0 ? "" : path.slice(0, slash)
    if (name === opaqueName) {
      if (this.#opaques.length < maxFacts) this.#opaques.push(directory)
    } else if (name.startsWith(".wh..wh.")) {
      // Bookkeeping of the aufs driver (.wh..wh.plnk, .wh..wh.aufs, .wh..wh.orph): every implementation skips it.
      return
    } else if (name === ".wh." || name === ".wh..." || name === ".wh..") {
      this.#problem({
        check: "layer.bad-whiteout",
        message: "a whiteout names no file",
        path,
        offset: entry.headerOffset
      })
      return
    } else {
      if (this.#whiteouts.length < maxFacts) {
        this.#whiteouts.push(directory === "" ? name.slice(4) : `${directory}/${name.slice(4)}`)
      }
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
  }

  /** Call once, behind the last entry. */
  end(keepPaths: boolean): LayerFacts {
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
      if (count > maxProblems) this.#onProblem({ check, message: `and ${count - maxProblems} more of these in this layer` })
    }
    return {
      openLinks: this.#openLinks,
      whiteouts: this.#whiteouts,
      opaques: this.#opaques,
      paths: keepPaths && this.#pathBytes <= maxPathBytes ? this.#packed() : undefined
    }
  }

  /** Entries whose parent is, in the same layer, something that can hold no entries. */
  #underNonDirectories(): void {
    let parent: string | undefined
    let parentLetter: Letter | undefined
    for (const path of this.#seen.keys()) {
      const slash = path.lastIndexOf("/")
      if (slash < 0) continue
      if (parent === undefined || parent.length !== slash || !path.startsWith(parent)) {
        parent = path.slice(0, slash)
        parentLetter = this.#seen.get(parent)
      }
      if (parentLetter !== undefined && parentLetter !== "d") {
        this.#problem({
          check: "layer.path-through-non-directory",
          message: `the entry lies below a ${parentLetter === "l" ? "symlink" : "non-directory"} of the same layer`,
          path
        })
      }
    }
  }

  #packed(): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(this.#pathBytes)
    let at = 0
    for (const [path, letter] of this.#seen) {
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
