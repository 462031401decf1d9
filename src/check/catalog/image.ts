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
  },
  "image.duplicate-name": {
    severity: "warning",
    title: "one name for two different images",
    spec: "docker-image-spec v1.3, manifest.json, RepoTags",
    rules: [92],
    explanation:
      "manifest.json gives the same name to two images: docker load takes the last one, other tools take the first or refuse.",
    remedy: "Save the images again, each under a name of its own."
  },
  "image.untagged-name": {
    severity: "warning",
    title: "an image name without a tag",
    spec: "docker-image-spec v1.3, RepoTags: name:tag",
    rules: [88],
    explanation: "docker load refuses the archive: it takes names with a tag only, and none with a digest alone.",
    remedy: "Tag the image and save it by that name."
  }
} as const satisfies CatalogFamily
