/** Hashes of bytes, by every algorithm that a digest can be proved with. */
import * as crypto from "node:crypto"
import * as Digest from "../image/Digest.ts"

export interface Hasher {
  update(chunk: Uint8Array): void
  /** To be asked once. */
  digest(encoding: "hex"): string
}

/** An algorithm was asked for that has to be loaded first. */
export class NotLoaded extends Error {
  override readonly name = "NotLoaded"
  readonly algorithm: Digest.Algorithm

  constructor(algorithm: Digest.Algorithm) {
    super(`${algorithm} has not been prepared`)
    this.algorithm = algorithm
  }
}

// Not imported: few images name it, and what serves it takes a twentieth of a fast verification to load.
let blake3: typeof import("./Blake3.ts") | undefined

/** Loads what hashing by these takes; `make` is synchronous after it. Cheap when repeated, free for all but blake3. */
export const prepare = async (algorithms: ReadonlyArray<Digest.Algorithm>): Promise<void> => {
  if (!algorithms.includes("blake3")) return
  const module = await import("./Blake3.ts")
  await module.prepare()
  blake3 = module
}

/** Throws `NotLoaded` where `prepare` would have had something to do: see `HasherLoading.loading`. */
export const make = (algorithm: Digest.Algorithm): Hasher => {
  if (algorithm !== "blake3") return crypto.createHash(algorithm)
  if (blake3 === undefined) throw new NotLoaded(algorithm)
  return new blake3.Blake3()
}

/** Several at once, over the same bytes. */
export class Hashers {
  readonly #hashers: ReadonlyArray<readonly [Digest.Algorithm, Hasher]>

  constructor(algorithms: Iterable<Digest.Algorithm>) {
    this.#hashers = [...new Set(algorithms)].map((algorithm) => [algorithm, make(algorithm)])
  }

  get isEmpty(): boolean {
    return this.#hashers.length === 0
  }

  update(chunk: Uint8Array): void {
    for (const [, hasher] of this.#hashers) hasher.update(chunk)
  }

  /** To be asked once. */
  end(): Digest.Hashed {
    return Object.fromEntries(this.#hashers.map(([algorithm, hasher]) => [algorithm, hasher.digest("hex")]))
  }
}

/** The digest of `bytes` by the algorithm of `digest`; undefined when it cannot be computed. Throws as `make` does. */
export const digestOfBytes = (digest: string, bytes: Uint8Array): Digest.Digest | undefined => {
  const algorithm = Digest.computable(digest)
  if (algorithm === undefined) return undefined
  const hasher = make(algorithm)
  hasher.update(bytes)
  return Digest.make(algorithm, hasher.digest("hex"))
}
