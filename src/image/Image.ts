import type { Digest } from "./Digest.ts"
import type { ImageConfig } from "./ImageConfig.ts"
import type { Platform } from "./Platform.ts"
import type { Region } from "./Region.ts"

/** A change that a filter makes to a layer's tar on the way: plain data, so that any thread can apply it again. */
export interface Edit {
  readonly kind: string
  readonly [option: string]: unknown
}

/** One layer: what names it, and where its bytes can be read any number of times. */
export interface Layer {
  /** 0 is the base. */
  readonly index: number
  /** As the source stores it, for messages. */
  readonly name: string
  readonly mediaType: string
  /** sha256 of the uncompressed tar, `edits` applied (config.md "Layer DiffID"). */
  readonly diffId: Digest
  /** Digest of the bytes as stored, where the source says one. */
  readonly digest?: Digest
  /** The bytes as stored: a tar, or one compressed with gzip or zstd. */
  readonly bytes: Region
  /** Applied in order to the uncompressed tar; empty when the bytes are used as they are. */
  readonly edits: ReadonlyArray<Edit>
  /** What reading it may cost, where that differs from the defaults: bytes of tar, and those over the stored ones. */
  readonly limits?: { readonly maxOutput?: number; readonly maxRatio?: number }
  /** Bytes of the uncompressed tar, `edits` applied, where they are known. */
  readonly uncompressedSize?: number
}

/** A JSON document in both forms: what is hashed and copied, and what is reasoned over. */
export interface Document<A> {
  readonly raw: Uint8Array
  readonly value: A
  readonly digest: Digest
}

/** What an OCI or Docker schema 2 source has beside the config; docker-save archives have none. */
export interface ManifestDocument {
  readonly raw: Uint8Array
  readonly mediaType: string
  /** As the source has it. */
  readonly digest: Digest
  /** Of the index entry that describes it, but for those that name it. */
  readonly annotations?: Readonly<Record<string, string>>
  /** A filter changed what it says beside its descriptors: `digest` is not that of `raw`. */
  readonly isEdited?: boolean
}

/** An immutable view of one image; a filter returns a new one. */
export interface Image {
  /** `name:tag` of every name that the source knows it by; may be empty. */
  readonly names: ReadonlyArray<string>
  readonly manifest: ManifestDocument | undefined
  /** What filters change in annotations of the manifest and of the entry that describes it; undefined takes one away. */
  readonly annotations?: Readonly<Record<string, string | undefined>>
  readonly config: Document<ImageConfig>
  readonly layers: ReadonlyArray<Layer>
  readonly platform: Platform | undefined
  /** Where it came from, as a URI without credentials. */
  readonly source: string
}
