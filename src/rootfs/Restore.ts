/** Attributes of what is made, restored as far as this process may; the rest is told. */
import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import * as Bytes from "../content/ByteString.ts"
import * as Libc from "./Libc.ts"

/** `entry`, `device`, `fifo`: the name itself is not there. `hardlink`: a copy is there instead. */
export type UnrestoredWhat = "owner" | "mode" | "mtime" | "xattr" | "hardlink" | "device" | "fifo" | "entry"

/** What an `Inode` says of them; an unknown time is the epoch. */
export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly mtimeNanoseconds: number
  readonly xattrs: ReadonlyMap<ByteString, ByteString> | undefined
}

type Report = (what: UnrestoredWhat, message: string) => void

/** The largest id; the one above it means "leave it" to the system. */
const maxId = 0xfffffffe

/** Set after the mode, as each changes the other. */
const aclPrefix = "system.posix_acl_"

/** Given by the host: a label of the machine where the layer was made says nothing here. */
const hostXattr = "security.selinux"

export const spaceErrors: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"])

const nonAscii = /[^\x00-\x7f]/
/** ASCII is passed as text, which is quicker than a buffer of the same bytes. */
export const nodePath = (path: ByteString): string | Buffer =>
  nonAscii.test(path) ? Buffer.from(path, "latin1") : path

/** A directory's path without the slashes at its end: "" for the system's root, to put "/" and a name behind. */
export const withoutSlash = (path: ByteString): ByteString => path.replace(/\/+$/, "")

export const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException | undefined)?.code ?? String(cause)

const failure = (code: string): Error => Object.assign(new Error(code), { code })

export class Restorer {
  readonly libc: Libc.Libc | undefined
  readonly #euid = process.geteuid?.() ?? 0
  readonly #egid = process.getegid?.() ?? 0
  /** What creating a file takes from its mode. To change it for a while would change it for the whole process. */
  readonly #umask = process.umask()
  /** Owners that this user may not give files to: asked once each. */
  readonly #refused = new Map<string, string>()

  /** `fresh`: this process has just made all that it is for, so that it is its own. */
  readonly #fresh: boolean

  constructor(libc: Libc.Libc | undefined, fresh = true) {
    this.libc = libc
    this.#fresh = fresh
  }

  /** Takes away what a directory has of a default ACL of the one it was made in: it would hand that down in its turn. */
  disinherit(path: ByteString): void {
    const target = Libc.path(Buffer.from(path, "latin1"))
    for (const name of ["default", "access"]) this.libc?.lremovexattr(target, `${aclPrefix}${name}`)
  }

  noLibc(): string {
    return Libc.reason() ?? "not asked for"
  }

  /** With what to create a file: a mode that is late is set at the end. */
  creationMode(attributes: Attributes): number {
    return this.#isLate(attributes) ? 0o600 : attributes.mode
  }

  /** Chown and write clear the upper bits, attributes need write access. */
  #isLate({ mode, xattrs }: Attributes): boolean {
    return xattrs !== undefined || (mode & (0o7000 | this.#umask)) !== 0
  }

  /** Of a file that is open and was created by `creationMode`. Throws what the system says of anything unforeseen. */
  file(fd: number, path: ByteString, attributes: Attributes, report: Report): void {
    this.#own(attributes, (uid, gid) => fs.fchownSync(fd, uid, gid), report)
    if (this.#isLate(attributes)) {
      this.#xattrs(path, attributes, false, report)
      attempt(() => fs.fchmodSync(fd, attributes.mode), report)
      this.#xattrs(path, attributes, true, report)
    }
    this.#times(
      attributes,
      (libc, seconds, nanoseconds) => libc.futimes(fd, seconds, nanoseconds),
      (time) => fs.futimesSync(fd, time, time),
      report
    )
  }

  /** Of something that is not open: `path` itself, even when that is a symlink. */
  path(path: ByteString, attributes: Attributes, isSymlink: boolean, report: Report): void {
    const target = nodePath(path)
    this.#own(attributes, (uid, gid) => fs.lchownSync(target, uid, gid), report)
    this.#xattrs(path, attributes, false, report)
    if (!isSymlink) attempt(() => fs.chmodSync(target, attributes.mode), report)
    this.#xattrs(path, attributes, true, report)
    this.#times(
      attributes,
      (libc, seconds, nanoseconds) => libc.lutimes(Libc.path(Buffer.from(path, "latin1")), seconds, nanoseconds),
      (time) => fs.lutimesSync(target, time, time),
      report
    )
  }

  #own({ gid, uid }: Attributes, chown: (uid: number, gid: number) => void, report: Report): void {
    if (this.#fresh && uid === this.#euid && gid === this.#egid) return
    const owner = `${uid}:${gid}`
    if (uid < 0 || gid < 0 || uid > maxId || gid > maxId) {
      report("owner", `${owner} is out of range`)
      return
    }
    const refused = this.#refused.get(owner)
    if (refused !== undefined) {
      report("owner", refused)
      return
    }
    try {
      chown(uid, gid)
    } catch (cause) {
      const code = codeOf(cause)
      // EINVAL: a number that the user namespace does not know.
      if (code !== "EPERM" && code !== "EINVAL") throw cause
      this.#refused.set(owner, `${code} for ${owner}`)
      report("owner", `${code} for ${owner}`)
    }
  }

  #xattrs(path: ByteString, { xattrs }: Attributes, acls: boolean, report: Report): void {
    if (xattrs === undefined) return
    let target: Buffer | undefined
    for (const [name, value] of xattrs) {
      if (name === hostXattr || name.startsWith(aclPrefix) !== acls) continue
      if (this.libc === undefined) {
        report("xattr", `${Bytes.display(name)}: ${this.noLibc()}`)
        continue
      }
      target ??= Libc.path(Buffer.from(path, "latin1"))
      const errno = this.libc.lsetxattr(target, name, value)
      if (errno === 0) continue
      const code = Libc.errorName(errno)
      // Some file systems say so of one value that is too large for them; the file itself is there all the same.
      if (code === "EDQUOT") throw failure(code)
      report("xattr", `${Bytes.display(name)}: ${code}`)
    }
  }

  /** Node's own calls cut times to microseconds and mangle those before 1970. */
  #times(
    { mtimeNanoseconds, mtimeSeconds }: Attributes,
    precise: (libc: Libc.Libc, seconds: number, nanoseconds: number) => number,
    coarse: (time: number) => void,
    report: Report
  ): void {
    const seconds = mtimeNanoseconds < 0 ? 0 : mtimeSeconds
    const nanoseconds = Math.max(0, mtimeNanoseconds)
    if (this.libc !== undefined) {
      const errno = precise(this.libc, seconds, nanoseconds)
      if (errno !== 0) report("mtime", Libc.errorName(errno))
    } else {
      coarse(Math.max(0, seconds + nanoseconds / 1e9))
      if (seconds < 0 || nanoseconds > 0) report("mtime", `not to the nanosecond: ${this.noLibc()}`)
    }
  }
}

const attempt = (act: () => void, report: Report): void => {
  try {
    act()
  } catch (cause) {
    const code = codeOf(cause)
    if (code !== "EPERM" && code !== "EINVAL" && code !== "EOPNOTSUPP" && code !== "ENOTSUP") throw cause
    report("mode", code)
  }
}
