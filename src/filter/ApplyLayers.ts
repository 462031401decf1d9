/** Whether layers can be applied one above the other: work for a thread. */
import { catalog } from "../check/Catalog.ts"
import * as Bytes from "../content/ByteString.ts"
import * as Codec from "../content/Compression.ts"
import type { Job } from "../content/Job.ts"
import { bytesRead } from "../content/LayerEdits.ts"
import { type LayerInput, LayerReadError } from "../content/LayerStream.ts"
import { failureOf, type Rewritten } from "../content/Rewrite.ts"
import type { AppliedLayer } from "../rootfs/ApplyLayer.ts"
import { FileTree } from "../rootfs/FileTree.ts"
import { readLayerSync } from "../rootfs/ReadLayers.ts"

/** Plain data: it crosses to a worker. */
export interface ApplyTask {
  /** Base first. */
  readonly layers: ReadonlyArray<LayerInput>
}

/** The first layer that could not be read, or applied to those below it. */
export type LayerFailure = NonNullable<Rewritten["failure"]> & { readonly layer: number }

export interface Applied {
  readonly failure?: LayerFailure
}

/** Never throws: what went wrong is in the result. Bodies of plain layers are not read. */
export const run = (task: ApplyTask, progress: (bytes: number) => void = () => {}): Applied => {
  const tree = new FileTree()
  for (const [index, input] of task.layers.entries()) {
    try {
      const layer = readLayerSync(tree, index, input, { digests: false, maxProblems: 1, onProgress: progress })
      const damage = layer.tarProblems.find(({ check }) => catalog[check].severity === "error")
      if (damage !== undefined) throw new LayerReadError("damaged", "ETAR", `${damage.message} [${damage.check}]`)
      assertApplied(layer)
    } catch (cause) {
      return { failure: { ...failureOf(cause), layer: index } }
    }
  }
  return {}
}

/** Unpackers that put each layer into a directory of its own make something else of these. */
const ambiguous: ReadonlySet<string> = new Set(["rootfs.path-through-symlink", "rootfs.path-through-file"])

/** Throws `LayerReadError` for a layer that is an error to apply, or that unpackers disagree about. */
export const assertApplied = ({ complete, problems }: Pick<AppliedLayer, "complete" | "problems">): void => {
  const problem = problems.find(({ check }) => catalog[check].severity === "error" || ambiguous.has(check))
  if (problem === undefined && complete) return
  const where = problem === undefined || problem.path === "" ? "" : `${Bytes.display(problem.path)}: `
  throw new LayerReadError(
    "damaged",
    "ELAYER",
    `it cannot be applied: ${where}${problem?.message ?? "it has too many files"} [${problem?.check ?? "rootfs.too-large"}]`
  )
}

export const job: Job<ApplyTask, Applied> = {
  kind: "apply",
  prepare: Codec.prepare,
  run,
  cost: (task) => task.layers.reduce((sum, layer) => sum + bytesRead(layer), 0)
}
