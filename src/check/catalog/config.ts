import type { CatalogFamily } from "../CatalogEntry.ts"

/** The image configuration (image-spec config.md, docker-image-spec v1.3 "Image JSON"). */
export const config = {
  "config.missing": {
    severity: "error",
    title: "the config is not there",
    spec: "docker-image-spec v1.3, manifest.json; image-spec manifest.md",
    rules: [38, 85],
    explanation: "The manifest names a config that does not exist.",
    remedy: "Run the command that wrote the output again, or fetch the image anew."
  },
  "config.unreadable": {
    severity: "error",
    title: "the config cannot be read",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [38, 85],
    explanation: "The config exists but is no regular file, is larger than any config may be, or reading it failed.",
    remedy: "Look at the reason in the message: permissions, a failing disk, or something else in the config's place."
  },
  "config.invalid-json": {
    severity: "error",
    title: "the config is not readable JSON",
    spec: "image-spec considerations.md; config.md",
    rules: [1, 41],
    explanation: "The config could not be parsed as a JSON object in UTF-8.",
    remedy: "Fetch the image again."
  },
  "config.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one object of the config",
    spec: "image-spec considerations.md; RFC 8259 section 4",
    rules: [2, 45],
    explanation: "Readers disagree on which of the two values counts.",
    remedy: "Treat the image as hostile until its producer is known to be merely sloppy."
  },
  "config.size-mismatch": {
    severity: "error",
    title: "the config has another size than recorded",
    spec: "image-spec descriptor.md, size",
    rules: [12],
    explanation: "The file is longer or shorter than what was written or than its descriptor says.",
    remedy: "The file was cut or changed: write it again from the source."
  },
  "config.digest-mismatch": {
    severity: "error",
    title: "the config is not the one its digest names",
    spec: "image-spec descriptor.md, digest; docker-image-spec v1.3, image ID",
    rules: [3, 6, 38, 86],
    explanation:
      "The digest of the file differs from the digest that the manifest, the file's name or the receipt gives.",
    remedy: "The file was changed: write it again from the source."
  },
  "config.reserialized": {
    severity: "info",
    title: "the config was re-serialised: the image ID cannot be recovered",
    spec: "docker-image-spec v1.3, image ID",
    rules: [86],
    explanation:
      "The config was written with other white space or key order than the original, as occystrap does, so its sha256 is not the image ID. The diff_ids in it are still right.",
    remedy: "None is needed to use the layers. To get the image ID back, fetch the image again."
  },
  "config.missing-field": {
    severity: "error",
    title: "the config lacks a required field",
    spec: "image-spec config.md, properties",
    rules: [41, 43],
    explanation: "architecture, os, rootfs and rootfs.diff_ids are required.",
    remedy: "Report it to the tool that made the image; without diff_ids its layers cannot be proved."
  },
  "config.empty-field": {
    severity: "info",
    title: "architecture or os is empty",
    spec: "image-spec config.md, properties",
    rules: [41],
    explanation:
      "The field is there but says nothing, as builders leave it for images from scratch: no runtime can tell whether the image is for it.",
    remedy: "None is needed to unpack the image. Set the platform when building it."
  },
  "config.wrong-type": {
    severity: "error",
    title: "a field of the config has the wrong JSON type",
    spec: "image-spec config.md, properties",
    rules: [41, 42, 43, 44, 45, 46],
    explanation: "A field holds another kind of value than the specification says.",
    remedy: "Report it to the tool that made the image."
  },
  "config.rootfs-type": {
    severity: "error",
    title: 'rootfs.type is not "layers"',
    spec: "image-spec config.md, rootfs",
    rules: [42],
    explanation: "rootfs.type must be `layers`; implementations must refuse anything else.",
    remedy: "Report it to the tool that made the image."
  },
  "config.bad-diff-id": {
    severity: "error",
    title: "a diff_id is no digest",
    spec: "image-spec config.md, rootfs.diff_ids; descriptor.md, digests",
    rules: [6, 7, 43],
    explanation:
      "An entry of rootfs.diff_ids does not have the form of a digest, so the layer at its place cannot be proved.",
    remedy: "Report it to the tool that made the image."
  },
  "config.bad-created": {
    severity: "error",
    title: "created is no RFC 3339 date-time",
    spec: "image-spec config.md, created; RFC 3339 section 5.6",
    rules: [44],
    explanation: "created, here or in a history entry, is not a combined date and time as RFC 3339 writes it.",
    remedy: "Report it to the tool that made the image."
  },
  "config.bad-env": {
    severity: "warning",
    title: "an entry of Env is not NAME=VALUE",
    spec: "image-spec config.md, Env; conversion.md",
    rules: [61],
    explanation:
      "Entries of Env are in the format of VARNAME=VARVALUE. What becomes of another one depends on who reads it: Docker takes the variable away, runc refuses to start the container.",
    remedy: "Give the variable a value, which may be empty, or take the entry out."
  }
} as const satisfies CatalogFamily

export const history = {
  "history.count-mismatch": {
    severity: "error",
    title: "history does not fit the layers",
    spec: "image-spec config.md, history",
    rules: [46],
    explanation:
      "The history entries without empty_layer are as many as there are diff_ids. A difference shows that a tool changed the layers and left the history as it was.",
    remedy: "Find the tool that rewrote the image; the layers themselves are proved by their diff_ids."
  }
} as const satisfies CatalogFamily
