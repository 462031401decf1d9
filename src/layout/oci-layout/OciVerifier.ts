/** Audits an OCI image layout (`oci-layout://`), whoever wrote it, to the letter of the image-spec. */
import * as Effect from "effect/Effect"
import { Collector } from "../../check/Collector.ts"
import type { IndexEntry } from "../../check/IndexChecks.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import { LayerAudit } from "../LayerAudit.ts"
import * as Lock from "../Lock.ts"
import type { Receipt } from "../Receipt.ts"
import * as ReceiptAudit from "../ReceiptAudit.ts"
import { tellRuns } from "../RunAudit.ts"
import { readJson, type Store } from "../Store.ts"
import { type Judged, type Verifier, type VerifyOptions, verdicts } from "../Verifier.ts"
import { type AuditedLayout, auditLayout } from "./LayoutAudit.ts"
import * as Files from "./OciFiles.ts"
import * as SharedBlobs from "./SharedBlobs.ts"

/** What a docker-save's documents say, held against the layout. */
export interface Saved {
  /** Names of files that they refer to. */
  readonly named: ReadonlySet<string>
  /** Their images with those of the layout. */
  readonly images: ReadonlyArray<Judged>
}

export type SavedAuditor = (store: Store, layout: AuditedLayout, audit: LayerAudit, report: Collector) => Saved

export interface OciVerifierOptions {
  /** The layout's directory. */
  readonly path: string
  /** Where blobs are that are not in the layout itself. */
  readonly sharedBlobs?: string | undefined
  /** What audits the manifest.json that an unpacked docker-save has beside its layout. */
  readonly saved?: Effect.Effect<SavedAuditor>
}

export const make = Effect.fn("OciVerifier.make")(function* (options: OciVerifierOptions) {
  const pool = yield* WorkerPool
  return {
    verify: (verifyOptions) =>
      verify(SharedBlobs.make(options.path, options.sharedBlobs), options.saved, verifyOptions).pipe(
        HasherLoading.loading,
        Effect.provideService(WorkerPool, pool)
      )
  } satisfies Verifier["Type"]
})

const verify = Effect.fn("OciVerifier.verify")(function* (
  store: Store,
  auditor: Effect.Effect<SavedAuditor> | undefined,
  options: VerifyOptions
) {
  const report = new Collector(options.policy, options.limits?.maxFindings)
  const audit = new LayerAudit(report)
  const { receipt } = options
  let saved: Saved | undefined
  const layout = auditLayout(store, audit, report, receipt === undefined ? {} : { only: writtenBy(receipt) })
  if (receipt !== undefined) {
    report.ran("index.missing-entry")
    for (const missing of unlisted(receipt, layout)) {
      report.report("index.missing-entry", Files.indexFile, "it does not list what was written", {
        expected: missing,
        actual: "no such entry"
      })
    }
    ReceiptAudit.compare(store, receipt, "the receipt", () => true, layout.documents, audit, report)
  } else {
    auditRoot(store, layout, audit, report)
    // Docker and Podman go by the manifest.json of a docker-save that was unpacked.
    if (auditor !== undefined && isSaved(store)) saved = (yield* auditor)(store, layout, audit, report)
    layout.rest(saved?.named ?? new Set())
  }
  yield* finish(audit, report, options)
  return {
    results: report.results(),
    images: verdicts(
      report.errorsBySubject,
      saved?.images ?? layout.images.map(({ label, subjects }) => ({ image: label, subjects }))
    ),
    layerCount: audit.layerCount
  }
})

/** Other files of that name are none of a docker-save: extra files are allowed in a layout. */
const isSaved = (store: Store): boolean => {
  const entry = store.lookup("manifest.json")
  const read = entry?.kind === "file" ? readJson(entry.region) : undefined
  return read !== undefined && "bytes" in read && !Json.isObject(Json.parse(read.bytes).value)
}

/** Reads what was gathered, as deep as was asked for. */
export const finish = Effect.fnUntraced(function* (
  audit: LayerAudit,
  report: Collector,
  { depth, limits }: VerifyOptions
) {
  if (depth === "full") yield* audit.readAll(limits ?? {})
  else {
    audit.openAll()
    report.skip("layer.digest-mismatch", "content is read at full depth only")
    report.skip("layer.diff-id-mismatch", "content is read at full depth only")
  }
})

/** The entries of index.json that a run wrote: what they refer to is in its receipt. */
const writtenBy = (receipt: Receipt) => {
  const written = new Set(receipt.files.map((file) => file.path))
  return ({ descriptor }: IndexEntry): boolean =>
    descriptor.digest === undefined || written.has(Digest.blobPath(descriptor.digest))
}

/** What a receipt records of index.json and is not there: a name with its manifest, or the manifest alone. */
const unlisted = (receipt: Receipt, { entries }: AuditedLayout): ReadonlyArray<string> => {
  const { manifest, refs } = receipt.details
  const digest = Json.isObject(manifest) ? manifest["digest"] : undefined
  if (typeof digest !== "string") return []
  const same = entries.filter((entry) => entry.descriptor.digest === digest)
  const names = Array.isArray(refs) ? refs.filter((ref) => typeof ref === "string") : []
  return names.length === 0
    ? same.length > 0
      ? []
      : [digest]
    : names.flatMap((name) =>
        same.some((entry) => entry.descriptor.annotations.get(Files.refName) === name) ? [] : `${name} (${digest})`
      )
}

/** Files of other forms of the same image, and of the content stores of containerd and BuildKit. */
const knownNames: ReadonlySet<string> = new Set([
  Files.layoutFile,
  Files.indexFile,
  Files.blobs,
  "manifest.json",
  "repositories",
  "ingest",
  "cache.lock",
  "index.json.lock"
])

/** What stands beside index.json. */
const auditRoot = (store: Store, layout: AuditedLayout, audit: LayerAudit, report: Collector): void => {
  report.ran("oci-layout.extra-file", "directory.unreadable")
  const names = store.list("")
  if (names === undefined) {
    report.report("directory.unreadable", store.path, "the directory cannot be listed")
    return
  }
  const isRun = tellRuns(store, names, report)
  for (const name of names) {
    if (knownNames.has(name) || Lock.isLock(name) || isRun(name)) continue
    if (Files.isReceipt(name)) stored(store, name, layout, audit, report)
    else report.report("oci-layout.extra-file", name, "nothing refers to it")
  }
}

/** A receipt that stands in the layout, as long as index.json still has what it records. */
const stored = (store: Store, name: string, layout: AuditedLayout, audit: LayerAudit, report: Collector): void => {
  report.ran("receipt.stale")
  const receipt = ReceiptAudit.decode(store.lookup(name), name, report)
  if (receipt === undefined) return
  const [missing] = unlisted(receipt, layout)
  if (missing === undefined) ReceiptAudit.compare(store, receipt, name, () => true, layout.documents, audit, report)
  else
    report.report("receipt.stale", name, "index.json does not list what it records", {
      expected: missing,
      actual: "no such entry"
    })
}
