/** Images as Docker knows them: by sha256 alone (docker-image-spec v1.3, "Image ID", "Layer DiffID"). */
import * as crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as Digest from "../image/Digest.ts"
import type * as Image from "../image/Image.ts"
import { WriteError } from "./Failure.ts"

/** The image under its ID, the sha256 of its config, whatever its manifest names that by. */
export const byId = (image: Image.Image): Image.Image =>
  Digest.algorithmOf(image.config.digest) === "sha256"
    ? image
    : {
        ...image,
        config: {
          ...image.config,
          digest: Digest.make("sha256", crypto.createHash("sha256").update(image.config.raw).digest("hex"))
        }
      }

/** As a docker-save form can hold it. Docker refuses layers whose diff_ids are in anything but sha256. */
export const inDocker = (
  image: Image.Image,
  destination: string,
  remedy = ""
): Effect.Effect<Image.Image, WriteError> => {
  const other = image.layers.find(({ diffId }) => Digest.algorithmOf(diffId) !== "sha256")
  return other === undefined
    ? Effect.succeed(byId(image))
    : Effect.fail(
        new WriteError({
          reason: "Unsupported",
          message: `cannot write layer ${other.index} (${other.name}) into ${destination}: expected a diff_id in sha256, as Docker wants it, found ${other.diffId}${remedy}`
        })
      )
}
