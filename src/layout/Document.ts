/** JSON documents of a layout, read once each and reported on as documents. */
import type { CheckId } from "../check/Catalog.ts"
import type { Collector } from "../check/Collector.ts"
import * as Json from "../image/Json.ts"
import { readRegion, type Store } from "./Store.ts"

/** What reading a JSON file gave: its bytes, and its value when that could be had. */
export interface ReadDocument {
  readonly raw: Uint8Array
  readonly value: unknown
}

/** The ids under which one kind of document reports what is wrong with it as a document. */
export interface DocumentChecks {
  readonly missing: CheckId
  readonly unreadable: CheckId
  readonly invalid: CheckId
  readonly duplicateKey: CheckId
}

export const manifestChecks: DocumentChecks = {
  missing: "manifest.missing",
  unreadable: "manifest.invalid-json",
  invalid: "manifest.invalid-json",
  duplicateKey: "manifest.duplicate-key"
}

export const configChecks: DocumentChecks = {
  missing: "config.missing",
  unreadable: "config.unreadable",
  invalid: "config.invalid-json",
  duplicateKey: "config.duplicate-key"
}

/** Reads a JSON document of the store; undefined when there are no bytes to speak of. Reports under `checks`. */
export const read = (
  store: Store,
  file: string,
  checks: DocumentChecks,
  report: Collector
): ReadDocument | undefined => {
  report.ran(checks.missing, checks.invalid, checks.duplicateKey)
  const entry = store.lookup(file)
  if (entry === undefined) {
    report.report(checks.missing, file, "it does not exist", { expected: "a JSON document", actual: "nothing" })
    return undefined
  }
  if (entry.kind !== "file") {
    const actual = entry.kind === "directory" ? "a directory" : entry.what
    report.report(checks.unreadable, file, "it is no regular file", { expected: "a JSON document", actual })
    return undefined
  }
  const read = readRegion(entry.region, Json.maxBytes)
  if ("failure" in read) {
    report.report(checks.unreadable, file, `it cannot be read: ${read.failure}`)
    return undefined
  }
  const document = Json.parse(read.bytes)
  for (const problem of document.problems) {
    report.report(problem.kind === "duplicate-key" ? checks.duplicateKey : checks.invalid, file, problem.message)
  }
  return { raw: read.bytes, value: document.value }
}
