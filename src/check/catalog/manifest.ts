import type { CatalogFamily } from "../CatalogEntry.ts"

/** The document that names an image's config and layers: docker-save's manifest.json or an OCI image manifest. */
export const manifest = {
  "manifest.missing": {
    severity: "error",
    title: "no manifest",
    spec: "docker-image-spec v1.3, combined image JSON + filesystem changeset format; image-spec image-layout.md",
    rules: [],
    explanation:
      "Nothing here says which config and layers make up an image. A writer puts the manifest in place last, so this is how an output looks whose writing was cut off.",
    remedy: "Run the command that wrote it again: what is already there and right is kept."
  },
  "manifest.invalid-json": {
    severity: "error",
    title: "manifest is not readable JSON",
    spec: "image-spec considerations.md (JSON is UTF-8); docker-image-spec v1.3",
    rules: [1],
    explanation: "The manifest could not be parsed, is not UTF-8, nests absurdly deep or is larger than any manifest may be.",
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
    rules: [85],
    explanation: "The manifest lacks a field without which the image cannot be put together.",
    remedy: "Fetch or save the image again."
  },
  "manifest.wrong-type": {
    severity: "error",
    title: "a field has the wrong JSON type",
    spec: "docker-image-spec v1.3, manifest.json; image-spec manifest.md",
    rules: [84],
    explanation: "A field of the manifest holds another kind of value than its format says, such as a number for a path.",
    remedy: "Fetch or save the image again."
  },
  "manifest.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one JSON object",
    spec: "image-spec considerations.md, canonicalization; RFC 8259 section 4",
    rules: [2],
    explanation:
      "Readers disagree on which of the two values counts, so that one tool may check what another does not run.",
    remedy: "Treat the image as hostile until its producer is known to be merely sloppy."
  },
  "manifest.unsafe-path": {
    severity: "error",
    title: "a path in the manifest leaves its root",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [85, 97],
    explanation: "Config or a layer is named by an absolute path, with `..`, or with a NUL: a reader that follows it leaves the image.",
    remedy: "Do not load this image with other tools. Find out who made it."
  },
  "manifest.parent-missing": {
    severity: "error",
    title: "the parent image is not there",
    spec: "docker-image-spec v1.3, manifest.json",
    rules: [90],
    explanation: "Parent names an image ID that no entry of the same manifest.json has.",
    remedy: "Save the image again together with its parent, or without the field."
  }
} as const satisfies CatalogFamily
