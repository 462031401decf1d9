/** JSON documents of a layout: read once, parsed, and what is wrong with them as documents reported. */
import type { CheckId } from "../../check/Catalog.ts"
import type { Collector } from "../../check/Collector.ts"
import * as Json from "../../image/Json.ts"
import { readRegion, type StoreEntry } from "../Store.ts"

export interface OciDocument {
  readonly raw: Uint8Array
  /** undefined when it does not parse. */
  readonly value: unknown
}

/** The ids under which one kind of document reports. */
export interface DocumentChecks {
  readonly missing: CheckId
  readonly unreadable: CheckId
  readonly invalid: CheckId
  readonly duplicateKey: CheckId
}

/** Content that is referred to by a descriptor has a size and a digest as well. */
export interface BlobDocumentChecks extends DocumentChecks {
  readonly size: CheckId
  readonly digest: CheckId
}

export const layoutFileChecks: DocumentChecks = {
  missing: "oci-layout.missing",
  unreadable: "oci-layout.invalid-json",
  invalid: "oci-layout.invalid-json",
  duplicateKey: "oci-layout.duplicate-key"
}

export const indexChecks: BlobDocumentChecks = {
  missing: "index.missing",
  unreadable: "index.unreadable",
  invalid: "index.invalid-json",
  duplicateKey: "index.duplicate-key",
  size: "index.size-mismatch",
  digest: "index.digest-mismatch"
}

export const manifestChecks: BlobDocumentChecks = {
  missing: "manifest.missing",
  unreadable: "manifest.unreadable",
  invalid: "manifest.invalid-json",
  duplicateKey: "manifest.duplicate-key",
  size: "manifest.size-mismatch",
  digest: "manifest.digest-mismatch"
}

export const configChecks: BlobDocumentChecks = {
  missing: "config.missing",
  unreadable: "config.unreadable",
  invalid: "config.invalid-json",
  duplicateKey: "config.duplicate-key",
  size: "config.size-mismatch",
  digest: "config.digest-mismatch"
}

/** What stands in the place of a file, for messages. */
export const whatIs = (entry: StoreEntry): string =>
  entry.kind === "other" ? entry.what : entry.kind === "directory" ? "a directory" : "a file"

/** The bytes and value of what is at `name`; undefined when there are no bytes to speak of. */
export const read = (
  entry: StoreEntry,
  name: string,
  checks: DocumentChecks,
  report: Collector
): OciDocument | undefined => {
  report.ran(checks.unreadable)
  if (entry.kind !== "file") {
    report.report(checks.unreadable, name, "it is no regular file", {
      expected: "a JSON document",
      actual: whatIs(entry)
    })
    return undefined
  }
  const bytes = readRegion(entry.region, Json.maxBytes)
  if ("failure" in bytes) {
    report.report(checks.unreadable, name, `it cannot be read: ${bytes.failure}`)
    return undefined
  }
  return parse(bytes.bytes, name, checks, report)
}

/** Parses bytes that are at hand. */
export const parse = (raw: Uint8Array, name: string, checks: DocumentChecks, report: Collector): OciDocument => {
  report.ran(checks.invalid, checks.duplicateKey)
  const document = Json.parse(raw)
  for (const problem of document.problems) {
    report.report(problem.kind === "duplicate-key" ? checks.duplicateKey : checks.invalid, name, problem.message)
  }
  return { raw, value: document.value }
}
