/** What of a `dir://` directory has to be written again, whoever wrote it, given a right copy of the image. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Collector } from "../../check/Collector.ts"
import type { Policy } from "../../check/Policy.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import type { Tolerance } from "../../rootfs/Tolerance.ts"
import { version } from "../../version.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as Document from "../Document.ts"
import * as DockerSave from "../docker-archive/DockerSave.ts"
import * as SavedIdentity from "../docker-archive/SavedIdentity.ts"
import * as SavedRepair from "../docker-archive/SavedRepair.ts"
import type { SourceError } from "../Failure.ts"
import * as Journal from "../Journal.ts"
import * as ProvedTree from "../ProvedTree.ts"
import * as Receipt from "../Receipt.ts"
import * as Restore from "../Restore.ts"
import { readSmall, type Store } from "../Store.ts"
import * as TreeRepair from "../TreeRepair.ts"
import { keptProblems, keptUnrestored } from "../UnpackImage.ts"
import * as Files from "./DirectoryFiles.ts"
import { type CatalogEntry, encodeCatalog, manifestBytes, readCatalog } from "./DirectoryWriter.ts"
import * as ExpandedTree from "./ExpandedTree.ts"

/** An image that the directory holds, or held before it was damaged. */
export interface Slot {
  readonly manifest: string
  /** Its ID, for messages; undefined when nothing tells. */
  readonly id: string | undefined
  readonly names: ReadonlyArray<string>
  readonly receipt: Receipt.Receipt | undefined
  /** What the manifest says; undefined when that cannot be relied on. */
  readonly saved: DockerSave.SavedImage | undefined
  /** Images that share the manifest. */
  readonly others: number
}

/** Every image that a manifest or a receipt tells of. */
export const slots = (root: string): ReadonlyArray<Slot> => {
  const store = DirectoryStore.make(root)
  const names = store.list("") ?? []
  const manifests = new Set([
    ...names.filter(Files.isManifest),
    ...names.filter(Files.isReceipt).map(Files.manifestOfReceipt)
  ])
  return [...manifests].flatMap((manifest): ReadonlyArray<Slot> => {
    const recorded = receiptOf(store, manifest)
    const saved = savedImages(store, manifest, recorded)
    const receipt = recorded !== undefined && isOther(store, saved, recorded) ? undefined : recorded
    if (saved.length === 0) {
      return receipt === undefined
        ? []
        : [{ manifest, id: receipt.image, names: receipt.names, receipt, saved: undefined, others: 0 }]
    }
    return saved.map((one) => ({
      manifest,
      id: receipt?.image ?? SavedIdentity.idOf(store, one),
      names: one.names,
      receipt,
      saved: one,
      others: saved.length - 1
    }))
  })
}

const receiptOf = (store: Store, manifest: string): Receipt.Receipt | undefined => {
  const receipt = Receipt.read(store, Files.receiptFile(manifest))
  return receipt?.details["manifest"] === manifest ? receipt : undefined
}

/** Nothing when the manifest is not what was written, or not what a manifest has to be. */
const savedImages = (
  store: Store,
  manifest: string,
  receipt: Receipt.Receipt | undefined
): ReadonlyArray<DockerSave.SavedImage> => {
  const report = new Collector()
  const document = Document.read(store, manifest, Document.manifestChecks, report)
  if (document === undefined) return []
  const saved = DockerSave.readManifest(document, manifest, report)
  if (report.results().hasErrors) return []
  const recorded = receipt?.files.find((file) => file.path === manifest)
  if (recorded === undefined || recorded.sha256 === Receipt.fileOf(manifest, document.raw).sha256) return saved
  // Not what was written: damaged, unless it describes another image that is there, of a tool that knows no receipts.
  return isOther(store, saved, receipt!) ? saved : []
}

const isOther = (store: Store, saved: ReadonlyArray<DockerSave.SavedImage>, receipt: Receipt.Receipt): boolean =>
  saved.some((one) => {
    const id =
      one.config === undefined || store.lookup(one.config) === undefined ? undefined : SavedIdentity.idOf(store, one)
    return id !== undefined && id !== receipt.image
  })

/** Whether a slot is `image`: by its receipt, which is sealed, or by its config and the name of that. */
export const isImage = (root: string, { receipt, saved }: Slot, image: Image.Image): boolean =>
  receipt !== undefined
    ? receipt.image === image.config.digest
    : saved !== undefined && SavedIdentity.isImage(DirectoryStore.make(root), saved, image) === true

/** Where that by which a receipt is missed is damaged as well, nobody has complained of it yet. */
const isReceiptLost = (store: Store, slot: Slot, image: Image.Image, flagged: Restore.Flagged): boolean => {
  const { manifest, others, receipt, saved } = slot
  if (receipt !== undefined || others > 0) return false
  return flagged(Files.receiptFile(manifest)) || (saved !== undefined && isOurs(store, saved, image, flagged))
}

/** Whether what this program alone leaves together will stand there: a catalog, a verbatim config, layers under diff_ids. */
const isOurs = (
  store: Store,
  { config, layers }: DockerSave.SavedImage,
  image: Image.Image,
  flagged: Restore.Flagged
): boolean => {
  if (config !== Files.configFile(image.config.digest)) return false
  const isOther = SavedIdentity.isConfigOf(store, config, image) && !holds(store, config, image.config.raw)
  return (
    !isOther &&
    (store.lookup(Files.catalogFile) !== undefined || flagged(Files.catalogFile)) &&
    image.layers.length > 0 &&
    layers?.length === image.layers.length &&
    layers.every((file, index) => file === Files.layerFile(image.layers[index]!.diffId))
  )
}

/** The tree beside a manifest, when it is to be looked at. */
export interface Expanded {
  readonly proved: ProvedTree.Proved
  readonly plan: TreeRepair.TreePlan
}

/**
 * What of the tree beside `slot`'s manifest is wrong, where there is one or should be and `isSuspect` says that it has to
 * be looked at. Changes nothing.
 */
export const planTree = Effect.fn("DirectoryRepair.planTree")(function* (
  root: string,
  slot: Slot,
  image: Image.Image,
  flagged: Restore.Flagged,
  isSuspect: (directory: string) => boolean,
  { policy, tolerances }: { readonly policy: Policy; readonly tolerances: ReadonlyArray<Tolerance> }
): Effect.fn.Return<Expanded | undefined, SourceError, WorkerPool> {
  const { manifest, others, receipt } = slot
  const directory = ExpandedTree.directoryOf(manifest)
  // Where a receipt is lost it was no other tool that wrote the tree.
  const isLost = isReceiptLost(DirectoryStore.make(root), slot, image, flagged)
  const recorded = ExpandedTree.recordedIn(receipt, manifest) ?? (isLost ? {} : undefined)
  const place = path.join(root, directory)
  const isThere = fs.lstatSync(place, { throwIfNoEntry: false }) !== undefined
  // A manifest of several images has no place for their trees.
  if (others > 0 || (!isThere && (recorded === undefined || isLost)) || !isSuspect(directory)) return undefined
  const proved = yield* ProvedTree.prove(image, "cannot use")
  const expected = ExpandedTree.expectation(proved.tree, recorded)
  const plan = yield* TreeRepair.plan(
    proved.tree,
    { root: place, subject: directory },
    [...tolerances, ...expected],
    policy
  )
  return { proved, plan }
})

/**
 * What stands in the way of writing a file: that images of the directory mean different content by it. Each slot with the
 * copy that it is, undefined where there is none.
 */
export const disputed = (
  root: string,
  slots: ReadonlyArray<readonly [Slot, Image.Image | undefined]>
): ((file: string) => string | undefined) => {
  const store = DirectoryStore.make(root)
  return SavedRepair.disputed(
    slots.map(([{ manifest, receipt, saved }, image]) =>
      receipt === undefined
        ? SavedRepair.claimOf(store, saved!, image)
        : receipt.files.flatMap((one) => (one.path === manifest ? [] : [[one.path, Receipt.digestOf(one)] as const]))
    )
  )
}

/**
 * What to write so that `slot` is `image` again: it is that image. `obstacle`: as `disputed` says; `expanded`: for a receipt
 * made anew. Changes nothing.
 */
export const plan = Effect.fn("DirectoryRepair.plan")(function* (
  root: string,
  slot: Slot,
  image: Image.Image,
  flagged: Restore.Flagged,
  obstacle: (file: string) => string | undefined,
  expanded: () => ExpandedTree.Expanded | undefined
): Effect.fn.Return<Restore.Plan, never, WorkerPool> {
  const store = DirectoryStore.make(root)
  const draft = new Restore.Draft(
    (file) => obstacle(file) ?? Restore.obstacle(root, file),
    Journal.leftovers(root, store.list("") ?? [], slot.manifest)
  )
  const named = namesOf(slot, image)
  if (typeof named === "string") {
    return { files: [], impossible: [{ path: slot.manifest, reason: named }], leftovers: [] } satisfies Restore.Plan
  }
  yield* SavedRepair.plan(store, named, image, slot.receipt, flagged, draft, slot.saved === undefined)
  if (slot.saved === undefined)
    draft.want(slot.manifest, { kind: "bytes", bytes: manifestBytes({ ...image, names: slot.names }) })
  const receipt = Files.receiptFile(slot.manifest)
  if (isReceiptLost(store, slot, image, flagged)) {
    draft.want(receipt, { kind: "late", make: () => Receipt.encode(receiptAnew(root, slot, image, expanded())) })
  }
  const catalogued = flagged(Files.catalogFile, slot.receipt === undefined ? "error" : undefined)
  const coming = draft.files.some((file) => file.path === receipt) ? slot : undefined
  if (catalogued && !holds(store, Files.catalogFile, catalogAnew(root, image, coming)))
    draft.want(Files.catalogFile, { kind: "late", make: () => catalogAnew(root, image, coming) })
  return draft
})

/** The files of the image: as the manifest has them, or as they were written. A string says why that cannot be told. */
const namesOf = ({ names, receipt, saved }: Slot, image: Image.Image): SavedRepair.Named | string => {
  const own = {
    config: Files.configFile(image.config.digest),
    layers: image.layers.map(({ diffId }) => Files.layerFile(diffId))
  }
  if (saved === undefined) {
    const recorded = receipt!.files.find((file) => Files.isManifest(file.path))
    return recorded?.sha256 === Receipt.fileOf("", manifestBytes({ ...image, names })).sha256
      ? own
      : "the bytes that the receipt records cannot be made again"
  }
  return SavedRepair.namesOf(saved, image)
}

const holds = (store: Store, file: string, bytes: Uint8Array): boolean => {
  const raw = readSmall(store, file)
  return raw !== undefined && Buffer.compare(raw, bytes) === 0
}

/** As a writer would have left it, but for what only the lost one told: where the image came from, and filters. */
const receiptAnew = (
  root: string,
  { manifest, names, saved }: Slot,
  image: Image.Image,
  expanded: ExpandedTree.Expanded | undefined
): Receipt.Receipt => {
  const fileOf = (file: string): Receipt.File => Receipt.fileOf(file, fs.readFileSync(path.join(root, file)))
  const layers = new Map(
    saved!.layers!.map((file, index): readonly [string, Receipt.File] => [
      file,
      {
        path: file,
        size: fs.statSync(path.join(root, file)).size,
        sha256: Digest.encodedOf(image.layers[index]!.diffId)
      }
    ])
  )
  return {
    tool: "tallyman",
    version,
    layout: "dir",
    names,
    image: image.config.digest,
    source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
    filters: [],
    conversions: [],
    files: [fileOf(saved!.config!), ...layers.values(), fileOf(manifest)],
    details: {
      manifest,
      catalog: catalogNames(names, image).map(Files.catalogKey),
      ...(expanded === undefined ? {} : { expanded })
    }
  }
}

const catalogNames = (names: ReadonlyArray<string>, image: Image.Image): ReadonlyArray<string> =>
  names.length > 0 ? names : [Digest.encodedOf(image.config.digest)]

/** What a receipt says of a tree that was made right: as a writer would have said it. */
export const expandedAnew = (
  manifest: string,
  image: Image.Image,
  { layers, tree }: ProvedTree.Proved,
  { lost, unrestored }: TreeRepair.TreeDone
): ExpandedTree.Expanded => ({
  directory: ExpandedTree.directoryOf(manifest),
  entries: tree.names - lost,
  problems: keptProblems(image, layers).filter(({ check }) => check.startsWith("rootfs.")),
  unrestored: keptUnrestored(unrestored)
})

/**
 * From what the receipts record; of manifests without one, what the catalog has, or else their names. `coming`: the slot of
 * `image`, where it gets a receipt anew.
 */
const catalogAnew = (root: string, image: Image.Image, coming: Slot | undefined): Uint8Array => {
  const store = DirectoryStore.make(root)
  const raw = readSmall(store, Files.catalogFile)
  const old =
    raw === undefined || Json.parse(raw).problems.length > 0 ? [] : Either.getOrElse(readCatalog(raw), () => [])
  const catalog = new Map<string, Map<string, string>>()
  const add = ({ image, tag }: CatalogEntry, manifest: string): void => {
    catalog.set(image, (catalog.get(image) ?? new Map<string, string>()).set(tag, manifest))
  }
  const found = slots(root).filter(({ manifest }) => manifest !== coming?.manifest)
  const recorded = new Set(found.flatMap(({ manifest, receipt }) => (receipt === undefined ? [] : [manifest])))
  if (coming !== undefined) {
    recorded.add(coming.manifest)
    for (const name of catalogNames(coming.names, image)) add(Files.catalogKey(name), coming.manifest)
  }
  for (const [image, tag, manifest] of old) if (!recorded.has(manifest)) add({ image, tag }, manifest)
  for (const { manifest, names, receipt } of found) {
    if (receipt !== undefined) {
      const entries = receipt.details["catalog"]
      for (const one of Array.isArray(entries) ? entries.filter(Json.isObject) : []) {
        if (typeof one["image"] === "string" && typeof one["tag"] === "string")
          add({ image: one["image"], tag: one["tag"] }, manifest)
      }
    } else if (!old.some(([, , file]) => file === manifest))
      for (const name of names) add(Files.catalogKey(name), manifest)
  }
  return encodeCatalog(catalog)
}
