/** What an argument names: what `search`, `inspect` and `diff` begin with. */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WorkerPool } from "../content/WorkerPool.ts"
import type { Side } from "../filter/Diff.ts"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import { describe, SourceError } from "../layout/Failure.ts"
import { choose } from "../layout/ImageSource.ts"
import * as BundleFiles from "../layout/runtime-bundle/BundleFiles.ts"
import * as Layouts from "../pipeline/Layouts.ts"
import type { Uri, UsageError } from "../pipeline/Uri.ts"
import { withProgress } from "./Progress.ts"

/** A path, whose layout is detected, or a URI. The image can be read until the scope ends. */
export const load = Effect.fn("Source.load")(function* (
  target: string,
  options: Layouts.SourceOptions
): Effect.fn.Return<Image.Image, UsageError | SourceError, Scope.Scope | WorkerPool> {
  const { selector, source } = yield* withProgress(Layouts.openSource(yield* Layouts.locate(target), options))
  return yield* choose(source, selector)
})

/** What `diff` compares: an image, or a bundle or mounts with what one was unpacked to. */
export const loadSide = Effect.fn("Source.loadSide")(function* (
  target: string,
  options: Layouts.SourceOptions
): Effect.fn.Return<Side, UsageError | SourceError, Scope.Scope | WorkerPool> {
  const uri = yield* Layouts.locate(target)
  if (uri.scheme !== "oci" && uri.scheme !== "mounts") return yield* load(target, options)
  if (uri.scheme === "mounts" && !(yield* isMounted(uri))) {
    return yield* new SourceError({
      reason: "Unreadable",
      message: `cannot compare ${JSON.stringify(target)}: nothing is mounted on its rootfs/, and its layers are apart; \`verify TARGET --against SOURCE\` compares them one by one`
    })
  }
  return yield* unpacked(uri)
})

const isMounted = Effect.fnUntraced(function* (uri: Uri) {
  const { mountAt } = yield* Effect.promise(() => import("../layout/mounts/Overlay.ts"))
  return yield* Effect.try({
    try: () => mountAt(path.join(fs.realpathSync(uri.path), BundleFiles.rootfs)) !== undefined,
    catch: unreadable(uri)
  })
})

const unpacked = (uri: Uri): Effect.Effect<Side, SourceError> =>
  Effect.try({
    try: () => {
      const file = path.join(uri.path, BundleFiles.containerConfig)
      const raw = fs.existsSync(file) ? fs.readFileSync(file) : undefined
      return {
        source: `${uri.scheme}://${uri.path}`,
        rootfs: path.join(uri.path, BundleFiles.rootfs),
        config:
          raw === undefined
            ? undefined
            : { raw, digest: Digest.make("sha256", crypto.createHash("sha256").update(raw).digest("hex")) }
      }
    },
    catch: unreadable(uri)
  })

const unreadable =
  (uri: Uri) =>
  (cause: unknown): SourceError =>
    new SourceError({ reason: "Unreadable", message: `cannot read ${uri.path}: ${describe(cause)}`, cause })
