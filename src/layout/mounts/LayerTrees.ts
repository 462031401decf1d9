/** The directories that an image's layers are unpacked to, and the manifest that names them. */
import type * as Image from "../../image/Image.ts"
import * as PythonJson from "../../image/PythonJson.ts"
import type { FileTree } from "../../rootfs/FileTree.ts"
import { type OverlayNamespace, overlayLayer } from "../../rootfs/OverlayLayer.ts"
import type { ReadLayer } from "../../rootfs/ReadLayers.ts"
import * as BundleFiles from "../runtime-bundle/BundleFiles.ts"
import * as Files from "./MountsFiles.ts"

export interface LayerTree {
  readonly directory: string
  readonly tree: FileTree
}

export interface Gathering {
  /** Base first; as many as layers have been read. */
  readonly trees: ReadonlyArray<LayerTree>
  /** As `readLayers` calls it. */
  readonly onLayer: (whole: FileTree, layer: ReadLayer) => void
}

/** Gathers each layer's own tree in overlay's form while the layers are applied. */
export const gather = (image: Image.Image, namespace: OverlayNamespace): Gathering => {
  const trees: Array<LayerTree> = []
  const seen = new Set<string>()
  return {
    trees,
    onLayer: (whole, layer) => {
      const index = layer.layer
      const { diffId } = image.layers[index]!
      const tree = overlayLayer(whole, layer, namespace)
      const again = seen.has(diffId)
      seen.add(diffId)
      // Where it comes again it mostly changes nothing (the empty layer that old builders write).
      if (again && tree.names === 1 && tree.root.inode.xattrs === undefined) return
      trees.push({ directory: Files.layerDirectory(diffId, index, again), tree })
    }
  }
}

/** The bytes of manifest.json. */
export const manifestBytes = (names: ReadonlyArray<string>, directories: ReadonlyArray<string>): Buffer =>
  Buffer.from(PythonJson.stringify([{ Config: BundleFiles.containerConfig, Layers: directories, RepoTags: names }]))
