/**
 * `oci-layout://PATH[:REF]`: adds images to an OCI image layout (image-layout.md). Blobs are shared with what is there,
 * verified before they are used; index.json comes last, under a lock.
 */

import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import { version } from "../../version.ts"
import * as Conversion from "../Conversion.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { createEmpty, type Placement, place, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Packing from "../Packing.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./OciFiles.ts"
import { writeGraph } from "./OciGraphWriter.ts"
import { checkNames, inLayout } from "./OciPublish.ts"

export interface OciLayoutWriterOptions extends LayerCopy.Wanted {
  readonly path: string
  /** The entry's reference name; by default the image's names, each with an entry. */
  readonly ref?: string | undefined
  /** Media types to convert the manifest to; as the source has it by default. */
  readonly mediaTypes?: Conversion.Family | undefined
  /** For what is only needed while it is written; beside the output by default. */
  readonly tempDirectory?: string | undefined
}

export const make = Effect.fn("OciLayoutWriter.make")(function* (options: OciLayoutWriterOptions) {
  const pool = yield* WorkerPool
  const memory = new Memory(options.path)
  return {
    write: (image, writeOptions) =>
      write(options, memory, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool)),
    writeGraph: (graph, graphOptions) =>
      writeGraph(options, graph, graphOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("OciLayoutWriter.write")(function* (
  options: OciLayoutWriterOptions,
  memory: Memory,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const root = options.path
  const names = options.ref === undefined ? image.names : [options.ref]
  yield* checkNames(root, names)
  const use = (journal: Journal.Journal) =>
    Effect.gen(function* () {
      const layers = yield* writeLayers(root, image, options, memory, journal)
      const manifest = Conversion.manifestOf(image, layers, options.mediaTypes)
      const config = Digest.blobPath(image.config.digest)
      const manifestFile = Digest.blobPath(manifest.descriptor.digest)
      yield* Effect.try({
        try: () => {
          replaceRegular(root, config, image.config.raw, journal)
          replaceRegular(root, manifestFile, manifest.raw, journal)
        },
        catch: unwritable(`cannot write into ${root}`)
      })
      const receiptFor = (refs: ReadonlyArray<string>): Receipt.Receipt => ({
        tool: "tallyman",
        version,
        layout: "oci-layout",
        names: refs,
        image: image.config.digest,
        source: { uri: image.source, ...(image.manifest === undefined ? {} : { digest: image.manifest.digest }) },
        filters,
        conversions: manifest.conversions,
        files: [
          Receipt.fileOf(config, image.config.raw),
          ...new Map(
            layers.map((layer): readonly [string, Receipt.File] => {
              const file = Digest.blobPath(layer.digest)
              return [file, { path: file, size: layer.size, sha256: layer.sha256 }]
            })
          ).values(),
          Receipt.fileOf(manifestFile, manifest.raw)
        ],
        details: { refs, manifest: manifest.descriptor, layers: layers.map(LayerCopy.detailOf) }
      })
      const entries =
        names.length === 0
          ? [manifest.descriptor]
          : names.map((name) => ({ ...manifest.descriptor, annotations: { [Files.refName]: name } }))
      const receipts =
        names.length === 0
          ? [{ file: Files.receiptFile(manifest.descriptor.digest), receipt: receiptFor([]) }]
          : names.map((name) => ({ file: Files.receiptFile(name), receipt: receiptFor([name]) }))
      return { entries, receipts, result: receiptFor(names) }
    })
  return yield* inLayout(root, names[0] ?? image.config.digest, use, options.tempDirectory)
})

/** Verifies the layers that are there already, and writes those that are not. Answers in the image's order. */
const writeLayers = Effect.fnUntraced(function* (
  root: string,
  image: Image.Image,
  options: OciLayoutWriterOptions,
  memory: Memory,
  journal: Journal.Journal
) {
  const plans = image.layers.map((layer) => LayerCopy.plan(layer, options))
  const distinct = LayerCopy.distinct(plans)
  const stored = new Map(yield* reuse(root, distinct.wanted, memory))
  const left = distinct.wanted.filter((plan) => !stored.has(plan))
  const sink = new BlobSink(journal)
  const placements = yield* Effect.gen(function* () {
    const copied = yield* copy(
      root,
      left.filter((plan) => !Packing.isPacked(plan)),
      journal
    )
    const packed = yield* Packing.pack(root, left.filter(Packing.isPacked), journal, sink)
    yield* Effect.tryPromise({ try: () => sink.synced(), catch: unwritable(`cannot write into ${root}`) })
    for (const [plan, one] of [...copied.stored, ...packed]) stored.set(plan, one)
    return [...copied.placements, ...sink.placements]
  }).pipe(Effect.ensuring(Effect.promise(() => sink.closed())))
  yield* Effect.try({
    try: () => place(root, placements),
    catch: unwritable(`cannot put blobs in place in ${root}`)
  })
  memory.add([...stored.values()].map(LayerCopy.detailOf))
  return plans.map((plan) => ({ ...stored.get(distinct.of(plan))!, layer: plan.layer }))
})

/** The layers whose blobs are there, each read before it is relied on. */
const reuse = Effect.fnUntraced(function* (root: string, plans: ReadonlyArray<LayerCopy.Plan>, memory: Memory) {
  const pool = yield* WorkerPool
  const found = yield* Effect.try({
    try: () =>
      plans.flatMap((plan) => {
        const known = Packing.isPacked(plan) ? memory.recall(plan) : plan
        if (known.digest === undefined) return []
        const file = path.join(root, Digest.blobPath(known.digest))
        const there = fs.lstatSync(file, { throwIfNoEntry: false })
        return there?.isFile() ? [{ plan, known, region: { path: file, offset: 0, size: there.size } }] : []
      }),
    catch: unwritable(`cannot write into ${root}`)
  })
  const evidence = yield* pool.runAll(
    Inspect.job,
    found.map(({ known, region }) => LayerCopy.check(known, region))
  )
  return found.flatMap(({ known, plan }, index) =>
    LayerCopy.holds(known, evidence[index]!) ? [[plan, LayerCopy.stored(known, evidence[index]!)] as const] : []
  )
})

/** Layers written as they are, or uncompressed: one pass each. */
const copy = Effect.fnUntraced(function* (
  root: string,
  plans: ReadonlyArray<LayerCopy.Plan>,
  journal: Journal.Journal
) {
  const pool = yield* WorkerPool
  const temporaries = yield* Effect.try({
    try: () =>
      plans.map(() => {
        const temporary = journal.temporary()
        createEmpty(temporary)
        return temporary
      }),
    catch: unwritable(`cannot write into ${root}`)
  })
  const evidence = yield* pool.runAll(
    Inspect.job,
    plans.map((plan, index) => LayerCopy.task(plan, { path: temporaries[index]!, offset: 0 }))
  )
  const stored = new Map<LayerCopy.Plan, LayerCopy.Stored>()
  for (const [index, plan] of plans.entries()) {
    const failed = LayerCopy.failure(root, plan.layer, evidence[index]!)
    if (failed !== undefined) return yield* failed
    stored.set(plan, LayerCopy.stored(plan, evidence[index]!))
  }
  const placements = plans.map((plan, index) => ({
    temporary: temporaries[index]!,
    final: Digest.blobPath(stored.get(plan)!.digest)
  }))
  return { stored, placements }
})

/** Compressed layers, each into a temporary file that is synced while the next one is written. */
class BlobSink implements Packing.PackSink {
  readonly placements: Array<Placement> = []
  readonly #journal: Journal.Journal
  readonly #open = new Map<number, Promise<void> | undefined>()
  #temporary = ""
  #fd = -1

  constructor(journal: Journal.Journal) {
    this.#journal = journal
  }

  begin(): void {
    this.#temporary = this.#journal.temporary()
    createEmpty(this.#temporary)
    this.#fd = fs.openSync(this.#temporary, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
    this.#open.set(this.#fd, undefined)
  }

  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) from += fs.writeSync(this.#fd, bytes, from)
  }

  end(_: LayerCopy.Plan, { sha256 }: Packing.Written): void {
    const fd = this.#fd
    const synced = promisify(fs.fsync)(fd)
    // Awaited later: a failure before that is none that nobody handles.
    synced.catch(() => {})
    this.#open.set(fd, synced)
    this.placements.push({
      temporary: this.#temporary,
      final: Digest.blobPath(Digest.make("sha256", sha256))
    })
  }

  /** Waits until everything is on the disk. */
  async synced(): Promise<void> {
    await Promise.all(this.#open.values())
  }

  async closed(): Promise<void> {
    await Promise.allSettled(this.#open.values())
    for (const fd of this.#open.keys()) fs.closeSync(fd)
    this.#open.clear()
  }
}

/** What earlier runs made of layers, by their receipts: what was compressed once need not be compressed again. */
class Memory {
  readonly #root: string
  #digests: Map<string, string> | undefined

  constructor(root: string) {
    this.#root = root
  }

  /** The plan with the digest that it led to before; whether that blob still holds is the caller's to verify. */
  recall(plan: LayerCopy.Plan): LayerCopy.Plan {
    const digest = (this.#digests ??= this.#load()).get(keyOf(plan.layer.diffId, plan.form, plan.level))
    return digest !== undefined && Digest.isDigest(digest) ? { ...plan, digest } : plan
  }

  add(layers: ReadonlyArray<LayerCopy.Detail>): void {
    if (this.#digests === undefined) return
    for (const layer of layers) this.#digests.set(keyOf(layer.diffId, layer.compression, layer.level), layer.digest)
  }

  #load(): Map<string, string> {
    const digests = new Map<string, string>()
    for (const name of fs.readdirSync(this.#root).filter(Files.isReceipt)) {
      const receipt = Either.getOrUndefined(readReceipt(path.join(this.#root, name)))
      // Another version may compress to other bytes.
      if (receipt?.version !== version || !Array.isArray(receipt.details["layers"])) continue
      for (const layer of receipt.details["layers"] as ReadonlyArray<Partial<LayerCopy.Detail> | null>) {
        if (layer?.level !== undefined)
          digests.set(keyOf(String(layer.diffId), String(layer.compression), layer.level), String(layer.digest))
      }
    }
    return digests
  }
}

const keyOf = (diffId: string, form: string, level: number | undefined): string => `${diffId} ${form} ${level ?? ""}`

const readReceipt = (file: string): Either.Either<Receipt.Receipt, string> => {
  try {
    return Receipt.decode(fs.readFileSync(file))
  } catch {
    return Either.left("it cannot be read")
  }
}
