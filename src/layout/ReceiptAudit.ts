/** What was recorded when an output was written, against what is there now. */

import * as Either from "effect/Either"
import type { Collector } from "../check/Collector.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import type { BlobChecks, LayerAudit } from "./LayerAudit.ts"
import * as Receipt from "./Receipt.ts"
import { readJson, readRegion, type Store, type StoreEntry, unsafeName } from "./Store.ts"

const receiptChecks: BlobChecks = {
  size: "receipt.size-mismatch",
  digest: "receipt.digest-mismatch",
  unreadable: "blob.unreadable"
}

/** Files up to this size are hashed at any depth: documents, which decide what the rest means. */
const hashedAtOnce = 1024 * 1024

/** Decodes a stored receipt; `by` is its name. Reports one that is none. */
export const decode = (entry: StoreEntry | undefined, by: string, report: Collector): Receipt.Receipt | undefined => {
  report.ran("receipt.invalid")
  if (entry?.kind !== "file") {
    report.report("receipt.invalid", by, "the receipt is no regular file")
    return undefined
  }
  const read = readJson(entry.region)
  const receipt = "failure" in read ? Either.left(read.failure) : Receipt.decode(read.bytes)
  if (Either.isRight(receipt)) return receipt.right
  report.report("receipt.invalid", by, `the receipt cannot be used: ${receipt.left}`)
  return undefined
}

/**
 * Compares the recorded files for which `concerns` holds: existence and sizes at once, digests of documents too, those of
 * larger files when the audit reads them. `documents` have been read and hashed already.
 */
export const compare = (
  store: Store,
  receipt: Receipt.Receipt,
  by: string,
  concerns: (path: string) => boolean,
  documents: ReadonlyMap<string, Pick<Receipt.File, "size" | "sha256">>,
  audit: LayerAudit,
  report: Collector
): void => {
  report.ran("receipt.missing-file", "receipt.size-mismatch", "receipt.digest-mismatch", "receipt.invalid")
  for (const file of receipt.files) {
    if (unsafeName(file.path) !== undefined) {
      report.report("receipt.invalid", by, "the receipt names a path that cannot be followed", {
        actual: JSON.stringify(file.path)
      })
      continue
    }
    if (!concerns(file.path)) continue
    const entry = store.lookup(file.path)
    if (entry?.kind !== "file") {
      report.report("receipt.missing-file", file.path, `${by} records it, but it is not there`)
      continue
    }
    const found = documents.get(file.path) ?? small(entry, file, audit)
    if (found !== undefined) compareFile(found, file, by, report)
    else {
      const key = audit.add({ subject: file.path, region: entry.region, as: "blob" }, receiptChecks)
      audit.size(key, { value: file.size, by })
      audit.digest(key, { value: Receipt.digestOf(file), by })
    }
  }
}

const small = (
  entry: Extract<StoreEntry, { kind: "file" }>,
  file: Receipt.File,
  audit: LayerAudit
): Receipt.File | undefined => {
  if (entry.region.size > hashedAtOnce || file.path.endsWith(".tar") || audit.has(entry.region)) return undefined
  const read = readRegion(entry.region, hashedAtOnce)
  return "bytes" in read ? Receipt.fileOf(file.path, read.bytes) : undefined
}

const compareFile = (
  found: Pick<Receipt.File, "size" | "sha256">,
  file: Receipt.File,
  by: string,
  report: Collector
): void => {
  if (found.size !== file.size) {
    report.report("receipt.size-mismatch", file.path, `its size is not what ${by} says`, {
      expected: count(file.size, "byte"),
      actual: count(found.size, "byte")
    })
  }
  if (found.sha256 !== file.sha256) {
    report.report("receipt.digest-mismatch", file.path, `its bytes are not what ${by} says`, {
      expected: Receipt.digestOf(file),
      actual: Digest.make("sha256", found.sha256)
    })
  }
}
