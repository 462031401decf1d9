/** `exclude`: members left out by gitignore patterns, in every layer. */
import * as Effect from "effect/Effect"
import * as ByteString from "../content/ByteString.ts"
import type { Copy } from "../content/ExcludeEdit.ts"
import { exclude } from "../content/LayerEdits.ts"
import type { LayerInput } from "../content/LayerStream.ts"
import * as Locate from "../content/Locate.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import type * as Image from "../image/Image.ts"
import * as Filter from "./Filter.ts"
import type { ExcludedFromLayer } from "./Report.ts"
import { failed, type RewrittenLayer, rewriteLayers, withLayers } from "./Rewrite.ts"

export interface ExcludeOptions {
  /** As in gitignore(5), relative to the root of the file system; the last one that matches counts. */
  readonly patterns: ReadonlyArray<string>
}

/**
 * Leaves out what the patterns match, and what lies below a directory they match. Whiteouts stay, as what they hide may
 * have another type than what was excluded; those inside an excluded directory go with it, as it goes in every layer.
 * Directories that become empty stay.
 *
 * No file that stays loses its content: a hardlink to an excluded file of its own layer takes the file's place, one to an
 * excluded file of a lower layer becomes a copy of it.
 */
export const make = (options: ExcludeOptions): Filter.Filter => {
  const { patterns } = options
  return Filter.make(
    "exclude",
    { pattern: patterns },
    Effect.fnUntraced(function* (image) {
      const plain = exclude({ patterns, promote: [], copies: [] })
      const first = yield* rewriteLayers(
        image.layers,
        image.layers.map(() => plain)
      )
      const rewritten = [...first]
      const mended: Array<readonly [index: number, edit: Image.Edit]> = []
      for (const [index, { facts }] of first.entries()) {
        const edit = yield* mend(image, index, patterns, facts.exclude!)
        if (edit !== undefined) mended.push([index, edit])
      }
      const second = yield* rewriteLayers(
        mended.map(([index]) => image.layers[index]!),
        mended.map(([, edit]) => edit)
      )
      for (const [position, [index]] of mended.entries()) rewritten[index] = second[position]!
      return {
        image: yield* withLayers(
          image,
          rewritten.map(({ layer }) => layer)
        ),
        report: {
          filter: "exclude",
          layers: rewritten.map((one, index) => account(image.layers[index]!, one, first[index]!))
        }
      }
    })
  )
}

const account = (before: Image.Layer, { facts, layer }: RewrittenLayer, first: RewrittenLayer): ExcludedFromLayer => ({
  index: before.index,
  before: before.diffId,
  after: layer.diffId,
  changed: facts.changed,
  entries: facts.exclude!.entries,
  bytes: facts.exclude!.bytes,
  paths: facts.exclude!.paths,
  promoted: first.facts.exclude!.promote.map(([, path]) => ByteString.display(path))
})

/** The edit that also keeps hardlinks alive; undefined when none needs it. */
const mend = Effect.fnUntraced(function* (
  image: Image.Image,
  index: number,
  patterns: ReadonlyArray<string>,
  facts: NonNullable<RewrittenLayer["facts"]["exclude"]>
): Effect.fn.Return<Image.Edit | undefined, Filter.FilterError, WorkerPool> {
  const copies: Array<Copy<LayerInput>> = []
  for (const { link, target } of facts.open) {
    const found = yield* find(image, index, target)
    if (found === undefined) continue
    const { bytes, edits } = image.layers[found.layer]!
    copies.push({ link, entry: found.entry, from: { region: bytes, edits } })
  }
  return facts.promote.length === 0 && copies.length === 0
    ? undefined
    : exclude({ patterns, promote: facts.promote, copies })
})

/** More hardlinks from one to the next than any layer has. */
const maxLinks = 40

/** Which member of the layers below `above` a path stands for there; undefined when they do not show it. */
const find = Effect.fnUntraced(function* (image: Image.Image, above: number, target: ByteString.ByteString) {
  const pool = yield* WorkerPool
  let path = target
  let before = Number.POSITIVE_INFINITY
  let links = 0
  for (let index = above - 1; index >= 0; ) {
    const layer = image.layers[index]!
    const [located] = yield* pool.runAll(Locate.job, [{ region: layer.bytes, edits: layer.edits, paths: [path] }])
    if (located!.failure !== undefined) return yield* failed(layer, located!.failure)
    const member = located!.members.filter((one) => one.entry < before).at(-1)
    if (member?.kind === "directory") return undefined
    if (member?.kind === "other") return { layer: index, entry: member.entry }
    if (member !== undefined) {
      if (++links > maxLinks) return undefined
      path = member.target
      before = member.entry
      continue
    }
    if (located!.hidden.length > 0) return undefined
    index--
    before = Number.POSITIVE_INFINITY
  }
  return undefined
})
