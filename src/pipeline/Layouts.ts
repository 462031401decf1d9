/**
 * From URIs to sources, writers and verifiers. A layout's code is loaded when it is asked for: evaluating all of them
 * would take longer than a fast audit of one.
 */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WorkerPool } from "../content/WorkerPool.ts"
import * as Platform from "../image/Platform.ts"
import * as Reference from "../image/Reference.ts"
import { describe, SourceError } from "../layout/Failure.ts"
import type { ImageSource, Selector } from "../layout/ImageSource.ts"
import type { ImageWriter } from "../layout/ImageWriter.ts"
import type { Limits } from "../layout/Limits.ts"
import { readRegion } from "../layout/Store.ts"
import type { Verification, Verifier, VerifyOptions } from "../layout/Verifier.ts"
import * as Uri from "./Uri.ts"

const load = <A>(module: () => Promise<A>): Effect.Effect<A> => Effect.promise(module)

export interface OpenedSource {
  readonly source: ImageSource["Type"]
  readonly selector: Selector
}

export interface SourceOptions {
  readonly platform?: Platform.Wanted
  readonly tempDirectory?: string
  readonly limits?: Limits
}

export interface WriterOptions {
  /** Keep the images that an archive holds. */
  readonly append?: boolean
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string
}

/** The option that names the directory of a layout's blobs, where that is not its own. */
const sharedBlobs = "shared_blobs"

/** True when blobs of what the URI names are kept where other layouts may have theirs. */
export const hasSharedBlobs = (uri: Uri.Uri): boolean => uri.options.has(sharedBlobs)

const sharedBlobsOf = Effect.fnUntraced(function* (uri: Uri.Uri) {
  const directory = uri.options.get(sharedBlobs)
  if (directory !== undefined) yield* directoryThere(directory)
  return directory
})

const selectorOptions = ["image", "index", "platform", "os", "architecture", "variant"]

/** A path is taken for what stands there, a URI for what it says. */
export const locate = Effect.fn("Layouts.locate")(function* (
  target: string
): Effect.fn.Return<Uri.Uri, Uri.UsageError | SourceError> {
  if (Uri.isUri(target)) return yield* Uri.parse(target)
  const found = yield* Effect.try({
    try: () => detect(target),
    catch: (cause) =>
      new SourceError({
        reason: (cause as NodeJS.ErrnoException).code === "ENOENT" ? "NotFound" : "Unreadable",
        message: `cannot read ${target}: ${describe(cause)}`,
        cause
      })
  })
  if (typeof found !== "string") {
    return yield* new SourceError({
      reason: "Unsupported",
      message: `cannot read ${target}: expected an archive, a directory of images, an OCI layout or a bundle, found ${found.what}`
    })
  }
  return { scheme: found, text: target, path: Uri.unambiguous(target), options: new Map() }
})

/**
 * What a path holds, by the files that only one layout has; what is none of ours has a name for messages. Throws what the
 * file system says.
 */
const detect = (path: string): Uri.Scheme | { readonly what: string } => {
  const stat = fs.statSync(path)
  if (!stat.isDirectory()) return "tar"
  const names = new Set(fs.readdirSync(path))
  if (names.has("oci-layout") || (names.has("index.json") && (names.has("blobs") || !names.has("manifest.json"))))
    return "oci-layout"
  if (isMounts(names)) return "mounts"
  if (isBundle(names)) return "oci"
  if (names.has("version") && names.has("manifest.json") && isSkopeosVersion(`${path}/version`))
    return { what: "a directory of skopeo's dir: transport (skopeo copy dir:... oci:... makes a layout of it)" }
  const what = layoutsIn(path, names)
  return what === undefined ? "dir" : { what }
}

/** A directory of OCI layouts is none of them, nor an image that has lost its manifest. */
const layoutsIn = (path: string, names: ReadonlySet<string>): string | undefined => {
  if ([...names].some((name) => /^(?:manifest.*|catalog)\.json$/.test(name))) return undefined
  const some = [...names].sort().slice(0, 1000)
  const layout = some.find((name) => fs.existsSync(`${path}/${name}/oci-layout`))
  if (layout === undefined) return undefined
  const blobs = fs.existsSync(`${path}/${layout}/blobs/sha256`)
    ? undefined
    : some.find((name) => fs.existsSync(`${path}/${name}/sha256`))
  return `OCI layouts in directories of it: name one of them, for example oci-layout://${path}/${layout}${blobs === undefined ? "" : `?${sharedBlobs}=${path}/${blobs}`}`
}

/** What is missing of it is for its verifier to tell. */
const isMounts = (names: ReadonlySet<string>): boolean => {
  const [rootfs, working, delta] = ["rootfs", "working", "delta"].map((name) => names.has(name))
  return (
    (working && delta) ||
    (rootfs && (working || delta)) ||
    (names.has("container-config.json") && names.has("manifest.json"))
  )
}

const isBundle = (names: ReadonlySet<string>): boolean =>
  names.has("container-config.json") ||
  names.has("rootfs.mtree") ||
  names.has("umoci.json") ||
  ((names.has("rootfs") || names.has("config.json")) && !names.has("manifest.json") && !names.has("catalog.json"))

/** What is no small regular file is not read: it may be anything. */
const isSkopeosVersion = (file: string): boolean => {
  const read = readRegion({ path: file, offset: 0, size: fs.lstatSync(file).size }, 1000)
  return "bytes" in read && /^Directory Transport Version/.test(Buffer.from(read.bytes).toString("latin1"))
}

const selectorOf = Effect.fnUntraced(function* (uri: Uri.Uri, wanted: Platform.Wanted | undefined) {
  const index = yield* Uri.integerOption(uri, "index")
  const image = uri.options.get("image")
  const text = uri.options.get("platform")
  const parsed = text === undefined ? undefined : Platform.parse(text)
  if (text !== undefined && parsed === undefined) {
    return yield* new Uri.UsageError({
      reason: "BadValue",
      message: `cannot use ${JSON.stringify(uri.text)}: expected platform=OS/ARCHITECTURE[/VARIANT], found ${text}`
    })
  }
  const parts = {
    ...parsed,
    ...Object.fromEntries(
      ["os", "architecture", "variant"].flatMap((key) => (uri.options.has(key) ? [[key, uri.options.get(key)!]] : []))
    ),
    ...wanted
  }
  return {
    ...(image === undefined ? {} : { image }),
    ...(index === undefined ? {} : { index }),
    ...(Object.keys(parts).length === 0 ? {} : { platform: parts })
  } satisfies Selector
})

/** Opens what a URI names for reading. */
export const openSource = Effect.fn("Layouts.openSource")(function* (
  uri: Uri.Uri,
  options: SourceOptions = {}
): Effect.fn.Return<OpenedSource, Uri.UsageError | SourceError, Scope.Scope | WorkerPool> {
  switch (uri.scheme) {
    case "tar": {
      yield* Uri.onlyOptions(uri, selectorOptions, "source")
      return {
        source: yield* (yield* load(() => import("../layout/docker-archive/ArchiveSource.ts"))).make({
          path: uri.path,
          uri: `tar://${uri.path}`,
          ...options
        }),
        selector: yield* selectorOf(uri, options.platform)
      }
    }
    case "dir": {
      yield* Uri.onlyOptions(uri, selectorOptions, "source")
      return {
        source: yield* (yield* load(() => import("../layout/directory/DirectorySource.ts"))).make({
          path: uri.path,
          uri: `dir://${uri.path}`
        }),
        selector: yield* selectorOf(uri, options.platform)
      }
    }
    case "oci-layout": {
      yield* Uri.onlyOptions(uri, [...selectorOptions, sharedBlobs], "source")
      const { path, reference } = splitReference(uri.path)
      const selector = yield* selectorOf(uri, options.platform)
      return {
        source: yield* (yield* load(() => import("../layout/oci-layout/OciLayoutSource.ts"))).make({
          path,
          uri: `oci-layout://${path}`,
          sharedBlobs: yield* sharedBlobsOf(uri)
        }),
        selector: reference === undefined || selector.image !== undefined ? selector : { ...selector, image: reference }
      }
    }
    default:
      return yield* unsupported(uri, "source", ["tar", "dir", "oci-layout"])
  }
})

const unsupported = (uri: Uri.Uri, what: string, known: ReadonlyArray<Uri.Scheme>): Uri.UsageError =>
  new Uri.UsageError({
    reason: "BadUri",
    message: `cannot use ${JSON.stringify(uri.text)} as a ${what}: expected one of ${known.map((one) => `${one}://`).join(", ")}, found ${uri.scheme}://`
  })

/**
 * `PATH[:REF]`: the whole is a path when something stands there, as with names that hold a colon. A reference may hold
 * slashes and colons too: where nothing stands, a path goes as far as directories are there.
 */
export const splitReference = (text: string): { readonly path: string; readonly reference?: string } => {
  if (fs.existsSync(text)) return { path: text }
  const slash = text.lastIndexOf("/")
  const early = text.indexOf(":")
  const isEarly =
    early > 0 && (fs.existsSync(text.slice(0, early)) || (slash > 0 && !fs.existsSync(text.slice(0, slash))))
  const at = isEarly ? early : text.indexOf(":", slash + 1)
  return at > 0 ? { path: text.slice(0, at), reference: text.slice(at + 1) } : { path: text }
}

/** The one of `known` that an option names; undefined when it is not given. */
const choiceOption = <A extends string>(
  uri: Uri.Uri,
  key: string,
  known: ReadonlyArray<A>
): Effect.Effect<A | undefined, Uri.UsageError> => {
  const value = uri.options.get(key)
  const choice = known.find((one) => one === value)
  return value === undefined || choice !== undefined
    ? Effect.succeed(choice)
    : Effect.fail(
        new Uri.UsageError({
          reason: "BadValue",
          message: `cannot use ${JSON.stringify(uri.text)}: expected ${key}=${known.join("|")}, found ${value}`
        })
      )
}

/** How layers and manifests are to be stored, for the layouts that can store them in several ways. */
const storageOf = Effect.fnUntraced(function* (uri: Uri.Uri) {
  const compression = yield* choiceOption(uri, "compression", ["none", "gzip", "zstd"])
  const level = yield* Uri.integerOption(uri, "level")
  const highest = compression === "zstd" ? 19 : 9
  if (level !== undefined && (compression === undefined || compression === "none" || level < 1 || level > highest)) {
    return yield* new Uri.UsageError({
      reason: "BadValue",
      message: `cannot use ${JSON.stringify(uri.text)}: expected level=1 to 9 with compression=gzip, or 1 to 19 with compression=zstd`
    })
  }
  return { compression, level, mediaTypes: yield* choiceOption(uri, "media_types", ["oci", "docker"]) }
})

const storageOptions = ["compression", "level", "media_types"]

/** What only says how an output is written. */
const writerOptions: ReadonlySet<string> = new Set(["unique_names", "expand", "format", "name", ...storageOptions])

/** The same output, to be read: what a destination was written with may stand in a target's URI as well. */
export const asSource = (uri: Uri.Uri): Uri.Uri => ({
  ...uri,
  options: new Map([...uri.options].filter(([name]) => !writerOptions.has(name)))
})

/** Opens what a URI names for writing. Nothing is touched before the first image is written. */
export const openWriter = Effect.fn("Layouts.openWriter")(function* (
  uri: Uri.Uri,
  options: WriterOptions = {}
): Effect.fn.Return<ImageWriter["Type"], Uri.UsageError | SourceError, Scope.Scope | WorkerPool> {
  if (options.append === true && uri.scheme !== "tar") {
    return yield* new Uri.UsageError({
      reason: "BadValue",
      message: `cannot use --append with ${uri.scheme}://: it is for tar://, other layouts keep what they hold`
    })
  }
  switch (uri.scheme) {
    case "dir": {
      yield* Uri.onlyOptions(uri, ["unique_names", "expand"], "destination")
      const uniqueNames = yield* Uri.booleanOption(uri, "unique_names")
      const expand = yield* Uri.booleanOption(uri, "expand")
      return yield* (yield* load(() => import("../layout/directory/DirectoryWriter.ts"))).make({
        path: uri.path,
        uniqueNames,
        expand
      })
    }
    case "tar": {
      yield* Uri.onlyOptions(uri, ["format", "name", ...storageOptions], "destination")
      const name = uri.options.get("name")
      if (name !== undefined && Reference.parse(name) === undefined) {
        return yield* new Uri.UsageError({
          reason: "BadValue",
          message: `cannot use ${JSON.stringify(uri.text)}: expected name=NAME:TAG, found ${name}`
        })
      }
      return yield* (yield* load(() => import("../layout/docker-archive/ArchiveWriter.ts"))).make({
        path: uri.path,
        format: yield* choiceOption(uri, "format", ["hybrid", "docker", "oci"]),
        append: options.append,
        tempDirectory: options.tempDirectory,
        ...(name === undefined ? {} : { names: [name] }),
        ...(yield* storageOf(uri))
      })
    }
    case "oci-layout": {
      yield* Uri.onlyOptions(uri, storageOptions, "destination")
      const { path, reference } = splitReference(uri.path)
      return yield* (yield* load(() => import("../layout/oci-layout/OciLayoutWriter.ts"))).make({
        path,
        ref: reference,
        tempDirectory: options.tempDirectory,
        ...(yield* storageOf(uri))
      })
    }
    case "oci": {
      yield* Uri.onlyOptions(uri, [], "destination")
      return yield* (yield* load(() => import("../layout/runtime-bundle/BundleWriter.ts"))).make({
        path: uri.path,
        tempDirectory: options.tempDirectory
      })
    }
    case "mounts": {
      yield* Uri.onlyOptions(uri, [], "destination")
      return yield* (yield* load(() => import("../layout/mounts/MountsWriter.ts"))).make({
        path: uri.path,
        tempDirectory: options.tempDirectory
      })
    }
    default:
      return yield* unsupported(uri, "destination", ["dir", "tar", "oci-layout", "oci", "mounts"])
  }
})

/** Opens what a URI names for an audit. */
export const openVerifier = Effect.fn("Layouts.openVerifier")(function* (
  uri: Uri.Uri,
  options: SourceOptions = {}
): Effect.fn.Return<Verifier["Type"], Uri.UsageError | SourceError, Scope.Scope | WorkerPool> {
  switch (uri.scheme) {
    case "dir": {
      yield* directoryThere(uri.path)
      return yield* (yield* load(() => import("../layout/directory/DirectoryVerifier.ts"))).make({ path: uri.path })
    }
    case "tar": {
      return yield* (yield* load(() => import("../layout/docker-archive/ArchiveVerifier.ts"))).make({
        path: uri.path,
        ...options
      })
    }
    case "oci-layout": {
      const { path } = splitReference(uri.path)
      yield* directoryThere(path)
      return yield* (yield* load(() => import("../layout/oci-layout/OciVerifier.ts"))).make({
        path,
        sharedBlobs: yield* sharedBlobsOf(uri),
        saved: Effect.map(
          load(() => import("../layout/docker-archive/SavedImages.ts")),
          (module) => module.auditBeside
        )
      })
    }
    case "oci": {
      yield* directoryThere(uri.path)
      return yield* (yield* load(() => import("../layout/runtime-bundle/BundleVerifier.ts"))).make({ path: uri.path })
    }
    case "mounts": {
      yield* directoryThere(uri.path)
      return yield* (yield* load(() => import("../layout/mounts/MountsVerifier.ts"))).make({ path: uri.path })
    }
    default:
      return yield* unsupported(uri, "target", ["dir", "tar", "oci-layout", "oci", "mounts"])
  }
})

/** What is audited because somebody asked for it, not because it was just written. */
export interface Target {
  readonly verify: (options: VerifyOptions) => Effect.Effect<Verification, Uri.UsageError | SourceError>
}

/**
 * Opens what a URI names for an audit, which is of everything that stands there. An image that the URI selects has to be
 * among it: an audit that passes would otherwise tell of an image that nobody asked about.
 */
export const openTarget = Effect.fn("Layouts.openTarget")(function* (
  uri: Uri.Uri,
  options: SourceOptions = {}
): Effect.fn.Return<Target, Uri.UsageError | SourceError, Scope.Scope | WorkerPool> {
  const target = asSource(uri)
  const isTree = uri.scheme === "oci" || uri.scheme === "mounts"
  const known = [...(isTree ? [] : selectorOptions), ...(uri.scheme === "oci-layout" ? [sharedBlobs] : [])]
  yield* Uri.onlyOptions(target, known, "target")
  const verifier = yield* openVerifier(uri, options)
  if (isTree || !selects(target)) return verifier
  const { selected } = yield* load(() => import("./Selected.ts"))
  const context = yield* Effect.context<Scope.Scope | WorkerPool>()
  return {
    // What is wrong is told first: the image may be missing by it.
    verify: (verifyOptions) =>
      Effect.tap(verifier.verify(verifyOptions), ({ results }) =>
        results.hasErrors ? Effect.void : Effect.provide(selected(openSource(target, options)), context)
      )
  }
})

const selects = (uri: Uri.Uri): boolean =>
  selectorOptions.some((name) => uri.options.has(name)) ||
  (uri.scheme === "oci-layout" && splitReference(uri.path).reference !== undefined)

/** A target that is not there at all is no finding about it. */
const directoryThere = (path: string): Effect.Effect<void, SourceError> =>
  Effect.suspend(() => {
    const fail = (reason: "NotFound" | "NotAnImage" | "Unreadable", message: string) =>
      Effect.fail(new SourceError({ reason, message: `cannot read ${path}: ${message}` }))
    try {
      const stat = fs.statSync(path, { throwIfNoEntry: false })
      return stat === undefined
        ? fail("NotFound", "it does not exist")
        : stat.isDirectory()
          ? Effect.void
          : fail("NotAnImage", "expected a directory, found a file")
    } catch (cause) {
      return fail("Unreadable", describe(cause))
    }
  })
