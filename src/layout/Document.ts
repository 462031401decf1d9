/** JSON documents of a layout, read once each and reported on as documents. */
import type { CheckId } from "../check/Catalog.ts"
import type { Collector } from "../check/Collector.ts"
import * as Json from "../image/Json.ts"
import { readJson, type Store, type StoreEntry } from "./Store.ts"

/** What reading a JSON file gave. */
export interface ReadDocument {
  readonly raw: Uint8Array
  /** undefined when it does not parse. */
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

/** What stands in the place of a file, for messages. */
export const whatIs = (entry: StoreEntry): string =>
  entry.kind === "other" ? entry.what : entry.kind === "directory" ? "a directory" : "a file"

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
  return readEntry(entry, file, checks, report)
}

/** The same of what is there under `name`. */
export const readEntry = (
  entry: StoreEntry,
  name: string,
  checks: DocumentChecks,
  report: Collector
): ReadDocument | undefined => {
  report.ran(checks.unreadable)
  if (entry.kind !== "file") {
    const actual = whatIs(entry)
    report.report(checks.unreadable, name, "it is no regular file", { expected: "a JSON document", actual })
    return undefined
  }
  const read = readJson(entry.region)
  if ("failure" in read) {
    report.report(checks.unreadable, name, `it cannot be read: ${read.failure}`)
    return undefined
  }
  return parse(read.bytes, name, checks, report)
}

/** Parses bytes that are at hand. */
export const parse = (raw: Uint8Array, name: string, checks: DocumentChecks, report: Collector): ReadDocument => {
  report.ran(checks.invalid, checks.duplicateKey)
  const document = Json.parse(raw)
  for (const problem of document.problems) {
    report.report(problem.kind === "duplicate-key" ? checks.duplicateKey : checks.invalid, name, problem.message)
  }
  return { raw, value: document.value }
}
