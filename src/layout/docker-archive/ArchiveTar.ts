/** A tar archive that is put together by offset: members of known size can be filled in any order, by any thread. */
import * as fs from "node:fs"
import { blockSize } from "../../content/TarField.ts"
import { encodeHeader, endOfArchive, padding } from "../../content/TarWrite.ts"
import type { Region } from "../../image/Region.ts"
import * as Receipt from "../Receipt.ts"

/** Where sizes do not fit into a ustar header any more; it then has a pax header, of two blocks, before it. */
const tallSize = 8 ** 11

/** Every method throws what the file system says. */
export class ArchiveTar {
  readonly path: string
  readonly #fd: number
  readonly #files = new Map<string, Receipt.File>()
  /** Where bodies are, by the members' names. */
  readonly #bodies = new Map<string, Region>()
  #at = 0
  #growing: { readonly headerSize: number; size: number } | undefined

  /** `path` exists and is empty. */
  constructor(path: string) {
    this.path = path
    this.#fd = fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
  }

  has(name: string): boolean {
    return this.#bodies.has(name)
  }

  /** Where the body of a member is. */
  region(name: string): Region {
    return this.#bodies.get(name)!
  }

  /** What a member was filled with. */
  fileAt(name: string): Receipt.File {
    return this.#files.get(name)!
  }

  /** A member without its body; answers the offset where that goes. Owners, times and the like are always 0. */
  reserve(name: string, size: number): number {
    this.#header(encodeHeader({ path: name, type: "file", mode: 0o644, size }))
    const at = this.#at
    this.#bodies.set(name, { path: this.path, offset: at, size })
    this.#at += size + padding(size).length
    return at
  }

  /** Says what a reserved member was filled with. */
  filled(file: Receipt.File): void {
    this.#files.set(file.path, file)
  }

  /** Begins a member of which only this is known: what it holds is compressed from `content` bytes. */
  begin(content: number): void {
    // Its header is written last, so there has to be room for the long one if it may be needed.
    this.#growing = { headerSize: content < tallSize ? blockSize : 3 * blockSize, size: 0 }
  }

  append(bytes: Uint8Array): void {
    const growing = this.#growing!
    this.#write(bytes, this.#at + growing.headerSize + growing.size)
    growing.size += bytes.length
  }

  /** Ends the member and names it; the same member again is dropped. */
  finish(file: Receipt.File): void {
    const { headerSize, size } = this.#growing!
    this.#growing = undefined
    if (this.has(file.path)) {
      fs.ftruncateSync(this.#fd, this.#at)
      return
    }
    const pax = headerSize === blockSize ? undefined : new Map([["comment", "large"]])
    this.#header(encodeHeader({ path: file.path, type: "file", mode: 0o644, size, pax }))
    this.#bodies.set(file.path, { path: this.path, offset: this.#at, size })
    this.#files.set(file.path, file)
    this.#at += size + padding(size).length
  }

  directory(name: string): void {
    this.#header(encodeHeader({ path: `${name}/`, type: "directory", mode: 0o755 }))
  }

  /** A member from memory; one that is there already stays as it is. */
  file(name: string, bytes: Uint8Array): void {
    if (this.has(name)) return
    const at = this.reserve(name, bytes.length)
    this.#write(bytes, at)
    this.filled(Receipt.fileOf(name, bytes))
  }

  /** Completes the archive; what is not written by then is zeros. */
  end(): { readonly size: number; readonly files: ReadonlyArray<Receipt.File> } {
    // The padding behind bodies and the end blocks are zeros, which a longer file has by itself.
    this.#at += endOfArchive.length
    fs.ftruncateSync(this.#fd, this.#at)
    return { size: this.#at, files: [...this.#files.values()] }
  }

  /** Waits until everything is on the disk, without holding up the thread. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => fs.fsync(this.#fd, (cause) => (cause === null ? resolve() : reject(cause))))
  }

  close(): void {
    fs.closeSync(this.#fd)
  }

  #header(bytes: Uint8Array): void {
    this.#write(bytes, this.#at)
    this.#at += bytes.length
  }

  #write(bytes: Uint8Array, at: number): void {
    for (let from = 0; from < bytes.length; )
      from += fs.writeSync(this.#fd, bytes, from, bytes.length - from, at + from)
  }
}
