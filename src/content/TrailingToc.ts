import { TarScanner } from "./TarScan.ts"

/** The member's name that eStargz reserves for its table of contents. */
const tocName = "stargz.index.json"

/**
 * Judges what follows the end of a layer's tar. eStargz puts its table of contents there, as a tar of one member, when a
 * layer is converted without loss: the end blocks of the original are part of what has to come back. Readers of tar end
 * before it, and the diff_id covers it.
 */
export class TrailingToc {
  readonly #scanner: TarScanner
  #entries = 0
  #fits = true

  constructor() {
    this.#scanner = new TarScanner({
      onEntry: (entry) => {
        this.#entries++
        if (entry.type !== "file" || entry.path !== tocName) this.#fits = false
      },
      onProblem: () => (this.#fits = false)
    })
  }

  /** `chunk[from, to)` are the next bytes, beginning with the first that is not zero. */
  write(chunk: Uint8Array, from: number, to: number): void {
    if (this.#fits) this.#scanner.write(chunk, from, to)
  }

  /** Whether all of it is such a table. */
  end(): boolean {
    this.#scanner.end()
    return this.#fits && this.#entries === 1
  }
}
