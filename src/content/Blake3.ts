/** BLAKE3 (image-spec descriptor.md "Registered algorithms"). To be loaded when a digest asks for it. */
import { createBLAKE3, type IHasher } from "hash-wasm"

let preparing: Promise<void> | undefined
let instance: IHasher | undefined
/** Whose state the instance holds. */
let owner: Blake3 | undefined

/** Compiles the module, of which this thread has one instance: all its hashes take turns in it. */
export const prepare = (): Promise<void> =>
  (preparing ??= createBLAKE3().then((made) => {
    instance = made
  }))

/** Needs `prepare` to have been awaited. */
export class Blake3 {
  #state: Uint8Array | undefined

  update(chunk: Uint8Array): void {
    this.#enter().update(chunk)
  }

  /** To be asked once. */
  digest(encoding: "hex"): string {
    const hex = this.#enter().digest(encoding)
    owner = undefined
    return hex
  }

  #enter(): IHasher {
    if (owner === this) return instance!
    // Less than 2 KiB: next to nothing beside a chunk.
    if (owner !== undefined) owner.#state = instance!.save()
    if (this.#state === undefined) instance!.init()
    else instance!.load(this.#state)
    owner = this
    return instance!
  }
}
