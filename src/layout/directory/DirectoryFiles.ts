/** Names of files in a `dir://` directory, as this program and the older tool write them. */
import * as Reference from "../../image/Reference.ts"

export const catalogFile = "catalog.json"

const safe = (text: string): string => text.replaceAll("/", "_")

/** The image's name and tag as the catalog keys them: `latest` where there is no tag, the digest where that is all. */
export const catalogKey = (name: string): { readonly image: string; readonly tag: string } => {
  const parts = Reference.split(name)
  return {
    image: parts.name,
    tag: parts.tag ?? (parts.digest === undefined ? "latest" : safe(parts.digest).replace(":", "-"))
  }
}

/** `manifest.json`, or `manifest-{image}-{tag}.json` with unique names. */
export const manifestFile = (name: string, uniqueNames: boolean): string => {
  if (!uniqueNames) return "manifest.json"
  const { image, tag } = catalogKey(name)
  return `manifest-${safe(image)}-${safe(tag)}.json`
}

const manifestPattern = /^manifest(-.+)?\.json$/
const receiptPattern = /^receipt(-.+)?\.json$/

export const isManifest = (file: string): boolean => manifestPattern.test(file)
export const isReceipt = (file: string): boolean => receiptPattern.test(file)

/** `manifest-x-1.json` has its receipt in `receipt-x-1.json`. */
export const receiptFile = (manifest: string): string => manifest.replace(/^manifest/, "receipt")
export const manifestOfReceipt = (file: string): string => file.replace(/^receipt/, "manifest")

/** Where a layer's tar lies: named by what it holds, so that images share it. */
export const layerFile = (diffId: string): string => `${diffId.slice(diffId.indexOf(":") + 1)}/layer.tar`
export const configFile = (digest: string): string => `${digest.slice(digest.indexOf(":") + 1)}.json`
