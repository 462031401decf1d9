/**
 * Content digests, `algorithm:encoded` (image-spec descriptor.md "Digests").
 */

/** A digest whose grammar has been checked, for example `sha256:44136f...`. */
export type Digest = string & { readonly Digest: unique symbol }

/**
 * Algorithms this program can compute, with the length that their encoded part has in hex characters: those that the
 * image-spec registers (rules 7-9), and sha384, which go-digest knows.
 */
export const hexLength = { sha256: 64, sha384: 96, sha512: 128, blake3: 64 } as const
export type Algorithm = keyof typeof hexLength
/** Their names, for messages. */
export const known = Object.keys(hexLength).join(", ")

/** Hex by algorithm, as one pass over some bytes computed it. */
export type Hashed = Readonly<Partial<Record<Algorithm, string>>>

/** No file system holds a name as long as this, and matching the grammar takes stack for each of its characters. */
const maxLength = 1024

const grammar = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/

/** Why `text` is no digest, or undefined when it is one. */
export const invalid = (text: string): string | undefined => {
  if (text.length > maxLength) return `has ${text.length} characters, which is more than any digest`
  if (!grammar.test(text)) return "does not match the grammar algorithm:encoded"
  const algorithm = computable(text)
  if (algorithm === undefined) return undefined
  const length = hexLength[algorithm]
  const encoded = encodedOf(text)
  if (encoded.length !== length) return `${algorithm} takes ${length} hex characters, not ${encoded.length}`
  return /^[a-f0-9]+$/.test(encoded) ? undefined : `${algorithm} takes lower-case hex characters only`
}

export const isDigest = (text: unknown): text is Digest => typeof text === "string" && invalid(text) === undefined

/** `algorithm:hex` from parts that this program computed itself. */
export const make = (algorithm: Algorithm, hex: string): Digest => `${algorithm}:${hex}` as Digest

export const algorithmOf = (digest: string): string => digest.slice(0, digest.indexOf(":"))
export const encodedOf = (digest: string): string => digest.slice(digest.indexOf(":") + 1)

/** True when this program can recompute the digest; otherwise a check of it has to be skipped and said. */
export const isComputable = (digest: string): boolean => Object.hasOwn(hexLength, algorithmOf(digest))

/** The algorithm to compute, for a computable digest. */
export const computable = (digest: string): Algorithm | undefined =>
  isComputable(digest) ? (algorithmOf(digest) as Algorithm) : undefined

/** What has to be computed to prove these digests; those of an unknown algorithm cannot be proved. */
export const algorithmsOf = (...digests: ReadonlyArray<string | undefined>): ReadonlyArray<Algorithm> => [
  ...new Set(digests.flatMap((digest) => (digest === undefined ? undefined : computable(digest)) ?? []))
]

/** What was found by the algorithm of `digest`, for comparison with it; undefined where that cannot be computed. */
export const like = (digest: string, found: Hashed): Digest | undefined => {
  const algorithm = computable(digest)
  return algorithm === undefined ? undefined : make(algorithm, found[algorithm]!)
}

/** `sha256:44136fa355b3` for people. */
export const short = (digest: string): string => {
  const encoded = encodedOf(digest)
  return encoded.length > 12 ? `${algorithmOf(digest)}:${encoded.slice(0, 12)}` : digest
}

/** Where an OCI layout stores it (image-layout.md "Blobs"). */
export const blobPath = (digest: string): string => `blobs/${algorithmOf(digest)}/${encodedOf(digest)}`
