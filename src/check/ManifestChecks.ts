/** Image manifests: OCI's and Docker's schema 2 (image-spec manifest.md; rules 17-28). */
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import { checkAnnotations } from "./AnnotationChecks.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"
import { artifactType, checkDescriptor, type Descriptor } from "./DescriptorChecks.ts"
import { checkNames } from "./NameChecks.ts"

/** What later checks need of a manifest, as far as it could be made out. */
export interface CheckedManifest {
  readonly config: Descriptor | undefined
  /** undefined when the manifest does not list them; an entry that is no descriptor is undefined. */
  readonly layers: ReadonlyArray<Descriptor | undefined> | undefined
  readonly subject: Descriptor | undefined
  readonly artifactType: string | undefined
  readonly annotations: ReadonlyMap<string, string>
}

/** Every id that looking at a manifest can report, those of its descriptors aside. */
export const manifestChecks: ReadonlyArray<CheckId> = [
  "manifest.missing-field",
  "manifest.wrong-type",
  "manifest.bad-schema-version",
  "manifest.media-type-mismatch",
  "manifest.no-media-type",
  "manifest.ambiguous",
  "manifest.no-layers",
  "manifest.too-many-layers",
  "manifest.no-artifact-type",
  "manifest.artifact-with-image-config",
  "layer.not-distributable"
]

/** Images have at most 127, the largest artifacts some thousands. */
const maxLayers = 100_000

const nonDistributable = "application/vnd.oci.image.layer.nondistributable."

const properties: ReadonlyArray<string> = [
  "schemaVersion",
  "mediaType",
  "artifactType",
  "config",
  "layers",
  "subject",
  "annotations"
]

/** Those of other documents that `value` has, in whatever case: readers in Go find them all the same. */
export const foreign = (
  value: Readonly<Record<string, unknown>>,
  properties: ReadonlyArray<string>
): ReadonlyArray<string> => [
  ...properties.filter((name) => value[name] !== undefined),
  ...Json.caseVariants(value, properties).map(([name]) => name)
]

/** Reports everything that is wrong with a parsed manifest; `declared` is the media type of what refers to it. */
export const checkManifest = (
  value: unknown,
  declared: string,
  subject: string,
  report: Collector
): CheckedManifest | undefined => {
  if (!Json.isObject(value)) {
    report.report("manifest.invalid-json", subject, "the manifest is not a JSON object", {
      expected: "an object",
      actual: Json.typeName(value)
    })
    return undefined
  }
  schemaVersion(value["schemaVersion"], "manifest.bad-schema-version", subject, report)
  const docker = mediaType(value, declared, subject, report)
  checkNames(value, properties, "", subject, report)
  const odd = foreign(value, ["manifests", "fsLayers"])
  if (odd.length > 0) {
    report.report(
      "manifest.ambiguous",
      subject,
      `the manifest has ${odd.join(" and ")}, which belong to other documents`,
      {
        expected: "config and layers",
        actual: [...odd, ...["config", "layers"].filter((field) => value[field] !== undefined)].join(", ")
      }
    )
  }
  const manifest: CheckedManifest = {
    config: required(value, "config", subject, report)
      ? checkDescriptor(value["config"], "config", subject, report)
      : undefined,
    layers: layers(value, docker, subject, report),
    subject:
      value["subject"] === undefined || value["subject"] === null
        ? undefined
        : checkDescriptor(value["subject"], "subject", subject, report),
    artifactType: artifactType(value["artifactType"], "artifactType", subject, report),
    annotations: checkAnnotations(value["annotations"], "annotations", subject, report)
  }
  if (
    manifest.config?.mediaType === MediaType.ociEmpty &&
    (value["artifactType"] === undefined || value["artifactType"] === null || value["artifactType"] === "")
  ) {
    report.report("manifest.no-artifact-type", subject, "artifactType is missing, though the config is empty", {
      expected: "artifactType",
      actual: value["artifactType"] === "" ? '""' : "nothing"
    })
  }
  if (
    manifest.artifactType !== undefined &&
    manifest.config?.mediaType !== undefined &&
    MediaType.kind(manifest.config.mediaType) === "config"
  ) {
    report.report(
      "manifest.artifact-with-image-config",
      subject,
      "the manifest is an artifact by artifactType and an image by its config",
      {
        expected: "a config type of its own, or the empty one",
        actual: manifest.config.mediaType
      }
    )
  }
  return manifest
}

/** `schemaVersion` of manifests and indexes (rules 17, 29). */
export const schemaVersion = (value: unknown, check: CheckId, subject: string, report: Collector): void => {
  if (value === 2) return
  report.report(check, subject, value === undefined ? "schemaVersion is missing" : "schemaVersion is not 2", {
    expected: "2",
    actual:
      value === undefined
        ? "nothing"
        : (value instanceof Json.Decimal ? value.literal : String(JSON.stringify(value))).slice(0, 100)
  })
}

/** The document's own media type against the manifest's type that it is referred to by; tells whether it is Docker's. */
const mediaType = (
  value: Readonly<Record<string, unknown>>,
  declared: string,
  subject: string,
  report: Collector
): boolean => {
  const own = value["mediaType"]
  if (own === undefined || own === null || own === "") {
    report.report("manifest.no-media-type", subject, "the manifest does not say its media type")
  } else if (typeof own !== "string") {
    report.report("manifest.wrong-type", subject, "mediaType is not a string", {
      expected: "a string",
      actual: Json.typeName(own)
    })
  } else if (own !== declared) {
    report.report(
      "manifest.media-type-mismatch",
      subject,
      "the manifest says another media type than what refers to it",
      {
        expected: declared,
        actual: own.slice(0, 300)
      }
    )
  }
  return MediaType.isDocker(declared)
}

const required = (
  value: Readonly<Record<string, unknown>>,
  field: string,
  subject: string,
  report: Collector
): boolean => {
  if (value[field] !== undefined && value[field] !== null) return true
  report.report("manifest.missing-field", subject, `${field} is missing`, {
    expected: field,
    actual: Json.typeName(value[field])
  })
  return false
}

const layers = (
  value: Readonly<Record<string, unknown>>,
  docker: boolean,
  subject: string,
  report: Collector
): ReadonlyArray<Descriptor | undefined> | undefined => {
  // Builders in Go write null for an image without layers.
  const found = value["layers"] === null ? [] : value["layers"]
  if (found === undefined) {
    required(value, "layers", subject, report)
    return undefined
  }
  if (!Array.isArray(found)) {
    report.report("manifest.wrong-type", subject, "layers is not an array", {
      expected: "an array",
      actual: Json.typeName(found)
    })
    return undefined
  }
  if (found.length === 0 && !docker) {
    report.report("manifest.no-layers", subject, "the manifest lists no layers", {
      expected: "at least one",
      actual: "none"
    })
  }
  if (found.length > maxLayers) {
    report.report("manifest.too-many-layers", subject, "the manifest lists more layers than are looked at", {
      expected: `at most ${maxLayers}`,
      actual: `${found.length}`
    })
  }
  return found.slice(0, maxLayers).map((one, index) => {
    const layer = checkDescriptor(one, `layers[${index}]`, subject, report)
    if (layer?.mediaType?.startsWith(nonDistributable)) {
      report.report("layer.not-distributable", subject, `layers[${index}] has a media type that should not be used`, {
        expected: layer.mediaType.replace(".nondistributable", ""),
        actual: layer.mediaType
      })
    }
    return layer
  })
}
