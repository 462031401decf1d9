/** Images of a `dir://` directory, one or many, as a source. */

import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as SavedSource from "../docker-archive/SavedSource.ts"
import { describe, SourceError } from "../Failure.ts"
import type { ImageSource } from "../ImageSource.ts"
import * as Files from "./DirectoryFiles.ts"

/** Fails when there is no directory, or none that holds a manifest. */
export const make = Effect.fn("DirectorySource.make")(function* (options: {
  readonly path: string
  readonly uri: string
}) {
  const names = yield* Effect.try({
    try: () => fs.readdirSync(options.path).sort(),
    catch: (cause) =>
      new SourceError({
        reason: (cause as NodeJS.ErrnoException).code === "ENOENT" ? "NotFound" : "Unreadable",
        message:
          (cause as NodeJS.ErrnoException).code === "ENOTDIR"
            ? `cannot read ${options.path}: expected a directory, found a file`
            : `cannot read ${options.path}: ${describe(cause)}`,
        cause
      })
  })
  const manifests = names.filter(Files.isManifest)
  if (manifests.length === 0) {
    return yield* new SourceError({
      reason: "NotAnImage",
      message: `cannot read ${options.path}: expected manifest.json or manifest-NAME-TAG.json in it, found neither`
    })
  }
  const store = DirectoryStore.make(options.path)
  return {
    uri: options.uri,
    candidates: Effect.forEach(manifests, (file) => SavedSource.candidates(store, options.uri, file)).pipe(
      Effect.map((all) => all.flat())
    )
  } satisfies ImageSource["Type"]
})
