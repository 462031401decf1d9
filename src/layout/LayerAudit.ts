/**
 * Layers and other blobs of one verification: gathered while documents are read, each read once however many images
 * share it, then held against everything that was said about it.
 */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type { CheckId } from "../check/Catalog.ts"
import type { Collector } from "../check/Collector.ts"
import * as ByteString from "../content/ByteString.ts"
import type { DecoderLimits } from "../content/Compression.ts"
import * as Inspect from "../content/Inspect.ts"
import * as Facts from "../content/LayerScan.ts"
import { PathTree } from "../content/PathTree.ts"
import type { ContentCheck, Problem } from "../content/Problem.ts"
import { WorkerPool } from "../content/WorkerPool.ts"
import type { Compression } from "../image/Compression.ts"
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import type { Region } from "../image/Region.ts"
import * as Failure from "./Failure.ts"
import { LayerPaths } from "./LayerPaths.ts"

/** A number or digest that something says about a blob, and what says it. */
export interface Said<A> {
  readonly value: A
  /** For messages: "the receipt", "its descriptor", "its name". */
  readonly by: string
  /** Whether an error concerns only the images that say it, and not each that has the blob. */
  readonly own?: boolean
}

/** One blob as its place in the layout shows it. */
export interface BlobTarget {
  /** The file's name in the layout: the subject of findings. */
  readonly subject: string
  readonly region: Region
  readonly as: "layer" | "blob"
}

/** The ids under which findings about a blob's bytes go, by what the blob is. */
export interface BlobChecks {
  readonly size: CheckId
  readonly digest: CheckId
  readonly unreadable: CheckId
}

export const layerChecks: BlobChecks = {
  size: "layer.size-mismatch",
  digest: "layer.digest-mismatch",
  unreadable: "layer.unreadable"
}

const partChecks: BlobChecks = { ...layerChecks, digest: "layer.toc-mismatch" }

/** A blob that was named. */
export interface BlobKey {
  readonly subject: string
}

/**
 * Each with room for all that can be said of it from the start: a layout can hold hundreds of thousands of blobs of which
 * little is said.
 */
class Blob implements BlobKey {
  subject: string
  region: Region
  as: BlobTarget["as"]
  checks: BlobChecks
  /** Its digest is the one that its subject says, `blobs/{algorithm}/{encoded}`. */
  named = false
  /** What was said about it, each value once. */
  sizes: Sayings<number> | undefined = undefined
  digests: Sayings<string> | undefined = undefined
  diffIds: Sayings<string> | undefined = undefined
  compressions: Sayings<Compression> | undefined = undefined
  evidence: Inspect.Evidence | undefined = undefined

  constructor({ as, region, subject }: BlobTarget, checks: BlobChecks) {
    this.subject = subject
    this.region = region
    this.as = as
    this.checks = checks
  }
}

interface Saying<A> {
  readonly value: A
  readonly by: string
  /** What its errors are counted for; undefined: the blob, and so every image that has it. */
  about: string | undefined
}

/** Values and what said each first; most have one. */
class Sayings<A> {
  readonly #first: Saying<A>
  #more: Map<A, Saying<A>> | undefined

  constructor(first: Saying<A>) {
    this.#first = first
  }

  get(value: A): Saying<A> | undefined {
    return value === this.#first.value ? this.#first : this.#more?.get(value)
  }

  add(saying: Saying<A>): void {
    this.#more ??= new Map()
    this.#more.set(saying.value, saying)
  }

  *[Symbol.iterator](): Iterator<Saying<A>> {
    yield this.#first
    if (this.#more !== undefined) yield* this.#more.values()
  }
}

/** What some documents say about a file, as that for which errors are counted. */
export const statement = (subject: string, kind: string, value: string | number): string =>
  `${subject}\0${kind}\0${value}`

/** With what was said; a value that was said before is one with that. */
const say = <A extends string | number>(
  subject: string,
  kind: string,
  sayings: Sayings<A> | undefined,
  { by, own, value }: Said<A>
): readonly [sayings: Sayings<A>, saying: Saying<A>] => {
  const known = sayings?.get(value)
  if (sayings !== undefined && known !== undefined) {
    if (own !== true) known.about = undefined
    return [sayings, known]
  }
  const saying = { value, by, about: own === true ? statement(subject, kind, value) : undefined }
  if (sayings === undefined) return [new Sayings(saying), saying]
  sayings.add(saying)
  return [sayings, saying]
}

const none: Iterable<never> = []

/** What a whole file has now, where that is more than was looked at. Members of archives begin behind a header. */
const grownTo = ({ offset, path, size }: Region): number | undefined => {
  if (offset > 0) return undefined
  const now = fs.statSync(path, { throwIfNoEntry: false })?.size
  return now !== undefined && now > size ? now : undefined
}

const digestOfNothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/** `sha256:abc` for `blobs/sha256/abc`. */
const digestNamed = (name: string): string => name.split("/").slice(-2).join(":")

/** What was said of its digest. */
function* digestsOf(blob: Blob): Iterable<readonly [value: string, by: string, about: string | undefined]> {
  if (blob.named) yield [digestNamed(blob.subject), "its name", undefined]
  for (const { about, by, value } of blob.digests ?? none)
    if (!blob.named || value !== digestNamed(blob.subject)) yield [value, by, about]
}

/** What a layer's paths were told as already, as marks of theirs: a layer can be in many images. */
const told = {
  "layer.hardlink-missing-target": Facts.firstFreeMark,
  "layer.hardlink-bad-target": Facts.firstFreeMark << 1,
  "layer.whiteout-of-nothing": Facts.firstFreeMark << 2,
  "layer.path-through-non-directory": Facts.firstFreeMark << 3
}

interface Stack {
  readonly image: string
  readonly layers: ReadonlyArray<Blob | undefined>
}

/** Of tables of paths: twenty million files. Past it, checks across layers are skipped, which is said. */
const maxKept = 1024 * 1024 * 1024

export class LayerAudit {
  readonly #report: Collector
  readonly #blobs: Array<Blob> = []
  /** By their files, and where a file holds many, by where they begin in it. */
  readonly #whole = new Map<string, Blob>()
  readonly #parts = new Map<string, Map<number, Blob>>()
  readonly #stacks: Array<Stack> = []
  /** Bytes that further tables of paths may take. */
  #tablesLeft: number

  /** `maxTables`: bytes of the layers' tables of paths that are kept for checks across layers. */
  constructor(report: Collector, maxTables: number = maxKept) {
    this.#report = report
    this.#tablesLeft = maxTables
  }

  /** Names a blob, once or often. What is said about it is added by the other methods. */
  add(target: BlobTarget, checks: BlobChecks): BlobKey {
    const known = this.#find(target.region)
    if (known === undefined) {
      const blob = new Blob(target, checks)
      this.#blobs.push(blob)
      const { offset, path } = target.region
      if (offset === 0) this.#whole.set(path, blob)
      else this.#parts.set(path, (this.#parts.get(path) ?? new Map<number, Blob>()).set(offset, blob))
      return blob
    }
    if (known.as === "blob" && target.as === "layer") {
      if (known.named && known.subject !== target.subject) {
        known.named = false
        this.digest(known, { value: digestNamed(known.subject), by: "its name" })
      }
      Object.assign(known, target, { checks })
    }
    return known
  }

  #find({ offset, path }: Region): Blob | undefined {
    return offset === 0 ? this.#whole.get(path) : this.#parts.get(path)?.get(offset)
  }

  has(region: Region): boolean {
    return this.#find(region) !== undefined
  }

  /**
   * What the blob's size in bytes should be; compared at any depth. This and what follows answer what errors are counted
   * for when it is not the blob: a subject of the images that say it.
   */
  size(key: BlobKey, said: Said<number>): string | undefined {
    const blob = key as Blob
    this.#report.ran(blob.checks.size)
    const [sayings, { about, by, value }] = say(blob.subject, "size", blob.sizes, said)
    blob.sizes = sayings
    if (blob.region.size === value) return undefined
    const detail = { expected: count(value, "byte"), actual: count(blob.region.size, "byte") }
    this.#report.report(blob.checks.size, blob.subject, `its size is not what ${by} says`, detail, about)
    return about
  }

  /** Its name, `blobs/{algorithm}/{encoded}`, says what the digest of the bytes as stored should be. */
  named(key: BlobKey, name: string): void {
    if (key.subject === name) (key as Blob).named = true
    else this.digest(key, { value: digestNamed(name), by: "its name" })
  }

  /** What the digest of the bytes as stored should be. */
  digest(key: BlobKey, said: Said<string>): string | undefined {
    const blob = key as Blob
    const [sayings, { about }] = say(blob.subject, "digest", blob.digests, said)
    blob.digests = sayings
    return about
  }

  /** A part of the bytes as stored, of which more can be said; undefined where the blob has no such part. */
  part(key: BlobKey, at: { readonly offset: number; readonly size: number }): BlobKey | undefined {
    const { region, subject } = key as Blob
    if (at.offset <= 0 || at.size <= 0 || at.offset + at.size > region.size) return undefined
    const place = { path: region.path, offset: region.offset + at.offset, size: at.size }
    return this.add({ subject, region: place, as: "blob" }, partChecks)
  }

  /** What the digest of the uncompressed tar should be. */
  diffId(key: BlobKey, said: Said<string>): string | undefined {
    const blob = key as Blob
    const [sayings, { about }] = say(blob.subject, "diff_id", blob.diffIds, said)
    blob.diffIds = sayings
    return about
  }

  /** What compression a media type declares. */
  compression(key: BlobKey, said: Said<Compression>): string | undefined {
    const blob = key as Blob
    const [sayings, { about }] = say(blob.subject, "compression", blob.compressions, said)
    blob.compressions = sayings
    return about
  }

  /** An image's layers from the base up, for checks across them; undefined where one is not there. */
  stack(image: string, layers: ReadonlyArray<BlobKey | undefined>): void {
    this.#stacks.push({ image, layers: layers as ReadonlyArray<Blob | undefined> })
  }

  /** Distinct layers, each counted once however many images share it. */
  get layerCount(): number {
    let count = 0
    for (const blob of this.#blobs) if (blob.as === "layer") count++
    return count
  }

  /** Fast depth: what is there can be opened. Existence and sizes were compared as they were said. */
  openAll(): void {
    // The blobs of an archive are all in one file.
    const known = new Map<string, NodeJS.ErrnoException | undefined>()
    for (const blob of this.#blobs) {
      this.#report.ran(blob.checks.unreadable)
      const { path } = blob.region
      if (!known.has(path)) known.set(path, Inspect.cannotOpen(path))
      const why = known.get(path)
      if (why !== undefined)
        this.#report.report(blob.checks.unreadable, blob.subject, `it cannot be read: ${Failure.describe(why)}`)
      this.#plainDigest(blob)
      this.#nothing(blob)
    }
  }

  /** A file of no bytes, as a full disk leaves it, is told without reading it; where a size is said, by that. */
  #nothing(blob: Blob): void {
    if (blob.as !== "layer" || blob.region.size > 0 || blob.sizes !== undefined) return
    for (const { about, by, value } of blob.diffIds ?? none) {
      if (Digest.algorithmOf(value) !== "sha256" || value === digestOfNothing) continue
      const detail = { expected: value, actual: digestOfNothing }
      this.#report.report(
        "layer.diff-id-mismatch",
        blob.subject,
        `it is empty, which is not what ${by} says`,
        detail,
        about
      )
    }
  }

  /** A layer that is said to be a plain tar has its diff_id for a digest: that can be told without reading it. */
  #plainDigest(blob: Blob): void {
    const forms = [...(blob.compressions ?? none)]
    if (forms.length === 0 || forms.some(({ value }) => value !== "none")) return
    for (const [digest] of digestsOf(blob)) {
      for (const { about, by, value: diffId } of blob.diffIds ?? none) {
        if (diffId === digest || Digest.algorithmOf(diffId) !== Digest.algorithmOf(digest)) continue
        this.#report.report(
          "layer.diff-id-mismatch",
          blob.subject,
          `it is not compressed, and its digest is not that of ${by}`,
          { expected: diffId, actual: digest },
          about
        )
      }
    }
  }

  /** Full depth: reads every blob once and reports what does not hold. */
  readAll(limits: DecoderLimits): Effect.Effect<void, never, WorkerPool> {
    const self = this
    return Effect.gen(function* () {
      const pool = yield* WorkerPool
      const blobs = self.#blobs
      const stacked = new Set(self.#stacks.filter((stack) => stack.layers.length > 1).flatMap((stack) => stack.layers))
      const evidence = yield* pool.runAll(
        Inspect.job,
        blobs.map((blob) => ({
          region: blob.region,
          algorithms: Digest.algorithmsOf(...[...digestsOf(blob)].map(([one]) => one)),
          as: blob.as,
          diffIds: Digest.algorithmsOf(...[...(blob.diffIds ?? none)].map(({ value }) => value)),
          keepPaths: stacked.has(blob),
          limits,
          uncut: blob.sizes?.get(blob.region.size) !== undefined
        })),
        { onResult: ({ layer }) => layer !== undefined && self.#keep(layer) }
      )
      for (const [index, blob] of blobs.entries()) {
        blob.evidence = evidence[index]!
        self.#judge(blob, blob.evidence)
      }
      self.#acrossLayers()
    })
  }

  /** Lets go of the table of paths that is one too many. */
  #keep(layer: Inspect.LayerEvidence): void {
    if (layer.facts.paths === undefined) return
    const { size } = new PathTree(layer.facts.paths)
    if (size <= this.#tablesLeft) this.#tablesLeft -= size
    else Object.assign(layer.facts, { paths: undefined, whole: false } satisfies Partial<Facts.LayerFacts>)
  }

  #judge(blob: Blob, evidence: Inspect.Evidence): void {
    const { checks, subject } = blob
    const report = this.#report
    report.ran(checks.unreadable)
    if (evidence.failure !== undefined) {
      report.report(
        checks.unreadable,
        subject,
        `reading it failed after ${count(evidence.size, "byte")}: ${Failure.describe(evidence.failure)}`
      )
      for (const [value] of digestsOf(blob))
        report.skip(checks.digest, `${subject} cannot be read, so ${value} was not compared`)
      for (const { value } of blob.diffIds ?? none)
        report.skip("layer.diff-id-mismatch", `${subject} cannot be read, so ${value} was not compared`)
      return
    }
    if (evidence.size < blob.region.size) {
      report.report(checks.unreadable, subject, "it ends early", {
        expected: count(blob.region.size, "byte"),
        actual: count(evidence.size, "byte")
      })
    }
    const grown = grownTo(blob.region)
    if (grown !== undefined) {
      report.report(checks.unreadable, subject, "it grew while it was verified", {
        expected: count(blob.region.size, "byte"),
        actual: count(grown, "byte")
      })
    }
    let damaged = false
    for (const [value, by, about] of digestsOf(blob))
      if (!this.#judgeDigest(blob, { value, by, about }, evidence)) damaged = true
    const { layer } = evidence
    if (layer === undefined) return
    const isKnown = [...(blob.diffIds ?? none)].some(({ value }) => value === Digest.like(value, layer.diffIds))
    const isPlain = [...(blob.compressions ?? none)].every(({ value }) => value === "none")
    // Damage that the stream itself does not show, or that took from it what says that it is one.
    const isHidden = layer.unchecked === true || (layer.compression === "none" && !isPlain)
    const judged = damaged && !isKnown && isHidden ? 0 : layer.judged
    for (const check of contentChecks) if (judged !== 0 || isOfStream(check)) report.ran(check)
    if (judged !== undefined) report.skip("tar.truncated", unjudged(subject, judged))
    for (const problem of evidence.problems) {
      if (judged === 0 && !isOfStream(problem.check)) continue
      report.report(problem.check, subject, problem.message + placeOf(problem), {
        expected: problem.expected,
        actual: problem.actual
      })
    }
    // Of a form that no media type declares it is said above what it is.
    const isForeign =
      layer.compression === "none" && evidence.problems.some((one) => one.check === "compression.unsupported")
    for (const { about, by, value } of blob.compressions ?? none) {
      report.ran("compression.media-type-mismatch")
      if (value === layer.compression || isForeign) continue
      const message = `its bytes are not compressed as ${by} declares`
      const detail = { expected: value, actual: layer.compression }
      report.report("compression.media-type-mismatch", subject, message, detail, about)
    }
    let mismatches = 0
    for (const { about, by, value: expected } of blob.diffIds ?? none) {
      report.ran("layer.diff-id-mismatch")
      const actual = Digest.like(expected, layer.diffIds)
      if (!layer.complete) {
        report.skip(
          "layer.diff-id-mismatch",
          `${subject} does not decompress to its end, so ${expected} was not compared`
        )
      } else if (actual === undefined) {
        report.skip("layer.diff-id-mismatch", `${subject}: ${Digest.algorithmOf(expected)} cannot be computed here`)
      } else if (expected !== actual) {
        mismatches++
        const detail = { expected, actual }
        if (mismatches > maxMismatches) report.count("layer.diff-id-mismatch", about ?? subject)
        else report.report("layer.diff-id-mismatch", subject, `its uncompressed content is not ${by}`, detail, about)
      }
    }
    if (mismatches > maxMismatches) {
      // Each has been counted.
      report.countFor(unlisted, () =>
        report.report(
          "layer.diff-id-mismatch",
          subject,
          `nor is it ${mismatches - maxMismatches} other layers that it stands for`
        )
      )
    }
  }

  /** Whether the digest is right, or cannot be told. */
  #judgeDigest(blob: Blob, said: Saying<string>, evidence: Inspect.Evidence): boolean {
    const { checks, subject } = blob
    this.#report.ran(checks.digest)
    const actual = Digest.like(said.value, evidence.digests)
    if (actual === undefined) {
      this.#report.skip(checks.digest, `${subject}: ${Digest.algorithmOf(said.value)} cannot be computed here`)
      return true
    }
    if (actual === said.value) return true
    const detail = { expected: said.value, actual }
    this.#report.report(checks.digest, subject, `its bytes are not what ${said.by} says`, detail, said.about)
    return false
  }

  /** Hardlinks and whiteouts that reach into lower layers (rules 54, 98). */
  #acrossLayers(): void {
    const report = this.#report
    const paths = new LayerPaths()
    const trees = new Map<Blob, PathTree>()
    for (const blob of this.#blobs) {
      const layer = blob.evidence?.layer
      if (layer?.complete && layer.facts.paths !== undefined) trees.set(blob, new PathTree(layer.facts.paths))
    }
    for (const stack of this.#stacks) {
      if (stack.layers.length > maxStack) {
        report.skip(
          "layer.hardlink-missing-target",
          `${stack.image}: it has ${count(stack.layers.length, "layer")}, of which none can be held against all those below it`
        )
        continue
      }
      for (const [index, blob] of stack.layers.entries()) {
        const layer = blob?.evidence?.layer
        if (layer?.complete !== true) continue
        const asks = layer.facts.openLinks > 0 || layer.facts.whiteouts > 0
        if (!asks && (layer.facts.implied === 0 || index === 0)) continue
        const own = trees.get(blob!)
        const lower: Array<PathTree> = []
        for (const one of stack.layers.slice(0, index)) {
          const tree = one?.evidence?.layer?.facts.whole ? trees.get(one) : undefined
          if (tree !== undefined) lower.push(tree)
        }
        if (own === undefined || lower.length < index) {
          report.skip(
            asks ? "layer.hardlink-missing-target" : "layer.path-through-non-directory",
            `${stack.image}: not all entries of the layers up to ${blob!.subject} are known`
          )
          continue
        }
        this.#acrossLayer(blob!, own, lower, paths)
        if (paths.exhausted) {
          report.skip(
            "layer.hardlink-missing-target",
            `${stack.image}: it has more links and whiteouts than are followed`
          )
          return
        }
      }
    }
  }

  #acrossLayer(blob: Blob, own: PathTree, lower: ReadonlyArray<PathTree>, paths: LayerPaths): void {
    const report = this.#report
    report.ran("layer.hardlink-missing-target", "layer.hardlink-bad-target", "layer.whiteout-of-nothing")
    const counts = new Map<CheckId, number>()
    const once = (check: keyof typeof told, record: number, message: () => string): void => {
      if (paths.exhausted || own.has(record, told[check])) return
      own.mark(record, told[check])
      const count = (counts.get(check) ?? 0) + 1
      counts.set(check, count)
      if (count > maxAcross) return
      report.report(check, blob.subject, `${message()} (${ByteString.display(own.pathOf(record))})`)
    }
    const { implied, openLinks, whiteouts } = blob.evidence!.layer!.facts
    if (openLinks > 0) {
      for (let id = own.first; id < own.end; id = own.next(id)) {
        if (!own.has(id, Facts.openLink)) continue
        const target = own.next(id)
        const shown = paths.shown(own, target, lower)
        if (shown === undefined || shown === "directory") {
          once(
            shown === undefined ? "layer.hardlink-missing-target" : "layer.hardlink-bad-target",
            id,
            () =>
              `a hardlink names ${JSON.stringify(ByteString.display(own.pathOf(target)))}, ` +
              (shown === undefined ? "which no layer has before it" : "which is a directory")
          )
        } else if (shown === "behind-symlink") {
          once(
            "layer.path-through-non-directory",
            id,
            () => "a hardlink's target lies below a symlink of a lower layer"
          )
        }
      }
    }
    if (whiteouts > 0) {
      for (let id = own.first; id < own.end; id = own.next(id)) {
        if (!own.has(id, Facts.whiteout)) continue
        const shown = paths.shown(own, id, lower)
        if (shown === undefined)
          once("layer.whiteout-of-nothing", id, () => "a whiteout hides a path that no lower layer has")
        else if (shown === "behind-symlink") {
          once(
            "layer.path-through-non-directory",
            id,
            () => "what a whiteout hides lies below a symlink of a lower layer"
          )
        }
      }
    }
    if (implied > 0) {
      for (let id = own.first; id < own.end; id = own.next(id)) {
        if (!own.has(id, Facts.implied)) continue
        const shown = paths.shown(own, id, lower)
        if (shown === "symlink" || shown === "other") {
          once(
            "layer.path-through-non-directory",
            id,
            () => `entries lie below it that a lower layer has as a ${shown === "symlink" ? "symlink" : "file"}`
          )
        }
      }
    }
    for (const [check, count] of counts) {
      if (count > maxAcross) report.report(check, blob.subject, `and ${count - maxAcross} more of these in this layer`)
    }
  }
}

/** Runtimes take 127 layers at most. */
const maxStack = 2000

/** As many as one layer's own problems of a kind. */
const maxAcross = 100

/** One file can stand for a hundred layers and be none of them: the first few tell enough. */
const maxMismatches = 3

const unlisted = statement("", "unlisted", "")

const isOfStream = (check: ContentCheck): boolean => check.startsWith("compression.")

/** That a tar could not be judged as a whole, since the stream that it comes out of is broken. */
export const unjudged = (subject: string, judged: number): string =>
  `${subject}: its tar could ${judged === 0 ? "not be judged" : `be judged up to byte ${judged} only`}, ` +
  "as the stream that it comes out of is damaged"

/** Where in the layer a problem is, unless its message says so. */
export const placeOf = (problem: Problem): string => {
  if (problem.path !== undefined) {
    const path = ByteString.display(problem.path)
    return problem.message.includes(path) ? "" : ` (${path})`
  }
  return problem.offset === undefined ? "" : ` (at byte ${problem.offset})`
}

/** Every id that a pass over a layer's bytes looks for. */
export const contentChecks: ReadonlyArray<ContentCheck> = [
  "tar.bad-checksum",
  "tar.bad-number",
  "tar.bad-size",
  "tar.bad-pax",
  "tar.bad-type",
  "tar.uncommon-type",
  "tar.bad-long-name",
  "tar.bad-sparse",
  "tar.truncated",
  "tar.no-end",
  "tar.no-padding",
  "tar.trailing-data",
  "tar.not-a-tar",
  "tar.too-large",
  "tar.path-absolute",
  "tar.path-escapes",
  "tar.path-nul",
  "tar.path-empty",
  "tar.path-not-utf8",
  "compression.truncated",
  "compression.corrupt",
  "compression.trailing-data",
  "compression.limit",
  "compression.unsupported",
  "layer.duplicate-path",
  "layer.duplicate-directory",
  "layer.bad-whiteout",
  "layer.whiteout-not-empty",
  "layer.whiteout-of-own-path",
  "layer.sparse-entry",
  "layer.hardlink-missing-target",
  "layer.hardlink-bad-target",
  "layer.path-through-non-directory",
  "layer.table-of-contents",
  "layer.duplicate-whiteout",
  "layer.path-unusable",
  "layer.root-not-directory",
  "layer.overlay-artifact",
  "layer.too-large"
]
