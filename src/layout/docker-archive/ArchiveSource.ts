/** Images of an archive (`tar://`): docker-save in all its forms, and oci-archive. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WorkerPool } from "../../content/WorkerPool.ts"
import * as ArchiveStore from "../ArchiveStore.ts"
import { SourceError } from "../Failure.ts"
import type { ImageSource } from "../ImageSource.ts"
import * as OciGraph from "../oci-layout/OciGraph.ts"
import * as OciSource from "../oci-layout/OciSource.ts"
import * as ArchiveFiles from "./ArchiveFiles.ts"
import * as HybridSource from "./HybridSource.ts"
import * as IndexBeside from "./IndexBeside.ts"
import * as LegacyAudit from "./LegacyAudit.ts"
import * as SavedSource from "./SavedSource.ts"

export interface ArchiveSourceOptions extends ArchiveStore.ArchiveOptions {
  readonly path: string
  readonly uri: string
}

/** Problems after which the archive's members are not what they seem. */
const fatal: ReadonlySet<string> = new Set([
  "tar.bad-checksum",
  "tar.bad-number",
  "tar.bad-pax",
  "tar.bad-size",
  "tar.bad-long-name",
  "tar.truncated",
  "tar.too-large",
  "tar.path-nul",
  "compression.truncated",
  "compression.corrupt",
  "compression.limit",
  "compression.unsupported"
])

export const make = Effect.fn("ArchiveSource.make")(function* (
  options: ArchiveSourceOptions
): Effect.fn.Return<ImageSource["Type"], SourceError, Scope.Scope | WorkerPool> {
  const store = yield* ArchiveStore.open(options.path, options)
  const problem = store.problems.find((one) => fatal.has(one.check))
  if (problem !== undefined) {
    return yield* new SourceError({
      reason: "Damaged",
      message: `cannot read ${options.path}: ${problem.message}${problem.offset === undefined ? "" : ` at byte ${problem.offset}`}`
    })
  }
  const different = [...store.duplicates].find(([, same]) => !same)
  if (different !== undefined) {
    return yield* new SourceError({
      reason: "Damaged",
      message: `cannot read ${options.path}: expected one entry named ${JSON.stringify(different[0])}, found several that differ`
    })
  }
  const hasLayout = store.lookup("index.json") !== undefined
  if (store.lookup("manifest.json") !== undefined) {
    const layout = IndexBeside.isBeside(store) ? IndexBeside.asLayout(store) : store
    return hasLayout
      ? {
          uri: options.uri,
          candidates: HybridSource.candidates(store, layout, options.uri),
          graph: OciGraph.make(layout, options.uri)
        }
      : { uri: options.uri, candidates: SavedSource.candidates(store, options.uri, "manifest.json") }
  }
  if (hasLayout) {
    return {
      uri: options.uri,
      candidates: OciSource.candidates(store, options.uri),
      graph: OciGraph.make(store, options.uri)
    }
  }
  return yield* new SourceError({
    reason: "NotAnImage",
    message: `cannot read ${options.path}: expected manifest.json or index.json in the archive, found ${
      LegacyAudit.ids(store).length > 0
        ? "images of the time before manifest.json (load the archive with Docker and save it again)"
        : ArchiveFiles.isRootfs(store)
          ? "a root file system, as docker export writes it (docker import or podman import makes an image of it)"
          : "neither"
    }`
  })
})
