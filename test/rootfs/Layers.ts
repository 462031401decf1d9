/** Layers made by hand for the tests of `rootfs/`. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Problem } from "../../src/content/Problem.ts"
import type { TarEntryType } from "../../src/content/TarEntry.ts"
import { TarScanner } from "../../src/content/TarScan.ts"
import { encodeHeader, endOfArchive, padding, putChecksum, type TarWriteEntry } from "../../src/content/TarWrite.ts"
import { type AppliedLayer, LayerApplier, type LayerOptions } from "../../src/rootfs/ApplyLayer.ts"
import type { FileColumns } from "../../src/rootfs/FileColumns.ts"
import { FileTree } from "../../src/rootfs/FileTree.ts"
import type { EntryVisitor, LayerFeed } from "../../src/rootfs/Unpack.ts"

export type Member = Omit<TarWriteEntry, "size"> & {
  readonly body?: string | Uint8Array
  /** Records of a pax header before the member's own headers, as they are. */
  readonly records?: Readonly<Record<string, string>>
}
type More = Partial<Omit<Member, "path" | "type">>

/** Whose files this process can make. */
export const ownUid = process.geteuid?.() ?? 0
export const ownGid = process.getegid?.() ?? 0

const member =
  (type: TarEntryType, mode: number) =>
  (name: string, more: More = {}): Member => ({
    path: name,
    type,
    mode,
    uid: ownUid,
    gid: ownGid,
    mtimeSeconds: 1_600_000_000,
    ...more
  })

export const file = (name: string, body: string | Uint8Array = "", more: More = {}): Member =>
  member("file", 0o644)(name, { body, ...more })
export const dir = member("directory", 0o755)
export const symlink = (name: string, target: string, more: More = {}): Member =>
  member("symlink", 0o777)(name, { linkname: target, ...more })
export const hardlink = (name: string, target: string, more: More = {}): Member =>
  member("hardlink", 0o644)(name, { linkname: target, ...more })
export const device = (name: string, major: number, minor: number, type: "char" | "block" = "char"): Member =>
  member(type, 0o660)(name, { devmajor: major, devminor: minor })
export const fifo = member("fifo", 0o600)
export const whiteout = (name: string): Member => {
  const slash = name.lastIndexOf("/") + 1
  return file(`${name.slice(0, slash)}.wh.${name.slice(slash)}`)
}
export const opaque = (directory: string): Member => file(`${directory}/.wh..wh..opq`)

/** An uncompressed layer. */
export const tar = (members: ReadonlyArray<Member>): Buffer => {
  const parts: Array<Uint8Array> = []
  for (const { body, records, ...entry } of members) {
    if (records !== undefined) parts.push(paxHeader(records))
    const bytes = typeof body === "string" ? Buffer.from(body) : (body ?? new Uint8Array())
    parts.push(encodeHeader({ ...entry, size: bytes.length }), bytes, padding(bytes.length))
  }
  parts.push(endOfArchive)
  return Buffer.concat(parts)
}

const paxHeader = (records: Readonly<Record<string, string>>): Buffer => {
  const text = Object.entries(records)
    .map(([keyword, value]) => {
      const rest = ` ${keyword}=${value}\n`
      let length = rest.length + 1
      while (`${length}${rest}`.length !== length) length++
      return `${length}${rest}`
    })
    .join("")
  const header = Buffer.from(encodeHeader({ path: "pax", type: "file", size: text.length }))
  header.write("x", 156)
  putChecksum(header)
  return Buffer.concat([header, Buffer.from(text), padding(text.length)])
}

export const scan = (bytes: Uint8Array, visitor: EntryVisitor, problems: Array<Problem> = []): void => {
  const scanner = new TarScanner({ ...visitor, onProblem: (problem) => problems.push(problem) })
  // Odd pieces, so that bodies and headers are split.
  for (let at = 0; at < bytes.length; at += 70_001)
    scanner.write(bytes.subarray(at, Math.min(bytes.length, at + 70_001)))
  scanner.end()
}

export interface Applied {
  readonly tree: FileTree
  readonly layers: ReadonlyArray<AppliedLayer>
  readonly tars: ReadonlyArray<Buffer>
  /** What the scanner reported. */
  readonly tarProblems: ReadonlyArray<Problem>
  readonly feed: LayerFeed
}

export const apply = (
  layers: ReadonlyArray<ReadonlyArray<Member> | Buffer>,
  options: LayerOptions = {},
  columns?: FileColumns
): Applied => {
  const tree = new FileTree(columns === undefined ? {} : { columns })
  const tars = layers.map((layer) => (Buffer.isBuffer(layer) ? layer : tar(layer as ReadonlyArray<Member>)))
  const tarProblems: Array<Problem> = []
  const applied = tars.map((bytes, index) => {
    const applier = new LayerApplier(tree, index, options)
    scan(bytes, applier, tarProblems)
    return applier.finish()
  })
  return { tree, layers: applied, tars, tarProblems, feed: (layer, visitor) => scan(tars[layer]!, visitor) }
}

/** Check ids and paths of all layers' problems. */
export const problemsOf = (applied: Applied): ReadonlyArray<readonly [string, string]> =>
  applied.layers.flatMap((layer) => layer.problems.map(({ check, path }) => [check, path] as const))

/** One line for each name but the root: its path, and what tells its type. */
export const listing = (tree: FileTree): ReadonlyArray<string> =>
  [...tree.entries()].slice(1).map(([name, { inode }]) => {
    switch (inode.type) {
      case "directory":
        return `${name}/`
      case "symlink":
        return `${name} -> ${inode.link}`
      case "file":
        return name
      default:
        return `${name} (${inode.type})`
    }
  })

export const isRoot = process.geteuid?.() === 0

/** A fresh directory, removed afterwards; on a file system in memory where there is one. */
export const withDirectory = async <A>(use: (directory: string) => A | Promise<A>): Promise<A> => {
  const base = fs.existsSync("/dev/shm") ? "/dev/shm" : fs.realpathSync(os.tmpdir())
  const directory = fs.mkdtempSync(path.join(base, "rootfs-"))
  try {
    return await use(directory)
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}
