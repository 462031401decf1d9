/**
 * What a line of a manifest is made of, piece by piece: one description for writing lines and for asking whether a
 * manifest has just these. As bytes, because making a string of each number takes longer than to look at the file.
 */
import { type ByteString, fromBytes } from "../content/ByteString.ts"
import { type Inode, type InodeType, secondsOnly } from "./FileTree.ts"
import * as Vis from "./Vis.ts"

/** Takes ASCII. */
export interface Sink {
  readonly text: (text: string) => void
  /** In decimal, with zeros in front up to `width` digits. */
  readonly number: (value: number, width?: number) => void
}

/** Where extended attributes go; see `Mtree.write`. */
export type XattrForm = "keyword" | "comment" | "omit"

export const typeNames: Readonly<Record<InodeType, string>> = {
  file: "file",
  directory: "dir",
  symlink: "link",
  char: "char",
  block: "block",
  fifo: "fifo",
  socket: "socket"
}

/** With what a manifest begins. */
export const headOf = (xattrs: XattrForm): string => {
  const keywords = `type,mode,uid,gid,nlink,size,link,device,time,sha256digest${xattrs === "omit" ? "" : ",xattr"}`
  return `#mtree\n#      keywords: ${keywords}\n\n/set type=file uid=0 gid=0\n`
}

/** In front of entries that are no directories. */
export const indent = "    "

/** `=` as well, which is no metacharacter: a name such as "size=1" would be read as a keyword, of a line with its path last. */
export const encodeName = (name: ByteString): string => {
  const text = Vis.encode(name)
  return text.includes("=") ? text.replaceAll("=", "\\075") : text
}

/** 1 for each byte that stands for itself. */
const plain = Uint8Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte)
  return encodeName(char) === char ? 1 : 0
})

/** Most files have one of a few. */
const modes = new Map<number, string>()

const modeText = (mode: number): string => {
  let text = modes.get(mode)
  if (text === undefined) modes.set(mode, (text = ` mode=0${mode.toString(8).padStart(3, "0")}`))
  return text
}

/** What a line tells behind the name, up to the digest. */
export const putKeywords = (sink: Sink, inode: Inode): void => {
  const { type } = inode
  const put = (keyword: string, value: number): void => {
    sink.text(keyword)
    sink.number(value)
  }
  if (type !== "file") sink.text(` type=${typeNames[type]}`)
  // Never the last word: a target that ends in a backslash would continue the line.
  if (type === "symlink") sink.text(` link=${Vis.encode(inode.link)}`)
  // A symlink has no mode of its own.
  else if (inode.mode >= 0) sink.text(modeText(inode.mode))
  if (inode.uid > 0) put(" uid=", inode.uid)
  if (inode.gid > 0) put(" gid=", inode.gid)
  // The links of a directory depend on the file system.
  if (type !== "directory" && inode.nlink > 0) put(" nlink=", inode.nlink)
  if (type === "file" && inode.size >= 0) put(" size=", inode.size)
  if (type === "char" || type === "block") sink.text(` device=native,${inode.devmajor},${inode.devminor}`)
  if (inode.mtimeNanoseconds >= 0) {
    put(" time=", inode.mtimeSeconds)
    sink.text(".")
    sink.number(inode.mtimeNanoseconds, 9)
  } else if (inode.mtimeNanoseconds === secondsOnly) {
    put(" tar_time=", inode.mtimeSeconds)
    sink.text(".000000000")
  }
}

/** Hex. */
export const putDigest = (sink: Sink, sha256: string): void => {
  sink.text(digestKeyword)
  sink.text(sha256)
}

export const digestKeyword = " sha256digest="

/** The end of the line, and lines behind it that belong to the same entry. */
export const putEnd = (sink: Sink, { xattrs }: Inode, form: XattrForm): void => {
  if (xattrs === undefined || form === "omit") {
    sink.text("\n")
    return
  }
  const pairs = [...xattrs.keys()]
    .sort()
    .map((name) => `xattr.${Vis.encode(name)}=${Buffer.from(xattrs.get(name)!, "latin1").toString("base64")}`)
  if (form === "keyword") sink.text(` ${pairs.join(" ")}\n`)
  else sink.text(`\n${pairs.map((pair) => `${indent}# ${pair}\n`).join("")}`)
}

/** Room for the digits of any number that is exact. */
const digits = new Uint8Array(20)

/** Writes a number into the end of `digits`, and answers where it begins there. */
const putDigits = (value: number, width: number): number => {
  let at = digits.length
  // Numbers of 31 bits are divided as integers.
  let rest = value | 0
  do {
    const next = (rest / 10) | 0
    digits[--at] = 0x30 + rest - next * 10
    rest = next
  } while (rest !== 0)
  while (digits.length - at < width) digits[--at] = 0x30
  return at
}

const isSmall = (value: number): boolean => value >= 0 && value <= 0x7fffffff

/** Collects lines. */
export class LineWriter implements Sink {
  #bytes = Buffer.allocUnsafeSlow(128 * 1024)
  /** Bytes held. */
  length = 0

  text(text: string): void {
    const { length } = text
    this.#reserve(length)
    const bytes = this.#bytes
    let at = this.length
    // A call takes longer than a few letters.
    if (length > 100) at += bytes.write(text, at, "latin1")
    else for (let index = 0; index < length; index++) bytes[at++] = text.charCodeAt(index)
    this.length = at
  }

  /** A name, encoded. */
  name(bytes: Uint8Array, from: number, to: number): void {
    this.#reserve(to - from)
    const into = this.#bytes
    const { length } = this
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!
      if (plain[byte] === 0) {
        this.text(encodeName(fromBytes(bytes, from, to)))
        return
      }
      into[length + at - from] = byte
    }
    this.length = length + to - from
  }

  number(value: number, width = 1): void {
    if (!isSmall(value)) {
      this.text(value.toString().padStart(width, "0"))
      return
    }
    this.#reserve(digits.length)
    for (let from = putDigits(value, width); from < digits.length; from++) this.#bytes[this.length++] = digits[from]!
  }

  /** Leaves room for `count` bytes, whatever is in it; answers where it is. */
  leave(count: number): number {
    this.#reserve(count)
    const at = this.length
    this.length += count
    return at
  }

  /** Hands out what is held and begins anew. */
  take(): Buffer {
    const taken = Buffer.from(this.#bytes.subarray(0, this.length))
    this.length = 0
    return taken
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(2 * (this.length + count))
    this.#bytes.copy(larger, 0, 0, this.length)
    this.#bytes = larger
  }
}

/** Asks whether the bytes of a manifest go on with what is put. */
export class LineMatcher implements Sink {
  readonly #bytes: Uint8Array
  #end = 0
  /** Where the first byte is that has not been matched. */
  at = 0
  /** False from the first difference on. */
  matches = true

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  begin(from: number, to: number): void {
    this.at = from
    this.#end = to
    this.matches = true
  }

  /** Whether everything up to the end has been matched. */
  get complete(): boolean {
    return this.matches && this.at === this.#end
  }

  text(text: string): void {
    const bytes = this.#bytes
    let { at } = this
    if (at + text.length > this.#end) this.matches = false
    for (let index = 0; this.matches && index < text.length; index++) {
      if (bytes[at++] !== text.charCodeAt(index)) this.matches = false
    }
    this.at = at
  }

  number(value: number, width = 1): void {
    if (!isSmall(value)) {
      this.text(value.toString().padStart(width, "0"))
      return
    }
    const bytes = this.#bytes
    let { at } = this
    for (let from = putDigits(value, width); from < digits.length; from++) {
      if (at >= this.#end || bytes[at++] !== digits[from]) this.matches = false
    }
    this.at = at
  }
}
