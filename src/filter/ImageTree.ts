/** The file system that an image's layers make, for those who ask what is in it rather than whether it is right. */
import * as Bytes from "../content/ByteString.ts"
import { type LayerInput, LayerReadError } from "../content/LayerStream.ts"
import type { Shadowed } from "../rootfs/ApplyLayer.ts"
import { FileTree } from "../rootfs/FileTree.ts"
import { type ReadLayer, readLayerSync } from "../rootfs/ReadLayers.ts"

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

export interface ImageTree {
  readonly tree: FileTree
  readonly layers: ReadonlyArray<ReadLayer>
  /** What is wrong with the tars or with what they make, one line each; the first few of each layer. */
  readonly problems: ReadonlyArray<string>
}

const maxProblems = 20

/** Synchronous. Throws `LayerReadError`; with `content`, also for a layer that is not the one its diff_id names. */
export const imageTree = (layers: ReadonlyArray<TreeLayer>, options: TreeOptions): ImageTree => {
  const { content, ...hooks } = options
  const tree = new FileTree()
  const read: Array<ReadLayer> = []
  const problems: Array<string> = []
  const diffIds = content ? layers.map(({ diffId }) => diffId) : []
  for (const [index, input] of layers.entries()) {
    const layer = readLayerSync(tree, index, input, { digests: content, diffIds, maxProblems, ...hooks })
    if (layer.diffId !== undefined && layer.diffId !== input.diffId) {
      throw new LayerReadError("damaged", "EDIFFID", `expected diff_id ${input.diffId}, found ${layer.diffId}`)
    }
    const lines = [
      ...layer.tarProblems.map(({ check, message }) => `${message} [${check}]`),
      ...layer.problems.map(({ check, message, path }) => `${Bytes.display(path)}: ${message} [${check}]`)
    ]
    for (const line of lines.slice(0, maxProblems)) problems.push(`layer ${index}: ${line}`)
    read.push(layer)
  }
  return { tree, layers: read, problems }
}
