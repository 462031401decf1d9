/** Regular files as rows of numbers and names, in memory that all threads share. */
import type { ByteString } from "../content/ByteString.ts"
import type { TarEntry } from "../content/TarEntry.ts"

/** What a row of numbers has: member, offset and size of the body, size, mode, uid, gid, mtime seconds and nanoseconds. */
export const rowLength = 9
export const memberColumn = 0
export const dataOffsetColumn = 1
export const dataSizeColumn = 2
export const sizeColumn = 3
export const modeColumn = 4
export const uidColumn = 5
export const gidColumn = 6
export const secondsColumn = 7
export const nanosecondsColumn = 8

/** Letters of a digest in hex. */
export const digestSize = 64

/** What a row of numbers is made of. */
type Fields = Pick<
  TarEntry,
  "index" | "dataOffset" | "size" | "realSize" | "mode" | "uid" | "gid" | "mtimeSeconds" | "mtimeNanoseconds"
>

/** What has become of a digest: nobody asks for it, somebody does, it is there. */
export const notWanted = 0
export const wanted = 1
export const known = 2

/** Plain data: it crosses to a worker, where it is the same memory. */
export interface SharedRows {
  /** One name behind the other, and where each ends. */
  readonly names: Uint8Array
  readonly ends: Uint32Array
  /** Numbers of directories. */
  readonly parents: Int32Array
  /** Rows of `rowLength`. */
  readonly numbers: Float64Array
  /** Hex, `digestSize` letters a row, and whether they are wanted or there. */
  readonly digests: Uint8Array
  readonly states: Uint8Array
}

export const startOf = ({ ends }: SharedRows, row: number): number => (row === 0 ? 0 : ends[row - 1]!)

export const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

export const nameOf = (rows: SharedRows, row: number): ByteString =>
  bufferOf(rows.names).toString("latin1", startOf(rows, row), rows.ends[row])

/** Undefined when it is not there. */
export const digestOf = ({ digests, states }: SharedRows, row: number): string | undefined =>
  states[row] === known ? bufferOf(digests).toString("latin1", row * digestSize, (row + 1) * digestSize) : undefined

/** Rows that grow in number; to other threads, plain data. */
export class FileRows implements SharedRows {
  count = 0
  names = bytes(64)
  ends: Uint32Array = new Uint32Array(0)
  parents: Int32Array = new Int32Array(0)
  numbers: Float64Array = new Float64Array(0)
  digests = bytes(0)
  states = bytes(0)

  /** Makes room for one row more, with a name of so many bytes that is to be put where this says. */
  room(length: number): number {
    const start = startOf(this, this.count)
    if (start + length > this.names.length) {
      const larger = bytes(2 * (start + length))
      larger.set(this.names)
      this.names = larger
    }
    if (this.count === this.ends.length) this.#grow()
    return start
  }

  /** Adds the row that room was made for. */
  add(length: number, parent: number, fields: Fields): number {
    const row = this.count++
    this.ends[row] = (row === 0 ? 0 : this.ends[row - 1]!) + length
    this.parents[row] = parent
    const { numbers } = this
    let at = row * rowLength
    numbers[at++] = fields.index
    numbers[at++] = fields.dataOffset
    numbers[at++] = fields.size
    numbers[at++] = fields.realSize
    numbers[at++] = fields.mode
    numbers[at++] = fields.uid
    numbers[at++] = fields.gid
    numbers[at++] = fields.mtimeSeconds
    numbers[at] = fields.mtimeNanoseconds
    return row
  }

  /** From few on: code that is seen to run before the rest is compiled for speed makes that no false guess. */
  #grow(): void {
    const rows = Math.max(16, 2 * this.ends.length)
    const ends = new Uint32Array(new SharedArrayBuffer(rows * 4))
    const parents = new Int32Array(new SharedArrayBuffer(rows * 4))
    const numbers = new Float64Array(new SharedArrayBuffer(rows * rowLength * 8))
    ends.set(this.ends)
    parents.set(this.parents)
    numbers.set(this.numbers)
    this.ends = ends
    this.parents = parents
    this.numbers = numbers
  }

  /** Makes room for the digests of all rows. */
  expectDigests(state: typeof notWanted | typeof wanted): void {
    this.digests = bytes(this.count * digestSize)
    this.states = bytes(this.count).fill(state)
  }
}

const bytes = (length: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(length))
