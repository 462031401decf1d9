/**
 * BSD mtree(5) manifests, as mtree(8), libarchive and go-mtree (umoci) write and read them.
 */
import type { ByteString } from "../content/ByteString.ts"
import { splitPath } from "./ApplyLayer.ts"
import type { FileColumns } from "./FileColumns.ts"
import { digestSize, nameOf, startOf } from "./FileRows.ts"
import { childPath, FileTree, Inode, type InodeType, secondsOnly, sortedNodes, TreeNode, unknown } from "./FileTree.ts"
import {
  digestKeyword,
  encodeName,
  headOf,
  indent,
  LineWriter,
  putDigest,
  putEnd,
  putKeywords,
  typeNames,
  type XattrForm
} from "./MtreeLine.ts"
import * as Vis from "./Vis.ts"

export interface MtreeOptions {
  /**
   * Where extended attributes go. `keyword`: go-mtree's `xattr.NAME=BASE64`, at which mtree(8) gives up and libarchive
   * complains. `comment`: the same in a comment behind the entry, which every reader passes over and `parse` reads.
   * Default `comment`.
   */
  readonly xattrs?: XattrForm
}

const typesByName: ReadonlyMap<string, InodeType> = new Map(
  Object.entries(typeNames).map(([type, name]) => [name, type as InodeType])
)

const chunkLength = 64 * 1024
const commentPrefix = "# xattr."

/**
 * The manifest of `tree` in pieces of about 64 KiB, all ASCII: go-mtree's layout, a directory's files before its
 * directories, sorted bytewise. What the tree does not know (the times of implied directories, digests that were not
 * computed) is left out.
 */
export const write = (tree: FileTree, options: MtreeOptions = {}): Generator<Buffer, void, undefined> =>
  pieces(tree, options, (writer, { sha256 }) => {
    if (sha256 !== undefined) putDigest(writer, sha256)
  })

/** What `write` gives, of a tree whose files get their digests while all the rest is drafted, and later. */
export class Draft {
  readonly #rest: Iterator<Buffer>
  readonly #pieces: Array<Buffer> = []
  readonly #columns: FileColumns | undefined
  /** The files whose digests are missing, rows or objects, and for each the piece that it goes into, and where in it. */
  readonly #files: Array<number | Inode> = []
  readonly #places: Array<number> = []
  #told = 0

  constructor(tree: FileTree, options: MtreeOptions = {}) {
    this.#columns = tree.columns
    this.#rest = pieces(tree, options, (writer, inode, row) => {
      if (inode.type !== "file") return
      writer.text(digestKeyword)
      this.#files.push(row ?? inode)
      this.#places.push(this.#pieces.length, writer.leave(digestSize))
    })
  }

  /** Drafts one piece more; false when there was none. */
  next(): boolean {
    const { done, value } = this.#rest.next()
    if (done === true) return false
    this.#pieces.push(value)
    return true
  }

  /** `files` more have got their digests. To look for them is worth it when they are half of those that are missing. */
  told(files: number): void {
    this.#told += files
    if (2 * this.#told >= this.#files.length) this.#fill()
  }

  /** Undefined when a file has got no digest. */
  complete(): ReadonlyArray<Buffer> | undefined {
    this.#fill()
    return this.#files.length === 0 ? this.#pieces : undefined
  }

  #fill(): void {
    const [files, places] = [this.#files, this.#places]
    let missing = 0
    for (let index = 0; index < files.length; index++) {
      const file = files[index]!
      const piece = this.#pieces[places[2 * index]!]
      const at = places[2 * index + 1]!
      if (piece !== undefined && this.#put(file, piece, at)) continue
      places[2 * missing] = places[2 * index]!
      places[2 * missing + 1] = at
      files[missing++] = file
    }
    files.length = missing
    places.length = 2 * missing
    this.#told = 0
  }

  /** False when there is no digest yet. */
  #put(file: number | Inode, piece: Buffer, at: number): boolean {
    if (typeof file === "number") return this.#columns!.putDigest(file, piece, at)
    const { sha256 } = file
    if (sha256 === undefined) return false
    for (let letter = 0; letter < digestSize; letter++) piece[at + letter] = sha256.charCodeAt(letter)
    return true
  }
}

function* pieces(
  tree: FileTree,
  options: MtreeOptions,
  digest: (writer: LineWriter, inode: Inode, row: number | undefined) => void
): Generator<Buffer, void, undefined> {
  const xattrs = options.xattrs ?? "comment"
  const writer = new LineWriter()
  const line = (name: string, inode: Inode): void => {
    writer.text(name)
    keywords(inode, undefined)
  }
  const keywords = (inode: Inode, row: number | undefined): void => {
    putKeywords(writer, inode)
    digest(writer, inode, row)
    putEnd(writer, inode, xattrs)
  }
  // What each row says, in its turn.
  const ofRow = new Inode("file", 0, 0, 0, 0, 0)
  // A piece's worth of lines from one of the files on; answers where it ends.
  const lines = (files: ReadonlyArray<TreeNode | number>, from: number): number => {
    let at = from
    while (at < files.length && writer.length < chunkLength) {
      const file = files[at++]!
      writer.text(indent)
      if (typeof file !== "number") line(encodeName(file.name), file.inode)
      else {
        const { shared } = tree.columns!
        writer.name(shared.names, startOf(shared, file), shared.ends[file]!)
        tree.columns!.fill(file, ofRow)
        keywords(ofRow, file)
      }
    }
    return at
  }
  writer.text(headOf(xattrs))
  // Undefined stands for "..", behind everything below a directory.
  const stack: Array<readonly [path: ByteString, node: TreeNode] | undefined> = [["", tree.root]]
  while (stack.length > 0) {
    const next = stack.pop()
    if (next === undefined) {
      writer.text("..\n")
      continue
    }
    const [path, node] = next
    writer.text(`\n# ${path === "" ? "." : encodeName(path)}\n`)
    line(path === "" ? "." : encodeName(node.name), node.inode)
    stack.push(undefined)
    const children = sortedNodes(node)
    for (let index = children.length - 1; index >= 0; index--) {
      const child = children[index]!
      if (child.inode.type === "directory") stack.push([childPath(path, child.name), child])
    }
    const files = filesIn(node, children)
    for (let at = 0; at < files.length; ) {
      at = lines(files, at)
      if (writer.length >= chunkLength) yield writer.take()
    }
  }
  yield writer.take()
}

/** All but directories, sorted bytewise, of which `nodes` are those that are objects. */
const filesIn = ({ files }: TreeNode, nodes: ReadonlyArray<TreeNode>): ReadonlyArray<TreeNode | number> => {
  const objects = nodes.filter(({ inode }) => inode.type !== "directory")
  const rows = files?.columns.sortedRowsOf(files) ?? []
  if (objects.length === 0 || rows.length === 0) return objects.length === 0 ? rows : objects
  const all: Array<TreeNode | number> = []
  let next = 0
  for (const node of objects) {
    while (next < rows.length && nameOf(files!.columns.shared, rows[next]!) < node.name) all.push(rows[next++]!)
    all.push(node)
  }
  return all.concat(rows.slice(next))
}

/** A line of a manifest that makes no sense. */
export interface MtreeProblem {
  /** 1-based. */
  readonly line: number
  readonly message: string
}

export interface ParsedMtree {
  /**
   * What the manifest says; numbers it does not tell are `unknown`. Hardlinks are known by `nlink` only
   * (`records.hardlinks` is false).
   */
  readonly tree: FileTree
  readonly problems: ReadonlyArray<MtreeProblem>
  /** Keywords that say nothing to a comparison (uname, flags, md5, ...), and how often each was there. */
  readonly ignored: ReadonlyMap<string, number>
}

const maxProblems = 100

/** Lines of a manifest, whole ones. */
export interface Lines {
  /** Of bytes. */
  readonly from: number
  readonly to: number
  readonly lines: number
}

/**
 * Any of the flavours: relative entries with "..", full paths, /set and /unset, the path first or last on the line.
 * Passes over the lines of `skip`, which are in their order.
 */
export const parse = (bytes: Uint8Array, skip: ReadonlyArray<Lines> = []): ParsedMtree => new Parser(bytes, skip).run()

class Parser {
  readonly #bytes: Buffer
  readonly #skip: ReadonlyArray<Lines>
  readonly #problems: Array<MtreeProblem> = []
  readonly #ignored = new Map<string, number>()
  readonly #tree: FileTree
  #set = new Map<string, string>()
  #directory: TreeNode
  /** The entry of the last line, to which comments with attributes belong. */
  #last: TreeNode | undefined
  #line = 0
  #xattrs = false

  constructor(bytes: Uint8Array, skip: ReadonlyArray<Lines>) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#skip = skip
    const root = unknownInode("directory")
    this.#tree = new FileTree({ root, maxNames: Infinity })
    this.#directory = this.#tree.root
  }

  run(): ParsedMtree {
    let start = 0
    let pending = ""
    let first = 0
    let number = 0
    let skipped = 0
    while (start < this.#bytes.length) {
      const skip = this.#skip[skipped]
      if (start === skip?.from) {
        start = skip.to
        number += skip.lines
        skipped++
        continue
      }
      let end = this.#bytes.indexOf(10, start)
      if (end < 0) end = this.#bytes.length
      let text = this.#bytes.toString("latin1", start, end)
      start = end + 1
      number++
      if (pending === "") first = number
      if (text.endsWith("\r")) text = text.slice(0, -1)
      if (text.endsWith("\\") && slashesAtEnd(text) % 2 === 1) {
        // A comment is never continued.
        if (pending !== "" || !/^[ \t]*#/.test(text)) {
          pending += `${text.slice(0, -1)} `
          continue
        }
      }
      this.#line = first
      if (pending !== "") {
        text = pending + text
        pending = ""
      }
      this.#words(text)
    }
    if (pending !== "") {
      this.#line = first
      this.#problem("the last line is to be continued, but nothing follows")
    }
    this.#tree.records = { xattrs: this.#xattrs, hardlinks: false }
    return { tree: this.#tree, problems: this.#problems, ignored: this.#ignored }
  }

  #problem(message: string): void {
    if (this.#problems.length < maxProblems) this.#problems.push({ line: this.#line, message })
  }

  /** Those that tell of attributes are indented; the others tell names of directories, of any form. */
  #comment(text: string, indented: boolean): void {
    if (indented && text.startsWith(commentPrefix)) {
      const equals = text.indexOf("=")
      if (this.#last !== undefined && equals > 0) {
        this.#xattr(this.#last.inode, text.slice(commentPrefix.length, equals), text.slice(equals + 1).trimEnd())
      }
    } else if (/^#\s*keywords:.*\bxattr/.test(text)) this.#xattrs = true
  }

  #words(text: string): void {
    const words = (text.includes("\t") ? text.replaceAll("\t", " ") : text).split(" ")
    let at = 0
    while (words[at] === "") at++
    const first = words[at++]
    if (first === undefined) return
    if (first.charCodeAt(0) === 0x23) {
      this.#comment(text.trimStart(), at > 1)
    } else if (first === "/set") {
      for (; at < words.length; at++) if (words[at] !== "") this.#setKeyword(words[at]!)
    } else if (first === "/unset") {
      for (; at < words.length; at++) {
        if (words[at] === "all") this.#set = new Map()
        else this.#set.delete(canonical(words[at]!))
      }
    } else if (first === "..") {
      if (this.#directory.parent === undefined && this.#last === undefined) this.#problem('".." above the root')
      this.#directory = this.#directory.parent ?? this.#directory
    } else {
      const equals = first.indexOf("=")
      if (equals > 0 && knownKeywords.has(first.slice(0, equals)) && hasPathLast(words)) {
        this.#entry(words.pop()!, words, at - 1)
      } else this.#entry(first, words, at)
    }
  }

  #setKeyword(word: string): void {
    const equals = word.indexOf("=")
    const name = equals < 0 ? word : word.slice(0, equals)
    this.#set.set(canonical(name), equals < 0 ? "" : word.slice(equals + 1))
  }

  /** `words` from `from` on are keywords. */
  #entry(word: string, words: ReadonlyArray<string>, from: number): void {
    let typeName = this.#set.get("type") ?? "file"
    for (let at = from; at < words.length; at++) {
      if (words[at]!.startsWith("type=")) typeName = words[at]!.slice(5)
    }
    const type = typesByName.get(typeName)
    if (type === undefined) {
      this.#problem(`unknown type ${typeName}`)
      return
    }
    const name = Vis.decode(word)
    if (name.includes("\0")) {
      this.#problem("a name with a NUL")
      return
    }
    const full = word.includes("/") || name.includes("/")
    const parts = splitPath(name)
    if (parts === undefined || (full && name.split("/").includes(".."))) {
      this.#problem("a name that no file system can hold, or that leads out of the root")
      return
    }
    const base = parts.pop()
    let node: TreeNode
    if (base === undefined) {
      if (type !== "directory") {
        this.#problem("the root is no directory")
        return
      }
      node = this.#tree.root
      if (!full) this.#directory = node
    } else {
      let parent = full ? this.#tree.root : this.#directory
      for (const part of parts) {
        let child = parent.children!.get(part)
        if (child === undefined) child = this.#add(parent, part, unknownInode("directory"))
        if (child.inode.type !== "directory") {
          this.#problem("an entry below something that is no directory")
          return
        }
        parent = child
      }
      const existing = parent.children!.get(base)
      if (existing === undefined) node = this.#add(parent, base, unknownInode(type))
      else if (existing.inode.type === type) node = existing
      else {
        this.#problem("two entries of different types for one name")
        return
      }
      if (!full && type === "directory") this.#directory = node
    }
    this.#last = node
    for (const [keyword, value] of this.#set) this.#attribute(node.inode, keyword, value)
    for (let at = from; at < words.length; at++) {
      const pair = words[at]!
      if (pair === "") continue
      const equals = pair.indexOf("=")
      if (equals < 0) this.#attribute(node.inode, canonical(pair), "")
      else this.#attribute(node.inode, canonical(pair.slice(0, equals)), pair.slice(equals + 1))
    }
  }

  #add(parent: TreeNode, name: ByteString, inode: Inode): TreeNode {
    const node = new TreeNode(name, parent, inode, unknown)
    parent.children!.set(name, node)
    this.#tree.names++
    return node
  }

  #attribute(inode: Inode, keyword: string, value: string): void {
    switch (keyword) {
      case "type":
        break
      case "mode":
        if (inode.type !== "symlink") inode.mode = this.#number(keyword, value, 8)
        break
      case "uid":
        inode.uid = this.#number(keyword, value, 10)
        break
      case "gid":
        inode.gid = this.#number(keyword, value, 10)
        break
      case "nlink":
        if (inode.type !== "directory") inode.nlink = this.#number(keyword, value, 10)
        break
      case "size":
        if (inode.type === "file") inode.size = this.#number(keyword, value, 10)
        break
      case "link":
        if (inode.type === "symlink") inode.link = Vis.decode(value)
        break
      case "time":
      case "tar_time":
        this.#time(inode, keyword, value)
        break
      case "device":
        this.#device(inode, value)
        break
      case "sha256":
        if (inode.type !== "file") break
        if (sha256Lower.test(value)) inode.sha256 = value
        else if (sha256Lower.test(value.toLowerCase())) inode.sha256 = value.toLowerCase()
        else this.#problem(`${keyword} is no digest`)
        break
      default:
        if (keyword.startsWith("xattr.")) this.#xattr(inode, keyword.slice(6), value)
        else this.#ignored.set(keyword, (this.#ignored.get(keyword) ?? 0) + 1)
    }
  }

  #number(keyword: string, value: string, radix: 8 | 10): number {
    const number = digits(value, 0, value.length, radix)
    if (number >= 0) return keyword === "mode" ? number & 0o7777 : number
    this.#problem(`${keyword} is no number`)
    return unknown
  }

  /** What follows the point is a number of nanoseconds, not a fraction: "1.5" is 5 ns after 1. */
  #time(inode: Inode, keyword: string, value: string): void {
    const point = value.indexOf(".")
    const end = point < 0 ? value.length : point
    const negative = value.charCodeAt(0) === 0x2d
    const seconds = digits(value, negative ? 1 : 0, end, 10)
    const nanoseconds = point < 0 || point + 1 === value.length ? 0 : digits(value, point + 1, value.length, 10)
    if (seconds < 0 || nanoseconds < 0 || nanoseconds > 999_999_999) {
      this.#problem(`${keyword} is no time`)
      return
    }
    // An entry may have both; the finer one counts.
    if (keyword === "tar_time" && inode.mtimeNanoseconds >= 0) return
    inode.mtimeSeconds = negative ? -seconds : seconds
    inode.mtimeNanoseconds = keyword === "tar_time" ? secondsOnly : nanoseconds
  }

  /** `native,MAJOR,MINOR`, or one number in the kernel's encoding. */
  #device(inode: Inode, value: string): void {
    if (inode.type !== "char" && inode.type !== "block") return
    const triple = /^(?:native|linux),(0x[0-9a-f]+|[0-9]+),(0x[0-9a-f]+|[0-9]+)$/i.exec(value)
    if (triple !== null) {
      inode.devmajor = Number(triple[1])
      inode.devminor = Number(triple[2])
    } else if (/^(?:0x[0-9a-f]{1,16}|[0-9]{1,19})$/i.test(value)) {
      const device = BigInt(value)
      inode.devmajor = Number(((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn))
      inode.devminor = Number(((device >> 12n) & 0xffffff00n) | (device & 0xffn))
    } else this.#problem("device is no device number that this system knows")
  }

  #xattr(inode: Inode, name: string, value: string): void {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value)) {
      this.#problem("an extended attribute that is not base64")
      return
    }
    this.#xattrs = true
    const xattrs = new Map(inode.xattrs)
    xattrs.set(Vis.decode(name), Buffer.from(value, "base64").toString("latin1"))
    inode.xattrs = xattrs
  }
}

/** Such paths are full ones. Without looking, a file named "size=1" would be taken for a keyword. */
const hasPathLast = (words: Array<string>): boolean => {
  while (words[words.length - 1] === "") words.pop()
  const last = words[words.length - 1]!
  return last === "." || last.includes("/")
}

const sha256Lower = /^[0-9a-f]{64}$/

const slashesAtEnd = (text: string): number => {
  let at = text.length
  while (at > 0 && text.charCodeAt(at - 1) === 0x5c) at--
  return text.length - at
}

/** The number that `text[from, to)` is, or -1: it is none, or too large to be exact. */
const digits = (text: string, from: number, to: number, radix: number): number => {
  if (from >= to) return -1
  let number = 0
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - 0x30
    if (digit < 0 || digit >= radix) return -1
    number = number * radix + digit
  }
  return number <= Number.MAX_SAFE_INTEGER ? number : -1
}

const canonical = (keyword: string): string =>
  keyword === "sha256digest" ? "sha256" : keyword.startsWith("xattrs.") ? `xattr.${keyword.slice(7)}` : keyword

/** With which a line begins whose path comes last. */
const knownKeywords = new Set([
  "type",
  "mode",
  "uid",
  "gid",
  "uname",
  "gname",
  "nlink",
  "size",
  "link",
  "time",
  "device",
  "flags",
  "cksum",
  "md5",
  "md5digest",
  "sha1",
  "sha1digest",
  "sha256",
  "sha256digest",
  "sha384",
  "sha384digest",
  "sha512",
  "sha512digest",
  "rmd160",
  "rmd160digest",
  "ripemd160digest",
  "inode",
  "tags"
])

const unknownInode = (type: InodeType): Inode => {
  const inode = new Inode(type, unknown, unknown, unknown, 0, unknown)
  inode.size = unknown
  inode.nlink = unknown
  inode.devmajor = unknown
  inode.devminor = unknown
  return inode
}
