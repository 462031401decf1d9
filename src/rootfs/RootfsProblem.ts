import type { ByteString } from "../content/ByteString.ts"

/**
 * A fault of a file tree: of the layers when they are applied (`TreeCheck`) or of a tree on disk when it is compared
 * (`CompareCheck`). A plain value; `check/` gives it a severity and turns it into a Finding.
 */
export interface RootfsProblem {
  /** The catalogue id. */
  readonly check: RootfsCheck
  /** Below the root, without a leading slash; "" is the root itself. */
  readonly path: ByteString
  /** One line: what is wrong, in the present tense, without the subject. */
  readonly message: string
  readonly expected?: string
  readonly actual?: string
  /** Index of the layer that causes it, for faults of layers. */
  readonly layer?: number
}

export type RootfsCheck = TreeCheck | CompareCheck

/** What applying layers shows (layer.md "Applying Changesets", "Whiteouts", "Hardlinks"). */
export type TreeCheck =
  /** An entry, a whiteout or a hardlink's target lies below a symlink: tools disagree where it then goes. */
  | "rootfs.path-through-symlink"
  /** An entry lies below something that is no directory. */
  | "rootfs.path-through-file"
  /** No file system can hold the name: too long, NUL, a symlink loop or an empty target on the way. Not applied. */
  | "rootfs.path-unusable"
  /** An entry for the root itself that is no directory. Not applied. */
  | "rootfs.root-not-directory"
  /** A hardlink to nothing. Not applied. */
  | "rootfs.hardlink-missing-target"
  /** A hardlink to a directory, to itself, out of the root or to what is in the directory that it replaces. Not applied. */
  | "rootfs.hardlink-bad-target"
  /** A hardlink whose target only a lower layer has: allowed, but overlay-based tools cannot unpack it. */
  | "rootfs.hardlink-across-layers"
  /** A whiteout of something that no lower layer has. */
  | "rootfs.whiteout-missing-target"
  /** A whiteout whose name would hide the directory itself or the one above it. Not applied. */
  | "rootfs.whiteout-escapes"
  /** overlay's own marks (trusted.overlay.* attributes, 0:0 devices), which would act when the tree becomes a lower layer. */
  | "rootfs.overlay-artifact"
  /** More files than are looked at: the result says nothing about the rest. */
  | "rootfs.too-large"

/** A tree on disk against what it should be. */
export type CompareCheck =
  | "rootfs.missing"
  | "rootfs.extra"
  | "rootfs.type-mismatch"
  | "rootfs.content-mismatch"
  | "rootfs.size-mismatch"
  | "rootfs.mode-mismatch"
  | "rootfs.owner-mismatch"
  | "rootfs.mtime-mismatch"
  | "rootfs.link-mismatch"
  | "rootfs.hardlink-mismatch"
  | "rootfs.device-mismatch"
  | "rootfs.xattr-mismatch"
  | "rootfs.unreadable"

/**
 * Keeps the first `maxPerCheck` problems of each check and counts the rest: a hostile or a wholly different tree must not
 * cost memory in proportion.
 */
export class ProblemList {
  readonly problems: Array<RootfsProblem> = []
  readonly #counts = new Map<RootfsCheck, number>()
  readonly #maxPerCheck: number

  constructor(maxPerCheck: number) {
    this.#maxPerCheck = maxPerCheck
  }

  add(problem: RootfsProblem): void {
    const count = (this.#counts.get(problem.check) ?? 0) + 1
    this.#counts.set(problem.check, count)
    if (count <= this.#maxPerCheck) this.problems.push(problem)
  }

  /** How many were reported of each check, those not kept included. */
  get counts(): ReadonlyMap<RootfsCheck, number> {
    return this.#counts
  }
}
