import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Unmounting from "../layout/mounts/Unmount.ts"
import * as Uri from "../pipeline/Uri.ts"
import type { Topic } from "./Help.ts"
import * as Output from "./Output.ts"

export const topic: Topic = {
  usage: "unmount PATH",
  summary: "Take down what mounts://PATH mounted; the layers stay, and so does what was changed in delta/"
}

/** A path, or `mounts://PATH`. */
const pathOf = (target: string): Effect.Effect<string, Uri.UsageError> =>
  Effect.gen(function* () {
    if (!Uri.isUri(target)) return target
    const uri = yield* Uri.parse(target)
    yield* Uri.onlyOptions(uri, [], "target")
    if (uri.scheme === "mounts") return uri.path
    return yield* new Uri.UsageError({
      reason: "BadUri",
      message: `cannot unmount ${JSON.stringify(target)}: expected PATH or mounts://PATH, found ${uri.scheme}://`
    })
  })

export const command = Command.make("unmount", {
  path: Args.text({ name: "PATH" }).pipe(Args.withDescription("The directory that mounts://PATH was written to"))
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ path }) =>
    Effect.gen(function* () {
      const target = yield* pathOf(path)
      const was = yield* Unmounting.unmount(target)
      yield* Output.printLine(was ? `Unmounted ${target}/rootfs` : `Nothing is mounted on ${target}/rootfs`)
    })
  )
)
