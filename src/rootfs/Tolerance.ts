import type { ByteString } from "../content/ByteString.ts"

/** A kind of difference that a comparison may be told to put up with. */
export type Tolerance =
  | "runtime-files"
  | "directory-mtime"
  | "mtime-microseconds"
  | "mtime-seconds"
  | "owner"
  | "devices"
  | "xattrs"
  | "external-links"
  | "implied-directories"
  | "host-labels"

/** The same, of some names only: paths below the root. Other names of the same file are meant as well. */
export interface Excuse {
  readonly tolerance: Tolerance
  readonly paths: ReadonlySet<ByteString>
}

export type Leeway = Tolerance | Excuse

export const nameOf = (leeway: Leeway): Tolerance => (typeof leeway === "string" ? leeway : leeway.tolerance)

/** Whether a kind of difference is put up with at `path`. */
export const allows = (leeways: ReadonlyArray<Leeway>, tolerance: Tolerance, path: ByteString): boolean =>
  leeways.some((one) => (typeof one === "string" ? one : one.paths.has(path) && one.tolerance) === tolerance)

/** What each is for. `always` ones are no choice: there is nothing to compare with. */
export const tolerances: Readonly<Record<Tolerance, { readonly always: boolean; readonly explanation: string }>> = {
  "runtime-files": {
    always: false,
    explanation:
      "Files that a container runtime makes or fills when it starts a container in the tree: /etc/hosts, /etc/hostname, /etc/resolv.conf, /etc/mtab, /.dockerenv, /run/.containerenv, /run/secrets and what is below /dev, /proc and /sys, the mount points of these and of the mounts in config.json, its process.cwd, and the mtime of the directories they are in."
  },
  "directory-mtime": {
    always: false,
    explanation: "The mtime of a directory changes with every name made or removed in it, for a moment too."
  },
  "mtime-microseconds": {
    always: false,
    explanation: "Below a microsecond times are not compared: not every file system or unpacker keeps them."
  },
  "mtime-seconds": {
    always: false,
    explanation: "Below a second times are not compared: not every file system or unpacker keeps them."
  },
  owner: {
    always: false,
    explanation:
      "Owners are not compared: only root can give files away, so a tree unpacked by a user is all that user's."
  },
  devices: {
    always: false,
    explanation:
      "A device node may be missing, or an empty file without permissions (umoci --rootless) may stand in for it: only root can make them."
  },
  xattrs: {
    always: false,
    explanation: "Extended attributes may be missing: not every file system has them and some only root can set."
  },
  "external-links": {
    always: false,
    explanation:
      "A file may have hardlinks outside the tree, as copies made with links (cp -al) and stores that share content have."
  },
  "implied-directories": {
    always: true,
    explanation:
      "For a directory that no entry describes, only entries below it, the image tells neither mode nor owner nor mtime; 0755 root:root is usual, but the time is that of the unpacking."
  },
  "host-labels": {
    always: true,
    explanation: "security.selinux, security.ima and security.evm are given by the host, not by the image."
  }
}

const runtimeFiles: ReadonlySet<ByteString> = new Set([
  ".dockerenv",
  "dev",
  "etc",
  "etc/hostname",
  "etc/hosts",
  "etc/mtab",
  "etc/resolv.conf",
  "proc",
  "run",
  "run/.containerenv",
  "run/secrets",
  "sys"
])

const runtimeTrees: ReadonlyArray<ByteString> = ["dev/", "proc/", "sys/", "run/secrets/"]

/** Directories in which a runtime makes names: their mtime changes with it. */
const runtimeParents: ReadonlySet<ByteString> = new Set(["", "dev", "etc", "proc", "run", "run/secrets", "sys"])

/** Whether a runtime may make `path` or change what it is. */
export const isRuntimeFile = (path: ByteString): boolean =>
  runtimeFiles.has(path) || runtimeTrees.some((prefix) => path.startsWith(prefix))

/** Whether a runtime makes names in the directory `path`. */
export const isRuntimeParent = (path: ByteString): boolean =>
  runtimeParents.has(path) || runtimeTrees.some((prefix) => path.startsWith(prefix))

/** Given by the host, not by the image. */
export const isHostLabel = (xattr: ByteString): boolean =>
  xattr === "security.selinux" || xattr === "security.ima" || xattr === "security.evm"
