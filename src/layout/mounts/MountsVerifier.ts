/** Audits a directory of mounts (`mounts://`), this program's or the older tool's: what is mounted, and every layer's files. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { Collector } from "../../check/Collector.ts"
import * as ByteString from "../../content/ByteString.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Json from "../../image/Json.ts"
import { type FileTree, unknown } from "../../rootfs/FileTree.ts"
import * as Mtree from "../../rootfs/Mtree.ts"
import { type OverlayNamespace, overlayLayer } from "../../rootfs/OverlayLayer.ts"
import { readLayers } from "../../rootfs/ReadLayers.ts"
import type { Tolerance } from "../../rootfs/Tolerance.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as Document from "../Document.ts"
import * as DockerSave from "../docker-archive/DockerSave.ts"
import { describe } from "../Failure.ts"
import { LayerAudit, layerChecks } from "../LayerAudit.ts"
import type * as Receipt from "../Receipt.ts"
import * as ReceiptAudit from "../ReceiptAudit.ts"
import { tellRuns } from "../RunAudit.ts"
import { auditConfigs } from "../runtime-bundle/BundleVerifier.ts"
import type { Store } from "../Store.ts"
import { auditTree, tellKept, tellUnrestored } from "../TreeAudit.ts"
import { complete, objects, readManifestFile } from "../TreeManifest.ts"
import { tolerancesFor } from "../UnpackImage.ts"
import type { Verification, Verifier, VerifyOptions } from "../Verifier.ts"
import { findMarkers } from "./Markers.ts"
import * as Files from "./MountsFiles.ts"
import * as Overlay from "./Overlay.ts"

export interface MountsVerifierOptions {
  readonly path: string
}

export const make = Effect.fn("MountsVerifier.make")(function* (options: MountsVerifierOptions) {
  const pool = yield* WorkerPool
  return {
    verify: (verifyOptions) => verify(options.path, verifyOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies Verifier["Type"]
})

const verify = Effect.fn("MountsVerifier.verify")(function* (target: string, options: VerifyOptions) {
  const report = new Collector(options.policy)
  const audit = new LayerAudit(report)
  const store = DirectoryStore.make(target)
  const names = store.list("")
  report.ran("directory.unreadable", "receipt.missing")
  if (names === undefined) {
    report.report("directory.unreadable", target, "the directory cannot be listed")
    return { results: report.results(), images: [], layerCount: 0 } satisfies Verification
  }
  const stored = names.includes(Files.receipt)
    ? ReceiptAudit.decode(store.lookup(Files.receipt), Files.receipt, report)
    : undefined
  const receipt = options.receipt ?? stored
  tellRuns(store, names, report)
  directories(store, report)
  const named = layersOf(store, report)
  const there = named.filter((one) => present(store, one, report))
  if (receipt === undefined && named.length > 0 && named.every((one) => !one.named.endsWith(".tar"))) {
    report.report("receipt.missing", Files.receipt, "the layers were written with a receipt, which is not there")
  }
  const mounted = auditMount(store, named, report)
  const configs = auditConfigs(store, receipt, names, report, mounted)
  asConfigured(named, configs.diffIds, report)
  if (receipt !== undefined) {
    const concerns = (file: string): boolean => configs.read.has(file) || file.includes("/") || file === Files.manifest
    ReceiptAudit.compare(store, receipt, Files.receipt, concerns, configs.read, audit, report)
    tellKept(receipt.details["problems"], report)
    for (const one of objects(receipt.details["unrestored"])) tellUnrestored([one], String(one["layer"]), report)
  }
  if (options.depth === "full")
    yield* auditLayers(store, named, there, configs.diffIds, receipt, audit, options, report)
  else report.skip("rootfs.content-mismatch", "files are compared at full depth only")
  yield* options.depth === "full" ? audit.readAll(options.limits ?? {}) : Effect.sync(() => audit.openAll())
  const results = report.results()
  return {
    results,
    images: [{ image: receipt?.names.join(", ") || target, ok: !results.hasErrors, errorCount: results.errorCount }],
    layerCount: named.length
  } satisfies Verification
})

interface NamedLayer {
  /** As the manifest has it. */
  readonly named: string
  /** Of its files, below the root. */
  readonly directory: string
}

const directories = (store: Store, report: Collector): void => {
  report.ran("mounts.missing-directory", "mounts.changed")
  for (const name of [Files.rootfs, Files.working, Files.delta]) {
    const entry = store.lookup(name)
    if (entry?.kind !== "directory") {
      report.report("mounts.missing-directory", name, "it is no directory", {
        expected: "a directory",
        actual: entry === undefined ? "nothing" : "something else"
      })
    }
  }
  const changed = store.list(Files.delta) ?? []
  if (changed.length > 0) {
    report.report("mounts.changed", Files.delta, "it holds what was changed in rootfs/ since it was mounted", {
      expected: "nothing",
      actual: `${changed.length} names, for example ${JSON.stringify(changed[0])}`
    })
  }
}

/** Base first; nothing when the manifest cannot be used. */
const layersOf = (store: Store, report: Collector): ReadonlyArray<NamedLayer> => {
  const document = Document.read(store, Files.manifest, Document.manifestChecks, report)
  if (document === undefined) return []
  const images = DockerSave.readManifest(document, Files.manifest, report)
  return (images[0]?.layers ?? []).map((named) => ({ named, directory: Files.directoryOf(named) }))
}

const present = (store: Store, { directory }: NamedLayer, report: Collector): boolean => {
  report.ran("mounts.missing-layer", "mounts.bad-whiteout")
  const entry = store.lookup(directory)
  if (entry?.kind !== "directory") {
    report.report("mounts.missing-layer", directory, "the manifest names it", {
      expected: "a directory",
      actual: entry === undefined ? "nothing" : "something else"
    })
    return false
  }
  for (const name of findMarkers(path.join(store.path, directory))) {
    report.report(
      "mounts.bad-whiteout",
      `${directory}/${ByteString.display(name)}`,
      "a whiteout as archives have it: overlay shows it as a file",
      {
        expected: "a 0:0 character device, or an opaque directory",
        actual: "a name that begins with .wh."
      }
    )
  }
  return true
}

/** Directories that are named by diff_ids stand in their order; a layer that comes again may have been left out. */
const asConfigured = (named: ReadonlyArray<NamedLayer>, diffIds: ReadonlyArray<string>, report: Collector): void => {
  const wanted = diffIds.map((one) => one.slice(one.indexOf(":") + 1))
  const found = named.map(({ directory }) => directory.split("/", 1)[0]!)
  if (found.some((one) => !wanted.includes(one))) {
    report.skip("mounts.wrong-layers", "the layers' directories are not named by the diff_ids of container-config.json")
    return
  }
  report.ran("mounts.wrong-layers")
  const seen = new Set<string>()
  let at = 0
  for (const hex of wanted) {
    if (found[at] === hex) at++
    else if (!seen.has(hex)) {
      report.report("mounts.wrong-layers", Files.manifest, "its layers are not the config's in their order", {
        expected: `${hex} at ${at}`,
        actual: named[at]?.directory ?? "nothing"
      })
      return
    }
    seen.add(hex)
  }
}

/** Whether the image is to be seen on rootfs/. */
const auditMount = (store: Store, layers: ReadonlyArray<NamedLayer>, report: Collector): boolean => {
  report.ran("mounts.not-mounted", "mounts.wrong-mount")
  let found: Overlay.Mount | undefined
  let root: string
  try {
    root = fs.realpathSync(store.path)
    found = Overlay.mountAt(path.join(root, Files.rootfs))
  } catch (cause) {
    report.skip("mounts.not-mounted", `what is mounted cannot be told: ${describe(cause)}`)
    return false
  }
  if (found === undefined) {
    report.report("mounts.not-mounted", Files.rootfs, "no file system is mounted there")
    return false
  }
  if (found.type !== "overlay" && found.type !== "fuse.fuse-overlayfs") {
    report.report("mounts.wrong-mount", Files.rootfs, "the file system mounted there is no overlay", {
      expected: "overlay",
      actual: found.type
    })
    return false
  }
  if (found.lower === undefined) {
    report.skip("mounts.wrong-mount", `a mount of ${found.type} does not tell its layers`)
    return true
  }
  const wanted = [...layers].reverse().map(({ directory }) => path.join(root, directory))
  if (wanted.length === 0) wanted.push(path.join(root, Files.empty))
  const actual = found.lower.map((lower) => real(path.resolve(root, lower)))
  const shown = (all: ReadonlyArray<string>): string =>
    all
      .map((one) => path.relative(root, one) || ".")
      .join(", ")
      .slice(0, 500)
  if (JSON.stringify(actual) !== JSON.stringify(wanted.map(real))) {
    report.report("mounts.wrong-mount", Files.rootfs, "its layers are not the manifest's, from the last to the first", {
      expected: shown(wanted),
      actual: shown(actual)
    })
    return false
  }
  const upper = found.upper === undefined ? undefined : real(path.resolve(root, found.upper))
  if (upper !== real(path.join(root, Files.delta))) {
    report.report("mounts.wrong-mount", Files.rootfs, "its upper directory is not delta/", {
      expected: Files.delta,
      actual: upper === undefined ? "none" : shown([upper])
    })
  }
  return true
}

const real = (file: string): string => {
  try {
    return fs.realpathSync(file)
  } catch {
    return file
  }
}

const auditLayers = (
  store: Store,
  named: ReadonlyArray<NamedLayer>,
  there: ReadonlyArray<NamedLayer>,
  diffIds: ReadonlyArray<string>,
  receipt: Receipt.Receipt | undefined,
  audit: LayerAudit,
  { tolerances = [] }: VerifyOptions,
  report: Collector
): Effect.Effect<void, never, WorkerPool> =>
  Effect.gen(function* () {
    report.ran("mounts.unverifiable-layer", "bundle.invalid-manifest")
    const hardlinks = receipt?.details["hardlinks"]
    const unrestored = objects(receipt?.details["unrestored"])
    const tars = yield* treesOfTars(store, named, diffIds, audit, report)
    for (const { directory } of new Map(there.map((one) => [one.directory, one])).values()) {
      const target = { root: path.join(store.path, directory), subject: directory }
      const manifest = Files.manifestOf(directory)
      const tree = tars.get(directory)
      if (store.lookup(manifest) !== undefined) {
        const bytes = readManifestFile(store, manifest, report)
        if (bytes === undefined) continue
        const parsed = Mtree.parse(bytes)
        for (const { line, message } of parsed.problems) {
          report.report("bundle.invalid-manifest", manifest, `line ${line}: ${message}`)
        }
        if (receipt !== undefined) complete(parsed.tree, Json.isObject(hardlinks) ? (hardlinks[directory] ?? []) : [])
        const known = unrestored
          .filter((one) => one["layer"] === directory)
          .map((one) => ({ what: one["what"] as never }))
        yield* auditTree(parsed.tree, target, [...tolerances, ...tolerancesFor(known)], report)
      } else if (tree !== undefined) yield* auditTree(tree, target, [...tolerances, ...ofTars], report)
      else {
        report.report(
          "mounts.unverifiable-layer",
          directory,
          "neither a manifest of its files nor the layer's tar is there"
        )
      }
    }
  })

/**
 * The older tool unpacks member by member: later ones change the times of the directories they are in. Symlinks
 * have the time of the unpacking.
 */
const ofTars: ReadonlyArray<Tolerance> = ["directory-mtime", "mtime-microseconds"]

const namespace: OverlayNamespace = "trusted.overlay."

/** Layers whose tar is still there, as they have to look in overlay's form, by their directory. */
const treesOfTars = (
  store: Store,
  named: ReadonlyArray<NamedLayer>,
  diffIds: ReadonlyArray<string>,
  audit: LayerAudit,
  report: Collector
): Effect.Effect<ReadonlyMap<string, FileTree>> =>
  Effect.gen(function* () {
    const trees = new Map<string, FileTree>()
    const regions = named.map(({ named: name }) => {
      const entry = name.endsWith(".tar") ? store.lookup(name) : undefined
      return entry?.kind === "file" ? entry.region : undefined
    })
    if (named.length === 0 || regions.some((region) => region === undefined)) return trees
    for (const [index, region] of regions.entries()) {
      const key = audit.add({ subject: named[index]!.named, region: region!, as: "layer" }, layerChecks)
      const diffId = diffIds[index]
      if (diffId !== undefined && named.length === diffIds.length)
        audit.diffId(key, { value: diffId, by: `layer ${index} of the config` })
    }
    yield* readLayers(
      regions.map((region) => ({ region: region!, edits: [] })),
      {
        onLayer: (whole, layer) => {
          const { directory } = named[layer.layer]!
          if (trees.has(directory)) return
          const tree = overlayLayer(whole, layer, namespace)
          tree.forEach(({ inode }) => {
            if (inode.type === "symlink") inode.mtimeNanoseconds = unknown
          })
          trees.set(directory, tree)
        }
      }
    ).pipe(
      Effect.catchAll((cause) =>
        Effect.sync(() =>
          report.skip(
            "rootfs.content-mismatch",
            `a layer's tar cannot be read, so the layers above it were not compared: ${cause.message}`
          )
        )
      )
    )
    return trees
  })
