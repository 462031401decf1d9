/** Where the one pass over a blob also writes what it read. */
import * as fs from "node:fs"

/** Plain data: it crosses to a worker. The file must exist; the caller made it beside its final place. */
export interface Output {
  readonly path: string
  /** Bytes from the start of the file where writing begins. */
  readonly offset: number
  /** `stored` copies the bytes as they are, `uncompressed` writes the tar. */
  readonly form: "stored" | "uncompressed"
  /** False when the caller syncs the file by itself, because many passes write parts of it. */
  readonly sync?: boolean
}

/** Tells whether a failure is the output's fault: set around every call that touches it. */
export interface Blame {
  readonly entered: () => void
  readonly left: () => void
}

/** Writes bytes in order. Methods and constructor throw what the file system says. */
export class Writer {
  readonly #fd: number
  readonly #blame: Blame
  readonly #sync: boolean
  #at: number

  constructor(output: Output, blame: Blame) {
    this.#fd = fs.openSync(output.path, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
    this.#at = output.offset
    this.#blame = blame
    this.#sync = output.sync !== false
  }

  write(chunk: Uint8Array): void {
    this.#blame.entered()
    for (let from = 0; from < chunk.length; ) {
      const written = fs.writeSync(this.#fd, chunk, from, chunk.length - from, this.#at)
      from += written
      this.#at += written
    }
    this.#blame.left()
  }

  /** After the last `write`; unless the caller syncs, the bytes are on the disk when it returns. */
  close(): void {
    this.#blame.entered()
    if (this.#sync) fs.fsyncSync(this.#fd)
    fs.closeSync(this.#fd)
    this.#blame.left()
  }

  /** Instead of `close`, after a failure. */
  abandon(): void {
    try {
      fs.closeSync(this.#fd)
    } catch {
      // The failure that led here is what gets reported.
    }
  }
}
