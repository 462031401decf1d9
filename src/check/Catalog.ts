/** Every check there is. docs/checks.md is made from it, and `tallyman explain` prints it. */
import type { ContentCheck } from "../content/Problem.ts"
import type { CatalogEntry } from "./CatalogEntry.ts"
import { against } from "./catalog/against.ts"
import { annotation } from "./catalog/annotations.ts"
import { archive, legacy, repositories } from "./catalog/archive.ts"
import { bundle, runtime } from "./catalog/bundle.ts"
import { config, history } from "./catalog/config.ts"
import { descriptor } from "./catalog/descriptor.ts"
import { catalogFile, directory, receipt } from "./catalog/directory.ts"
import { image } from "./catalog/image.ts"
import { index } from "./catalog/image-index.ts"
import { json } from "./catalog/json.ts"
import { layer } from "./catalog/layer.ts"
import { manifest } from "./catalog/manifest.ts"
import { mounts } from "./catalog/mounts.ts"
import { blob, layoutFile } from "./catalog/oci-layout.ts"
import { rootfs } from "./catalog/rootfs.ts"
import { compression, tar } from "./catalog/tar.ts"

const entries = {
  ...json,
  ...manifest,
  ...image,
  ...config,
  ...history,
  ...layer,
  ...tar,
  ...compression,
  ...layoutFile,
  ...index,
  ...descriptor,
  ...annotation,
  ...blob,
  ...archive,
  ...repositories,
  ...legacy,
  ...directory,
  ...catalogFile,
  ...receipt,
  ...rootfs,
  ...bundle,
  ...runtime,
  ...mounts,
  ...against
}

export type CheckId = keyof typeof entries

/** By id. The type makes sure that what a pass over bytes can report has a row. */
export const catalog: Readonly<Record<CheckId, CatalogEntry>> & Readonly<Record<ContentCheck, CatalogEntry>> = entries

/** In the order of the documentation. */
export const ids = Object.keys(entries) as ReadonlyArray<CheckId>

export const isCheckId = (text: string): text is CheckId => Object.hasOwn(entries, text)
