import type { CatalogFamily } from "../CatalogEntry.ts"

/** The document that names an image's config and layers: docker-save's manifest.json or an OCI image manifest. */
export const manifest = {
  "manifest.missing": {
    severity: "error",
    title: "no manifest",
    spec: "docker-image-spec v1.3, combined image JSON + filesystem changeset format; image-spec image-layout.md",
    rules: [38],
    explanation:
      "Nothing here says which config and layers make up an image. A writer puts the manifest in place last, so this is how an output looks whose writing was cut off.",
    remedy: "Run the command that wrote it again: what is already there and right is kept."
  },
  "manifest.invalid-json": {
    severity: "error",
    title: "manifest is not readable JSON",
    spec: "image-spec considerations.md (JSON is UTF-8); docker-image-spec v1.3",
    rules: [1, 84],
    explanation:
      "The manifest could not be parsed, is not UTF-8, nests absurdly deep or is larger than any manifest may be.",
    remedy: "Fetch the image again, or restore the manifest from a copy; its digest tells whether the copy is right."
  },
  "manifest.not-an-array": {
    severity: "error",
    title: "manifest.json is not an array",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [84],
    explanation: "A docker-save manifest.json is an array with one object for each image.",
    remedy: "Save the image again with a tool that writes the format."
  },
  "manifest.empty": {
    severity: "warning",
    title: "manifest names no image",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [84],
    explanation: "manifest.json is an empty array: it is well formed, but there is nothing to load.",
    remedy: "Save the image again."
  },
  "manifest.missing-field": {
    severity: "error",
    title: "a required field is missing",
    spec: "docker-image-spec v1.3, manifest.json; image-spec manifest.md",
    rules: [19, 20, 85],
    explanation: "The manifest lacks a field without which the image cannot be put together.",
    remedy: "Fetch or save the image again."
  },
  "manifest.wrong-type": {
    severity: "error",
    title: "a field has the wrong JSON type",
    spec: "docker-image-spec v1.3, manifest.json; image-spec manifest.md",
    rules: [18, 19, 20, 28, 84, 85],
    explanation:
      "A field of the manifest holds another kind of value than its format says, such as a number for a path.",
    remedy: "Fetch or save the image again."
  },
  "manifest.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one JSON object",
    spec: "image-spec considerations.md; annotations.md, keys MUST be unique; RFC 8259 section 4",
    rules: [2, 58],
    explanation:
      "Readers disagree on which of the two values counts, so that one tool may check what another does not run.",
    remedy: "Treat the image as hostile until its producer is known to be merely sloppy."
  },
  "manifest.unreadable": {
    severity: "error",
    title: "a manifest cannot be read",
    spec: "image-spec image-layout.md, blobs",
    rules: [38],
    explanation: "It exists but is no regular file, is larger than any manifest may be, or reading it failed.",
    remedy: "Look at the reason in the message: permissions, a failing disk, or something else in the manifest's place."
  },
  "manifest.size-mismatch": {
    severity: "error",
    title: "a manifest has another size than its descriptor says",
    spec: "image-spec descriptor.md, size",
    rules: [12],
    explanation: "The file is longer or shorter than the descriptor that refers to it says.",
    remedy: "Fetch the image again."
  },
  "manifest.digest-mismatch": {
    severity: "error",
    title: "a manifest is not what its digest names",
    spec: "image-spec descriptor.md, digest",
    rules: [3, 6, 38],
    explanation: "The digest of the bytes differs from the one by which it is referred to.",
    remedy: "Fetch the image again."
  },
  "manifest.bad-schema-version": {
    severity: "error",
    title: "schemaVersion of a manifest is not 2",
    spec: "image-spec manifest.md, schemaVersion: MUST be 2",
    rules: [17],
    explanation: "Tools refuse a manifest whose schemaVersion is missing or not the number 2.",
    remedy: "Report it to the tool that wrote the manifest."
  },
  "manifest.media-type-mismatch": {
    severity: "error",
    title: "a manifest says another media type than it has",
    spec: "image-spec manifest.md, mediaType",
    rules: [18],
    explanation: "The document's own mediaType is no manifest's, or not the one by which it is referred to.",
    remedy: "Treat the image as hostile: tools that go by one or the other read different documents."
  },
  "manifest.no-media-type": {
    severity: "info",
    title: "a manifest does not say its media type",
    spec: "image-spec manifest.md, mediaType: SHOULD be used",
    rules: [18],
    explanation: "Without it a document is told apart by its content alone. Older tools do not write it.",
    remedy: "None is needed."
  },
  "manifest.ambiguous": {
    severity: "error",
    title: "a manifest is an index as well",
    spec: "image-spec manifest.md, image-index.md; CVE-2021-41190",
    rules: [18],
    explanation: "It has layers or config together with manifests or fsLayers: tools differ on what document it is.",
    remedy: "Treat the image as hostile."
  },
  "manifest.no-layers": {
    severity: "warning",
    title: "a manifest without layers",
    spec: "image-spec manifest.md, layers: SHOULD have at least one entry",
    rules: [20],
    explanation:
      "Images of history only and artifacts of annotations only are valid, but some registries and tools refuse them.",
    remedy: "Where it matters, add an empty layer, or the empty descriptor for an artifact."
  },
  "manifest.too-many-layers": {
    severity: "error",
    title: "a manifest lists more layers than any real one",
    spec: "tallyman: at most 100,000 layers",
    rules: [],
    explanation: "Runtimes take at most 127 layers. What comes behind the limit was not looked at.",
    remedy: "Treat the image as hostile."
  },
  "manifest.no-artifact-type": {
    severity: "error",
    title: "an artifact does not say its type",
    spec: "image-spec manifest.md, artifactType: MUST be set when config.mediaType is the empty value",
    rules: [25],
    explanation: "With an empty config nothing else says what the content is.",
    remedy: "Report it to the tool that wrote the manifest."
  },
  "manifest.artifact-with-image-config": {
    severity: "warning",
    title: "an artifact with the config type of images",
    spec: "image-spec artifacts-guidance.md: config.mediaType should not be a known OCI image config media type",
    rules: [26],
    explanation: "It says an artifactType, and by its config it is an image: tools may try to run or unpack it.",
    remedy: "Report it to the tool that wrote the manifest."
  },
  "manifest.absolute-path": {
    severity: "warning",
    title: "manifest.json names a member by an absolute path",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [85, 97],
    explanation:
      "Within an archive the path can only mean the member of that name, as buildpacks write theirs; docker load takes it so. Other readers look for a member that is named by the very same characters.",
    remedy: "None is needed for docker load; otherwise save the image again."
  },
  "manifest.unsafe-path": {
    severity: "error",
    title: "a path in the manifest leaves its root",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [85, 97],
    explanation:
      "Config or a layer is named by an absolute path, with `..`, or with a NUL: a reader that follows it leaves the image.",
    remedy: "Do not load this image with other tools. Find out who made it."
  },
  "manifest.parent-missing": {
    severity: "error",
    title: "the parent image is not there",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [90],
    explanation: "Parent names an image ID that no entry of the same manifest.json has.",
    remedy: "Save the image again together with its parent, or without the field."
  },
  "manifest.bad-parent": {
    severity: "error",
    title: "the parent image is none that the image can have",
    spec: "docker-image-spec v1.3, manifest.json; moby image/tarexport",
    rules: [90],
    explanation:
      "Parent names the image that this one was built on by one step, so that its history has one entry less. Of another image docker load says that it is not a valid parent, and loads nothing.",
    remedy: "Save the image again, or without the field."
  }
} as const satisfies CatalogFamily
