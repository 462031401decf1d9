import type { ByteString } from "../content/ByteString.ts"
import type { LayerFacts } from "../content/LayerScan.ts"

/** Tables unpacked for look-ups, made when the first question needs them. */
interface Unpacked {
  /** Every path with the directories above it. */
  readonly present: ReadonlySet<ByteString>
  /** Paths that are no directories: they hide what lower layers have below them. */
  readonly leaves: ReadonlySet<ByteString>
  /** What lies below a link cannot be told by name: a runtime looks behind it. */
  readonly symlinks: ReadonlySet<ByteString>
  readonly whiteouts: ReadonlySet<ByteString>
  readonly opaques: ReadonlySet<ByteString>
}

/** Answers what a stack of layers shows at a path, from the facts that one pass over each layer gave. */
export class LayerPaths {
  readonly #unpacked = new Map<LayerFacts, Unpacked>()
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether `path` exists, or may exist behind a symlink, when `layers` (base first, each with its table of paths) are applied (layer.md). */
  visible(path: ByteString, layers: ReadonlyArray<LayerFacts>): boolean {
    for (let index = layers.length - 1; index >= 0; index--) {
      const layer = this.#table(layers[index]!)
      if (layer.present.has(path)) return true
      if (layer.whiteouts.has(path) || layer.opaques.has("")) return false
      for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) {
        const parent = path.slice(0, slash)
        if (layer.symlinks.has(parent)) return true
        if (layer.whiteouts.has(parent) || layer.opaques.has(parent) || layer.leaves.has(parent)) return false
      }
    }
    return false
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
  const present = new Set<ByteString>()
  const leaves = new Set<ByteString>()
  const symlinks = new Set<ByteString>()
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length)
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0, from)
    const path = bytes.toString("latin1", from + 1, end)
    present.add(path)
    if (bytes[from] === 0x66) leaves.add(path)
    else if (bytes[from] === 0x6c) symlinks.add(path)
    for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) {
      const parent = path.slice(0, slash)
      if (present.has(parent)) break
      present.add(parent)
    }
    from = end + 1
  }
  return { present, leaves, symlinks, whiteouts: new Set(facts.whiteouts), opaques: new Set(facts.opaques) }
}
