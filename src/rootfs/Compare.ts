/**
 * A tree on disk, file by file, against what it should be: layers applied or an mtree manifest.
 */

import * as Effect from "effect/Effect"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { count } from "../image/Count.ts"
import { type DiskError, type DiskOptions, type DiskTree, readDisk } from "./DiskTree.ts"
import {
  childPath,
  type FileTree,
  type Inode,
  isImplied,
  secondsOnly,
  sortedChildren,
  type TreeNode,
  unknown
} from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import { type CompareCheck, ProblemList, type RootfsCheck, type RootfsProblem } from "./RootfsProblem.ts"
import { nothing, type Settled } from "./Settle.ts"
import {
  tolerances as catalogue,
  type Excuse,
  isHostLabel,
  isRuntimeFile,
  isRuntimeParent,
  type Leeway,
  type Tolerance
} from "./Tolerance.ts"

export interface DiffOptions {
  /** Differences to put up with; none by default (those that are always put up with need not be named). */
  readonly tolerances?: ReadonlyArray<Leeway>
  /** `digest` reads every file, `size` none. Default `digest`. */
  readonly content?: "digest" | "size"
  /** Problems kept of each check; more are counted. Default 10,000. */
  readonly maxProblems?: number
  /** Below the root: what the tree's configuration makes a runtime create, where `runtime-files` is tolerated. */
  readonly places?: ReadonlyArray<ByteString>
}

export interface CompareOptions extends DiffOptions, Pick<DiskOptions, "scan" | "settled" | "xattrs"> {}

/** Something that was not compared. */
export interface NotCompared {
  readonly what: "content" | "xattrs" | "hardlinks" | "mounted"
  readonly reason: string
  /** Names concerned. */
  readonly count: number
  /** The first few of them. */
  readonly examples: ReadonlyArray<ByteString>
}

/** Differences that were put up with. */
export interface Tolerated {
  readonly tolerance: Tolerance
  readonly explanation: string
  readonly count: number
  readonly examples: ReadonlyArray<ByteString>
}

export interface CompareResult {
  /** What could not be read first, then in the order of the tree, parents first. */
  readonly problems: ReadonlyArray<RootfsProblem>
  /** How many of each check were found, those not kept included. */
  readonly counts: ReadonlyMap<RootfsCheck, number>
  /** Every tolerance that was asked for or always holds, with what it covered. */
  readonly tolerated: ReadonlyArray<Tolerated>
  readonly notCompared: ReadonlyArray<NotCompared>
  /** Names compared, files hashed, and bytes of content read for it. */
  readonly names: number
  readonly files: number
  readonly bytes: number
}

/**
 * Compares the directory `root`, an absolute path in bytes, with `expected`. Reads only; no symlink is followed; what
 * cannot be read is a `rootfs.unreadable` problem. An error only when that holds for the root itself. What is settled is
 * left out of `expected` as well.
 */
export const compare = (
  expected: FileTree,
  root: Buffer,
  options: CompareOptions = {}
): Effect.Effect<CompareResult, DiskError> =>
  Effect.map(
    readDisk(root, {
      hash: options.content === "size" ? "none" : expected,
      ...(options.scan === undefined ? {} : { scan: options.scan }),
      ...(options.settled === undefined ? {} : { settled: options.settled }),
      ...(options.xattrs === undefined ? {} : { xattrs: options.xattrs })
    }),
    (disk) => diff(expected, disk, options)
  )

/** The comparison itself. What `disk` was not hashed for is not compared, and the result says so. */
export const diff = (expected: FileTree, disk: DiskTree, options: DiffOptions = {}): CompareResult =>
  new Differ(expected, disk, options).run()

const maxExamples = 5

interface Tally {
  count: number
  readonly examples: Array<ByteString>
}

class Differ {
  readonly #expected: FileTree
  readonly #disk: DiskTree
  readonly #options: DiffOptions
  readonly #asked: ReadonlySet<Tolerance>
  readonly #excused = new Map<Tolerance, { readonly paths: Set<ByteString>; readonly inodes: Set<Inode> }>()
  readonly #problems: ProblemList
  readonly #tolerated = new Map<Tolerance, Tally>()
  readonly #notCompared = new Map<string, Tally & { readonly what: NotCompared["what"]; readonly reason: string }>()
  /** Paths of which not even the kind is known. */
  readonly #hidden: ReadonlyMap<ByteString, string>
  /** Directories whose names are not known, and files of which one thing is not. */
  readonly #closed: ReadonlySet<ByteString>
  readonly #noXattrs: ReadonlySet<ByteString>
  readonly #noContent: ReadonlySet<ByteString>
  /** Which file on disk stands for which expected one with several names, and the other way round. */
  readonly #actualOf = new Map<Inode, readonly [Inode, ByteString]>()
  readonly #expectedOf = new Map<Inode, readonly [Inode, ByteString]>()
  readonly #linksReported = new Set<Inode>()
  /** `places` with the directories on the way to them, and all of these directories. */
  readonly #places = new Set<ByteString>()
  readonly #aroundPlaces = new Set<ByteString>()
  readonly #settled: Settled
  #names: number

  constructor(expected: FileTree, disk: DiskTree, options: DiffOptions) {
    this.#expected = expected
    this.#disk = disk
    this.#options = options
    const leeways = options.tolerances ?? []
    this.#asked = new Set([
      ...leeways.filter((one): one is Tolerance => typeof one === "string"),
      ...(Object.keys(catalogue) as Array<Tolerance>).filter((name) => catalogue[name].always)
    ])
    for (const one of leeways) if (typeof one !== "string") this.#excuse(one)
    this.#problems = new ProblemList(options.maxProblems ?? 10_000)
    const unreadable = (what: string) => disk.unreadable.filter((one) => one.what === what)
    this.#hidden = new Map(unreadable("entry").map((one) => [one.path, one.code]))
    this.#closed = new Set(unreadable("children").map((one) => one.path))
    this.#noContent = new Set(unreadable("content").map((one) => one.path))
    this.#settled = disk.settled ?? nothing
    this.#names = this.#settled.names
    if (this.#settled.hostLabels > 0) {
      this.#tolerated.set("host-labels", { count: this.#settled.hostLabels, examples: [] })
    }
    this.#noXattrs = new Set(unreadable("xattrs").map((one) => one.path))
    for (const place of options.places ?? []) {
      for (let at = place; at !== ""; at = parentOf(at)) {
        this.#places.add(at)
        this.#aroundPlaces.add(parentOf(at))
      }
    }
  }

  run(): CompareResult {
    for (const { code, path, what } of this.#disk.unreadable) {
      if (what === "content" && this.#asked.has("runtime-files") && isRuntimeFile(path)) continue
      this.#report("rootfs.unreadable", path, `${unreadableWhat[what]} cannot be read`, undefined, code)
    }
    this.#walk()
    const names = this.#disk.tree.names + this.#settled.names
    if (!this.#disk.tree.records.xattrs && this.#expected.records.xattrs) {
      this.#skip("xattrs", Libc.reason() ?? "not asked for", "", names)
    } else if (!this.#expected.records.xattrs) {
      this.#skip("xattrs", "the manifest tells no extended attributes", "", names)
    }
    if (!this.#expected.records.hardlinks) {
      this.#skip("hardlinks", "the manifest tells how many links a file has, not which names they are", "", 0)
    }
    return {
      problems: this.#problems.problems,
      counts: this.#problems.counts,
      tolerated: [...new Set([...this.#asked, ...this.#excused.keys()])].map((tolerance) => ({
        tolerance,
        explanation: catalogue[tolerance].explanation,
        ...(this.#tolerated.get(tolerance) ?? { count: 0, examples: [] })
      })),
      notCompared: [...this.#notCompared.values()],
      names: this.#names,
      files: this.#disk.files,
      bytes: this.#disk.bytes
    }
  }

  #walk(): void {
    const stack: Array<readonly [ByteString, TreeNode, TreeNode]> = [["", this.#expected.root, this.#disk.tree.root]]
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const [path, wanted, found] = next
      if (this.#disk.mounts.has(found)) {
        this.#mounted(path, wanted)
        continue
      }
      this.#names++
      if (!this.#same(path, wanted, found)) continue
      if (wanted.children === undefined) continue
      const below: Array<readonly [ByteString, TreeNode, TreeNode]> = []
      for (const child of sortedChildren(wanted)) {
        const other = found.children!.get(child.name)
        const childAt = childPath(path, child.name)
        if (other !== undefined) below.push([childAt, child, other])
        else if (!this.#hidden.has(childAt) && !this.#closed.has(path)) this.#missing(childAt, child)
      }
      for (const child of sortedChildren(found)) {
        if (!wanted.children.has(child.name)) this.#extra(childPath(path, child.name), child)
      }
      for (let index = below.length - 1; index >= 0; index--) stack.push(below[index]!)
    }
  }

  /** Whether what is below can be compared. */
  #same(path: ByteString, wanted: TreeNode, found: TreeNode): boolean {
    const e = wanted.inode
    const a = found.inode
    if (e.type !== a.type) {
      if (this.#standsForDevice(path, e, a)) this.#tolerate("devices", path)
      else if (this.#replacedByRuntime(path, e, a)) this.#tolerate("runtime-files", path)
      else this.#report("rootfs.type-mismatch", path, `it is a ${a.type}`, e.type, a.type)
      return false
    }
    const runtime = e.type !== "directory" && this.#asked.has("runtime-files") && isRuntimeFile(path)
    const differs = (
      check: CompareCheck,
      message: string,
      expectedValue?: string,
      actualValue?: string,
      tolerance?: Tolerance
    ): void => {
      if (tolerance !== undefined && this.#allows(tolerance, path, e)) this.#tolerate(tolerance, path)
      else if (runtime) this.#tolerate("runtime-files", path)
      else this.#report(check, path, message, expectedValue, actualValue)
    }
    switch (e.type) {
      case "file":
        this.#content(path, e, a, differs)
        break
      case "symlink":
        if (e.link !== a.link) {
          differs("rootfs.link-mismatch", "the symlink points elsewhere", Bytes.display(e.link), Bytes.display(a.link))
        }
        break
      case "char":
      case "block":
        if (e.devmajor >= 0 && (e.devmajor !== a.devmajor || e.devminor !== a.devminor)) {
          differs(
            "rootfs.device-mismatch",
            "it is another device",
            `${e.devmajor}:${e.devminor}`,
            `${a.devmajor}:${a.devminor}`
          )
        }
    }
    const implied = isImplied(e) ? "implied-directories" : undefined
    if (e.mode >= 0 && e.type !== "symlink" && e.mode !== a.mode) {
      differs("rootfs.mode-mismatch", "it has other permissions", octal(e.mode), octal(a.mode), implied)
    }
    if ((e.uid >= 0 && e.uid !== a.uid) || (e.gid >= 0 && e.gid !== a.gid)) {
      const [uid, gid] = [e.uid >= 0 ? e.uid : a.uid, e.gid >= 0 ? e.gid : a.gid]
      differs(
        "rootfs.owner-mismatch",
        "it belongs to someone else",
        `${uid}:${gid}`,
        `${a.uid}:${a.gid}`,
        implied ?? "owner"
      )
    }
    this.#mtime(path, e, a, differs)
    this.#xattrs(path, e, a, differs)
    this.#links(path, e, a)
    return true
  }

  #content(path: ByteString, e: Inode, a: Inode, differs: Differs): void {
    if (e.size >= 0 && e.size !== a.size) {
      differs("rootfs.size-mismatch", "it has another size", String(e.size), String(a.size))
      return
    }
    if (this.#options.content === "size") {
      this.#skip("content", "only sizes are compared", path)
      return
    }
    if (e.sha256 === undefined) {
      this.#skip("content", "it is not known what the content should be", path)
      return
    }
    if (a.sha256 === undefined) {
      if (!this.#noContent.has(path)) this.#skip("content", "it was not hashed", path)
    } else if (a.sha256 !== e.sha256) {
      differs("rootfs.content-mismatch", "it has other content", `sha256:${e.sha256}`, `sha256:${a.sha256}`)
    }
  }

  #mtime(path: ByteString, e: Inode, a: Inode, differs: Differs): void {
    if (e.mtimeNanoseconds === unknown) {
      if (isImplied(e)) this.#tolerate("implied-directories", path)
      return
    }
    const sameSecond = e.mtimeSeconds === a.mtimeSeconds
    if (sameSecond && (e.mtimeNanoseconds === secondsOnly || e.mtimeNanoseconds === a.mtimeNanoseconds)) return
    if (sameSecond && this.#asked.has("mtime-seconds")) {
      this.#tolerate("mtime-seconds", path)
      return
    }
    if (
      sameSecond &&
      this.#allows("mtime-microseconds", path, e) &&
      Math.trunc(e.mtimeNanoseconds / 1000) === Math.trunc(a.mtimeNanoseconds / 1000)
    ) {
      this.#tolerate("mtime-microseconds", path)
      return
    }
    const around = isRuntimeParent(path) || this.#aroundPlaces.has(path)
    if (e.type === "directory" && around && this.#asked.has("runtime-files")) {
      this.#tolerate("runtime-files", path)
      return
    }
    differs(
      "rootfs.mtime-mismatch",
      "it has another mtime",
      time(e),
      time(a),
      e.type === "directory" ? "directory-mtime" : undefined
    )
  }

  #xattrs(path: ByteString, e: Inode, a: Inode, differs: Differs): void {
    if (!this.#expected.records.xattrs || !this.#disk.tree.records.xattrs || this.#noXattrs.has(path)) return
    if (e.xattrs === undefined && a.xattrs === undefined) return
    for (const name of new Set([...(e.xattrs?.keys() ?? []), ...(a.xattrs?.keys() ?? [])])) {
      const wanted = e.xattrs?.get(name)
      const found = a.xattrs?.get(name)
      if (wanted === found) continue
      if (isHostLabel(name)) {
        this.#tolerate("host-labels", path)
        continue
      }
      if (found === undefined && isHiddenXattr(name) && !this.#allows("xattrs", path, e)) {
        this.#skip("xattrs", "attributes trusted.* are shown to root alone", path)
        continue
      }
      differs(
        "rootfs.xattr-mismatch",
        found === undefined
          ? `the attribute ${Bytes.display(name)} is missing`
          : wanted === undefined
            ? `it has an attribute ${Bytes.display(name)} of its own`
            : `the attribute ${Bytes.display(name)} has another value`,
        wanted === undefined ? "none" : xattrValue(wanted),
        found === undefined ? "none" : xattrValue(found),
        found === undefined ? "xattrs" : undefined
      )
    }
  }

  #links(path: ByteString, e: Inode, a: Inode): void {
    if (e.type === "directory") return
    const links = this.#disk.links.get(a) ?? 1
    if (!this.#expected.records.hardlinks) {
      if (e.nlink >= 0 && e.nlink !== links) {
        if (this.#asked.has("external-links") && e.nlink === a.nlink) this.#tolerate("external-links", path)
        else
          this.#report(
            "rootfs.hardlink-mismatch",
            path,
            "it has another number of links",
            String(e.nlink),
            String(links)
          )
      }
      return
    }
    if (links > a.nlink && !this.#linksReported.has(a)) {
      this.#linksReported.add(a)
      if (this.#asked.has("external-links")) this.#tolerate("external-links", path)
      else if (this.#hidden.size > 0 || this.#closed.size > 0) {
        // Its other names may be there; that something could not be read has been reported.
        this.#skip("hardlinks", "their other names may be where nothing could be read", path)
      } else {
        this.#report(
          "rootfs.hardlink-mismatch",
          path,
          "it has hardlinks outside the tree",
          String(a.nlink),
          String(links)
        )
      }
    }
    if (e.nlink > 1) {
      const known = this.#actualOf.get(e)
      if (known === undefined) this.#actualOf.set(e, [a, path])
      else if (known[0] !== a) {
        this.#report(
          "rootfs.hardlink-mismatch",
          path,
          "it is a file of its own",
          `a hardlink of ${Bytes.display(known[1])}`,
          "another file"
        )
      }
    }
    if (a.nlink > 1) {
      const known = this.#expectedOf.get(a)
      if (known === undefined) this.#expectedOf.set(a, [e, path])
      else if (known[0] !== e) {
        this.#report(
          "rootfs.hardlink-mismatch",
          path,
          "it is a hardlink of a file that it should not share",
          "a file of its own",
          `a hardlink of ${Bytes.display(known[1])}`
        )
      }
    }
  }

  #missing(path: ByteString, node: TreeNode): void {
    const { type } = node.inode
    if ((type === "char" || type === "block") && this.#allows("devices", path, node.inode)) {
      this.#tolerate("devices", path)
      return
    }
    const below = namesBelow(node)
    this.#report(
      "rootfs.missing",
      path,
      below === 0 ? "it is missing" : `it is missing with the ${count(below, "name")} below it`,
      type,
      "nothing"
    )
  }

  #extra(path: ByteString, node: TreeNode): void {
    if (this.#asked.has("runtime-files") && this.#isRuntimeOnly(path, node)) {
      this.#tolerate("runtime-files", path)
      return
    }
    const below = namesBelow(node)
    this.#report(
      "rootfs.extra",
      path,
      below === 0
        ? "the image has no such file"
        : `the image has no such directory, with ${count(below, "name")} below it`,
      "nothing",
      node.inode.type
    )
  }

  /** A runtime makes /etc for /etc/hosts, but what else is in a directory that it made is not its own. */
  #isRuntimeOnly(path: ByteString, node: TreeNode): boolean {
    if (!isRuntimeFile(path) && !this.#isPlace(path, node)) return false
    if (node.children === undefined) return true
    for (const child of node.children.values()) {
      if (!this.#isRuntimeOnly(childPath(path, child.name), child)) return false
    }
    return true
  }

  /** What a mount covers is a directory, or an empty file for a file. */
  #isPlace(path: ByteString, { inode }: TreeNode): boolean {
    return this.#places.has(path) && (inode.type === "directory" || (inode.type === "file" && inode.size === 0))
  }

  /** A runtime puts files in the place of links and the other way round, but takes no directory away. */
  #replacedByRuntime(path: ByteString, e: Inode, a: Inode): boolean {
    return this.#asked.has("runtime-files") && isRuntimeFile(path) && e.type !== "directory" && a.type !== "directory"
  }

  #standsForDevice(path: ByteString, e: Inode, a: Inode): boolean {
    if ((e.type !== "char" && e.type !== "block") || a.type !== "file" || a.size !== 0) return false
    return this.#allows("devices", path, e)
  }

  #excuse({ paths, tolerance }: Excuse): void {
    let excused = this.#excused.get(tolerance)
    if (excused === undefined) this.#excused.set(tolerance, (excused = { paths: new Set(), inodes: new Set() }))
    for (const path of paths) {
      excused.paths.add(path)
      const inode = this.#expected.lookup(path)?.inode
      if (inode !== undefined && inode.nlink > 1) excused.inodes.add(inode)
    }
  }

  #allows(tolerance: Tolerance, path: ByteString, expected: Inode): boolean {
    if (this.#asked.has(tolerance)) return true
    const excused = this.#excused.get(tolerance)
    return excused !== undefined && (excused.paths.has(path) || excused.inodes.has(expected))
  }

  #mounted(path: ByteString, wanted: TreeNode): void {
    const below = namesBelow(wanted)
    if (this.#asked.has("runtime-files") && isRuntimeFile(path)) this.#tolerate("runtime-files", path)
    else this.#skip("mounted", "another file system is mounted there", path, below + 1)
  }

  #report(check: CompareCheck, path: ByteString, message: string, expected?: string, actual?: string): void {
    this.#problems.add({
      check,
      path,
      message,
      ...(expected === undefined ? {} : { expected }),
      ...(actual === undefined ? {} : { actual })
    })
  }

  #tolerate(tolerance: Tolerance, path: ByteString): void {
    let tally = this.#tolerated.get(tolerance)
    if (tally === undefined) this.#tolerated.set(tolerance, (tally = { count: 0, examples: [] }))
    tally.count++
    if (tally.examples.length < maxExamples) tally.examples.push(path)
  }

  #skip(what: NotCompared["what"], reason: string, path: ByteString, count = 1): void {
    const key = `${what} ${reason}`
    let tally = this.#notCompared.get(key)
    if (tally === undefined) this.#notCompared.set(key, (tally = { what, reason, count: 0, examples: [] }))
    tally.count += count
    if (tally.examples.length < maxExamples && path !== "") tally.examples.push(path)
  }
}

type Differs = (check: CompareCheck, message: string, expected?: string, actual?: string, tolerance?: Tolerance) => void

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf("/")))

/** The kernel does not even list these to others, so that they look missing. */
const isHiddenXattr = (name: ByteString): boolean => name.startsWith("trusted.") && (process.geteuid?.() ?? 0) !== 0

const unreadableWhat = {
  entry: "it",
  children: "the directory",
  content: "the content",
  xattrs: "the extended attributes"
} as const

const octal = (mode: number): string => mode.toString(8).padStart(4, "0")

const time = (inode: Inode): string =>
  inode.mtimeNanoseconds === secondsOnly
    ? String(inode.mtimeSeconds)
    : `${inode.mtimeSeconds}.${inode.mtimeNanoseconds.toString().padStart(9, "0")}`

/** Values are mostly binary and may be long. */
const xattrValue = (value: ByteString): string => {
  const bytes = Bytes.toBytes(value)
  return bytes.length <= 64
    ? `0x${bytes.toString("hex")}`
    : `${count(bytes.length, "byte")}, 0x${bytes.toString("hex", 0, 32)}...`
}

const namesBelow = (node: TreeNode): number => {
  let count = -1
  const stack = [node]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    count++
    if (next.children !== undefined) for (const child of next.children.values()) stack.push(child)
  }
  return count
}
