/** The regular files that a tree takes from one layer: tasks for those who write them, and what comes back. */
import type { ByteString } from "../content/ByteString.ts"
import type { FileColumns } from "./FileColumns.ts"
import { bufferOf, dataSizeColumn, digestOf, FileRows, notWanted, rowLength, wanted } from "./FileRows.ts"
import { pathOf, type TreeNode } from "./FileTree.ts"
import { slices } from "./Slices.ts"
import { fileCost, type WriteExtra, type WriteTask } from "./WriteFiles.ts"

/** Files of one layer, in the order of its members. */
export interface WritePlan {
  readonly layer: number
  readonly files: Pick<WriteTask, "files" | "paths" | "pathEnds">
  readonly rows: Int32Array
  readonly extras: ReadonlyArray<WriteExtra>
  /** Takes the digests of some of the rows over into the tree. */
  readonly take: (rows: Int32Array) => void
  /** What a row is in the tree: undefined in columns, where a file has no other name. */
  readonly nodeOf: (row: number) => TreeNode | undefined
}

/** Of files that are in columns; `paths` are those of their directories, undefined for one that could not be made. */
export const planColumns = (
  columns: FileColumns,
  paths: ReadonlyArray<ByteString | undefined>
): ReadonlyArray<WritePlan> => {
  const { shared } = columns
  const isMade = Uint8Array.from(paths, (path) => (path === undefined ? 0 : 1))
  const rows = new Int32Array(columns.count)
  let count = 0
  for (let row = 0; row < columns.count; row++) {
    if (columns.layerOf(row) >= 0 && isMade[shared.parents[row]!] === 1) rows[count++] = row
  }
  const files = { files: shared, ...joined(paths.map((path) => path ?? "")) }
  const plans: Array<WritePlan> = []
  for (let from = 0; from < count; ) {
    const layer = columns.layerOf(rows[from]!)
    let to = from
    while (to < count && columns.layerOf(rows[to]!) === layer) to++
    plans.push({
      layer,
      files,
      rows: rows.subarray(from, to),
      extras: [],
      take: (done) => columns.tell(done),
      nodeOf: () => undefined
    })
    from = to
  }
  return plans
}

export interface DigestOptions {
  readonly digests: boolean
  readonly maxSparseDigest: number
}

/** Of files that are objects. */
export const planNodes = (
  layer: number,
  nodes: ReadonlyArray<TreeNode>,
  { digests, maxSparseDigest }: DigestOptions
): WritePlan => {
  const sorted = inOrder(nodes)
  const rows = new FileRows()
  const directories = new Map<TreeNode, number>()
  const extras: Array<WriteExtra> = []
  for (const { inode, name, parent } of sorted) {
    const start = rows.room(name.length)
    for (let at = 0; at < name.length; at++) rows.names[start + at] = name.charCodeAt(at)
    let directory = directories.get(parent!)
    if (directory === undefined) directories.set(parent!, (directory = directories.size))
    const row = rows.add(name.length, directory, {
      index: inode.entry,
      dataOffset: inode.dataOffset,
      size: inode.dataSize,
      realSize: inode.size,
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      mtimeSeconds: inode.mtimeSeconds,
      mtimeNanoseconds: inode.mtimeNanoseconds
    })
    const { sparse, xattrs } = inode
    if (xattrs !== undefined || sparse !== undefined) {
      extras.push({
        row,
        ...(xattrs === undefined ? {} : { xattrs }),
        ...(sparse === undefined ? {} : { sparse })
      })
    }
  }
  rows.expectDigests(notWanted)
  if (digests) {
    for (let row = 0; row < sorted.length; row++) {
      const { sha256, size, sparse } = sorted[row]!.inode
      if (sha256 === undefined && (sparse === undefined || size <= maxSparseDigest)) rows.states[row] = wanted
    }
  }
  return {
    layer,
    files: { files: rows, ...joined([...directories.keys()].map(pathOf)) },
    rows: Int32Array.from(sorted.keys()),
    extras,
    take: (done) => {
      for (const row of done) sorted[row]!.inode.sha256 ??= digestOf(rows, row)
    },
    nodeOf: (row) => sorted[row]
  }
}

/** A plan cut into tasks for several threads, when the layer can be read at any place. */
export const tasksOf = (
  { extras, files, rows }: WritePlan,
  base: Pick<WriteTask, "root" | "source" | "inPlace" | "libc">
): ReadonlyArray<WriteTask> => {
  const { numbers } = files.files
  const ends = base.inPlace
    ? slices(rows.length, (index) => numbers[rows[index]! * rowLength + dataSizeColumn]! + fileCost)
    : [rows.length]
  let from = 0
  let extra = 0
  return ends.map((to) => {
    const first = extra
    while (extra < extras.length && (to === rows.length || extras[extra]!.row < rows[to]!)) extra++
    const task = { ...base, ...files, rows: rows.slice(from, to), extras: extras.slice(first, extra) }
    from = to
    return task
  })
}

/** More than any tree may have: with a place in the layer it makes one exact number. */
const maxFiles = 2 ** 24

/** By their places in the layer, of which each has another. Plain loops: there may be millions. */
const inOrder = (nodes: ReadonlyArray<TreeNode>): ReadonlyArray<TreeNode> => {
  const keys = new Float64Array(nodes.length)
  for (let index = 0; index < nodes.length; index++) keys[index] = nodes[index]!.inode.entry * maxFiles + index
  keys.sort()
  const sorted = new Array<TreeNode>(nodes.length)
  for (let index = 0; index < nodes.length; index++) sorted[index] = nodes[keys[index]! % maxFiles]!
  return sorted
}

const joined = (paths: ReadonlyArray<ByteString>): Pick<WriteTask, "paths" | "pathEnds"> => {
  const length = paths.reduce((sum, path) => sum + path.length, 0)
  const bytes = new Uint8Array(new SharedArrayBuffer(length))
  const ends = new Uint32Array(new SharedArrayBuffer(4 * paths.length))
  const buffer = bufferOf(bytes)
  let end = 0
  for (const [index, path] of paths.entries()) {
    end += buffer.write(path, end, "latin1")
    ends[index] = end
  }
  return { paths: bytes, pathEnds: ends }
}
