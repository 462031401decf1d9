/** An archive compressed as a whole, by all threads together. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Compress from "../../content/Compress.ts"
import * as Codec from "../../content/Compression.ts"
import { WorkerPool } from "../../content/WorkerPool.ts"
import type { Compression } from "../../image/Compression.ts"
import type { Region } from "../../image/Region.ts"
import { describe, SourceError, type WriteError } from "../Failure.ts"
import * as LayerCopy from "../LayerCopy.ts"
import { createEmpty, unwritable } from "../OutputFiles.ts"

export type Whole = Exclude<Compression, "none">

/** Pieces that are in memory at the same time, of at most 4 MiB each. */
const batch = 8

/** Writes `from`, compressed as the programs gzip and zstd do by default, into the new file `target`, and syncs it. */
export const compress = Effect.fn("WholeCompression.compress")(function* (
  from: Region,
  kind: Whole,
  target: string
): Effect.fn.Return<void, WriteError | SourceError, WorkerPool | Scope.Scope> {
  const pool = yield* WorkerPool
  const doing = unwritable(`cannot write ${target}`)
  const pieces = yield* Effect.try({
    try: () =>
      Compress.pieces(from, {
        kind,
        level: LayerCopy.defaultLevels[kind],
        ...(kind === "zstd" ? { encoder: Codec.locateEncoder() } : {})
      }),
    catch: doing
  })
  const fd = yield* Effect.acquireRelease(
    Effect.try({
      try: () => {
        createEmpty(target)
        return fs.openSync(target, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW)
      },
      catch: doing
    }),
    (opened) => Effect.sync(() => fs.closeSync(opened))
  )
  const assembly = new Compress.Assembly(kind, (bytes) => {
    for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done)
  })
  for (let at = 0; at < pieces.length; at += batch) {
    const encoded: Array<Compress.Piece> = []
    yield* pool.runAll(Compress.job, pieces.slice(at, at + batch), {
      onResult: (result, index) => {
        // Its memory is the thread's, which goes on with the next piece.
        if (result.step === "piece")
          encoded[index] = { ...result, bytes: result.bytes === undefined ? undefined : Buffer.from(result.bytes) }
      }
    })
    for (const piece of encoded) {
      if (piece.failure !== undefined) {
        return yield* new SourceError({
          reason: "Unreadable",
          message: `cannot read ${from.path}: ${describe(piece.failure)}`
        })
      }
      yield* Effect.try({ try: () => assembly.add(piece), catch: doing })
    }
  }
  yield* Effect.try({
    try: () => {
      assembly.end()
      fs.fsyncSync(fd)
    },
    catch: doing
  })
}, Effect.scoped)
