import type { ByteString } from "../content/ByteString.ts"
import type { LayerFacts } from "../content/LayerScan.ts"
import { PathSet } from "../content/PathSet.ts"

/** What stands at a path: `behind-symlink` when names alone cannot tell. */
export type Shown = "directory" | "symlink" | "other" | "behind-symlink"

/** Tables unpacked for look-ups, made when the first question needs them. */
interface Unpacked {
  /** The layer's directories, those included that only entries below them imply (but for `deep`). */
  readonly directories: ReadonlySet<ByteString>
  /** Paths that are no directories. */
  readonly others: ReadonlySet<ByteString>
  /** Entries, sorted, far below the last directory that has an entry: what they imply would fill any memory. */
  readonly deep: ReadonlyArray<ByteString>
  /** What lies below one of these, lower layers cannot show: what is no directory, and whiteouts. */
  readonly covers: PathSet
  /** What lies below a link cannot be told by name: a runtime looks behind it. */
  readonly symlinks: ReadonlySet<ByteString>
  readonly whiteouts: ReadonlySet<ByteString>
  readonly opaqueRoot: boolean
}

/** Directories without entries of their own above one entry, of which each is remembered. */
const maxImplied = 32

/** A hundred layers with as many whiteouts each as large ones have take a tenth of it. */
const defaultSteps = 200_000_000

/** Answers what a stack of layers shows at a path, from the facts that one pass over each layer gave. */
export class LayerPaths {
  readonly #unpacked = new Map<LayerFacts, Unpacked>()
  readonly #maxBytes: number
  readonly #maxSteps: number
  #bytes = 0
  #steps = 0

  constructor(maxBytes: number, maxSteps = defaultSteps) {
    this.#maxBytes = maxBytes
    this.#maxSteps = maxSteps
  }

  /** Whether more has been asked than there is time for: answers mean nothing from then on. */
  get exhausted(): boolean {
    return this.#steps > this.#maxSteps
  }

  /** What `path` is when `layers` (base first, each with its table of paths) are applied (layer.md); undefined: nothing. */
  shown(path: ByteString, layers: ReadonlyArray<LayerFacts>): Shown | undefined {
    for (let index = layers.length - 1; index >= 0; index--) {
      // A look at one layer costs a step for the path and some for the directories above it.
      this.#steps += 1 + (path.length >> 4)
      if (this.exhausted) return undefined
      const layer = this.#table(layers[index]!)
      if (layer.directories.has(path)) return "directory"
      if (layer.others.has(path)) return layer.symlinks.has(path) ? "symlink" : "other"
      if (isAbove(path, layer.deep)) return "directory"
      if (layer.whiteouts.has(path) || layer.opaqueRoot) return undefined
      const cover = layer.covers.above(path)
      if (cover !== undefined) return layer.symlinks.has(cover) ? "behind-symlink" : undefined
    }
    return undefined
  }

  #table(facts: LayerFacts): Unpacked {
    const known = this.#unpacked.get(facts)
    if (known !== undefined) return known
    const packed = facts.paths!
    if (this.#bytes + packed.length > this.#maxBytes) {
      this.#unpacked.clear()
      this.#bytes = 0
    }
    this.#bytes += packed.length
    const table = unpack(facts, packed)
    this.#unpacked.set(facts, table)
    return table
  }
}

const unpack = (facts: LayerFacts, packed: Uint8Array): Unpacked => {
  const directories = new Set<ByteString>([""])
  const others = new Set<ByteString>()
  const symlinks = new Set<ByteString>()
  const covers = new PathSet()
  const deep: Array<ByteString> = []
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length)
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0, from)
    const path = bytes.toString("latin1", from + 1, end)
    if (bytes[from] === 0x64) directories.add(path)
    else {
      others.add(path)
      covers.add(path)
      if (bytes[from] === 0x6c) symlinks.add(path)
    }
    let implied = 0
    for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) {
      const parent = path.slice(0, slash)
      if (directories.has(parent)) break
      if (++implied > maxImplied) {
        deep.push(path)
        break
      }
      directories.add(parent)
    }
    from = end + 1
  }
  for (const path of facts.whiteouts) covers.add(path)
  for (const path of facts.opaques) covers.add(path)
  return {
    directories,
    others,
    deep: deep.sort(),
    covers,
    symlinks,
    whiteouts: new Set(facts.whiteouts),
    opaqueRoot: facts.opaques.includes("")
  }
}

/** Whether one of the sorted paths lies below `path`. */
const isAbove = (path: ByteString, sorted: ReadonlyArray<ByteString>): boolean => {
  if (sorted.length === 0) return false
  const prefix = `${path}/`
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle]! < prefix) low = middle + 1
    else high = middle
  }
  return low < sorted.length && sorted[low]!.startsWith(prefix)
}
