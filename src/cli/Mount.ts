import * as path from "node:path"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Mounting from "../layout/mounts/Mounting.ts"
import * as Files from "../layout/mounts/MountsFiles.ts"
import * as Uri from "../pipeline/Uri.ts"
import type { Topic } from "./Help.ts"
import * as Output from "./Output.ts"

export const topic: Topic = {
  usage: "mount PATH",
  summary: "Mount the layers of mounts://PATH again, after a restart or `unmount`"
}

export const place = Args.text({ name: "PATH" }).pipe(
  Args.withDescription("The directory that mounts://PATH was written to")
)

/** Where a target's layers are mounted, to be told. */
export const rootfsOf = (target: string): string => path.join(target, Files.rootfs)

/** A path, or `mounts://PATH`. */
export const pathOf = (target: string, doing: "mount" | "unmount"): Effect.Effect<string, Uri.UsageError> =>
  Effect.gen(function* () {
    if (!Uri.isUri(target)) return target
    const uri = yield* Uri.parse(target)
    yield* Uri.onlyOptions(uri, [], "target")
    if (uri.scheme === "mounts") return uri.path
    return yield* new Uri.UsageError({
      reason: "BadUri",
      message: `cannot ${doing} ${JSON.stringify(target)}: expected PATH or mounts://PATH, found ${uri.scheme}://`
    })
  })

export const command = Command.make("mount", { path: place }).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ path: given }) =>
    Effect.gen(function* () {
      const target = yield* pathOf(given, "mount")
      const was = yield* Mounting.mount(target)
      const place = rootfsOf(target)
      yield* Output.printLine(was ? `Mounted ${place}` : `${place} is mounted already`)
    })
  )
)
