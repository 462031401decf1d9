/**
 * A deflate encoder (RFC 1951) in AssemblyScript. `npm run build:deflate` compiles it into `src/content/DeflateModule.ts`.
 *
 * Why not zlib: the same image has to give the same bytes everywhere, and the zlib in Node is Chromium's, whose hash
 * function, and with it its output, depends on the CPU and on the version. This one uses integers only, and no state
 * from one call to the next. It is also twice as fast as zlib for the same size.
 *
 * One call compresses one segment of a stream. The bytes before the segment may be referred to (so that cutting a
 * stream into segments costs little) but are not needed to compress others: segments can be compressed in any order.
 * Each ends at a byte boundary, so that their outputs can be concatenated.
 *
 * Memory is laid out by hand; pointers are numbers. Everything is `u32` unless stated otherwise.
 */

/** How far back a match may reach. */
const WINDOW: u32 = 32768
const MIN_HASHED: u32 = 4
const MAX_MATCH: u32 = 258
/** Positions this close to the end are literals, so that hashing and comparing may read a few bytes ahead. */
const TAIL: u32 = 8

// Static tables, filled by `init`.
/** By length 3..258: its code - 257, one byte each. */
const LENGTH_SYMBOL: usize = 0x2000
/** By distance - 1 for distances up to 256, then by (distance - 1) / 128: its code, one byte each. */
const DISTANCE_SYMBOL: usize = 0x2200
/** By code: its smallest length or distance, and above that 16 bits further up the number of extra bits. */
const LENGTH_INFO: usize = 0x2400
const DISTANCE_INFO: usize = 0x2500
/** The order of code length codes in a block header, one byte each. */
const CODE_LENGTH_ORDER = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])

// Of the present block.
const LITERAL_COUNTS: usize = 0x3000
const DISTANCE_COUNTS: usize = 0x3480
const CODE_LENGTH_COUNTS: usize = 0x3500
/** Code lengths, one byte each. */
const LITERAL_LENGTHS: usize = 0x3600
const DISTANCE_LENGTHS: usize = 0x3720
const CODE_LENGTH_LENGTHS: usize = 0x3740
/** Codes with their bits reversed, and above that 16 bits further up their lengths. */
const LITERAL_CODES: usize = 0x3800
const DISTANCE_CODES: usize = 0x3c80
const CODE_LENGTH_CODES: usize = 0x3d00
/** The run-length coded code lengths: symbol, and 5 bits further up the value of its extra bits; two bytes each. */
const RUNS: usize = 0x3e00
/** How many tokens of each of the ten kinds there were up to the last look, and since. */
const OLD_KINDS: usize = 0x4100
const NEW_KINDS: usize = 0x4128

// Scratch space for building codes.
const SORTED: usize = 0x4200
const TREE: usize = 0x4800
const LEVELS: usize = 0x4e00
const NEXT_CODES: usize = 0x4f00

/**
 * Level 1: 2^15 buckets of the last two positions. Other levels: by hash of four bytes, the last position.
 */
const HEADS: usize = 0x10000
const HEADS_END: usize = 0x50000
/** By position modulo the window: the position before it with the same hash of four bytes. */
const CHAIN: usize = 0x50000
/** By hash of three bytes: the last position. */
const HEADS3: usize = 0x70000
const HEADS3_END: usize = 0x80000
/** A literal, or a length and 9 bits further up a distance. */
const TOKENS: usize = 0x80000
const TOKENS_FULL: usize = TOKENS + (50000 << 2)

/** The window before the segment, then the segment. */
export const INPUT: usize = 0x100000
/** 1 MiB. */
export const MAX_SEGMENT: u32 = 0x100000
/** What `deflate` wrote; no block is larger than its content stored would be. */
export const OUTPUT: usize = 0x210000

// The level's parameters.
let greedy: bool = false
/** How many candidates are looked at for a match. */
let maxTries: i32 = 0
/** A match of this length ends the search. */
let goodEnough: u32 = 0
/** A match of this length is taken without looking whether the next position has a better one. */
let lazyBelow: u32 = 0
/** Whether two positions further on are looked at. */
let twoAhead: bool = false
/** Whether matches of three bytes are looked for. */
let hashThree: bool = false

// The output: the bits that do not fill a byte yet, and where the next byte goes.
let bits: u64 = 0
let bitCount: u64 = 0
let out: usize = 0

/** Where the next token goes. */
let token: usize = 0
let oldTotal: u32 = 0
let newTotal: u32 = 0

/** Where `search` found its match. */
let found: u32 = 0

let runCount: i32 = 0

export function init(): void {
  let length = 3
  for (let code = 0; code < 28; code++) {
    const extra = code < 8 ? 0 : (code >> 2) - 1
    store<u32>(LENGTH_INFO + (code << 2), length | (extra << 16))
    for (let k = 0; k < 1 << extra && length <= 258; k++) store<u8>(LENGTH_SYMBOL + length++, code)
  }
  // 258 has a code of its own, beside its place at the end of the one before.
  store<u8>(LENGTH_SYMBOL + 258, 28)
  store<u32>(LENGTH_INFO + (28 << 2), 258)
  let distance = 1
  for (let code = 0; code < 30; code++) {
    const extra = code < 2 ? 0 : (code >> 1) - 1
    store<u32>(DISTANCE_INFO + (code << 2), distance | (extra << 16))
    for (const end = distance + (1 << extra); distance < end; distance++) {
      store<u8>(DISTANCE_SYMBOL + (distance <= 256 ? distance - 1 : 256 + ((distance - 1) >> 7)), code)
    }
  }
}

/** Each level gives less than those of zlib and of Go's compressors at the same number, and takes no longer. */
function setLevel(level: i32): void {
  greedy = level <= 1
  twoAhead = level >= 9
  if (level <= 2) setSearch(2, 16, 8)
  else if (level == 3) setSearch(3, 20, 10)
  else if (level == 4) setSearch(4, 24, 12)
  else if (level == 5) setSearch(6, 32, 16)
  else if (level == 6) setSearch(8, 32, 16)
  else if (level == 7) setSearch(24, 96, 48)
  else if (level == 8) setSearch(60, 130, 130)
  else setSearch(300, 258, 258)
}

/**
 * Whether a match of three bytes can be shorter than its literals: with few bytes that occur, as in text or hexadecimal
 * digits, their codes are so short that it is not. The beginning of the segment stands for all of it.
 */
function hasManyBytes(start: u32, end: u32): bool {
  memory.fill(LITERAL_COUNTS, 0, 256 << 2)
  const stop = min(end, start + 4096)
  for (let i = start; i < stop; i++) store<u32>(LITERAL_COUNTS + (<usize>load<u8>(INPUT + i) << 2), 1)
  let used: u32 = 0
  for (let byte: usize = 0; byte < 256; byte++) used += load<u32>(LITERAL_COUNTS + (byte << 2))
  return used >= 80
}

function setSearch(tries: i32, nice: u32, lazy: u32): void {
  maxTries = tries
  goodEnough = nice
  lazyBelow = lazy
}

/**
 * Compresses the segment `INPUT[start, end)` with `INPUT[0, start)` as what precedes it (at most the window); `final`
 * is 1 for the last segment of a stream. Returns how many bytes are at `OUTPUT`.
 */
export function deflate(level: i32, start: u32, end: u32, final: u32): u32 {
  setLevel(level)
  hashThree = level >= 7 && hasManyBytes(start, end)
  out = OUTPUT
  bits = 0
  bitCount = 0
  memory.fill(HEADS, 0xff, HEADS_END - HEADS)
  if (hashThree) memory.fill(HEADS3, 0xff, HEADS3_END - HEADS3)
  for (let i: u32 = 0; i + MIN_HASHED <= start; i++) {
    if (greedy) insertInBucket(i)
    else insertInChain(i)
  }
  for (let at = start; at < end; ) {
    beginBlock()
    // The last position that may be hashed; negative in a tiny segment.
    const last = <i32>end - <i32>TAIL
    let next = greedy ? parseGreedy(at, end, last) : parseLazy(at, end, last)
    if (<i32>next > last) while (next < end) literal(load<u8>(INPUT + next++))
    writeBlock(at, next, next == end ? final : 0)
    at = next
  }
  if (final == 0) {
    // An empty stored block, as with Z_SYNC_FLUSH.
    put(0, 3)
    align()
    store<u32>(out, 0xffff0000)
    out += 4
  } else {
    // An empty block with fixed codes.
    if (start == end) put(3, 10)
    align()
  }
  return <u32>(out - OUTPUT)
}

// Parsing: bytes to tokens

@inline
function increment(at: usize): void {
  store<u32>(at, load<u32>(at) + 1)
}

@inline
function distanceSymbol(distance: u32): u32 {
  return load<u8>(DISTANCE_SYMBOL + (distance <= 256 ? distance - 1 : 256 + ((distance - 1) >> 7)))
}

@inline
function hashFour(i: u32): u32 {
  return load<u32>(INPUT + i) * 0x9e3779b1
}

@inline
function hashThreeHead(i: u32): usize {
  return HEADS3 + ((((load<u32>(INPUT + i) & 0xffffff) * 0x9e3779b1) >>> 18) << 2)
}

/** How many of at most `limit` bytes are the same at `INPUT + a` and `INPUT + b`. */
@inline
function sameBytes(a: u32, b: u32, limit: u32): u32 {
  let k: u32 = 0
  while (k + 8 <= limit) {
    const difference = load<u64>(INPUT + a + k) ^ load<u64>(INPUT + b + k)
    if (difference != 0) return k + <u32>(ctz(difference) >> 3)
    k += 8
  }
  while (k < limit && load<u8>(INPUT + a + k) == load<u8>(INPUT + b + k)) k++
  return k
}

function beginBlock(): void {
  memory.fill(LITERAL_COUNTS, 0, 288 << 2)
  memory.fill(DISTANCE_COUNTS, 0, 30 << 2)
  memory.fill(OLD_KINDS, 0, 80)
  oldTotal = 0
  newTotal = 0
  token = TOKENS
}

@inline
function literal(byte: u32): void {
  store<u32>(token, byte)
  token += 4
  increment(LITERAL_COUNTS + (byte << 2))
  increment(NEW_KINDS + ((((byte >> 5) & 6) | (byte & 1)) << 2))
  newTotal++
}

@inline
function match(length: u32, distance: u32): void {
  store<u32>(token, (distance << 9) | length)
  token += 4
  increment(LITERAL_COUNTS + ((257 + <u32>load<u8>(LENGTH_SYMBOL + length)) << 2))
  increment(DISTANCE_COUNTS + (distanceSymbol(distance) << 2))
  increment(NEW_KINDS + ((length >= 9 ? 9 : 8) << 2))
  newTotal++
}

/**
 * Whether the block should end at `i`: it is full, or what came last is of another kind than what came before, so that
 * codes of its own will pay. As in libdeflate, literals are told apart by three of their bits and matches by length,
 * which costs little and finds the borders between text, code and tables that matter.
 */
@inline
function blockEnds(start: u32, i: u32, end: u32): bool {
  if (token >= TOKENS_FULL) return true
  if (newTotal < 512) return false
  const length = i - start
  if (length >= 300000) return true
  if (length < 5000 || end - i < 5000) return false
  return kindsDiffer(length)
}

function kindsDiffer(blockLength: u32): bool {
  if (oldTotal > 0) {
    let difference: u32 = 0
    for (let kind: usize = 0; kind < 40; kind += 4) {
      const expected = load<u32>(OLD_KINDS + kind) * newTotal
      const actual = load<u32>(NEW_KINDS + kind) * oldTotal
      difference += expected > actual ? expected - actual : actual - expected
    }
    const cutoff = ((newTotal * 200) >> 9) * oldTotal
    if (difference + (blockLength >> 12) * oldTotal >= cutoff) return true
  }
  for (let kind: usize = 0; kind < 40; kind += 4) {
    store<u32>(OLD_KINDS + kind, load<u32>(OLD_KINDS + kind) + load<u32>(NEW_KINDS + kind))
    store<u32>(NEW_KINDS + kind, 0)
  }
  oldTotal += newTotal
  newTotal = 0
  return false
}

/**
 * After a literal, `misses` in a row: where nothing matches (content that is compressed already) most positions are not
 * even tried. Returns the next position.
 */
@inline
function skip(i: u32, last: i32, misses: u32): u32 {
  if (misses <= 256) return i
  for (let left = min<u32>((misses - 256) >> 6, 15); left > 0 && <i32>i < last && token < TOKENS_FULL; left--) {
    literal(load<u8>(INPUT + i++))
  }
  return i
}

/** A bucket's entries hold 21 bits of position, and 11 further bits of the hash to tell most false candidates apart. */
@inline
function bucketOf(hash: u32): usize {
  return HEADS + ((hash >>> 17) << 3)
}

@inline
function tagOf(hash: u32): u32 {
  return (hash << 15) & 0xffe00000
}

@inline
function insertInBucket(i: u32): void {
  const hash = hashFour(i)
  const bucket = bucketOf(hash)
  store<u32>(bucket + 4, load<u32>(bucket))
  store<u32>(bucket, i | tagOf(hash))
}

/** Takes the longer of the two candidates for a match wherever there is one. Returns where the block ends. */
function parseGreedy(start: u32, end: u32, last: i32): u32 {
  let i = start
  let misses: u32 = 0
  while (<i32>i <= last && !blockEnds(start, i, end)) {
    const hash = hashFour(i)
    const bucket = bucketOf(hash)
    const tag = tagOf(hash)
    const first = load<u32>(bucket)
    const second = load<u32>(bucket + 4)
    store<u32>(bucket + 4, first)
    store<u32>(bucket, i | tag)
    const limit = min(end - i, MAX_MATCH)
    let length: u32 = 0
    let at: u32 = 0
    if ((first ^ tag) >>> 21 == 0) {
      at = first & 0x1fffff
      if (i - at <= WINDOW) length = sameBytes(i, at, limit)
    }
    if ((second ^ tag) >>> 21 == 0 && length < limit) {
      const other = second & 0x1fffff
      if (i - other <= WINDOW) {
        const otherLength = sameBytes(i, other, limit)
        if (otherLength > length) {
          length = otherLength
          at = other
        }
      }
    }
    if (length < MIN_HASHED) {
      literal(load<u8>(INPUT + i))
      i = skip(i + 1, last, ++misses)
    } else {
      misses = 0
      match(length, i - at)
      const next = i + length
      const stop = min(<i32>next, last + 1)
      for (let k = i + 1; <i32>k < stop; k++) insertInBucket(k)
      i = next
    }
  }
  return i
}

@inline
function chainHead(i: u32): usize {
  return HEADS + ((hashFour(i) >>> 16) << 2)
}

@inline
function chainNext(i: u32): usize {
  return CHAIN + ((i & (WINDOW - 1)) << 2)
}

@inline
function insertInChain(i: u32): void {
  const head = chainHead(i)
  store<u32>(chainNext(i), load<u32>(head))
  store<u32>(head, i)
  if (hashThree) store<u32>(hashThreeHead(i), i)
}

/**
 * Inserts `i` and returns the length of the longest match for it, with its position in `found`; `length` if there is
 * none longer than that. Looks at `tries` candidates, nearest first.
 */
function search(i: u32, length: u32, limit: u32, tries: i32): u32 {
  const head = chainHead(i)
  let at = load<u32>(head)
  store<u32>(chainNext(i), at)
  store<u32>(head, i)
  const word = load<u32>(INPUT + i)
  if (hashThree) {
    const head3 = hashThreeHead(i)
    const at3 = load<u32>(head3)
    store<u32>(head3, i)
    // Three bytes from further away take more bits than three literals. The unused head, -1, is greater than any i.
    if (length < 3 && at3 < i && i - at3 <= 4096 && ((load<u32>(INPUT + at3) ^ word) & 0xffffff) == 0) {
      length = 3
      found = at3
    }
  }
  // What cannot be longer than the match so far differs in its first four bytes or in those that end one beyond it.
  let offset = length < MIN_HASHED ? 0 : length - 3
  let end = load<u32>(INPUT + i + offset)
  // An unused head, -1, is less than this; a chain leads to ever smaller positions.
  const oldest = max<i32>(<i32>i - <i32>WINDOW, 0)
  for (; <i32>at >= oldest; at = load<u32>(chainNext(at))) {
    if (load<u32>(INPUT + at + offset) == end && load<u32>(INPUT + at) == word) {
      const candidate: u32 = 4 + sameBytes(i + 4, at + 4, limit - 4)
      if (candidate > length) {
        length = candidate
        found = at
        if (length >= goodEnough || length >= limit) break
        offset = length - 3
        end = load<u32>(INPUT + i + offset)
      }
    }
    if (--tries <= 0) break
  }
  return length
}

/** How many bits a match at the distance `a` takes more than one at `b`, about. */
@inline
function extraBits(a: u32, b: u32): i32 {
  return clz(b) - clz(a)
}

/** Takes a match unless one of the next positions has a better one. Returns where the block ends. */
function parseLazy(start: u32, end: u32, last: i32): u32 {
  let i = start
  let misses: u32 = 0
  while (<i32>i <= last && !blockEnds(start, i, end)) {
    let length = search(i, 0, min(end - i, MAX_MATCH), maxTries)
    if (length < 3) {
      literal(load<u8>(INPUT + i))
      i = skip(i + 1, last, ++misses)
      continue
    }
    misses = 0
    let at = found
    /** Up to where positions have been inserted. */
    let inserted = i + 1
    while (length < lazyBelow && <i32>i < last && token < TOKENS_FULL) {
      let next = search(i + 1, length - 1, min(end - i - 1, MAX_MATCH), maxTries >> 1)
      inserted = i + 2
      // A byte of length is worth about four bits; the literal in front of the later match is counted with it.
      if (next >= length && 4 * <i32>(next - length) + extraBits(i - at, i + 1 - found) > 2) {
        literal(load<u8>(INPUT + i))
        i++
        length = next
        at = found
        continue
      }
      if (!twoAhead || <i32>i + 1 >= last) break
      next = search(i + 2, length - 1, min(end - i - 2, MAX_MATCH), maxTries >> 2)
      inserted = i + 3
      if (next < length || 4 * <i32>(next - length) + extraBits(i - at, i + 2 - found) <= 6) break
      literal(load<u8>(INPUT + i))
      literal(load<u8>(INPUT + i + 1))
      i += 2
      length = next
      at = found
    }
    match(length, i - at)
    const next = i + length
    const stop = min(<i32>next, last + 1)
    for (let k = inserted; <i32>k < stop; k++) insertInChain(k)
    i = next
  }
  return i
}

// Codes

/** Sorts the first `size` numbers at SORTED: Shell's sort, which is quick enough for 286. */
function sort(size: i32): void {
  let gap = 1
  while (gap < size / 3) gap = gap * 3 + 1
  for (; gap > 0; gap /= 3) {
    for (let i = gap; i < size; i++) {
      const key = load<u32>(SORTED + (i << 2))
      let j = i
      for (; j >= gap; j -= gap) {
        const other = load<u32>(SORTED + ((j - gap) << 2))
        if (other <= key) break
        store<u32>(SORTED + (j << 2), other)
      }
      store<u32>(SORTED + (j << 2), key)
    }
  }
}

@inline
function node(i: i32): u32 {
  return load<u32>(TREE + (i << 2))
}

@inline
function setNode(i: i32, value: u32): void {
  store<u32>(TREE + (i << 2), value)
}

/**
 * Lengths of at most `maxBits` for an optimal prefix code of the symbols that occur, by Moffat and Katajainen ("In-place
 * calculation of minimum-redundancy codes", 1995). Too long ones are shortened by lengthening the longest shorter ones.
 */
function buildLengths(counts: usize, size: i32, maxBits: i32, lengths: usize): void {
  let used = 0
  for (let symbol = 0; symbol < size; symbol++) {
    store<u8>(lengths + symbol, 0)
    const occurs = load<u32>(counts + (symbol << 2))
    if (occurs > 0) store<u32>(SORTED + (used++ << 2), (occurs << 9) | symbol)
  }
  if (used == 0) return
  if (used == 1) {
    store<u8>(lengths + (load<u32>(SORTED) & 511), 1)
    return
  }
  sort(used)

  // Pairs of the two rarest: leaves are weights, inner nodes become weights and then, once paired, their parents.
  for (let i = 0; i < used; i++) setNode(i, load<u32>(SORTED + (i << 2)) >>> 9)
  let root = 0
  let leaf = 0
  for (let next = 0; next < used - 1; next++) {
    let weight: u32 = 0
    for (let side = 0; side < 2; side++) {
      if (leaf >= used || (root < next && node(root) < node(leaf))) {
        weight += node(root)
        setNode(root++, next)
      } else {
        weight += node(leaf++)
      }
    }
    setNode(next, weight)
  }
  // Parents to depths, then how many leaves there are at each depth.
  setNode(used - 2, 0)
  for (let i = used - 3; i >= 0; i--) setNode(i, node(node(i)) + 1)
  memory.fill(LEVELS, 0, 64 << 2)
  let inner = used - 2
  let places = 1
  for (let depth: u32 = 0; places > 0; depth++) {
    let inners = 0
    for (; inner >= 0 && node(inner) == depth; inner--) inners++
    // Weights sum up to less than 2^20, so that no code is longer than 30 bits.
    store<u32>(LEVELS + (depth << 2), places - inners)
    places = 2 * inners
  }

  let total = 0
  for (let bits = 63; bits > maxBits; bits--) {
    store<u32>(LEVELS + (maxBits << 2), load<u32>(LEVELS + (maxBits << 2)) + load<u32>(LEVELS + (bits << 2)))
  }
  for (let bits = maxBits; bits > 0; bits--) total += load<u32>(LEVELS + (bits << 2)) << (maxBits - bits)
  for (; total > 1 << maxBits; total--) {
    let bits = maxBits - 1
    while (load<u32>(LEVELS + (bits << 2)) == 0) bits--
    store<u32>(LEVELS + (bits << 2), load<u32>(LEVELS + (bits << 2)) - 1)
    store<u32>(LEVELS + ((bits + 1) << 2), load<u32>(LEVELS + ((bits + 1) << 2)) + 2)
    store<u32>(LEVELS + (maxBits << 2), load<u32>(LEVELS + (maxBits << 2)) - 1)
  }
  let rank = 0
  for (let bits = maxBits; bits > 0; bits--) {
    for (let left = load<u32>(LEVELS + (bits << 2)); left > 0; left--) {
      store<u8>(lengths + (load<u32>(SORTED + (rank++ << 2)) & 511), bits)
    }
  }
}

/** RFC 1951 section 3.2.2, with the bits in the order in which they are written. */
function buildCodes(lengths: usize, size: i32, codes: usize): void {
  memory.fill(LEVELS, 0, 16 << 2)
  for (let symbol = 0; symbol < size; symbol++) increment(LEVELS + (<usize>load<u8>(lengths + symbol) << 2))
  store<u32>(LEVELS, 0)
  let code: u32 = 0
  for (let bits = 1; bits <= 15; bits++) {
    code = (code + load<u32>(LEVELS + ((bits - 1) << 2))) << 1
    store<u32>(NEXT_CODES + (bits << 2), code)
  }
  for (let symbol = 0; symbol < size; symbol++) {
    const length = <u32>load<u8>(lengths + symbol)
    let next = load<u32>(NEXT_CODES + (length << 2))
    store<u32>(NEXT_CODES + (length << 2), next + 1)
    let reversed: u32 = 0
    for (let i: u32 = 0; i < length; i++) {
      reversed = (reversed << 1) | (next & 1)
      next >>>= 1
    }
    store<u32>(codes + (symbol << 2), reversed | (length << 16))
  }
}

// Writing: tokens to bits

function put(value: u32, size: u32): void {
  bits |= (<u64>value) << bitCount
  bitCount += size
  for (; bitCount >= 8; bitCount -= 8) {
    store<u8>(out++, <u8>bits)
    bits >>= 8
  }
}

function align(): void {
  if (bitCount > 0) put(0, 8 - <u32>bitCount)
}

@inline
function putCode(codes: usize, symbol: u32): void {
  const code = load<u32>(codes + (symbol << 2))
  put(code & 0xffff, code >>> 16)
}

@inline
function runBits(symbol: u32): u32 {
  return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0
}

function run(symbol: u32, extra: u32): void {
  store<u16>(RUNS + (runCount++ << 1), <u16>(symbol | (extra << 5)))
  increment(CODE_LENGTH_COUNTS + (symbol << 2))
}

@inline
function codeLength(i: i32, literals: i32): u32 {
  return i < literals ? load<u8>(LITERAL_LENGTHS + i) : load<u8>(DISTANCE_LENGTHS + i - literals)
}

/** RFC 1951 section 3.2.7: the code lengths of both codes, as one sequence. */
function buildRuns(literals: i32, distances: i32): void {
  memory.fill(CODE_LENGTH_COUNTS, 0, 19 << 2)
  runCount = 0
  const total = literals + distances
  for (let i = 0; i < total; ) {
    const length = codeLength(i, literals)
    let times = 1
    while (i + times < total && codeLength(i + times, literals) == length) times++
    i += times
    if (length == 0) {
      while (times >= 11) {
        const part = min(times, 138)
        run(18, part - 11)
        times -= part
      }
      if (times >= 3) {
        run(17, times - 3)
        times = 0
      }
    } else {
      run(length, 0)
      times--
      while (times >= 3) {
        const part = min(times, 6)
        run(16, part - 3)
        times -= part
      }
    }
    for (; times > 0; times--) run(length, 0)
  }
}

@inline
function fixedLength(symbol: i32): u32 {
  return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8
}

/** Writes the block of the tokens for `INPUT[start, end)` in whichever way is shortest. */
function writeBlock(start: u32, end: u32, final: u32): void {
  store<u32>(LITERAL_COUNTS + (256 << 2), 1)
  buildLengths(LITERAL_COUNTS, 286, 15, LITERAL_LENGTHS)
  buildLengths(DISTANCE_COUNTS, 30, 15, DISTANCE_LENGTHS)
  let literals = 286
  while (literals > 257 && load<u8>(LITERAL_LENGTHS + literals - 1) == 0) literals--
  let distances = 30
  while (distances > 1 && load<u8>(DISTANCE_LENGTHS + distances - 1) == 0) distances--
  buildRuns(literals, distances)
  buildLengths(CODE_LENGTH_COUNTS, 19, 7, CODE_LENGTH_LENGTHS)
  let orders = 19
  while (orders > 4 && load<u8>(CODE_LENGTH_LENGTHS + load<u8>(CODE_LENGTH_ORDER + orders - 1)) == 0) orders--

  let dynamicSize: u32 = 17 + 3 * orders
  let fixedSize: u32 = 3
  for (let symbol = 0; symbol < 19; symbol++) {
    const size = <u32>load<u8>(CODE_LENGTH_LENGTHS + symbol) + runBits(symbol)
    dynamicSize += load<u32>(CODE_LENGTH_COUNTS + (symbol << 2)) * size
  }
  for (let symbol = 0; symbol < 286; symbol++) {
    const occurs = load<u32>(LITERAL_COUNTS + (symbol << 2))
    const extra: u32 = symbol > 256 ? load<u32>(LENGTH_INFO + ((symbol - 257) << 2)) >>> 16 : 0
    dynamicSize += occurs * (<u32>load<u8>(LITERAL_LENGTHS + symbol) + extra)
    fixedSize += occurs * (fixedLength(symbol) + extra)
  }
  for (let symbol = 0; symbol < 30; symbol++) {
    const occurs = load<u32>(DISTANCE_COUNTS + (symbol << 2))
    const extra = load<u32>(DISTANCE_INFO + (symbol << 2)) >>> 16
    dynamicSize += occurs * (<u32>load<u8>(DISTANCE_LENGTHS + symbol) + extra)
    fixedSize += occurs * (5 + extra)
  }
  const size = end - start
  const storedSize: u32 = 8 * size + 40 * ((size + 65534) / 65535) + 7

  if (storedSize <= dynamicSize && storedSize <= fixedSize) {
    writeStored(start, end, final)
    return
  }
  if (fixedSize <= dynamicSize) {
    put(2 | final, 3)
    for (let symbol = 0; symbol < 288; symbol++) store<u8>(LITERAL_LENGTHS + symbol, <u8>fixedLength(symbol))
    for (let symbol = 0; symbol < 30; symbol++) store<u8>(DISTANCE_LENGTHS + symbol, 5)
    buildCodes(LITERAL_LENGTHS, 288, LITERAL_CODES)
  } else {
    put(4 | final, 3)
    put(literals - 257, 5)
    put(distances - 1, 5)
    put(orders - 4, 4)
    for (let i = 0; i < orders; i++) put(load<u8>(CODE_LENGTH_LENGTHS + load<u8>(CODE_LENGTH_ORDER + i)), 3)
    buildCodes(CODE_LENGTH_LENGTHS, 19, CODE_LENGTH_CODES)
    for (let i = 0; i < runCount; i++) {
      const entry = <u32>load<u16>(RUNS + (i << 1))
      putCode(CODE_LENGTH_CODES, entry & 31)
      put(entry >>> 5, runBits(entry & 31))
    }
    buildCodes(LITERAL_LENGTHS, 286, LITERAL_CODES)
  }
  buildCodes(DISTANCE_LENGTHS, 30, DISTANCE_CODES)
  writeTokens()
  putCode(LITERAL_CODES, 256)
}

function writeStored(start: u32, end: u32, final: u32): void {
  for (let at = start; at < end; ) {
    const size = min<u32>(65535, end - at)
    put(at + size == end ? final : 0, 3)
    align()
    store<u32>(out, size | (~size << 16))
    memory.copy(out + 4, INPUT + at, size)
    out += 4 + size
    at += size
  }
}

function writeTokens(): void {
  let to = out
  let buffer = bits
  let filled = bitCount
  for (let from = TOKENS; from < token; from += 4) {
    const value = load<u32>(from)
    if (value < 256) {
      const code = load<u32>(LITERAL_CODES + (value << 2))
      buffer |= (<u64>(code & 0xffff)) << filled
      filled += code >>> 16
    } else {
      const length = value & 511
      const distance = value >>> 9
      const lengthCode = <u32>load<u8>(LENGTH_SYMBOL + length)
      const code = load<u32>(LITERAL_CODES + ((257 + lengthCode) << 2))
      buffer |= (<u64>(code & 0xffff)) << filled
      filled += code >>> 16
      const lengthInfo = load<u32>(LENGTH_INFO + (lengthCode << 2))
      buffer |= (<u64>(length - (lengthInfo & 0xffff))) << filled
      filled += lengthInfo >>> 16
      const distanceCode = distanceSymbol(distance)
      const second = load<u32>(DISTANCE_CODES + (distanceCode << 2))
      buffer |= (<u64>(second & 0xffff)) << filled
      filled += second >>> 16
      const distanceInfo = load<u32>(DISTANCE_INFO + (distanceCode << 2))
      buffer |= (<u64>(distance - (distanceInfo & 0xffff))) << filled
      filled += distanceInfo >>> 16
    }
    // At most 7 bits were left and 15 + 5 + 15 + 13 came: whole bytes go out at once, by one store that may write more.
    store<u64>(to, buffer)
    const bytes = filled >> 3
    to += <usize>bytes
    buffer >>= bytes << 3
    filled &= 7
  }
  out = to
  bits = buffer
  bitCount = filled
}
