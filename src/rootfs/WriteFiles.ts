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
import {
  bufferOf,
  dataOffsetColumn,
  dataSizeColumn,
  digestSize,
  gidColumn,
  known,
  memberColumn,
  modeColumn,
  nameOf,
  nanosecondsColumn,
  rowLength,
  type SharedRows,
  secondsColumn,
  sizeColumn,
  startOf,
  uidColumn,
  wanted
} from "./FileRows.ts"
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
  /** Files, of which `rows` are to be written, in the order of the layer's members. */
  readonly files: SharedRows
  readonly rows: Int32Array
  /** Paths of their directories below the root, one behind the other, and where each ends. */
  readonly paths: Uint8Array
  readonly pathEnds: Uint32Array
  readonly extras: ReadonlyArray<WriteExtra>
  readonly libc: boolean
}

/** What few files have. */
export interface WriteExtra {
  readonly row: number
  readonly xattrs?: ReadonlyMap<ByteString, ByteString>
  readonly sparse?: ReadonlyArray<readonly [offset: number, length: number]>
}

/** Plain data: it crosses back from a worker. Digests are in the rows by then. */
export interface WriteResult {
  readonly unrestored: ReadonlyArray<{
    readonly row: number
    readonly what: UnrestoredWhat
    readonly message: string
  }>
  readonly files: number
  readonly bytes: number
  /** Why writing ended early. `row` is the file concerned, -1 when it is the layer. */
  readonly failure?: {
    readonly reason: "no-space" | "layer-changed" | "layer-read" | "write"
    readonly row: number
    readonly message: string
  }
}

/** Below the root. */
export const pathAt = (task: Pick<WriteTask, "files" | "paths" | "pathEnds">, row: number): ByteString =>
  childPath(directoryAt(task, task.files.parents[row]!), nameOf(task.files, row))

const directoryAt = ({ pathEnds, paths }: Pick<WriteTask, "paths" | "pathEnds">, directory: number): ByteString =>
  bufferOf(paths).toString("latin1", directory === 0 ? 0 : pathEnds[directory - 1], pathEnds[directory])

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
  readonly row: number

  constructor(reason: NonNullable<WriteResult["failure"]>["reason"], row: number, message: string) {
    super(message)
    this.reason = reason
    this.row = row
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
      return writer.result({ reason: cause.reason, row: cause.row, message: cause.message })
    }
    return writer.result({
      reason: "layer-read",
      row: -1,
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
  const { files, rows } = task
  const window = (shared ??= Buffer.allocUnsafeSlow(windowSize))
  const fd = openForRead(region.path)
  let start = 0
  let end = 0
  const read = (row: number, position: number): void => {
    start = position
    end =
      start + fs.readSync(fd, window, 0, Math.max(0, Math.min(windowSize, region.size - start)), region.offset + start)
    if (end === start)
      throw new Failure("layer-changed", row, start >= region.size ? cutShort : "the layer has become shorter")
  }
  try {
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index]!
      let position = files.numbers[row * rowLength + dataOffsetColumn]!
      let left = files.numbers[row * rowLength + dataSizeColumn]!
      writer.begin(row)
      // One call to hash and one to write, where a body would lie across the end of the window.
      if (left > 0 && left <= windowSize && (position < start || position + left > end)) read(row, position)
      while (left > 0) {
        if (position < start || position >= end) read(row, position)
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
  readonly #names: Buffer
  /** Whether the last file is one of Node's, which warns of descriptors that it closes and has not opened. */
  #isOfNode = true

  constructor(task: WriteTask, calls: Libc.FileCalls | undefined) {
    this.#task = task
    this.#names = bufferOf(task.files.names)
    this.#calls = calls
  }

  /** Open for writing. Throws what the system says. */
  make(row: number, mode: number): number {
    const fd = this.#calls === undefined ? -1 : this.#inDirectory(this.#calls, row, mode)
    this.#isOfNode = fd < 0
    return fd < 0 ? fs.openSync(nodePath(pathIn(this.#task, row)), createOnly, mode) : fd
  }

  /** Throws what the system says: some file systems tell only then that there is no space. */
  close(fd: number): void {
    if (this.#isOfNode) return fs.closeSync(fd)
    const errno = this.#calls!.close(fd)
    if (errno !== 0) throw Object.assign(new Error(Libc.errorName(errno)), { code: Libc.errorName(errno) })
  }

  /** Negative when it has to be tried by its path, which also tells why. */
  #inDirectory(calls: Libc.FileCalls, row: number, mode: number): number {
    const { files } = this.#task
    const place = files.parents[row]!
    let directory = this.#directories.get(place)
    if (directory === undefined) {
      if (this.#directories.size === maxOpen) this.dispose()
      directory = calls.openat(0, `${this.#task.root}/${directoryAt(this.#task, place)}`, directoryOnly)
      if (directory < 0) return directory
      this.#directories.set(place, directory)
    }
    const name = this.#names.toString("latin1", startOf(files, row), files.ends[row])
    const fd = calls.openat(directory, name, createOnly, mode)
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

const pathIn = (task: WriteTask, row: number): ByteString => `${task.root}/${pathAt(task, row)}`

/** Writes the files of a task one after the other. */
class FileWriter {
  readonly #task: WriteTask
  readonly #progress: (bytes: number) => void
  readonly #restorer: Restorer
  readonly #maker: FileMaker
  readonly #extras: ReadonlyMap<number, WriteExtra>
  readonly #digests: Buffer
  readonly #unrestored: Array<WriteResult["unrestored"][number]> = []
  #files = 0
  #bytes = 0
  #told = 0
  /** The file being written, and which of the task's is to come. */
  #row = -1
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
    this.#extras = new Map(task.extras.map((extra) => [extra.row, extra]))
    this.#digests = bufferOf(task.files.digests)
  }

  /** For members in their order, those of other files among them. */
  visitor(): EntryVisitor {
    const { files, rows } = this.#task
    const { numbers } = files
    const memberOf = (index: number): number =>
      index < rows.length ? numbers[rows[index]! * rowLength + memberColumn]! : -1
    let next = memberOf(0)
    let taken = false
    return {
      onEntry: (entry) => {
        taken = entry.index === next
        if (!taken) return
        const row = rows[this.#next]!
        const at = row * rowLength
        if (
          entry.type !== "file" ||
          entry.size !== numbers[at + dataSizeColumn] ||
          entry.realSize !== numbers[at + sizeColumn]
        ) {
          throw new Failure("layer-changed", row, `it has become a ${entry.type} of ${count(entry.size, "byte")}`)
        }
        this.begin(row)
        next = memberOf(this.#next)
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

  begin(row: number): void {
    const { numbers, states } = this.#task.files
    const at = row * rowLength
    const extra = this.#extras.get(row)
    this.#row = row
    this.#next++
    this.#sparse = extra?.sparse
    this.#segment = this.#segmentLeft = this.#position = 0
    this.#hash = undefined
    this.#hashing = states[row] === wanted
    this.#attributes = {
      mode: numbers[at + modeColumn]!,
      uid: numbers[at + uidColumn]!,
      gid: numbers[at + gidColumn]!,
      mtimeSeconds: numbers[at + secondsColumn]!,
      mtimeNanoseconds: numbers[at + nanosecondsColumn]!,
      xattrs: extra?.xattrs
    }
    try {
      this.#fd = this.#maker.make(row, this.#restorer.creationMode(this.#attributes))
    } catch (cause) {
      const code = codeOf(cause)
      if (!nameErrors.has(code)) throw this.#failure(cause)
      this.#unrestored.push({ row, what: "entry", message: nameMessage(code) })
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
    const size = this.#sizeInTree()
    if (this.#hash === undefined && this.#sparse === undefined && to - from === size) {
      this.#digested(digestOf(chunk.subarray(from, to)))
      return
    }
    this.#hash ??= new ContentHash(size, this.#sparse)
    this.#hash.update(chunk, from, to)
  }

  #sizeInTree(): number {
    return this.#task.files.numbers[this.#row * rowLength + sizeColumn]!
  }

  #digested(digest: string): void {
    this.#digests.write(digest, this.#row * digestSize, "latin1")
    this.#task.files.states[this.#row] = known
    this.#hashing = false
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
    if (this.#hashing) {
      this.#hash ??= new ContentHash(this.#sizeInTree(), this.#sparse)
      this.#digested(this.#hash.digest())
    }
    const attributes = this.#attributes!
    // Only attributes are set by path.
    const path = attributes.xattrs === undefined ? "" : pathIn(this.#task, this.#row)
    try {
      if (this.#sparse !== undefined) fs.ftruncateSync(this.#fd, this.#sizeInTree())
      this.#restorer.file(this.#fd, path, attributes, (what, message) => {
        this.#unrestored.push({ row: this.#row, what, message })
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
    const { rows } = this.#task
    if (cut || this.#next < rows.length) {
      const row = cut ? this.#row : rows[this.#next]!
      throw new Failure("layer-changed", row, cut ? cutShort : "it is not there any more")
    }
  }

  #failure(cause: unknown): Failure {
    const code = codeOf(cause)
    return new Failure(spaceErrors.has(code) ? "no-space" : "write", this.#row, code)
  }

  result(failure: WriteResult["failure"]): WriteResult {
    return {
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
  cost: ({ files, rows }) => {
    let cost = rows.length * fileCost
    for (let index = 0; index < rows.length; index++) cost += files.numbers[rows[index]! * rowLength + dataSizeColumn]!
    return cost
  }
}
