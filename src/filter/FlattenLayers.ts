/** What of each layer is left in the finished file system: work for a thread. */
import type { ByteString } from "../content/ByteString.ts"
import * as Codec from "../content/Compression.ts"
import type { Links, Remains } from "../content/FlattenEdit.ts"
import * as Hasher from "../content/Hasher.ts"
import type { Job } from "../content/Job.ts"
import { bytesRead } from "../content/LayerEdits.ts"
import { type LayerInput, stream } from "../content/LayerStream.ts"
import { failureOf } from "../content/Rewrite.ts"
import { TarEditor } from "../content/TarEdit.ts"
import type { TarEntry } from "../content/TarEntry.ts"
import { TarScanner } from "../content/TarScan.ts"
import type { Algorithm, Hashed } from "../image/Digest.ts"
import { LayerApplier, splitPath } from "../rootfs/ApplyLayer.ts"
import { FileTree, type Inode, isImplied, pathOf, type TreeNode } from "../rootfs/FileTree.ts"
import { assertApplied, type LayerFailure } from "./ApplyLayers.ts"

/** Plain data: it crosses to a worker. */
export interface FlattenTask {
  /** Base first. */
  readonly layers: ReadonlyArray<FlattenInput>
}

export interface FlattenInput extends LayerInput {
  /** Digests wanted of the bytes as stored. */
  readonly stored: ReadonlyArray<Algorithm>
  /** Digests wanted of the tar, edits applied. */
  readonly diffIds: ReadonlyArray<Algorithm>
}

export interface FlattenedLayer {
  readonly remains: Remains
  readonly stored: Hashed
  /** Of its tar, its edits applied. */
  readonly diffIds: Hashed
  /** Members that do not stay, and the bytes of their bodies. Hardlinks that come out anew stay. */
  readonly gone: number
  readonly goneBytes: number
}

export interface Flattened {
  readonly layers: ReadonlyArray<FlattenedLayer>
  readonly directories: ReadonlyArray<ByteString>
  /** The one layer there is holds just that file system, each name once. */
  readonly isFlat: boolean
  readonly failure?: LayerFailure
}

/** Never throws: what went wrong is in the result. */
export const run = (task: FlattenTask, progress: (bytes: number) => void = () => {}): Flattened => {
  const tree = new FileTree()
  const passes: Array<Pass> = []
  for (const [index, layer] of task.layers.entries()) {
    try {
      const pass = new Pass(tree, index)
      pass.read(layer, progress)
      passes.push(pass)
    } catch (cause) {
      return { layers: [], directories: [], isFlat: false, failure: { ...failureOf(cause), layer: index } }
    }
  }
  return collect(tree, passes)
}

/** One layer, applied to the tree. */
class Pass {
  readonly #tree: FileTree
  readonly #layer: number
  readonly #applier: LayerApplier
  /** By the position that the scanner counts: where the entry begins, its bytes, and the name that it was put to. */
  readonly starts: Array<number> = []
  readonly sizes: Array<number> = []
  readonly nodes: Array<TreeNode | undefined> = []
  /** Where each header that is no extension begins: editors count some that scanners pass over. */
  readonly members: Array<number> = []
  entries = 0
  diffIds: Hashed = {}
  stored: Hashed = {}

  constructor(tree: FileTree, layer: number) {
    this.#tree = tree
    this.#layer = layer
    this.#applier = new LayerApplier(tree, layer, { digests: false, maxProblems: 1 })
  }

  read(input: FlattenInput, progress: (bytes: number) => void): void {
    const stored = new Hasher.Hashers(input.stored)
    const diffIds = new Hasher.Hashers(input.diffIds)
    const scanner = new TarScanner({
      onEntry: (entry) => this.#entry(entry),
      onEntryEnd: this.#applier.onEntryEnd,
      onProblem: () => {}
    })
    const editor = new TarEditor(
      {
        member: (headers) => {
          if (headers.header >= 0) this.members.push(headers.offset)
        }
      },
      () => {}
    )
    stream(
      input,
      (chunk, from, to) => {
        diffIds.update(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
        scanner.write(chunk, from, to)
        editor.write(chunk, from, to)
      },
      {
        onProgress: progress,
        ...(stored.isEmpty ? {} : { onStored: (chunk: Uint8Array) => stored.update(chunk) })
      }
    )
    scanner.end()
    editor.end()
    const applied = this.#applier.finish()
    assertApplied(applied)
    this.entries = applied.entries
    this.diffIds = diffIds.end()
    this.stored = stored.end()
  }

  #entry(entry: TarEntry): void {
    this.starts[entry.index] = entry.headerOffset
    this.sizes[entry.index] = entry.size
    this.#applier.onEntry(entry)
    const parts = splitPath(entry.path)
    const node = parts === undefined ? undefined : this.#tree.lookup(parts.join("/"))
    // One whose way leads through a symlink is elsewhere.
    const isHere = node?.inode.layer === this.#layer && node.inode.entry === entry.index
    this.nodes[entry.index] = isHere ? node : undefined
  }
}

/** What is gathered of one layer, by the scanner's positions. */
interface Gathered {
  readonly kept: Set<number>
  readonly renames: Map<number, ByteString>
  readonly links: Map<number, Omit<Links, "member">>
}

const collect = (tree: FileTree, passes: ReadonlyArray<Pass>): Flattened => {
  const gathered = passes.map((): Gathered => ({ kept: new Set(), renames: new Map(), links: new Map() }))
  const groups = new Map<Inode, Array<TreeNode>>()
  const directories: Array<ByteString> = []
  let names = 0
  const keep = (inode: Inode, nodes: ReadonlyArray<TreeNode>): void => {
    const { kept, links, renames } = gathered[inode.layer]!
    const own = passes[inode.layer]!.nodes[inode.entry]
    const paths = nodes.map(pathOf).sort()
    const isThere = own !== undefined && nodes.includes(own)
    const target = isThere ? pathOf(own) : paths[0]!
    kept.add(inode.entry)
    if (!isThere) renames.set(inode.entry, inode.type === "directory" ? `${target}/` : target)
    if (paths.length > 1) links.set(inode.entry, linksOf(inode, target, paths))
  }
  tree.forEach((node) => {
    const { inode } = node
    if (isImplied(inode)) {
      if (node.children!.size === 0 && node.parent !== undefined) directories.push(pathOf(node))
      return
    }
    names++
    if (inode.nlink > 1 && inode.type !== "directory") {
      const known = groups.get(inode)
      if (known === undefined) groups.set(inode, [node])
      else known.push(node)
    } else keep(inode, [node])
  })
  for (const [inode, nodes] of groups) keep(inode, nodes)
  const layers = passes.map((pass, index) => remainsOf(pass, gathered[index]!))
  const [only] = passes
  const isFlat =
    passes.length === 1 && only!.entries === names && only!.members.length === names && directories.length === 0
  return { layers, directories: directories.sort(), isFlat }
}

const linksOf = (inode: Inode, target: ByteString, paths: ReadonlyArray<ByteString>): Omit<Links, "member"> => ({
  target,
  paths: paths.filter((path) => path !== target),
  mode: inode.mode,
  uid: Math.max(0, inode.uid),
  gid: Math.max(0, inode.gid),
  mtimeSeconds: inode.mtimeSeconds,
  mtimeNanoseconds: Math.max(0, inode.mtimeNanoseconds),
  xattrs: [...(inode.xattrs ?? [])]
})

const remainsOf = (
  { diffIds, members, sizes, starts, stored }: Pass,
  { kept, links, renames }: Gathered
): FlattenedLayer => {
  const bits = new Uint8Array(Math.ceil(members.length / 8))
  const renamed: Array<readonly [number, ByteString]> = []
  const linked: Array<Links> = []
  let left = 0
  let goneBytes = 0
  let entry = 0
  for (const [member, start] of members.entries()) {
    // Both come in the order of the archive.
    while (entry < starts.length && (starts[entry] ?? -1) < start) entry++
    if (starts[entry] !== start) continue
    if (!kept.has(entry)) {
      goneBytes += sizes[entry]!
      continue
    }
    bits[member >>> 3]! |= 1 << (member & 7)
    left++
    const path = renames.get(entry)
    if (path !== undefined) renamed.push([member, path])
    const further = links.get(entry)
    if (further !== undefined) {
      linked.push({ ...further, member })
      left += further.paths.length
    }
  }
  return {
    remains: { keep: Buffer.from(bits).toString("latin1"), renames: renamed, links: linked },
    stored,
    diffIds,
    gone: Math.max(0, members.length - left),
    goneBytes
  }
}

export const job: Job<FlattenTask, Flattened> = {
  kind: "flatten",
  prepare: async ({ layers }) => {
    await Hasher.prepare(layers.flatMap(({ diffIds, stored }) => [...stored, ...diffIds]))
    await Codec.prepare()
  },
  run,
  cost: (task) => task.layers.reduce((sum, layer) => sum + bytesRead(layer), 0)
}
