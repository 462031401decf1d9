import type { CatalogFamily } from "../CatalogEntry.ts"

/** Layers: their bytes against what names them, and the rules of image-spec layer.md. */
export const layer = {
  "layer.missing": {
    severity: "error",
    title: "a layer is not there",
    spec: "docker-image-spec v1.3, manifest.json; image-spec manifest.md, layers",
    rules: [38, 85],
    explanation: "The manifest names a layer that does not exist.",
    remedy: "Run the command that wrote the output again, or fetch the image anew."
  },
  "layer.unreadable": {
    severity: "error",
    title: "a layer cannot be read",
    spec: "image-spec layer.md",
    rules: [38, 85],
    explanation: "The layer exists but reading it failed or it is no regular file: nothing is known about its content.",
    remedy: "Look at the reason in the message: permissions, a failing disk, or something else in the layer's place."
  },
  "layer.size-mismatch": {
    severity: "error",
    title: "a layer has another size than recorded",
    spec: "image-spec descriptor.md, size",
    rules: [12],
    explanation: "The file is longer or shorter than its descriptor or the receipt says.",
    remedy: "The layer was cut or changed: write it again from the source."
  },
  "layer.digest-mismatch": {
    severity: "error",
    title: "a layer's bytes are not the ones its digest names",
    spec: "image-spec descriptor.md, digest",
    rules: [3, 6, 38],
    explanation: "The digest of the bytes as stored differs from what the descriptor or the receipt gives.",
    remedy: "The layer was changed: write it again from the source."
  },
  "layer.diff-id-mismatch": {
    severity: "error",
    title: "a layer is not the one the config names at its place",
    spec: "image-spec config.md, Layer DiffID; docker-image-spec v1.3",
    rules: [21, 43, 87],
    explanation:
      "The digest of the uncompressed tar differs from rootfs.diff_ids at the same position: the layer was damaged, swapped with another, or rewritten by a tool that left the config as it was.",
    remedy: "Write the layer again from the source. If a filter rewrote it, use one that updates the config."
  },
  "layer.count-mismatch": {
    severity: "error",
    title: "the config has another number of layers than the manifest",
    spec: "image-spec config.md, rootfs; manifest.md, layers",
    rules: [43, 87],
    explanation: "There must be one diff_id for each layer, in the same order.",
    remedy: "Fetch the image again; a tool lost or added layers."
  },
  "layer.shared-path": {
    severity: "error",
    title: "one layer file stands for several different layers",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [87],
    explanation:
      "The manifest names the same file at positions where the config has different diff_ids: at most one of them can be right. Older tools do this with archives whose layers are called {digest}.tar: all end in one layer.tar.",
    remedy: "The other layers are lost here. Write the directory again from the original archive."
  },
  "layer.not-distributable": {
    severity: "warning",
    title: "a layer of a media type that should not be used",
    spec: "image-spec layer.md, non-distributable layers: SHOULD NOT be used",
    rules: [56],
    explanation: "Non-distributable media types are deprecated; registries and tools treat such layers differently.",
    remedy: "Rebuild the image with the usual media types."
  },
  "layer.unreferenced": {
    severity: "warning",
    title: "a layer belongs to no image",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [40],
    explanation: "No manifest here names this layer. It takes room; it harms nothing.",
    remedy: "Delete it if no run is writing here; it may be what an interrupted run left."
  },
  "layer.duplicate-path": {
    severity: "error",
    title: "a path stands twice in one layer",
    spec: "image-spec layer.md, creating layers: layers MUST NOT include duplicate entries",
    rules: [48],
    explanation: "Implementations differ on which of the entries counts.",
    remedy: "Rebuild the image with a tool that writes each path once."
  },
  "layer.duplicate-directory": {
    severity: "warning",
    title: "a directory stands twice in one layer",
    spec: "image-spec layer.md, creating layers: layers MUST NOT include duplicate entries",
    rules: [48],
    explanation:
      "The specification forbids it, but builders that join tars write it, and every implementation does the same: the later entry's attributes count, nothing is removed.",
    remedy: "None is needed to use the image. A rebuild with a tool that writes each path once gets rid of it."
  },
  "layer.duplicate-whiteout": {
    severity: "warning",
    title: "a whiteout stands twice in one layer",
    spec: "image-spec layer.md, creating layers: layers MUST NOT include duplicate entries",
    rules: [48],
    explanation: "The specification forbids it; every implementation does the same with one as with two.",
    remedy: "None is needed to use the image."
  },
  "layer.bad-whiteout": {
    severity: "warning",
    title: "a whiteout without a name",
    spec: "image-spec layer.md, whiteouts",
    rules: [52],
    explanation: "An entry is called `.wh.` with nothing behind it, so that it hides nothing.",
    remedy: "Rebuild the layer."
  },
  "layer.whiteout-not-empty": {
    severity: "warning",
    title: "a whiteout is not an empty regular file",
    spec: "image-spec layer.md, whiteouts",
    rules: [56],
    explanation:
      "A whiteout is an empty file; what else is in it is ignored by every implementation and may be meant to hide.",
    remedy: "Rebuild the layer."
  },
  "layer.whiteout-of-own-path": {
    severity: "error",
    title: "a layer hides a path that it adds",
    spec: "image-spec layer.md, whiteouts",
    rules: [54, 99],
    explanation:
      "A whiteout only applies to lower layers, but implementations that apply entries in order remove what the layer itself added.",
    remedy: "Rebuild the layer with the whiteout or the file, not both."
  },
  "layer.whiteout-of-nothing": {
    severity: "info",
    title: "a whiteout hides nothing",
    spec: "image-spec layer.md, whiteouts",
    rules: [54],
    explanation: "No lower layer has the path that the whiteout hides.",
    remedy: "None is needed; the layer may have been built on another base."
  },
  "layer.sparse-entry": {
    severity: "warning",
    title: "a sparse entry",
    spec: "image-spec layer.md: sparse files SHOULD NOT be used",
    rules: [56],
    explanation: "Sparse entries have several forms, which not every implementation reads.",
    remedy: "Rebuild the layer without sparse entries."
  },
  "layer.table-of-contents": {
    severity: "info",
    title: "an eStargz table of contents behind the end of the tar",
    spec: "stargz-snapshotter docs/estargz.md; POSIX.1-2017 pax, ustar interchange format",
    rules: [94, 101],
    explanation:
      "Layers converted to eStargz without loss keep their end-of-archive blocks; the table of contents comes behind them as a tar of its own. The diff_id covers it; readers of tar ignore it.",
    remedy: "None is needed."
  },
  "layer.toc-mismatch": {
    severity: "warning",
    title: "a zstd:chunked layer's table is not the one that its annotations say",
    spec: "containers/storage pkg/chunked: io.github.containers.zstd-chunked annotations",
    rules: [101],
    explanation:
      "The image is right for whoever reads its layers as a whole. Where partial pulls are enabled, podman and CRI-O fetch the files of such a layer by the table of contents whose place and digest its annotations give; with another one the pull fails. Tools that compress a layer anew and keep the annotations leave it so, as converters of containerd and stargz-snapshotter do.",
    remedy: "Push the image again with a tool that knows zstd:chunked, or without the annotations."
  },
  "layer.hardlink-missing-target": {
    severity: "error",
    title: "a hardlink to nothing",
    spec: "image-spec layer.md, hardlinks; POSIX ustar linkname",
    rules: [98],
    explanation: "Neither this layer nor a lower one has the path that the hardlink names: unpacking fails there.",
    remedy: "Rebuild the layer; a filter may have removed the target."
  },
  "layer.hardlink-bad-target": {
    severity: "error",
    title: "a hardlink to a directory",
    spec: "image-spec layer.md, hardlinks; POSIX link()",
    rules: [98],
    explanation: "No system links directories: unpacking fails there.",
    remedy: "Rebuild the layer."
  },
  "layer.root-not-directory": {
    severity: "error",
    title: "an entry would replace the root by something else",
    spec: "image-spec layer.md, applying changesets",
    rules: [97, 98],
    explanation: "The entry's name is that of the root itself, and it is no directory.",
    remedy: "Treat the image as hostile."
  },
  "layer.path-unusable": {
    severity: "error",
    title: "an entry has a name that no file system can hold",
    spec: "image-spec layer.md; path_resolution(7)",
    rules: [97],
    explanation:
      "The name or the link's target has more than 4095 bytes, or more than 255 between two slashes: unpacking fails there. The entry was not looked at any further.",
    remedy: "Rebuild the layer with a shorter name."
  },
  "layer.overlay-artifact": {
    severity: "warning",
    title: "the layer holds overlay's own marks",
    spec: "Linux, filesystems/overlayfs.rst; image-spec layer.md, whiteouts",
    rules: [],
    explanation:
      "A 0:0 character device or an attribute trusted.overlay.* or user.overlay.*: in a lower directory of an overlay mount these hide or redirect what is below, elsewhere they do nothing, so that the image is not the same everywhere.",
    remedy:
      "Rebuild the layer with whiteouts as image-spec has them: it was packed from an overlay directory as it was."
  },
  "layer.too-large": {
    severity: "error",
    title: "a layer has more entries than are looked at",
    spec: "tallyman",
    rules: [],
    explanation: "The layer names more files than any image needs; those from some point on were not judged.",
    remedy: "Treat the image as hostile."
  },
  "layer.path-through-non-directory": {
    severity: "warning",
    title: "an entry below something that is no directory",
    spec: "image-spec layer.md, applying changesets",
    rules: [98],
    explanation:
      "The parent of the entry, of a hardlink's target or of what a whiteout hides is a symlink or a file, in the same layer or in a lower one. Implementations differ: some follow the link inside the root, some replace it by a directory, so that what was behind it is gone from its place.",
    remedy: "Rebuild the layer with the entry at its real path."
  }
} as const satisfies CatalogFamily
