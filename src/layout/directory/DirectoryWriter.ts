/** `dir://PATH`: a docker-save tree whose layers lie uncompressed under their diff_ids, shared by the images in it. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspect from "../../content/Inspect.ts"
import type { LayerInput } from "../../content/LayerStream.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import * as PythonJson from "../../image/PythonJson.ts"
import { version } from "../../version.ts"
import * as DockerIdentity from "../DockerIdentity.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import * as Lock from "../Lock.ts"
import { createEmpty, foreign, occupied, openRoot, place, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import { removeTree } from "../RemoveTree.ts"
import { readJson } from "../Store.ts"
import * as Files from "./DirectoryFiles.ts"
import * as ExpandedTree from "./ExpandedTree.ts"

export interface DirectoryWriterOptions {
  readonly path: string
  /** A manifest for each image, so that many images share the directory. */
  readonly uniqueNames: boolean
  /** Also unpack the tree that the layers make. */
  readonly expand?: boolean
}

/** What the receipt's details say about the catalog. */
export interface CatalogEntry {
  readonly image: string
  readonly tag: string
}

export const make = Effect.fn("DirectoryWriter.make")(function* (options: DirectoryWriterOptions) {
  const pool = yield* WorkerPool
  return {
    write: (image, writeOptions) => write(options, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("DirectoryWriter.write")(function* (
  options: DirectoryWriterOptions,
  original: Image.Image,
  { filters }: WriteOptions
) {
  const root = options.path
  const image = yield* DockerIdentity.inDocker(original, root)
  const names = image.names.length > 0 ? image.names : [Digest.encodedOf(image.config.digest)]
  const manifest = Files.manifestFile(names[0]!, options.uniqueNames)
  const journal = yield* Effect.try({
    try: () => {
      prepare(root)
      return Journal.open(root, manifest, names[0]!)
    },
    catch: unwritable(`cannot write into ${root}`)
  })
  const publishing = { begun: false }
  return yield* Effect.gen(function* () {
    const layers = yield* writeLayers(root, image, journal)
    const configFile = Files.configFile(image.config.digest)
    yield* Effect.try({
      try: () => replaceRegular(root, configFile, image.config.raw, journal),
      catch: unwritable(`cannot write ${configFile} into ${root}`)
    })
    const expanded =
      options.expand === true
        ? yield* ExpandedTree.write(manifest, image, inputsOf(root, image, layers), journal)
        : undefined
    return yield* Lock.withLock(
      root,
      Effect.try({
        try: () => {
          const receipt = publish(
            root,
            image,
            names,
            manifest,
            [Receipt.fileOf(configFile, image.config.raw), ...layers],
            {
              options,
              filters,
              journal,
              expanded,
              onBegin: () => {
                publishing.begun = true
              }
            }
          )
          for (const leftover of Journal.leftovers(root, fs.readdirSync(root), manifest)) {
            removeTree(path.join(root, leftover))
          }
          journal.close()
          return receipt
        },
        catch: unwritable(`cannot complete ${root}`)
      })
    )
  }).pipe(
    // Once the shared files are being changed, the journal has to stay: it tells that they may not fit together.
    Effect.onExit((exit) => (exit._tag === "Failure" && !publishing.begun ? Effect.sync(journal.abandon) : Effect.void))
  )
})

/** The layers as they were written. */
const inputsOf = (root: string, image: Image.Image, files: ReadonlyArray<Receipt.File>): ReadonlyArray<LayerInput> => {
  const sizes = new Map(files.map((file) => [file.path, file.size]))
  return image.layers.map((layer) => {
    const file = Files.layerFile(layer.diffId)
    return { region: { path: path.join(root, file), offset: 0, size: sizes.get(file)! }, edits: [] }
  })
}

/** Makes the root, or makes sure that what is there is such a directory. */
const prepare = (root: string): void => {
  const names = openRoot(root)
  const ours = names.some((name) => name === Files.catalogFile || Files.isManifest(name) || Journal.isJournal(name))
  if (!ours && !names.every((name) => isKnown(root, name)))
    throw foreign(root, "an empty directory or one of images", names)
}

/** What an interrupted run may have left. */
const isKnown = (root: string, name: string): boolean =>
  Journal.isTemporary(name) ||
  Lock.isLock(name) ||
  /^[a-f0-9]{64}\.json$/.test(name) ||
  (/^[a-f0-9]{64}$/.test(name) && fs.lstatSync(path.join(root, name)).isDirectory())

/** Writes the layers that are not there yet, and verifies those that are before they are used. */
const writeLayers = Effect.fnUntraced(function* (root: string, image: Image.Image, journal: Journal.Journal) {
  const pool = yield* WorkerPool
  const wanted = new Map(image.layers.map((layer) => [layer.diffId, layer]))
  const distinct = [...wanted.values()]
  const attempt = Effect.fnUntraced(function* (layers: ReadonlyArray<Image.Layer>, trust: boolean) {
    const plans = yield* Effect.try({
      try: () => layers.map((layer) => prepareLayer(root, layer, trust, journal)),
      catch: unwritable(`cannot write into ${root}`)
    })
    const evidence = yield* pool.runAll(
      Inspect.job,
      plans.map((one) => one.task)
    )
    return plans.map((one, index) => ({ ...one, evidence: evidence[index]! }))
  })
  const first = yield* attempt(distinct, true)
  const spoilt = first.filter((one) => one.temporary === undefined && !LayerCopy.holds(one.plan, one.evidence))
  const all = [
    ...first.filter((one) => !spoilt.includes(one)),
    ...(yield* attempt(
      spoilt.map((one) => one.plan.layer),
      false
    ))
  ]
  for (const one of all) {
    const failed = one.temporary === undefined ? undefined : LayerCopy.failure(root, one.plan.layer, one.evidence)
    if (failed !== undefined) return yield* failed
  }
  yield* Effect.try({
    try: () =>
      place(
        root,
        all.flatMap(({ final, temporary }) => (temporary === undefined ? [] : [{ final, temporary }]))
      ),
    catch: unwritable(`cannot put layers in place in ${root}`)
  })
  const written = new Map(all.map((one) => [one.plan.layer.diffId, one]))
  return distinct.map((layer): Receipt.File => {
    const { evidence, final } = written.get(layer.diffId)!
    return { path: final, size: evidence.layer!.uncompressedSize, sha256: evidence.layer!.diffIds.sha256 }
  })
})

interface Prepared {
  readonly plan: LayerCopy.Plan
  readonly final: string
  /** undefined when the layer is there already and is only verified. */
  readonly temporary: string | undefined
  readonly task: Inspect.InspectTask
}

const prepareLayer = (root: string, layer: Image.Layer, trust: boolean, journal: Journal.Journal): Prepared => {
  const final = Files.layerFile(layer.diffId)
  const file = path.join(root, final)
  const plan = LayerCopy.plan(layer, { compression: "none" })
  // A layer whose directory is a symlink is not in this directory: `place` refuses it.
  const there = fs.lstatSync(path.dirname(file), { throwIfNoEntry: false })?.isDirectory()
    ? fs.lstatSync(file, { throwIfNoEntry: false })
    : undefined
  if (trust && there?.isFile()) {
    return {
      plan,
      final,
      temporary: undefined,
      task: LayerCopy.check(plan, { path: file, offset: 0, size: there.size })
    }
  }
  const temporary = journal.temporary()
  createEmpty(temporary)
  return { plan, final, temporary, task: LayerCopy.task(plan, { path: temporary, offset: 0 }) }
}

interface Publishing extends WriteOptions {
  readonly options: DirectoryWriterOptions
  readonly journal: Journal.Journal
  readonly expanded: ExpandedTree.Prepared | undefined
  /** Called before the first file that others use is changed. */
  readonly onBegin: () => void
}

/** The manifest that describes an image by its names. */
export const manifestBytes = ({
  config,
  layers,
  names
}: Pick<Image.Image, "names" | "config" | "layers">): Uint8Array =>
  Buffer.from(
    PythonJson.stringify([
      {
        Config: Files.configFile(config.digest),
        Layers: layers.map((layer) => Files.layerFile(layer.diffId)),
        RepoTags: names
      }
    ])
  )

/** Under the lock: receipt, catalog, and last of all the manifest. */
const publish = (
  root: string,
  image: Image.Image,
  names: ReadonlyArray<string>,
  manifest: string,
  files: ReadonlyArray<Receipt.File>,
  { expanded, filters, journal, onBegin, options }: Publishing
): Receipt.Receipt => {
  Journal.syncDirectory(root)
  const raw = manifestBytes(image)
  const entries = names.map(Files.catalogKey)
  const receipt: Receipt.Receipt = {
    tool: "tallyman",
    version,
    layout: "dir",
    names: image.names,
    image: image.config.digest,
    source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
    filters,
    conversions: [],
    files: [...files, Receipt.fileOf(manifest, raw)],
    details: { manifest, catalog: entries, ...(expanded === undefined ? {} : { expanded: expanded.details }) }
  }
  const catalog = mergedCatalog(root, manifest, entries, options.uniqueNames)
  if (expanded !== undefined) ExpandedTree.check(root, expanded)
  onBegin()
  if (expanded !== undefined) ExpandedTree.place(root, expanded, journal)
  replaceRegular(root, Files.receiptFile(manifest), Receipt.encode(receipt), journal)
  replaceRegular(root, Files.catalogFile, catalog, journal)
  replaceRegular(root, manifest, raw, journal)
  return receipt
}

const mergedCatalog = (
  root: string,
  manifest: string,
  entries: ReadonlyArray<CatalogEntry>,
  uniqueNames: boolean
): Uint8Array => {
  const catalog = new Map<string, Map<string, string>>()
  const file = path.join(root, Files.catalogFile)
  const keys = new Set(entries.map(({ image, tag }) => `${image}\0${tag}`))
  const stat = fs.lstatSync(file, { throwIfNoEntry: false })
  if (stat !== undefined) {
    if (!stat.isFile()) throw occupied(`cannot merge into ${file}: expected a file, found something else`)
    const bytes = readJson({ path: file, offset: 0, size: stat.size })
    const read = "failure" in bytes ? Either.left(bytes.failure) : readCatalog(bytes.bytes)
    if (Either.isLeft(read)) throw occupied(`cannot merge into ${file}: ${read.left}`)
    for (const [image, tag, named] of read.right) {
      // An image written without unique names takes the place of the one before it, in the catalog too.
      if (named === manifest && !keys.has(`${image}\0${tag}`)) {
        if (uniqueNames)
          throw occupied(
            `cannot write ${manifest} into ${root}: it is the manifest of ${image}:${tag}, whose name becomes the same file name`
          )
        continue
      }
      catalog.set(image, (catalog.get(image) ?? new Map<string, string>()).set(tag, named))
    }
  }
  for (const { image, tag } of entries)
    catalog.set(image, (catalog.get(image) ?? new Map<string, string>()).set(tag, manifest))
  return encodeCatalog(catalog)
}

/** `fromEntries` keeps names like `__proto__` as what they are: names. */
export const encodeCatalog = (catalog: ReadonlyMap<string, ReadonlyMap<string, string>>): Uint8Array =>
  Buffer.from(
    PythonJson.stringify(Object.fromEntries([...catalog].map(([image, tags]) => [image, Object.fromEntries(tags)])))
  )

/** Image, tag and manifest of each entry; left: why it is no catalog. */
export const readCatalog = (
  raw: Uint8Array
): Either.Either<ReadonlyArray<readonly [image: string, tag: string, manifest: string]>, string> => {
  const document = Json.parse(raw)
  const problem = document.problems.find((one) => one.kind !== "duplicate-key")
  if (problem !== undefined) return Either.left(problem.message)
  if (!Json.isObject(document.value)) return Either.left(`it is ${Json.typeName(document.value)}, not an object`)
  const entries: Array<readonly [string, string, string]> = []
  for (const [image, tags] of Object.entries(document.value)) {
    if (!Json.isObject(tags))
      return Either.left(`the entry ${JSON.stringify(image)} is ${Json.typeName(tags)}, not an object`)
    for (const [tag, manifest] of Object.entries(tags)) {
      if (typeof manifest !== "string")
        return Either.left(
          `the entry ${JSON.stringify(`${image}:${tag}`)} is ${Json.typeName(manifest)}, not a file name`
        )
      entries.push([image, tag, manifest])
    }
  }
  return Either.right(entries)
}
