/**
 * A run of bytes in a local file: a whole file, or one member of an uncompressed archive read in place. Everything that
 * is verified or copied is one, so that a worker can open it by itself and nothing is copied to look at it.
 */
export interface Region {
  readonly path: string
  /** Bytes from the start of the file. */
  readonly offset: number
  /** Bytes, as the directory entry or the archive's header says. */
  readonly size: number
}
