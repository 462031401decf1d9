/**
 * The few calls that unpacking and comparing a root file system needs and Node lacks: extended attributes, device nodes,
 * FIFOs, times to the nanosecond. They come from libc through `koffi`, an optional dependency: without it, or elsewhere
 * than on 64-bit Linux, `load` gives undefined and callers say what they could not do.
 */
import { createRequire } from "node:module"
import * as os from "node:os"
import type { ByteString } from "../content/ByteString.ts"

/** Paths are NUL-terminated (`Libc.path`). Calls that only act give 0 or the errno. */
export interface Libc {
  /** Sets an attribute of the file itself, never of what a symlink points to. */
  readonly lsetxattr: (path: Buffer, name: ByteString, value: ByteString) => number
  readonly lremovexattr: (path: Buffer, name: ByteString) => number
  /** All attributes of the file itself that may be read, or the errno. */
  readonly xattrs: (path: Buffer) => ReadonlyMap<ByteString, ByteString> | number
  /** The same of an open file. */
  readonly fxattrs: (fd: number) => ReadonlyMap<ByteString, ByteString> | number
  readonly mknod: (path: Buffer, type: "char" | "block", mode: number, major: number, minor: number) => number
  readonly mkfifo: (path: Buffer, mode: number) => number
  /** Sets access and modification time of the file itself. */
  readonly lutimes: (path: Buffer, seconds: number, nanoseconds: number) => number
  readonly futimes: (fd: number, seconds: number, nanoseconds: number) => number
  /** Puts the whole file system of an open file or directory on the disk. */
  readonly syncfs: (fd: number) => number
  /** Undefined where the C library is too old for them. */
  readonly files: FileCalls | undefined
}

/**
 * What Node has as well, for many small files: a name in an open directory needs no walk along its path, and the result is
 * numbers only. To open, look at, read and close a file so takes two thirds of the time of the calls of Node; to make one is
 * a tenth quicker.
 */
export interface FileCalls {
  /** A descriptor, or minus the errno. */
  readonly openat: (directory: number, name: ByteString, flags: number, mode?: number) => number
  /** Fills in `numberColumns` of ScanFiles of an open file, or of a name in an open directory, no symlink followed. */
  readonly fstat: (fd: number, into: Float64Array) => number
  readonly lstatat: (directory: number, name: ByteString, into: Float64Array) => number
  readonly close: (fd: number) => number
}

/** A path as the calls take it. */
export const path = (value: Buffer): Buffer => Buffer.concat([value, nul])

/** "EPERM" for 1 and so on. */
export const errorName = (errno: number): string => errorNames.get(errno) ?? `errno ${errno}`

const nul = Buffer.from([0])
const errorNames = new Map(Object.entries(os.constants.errno).map(([name, code]) => [code, name]))

const atFdcwd = -100
const atSymlinkNofollow = 0x100
const atEmptyPath = 0x1000
const basicStats = 0x7ff
const closeOnExec = 0o2000000
/** Where the halves of a number of 64 bits are. */
const [low, high] = os.endianness() === "LE" ? ([0, 1] as const) : ([1, 0] as const)
const { S_IFBLK, S_IFCHR } = { S_IFBLK: 0o060000, S_IFCHR: 0o020000 }
const { ENODATA, ENOTSUP } = os.constants.errno

/** Of nearly every file. Not to be changed. */
const noXattrs: Map<ByteString, ByteString> = new Map()

interface Koffi {
  load(path: string | null): { func(declaration: string): (...args: ReadonlyArray<unknown>) => number }
  errno(): number
}

let loaded: { readonly libc: Libc | undefined; readonly reason: string | undefined } | undefined

/** The calls, or undefined where there are none; asked once for each thread. */
export const load = (): Libc | undefined => (loaded ??= attempt()).libc

/** Why `load` gives undefined. */
export const reason = (): string | undefined => (loaded ??= attempt()).reason

const attempt = (): { readonly libc: Libc | undefined; readonly reason: string | undefined } => {
  if (process.platform !== "linux") return { libc: undefined, reason: `not available on ${process.platform}` }
  // Structures below are those of 64-bit kernels.
  if (!["x64", "arm64", "riscv64", "loong64", "ppc64", "s390x"].includes(process.arch)) {
    return { libc: undefined, reason: `not available on ${process.arch}` }
  }
  try {
    return { libc: make(createRequire(import.meta.url)("koffi") as Koffi), reason: undefined }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    return {
      libc: undefined,
      reason:
        code === "MODULE_NOT_FOUND" ? "the optional package koffi is not installed" : `koffi does not load: ${cause}`
    }
  }
}

/** The kernel's encoding of a device number (glibc's makedev). */
const makedev = (major: number, minor: number): bigint => {
  const [a, b] = [BigInt(major), BigInt(minor)]
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn)
}

const make = (koffi: Koffi): Libc => {
  const library = koffi.load(null)
  const lsetxattr = library.func("int lsetxattr(const void*, const void*, const void*, size_t, int)")
  const lremovexattr = library.func("int lremovexattr(const void*, const void*)")
  const llistxattr = library.func("int64_t llistxattr(const void*, void*, size_t)")
  const lgetxattr = library.func("int64_t lgetxattr(const void*, const void*, void*, size_t)")
  const flistxattr = library.func("int64_t flistxattr(int, void*, size_t)")
  const fgetxattr = library.func("int64_t fgetxattr(int, const void*, void*, size_t)")
  const mkfifo = library.func("int mkfifo(const void*, uint32_t)")
  const utimensat = library.func("int utimensat(int, const void*, const void*, int)")
  const futimens = library.func("int futimens(int, const void*)")
  const syncfs = library.func("int syncfs(int)")
  const mknod = mknodOf(library)
  const result = (returned: number): number => (returned === 0 ? 0 : koffi.errno())
  const cstring = (value: ByteString): Buffer => Buffer.from(`${value}\0`, "latin1")
  const times = new Int32Array(8)
  // Two numbers of 64 bits, twice. To make them of BigInts takes as long as the call.
  const fill = (seconds: number, nanoseconds: number): Int32Array => {
    times[low] = times[4 + low] = seconds
    times[high] = times[4 + high] = Math.floor(seconds / 2 ** 32)
    times[2 + low] = times[6 + low] = nanoseconds
    return times
  }
  // The kernel's own limits of one list and one value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
  let space: Buffer | undefined

  const xattrs = (
    list: (buffer: Buffer | null, size: number) => number,
    get: (name: Buffer, buffer: Buffer, size: number) => number
  ): Map<ByteString, ByteString> | number => {
    const size = list(null, 0)
    if (size === 0) return noXattrs
    if (size < 0) {
      const errno = koffi.errno()
      return errno === ENOTSUP ? noXattrs : errno
    }
    const buffer = (space ??= Buffer.allocUnsafeSlow(65536))
    const length = list(buffer, buffer.length)
    if (length < 0) return koffi.errno()
    // overlay counts names that it then does not show.
    if (length === 0) return noXattrs
    const found = new Map<ByteString, ByteString>()
    for (const name of buffer.toString("latin1", 0, length - 1).split("\0")) {
      const size = get(cstring(name), buffer, buffer.length)
      if (size >= 0) {
        found.set(name, buffer.toString("latin1", 0, size))
        continue
      }
      // Gone since it was listed.
      const errno = koffi.errno()
      if (errno !== ENODATA) return errno
    }
    return found
  }

  return {
    lsetxattr: (file, name, value) =>
      result(lsetxattr(file, cstring(name), Buffer.from(value, "latin1"), value.length, 0)),
    lremovexattr: (file, name) => result(lremovexattr(file, cstring(name))),
    xattrs: (file) =>
      xattrs(
        (buffer, size) => Number(llistxattr(file, buffer, size)),
        (name, buffer, size) => Number(lgetxattr(file, name, buffer, size))
      ),
    fxattrs: (fd) =>
      xattrs(
        (buffer, size) => Number(flistxattr(fd, buffer, size)),
        (name, buffer, size) => Number(fgetxattr(fd, name, buffer, size))
      ),
    mknod: (file, type, mode, major, minor) =>
      result(mknod(file, (type === "char" ? S_IFCHR : S_IFBLK) | mode, makedev(major, minor))),
    mkfifo: (file, mode) => result(mkfifo(file, mode)),
    lutimes: (file, seconds, nanoseconds) =>
      result(utimensat(atFdcwd, file, fill(seconds, nanoseconds), atSymlinkNofollow)),
    futimes: (fd, seconds, nanoseconds) => result(futimens(fd, fill(seconds, nanoseconds))),
    syncfs: (fd) => result(syncfs(fd)),
    files: filesOf(koffi, library)
  }
}

const filesOf = (koffi: Koffi, library: ReturnType<Koffi["load"]>): FileCalls | undefined => {
  try {
    const openat = library.func("int openat(int, const void*, int, uint32_t)")
    const statx = library.func("int statx(int, const void*, int, uint32_t, void*)")
    const close = library.func("int close(int)")
    const space = new ArrayBuffer(256)
    const bytes = new Uint8Array(space)
    const [words, halves, seconds] = [new Uint32Array(space), new Uint16Array(space), new Int32Array(space)]
    const stat = (directory: number, name: string | Buffer, flags: number, into: Float64Array): number => {
      if (statx(directory, name, flags, basicStats, bytes) !== 0) return koffi.errno()
      into[0] = halves[14]!
      into[1] = words[5]!
      into[2] = words[6]!
      into[3] = words[4]!
      into[4] = words[10 + low]! + words[10 + high]! * 2 ** 32
      into[5] = words[28 + low]! + seconds[28 + high]! * 2 ** 32
      into[6] = words[30]!
      into[7] = words[32]!
      into[8] = words[33]!
      return 0
    }
    return {
      openat: (directory, name, flags, mode = 0) => {
        const fd = openat(directory, cname(name), flags | closeOnExec, mode)
        return fd >= 0 ? fd : -koffi.errno()
      },
      fstat: (fd, into) => stat(fd, "", atEmptyPath, into),
      lstatat: (directory, name, into) => stat(directory, cname(name), atSymlinkNofollow, into),
      close: (fd) => (close(fd) === 0 ? 0 : koffi.errno())
    }
  } catch {
    return undefined
  }
}

const nonAscii = /[^\x00-\x7f]/
/** As koffi takes it: text becomes UTF-8 there. */
const cname = (name: ByteString): string | Buffer => (nonAscii.test(name) ? path(Buffer.from(name, "latin1")) : name)

/** glibc before 2.33 exports mknod only under another name, with a version and the device by reference. */
const mknodOf = (library: ReturnType<Koffi["load"]>): ((path: Buffer, mode: number, device: bigint) => number) => {
  try {
    return library.func("int mknod(const void*, uint32_t, uint64_t)")
  } catch {
    const xmknod = library.func("int __xmknod(int, const void*, uint32_t, const void*)")
    const version = process.arch === "x64" ? 1 : 0
    return (file, mode, device) => xmknod(version, file, mode, BigUint64Array.of(device))
  }
}
