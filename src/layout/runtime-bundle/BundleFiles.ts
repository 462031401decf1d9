/** Names of files in a bundle. */

export const rootfs = "rootfs"
export const config = "config.json"
export const containerConfig = "container-config.json"
export const manifest = "rootfs.mtree"
export const receipt = "receipt.json"
