/**
 * A root file system in memory: what the layers of an image make when they are applied, what a directory on disk holds,
 * or what an mtree manifest says. About 0.4 KB an entry, whatever the files' sizes, and half of that in columns.
 */
import type { ByteString } from "../content/ByteString.ts"
import type { TarEntry } from "../content/TarEntry.ts"
import { type DirectoryFiles, type FileColumns, noRow } from "./FileColumns.ts"
import { nameOf } from "./FileRows.ts"

export type InodeType = "file" | "directory" | "symlink" | "char" | "block" | "fifo" | "socket"

/** A number that the source of the tree does not tell. */
export const unknown = -1

/** `layer` of a directory that no entry describes. */
export const implied = -2

/** What one or more names (hardlinks) in the tree stand for. */
export class Inode {
  type: InodeType
  /** Permission bits with setuid, setgid and sticky, or `unknown`. */
  mode: number
  uid: number
  gid: number
  /** Seconds since the epoch, floored; meaningless when `mtimeNanoseconds` is `unknown`. */
  mtimeSeconds: number
  /** 0..999_999_999; `unknown`: no time is told; `secondsOnly`: the source does not tell fractions. */
  mtimeNanoseconds: number
  /** Bytes of a file's content once extracted, of a file only. */
  size = 0
  /**
   * Index of the layer whose entry this is; `implied` for a directory that only entries below it imply; `unknown` in a
   * tree that is not made of layers.
   */
  layer: number = unknown
  /** The entry's position among that layer's members. */
  entry: number = unknown
  /** Offset in that layer's uncompressed tar of the body, and the bytes stored there. */
  dataOffset = 0
  dataSize = 0
  /** Data segments `[offset, length]` of a sparse file. */
  sparse: ReadonlyArray<readonly [offset: number, length: number]> | undefined = undefined
  /** Target of a symlink. */
  link: ByteString = ""
  devmajor = 0
  devminor = 0
  /** Extended attributes, values as byte strings; undefined for none. */
  xattrs: ReadonlyMap<ByteString, ByteString> | undefined = undefined
  /** Hex, of a file's content; undefined when it was not computed. */
  sha256: string | undefined = undefined
  /** Names that this has in the tree (1 for a directory). A manifest's own figure for a tree read from an mtree. */
  nlink = 0

  constructor(type: InodeType, mode: number, uid: number, gid: number, mtimeSeconds: number, mtimeNanoseconds: number) {
    this.type = type
    this.mode = mode
    this.uid = uid
    this.gid = gid
    this.mtimeSeconds = mtimeSeconds
    this.mtimeNanoseconds = mtimeNanoseconds
  }
}

/** `mtimeNanoseconds` of a source that tells whole seconds and no more. */
export const secondsOnly = -2

/** What a segment of a sparse map takes in memory, and an extended attribute besides its bytes. */
const segmentCost = 128
const xattrCost = 64

/** Bytes of memory that depend on what the inode has: for `FileTree.held`. */
export const heldBy = (inode: Inode): number => {
  let held = inode.link.length + (inode.sparse === undefined ? 0 : inode.sparse.length * segmentCost)
  if (inode.xattrs !== undefined) {
    for (const [name, value] of inode.xattrs) held += name.length + value.length + xattrCost
  }
  return held
}

/** A name in the tree. */
export class TreeNode {
  readonly name: ByteString
  readonly parent: TreeNode | undefined
  inode: Inode
  /** The last layer that made this name or something below it. */
  layer: number
  /** Of a directory, never undefined then: what is in it, but for `files`. */
  readonly nodes: Map<ByteString, TreeNode> | undefined
  /** Files in it that are no objects yet. */
  files: DirectoryFiles | undefined = undefined

  constructor(name: ByteString, parent: TreeNode | undefined, inode: Inode, layer: number) {
    this.name = name
    this.parent = parent
    this.inode = inode
    this.layer = layer
    this.nodes = inode.type === "directory" ? new Map() : undefined
  }

  /** Of a directory, never undefined then: all that is in it. */
  get children(): Map<ByteString, TreeNode> | undefined {
    if (this.files !== undefined && this.files.last !== noRow) this.#makeObjects(this.files)
    return this.nodes
  }

  child(name: ByteString): TreeNode | undefined {
    return this.files?.columns.has(this.files, name) === true ? this.children?.get(name) : this.nodes?.get(name)
  }

  /** Takes a regular file into `columns` as `path` from `from` on; false when it has to be an object. */
  addFile(columns: FileColumns, path: ByteString, from: number, entry: TarEntry, layer: number): boolean {
    if (this.nodes!.size > 0 && this.nodes!.has(path.slice(from))) return false
    this.files ??= columns.directory()
    return columns.add(this.files, path, from, entry, layer)
  }

  #makeObjects(files: DirectoryFiles): void {
    for (const row of files.columns.take(files)) {
      const inode = new Inode("file", 0, 0, 0, 0, 0)
      files.columns.become(row, inode)
      const name = nameOf(files.columns.shared, row)
      this.nodes!.set(name, new TreeNode(name, this, inode, inode.layer))
    }
  }
}

/**
 * A directory that no entry describes: 0755, root's, and no known mtime, as every implementation makes it (the time is
 * then that of the unpacking).
 */
export const impliedDirectory = (): Inode => {
  const inode = new Inode("directory", 0o755, 0, 0, 0, unknown)
  inode.layer = implied
  inode.nlink = 1
  return inode
}

/** True for a directory that only the entries below it imply. */
export const isImplied = (inode: Inode): boolean => inode.layer === implied

/** Below the root, without a leading slash; "" for the root. */
export const pathOf = (node: TreeNode): ByteString => {
  let path = ""
  for (let at: TreeNode = node; at.parent !== undefined; at = at.parent) {
    path = path === "" ? at.name : `${at.name}/${path}`
  }
  return path
}

/** The path of a name below `node`. */
export const childPath = (path: ByteString, name: ByteString): ByteString => (path === "" ? name : `${path}/${name}`)

/** Bytewise. */
export const compareNames = (a: ByteString, b: ByteString): number => (a < b ? -1 : a > b ? 1 : 0)

/** The children sorted bytewise by name. */
export const sortedChildren = (node: TreeNode): ReadonlyArray<TreeNode> => sorted(node.children)

/** The same but for files that are in columns. */
export const sortedNodes = (node: TreeNode): ReadonlyArray<TreeNode> => sorted(node.nodes)

const sorted = (nodes: ReadonlyMap<ByteString, TreeNode> | undefined): ReadonlyArray<TreeNode> =>
  nodes === undefined ? [] : [...nodes.values()].sort((a, b) => compareNames(a.name, b.name))

/** Counts over a tree. A file with several names counts once in `files` and `bytes`. */
export interface TreeTotals {
  /** Names, the root included. */
  readonly names: number
  readonly directories: number
  readonly files: number
  /** Content of the files. */
  readonly bytes: number
}

export class FileTree {
  readonly root: TreeNode
  /** Whether xattrs, digests and the like were recorded at all: what is not recorded cannot be compared. */
  records: TreeRecords
  /** Names in the tree, the root included. */
  names = 1
  /** Not more than these are taken in: a few hundred MB of deep paths could otherwise fill any memory. */
  readonly maxNames: number
  /** Bytes of names, link targets, extended attributes and sparse maps in the tree, which may be a MiB for one entry. */
  held = 0
  readonly maxHeld: number
  /** Where ordinary files are that need not be objects. */
  readonly columns: FileColumns | undefined

  constructor(
    options: {
      readonly root?: Inode
      readonly records?: TreeRecords
      readonly maxNames?: number
      readonly maxHeld?: number
      /** For ordinary files of layers that are applied without digests; see there. */
      readonly columns?: FileColumns
    } = {}
  ) {
    this.root = new TreeNode("", undefined, options.root ?? impliedDirectory(), unknown)
    this.records = options.records ?? allRecords
    this.maxNames = options.maxNames ?? 4_000_000
    this.maxHeld = options.maxHeld ?? 256 * 1024 * 1024
    this.columns = options.columns
  }

  /** The node at a normalised path ("usr/bin/env", "" for the root); symlinks are not followed. */
  lookup(path: ByteString): TreeNode | undefined {
    let node: TreeNode | undefined = this.root
    if (path === "") return node
    for (const part of path.split("/")) {
      node = node?.child(part)
      if (node === undefined) return undefined
    }
    return node
  }

  /** Every name, parents first, siblings sorted bytewise; the root first with path "". */
  *entries(): Generator<readonly [path: ByteString, node: TreeNode]> {
    const stack: Array<readonly [ByteString, TreeNode]> = [["", this.root]]
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      yield next
      const [path, node] = next
      const children = sortedChildren(node)
      for (let index = children.length - 1; index >= 0; index--) {
        const child = children[index]!
        stack.push([childPath(path, child.name), child])
      }
    }
  }

  /** Calls `visit` for every name, parents before children, in no other order; faster than `entries` for large trees. */
  forEach(visit: (node: TreeNode) => void): void {
    const stack: Array<TreeNode> = [this.root]
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      visit(node)
      if (node.children !== undefined) for (const child of node.children.values()) stack.push(child)
    }
  }

  /** The same but for files that are in columns, each of which has one name and no attributes. */
  forEachObject(visit: (node: TreeNode) => void): void {
    const stack: Array<TreeNode> = [this.root]
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      visit(node)
      if (node.nodes !== undefined) for (const child of node.nodes.values()) stack.push(child)
    }
  }

  totals(): TreeTotals {
    const seen = new Set<Inode>()
    let names = 0
    let directories = 0
    let files = 0
    let bytes = 0
    this.forEach(({ inode }) => {
      names++
      if (inode.type === "directory") directories++
      if (inode.type !== "file") return
      if (inode.nlink > 1) {
        if (seen.has(inode)) return
        seen.add(inode)
      }
      files++
      bytes += Math.max(0, inode.size)
    })
    return { names, directories, files, bytes }
  }
}

/** What the source of a tree tells about its entries. */
export interface TreeRecords {
  readonly xattrs: boolean
  /** Names of the same file share one `Inode`; otherwise only `nlink` tells of hardlinks. */
  readonly hardlinks: boolean
}

export const allRecords: TreeRecords = { xattrs: true, hardlinks: true }
