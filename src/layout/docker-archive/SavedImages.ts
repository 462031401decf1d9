/** manifest.json and repositories of a docker-save, beside an OCI layout or without one (rules 84-92). */
import type { Collector } from "../../check/Collector.ts"
import * as Document from "../Document.ts"
import type { LayerAudit } from "../LayerAudit.ts"
import type { AuditedLayout, LayoutImage } from "../oci-layout/LayoutAudit.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import { plainName, type Store } from "../Store.ts"
import type { Judged } from "../Verifier.ts"
import * as Files from "./ArchiveFiles.ts"
import * as Consistency from "./Consistency.ts"
import * as DockerSave from "./DockerSave.ts"
import * as LegacyAudit from "./LegacyAudit.ts"
import * as Repositories from "./Repositories.ts"
import * as SavedAudit from "./SavedAudit.ts"

export interface SavedImages {
  /** Those of manifest.json; undefined when there is none. */
  readonly images: ReadonlyArray<SavedAudit.AuditedImage> | undefined
  readonly repositories: ReadonlyArray<Repositories.RepositoryTag> | undefined
  /** Names of files that manifest.json refers to. */
  readonly named: ReadonlySet<string>
}

/** Audits both, against each other and against the layout that the store may hold as well. */
export const audit = (
  store: Store,
  layout: AuditedLayout | undefined,
  layers: LayerAudit,
  report: Collector
): SavedImages => {
  const there = store.lookup(Files.manifestFile) !== undefined
  const images = there ? auditManifest(store, layout, layers, report) : undefined
  const repositories = there ? companions(store, images, report) : Repositories.read(store, false, report)
  if (images !== undefined && layout?.readable) Consistency.compareIndex(images, layout.images, report)
  return {
    // A manifest.json of which nothing can be made has no other story to tell.
    images: images ?? (there ? [] : undefined),
    repositories,
    named: new Set(
      images?.flatMap(({ saved }) =>
        [saved.config, ...(saved.layers ?? [])].flatMap((name) => (name === undefined ? [] : [plainName(name)]))
      )
    )
  }
}

/** What stands beside a manifest.json for readers that do not know it: repositories, and a json for each layer. */
export const companions = (
  store: Store,
  images: ReadonlyArray<SavedAudit.AuditedImage> | undefined,
  report: Collector
): ReadonlyArray<Repositories.RepositoryTag> | undefined => {
  LegacyAudit.documents(store, report)
  const repositories = Repositories.read(store, true, report)
  if (images !== undefined && repositories !== undefined)
    Consistency.compareRepositories(store, images, repositories, report)
  return repositories
}

const auditManifest = (
  store: Store,
  layout: AuditedLayout | undefined,
  layers: LayerAudit,
  report: Collector
): ReadonlyArray<SavedAudit.AuditedImage> | undefined => {
  const document = Document.read(store, Files.manifestFile, Document.manifestChecks, report)
  if (document === undefined) return undefined
  const saved = DockerSave.readManifest(document, Files.manifestFile, report, store)
  if (!Array.isArray(document.value)) return undefined
  const images = SavedAudit.auditImages(store, saved, layers, report, inLayout(layout))
  SavedAudit.parents(images, report)
  SavedAudit.duplicateNames(images, report)
  Consistency.layerSources(store, document.value, images, layers, report)
  return images
}

/** What the layout says of images, by their config; thousands can have one, as artifacts have the empty one. */
const inLayout = (layout: AuditedLayout | undefined) => {
  const byConfig = new Map<
    string,
    { kind: LayoutImage["kind"]; otherTypes: Map<string, string>; withoutDiffIds: boolean }
  >()
  for (const { config, kind, otherTypes, withoutDiffIds } of layout?.images ?? []) {
    if (config === undefined) continue
    const known = byConfig.get(config)
    if (known === undefined) byConfig.set(config, { kind, otherTypes: new Map(otherTypes), withoutDiffIds })
    else {
      if (kind === "image") known.kind = kind
      for (const [name, type] of otherTypes) known.otherTypes.set(name, type)
      known.withoutDiffIds ||= withoutDiffIds
    }
  }
  return ({ config }: DockerSave.SavedImage): SavedAudit.InLayout | undefined =>
    config === undefined ? undefined : byConfig.get(SavedAudit.promisedDigest(config) ?? "")
}

/**
 * Images that manifest.json has, with what index.json says about them, and those that only index.json has. `everywhere`
 * are subjects that concern all of them.
 */
export const named = (
  saved: ReadonlyArray<SavedAudit.AuditedImage>,
  layout: AuditedLayout | undefined,
  everywhere: ReadonlyArray<string>
): ReadonlyArray<Judged> => {
  // What is wrong with these documents is wrong for each image.
  const all = new Set([
    Files.manifestFile,
    Files.repositoriesFile,
    ...(layout === undefined ? [] : [OciFiles.indexFile, OciFiles.layoutFile]),
    ...everywhere
  ])
  const byConfig = new Map<string, Array<LayoutImage>>()
  for (const one of layout?.images ?? []) {
    if (one.config === undefined) continue
    const known = byConfig.get(one.config)
    if (known === undefined) byConfig.set(one.config, [one])
    else known.push(one)
  }
  // One config can stand for thousands of images on either side: what they share is gathered once.
  const shared = new Map<string, ReadonlySet<string>>()
  const sharedOf = (config: string | undefined): ReadonlySet<string> => {
    const same = config === undefined ? undefined : byConfig.get(config)
    if (config === undefined || same === undefined) return all
    const known = shared.get(config) ?? new Set([...all, ...same.flatMap((one) => [...one.subjects])])
    shared.set(config, known)
    return known
  }
  const configs = new Set(saved.map(Consistency.configOf))
  return [
    ...saved.map((image) => {
      const config = Consistency.configOf(image)
      return {
        image: image.saved.names.slice(0, 20).join(", ") || config || image.saved.subject,
        // There can be tens of thousands: one set at a time.
        get subjects() {
          return SavedAudit.subjectsOf(image)
        },
        shared: sharedOf(config)
      }
    }),
    ...(layout?.images ?? [])
      .filter((one) => one.config === undefined || !configs.has(one.config))
      .map(({ label, subjects }) => ({ image: label, subjects, shared: all }))
  ]
}

/** For a layout in a directory: an archive that was unpacked. */
export const auditBeside = (
  store: Store,
  layout: AuditedLayout,
  layers: LayerAudit,
  report: Collector
): { readonly named: ReadonlySet<string>; readonly images: ReadonlyArray<Judged> } => {
  const saved = audit(store, layout, layers, report)
  return { named: saved.named, images: named(saved.images ?? [], layout, []) }
}
