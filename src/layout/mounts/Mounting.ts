/** Mounts what `mounts://PATH` wrote again, and takes it down. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { Collector } from "../../check/Collector.ts"
import * as Libc from "../../rootfs/Libc.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import { WriteError } from "../Failure.ts"
import { unwritable } from "../OutputFiles.ts"
import * as Receipt from "../Receipt.ts"
import * as MountsAudit from "./MountsAudit.ts"
import * as Files from "./MountsFiles.ts"
import * as Overlay from "./Overlay.ts"

/** Answers whether it had to be mounted: it was not yet. Layers that are not as they have to be are not mounted. */
export const mount = (target: string): Effect.Effect<boolean, WriteError> =>
  Effect.try({
    try: () => {
      const names = expectMounts(target, "mount")
      const root = fs.realpathSync(target)
      const report = new Collector()
      const { layers, mounted } = MountsAudit.look(DirectoryStore.make(root), names, report)
      const wrong = report.results().results.find(({ severity }) => severity === "error")
      if (wrong !== undefined) {
        const { actual, check, expected, message, subject } = wrong
        const sides = expected === undefined ? "" : ` (expected ${expected}, found ${actual})`
        throw new WriteError({
          reason: "Unsupported",
          message: `cannot mount ${target}: ${subject}: ${message}${sides} [${check}]`
        })
      }
      if (mounted) return false
      for (const name of [Files.rootfs, Files.working, Files.delta]) {
        if (!fs.lstatSync(path.join(root, name)).isDirectory())
          throw new WriteError({
            reason: "Unsupported",
            message: `cannot mount ${target}: expected ${name}/ as a directory, found a symlink`
          })
      }
      const marks = marksOf(root, target, layers)
      Overlay.mount(root, layers.length === 0 ? [Files.empty] : layers.map(({ directory }) => directory), marks)
      return true
    },
    catch: unwritable(`cannot mount ${target}`)
  })

/** Answers whether anything was mounted. The layers, and what was changed in delta/, stay. */
export const unmount = (target: string): Effect.Effect<boolean, WriteError> =>
  Effect.try({
    try: () => {
      expectMounts(target, "unmount")
      return Overlay.unmount(target)
    },
    catch: unwritable(`cannot unmount ${target}`)
  })

const expectMounts = (target: string, doing: string): ReadonlyArray<string> => {
  const names = fs.readdirSync(target)
  if (Overlay.isMounts(names)) return names
  const some = names
    .sort()
    .slice(0, 3)
    .map((name) => JSON.stringify(name))
  throw new WriteError({
    reason: "Unsupported",
    message: `cannot ${doing} ${target}: expected a directory of mounts (rootfs/, working/, delta/), found ${
      names.length === 0 ? "an empty directory" : some.join(", ")
    }`
  })
}

/**
 * What the layers were marked for when they were written. Mounted otherwise, directories that hide what is below them
 * would not, and nobody would be told.
 */
const marksOf = (root: string, target: string, layers: ReadonlyArray<MountsAudit.NamedLayer>): Overlay.Marks => {
  const recorded = Receipt.read(DirectoryStore.make(root), Files.receipt)?.details["marks"]
  const marks = MountsAudit.isOlder(layers) ? "trusted" : recorded
  if (marks !== "trusted" && marks !== "user") {
    throw new WriteError({
      reason: "Unsupported",
      message: `cannot mount ${target}: expected ${Files.receipt} to say what the layers are marked for, found ${
        recorded === undefined ? "nothing" : JSON.stringify(recorded)
      }; \`verify TARGET --repair SOURCE\` writes it again`
    })
  }
  if (marks === "trusted" && marksFor(path.join(root, Files.working), target) !== "trusted") {
    throw new WriteError({
      reason: "Unsupported",
      message: `cannot mount ${target}: its layers were written by root, and only root outside of user namespaces sees what they hide`
    })
  }
  return marks
}

/** Attributes of the name space `trusted` are for root alone, and not even for root in a user name space. */
export const marksFor = (directory: string, target: string): Overlay.Marks => {
  const libc = Libc.load()
  if (libc === undefined) {
    throw new WriteError({
      reason: "Unsupported",
      message: `cannot tell how whiteouts are marked in ${target}: ${Libc.reason() ?? "not available"}`
    })
  }
  const file = Libc.path(Buffer.from(directory))
  if (libc.lsetxattr(file, "trusted.overlay.opaque", "n") !== 0) return "user"
  libc.lremovexattr(file, "trusted.overlay.opaque")
  return "trusted"
}
