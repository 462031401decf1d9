/** Where the one pass over a blob also writes what it read: as it is, uncompressed, or compressed anew. */
import * as fs from "node:fs"

/** Plain data: it crosses to a worker. The file must exist; the caller made it beside its final place. */
export interface Output {
  readonly path: string
  /** Bytes from the start of the file where writing begins. */
  readonly offset: number
  /** `stored` copies the bytes as they are, `uncompressed` writes the tar, the others compress that. */
  readonly form: "stored" | "uncompressed" | "gzip" | "zstd"
  /** Of the compression: gzip 1-9, zstd 1-19; `defaultLevels` where it is not given. */
  readonly level?: number
  /** False when the caller syncs the file by itself, because many passes write parts of it. */
  readonly sync?: boolean
}

/** As the programs gzip and zstd have them. */
export const defaultLevels = { gzip: 6, zstd: 3 } as const

/** What was written: the bytes as they stand in the file. */
export interface Written {
  readonly size: number
  /** Hex. */
  readonly sha256: string
}

/** Tells whether a failure is the output's fault: set around every call that touches it. */
export interface Blame {
  readonly entered: () => void
  readonly left: () => void
}

/** Takes the bytes of one form in order. */
export interface Writer {
  write(chunk: Uint8Array): void
  /** After the last `write`; the bytes are on the disk when it returns. What was written, where its form differs from what went in. */
  close(): Written | undefined
  /** Instead of `close`, after a failure. */
  abandon(): void
}

/** Throws what the file system says. For a compressing form `Codec.prepare` must have run. */
export const open = (output: Output, blame: Blame): Writer => new FileWriter(output, blame)

class FileWriter implements Writer {
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
    for (let from = 0; from < chunk.length;) {
      const written = fs.writeSync(this.#fd, chunk, from, chunk.length - from, this.#at)
      from += written
      this.#at += written
    }
    this.#blame.left()
  }

  close(): undefined {
    this.#blame.entered()
    if (this.#sync) fs.fsyncSync(this.#fd)
    fs.closeSync(this.#fd)
    this.#blame.left()
  }

  abandon(): void {
    try {
      fs.closeSync(this.#fd)
    } catch {
      // The failure that led here is what gets reported.
    }
  }
}
