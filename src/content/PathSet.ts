import type { ByteString } from "./ByteString.ts"

/** Up to here, looking every ancestor up by its own string is fastest; beyond, it would take time in the square. */
const shortPath = 512

// Nobody who makes an archive can know them, so nobody can make names that collide.
const seed = Math.floor(Math.random() * 0x7fffffff)
const factor = (Math.floor(Math.random() * 0x3fffffff) << 2) | 1

/** Paths without slashes at either end; answers which of them lie above another one. */
export class PathSet {
  readonly #paths = new Set<ByteString>()
  /** Of all members, made when a long path first asks. */
  #hashes: Set<number> | undefined

  #longest = 0

  add(path: ByteString): void {
    this.#paths.add(path)
    if (path.length > this.#longest) this.#longest = path.length
    this.#hashes?.add(hashOf(path))
  }

  has(path: ByteString): boolean {
    return this.#paths.has(path)
  }

  get size(): number {
    return this.#paths.size
  }

  [Symbol.iterator](): Iterator<ByteString> {
    return this.#paths[Symbol.iterator]()
  }

  /** The longest member that is a directory above `path`, not `path` itself. In time proportional to its length. */
  above(path: ByteString): ByteString | undefined {
    if (this.#paths.size === 0) return undefined
    if (path.length <= shortPath) {
      for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) {
        const parent = path.slice(0, slash)
        if (this.#paths.has(parent)) return parent
      }
      return undefined
    }
    if (this.#hashes === undefined) {
      this.#hashes = new Set()
      for (const member of this.#paths) this.#hashes.add(hashOf(member))
    }
    const candidates: Array<number> = []
    let hash = seed
    for (let i = 0, end = Math.min(path.length, this.#longest + 1); i < end; i++) {
      const char = path.charCodeAt(i)
      if (char === 0x2f && i > 0 && this.#hashes.has(hash)) candidates.push(i)
      hash = Math.imul(hash ^ char, factor)
    }
    for (let i = candidates.length - 1; i >= 0; i--) {
      const parent = path.slice(0, candidates[i])
      if (this.#paths.has(parent)) return parent
    }
    return undefined
  }
}

const hashOf = (path: ByteString): number => {
  let hash = seed
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), factor)
  return hash
}
