import * as zlib from "node:zlib"

type Native = (data: Uint8Array, value?: number) => number

/** Slicing by eight (Kounavis and Berry 2005): table k holds the CRC of a byte followed by k zero bytes. */
const makeTables = (): ReadonlyArray<Int32Array> => {
  const first = new Int32Array(256)
  for (let n = 0; n < 256; n++) {
    let c = n
    for (let k = 0; k < 8; k++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
    first[n] = c
  }
  const tables = [first]
  for (let k = 1; k < 8; k++) {
    const previous = tables[k - 1]!
    tables.push(previous.map((value) => (value >>> 8) ^ first[value & 0xff]!))
  }
  return tables
}

let tables: ReadonlyArray<Int32Array> | undefined

/** `update` in plain JavaScript, for Node before 20.15, whose zlib has no `crc32`. */
export const updateWithTables = (value: number, bytes: Uint8Array, from: number, to: number): number => {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = (tables ??= makeTables()) as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array
  ]
  let c = ~value
  let i = from
  for (; i + 8 <= to; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    c =
      t7[c & 0xff]! ^
      t6[(c >>> 8) & 0xff]! ^
      t5[(c >>> 16) & 0xff]! ^
      t4[c >>> 24]! ^
      t3[bytes[i + 4]!]! ^
      t2[bytes[i + 5]!]! ^
      t1[bytes[i + 6]!]! ^
      t0[bytes[i + 7]!]!
  }
  for (; i < to; i++) c = t0[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8)
  return ~c >>> 0
}

const native = (zlib as { readonly crc32?: Native }).crc32

/** The CRC-32 of gzip (RFC 1952 section 8), unsigned, of bytes whose first part has the CRC `value` (0 at the start). */
export const update: (value: number, bytes: Uint8Array, from: number, to: number) => number =
  native === undefined ? updateWithTables : (value, bytes, from, to) => native(bytes.subarray(from, to), value)

/** Row n: the polynomial x^(8 * 2^n) modulo the CRC's, reflected, which moves a CRC over 2^n zero bytes. */
let powers: ReadonlyArray<number> | undefined

/** The product of two polynomials modulo the CRC's, bit 31 being x^0. */
const multiply = (a: number, b: number): number => {
  let product = 0
  for (let mask = 0x80000000; mask !== 0 && a !== 0; mask >>>= 1) {
    if ((a & mask) !== 0) {
      product ^= b
      a ^= mask
    }
    b = (b & 1) !== 0 ? (b >>> 1) ^ 0xedb88320 : b >>> 1
  }
  return product >>> 0
}

const makePowers = (): ReadonlyArray<number> => {
  // x^8; each is the square of the one before it.
  const all = [0x00800000]
  while (all.length < 53) all.push(multiply(all.at(-1)!, all.at(-1)!))
  return all
}

/** The CRC of two runs of bytes one after the other, from their CRCs and the length of the second. */
export const combine = (first: number, second: number, secondLength: number): number => {
  powers ??= makePowers()
  let shifted = first
  for (let n = 0, left = secondLength; left > 0; n++, left = Math.floor(left / 2)) {
    if (left % 2 === 1) shifted = multiply(powers[n]!, shifted)
  }
  return (shifted ^ second) >>> 0
}
