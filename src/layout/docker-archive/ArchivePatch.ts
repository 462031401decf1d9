/**
 * Single members of an archive made right again: it is written anew beside its place, with every other byte of it as it
 * was, and renamed.
 */

import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { catalog } from "../../check/Catalog.ts"
import * as ByteString from "../../content/ByteString.ts"
import * as Inspect from "../../content/Inspect.ts"
import { normalizePath } from "../../content/LayerScan.ts"
import type { TarEntry } from "../../content/TarEntry.ts"
import { blockSize } from "../../content/TarField.ts"
import { encodeHeader, padding } from "../../content/TarWrite.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import type { Region } from "../../image/Region.ts"
import * as ArchiveStore from "../ArchiveStore.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import * as Journal from "../Journal.ts"
import * as Lock from "../Lock.ts"
import { createEmpty, unwritable } from "../OutputFiles.ts"
import * as Restore from "../Restore.ts"
import { plainName, readRegion } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import { identify } from "./ArchivePublish.ts"
import * as WholeCompression from "./WholeCompression.ts"

/** Bytes of the new archive, in their order: of a file, or from memory. */
type Piece = Region | Uint8Array

export interface Patching {
  /** The archive as the user named it. */
  readonly file: string
  readonly store: ArchiveStore.ArchiveStore
  readonly image: string
  readonly tempDirectory: string | undefined
}

/** Writes what is planned, of which every byte is proved meanwhile. Fails without having changed anything. */
export const carryOut = Effect.fn("ArchivePatch.carryOut")(function* (
  { file, image, store, tempDirectory }: Patching,
  plan: Restore.Plan
): Effect.fn.Return<
  { readonly written: ReadonlyArray<string>; readonly impossible: ReadonlyArray<Restore.Change> },
  WriteError | SourceError,
  WorkerPool
> {
  const doing = unwritable(`cannot repair ${file}`)
  const { before, directory, journal, target } = yield* Effect.try({
    try: () => {
      const target = Files.resolve(file)
      const directory = path.dirname(target)
      const journal = Journal.open(directory, path.basename(target), image, tempDirectory)
      return { before: identify(target), directory, journal, target }
    },
    catch: doing
  })
  return yield* Effect.gen(function* () {
    const { bodies, impossible } = yield* Restore.bodies(file, plan.files, journal)
    const patch = yield* Effect.try({ try: () => piecesOf(store, bodies), catch: doing })
    if (patch.written.length > 0) {
      const plain = journal.temporary()
      yield* write(plain, patch.pieces, doing)
      let finished = plain
      if (store.compression === "gzip" || store.compression === "zstd") {
        finished = journal.temporary()
        const size = fs.statSync(plain).size
        yield* WholeCompression.compress({ path: plain, offset: 0, size }, store.compression, finished)
      }
      yield* Lock.withLock(
        directory,
        Effect.try({
          try: () => {
            if (identify(target) !== before) {
              throw new WriteError({
                reason: "SourceChanged",
                message: `cannot repair ${file}: another run changed it meanwhile`
              })
            }
            fs.renameSync(finished, target)
            Journal.syncDirectory(directory)
            for (const left of Journal.leftovers(directory, fs.readdirSync(directory), path.basename(target))) {
              fs.rmSync(path.join(directory, left), { force: true, recursive: true })
            }
          },
          catch: doing
        })
      )
    }
    return { written: patch.written, impossible: [...impossible, ...patch.impossible] }
  }).pipe(Effect.ensuring(Effect.sync(journal.abandon)))
})

interface Patch {
  readonly pieces: ReadonlyArray<Piece>
  readonly written: ReadonlyArray<string>
  readonly impossible: ReadonlyArray<Restore.Change>
}

/** A member of the archive: its headers, its body, its padding. */
interface Member {
  /** undefined where its header says nothing any more. */
  readonly entry: TarEntry | undefined
  readonly start: number
  /** Offset of its body. */
  readonly data: number
  /** Offset behind its padding. */
  readonly end: number
  /** Whether its own header says where it ends. */
  readonly sound: boolean
}

const piecesOf = (store: ArchiveStore.ArchiveStore, bodies: ReadonlyMap<string, Piece>): Patch => {
  const { tar } = store
  const members = membersOf(store)
  const replaced = new Map<Member, string>()
  const added: Array<string> = []
  const written: Array<string> = []
  const impossible: Array<Restore.Change> = []
  for (const [name, body] of bodies) {
    const member = memberAt(store, members, name) ?? remainsOf(store, members, name, body)
    if (member === undefined) added.push(name)
    else if (!member.sound && member.entry?.size !== sizeOf(body)) {
      impossible.push({ path: name, reason: "its header is damaged, so that nothing says where it ends" })
      continue
    } else replaced.set(member, name)
    written.push(name)
  }
  const pieces: Array<Piece> = []
  let at = 0
  const keep = (to: number): void => {
    if (to > at) pieces.push({ path: tar.path, offset: tar.offset + at, size: to - at })
    at = to
  }
  const put = (header: Uint8Array, body: Piece): void => {
    pieces.push(header, body, padding(sizeOf(body)))
  }
  const headerOf = (name: string, body: Piece): Uint8Array =>
    encodeHeader({
      path: ByteString.fromBytes(Buffer.from(plainName(name))),
      type: "file",
      mode: 0o644,
      size: sizeOf(body)
    })
  for (const [{ data, end, entry, sound, start }, name] of [...replaced].sort(([a], [b]) => a.start - b.start)) {
    const body = bodies.get(name)!
    keep(start)
    if (sound && entry?.type === "file" && entry.sparse === undefined && entry.size === sizeOf(body)) {
      keep(data)
      pieces.push(body)
      at += entry.size
    } else {
      put(headerOf(name, body), body)
      at = end
    }
  }
  keep(members.at(-1)?.end ?? 0)
  for (const name of added) put(headerOf(name, bodies.get(name)!), bodies.get(name)!)
  keep(tar.size)
  for (const { check, message, offset } of store.problems) {
    const isGone = [...replaced.keys()].some(
      ({ end, start }) => offset !== undefined && offset >= start && offset < end
    )
    if (catalog[check].severity === "error" && !isGone)
      impossible.push({ path: path.basename(store.path), reason: `${message}${placeOf(offset)} [${check}]` })
  }
  return { pieces, written, impossible }
}

const placeOf = (offset: number | undefined): string => (offset === undefined ? "" : ` at byte ${offset}`)

const membersOf = ({ problems, tar }: ArchiveStore.ArchiveStore): ReadonlyArray<Member> => {
  const faults = problems.flatMap(({ offset }) => offset ?? [])
  const members: Array<Member> = []
  ArchiveStore.walk(
    tar,
    (entry) => {
      const { dataOffset: data, headerOffset: start, size } = entry
      members.push({
        entry,
        start,
        data,
        end: Math.min(data + size + padding(size).length, tar.size),
        sound: !faults.some((at) => at >= start && at < data)
      })
    },
    () => {}
  )
  return members
}

/**
 * What is left of a member whose header is damaged, so that its body was taken for members, or passed over: it ends where
 * another one begins, and has the name or all of the body.
 */
const remainsOf = (
  { problems, tar }: ArchiveStore.ArchiveStore,
  members: ReadonlyArray<Member>,
  name: string,
  body: Piece
): Member | undefined => {
  for (const { check, offset: start } of problems) {
    if (check !== "tar.bad-checksum" || start === undefined) continue
    const data = start + blockSize
    const end = data + sizeOf(body) + padding(sizeOf(body)).length
    if (!members.some((one) => one.start === end)) continue
    const header = readRegion({ path: tar.path, offset: tar.offset + start, size: blockSize }, blockSize)
    if ("failure" in header) continue
    const field = Buffer.from(header.bytes.subarray(0, 100)).toString("utf8").split("\0")[0]!
    const there = { path: tar.path, offset: tar.offset + data, size: sizeOf(body) }
    if (plainName(field) === plainName(name) || sha256Of(there) === sha256Of(body))
      return { entry: undefined, start, data, end, sound: true }
  }
  return undefined
}

const sha256Of = (piece: Piece): string =>
  piece instanceof Uint8Array
    ? crypto.createHash("sha256").update(piece).digest("hex")
    : Inspect.run({ region: piece, algorithms: [], as: "blob", keepPaths: false, limits: {} }).digests.sha256!

/** The member whose bytes are read under a name: links have led to it. Otherwise whatever stands there by that name. */
const memberAt = (
  store: ArchiveStore.ArchiveStore,
  members: ReadonlyArray<Member>,
  name: string
): Member | undefined => {
  const found = store.lookup(name)
  const byPlace =
    found?.kind === "file" && found.region.path === store.tar.path
      ? members.find(
          ({ entry }) => entry?.type === "file" && store.tar.offset + entry.dataOffset === found.region.offset
        )
      : undefined
  const bytes = ByteString.fromBytes(Buffer.from(plainName(name)))
  return byPlace ?? members.findLast(({ entry }) => entry !== undefined && normalizePath(entry.path) === bytes)
}

const sizeOf = (piece: Piece): number => (piece instanceof Uint8Array ? piece.length : piece.size)

/** Everything in its place in the new file `target`, on the disk when it returns. */
const write = Effect.fnUntraced(function* (
  target: string,
  pieces: ReadonlyArray<Piece>,
  doing: (cause: unknown) => WriteError
): Effect.fn.Return<void, WriteError | SourceError, WorkerPool> {
  const pool = yield* WorkerPool
  const tasks: Array<Inspect.InspectTask> = []
  yield* Effect.try({
    try: () => {
      createEmpty(target)
      const fd = fs.openSync(target, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
      try {
        let offset = 0
        for (const piece of pieces) {
          if (piece instanceof Uint8Array) {
            for (let done = 0; done < piece.length; )
              done += fs.writeSync(fd, piece, done, piece.length - done, offset + done)
          } else {
            tasks.push({
              region: piece,
              algorithms: [],
              as: "blob",
              keepPaths: false,
              limits: {},
              output: { path: target, offset, form: "stored", sync: false }
            })
          }
          offset += sizeOf(piece)
        }
        fs.ftruncateSync(fd, offset)
      } finally {
        fs.closeSync(fd)
      }
    },
    catch: doing
  })
  const copied = yield* pool.runAll(Inspect.job, tasks)
  for (const [index, { failure, size }] of copied.entries()) {
    const { region } = tasks[index]!
    if (failure?.during === "write") return yield* doing(failure)
    if (failure !== undefined || size !== region.size) {
      return yield* new SourceError({
        reason: "Unreadable",
        message: `cannot read ${region.path}: ${failure === undefined ? `expected ${count(region.size, "byte")}, found ${size}` : describe(failure)}`
      })
    }
  }
  yield* Effect.try({
    try: () => {
      const fd = fs.openSync(target, fs.constants.O_RDONLY)
      try {
        fs.fsyncSync(fd)
      } finally {
        fs.closeSync(fd)
      }
    },
    catch: doing
  })
})
