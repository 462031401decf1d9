/** The members of a layer by their headers, whose bodies nobody wants to see. Synchronous, for worker threads. */

import * as fs from "node:fs"
import { count } from "../image/Count.ts"
import type { Region } from "../image/Region.ts"
import * as Codec from "./Compression.ts"
import {
  type LayerInput,
  LayerReadError,
  open,
  readAt,
  type Streamed,
  type StreamHooks,
  stream
} from "./LayerStream.ts"
import { blockSize, checksumFits, checksumOf, hasMagic, paddingOf, sumBytes } from "./TarField.ts"
import { TarScanner, type TarVisitor } from "./TarScan.ts"

/** Walks the members of a layer. A visitor without `onBody` lets bodies of plain layers be passed over unread. */
export const walk = (input: LayerInput, visitor: TarVisitor, hooks: StreamHooks = {}): Streamed => {
  if (visitor.onBody === undefined && input.edits.length === 0 && hooks.onStored === undefined) {
    const walked = walkHeaders(input.region, visitor, hooks)
    if (walked !== undefined) return walked
  }
  const scanner = new TarScanner(visitor)
  const streamed = stream(input, (chunk, from, to) => scanner.write(chunk, from, to), hooks)
  scanner.end()
  return streamed
}

/** Part of a plain layer: members from the one whose first header is at `from` up to the one whose first is at `to`. */
export interface Stretch {
  /** Offset in the tar. */
  readonly from: number
  /** Undefined: to the end of the tar. */
  readonly to: number | undefined
}

/**
 * Where a plain tar can be cut into about `count` stretches that threads may walk at the same time; one, when it cannot.
 * A guess: a tar within the tar looks the same. Whether it was right is what `walkStretch` tells.
 */
export const cut = (region: Region, count: number): ReadonlyArray<Stretch> => {
  const cuts = [0]
  let fd: number | undefined
  try {
    fd = open(region)
    const head = Buffer.alloc(blockSize)
    if (readAt(fd, head, blockSize, region.offset) === blockSize && isHeader(head, 0)) {
      for (let k = 1; k < count; k++) {
        const at = memberBehind(fd, region, Math.floor((region.size * k) / count))
        if (at !== undefined && at > cuts.at(-1)!) cuts.push(at)
      }
    }
  } catch (cause) {
    // Whoever walks it meets the same failure.
    if (!(cause instanceof LayerReadError)) throw cause
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
  return cuts.map((from, index) => ({ from, to: cuts[index + 1] }))
}

/**
 * Walks one stretch of a plain layer; offsets count from its beginning. False when its members do not end where the next
 * stretch begins, or when what they mean depends on other stretches: then only a walk of the whole tells what is there.
 */
export const walkStretch = (
  region: Region,
  stretch: Stretch,
  visitor: TarVisitor,
  hooks: StreamHooks = {}
): boolean => {
  const fd = open(region)
  try {
    const { dependent, next } = walkFrom(fd, region, stretch, visitor, hooks)
    return next === stretch.to && !dependent
  } finally {
    fs.closeSync(fd)
  }
}

/** Beyond this a large file is in the way, and there is little to walk. */
const lookAhead = 4 * 1024 * 1024

/** The first member behind the first header from `from` on: a header alone may belong to one that begins before it. */
const memberBehind = (fd: number, region: Region, from: number): number | undefined => {
  const near: Region = { ...region, size: Math.min(region.size, from + 2 * lookAhead) }
  const window = Buffer.allocUnsafeSlow(windowSize)
  for (
    let at = Math.ceil(from / blockSize) * blockSize;
    at < Math.min(region.size, from + lookAhead);
    at += windowSize
  ) {
    const read = readAt(fd, window, Math.min(windowSize, region.size - at), region.offset + at)
    for (let i = 0; i + blockSize <= read; i += blockSize) {
      if (isHeader(window, i))
        return walkFrom(fd, near, { from: at + i, to: at + i + 1 }, { onProblem: () => {} }, {}).next
    }
    if (read < windowSize) return undefined
  }
  return undefined
}

const isHeader = (bytes: Buffer, at: number): boolean =>
  hasMagic(bytes, at) && checksumFits(bytes, at, checksumOf(bytes, at, sumBytes(bytes, at)))

/** By headers alone; undefined when the layer is compressed. */
const walkHeaders = (region: Region, visitor: TarVisitor, hooks: StreamHooks): Streamed | undefined => {
  const fd = open(region)
  try {
    const head = Buffer.alloc(blockSize)
    const read = readAt(fd, head, Math.min(blockSize, region.size), region.offset)
    if (Codec.detect(head.subarray(0, read)) !== "none") return undefined
    walkFrom(fd, region, { from: 0, to: undefined }, visitor, hooks)
    return { compression: "none", size: region.size, edits: [] }
  } finally {
    fs.closeSync(fd)
  }
}

/**
 * Between large members a header at a time is read, and twice as much each time that no body is passed over: small members
 * take few reads then.
 */
const windowSize = 64 * 1024
/** To read more takes longer than another call, and much longer while other threads keep memory busy. */
const worthPassingOver = 4 * 1024
/** What passes for a body. */
const stand = Buffer.alloc(windowSize)
const progressStep = 1024 * 1024

/** Ends a walk from within. */
class Enough extends Error {}

/**
 * `next`: where the first member behind the stretch begins. `dependent`: whether there were global pax headers, which are
 * in force to the end of the tar, or a hardlink with a size, which has a body or none by what came before it.
 */
const walkFrom = (
  fd: number,
  region: Region,
  { from, to = Number.POSITIVE_INFINITY }: Stretch,
  visitor: TarVisitor,
  hooks: StreamHooks
): { readonly next: number | undefined; readonly dependent: boolean } => {
  const window = Buffer.allocUnsafeSlow(windowSize)
  let bodyEnd = from
  let next: number | undefined
  let linkWithSize = false
  const scanner = new TarScanner({
    ...visitor,
    onEntry: (entry) => {
      if (from + entry.headerOffset >= to) {
        next = from + entry.headerOffset
        throw new Enough()
      }
      bodyEnd = from + entry.dataOffset + entry.size + paddingOf(entry.size)
      if (entry.type === "hardlink" && entry.size > 0) linkWithSize = true
      visitor.onEntry?.(entry)
    },
    onProblem: (problem) => {
      // The next stretch says it.
      if (problem.offset === undefined || from + problem.offset < to) visitor.onProblem(problem)
    }
  })
  try {
    let length = blockSize
    let told = from
    for (let at = from; at < region.size; ) {
      const body = Math.min(bodyEnd, region.size) - at
      if (body > worthPassingOver) {
        // The scanner only counts them, and there is nobody else to see that they are not the file's.
        for (let left = body; left > 0; left -= windowSize) scanner.write(stand, 0, Math.min(left, windowSize))
        at += body
        length = blockSize
      } else {
        const read = readAt(fd, window, Math.min(length, region.size - at), region.offset + at)
        if (read === 0) {
          throw new LayerReadError(
            "damaged",
            "ESHORT",
            `it ends early: expected ${count(region.size, "byte")}, found ${at}`
          )
        }
        scanner.write(window, 0, read)
        at += read
        length = Math.min(2 * length, windowSize)
      }
      if (at - told >= progressStep || at === region.size) {
        hooks.onProgress?.(at - told)
        told = at
      }
    }
    scanner.end()
  } catch (cause) {
    if (!(cause instanceof Enough)) throw cause
  }
  return { next, dependent: linkWithSize || scanner.hasGlobals }
}
