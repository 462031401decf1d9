import type { CatalogFamily } from "../CatalogEntry.ts"

const spec = "tallyman: verify TARGET --against SOURCE"

/** What was asked to be exactly an image, held against that image. What the layers themselves show has its own ids. */
export const against = {
  "against.unreadable": {
    severity: "error",
    title: "the image cannot be held against its source",
    spec,
    rules: [],
    explanation:
      "What says which image this is (a manifest, a config) is missing or damaged, so whether it is the source's cannot be told.",
    remedy: "Look at the other findings about it; `verify TARGET --repair SOURCE` restores what is damaged."
  },
  "against.config-mismatch": {
    severity: "error",
    title: "the config is not the source's",
    spec: `${spec}; image-spec config.md, ImageID`,
    rules: [86],
    explanation: "The digest of the config is the image's ID: with another config it is another image.",
    remedy:
      "Look at the parts that the message names; `tallyman diff` shows all of them. Copy the image again if it was meant to be the same."
  },
  "against.config-reserialized": {
    severity: "info",
    title: "the config says the same in other bytes",
    spec,
    rules: [],
    explanation:
      "One side's config was written anew by the older tool, with the same values: the image is the same, its ID cannot be recomputed from that side.",
    remedy: "None is needed. Copy the image again to have the original bytes."
  },
  "against.layer-count-mismatch": {
    severity: "error",
    title: "there are more or fewer layers than in the source",
    spec: `${spec}; image-spec config.md, rootfs.diff_ids`,
    rules: [43],
    explanation: "The two configs list different numbers of layers.",
    remedy: "Copy the image again."
  },
  "against.layer-mismatch": {
    severity: "error",
    title: "a layer is not the source's",
    spec: `${spec}; image-spec config.md, rootfs.diff_ids`,
    rules: [43],
    explanation: "At the same place in the stack the two images have layers of different content.",
    remedy: "Copy the image again."
  },
  "against.platform-mismatch": {
    severity: "error",
    title: "the image is for another platform than the source",
    spec: `${spec}; image-spec config.md, os and architecture`,
    rules: [41],
    explanation: "Operating system, architecture or variant differ.",
    remedy: "Choose the same platform on both sides, for example with ?platform=OS/ARCHITECTURE."
  },
  "against.name-mismatch": {
    severity: "info",
    title: "the image has other names than in the source",
    spec,
    rules: [],
    explanation: "Names are given to an image and are no part of it.",
    remedy: "None is needed when it was renamed on purpose."
  },
  "against.manifest-converted": {
    severity: "info",
    title: "the manifest is another one for the same layers",
    spec: `${spec}; image-spec manifest.md`,
    rules: [],
    explanation:
      "Layers are compressed in another way, or the manifest has other media types or another form: config and content are the same, the digest by which a registry knows the image is not.",
    remedy: "None is needed, unless the image is to be found by its digest: then copy it without converting it."
  },
  "against.manifest-mismatch": {
    severity: "warning",
    title: "the manifest says something else about the image",
    spec: `${spec}; image-spec manifest.md`,
    rules: [],
    explanation:
      "Config and layers are the source's, but annotations, subject, artifactType or other fields of the manifest differ in a way that no conversion explains.",
    remedy: "Copy the image again when they matter; `--severity against.manifest-mismatch=error` makes it fail."
  }
} as const satisfies CatalogFamily
