/** Names of files in a directory of mounts. */

export const rootfs = "rootfs"
export const working = "working"
export const delta = "delta"
export const manifest = "manifest.json"
export const receipt = "receipt.json"

/** Short names of the layers' directories, where their own do not fit into what a mount can be told. */
export const links = "l"

/** What an image without layers has in their place: overlay needs a lower directory. */
export const empty = "empty/layer"

/** Where the layer at `index` is unpacked to. A layer that comes again lies on others, so it is another directory. */
export const layerDirectory = (diffId: string, index: number, again: boolean): string =>
  `${diffId.slice(diffId.indexOf(":") + 1)}/layer${again ? `.${index}` : ""}`

/** The directory that a manifest means: the older tool names the tar that it was made from. */
export const directoryOf = (named: string): string => named.replace(/\.tar$/, "")

/** The manifest of the files of a layer's directory. */
export const manifestOf = (directory: string): string => `${directory}.mtree`
