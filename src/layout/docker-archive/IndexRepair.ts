/** What the index.json of an archive lists, and its bytes where it is damaged and something tells what it was. */
import * as crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import type * as ArchiveStore from "../ArchiveStore.ts"
import * as ContentGraph from "../ContentGraph.ts"
import type * as Conversion from "../Conversion.ts"
import type { SourceError } from "../Failure.ts"
import * as OciFiles from "../oci-layout/OciFiles.ts"
import * as OciGraphWriter from "../oci-layout/OciGraphWriter.ts"
import * as OciRepair from "../oci-layout/OciRepair.ts"
import type * as Receipt from "../Receipt.ts"
import { readSmall } from "../Store.ts"
import * as Documents from "./ArchiveDocuments.ts"
import * as Files from "./ArchiveFiles.ts"
import * as IndexBeside from "./IndexBeside.ts"

export interface Index {
  readonly entries: ReadonlyArray<Conversion.Descriptor>
  /** Of index.json, when it has to be written. */
  readonly bytes: Uint8Array | undefined
  /** Why it cannot be, although it is damaged. */
  readonly obstacle: string | undefined
}

export interface Context extends OciRepair.Context {
  readonly store: ArchiveStore.ArchiveStore
}

/**
 * As it is there, or as `receipt` records it, or else as the source lists what is there. It is written anew only when
 * that tells of every blob: what is left over would be of images that were listed too.
 */
export const look = Effect.fn("IndexRepair.look")(function* (
  context: Context,
  receipt: Receipt.Receipt | undefined
): Effect.fn.Return<Index, SourceError> {
  const { flagged, store } = context
  const raw = readSmall(store, OciFiles.indexFile)
  const said = entriesIn(raw)
  const record = receipt?.files.find(({ path }) => path === OciFiles.indexFile)
  const isSound =
    !flagged(OciFiles.indexFile, "error") ||
    IndexBeside.isBeside(store) ||
    (raw !== undefined &&
      Json.parse(raw).problems.length === 0 &&
      said.length > 0 &&
      (record === undefined || sha256Of(raw) === record.sha256))
  if (isSound) return { entries: said, bytes: undefined, obstacle: undefined }
  const bytes = receipt === undefined ? yield* asInSource(context, said) : yield* recorded(context, receipt, record)
  return bytes === undefined
    ? { entries: said, bytes, obstacle: "nothing tells all that it listed, and by which names" }
    : { entries: entriesIn(bytes), bytes, obstacle: undefined }
})

const entriesIn = (raw: Uint8Array = new Uint8Array()): ReadonlyArray<Conversion.Descriptor> => {
  const index = Json.parse(raw).value
  const entries = Json.isObject(index) ? index["manifests"] : undefined
  return (Array.isArray(entries) ? entries : []).flatMap((entry) => ContentGraph.descriptorOf(entry) ?? [])
}

const sha256Of = (bytes: Uint8Array): string => crypto.createHash("sha256").update(bytes).digest("hex")

const hasNoBlobBut = ({ store }: Context, known: ReadonlySet<string>): boolean =>
  store.files().every((name) => {
    const digest = Files.blobDigest(name)
    return digest === undefined || known.has(Digest.blobPath(digest))
  })

const bytesOf = (documents: Documents.Documents): Uint8Array =>
  new Map(Documents.files(documents, "oci")).get(OciFiles.indexFile)!

/** As the writer makes it of what the receipt tells; others may have been listed too, which the receipt's digest shows. */
const recorded = Effect.fnUntraced(function* (
  context: Context,
  receipt: Receipt.Receipt,
  record: Receipt.File | undefined
) {
  const manifest = ContentGraph.descriptorOf(receipt.details["manifest"])
  const isAll = hasNoBlobBut(context, new Set(receipt.files.map(({ path }) => path)))
  if (manifest === undefined || record === undefined || !isAll) return undefined
  const referrers = yield* OciRepair.referrersOf(context.copies, { manifest, receipt })
  const bytes = bytesOf(
    Documents.withGraph(Documents.empty, receipt.names, OciGraphWriter.unnamed(manifest), referrers)
  )
  return sha256Of(bytes) === record.sha256 ? bytes : undefined
})

const asInSource = Effect.fnUntraced(function* (context: Context, said: ReadonlyArray<Conversion.Descriptor>) {
  const entries = yield* OciRepair.rootsOf(context)
  const { reached } = yield* OciRepair.walk(context, entries, true)
  const isAll = hasNoBlobBut(context, new Set([...reached].map(Digest.blobPath)))
  // Names that can still be read are not to be lost, nor may they contradict another document's.
  const isNamed = namesIn(said).every((name) => namesIn(entries).includes(name))
  return isAll && entries.length > 0 && isNamed && context.store.lookup(Files.manifestFile) === undefined
    ? bytesOf({ ...Documents.empty, entries })
    : undefined
})

const namesIn = (entries: ReadonlyArray<Conversion.Descriptor>): ReadonlyArray<string> =>
  entries.flatMap(({ annotations }) => annotations?.[OciFiles.refName] ?? [])
