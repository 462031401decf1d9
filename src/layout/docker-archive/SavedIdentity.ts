/** Which image an entry of a manifest.json is, where parts of it may be damaged. */
import * as crypto from "node:crypto"
import * as Hasher from "../../content/Hasher.ts"
import * as Digest from "../../image/Digest.ts"
import type * as Image from "../../image/Image.ts"
import * as Json from "../../image/Json.ts"
import * as PythonJson from "../../image/PythonJson.ts"
import { readSmall, type Store } from "../Store.ts"
import type { SavedImage } from "./DockerSave.ts"
import { promisedDigest } from "./SavedAudit.ts"

const sha256 = (bytes: Uint8Array): Digest.Digest =>
  Digest.make("sha256", crypto.createHash("sha256").update(bytes).digest("hex"))

/** Whether two configs say the same, and one of them is in the form into which the older tool brings them. */
const isReserialized = (one: Uint8Array, other: Uint8Array): boolean => {
  const [a, b] = [Json.parse(one), Json.parse(other)]
  return (
    a.problems.length + b.problems.length === 0 &&
    PythonJson.stringify(a.value) === PythonJson.stringify(b.value) &&
    (PythonJson.isReserialized(one, a.value) || PythonJson.isReserialized(other, b.value))
  )
}

/** Whether a file is the config of `image`, its values at least. */
export const isConfigOf = (store: Store, file: string, { config }: Image.Image): boolean => {
  const raw = readSmall(store, file)
  return raw !== undefined && (Buffer.compare(raw, config.raw) === 0 || isReserialized(raw, config.raw))
}

/**
 * True: it is `image`, whether damaged or not. False: it is another one. undefined: nothing that is left of it tells.
 * A config that is sound tells by what it says; a damaged one by the digest that its name promises.
 */
export const isImage = (store: Store, saved: SavedImage, image: Image.Image): boolean | undefined => {
  if (saved.config === undefined) return undefined
  const promised = promisedDigest(saved.config)
  const raw = readSmall(store, saved.config)
  const right = promised === image.config.digest
  if (raw === undefined) return right ? true : undefined
  if (isReserialized(raw, image.config.raw)) return true
  const { problems, value } = Json.parse(raw)
  if (problems.length === 0) {
    // Sound, though its name may be that of what it was before it was written anew.
    if (PythonJson.isReserialized(raw, value)) return false
    if (promised === undefined) return sha256(raw) === image.config.digest ? true : undefined
    if (promised === Hasher.digestOfBytes(promised, raw)) return right
  }
  return promised === undefined ? undefined : right
}

/** The ID that a config's name promises, or that of its bytes where nothing promises one; undefined when nothing tells. */
export const idOf = (store: Store, { config }: SavedImage): Digest.Digest | undefined => {
  if (config === undefined) return undefined
  const raw = readSmall(store, config)
  return promisedDigest(config) ?? (raw === undefined || Json.parse(raw).problems.length > 0 ? undefined : sha256(raw))
}
