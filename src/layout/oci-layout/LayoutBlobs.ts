/** Blobs in the directory of an OCI layout: what is there is shared, verified before it is used. */

import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspect from "../../content/Inspect.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import * as Digest from "../../image/Digest.ts"
import { version } from "../../version.ts"
import type * as ContentGraph from "../ContentGraph.ts"
import type * as Journal from "../Journal.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { createEmpty, type Placement, place, replaceRegular, unwritable } from "../OutputFiles.ts"
import * as Packing from "../Packing.ts"
import * as Receipt from "../Receipt.ts"
import { type BlobPlace, blobFailure } from "./BlobPlace.ts"
import * as Files from "./OciFiles.ts"

/** `memory`: of the layout at `root`. */
export const make = (root: string, memory: Memory, journal: Journal.Journal): BlobPlace => ({
  path: root,
  layers: (plans) => writeLayers(root, plans, memory, journal),
  blobs: (uri, blobs) => writeBlobs(root, uri, blobs, journal),
  document: (file, bytes) => replaceRegular(root, file, bytes, journal),
  region: (file) => ({ path: path.join(root, file.path), offset: 0, size: file.size })
})

/** Verifies the layers that are there already, and writes those that are not. */
const writeLayers = Effect.fnUntraced(function* (
  root: string,
  plans: ReadonlyArray<LayerCopy.Plan>,
  memory: Memory,
  journal: Journal.Journal
) {
  const stored = new Map(yield* reuse(root, plans, memory))
  const left = plans.filter((plan) => !stored.has(plan))
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
  return stored
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

/** Writes the blobs that are not there yet, and verifies those that are before they are used. */
const writeBlobs = Effect.fnUntraced(function* (
  root: string,
  uri: string,
  blobs: ReadonlyArray<ContentGraph.GraphBlob>,
  journal: Journal.Journal
) {
  const pool = yield* WorkerPool
  const attempt = Effect.fnUntraced(function* (wanted: ReadonlyArray<ContentGraph.GraphBlob>, trust: boolean) {
    const prepared = yield* Effect.try({
      try: () => wanted.map((blob) => prepareBlob(root, blob, trust, journal)),
      catch: unwritable(`cannot write into ${root}`)
    })
    const evidence = yield* pool.runAll(
      Inspect.job,
      prepared.map((one) => one.task)
    )
    return prepared.map((one, index) => ({ ...one, evidence: evidence[index]! }))
  })
  const first = yield* attempt(blobs, true)
  const spoilt = first.filter(
    (one) => one.temporary === undefined && blobFailure(root, uri, one.blob, one.evidence) !== undefined
  )
  const all = [
    ...first.filter((one) => !spoilt.includes(one)),
    ...(yield* attempt(
      spoilt.map((one) => one.blob),
      false
    ))
  ]
  for (const { blob, evidence } of all) {
    const failed = blobFailure(root, uri, blob, evidence)
    if (failed !== undefined) return yield* failed
  }
  const fileOf = (blob: ContentGraph.GraphBlob): string => Digest.blobPath(blob.descriptor.digest)
  yield* Effect.try({
    try: () =>
      place(
        root,
        all.flatMap(({ blob, temporary }) => (temporary === undefined ? [] : [{ temporary, final: fileOf(blob) }]))
      ),
    catch: unwritable(`cannot put blobs in place in ${root}`)
  })
  return all.map(
    ({ blob, evidence }): Receipt.File => ({
      path: fileOf(blob),
      size: evidence.size,
      sha256: evidence.digests.sha256!
    })
  )
})

const prepareBlob = (root: string, blob: ContentGraph.GraphBlob, trust: boolean, journal: Journal.Journal) => {
  const { digest } = blob.descriptor
  const common = {
    algorithms: Digest.algorithmsOf(digest),
    as: "blob",
    keepPaths: false,
    limits: {}
  } as const
  const file = path.join(root, Digest.blobPath(digest))
  const there = fs.lstatSync(file, { throwIfNoEntry: false })
  // What cannot be verified is not used.
  if (trust && Digest.isComputable(digest) && there?.isFile()) {
    return { blob, temporary: undefined, task: { ...common, region: { path: file, offset: 0, size: there.size } } }
  }
  const temporary = journal.temporary()
  createEmpty(temporary)
  return {
    blob,
    temporary,
    task: { ...common, region: blob.region, output: { path: temporary, offset: 0, form: "stored" as const } }
  }
}

/** What earlier runs made of layers, by their receipts: what was compressed once need not be compressed again. */
export class Memory {
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
