/**
 * Archives of the time before manifest.json: `{id}/json`, `{id}/layer.tar`, and `repositories` that names the IDs
 * (docker-image-spec v1.0). Nothing in them has a digest.
 */
import type { Collector } from "../../check/Collector.ts"
import * as Json from "../../image/Json.ts"
import * as Document from "../Document.ts"
import { type BlobKey, type LayerAudit, layerChecks } from "../LayerAudit.ts"
import { readJson, type Store } from "../Store.ts"
import type { RepositoryTag } from "./Repositories.ts"

const checks: Document.DocumentChecks = {
  missing: "legacy.invalid-json",
  unreadable: "legacy.invalid-json",
  invalid: "legacy.invalid-json",
  duplicateKey: "legacy.duplicate-key"
}

export interface LegacyImage {
  readonly label: string
  readonly subjects: ReadonlySet<string>
}

/** Directories of the legacy form, by their IDs. */
export const ids = (store: Store): ReadonlyArray<string> =>
  (store.list("") ?? []).filter((name) => /^[a-f0-9]{64}$/.test(name) && store.lookup(`${name}/json`) !== undefined)

/** Images of that time have at most 127 layers each. */
const maxLayers = 200_000

/** True when `id` has a json that says of no parent. */
export const isLoose = (store: Store, id: string): boolean => {
  const entry = store.lookup(`${id}/json`)
  if (entry?.kind !== "file") return false
  const read = readJson(entry.region)
  const value = "bytes" in read ? Json.parse(read.bytes).value : undefined
  return Json.isObject(value) && (value["parent"] === undefined || value["parent"] === null || value["parent"] === "")
}

/** Every image that a name stands for, and every one that nothing stands on: `docker save` by ID wrote no names. */
export const audit = (
  store: Store,
  tags: ReadonlyArray<RepositoryTag>,
  layers: LayerAudit,
  report: Collector
): ReadonlyArray<LegacyImage> => {
  report.ran("legacy.bad-id", "legacy.bad-parent", "layer.missing", "layer.unreadable")
  const parents = new Map<string, string | undefined>()
  const parentOf = (id: string): string | undefined => {
    if (!parents.has(id)) parents.set(id, readParent(store, id, report))
    return parents.get(id)
  }
  const byId = new Map<string, Array<string>>()
  for (const { id, name } of tags) {
    const known = byId.get(id)
    if (known === undefined) byId.set(id, [name])
    else known.push(name)
  }
  let count = 0
  const covered = new Set<string>()
  const image = (top: string, label: string): LegacyImage => {
    const chain = new Set<string>()
    for (let id: string | undefined = top; id !== undefined; id = parentOf(id)) {
      if (chain.has(id)) {
        report.report("legacy.bad-parent", `${id}/json`, "the chain of parents comes back to it")
        break
      }
      if (++count > maxLayers) {
        report.report("manifest.too-many-layers", "repositories", "its images have more layers than are looked at", {
          expected: `at most ${maxLayers}`,
          actual: "more"
        })
        break
      }
      chain.add(id)
    }
    for (const id of chain) covered.add(id)
    const stack = [...chain].reverse().map((id) => layer(store, id, layers, report))
    layers.stack(label, stack)
    return {
      label,
      subjects: new Set([...chain].flatMap((id) => [`${id}/json`, `${id}/layer.tar`]).concat("repositories"))
    }
  }
  const named = [...byId].map(([top, names]) => image(top, names.slice(0, 20).join(", ")))
  const rest = ids(store).filter((id) => !covered.has(id))
  const below = new Set(rest.flatMap((id) => parentOf(id) ?? []))
  const tops = rest.filter((id) => !below.has(id)).map((id) => image(id, id))
  // What is left then are circles, in which every one stands on another.
  return [...named, ...tops, ...rest.flatMap((id) => (covered.has(id) ? [] : [image(id, id)]))]
}

/** Only the documents, where manifest.json says of what images consist. */
export const documents = (store: Store, report: Collector): void => {
  const all = ids(store)
  if (all.length === 0) return
  report.ran("legacy.invalid-json", "legacy.duplicate-key", "legacy.bad-id", "legacy.bad-parent")
  const parents = new Map(all.map((id) => [id, readParent(store, id, report)]))
  const done = new Set<string>()
  for (const start of all) {
    const chain = new Set<string>()
    for (let id: string | undefined = start; id !== undefined && !done.has(id); id = parents.get(id)) {
      if (chain.has(id)) {
        report.report("legacy.bad-parent", `${id}/json`, "the chain of parents comes back to it")
        break
      }
      chain.add(id)
    }
    for (const id of chain) done.add(id)
  }
}

const readParent = (store: Store, id: string, report: Collector): string | undefined => {
  const file = `${id}/json`
  const document = Document.read(store, file, checks, report)
  if (document?.value === undefined) return undefined
  if (!Json.isObject(document.value)) {
    report.report("legacy.invalid-json", file, "it is not a JSON object", {
      expected: "an object",
      actual: Json.typeName(document.value)
    })
    return undefined
  }
  const own = document.value["id"]
  if (own !== undefined && own !== id) {
    report.report("legacy.bad-id", file, "its id is not the one that it is filed under", {
      expected: id,
      actual: typeof own === "string" ? JSON.stringify(own.slice(0, 200)) : Json.typeName(own)
    })
  }
  const parent = document.value["parent"]
  if (parent === undefined || parent === null || parent === "") return undefined
  if (typeof parent === "string" && /^[a-f0-9]{64}$/.test(parent) && store.lookup(`${parent}/json`) !== undefined)
    return parent
  report.report("legacy.bad-parent", file, "its parent is not here", {
    expected: "the ID of an image here",
    actual: typeof parent === "string" ? JSON.stringify(parent.slice(0, 200)) : Json.typeName(parent)
  })
  return undefined
}

const layer = (store: Store, id: string, layers: LayerAudit, report: Collector): BlobKey | undefined => {
  const file = `${id}/layer.tar`
  const entry = store.lookup(file)
  if (entry?.kind === "file") return layers.add({ subject: file, region: entry.region, as: "layer" }, layerChecks)
  if (entry === undefined) report.report("layer.missing", file, `the layer of ${id} does not exist`)
  else {
    report.report("layer.unreadable", file, "it is no regular file", {
      expected: "a tar",
      actual: entry.kind === "directory" ? "a directory" : entry.what
    })
  }
  return undefined
}
