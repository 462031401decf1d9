/** What of an unpacked image has to be made right again, given a right copy of it: its trees, file by file, and documents. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { Policy } from "../check/Policy.ts"
import type { WorkerPool } from "../content/WorkerPool.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import type { FileTree } from "../rootfs/FileTree.ts"
import * as Mtree from "../rootfs/Mtree.ts"
import type { Tolerance } from "../rootfs/Tolerance.ts"
import { version } from "../version.ts"
import * as DirectoryStore from "./DirectoryStore.ts"
import { type SourceError, WriteError } from "./Failure.ts"
import * as Journal from "./Journal.ts"
import type * as ProvedTree from "./ProvedTree.ts"
import * as Receipt from "./Receipt.ts"
import * as Restore from "./Restore.ts"
import * as Files from "./runtime-bundle/BundleFiles.ts"
import { readSmall, type Store } from "./Store.ts"
import { objects } from "./TreeManifest.ts"
import * as TreeRepair from "./TreeRepair.ts"
import { type KeptUnrestored, keptUnrestored, tolerancesFor } from "./UnpackImage.ts"

/** What tells which image is unpacked there. */
export interface Identity {
  readonly receipt: Receipt.Receipt | undefined
  /** By the receipt, which is sealed, or that of the image's config as it is kept; undefined when nothing tells. */
  readonly id: string | undefined
}

export const identify = (root: string): Identity => {
  const store = DirectoryStore.make(root)
  const receipt = Receipt.read(store, Files.receipt)
  const config = readSmall(store, Files.containerConfig)
  return {
    receipt,
    id:
      receipt?.image ??
      (config === undefined ? undefined : Digest.make("sha256", Receipt.fileOf(Files.containerConfig, config).sha256))
  }
}

/** Where a tree of the image is unpacked to, below the root, and where its manifest is, if it has one. */
export interface TreePlace {
  readonly directory: string
  readonly manifest: string | undefined
  /** What is in it belongs to nobody: it only has to be there. */
  readonly onlyThere?: boolean
}

/** A tree of the image as it should be. */
export interface Tree extends TreePlace {
  readonly tree: FileTree
}

/** All that the form has of an image, from a right copy. */
export interface Contents {
  readonly proved: ProvedTree.Proved
  readonly trees: ReadonlyArray<Tree>
  /** By name, in the order in which a receipt has them, manifests of trees left out. */
  readonly documents: ReadonlyMap<string, Uint8Array>
}

/** What happened to a tree. */
export interface Outcome {
  readonly lost: number
  readonly unrestored: ReadonlyArray<KeptUnrestored>
}

/** One of the forms that images are unpacked to. */
export interface Form {
  readonly layout: "oci" | "mounts"
  /** Whether this program wrote it: then it has a receipt, and every document is written again byte for byte. */
  readonly ours: boolean
  /** The trees, as far as they are known before the copy is read. */
  readonly places: ReadonlyArray<TreePlace>
  /** Documents without which nothing was said about the trees. */
  readonly keys: ReadonlyArray<string>
  readonly names: ReadonlyArray<string>
  readonly read: Effect.Effect<Contents, SourceError | WriteError, WorkerPool>
  /** What stands in the way of any change to the trees, or undefined. */
  readonly obstacle: () => Restore.Change | undefined
  /** Of a receipt made anew. */
  readonly details: (contents: Contents, outcomeOf: (directory: string) => Outcome) => Receipt.Receipt["details"]
}

export interface Found {
  readonly flagged: Restore.Flagged
  /** What findings, errors or warnings, are about. */
  readonly subjects: ReadonlyArray<string>
}

export interface PlanOptions {
  readonly tolerances: ReadonlyArray<Tolerance>
  readonly policy: Policy
}

/** Larger manifests describe more files than are ever looked at. */
const maxManifest = 1024 ** 3

/**
 * What to do so that `root` is `image` in this form again: it is that image. Bytes that a receipt records come out exactly
 * so or not at all. Changes nothing.
 */
export const plan = Effect.fn("UnpackedRepair.plan")(function* (
  root: string,
  image: Image.Image,
  form: Form,
  { flagged, subjects }: Found,
  { policy, tolerances }: PlanOptions
): Effect.fn.Return<Restore.Work, SourceError | WriteError, WorkerPool> {
  const store = DirectoryStore.make(root)
  const { receipt } = identify(root)
  const draft = new Restore.Draft((file) => Restore.obstacle(root, file), Journal.leftovers(root, store.list("") ?? []))
  const want = (file: string, bytes: Uint8Array): void => {
    const found = readSmall(store, file, maxManifest)
    if (found !== undefined && Buffer.compare(found, bytes) === 0) return
    const recorded = receipt?.files.find((one) => one.path === file)
    if (recorded === undefined || recorded.sha256 === Receipt.fileOf(file, bytes).sha256)
      draft.want(file, { kind: "bytes", bytes })
    else draft.cannot(file, "the bytes that the receipt records cannot be made again")
  }
  if (flagged(Files.containerConfig)) want(Files.containerConfig, image.config.raw)
  const allSuspect = draft.leftovers.length > 0 || [...form.keys, Files.receipt].some((file) => flagged(file))
  const isThere = (directory: string): boolean =>
    fs.lstatSync(path.join(root, directory), { throwIfNoEntry: false })?.isDirectory() === true
  const isSuspect = ({ directory, manifest, onlyThere = false }: TreePlace): boolean =>
    !isThere(directory) ||
    (!onlyThere &&
      (allSuspect ||
        (manifest !== undefined && flagged(manifest)) ||
        subjects.some((subject) => subject === directory || subject.startsWith(`${directory}/`))))
  const treesSuspect = form.ours && (allSuspect || form.places.some(isSuspect))
  const isDocumentSuspect = (file: string): boolean =>
    flagged(file, form.ours ? undefined : "error") && !isRecorded(store, file, receipt)
  const trees: Array<{ readonly tree: Tree; readonly plan: TreeRepair.TreePlan }> = []
  const outcomes = new Map<string, Outcome>()
  const outcomeOf = (directory: string): Outcome => outcomes.get(directory) ?? { lost: 0, unrestored: [] }
  let contents: Contents | undefined
  if (treesSuspect || [Files.config, ...form.keys].some(isDocumentSuspect)) {
    const all = yield* form.read
    contents = all
    for (const [file, bytes] of all.documents) if (isDocumentSuspect(file)) want(file, bytes)
    for (const tree of treesSuspect ? all.trees.filter(isSuspect) : []) {
      const { directory, manifest } = tree
      const inTheWay = Restore.obstacleOnTheWay(root, directory)
      if (inTheWay !== undefined) {
        draft.cannot(directory, inTheWay)
        continue
      }
      const known = objects(receipt?.details["unrestored"]).filter(
        (one) => one["layer"] === undefined || one["layer"] === directory
      )
      const planned = yield* TreeRepair.plan(
        tree.tree,
        { root: path.join(root, directory), subject: directory },
        [...tolerances, ...tolerancesFor(known)],
        policy
      )
      trees.push({ tree, plan: planned })
      if (manifest !== undefined) want(manifest, Buffer.concat([...Mtree.write(tree.tree)]))
    }
    if (treesSuspect && receipt === undefined) {
      draft.want(Files.receipt, {
        kind: "late",
        make: () => Receipt.encode(receiptAnew(root, image, form, all, outcomeOf))
      })
    }
  }
  const obstacle = trees.every((one) => TreeRepair.isEmpty(one.plan)) ? undefined : form.obstacle()
  const place = { root, target: Files.receipt, image: receipt?.names[0] ?? image.names[0] ?? image.config.digest }
  const files = Restore.workOf(place, draft)
  return {
    changes: [...trees.flatMap((one) => one.plan.changes), ...files.changes],
    impossible: [
      ...(obstacle === undefined ? [] : [obstacle]),
      ...files.impossible,
      ...trees.flatMap((one) => one.plan.impossible)
    ],
    run: Effect.gen(function* () {
      if (obstacle !== undefined) {
        return yield* new WriteError({
          reason: "Occupied",
          message: `cannot repair ${root}: ${obstacle.path}: ${obstacle.reason}`
        })
      }
      const mended: Array<TreeRepair.TreeDone> = []
      for (const { plan, tree } of trees) {
        const done = yield* TreeRepair.carryOut({ tree: tree.tree, inputs: contents!.proved.inputs }, plan, place)
        outcomes.set(tree.directory, { lost: done.lost, unrestored: keptUnrestored(done.unrestored) })
        mended.push(done)
      }
      const done = yield* files.run
      return {
        repaired: [...mended.flatMap(({ repaired }) => repaired), ...done.repaired],
        impossible: [...mended.flatMap(({ impossible }) => impossible), ...done.impossible]
      }
    })
  }
})

const isRecorded = (store: Store, file: string, receipt: Receipt.Receipt | undefined): boolean => {
  const recorded = receipt?.files.find((one) => one.path === file)
  const raw = recorded === undefined ? undefined : readSmall(store, file)
  return raw !== undefined && Receipt.fileOf(file, raw).sha256 === recorded!.sha256
}

/** As a writer would have left it, but for what only the lost one told: where the image came from, and filters. */
const receiptAnew = (
  root: string,
  image: Image.Image,
  form: Form,
  contents: Contents,
  outcomeOf: (directory: string) => Outcome
): Receipt.Receipt => ({
  tool: "tallyman",
  version,
  layout: form.layout,
  names: form.names,
  image: image.config.digest,
  source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
  filters: [],
  conversions: [],
  files: [
    Files.containerConfig,
    Files.config,
    ...contents.trees.flatMap(({ manifest }) => manifest ?? []),
    ...form.keys
  ].map((file) => Receipt.fileOf(file, fs.readFileSync(path.join(root, file)))),
  details: form.details(contents, outcomeOf)
})
