/** Audits an archive of images (`tar://`): docker-save in all its forms, oci-archive, both in one. */

import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Collector } from "../../check/Collector.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import * as ArchiveStore from "../ArchiveStore.ts"
import { caseCollisions } from "../CaseCollisions.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import { SourceError } from "../Failure.ts"
import { contentChecks, LayerAudit, placeOf, unjudged } from "../LayerAudit.ts"
import { type AuditedLayout, auditLayout } from "../oci-layout/LayoutAudit.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import { finish } from "../oci-layout/OciVerifier.ts"
import type { Receipt } from "../Receipt.ts"
import * as ReceiptAudit from "../ReceiptAudit.ts"
import { type Verification, type Verifier, type VerifyOptions, verdicts } from "../Verifier.ts"
import * as Files from "./ArchiveFiles.ts"
import * as IndexBeside from "./IndexBeside.ts"
import * as LegacyAudit from "./LegacyAudit.ts"
import type * as Repositories from "./Repositories.ts"
import * as SavedImages from "./SavedImages.ts"

export interface ArchiveVerifierOptions extends ArchiveStore.ArchiveOptions {
  readonly path: string
}

/**
 * Opens the archive; one that is compressed as a whole is unpacked into a temporary file that goes with the scope. It
 * fails where nothing can be said about what is there; what is no archive is a finding.
 */
export const make = Effect.fn("ArchiveVerifier.make")(function* (
  options: ArchiveVerifierOptions
): Effect.fn.Return<Verifier["Type"], SourceError, Scope.Scope | WorkerPool> {
  const pool = yield* WorkerPool
  const store = yield* ArchiveStore.open(options.path, options).pipe(
    Effect.catchIf(
      (failed) => failed.reason === "NotAnImage" || failed.reason === "Limit",
      (failed) => Effect.succeed(failed)
    )
  )
  return {
    verify: (verifyOptions) =>
      store instanceof SourceError
        ? Effect.sync(() => notAnArchive(options.path, store, verifyOptions))
        : verify(options.path, store, verifyOptions).pipe(
            HasherLoading.loading,
            Effect.provideService(WorkerPool, pool)
          )
  }
})

const notAnArchive = (file: string, failed: SourceError, options: VerifyOptions): Verification => {
  const report = new Collector(options.policy, options.limits?.maxFindings)
  report.report(
    "archive.unreadable",
    path.basename(file),
    failed.message.replace(/^cannot read .*?: (?=expected )/, "")
  )
  return { results: report.results(), images: [], layerCount: 0 }
}

const verify = Effect.fn("ArchiveVerifier.verify")(function* (
  file: string,
  store: ArchiveStore.ArchiveStore,
  options: VerifyOptions
) {
  const report = new Collector(options.policy, options.limits?.maxFindings)
  const audit = new LayerAudit(report)
  const subject = path.basename(file)
  frame(store, subject, report)
  const has = (name: string): boolean => store.lookup(name) !== undefined
  const beside = IndexBeside.isBeside(store)
  report.ran("archive.index-beside")
  if (beside)
    report.report("archive.index-beside", OciFiles.indexFile, "it describes the images, but there is no layout")
  const layout =
    has(OciFiles.indexFile) || has(OciFiles.layoutFile)
      ? auditLayout(beside ? IndexBeside.asLayout(store) : store, audit, report, beside ? { frame: false } : {})
      : undefined
  const { images: saved, named, repositories } = SavedImages.audit(store, layout, audit, report)
  const legacy =
    saved === undefined && layout === undefined ? auditLegacy(store, subject, repositories ?? [], audit, report) : []
  auditReceipt(file, store, subject, options.receipt, layout, audit, report)
  rest(store, named, layout, audit, report)
  yield* finish(audit, report, options)
  const images = [
    ...SavedImages.named(saved ?? [], layout, [subject]),
    ...legacy.map(({ label, subjects }) => ({ image: label, subjects: new Set([...subjects, subject]) }))
  ]
  return {
    results: report.results(),
    images: verdicts(report.errorsBySubject, images),
    layerCount: audit.layerCount
  }
})

/** What an archive does once it does for each member: the first few tell enough. */
const maxAlike = 3

/** The tar itself: its headers, what it is compressed with, names that stand in it more than once. */
const frame = (store: ArchiveStore.ArchiveStore, subject: string, report: Collector): void => {
  report.ran(
    "archive.unreadable",
    "archive.not-an-image",
    "archive.duplicate-member",
    "archive.repeated-member",
    "archive.path-through-non-directory",
    "archive.case-collision",
    ...contentChecks.filter(
      (check) => check.startsWith("tar.") || (store.compression !== "none" && check.startsWith("compression."))
    )
  )
  if (store.judged !== undefined) report.skip("tar.truncated", unjudged(subject, store.judged))
  const counts = new Map<string, number>()
  for (const problem of store.problems) {
    const count = (counts.get(problem.check) ?? 0) + 1
    counts.set(problem.check, count)
    if (count > maxAlike) continue
    report.report(problem.check, subject, problem.message + placeOf(problem), {
      expected: problem.expected,
      actual: problem.actual
    })
  }
  for (const problem of store.problems) {
    const more = (counts.get(problem.check) ?? 0) - maxAlike
    counts.delete(problem.check)
    if (more > 0) report.report(problem.check, subject, `and ${more} more of these`)
  }
  for (const [name, same] of store.duplicates) {
    if (same) report.report("archive.repeated-member", name, "it is in the archive more than once, with the same bytes")
    else report.report("archive.duplicate-member", name, "it is in the archive more than once, with different bytes")
  }
  for (const name of store.throughOthers)
    report.report("archive.path-through-non-directory", name, "members lie below it, and it is no directory")
  for (const [name, known] of caseCollisions(store.files()))
    report.report("archive.case-collision", name, `it differs from ${JSON.stringify(known)} in case only`)
}

const auditLegacy = (
  store: ArchiveStore.ArchiveStore,
  subject: string,
  repositories: ReadonlyArray<Repositories.RepositoryTag>,
  audit: LayerAudit,
  report: Collector
): ReadonlyArray<LegacyAudit.LegacyImage> => {
  const ids = LegacyAudit.ids(store)
  if (ids.length === 0) {
    if (store.judged !== undefined) {
      report.skip("archive.not-an-image", `${subject}: what it holds did not come out of its stream`)
      return []
    }
    const message = Files.isRootfs(store)
      ? "it is a root file system, as docker export writes it, and no image"
      : "it holds neither manifest.json nor index.json"
    report.report("archive.not-an-image", subject, message, {
      expected: "manifest.json, or index.json and blobs/",
      actual:
        store
          .list("")
          ?.slice(0, 5)
          .map((name) => JSON.stringify(name))
          .join(", ") || "nothing"
    })
    return []
  }
  report.report("archive.legacy", subject, "it has no manifest.json: nothing proves that its layers are the right ones")
  report.skip("layer.diff-id-mismatch", "images of the form before manifest.json have no digests")
  return LegacyAudit.audit(store, repositories, audit, report)
}

/** The receipt of the run that just wrote the archive, or the one that stands beside it. */
const auditReceipt = (
  file: string,
  store: ArchiveStore.ArchiveStore,
  subject: string,
  given: Receipt | undefined,
  layout: AuditedLayout | undefined,
  audit: LayerAudit,
  report: Collector
): void => {
  const target = Files.receiptPath(Files.resolve(file))
  const beside = path.basename(target)
  const stored = given === undefined ? DirectoryStore.make(path.dirname(target)).lookup(beside) : undefined
  const receipt = given ?? (stored === undefined ? undefined : ReceiptAudit.decode(stored, beside, report))
  if (receipt === undefined) return
  const by = given === undefined ? beside : "the receipt"
  ReceiptAudit.compare(store, receipt, by, () => true, layout?.documents ?? new Map(), audit, report)
  const recorded = new Set(receipt.files.map((one) => one.path))
  for (const name of store.files()) {
    if (!recorded.has(name))
      report.report("receipt.image-mismatch", name, `it is in the archive, but ${by} does not record it`)
  }
  const size = receipt.details["size"]
  if (typeof size === "number" && store.compression === "none" && size !== store.tar.size) {
    report.report("receipt.size-mismatch", subject, `its size is not what ${by} says`, {
      expected: count(size, "byte"),
      actual: count(store.tar.size, "byte")
    })
  }
}

/** Members of a docker archive that look like layers or configs, by their names. */
const looksLikeContent = /^(?:(?:sha256:)?[a-f0-9]{64}(?:\.json|\.tar(?:\.gz)?)?|[a-f0-9]{64}\/layer\.tar)$/

/** What nothing refers to. */
const rest = (
  store: ArchiveStore.ArchiveStore,
  known: ReadonlySet<string>,
  layout: AuditedLayout | undefined,
  audit: LayerAudit,
  report: Collector
): void => {
  report.ran("archive.unreferenced")
  layout?.rest(known)
  const documents = new Set<string>()
  for (const name of layout?.documents.keys() ?? []) documents.add(IndexBeside.memberOf(store, name) ?? name)
  for (const name of store.files()) {
    if (known.has(name) || documents.has(name) || !looksLikeContent.test(name)) continue
    const entry = store.lookup(name)
    if (entry?.kind === "file" && !audit.has(entry.region)) {
      report.report("archive.unreferenced", name, "nothing in the archive refers to it")
    }
  }
}
