/**
 * The one pass over a blob's bytes: read, hash, decompress, hash again, walk as tar, and write where a writer asked for
 * it, in one synchronous loop that a worker thread runs (an Effect or a callback per chunk would double its cost).
 */
import * as fs from "node:fs"
import type { Compression } from "../image/Compression.ts"
import type { Algorithm, Hashed } from "../image/Digest.ts"
import type { Edit } from "../image/Image.ts"
import type { Region } from "../image/Region.ts"
import * as Codec from "./Compression.ts"
import * as Hasher from "./Hasher.ts"
import type { Job } from "./Job.ts"
import { bytesRead, type EditChain, makeChain } from "./LayerEdits.ts"
import { type LayerFacts, LayerScan } from "./LayerScan.ts"
import { otherLayers, prepare } from "./LayerStream.ts"
import { openForRead } from "./OpenFile.ts"
import * as Output from "./Output.ts"
import type { Problem } from "./Problem.ts"
import { TarScanner } from "./TarScan.ts"
import { TrailingToc } from "./TrailingToc.ts"

/** Plain data: it crosses to a worker. */
export interface InspectTask {
  readonly region: Region
  /** Digests of the bytes as stored; sha256 is always computed, but for `edits` without any algorithm asked for. */
  readonly algorithms: ReadonlyArray<Algorithm>
  /** `layer`: also decompress, compute the diff_id and walk the tar. `blob`: hash only. */
  readonly as: "blob" | "layer"
  /** Digests of a layer's uncompressed tar beside sha256, which is always computed. */
  readonly diffIds?: ReadonlyArray<Algorithm>
  /** Keep the table of paths, for checks across layers. */
  readonly keepPaths: boolean
  readonly limits: Codec.DecoderLimits
  /** The stream has the size that it should have: where it ends early it was damaged, not cut. */
  readonly uncut?: boolean
  /**
   * Applied in order to the uncompressed tar of a layer: its diff_id, its size, what is found in it and an output are then
   * those of what comes out. Not with an output of the form `stored`. A tar that cannot be edited is a failure.
   */
  readonly edits?: ReadonlyArray<Edit>
  /** Where to write what was read, and in which form. */
  readonly output?: Output.Output
}

/** What one pass found. Plain data: it crosses back from a worker. */
export interface Evidence {
  /** Bytes read; less than the region's size when the file is shorter or could not be read on. */
  readonly size: number
  /** Over the bytes as stored. Not the whole truth when `failure` is set. */
  readonly digests: Hashed
  readonly layer?: LayerEvidence
  readonly problems: ReadonlyArray<Problem>
  /** Why reading or writing stopped. */
  readonly failure?: {
    readonly during: "read" | "write"
    readonly code: string
    readonly message: string
    readonly offset: number
  }
}

export interface LayerEvidence {
  readonly compression: Compression
  /** gzip members or zstd frames; 0 for a plain tar. */
  readonly members: number
  /** Over the uncompressed tar (config.md "Layer DiffID"): sha256, and what was asked for. */
  readonly diffIds: Hashed & { readonly sha256: string }
  readonly uncompressedSize: number
  readonly entries: number
  readonly facts: LayerFacts
  /** False when decompression stopped early: then the diffIds are of what came out before. */
  readonly complete: boolean
  /**
   * How far the tar could be judged, in bytes; all of it when undefined. What comes out of a damaged stream is no more
   * what went in, and from one that was cut the end is missing: neither is the tar's own fault.
   */
  readonly judged?: number
  /** The stream holds no checksum of some of it: damage may have come out as content, and nothing was noticed. */
  readonly unchecked?: true
}

/** Reads of this size are within 5 % of the hash limit; smaller ones cost calls, larger ones cache. */
const chunkSize = 256 * 1024
let shared: Buffer | undefined

export { openForRead }

/** The system error of opening for reading, or undefined when it can be opened. */
export const cannotOpen = (path: string): NodeJS.ErrnoException | undefined => {
  try {
    fs.closeSync(openForRead(path))
    return undefined
  } catch (cause) {
    return cause as NodeJS.ErrnoException
  }
}

/** Runs one task to its end. Never throws: what went wrong is in the evidence. */
export const run = (task: InspectTask, progress: (bytes: number) => void = () => {}): Evidence => {
  const problems: Array<Problem> = []
  const { region } = task
  const edits = task.edits ?? []
  const diffIds: ReadonlyArray<Algorithm> = ["sha256", ...(task.diffIds ?? [])]
  const own: ReadonlyArray<Algorithm> = edits.length === 0 ? ["sha256", ...task.algorithms] : task.algorithms
  const hashers = new Hasher.Hashers(own)
  const begin = (head: Uint8Array, plain: Output.Writer | undefined): LayerPass =>
    new LayerPass(
      head,
      (problem) => problems.push(problem),
      { inputSize: region.size, ...task.limits },
      plain,
      edits,
      { stored: own, diffIds },
      task.uncut === true
    )
  let during: "read" | "write" = "read"
  let done = 0
  let input: number | undefined
  let writer: Output.Writer | undefined
  let layer: LayerPass | undefined
  let failure: Evidence["failure"]
  const buffer = (shared ??= Buffer.allocUnsafeSlow(chunkSize))
  try {
    input = openForRead(region.path)
    if (!fs.fstatSync(input).isFile()) throw Object.assign(new Error("it is no regular file"), { code: "ENOTREG" })
    if (task.output !== undefined) {
      during = "write"
      if (edits.length > 0 && task.output.form === "stored") {
        throw Object.assign(new Error("an edited layer cannot be stored as it was"), { code: "EINVAL" })
      }
      writer = new Output.Writer(task.output, { entered: () => (during = "write"), left: () => (during = "read") })
      during = "read"
    }
    const stored = writer !== undefined && task.output?.form === "stored" ? writer : undefined
    const plain = writer !== undefined && task.output?.form !== "stored" ? writer : undefined
    while (done < region.size) {
      const read = fs.readSync(input, buffer, 0, Math.min(chunkSize, region.size - done), region.offset + done)
      if (read === 0) break
      const chunk = read === chunkSize ? buffer : buffer.subarray(0, read)
      hashers.update(chunk)
      if (task.as === "layer") {
        layer ??= begin(chunk, plain)
        layer.write(chunk)
      }
      stored?.write(chunk)
      done += read
      progress(read)
    }
    if (task.as === "layer") layer ??= begin(buffer.subarray(0, 0), plain)
    layer?.finish()
    writer?.close()
    writer = undefined
  } catch (cause) {
    failure = {
      during,
      code: (cause as NodeJS.ErrnoException).code ?? "EUNKNOWN",
      message: cause instanceof Error ? cause.message : String(cause),
      offset: done
    }
  } finally {
    writer?.abandon()
    if (input !== undefined) fs.closeSync(input)
  }
  const digests = hashers.end()
  const layerEvidence = layer?.evidence(digests, done, task.keepPaths)
  return {
    size: done,
    digests,
    problems,
    ...(layerEvidence === undefined ? {} : { layer: layerEvidence }),
    ...(failure === undefined ? {} : { failure })
  }
}

/** The pass as work for any thread. */
export const job: Job<InspectTask, Evidence> = {
  kind: "inspect",
  prepare: async (task) => {
    await Hasher.prepare([...task.algorithms, ...(task.diffIds ?? [])])
    if (task.as === "layer") await prepare({ region: task.region, edits: task.edits ?? [] })
  },
  run,
  cost: bytesRead,
  transfer: (evidence) => {
    const paths = evidence.layer?.facts.paths
    return paths === undefined ? [] : [paths.slots, ...paths.pages].map((array) => array.buffer as ArrayBuffer)
  }
}

const tarBlock = 512

/** What a tar is found to be that ends too early. */
const tarEnds: ReadonlySet<Problem["check"]> = new Set(["tar.truncated", "tar.no-end", "tar.no-padding"])

/** Decompression, diff_id and tar walk of one layer. */
class LayerPass {
  readonly compression: Compression
  readonly #problem: (problem: Problem) => void
  readonly #decoder: Codec.Decoder | undefined
  /** Of what the bytes as stored are not hashed by already. */
  readonly #hashers: Hasher.Hashers
  /** Whether the tar is something else than the bytes as stored. */
  readonly #differs: boolean
  /** None where the bytes are not known to be a tar's. */
  readonly #scanner: TarScanner | undefined
  readonly #scan: LayerScan
  readonly #plain: Output.Writer | undefined
  readonly #edits: EditChain | undefined
  readonly #onProblem: (problem: Problem) => void
  readonly #uncut: boolean
  /** Of the tar, with the bytes that had been looked at: kept until it is known whether the stream is sound. */
  readonly #found: Array<readonly [problem: Problem, until: number]> = []
  /** What the stream's own fault is. */
  #broken: Problem["check"] | undefined
  #proven = 0
  #unchecked = false
  /** Whether what is found now is found by looking back at all entries. */
  #ended = false
  #trailing: TrailingToc | undefined
  #members = 0
  #size = 0
  #entries = 0
  #complete = false

  constructor(
    head: Uint8Array,
    onProblem: (problem: Problem) => void,
    limits: Codec.DecoderLimits,
    plain: Output.Writer | undefined,
    edits: ReadonlyArray<Edit>,
    hashed: { readonly stored: ReadonlyArray<Algorithm>; readonly diffIds: ReadonlyArray<Algorithm> },
    uncut: boolean
  ) {
    const detected = Codec.detect(head)
    const known = detected === "none" || detected === "gzip" || detected === "zstd"
    this.#complete = known
    this.#problem = (problem) => {
      // Behind trailing data everything had come out already.
      if (problem.check !== "compression.trailing-data") this.#complete = false
      this.#broken = problem.check
      onProblem(problem)
    }
    if (!known) {
      this.#problem({
        check: "compression.unsupported",
        message: "the layer is compressed in a way that no image specification knows",
        expected: "tar, gzip or zstd",
        actual: detected
      })
    }
    this.compression = known ? detected : "none"
    this.#plain = plain
    this.#scan = new LayerScan((problem) => this.#found.push([problem, this.#seen(problem)]))
    this.#scanner = known
      ? new TarScanner({
          onEntry: (entry) => this.#scan.entry(entry),
          onTrailing: (chunk, from, to) => (this.#trailing ??= new TrailingToc()).write(chunk, from, to),
          onProblem: (problem) => this.#found.push([problem, this.#size])
        })
      : undefined
    this.#onProblem = onProblem
    this.#uncut = uncut
    const output: Codec.Sink = (chunk, from, to) => this.#output(chunk, from, to)
    this.#edits = edits.length === 0 ? undefined : makeChain(edits, output, otherLayers)
    this.#differs = this.compression !== "none" || this.#edits !== undefined
    this.#hashers = new Hasher.Hashers(hashed.diffIds.filter((one) => this.#differs || !hashed.stored.includes(one)))
    if (this.compression !== "none") {
      this.#decoder = Codec.makeDecoder(this.compression, this.#edits?.write ?? output, this.#problem, limits)
    }
  }

  #output(chunk: Uint8Array, from: number, to: number): void {
    const piece = from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to)
    this.#hashers.update(piece)
    this.#size += piece.length
    this.#scanner?.write(piece, 0, piece.length)
    this.#plain?.write(piece)
  }

  write(chunk: Uint8Array): void {
    if (this.#decoder !== undefined) this.#decoder.write(chunk, 0, chunk.length)
    else if (this.#edits !== undefined) this.#edits.write(chunk, 0, chunk.length)
    else this.#output(chunk, 0, chunk.length)
  }

  finish(): void {
    if (this.#decoder !== undefined) {
      const { members, proven, unchecked } = this.#decoder.end()
      this.#unchecked = unchecked
      this.#members = members
      this.#proven = proven
      this.#decoder.close()
    }
    if (this.#complete) this.#edits?.end()
    // What is missing behind a broken stream is the compression's fault: said once, not as a cut tar as well.
    if (this.#complete && this.#scanner !== undefined) this.#entries = this.#scanner.end().entries
    if (this.#complete && this.#trailing?.end() === true) {
      const at = this.#found.findIndex(([{ check }]) => check === "tar.trailing-data")
      const [{ offset }, until] = this.#found[at]!
      this.#found[at] = [
        {
          check: "layer.table-of-contents",
          message: "an eStargz table of contents follows the end of the archive",
          ...(offset === undefined ? {} : { offset })
        },
        until
      ]
    }
  }

  /** How far the tar had to be right for a problem of its entries to be one. */
  #seen({ offset }: Problem): number {
    if (!this.#ended) return this.#size
    return offset === undefined ? Number.POSITIVE_INFINITY : offset + tarBlock
  }

  /** See `LayerEvidence.judged`. */
  #judged(): number | undefined {
    switch (this.#broken) {
      case undefined:
        return undefined
      case "compression.corrupt":
        return this.#proven
      case "compression.truncated":
        return this.#uncut ? this.#proven : this.#size
      case "compression.trailing-data":
        // What lies behind the last member may have been one.
        return this.#found.some(([{ check }]) => tarEnds.has(check)) ? this.#size : undefined
      default:
        return this.#size
    }
  }

  /** Hands on what is the tar's own fault, and not made by the stream's. */
  #tell(judged: number | undefined): void {
    for (const [problem, until] of this.#found) {
      if (
        judged === undefined ||
        ((judged === this.#size || until <= judged) && !(this.#complete && tarEnds.has(problem.check)))
      ) {
        this.#onProblem(problem)
      }
    }
  }

  evidence(stored: Hashed, storedSize: number, keepPaths: boolean): LayerEvidence {
    const own = this.#hashers.end()
    this.#ended = true
    const facts = this.#scan.end(keepPaths)
    const judged = this.#judged()
    this.#tell(judged)
    return {
      compression: this.compression,
      members: this.#members,
      diffIds: (this.#differs ? own : { ...stored, ...own }) as LayerEvidence["diffIds"],
      uncompressedSize: this.#differs ? this.#size : storedSize,
      entries: this.#entries,
      facts,
      complete: this.#complete,
      ...(judged === undefined ? {} : { judged }),
      ...(this.#unchecked ? { unchecked: true } : {})
    }
  }
}
