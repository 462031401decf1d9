/** Unpacked trees made right again from the layers that they were made from: no file that is right is touched. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { catalog } from "../check/Catalog.ts"
import type { Policy } from "../check/Policy.ts"
import * as ByteString from "../content/ByteString.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import { type DiskTree, readDisk } from "../rootfs/DiskTree.ts"
import type { FileTree } from "../rootfs/FileTree.ts"
import * as Mend from "../rootfs/Mend.ts"
import { scanJob } from "../rootfs/ScanFiles.ts"
import { allows, type Leeway } from "../rootfs/Tolerance.ts"
import { SourceError, type WriteError } from "./Failure.ts"
import * as Journal from "./Journal.ts"
import { syncAll } from "./NewDirectory.ts"
import { unwritable } from "./OutputFiles.ts"
import type * as ProvedTree from "./ProvedTree.ts"
import type { Change } from "./Restore.ts"
import { type KeptUnrestored, toleranceOf, unpackTree } from "./UnpackImage.ts"

export interface TreeTarget {
  /** The tree's directory. */
  readonly root: string
  /** What stands for it in messages, for example `rootfs`. */
  readonly subject: string
}

export interface TreePlan {
  readonly target: TreeTarget
  readonly changes: ReadonlyArray<Change>
  readonly impossible: ReadonlyArray<Change>
  readonly tolerances: ReadonlyArray<Leeway>
  /** undefined: the directory is not there, or something else is; it is written as a whole. */
  readonly mend: { readonly disk: DiskTree; readonly plan: Mend.MendPlan } | undefined
}

/** What has to be done to one tree. Changes nothing. */
export const plan = Effect.fn("TreeRepair.plan")(function* (
  expected: FileTree,
  target: TreeTarget,
  tolerances: ReadonlyArray<Leeway>,
  policy: Policy
): Effect.fn.Return<TreePlan, never, WorkerPool> {
  const pool = yield* WorkerPool
  const none = { target, tolerances, impossible: [], mend: undefined }
  const stat = fs.lstatSync(target.root, { throwIfNoEntry: false })
  if (stat?.isDirectory() !== true) {
    return { ...none, changes: [{ path: target.subject, reason: "the unpacked tree is not there" }] }
  }
  const read = yield* Effect.either(
    readDisk(Buffer.from(path.resolve(target.root)), {
      hash: expected,
      scan: (tasks) => pool.runAll(scanJob, tasks)
    })
  )
  if (read._tag === "Left") {
    return { ...none, changes: [], impossible: [{ path: target.subject, reason: read.left.message }] }
  }
  const mend = Mend.plan(expected, read.right, {
    tolerances,
    concerns: (check) => {
      const level = policy[check] ?? catalog[check].severity
      return level === "error" || level === "warning"
    }
  })
  const shown = (path: ByteString.ByteString): string => shownIn(target.subject, path)
  const byPath = new Map<string, string>()
  for (const { check, message, path } of mend.flaws) {
    if (!byPath.has(shown(path))) byPath.set(shown(path), `${message} [${check}]`)
  }
  return {
    ...none,
    changes: [...byPath].map(([file, reason]) => ({ path: file, reason })),
    impossible: mend.hopeless.map(({ check, message, path }) => ({
      path: shown(path),
      reason: `${message} [${check}]`
    })),
    mend: { disk: read.right, plan: mend }
  }
})

const shownIn = (subject: string, path: ByteString.ByteString): string =>
  path === "" ? subject : `${subject}/${ByteString.display(path)}`

export const isEmpty = ({ changes }: TreePlan): boolean => changes.length === 0

/** Something of the tree that the disk does not have as it should be. */
export interface Unrestored {
  readonly path: ByteString.ByteString
  readonly what: KeptUnrestored["what"]
  readonly message: string
}

export interface TreeDone {
  /** Those of `changes` that were made. */
  readonly repaired: ReadonlyArray<Change>
  /** Besides what the plan said. */
  readonly impossible: ReadonlyArray<Change>
  /** Including what is tolerated. */
  readonly unrestored: ReadonlyArray<Unrestored>
  /** Names of the tree that could not be made. */
  readonly lost: number
}

export const nothing: TreeDone = { repaired: [], impossible: [], unrestored: [], lost: 0 }

/** Where a repair leaves its journal and temporary files: on the same file system as the tree, and outside it. */
export interface Place {
  readonly root: string
  /** For the journal, as in `Restore.Restoring`. */
  readonly target: string
  readonly image: string
}

/**
 * Makes a tree right. What is missing is unpacked beside it, hashed meanwhile and on the disk before anything is put in
 * its place; until then a failure changes nothing. From then on the journal stays until all is done.
 */
export const carryOut = Effect.fn("TreeRepair.carryOut")(function* (
  proved: Pick<ProvedTree.Proved, "tree" | "inputs">,
  plan: TreePlan,
  { image, root, target }: Place
): Effect.fn.Return<TreeDone, SourceError | WriteError, WorkerPool> {
  if (isEmpty(plan)) return nothing
  const doing = unwritable(`cannot repair ${plan.target.root}`)
  const journal = yield* Effect.try({ try: () => Journal.open(root, target, image), catch: doing })
  const placing = { begun: false }
  return yield* Effect.gen(function* () {
    const ready = yield* prepare(proved, plan, journal)
    return yield* Effect.try({
      try: () => {
        placing.begun = true
        const unrestored = [...ready.unrestored, ...ready.place()]
        syncAll(plan.target.root)
        journal.close()
        return done(plan, unrestored, ready.lost)
      },
      catch: doing
    })
  }).pipe(
    Effect.onExit((exit) => (exit._tag === "Failure" && !placing.begun ? Effect.sync(journal.abandon) : Effect.void))
  )
})

const done = (
  { changes, target, tolerances }: TreePlan,
  unrestored: ReadonlyArray<Unrestored>,
  lost: ReadonlySet<ByteString.ByteString>
): TreeDone => {
  const failed = unrestored
    .filter(({ path, what }) => {
      const tolerance = toleranceOf(what)
      return tolerance === undefined || !allows(tolerances, tolerance, path)
    })
    .map(
      ({ message, path, what }): Change => ({
        path: shownIn(target.subject, path),
        reason: what === "entry" ? `it cannot be made or changed: ${message}` : `${what}: ${message}`
      })
    )
  const same = unrestored.filter(({ what }) => what === "entry").map((one) => one.path)
  const gone = new Set([...lost, ...same].map((one) => shownIn(target.subject, one)))
  return {
    repaired: changes.filter(({ path: file }) => !gone.has(file)),
    impossible: failed,
    unrestored,
    lost: lost.size
  }
}

interface Ready {
  readonly unrestored: ReadonlyArray<Unrestored>
  /** Names that could not be made. */
  readonly lost: ReadonlySet<ByteString.ByteString>
  /** Puts what was made in its place. Throws what the file system says. */
  readonly place: () => ReadonlyArray<Unrestored>
}

const isLost = ({ what }: Unrestored): boolean => what === "entry" || what === "device" || what === "fifo"

const prepare = Effect.fnUntraced(function* (
  { inputs, tree: expected }: Pick<ProvedTree.Proved, "tree" | "inputs">,
  { mend, target }: TreePlan,
  journal: Journal.Journal
): Effect.fn.Return<Ready, SourceError | WriteError, WorkerPool> {
  const staged = path.resolve(journal.temporary())
  const trash = path.resolve(journal.temporary())
  const doing = unwritable(`cannot write beside ${target.root}`)
  yield* Effect.try({ try: () => fs.mkdirSync(trash, { mode: 0o700 }), catch: doing })
  if (mend === undefined) {
    const { unrestored } = yield* unpackTree(expected, staged, inputs)
    yield* Effect.try({ try: () => syncAll(staged), catch: doing })
    return {
      unrestored,
      lost: new Set(unrestored.filter(isLost).map((one) => one.path)),
      place: () => {
        if (fs.lstatSync(target.root, { throwIfNoEntry: false }) !== undefined) {
          fs.renameSync(target.root, path.join(trash, "tree"))
        } else fs.mkdirSync(path.dirname(target.root), { recursive: true })
        fs.renameSync(staged, target.root)
        return []
      }
    }
  }
  const { files, places, tree } = Mend.stage(mend.plan)
  const { unrestored } = yield* unpackTree(tree, staged, inputs)
  for (const { expected: wanted, staged: made } of files) {
    if (wanted.sha256 !== undefined && made.sha256 !== undefined && wanted.sha256 !== made.sha256) {
      return yield* new SourceError({
        reason: "Damaged",
        message: `the source has changed while it was read: expected sha256:${wanted.sha256}, found sha256:${made.sha256}`
      })
    }
  }
  yield* Effect.try({ try: () => syncAll(staged), catch: doing })
  const lost = new Set(unrestored.filter(isLost).map((one) => one.path))
  const bytesOf = (file: string): ByteString.ByteString => ByteString.fromBytes(Buffer.from(path.resolve(file)))
  return {
    unrestored: unrestored.map((one) => ({ ...one, path: places.get(one.path) ?? "" })),
    lost: new Set([...lost].flatMap((name) => places.get(name) ?? [])),
    place: () =>
      Mend.carryOut({
        root: bytesOf(target.root),
        staged: bytesOf(staged),
        trash: bytesOf(trash),
        expected,
        disk: mend.disk,
        plan: mend.plan,
        places,
        lost
      })
  }
})
