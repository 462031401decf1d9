import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Mounting from "../layout/mounts/Mounting.ts"
import type { Topic } from "./Help.ts"
import * as Mount from "./Mount.ts"
import * as Output from "./Output.ts"

export const topic: Topic = {
  usage: "unmount PATH",
  summary: "Take down what is mounted there; the layers stay, and so does what was changed in delta/"
}

export const command = Command.make("unmount", { path: Mount.place }).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ path }) =>
    Effect.gen(function* () {
      const target = yield* Mount.pathOf(path, "unmount")
      const was = yield* Mounting.unmount(target)
      const place = Mount.rootfsOf(target)
      yield* Output.printLine(was ? `Unmounted ${place}` : `Nothing is mounted on ${place}`)
    })
  )
)
