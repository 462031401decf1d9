/** What edits make of a layer: one pass that hashes what goes in and what comes out, and writes nothing. */
import * as crypto from "node:crypto"
import type { Algorithm } from "../image/Digest.ts"
import * as Codec from "./Compression.ts"
import type { Job } from "./Job.ts"
import { bytesRead, type EditFacts } from "./LayerEdits.ts"
import { type LayerInput, LayerReadError, stream } from "./LayerStream.ts"

/** Plain data: it crosses to a worker. */
export interface RewriteTask extends LayerInput {
  /** Digests of the bytes as stored. */
  readonly stored: ReadonlyArray<Algorithm>
  /** sha256 of the uncompressed tar before the edits. */
  readonly before: boolean
  /** sha256 of what comes out of the edits. */
  readonly after: boolean
}

export interface Rewritten {
  readonly stored: Readonly<Partial<Record<Algorithm, string>>>
  readonly before?: string
  readonly after?: string
  /** Bytes of the uncompressed tar behind the edits. */
  readonly size: number
  readonly edits: ReadonlyArray<EditFacts>
  readonly failure?: { readonly reason: "unreadable" | "damaged"; readonly code: string; readonly message: string }
}

/** Never throws: what went wrong is in the result. */
export const run = (task: RewriteTask, progress: (bytes: number) => void = () => {}): Rewritten => {
  const stored = task.stored.map((algorithm) => [algorithm, crypto.createHash(algorithm)] as const)
  const before = task.before ? crypto.createHash("sha256") : undefined
  const after = task.after ? crypto.createHash("sha256") : undefined
  try {
    const { edits, size } = stream(
      task,
      (chunk, from, to) => {
        after?.update(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
      },
      {
        onProgress: progress,
        ...(stored.length === 0
          ? {}
          : { onStored: (chunk: Uint8Array) => stored.forEach(([, hash]) => void hash.update(chunk)) }),
        ...(before === undefined ? {} : { onUnedited: (chunk: Uint8Array) => void before.update(chunk) })
      }
    )
    return {
      stored: Object.fromEntries(stored.map(([algorithm, hash]) => [algorithm, hash.digest("hex")])),
      ...(before === undefined ? {} : { before: before.digest("hex") }),
      ...(after === undefined ? {} : { after: after.digest("hex") }),
      size,
      edits
    }
  } catch (cause) {
    return { stored: {}, size: 0, edits: [], failure: failureOf(cause) }
  }
}

/** A `LayerReadError` as plain data; anything else counts as damage that nobody foresaw. */
export const failureOf = (cause: unknown): NonNullable<Rewritten["failure"]> =>
  cause instanceof LayerReadError
    ? { reason: cause.reason, code: cause.code, message: cause.message }
    : { reason: "damaged", code: "EUNKNOWN", message: cause instanceof Error ? cause.message : String(cause) }

export const job: Job<RewriteTask, Rewritten> = {
  kind: "rewrite",
  prepare: Codec.prepare,
  run,
  cost: bytesRead
}
