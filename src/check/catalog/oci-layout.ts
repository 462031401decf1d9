import type { CatalogFamily } from "../CatalogEntry.ts"

/** The frame of an OCI image layout: its version file and its directory of blobs (image-spec image-layout.md). */
export const layoutFile = {
  "oci-layout.missing": {
    severity: "error",
    title: "the file oci-layout is not there",
    spec: "image-spec image-layout.md, oci-layout file: it MUST exist",
    rules: [36],
    explanation: "Without it nothing says that this is an OCI image layout, nor of which version; tools refuse it.",
    remedy: 'If the rest is right, a file oci-layout with {"imageLayoutVersion":"1.0.0"} makes it a layout again.'
  },
  "oci-layout.invalid-json": {
    severity: "error",
    title: "oci-layout is not readable JSON",
    spec: "image-spec image-layout.md, oci-layout file: it MUST be a JSON object",
    rules: [1, 36],
    explanation: "The file could not be read or parsed as a JSON object in UTF-8.",
    remedy: 'If the rest is right, write it anew: {"imageLayoutVersion":"1.0.0"}.'
  },
  "oci-layout.duplicate-key": {
    severity: "error",
    title: "a name stands twice in oci-layout",
    spec: "image-spec considerations.md; RFC 8259 section 4",
    rules: [2],
    explanation: "Readers disagree on which of the two values counts.",
    remedy: 'If the rest is right, write it anew: {"imageLayoutVersion":"1.0.0"}.'
  },
  "oci-layout.bad-version": {
    severity: "error",
    title: "imageLayoutVersion is missing or not 1.0.0",
    spec: "image-spec image-layout.md, imageLayoutVersion",
    rules: [36],
    explanation: "Every layout of image-spec 1.x says version 1.0.0; tools refuse any other.",
    remedy: "If the layout was made by a tool of another version, let that tool convert it."
  },
  "oci-layout.no-blobs": {
    severity: "error",
    title: "the directory blobs is not there",
    spec: "image-spec image-layout.md, blobs directory: it MUST exist",
    rules: [35],
    explanation: "The layout has no place for content; the directory may be empty but has to exist.",
    remedy: "If the blobs are kept elsewhere, put them in place; otherwise write the layout again."
  },
  "oci-layout.extra-file": {
    severity: "info",
    title: "a file that does not belong to the layout",
    spec: "image-spec image-layout.md",
    rules: [40],
    explanation: "Nothing refers to it and no known tool keeps such a file here. It is allowed.",
    remedy: "None is needed."
  }
} as const satisfies CatalogFamily

/** Files below blobs/ as such, and content of no kind of its own. */
export const blob = {
  "blob.missing": {
    severity: "error",
    title: "a blob is not there",
    spec: "image-spec image-layout.md, blobs; descriptor.md",
    rules: [38],
    explanation: "A document names content that the layout does not hold and that nothing says to be elsewhere.",
    remedy: "Fetch the image again."
  },
  "blob.absent": {
    severity: "info",
    title: "content that is allowed to be elsewhere is not here",
    spec: "image-spec image-layout.md: the blobs directory MAY be missing referenced blobs; manifest.md, subject",
    rules: [28, 40],
    explanation:
      "The content is a layer with urls or one that may not be distributed, the subject of a referrer, embedded in its descriptor, or an image that an index lists and an export for fewer platforms left out. It was not checked.",
    remedy: "None is needed to use what is here."
  },
  "blob.unreadable": {
    severity: "error",
    title: "a blob cannot be read",
    spec: "image-spec image-layout.md, blobs",
    rules: [38],
    explanation:
      "What stands in the blob's place is a directory, a link to nowhere or out of the layout, a device or a FIFO, or reading it failed.",
    remedy: "Look at the reason in the message; write the layout again if the content is lost."
  },
  "blob.size-mismatch": {
    severity: "error",
    title: "a blob has another size than its descriptor says",
    spec: "image-spec descriptor.md, size",
    rules: [12],
    explanation: "The file is longer or shorter than the descriptor that refers to it says.",
    remedy: "The blob was cut or changed: fetch the image again."
  },
  "blob.digest-mismatch": {
    severity: "error",
    title: "a blob is not what its name says",
    spec: "image-spec image-layout.md: the content of blobs/<alg>/<encoded> MUST match the digest",
    rules: [3, 6, 38],
    explanation: "The digest of the bytes differs from the file's name or from a descriptor.",
    remedy: "The blob was changed: fetch the image again, or delete the blob if nothing refers to it."
  },
  "blob.bad-name": {
    severity: "error",
    title: "a name below blobs/ that no digest has",
    spec: "image-spec image-layout.md: the entry names MUST match the grammar of digests",
    rules: [39],
    explanation: "Below blobs/ there are directories named by algorithms, and in them files named by encoded digests.",
    remedy: "Delete or move the file; nothing can refer to it."
  },
  "blob.symlink": {
    severity: "warning",
    title: "a blob is a symlink",
    spec: "image-spec image-layout.md: content is stored in files",
    rules: [39],
    explanation:
      "The link leads to another place in the layout. What it leads to was checked, but the layout may lose it when it is copied or packed.",
    remedy: "Replace the link by the file."
  },
  "blob.case-collision": {
    severity: "warning",
    title: "two names differ in case only",
    spec: "image-spec descriptor.md, digests: encoded may be case-sensitive",
    rules: [39],
    explanation: "On a file system that ignores case one replaces the other.",
    remedy: "Do not copy the layout to such a file system."
  },
  "blob.unreferenced": {
    severity: "info",
    title: "a blob belongs to no image",
    spec: "image-spec image-layout.md: the blobs directory MAY contain blobs which are not referenced",
    rules: [40],
    explanation: "No index or manifest here refers to it. It was hashed all the same at full depth.",
    remedy: "None is needed; a garbage collection frees its room."
  }
} as const satisfies CatalogFamily
