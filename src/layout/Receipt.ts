/**
 * What a writer recorded as it wrote: an in-toto Statement v1 that names every file of the output with its size and
 * sha256. It stands beside the output, so that any later audit can still tell what was written.
 */

import * as crypto from "node:crypto"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Digest from "../image/Digest.ts"
import * as Json from "../image/Json.ts"
import { readSmall, type Store } from "./Store.ts"

const statementType = "https://in-toto.io/Statement/v1"
const predicateType = "urn:tallyman:receipt:v1"

const Hex = Schema.String.pipe(Schema.pattern(/^[a-f0-9]{64}$/))
const Count = Schema.Number.pipe(Schema.int(), Schema.nonNegative())

/** One file of the output. */
export const File = Schema.Struct({
  /** Relative to the output's root. */
  path: Schema.String,
  size: Count,
  sha256: Hex
})
export type File = typeof File.Type

/** A filter that was applied, and what it changed. */
export const AppliedFilter = Schema.Struct({
  name: Schema.String,
  options: Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  /** The image ID before and after. */
  before: Schema.String,
  after: Schema.String,
  /** Where several images were filtered, which one: the digest of its manifest in the source, and its platform. */
  manifest: Schema.optionalWith(Schema.String, { exact: true }),
  platform: Schema.optionalWith(Schema.String, { exact: true }),
  /** The IDs of other images that went into it, by the option that names each. */
  inputs: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), { exact: true })
})
export type AppliedFilter = typeof AppliedFilter.Type

export const Receipt = Schema.Struct({
  tool: Schema.String,
  version: Schema.String,
  layout: Schema.String,
  /** The image's names as written. */
  names: Schema.Array(Schema.String),
  /** Its ID: the sha256 of its config. */
  image: Schema.String,
  source: Schema.Struct({
    /** Without credentials. */
    uri: Schema.String,
    /** The digest of the source's manifest, where it has one. */
    digest: Schema.optionalWith(Schema.String, { exact: true })
  }),
  filters: Schema.Array(AppliedFilter),
  /** What had to be changed in form to write it, in words, for example a conversion of the manifest. */
  conversions: Schema.Array(Schema.String),
  /** Every file of the output that belongs to this image; the manifest is the last. */
  files: Schema.Array(File),
  /** What the layout's writer wants to be able to check later. */
  details: Schema.Record({ key: Schema.String, value: Schema.Unknown })
})
export type Receipt = typeof Receipt.Type

const Statement = Schema.Struct({
  _type: Schema.Literal(statementType),
  subject: Schema.Array(Schema.Struct({ name: Schema.String, digest: Schema.Struct({ sha256: Hex }) })),
  predicateType: Schema.Literal(predicateType),
  predicate: Schema.Struct({
    receipt: Receipt,
    /** sha256 of the statement with this field empty: a receipt that was changed by accident does not pass for right. */
    seal: Schema.String
  })
})

const text = (receipt: Receipt, seal: string): string =>
  `${JSON.stringify(
    {
      _type: statementType,
      subject: receipt.files.map((file) => ({ name: file.path, digest: { sha256: file.sha256 } })),
      predicateType,
      predicate: { receipt, seal }
    },
    null,
    2
  )}\n`

/** The bytes of the file. */
export const encode = (receipt: Receipt): Uint8Array => {
  const seal = crypto.createHash("sha256").update(text(receipt, "")).digest("hex")
  return Buffer.from(text(receipt, seal))
}

const decodeStatement = Schema.decodeUnknownEither(Statement, { errors: "first" })

/** Left: one line on why the bytes are no receipt, or no longer the one that was written. */
export const decode = (raw: Uint8Array): Either.Either<Receipt, string> => {
  const document = Json.parse(raw)
  const problem = document.problems[0]
  if (problem !== undefined) return Either.left(problem.message)
  const statement = decodeStatement(document.value)
  if (Either.isLeft(statement))
    return Either.left(
      statement.left.message
        .split("\n")
        .map((line) => line.trim())
        .join(" ")
        .slice(0, 300)
    )
  const receipt = (document.value as { readonly predicate: { readonly receipt: Receipt } }).predicate.receipt
  return Buffer.compare(raw, encode(receipt)) === 0
    ? Either.right(statement.right.predicate.receipt)
    : Either.left("its seal does not fit its content: it was changed after it was written")
}

/** The receipt that stands there under `name`; undefined where there is none that can be used. */
export const read = (store: Store, name: string): Receipt | undefined => {
  const raw = readSmall(store, name)
  return raw === undefined ? undefined : Either.getOrUndefined(decode(raw))
}

/** The digest of a file as a receipt records it. */
export const digestOf = (file: File): Digest.Digest => Digest.make("sha256", file.sha256)

export const fileOf = (path: string, bytes: Uint8Array): File => ({
  path,
  size: bytes.length,
  sha256: crypto.createHash("sha256").update(bytes).digest("hex")
})
