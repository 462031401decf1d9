/** Where an mtree manifest that `Mtree.write` made tells the files of each directory. */
import type { ByteString } from "../content/ByteString.ts"
import { childPath } from "./FileTree.ts"
import type * as Mtree from "./Mtree.ts"
import { headOf, indent } from "./MtreeLine.ts"
import * as Vis from "./Vis.ts"

/** The lines of everything in one directory that is no directory itself. */
export interface FileLines extends Mtree.Lines {
  /** Below the root, "" for the root. */
  readonly directory: ByteString
  /** Names that they tell; other lines tell attributes of these. */
  readonly names: number
  /** Of the content of the files, as they say. */
  readonly bytes: number
}

const head = headOf("comment")
const newline = 0x0a
const space = 0x20
const hash = 0x23
const equals = 0x3d
/** Longer names no file system has; `Mtree.parse` refuses them. */
const maxName = 255

/**
 * In the order of the manifest, one for each directory. Undefined for a manifest that `Mtree.write` would not lay out like
 * that, in which what a line means may depend on others; what is in the lines of files is not looked at.
 */
export const fileLines = (manifest: Uint8Array): ReadonlyArray<FileLines> | undefined => {
  const bytes = Buffer.from(manifest.buffer, manifest.byteOffset, manifest.byteLength)
  if (bytes.toString("latin1", 0, head.length) !== head) return undefined
  const found: Array<FileLines> = []
  const seen = new Set<ByteString>()
  /** Directories on the way to the one that the next line is in. */
  const stack: Array<ByteString> = []
  let at = head.length
  while (at < bytes.length) {
    const end = bytes.indexOf(newline, at)
    if (end < 0) return undefined
    const line = bytes.toString("latin1", at, end)
    at = end + 1
    if (line === "" || (line.charCodeAt(0) === hash && !line.includes("keywords:"))) continue
    if (line === "..") {
      if (stack.pop() === undefined) return undefined
      continue
    }
    const directory = directoryOf(line, stack.at(-1))
    if (directory === undefined || seen.has(directory)) return undefined
    seen.add(directory)
    stack.push(directory)
    // Attributes of the directory itself.
    while (isIndented(bytes, at) && bytes[at + indent.length] === hash) at = nextLine(bytes, at)
    const files = linesFrom(bytes, directory, at)
    found.push(files)
    at = files.to
  }
  return found
}

/** The path of the directory that `line` tells, in `parent`. */
const directoryOf = (line: string, parent: ByteString | undefined): ByteString | undefined => {
  const word = /^([^\s=#/]+) type=dir(?: [^\t\\\r]*)?$/.exec(line)?.[1]
  if (word === undefined || line.indexOf(" type=") !== line.lastIndexOf(" type=")) return undefined
  // Only the root's is behind nothing.
  if (parent === undefined) return word === "." ? "" : undefined
  const name = Vis.decode(word)
  if (name === "." || name === ".." || name.includes("/") || name.includes("\0") || name.length > maxName)
    return undefined
  return childPath(parent, name)
}

const isIndented = (bytes: Buffer, at: number): boolean =>
  bytes[at] === space && bytes[at + 1] === space && bytes[at + 2] === space && bytes[at + 3] === space

const nextLine = (bytes: Buffer, at: number): number => {
  const end = bytes.indexOf(newline, at)
  return end < 0 ? bytes.length : end + 1
}

const linesFrom = (bytes: Buffer, directory: ByteString, from: number): FileLines => {
  let to = from
  let names = 0
  let lines = 0
  let content = 0
  while (isIndented(bytes, to)) {
    const next = nextLine(bytes, to)
    lines++
    if (bytes[to + indent.length] !== hash) {
      names++
      content += sizeIn(bytes, to, next)
    }
    to = next
  }
  return { directory, from, to, lines, names, bytes: content }
}

/** What the line says of the size, of which a time and a digest are behind it; 0 when it says nothing. */
const sizeIn = (bytes: Buffer, from: number, to: number): number => {
  for (let at = to - 1; at > from + 5; at--) {
    if (bytes[at] !== equals || bytes[at - 1] !== 0x65 || bytes[at - 2] !== 0x7a || bytes[at - 5] !== space) continue
    let size = 0
    for (let digit = bytes[++at]! - 0x30; digit >= 0 && digit <= 9; digit = bytes[++at]! - 0x30)
      size = size * 10 + digit
    return size
  }
  return 0
}

/**
 * Whether `Mtree.parse` would understand that what is not proved says anything about what is: a line about something in
 * another directory, or a name that is a directory elsewhere and so no place for the lines that follow.
 */
export const interfere = (
  manifest: Uint8Array,
  all: ReadonlyArray<FileLines>,
  proved: ReadonlySet<FileLines>
): boolean => {
  const known = new Map<ByteString, ReadonlySet<ByteString> | undefined>()
  const byDirectory = new Map(all.map((lines) => [lines.directory, lines]))
  const namesOf = (lines: FileLines): ReadonlySet<ByteString> | undefined => {
    if (!known.has(lines.directory)) known.set(lines.directory, namesIn(manifest, lines))
    return known.get(lines.directory)
  }
  return all.some((lines) => {
    if (!proved.has(lines) && namesOf(lines) === undefined) return true
    if (lines.directory === "") return false
    const slash = lines.directory.lastIndexOf("/")
    const parent = byDirectory.get(lines.directory.slice(0, Math.max(0, slash)))!
    if (proved.has(lines) && proved.has(parent)) return false
    return namesOf(parent)?.has(lines.directory.slice(slash + 1)) !== false
  })
}

/** What the lines tell about, undefined when that is not all in their directory. */
const namesIn = (manifest: Uint8Array, { from, to }: FileLines): ReadonlySet<ByteString> | undefined => {
  const names = new Set<ByteString>()
  const text = Buffer.from(manifest.buffer, manifest.byteOffset + from, to - from).toString("latin1")
  if (text === "") return names
  if (!text.endsWith("\n")) return undefined
  for (const line of text.slice(0, -1).split("\n")) {
    if (line.charCodeAt(indent.length) === hash) continue
    const [word] = line.slice(indent.length).split(" ", 1)
    const name = Vis.decode(word!)
    const further =
      word!.includes("=") ||
      name === "" ||
      name === "." ||
      name === ".." ||
      name.includes("/") ||
      line.includes(" type=dir") ||
      line.includes("\t") ||
      line.endsWith("\\")
    if (further) return undefined
    names.add(name)
  }
  return names
}
