/** The members of a tar archive as a store: read in place by offset, so that nothing is unpacked to look at it. */

import * as fs from "node:fs"
import * as os from "node:os"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ByteString from "../content/ByteString.ts"
import * as Codec from "../content/Compression.ts"
import * as Inspect from "../content/Inspect.ts"
import { resolvePath } from "../content/LayerScan.ts"
import type { Problem } from "../content/Problem.ts"
import type { TarEntry } from "../content/TarEntry.ts"
import { TarScanner } from "../content/TarScan.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import type { Region } from "../image/Region.ts"
import { describe, SourceError } from "./Failure.ts"
import * as Journal from "./Journal.ts"
import type { Limits } from "./Limits.ts"
import { maxPath, resolveLinks, type Store, type StoreChild, type StoreEntry } from "./Store.ts"

export interface ArchiveStore extends Store {
  readonly kind: "archive"
  /** How the whole archive is compressed. */
  readonly compression: Codec.Compression
  /** The tar, unpacked. */
  readonly tar: Region
  /** What is wrong with the archive as a tar, or as a compressed stream. */
  readonly problems: ReadonlyArray<Problem>
  /** How far the tar could be judged, where the stream that it comes out of is broken. */
  readonly judged?: number
  /** Names that more than one entry has, and whether all of them have the same bytes. */
  readonly duplicates: ReadonlyMap<string, boolean>
  /** Names of members that are no directories, and that others lie below. */
  readonly throughOthers: ReadonlyArray<string>
  /** Every name of a file, sorted. */
  readonly files: () => ReadonlyArray<string>
}

export interface ArchiveOptions {
  /** Where a compressed archive is unpacked to; the system's by default. */
  readonly tempDirectory?: string
  readonly limits?: Limits
}

/** Entries of an archive beyond this are no image's, unless told otherwise. */
const defaultMaxMembers = 500_000

/**
 * No image's files lie deeper, or have longer names: each level of a name is a directory to be known. Names of documents
 * are held against the length as well.
 */
const maxLevels = 64

/** Each takes a file of its own while the archive is open. */
const maxSparse = 1000

const unreadable = (file: string, cause: unknown): SourceError =>
  new SourceError({
    reason: (cause as NodeJS.ErrnoException).code === "ENOENT" ? "NotFound" : "Unreadable",
    message: `cannot read ${file}: ${describe(cause)}`,
    cause
  })

/** Opens an archive; a compressed one is unpacked into a temporary file first, which the scope removes. */
export const open = Effect.fn("ArchiveStore.open")(function* (
  file: string,
  options: ArchiveOptions = {}
): Effect.fn.Return<ArchiveStore, SourceError, Scope.Scope | WorkerPool> {
  const { compression, region } = yield* Effect.try({
    try: () => head(file),
    catch: (cause) => unreadable(file, cause)
  })
  if (region.size === 0)
    return yield* new SourceError({
      reason: "NotAnImage",
      message: `cannot read ${file}: expected an archive, found an empty file`
    })
  const temporaryDirectory = options.tempDirectory ?? os.tmpdir()
  if (compression === "none")
    return yield* index(
      file,
      region,
      { compression: "none", problems: [] },
      temporaryDirectory,
      options.limits?.maxMembers
    )
  if (compression !== "gzip" && compression !== "zstd") {
    return yield* new SourceError({
      reason: "Unsupported",
      message: `cannot read ${file}: expected a tar, plain or compressed with gzip or zstd, found ${compression}`
    })
  }
  const next = yield* temporaryFiles(temporaryDirectory)
  const temporary = yield* Effect.try({ try: next, catch: (cause) => unreadable(temporaryDirectory, cause) })
  const pool = yield* WorkerPool
  const [evidence] = yield* pool.runAll(Inspect.job, [
    {
      region,
      algorithms: [],
      as: "layer",
      keepPaths: false,
      limits: options.limits ?? {},
      output: { path: temporary, offset: 0, form: "uncompressed" }
    }
  ])
  const { failure, layer, problems } = evidence!
  if (failure !== undefined) {
    return yield* new SourceError({
      reason: "Unreadable",
      message:
        failure.during === "write"
          ? `cannot unpack ${file} into ${temporary}: ${describe(failure)}`
          : `cannot read ${file}: ${describe(failure)}`
    })
  }
  return yield* index(
    file,
    { path: temporary, offset: 0, size: layer!.uncompressedSize },
    {
      compression,
      problems: problems.filter(({ check }) => check.startsWith("compression.") || check.startsWith("tar.")),
      ...(layer!.judged === undefined ? {} : { judged: layer!.judged })
    },
    temporaryDirectory,
    options.limits?.maxMembers
  )
})

/** What the file is, as a region. A link that the user names is followed; no region's path may be one. */
const head = (file: string): { readonly compression: Codec.DetectedCompression; readonly region: Region } => {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  try {
    const stat = fs.fstatSync(fd)
    if (stat.isDirectory()) throw Object.assign(new Error("it is a directory"), { code: "EISDIR" })
    if (!stat.isFile()) throw Object.assign(new Error("it is no regular file"), { code: "ENOTREG" })
    const bytes = Buffer.alloc(Math.min(512, stat.size))
    fs.readSync(fd, bytes, 0, bytes.length, 0)
    return {
      compression: Codec.detect(bytes),
      region: { path: fs.realpathSync(file), offset: 0, size: stat.size }
    }
  } finally {
    fs.closeSync(fd)
  }
}

/** Makes new empty files, which go with the scope, however it ends. */
const temporaryFiles = (directory: string): Effect.Effect<() => string, SourceError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({ try: () => Journal.openSpools(directory), catch: (cause) => unreadable(directory, cause) }),
    (spools) => Effect.sync(spools.close)
  ).pipe(
    Effect.map((spools) => () => {
      const file = spools.next()
      fs.writeFileSync(file, "", { flag: "wx", mode: 0o600 })
      return file
    })
  )

type Member =
  /** A file, by its place in `Regions`: an archive can have a million. */
  | number
  | { readonly kind: "sparse"; readonly entry: TarEntry }
  | { readonly kind: "directory" }
  /** Relative to the archive's root, `..` not yet resolved. */
  | { readonly kind: "link"; readonly target: string; readonly symlink: boolean }
  | { readonly kind: "other"; readonly what: string }

const directoryMember: Member = { kind: "directory" }

/** Where files lie in one archive. */
class Regions {
  readonly #archive: Region
  readonly #offsets: Array<number> = []
  readonly #sizes: Array<number> = []

  constructor(archive: Region) {
    this.#archive = archive
  }

  add({ dataOffset, size }: TarEntry): number {
    this.#offsets.push(this.#archive.offset + dataOffset)
    return this.#sizes.push(size) - 1
  }

  get(place: number): Region {
    return { path: this.#archive.path, offset: this.#offsets[place]!, size: this.#sizes[place]! }
  }
}

/** What the headers of an archive say. */
interface Members {
  /** By name: the last of each. */
  readonly members: ReadonlyMap<string, Member>
  /** All of a name, where there are several that are not all directories. */
  readonly doubled: ReadonlyMap<string, ReadonlyArray<Member>>
  readonly regions: Regions
  readonly problems: ReadonlyArray<Problem>
  /** Those too many, of which nothing is kept, are counted too. */
  readonly entries: number
  readonly sparse: number
}

/** With `isJudged` it is known what is wrong with the tar. Synchronous; throws what the file system says. */
const readMembers = (region: Region, maxMembers: number, isJudged: boolean): Members => {
  const members = new Map<string, Member>()
  const doubled = new Map<string, Array<Member>>()
  const regions = new Regions(region)
  const problems: Array<Problem> = []
  let entries = 0
  let sparse = 0
  walk(
    region,
    (entry) => {
      if (++entries > maxMembers) return
      const path = resolvePath(entry.path)
      if (path.length > maxPath || levels(path) > maxLevels) {
        problems.push({
          check: "tar.too-large",
          message: `the name of a member has ${path.length} bytes and ${levels(path)} levels; the member is passed over`,
          offset: entry.headerOffset,
          expected: `at most ${maxPath} bytes and ${maxLevels} levels`
        })
        return
      }
      const name = textOf(path)
      const member = memberOf(entry, regions)
      const known = members.get(name)
      if (known !== undefined && !(known === directoryMember && member === directoryMember)) {
        const all = doubled.get(name)
        if (all === undefined) doubled.set(name, [known, member])
        else all.push(member)
      }
      if (isSparse(member)) sparse++
      members.set(name, member)
    },
    (problem) => {
      if (!isJudged) problems.push(problem)
    }
  )
  return { members, doubled, regions, problems, entries, sparse }
}

const index = Effect.fnUntraced(function* (
  file: string,
  region: Region,
  stream: Pick<ArchiveStore, "compression" | "problems" | "judged">,
  temporaryDirectory: string,
  maxMembers = defaultMaxMembers
): Effect.fn.Return<ArchiveStore, SourceError, Scope.Scope> {
  const isJudged = stream.judged !== undefined
  const found = yield* Effect.try({
    try: () => readMembers(region, maxMembers, isJudged),
    catch: (cause) => unreadable(file, cause)
  })
  const { entries, members, sparse } = found
  const tooMany = (what: string, count: number): SourceError =>
    new SourceError({ reason: "Limit", message: `cannot read ${file}: expected at most ${what}, found ${count}` })
  if (entries > maxMembers) return yield* tooMany(`${maxMembers} entries (--max-members raises it)`, entries)
  const problems = [
    // With a sound stream the walk finds those of the tar again.
    ...stream.problems.filter(({ check }) => isJudged || check.startsWith("compression.")),
    ...found.problems
  ]
  if (problems.some((one) => one.check === "tar.not-a-tar")) {
    return yield* new SourceError({
      reason: "NotAnImage",
      message: `cannot read ${file}: expected a tar archive, found something else`
    })
  }
  if (sparse > maxSparse) return yield* tooMany(`${maxSparse} sparse entries`, sparse)
  const expanded =
    sparse === 0 ? new Map<string, Region>() : yield* expandAll(file, region, members, temporaryDirectory)
  return { path: file, ...stream, tar: region, problems, ...lookupsOf(found, expanded) }
})

/** Sparse members, each written with its holes into a file of its own. */
const expandAll = Effect.fnUntraced(function* (
  file: string,
  region: Region,
  members: ReadonlyMap<string, Member>,
  temporaryDirectory: string
) {
  const expanded = new Map<string, Region>()
  const next = yield* temporaryFiles(temporaryDirectory)
  for (const [name, member] of members) {
    if (!isSparse(member)) continue
    const path = yield* Effect.try({
      try: () => {
        const temporary = next()
        expand(region, member.entry, temporary)
        return temporary
      },
      catch: (cause) =>
        new SourceError({
          reason: "Unreadable",
          message: `cannot unpack ${name} of ${file} into ${temporaryDirectory}: ${describe(cause)}`,
          cause
        })
    })
    expanded.set(name, { path, offset: 0, size: member.entry.realSize })
  }
  return expanded
})

/** The members as a tree of files, links followed within it. */
const lookupsOf = ({ doubled, members, regions }: Members, expanded: ReadonlyMap<string, Region>) => {
  const linkAt = (name: string): string | undefined => {
    const member = members.get(name)
    return isLink(member) ? member.target : undefined
  }
  const parents = parentsOf(members)
  // Of an archive that holds no layout nobody asks for them.
  let children: ReadonlyMap<string, ReadonlyArray<string>> | undefined
  const list = (directory: string): ReadonlyArray<string> | undefined =>
    (children ??= childrenOf(members, parents)).get(directory)
  const lookup = (name: string): StoreEntry | undefined => {
    const resolved = resolveLinks(name, linkAt)
    if ("failure" in resolved) return { kind: "other", what: resolved.failure.replace(/^it is /, "") }
    const member = members.get(resolved.path)
    if (member === undefined) return parents.has(resolved.path) ? { kind: "directory" } : undefined
    if (typeof member === "number") return { kind: "file", region: regions.get(member) }
    switch (member.kind) {
      case "sparse":
        return { kind: "file", region: expanded.get(resolved.path)! }
      case "directory":
        return { kind: "directory" }
      case "link":
        return undefined
      case "other":
        return member
    }
  }
  return {
    kind: "archive",
    duplicates: new Map([...doubled].map(([name, all]) => [name, sameBytes(all, regions)] as const)),
    throughOthers: [...parents].filter((name) => {
      const member = members.get(name)
      return member !== undefined && member !== directoryMember
    }),
    files: () => {
      const names: Array<string> = []
      for (const [name, member] of members) if (typeof member === "number" || isSparse(member)) names.push(name)
      return names.sort()
    },
    list,
    lookup,
    entries: (directory) => {
      const names = list(directory)
      if (names === undefined) return undefined
      const found = new Map<string, StoreChild>()
      for (const name of names) {
        const own = directory === "" ? name : `${directory}/${name}`
        const member = members.get(own)
        const symlink = isLink(member) && member.symlink
        found.set(name, {
          entry: lookup(own) ?? { kind: "other", what: `a ${symlink ? "symlink" : "hardlink"} to nothing` },
          symlink
        })
      }
      return found
    }
  } satisfies Partial<ArchiveStore>
}

const levels = (path: ByteString.ByteString): number => {
  let count = 1
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) count++
  return count
}

const textOf = (name: ByteString.ByteString): string => ByteString.toText(name) ?? ByteString.display(name)

const isSparse = (member: Member): member is Extract<Member, { readonly kind: "sparse" }> =>
  typeof member !== "number" && member.kind === "sparse"

const isLink = (member: Member | undefined): member is Extract<Member, { readonly kind: "link" }> =>
  typeof member === "object" && member.kind === "link"

const memberOf = (entry: TarEntry, regions: Regions): Member => {
  switch (entry.type) {
    case "file":
      return entry.sparse === undefined ? regions.add(entry) : { kind: "sparse", entry }
    case "directory":
      return directoryMember
    case "hardlink": {
      // A hardlink names its target from the root; from the entry's own directory that is as many `..` up.
      const depth = resolvePath(entry.path).split("/").length - 1
      return { kind: "link", target: "../".repeat(depth) + textOf(resolvePath(entry.linkname)), symlink: false }
    }
    case "symlink":
      return { kind: "link", target: textOf(entry.linkname), symlink: true }
    case "fifo":
      return { kind: "other", what: "a FIFO" }
    case "char":
    case "block":
      return { kind: "other", what: "a device" }
  }
}

const parentOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf("/")))

/** Every directory that has something in it, the root in any case. */
const parentsOf = (members: ReadonlyMap<string, Member>): ReadonlySet<string> => {
  const parents = new Set([""])
  for (const name of members.keys()) {
    for (let parent = parentOf(name); !parents.has(parent); parent = parentOf(parent)) parents.add(parent)
  }
  return parents
}

/** Names directly below each directory, those that no member stands for but others imply among them. */
const childrenOf = (
  members: ReadonlyMap<string, Member>,
  parents: ReadonlySet<string>
): ReadonlyMap<string, ReadonlyArray<string>> => {
  const lists = new Map<string, Array<string>>([...parents].map((parent) => [parent, []]))
  const add = (name: string): void => {
    if (name !== "") lists.get(parentOf(name))!.push(name.slice(name.lastIndexOf("/") + 1))
  }
  for (const [name, member] of members) {
    add(name)
    if (member === directoryMember && !lists.has(name)) lists.set(name, [])
  }
  for (const parent of parents) if (!members.has(parent)) add(parent)
  for (const list of lists.values()) list.sort()
  return lists
}

/** Large enough that an archive of small documents takes few reads, small enough that headers between layers cost little. */
const windowSize = 64 * 1024

/**
 * Walks an archive by its headers: the bytes of large members are not read but stood in for, as the scanner only counts
 * them.
 */
export const walk = (
  region: Region,
  onEntry: (entry: TarEntry) => void,
  onProblem: (problem: Problem) => void
): void => {
  let bodyEnd = 0
  const scanner = new TarScanner({
    onEntry: (entry) => {
      bodyEnd = entry.dataOffset + entry.size
      onEntry(entry)
    },
    onProblem
  })
  const window = Buffer.alloc(windowSize)
  const stand = Buffer.alloc(1024 * 1024)
  const fd = Inspect.openForRead(region.path)
  try {
    for (let at = 0; at < region.size; ) {
      const skippable = Math.min(bodyEnd, region.size) - at
      if (skippable > windowSize) {
        for (let left = skippable; left > 0; ) {
          const piece = Math.min(left, stand.length)
          scanner.write(stand, 0, piece)
          left -= piece
        }
        at += skippable
        continue
      }
      const read = fs.readSync(fd, window, 0, Math.min(windowSize, region.size - at), region.offset + at)
      if (read === 0) break
      scanner.write(window, 0, read)
      at += read
    }
  } finally {
    fs.closeSync(fd)
  }
  scanner.end()
}

/** Writes a sparse member with its holes: the archive holds only the segments between them. */
const expand = (region: Region, entry: TarEntry, temporary: string): void => {
  const input = Inspect.openForRead(region.path)
  const output = fs.openSync(temporary, "r+")
  try {
    const buffer = Buffer.allocUnsafe(1024 * 1024)
    let from = region.offset + entry.dataOffset
    for (const [at, length] of entry.sparse!) {
      for (let done = 0; done < length; ) {
        const read = fs.readSync(input, buffer, 0, Math.min(buffer.length, length - done), from + done)
        if (read === 0) throw new Error("the archive ends within it")
        fs.writeSync(output, buffer, 0, read, at + done)
        done += read
      }
      from += length
    }
    fs.ftruncateSync(output, entry.realSize)
  } finally {
    fs.closeSync(input)
    fs.closeSync(output)
  }
}

const sameBytes = (members: ReadonlyArray<Member>, regions: Regions): boolean => {
  const files = members.filter((one) => typeof one === "number").map((place) => regions.get(place))
  if (files.length < members.length) {
    return files.length === 0 && members.every((one) => JSON.stringify(one) === JSON.stringify(members[0]))
  }
  const digest = (region: Region): string =>
    Inspect.run({ region, algorithms: [], as: "blob", keepPaths: false, limits: {} }).digests.sha256!
  return files.every(({ size }) => size === files[0]!.size) && new Set(files.map(digest)).size === 1
}
