/**
 * docker-save's manifest.json (docker-image-spec v1.3), as archives, directories and hybrids carry it: one reader that
 * reports whatever is wrong, for verifiers, and from which sources build images.
 */
import type { Collector } from "../../check/Collector.ts"
import { checkNames, nameChecks } from "../../check/NameChecks.ts"
import * as Json from "../../image/Json.ts"
import type * as Document from "../Document.ts"
import { type Store, unsafeName } from "../Store.ts"

/** One entry of a manifest.json. */
export interface SavedImage {
  /** The manifest's file name. */
  readonly manifestFile: string
  /** What findings about the entry as a whole name as their subject. */
  readonly subject: string
  readonly config: string | undefined
  readonly names: ReadonlyArray<string>
  /** undefined where the entry does not say them. */
  readonly layers: ReadonlyArray<string> | undefined
  readonly parent: string | undefined
}

/**
 * Every image that a manifest.json names, with a finding for each thing wrong with it. In an archive (`store`) an absolute
 * name means a member, as buildpacks write theirs; anywhere else it would lead out of the image.
 */
export const readManifest = (
  document: Document.ReadDocument,
  file: string,
  report: Collector,
  store?: Store
): ReadonlyArray<SavedImage> => {
  report.ran(
    ...nameChecks,
    "manifest.not-an-array",
    "manifest.empty",
    "manifest.missing-field",
    "manifest.wrong-type",
    "manifest.unsafe-path",
    ...(store?.kind === "archive" ? (["manifest.absolute-path"] as const) : [])
  )
  const { value } = document
  if (value === undefined) return []
  if (!Array.isArray(value)) {
    report.report("manifest.not-an-array", file, "the manifest is not an array of images", {
      expected: "an array",
      actual: Json.typeName(value)
    })
    return []
  }
  if (value.length === 0) report.report("manifest.empty", file, "the manifest names no image")
  const images: Array<SavedImage> = []
  for (const [position, item] of value.entries()) {
    if (!Json.isObject(item)) {
      report.report("manifest.wrong-type", file, `entry ${position} is no object`, {
        expected: "an object",
        actual: Json.typeName(item)
      })
      continue
    }
    images.push(readEntry(item, file, value.length === 1 ? undefined : position, report, store))
  }
  return images
}

const properties: ReadonlyArray<string> = ["Config", "RepoTags", "Layers", "Parent", "LayerSources"]

const readEntry = (
  written: Readonly<Record<string, unknown>>,
  file: string,
  position: number | undefined,
  report: Collector,
  store: Store | undefined
): SavedImage => {
  const at = position === undefined ? "" : ` of entry ${position}`
  checkNames(written, properties, position === undefined ? "" : `entry ${position}`, file, report)
  // Whatever loads an archive is written in Go; containerify gives all names in lower case.
  const item = store?.kind === "archive" ? Json.withKnownNames(written, properties) : written
  const names = strings(item["RepoTags"], file, `RepoTags${at}`, report) ?? []
  const path = (name: string, field: string): string | undefined => {
    const why = unsafeName(name)
    if (why === undefined) return name
    const member = name.replace(/^\/+/, "")
    if (store?.kind === "archive" && unsafeName(member) === undefined && store.lookup(member)?.kind === "file") {
      report.report("manifest.absolute-path", file, `${field}${at} names a member of the archive by an absolute path`, {
        expected: JSON.stringify(member),
        actual: JSON.stringify(name.slice(0, 500))
      })
      return member
    }
    report.report("manifest.unsafe-path", file, `${field}${at} names a path that cannot be followed: ${why}`, {
      actual: JSON.stringify(name.slice(0, 500))
    })
    return undefined
  }
  let config: string | undefined
  if (typeof item["Config"] === "string") config = path(item["Config"], "Config")
  else if (item["Config"] === undefined || item["Config"] === null) {
    report.report("manifest.missing-field", file, `Config${at} is missing`, { expected: "Config", actual: "nothing" })
  } else wrongType(report, file, `Config${at}`, "a string", item["Config"])
  // Docker writes null for an image without layers.
  const stated = item["Layers"] === null ? [] : strings(item["Layers"], file, `Layers${at}`, report)
  if (stated === undefined && item["Layers"] === undefined) {
    report.report("manifest.missing-field", file, `Layers${at} is missing`, { expected: "Layers", actual: "nothing" })
  }
  const layers = stated?.map((name, index) => path(name, `Layers[${index}]`))
  if (item["Parent"] !== undefined && item["Parent"] !== null && typeof item["Parent"] !== "string") {
    wrongType(report, file, `Parent${at}`, "a string", item["Parent"])
  }
  return {
    manifestFile: file,
    subject: position === undefined ? file : `${file}#${position}`,
    config,
    names,
    layers: layers?.every((name) => name !== undefined) ? (layers as ReadonlyArray<string>) : undefined,
    parent: typeof item["Parent"] === "string" && item["Parent"] !== "" ? item["Parent"] : undefined
  }
}

const wrongType = (report: Collector, file: string, field: string, expected: string, actual: unknown): void =>
  report.report("manifest.wrong-type", file, `${field} is not ${expected}`, { expected, actual: Json.typeName(actual) })

/** undefined when the value is none; null counts as none. */
const strings = (value: unknown, file: string, field: string, report: Collector): ReadonlyArray<string> | undefined => {
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value) || value.some((one) => typeof one !== "string")) {
    wrongType(report, file, field, "an array of strings", value)
    return undefined
  }
  return value as ReadonlyArray<string>
}
