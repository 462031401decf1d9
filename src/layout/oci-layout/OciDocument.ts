/** The ids under which the JSON documents of an OCI layout report. */
import type { CheckId } from "../../check/Catalog.ts"
import type { DocumentChecks } from "../Document.ts"

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
