/** Image indexes: OCI's and Docker's manifest lists (image-spec image-index.md; rules 29-34). */
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import * as Platform from "../image/Platform.ts"
import { checkAnnotations } from "./AnnotationChecks.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"
import type { CheckedConfig } from "./ConfigChecks.ts"
import { artifactType, checkDescriptor, type Descriptor } from "./DescriptorChecks.ts"
import { foreign, schemaVersion } from "./ManifestChecks.ts"
import { checkNames } from "./NameChecks.ts"

/** One entry of an index. */
export interface IndexEntry {
  readonly position: number
  readonly descriptor: Descriptor
  /** undefined when it is absent or does not say os and architecture. */
  readonly platform: Platform.Platform | undefined
  /** What findings about this entry alone name as their subject: `index.json#2`. */
  readonly subject: string
}

export interface CheckedIndex {
  readonly entries: ReadonlyArray<IndexEntry>
  readonly subject: Descriptor | undefined
  readonly annotations: ReadonlyMap<string, string>
}

/** More than any layout of one file system holds. */
const maxEntries = 50_000

/** Every id that looking at an index can report, those of its descriptors aside. */
export const indexChecks: ReadonlyArray<CheckId> = [
  "index.bad-schema-version",
  "index.media-type-mismatch",
  "index.no-media-type",
  "index.ambiguous",
  "index.missing-field",
  "index.wrong-type",
  "index.too-many-entries",
  "index.bad-platform",
  "index.empty-platform"
]

const properties: ReadonlyArray<string> = [
  "schemaVersion",
  "mediaType",
  "artifactType",
  "manifests",
  "subject",
  "annotations"
]

const platformProperties: ReadonlyArray<string> = ["architecture", "os", "os.version", "os.features", "variant"]

/** Reports everything that is wrong with a parsed index; `declared` is undefined for index.json, which nothing refers to. */
export const checkIndex = (
  value: unknown,
  declared: string | undefined,
  subject: string,
  report: Collector
): CheckedIndex | undefined => {
  if (!Json.isObject(value)) {
    report.report("index.invalid-json", subject, "the index is not a JSON object", {
      expected: "an object",
      actual: Json.typeName(value)
    })
    return undefined
  }
  schemaVersion(value["schemaVersion"], "index.bad-schema-version", subject, report)
  mediaType(value, declared, subject, report)
  checkNames(value, properties, "", subject, report)
  const odd = foreign(value, ["config", "layers", "fsLayers"])
  if (odd.length > 0) {
    report.report("index.ambiguous", subject, `the index has ${odd.join(" and ")}, which belong to manifests`, {
      expected: "manifests",
      actual: [...(value["manifests"] === undefined ? [] : ["manifests"]), ...odd].join(", ")
    })
  }
  artifactType(value["artifactType"], "artifactType", subject, report)
  return {
    entries: entries(value["manifests"], subject, report),
    subject:
      value["subject"] === undefined || value["subject"] === null
        ? undefined
        : checkDescriptor(value["subject"], "subject", subject, report),
    annotations: checkAnnotations(value["annotations"], "annotations", subject, report)
  }
}

const mediaType = (
  value: Readonly<Record<string, unknown>>,
  declared: string | undefined,
  subject: string,
  report: Collector
): void => {
  const own = value["mediaType"]
  if (own === undefined || own === null || own === "") {
    if (declared !== undefined) report.report("index.no-media-type", subject, "the index does not say its media type")
  } else if (typeof own !== "string") wrongType(report, subject, "mediaType", "a string", own)
  else if (MediaType.kind(own) !== "index" || own !== (declared ?? MediaType.ociIndex)) {
    report.report("index.media-type-mismatch", subject, "the index says another media type than its place", {
      expected: declared ?? MediaType.ociIndex,
      actual: own.slice(0, 300)
    })
  }
}

const entries = (value: unknown, subject: string, report: Collector): ReadonlyArray<IndexEntry> => {
  if (value === undefined) {
    report.report("index.missing-field", subject, "manifests is missing", { expected: "manifests", actual: "nothing" })
    return []
  }
  if (!Array.isArray(value)) {
    wrongType(report, subject, "manifests", "an array", value)
    return []
  }
  if (value.length > maxEntries) {
    report.report("index.too-many-entries", subject, "the index lists more than is looked at", {
      expected: `at most ${maxEntries} entries`,
      actual: `${value.length}`
    })
  }
  const found: Array<IndexEntry> = []
  for (const [position, one] of value.slice(0, maxEntries).entries()) {
    const field = `manifests[${position}]`
    const own = value.length === 1 ? subject : `${subject}#${position}`
    const descriptor = checkDescriptor(one, field, own, report)
    if (descriptor === undefined) continue
    found.push({
      position,
      descriptor,
      platform: platform((one as Readonly<Record<string, unknown>>)["platform"], `${field}.platform`, own, report),
      subject: own
    })
  }
  return found
}

const platform = (value: unknown, field: string, subject: string, report: Collector): Platform.Platform | undefined => {
  if (value === undefined || value === null) return undefined
  if (!Json.isObject(value)) {
    wrongType(report, subject, field, "an object", value)
    return undefined
  }
  // The .NET SDK writes the members of a platform that was never set as null, or none of them.
  if (Object.values(value).every((one) => one === null)) {
    report.report("index.empty-platform", subject, `${field} says nothing`)
    return undefined
  }
  checkNames(value, platformProperties, field, subject, report)
  const required = (name: string): string | undefined => {
    const found = value[name]
    if (typeof found === "string") {
      if (found === "") report.report("index.empty-platform", subject, `${field}.${name} is empty`)
      return found
    }
    report.report(
      "index.bad-platform",
      subject,
      `${field}.${name} is ${found === undefined ? "missing" : "not a string"}`,
      {
        expected: name,
        actual: Json.typeName(found)
      }
    )
    return undefined
  }
  const optional = (name: string): string | undefined => {
    const found = value[name]
    if (found === undefined || found === null || typeof found === "string") return found ?? undefined
    wrongType(report, subject, `${field}.${name}`, "a string", found)
    return undefined
  }
  for (const name of ["os.features", "features"]) {
    const found = value[name]
    if (
      found !== undefined &&
      found !== null &&
      !(Array.isArray(found) && found.every((one) => typeof one === "string"))
    ) {
      wrongType(report, subject, `${field}.${name}`, "an array of strings", found)
    }
  }
  const [os, architecture] = [required("os"), required("architecture")]
  const [variant, osVersion] = [optional("variant"), optional("os.version")]
  return os && architecture
    ? { os, architecture, ...(variant ? { variant } : {}), ...(osVersion ? { osVersion } : {}) }
    : undefined
}

/** Rule 33: what an index says an image runs on, against the image's config. A part that one of them leaves out fits. */
export const checkPlatform = (
  stated: Platform.Platform,
  config: CheckedConfig,
  subject: string,
  by: string,
  report: Collector
): void => {
  report.ran("index.platform-mismatch", "index.variant-mismatch", "index.os-version-mismatch")
  // Attestations are listed for no platform.
  if (!config.os || !config.architecture || stated.os === "unknown") return
  const have = Platform.normalize({
    os: config.os,
    architecture: config.architecture,
    ...(config.variant ? { variant: config.variant } : {})
  })
  const want = Platform.normalize(stated)
  const detail = {
    expected: Platform.show(stated),
    actual: Platform.show({
      os: config.os,
      architecture: config.architecture,
      ...(config.variant ? { variant: config.variant } : {})
    })
  }
  if (have.os !== want.os || have.architecture !== want.architecture) {
    report.report("index.platform-mismatch", subject, `its config is for another platform than ${by} says`, detail)
  } else if (stated.variant && config.variant && have.variant !== want.variant) {
    report.report("index.variant-mismatch", subject, `its config is for another variant than ${by} says`, detail)
  }
  if (stated.osVersion && config.osVersion && stated.osVersion !== config.osVersion) {
    report.report("index.os-version-mismatch", subject, `its config is for another os.version than ${by} says`, {
      expected: stated.osVersion.slice(0, 200),
      actual: config.osVersion.slice(0, 200)
    })
  }
}

const wrongType = (report: Collector, subject: string, field: string, expected: string, actual: unknown): void =>
  report.report("index.wrong-type", subject, `${field} is not ${expected}`, { expected, actual: Json.typeName(actual) })
