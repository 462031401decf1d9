import type { ByteString } from "./ByteString.ts"

/** Records lie in pages of 256 KiB, so that growing neither copies nor leaves anything behind. */
const pageBits = 16
const pageWords = 1 << pageBits
const pageMask = pageWords - 1
/** The first page is no longer than small layers need, of which an image can have many. */
const firstPageWords = 1024

// A record's words: the id of the directory, a number of the caller's, marks and the name's length, then the name.
const numberWord = 1
const marksWord = 2
const headWords = 3
const lengthBits = 8
const lengthMask = (1 << lengthBits) - 1
/** Stands where the next record would, when that is on the next page. */
const turned = -1

/** The directory that everything lies in: it has no name and is there from the start. */
export const root = 0

/** Plain data: it crosses between threads, and its buffers need not be copied. */
export interface PathTreeData {
  readonly pages: ReadonlyArray<Int32Array>
  readonly slots: Int32Array
  readonly nodes: number
  readonly end: number
  readonly seed: number
  readonly factor: number
}

// Nobody who makes an archive can know them, so nobody can make names that collide.
const seed = Math.floor(Math.random() * 0x7fffffff)
const factor = (Math.floor(Math.random() * 0x3fffffff) << 2) | 1

const empty = (): PathTreeData => ({
  pages: [new Int32Array(firstPageWords)],
  slots: new Int32Array(1024),
  nodes: 0,
  end: headWords,
  seed,
  factor
})

/**
 * Paths by their components, in typed arrays: a million take some 40 MB, a quarter of what sets of strings take, and they
 * go to another thread for nothing.
 *
 * A record is a name in a directory. `append` adds one without a look at those that are there; `settle` answers which
 * record is the node of that name, the first one that was settled. Directories are always nodes, and their ids lower than
 * those of what lies in them. Ids are counts of words.
 */
export class PathTree {
  readonly #pages: Array<Int32Array>
  readonly #bytes: Array<Buffer>
  /** Ids of nodes by the hash of directory and name, 0 where there is none. */
  #slots: Int32Array
  #nodes: number
  /** Nodes, and what may become nodes. */
  #records: number
  #end: number
  readonly #seed: number
  readonly #factor: number

  constructor(data: PathTreeData = empty()) {
    this.#pages = [...data.pages]
    this.#bytes = this.#pages.map((page) => Buffer.from(page.buffer))
    this.#slots = data.slots
    this.#nodes = data.nodes
    this.#records = data.nodes
    this.#end = data.end
    this.#seed = data.seed
    this.#factor = data.factor
  }

  /** What another tree can be made of, in place of this one. */
  data(): PathTreeData {
    const last = this.#pages.length - 1
    // With a word for `turned`, should it grow.
    const pages = [...this.#pages.slice(0, last), this.#pages[last]!.slice(0, (this.#end & pageMask) + 1)]
    return {
      pages,
      slots: this.#slots,
      nodes: this.#nodes,
      end: this.#end,
      seed: this.#seed,
      factor: this.#factor
    }
  }

  /** Bytes that it takes, once its records are settled. */
  get size(): number {
    return (this.#end + Math.max(this.#slots.length, this.#records * 2)) * 4
  }

  /** Adds a record of `name[start, end)`, at most 255 bytes, in the directory that is the node `directory`. */
  append(directory: number, name: ByteString, start: number, end: number, marks = 0, number = 0): number {
    const length = end - start
    if (length > lengthMask) throw new Error(`a name of ${length} bytes is longer than any file system can hold`)
    const words = headWords + ((length + 3) >> 2)
    if ((this.#end & pageMask) + words >= this.#pages[this.#end >>> pageBits]!.length) this.#turn()
    const id = this.#end
    const page = this.#pages[id >>> pageBits]!
    const at = id & pageMask
    page[at] = directory
    page[at + numberWord] = number
    page[at + marksWord] = (marks << lengthBits) | length
    const bytes = this.#bytes[id >>> pageBits]!
    for (let i = start, to = (at + headWords) << 2; i < end; i++, to++) bytes[to] = name.charCodeAt(i)
    this.#end = id + words
    this.#records++
    return id
  }

  #turn(): void {
    this.#pages[this.#end >>> pageBits]![this.#end & pageMask] = turned
    this.#end = this.#pages.length << pageBits
    const page = new Int32Array(pageWords)
    this.#pages.push(page)
    this.#bytes.push(Buffer.from(page.buffer))
  }

  /** The node of the record's name: the record itself when there was none. */
  settle(id: number): number {
    const slot = this.#slotOf(this.directory(id), this, id)
    const node = this.#slots[slot]!
    if (node !== 0) return node
    this.#slots[slot] = id
    if (++this.#nodes * 2 > this.#slots.length) this.#resize(this.#slots.length * 2)
    return id
  }

  /** Makes room for settling all records there are. */
  reserve(): void {
    let length = this.#slots.length
    while (length < this.#records * 2) length *= 2
    if (length > this.#slots.length) this.#resize(length)
  }

  #resize(length: number): void {
    const old = this.#slots
    this.#slots = new Int32Array(length)
    for (const id of old) if (id !== 0) this.#slots[this.#slotOf(this.directory(id), this, id)] = id
  }

  /** The node of a path without empty components, made with all those above it where there is none. */
  reach(path: ByteString): number {
    let node = root
    for (let start = 0; start < path.length; ) {
      const slash = path.indexOf("/", start)
      const end = slash < 0 ? path.length : slash
      const id = this.append(node, path, start, end)
      node = this.settle(id)
      if (node !== id) {
        this.#end = id
        this.#records--
      }
      start = end + 1
    }
    return node
  }

  /** The node in `directory` that has the name of a record of any tree; undefined when there is none. */
  child(directory: number, tree: PathTree, record: number): number | undefined {
    const node = this.#slots[this.#slotOf(directory, tree, record)]!
    return node === 0 ? undefined : node
  }

  /** The slot of the node in `directory` with the name of `record` in `tree`, or the free one where it would be. */
  #slotOf(directory: number, tree: PathTree, record: number): number {
    const bytes = tree.#bytes[record >>> pageBits]!
    const start = ((record & pageMask) + headWords) << 2
    const length = tree.#word(record, marksWord) & lengthMask
    let hash = Math.imul(this.#seed ^ directory, this.#factor)
    for (let i = start, end = start + length; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, this.#factor)
    // The lower bits depend on few of the name's.
    hash ^= hash >>> 15
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = (hash ^ (hash >>> 7)) & mask
    for (let id = slots[slot]!; id !== 0; slot = (slot + 1) & mask, id = slots[slot]!) {
      if (this.directory(id) === directory && this.#isNamed(id, bytes, start, length)) break
    }
    return slot
  }

  #isNamed(id: number, bytes: Buffer, start: number, length: number): boolean {
    if ((this.#word(id, marksWord) & lengthMask) !== length) return false
    const own = this.#bytes[id >>> pageBits]!
    const from = ((id & pageMask) + headWords) << 2
    for (let i = 0; i < length; i++) if (own[from + i] !== bytes[start + i]) return false
    return true
  }

  #word(id: number, word: number): number {
    return this.#pages[id >>> pageBits]![(id & pageMask) + word]!
  }

  /** Of all records in the order in which they came, but for the root: `first`, then `next` while below `end`. */
  get first(): number {
    return this.next(root)
  }

  get end(): number {
    return this.#end
  }

  next(id: number): number {
    const next = id + headWords + (((this.#word(id, marksWord) & lengthMask) + 3) >> 2)
    return next < this.#end && this.#word(next, 0) === turned ? ((next >>> pageBits) + 1) << pageBits : next
  }

  /** The node that the record lies in; the root's is itself. */
  directory(id: number): number {
    return this.#word(id, 0)
  }

  /** The number that the record was given, of 32 bits. */
  number(id: number): number {
    return this.#word(id, numberWord) >>> 0
  }

  /** Sets the bits of `marks`, of which there are 24. */
  mark(id: number, marks: number): void {
    this.#pages[id >>> pageBits]![(id & pageMask) + marksWord]! |= marks << lengthBits
  }

  marks(id: number): number {
    return this.#word(id, marksWord) >>> lengthBits
  }

  has(id: number, mark: number): boolean {
    return (this.marks(id) & mark) !== 0
  }

  pathOf(id: number): ByteString {
    let path = this.#nameOf(id)
    for (let node = this.directory(id); node !== root; node = this.directory(node))
      path = `${this.#nameOf(node)}/${path}`
    return path
  }

  #nameOf(id: number): ByteString {
    const start = ((id & pageMask) + headWords) << 2
    return this.#bytes[id >>> pageBits]!.toString("latin1", start, start + (this.#word(id, marksWord) & lengthMask))
  }
}
