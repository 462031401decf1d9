/** What a directory on disk holds, as a `FileTree`. Symlinks are never followed. */
import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { childPath, FileTree, Inode, type InodeType, pathOf, TreeNode, unknown } from "./FileTree.ts"
import * as Libc from "./Libc.ts"

export interface DiskTreeOptions {
  /** The calls Node lacks; by default `Libc.load()`. Undefined: none, and then no attributes are read. */
  readonly libc?: Libc.Libc | undefined
}

export interface DiskTree {
  /** Files have no digests yet. `records.xattrs` is false where attributes could not be read. */
  readonly tree: FileTree
  readonly unreadable: ReadonlyArray<Unreadable>
  /** Directories on which another file system is mounted; what is in that is not part of the tree. */
  readonly mounts: ReadonlySet<TreeNode>
  /** Links of files that have more than one, as the system counts them: the tree's `nlink` counts names below the root. */
  readonly links: ReadonlyMap<Inode, number>
}

/** Something that the system would not show. */
export interface Unreadable {
  readonly path: ByteString
  /** `entry`: not even what it is; `children`: the names in a directory; `xattrs`: the attributes. */
  readonly what: "entry" | "children" | "xattrs"
  /** "EACCES" and the like. */
  readonly code: string
}

const nonAscii = /[^\x00-\x7f]/
const nodePath = (path: ByteString): string | Buffer => nonAscii.test(path) ? Buffer.from(path, "latin1") : path

const S_IFMT = 0o170000
const types: ReadonlyMap<number, InodeType> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
  [0o140000, "socket"]
])

const thousandMillion = 1_000_000_000n

/**
 * Walks `root`, an absolute path in bytes. Throws what the system says when the root itself cannot be looked at or is no
 * directory; everything else that cannot be read is listed.
 */
export const readDisk = (root: Buffer, options: DiskTreeOptions = {}): DiskTree => {
  const libc = "libc" in options ? options.libc : Libc.load()
  const base = Bytes.fromBytes(root)
  const links = new Map<Inode, number>()
  const unreadable: Array<Unreadable> = []
  const mounts = new Set<TreeNode>()
  /** Files with several links, by device and number. */
  const shared = new Map<string, Inode>()

  const inodeAt = (full: ByteString, path: ByteString, stat: fs.BigIntStats): Inode => {
    const mode = Number(stat.mode)
    const type = types.get(mode & S_IFMT) ?? "socket"
    const several = type !== "directory" && stat.nlink > 1n
    const key = several ? `${stat.dev}:${stat.ino}` : ""
    if (several) {
      const known = shared.get(key)
      if (known !== undefined) {
        known.nlink++
        return known
      }
    }
    let seconds = stat.mtimeNs / thousandMillion
    let nanoseconds = stat.mtimeNs % thousandMillion
    if (nanoseconds < 0n) {
      nanoseconds += thousandMillion
      seconds -= 1n
    }
    const inode = new Inode(type, mode & 0o7777, Number(stat.uid), Number(stat.gid), Number(seconds), Number(nanoseconds))
    inode.nlink = 1
    if (type === "file") inode.size = Number(stat.size)
    else if (type === "char" || type === "block") {
      inode.devmajor = Number(((stat.rdev >> 32n) & 0xfffff000n) | ((stat.rdev >> 8n) & 0xfffn))
      inode.devminor = Number(((stat.rdev >> 12n) & 0xffffff00n) | (stat.rdev & 0xffn))
    } else if (type === "symlink") {
      inode.link = fs.readlinkSync(nodePath(full), "latin1")
    }
    if (several) {
      shared.set(key, inode)
      links.set(inode, Number(stat.nlink))
    }
    if (libc !== undefined) {
      const xattrs = libc.xattrs(Libc.path(Buffer.from(full, "latin1")))
      if (typeof xattrs === "number") unreadable.push({ path, what: "xattrs", code: Libc.errorName(xattrs) })
      else if (xattrs.size > 0) inode.xattrs = xattrs
    }
    return inode
  }

  const top = fs.lstatSync(nodePath(base), { bigint: true })
  if (!top.isDirectory()) {
    throw Object.assign(new Error(`ENOTDIR: not a directory, '${Bytes.display(base)}'`), { code: "ENOTDIR" })
  }
  const tree = new FileTree({
    root: inodeAt(base, "", top),
    records: { xattrs: libc !== undefined, hardlinks: true },
    maxNames: Infinity
  })
  const stack: Array<TreeNode> = [tree.root]
  for (let directory = stack.pop(); directory !== undefined; directory = stack.pop()) {
    const path = pathOf(directory)
    const full = path === "" ? base : `${base}/${path}`
    let names: ReadonlyArray<ByteString>
    try {
      names = fs.readdirSync(nodePath(full), "latin1")
    } catch (cause) {
      unreadable.push({ path, what: "children", code: codeOf(cause) })
      continue
    }
    for (const name of names) {
      const child = childPath(path, name)
      let stat: fs.BigIntStats
      let inode: Inode
      try {
        stat = fs.lstatSync(nodePath(`${full}/${name}`), { bigint: true })
        inode = inodeAt(`${full}/${name}`, child, stat)
      } catch (cause) {
        unreadable.push({ path: child, what: "entry", code: codeOf(cause) })
        continue
      }
      const node = new TreeNode(name, directory, inode, unknown)
      directory.children!.set(name, node)
      tree.names++
      if (inode.type !== "directory") continue
      if (stat.dev === top.dev) stack.push(node)
      else mounts.add(node)
    }
  }
  return { tree, unreadable, mounts, links }
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? String(cause)
