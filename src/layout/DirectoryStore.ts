import * as fs from "node:fs"
import * as path from "node:path"
import * as Failure from "./Failure.ts"
import { resolveLinks, type Store, type StoreChild, type StoreEntry, unsafeName } from "./Store.ts"

/** A directory as a store. Links are followed inside it only; anything but files and directories is `other`. */
export const make = (root: string): Store => {
  const at = (name: string): string => path.join(root, name)
  const linkAt = (name: string): string | undefined => {
    const stat = fs.lstatSync(at(name), { throwIfNoEntry: false })
    return stat?.isSymbolicLink() ? fs.readlinkSync(at(name)) : undefined
  }
  const lookup = (name: string): StoreEntry | undefined => {
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
  }
  const child = (directory: string, place: string, dirent: fs.Dirent): StoreChild | undefined => {
    if (!dirent.isFile()) {
      const name = path.posix.join(directory, dirent.name)
      const symlink = dirent.isSymbolicLink()
      const entry = lookup(name) ?? (symlink ? ({ kind: "other", what: "a symlink to nothing" } as const) : undefined)
      return entry === undefined ? undefined : { entry, symlink }
    }
    // Joined by hand: `path.join` costs as much as the look at the file.
    const file = `${place}/${dirent.name}`
    const stat = fs.lstatSync(file, { throwIfNoEntry: false })
    return stat === undefined ? undefined : { entry: classify(file, stat), symlink: false }
  }
  return {
    path: root,
    kind: "directory",
    lookup,
    entries: (directory) => {
      const found = new Map<string, StoreChild>()
      try {
        // A link among the parents was allowed by `lookup`; behind it the names are those of the place it leads to.
        if (directory !== "" && lookup(directory)?.kind !== "directory") return undefined
        const resolved = resolveLinks(directory, linkAt)
        if ("failure" in resolved) return undefined
        const place = at(resolved.path)
        const dirents = fs.readdirSync(place, { withFileTypes: true })
        for (const dirent of dirents.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))) {
          const one = child(resolved.path, place, dirent)
          if (one !== undefined) found.set(dirent.name, one)
        }
        return found
      } catch {
        return undefined
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
