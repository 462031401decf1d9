import type { CatalogFamily } from "../CatalogEntry.ts"

/** Content descriptors, wherever one document refers to another (image-spec descriptor.md). */
export const descriptor = {
  "descriptor.missing-field": {
    severity: "error",
    title: "a descriptor lacks a required property",
    spec: "image-spec descriptor.md, properties",
    rules: [5, 6, 11, 19, 20, 28],
    explanation: "mediaType, digest and size are required: without them the content cannot be found or proved.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.wrong-type": {
    severity: "error",
    title: "a descriptor or a property of it has the wrong JSON type",
    spec: "image-spec descriptor.md, properties",
    rules: [5, 6, 11, 13, 14, 15, 19, 20, 28, 31],
    explanation: "A descriptor is an object; its properties hold another kind of value than the specification says.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.bad-media-type": {
    severity: "error",
    title: "a media type is malformed",
    spec: "image-spec descriptor.md, mediaType; RFC 6838 section 4.2",
    rules: [5],
    explanation:
      "A media type is type/subtype, each of at most 127 letters, digits and some of the marks !#$&-^_.+ between them.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.bad-digest": {
    severity: "error",
    title: "a digest is malformed",
    spec: "image-spec descriptor.md, digests",
    rules: [6, 7, 8, 9],
    explanation:
      "A digest is algorithm:encoded; sha256 and blake3 take 64, sha512 takes 128 hexadecimal digits in lower case. What it refers to cannot be found.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.unknown-algorithm": {
    severity: "info",
    title: "a digest of an algorithm that cannot be computed here",
    spec: "image-spec descriptor.md, digests: unsupported digests pass if they comply with the grammar",
    rules: [10],
    explanation:
      "sha256, sha512 and blake3, which the specification registers, are computed, and sha384. Of content that another algorithm names nothing proves that it is the right content.",
    remedy: "Use a tool that knows the algorithm, or have the image written with sha256."
  },
  "descriptor.bad-size": {
    severity: "error",
    title: "a size is no byte count",
    spec: "image-spec descriptor.md, size",
    rules: [11],
    explanation: "size is a whole number of bytes, zero or more.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.bad-url": {
    severity: "error",
    title: "an entry of urls is no URI",
    spec: "image-spec descriptor.md, urls; RFC 3986",
    rules: [13],
    explanation: "Content that is not in the image would be fetched from there.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.url-scheme": {
    severity: "warning",
    title: "an entry of urls is neither http nor https",
    spec: "image-spec descriptor.md, urls: entries SHOULD use the http and https schemes",
    rules: [13],
    explanation:
      "Few clients fetch from other schemes, and some schemes lead to places that an image has no business with.",
    remedy: "Find out why the image's producer put it there."
  },
  "descriptor.bad-data": {
    severity: "error",
    title: "embedded data is not base64",
    spec: "image-spec descriptor.md, data; RFC 4648 section 4",
    rules: [14],
    explanation: "data holds the content itself in standard base64 with padding.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.data-mismatch": {
    severity: "error",
    title: "embedded data is not what the descriptor describes",
    spec: "image-spec descriptor.md, data: MUST be identical to the referenced content",
    rules: [14],
    explanation: "A reader that takes the embedded data gets other content than one that takes the blob.",
    remedy: "Treat the image as hostile until its producer is known to be merely sloppy."
  },
  "descriptor.bad-artifact-type": {
    severity: "error",
    title: "an artifactType is malformed",
    spec: "image-spec descriptor.md and manifest.md, artifactType; RFC 6838 section 4.2",
    rules: [15],
    explanation: "An artifactType has the form of a media type.",
    remedy: "Report it to the tool that wrote the document."
  },
  "descriptor.not-empty": {
    severity: "error",
    title: "the empty media type stands for something else than {}",
    spec: "image-spec manifest.md, guidance for an empty descriptor",
    rules: [27],
    explanation:
      "application/vnd.oci.empty.v1+json is the two bytes `{}` and nothing else; its size and digest are fixed.",
    remedy: "Report it to the tool that wrote the document."
  }
} as const satisfies CatalogFamily
