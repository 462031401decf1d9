/** What of a runtime bundle has to be written again, given a right copy of its image: single files, its tree's too. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Policy } from "../../check/Policy.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import type { FileTree } from "../../rootfs/FileTree.ts"
import * as Mtree from "../../rootfs/Mtree.ts"
import type { Tolerance } from "../../rootfs/Tolerance.ts"
import { version } from "../../version.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import type { SourceError, WriteError } from "../Failure.ts"
import * as Journal from "../Journal.ts"
import * as ProvedTree from "../ProvedTree.ts"
import * as Receipt from "../Receipt.ts"
import * as Restore from "../Restore.ts"
import { readRegion, type Store } from "../Store.ts"
import { hardlinksOf, objects } from "../TreeManifest.ts"
import * as TreeRepair from "../TreeRepair.ts"
import { type KeptUnrestored, keptProblems, keptUnrestored, tolerancesFor } from "../UnpackImage.ts"
import { configFiles, streamed } from "./BundleConfig.ts"
import * as Files from "./BundleFiles.ts"

/** What tells which image a bundle holds. */
export interface Identity {
  readonly receipt: Receipt.Receipt | undefined
  /** By the receipt, which is sealed, or that of the image's config as it is kept; undefined when nothing tells. */
  readonly id: string | undefined
}

export const identify = (root: string): Identity => {
  const store = DirectoryStore.make(root)
  const raw = readSmall(store, Files.receipt)
  const receipt = raw === undefined ? undefined : Either.getOrUndefined(Receipt.decode(raw))
  const config = readSmall(store, Files.containerConfig)
  return {
    receipt,
    id:
      receipt?.image ??
      (config === undefined ? undefined : Digest.make("sha256", Receipt.fileOf(Files.containerConfig, config).sha256))
  }
}

const readSmall = (store: Store, name: string, limit = Json.maxBytes): Uint8Array | undefined => {
  const entry = store.lookup(name)
  const read = entry?.kind === "file" ? readRegion(entry.region, limit) : undefined
  return read !== undefined && "bytes" in read ? read.bytes : undefined
}

export interface PlanOptions {
  readonly tolerances: ReadonlyArray<Tolerance>
  readonly policy: Policy
}

/** Larger manifests describe more files than are ever looked at. */
const maxManifest = 1024 ** 3

/**
 * What to do so that the bundle is `image` again: it is that image. `subjects`: what findings, errors or warnings, are
 * about. Bytes that a receipt records come out exactly so or not at all. Changes nothing.
 */
export const plan = Effect.fn("BundleRepair.plan")(function* (
  root: string,
  image: Image.Image,
  flagged: Restore.Flagged,
  subjects: ReadonlyArray<string>,
  { policy, tolerances }: PlanOptions
): Effect.fn.Return<Restore.Work, SourceError | WriteError, WorkerPool> {
  const store = DirectoryStore.make(root)
  const names = store.list("") ?? []
  const { receipt } = identify(root)
  const leftovers = Journal.leftovers(root, names)
  // A bundle of another tool has no manifest of ours, so that nothing says how its tree came about.
  const ours = receipt !== undefined || names.includes(Files.manifest)
  const files: Array<Restore.Wanted> = []
  const impossible: Array<Restore.Change> = []
  const want = (file: string, content: Restore.Content): void => {
    const obstacle = Restore.obstacle(root, file)
    if (obstacle === undefined) files.push({ path: file, content })
    else impossible.push({ path: file, reason: obstacle })
  }
  const wantBytes = (file: string, bytes: Uint8Array): void => {
    const found = readSmall(store, file, maxManifest)
    if (found !== undefined && Buffer.compare(found, bytes) === 0) return
    const recorded = receipt?.files.find((one) => one.path === file)
    if (recorded === undefined || recorded.sha256 === Receipt.fileOf(file, bytes).sha256)
      want(file, { kind: "bytes", bytes })
    else impossible.push({ path: file, reason: "the bytes that the receipt records cannot be made again" })
  }
  if (flagged(Files.containerConfig)) wantBytes(Files.containerConfig, image.config.raw)
  const place = path.join(root, Files.rootfs)
  const isTreeSuspect =
    ours &&
    (leftovers.length > 0 ||
      [Files.manifest, Files.receipt].some((file) => flagged(file)) ||
      fs.lstatSync(place, { throwIfNoEntry: false })?.isDirectory() !== true ||
      subjects.some((subject) => subject === Files.rootfs || subject.startsWith(`${Files.rootfs}/`)))
  const isConfigSuspect = flagged(Files.config, ours ? undefined : "error") && !isRecorded(store, Files.config, receipt)
  let tree: TreeRepair.TreePlan | undefined
  let proved: ProvedTree.Proved | undefined
  const outcome: { lost: number; unrestored: ReadonlyArray<KeptUnrestored> } = { lost: 0, unrestored: [] }
  if (isTreeSuspect || isConfigSuspect) {
    const all = yield* ProvedTree.prove(image, "cannot use")
    proved = all
    const configs = yield* configFiles(image, all.tree, all.inputs, streamed)
    if (isConfigSuspect) wantBytes(Files.config, configs.find(({ file }) => file.path === Files.config)!.bytes)
    if (isTreeSuspect) {
      const known = objects(receipt?.details["unrestored"]).map((one) => ({ what: one["what"] as never }))
      tree = yield* TreeRepair.plan(
        all.tree,
        { root: place, subject: Files.rootfs },
        [...tolerances, ...tolerancesFor(known)],
        policy
      )
      wantBytes(Files.manifest, manifestOf(all.tree))
      if (receipt === undefined) {
        want(Files.receipt, {
          kind: "late",
          make: () => Receipt.encode(receiptAnew(root, image, all, outcome.lost, outcome.unrestored))
        })
      }
    }
  }
  const restored = { root, target: Files.receipt, image: receipt?.names[0] ?? image.names[0] ?? image.config.digest }
  const plain: Restore.Plan = { files, impossible, leftovers }
  return {
    changes: [
      ...(tree?.changes ?? []),
      ...files.map((file) => ({ path: file.path, reason: "it is not what belongs to the image" })),
      ...leftovers.map((name) => ({ path: name, reason: "a run that was cut off left it" }))
    ],
    impossible: [...impossible, ...(tree?.impossible ?? [])],
    run: Effect.gen(function* () {
      const mended =
        tree === undefined || proved === undefined ? undefined : yield* TreeRepair.carryOut(proved, tree, restored)
      outcome.lost = mended?.lost ?? 0
      outcome.unrestored = keptUnrestored(mended?.unrestored ?? [])
      const done = yield* Restore.carryOut(restored, plain)
      return {
        repaired: [
          ...(mended?.repaired ?? []),
          ...done.written.map((file) => ({ path: file, reason: "it is not what belongs to the image" }))
        ],
        impossible: [...(mended?.impossible ?? []), ...done.impossible]
      }
    })
  }
})

const isRecorded = (store: Store, file: string, receipt: Receipt.Receipt | undefined): boolean => {
  const recorded = receipt?.files.find((one) => one.path === file)
  const raw = recorded === undefined ? undefined : readSmall(store, file)
  return raw !== undefined && Receipt.fileOf(file, raw).sha256 === recorded!.sha256
}

const manifestOf = (tree: FileTree): Buffer => Buffer.concat([...Mtree.write(tree)])

/** As a writer would have left it, but for what only the lost one told: where the image came from, and filters. */
const receiptAnew = (
  root: string,
  image: Image.Image,
  { layers, tree }: ProvedTree.Proved,
  lost: number,
  unrestored: ReadonlyArray<KeptUnrestored>
): Receipt.Receipt => ({
  tool: "tallyman",
  version,
  layout: "oci",
  names: image.names,
  image: image.config.digest,
  source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
  filters: [],
  conversions: [],
  files: [Files.containerConfig, Files.config, Files.manifest].map((file) =>
    Receipt.fileOf(file, fs.readFileSync(path.join(root, file)))
  ),
  details: {
    layers: image.layers.map(({ diffId }, index) => ({ diffId, size: layers[index]!.size })),
    entries: tree.names - lost,
    hardlinks: hardlinksOf(tree),
    problems: keptProblems(image, layers),
    unrestored
  }
})
