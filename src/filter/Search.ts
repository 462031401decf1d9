/** `search`: where in the layers a path is, and what became of it in the layers above. */
import * as Effect from "effect/Effect"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import type * as Image from "../image/Image.ts"
import * as Reference from "../image/Reference.ts"
import * as Filter from "./Filter.ts"
import type { LayerMatches, Match, MatchState } from "./Report.ts"
import { failed } from "./Rewrite.ts"
import * as SearchLayer from "./SearchLayer.ts"

export interface SearchOptions extends SearchLayer.SearchPattern {
  /** One line for each match, `image:tag:layer:path`, and nothing else. */
  readonly scriptFriendly: boolean
}

/** Every member of every layer that matches, base first, each layer's in their order. */
export const search = Effect.fn("Search.search")(function* (
  image: Image.Image,
  pattern: SearchLayer.SearchPattern
): Effect.fn.Return<ReadonlyArray<LayerMatches>, Filter.FilterError, WorkerPool> {
  const fault = patternFault(pattern)
  if (fault !== undefined) return yield* new Filter.FilterError({ reason: "Usage", message: fault })
  const pool = yield* WorkerPool
  const wholes = image.layers.map(
    ({ bytes, edits }, index): SearchLayer.SearchTask => ({
      region: bytes,
      edits,
      pattern: pattern.pattern,
      regex: pattern.regex,
      keepLeaves: index > 0
    })
  )
  const split = yield* Effect.sync(() => wholes.map((task) => SearchLayer.split(task, pool.size)))
  const found = yield* pool.runAll(SearchLayer.job, split.flat())
  let at = 0
  const layers = split.map((tasks) => SearchLayer.join(found.slice(at, (at += tasks.length))))
  const unfit = layers.flatMap(({ fits }, index) => (fits ? [] : [index]))
  const again = yield* pool.runAll(
    SearchLayer.job,
    unfit.map((index) => wholes[index]!)
  )
  for (const [position, index] of unfit.entries()) layers[index] = again[position]!
  for (const [index, { failure }] of layers.entries()) {
    if (failure !== undefined) return yield* failed(image.layers[index]!, failure, "search")
  }
  const fates = new Fates(layers)
  const damage = yield* damageIn(layers)
  return layers.map(
    ({ members }, index): LayerMatches => ({
      index,
      diffId: image.layers[index]!.diffId,
      id: layerId(image.layers[index]!),
      matches: members.map((member) => show(member, fates.of(member, index))),
      problems: damage[index]!
    })
  )
})

/** A warning (a name that is not UTF-8, a missing end) hides no match; an error may. */
const damageIn = Effect.fnUntraced(function* (layers: ReadonlyArray<SearchLayer.SearchedLayer>) {
  if (layers.every(({ problems }) => problems.length === 0)) return layers.map(() => [])
  const { catalog } = yield* Effect.promise(() => import("../check/Catalog.ts"))
  return layers.map(({ problems }) =>
    problems
      .filter(({ check }) => catalog[check].severity === "error")
      .map(({ check, message }) => `${message} [${check}]`)
  )
})

/** Why a pattern is none, or undefined. */
export const patternFault = (pattern: SearchLayer.SearchPattern): string | undefined => {
  try {
    SearchLayer.matcher(pattern)
    return undefined
  } catch (cause) {
    return `cannot search for ${JSON.stringify(pattern.pattern)}: ${cause instanceof Error ? cause.message : String(cause)}`
  }
}

const show = (member: SearchLayer.SearchedMember, state: MatchState): Match => ({
  path: Bytes.display(member.path),
  type: member.type,
  size: member.size,
  mode: member.mode,
  uid: member.uid,
  gid: member.gid,
  mtime: member.mtime,
  linkname: member.type === "symlink" || member.type === "hardlink" ? Bytes.display(member.linkname) : undefined,
  state
})

/** The name that the older tool gives a layer: a filter gives it the digest of its content. */
export const layerId = (layer: Image.Layer): string => {
  const own =
    /^blobs\/[^/]+\/([^/]+)$/.exec(layer.name) ??
    /^(.+)\/layer\.tar$/.exec(layer.name) ??
    /^([^/]+)\.tar$/.exec(layer.name)
  return layer.edits.length === 0 && own !== null ? own[1]! : layer.diffId.slice(layer.diffId.indexOf(":") + 1)
}

/** `image:tag` as the older tool has it: the first name, `latest` where it has no tag. */
export const imageName = (image: Image.Image): string => {
  const [name] = image.names
  if (name === undefined) return "unknown:unknown"
  const parts = Reference.split(name)
  return `${parts.name}:${parts.tag ?? "latest"}`
}

/** One layer's effect on those below it, unpacked when the first match below it asks. */
interface Cover {
  /** By path: the members found there, which are all that can overwrite another match. */
  readonly members: ReadonlySet<ByteString>
  readonly whiteouts: ReadonlySet<ByteString>
  readonly opaques: ReadonlySet<ByteString>
  readonly leaves: ReadonlySet<ByteString>
}

class Fates {
  readonly #layers: ReadonlyArray<SearchLayer.SearchedLayer>
  readonly #covers = new Map<number, Cover>()

  constructor(layers: ReadonlyArray<SearchLayer.SearchedLayer>) {
    this.#layers = layers
  }

  of({ name }: SearchLayer.SearchedMember, index: number): MatchState {
    const slash = name.lastIndexOf("/")
    if (name.startsWith(".wh.", slash + 1)) {
      const base = name.slice(slash + 1)
      const directory = slash < 0 ? "" : name.slice(0, slash)
      const opaque = base === ".wh..wh..opq"
      const hides = opaque ? directory : directory === "" ? base.slice(4) : `${directory}/${base.slice(4)}`
      return { state: "whiteout", hides: Bytes.display(hides), opaque }
    }
    for (let above = index + 1; above < this.#layers.length; above++) {
      const cover = this.#cover(above)
      if (cover.members.has(name)) return { state: "overwritten", by: above }
      if (cover.whiteouts.has(name) || cover.opaques.has("")) return { state: "deleted", by: above }
      for (let at = slash; at > 0; at = name.lastIndexOf("/", at - 1)) {
        const parent = name.slice(0, at)
        if (cover.whiteouts.has(parent) || cover.opaques.has(parent)) return { state: "deleted", by: above }
        if (cover.leaves.has(parent)) return { state: "overwritten", by: above }
      }
      if (!this.#layers[above]!.leavesComplete) return { state: "unknown" }
    }
    return { state: "visible" }
  }

  #cover(index: number): Cover {
    const known = this.#covers.get(index)
    if (known !== undefined) return known
    const { leaves, members, opaques, whiteouts } = this.#layers[index]!
    const cover = {
      members: new Set(members.map((member) => member.name)),
      whiteouts: new Set(whiteouts),
      opaques: new Set(opaques),
      leaves: new Set(leaves.length === 0 ? [] : Bytes.fromBytes(leaves, 0, leaves.length - 1).split("\0"))
    }
    this.#covers.set(index, cover)
    return cover
  }
}

/** The search as a filter: the image goes through as it is, and the report holds the matches. */
export const make = (options: SearchOptions): Filter.Filter =>
  Filter.make(
    "search",
    { pattern: options.pattern, regex: options.regex, script_friendly: options.scriptFriendly },
    Effect.fnUntraced(function* (image) {
      const layers = yield* search(image, options)
      return {
        image,
        report: { filter: "search", scriptFriendly: options.scriptFriendly, name: imageName(image), layers }
      }
    })
  )
