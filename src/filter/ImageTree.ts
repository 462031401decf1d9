/** The file system that an image's layers make, for those who ask what is in it rather than whether it is right. */
import * as crypto from "node:crypto"
import { type LayerInput, LayerReadError, stream, walk } from "../content/LayerStream.ts"
import { TarScanner } from "../content/TarScan.ts"
import type { Compression } from "../image/Compression.ts"
import { type AppliedLayer, LayerApplier, type Shadowed } from "../rootfs/ApplyLayer.ts"
import { FileTree } from "../rootfs/FileTree.ts"

/** A layer to be applied. Plain data: it crosses to a worker. */
export interface TreeLayer extends LayerInput {
  /** What its uncompressed tar has to hash to; not looked at without `content`. */
  readonly diffId: string
}

export interface TreeOptions {
  /** Read every file: its digest, and the layer's. Otherwise headers do, and plain layers are read in part. */
  readonly content: boolean
  readonly onShadowed?: (shadowed: Shadowed) => void
  readonly onProgress?: (bytes: number) => void
}

export interface TreeOfLayer {
  readonly applied: AppliedLayer
  readonly compression: Compression
  readonly uncompressedSize: number
}

export interface ImageTree {
  readonly tree: FileTree
  readonly layers: ReadonlyArray<TreeOfLayer>
  /** What is wrong with the tars or with what they make, one line each; the first few of each layer. */
  readonly problems: ReadonlyArray<string>
}

const maxProblems = 20

/** Synchronous. Throws `LayerReadError`; with `content`, also for a layer that is not the one its diff_id names. */
export const imageTree = (layers: ReadonlyArray<TreeLayer>, options: TreeOptions): ImageTree => {
  const tree = new FileTree()
  const done: Array<TreeOfLayer> = []
  const problems: Array<string> = []
  for (const [index, layer] of layers.entries()) {
    const applier = new LayerApplier(tree, index, {
      digests: options.content,
      maxProblems,
      ...(options.onShadowed === undefined ? {} : { onShadowed: options.onShadowed })
    })
    let count = 0
    const problem = (message: string): void => {
      if (count++ < maxProblems) problems.push(`layer ${index}: ${message}`)
    }
    const onProblem = ({ check, message }: { readonly check: string; readonly message: string }): void =>
      problem(`${message} [${check}]`)
    const hooks = options.onProgress === undefined ? {} : { onProgress: options.onProgress }
    const { compression, size } = options.content
      ? proved(
          layer,
          new TarScanner({
            onEntry: applier.onEntry,
            onBody: applier.onBody,
            onEntryEnd: applier.onEntryEnd,
            onProblem
          }),
          hooks
        )
      : walk(layer, { onEntry: applier.onEntry, onProblem }, hooks)
    const applied = applier.finish()
    for (const one of applied.problems) problem(`${one.path}: ${one.message} [${one.check}]`)
    done.push({ applied, compression, uncompressedSize: size })
  }
  return { tree, layers: done, problems }
}

const proved = (layer: TreeLayer, scanner: TarScanner, hooks: { readonly onProgress?: (bytes: number) => void }) => {
  const hash = crypto.createHash("sha256")
  const streamed = stream(
    layer,
    (chunk, from, to) => {
      hash.update(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to))
      scanner.write(chunk, from, to)
    },
    hooks
  )
  scanner.end()
  const found = `sha256:${hash.digest("hex")}`
  if (layer.diffId.startsWith("sha256:") && found !== layer.diffId) {
    throw new LayerReadError("damaged", "EDIFFID", `expected diff_id ${layer.diffId}, found ${found}`)
  }
  return streamed
}
