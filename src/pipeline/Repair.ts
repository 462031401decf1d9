/** What is damaged somewhere, fetched again from another copy of the same image, and nothing else. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { Finding } from "../check/Finding.ts"
import type { Policy } from "../check/Policy.ts"
import type { WorkerPool } from "../content/WorkerPool.ts"
import type * as Image from "../image/Image.ts"
import * as DockerIdentity from "../layout/DockerIdentity.ts"
import * as DirectoryRepair from "../layout/directory/DirectoryRepair.ts"
import type * as ExpandedTree from "../layout/directory/ExpandedTree.ts"
import * as ArchiveFiles from "../layout/docker-archive/ArchiveFiles.ts"
import * as ArchivePatch from "../layout/docker-archive/ArchivePatch.ts"
import * as ArchiveRepair from "../layout/docker-archive/ArchiveRepair.ts"
import * as ArchiveWriter from "../layout/docker-archive/ArchiveWriter.ts"
import { SourceError, type WriteError } from "../layout/Failure.ts"
import { matching } from "../layout/ImageSource.ts"
import type { Limits } from "../layout/Limits.ts"
import * as MountsRepair from "../layout/mounts/MountsRepair.ts"
import * as OciFiles from "../layout/oci-layout/OciFiles.ts"
import * as OciRepair from "../layout/oci-layout/OciRepair.ts"
import * as Restore from "../layout/Restore.ts"
import * as BundleRepair from "../layout/runtime-bundle/BundleRepair.ts"
import * as TreeRepair from "../layout/TreeRepair.ts"
import * as UnpackedRepair from "../layout/UnpackedRepair.ts"
import type { Depth, Verification } from "../layout/Verifier.ts"
import type { Tolerance } from "../rootfs/Tolerance.ts"
import * as Layouts from "./Layouts.ts"
import { type Uri, UsageError } from "./Uri.ts"

export interface RepairOptions {
  /** How deep damage is looked for, before and after; `full` by default. */
  readonly depth?: Depth
  /** Only say what would be done. */
  readonly dryRun?: boolean
  readonly tempDirectory?: string
  readonly limits?: Limits
  readonly policy?: Policy
  /** Differences of unpacked trees to put up with; none by default. */
  readonly tolerances?: ReadonlyArray<Tolerance>
}

export interface Repaired {
  readonly before: Verification
  /** Of what stands there now; the same as `before` when nothing was changed. */
  readonly after: Verification
  /** Files that were written again, or would be, and what was the matter with each. */
  readonly repaired: ReadonlyArray<Restore.Change>
  /** Files that cannot be had from the source, and why. */
  readonly impossible: ReadonlyArray<Restore.Change>
}

/**
 * Verifies `target`, fetches what is damaged or missing from `source`, any other copy of the same image in any layout, and
 * verifies again. A directory or a layout has single files written beside and renamed, those that are right are not
 * touched; an archive of one image is written anew as a whole. Of the images in `source`, those are used that `target` holds
 * too.
 *
 * No image is ever replaced by another: an image is restored only where the ID by which `target` knows it (sealed in its
 * receipt, promised by its config's name, or that of its config's bytes) is that of the source's image, whose config then
 * lists the same diff_ids; a blob only where its digest is the one that `target` names. Everything is proved while it is
 * copied. An error: the source holds no such image, or is damaged itself; then nothing was changed.
 */
export const repair = Effect.fn("Repair.repair")(function* (
  target: Uri,
  source: Uri,
  options: RepairOptions = {}
): Effect.fn.Return<Repaired, UsageError | SourceError | WriteError, Scope.Scope | WorkerPool> {
  const { depth = "full", dryRun = false, policy = {}, tolerances = [], ...opening } = options
  if (Layouts.hasSharedBlobs(target)) {
    return yield* new UsageError({
      reason: "BadValue",
      message: `cannot repair ${JSON.stringify(target.text)}: expected a layout with its blobs in it, found shared_blobs, which other layouts share`
    })
  }
  if (isSame(target.path, source.path)) {
    return yield* new UsageError({
      reason: "BadValue",
      message: `cannot repair ${JSON.stringify(target.text)} from itself: expected another copy of the image`
    })
  }
  const verify = Effect.scoped(
    Effect.flatMap(Layouts.openVerifier(target, opening), (verifier) =>
      verifier.verify({
        depth,
        policy,
        tolerances,
        ...(opening.limits === undefined ? {} : { limits: opening.limits })
      })
    )
  )
  const before = yield* verify
  const copies = yield* copiesOf(source, opening)
  const work = yield* workOf(target, target.scheme === "oci-layout" ? copies : byEitherName(copies), before, {
    ...opening,
    policy,
    tolerances
  })
  const reasons = reasonsOf(before)
  const told = ({ path: file, reason }: Restore.Change): Restore.Change => ({
    path: file,
    reason: reasons(file) ?? reason
  })
  if (dryRun || work.changes.length === 0) {
    return { before, after: before, repaired: work.changes.map(told), impossible: work.impossible }
  }
  const done = yield* work.run
  return {
    before,
    after: yield* verify,
    repaired: done.repaired.map(told),
    impossible: [...work.impossible, ...done.impossible]
  }
})

const isSame = (one: string, other: string): boolean => {
  try {
    return fs.realpathSync(Layouts.splitReference(one).path) === fs.realpathSync(Layouts.splitReference(other).path)
  } catch {
    return false
  }
}

interface Copies extends OciRepair.Copies {
  readonly uri: string
}

/** Every image of the source that its URI leaves. One that cannot be loaded counts only where it is the only one. */
const copiesOf = Effect.fnUntraced(function* (source: Uri, options: Layouts.SourceOptions) {
  const opened = yield* Layouts.openSource(source, options)
  const candidates = matching(yield* opened.source.candidates, opened.selector)
  if (candidates.length === 0) {
    return yield* new SourceError({
      reason: "NoSuchImage",
      message: `cannot repair from ${opened.source.uri}: it holds no such image`
    })
  }
  const loaded = yield* Effect.forEach(candidates, (one) => Effect.either(one.load))
  const images = loaded.flatMap((one) => (Either.isRight(one) ? [one.right] : []))
  const [failed] = loaded.flatMap((one) => (Either.isLeft(one) ? [one.left] : []))
  if (images.length === 0 && failed !== undefined) return yield* failed
  return { images, graph: opened.source.graph, uri: opened.source.uri } satisfies Copies
})

/** What has its images' IDs in it may name them by these or as the source does. */
const byEitherName = (copies: Copies): Copies => ({
  ...copies,
  images: [...new Set(copies.images.flatMap((image) => [image, DockerIdentity.byId(image)]))]
})

interface WorkOptions extends Layouts.SourceOptions {
  readonly policy: Policy
  readonly tolerances: ReadonlyArray<Tolerance>
}

const workOf = (
  target: Uri,
  copies: Copies,
  before: Verification,
  options: WorkOptions
): Effect.Effect<Restore.Work, UsageError | SourceError | WriteError, Scope.Scope | WorkerPool> => {
  switch (target.scheme) {
    case "tar":
      return archiveWork(target, copies, before, options)
    case "oci-layout":
      return layoutWork(target, copies, before)
    case "oci":
      return unpackedWork(target, BundleRepair.formOf, copies, before, options)
    case "mounts":
      return unpackedWork(target, MountsRepair.formOf, copies, before, options)
    default:
      return directoryWork(target, copies, before, options)
  }
}

const errorSubjects = ({ results }: Verification): ReadonlyArray<string> => [
  ...new Set(results.results.flatMap(({ severity, subject }) => (severity === "error" ? [subject] : [])))
]

/** What is more than information is about. */
const subjectsOf = ({ results }: Verification): ReadonlyArray<string> => [
  ...new Set(results.results.flatMap(({ severity, subject }) => (severity === "info" ? [] : [subject])))
]

const flaggedBy = ({ results }: Verification): Restore.Flagged => {
  const errors = new Set<string>()
  const all = new Set<string>()
  for (const { severity, subject } of results.results) {
    if (severity === "error") errors.add(subject)
    if (severity !== "info") all.add(subject)
  }
  return (file, level) => (level === "error" ? errors : all).has(file)
}

const rank = { error: 0, warning: 1, info: 2 } as const

/** What was found about a file, the worst first. */
const reasonsOf = ({ results }: Verification): ((file: string) => string | undefined) => {
  const worst = new Map<string, Finding>()
  for (const one of results.results) {
    const known = worst.get(one.subject)
    if (known === undefined || rank[one.severity] < rank[known.severity]) worst.set(one.subject, one)
  }
  return (file) => {
    const one = worst.get(file)
    return one === undefined ? undefined : `${one.message} [${one.check}]`
  }
}

const notTheSame = (target: Uri, { images, uri }: Copies, found: ReadonlyArray<string>): SourceError =>
  new SourceError({
    reason: "NoSuchImage",
    message: `cannot repair ${target.text} from ${uri}: expected the same image, found ${images
      .map(({ config, names }) => (names[0] === undefined ? config.digest : `${names[0]} (${config.digest})`))
      .join(", ")} there and ${found.slice(0, 10).join("; ") || "no image that could be told"} here`
  })

const directoryWork = Effect.fnUntraced(function* (
  target: Uri,
  copies: Copies,
  before: Verification,
  options: WorkOptions
) {
  const slots = DirectoryRepair.slots(target.path)
  const flagged = flaggedBy(before)
  const subjects = subjectsOf(before)
  const works: Array<Restore.Work> = []
  const matched = slots.map(
    (slot) => [slot, copies.images.find((one) => DirectoryRepair.isImage(target.path, slot, one))] as const
  )
  const obstacle = DirectoryRepair.disputed(target.path, matched)
  for (const [slot, image] of matched) {
    if (image === undefined) continue
    const expanded: { now: ExpandedTree.Expanded | undefined } = { now: undefined }
    const plan = yield* DirectoryRepair.plan(target.path, slot, image, flagged, obstacle, () => expanded.now)
    // Where a layer is damaged nobody has looked at the tree yet.
    const isSuspect = (directory: string): boolean =>
      plan.files.length + plan.leftovers.length > 0 ||
      subjects.some((subject) => subject === directory || subject.startsWith(`${directory}/`))
    const tree = yield* DirectoryRepair.planTree(target.path, slot, image, flagged, isSuspect, options)
    const place = { root: target.path, target: slot.manifest, image: slot.names[0] ?? image.config.digest }
    const files = Restore.workOf(place, plan)
    works.push({
      changes: [...(tree?.plan.changes ?? []), ...files.changes],
      impossible: [...(tree?.plan.impossible ?? []), ...files.impossible],
      run: Effect.gen(function* () {
        const mended =
          tree === undefined ? TreeRepair.nothing : yield* TreeRepair.carryOut(tree.proved, tree.plan, place)
        if (tree !== undefined) expanded.now = DirectoryRepair.expandedAnew(slot.manifest, image, tree.proved, mended)
        const done = yield* files.run
        return {
          repaired: [...mended.repaired, ...done.repaired],
          impossible: [...mended.impossible, ...done.impossible]
        }
      })
    })
  }
  if (works.length === 0) {
    return yield* notTheSame(
      target,
      copies,
      slots.map(({ id, names }) => [...names, id ?? "an image of unknown ID"].join(" "))
    )
  }
  return all(works)
})

/** Images share files: each is written once. */
const all = (works: ReadonlyArray<Restore.Work>): Restore.Work => {
  const distinct = (changes: ReadonlyArray<Restore.Change>) => [
    ...new Map(changes.map((one) => [one.path, one])).values()
  ]
  return {
    changes: distinct(works.flatMap(({ changes }) => changes)),
    impossible: distinct(works.flatMap(({ impossible }) => impossible)),
    run: Effect.map(
      Effect.forEach(works, ({ run }) => run),
      (done) => ({
        repaired: distinct(done.flatMap(({ repaired }) => repaired)),
        impossible: distinct(done.flatMap(({ impossible }) => impossible))
      })
    )
  }
}

const layoutWork = Effect.fnUntraced(function* (target: Uri, copies: Copies, before: Verification) {
  const { path: root } = Layouts.splitReference(target.path)
  const plan = yield* OciRepair.plan(root, copies, flaggedBy(before), errorSubjects(before))
  const [first] = plan.matched
  if (first === undefined) return yield* notTheSame(target, copies, plan.found)
  return Restore.workOf({ root, target: OciFiles.indexFile, image: first.names[0] ?? first.config.digest }, plan)
})

const unpackedWork = Effect.fnUntraced(function* (
  target: Uri,
  formOf: (root: string, image: Image.Image) => UnpackedRepair.Form,
  copies: Copies,
  before: Verification,
  { policy, tolerances }: WorkOptions
) {
  const { id, receipt } = UnpackedRepair.identify(target.path)
  // What mounts have left when they lost much else looks like a bundle, which is not to be made of it.
  if (receipt !== undefined && receipt.layout !== target.scheme) {
    return yield* new UsageError({
      reason: "BadValue",
      message: `cannot repair ${JSON.stringify(target.text)} as ${target.scheme}://: expected what was written so, found the receipt of ${receipt.layout}://`
    })
  }
  const image = copies.images.find(({ config }) => config.digest === id)
  if (image === undefined) return yield* notTheSame(target, copies, id === undefined ? [] : [id])
  const found = { flagged: flaggedBy(before), subjects: subjectsOf(before) }
  return yield* UnpackedRepair.plan(target.path, image, formOf(target.path, image), found, { policy, tolerances })
})

const archiveWork = Effect.fnUntraced(function* (
  target: Uri,
  copies: Copies,
  before: Verification,
  { limits, tempDirectory }: Layouts.SourceOptions
): Effect.fn.Return<Restore.Work, SourceError, Scope.Scope | WorkerPool> {
  const flagged = flaggedBy(before)
  const {
    found,
    image,
    index,
    obstacle,
    options: writing,
    others,
    store
  } = yield* ArchiveRepair.look(target.path, copies, flagged, {
    ...(limits === undefined ? {} : { limits }),
    ...(tempDirectory === undefined ? {} : { tempDirectory })
  })
  if (image === undefined) return yield* notTheSame(target, copies, found)
  // A warning may be about a member that is lost. To write all of it anew takes more.
  const isPatched = others.length > 0 && obstacle === undefined && subjectsOf(before).length > 0
  if (isPatched && store !== undefined && index !== undefined) {
    const plan = yield* ArchiveRepair.members(target.path, store, index, copies, flagged, errorSubjects(before))
    const changes = Restore.changesOf(plan)
    const patching = { file: target.path, store, image: image.names[0] ?? image.config.digest, tempDirectory }
    return {
      changes,
      impossible: plan.impossible,
      run: Effect.map(ArchivePatch.carryOut(patching, plan), ({ impossible, written }) => ({
        repaired: changes.filter((change) => written.includes(change.path)),
        impossible
      }))
    }
  }
  const errors = before.results.results.filter((one) => one.severity === "error" && !isOfImage(one))
  const name = path.basename(target.path)
  const [first] = errors
  const none = Effect.succeed({ repaired: [], impossible: [] })
  if (first === undefined) return { changes: [], impossible: [], run: none }
  if (obstacle !== undefined) return { changes: [], impossible: [{ path: name, reason: obstacle }], run: none }
  const more = errors.length > 1 ? `, and ${errors.length - 1} more` : ""
  const changes = [
    { path: name, reason: `${first.subject}: ${first.message} [${first.check}]${more}` },
    { path: path.basename(ArchiveFiles.receiptPath(target.path)), reason: "it is written with the archive" }
  ]
  return {
    changes,
    impossible: [],
    run: Effect.gen(function* () {
      const writer = yield* ArchiveWriter.make(writing)
      yield* writer.write(image, { filters: [] })
      return { repaired: changes, impossible: [] }
    })
  }
})

/** Faults that an image has from its making: another copy has them too. */
const isOfImage = ({ check }: Finding): boolean =>
  /^(?:history|annotation|image)\.|^tar\.path-|^layer\.(?:duplicate-path|whiteout-of-own-path|hardlink-missing-target)$/.test(
    check
  )
