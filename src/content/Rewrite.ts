/** What edits make of a layer: one pass that hashes what goes in and what comes out, and writes nothing. */
import type { Algorithm, Hashed } from "../image/Digest.ts"
import * as Codec from "./Compression.ts"
import * as Hasher from "./Hasher.ts"
import type { Job } from "./Job.ts"
import { bytesRead, type EditFacts } from "./LayerEdits.ts"
import { type LayerInput, LayerReadError, stream } from "./LayerStream.ts"

/** Plain data: it crosses to a worker. */
export interface RewriteTask extends LayerInput {
  /** Digests of the bytes as stored. */
  readonly stored: ReadonlyArray<Algorithm>
  /** Digests of the uncompressed tar before the edits. */
  readonly before: ReadonlyArray<Algorithm>
  /** Digests of what comes out of the edits. */
  readonly after: ReadonlyArray<Algorithm>
}

export interface Rewritten {
  readonly stored: Hashed
  readonly before: Hashed
  readonly after: Hashed
  /** Bytes of the uncompressed tar behind the edits. */
  readonly size: number
  readonly edits: ReadonlyArray<EditFacts>
  readonly failure?: { readonly reason: "unreadable" | "damaged"; readonly code: string; readonly message: string }
}

/** Never throws: what went wrong is in the result. */
export const run = (task: RewriteTask, progress: (bytes: number) => void = () => {}): Rewritten => {
  const stored = new Hasher.Hashers(task.stored)
  const before = new Hasher.Hashers(task.before)
  const after = new Hasher.Hashers(task.after)
  try {
    const { edits, size } = stream(
      task,
      (chunk, from, to) => {
        after.update(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
      },
      {
        onProgress: progress,
        ...(stored.isEmpty ? {} : { onStored: (chunk: Uint8Array) => stored.update(chunk) }),
        ...(before.isEmpty ? {} : { onUnedited: (chunk: Uint8Array) => before.update(chunk) })
      }
    )
    return { stored: stored.end(), before: before.end(), after: after.end(), size, edits }
  } catch (cause) {
    return { stored: {}, before: {}, after: {}, size: 0, edits: [], failure: failureOf(cause) }
  }
}

/** A `LayerReadError` as plain data; anything else counts as damage that nobody foresaw. */
export const failureOf = (cause: unknown): NonNullable<Rewritten["failure"]> =>
  cause instanceof LayerReadError
    ? { reason: cause.reason, code: cause.code, message: cause.message }
    : { reason: "damaged", code: "EUNKNOWN", message: cause instanceof Error ? cause.message : String(cause) }

export const job: Job<RewriteTask, Rewritten> = {
  kind: "rewrite",
  prepare: async ({ after, before, stored }) => {
    await Hasher.prepare([...stored, ...before, ...after])
    await Codec.prepare()
  },
  run,
  cost: bytesRead
}
