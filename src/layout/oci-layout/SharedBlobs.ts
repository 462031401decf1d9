/**
 * A layout whose blobs lie in another directory, which layouts may share: skopeo's `--dest-shared-blob-dir`, and
 * `--src-shared-blob-dir` of what reads it.
 */
import * as DirectoryStore from "../DirectoryStore.ts"
import type { Store } from "../Store.ts"
import * as Files from "./OciFiles.ts"

/**
 * The layout at `root`, with blobs also found in `directory`, as `{algorithm}/{encoded}`. Listings show the layout's own
 * only: what else lies in a shared place belongs to other layouts.
 */
export const make = (root: string, directory: string | undefined): Store => {
  const own = DirectoryStore.make(root)
  if (directory === undefined) return own
  const shared = DirectoryStore.make(directory)
  return {
    ...own,
    entries: (name) => own.entries(name) ?? (name === Files.blobs ? new Map() : undefined),
    lookup: (name) => {
      const found = own.lookup(name)
      if (found !== undefined) return found
      if (name === Files.blobs) return { kind: "directory" }
      return name.startsWith(`${Files.blobs}/`) ? shared.lookup(name.slice(Files.blobs.length + 1)) : undefined
    }
  }
}
