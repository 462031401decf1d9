/** What of a runtime bundle has to be written again, given a right copy of its image: single files, its tree's too. */
import * as Effect from "effect/Effect"
import type * as Image from "../../image/Image.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as ProvedTree from "../ProvedTree.ts"
import { hardlinksOf } from "../TreeManifest.ts"
import type * as UnpackedRepair from "../UnpackedRepair.ts"
import { keptProblems } from "../UnpackImage.ts"
import { configFiles, streamed } from "./BundleConfig.ts"
import * as Files from "./BundleFiles.ts"

/** The bundle at `root`, as it should be of `image`. */
export const formOf = (root: string, image: Image.Image): UnpackedRepair.Form => {
  const names = DirectoryStore.make(root).list("") ?? []
  const rootfs = { directory: Files.rootfs, manifest: Files.manifest }
  return {
    layout: "oci",
    // A bundle of another tool has neither, so that nothing says how its tree came about. A damaged one says as much.
    ours: names.includes(Files.receipt) || names.includes(Files.manifest),
    places: [rootfs],
    keys: [],
    names: image.names,
    read: Effect.gen(function* () {
      const proved = yield* ProvedTree.prove(image, "cannot use")
      const configs = yield* configFiles(image, proved.tree, proved.inputs, streamed)
      return {
        proved,
        trees: [{ ...rootfs, tree: proved.tree }],
        documents: new Map(configs.map(({ bytes, file }) => [file.path, bytes]))
      }
    }),
    obstacle: () => undefined,
    details: ({ proved: { layers, tree } }, outcomeOf) => {
      const { lost, unrestored } = outcomeOf(Files.rootfs)
      return {
        layers: image.layers.map(({ diffId }, index) => ({ diffId, size: layers[index]!.size })),
        entries: tree.names - lost,
        hardlinks: hardlinksOf(tree),
        problems: keptProblems(image, layers),
        unrestored
      }
    }
  }
}
