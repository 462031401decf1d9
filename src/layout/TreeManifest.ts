/** The mtree manifest beside an unpacked tree, and what a receipt adds to it. */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type { Collector } from "../check/Collector.ts"
import type { ByteString } from "../content/ByteString.ts"
import type { LayerInput } from "../content/LayerStream.ts"
import { openForRead } from "../content/OpenFile.ts"
import * as Json from "../image/Json.ts"
import { allRecords, type FileTree, type Inode, implied, pathOf } from "../rootfs/FileTree.ts"
import * as Mtree from "../rootfs/Mtree.ts"
import { describe, type WriteError } from "./Failure.ts"
import type * as Receipt from "./Receipt.ts"
import type { Store } from "./Store.ts"
import { unpackTree } from "./UnpackImage.ts"

/** Names in a tree whose manifest is drafted: it stays in memory, with about 150 bytes for each. */
const maxDrafted = 300_000

/**
 * Writes a tree to the new directory `root`, and its manifest to the new file `target`, which a receipt calls `name`. The
 * manifest is made in memory while threads write the files: nothing is left to do then that only one core works at.
 */
export const unpackWithManifest = (
  tree: FileTree,
  root: string,
  layers: ReadonlyArray<LayerInput>,
  { name, target }: { readonly name: string; readonly target: string },
  doing: (cause: unknown) => WriteError
) =>
  Effect.gen(function* () {
    const draft = tree.names > maxDrafted ? undefined : new Mtree.Draft(tree)
    const drafting = Effect.gen(function* () {
      while (draft?.next() === true) yield* nextTurn
    })
    const [unpacked] = yield* Effect.all([unpackTree(tree, root, layers, (files) => draft?.told(files)), drafting], {
      concurrency: 2
    })
    const manifest = yield* Effect.try({ try: () => writeManifest(target, name, tree, draft), catch: doing })
    return { unpacked, manifest }
  })

/** Lets messages of threads come first. */
const nextTurn = Effect.async<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** The manifest is on the disk when it returns. Throws. */
const writeManifest = (target: string, name: string, tree: FileTree, draft: Mtree.Draft | undefined): Receipt.File => {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
  const fd = fs.openSync(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644)
  try {
    const hash = crypto.createHash("sha256")
    let size = 0
    for (const bytes of draft?.complete() ?? Mtree.write(tree)) {
      hash.update(bytes)
      size += bytes.length
      for (let from = 0; from < bytes.length; ) from += fs.writeSync(fd, bytes, from)
    }
    fs.fsyncSync(fd)
    return { path: name, size, sha256: hash.digest("hex") }
  } finally {
    fs.closeSync(fd)
  }
}

/** Groups of names that are one file, each group and all of them in the tree's order. */
export const hardlinksOf = (tree: FileTree): ReadonlyArray<ReadonlyArray<ByteString>> => {
  const groups = new Map<Inode, Array<ByteString>>()
  tree.forEachObject((node) => {
    if (node.inode.nlink < 2 || node.inode.type === "directory") return
    const known = groups.get(node.inode)
    if (known === undefined) groups.set(node.inode, [pathOf(node)])
    else known.push(pathOf(node))
  })
  return [...groups.values()].map((group) => group.sort()).sort((a, b) => (a[0]! < b[0]! ? -1 : 1))
}

/**
 * Puts what the receipt tells into a tree that was read from its manifest: names that are one file share it from then on.
 * Directories without a time are those that no entry describes.
 */
export const complete = (tree: FileTree, hardlinks: unknown): void => {
  tree.forEach(({ inode }) => {
    if (inode.type === "directory" && inode.mtimeNanoseconds === -1) inode.layer = implied
  })
  if (!Array.isArray(hardlinks)) return
  for (const group of hardlinks) {
    if (!Array.isArray(group) || !group.every((name) => typeof name === "string")) return
    const nodes = group.flatMap((name: string) => tree.lookup(name) ?? [])
    const first = nodes[0]?.inode
    if (first === undefined || nodes.length !== group.length || first.nlink !== nodes.length) return
    for (const node of nodes) node.inode = first
  }
  // A file that claims links of which the receipt does not know: then links can be counted only.
  const seen = new Set(hardlinks.flat())
  let whole = true
  tree.forEach((node) => {
    if (node.inode.type !== "directory" && node.inode.nlink > 1 && !seen.has(pathOf(node))) whole = false
  })
  if (whole) tree.records = { ...allRecords, xattrs: tree.records.xattrs }
}

/** Directories with names that such a part of a receipt knows to be one file with others. */
export const directoriesWithLinks = (hardlinks: unknown): ReadonlySet<ByteString> =>
  new Set(
    (Array.isArray(hardlinks) ? hardlinks.flat() : [])
      .filter((name) => typeof name === "string")
      .map((name) => name.slice(0, Math.max(0, name.lastIndexOf("/"))))
  )

export const objects = (value: unknown): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  Array.isArray(value) ? value.filter(Json.isObject) : []

/** Larger ones describe more files than are ever looked at. */
const maxManifest = 4 * 1024 ** 3 - 1

/** The bytes of a manifest, for all threads to read; what is wrong with the file is reported. */
export const readManifestFile = (store: Store, file: string, report: Collector): Uint8Array | undefined => {
  const entry = store.lookup(file)
  const fail = (why: string): undefined => {
    report.report("bundle.invalid-manifest", file, why)
    return undefined
  }
  if (entry?.kind !== "file") return fail("it is no regular file")
  if (entry.region.size > maxManifest) return fail(`it has ${entry.region.size} bytes, more than any manifest`)
  try {
    const fd = openForRead(entry.region.path)
    try {
      const bytes = new Uint8Array(new SharedArrayBuffer(entry.region.size))
      let read = 0
      for (let count = -1; count !== 0; read += count) count = fs.readSync(fd, bytes, read, bytes.length - read, null)
      return bytes.subarray(0, read)
    } finally {
      fs.closeSync(fd)
    }
  } catch (cause) {
    return fail(`it cannot be read: ${describe(cause)}`)
  }
}
