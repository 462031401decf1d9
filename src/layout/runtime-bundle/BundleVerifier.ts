/** Audits a runtime bundle (`oci://`), whoever wrote it: its configurations, and every file of the tree. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Collector } from "../../check/Collector.ts"
import { checkConfig } from "../../check/ConfigChecks.ts"
import { checkRuntimeConfig } from "../../check/RuntimeConfigChecks.ts"
import * as ByteString from "../../content/ByteString.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import { count } from "../../image/Count.ts"
import * as ImageConfig from "../../image/ImageConfig.ts"
import * as Mtree from "../../rootfs/Mtree.ts"
import { settle } from "../../rootfs/Settle.ts"
import { settleJob } from "../../rootfs/SettleFiles.ts"
import type { Tolerance } from "../../rootfs/Tolerance.ts"
import { countNames } from "../CountNames.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as Document from "../Document.ts"
import { describe } from "../Failure.ts"
import { LayerAudit } from "../LayerAudit.ts"
import * as Receipt from "../Receipt.ts"
import * as ReceiptAudit from "../ReceiptAudit.ts"
import { tellRuns } from "../RunAudit.ts"
import type { Store } from "../Store.ts"
import { auditTree, tellKept, tellUnrestored } from "../TreeAudit.ts"
import { complete, directoriesWithLinks, objects, readManifestFile } from "../TreeManifest.ts"
import { tolerancesFor } from "../UnpackImage.ts"
import type { Verification, Verifier, VerifyOptions } from "../Verifier.ts"
import * as Files from "./BundleFiles.ts"
import { checkConversion } from "./ConversionChecks.ts"

export interface BundleVerifierOptions {
  readonly path: string
}

export const make = Effect.fn("BundleVerifier.make")(function* (options: BundleVerifierOptions) {
  const pool = yield* WorkerPool
  return {
    verify: (verifyOptions) => verify(options.path, verifyOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies Verifier["Type"]
})

const configChecks: Document.DocumentChecks = {
  missing: "bundle.missing-config",
  unreadable: "bundle.unreadable",
  invalid: "bundle.invalid-json",
  duplicateKey: "bundle.duplicate-key"
}

const containerConfigChecks: Document.DocumentChecks = { ...configChecks, missing: "bundle.missing-container-config" }

const verify = Effect.fn("BundleVerifier.verify")(function* (target: string, options: VerifyOptions) {
  const report = new Collector(options.policy, options.limits?.maxFindings)
  const audit = new LayerAudit(report)
  const store = DirectoryStore.make(target)
  const names = store.list("")
  report.ran("directory.unreadable")
  if (names === undefined) {
    report.report("directory.unreadable", target, "the directory cannot be listed")
    return { results: report.results(), images: [], layerCount: 0 } satisfies Verification
  }
  const receipt = options.receipt ?? storedReceipt(store, names, report)
  const documents = auditConfigs(store, receipt !== undefined || names.includes(Files.manifest), names, report)
  layersLeft(store, names, report)
  tellRuns(store, names, report)
  if (receipt !== undefined) {
    // A configuration that is missing has been reported as such.
    const concerns = (file: string): boolean => documents.read.has(file) || !configNames.has(file)
    ReceiptAudit.compare(store, receipt, Files.receipt, concerns, documents.read, audit, report)
    tellKept(receipt.details["problems"], report)
    tellUnrestored(receipt.details["unrestored"], Files.rootfs, report)
  }
  if (documents.rootfs !== undefined)
    yield* auditRootfs(store, documents.rootfs, documents.places, names, receipt, options, report)
  if (options.depth === "full") yield* audit.readAll(options.limits ?? {})
  else audit.openAll()
  const results = report.results()
  const { diffIds } = documents
  return {
    results,
    images: [{ image: receipt?.names.join(", ") || target, ok: !results.hasErrors, errorCount: results.errorCount }],
    layerCount: new Set(diffIds).size
  } satisfies Verification
})

/** Only this program leaves a manifest of the tree by that name, and always with a receipt. */
const storedReceipt = (store: Store, names: ReadonlyArray<string>, report: Collector): Receipt.Receipt | undefined => {
  report.ran("receipt.missing")
  if (names.includes(Files.receipt)) return ReceiptAudit.decode(store.lookup(Files.receipt), Files.receipt, report)
  if (names.includes(Files.manifest)) {
    report.report("receipt.missing", Files.receipt, "the bundle was written with a receipt, which is not there")
  }
  return undefined
}

const configNames: ReadonlySet<string> = new Set([Files.config, Files.containerConfig])

interface Configs {
  /** Size and digest of those that could be read. */
  readonly read: ReadonlyMap<string, Receipt.File>
  readonly diffIds: ReadonlyArray<string>
  /** Where the tree is, when it is there. */
  readonly rootfs: string | undefined
  /** Below it: where a runtime that is given config.json makes directories. */
  readonly places: ReadonlyArray<ByteString.ByteString>
}

/**
 * Both configurations, alone and against each other. `ours`: the image's was written beside the other one. Without
 * `mounted` the tree's directory is empty.
 */
export const auditConfigs = (
  store: Store,
  ours: boolean,
  names: ReadonlyArray<string>,
  report: Collector,
  mounted = true
): Configs => {
  const read = new Map<string, Receipt.File>()
  const container =
    ours || names.includes(Files.containerConfig)
      ? Document.read(store, Files.containerConfig, containerConfigChecks, report)
      : undefined
  if (container !== undefined) read.set(Files.containerConfig, Receipt.fileOf(Files.containerConfig, container.raw))
  const checked =
    container?.value === undefined ? undefined : checkConfig(container.value, "docker", Files.containerConfig, report)
  const document = Document.read(store, Files.config, configChecks, report)
  if (document !== undefined) read.set(Files.config, Receipt.fileOf(Files.config, document.raw))
  const runtime =
    document?.value === undefined ? undefined : checkRuntimeConfig(document.value, Files.config, report, checked?.os)
  const rootfs = findRootfs(store, runtime?.rootPath, report)
  const image = container?.value === undefined ? undefined : ImageConfig.decode(container.value)
  if (runtime !== undefined && image !== undefined && Either.isRight(image)) {
    checkConversion(runtime.value, image.right, Files.config, mounted ? rootfs : undefined, report)
  } else {
    report.skip(
      "bundle.process-mismatch",
      container === undefined
        ? "without container-config.json it is not known what the image says"
        : "one of config.json and container-config.json cannot be used"
    )
  }
  return { read, diffIds: checked?.diffIds ?? [], rootfs, places: placesOf(runtime?.value) }
}

/** The mount points of a configuration, and the directory that its process begins in. */
const placesOf = (config: Readonly<Record<string, unknown>> = {}): ReadonlyArray<ByteString.ByteString> =>
  [
    ...objects(config["mounts"]).map((mount) => mount["destination"]),
    ...objects([config["process"]]).map((process) => process["cwd"])
  ].flatMap((place) =>
    typeof place === "string" ? [ByteString.fromText(path.posix.resolve("/", place).slice(1))] : []
  )

/** The tree is a directory of the bundle itself (bundle.md), no link to one. */
const findRootfs = (store: Store, named: string | undefined, report: Collector): string | undefined => {
  report.ran("bundle.missing-rootfs", "runtime.bad-root")
  const root = path.resolve(store.path)
  const place = path.resolve(root, named ?? Files.rootfs)
  const relative = path.relative(root, place)
  const subject = named ?? Files.rootfs
  if (relative === "" || relative.startsWith("..") || path.isAbsolute(relative)) {
    report.report("runtime.bad-root", Files.config, "root.path leads out of the bundle", {
      expected: "a directory beside config.json",
      actual: subject
    })
    return undefined
  }
  try {
    const stat = fs.lstatSync(place, { throwIfNoEntry: false })
    if (stat?.isDirectory()) return place
    if (stat?.isSymbolicLink()) {
      report.report("runtime.bad-root", Files.config, "root.path is a symlink, which runtimes refuse", {
        expected: "a directory",
        actual: `a symlink to ${fs.readlinkSync(place)}`
      })
    } else {
      report.report("bundle.missing-rootfs", subject, stat === undefined ? "it does not exist" : "it is no directory", {
        expected: "a directory",
        actual: stat === undefined ? "nothing" : "something else"
      })
    }
  } catch (cause) {
    report.report("bundle.missing-rootfs", subject, `it cannot be looked at: ${describe(cause)}`)
  }
  return undefined
}

/** What is left of layers: they are in the tree, so nothing needs them. */
const layersLeft = (store: Store, names: ReadonlyArray<string>, report: Collector): void => {
  report.ran("bundle.layers-left")
  for (const name of names) {
    const entry = store.lookup(name)
    const left =
      entry?.kind === "directory"
        ? /^[a-f0-9]{64}$/.test(name) || (name !== Files.rootfs && store.lookup(`${name}/layer.tar`) !== undefined)
        : /^(?:layer|[a-f0-9]{64})\.tar(?:\.gz|\.zst)?$/.test(name)
    if (left)
      report.report(
        "bundle.layers-left",
        name,
        `a layer's ${entry?.kind === "directory" ? "directory" : "file"} is still here`
      )
  }
}

const auditRootfs = (
  store: Store,
  rootfs: string,
  places: Configs["places"],
  names: ReadonlyArray<string>,
  receipt: Receipt.Receipt | undefined,
  { depth, tolerances = [] }: VerifyOptions,
  report: Collector
): Effect.Effect<void, never, WorkerPool> =>
  Effect.gen(function* () {
    const subject = path.relative(path.resolve(store.path), rootfs)
    if (depth === "fast") {
      countEntries(rootfs, subject, receipt, tolerances, report)
      report.skip("rootfs.content-mismatch", "files are compared at full depth only")
      return
    }
    const file =
      names.find((name) => name === Files.manifest) ?? names.find((name) => /^sha256_[a-f0-9]{64}\.mtree$/.test(name))
    if (file === undefined) {
      report.skip("rootfs.content-mismatch", "the bundle has no manifest of its tree: verify it against the image")
      return
    }
    report.ran("bundle.invalid-manifest")
    const bytes = readManifestFile(store, file, report)
    if (bytes === undefined) return
    const hardlinks = receipt?.details["hardlinks"]
    const pool = yield* WorkerPool
    const settled = yield* settle(bytes, Buffer.from(path.resolve(rootfs)), {
      except: directoriesWithLinks(hardlinks),
      run: (tasks) => pool.runAll(settleJob, tasks)
    })
    const { problems, tree } = Mtree.parse(bytes, settled.lines)
    for (const { line, message } of problems) report.report("bundle.invalid-manifest", file, `line ${line}: ${message}`)
    if (bytes.length === 0) report.report("bundle.invalid-manifest", file, "it is empty")
    if (receipt !== undefined) complete(tree, hardlinks)
    const known = objects(receipt?.details["unrestored"])
    yield* auditTree(tree, { root: rootfs, subject, places }, [...tolerances, ...tolerancesFor(known)], report, settled)
  })

const countEntries = (
  rootfs: string,
  subject: string,
  receipt: Receipt.Receipt | undefined,
  tolerances: ReadonlyArray<Tolerance>,
  report: Collector
): void => {
  const expected = receipt?.details["entries"]
  if (typeof expected !== "number") {
    report.skip("bundle.entry-count", "no receipt says how many files there should be")
    return
  }
  if (tolerances.includes("runtime-files")) {
    report.skip("bundle.entry-count", "runtime-files is tolerated, so files may have been added")
    return
  }
  const counted = countNames(rootfs)
  if (counted.unreadable > 0) {
    report.skip(
      "bundle.entry-count",
      `${count(counted.unreadable, "directory", "directories")} of the tree cannot be listed by this user`
    )
    return
  }
  report.ran("bundle.entry-count")
  if (counted.names !== expected) {
    report.report("bundle.entry-count", subject, "it has another number of files than were unpacked", {
      expected: count(expected, "name"),
      actual: count(counted.names, "name")
    })
  }
}
