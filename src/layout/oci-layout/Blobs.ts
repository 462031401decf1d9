/** The blobs of a layout by digest: each directory below blobs/ is listed once, however many documents refer into it. */
import * as Digest from "../../image/Digest.ts"
import type { Store, StoreChild } from "../Store.ts"
import * as Files from "./OciFiles.ts"

export class Blobs {
  readonly #store: Store
  #isEmpty: boolean | undefined
  readonly #listings = new Map<string, ReadonlyMap<string, StoreChild> | undefined>()

  constructor(store: Store) {
    this.#store = store
  }

  /** What stands where the layout keeps `digest`; undefined when nothing does. */
  find(digest: Digest.Digest): StoreChild | undefined {
    const listed = this.listing(Digest.algorithmOf(digest))?.get(Digest.encodedOf(digest))
    if (listed !== undefined) return listed
    // A directory may be one that can be entered but not listed, and blobs may be found that are not listed here.
    const entry = this.#store.lookup(Digest.blobPath(digest))
    return entry === undefined ? undefined : { entry, symlink: false }
  }

  /** Everything in blobs/`algorithm`; undefined when that is no directory or cannot be listed. */
  listing(algorithm: string): ReadonlyMap<string, StoreChild> | undefined {
    if (!this.#listings.has(algorithm))
      this.#listings.set(algorithm, this.#store.entries(`${Files.blobs}/${algorithm}`))
    return this.#listings.get(algorithm)
  }

  /** To end the message about a blob that is missed: a layout that has none at all may be one that has them elsewhere. */
  hint(): string {
    if (this.#store.kind !== "directory") return ""
    this.#isEmpty ??= (this.algorithms()?.size ?? 0) === 0
    return this.#isEmpty
      ? "; the layout has no blobs of its own: where they are kept elsewhere, say so with oci-layout://PATH?shared_blobs=DIRECTORY"
      : ""
  }

  /** Everything directly in blobs/. */
  algorithms(): ReadonlyMap<string, StoreChild> | undefined {
    return this.#store.entries(Files.blobs)
  }
}
