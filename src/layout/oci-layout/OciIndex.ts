/** index.json of a layout that is being added to: what is there stays, properties that are not known included. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Json from "../../image/Json.ts"
import * as MediaType from "../../image/MediaType.ts"
import type { Descriptor } from "../Conversion.ts"
import { occupied } from "../OutputFiles.ts"
import { readJson } from "../Store.ts"
import * as Files from "./OciFiles.ts"

/** The characters of annotations.md "org.opencontainers.image.ref.name"; their order there is a SHOULD. */
export const isReferenceName = (text: string): boolean => /^[A-Za-z0-9._:@/+-]{1,1024}$/.test(text)

type JsonObject = Readonly<Record<string, unknown>>

const readObject = (root: string, name: string): JsonObject | undefined => {
  const file = path.join(root, name)
  const stat = fs.lstatSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  const refuse = (message: string) => occupied(`cannot add to ${root}: ${name}: ${message}`)
  const read = readJson({ path: file, offset: 0, size: stat.size })
  if ("failure" in read) throw refuse(read.failure)
  const document = Json.parse(read.bytes)
  if (document.problems.length > 0) throw refuse(document.problems[0]!.message)
  if (!Json.isObject(document.value)) throw refuse(`expected an object, found ${Json.typeName(document.value)}`)
  return document.value
}

/** The index of the layout at `root`. Throws a WriteError when the layout is none that can be added to. */
export const read = (root: string): { readonly value: JsonObject; readonly entries: ReadonlyArray<unknown> } => {
  const layout = readObject(root, Files.layoutFile)
  if (layout !== undefined && layout["imageLayoutVersion"] !== Files.layoutVersion) {
    throw occupied(
      `cannot add to ${root}: expected imageLayoutVersion ${Files.layoutVersion}, found ${JSON.stringify(layout["imageLayoutVersion"])}`
    )
  }
  const value = readObject(root, Files.indexFile) ?? { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [] }
  // Go writes null for an empty slice.
  const entries = value["manifests"] ?? []
  if (!Array.isArray(entries))
    throw occupied(
      `cannot add to ${root}: ${Files.indexFile}: expected manifests as an array, found ${Json.typeName(entries)}`
    )
  return { value, entries }
}

const nameOf = (entry: unknown): string | undefined => {
  const annotations = Json.isObject(entry) ? entry["annotations"] : undefined
  const name = Json.isObject(annotations) ? annotations[Files.refName] : undefined
  return typeof name === "string" ? name : undefined
}

/**
 * The entries with others added: one with a reference name takes the place of the one that had it; one without is added
 * unless its digest is listed already.
 */
export const merge = (entries: ReadonlyArray<unknown>, added: ReadonlyArray<Descriptor>): ReadonlyArray<unknown> => {
  let merged = [...entries]
  for (const one of added) {
    const name = nameOf(one)
    const at = merged.findIndex((entry) =>
      name === undefined ? Json.isObject(entry) && entry["digest"] === one.digest : nameOf(entry) === name
    )
    if (at < 0) merged.push(one)
    else if (name !== undefined)
      merged = merged.flatMap((entry, index) => (index === at ? [one] : nameOf(entry) === name ? [] : [entry]))
  }
  return merged
}

/** The bytes of index.json with `added` in it. Throws a WriteError when what is there cannot be added to. */
export const merged = (root: string, added: ReadonlyArray<Descriptor>): Uint8Array => {
  const { entries, value } = read(root)
  return encode({ ...value, manifests: merge(entries, added) })
}

export const encode = (value: JsonObject): Uint8Array => Buffer.from(JSON.stringify(value))
