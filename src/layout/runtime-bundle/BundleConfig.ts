/** The two configurations of an unpacked image. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Image from "../../image/Image.ts"
import { SourceError, WriteError } from "../Failure.ts"
import * as Receipt from "../Receipt.ts"
import * as Files from "./BundleFiles.ts"
import * as Confined from "./Confined.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

export interface ConfigFile {
  readonly file: Receipt.File
  readonly bytes: Uint8Array
}

/** Left: one line on why the user cannot be told. `rootfs` is the unpacked tree. */
export const resolveUser = (spec: string, rootfs: string): Either.Either<RuntimeConfig.User, string> => {
  try {
    return RuntimeConfig.userOf(spec, {
      passwd: Confined.readText(rootfs, "etc/passwd"),
      group: Confined.readText(rootfs, "etc/group")
    })
  } catch (cause) {
    return Either.left(cause instanceof Error ? cause.message : String(cause))
  }
}

/** config.json and container-config.json of an image whose tree is at `rootfs`. */
export const configFiles = (
  image: Image.Image,
  rootfs: string
): Effect.Effect<ReadonlyArray<ConfigFile>, SourceError | WriteError> =>
  Effect.gen(function* () {
    const { raw, value } = image.config
    if (value.os === "windows") {
      return yield* new WriteError({
        reason: "Unsupported",
        message: `cannot make a bundle of ${image.source}: expected an image for linux, found one for windows`
      })
    }
    const spec = value.config?.User ?? ""
    const user = resolveUser(spec, rootfs)
    if (Either.isLeft(user)) {
      return yield* new SourceError({
        reason: "Unsupported",
        message: `cannot make a bundle of ${image.source}: expected the user ${JSON.stringify(spec)} in the image, but ${user.left}`
      })
    }
    const bytes = RuntimeConfig.encode(RuntimeConfig.convert(value, user.right))
    return [
      { file: Receipt.fileOf(Files.containerConfig, raw), bytes: raw },
      { file: Receipt.fileOf(Files.config, bytes), bytes }
    ]
  })
