/** What lies in a layout and nothing refers to, and what an index lists that does not lie there. */

import type { CheckId } from "../../check/Catalog.ts"
import type { Collector } from "../../check/Collector.ts"
import type { Detail } from "../../check/Finding.ts"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import * as Platform from "../../image/Platform.ts"
import type { Region } from "../../image/Region.ts"
import { caseCollisions } from "../CaseCollisions.ts"
import * as Document from "../Document.ts"
import * as Journal from "../Journal.ts"
import type { BlobChecks, LayerAudit } from "../LayerAudit.ts"
import { readJson, type Store, type StoreChild } from "../Store.ts"
import type { Blobs } from "./Blobs.ts"
import * as Files from "./OciFiles.ts"

export const blobChecks: BlobChecks = {
  size: "blob.size-mismatch",
  digest: "blob.digest-mismatch",
  unreadable: "blob.unreadable"
}

/** An image that an index lists and that is not here. */
export interface Absent {
  readonly path: string
  readonly by: string
  readonly platform: Platform.Platform | undefined
}

/** A layout as far as its index.json leads. */
export interface Walked {
  readonly store: Store
  readonly audit: LayerAudit
  readonly report: Collector
  readonly blobs: Blobs
  /** Paths of blobs that something refers to. */
  readonly referenced: ReadonlySet<string>
  readonly absent: ReadonlyArray<Absent>
  /** Reports what may be met several times. */
  readonly once: (check: CheckId, subject: string, message: string, detail?: Detail) => void
  /** Reports a blob that is a symlink. */
  readonly linked: (child: StoreChild, path: string) => void
}

/** Every name below blobs/, and what index entries name that is not here. */
export const auditRest = (walked: Walked, known: ReadonlySet<string>): void => {
  const { blobs, report, store } = walked
  report.ran(
    "blob.bad-name",
    "blob.case-collision",
    "blob.unreferenced",
    "blob.symlink",
    "blob.absent",
    "directory.unreadable"
  )
  const orphans: Array<Region> = []
  const algorithms = blobs.algorithms()
  if (algorithms === undefined) {
    if (store.lookup(Files.blobs)?.kind === "directory") {
      report.report("directory.unreadable", Files.blobs, "the directory cannot be listed")
    }
  } else {
    collisions(algorithms.keys(), Files.blobs, report)
    for (const [algorithm, child] of algorithms) oneAlgorithm(walked, algorithm, child, known, orphans)
  }
  lost(walked, orphans)
}

const oneAlgorithm = (
  { audit, blobs, linked, once, referenced, report }: Walked,
  algorithm: string,
  child: StoreChild,
  known: ReadonlySet<string>,
  orphans: Array<Region>
): void => {
  const directory = `${Files.blobs}/${algorithm}`
  if (Journal.isTemporary(algorithm)) return
  if (child.entry.kind !== "directory" || !algorithmGrammar.test(algorithm)) {
    report.report(
      "blob.bad-name",
      directory,
      child.entry.kind === "directory" ? "its name is no digest algorithm's" : "it is no directory",
      {
        expected: "a directory named by an algorithm",
        actual: child.entry.kind === "directory" ? JSON.stringify(algorithm) : Document.whatIs(child.entry)
      }
    )
    return
  }
  const listing = blobs.listing(algorithm)
  if (listing === undefined) {
    report.report("directory.unreadable", directory, "the directory cannot be listed")
    return
  }
  collisions(listing.keys(), directory, report)
  for (const [encoded, one] of listing) {
    const path = `${directory}/${encoded}`
    if (referenced.has(path) || Journal.isTemporary(encoded)) continue
    const why = Digest.invalid(`${algorithm}:${encoded}`)
    if (why !== undefined) {
      report.report("blob.bad-name", path, `${JSON.stringify(`${algorithm}:${encoded}`)} ${why}`)
      continue
    }
    linked(one, path)
    if (one.entry.kind !== "file") {
      once("blob.unreadable", path, "it is no regular file", {
        expected: "a file",
        actual: Document.whatIs(one.entry)
      })
      continue
    }
    if (!known.has(path) && !audit.has(one.entry.region)) {
      report.report("blob.unreferenced", path, "no index or manifest here refers to it")
      orphans.push(one.entry.region)
    }
    const key = audit.add({ subject: path, region: one.entry.region, as: "blob" }, blobChecks)
    audit.named(key, path)
  }
}

/**
 * An index may list images that are not here, as exports for fewer platforms leave them. Where the config of such an
 * image lies here, its manifest was not left out but lost.
 */
const lost = ({ absent, once }: Walked, orphans: ReadonlyArray<Region>): void => {
  if (absent.length === 0) return
  const platforms = new Set(orphans.flatMap((region) => platformOf(region) ?? []))
  for (const { by, path, platform } of absent) {
    const shown = platform === undefined ? "" : ` (${Platform.show(platform)})`
    if (platform !== undefined && platforms.has(Platform.show(Platform.normalize(platform)))) {
      once("manifest.missing", path, `${by} lists it${shown}, and it is not here, though a config for that platform is`)
    } else if (orphans.length > 0) {
      once(
        "index.incomplete",
        path,
        `${by} lists it${shown}, and it is not here, though content is that nothing refers to`
      )
    } else {
      once("blob.absent", path, `${by} lists it${shown}, and it is not here`)
    }
  }
}

const algorithmGrammar = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*$/

/** Names that a file system without case takes for one. */
const collisions = (all: Iterable<string>, directory: string, report: Collector): void => {
  for (const [name, known] of caseCollisions(all)) {
    report.report(
      "blob.case-collision",
      `${directory}/${name}`,
      `it differs from ${JSON.stringify(known)} in case only`
    )
  }
}

/** The platform of a blob that turns out to be an image's config. */
const platformOf = (region: Region): string | undefined => {
  if (region.size > 4 * 1024 * 1024) return undefined
  const read = readJson(region)
  if ("failure" in read || read.bytes[0] !== 0x7b) return undefined
  const { value } = Json.parse(read.bytes)
  if (!Json.isObject(value) || !Json.isObject(value["rootfs"])) return undefined
  const { architecture, os, variant } = value
  return typeof os === "string" && typeof architecture === "string"
    ? Platform.show(Platform.normalize({ os, architecture, ...(typeof variant === "string" ? { variant } : {}) }))
    : undefined
}
