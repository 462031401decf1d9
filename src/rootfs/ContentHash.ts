import * as crypto from "node:crypto"

/** sha256 in hex of bytes at hand. Node has a call for it from 20.12 on, which saves making objects for every file. */
export const digestOf: (bytes: Uint8Array) => string =
  "hash" in crypto
    ? (bytes) => (crypto as unknown as OneShot).hash("sha256", bytes, "hex")
    : (bytes) => crypto.createHash("sha256").update(bytes).digest("hex")

interface OneShot {
  readonly hash: (algorithm: string, data: Uint8Array, encoding: "hex") => string
}

const zeros = Buffer.alloc(256 * 1024)

/**
 * sha256 of one file's content as it will be once extracted, fed with the stored bytes of its tar member: the holes of a
 * sparse file are hashed as zeros where they belong.
 */
export class ContentHash {
  readonly #hash = crypto.createHash("sha256")
  readonly #sparse: ReadonlyArray<readonly [offset: number, length: number]> | undefined
  readonly #size: number
  /** Next segment, what is left of the current one, and the position in the extracted file. */
  #segment = 0
  #left = 0
  #position = 0

  constructor(size: number, sparse: ReadonlyArray<readonly [offset: number, length: number]> | undefined) {
    this.#size = size
    this.#sparse = sparse
  }

  update(chunk: Uint8Array, from: number, to: number): void {
    if (this.#sparse === undefined) {
      this.#hash.update(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
      return
    }
    let at = from
    while (at < to) {
      if (this.#left === 0) {
        const segment = this.#sparse[this.#segment++]
        if (segment === undefined) return
        this.#zeros(segment[0] - this.#position)
        this.#left = segment[1]
        continue
      }
      const taken = Math.min(this.#left, to - at)
      this.#hash.update(chunk.subarray(at, at + taken))
      this.#left -= taken
      this.#position += taken
      at += taken
    }
  }

  /** Hex. */
  digest(): string {
    if (this.#sparse !== undefined) this.#zeros(this.#size - this.#position)
    return this.#hash.digest("hex")
  }

  #zeros(count: number): void {
    for (let left = count; left > 0; left -= zeros.length) {
      this.#hash.update(left >= zeros.length ? zeros : zeros.subarray(0, left))
    }
    if (count > 0) this.#position += count
  }
}
