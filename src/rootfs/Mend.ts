/**
 * Names of a tree on disk made right again, one by one. What is wrong is made anew beside the tree and renamed into its
 * place; what is right is not touched, and nothing but attributes is changed in place. A mending that is cut off leaves
 * each name as it was or as it should be.
 */
import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { diff } from "./Compare.ts"
import type { DiskTree } from "./DiskTree.ts"
import { FileTree, Inode, implied, isImplied, pathOf, TreeNode, unknown } from "./FileTree.ts"
import * as Libc from "./Libc.ts"
import { codeOf, nodePath, Restorer, spaceErrors, type UnrestoredWhat, withoutSlash } from "./Restore.ts"
import type { CompareCheck, RootfsCheck } from "./RootfsProblem.ts"
import { isHostLabel, type Leeway } from "./Tolerance.ts"

/** A name that is not what it should be, and what is the matter with it. */
export interface Flaw {
  readonly path: ByteString
  readonly check: RootfsCheck
  readonly message: string
}

/** A file, symlink, device or FIFO that is made anew, and every name that it gets. */
export interface Anew {
  readonly inode: Inode
  readonly names: ReadonlyArray<ByteString>
}

export interface MendPlan {
  readonly flaws: ReadonlyArray<Flaw>
  /** What cannot be mended at all. */
  readonly hopeless: ReadonlyArray<Flaw>
  /** Names that go, with all below them. */
  readonly remove: ReadonlyArray<ByteString>
  /** Directories that are missing, parents first. */
  readonly directories: ReadonlyArray<TreeNode>
  readonly anew: ReadonlyArray<Anew>
  /** Names that become hardlinks of a file that is right. */
  readonly links: ReadonlyArray<{ readonly from: ByteString; readonly names: ReadonlyArray<ByteString> }>
  /** What has the right content under wrong attributes. */
  readonly attributes: ReadonlyArray<ByteString>
}

export interface PlanOptions {
  readonly tolerances?: ReadonlyArray<Leeway>
  /** Whether differences of a kind count at all; by default they all do. */
  readonly concerns?: (check: RootfsCheck) => boolean
}

/** Flaws that only a file made anew, or another name of it, takes away. */
const ofContent: ReadonlySet<RootfsCheck> = new Set<CompareCheck>([
  "rootfs.content-mismatch",
  "rootfs.size-mismatch",
  "rootfs.link-mismatch",
  "rootfs.device-mismatch",
  "rootfs.unreadable"
])

/** What has to be done so that `disk` becomes `expected`, whose files need digests for their content to count. */
export const plan = (expected: FileTree, disk: DiskTree, options: PlanOptions = {}): MendPlan => {
  const { concerns = () => true, tolerances = [] } = options
  const flaws: Array<Flaw> = []
  const hopeless: Array<Flaw> = []
  const remove: Array<ByteString> = []
  const directories: Array<TreeNode> = []
  const attributes = new Set<TreeNode>()
  /** Names to be made again, and those of them whose file is of no use for other names either. */
  const bad = new Set<TreeNode>()
  const spoilt = new Set<TreeNode>()
  const missing = (node: TreeNode): void => {
    const stack = [node]
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      if (next.children === undefined) bad.add(next)
      else {
        directories.push(next)
        stack.push(...next.children.values())
      }
    }
  }
  for (const { check, message, path } of diff(expected, disk, { tolerances, maxProblems: Infinity }).problems) {
    if (!concerns(check)) continue
    const node = expected.lookup(path)
    const flaw = { path, check, message }
    if (check === "rootfs.unreadable" && (node === undefined || node.inode.type !== "file" || node === expected.root)) {
      hopeless.push(flaw)
      continue
    }
    flaws.push(flaw)
    if (check === "rootfs.extra") remove.push(path)
    else if (check === "rootfs.missing") missing(node!)
    else if (check === "rootfs.type-mismatch") {
      remove.push(path)
      missing(node!)
    } else if (check === "rootfs.hardlink-mismatch") bad.add(node!)
    else if (ofContent.has(check)) {
      bad.add(node!)
      spoilt.add(node!)
    } else attributes.add(node!)
  }
  const { anew, links } = linked(expected, disk, bad, spoilt, tolerances)
  const fresh = new Set(anew.flatMap(({ names }) => names))
  const replaced = new Set([...fresh, ...links.flatMap(({ names }) => names)])
  return {
    flaws,
    hopeless,
    remove,
    directories,
    anew,
    links,
    attributes: [...attributes].map(pathOf).filter((path) => !replaced.has(path))
  }
}

/** Every name of a file that has several counts: they are one file, taken from the disk where one of them is right. */
const linked = (
  expected: FileTree,
  disk: DiskTree,
  bad: ReadonlySet<TreeNode>,
  spoilt: ReadonlySet<TreeNode>,
  tolerances: ReadonlyArray<Leeway>
): Pick<MendPlan, "anew" | "links"> => {
  const groups = new Map<Inode, Array<TreeNode>>()
  for (const { inode } of bad) groups.set(inode, [])
  if (groups.size > 0) {
    expected.forEach((node) => {
      if (node.children === undefined) groups.get(node.inode)?.push(node)
    })
  }
  const anew: Array<Anew> = []
  const links: Array<MendPlan["links"][number]> = []
  for (const [inode, nodes] of groups) {
    const names = nodes.filter((node) => !isBehindMount(disk, node)).map(pathOf)
    const holders = new Map<Inode, Array<ByteString>>()
    const unfit = new Set<Inode>()
    /** Names that nothing speaks against. */
    const trusted = new Map<Inode, number>()
    for (const node of nodes) {
      const path = pathOf(node)
      const found = disk.tree.lookup(path)?.inode
      if (found === undefined) continue
      if (spoilt.has(node) || found.type !== inode.type) unfit.add(found)
      holders.set(found, [...(holders.get(found) ?? []), path])
      if (!bad.has(node)) trusted.set(found, (trusted.get(found) ?? 0) + 1)
    }
    const fit = [...holders]
      .filter(([one, held]) => {
        const all = tolerances.includes("external-links") ? one.nlink : (disk.links.get(one) ?? 1)
        // With further names it would change with what they stand for.
        return !unfit.has(one) && held.length === all && (nodes.length > 1 || !bad.has(nodes[0]!))
      })
      .sort((a, b) => b[1].length - a[1].length || (trusted.get(b[0]) ?? 0) - (trusted.get(a[0]) ?? 0))[0]
    if (fit === undefined) anew.push({ inode, names })
    else {
      const rest = names.filter((path) => !fit[1].includes(path))
      if (rest.length > 0) links.push({ from: fit[1][0]!, names: rest })
    }
  }
  return { anew, links }
}

const isBehindMount = (disk: DiskTree, node: TreeNode): boolean => {
  if (disk.mounts.size === 0) return false
  for (let at = node.parent; at !== undefined; at = at.parent) {
    const found = disk.tree.lookup(pathOf(at))
    if (found !== undefined && disk.mounts.has(found)) return true
  }
  return false
}

/** What is made anew as a flat tree to be unpacked beside the other one, and where each name of it goes. */
export interface Staged {
  readonly tree: FileTree
  /** By the name in the staged tree. */
  readonly places: ReadonlyMap<ByteString, ByteString>
  /** Whose content has to come out as it was found when the plan was made. */
  readonly files: ReadonlyArray<{ readonly expected: Inode; readonly staged: Inode }>
}

export const stage = ({ anew }: MendPlan): Staged => {
  const root = new Inode("directory", 0o700, process.geteuid?.() ?? 0, process.getegid?.() ?? 0, 0, unknown)
  root.layer = implied
  root.nlink = 1
  const tree = new FileTree({ root, maxNames: Infinity })
  const places = new Map<ByteString, ByteString>()
  const files: Array<Staged["files"][number]> = []
  for (const { inode, names } of anew) {
    const staged = copyOf(inode)
    staged.nlink = names.length
    files.push({ expected: inode, staged })
    for (const path of names) {
      const name = String(places.size)
      places.set(name, path)
      tree.root.children!.set(name, new TreeNode(name, tree.root, staged, inode.layer))
      tree.names++
    }
  }
  return { tree, places, files }
}

const copyOf = (from: Inode): Inode => {
  const inode = new Inode(from.type, from.mode, from.uid, from.gid, from.mtimeSeconds, from.mtimeNanoseconds)
  return Object.assign(inode, from, { sha256: undefined })
}

export interface Mending {
  /** The tree's directory: absolute, in bytes. */
  readonly root: ByteString
  /** On the same file system, and nobody else's: what was unpacked of `stage`, and a place for what goes. */
  readonly staged: ByteString
  readonly trash: ByteString
  readonly expected: FileTree
  readonly disk: DiskTree
  readonly plan: MendPlan
  readonly places: Staged["places"]
  /** Names of the staged tree that could not be made. */
  readonly lost: ReadonlySet<ByteString>
}

/** What this process may not do: set an attribute, or change a name at all (`entry`). */
export interface Unmended {
  readonly path: ByteString
  readonly what: UnrestoredWhat
  readonly message: string
}

/**
 * Puts everything in its place. Every directory on the way to a name is looked at before anything is done in it: no
 * symlink is followed. Throws what the file system says of itself, such as that it is full; what was done until then is
 * right.
 */
export const carryOut = (mending: Mending): ReadonlyArray<Unmended> => new Mender(mending).run()

class Mender {
  readonly #mending: Mending
  readonly #root: ByteString
  readonly #restorer = new Restorer(Libc.load(), false)
  /** Directories that are known to be such. */
  readonly #known = new Set<ByteString>()
  /** Those in which names changed. */
  readonly #touched = new Set<ByteString>()
  readonly #unmended: Array<Unmended> = []
  readonly #failed = new Set<ByteString>()
  #gone = 0
  #made = 0

  constructor(mending: Mending) {
    this.#mending = mending
    this.#root = withoutSlash(mending.root)
  }

  run(): ReadonlyArray<Unmended> {
    const { lost, places, plan, staged } = this.#mending
    for (const path of plan.remove) this.#try(path, () => this.#remove(path))
    for (const path of plan.directories.map(pathOf)) this.#try(path, () => this.#make(path))
    for (const [name, path] of places) {
      if (!lost.has(name)) this.#try(path, () => this.#rename(`${staged}/${name}`, path))
    }
    for (const { from, names } of plan.links) for (const path of names) this.#try(path, () => this.#link(from, path))
    const directories = new Set([...this.#touched, ...plan.directories.map(pathOf)])
    for (const path of plan.attributes) {
      if (this.#mending.expected.lookup(path)!.children === undefined) this.#try(path, () => this.#attributes(path))
      else directories.add(path)
    }
    // Those below first: what is restored there changes nothing above.
    const wrong = new Set([...plan.attributes, ...plan.directories.map(pathOf)])
    for (const path of [...directories].sort((a, b) => depth(b) - depth(a))) {
      this.#try(path, () => (wrong.has(path) ? this.#attributes(path) : this.#asBefore(path)))
    }
    return this.#unmended
  }

  /** One name that the system lets nobody change stops no other. */
  #try(path: ByteString, act: () => void): void {
    try {
      act()
    } catch (cause) {
      const code = codeOf(cause)
      if (ofAll.has(code)) throw cause
      if (!this.#failed.has(path)) this.#unmended.push({ path, what: "entry", message: code })
      this.#failed.add(path)
    }
  }

  #at(path: ByteString): ByteString {
    return path === "" ? this.#root || "/" : `${this.#root}/${path}`
  }

  #target(path: ByteString): string | Buffer {
    return nodePath(this.#at(path))
  }

  /** Makes sure that the way to a name leads through directories alone, and that names can be changed in the last. */
  #open(path: ByteString): void {
    const parent = parentOf(path)
    this.#check(parent)
    if (this.#touched.has(parent)) return
    this.#touched.add(parent)
    if ((process.geteuid?.() ?? 0) === 0) return
    const { mode } = fs.lstatSync(this.#target(parent))
    if ((mode & 0o700) !== 0o700) fs.chmodSync(this.#target(parent), (mode & 0o7777) | 0o700)
  }

  #check(directory: ByteString): void {
    if (this.#known.has(directory)) return
    if (directory !== "") this.#check(parentOf(directory))
    if (!fs.lstatSync(this.#target(directory)).isDirectory()) {
      throw Object.assign(new Error(`/${Bytes.display(directory)} is no directory`), { code: "ENOTDIR" })
    }
    this.#known.add(directory)
  }

  #remove(path: ByteString): void {
    this.#open(path)
    fs.renameSync(this.#target(path), nodePath(`${this.#mending.trash}/${this.#gone++}`))
  }

  #make(path: ByteString): void {
    this.#open(path)
    fs.mkdirSync(this.#target(path), 0o700)
    this.#restorer.disinherit(this.#at(path))
  }

  #rename(from: ByteString, path: ByteString): void {
    this.#open(path)
    fs.renameSync(nodePath(from), this.#target(path))
  }

  #link(from: ByteString, path: ByteString): void {
    this.#check(parentOf(from))
    const made = `${this.#mending.trash}/link.${this.#made++}`
    try {
      fs.linkSync(this.#target(from), nodePath(made))
    } catch (cause) {
      this.#unmended.push({ path, what: "hardlink", message: cause instanceof Error ? cause.message : String(cause) })
      return
    }
    this.#rename(made, path)
  }

  /** As they should be. */
  #attributes(path: ByteString): void {
    this.#check(parentOf(path))
    const { inode } = this.#mending.expected.lookup(path)!
    const found = this.#mending.disk.tree.lookup(path)?.inode
    // Nothing says what an implied directory should be, but for overlay's marks: one that is there stays as it is.
    const wanted = isImplied(inode) && found?.type === "directory" ? { ...found, xattrs: inode.xattrs } : inode
    const report = (what: UnrestoredWhat, message: string): void => {
      if (what !== "owner" || !isImplied(inode)) this.#unmended.push({ path, what, message })
    }
    const { libc } = this.#restorer
    for (const name of (found?.type === inode.type ? found.xattrs : undefined)?.keys() ?? []) {
      if (inode.xattrs?.has(name) || isHostLabel(name) || libc === undefined) continue
      const errno = libc.lremovexattr(Libc.path(Buffer.from(this.#at(path), "latin1")), name)
      // ENODATA: taken away by another name of the same file.
      if (errno !== 0 && Libc.errorName(errno) !== "ENODATA") {
        report("xattr", `${Bytes.display(name)}: ${Libc.errorName(errno)}`)
      }
    }
    this.#restorer.path(this.#at(path), wanted, inode.type === "symlink", report)
  }

  /** A directory whose names alone changed has the attributes again that it had before. */
  #asBefore(path: ByteString): void {
    const inode = this.#mending.disk.tree.lookup(path)?.inode
    if (inode === undefined) return
    this.#restorer.path(this.#at(path), { ...inode, xattrs: undefined }, false, (what, message) =>
      this.#unmended.push({ path, what, message })
    )
  }
}

/** What concerns the file system as a whole, and so every name that is still to come. */
const ofAll: ReadonlySet<string> = new Set([...spaceErrors, "EIO", "EROFS", "EMFILE", "ENFILE", "ENOMEM"])

const depth = (path: ByteString): number => (path === "" ? 0 : path.split("/").length)

const parentOf = (path: ByteString): ByteString => path.slice(0, Math.max(0, path.lastIndexOf("/")))
