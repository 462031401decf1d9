/** Images of an OCI image layout directory (`oci-layout://`) as a source. */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { SourceError } from "../Failure.ts"
import type { ImageSource } from "../ImageSource.ts"
import * as OciGraph from "./OciGraph.ts"
import * as OciSource from "./OciSource.ts"
import * as SharedBlobs from "./SharedBlobs.ts"

export const make = Effect.fn("OciLayoutSource.make")(function* (options: {
  readonly path: string
  readonly uri: string
  /** Where blobs are that are not in the layout itself. */
  readonly sharedBlobs?: string | undefined
}) {
  const stat = fs.statSync(options.path, { throwIfNoEntry: false })
  if (stat === undefined) {
    return yield* new SourceError({ reason: "NotFound", message: `cannot read ${options.path}: it does not exist` })
  }
  const store = SharedBlobs.make(options.path, options.sharedBlobs)
  if (!stat.isDirectory() || store.lookup("index.json") === undefined) {
    return yield* new SourceError({
      reason: "NotAnImage",
      message: `cannot read ${options.path}: expected a directory with index.json, found ${stat.isDirectory() ? "none in it" : "a file"}`
    })
  }
  return {
    uri: options.uri,
    candidates: OciSource.candidates(store, options.uri),
    graph: OciGraph.make(store, options.uri)
  } satisfies ImageSource["Type"]
})
