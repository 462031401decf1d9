import type { CatalogFamily } from "../CatalogEntry.ts"

/** Names of images. */
export const image = {
  "image.bad-name": {
    severity: "error",
    title: "an image name that is no valid reference",
    spec: "docker-image-spec v1.3, tag and repository; distribution reference grammar",
    rules: [88, 89],
    explanation:
      "A tag has at most 128 of [a-zA-Z0-9_.-] and begins with neither `.` nor `-`; a repository is lower case, parts separated by `/`.",
    remedy: "Tag the image anew and save it again."
  }
} as const satisfies CatalogFamily
