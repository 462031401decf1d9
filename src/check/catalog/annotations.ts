import type { CatalogFamily } from "../CatalogEntry.ts"

/** Annotations of descriptors, manifests and indexes (image-spec annotations.md). */
export const annotation = {
  "annotation.not-a-map": {
    severity: "error",
    title: "annotations are not an object",
    spec: "image-spec annotations.md, rules: absent or an empty map when there are none",
    rules: [16, 34, 57, 60],
    explanation: "annotations is an object from strings to strings. Where there are none it is absent or {}.",
    remedy: "Report it to the tool that wrote the document."
  },
  "annotation.null": {
    severity: "warning",
    title: "annotations are null",
    spec: "image-spec annotations.md, rules: absent or an empty map when there are none",
    rules: [16, 34, 60],
    explanation:
      "Where there are no annotations the property has to be absent or {}. Some serialisers write null (.NET's SDK does), and the typed readers in use take it for none: the image works, so that this is a warning; --profile strict makes it an error.",
    remedy: "None is needed to use the image. Report it to the tool that wrote the document."
  },
  "annotation.not-a-string": {
    severity: "error",
    title: "an annotation's value is no string",
    spec: "image-spec annotations.md, rules: key and value MUST be strings",
    rules: [16, 34, 57],
    explanation:
      "Numbers, booleans and objects have to be written as strings; typed readers refuse the whole document.",
    remedy: "Report it to the tool that wrote the document."
  },
  "annotation.reserved-key": {
    severity: "warning",
    title: "an annotation uses a reserved prefix",
    spec: "image-spec annotations.md, rules: org.opencontainers is reserved; consumers MUST NOT error on unknown keys",
    rules: [16, 34, 59],
    explanation:
      "The key begins with org.opencontainers, but no OCI specification known here defines it. Readers must put up with it, but a later specification may give it another meaning.",
    remedy: "Report it to the tool that wrote it: producers use a prefix of their own."
  },
  "annotation.bad-ref-name": {
    severity: "warning",
    title: "a reference name is malformed",
    spec: "image-spec annotations.md, org.opencontainers.image.ref.name: the value SHOULD conform to the grammar",
    rules: [37],
    explanation:
      "Names have parts of letters and digits with one of -._:@+ between them, divided by slashes. Tools that keep to the grammar cannot name this image.",
    remedy: "Tag the image anew under a name that every tool accepts."
  }
} as const satisfies CatalogFamily
