/** `dir://PATH?expand=true`: the tree that an image's layers make, beside them, in a directory named like its manifest. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { Collector } from "../../check/Collector.ts"
import type { LayerInput } from "../../content/LayerStream.ts"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import { type FileTree, unknown } from "../../rootfs/FileTree.ts"
import { readLayers } from "../../rootfs/ReadLayers.ts"
import type { Leeway, Tolerance } from "../../rootfs/Tolerance.ts"
import { countNames } from "../CountNames.ts"
import type { SavedImage } from "../docker-archive/DockerSave.ts"
import type { SourceError, WriteError } from "../Failure.ts"
import type * as Journal from "../Journal.ts"
import { occupied } from "../OutputFiles.ts"
import type * as Receipt from "../Receipt.ts"
import type { Store } from "../Store.ts"
import { auditTree, tellKept, tellUnrestored } from "../TreeAudit.ts"
import { objects } from "../TreeManifest.ts"
import {
  applyLayers,
  type KeptProblem,
  type KeptUnrestored,
  tolerancesFor,
  unpackTree,
  unrestoredOf
} from "../UnpackImage.ts"

/** The tree of the image that `manifest-x-1.json` describes is in `manifest-x-1/`. */
export const directoryOf = (manifest: string): string => manifest.replace(/\.json$/, "")

/** What a receipt's details say about a tree, under `expanded`. */
export interface Expanded {
  readonly directory: string
  /** Names in the tree, its root included. */
  readonly entries: number
  readonly problems: ReadonlyArray<KeptProblem>
  readonly unrestored: ReadonlyArray<KeptUnrestored>
}

/** A tree that is written, not yet in its place. */
export interface Prepared {
  readonly temporary: string
  readonly details: Expanded
}

/** Unpacks `layers`, the image's as they lie in the directory. */
export const write = (
  manifest: string,
  image: Image.Image,
  layers: ReadonlyArray<LayerInput>,
  journal: Journal.Journal
): Effect.Effect<Prepared, SourceError | WriteError, WorkerPool> =>
  Effect.gen(function* () {
    const { problems, tree } = yield* applyLayers(image, layers)
    const temporary = path.resolve(journal.temporary())
    const unpacked = yield* unpackTree(tree, temporary, layers)
    return {
      temporary,
      details: {
        directory: directoryOf(manifest),
        entries: unpacked.names,
        // What is wrong with the tars themselves is found when they are verified.
        problems: problems.filter(({ check }) => check.startsWith("rootfs.")),
        unrestored: unrestoredOf(unpacked)
      }
    }
  })

/** Makes sure that nothing but a directory stands where the tree goes. Throws. */
export const check = (root: string, { details }: Prepared): void => {
  const there = fs.lstatSync(path.join(root, details.directory), { throwIfNoEntry: false })
  if (there === undefined || there.isDirectory()) return
  throw occupied(
    `cannot write ${details.directory}/ into ${root}: expected a directory or nothing, found something else`
  )
}

/** Puts the tree in its place; an older one of the same manifest goes. Throws. */
export const place = (root: string, { details, temporary }: Prepared, journal: Journal.Journal): void => {
  const target = path.join(root, details.directory)
  if (fs.existsSync(target)) fs.renameSync(target, journal.temporary())
  fs.renameSync(temporary, target)
}

/**
 * The older tool's trees: it unpacks member by member, so that later ones change the times of directories, and symlinks
 * have the time of the unpacking.
 */
const ofOthers: ReadonlyArray<Tolerance> = ["directory-mtime", "mtime-microseconds"]

/** Verifies the tree beside a manifest's first image, where there is one or should be. Answers its directory. */
export const audit = (
  store: Store,
  manifest: string,
  image: SavedImage,
  receipt: Receipt.Receipt | undefined,
  options: { readonly depth: "fast" | "full"; readonly tolerances: ReadonlyArray<Tolerance> },
  report: Collector
): Effect.Effect<string | undefined, never, WorkerPool> =>
  Effect.gen(function* () {
    const directory = directoryOf(manifest)
    const details = recordedIn(receipt, manifest)
    const entry = store.lookup(directory)
    if (entry === undefined && details === undefined) return undefined
    report.ran("bundle.missing-rootfs")
    if (entry?.kind !== "directory") {
      report.report("bundle.missing-rootfs", directory, "the unpacked tree is not there", {
        expected: "a directory",
        actual: entry === undefined ? "nothing" : "something else"
      })
      return directory
    }
    const root = path.join(store.path, directory)
    if (details !== undefined) {
      tellKept(details["problems"], report)
      tellUnrestored(details["unrestored"], directory, report)
    }
    if (options.depth === "fast") {
      countEntries(root, directory, details?.["entries"], report)
      report.skip("rootfs.content-mismatch", "files are compared at full depth only")
      return directory
    }
    const inputs = (image.layers ?? []).flatMap((name): ReadonlyArray<LayerInput> => {
      const layer = store.lookup(name)
      return layer?.kind === "file" ? [{ region: layer.region, edits: [] }] : []
    })
    if (inputs.length !== image.layers?.length) {
      report.skip("rootfs.content-mismatch", `${directory}: a layer is not there, so the tree was not compared`)
      return directory
    }
    const read = yield* Effect.either(readLayers(inputs))
    if (read._tag === "Left") {
      report.skip(
        "rootfs.content-mismatch",
        `${directory}: a layer cannot be read, so the tree was not compared: ${read.left.message}`
      )
      return directory
    }
    const { tree } = read.right
    yield* auditTree(tree, { root, subject: directory }, [...options.tolerances, ...expectation(tree, details)], report)
    return directory
  })

/** What the receipt says of the tree beside a manifest; undefined for a tree of another tool, or none. */
export const recordedIn = (
  receipt: Receipt.Receipt | undefined,
  manifest: string
): Readonly<Record<string, unknown>> | undefined => {
  const recorded = receipt?.details["expanded"]
  return Json.isObject(recorded) && recorded["directory"] === directoryOf(manifest) ? recorded : undefined
}

/** What has to be tolerated of a tree by what made it. Takes out of `tree` what the older tool does not keep. */
export const expectation = (
  tree: FileTree,
  recorded: Readonly<Record<string, unknown>> | undefined
): ReadonlyArray<Leeway> => {
  if (recorded !== undefined) {
    return tolerancesFor(objects(recorded["unrestored"]))
  }
  tree.forEach(({ inode }) => {
    if (inode.type === "symlink") inode.mtimeNanoseconds = unknown
  })
  return ofOthers
}

const countEntries = (root: string, directory: string, expected: unknown, report: Collector): void => {
  if (typeof expected !== "number") {
    report.skip("bundle.entry-count", "no receipt says how many files there should be")
    return
  }
  report.ran("bundle.entry-count")
  const { names, unreadable } = countNames(root)
  if (unreadable > 0) {
    report.skip(
      "bundle.entry-count",
      `${count(unreadable, "directory", "directories")} of the tree cannot be listed by this user`
    )
  } else if (names !== expected) {
    report.report("bundle.entry-count", directory, "it has another number of files than were unpacked", {
      expected: count(expected, "name"),
      actual: count(names, "name")
    })
  }
}
