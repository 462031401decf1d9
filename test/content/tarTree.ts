/** Trees of odd files on disk, and what an archive of them has to hold. */
import * as ChildProcess from "node:child_process"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { assert } from "@effect/vitest"
import type { TarEntry } from "../../src/content/TarEntry.ts"
import { expanded, type Scanned } from "./tarFixtures.ts"

export interface TreeOptions {
  /** Bytes that one name and a whole path may have. */
  readonly maxName: number
  readonly maxPath: number
  /** Whether the format can hold times before 1970, and parts of seconds among them. */
  readonly past: "none" | "seconds" | "fractions"
  /** Whether names that are not UTF-8 are wanted. */
  readonly bytes: boolean
  /** Whether the format can hold devices and fifos. */
  readonly special: boolean
}

const isRoot = process.getuid?.() === 0

const at = (root: string, path: string): Buffer => Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, "latin1")])

const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

/** Makes files of all kinds under `root`. */
export const makeTree = (root: string, options: TreeOptions): void => {
  const file = (path: string, content: string | Buffer, seconds = 1_700_000_000.25) => {
    Fs.writeFileSync(at(root, path), content)
    Fs.utimesSync(at(root, path), seconds, seconds)
  }
  const fits = (path: string) =>
    path.length <= options.maxPath && path.split("/").every((part) => part.length <= options.maxName)
  file("empty", "")
  file("block", Buffer.alloc(512, 1))
  file("block+1", Buffer.alloc(513, 2))
  file("large", Buffer.alloc(300_000, "0123456789"))
  file("-dash", "dash")
  file("with space", "space")
  file("back\\slash", "slash")
  file("new\nline", "line")
  file("quote\"'", "quote")
  file(utf8("ünï-文字"), "text")
  if (options.bytes) file("\xff\xfe-bytes", "bytes")
  Fs.mkdirSync(at(root, "empty directory"))
  Fs.mkdirSync(at(root, "setgid"))
  Fs.chmodSync(at(root, "setgid"), 0o2751)
  file("setuid", "suid")
  Fs.chmodSync(at(root, "setuid"), 0o4755)
  if (options.past !== "none") {
    file("old", "old")
    // Not by utimes: Node 20 takes a negative time for the present.
    const time = options.past === "fractions" ? "@-2000000.375" : "@-2000000"
    ChildProcess.execFileSync("touch", ["-d", time, `${root}/old`])
  }
  for (const length of [99, 100, 101, 154, 155, 156, 200, 255]) {
    const name = `${length}-`.padEnd(length, "n")
    // A path of "./" in front of it goes into the archive.
    if (fits(`./${name}`)) file(name, name)
    const directory = `d${length}-`.padEnd(length, "d")
    if (fits(`./${directory}/${name}/`)) {
      Fs.mkdirSync(at(root, directory))
      file(`${directory}/${name}`, directory)
    }
  }
  Fs.mkdirSync(at(root, "links"))
  file("links/a", "linked")
  Fs.linkSync(at(root, "links/a"), at(root, "links/b"))
  Fs.linkSync(at(root, "links/a"), at(root, "links/c"))
  Fs.symlinkSync("../../outside", at(root, "links/up"))
  Fs.symlinkSync("/absolute/target", at(root, "links/absolute"))
  const target = "t".repeat(Math.min(options.maxPath, 99))
  Fs.symlinkSync(target, at(root, "links/long"))
  if (options.maxPath > 255) {
    Fs.symlinkSync("t".repeat(3000), at(root, "links/longer"))
    const deep = `links/${"x".repeat(150)}`
    Fs.mkdirSync(at(root, deep))
    file(`${deep}/${"y".repeat(150)}`, "deep")
    Fs.linkSync(at(root, `${deep}/${"y".repeat(150)}`), at(root, `links/${"z".repeat(200)}`))
  }
  if (isRoot) {
    Fs.chownSync(at(root, "block"), 12345, 54321)
    if (options.past !== "none") Fs.chownSync(at(root, "block+1"), 3_000_000_000, 4_000_000)
  }
  if (options.special) ChildProcess.execFileSync("mkfifo", [`${root}/fifo`])
  if (options.special && isRoot) {
    ChildProcess.execFileSync("mknod", [`${root}/char`, "c", "5", "1"])
    ChildProcess.execFileSync("mknod", [`${root}/blockdevice`, "b", "259", "70000"])
  }
}

interface Wanted {
  readonly stat: Fs.BigIntStats
  readonly type: TarEntry["type"]
  readonly linkname: string
  readonly digest: string
}

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const typeOf = (stat: Fs.BigIntStats): TarEntry["type"] =>
  stat.isFile()
    ? "file"
    : stat.isDirectory()
      ? "directory"
      : stat.isSymbolicLink()
        ? "symlink"
        : stat.isFIFO()
          ? "fifo"
          : stat.isCharacterDevice()
            ? "char"
            : "block"

const readTree = (root: string, path = "", found = new Map<string, Wanted>()): Map<string, Wanted> => {
  const full = at(root, path)
  const stat = Fs.lstatSync(full, { bigint: true })
  const type = typeOf(stat)
  found.set(path, {
    stat,
    type,
    linkname: type === "symlink" ? Fs.readlinkSync(full, "buffer").toString("latin1") : "",
    digest: type === "file" ? digestOf(Fs.readFileSync(full)) : ""
  })
  if (type === "directory") {
    for (const name of Fs.readdirSync(full, "buffer")) {
      const child = name.toString("latin1")
      readTree(root, path === "" ? child : `${path}/${child}`, found)
    }
  }
  return found
}

const plain = (path: string): string =>
  path
    .replace(/^(\.\/+)+/, "")
    .replace(/\/+$/, "")
    .replace(/^\.$/, "")

const floorSeconds = (nanoseconds: bigint): number => Number((nanoseconds - modulo(nanoseconds)) / 1_000_000_000n)
const modulo = (nanoseconds: bigint): bigint => ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n

/** Whether the archive holds exactly the tree: every name, type, size, content, owner, mode, link and time. */
export const assertIsTree = (scanned: Scanned, root: string, nanoseconds: boolean): void => {
  const wanted = readTree(root)
  const seen = new Map(scanned.entries.map((each) => [plain(each.entry.path), each]))
  assert.deepStrictEqual([...seen.keys()].sort(), [...wanted.keys()].sort())
  assert.strictEqual(seen.size, scanned.entries.length)
  for (const [path, { digest, linkname, stat, type }] of wanted) {
    const each = seen.get(path)!
    const { entry } = each
    assert.isTrue(each.complete, path)
    if (entry.type === "hardlink") {
      const target = wanted.get(plain(entry.linkname))
      assert.strictEqual(target?.stat.ino, stat.ino, path)
    } else {
      assert.strictEqual(entry.type, type, path)
      assert.strictEqual(entry.linkname, linkname, path)
      assert.strictEqual(entry.realSize, type === "file" ? Number(stat.size) : 0, path)
      if (type === "file") assert.strictEqual(digestOf(expanded(each)), digest, path)
    }
    assert.strictEqual(entry.mode, Number(stat.mode) & 0o7777, path)
    assert.deepStrictEqual([entry.uid, entry.gid], [Number(stat.uid), Number(stat.gid)], path)
    const seconds = floorSeconds(stat.mtimeNs)
    assert.deepStrictEqual(
      [entry.mtimeSeconds, entry.mtimeNanoseconds],
      [seconds, nanoseconds ? Number(modulo(stat.mtimeNs)) : 0],
      path
    )
    if (type === "char" || type === "block") {
      const device = stat.rdev
      // glibc's gnu_dev_major and gnu_dev_minor.
      const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn))
      const minor = Number((device & 0xffn) | ((device >> 12n) & ~0xffn))
      assert.deepStrictEqual([entry.devmajor, entry.devminor], [major, minor], path)
    }
  }
}
