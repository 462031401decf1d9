/**
 * `oci-layout://PATH[:REF]`: adds images to an OCI image layout (image-layout.md). Blobs are shared with what is there,
 * verified before they are used; index.json comes last, under a lock.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import { version } from "../../version.ts"
import * as Conversion from "../Conversion.ts"
import { WriteError } from "../Failure.ts"
import type { ImageWriter, WriteOptions } from "../ImageWriter.ts"
import * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import * as Lock from "../Lock.ts"
import { createEmpty, foreign, openRoot, place, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./OciFiles.ts"
import * as OciIndex from "./OciIndex.ts"

export interface OciLayoutWriterOptions extends LayerCopy.Wanted {
  readonly path: string
  /** The entry's reference name; by default the image's names, each with an entry. */
  readonly ref?: string | undefined
  /** Media types to convert the manifest to; as the source has it by default. */
  readonly mediaTypes?: Conversion.Family | undefined
}

export const make = Effect.fn("OciLayoutWriter.make")(function*(options: OciLayoutWriterOptions) {
  const pool = yield* WorkerPool
  const memory = new Memory(options.path)
  return {
    write: (image, writeOptions) => write(options, memory, image, writeOptions).pipe(Effect.provideService(WorkerPool, pool))
  } satisfies ImageWriter["Type"]
})

const write = Effect.fn("OciLayoutWriter.write")(function*(
  options: OciLayoutWriterOptions,
  memory: Memory,
  image: Image.Image,
  { filters }: WriteOptions
) {
  const root = options.path
  const names = options.ref === undefined ? image.names : [options.ref]
  const wrong = names.find((name) => !OciIndex.isReferenceName(name))
  if (wrong !== undefined) {
    return yield* new WriteError({
      reason: "Unsupported",
      message: `cannot write into ${root}: expected a reference name of letters, digits and -._:@/+, found ${JSON.stringify(wrong)}`
    })
  }
  return yield* inLayout(root, names[0] ?? image.config.digest, (journal) =>
    Effect.gen(function*() {
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
          ...new Map(layers.map((layer): readonly [string, Receipt.File] => {
            const file = Digest.blobPath(layer.digest)
            return [file, { path: file, size: layer.size, sha256: layer.sha256 }]
          })).values(),
          Receipt.fileOf(manifestFile, manifest.raw)
        ],
        details: { refs, manifest: manifest.descriptor, layers: layers.map(LayerCopy.detailOf) }
      })
      const entries = names.length === 0
        ? [manifest.descriptor]
        : names.map((name) => ({ ...manifest.descriptor, annotations: { [Files.refName]: name } }))
      const receipts = names.length === 0
        ? [{ file: Files.receiptFile(manifest.descriptor.digest), receipt: receiptFor([]) }]
        : names.map((name) => ({ file: Files.receiptFile(name), receipt: receiptFor([name]) }))
      return { entries, receipts, result: receiptFor(names) }
    }))
})

interface Published<A> {
  /** For index.json: those with a reference name take the place of what had it. */
  readonly entries: ReadonlyArray<Conversion.Descriptor>
  readonly receipts: ReadonlyArray<{ readonly file: string; readonly receipt: Receipt.Receipt }>
  readonly result: A
}

/** Runs `use`, which writes blobs, with a journal; then publishes under the lock what it answers. */
export const inLayout = Effect.fnUntraced(function*<A, E, R>(
  root: string,
  target: string,
  use: (journal: Journal.Journal) => Effect.Effect<Published<A>, E, R>
) {
  const journalTarget = Files.receiptFile(target)
  const journal = yield* Effect.try({
    try: () => {
      prepare(root)
      return Journal.open(root, journalTarget, target)
    },
    catch: unwritable(`cannot write into ${root}`)
  })
  const publishing = { begun: false }
  return yield* Effect.gen(function*() {
    const { entries, receipts, result } = yield* use(journal)
    return yield* Lock.withLock(
      root,
      Effect.try({
        try: () => {
          Journal.syncDirectory(root)
          const index = OciIndex.merged(root, entries)
          publishing.begun = true
          replaceRegular(root, Files.layoutFile, Files.layoutBytes, journal)
          for (const { file, receipt } of receipts) replaceRegular(root, file, Receipt.encode(receipt), journal)
          replaceRegular(root, Files.indexFile, index, journal)
          for (const leftover of Journal.leftovers(root, fs.readdirSync(root), journalTarget)) {
            fs.rmSync(path.join(root, leftover), { force: true, recursive: true })
          }
          journal.close()
          return result
        },
        catch: unwritable(`cannot complete ${root}`)
      })
    )
  }).pipe(
    // Once the shared files are being changed, the journal has to stay: it tells that they may not fit together.
    Effect.onExit((exit) => exit._tag === "Failure" && !publishing.begun ? Effect.sync(journal.abandon) : Effect.void)
  )
})

/** Makes the root, or makes sure that what is there is a layout that can be added to. */
const prepare = (root: string): void => {
  const names = openRoot(root)
  if (names.includes(Files.layoutFile) || names.includes(Files.indexFile)) OciIndex.read(root)
  else if (!names.every((name) => name === Files.blobs || Journal.isJournal(name) || Journal.isTemporary(name) || Lock.isLock(name))) {
    throw foreign(root, "an empty directory or an OCI image layout", names)
  }
}

interface Prepared {
  readonly plan: LayerCopy.Plan
  /** undefined when the blob is there already and is only verified. */
  readonly temporary: string | undefined
  readonly task: Inspect.InspectTask
}

/** Writes the layers that are not there yet, and verifies those that are before they are used. In the image's order. */
const writeLayers = Effect.fnUntraced(function*(
  root: string,
  image: Image.Image,
  options: OciLayoutWriterOptions,
  memory: Memory,
  journal: Journal.Journal
) {
  const pool = yield* WorkerPool
  const plans = image.layers.map((layer) => LayerCopy.plan(layer, options))
  const distinct = LayerCopy.distinct(plans)
  const attempt = Effect.fnUntraced(function*(wanted: ReadonlyArray<LayerCopy.Plan>, trust: boolean) {
    const prepared = yield* Effect.try({
      try: () => wanted.map((plan) => prepareLayer(root, plan, trust, memory, journal)),
      catch: unwritable(`cannot write into ${root}`)
    })
    const evidence = yield* pool.runAll(Inspect.job, prepared.map((one) => one.task))
    return prepared.map((one, index) => ({ ...one, evidence: evidence[index]! }))
  })
  const first = yield* attempt(distinct.wanted, true)
  const spoilt = first.filter((one) => one.temporary === undefined && !LayerCopy.holds(one.plan, one.evidence))
  const again = yield* attempt(spoilt.map((one) => distinct.wanted[first.indexOf(one)]!), false)
  const all = first.map((one) => spoilt.includes(one) ? again[spoilt.indexOf(one)]! : one)
  for (const one of all) {
    const failed = one.temporary === undefined ? undefined : LayerCopy.failure(root, one.plan.layer, one.evidence)
    if (failed !== undefined) return yield* failed
  }
  const stored = all.map((one) => LayerCopy.stored(one.plan, one.evidence))
  yield* Effect.try({
    try: () =>
      place(root, all.flatMap(({ temporary }, index) =>
        temporary === undefined ? [] : [{ temporary, final: Digest.blobPath(stored[index]!.digest) }])),
    catch: unwritable(`cannot put blobs in place in ${root}`)
  })
  memory.add(stored.map(LayerCopy.detailOf))
  return plans.map((plan) => ({ ...stored[distinct.wanted.indexOf(distinct.of(plan))]!, layer: plan.layer }))
})

const prepareLayer = (root: string, wanted: LayerCopy.Plan, trust: boolean, memory: Memory, journal: Journal.Journal): Prepared => {
  const plan = trust && wanted.digest === undefined ? memory.recall(wanted) : wanted
  if (trust && plan.digest !== undefined) {
    const file = path.join(root, Digest.blobPath(plan.digest))
    const there = fs.lstatSync(file, { throwIfNoEntry: false })
    if (there?.isFile()) return { plan, temporary: undefined, task: LayerCopy.check(plan, { path: file, offset: 0, size: there.size }) }
  }
  const temporary = journal.temporary()
  createEmpty(temporary)
  return { plan: wanted, temporary, task: LayerCopy.task(wanted, { path: temporary, offset: 0 }) }
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
        if (layer?.level !== undefined) digests.set(keyOf(String(layer.diffId), String(layer.compression), layer.level), String(layer.digest))
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
