import type { ByteString } from "./ByteString.ts"

/**
 * A fault that one pass over bytes found. It is a plain value that crosses worker boundaries; `check/` gives it a
 * severity and turns it into a Finding about a subject.
 */
export interface Problem {
  /** The catalogue id, for example `tar.bad-checksum`. */
  readonly check: ContentCheck
  /** One line: what is wrong, in the present tense, without the subject. */
  readonly message: string
  readonly expected?: string
  readonly actual?: string
  /** Byte offset in the stream that was read (for tar problems: the uncompressed tar). */
  readonly offset?: number
  /** The entry concerned. */
  readonly path?: ByteString
}

/** Ids that a pass over bytes can report. The catalogue holds a row for each. */
export type ContentCheck = TarCheck | CompressionCheck | LayerContentCheck

/** Rules 93-97 (POSIX ustar/pax, GNU). */
export type TarCheck =
  | "tar.bad-checksum"
  | "tar.bad-number"
  | "tar.bad-pax"
  | "tar.bad-type"
  | "tar.uncommon-type"
  | "tar.bad-long-name"
  | "tar.bad-sparse"
  | "tar.bad-size"
  | "tar.truncated"
  | "tar.no-end"
  | "tar.no-padding"
  | "tar.trailing-data"
  | "tar.not-a-tar"
  | "tar.path-absolute"
  | "tar.path-escapes"
  | "tar.path-nul"
  | "tar.path-empty"
  | "tar.path-not-utf8"
  | "tar.too-large"

/** Rules 100-102. */
export type CompressionCheck =
  | "compression.truncated"
  | "compression.corrupt"
  | "compression.trailing-data"
  | "compression.limit"
  | "compression.unsupported"

/** Rules 48, 52, 56, 98, 99: what one layer shows without the others. */
export type LayerContentCheck =
  | "layer.duplicate-path"
  | "layer.duplicate-directory"
  | "layer.bad-whiteout"
  | "layer.whiteout-not-empty"
  | "layer.whiteout-of-own-path"
  | "layer.sparse-entry"
  | "layer.hardlink-missing-target"
  | "layer.path-through-non-directory"
  | "layer.table-of-contents"
  | "layer.hardlink-bad-target"
  | "layer.duplicate-whiteout"
  | "layer.path-unusable"
  | "layer.root-not-directory"
  | "layer.overlay-artifact"
  | "layer.too-large"
