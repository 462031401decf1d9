import type { CatalogFamily } from "../CatalogEntry.ts"

/** What a directory holds besides manifests, configs and layers. */
export const directory = {
  "directory.incomplete": {
    severity: "error",
    title: "a run that wrote here was cut off",
    spec: "tallyman: every run leaves a journal until its output is in place",
    rules: [],
    explanation: "A journal of a run stands here whose process is gone: what it was writing is not complete.",
    remedy: "Run the same command again; it completes the output and removes the journal."
  },
  "directory.in-progress": {
    severity: "info",
    title: "a run is writing here now",
    spec: "tallyman: every run leaves a journal until its output is in place",
    rules: [],
    explanation: "Another process is adding an image; what is reported may change.",
    remedy: "Verify again when it is done."
  },
  "directory.leftover": {
    severity: "warning",
    title: "a temporary file that no run owns",
    spec: "tallyman: files are written under a temporary name and renamed",
    rules: [],
    explanation: "An interrupted run left it. No image uses it.",
    remedy: "Delete it, or run a `process` into this directory, which does."
  },
  "directory.empty": {
    severity: "warning",
    title: "an empty layer directory",
    spec: "docker-image-spec v1.3",
    rules: [],
    explanation: "A directory with the name of a layer holds no layer.tar.",
    remedy: "If a manifest names the layer, it is reported as missing; otherwise delete the directory."
  },
  "directory.unreadable": {
    severity: "error",
    title: "a directory cannot be listed",
    spec: "tallyman",
    rules: [],
    explanation: "What it holds is not known, so nothing in it was checked.",
    remedy: "Give the user who verifies the right to read it."
  }
} as const satisfies CatalogFamily

export const catalogFile = {
  "catalog.invalid-json": {
    severity: "error",
    title: "catalog.json is not readable",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [1],
    explanation: "catalog.json does not parse, or does not have the form {image: {tag: file}}.",
    remedy: "Delete it and process the images into this directory again: it is rebuilt."
  },
  "catalog.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one object of catalog.json",
    spec: "image-spec considerations.md; RFC 8259 section 4",
    rules: [2],
    explanation: "Readers disagree on which of the two values counts.",
    remedy: "Process the images into this directory again."
  },
  "catalog.dangling": {
    severity: "error",
    title: "catalog.json names a manifest that is not there",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [],
    explanation: "An image that the catalog promises is not in the directory.",
    remedy: "Process that image into this directory again."
  },
  "catalog.stale": {
    severity: "warning",
    title: "catalog.json names a manifest that is another image's",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [],
    explanation:
      "A second image was written without unique_names and replaced manifest.json; the catalog still names the older image.",
    remedy: "Write several images into one directory with unique_names=true."
  },
  "catalog.unlisted": {
    severity: "info",
    title: "a manifest that catalog.json does not name",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [],
    explanation: "The manifest was checked, but a reader that goes by the catalog does not find the image.",
    remedy: "Process that image into this directory again."
  },
  "catalog.missing": {
    severity: "error",
    title: "catalog.json is not there",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [],
    explanation: "The images here were written with a catalog. Readers that go by it find no image at all.",
    remedy:
      "Process any image into this directory again; the others keep their manifests and can be processed again too."
  },
  "catalog.missing-entry": {
    severity: "error",
    title: "catalog.json lacks an entry that was written",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [],
    explanation: "The receipt records an entry for the image, which the catalog no longer has.",
    remedy: "Process that image into this directory again."
  },
  "catalog.reformatted": {
    severity: "warning",
    title: "catalog.json is not in the form its writers leave",
    spec: "tallyman: catalog.json is written with sorted keys and an indentation of 4",
    rules: [],
    explanation: "Something else than an image tool changed the catalog, if only its white space.",
    remedy: "If it was edited by hand, none. Otherwise look for other changes in the directory."
  },
  "catalog.collision": {
    severity: "warning",
    title: "two images share one manifest file",
    spec: "tallyman: `/` becomes `_` in manifest file names",
    rules: [],
    explanation: "The names of the two images become the same file name; only the one written last is there.",
    remedy: "Write one of them into another directory."
  },
  "catalog.unsafe-path": {
    severity: "error",
    title: "catalog.json names a path outside the directory",
    spec: "tallyman: catalog.json maps image to tag to manifest file",
    rules: [],
    explanation: "The manifest's file name is absolute, holds a slash or `..`.",
    remedy: "Find out who wrote the catalog; process the image again."
  }
} as const satisfies CatalogFamily

export const receipt = {
  "receipt.invalid": {
    severity: "error",
    title: "the receipt cannot be read",
    spec: "in-toto attestation framework, Statement v1",
    rules: [1],
    explanation:
      "A receipt stands beside the output but is no in-toto Statement v1 of this program, so that sizes and digests recorded at the time of writing are lost.",
    remedy: "Process the image again, or delete the receipt to audit without it."
  },
  "receipt.missing": {
    severity: "warning",
    title: "the receipt is not there",
    spec: "tallyman: every image is written with a receipt beside its manifest",
    rules: [],
    explanation:
      "The image was written with a receipt; without it, an audit cannot compare with what was recorded at the time.",
    remedy: "Process the image again; what is there and right is kept."
  },
  "receipt.stale": {
    severity: "warning",
    title: "the receipt records an image that is no longer listed",
    spec: "tallyman: receipts record the entries that were written",
    rules: [],
    explanation:
      "index.json has no entry for the image of this receipt: it was removed or renamed by another tool, or index.json was damaged.",
    remedy: "If the image was removed on purpose, delete the receipt; otherwise write the image again."
  },
  "receipt.missing-file": {
    severity: "error",
    title: "a file in the receipt is not there",
    spec: "in-toto attestation framework, Statement v1, subject",
    rules: [],
    explanation: "The writer recorded a file that no longer exists.",
    remedy: "Process the image again."
  },
  "receipt.size-mismatch": {
    severity: "error",
    title: "a file has another size than its receipt says",
    spec: "in-toto attestation framework, Statement v1, subject",
    rules: [12],
    explanation: "The file was cut, extended or replaced since it was written.",
    remedy: "Process the image again."
  },
  "receipt.digest-mismatch": {
    severity: "error",
    title: "a file's sha256 is not the one in its receipt",
    spec: "in-toto attestation framework, Statement v1, subject",
    rules: [6],
    explanation: "The file was changed since it was written.",
    remedy: "Process the image again."
  },
  "receipt.image-mismatch": {
    severity: "error",
    title: "the receipt is another image's",
    spec: "in-toto attestation framework, Statement v1",
    rules: [],
    explanation: "The receipt does not name the files that the manifest beside it names.",
    remedy: "Process the image again."
  }
} as const satisfies CatalogFamily
