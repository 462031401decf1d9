/** Content descriptors (image-spec descriptor.md; rules 5-16, 27). */

import * as Hasher from "../content/Hasher.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import { checkAnnotations } from "./AnnotationChecks.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"
import { checkNames, nameChecks } from "./NameChecks.ts"

/** What could be made out of a descriptor: a property that is missing or malformed is undefined. */
export interface Descriptor {
  readonly mediaType: string | undefined
  readonly digest: Digest.Digest | undefined
  readonly size: number | undefined
  /** Valid entries only. */
  readonly urls: ReadonlyArray<string>
  /** The embedded content, where it is what the descriptor describes. */
  readonly data: Uint8Array | undefined
  readonly artifactType: string | undefined
  readonly annotations: ReadonlyMap<string, string>
}

/** Every id that looking at a descriptor can report. */
export const descriptorChecks: ReadonlyArray<CheckId> = [
  ...nameChecks,
  "descriptor.missing-field",
  "descriptor.wrong-type",
  "descriptor.bad-media-type",
  "descriptor.bad-digest",
  "descriptor.unknown-algorithm",
  "descriptor.bad-size",
  "descriptor.bad-url",
  "descriptor.url-scheme",
  "descriptor.bad-data",
  "descriptor.data-mismatch",
  "descriptor.bad-artifact-type",
  "descriptor.not-empty",
  "annotation.not-a-map",
  "annotation.null",
  "annotation.not-a-string",
  "annotation.reserved-key",
  "annotation.bad-ref-name"
]

const properties: ReadonlyArray<string> = [
  "mediaType",
  "digest",
  "size",
  "urls",
  "annotations",
  "data",
  "artifactType",
  "platform"
]

/** Reports what is wrong with the descriptor at `field` of a document; undefined when it is none at all. */
export const checkDescriptor = (
  value: unknown,
  field: string,
  subject: string,
  report: Collector
): Descriptor | undefined => {
  if (!Json.isObject(value)) {
    wrongType(report, subject, field, "a descriptor", value)
    return undefined
  }
  checkNames(value, properties, field, subject, report)
  const mediaType = text(value, "mediaType", field, subject, report)
  const digest = digestOf(value, field, subject, report)
  const size = sizeOf(value, field, subject, report)
  const descriptor: Descriptor = {
    mediaType:
      mediaType === undefined
        ? undefined
        : checkMediaType(mediaType, `${field}.mediaType`, "descriptor.bad-media-type", subject, report),
    digest,
    size,
    urls: urls(value["urls"], `${field}.urls`, subject, report),
    data: data(value["data"], digest, size, `${field}.data`, subject, report),
    artifactType: artifactType(value["artifactType"], `${field}.artifactType`, subject, report),
    annotations: checkAnnotations(value["annotations"], `${field}.annotations`, subject, report)
  }
  if (mediaType === MediaType.ociEmpty) empty(descriptor, field, subject, report)
  return descriptor
}

/** The type when it is a valid one, otherwise a finding. */
const checkMediaType = (
  mediaType: string,
  field: string,
  check: CheckId,
  subject: string,
  report: Collector
): string | undefined => {
  if (MediaType.isValid(mediaType)) return mediaType
  report.report(check, subject, `${field} is no media type`, { expected: "type/subtype", actual: show(mediaType) })
  return undefined
}

/** An artifactType of a descriptor, manifest or index (rule 15). */
export const artifactType = (value: unknown, field: string, subject: string, report: Collector): string | undefined => {
  if (value === undefined || value === null) return undefined
  if (typeof value === "string") return checkMediaType(value, field, "descriptor.bad-artifact-type", subject, report)
  wrongType(report, subject, field, "a string", value)
  return undefined
}

const text = (
  value: Readonly<Record<string, unknown>>,
  property: string,
  field: string,
  subject: string,
  report: Collector
): string | undefined => {
  const found = value[property]
  if (typeof found === "string") return found
  if (found === undefined || found === null) missing(report, subject, `${field}.${property}`)
  else wrongType(report, subject, `${field}.${property}`, "a string", found)
  return undefined
}

const digestOf = (
  value: Readonly<Record<string, unknown>>,
  field: string,
  subject: string,
  report: Collector
): Digest.Digest | undefined => {
  const digest = text(value, "digest", field, subject, report)
  if (digest === undefined) return undefined
  const why = Digest.invalid(digest)
  if (why !== undefined) {
    report.report("descriptor.bad-digest", subject, `${field}.digest ${why}`, {
      expected: "algorithm:encoded",
      actual: show(digest)
    })
    return undefined
  }
  if (!Digest.isComputable(digest)) {
    report.report("descriptor.unknown-algorithm", subject, `${field}.digest cannot be recomputed here`, {
      expected: Digest.known,
      actual: Digest.algorithmOf(digest)
    })
  }
  return digest as Digest.Digest
}

const sizeOf = (
  value: Readonly<Record<string, unknown>>,
  field: string,
  subject: string,
  report: Collector
): number | undefined => {
  const size = value["size"]
  if (size === undefined || size === null) missing(report, subject, `${field}.size`)
  else if (size instanceof Json.Decimal) {
    report.report("descriptor.bad-size", subject, `${field}.size is not written as a whole number`, {
      expected: "digits only",
      actual: size.literal.slice(0, 100)
    })
  } else if (typeof size !== "number") wrongType(report, subject, `${field}.size`, "a number", size)
  else if (!Number.isSafeInteger(size) || size < 0) {
    report.report("descriptor.bad-size", subject, `${field}.size is no byte count`, {
      expected: "a whole number, 0 or more",
      actual: String(size)
    })
  } else return size
  return undefined
}

const unreserved = "A-Za-z0-9\\-._~!$&'()*+,;="
const encoded = "%[0-9A-Fa-f]{2}"
const pchar = `(?:[${unreserved}:@]|${encoded})`
const authority = `(?:(?:[${unreserved}:]|${encoded})*@)?(?:\\[(?:[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\\.[${unreserved}:]+)\\]|(?:[${unreserved}]|${encoded})*)(?::[0-9]*)?`
const path = `(?://${authority}(?:/${pchar}*)*|/(?:${pchar}+(?:/${pchar}*)*)?|${pchar}+(?:/${pchar}*)*|)`
const uri = new RegExp(`^[A-Za-z][A-Za-z0-9+.-]*:${path}(?:\\?(?:${pchar}|[/?])*)?(?:#(?:${pchar}|[/?])*)?$`)

/** RFC 3986 section 3: an absolute URI with its optional query and fragment. */
export const isUri = (value: string): boolean => value.length <= 8192 && uri.test(value)

const urls = (value: unknown, field: string, subject: string, report: Collector): ReadonlyArray<string> => {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) {
    wrongType(report, subject, field, "an array of strings", value)
    return []
  }
  const found: Array<string> = []
  for (const [index, one] of value.entries()) {
    if (typeof one !== "string") wrongType(report, subject, `${field}[${index}]`, "a string", one)
    else if (!isUri(one)) {
      report.report("descriptor.bad-url", subject, `${field}[${index}] is no URI`, {
        expected: "a URI of RFC 3986",
        actual: show(one)
      })
    } else {
      if (!/^https?:/i.test(one)) {
        report.report("descriptor.url-scheme", subject, `${field}[${index}] is neither http nor https`, {
          expected: "http or https",
          actual: show(one)
        })
      }
      found.push(one)
    }
  }
  return found
}

const data = (
  value: unknown,
  digest: Digest.Digest | undefined,
  size: number | undefined,
  field: string,
  subject: string,
  report: Collector
): Uint8Array | undefined => {
  if (value === undefined || value === null) return undefined
  if (typeof value !== "string") {
    wrongType(report, subject, field, "a string", value)
    return undefined
  }
  const bytes = Buffer.from(value, "base64")
  // Buffer skips what is no base64; what is comes back as it was.
  if (bytes.toString("base64") !== value) {
    report.report("descriptor.bad-data", subject, `${field} is not base64`, {
      expected: "base64 with padding",
      actual: show(value.slice(0, 60))
    })
    return undefined
  }
  if (size !== undefined && bytes.length !== size) {
    report.report("descriptor.data-mismatch", subject, `${field} has another size than the descriptor says`, {
      expected: count(size, "byte"),
      actual: count(bytes.length, "byte")
    })
    return undefined
  }
  if (digest === undefined) return undefined
  const actual = Hasher.digestOfBytes(digest, bytes)
  if (actual === undefined) {
    report.skip(
      "descriptor.data-mismatch",
      `${subject}: ${field} has a digest of ${Digest.algorithmOf(digest)}, which cannot be computed here`
    )
    return undefined
  }
  if (actual !== digest) {
    report.report("descriptor.data-mismatch", subject, `${field} is not the content that the digest names`, {
      expected: digest,
      actual
    })
    return undefined
  }
  return bytes
}

const braces = Buffer.from("{}")

/** manifest.md, "Guidance for an Empty Descriptor": the content is `{}`. */
const empty = (descriptor: Descriptor, field: string, subject: string, report: Collector): void => {
  const { digest, size } = descriptor
  if (size !== undefined && size !== braces.length) {
    report.report("descriptor.not-empty", subject, `${field} has the empty media type, but not the size of {}`, {
      expected: "2 bytes",
      actual: count(size, "byte")
    })
  }
  if (digest === undefined) return
  const expected = Hasher.digestOfBytes(digest, braces)
  if (expected !== undefined && expected !== digest) {
    report.report("descriptor.not-empty", subject, `${field} has the empty media type, but not the digest of {}`, {
      expected,
      actual: digest
    })
  }
}

const missing = (report: Collector, subject: string, field: string): void =>
  report.report("descriptor.missing-field", subject, `${field} is missing`, {
    expected: field.slice(field.lastIndexOf(".") + 1),
    actual: "nothing"
  })

const wrongType = (report: Collector, subject: string, field: string, expected: string, actual: unknown): void =>
  report.report("descriptor.wrong-type", subject, `${field} is not ${expected}`, {
    expected,
    actual: Json.typeName(actual)
  })

const show = (value: string): string => JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value)
