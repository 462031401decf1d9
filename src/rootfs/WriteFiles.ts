/**
 * Writing regular files of a tree from one layer: a pure function over plain data, so that several layers, or slices of
 * one that is stored as it is, can be written by several threads at once.
 */

import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import * as Codec from "../content/Compression.ts"
import type { Job } from "../content/Job.ts"
import { type LayerInput, LayerReadError, stream } from "../content/LayerStream.ts"
import { openForRead } from "../content/OpenFile.ts"
import { TarScanner, type TarVisitor } from "../content/TarScan.ts"
import { count } from "../image/Count.ts"
import { ContentHash, digestOf } from "./ContentHash.ts"
import { childPath } from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import { type Attributes, codeOf, nodePath, Restorer, spaceErrors, type UnrestoredWhat } from "./Restore.ts"

/** What receives the members of a layer. */
export type EntryVisitor = Required<Pick<TarVisitor, "onEntry" | "onBody" | "onEntryEnd">>

/** Plain data: it crosses to a worker. */
export interface WriteTask {
  /** Absolute path in bytes, as a byte string. All directories are there, and nobody else may enter them. */
  readonly root: ByteString
  /** The layer; undefined when its members come from elsewhere. */
  readonly source: LayerInput | undefined
  /** The layer is stored as the tar itself: bodies are read where they are. */
  readonly inPlace: boolean
  /** In the order of the layer's members. */
  readonly names: ReadonlyArray<ByteString>
  /** Directories below the root, "" for the root, and for each name which one it is in. */
  readonly directories: ReadonlyArray<ByteString>
  readonly parents: Uint32Array
  /** Rows of `writeColumns`: member, offset and size of the body, size, mode, uid, gid, mtime seconds and nanoseconds. */
  readonly numbers: Float64Array
  readonly extras: ReadonlyArray<WriteExtra>
  /** 1 for each path whose sha256 is wanted. */
  readonly wanted: Uint8Array
  readonly libc: boolean
}

export interface WriteExtra {
  readonly index: number
  readonly xattrs?: ReadonlyMap<ByteString, ByteString>
  readonly sparse?: ReadonlyArray<readonly [offset: number, length: number]>
}

/** Plain data: it crosses back from a worker. */
export interface WriteResult {
  /** `digestSize` letters for each path: hex. */
  readonly digests: string
  /** 1 for each path whose digest was computed. */
  readonly hashed: Uint8Array<ArrayBuffer>
  readonly unrestored: ReadonlyArray<{
    readonly index: number
    readonly what: UnrestoredWhat
    readonly message: string
  }>
  readonly files: number
  readonly bytes: number
  /** Why writing ended early. `index` is the path concerned, -1 when it is the layer. */
  readonly failure?: {
    readonly reason: "no-space" | "layer-changed" | "layer-read" | "write"
    readonly index: number
    readonly message: string
  }
}

const pathIn = (task: WriteTask, index: number): ByteString => `${task.root}/${pathOf(task, index)}`

/** Below the root. */
export const pathOf = ({ directories, names, parents }: WriteTask, index: number): ByteString =>
  childPath(directories[parents[index]!]!, names[index]!)

export const writeColumns = 9
export const dataSizeColumn = 2
export const digestSize = 64
const noDigest = "-".repeat(digestSize)

/** Refusals of one name; anything else concerns the whole. */
export const nameErrors: ReadonlySet<string> = new Set([
  "ENAMETOOLONG",
  "EINVAL",
  "EILSEQ",
  "EEXIST",
  "ELOOP",
  "EOPNOTSUPP",
  "ENOTSUP"
])

export const nameMessage = (code: string): string =>
  code === "EEXIST" ? "EEXIST: the file system takes it for another name of the tree" : code

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
/** Whatever stands at that name, it is not opened. */
const createOnly = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
const directoryOnly = O_DIRECTORY | O_NOFOLLOW
/** Directories that one thread keeps open. */
const maxOpen = 256

const progressStep = 1024 * 1024
/** Many small bodies, and no more than stays in a core's own cache until they are hashed and written. */
const windowSize = 256 * 1024
let shared: Buffer | undefined

const cutShort = "the layer ends before its body does"

class Failure extends Error {
  readonly reason: NonNullable<WriteResult["failure"]>["reason"]
  readonly index: number

  constructor(reason: NonNullable<WriteResult["failure"]>["reason"], index: number, message: string) {
    super(message)
    this.reason = reason
    this.index = index
  }
}

/**
 * Never throws. Without `feed` the layer is read from `task.source`. A layer in which a member is not what the task says
 * has changed since: that ends the writing.
 */
export const writeFiles = (
  task: WriteTask,
  progress: (bytes: number) => void = () => {},
  feed?: (visitor: EntryVisitor) => void
): WriteResult => {
  const writer = new FileWriter(task, progress)
  try {
    if (feed !== undefined) feed(writer.visitor())
    else if (task.inPlace) readInPlace(task, writer)
    else {
      const scanner = new TarScanner({ ...writer.visitor(), onProblem: () => {} })
      stream(task.source!, (chunk, from, to) => scanner.write(chunk, from, to))
      scanner.end()
    }
    writer.complete()
  } catch (cause) {
    if (cause instanceof Failure) {
      return writer.result({ reason: cause.reason, index: cause.index, message: cause.message })
    }
    return writer.result({
      reason: "layer-read",
      index: -1,
      message:
        cause instanceof LayerReadError
          ? `${cause.message} (${cause.code})`
          : cause instanceof Error
            ? cause.message
            : String(cause)
    })
  } finally {
    writer.dispose()
  }
  return writer.result(undefined)
}

/** Bodies by their offsets, through a window that holds many small ones. */
const readInPlace = (task: WriteTask, writer: FileWriter): void => {
  const { region } = task.source!
  const window = (shared ??= Buffer.allocUnsafeSlow(windowSize))
  const fd = openForRead(region.path)
  let start = 0
  let end = 0
  try {
    for (let index = 0; index < task.names.length; index++) {
      let position = task.numbers[index * writeColumns + 1]!
      let left = task.numbers[index * writeColumns + 2]!
      writer.begin(index)
      // One call to hash and one to write, where a body would lie across the end of the window.
      if (position + left > end && left <= windowSize) end = start
      while (left > 0) {
        if (position < start || position >= end) {
          start = position
          end =
            start +
            fs.readSync(fd, window, 0, Math.max(0, Math.min(windowSize, region.size - start)), region.offset + start)
          if (end === start)
            throw new Failure("layer-changed", index, start >= region.size ? cutShort : "the layer has become shorter")
        }
        const taken = Math.min(left, end - position)
        writer.body(window, position - start, position - start + taken)
        position += taken
        left -= taken
      }
      writer.end()
    }
  } finally {
    fs.closeSync(fd)
  }
}

/** Makes the files of a task, in directories that it keeps open where it can: no walk along a path for each. */
class FileMaker {
  readonly #task: WriteTask
  readonly #calls: Libc.FileCalls | undefined
  readonly #directories = new Map<number, number>()
  /** Whether the last file is one of Node's, which warns of descriptors that it closes and has not opened. */
  #isOfNode = true

  constructor(task: WriteTask, calls: Libc.FileCalls | undefined) {
    this.#task = task
    this.#calls = calls
  }

  /** Open for writing. Throws what the system says. */
  make(index: number, mode: number): number {
    const fd = this.#calls === undefined ? -1 : this.#inDirectory(this.#calls, index, mode)
    this.#isOfNode = fd < 0
    return fd < 0 ? fs.openSync(nodePath(pathIn(this.#task, index)), createOnly, mode) : fd
  }

  /** Throws what the system says: some file systems tell only then that there is no space. */
  close(fd: number): void {
    if (this.#isOfNode) return fs.closeSync(fd)
    const errno = this.#calls!.close(fd)
    if (errno !== 0) throw Object.assign(new Error(Libc.errorName(errno)), { code: Libc.errorName(errno) })
  }

  /** Negative when it has to be tried by its path, which also tells why. */
  #inDirectory(calls: Libc.FileCalls, index: number, mode: number): number {
    const { directories, names, parents, root } = this.#task
    const place = parents[index]!
    let directory = this.#directories.get(place)
    if (directory === undefined) {
      if (this.#directories.size === maxOpen) this.dispose()
      directory = calls.openat(0, `${root}/${directories[place]!}`, directoryOnly)
      if (directory < 0) return directory
      this.#directories.set(place, directory)
    }
    const fd = calls.openat(directory, names[index]!, createOnly, mode)
    // It may be that too many files are open.
    if (fd < 0) this.dispose()
    return fd
  }

  /** No directory stays open. */
  dispose(): void {
    for (const directory of this.#directories.values()) this.#calls!.close(directory)
    this.#directories.clear()
  }
}

/** Writes the files of a task one after the other. */
class FileWriter {
  readonly #task: WriteTask
  readonly #progress: (bytes: number) => void
  readonly #restorer: Restorer
  readonly #maker: FileMaker
  readonly #extras: ReadonlyMap<number, WriteExtra>
  readonly #digests: Array<string>
  readonly #hashed: Uint8Array<ArrayBuffer>
  readonly #unrestored: Array<WriteResult["unrestored"][number]> = []
  #files = 0
  #bytes = 0
  #told = 0
  /** The file being written, and the one to come. */
  #index = -1
  #next = 0
  #fd = -1
  #hash: ContentHash | undefined
  #hashing = false
  #sparse: WriteExtra["sparse"]
  #segment = 0
  #segmentLeft = 0
  #position = 0
  #attributes: Attributes | undefined

  constructor(task: WriteTask, progress: (bytes: number) => void) {
    this.#task = task
    this.#progress = progress
    this.#restorer = new Restorer(task.libc ? Libc.load() : undefined)
    this.#maker = new FileMaker(task, this.#restorer.libc?.files)
    this.#extras = new Map(task.extras.map((extra) => [extra.index, extra]))
    this.#digests = new Array<string>(task.names.length).fill(noDigest)
    this.#hashed = new Uint8Array(task.names.length)
  }

  /** For members in their order, those of other files among them. */
  visitor(): EntryVisitor {
    const { names, numbers } = this.#task
    let wanted = names.length === 0 ? -1 : numbers[0]!
    let taken = false
    return {
      onEntry: (entry) => {
        taken = entry.index === wanted
        if (!taken) return
        const index = this.#next
        const row = index * writeColumns
        if (entry.type !== "file" || entry.size !== numbers[row + 2] || entry.realSize !== numbers[row + 3]) {
          throw new Failure("layer-changed", index, `it has become a ${entry.type} of ${count(entry.size, "byte")}`)
        }
        this.begin(index)
        wanted = this.#next < names.length ? numbers[this.#next * writeColumns]! : -1
      },
      onBody: (_entry, chunk, from, to) => {
        if (taken) this.body(chunk, from, to)
      },
      onEntryEnd: () => {
        if (taken) this.end()
        taken = false
      }
    }
  }

  begin(index: number): void {
    const { numbers, wanted } = this.#task
    const row = index * writeColumns
    const extra = this.#extras.get(index)
    this.#index = index
    this.#next = index + 1
    this.#sparse = extra?.sparse
    this.#segment = this.#segmentLeft = this.#position = 0
    this.#hash = undefined
    this.#hashing = wanted[index] === 1
    this.#attributes = {
      mode: numbers[row + 4]!,
      uid: numbers[row + 5]!,
      gid: numbers[row + 6]!,
      mtimeSeconds: numbers[row + 7]!,
      mtimeNanoseconds: numbers[row + 8]!,
      xattrs: extra?.xattrs
    }
    try {
      this.#fd = this.#maker.make(index, this.#restorer.creationMode(this.#attributes))
    } catch (cause) {
      const code = codeOf(cause)
      if (!nameErrors.has(code)) throw this.#failure(cause)
      this.#unrestored.push({ index, what: "entry", message: nameMessage(code) })
    }
  }

  body(chunk: Uint8Array, from: number, to: number): void {
    if (this.#fd === -1) return
    if (this.#hashing) this.#update(chunk, from, to)
    if (this.#sparse === undefined) {
      this.#write(chunk, from, to, null)
      return
    }
    for (let at = from; at < to; ) {
      if (this.#segmentLeft === 0) {
        const segment = this.#sparse[this.#segment++]
        if (segment === undefined) return
        this.#position = segment[0]
        this.#segmentLeft = segment[1]
        continue
      }
      const taken = Math.min(this.#segmentLeft, to - at)
      this.#write(chunk, at, at + taken, this.#position)
      this.#position += taken
      this.#segmentLeft -= taken
      at += taken
    }
  }

  /** A body in one piece needs no object that lasts. */
  #update(chunk: Uint8Array, from: number, to: number): void {
    const row = this.#index * writeColumns
    const size = this.#task.numbers[row + 3]!
    if (this.#hash === undefined && this.#sparse === undefined && to - from === size) {
      this.#digested(digestOf(chunk.subarray(from, to)))
      return
    }
    this.#hash ??= new ContentHash(size, this.#sparse)
    this.#hash.update(chunk, from, to)
  }

  #digested(digest: string): void {
    this.#digests[this.#index] = digest
    this.#hashed[this.#index] = 1
  }

  #write(chunk: Uint8Array, from: number, to: number, position: number | null): void {
    try {
      let at = from
      while (at < to) {
        const written = fs.writeSync(this.#fd, chunk, at, to - at, position)
        at += written
        if (position !== null) position += written
      }
    } catch (cause) {
      throw this.#failure(cause)
    }
    this.#bytes += to - from
    if (this.#bytes - this.#told >= progressStep) this.#tell()
  }

  end(): void {
    if (this.#fd === -1) return
    if (this.#hashing && this.#hashed[this.#index] === 0) {
      this.#hash ??= new ContentHash(this.#task.numbers[this.#index * writeColumns + 3]!, this.#sparse)
      this.#digested(this.#hash.digest())
    }
    const attributes = this.#attributes!
    // Only attributes are set by path.
    const path = attributes.xattrs === undefined ? "" : pathIn(this.#task, this.#index)
    try {
      if (this.#sparse !== undefined) fs.ftruncateSync(this.#fd, this.#task.numbers[this.#index * writeColumns + 3]!)
      this.#restorer.file(this.#fd, path, attributes, (what, message) => {
        this.#unrestored.push({ index: this.#index, what, message })
      })
      this.close()
    } catch (cause) {
      throw this.#failure(cause)
    }
    this.#files++
  }

  #tell(): void {
    this.#progress(this.#bytes - this.#told)
    this.#told = this.#bytes
  }

  close(): void {
    this.#tell()
    if (this.#fd === -1) return
    const fd = this.#fd
    this.#fd = -1
    this.#maker.close(fd)
  }

  /** Nothing more will be written. */
  dispose(): void {
    try {
      this.close()
    } finally {
      this.#maker.dispose()
    }
  }

  /** All members have come. */
  complete(): void {
    const cut = this.#fd !== -1
    if (cut || this.#next < this.#task.names.length) {
      throw new Failure("layer-changed", cut ? this.#index : this.#next, cut ? cutShort : "it is not there any more")
    }
  }

  #failure(cause: unknown): Failure {
    const code = codeOf(cause)
    return new Failure(spaceErrors.has(code) ? "no-space" : "write", this.#index, code)
  }

  result(failure: WriteResult["failure"]): WriteResult {
    return {
      digests: this.#digests.join(""),
      hashed: this.#hashed,
      unrestored: this.#unrestored,
      files: this.#files,
      bytes: this.#bytes,
      ...(failure === undefined ? {} : { failure })
    }
  }
}

/** Making a file costs about as much as writing these bytes. */
export const fileCost = 16384

/** `writeFiles` for a pool of workers. */
export const writeJob: Job<WriteTask, WriteResult> = {
  kind: "rootfs.write-files",
  prepare: (task) => (task.inPlace ? Promise.resolve() : Codec.prepare()),
  run: (task, progress) => writeFiles(task, progress),
  cost: ({ names, numbers }) => {
    let cost = names.length * fileCost
    for (let at = dataSizeColumn; at < numbers.length; at += writeColumns) cost += numbers[at]!
    return cost
  },
  transfer: (result) => [result.hashed.buffer]
}
