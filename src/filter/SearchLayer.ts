/** One layer's members that match: work for a thread. */

import * as vm from "node:vm"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import { resolvePath } from "../content/ExcludeEdit.ts"
import type { Job } from "../content/Job.ts"
import { bytesRead } from "../content/LayerEdits.ts"
import { type LayerInput, LayerReadError, prepare } from "../content/LayerStream.ts"
import { cut, type Stretch, walk, walkStretch } from "../content/LayerWalk.ts"
import type { Problem } from "../content/Problem.ts"
import { failureOf, type Rewritten } from "../content/Rewrite.ts"
import type { TarEntry, TarEntryType } from "../content/TarEntry.ts"
import type { TarVisitor } from "../content/TarScan.ts"
import { fnmatch } from "./Glob.ts"

/** What to look for. Plain data. */
export interface SearchPattern {
  /** A shell pattern, which has to match a whole path or the last part of it; with `regex`, one found anywhere in it. */
  readonly pattern: string
  readonly regex: boolean
}

/** Plain data: it crosses to a worker. */
export interface SearchTask extends LayerInput, SearchPattern {
  /** Whether the layer lies over another, which its leaves may hide. */
  readonly keepLeaves: boolean
  /** Undefined: the whole layer. */
  readonly stretch?: Stretch
}

/** A member as its headers tell it. */
export interface SearchedMember {
  /** As stored, without a slash at its end. */
  readonly path: ByteString
  /** Normalised, as layers are held against each other. */
  readonly name: ByteString
  readonly type: TarEntryType
  readonly size: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  readonly linkname: ByteString
}

export type SearchProblem = Pick<Problem, "check" | "message">

export interface SearchedLayer {
  readonly members: ReadonlyArray<SearchedMember>
  /** Paths that whiteouts hide in the layers below, and directories made opaque. */
  readonly whiteouts: ReadonlyArray<ByteString>
  readonly opaques: ReadonlyArray<ByteString>
  /** Paths of all members that are no directories, each followed by a NUL, as latin1. */
  readonly leaves: Uint8Array
  /** False when there were too many leaves to keep. */
  readonly leavesComplete: boolean
  /** What is wrong with the tar: the first problem of each check. */
  readonly problems: ReadonlyArray<SearchProblem>
  /** False when a stretch turned out not to be one: the layer has to be searched as a whole. */
  readonly fits: boolean
  readonly failure?: NonNullable<Rewritten["failure"]>
}

/** Which of many paths match. Throws a SyntaxError for a regular expression that is none. */
export const matcher = ({ pattern, regex }: SearchPattern): ((paths: ReadonlyArray<ByteString>) => Array<boolean>) => {
  const textOf = (path: ByteString): string => Bytes.toText(path) ?? path
  if (regex) {
    const expression = compile(pattern)
    return (paths) => testAll(expression, paths.map(textOf))
  }
  const glob = fnmatch(pattern)
  // A star in front takes in all of a path before its last part.
  const lastPart = !pattern.startsWith("*")
  return (paths) =>
    paths.map((path) => {
      const text = textOf(path)
      return glob.test(text) || (lastPart && glob.test(text.slice(text.lastIndexOf("/") + 1)))
    })
}

/** Of paths that are tested together, which keeps the cost of the clock low. */
const batchSize = 1024
const maxSeconds = 10

const tests = new vm.Script("texts.map((text) => expression.test(text))")

/** An expression that goes back and forth could take longer than the universe lasts; only the engine can be told to stop. */
export const testAll = (
  expression: RegExp,
  texts: ReadonlyArray<string>,
  seconds: number = maxSeconds
): Array<boolean> => {
  try {
    const found: unknown = tests.runInNewContext({ expression, texts }, { timeout: seconds * 1000 })
    return [...(found as Array<boolean>)]
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw cause
    throw new LayerReadError(
      "damaged",
      "EREGEX",
      `the regular expression takes too long: expected ${texts.length} paths to take at most ${seconds} s`
    )
  }
}

/** With the rules of Unicode where the expression follows them. */
const compile = (pattern: string): RegExp => {
  try {
    return new RegExp(pattern, "u")
  } catch {
    return new RegExp(pattern)
  }
}

const maxLeafBytes = 128 * 1024 * 1024
export const run = (task: SearchTask, progress: (bytes: number) => void = () => {}): SearchedLayer => {
  const members: Array<SearchedMember> = []
  const whiteouts: Array<ByteString> = []
  const opaques: Array<ByteString> = []
  const leaves = new PathList(maxLeafBytes)
  const problems: Array<SearchProblem> = []
  try {
    const matches = matcher(task)
    let batch: Array<SearchedMember> = []
    const judge = (): void => {
      // As stored, and normalised where that is something else.
      const found = matches(batch.map(({ path }) => path))
      const others = [...batch.keys()].filter((at) => !found[at] && batch[at]!.name !== batch[at]!.path)
      for (const [index, fits] of matches(others.map((at) => batch[at]!.name)).entries()) found[others[index]!] = fits
      members.push(...batch.filter((_, at) => found[at]))
      batch = []
    }
    const onEntry = (entry: TarEntry): void => {
      const name = resolvePath(entry.path)
      const slash = name.lastIndexOf("/")
      if (name.startsWith(".wh.", slash + 1)) {
        const base = name.slice(slash + 1)
        const directory = slash < 0 ? "" : name.slice(0, slash)
        if (base === ".wh..wh..opq") opaques.push(directory)
        else if (!base.startsWith(".wh..wh."))
          whiteouts.push(directory === "" ? base.slice(4) : `${directory}/${base.slice(4)}`)
      } else if (task.keepLeaves && entry.type !== "directory") leaves.add(name)
      const path = entry.path.endsWith("/") ? entry.path.replace(/\/+$/, "") : entry.path
      batch.push({
        path,
        name,
        type: entry.type,
        size: entry.realSize,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtimeSeconds,
        linkname: entry.linkname
      })
      if (batch.length === batchSize) judge()
    }
    const visitor: TarVisitor = {
      onEntry,
      onProblem: ({ check, message }) => {
        if (isFirst({ check }, problems.length, problems)) problems.push({ check, message })
      }
    }
    const hooks = { onProgress: progress }
    let fits = true
    if (task.stretch === undefined) walk(task, visitor, hooks)
    else fits = walkStretch(task.region, task.stretch, visitor, hooks)
    judge()
    return { members, whiteouts, opaques, leaves: leaves.bytes(), leavesComplete: leaves.complete, problems, fits }
  } catch (cause) {
    return {
      members: [],
      whiteouts: [],
      opaques: [],
      leaves: new Uint8Array(),
      leavesComplete: true,
      problems,
      fits: true,
      failure: failureOf(cause)
    }
  }
}

/** True when none before it is of the same check. */
const isFirst = (
  { check }: Pick<SearchProblem, "check">,
  index: number,
  problems: ReadonlyArray<SearchProblem>
): boolean => problems.slice(0, index).every((earlier) => earlier.check !== check)

/** Paths packed into one buffer, which a thread hands over without copying. */
class PathList {
  readonly #max: number
  #buffer = Buffer.allocUnsafeSlow(64 * 1024)
  #used = 0
  complete = true

  constructor(max: number) {
    this.#max = max
  }

  add(path: ByteString): void {
    const end = this.#used + path.length + 1
    if (end > this.#buffer.length) {
      if (end > this.#max) {
        this.complete = false
        return
      }
      const larger = Buffer.allocUnsafeSlow(Math.max(end, 2 * this.#buffer.length))
      this.#buffer.copy(larger, 0, 0, this.#used)
      this.#buffer = larger
    }
    this.#used += this.#buffer.write(path, this.#used, "latin1")
    this.#buffer[this.#used++] = 0
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#used)
  }
}

export const job: Job<SearchTask, SearchedLayer> = {
  kind: "search",
  prepare,
  run,
  cost: (task) =>
    task.stretch === undefined ? bytesRead(task) : (task.stretch.to ?? task.region.size) - task.stretch.from,
  transfer: ({ leaves }) => (leaves.length === 0 ? [] : [leaves.buffer as ArrayBuffer])
}

/** The task in at most `threads` parts of `least` bytes or more (a thread takes a while to start). */
export const split = (task: SearchTask, threads: number, least = 64 * 1024 * 1024): ReadonlyArray<SearchTask> => {
  const count = task.edits.length > 0 ? 1 : Math.min(threads, Math.floor(task.region.size / least))
  const stretches = count < 2 ? [] : cut(task.region, count)
  return stretches.length < 2 ? [task] : stretches.map((stretch) => ({ ...task, stretch }))
}

/** What the parts of one layer found, in their order. */
export const join = (parts: ReadonlyArray<SearchedLayer>): SearchedLayer => {
  const [first, ...others] = parts
  if (others.length === 0) return first!
  const failure = parts.find((part) => part.failure !== undefined)?.failure
  return {
    members: parts.flatMap((part) => part.members),
    whiteouts: parts.flatMap((part) => part.whiteouts),
    opaques: parts.flatMap((part) => part.opaques),
    leaves: Buffer.concat(parts.map((part) => part.leaves)),
    leavesComplete: parts.every((part) => part.leavesComplete),
    problems: parts.flatMap((part) => part.problems).filter(isFirst),
    fits: parts.every((part) => part.fits),
    ...(failure === undefined ? {} : { failure })
  }
}
