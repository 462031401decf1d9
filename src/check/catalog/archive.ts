import type { CatalogFamily } from "../CatalogEntry.ts"

/** An archive of images as a whole: docker-save in its forms, oci-archive, both in one. */
export const archive = {
  "archive.unreadable": {
    severity: "error",
    title: "the archive cannot be read",
    spec: "docker-image-spec v1.3; image-spec image-layout.md",
    rules: [95],
    explanation:
      "It is empty, no tar, compressed in a way that images do not use, or reading it failed: nothing in it was checked.",
    remedy: "Save the image again; look at the reason in the message."
  },
  "archive.not-an-image": {
    severity: "error",
    title: "the archive holds no image",
    spec: "docker-image-spec v1.3, manifest.json; image-spec image-layout.md",
    rules: [84],
    explanation: "It has neither manifest.json nor index.json, and no repositories of the oldest form.",
    remedy: "Check that the right file is in this place. A root file system alone is no image: import it."
  },
  "archive.duplicate-member": {
    severity: "error",
    title: "two members of one name differ",
    spec: "POSIX.1-2017 pax; docker-image-spec v1.3",
    rules: [85],
    explanation: "Some readers take the first, most take the last: they see different images.",
    remedy: "Unpack it, look which one is right, and pack it again."
  },
  "archive.path-through-non-directory": {
    severity: "error",
    title: "members below a member that is no directory",
    spec: "POSIX.1-2017 pax; docker-image-spec v1.3",
    rules: [97, 98],
    explanation:
      "A symlink or a file stands where the names of other members have a directory. What unpacks the archive, as docker load does, follows the link and puts them somewhere else, even in the place of other members; readers of names do not. No tar of a directory has such members.",
    remedy: "Treat the archive as hostile."
  },
  "archive.repeated-member": {
    severity: "info",
    title: "a member is there more than once",
    spec: "POSIX.1-2017 pax",
    rules: [85],
    explanation: "All of them have the same bytes, as some tools write layers that images share. It costs room only.",
    remedy: "None is needed."
  },
  "archive.case-collision": {
    severity: "warning",
    title: "names of two members differ in case only",
    spec: "docker-image-spec v1.3",
    rules: [85],
    explanation: "Unpacked on a file system that ignores case, one replaces the other.",
    remedy: "Do not unpack the archive on such a file system."
  },
  "archive.unreferenced": {
    severity: "info",
    title: "a member that looks like a layer or config belongs to no image",
    spec: "docker-image-spec v1.3",
    rules: [40, 91],
    explanation: "Nothing in the archive refers to it. It is allowed, and it is not loaded.",
    remedy: "None is needed."
  },
  "archive.index-mismatch": {
    severity: "error",
    title: "manifest.json and index.json describe different images",
    spec: "docker-image-spec v1.3; image-spec image-layout.md",
    rules: [92],
    explanation: "What docker load takes from the archive is not what tools take that read OCI layouts.",
    remedy: "Save the images again with one tool."
  },
  "archive.artifact-listed": {
    severity: "warning",
    title: "manifest.json lists what is no image for Docker",
    spec: "docker-image-spec v1.3; moby image/tarexport",
    rules: [23, 24, 92],
    explanation:
      "containerd lists whatever it exports in manifest.json: artifacts too, and images with modules of WebAssembly in the place of layers. index.json says what they are, and it was judged by that; docker load refuses them when it comes to them.",
    remedy:
      "None is needed for tools that read OCI layouts; ctr images export --skip-manifest-json leaves manifest.json out."
  },
  "archive.index-beside": {
    severity: "info",
    title: "index.json stands beside manifest.json without a layout",
    spec: "docker-image-spec v1.3; image-spec image-layout.md",
    rules: [36, 92],
    explanation:
      "apko adds the index of all platforms to what docker load takes: there is neither oci-layout nor blobs, and the blobs are found by the names that the archive gives them. Tools that read OCI layouts do not take it.",
    remedy: "None is needed; docker load and podman load take it by its manifest.json."
  },
  "archive.repositories-mismatch": {
    severity: "error",
    title: "manifest.json and repositories describe different images",
    spec: "docker-image-spec v1.3, repositories",
    rules: [91, 92],
    explanation: "What old versions of Docker load under a name is not what manifest.json has under it.",
    remedy: "Save the images again with one tool."
  },
  "archive.layer-sources-mismatch": {
    severity: "error",
    title: "descriptors of layers that are not those of the image",
    spec: "moby image/tarexport, LayerSources in manifest.json",
    rules: [85],
    explanation:
      "Where manifest.json gives descriptors of layers by diff_id, they are descriptors of the layers listed.",
    remedy: "Save the image again."
  },
  "archive.legacy": {
    severity: "info",
    title: "an archive of the time before manifest.json",
    spec: "docker-image-spec v1.0, combined image JSON + filesystem changeset format",
    rules: [91],
    explanation:
      "Images of this form have no digests: their layers can be read, but nothing proves that they are the right ones.",
    remedy: "Load the archive and save it again with a current tool."
  }
} as const satisfies CatalogFamily

/** docker-save's `repositories`: name to tag to the ID of the top layer (legacy). */
export const repositories = {
  "repositories.invalid-json": {
    severity: "error",
    title: "repositories is not readable JSON",
    spec: "docker-image-spec v1.3, repositories",
    rules: [1, 91],
    explanation: "The file could not be read or parsed as a JSON object in UTF-8.",
    remedy: "Save the images again; tools that read manifest.json do not need the file."
  },
  "repositories.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one object of repositories",
    spec: "image-spec considerations.md; RFC 8259 section 4",
    rules: [2],
    explanation: "Readers disagree on which of the two values counts.",
    remedy: "Save the images again."
  },
  "repositories.wrong-type": {
    severity: "error",
    title: "repositories is not {name: {tag: id}}",
    spec: "docker-image-spec v1.3, repositories",
    rules: [91],
    explanation: "The file maps repository names to tags to IDs of 64 hexadecimal digits.",
    remedy: "Save the images again."
  },
  "repositories.bad-name": {
    severity: "error",
    title: "repositories has a name or tag that is no valid reference",
    spec: "docker-image-spec v1.3, tag and repository; distribution reference grammar",
    rules: [88, 89, 91],
    explanation:
      "A tag has at most 128 of [a-zA-Z0-9_.-] and begins with neither `.` nor `-`; a repository is lower case, parts separated by `/`.",
    remedy: "Tag the image anew and save it again."
  },
  "repositories.name-with-tag": {
    severity: "warning",
    title: "repositories has a name that holds its tag",
    spec: "docker-image-spec v1.3, repositories",
    rules: [89, 91],
    explanation:
      "The file maps names to tags to IDs; here a key is name:tag, as old versions of Guix wrote it. manifest.json has the name, and is what tools read.",
    remedy: "None is needed for tools that read manifest.json."
  },
  "repositories.not-top": {
    severity: "warning",
    title: "repositories names a layer of the image that is not its top one",
    spec: "docker-image-spec v1.3, repositories",
    rules: [91, 92],
    explanation:
      "The ID is that of another layer of the image, and no layer says on which it stands, as old versions of Nix wrote it: a Docker older than 1.10 would load that layer alone. manifest.json has the whole image, and is what tools read.",
    remedy: "None is needed for tools that read manifest.json."
  },
  "repositories.dangling": {
    severity: "error",
    title: "repositories names an ID that is not there",
    spec: "docker-image-spec v1.3, repositories",
    rules: [91],
    explanation: "Neither a legacy directory nor a blob has the ID.",
    remedy: "Save the images again."
  }
} as const satisfies CatalogFamily

/** The files of the oldest form, `{id}/json` and `{id}/layer.tar`, where they are all there is. */
export const legacy = {
  "legacy.invalid-json": {
    severity: "error",
    title: "a legacy image's json is not readable",
    spec: "docker-image-spec v1.0, image JSON",
    rules: [1, 91],
    explanation: "{id}/json is missing, cannot be read, or is no JSON object in UTF-8.",
    remedy: "Save the image again with a current tool."
  },
  "legacy.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one object of a legacy image's json",
    spec: "RFC 8259 section 4",
    rules: [2],
    explanation: "Readers disagree on which of the two values counts.",
    remedy: "Save the image again with a current tool."
  },
  "archive.unlisted": {
    severity: "info",
    title: "index.json leaves out an image without a name",
    spec: "docker-image-spec v1.3",
    rules: [31, 92],
    explanation:
      "Docker 25 lists images in index.json by their names only: of those saved by ID it has none, or null in place of a list. Readers of manifest.json find them, readers of OCI layouts do not.",
    remedy: "Save the image by a name, or with a later Docker."
  },
  "legacy.bad-id": {
    severity: "error",
    title: "a legacy image's json is another image's",
    spec: "docker-image-spec v1.0, image JSON, id",
    rules: [91],
    explanation: "{id}/json says another id than its directory: repositories and parents name images by it.",
    remedy: "Save the image again with a current tool."
  },
  "legacy.bad-parent": {
    severity: "error",
    title: "a legacy image's chain of parents is broken",
    spec: "docker-image-spec v1.0, image JSON, parent",
    rules: [90, 91],
    explanation: "A parent is not there, is no ID, or the chain comes back to itself.",
    remedy: "Save the image again with a current tool."
  }
} as const satisfies CatalogFamily
