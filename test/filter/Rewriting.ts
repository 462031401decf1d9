/** What tests of filters share: images made by hand, filters from their specs, and what the layers then hold. */
import * as path from "node:path"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { LayerInput } from "../../src/content/LayerStream.ts"
import * as LayerStream from "../../src/content/LayerStream.ts"
import * as LayerWalk from "../../src/content/LayerWalk.ts"
import * as Filter from "../../src/filter/Filter.ts"
import * as Filters from "../../src/filter/Filters.ts"
import type * as Image from "../../src/image/Image.ts"
import { LayerApplier } from "../../src/rootfs/ApplyLayer.ts"
import { FileTree, isImplied } from "../../src/rootfs/FileTree.ts"
import { readLayers } from "../../src/rootfs/ReadLayers.ts"
import { scan } from "../content/tarFixtures.ts"
import { scratch } from "../fault/Workbench.ts"
import { type ImageOptions, makeImage, pool } from "../layout/writing.ts"
import { type Member, tar } from "../rootfs/Layers.ts"

/** An image of these members, in a directory that goes with the test. */
export const withImage = <A, E>(
  layers: ReadonlyArray<ReadonlyArray<Member> | Uint8Array>,
  use: (image: Image.Image, directory: string) => Effect.Effect<A, E, never>,
  options: Omit<ImageOptions, "layers"> = {}
): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const directory = yield* scratch
    const bytes = layers.map((layer) => (layer instanceof Uint8Array ? layer : tar(layer)))
    return yield* use(makeImage(directory, { names: ["localhost/test:1"], ...options, layers: bytes }), directory)
  }).pipe(Effect.scoped)

export const filter = (spec: string, environment: Filters.Environment = {}): Filter.Filter =>
  Either.getOrThrowWith(Filters.parse(spec, environment), (error) => error)

/** Applies filters, given as a command line gives them. */
export const filtered = (
  image: Image.Image,
  ...specs: ReadonlyArray<string>
): Effect.Effect<Filter.Chained, Filter.FilterError> =>
  Filter.applyAll(
    specs.map((spec) => filter(spec)),
    image
  ).pipe(Effect.provide(pool))

const inputOf = ({ bytes, edits }: Image.Layer): LayerInput => ({ region: bytes, edits })

/** The uncompressed tar of a layer, its edits applied. */
export const tarOf = (layer: Image.Layer): Buffer => {
  const parts: Array<Buffer> = []
  LayerStream.stream(inputOf(layer), (chunk, from, to) => parts.push(Buffer.from(chunk.subarray(from, to))))
  return Buffer.concat(parts)
}

/** Type, path, link target and content of every member. */
export const membersOf = (layer: Image.Layer): ReadonlyArray<string> => {
  const { entries, problems } = scan(tarOf(layer))
  assert.deepStrictEqual(problems, [])
  return entries.map(({ body, entry }) =>
    [entry.type, entry.path, ...(entry.linkname === "" ? [] : ["->", entry.linkname]), body.toString("latin1")]
      .join(" ")
      .trimEnd()
  )
}

/** All layers applied. */
export const treeOf = (image: Image.Image): FileTree => {
  const tree = new FileTree()
  for (const layer of image.layers) {
    const applier = new LayerApplier(tree, layer.index)
    LayerWalk.walk(inputOf(layer), {
      onEntry: applier.onEntry,
      onBody: applier.onBody,
      onEntryEnd: applier.onEntryEnd,
      onProblem: ({ check, message }) => {
        if (check !== "tar.path-not-utf8") assert.fail(message)
      }
    })
    applier.finish()
  }
  return tree
}

/** One line for each name, with all there is to say about it. */
const told = (tree: FileTree): ReadonlyArray<string> => {
  const first = new Map<unknown, string>()
  return [...tree.entries()].map(([name, { inode }]) => {
    const same = first.get(inode)
    if (same === undefined) first.set(inode, name)
    const { devmajor, devminor, gid, link, mode, mtimeNanoseconds, mtimeSeconds, nlink, sha256, size, type, uid } =
      inode
    const xattrs = [...(inode.xattrs ?? [])].sort()
    // A directory that nothing describes has no time of its own.
    return isImplied(inode) || (type === "directory" && mtimeSeconds === 0)
      ? `${name} directory`
      : JSON.stringify([
          name,
          same ?? "",
          ...[type, mode, uid, gid, mtimeSeconds, mtimeNanoseconds, size, sha256, link, devmajor, devminor, nlink],
          xattrs
        ])
  })
}

/** All layers applied, whatever is wrong with them. */
export const tellOf = (image: Image.Image) =>
  Effect.map(readLayers(image.layers.map(({ bytes, edits }) => ({ region: bytes, edits }))), ({ tree }) => told(tree))

export const inside = (directory: string, name: string): string => path.join(directory, name)
