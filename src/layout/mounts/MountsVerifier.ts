import * as path from "node:path"
import * as Effect from "effect/Effect"
import { Collector } from "../../check/Collector.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Json from "../../image/Json.ts"
import { type FileTree, unknown } from "../../rootfs/FileTree.ts"
import * as Mtree from "../../rootfs/Mtree.ts"
import { type OverlayNamespace, overlayLayer } from "../../rootfs/OverlayLayer.ts"
import { readLayers } from "../../rootfs/ReadLayers.ts"
import type { Tolerance } from "../../rootfs/Tolerance.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import { LayerAudit, layerChecks } from "../LayerAudit.ts"
import type * as Receipt from "../Receipt.ts"
import * as ReceiptAudit from "../ReceiptAudit.ts"
import * as BundleFiles from "../runtime-bundle/BundleFiles.ts"
import { auditConfigs } from "../runtime-bundle/BundleVerifier.ts"
import type { Store } from "../Store.ts"
import { auditTree, tellKept, tellUnrestored } from "../TreeAudit.ts"
import { complete, objects, readManifestFile } from "../TreeManifest.ts"
import { tolerancesFor } from "../UnpackImage.ts"
import type { Verification, Verifier, VerifyOptions } from "../Verifier.ts"
import * as MountsAudit from "./MountsAudit.ts"
import * as Files from "./MountsFiles.ts"

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
  const report = new Collector(options.policy, options.limits?.maxFindings)
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
  const { config, layers: named, mounted, present: there } = MountsAudit.look(store, names, report)
  if (receipt === undefined && named.length > 0 && !MountsAudit.isOlder(named)) {
    report.report("receipt.missing", Files.receipt, "the layers were written with a receipt, which is not there")
  }
  const configs = auditConfigs(
    store,
    receipt !== undefined || config === BundleFiles.containerConfig,
    names,
    report,
    mounted
  )
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

/** Directories that are named by diff_ids stand in their order; a layer that comes again may have been left out. */
const asConfigured = (
  named: ReadonlyArray<MountsAudit.NamedLayer>,
  diffIds: ReadonlyArray<string>,
  report: Collector
): void => {
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

const auditLayers = (
  store: Store,
  named: ReadonlyArray<MountsAudit.NamedLayer>,
  there: ReadonlyArray<MountsAudit.NamedLayer>,
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
        const known = unrestored.filter((one) => one["layer"] === directory)
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
  named: ReadonlyArray<MountsAudit.NamedLayer>,
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
