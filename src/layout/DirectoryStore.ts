import * as fs from "node:fs"
import * as path from "node:path"
import * as Failure from "./Failure.ts"
import { resolveLinks, type Store, type StoreEntry, unsafeName } from "./Store.ts"

/** A directory as a store. Links are followed inside it only; anything but files and directories is `other`. */
export const make = (root: string): Store => {
  const at = (name: string): string => path.join(root, name)
  const linkAt = (name: string): string | undefined => {
    const stat = fs.lstatSync(at(name), { throwIfNoEntry: false })
    return stat?.isSymbolicLink() ? fs.readlinkSync(at(name)) : undefined
  }
  return {
    path: root,
    kind: "directory",
    lookup: (name): StoreEntry | undefined => {
      if (unsafeName(name) !== undefined) return undefined
      try {
        const stat = fs.lstatSync(at(name), { throwIfNoEntry: false })
        // The quick way holds only where no parent is a link either; realpath would cost more than resolving.
        if (stat !== undefined && !name.includes("/") && !stat.isSymbolicLink()) return classify(at(name), stat)
        const resolved = resolveLinks(name, linkAt)
        if ("failure" in resolved) return { kind: "other", what: resolved.failure.replace(/^it is /, "") }
        const target = fs.lstatSync(at(resolved.path), { throwIfNoEntry: false })
        return target === undefined ? undefined : classify(at(resolved.path), target)
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === "ENOTDIR") return undefined
        return { kind: "other", what: `unreadable (${Failure.describe(cause)})` }
      }
    },
    list: (directory) => {
      try {
        return fs.readdirSync(at(directory)).sort()
      } catch {
        return undefined
      }
    }
  }
}

const classify = (file: string, stat: fs.Stats): StoreEntry =>
  stat.isFile()
    ? { kind: "file", region: { path: file, offset: 0, size: stat.size } }
    : stat.isDirectory()
    ? { kind: "directory" }
    : { kind: "other", what: whatIs(stat) }

const whatIs = (stat: fs.Stats): string =>
  stat.isFIFO()
    ? "a FIFO"
    : stat.isSocket()
    ? "a socket"
    : stat.isBlockDevice() || stat.isCharacterDevice()
    ? "a device"
    : "a symlink"
