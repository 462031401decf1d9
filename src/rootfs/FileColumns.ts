/**
 * Files of a tree in columns instead of objects: most images are little else than regular files with one name and nothing
 * but a mode, an owner and a time, and a hundred thousand objects for them cost the collector more than to read them.
 */
import * as crypto from "node:crypto"
import type { ByteString } from "../content/ByteString.ts"
import type { TarEntry } from "../content/TarEntry.ts"
import { digestOf, digestSize, FileRows, known, rowLength, type SharedRows, startOf, wanted } from "./FileRows.ts"

/** What a row says, where it is to become an object. */
export interface FileFields {
  mode: number
  uid: number
  gid: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  size: number
  layer: number
  entry: number
  dataOffset: number
  dataSize: number
  nlink: number
  sha256: string | undefined
}

/** The files of one directory that are in columns. */
export class DirectoryFiles {
  readonly columns: FileColumns
  /** Its number among the directories that have such files. */
  readonly id: number
  /** The row that came last, or `noRow`; the others are found from there. */
  last = noRow

  constructor(columns: FileColumns, id: number) {
    this.columns = columns
    this.id = id
  }
}

export const noRow = -1

/** Instead of a layer: the row has become an object. */
const taken = -1

/** Names that look alike to the table; with more of them one has to be an object. */
const maxTries = 32
/** Beyond this files are objects: rows are not given back when a later layer hides their files. */
const maxRows = 2 ** 22
const maxNameBytes = 2 ** 28

export class FileColumns {
  /** All there ever were, those included that have become objects. */
  readonly #rows = new FileRows()
  #layers = new Int32Array(0)
  /** The row before in the same directory. */
  #before = new Int32Array(0)
  /** Rows, plus one, by what their names hash to; 0 for none. The seed is so that no archive can be built against it. */
  #table = new Int32Array(0)
  #hashes = new Int32Array(0)
  readonly #seed: number
  /** Rows whose digests this thread has been told of: what another one is just writing is not looked at. */
  #told: Uint8Array | undefined
  /** What rows have become whose digests were still to come. */
  readonly #objects = new Map<number, FileFields>()
  /** Directories that have or had such files. */
  directories = 0

  constructor(seed: number = crypto.randomBytes(4).readInt32LE()) {
    this.#seed = seed
  }

  get count(): number {
    return this.#rows.count
  }

  directory(): DirectoryFiles {
    return new DirectoryFiles(this, this.directories++)
  }

  /**
   * Takes in a file whose name is `path` from `from` on. False, and nothing has changed, when the directory has that name
   * here already, when that takes too long to tell, or when no file system can have it.
   */
  add(directory: DirectoryFiles, path: ByteString, from: number, entry: TarEntry, layer: number): boolean {
    const rows = this.#rows
    const row = rows.count
    if (row === maxRows || startOf(rows, row) > maxNameBytes) return false
    const start = rows.room(path.length - from)
    if (row === this.#layers.length) this.#grow()
    const { names } = rows
    const end = start + path.length - from
    let hash = this.#seed ^ directory.id
    for (let at = start; at < end; at++) {
      const char = path.charCodeAt(from + at - start)
      if (char === 0) return false
      names[at] = char
      hash = step(hash, char)
    }
    hash = mixed(hash)
    const table = this.#table
    const mask = table.length - 1
    let slot = hash & mask
    for (let tries = 0; table[slot] !== 0; tries++) {
      if (tries === maxTries || this.#is(table[slot]! - 1, directory.id, hash, path, from)) return false
      slot = (slot + 1) & mask
    }
    table[slot] = row + 1
    this.#hashes[row] = hash
    this.#layers[row] = layer
    this.#before[row] = directory.last
    rows.add(end - start, directory.id, entry)
    directory.last = row
    return true
  }

  has(directory: DirectoryFiles, name: ByteString): boolean {
    if (directory.last === noRow) return false
    const hash = hashOf(this.#seed, directory.id, name)
    const table = this.#table
    const mask = table.length - 1
    for (let slot = hash & mask; table[slot] !== 0; slot = (slot + 1) & mask) {
      if (this.#is(table[slot]! - 1, directory.id, hash, name, 0)) return true
    }
    return false
  }

  #is(row: number, directory: number, hash: number, path: ByteString, from: number): boolean {
    const rows = this.#rows
    if (this.#hashes[row] !== hash || rows.parents[row] !== directory || this.#layers[row] === taken) return false
    const start = startOf(rows, row)
    if (rows.ends[row]! - start !== path.length - from) return false
    for (let at = from; at < path.length; at++) if (rows.names[start + at - from] !== path.charCodeAt(at)) return false
    return true
  }

  #grow(): void {
    const rows = Math.max(16, 2 * this.#layers.length)
    this.#layers = grown(this.#layers, rows)
    this.#before = grown(this.#before, rows)
    this.#hashes = grown(this.#hashes, rows)
    const table = new Int32Array(2 * rows)
    const mask = table.length - 1
    for (let row = 0; row < this.count; row++) {
      if (this.#layers[row] === taken) continue
      let slot = this.#hashes[row]! & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = row + 1
    }
    this.#table = table
  }

  /** Negative when the row has become an object. */
  layerOf(row: number): number {
    return this.#layers[row]!
  }

  /** All rows, for threads that write the files. */
  get shared(): SharedRows {
    return this.#rows
  }

  /** In the order in which they came. */
  rowsOf(directory: DirectoryFiles): Array<number> {
    const rows: Array<number> = []
    for (let row = directory.last; row !== noRow; row = this.#before[row]!) rows.push(row)
    return rows.reverse()
  }

  /** Bytewise by name. */
  sortedRowsOf(directory: DirectoryFiles): ReadonlyArray<number> {
    return this.rowsOf(directory).sort((a, b) => this.#compare(a, b))
  }

  #compare(a: number, b: number): number {
    const { ends, names } = this.#rows
    let at = startOf(this.#rows, a)
    let other = startOf(this.#rows, b)
    const end = ends[a]!
    const otherEnd = ends[b]!
    while (at < end && other < otherEnd) {
      const difference = names[at++]! - names[other++]!
      if (difference !== 0) return difference
    }
    return end - at - (otherEnd - other)
  }

  /** The rows of a directory whose files become objects; `become` is to be called for each. */
  take(directory: DirectoryFiles): ReadonlyArray<number> {
    const rows = this.rowsOf(directory)
    directory.last = noRow
    return rows
  }

  become(row: number, object: FileFields): void {
    this.fill(row, object)
    this.#layers[row] = taken
    if (this.#told !== undefined) this.#objects.set(row, object)
  }

  /** Puts what a row says into an object. */
  fill(row: number, into: FileFields): void {
    const { numbers } = this.#rows
    let at = row * rowLength
    into.entry = numbers[at++]!
    into.dataOffset = numbers[at++]!
    into.dataSize = numbers[at++]!
    into.size = numbers[at++]!
    into.mode = numbers[at++]!
    into.uid = numbers[at++]!
    into.gid = numbers[at++]!
    into.mtimeSeconds = numbers[at++]!
    into.mtimeNanoseconds = numbers[at]!
    into.layer = this.#layers[row]!
    into.nlink = 1
    into.sha256 = this.#told?.[row] === 1 ? digestOf(this.#rows, row) : undefined
  }

  /** From here on nothing is added, and digests may come. */
  expectDigests(): void {
    if (this.#told !== undefined) return
    this.#rows.expectDigests(wanted)
    this.#told = new Uint8Array(this.count)
  }

  /** Digests of these rows are there, as far as their state says so. */
  tell(rows: Int32Array): void {
    const told = this.#told
    if (told === undefined) return
    for (let index = 0; index < rows.length; index++) told[rows[index]!] = 1
    if (this.#objects.size === 0) return
    for (const row of rows) {
      const object = this.#objects.get(row)
      if (object !== undefined) object.sha256 = digestOf(this.#rows, row)
    }
  }

  /** Writes a row's digest to where it belongs; false when it has not come. */
  putDigest(row: number, into: Uint8Array, at: number): boolean {
    const { digests, states } = this.#rows
    if (this.#told?.[row] !== 1 || states[row] !== known) return false
    const start = row * digestSize
    for (let letter = 0; letter < digestSize; letter++) into[at + letter] = digests[start + letter]!
    return true
  }
}

const grown = (old: Int32Array, length: number): Int32Array<ArrayBuffer> => {
  const larger = new Int32Array(length)
  larger.set(old)
  return larger
}

/** Of a name in a directory: what the table goes by. */
export const hashOf = (seed: number, directory: number, name: ByteString): number => {
  let hash = seed ^ directory
  for (let at = 0; at < name.length; at++) hash = step(hash, name.charCodeAt(at))
  return mixed(hash)
}

const step = (hash: number, char: number): number => Math.imul(hash ^ char, 0x01000193)

/** Every bit of the result depends on all before. */
const mixed = (hash: number): number => {
  let bits = hash
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}
