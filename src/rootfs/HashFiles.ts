/**
 * sha256 of many files: a pure function over a root and a list of paths, so that slices of one list can be hashed in
 * several threads at once.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import type { ByteString } from "../content/ByteString.ts"
import type { Job } from "../content/Job.ts"

/** Plain data: it crosses to a worker. */
export interface HashTask {
  /** Absolute path in bytes, as a byte string. */
  readonly root: ByteString
  /** Regular files, below the root. */
  readonly paths: ReadonlyArray<ByteString>
  /** Their sizes in all, as an estimate of the work. */
  readonly bytes: number
}

/** Plain data: it crosses back from a worker. */
export interface FileDigests {
  /** 32 bytes for each path in turn; zeros where `failures` has the path. */
  readonly digests: Uint8Array<ArrayBuffer>
  readonly failures: ReadonlyArray<HashFailure>
  /** Bytes read. */
  readonly bytes: number
}

export interface HashFailure {
  readonly index: number
  /** "EACCES" and the like; "ELOOP" for a symlink, which is not followed. */
  readonly code: string
}

export const digestSize = 32

/** Large enough that calls do not count, small enough to stay in the cache beside the hash. */
const chunkSize = 256 * 1024
let shared: Buffer | undefined

const nonAscii = /[^\x00-\x7f]/

/** Never throws: what cannot be read is among the failures, and the rest is hashed all the same. */
export const hashFiles = (
  root: ByteString,
  paths: ReadonlyArray<ByteString>,
  progress: (bytes: number) => void = () => {}
): FileDigests => {
  const buffer = shared ??= Buffer.allocUnsafeSlow(chunkSize)
  const digests = new Uint8Array(new ArrayBuffer(paths.length * digestSize))
  const failures: Array<HashFailure> = []
  const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK
  let bytes = 0
  for (let index = 0; index < paths.length; index++) {
    const path = `${root}/${paths[index]!}`
    let fd = -1
    try {
      fd = fs.openSync(nonAscii.test(path) ? Buffer.from(path, "latin1") : path, flags)
      const hash = crypto.createHash("sha256")
      for (;;) {
        const count = fs.readSync(fd, buffer, 0, chunkSize, null)
        if (count === 0) break
        bytes += count
        progress(count)
        hash.update(count === chunkSize ? buffer : buffer.subarray(0, count))
      }
      digests.set(hash.digest(), index * digestSize)
    } catch (cause) {
      failures.push({ index, code: (cause as NodeJS.ErrnoException).code ?? String(cause) })
    } finally {
      if (fd !== -1) fs.closeSync(fd)
    }
  }
  return { digests, failures, bytes }
}

/** `hashFiles` for a pool of workers. */
export const hashJob: Job<HashTask, FileDigests> = {
  kind: "rootfs.hash-files",
  run: (task, progress) => hashFiles(task.root, task.paths, progress),
  cost: (task) => task.bytes,
  transfer: (result) => [result.digests.buffer]
}
