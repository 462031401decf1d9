import type { CatalogFamily } from "../CatalogEntry.ts"

const overlay = "Linux, filesystems/overlayfs.rst"

/** One directory for each layer, mounted on each other with overlay. */
export const mounts = {
  "mounts.not-mounted": {
    severity: "warning",
    title: "nothing is mounted on rootfs/",
    spec: overlay,
    rules: [],
    explanation:
      "The layers are there, but the image's tree is not to be seen in rootfs/: it was unmounted, or the machine was restarted.",
    remedy: "`tallyman mount PATH` mounts them again."
  },
  "mounts.wrong-mount": {
    severity: "error",
    title: "rootfs/ shows something else than the layers in their order",
    spec: overlay,
    rules: [21],
    explanation:
      "The file system mounted on rootfs/ is no overlay, or its lower directories are not the manifest's layers from the last to the first.",
    remedy: "`tallyman unmount PATH`, then `tallyman mount PATH`."
  },
  "mounts.wrong-layers": {
    severity: "error",
    title: "the manifest's layers are not the config's in their order",
    spec: "image-spec manifest.md, layers; config.md, rootfs.diff_ids",
    rules: [21],
    explanation:
      "The layers' directories have the diff_ids of container-config.json as names, but one of them is not in the manifest or stands elsewhere: mounted so, other files are to be seen.",
    remedy: "Process the image into a new directory."
  },
  "mounts.missing-layer": {
    severity: "error",
    title: "a layer's directory is not there",
    spec: "tallyman: each layer is unpacked into {layer}/layer/",
    rules: [85],
    explanation: "The manifest names a layer whose directory does not exist.",
    remedy: "`verify TARGET --repair SOURCE` with a copy of the image, or process it into a new directory."
  },
  "mounts.missing-directory": {
    severity: "error",
    title: "a directory that an overlay mount needs is not there",
    spec: overlay,
    rules: [],
    explanation: "rootfs/, working/ and delta/ are the mount's place, its work directory and its upper directory.",
    remedy: "`verify TARGET --repair SOURCE` with a copy of the image, or process it into a new directory."
  },
  "mounts.changed": {
    severity: "warning",
    title: "rootfs/ was changed since it was mounted",
    spec: overlay,
    rules: [],
    explanation:
      "The upper directory delta/ holds what a container wrote or removed: rootfs/ shows that instead of the image's files.",
    remedy:
      "None is needed while a container uses it. To see the image again: `tallyman unmount PATH`, empty delta/, `tallyman mount PATH`."
  },
  "mounts.bad-whiteout": {
    severity: "error",
    title: "a whiteout is not in overlay's form or in the wrong place",
    spec: `${overlay}, whiteouts and opaque directories; image-spec layer.md, whiteouts`,
    rules: [53],
    explanation:
      "A file named .wh.* in a layer's directory is shown as it is instead of hiding anything: only 0:0 devices and opaque directories hide what lower layers have.",
    remedy: "`verify TARGET --repair SOURCE` with a copy of the image, or process it into a new directory."
  },
  "mounts.unverifiable-layer": {
    severity: "warning",
    title: "what a layer's directory should hold is not recorded",
    spec: "tallyman: each layer's manifest stands beside its directory",
    rules: [],
    explanation: "There is neither a manifest of the files nor the layer's tar, so the content was not compared.",
    remedy: "Compare with the image itself: `verify TARGET --against SOURCE`."
  }
} as const satisfies CatalogFamily
