import type { CatalogFamily } from "../CatalogEntry.ts"

const applying = "image-spec layer.md, applying changesets"
const compared = "image-spec layer.md, file attributes"

/** A root file system: what applying layers shows, and what a tree on disk has that differs from the image. */
export const rootfs = {
  "rootfs.path-through-symlink": {
    severity: "warning",
    title: "an entry lies below a symlink",
    spec: applying,
    rules: [98],
    explanation:
      "The way to an entry, a whiteout or a hardlink's target leads through a symlink. It was followed inside the root only; tools that unpack each layer by itself make a directory there instead.",
    remedy: "If the image is from a stranger, look at it closely: this is how an escape from the root begins."
  },
  "rootfs.path-through-file": {
    severity: "warning",
    title: "an entry lies below something that is no directory",
    spec: applying,
    rules: [98],
    explanation: "The entry replaced what stood on its way by a directory. Other tools refuse it.",
    remedy: "Report it to the tool that made the image."
  },
  "rootfs.path-unusable": {
    severity: "error",
    title: "an entry has a name that no file system can hold",
    spec: "image-spec layer.md; path_resolution(7)",
    rules: [97],
    explanation:
      "The name or a symlink's target is too long, empty, holds a NUL or leads through a loop. The entry was left out.",
    remedy: "Report it to the tool that made the image."
  },
  "rootfs.root-not-directory": {
    severity: "error",
    title: "an entry would replace the root by something else",
    spec: applying,
    rules: [98],
    explanation: "An entry for the root itself is no directory. It was left out.",
    remedy: "Treat the image as hostile."
  },
  "rootfs.hardlink-missing-target": {
    severity: "error",
    title: "a hardlink to nothing",
    spec: "image-spec layer.md, hardlinks",
    rules: [98],
    explanation:
      "The hardlink's target is in no layer, or comes later than the link, which tar and every runtime fail on.",
    remedy: "Report it to the tool that made the image."
  },
  "rootfs.hardlink-bad-target": {
    severity: "error",
    title: "a hardlink to what no hardlink may lead to",
    spec: "image-spec layer.md, hardlinks",
    rules: [98],
    explanation:
      "A hardlink to a directory, to itself, out of the root, or to what is in the directory that it replaces. It was left out.",
    remedy: "Treat the image as hostile."
  },
  "rootfs.hardlink-across-layers": {
    severity: "info",
    title: "a hardlink to a file that only a lower layer has",
    spec: "image-spec layer.md, hardlinks",
    rules: [],
    explanation: "It is allowed, but tools that unpack each layer by itself cannot make the link.",
    remedy: "None is needed where the whole tree is unpacked at once."
  },
  "rootfs.whiteout-missing-target": {
    severity: "info",
    title: "a whiteout of something that no lower layer has",
    spec: "image-spec layer.md, whiteouts",
    rules: [54],
    explanation: "The whiteout hides nothing.",
    remedy: "None is needed."
  },
  "rootfs.whiteout-escapes": {
    severity: "error",
    title: "a whiteout that would hide its own directory or the one above",
    spec: "image-spec layer.md, whiteouts",
    rules: [52],
    explanation: "The name behind .wh. is empty, `.` or `..`. It was left out.",
    remedy: "Treat the image as hostile."
  },
  "rootfs.overlay-artifact": {
    severity: "warning",
    title: "the layer holds overlay's own marks",
    spec: "Linux, filesystems/overlayfs.rst",
    rules: [],
    explanation:
      "A 0:0 character device or an attribute trusted.overlay.* or user.overlay.*: in a lower directory of an overlay mount these hide or redirect what is below. The attributes were left out.",
    remedy: "Report it to the tool that made the image: it packed an overlay directory as it was."
  },
  "rootfs.too-large": {
    severity: "error",
    title: "more files than are looked at",
    spec: "tallyman",
    rules: [],
    explanation: "The layers name more files than any image needs; the rest was not applied.",
    remedy: "Treat the image as hostile."
  },
  "rootfs.missing": {
    severity: "error",
    title: "a file of the image is missing",
    spec: applying,
    rules: [],
    explanation: "The image has the file, the unpacked tree has not.",
    remedy: "Unpack the image again."
  },
  "rootfs.extra": {
    severity: "error",
    title: "a file that the image does not have",
    spec: applying,
    rules: [],
    explanation:
      "Something put a file into the tree that no layer holds. A container that was run in it leaves such files too.",
    remedy: "Unpack the image again; for trees in which containers ran, tolerate `runtime-files`."
  },
  "rootfs.type-mismatch": {
    severity: "error",
    title: "a file is of another type than in the image",
    spec: compared,
    rules: [],
    explanation: "A directory, symlink, device or file stands where the image has something else.",
    remedy: "Unpack the image again."
  },
  "rootfs.content-mismatch": {
    severity: "error",
    title: "a file has other content than in the image",
    spec: applying,
    rules: [],
    explanation: "Its sha256 is not that of the content in the layer, though its size is.",
    remedy: "Unpack the image again; content that changes by itself is a failing disk."
  },
  "rootfs.size-mismatch": {
    severity: "error",
    title: "a file has another size than in the image",
    spec: applying,
    rules: [],
    explanation: "The file was cut, extended or replaced.",
    remedy: "Unpack the image again."
  },
  "rootfs.mode-mismatch": {
    severity: "error",
    title: "a file has other permissions than in the image",
    spec: compared,
    rules: [],
    explanation: "The permission bits, setuid, setgid or sticky differ.",
    remedy: "Unpack the image again, as root."
  },
  "rootfs.owner-mismatch": {
    severity: "error",
    title: "a file belongs to someone else than in the image",
    spec: compared,
    rules: [],
    explanation: "uid or gid differ. A copy made by a user who is not root has that user's everywhere.",
    remedy: "Unpack the image again as root, or tolerate `owner`."
  },
  "rootfs.mtime-mismatch": {
    severity: "error",
    title: "a file has another mtime than in the image",
    spec: compared,
    rules: [],
    explanation: "The time of the last change is not the one in the layer: the file was touched or copied.",
    remedy: "Unpack the image again, or tolerate `directory-mtime`, `mtime-seconds` or `mtime-microseconds`."
  },
  "rootfs.link-mismatch": {
    severity: "error",
    title: "a symlink points elsewhere than in the image",
    spec: compared,
    rules: [],
    explanation: "Its target is not the one in the layer.",
    remedy: "Unpack the image again."
  },
  "rootfs.hardlink-mismatch": {
    severity: "error",
    title: "hardlinks are not those of the image",
    spec: "image-spec layer.md, hardlinks",
    rules: [],
    explanation:
      "Names that are one file in the image are several here, or the other way round, or a file has links outside the tree.",
    remedy: "Unpack the image again, or tolerate `external-links`."
  },
  "rootfs.device-mismatch": {
    severity: "error",
    title: "a device has other numbers than in the image",
    spec: compared,
    rules: [],
    explanation: "Its major or minor number differs.",
    remedy: "Unpack the image again."
  },
  "rootfs.xattr-mismatch": {
    severity: "error",
    title: "extended attributes are not those of the image",
    spec: compared,
    rules: [],
    explanation: "An attribute, for example a file capability, is missing, has another value or was added.",
    remedy: "Unpack the image again as root on a file system with extended attributes."
  },
  "rootfs.unreadable": {
    severity: "error",
    title: "a file of the tree cannot be read",
    spec: "tallyman",
    rules: [],
    explanation: "What it holds is not known, so it was not compared.",
    remedy:
      "Verify as a user who may read it. The owner of files that even the owner may not read, as /etc/shadow is in some images, may in a user namespace: unshare -r tallyman verify ..."
  },
  "rootfs.unrestored": {
    severity: "warning",
    title: "something of the image could not be restored when it was unpacked",
    spec: compared,
    rules: [],
    explanation:
      "The user who unpacked, or the file system, does not allow everything that the image has, for example owners and devices without root. The difference is known and is not reported for each file; up to a thousand names the receipt says which they are, and others that differ are reported.",
    remedy: "Unpack the image as root on a file system that has what is missing."
  }
} as const satisfies CatalogFamily
