/** Takes down what `mounts://PATH` mounted. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { WriteError } from "../Failure.ts"
import { unwritable } from "../OutputFiles.ts"
import * as Overlay from "./Overlay.ts"

/** Answers whether anything was mounted. The layers, and what was changed in delta/, stay. */
export const unmount = (target: string): Effect.Effect<boolean, WriteError> =>
  Effect.try({
    try: () => {
      const names = fs.readdirSync(target)
      if (!Overlay.isMounts(names)) {
        throw new WriteError({
          reason: "Unsupported",
          message: `cannot unmount ${target}: expected a directory of mounts (rootfs/, working/, delta/), found ${
            names.length === 0
              ? "an empty directory"
              : names
                  .sort()
                  .slice(0, 3)
                  .map((name) => JSON.stringify(name))
                  .join(", ")
          }`
        })
      }
      return Overlay.unmount(target)
    },
    catch: unwritable(`cannot unmount ${target}`)
  })
