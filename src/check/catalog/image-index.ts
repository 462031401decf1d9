import type { CatalogFamily } from "../CatalogEntry.ts"

/** Image indexes: index.json and those nested in it (image-spec image-index.md), Docker's manifest lists. */
export const index = {
  "index.missing": {
    severity: "error",
    title: "an index is not there",
    spec: "image-spec image-layout.md, index.json: it MUST exist; image-index.md",
    rules: [34, 37, 38],
    explanation: "index.json, or an index that it names, does not exist: the images behind it cannot be found.",
    remedy: "Write the layout again: its writer puts index.json in place last."
  },
  "index.unreadable": {
    severity: "error",
    title: "an index cannot be read",
    spec: "image-spec image-layout.md, index.json",
    rules: [37, 38],
    explanation: "It exists but is no regular file, is larger than any index may be, or reading it failed.",
    remedy: "Look at the reason in the message: permissions, a failing disk, or something else in the index's place."
  },
  "index.invalid-json": {
    severity: "error",
    title: "an index is not readable JSON",
    spec: "image-spec considerations.md; image-index.md",
    rules: [1, 37],
    explanation: "It could not be parsed as a JSON object in UTF-8.",
    remedy: "Write the layout again, or restore the index from a copy."
  },
  "index.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one object of an index",
    spec: "image-spec considerations.md; annotations.md, keys MUST be unique; RFC 8259 section 4",
    rules: [2, 58],
    explanation: "Readers disagree on which of the two values counts, so that one may run what another did not check.",
    remedy: "Treat the image as hostile until its producer is known to be merely sloppy."
  },
  "index.size-mismatch": {
    severity: "error",
    title: "an index has another size than its descriptor says",
    spec: "image-spec descriptor.md, size",
    rules: [12],
    explanation: "The file is longer or shorter than the descriptor that refers to it says.",
    remedy: "Fetch the image again."
  },
  "index.digest-mismatch": {
    severity: "error",
    title: "an index is not what its digest names",
    spec: "image-spec descriptor.md, digest",
    rules: [3, 6, 38],
    explanation: "The digest of the bytes differs from the one by which it is referred to.",
    remedy: "Fetch the image again."
  },
  "index.bad-schema-version": {
    severity: "error",
    title: "schemaVersion of an index is not 2",
    spec: "image-spec image-index.md, schemaVersion: MUST be 2",
    rules: [29],
    explanation: "Tools refuse an index whose schemaVersion is missing or not the number 2.",
    remedy: "Report it to the tool that wrote the index."
  },
  "index.media-type-mismatch": {
    severity: "error",
    title: "an index says another media type than it has",
    spec: "image-spec image-index.md, mediaType",
    rules: [30, 37],
    explanation: "The document's own mediaType is no index's, or not the one by which it is referred to.",
    remedy: "Treat the image as hostile: tools that go by one or the other read different documents."
  },
  "index.no-media-type": {
    severity: "info",
    title: "an index does not say its media type",
    spec: "image-spec image-index.md, mediaType: SHOULD be used",
    rules: [30],
    explanation:
      "Without it a document is told apart by its content alone. Older tools do not write it; index.json, which is known by its name, is not asked for it.",
    remedy: "None is needed."
  },
  "index.ambiguous": {
    severity: "error",
    title: "an index is a manifest as well",
    spec: "image-spec image-index.md, manifest.md; CVE-2021-41190",
    rules: [18, 30, 37],
    explanation: "It has both manifests and layers or config: one tool takes it for an index, another for an image.",
    remedy: "Treat the image as hostile."
  },
  "index.missing-field": {
    severity: "error",
    title: "an index lacks manifests",
    spec: "image-spec image-index.md, manifests: MUST be present",
    rules: [31, 37],
    explanation: "The property is required, if only as an empty array.",
    remedy: "Report it to the tool that wrote the index."
  },
  "index.missing-entry": {
    severity: "error",
    title: "index.json does not list what was written",
    spec: "image-spec image-layout.md, index.json; tallyman: receipts record the entries that were written",
    rules: [37],
    explanation:
      "The run that just wrote an image finds no entry for it: another program has replaced index.json meanwhile.",
    remedy: "Write the image again; its blobs are kept."
  },
  "index.wrong-type": {
    severity: "error",
    title: "a property of an index has the wrong JSON type",
    spec: "image-spec image-index.md, properties",
    rules: [30, 31, 33],
    explanation: "manifests is an array, not null; platform is an object with strings.",
    remedy: "Report it to the tool that wrote the index."
  },
  "index.empty": {
    severity: "info",
    title: "a layout without images",
    spec: "image-spec image-index.md, manifests: the size of the array MAY be zero",
    rules: [31],
    explanation: "index.json lists nothing.",
    remedy: "None is needed."
  },
  "index.bad-platform": {
    severity: "error",
    title: "a platform lacks os or architecture",
    spec: "image-spec image-index.md, platform",
    rules: [33],
    explanation: "Both are required where platform is present, as strings.",
    remedy: "Report it to the tool that wrote the index."
  },
  "index.empty-platform": {
    severity: "info",
    title: "a platform that says nothing, or has an empty os or architecture",
    spec: "image-spec image-index.md, platform: indexes SHOULD use the values of GOOS and GOARCH",
    rules: [33],
    explanation:
      "The property is there but says nothing, so that no request for a platform finds the image. Readers take it as if it were absent.",
    remedy: "None is needed to unpack the image. Set the platform when building it."
  },
  "index.platform-mismatch": {
    severity: "error",
    title: "an image is for another platform than its index says",
    spec: "image-spec image-index.md, platform; config.md, os and architecture",
    rules: [33],
    explanation: "Who asks for the platform of the index gets an image whose config says another.",
    remedy: "Rebuild the index; the image was built for, or listed under, the wrong platform."
  },
  "index.variant-mismatch": {
    severity: "warning",
    title: "an image is for another variant of its architecture than its index says",
    spec: "image-spec image-index.md, platform.variant; config.md, variant",
    rules: [33],
    explanation:
      "Builders used to take the variant from the machine they ran on, so that the config of an image for an older processor may name a newer one.",
    remedy: "Make sure that the image runs on the variant of the index; rebuild it with the variant set."
  },
  "index.os-version-mismatch": {
    severity: "warning",
    title: "an image is for another version of its system than its index says",
    spec: "image-spec image-index.md, platform, os.version; config.md, os.version",
    rules: [33],
    explanation: "Windows runs an image of its own version only: by the index a host picks one that it cannot run.",
    remedy: "Report it to the tool that wrote the index."
  },
  "index.duplicate-name": {
    severity: "warning",
    title: "one name for two different images",
    spec: "image-spec image-layout.md, index.json, org.opencontainers.image.ref.name",
    rules: [37],
    explanation:
      "index.json gives the same name, and no platform to tell them apart, to two images: which one a tool takes is chance.",
    remedy: "Remove or rename one of them."
  },
  "index.incomplete": {
    severity: "warning",
    title: "an image that an index lists is not here, though content is that nothing refers to",
    spec: "image-spec image-layout.md: the blobs directory MAY be missing referenced blobs",
    rules: [34, 40],
    explanation:
      "Exports for fewer platforms leave images out together with their content. Here content lies about: it may be what is left of the image after its manifest was lost.",
    remedy: "If the image is needed, fetch it again."
  },
  "index.too-many-entries": {
    severity: "error",
    title: "an index lists more than any real one",
    spec: "tallyman: at most 50,000 entries",
    rules: [],
    explanation: "What comes behind the limit was not looked at.",
    remedy: "Treat the image as hostile."
  },
  "index.cycle": {
    severity: "error",
    title: "an index contains itself",
    spec: "image-spec image-index.md; descriptor.md: references form a directed acyclic graph",
    rules: [34],
    explanation: "Following the references comes back to the same index, which only works where digests lie.",
    remedy: "Treat the image as hostile."
  },
  "index.too-deep": {
    severity: "error",
    title: "indexes are nested too deep",
    spec: "tallyman: at most 32 levels",
    rules: [34],
    explanation: "No producer nests indexes like that; what lies deeper was not looked at.",
    remedy: "Treat the image as hostile."
  }
} as const satisfies CatalogFamily
