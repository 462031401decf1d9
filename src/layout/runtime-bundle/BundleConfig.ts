/** The two configurations of an unpacked image. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type LayerInput, stream } from "../../content/LayerStream.ts"
import { openForRead } from "../../content/OpenFile.ts"
import { TarScanner } from "../../content/TarScan.ts"
import type * as Image from "../../image/Image.ts"
import type { FileTree, Inode, TreeNode } from "../../rootfs/FileTree.ts"
import { describe, SourceError, WriteError } from "../Failure.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./BundleFiles.ts"
import * as Confined from "./Confined.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

export interface ConfigFile {
  readonly file: Receipt.File
  readonly bytes: Uint8Array
}

type ReadText = (name: string) => string | undefined

/** Left: one line on why the user cannot be told. */
const resolve = (spec: string, readText: ReadText): Either.Either<RuntimeConfig.User, string> => {
  try {
    return RuntimeConfig.userOf(spec, { passwd: readText("etc/passwd"), group: readText("etc/group") })
  } catch (cause) {
    return Either.left(cause instanceof Error ? cause.message : String(cause))
  }
}

/** What `Config.User` means in the tree unpacked at `rootfs`. Throws when the system does not let it be read. */
export const resolveUser = (spec: string, rootfs: string): Either.Either<RuntimeConfig.User, string> => {
  let refused: unknown
  const user = resolve(spec, (name) => {
    try {
      return Confined.readText(rootfs, name)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== undefined) refused = cause
      throw cause
    }
  })
  if (refused !== undefined) throw refused
  return user
}

const maxText = 4 * 1024 * 1024
const maxSymlinks = 40

/** The stored bytes of a file that a layer holds. Throws when they cannot be read. */
export type ReadBody = (inode: Inode, input: LayerInput) => Buffer

/** From a layer that is a plain tar. */
const inPlace: ReadBody = ({ dataOffset, dataSize }, { region }) => {
  const bytes = Buffer.alloc(dataSize)
  const fd = openForRead(region.path)
  try {
    for (let done = 0; done < dataSize; ) {
      const read = fs.readSync(fd, bytes, done, dataSize - done, region.offset + dataOffset + done)
      if (read === 0) throw new Error("it ends early")
      done += read
    }
    return bytes
  } finally {
    fs.closeSync(fd)
  }
}

/** From a layer in any form, which is read as a whole for it. `Compression.prepare` has to be done before. */
export const streamed: ReadBody = ({ dataSize, entry: wanted }, input) => {
  const parts: Array<Buffer> = []
  const scanner = new TarScanner({
    onBody: (entry, chunk, from, to) => {
      if (entry.index === wanted) parts.push(Buffer.from(chunk.subarray(from, to)))
    },
    onProblem: () => {}
  })
  stream(input, (chunk, from, to) => scanner.write(chunk, from, to))
  scanner.end()
  const bytes = Buffer.concat(parts)
  if (bytes.length !== dataSize) throw new Error("it ends early")
  return bytes
}

/** A file of a tree that its layers hold. Throws a one-line Error when it cannot be read. */
const textIn =
  (tree: FileTree, layers: ReadonlyArray<LayerInput>, read: ReadBody): ReadText =>
  (name) => {
    const node = follow(tree, name)
    if (node === undefined) return undefined
    const { dataSize, layer, sparse, type } = node.inode
    const input = layers[layer]
    if (type !== "file" || sparse !== undefined || input === undefined) throw new Error(`/${name} is no regular file`)
    if (dataSize > maxText) throw new Error(`/${name} has ${dataSize} bytes, more than the limit of ${maxText}`)
    try {
      return read(node.inode, input).toString("utf8")
    } catch (cause) {
      throw new Error(`/${name}: ${describe(cause)}`)
    }
  }

/** Symlinks lead to where they would in the tree, never out of it. */
const follow = (tree: FileTree, name: string): TreeNode | undefined => {
  const todo = name.split("/").reverse()
  let at: TreeNode = tree.root
  let symlinks = 0
  while (todo.length > 0) {
    const part = todo.pop()!
    if (part === "" || part === ".") continue
    if (part === "..") {
      at = at.parent ?? at
      continue
    }
    const child: TreeNode | undefined = at.child(part)
    if (child === undefined) return undefined
    if (child.inode.type !== "symlink") {
      at = child
      continue
    }
    if (++symlinks > maxSymlinks) return undefined
    if (child.inode.link.startsWith("/")) at = tree.root
    todo.push(...child.inode.link.split("/").reverse())
  }
  return at
}

/** config.json and container-config.json of an image whose layers, plain tars unless `read` is for others, make `tree`. */
export const configFiles = (
  image: Image.Image,
  tree: FileTree,
  layers: ReadonlyArray<LayerInput>,
  read: ReadBody = inPlace
): Effect.Effect<ReadonlyArray<ConfigFile>, SourceError | WriteError> =>
  Effect.gen(function* () {
    const { raw, value } = image.config
    if (value.os === "windows") {
      return yield* new WriteError({
        reason: "Unsupported",
        message: `cannot make a runtime configuration for ${image.source}: expected an image for linux, found one for windows`
      })
    }
    const spec = value.config?.User ?? ""
    const user = resolve(spec, textIn(tree, layers, read))
    if (Either.isLeft(user)) {
      return yield* new SourceError({
        reason: "Unsupported",
        message: `cannot make a runtime configuration for ${image.source}: expected the user ${JSON.stringify(spec)} in the image, but ${user.left}`
      })
    }
    const bytes = RuntimeConfig.encode(RuntimeConfig.convert(value, user.right))
    return [
      { file: Receipt.fileOf(Files.containerConfig, raw), bytes: raw },
      { file: Receipt.fileOf(Files.config, bytes), bytes }
    ]
  })
