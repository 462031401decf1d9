/** Is this exactly that image? What stands somewhere, in whatever form, held against another copy of the image. */

import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { CheckId } from "../check/Catalog.ts"
import { CheckResults } from "../check/CheckResults.ts"
import { Collector } from "../check/Collector.ts"
import type { Policy } from "../check/Policy.ts"
import * as Inspect from "../content/Inspect.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import { type ConfigDifference, configDifferences } from "../filter/Diff.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import * as Json from "../image/Json.ts"
import * as MediaType from "../image/MediaType.ts"
import * as Platform from "../image/Platform.ts"
import * as PythonJson from "../image/PythonJson.ts"
import * as Reference from "../image/Reference.ts"
import * as DirectoryStore from "../layout/DirectoryStore.ts"
import * as Document from "../layout/Document.ts"
import * as DockerSave from "../layout/docker-archive/DockerSave.ts"
import { SourceError } from "../layout/Failure.ts"
import { type Candidate, choose, type ImageSource, matching, type Selector } from "../layout/ImageSource.ts"
import * as LayerCopy from "../layout/LayerCopy.ts"
import type { Limits } from "../layout/Limits.ts"
import * as MountsFiles from "../layout/mounts/MountsFiles.ts"
import * as ProvedTree from "../layout/ProvedTree.ts"
import * as Receipt from "../layout/Receipt.ts"
import * as BundleFiles from "../layout/runtime-bundle/BundleFiles.ts"
import { auditConfigs } from "../layout/runtime-bundle/BundleVerifier.ts"
import { readSmall, type Store } from "../layout/Store.ts"
import { auditTree } from "../layout/TreeAudit.ts"
import { objects } from "../layout/TreeManifest.ts"
import { tolerancesFor } from "../layout/UnpackImage.ts"
import type { Depth, Verdict, Verification } from "../layout/Verifier.ts"
import type { FileTree } from "../rootfs/FileTree.ts"
import { type OverlayNamespace, overlayLayer } from "../rootfs/OverlayLayer.ts"
import type { Leeway, Tolerance } from "../rootfs/Tolerance.ts"
import * as Layouts from "./Layouts.ts"
import type { Uri, UsageError } from "./Uri.ts"

export interface AgainstOptions {
  readonly depth: Depth
  readonly tempDirectory?: string
  readonly limits?: Limits
  readonly policy?: Policy
  /** Differences of unpacked trees to put up with; none by default. */
  readonly tolerances?: ReadonlyArray<Tolerance>
}

/**
 * Verifies `target` as `verify` does, and that it is exactly the image at `source`: config, layers, platform, and of an
 * unpacked tree every file. Content is proved at full depth only, that of the source too. Where `target` holds several
 * images, the one is meant that its URI selects, or else the one with the source's name, platform and digest.
 *
 * A target that is another image has findings. The errors: one of the two is not there, the source is damaged, or which
 * image is meant cannot be told.
 */
export const verify = Effect.fn("Against.verify")(function* (
  target: Uri,
  source: Uri,
  options: AgainstOptions
): Effect.fn.Return<Verification, UsageError | SourceError, Scope.Scope | WorkerPool> {
  const { depth, policy, tolerances, ...opening } = options
  const verifier = yield* Layouts.openVerifier(target, opening)
  const opened = yield* Layouts.openSource(source, opening)
  const wanted = yield* wantedOf(target, opened, opening)
  const report = new Collector(policy, opening.limits?.maxFindings)
  const compared = isTree(target)
    ? yield* compareTree(target, wanted, options, report)
    : yield* compareStored(target, wanted, options, report)
  const verification = yield* verifier.verify({
    depth,
    ...(opening.limits === undefined ? {} : { limits: opening.limits }),
    ...(policy === undefined ? {} : { policy }),
    ...(tolerances === undefined ? {} : { tolerances })
  })
  return joined(verification, report.results(), compared)
})

/** The image of the source that is meant: of several the one that the target is, or else the one for its platform. */
const wantedOf = Effect.fnUntraced(function* (
  target: Uri,
  { selector, source }: Effect.Effect.Success<ReturnType<typeof Layouts.openSource>>,
  opening: Layouts.SourceOptions
) {
  const several = matching(yield* source.candidates, selector)
  if (several.length > 1) {
    const own = isTree(target)
      ? unpackedIdentity(target)
      : yield* Effect.orElseSucceed(storedIdentities(target, opening), () => [])
    const same = several.filter(({ config }) => config !== undefined && own.some((one) => one.config === config))
    const alike = several.filter(
      ({ platform }) =>
        platform !== undefined &&
        own.some((one) => one.platform !== undefined && Platform.matches(one.platform, platform))
    )
    const [meant, ...others] = same.length > 0 ? same : alike
    if (meant !== undefined && others.length === 0) return yield* meant.load
  }
  return yield* choose(source, selector)
})

type Identity = Pick<Candidate, "config" | "platform">

const storedIdentities = Effect.fnUntraced(function* (target: Uri, opening: Layouts.SourceOptions) {
  const opened = yield* Layouts.openSource(Layouts.asSource(target), opening)
  return matching(yield* opened.source.candidates, opened.selector)
})

const unpackedIdentity = (target: Uri): ReadonlyArray<Identity> => {
  const { config } = unpackedConfig(target, DirectoryStore.make(target.path))
  if (config === undefined) return []
  const value = Json.parse(config.raw).value
  const { architecture, os, variant } = Json.isObject(value) ? value : {}
  return [
    {
      config: config.digest,
      platform:
        typeof os === "string" && typeof architecture === "string"
          ? { os, architecture, ...(typeof variant === "string" && variant !== "" ? { variant } : {}) }
          : undefined
    }
  ]
}

const isTree = ({ scheme }: Uri): boolean => scheme === "oci" || scheme === "mounts"

/** Both results; what both found stands there once. The verdict on the image that was compared takes in the comparison. */
const joined = (
  verification: Verification,
  own: CheckResults,
  compared: Pick<Image.Image, "names"> | undefined
): Verification => {
  const keyOf = (one: CheckResults["results"][number]): string =>
    [one.check, one.subject, one.message, one.expected, one.actual].join("\0")
  const known = new Set(verification.results.results.map(keyOf))
  const added = new CheckResults(
    { results: own.results.filter((one) => !known.has(keyOf(one))), checked: own.checked, skipped: own.skipped },
    { disableValidation: true }
  )
  const { images } = verification
  const names = new Set(compared?.names)
  const about = (verdict: Verdict): boolean =>
    images.length === 1 || verdict.image.split(", ").some((name) => names.has(name))
  return {
    ...verification,
    results: verification.results.combine(added),
    images: added.hasErrors
      ? images.map((verdict) =>
          about(verdict) ? { ...verdict, ok: false, errorCount: verdict.errorCount + added.errorCount } : verdict
        )
      : images
  }
}

/** An image stored as blobs. Answers the image it was, when that could be read. */
const compareStored = Effect.fnUntraced(function* (
  target: Uri,
  wanted: Image.Image,
  { depth, limits, tempDirectory }: AgainstOptions,
  report: Collector
) {
  if (depth === "full") yield* prove(wanted)
  report.ran("against.unreadable")
  const found = yield* Effect.either(
    Effect.gen(function* () {
      const opened = yield* Layouts.openSource(Layouts.asSource(target), {
        ...(limits === undefined ? {} : { limits }),
        ...(tempDirectory === undefined ? {} : { tempDirectory })
      })
      return yield* (yield* candidateFor(opened.source, opened.selector, wanted)).load
    })
  )
  if (Either.isRight(found)) {
    compareImages(found.right, wanted, report)
    return found.right
  }
  const failure = found.left
  // Which image is meant is the user's to say; anything else is wrong with the target.
  const unclear = failure._tag === "UsageError" || failure.reason === "Ambiguous"
  if (unclear || (failure.reason === "NoSuchImage" && target.options.size > 0)) return yield* failure
  report.report("against.unreadable", path.basename(target.path), failure.message)
  return undefined
})

/** The image of `target` that is to be compared with `wanted`. Fails, listing what is there, when that cannot be told. */
const candidateFor = Effect.fnUntraced(function* (
  target: ImageSource["Type"],
  selector: Selector,
  wanted: Image.Image
): Effect.fn.Return<Candidate, SourceError> {
  let left = matching(yield* target.candidates, selector)
  const narrow = (keep: (candidate: Candidate) => boolean): void => {
    const kept = left.filter(keep)
    if (kept.length > 0) left = kept
  }
  // Both may have tens of thousands.
  const wantedNames = new Set(wanted.names.map(Reference.familiar))
  narrow(({ names }) => names.some((name) => wantedNames.has(Reference.familiar(name))))
  narrow(
    ({ platform }) =>
      platform !== undefined && wanted.platform !== undefined && Platform.matches(wanted.platform, platform)
  )
  narrow(
    ({ digest }) => digest !== undefined && (digest === wanted.config.digest || digest === wanted.manifest?.digest)
  )
  const [first, ...others] = left
  // Several names of one image are no choice.
  if (first !== undefined && others.every(({ digest }) => digest !== undefined && digest === first.digest)) return first
  return yield* Effect.flatMap(choose(target, selector), () => Effect.die("a choice that was none"))
})

/** Reads every layer of the source. Fails with the first that is not what the config says. */
const prove = Effect.fnUntraced(function* (image: Image.Image) {
  const pool = yield* WorkerPool
  const { wanted } = LayerCopy.distinct(image.layers.map((layer) => LayerCopy.plan(layer, {})))
  const evidence = yield* pool.runAll(Inspect.job, wanted.map(LayerCopy.probe))
  for (const [index, { layer }] of wanted.entries()) {
    const found = LayerCopy.fault(layer, evidence[index]!)
    if (found !== undefined) {
      return yield* new SourceError({
        reason: found.reason,
        message: `cannot compare with ${image.source}: ${LayerCopy.nameOf(layer)}: ${found.message}`
      })
    }
  }
})

/** Reports in what two images differ, as far as their documents tell: that content is what they say is for others. */
const compareImages = (target: Image.Image, source: Image.Image, report: Collector): void => {
  const subject = target.names[0] ?? target.config.digest
  compareConfigs(subject, target.config, source.config, report)
  compareLayers(subject, target.layers, source.layers, report)
  comparePlatforms(subject, target.platform, source.platform, report)
  compareNames(subject, target.names, source.names, report)
  if (target.manifest !== undefined && source.manifest !== undefined) {
    compareManifests(subject, target.manifest, source.manifest, report)
  } else {
    report.skip(
      "against.manifest-mismatch",
      `${target.manifest === undefined ? "the target" : "the source"} has no manifest besides the config and its layers`
    )
  }
}

/** Differences that a message names. */
const maxShown = 3

const shown = (differences: ReadonlyArray<Pick<ConfigDifference, "pointer">>): string => {
  const first = differences
    .slice(0, maxShown)
    .map(({ pointer }) => pointer || "/")
    .join(", ")
  return differences.length > maxShown ? `${first} and ${differences.length - maxShown} more` : first
}

const compareConfigs = (
  subject: string,
  target: Pick<Image.Image["config"], "raw" | "digest">,
  source: Pick<Image.Image["config"], "raw" | "digest">,
  report: Collector
): void => {
  report.ran("against.config-mismatch", "against.config-reserialized")
  // Not by their digests, which may be in different algorithms.
  if (Buffer.compare(target.raw, source.raw) === 0) return
  const [ours, theirs] = [Json.parse(target.raw), Json.parse(source.raw)]
  const differences = [...configDifferences(ours.value, theirs.value, "")]
  const detail = { expected: source.digest, actual: target.digest }
  const reserialized =
    PythonJson.isReserialized(target.raw, ours.value) || PythonJson.isReserialized(source.raw, theirs.value)
  if (differences.length === 0 && reserialized) {
    report.report(
      "against.config-reserialized",
      subject,
      "its config was re-serialised: the values are the source's, the image ID is not",
      detail
    )
  } else {
    report.report(
      "against.config-mismatch",
      subject,
      differences.length === 0
        ? "its config says the same as the source's in other bytes, which makes it another image"
        : `its config is not the source's: ${shown(differences)} ${differences.length === 1 ? "differs" : "differ"}`,
      detail
    )
  }
}

const compareLayers = (
  subject: string,
  target: ReadonlyArray<Image.Layer>,
  source: ReadonlyArray<Image.Layer>,
  report: Collector
): void => {
  report.ran("against.layer-count-mismatch", "against.layer-mismatch")
  if (target.length !== source.length) {
    report.report("against.layer-count-mismatch", subject, "it has another number of layers than the source", {
      expected: count(source.length, "layer"),
      actual: count(target.length, "layer")
    })
  }
  for (const { diffId, index, name } of target) {
    const expected = source[index]?.diffId
    if (expected === undefined || expected === diffId) continue
    const elsewhere = source.findIndex((layer) => layer.diffId === diffId)
    report.report(
      "against.layer-mismatch",
      name,
      elsewhere < 0 ? `layer ${index} is not the source's` : `layer ${index} is layer ${elsewhere} of the source`,
      { expected, actual: diffId }
    )
  }
}

const comparePlatforms = (
  subject: string,
  target: Platform.Platform | undefined,
  source: Platform.Platform | undefined,
  report: Collector
): void => {
  report.ran("against.platform-mismatch")
  if (target === undefined || source === undefined) return
  const [expected, actual] = [source, target].map((one) => Platform.show(Platform.normalize(one)))
  if (expected !== actual)
    report.report("against.platform-mismatch", subject, "it is for another platform than the source", {
      expected,
      actual
    })
}

const compareNames = (
  subject: string,
  target: ReadonlyArray<string>,
  source: ReadonlyArray<string>,
  report: Collector
): void => {
  report.ran("against.name-mismatch")
  const has = (names: ReadonlyArray<string>): ((name: string) => boolean) => {
    const familiar = new Set(names.map(Reference.familiar))
    return (name) => familiar.has(Reference.familiar(name))
  }
  if (source.every(has(target)) && target.every(has(source))) return
  report.report("against.name-mismatch", subject, "its names are not those of the source", {
    expected: source.join(", ") || "no name",
    actual: target.join(", ") || "no name"
  })
}

const compareManifests = (
  subject: string,
  target: Image.ManifestDocument,
  source: Image.ManifestDocument,
  report: Collector
): void => {
  report.ran("against.manifest-mismatch", "against.manifest-converted")
  if (target.digest === source.digest) return
  const docker = MediaType.isDocker(target.mediaType) || MediaType.isDocker(source.mediaType)
  const differences = [...configDifferences(stated(target, docker), stated(source, docker), "")]
  const detail = { expected: source.digest, actual: target.digest }
  if (differences.length === 0) {
    report.report(
      "against.manifest-converted",
      subject,
      "its manifest is another one of the same config and layers",
      detail
    )
  } else {
    report.report(
      "against.manifest-mismatch",
      subject,
      `its manifest says something else than the source's: ${shown(differences)}`,
      detail
    )
  }
}

/** What a schema 2 manifest of Docker has no place for. */
const lostInDocker: ReadonlySet<string> = new Set(["artifactType", "subject", "annotations"])

/** What a manifest says besides the form in which config and layers are stored. */
const stated = ({ raw }: Image.ManifestDocument, docker: boolean): unknown => {
  const { value } = Json.parse(raw)
  if (!Json.isObject(value)) return value
  const kept = Object.entries(value).filter(
    ([key]) => key !== "mediaType" && key !== "config" && key !== "layers" && !(docker && lostInDocker.has(key))
  )
  return { ...Object.fromEntries(kept), layers: Array.isArray(value["layers"]) ? value["layers"].length : 0 }
}

/** An unpacked image: the config it was unpacked from, and every file of its tree or of its layers. */
const compareTree = Effect.fnUntraced(function* (
  target: Uri,
  wanted: Image.Image,
  { depth, tolerances = [] }: AgainstOptions,
  report: Collector
) {
  const store = DirectoryStore.make(target.path)
  const { config, name, named } = unpackedConfig(target, store)
  if (config === undefined) report.skip("against.config-mismatch", `${name} is not there, or cannot be read`)
  else compareConfigs(name, config, wanted.config, report)
  if (depth === "fast") {
    report.skip("rootfs.content-mismatch", "files are compared with the source's layers at full depth only")
    return undefined
  }
  const receipt = Receipt.read(store, BundleFiles.receipt)
  const unrestored = objects(receipt?.details["unrestored"])
  const unrestoredOf = (layer: string | undefined): ReadonlyArray<Leeway> =>
    tolerancesFor(unrestored.filter((one) => one["layer"] === layer))
  if (target.scheme === "mounts") {
    const ofOthers: ReadonlyArray<Tolerance> = receipt === undefined ? ["directory-mtime", "mtime-microseconds"] : []
    yield* compareMounts(
      store,
      named?.directories ?? [],
      wanted,
      (layer) => [...tolerances, ...ofOthers, ...unrestoredOf(layer)],
      report
    )
    return undefined
  }
  const { places, rootfs } = auditConfigs(store, false, store.list("") ?? [], new Collector())
  const { tree } = yield* ProvedTree.prove(wanted, "cannot compare with")
  // That there is none is for the verifier to say.
  if (rootfs === undefined) return undefined
  const subject = path.relative(path.resolve(target.path), rootfs)
  yield* auditTree(tree, { root: rootfs, subject, places }, [...tolerances, ...unrestoredOf(undefined)], report)
  return undefined
})

/** The config of what is unpacked, as it lies beside it, and what mounts say of themselves. */
const unpackedConfig = (target: Uri, store: Store) => {
  const named = target.scheme === "mounts" ? mountedLayers(store) : undefined
  const name = named?.config ?? BundleFiles.containerConfig
  const raw = readSmall(store, name)
  const digest = raw === undefined ? undefined : Digest.make("sha256", Receipt.fileOf(name, raw).sha256)
  return { name, named, config: raw === undefined ? undefined : { raw, digest: digest! } }
}

/** What a directory of mounts says of itself: its config, and the directories of its layers, base first. */
const mountedLayers = (store: Store) => {
  const ignored = new Collector()
  const document = Document.read(store, MountsFiles.manifest, Document.manifestChecks, ignored)
  const [first] = document === undefined ? [] : DockerSave.readManifest(document, MountsFiles.manifest, ignored)
  return { config: first?.config, directories: (first?.layers ?? []).map(MountsFiles.directoryOf) }
}

/** Each layer's directory against the layer in overlay's form. */
const compareMounts = Effect.fnUntraced(function* (
  store: Store,
  directories: ReadonlyArray<string>,
  wanted: Image.Image,
  tolerancesOf: (layer: string) => ReadonlyArray<Leeway>,
  report: Collector
) {
  const layers: Array<{ readonly repeated: boolean; readonly trees: ReadonlyArray<FileTree> }> = []
  yield* ProvedTree.prove(wanted, "cannot compare with", (whole, layer) => {
    const trees = marks.map((mark) => overlayLayer(whole, layer, mark))
    const again = wanted.layers.findIndex(({ diffId }) => diffId === wanted.layers[layer.layer]!.diffId) < layer.layer
    layers.push({ repeated: again && trees[0]!.names === 1 && trees[0]!.root.inode.xattrs === undefined, trees })
  })
  report.ran("against.layer-count-mismatch")
  // A layer that comes again and changes nothing may have been left out.
  const expected = directories.length === layers.length ? layers : layers.filter(({ repeated }) => !repeated)
  if (directories.length !== expected.length) {
    report.report(
      "against.layer-count-mismatch",
      MountsFiles.manifest,
      "it has another number of layers than the source",
      {
        expected: count(expected.length, "layer"),
        actual: count(directories.length, "layer")
      }
    )
  }
  for (const [index, directory] of directories.entries()) {
    const target = { root: path.join(store.path, directory), subject: directory }
    // That one is missing is for the verifier to say.
    if (expected[index] === undefined || store.lookup(directory)?.kind !== "directory") continue
    const attempts: Array<Collector> = []
    for (const tree of expected[index].trees) {
      const attempt = new Collector()
      yield* auditTree(tree, target, tolerancesOf(directory), attempt)
      attempts.push(attempt)
      if (!attempt.results().hasErrors) break
    }
    const [best] = attempts.map((one) => one.results()).sort((a, b) => a.results.length - b.results.length)
    for (const { actual, check, expected, message, subject } of best!.results) {
      report.report(check as CheckId, subject, message, { expected, actual })
    }
    report.ran(...(best!.checked as ReadonlyArray<CheckId>))
    for (const { check, reason } of best!.skipped) report.skip(check as CheckId, reason)
  }
})

/** Where overlay keeps its marks, by whether root mounted it. Which it was is told by nothing but the files. */
const marks: ReadonlyArray<OverlayNamespace> = ["trusted.overlay.", "user.overlay."]
