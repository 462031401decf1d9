/** Audits a directory of images (`dir://`), whoever wrote it: this program, the older tool, or a docker-save that was unpacked. */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { CheckId } from "../../check/Catalog.ts"
import type { CheckResults } from "../../check/CheckResults.ts"
import { Collector } from "../../check/Collector.ts"
import * as HasherLoading from "../../content/HasherLoading.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as Document from "../Document.ts"
import * as DockerSave from "../docker-archive/DockerSave.ts"
import * as SavedAudit from "../docker-archive/SavedAudit.ts"
import { LayerAudit, layerChecks } from "../LayerAudit.ts"
import * as Lock from "../Lock.ts"
import * as Receipt from "../Receipt.ts"
import * as ReceiptAudit from "../ReceiptAudit.ts"
import { tellRuns } from "../RunAudit.ts"
import { readJson, type Store, unsafeName } from "../Store.ts"
import { type Verifier, type VerifyOptions, verdicts } from "../Verifier.ts"
import * as Files from "./DirectoryFiles.ts"
import { type CatalogEntry, encodeCatalog, readCatalog } from "./DirectoryWriter.ts"
import * as ExpandedTree from "./ExpandedTree.ts"

export const make = Effect.fn("DirectoryVerifier.make")(function* (options: { readonly path: string }) {
  const pool = yield* WorkerPool
  return {
    verify: (verifyOptions) =>
      verify(DirectoryStore.make(options.path), verifyOptions).pipe(
        HasherLoading.loading,
        Effect.provideService(WorkerPool, pool)
      )
  } satisfies Verifier["Type"]
})

const verify = Effect.fn("DirectoryVerifier.verify")(function* (store: Store, options: VerifyOptions) {
  const report = new Collector(options.policy, options.limits?.maxFindings)
  const audit = new LayerAudit(report)
  const { receipt } = options
  const names = store.list("")
  report.ran("directory.unreadable")
  if (names === undefined) {
    report.report("directory.unreadable", store.path, "the directory cannot be listed")
    return { results: report.results(), images: [], layerCount: 0 }
  }
  const written = receipt?.details["manifest"]
  const only = typeof written === "string" ? written : undefined
  const catalog = readCatalogFile(store, names, report)
  const manifests = only === undefined ? names.filter(Files.isManifest) : [only]
  report.ran("manifest.missing")
  if (only === undefined && manifests.length === 0) {
    report.report("manifest.missing", Files.manifestFile("", false), "no manifest says what is in this directory", {
      expected: "manifest.json or manifest-NAME-TAG.json",
      actual: "neither"
    })
  }
  const images = manifests.flatMap((file) => auditManifest(store, file, names, receipt, catalog, audit, report))
  if (catalog !== undefined) auditCatalog(store, catalog, images, only, report)
  // A docker-save that was unpacked.
  const isSaved = only === undefined && manifests.includes(saveFile)
  if (
    isSaved &&
    (names.includes(repositoriesFile) || names.some((name) => store.lookup(`${name}/json`) !== undefined))
  ) {
    const { companions } = yield* Effect.promise(() => import("../docker-archive/SavedImages.ts"))
    companions(
      store,
      images.filter(({ saved }) => saved.manifestFile === saveFile),
      report
    )
  }
  if (only === undefined) {
    auditRest(store, names, images, audit, report)
    auditReceipts(names, catalog, report)
  }
  if (options.depth === "full") yield* audit.readAll(options.limits ?? {})
  else {
    audit.openAll()
    report.skip("layer.diff-id-mismatch", "content is read at full depth only")
  }
  const trees = new Map<FoundImage, string>()
  for (const image of images) {
    // A manifest of several images has no place for their trees.
    if (images.some((one) => one !== image && one.saved.manifestFile === image.saved.manifestFile)) continue
    const { depth, tolerances = [] } = options
    const tree = yield* ExpandedTree.audit(
      store,
      image.saved.manifestFile,
      image.saved,
      image.receipt,
      { depth, tolerances },
      report
    )
    if (tree !== undefined) trees.set(image, tree)
  }
  const results = report.results()
  return {
    results,
    images: verdicts(
      report.errorsBySubject,
      images.map((image) => verdictOf(image, trees.get(image), results))
    ),
    layerCount: audit.layerCount
  }
})

const saveFile = Files.manifestFile("", false)

const repositoriesFile = "repositories"

interface FoundImage extends SavedAudit.AuditedImage {
  readonly receipt: Receipt.Receipt | undefined
}

const verdictOf = (
  image: FoundImage,
  tree: string | undefined,
  results: CheckResults
): { readonly image: string; readonly subjects: ReadonlySet<string> } => ({
  image: image.saved.names.join(", ") || image.saved.subject,
  subjects: new Set([
    ...SavedAudit.subjectsOf(image),
    Files.receiptFile(image.saved.manifestFile),
    ...(image.saved.manifestFile === saveFile ? [repositoriesFile] : []),
    ...(tree === undefined
      ? []
      : results.results.flatMap(({ subject }) => (subject === tree || subject.startsWith(`${tree}/`) ? [subject] : [])))
  ])
})

/** One manifest file: its images, their configs and layers, and its receipt. */
const auditManifest = (
  store: Store,
  file: string,
  names: ReadonlyArray<string>,
  given: Receipt.Receipt | undefined,
  catalog: Catalog | undefined,
  audit: LayerAudit,
  report: Collector
): ReadonlyArray<FoundImage> => {
  const document = Document.read(store, file, Document.manifestChecks, report)
  const stored = Files.receiptFile(file)
  const receipt =
    given ?? (names.includes(stored) ? ReceiptAudit.decode(store.lookup(stored), stored, report) : undefined)
  if (document === undefined) return []
  const saved = DockerSave.readManifest(document, file, report)
  const images = SavedAudit.auditImages(store, saved, audit, report)
  SavedAudit.parents(images, report)
  SavedAudit.duplicateNames(images, report)
  if (receipt !== undefined) auditReceipt(store, file, document, images, receipt, audit, report)
  else if (!names.includes(stored) && images.some((image) => isOurs(image, catalog))) {
    report.report("receipt.missing", Files.receiptFile(file), `${file} was written with a receipt, which is not there`)
  }
  return images.map((image) => ({
    ...image,
    receipt
  }))
}

/** Only this program leaves a catalog, a verbatim config and layers under their diff_ids together. */
const isOurs = (image: SavedAudit.AuditedImage, catalog: Catalog | undefined): boolean =>
  catalog !== undefined &&
  image.id !== undefined &&
  image.saved.config === Files.configFile(image.id) &&
  image.saved.layers !== undefined &&
  image.saved.layers.length > 0 &&
  image.saved.layers.every((name, index) => {
    const diffId = image.config?.diffIds?.[index]
    return diffId !== undefined && name === Files.layerFile(diffId)
  })

/** What was recorded at the time of writing, against what is there now. */
const auditReceipt = (
  store: Store,
  manifest: string,
  document: Document.ReadDocument,
  images: ReadonlyArray<SavedAudit.AuditedImage>,
  receipt: Receipt.Receipt,
  audit: LayerAudit,
  report: Collector
): void => {
  report.ran("receipt.missing-file", "receipt.size-mismatch", "receipt.digest-mismatch", "receipt.image-mismatch")
  const subject = Files.receiptFile(manifest)
  const recorded = new Map(receipt.files.map((file) => [file.path, file]))
  const configs = new Set(images.map((image) => image.saved.config))
  const layers = new Set(images.flatMap((image) => image.saved.layers ?? []))
  const named = new Set([manifest, ...configs, ...layers])
  for (const path of named) {
    if (path !== undefined && !recorded.has(path)) {
      report.report("receipt.image-mismatch", subject, "the manifest names a file that the receipt does not", {
        actual: path
      })
    }
  }
  for (const [path, file] of recorded) {
    if (unsafeName(path) !== undefined) {
      report.report("receipt.invalid", subject, "the receipt names a path that cannot be followed", {
        actual: JSON.stringify(path)
      })
      continue
    }
    if (!named.has(path)) {
      report.report("receipt.image-mismatch", subject, "the receipt names a file that the manifest does not", {
        actual: path
      })
    }
    const entry = store.lookup(path)
    if (entry?.kind !== "file") {
      // What a manifest names and is missing has been reported as such.
      if (!named.has(path)) report.report("receipt.missing-file", path, `${subject} records it, but it is not there`)
      continue
    }
    if (path === manifest) {
      compare(
        document.raw,
        file,
        manifest,
        { size: "receipt.size-mismatch", digest: "receipt.digest-mismatch" },
        subject,
        report
      )
    } else if (configs.has(path) || (!named.has(path) && !path.endsWith(".tar"))) {
      // No layer, even where the manifest no longer says so.
      const read = readJson(entry.region)
      if ("bytes" in read)
        compare(
          read.bytes,
          file,
          path,
          { size: "config.size-mismatch", digest: "config.digest-mismatch" },
          subject,
          report
        )
    } else {
      const key = audit.add({ subject: path, region: entry.region, as: "layer" }, layerChecks)
      audit.size(key, { value: file.size, by: subject })
      audit.digest(key, { value: Receipt.digestOf(file), by: subject })
    }
  }
}

const compare = (
  raw: Uint8Array,
  recorded: Receipt.File,
  subject: string,
  checks: { readonly size: CheckId; readonly digest: CheckId },
  by: string,
  report: Collector
): void => {
  report.ran(checks.size, checks.digest)
  const found = Receipt.fileOf(subject, raw)
  if (found.size !== recorded.size) {
    report.report(checks.size, subject, `its size is not what ${by} says`, {
      expected: count(recorded.size, "byte"),
      actual: count(found.size, "byte")
    })
  }
  if (found.sha256 !== recorded.sha256) {
    report.report(checks.digest, subject, `its bytes are not what ${by} says`, {
      expected: Receipt.digestOf(recorded),
      actual: Receipt.digestOf(found)
    })
  }
}

interface Catalog {
  readonly entries: ReadonlyArray<readonly [image: string, tag: string, manifest: string]>
  readonly raw: Uint8Array
}

/** undefined when there is none, or it cannot be used. */
const readCatalogFile = (store: Store, names: ReadonlyArray<string>, report: Collector): Catalog | undefined => {
  if (!names.includes(Files.catalogFile)) return undefined
  const document = Document.read(
    store,
    Files.catalogFile,
    {
      missing: "catalog.invalid-json",
      unreadable: "catalog.invalid-json",
      invalid: "catalog.invalid-json",
      duplicateKey: "catalog.duplicate-key"
    },
    report
  )
  if (document === undefined || document.value === undefined) return undefined
  const read = readCatalog(document.raw)
  if (Either.isRight(read)) return { entries: read.right, raw: document.raw }
  // A document that parses in spite of what is wrong with it has been reported on.
  if (Json.parse(document.raw).problems.every((one) => one.kind === "duplicate-key"))
    report.report("catalog.invalid-json", Files.catalogFile, `the catalog cannot be used: ${read.left}`)
  return undefined
}

/** The catalog and the manifests tell the same story. */
const auditCatalog = (
  store: Store,
  catalog: Catalog,
  images: ReadonlyArray<FoundImage>,
  only: string | undefined,
  report: Collector
): void => {
  report.ran(
    "catalog.dangling",
    "catalog.unsafe-path",
    "catalog.stale",
    "catalog.collision",
    "catalog.unlisted",
    "catalog.missing-entry",
    "catalog.reformatted"
  )
  const subject = Files.catalogFile
  const byManifest = new Map<string, Array<string>>()
  for (const [image, tag, manifest] of catalog.entries) {
    if (only !== undefined && manifest !== only) continue
    const name = `${image}:${tag}`
    if (unsafeName(manifest) !== undefined || manifest.includes("/")) {
      report.report(
        "catalog.unsafe-path",
        subject,
        `the entry ${JSON.stringify(name)} names a path that cannot be followed`,
        {
          actual: JSON.stringify(manifest)
        }
      )
      continue
    }
    if (store.lookup(manifest) === undefined) {
      report.report(
        "catalog.dangling",
        subject,
        `the entry ${JSON.stringify(name)} names a manifest that is not there`,
        {
          expected: manifest,
          actual: "nothing"
        }
      )
      continue
    }
    const listed = byManifest.get(manifest)
    if (listed === undefined) byManifest.set(manifest, [name])
    else listed.push(name)
  }
  const described = new Map<string, { readonly names: Array<string>; readonly receipt: Receipt.Receipt | undefined }>()
  for (const { receipt, saved } of images) {
    const known = described.get(saved.manifestFile) ?? { names: [], receipt }
    for (const name of saved.names) known.names.push(name)
    described.set(saved.manifestFile, known)
  }
  for (const [file, listed] of byManifest) {
    // What is wrong with a manifest that cannot be read has been reported.
    if (described.has(file) || report.errorsBySubject.has(file)) continue
    const named = listed.slice(0, 10).join(", ")
    report.report("catalog.dangling", subject, `${file} has no image, but the catalog names it for ${named}`)
  }
  const entries = new Set(catalog.entries.map((entry) => JSON.stringify(entry)))
  for (const [file, { names, receipt }] of described) {
    const listed = byManifest.get(file)
    if (listed === undefined) report.report("catalog.unlisted", subject, `no entry names ${file}`)
    const check = file === Files.manifestFile("", false) ? "catalog.stale" : "catalog.collision"
    const alike = new Map<string, { readonly known: Array<string>; readonly listed: Array<string> }>()
    for (const name of names) {
      const key = keyOf(name)
      const same = alike.get(key)
      if (same === undefined) alike.set(key, { known: [name], listed: [] })
      else same.known.push(name)
    }
    for (const name of names.length === 0 ? [] : (listed ?? [])) {
      const same = alike.get(lastPart(name))
      if (same !== undefined) same.listed.push(name)
      else {
        report.report(check, subject, `the entry ${JSON.stringify(name)} names ${file}, which is another image's`, {
          expected: name,
          actual: names.slice(0, 10).join(", ")
        })
      }
    }
    // Which of them it is does not show in the last part of a name.
    for (const { known, listed } of alike.values()) {
      if (listed.length <= known.length) continue
      report.report(check, subject, `${count(listed.length, "entry", "entries")} name ${file}, which is one image's`, {
        expected: listed.slice(0, 10).join(", "),
        actual: known.slice(0, 10).join(", ")
      })
    }
    for (const { image, tag } of catalogDetails(receipt)) {
      if (!entries.has(JSON.stringify([image, tag, file]))) {
        report.report("catalog.missing-entry", subject, `the entry that was written for ${file} is not there`, {
          expected: `${image}:${tag}`,
          actual: "nothing"
        })
      }
    }
  }
  if (images.some((image) => image.receipt !== undefined)) {
    const canonical = new Map<string, Map<string, string>>()
    for (const [image, tag, manifest] of catalog.entries) {
      canonical.set(image, (canonical.get(image) ?? new Map<string, string>()).set(tag, manifest))
    }
    if (Buffer.compare(encodeCatalog(canonical), catalog.raw) !== 0) {
      report.report("catalog.reformatted", subject, "the catalog is not in the form that its writers leave")
    }
  }
}

/**
 * What a manifest's name has in common with a catalog's entry for it. `debian:12` names the image that a manifest calls
 * `docker.io/library/debian:12`: older manifests keep the last part only. No tag is `latest` in the catalog.
 */
const keyOf = (name: string): string => {
  const { image, tag } = Files.catalogKey(name)
  return lastPart(`${image}:${tag}`)
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf("/") + 1)

const catalogDetails = (receipt: Receipt.Receipt | undefined): ReadonlyArray<CatalogEntry> => {
  const entries = receipt?.details["catalog"]
  return Array.isArray(entries)
    ? entries.filter(
        (one): one is CatalogEntry =>
          Json.isObject(one) && typeof one["image"] === "string" && typeof one["tag"] === "string"
      )
    : []
}

/** What no manifest names: layers nobody needs, traces of interrupted runs. */
const auditRest = (
  store: Store,
  names: ReadonlyArray<string>,
  images: ReadonlyArray<FoundImage>,
  audit: LayerAudit,
  report: Collector
): void => {
  report.ran("layer.unreferenced", "directory.empty")
  const used = new Set<string>()
  for (const { saved } of images) {
    for (const name of [saved.config, ...(saved.layers ?? [])]) if (name !== undefined) used.add(name)
  }
  const isRun = tellRuns(store, names, report)
  for (const name of names) if (!isRun(name) && !Lock.isLock(name)) unreferenced(store, name, used, audit, report)
}

const unreferenced = (
  store: Store,
  name: string,
  used: ReadonlySet<string>,
  audit: LayerAudit,
  report: Collector
): void => {
  const entry = store.lookup(name)
  if (entry?.kind === "file") {
    if (/^([a-f0-9]{64}|layer)\.tar$/.test(name) && !used.has(name) && !audit.has(entry.region))
      orphan(name, name, report)
  } else if (entry?.kind === "directory") {
    const inside = store.list(name)
    if (inside === undefined) report.report("directory.unreadable", name, "the directory cannot be listed")
    else if (inside.includes("layer.tar")) {
      const file = `${name}/layer.tar`
      const layer = store.lookup(file)
      if (!used.has(file) && !(layer?.kind === "file" && audit.has(layer.region))) orphan(file, name, report)
    } else if (inside.length === 0 && Digest.isDigest(`sha256:${name}`)) {
      report.report("directory.empty", name, "the directory has a layer's name, but holds no layer.tar")
    }
  }
}

const orphan = (file: string, name: string, report: Collector): void =>
  report.report(
    "layer.unreferenced",
    file,
    `no manifest names ${name === file ? "this layer" : "the layer in this directory"}`
  )

/** Receipts whose manifest is gone, and a catalog that is. */
const auditReceipts = (names: ReadonlyArray<string>, catalog: Catalog | undefined, report: Collector): void => {
  report.ran("catalog.missing")
  const receipts = names.filter(Files.isReceipt)
  for (const file of receipts) {
    const manifest = Files.manifestOfReceipt(file)
    if (!names.includes(manifest))
      report.report("manifest.missing", manifest, `${file} records it, but it is not there`)
  }
  // manifest.json alone is what `docker save` writes as well.
  const hasNamed = names.some((name) => Files.isManifest(name) && name !== saveFile)
  if ((receipts.length > 0 || hasNamed) && catalog === undefined && !names.includes(Files.catalogFile)) {
    report.report(
      "catalog.missing",
      Files.catalogFile,
      "the images here were written with a catalog, which is not there"
    )
  }
}
