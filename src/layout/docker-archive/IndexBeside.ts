/**
 * docker-save archives with an index.json that is no OCI layout's, as apko writes them: the archive that
 * go-containerregistry makes, manifests as members named by their digests, and behind them the index of all platforms.
 */
import * as OciFiles from "../oci-layout/OciFiles.ts"
import type { Store } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"

/** True where index.json stands beside manifest.json without anything else of a layout. */
export const isBeside = (store: Store): boolean =>
  store.lookup(Files.manifestFile) !== undefined &&
  store.lookup(OciFiles.indexFile) !== undefined &&
  store.lookup(OciFiles.layoutFile) === undefined &&
  store.lookup(OciFiles.blobs) === undefined

const blob = /^blobs\/([^/]+)\/([^/]+)$/

/** The member that such an archive keeps a blob in, by the blob's name in a layout; undefined for any other name. */
export const memberOf = (store: Store, name: string): string | undefined => {
  const match = blob.exec(name)
  if (match === null) return undefined
  const [, algorithm, encoded] = match
  return [`${algorithm}:${encoded}`, `${encoded}.tar.gz`].find((one) => store.lookup(one) !== undefined)
}

/** The archive as the layout that its index describes: every blob is found, by whatever name it stands there. */
export const asLayout = (store: Store): Store => ({
  ...store,
  lookup: (name) => {
    const member = memberOf(store, name)
    return store.lookup(member ?? name)
  }
})
