/**
 * Where a local layout's files are found by name: a directory, or the members of an archive. Sources and verifiers work
 * on this, so that an archive is read exactly like the same tree on disk.
 */

import * as fs from "node:fs"
import { openForRead } from "../content/Inspect.ts"
import { count } from "../image/Count.ts"
import * as Json from "../image/Json.ts"
import type { Region } from "../image/Region.ts"
import * as Failure from "./Failure.ts"

export type StoreEntry =
  | { readonly kind: "file"; readonly region: Region }
  | { readonly kind: "directory" }
  /** Something that holds no bytes to verify; `what` completes "it is ...". */
  | { readonly kind: "other"; readonly what: string }

/** One name of a listing. */
export interface StoreChild {
  /** What the name leads to, links inside the store followed. */
  readonly entry: StoreEntry
  readonly symlink: boolean
}

export interface Store {
  /** For messages: the directory or archive as the user named it. */
  readonly path: string
  readonly kind: "directory" | "archive"
  /** What `name` (relative, `/` between parts) leads to, links inside the store followed; undefined when it is not there. */
  readonly lookup: (name: string) => StoreEntry | undefined
  /** Names directly below a directory of the store ("" is its root), sorted; undefined when it is none or unreadable. */
  readonly list: (directory: string) => ReadonlyArray<string> | undefined
  /** Like `list` with what each name leads to, at the cost of one look at each; for directories with thousands of files. */
  readonly entries: (directory: string) => ReadonlyMap<string, StoreChild> | undefined
}

/** PATH_MAX of Linux with its NUL: what is longer can be no file's name, and taking it apart would cost memory. */
export const maxPath = 4095

/** Why a name from a document may not be followed, or undefined when it may. */
export const unsafeName = (name: string): string | undefined => {
  if (name === "") return "it is empty"
  if (name.length > maxPath) return `it has ${name.length} characters, more than any file's name`
  if (name.includes("\0")) return "it holds a NUL"
  if (name.startsWith("/")) return "it is absolute"
  return name.split("/").includes("..") ? "it has a `..` component" : undefined
}

/** A name without the parts that mean nothing: `./a//b` is `a/b`. */
export const plainName = (name: string): string =>
  name
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/")

export type ReadResult = { readonly bytes: Uint8Array } | { readonly failure: string }

/** Reads a whole region of at most `limit` bytes, into memory of its real size only. */
export const readRegion = (region: Region, limit: number): ReadResult => {
  if (region.size > limit) return { failure: `it has ${region.size} bytes, more than the limit of ${limit}` }
  let fd: number | undefined
  try {
    fd = openForRead(region.path)
    const stat = fs.fstatSync(fd)
    if (!stat.isFile()) return { failure: "it is no regular file" }
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(region.size, stat.size - region.offset)))
    let done = 0
    while (done < bytes.length) {
      const read = fs.readSync(fd, bytes, done, bytes.length - done, region.offset + done)
      if (read === 0) break
      done += read
    }
    return done < region.size
      ? { failure: `it ends after ${done} of ${count(region.size, "byte")}` }
      : { bytes: bytes.subarray(0, done) }
  } catch (cause) {
    return { failure: Failure.describe(cause) }
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

/** Reads a JSON document, unless it is larger than any may be. */
export const readJson = (region: Region): ReadResult =>
  region.size > Json.maxBytes
    ? { failure: `it has ${region.size} bytes, more than the limit of ${Json.maxBytes} (--max-json raises it)` }
    : readRegion(region, Json.maxBytes)

/** The bytes of a small file; undefined when it is not there, no file, or cannot be read. */
export const readSmall = (store: Store, name: string, limit = Json.maxBytes): Uint8Array | undefined => {
  const entry = store.lookup(name)
  const read = entry?.kind === "file" ? readRegion(entry.region, limit) : undefined
  return read !== undefined && "bytes" in read ? read.bytes : undefined
}

/** Resolves links by name within a store: never above its root, never more than 40 of them. */
export const resolveLinks = (
  name: string,
  linkAt: (path: string) => string | undefined
): { readonly path: string } | { readonly failure: string } => {
  const pending = name.split("/").reverse()
  const done: Array<string> = []
  let links = 0
  while (pending.length > 0) {
    const part = pending.pop()!
    if (part === "" || part === ".") continue
    if (part === "..") {
      if (done.length === 0) return { failure: "it leads out of the image" }
      done.pop()
      continue
    }
    done.push(part)
    const target = linkAt(done.join("/"))
    if (target === undefined) continue
    if (++links > 40) return { failure: "its links go round in a circle" }
    if (target.startsWith("/")) return { failure: `it is a symlink out of the image, to ${JSON.stringify(target)}` }
    done.pop()
    pending.push(...target.split("/").reverse())
  }
  return { path: done.join("/") }
}
