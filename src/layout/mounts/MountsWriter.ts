/**
 * `mounts://PATH`: each layer unpacked by itself in overlay's form, all of them mounted on rootfs/. What a container
 * changes goes to delta/, so the layers stay what they are.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { ByteString } from "../../content/ByteString.ts"
import type { LayerInput } from "../../content/LayerStream.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import type * as Image from "../../image/Image.ts"
import { FileTree } from "../../rootfs/FileTree.ts"
import { version } from "../../version.ts"
import type { WriteError } from "../Failure.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import * as Journal from "../Journal.ts"
import { beside, publish } from "../NewDirectory.ts"
import { unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import { removeTree } from "../RemoveTree.ts"
import { configFiles } from "../runtime-bundle/BundleConfig.ts"
import { hardlinksOf, unpackWithManifest } from "../TreeManifest.ts"
import {
  applyLayers,
  type KeptUnrestored,
  layersOf,
  unpackTree,
  unrestoredOf,
  withPlainLayers
} from "../UnpackImage.ts"
import * as LayerTrees from "./LayerTrees.ts"
import { marksFor } from "./Mounting.ts"
import * as Files from "./MountsFiles.ts"
import * as Overlay from "./Overlay.ts"

export interface MountsWriterOptions {
  readonly path: string
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

export const make = Effect.fn("MountsWriter.make")(function* (options: MountsWriterOptions) {
  const pool = yield* WorkerPool
  return {
    write: (image, writeOptions) => write(options, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("MountsWriter.write")(function* (
  { path: target, tempDirectory }: MountsWriterOptions,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const { journal, root } = yield* beside(target, "mounts", image, tempDirectory)
  const doing = unwritable(`cannot write ${target}`)
  return yield* Effect.gen(function* () {
    const temporary = journal.temporary()
    const marks = yield* Effect.try({
      try: () => {
        fs.mkdirSync(temporary, { mode: 0o755 })
        return marksFor(temporary, target)
      },
      catch: doing
    })
    const written = yield* withPlainLayers(image, target, journal, (inputs) =>
      layers(temporary, image, inputs, marks, doing)
    )
    const manifest = LayerTrees.manifestBytes(image.names, written.directories)
    const receipt: Receipt.Receipt = {
      tool: "tallyman",
      version,
      layout: "mounts",
      names: image.names,
      image: image.config.digest,
      source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
      filters,
      conversions: [],
      files: [...written.files, Receipt.fileOf(Files.manifest, manifest)],
      details: written.details
    }
    yield* Effect.try({
      try: () => {
        Journal.writeNew(path.join(temporary, Files.manifest), manifest)
        Journal.writeNew(path.join(temporary, Files.receipt), Receipt.encode(receipt))
      },
      catch: doing
    })
    yield* publish(temporary, root, journal)
    yield* Effect.try({
      try: () => Overlay.mount(root, written.directories.length === 0 ? [Files.empty] : written.directories, marks),
      catch: unwritable(`cannot mount ${root}`)
    }).pipe(Effect.tapError(() => Effect.sync(() => removeTree(root))))
    return receipt
  }).pipe(Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(journal.abandon) : Effect.void)))
})

interface Layers {
  /** Those to be mounted, base first. */
  readonly directories: ReadonlyArray<string>
  readonly files: ReadonlyArray<Receipt.File>
  readonly details: Receipt.Receipt["details"]
}

/** Writes everything but the manifest and the receipt. */
const layers = (
  root: string,
  image: Image.Image,
  inputs: ReadonlyArray<LayerInput>,
  marks: Overlay.Marks,
  doing: (cause: unknown) => WriteError
) =>
  Effect.gen(function* () {
    const { onLayer, trees } = LayerTrees.gather(image, `${marks}.overlay.`)
    const { problems, tree } = yield* applyLayers(image, inputs, onLayer)
    const configs = yield* configFiles(image, tree, inputs)
    const files: Array<Receipt.File> = []
    const unrestored: Array<KeptUnrestored & { readonly layer: string }> = []
    const hardlinks: Record<string, ReadonlyArray<ReadonlyArray<ByteString>>> = {}
    const entries: Record<string, number> = {}
    for (const { directory, tree: own } of trees) {
      const place = path.join(root, directory)
      yield* Effect.try({ try: () => fs.mkdirSync(path.dirname(place), { recursive: true }), catch: doing })
      const name = Files.manifestOf(directory)
      const target = path.join(root, name)
      const { manifest, unpacked } = yield* unpackWithManifest(own, place, inputs, { name, target }, doing)
      files.push(manifest)
      entries[directory] = unpacked.names
      unrestored.push(...unrestoredOf(unpacked).map((one) => ({ ...one, layer: directory })))
      const links = hardlinksOf(own)
      if (links.length > 0) hardlinks[directory] = links
    }
    // The root that is seen is the upper directory's.
    yield* unpackTree(new FileTree({ root: tree.root.inode }), path.join(root, Files.delta), inputs)
    yield* Effect.try({
      try: () => {
        for (const directory of [Files.rootfs, Files.working]) fs.mkdirSync(path.join(root, directory), { mode: 0o755 })
        if (trees.length === 0) fs.mkdirSync(path.join(root, Files.empty), { recursive: true })
      },
      catch: doing
    })
    yield* Effect.try({
      try: () => {
        for (const { bytes, file } of configs) Journal.writeNew(path.join(root, file.path), bytes)
      },
      catch: doing
    })
    const details = { layers: layersOf(image, inputs), marks, entries, hardlinks, problems, unrestored }
    return {
      directories: trees.map(({ directory }) => directory),
      files: [...configs.map(({ file }) => file), ...files],
      details
    } satisfies Layers
  })
