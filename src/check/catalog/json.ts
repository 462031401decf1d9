import type { CatalogFamily } from "../CatalogEntry.ts"

/** Names in JSON documents of any kind. */
export const json = {
  "json.ambiguous-name": {
    severity: "error",
    title: "a property stands twice, spelt in different case",
    spec: "image-spec considerations.md; RFC 8259 section 4; Go encoding/json matches names whatever their case",
    rules: [2],
    explanation:
      "Most image tools are written in Go, where the later of the two counts; others take the one that is spelt as the specification does. So one tool may check what another does not run.",
    remedy: "Treat the image as hostile until its producer is known to be merely sloppy."
  },
  "json.name-case": {
    severity: "warning",
    title: "a name differs from a property's in case only",
    spec: "image-spec considerations.md; RFC 8259 section 4; Go encoding/json matches names whatever their case",
    rules: [2],
    explanation:
      "By the specification it is a property nobody knows; tools written in Go take it for the one that it resembles.",
    remedy: "Report it to the tool that wrote the document."
  }
} as const satisfies CatalogFamily
