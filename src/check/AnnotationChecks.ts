/** Annotations, of whatever document (image-spec annotations.md; rules 57-60). */
import * as Json from "../image/Json.ts"
import type { Collector } from "./Collector.ts"

export const refName = "org.opencontainers.image.ref.name"
/** containerd's and Docker's: the whole name, of which ref.name has the tag only. */
export const imageName = "io.containerd.image.name"

/** Keys below `org.opencontainers` that a specification defines: annotations.md, conversion.md, distribution-spec. */
const defined: ReadonlySet<string> = new Set([
  ...[
    "architecture",
    "author",
    "authors",
    "base.digest",
    "base.name",
    "created",
    "description",
    "documentation",
    "exposedPorts",
    "licenses",
    "os",
    "os.features",
    "os.version",
    "ref.name",
    "referrer.convert",
    "referrer.subject",
    "revision",
    "source",
    "stopSignal",
    "title",
    "url",
    "variant",
    "vendor",
    "version"
  ].map((key) => `org.opencontainers.image.${key}`),
  "org.opencontainers.artifact.created",
  "org.opencontainers.artifact.description",
  "org.opencontainers.referrers.filtersApplied"
])

/** ocicrypt's keys, which every implementation of encrypted layers reads. */
const encryption = "org.opencontainers.image.enc."

const component = "[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
const refGrammar = new RegExp(`^${component}(?:/${component})*$`)

/** What is longer names nothing anywhere, and matching the grammar takes stack for each of its parts. */
const maxRef = 4096

const none: ReadonlyMap<string, string> = new Map()

/**
 * The annotations of `value` that are strings. `field` names the place in the document, for example `annotations` or
 * `manifests[2].annotations`; absent ones are no finding.
 */
export const checkAnnotations = (
  value: unknown,
  field: string,
  subject: string,
  report: Collector
): ReadonlyMap<string, string> => {
  // An index has one for each of its entries, most of them empty.
  if (value === undefined) return none
  const found = new Map<string, string>()
  if (value === null) {
    report.report("annotation.null", subject, `${field} is null`, { expected: "an object, or nothing", actual: "null" })
    return none
  }
  if (!Json.isObject(value)) {
    report.report("annotation.not-a-map", subject, `${field} is not an object`, {
      expected: "an object, or nothing",
      actual: Json.typeName(value)
    })
    return found
  }
  for (const [key, one] of Object.entries(value)) {
    if (typeof one !== "string") {
      report.report("annotation.not-a-string", subject, `${field}[${show(key)}] is not a string`, {
        expected: "a string",
        actual: Json.typeName(one)
      })
      continue
    }
    found.set(key, one)
    if (isReserved(key) && !defined.has(key)) {
      report.report(
        "annotation.reserved-key",
        subject,
        `${field} has a key with the reserved prefix org.opencontainers`,
        {
          actual: show(key)
        }
      )
    }
  }
  const ref = found.get(refName)
  if (ref !== undefined && (ref.length > maxRef || !refGrammar.test(ref))) {
    report.report("annotation.bad-ref-name", subject, `${field}[${show(refName)}] is no valid reference name`, {
      expected: "parts of letters and digits with -._:@+ between them, divided by /",
      actual: show(ref)
    })
  }
  return found
}

const isReserved = (key: string): boolean =>
  key === "org.opencontainers" || (key.startsWith("org.opencontainers.") && !key.startsWith(encryption))

const show = (text: string): string => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)
