/** Random archives with everything in them that a filter must not lose. */
import * as fc from "fast-check"
import { TarScanner } from "../../src/content/TarScan.ts"
import { encodeHeader, padding, type TarWriteEntry } from "../../src/content/TarWrite.ts"
import { LayerApplier } from "../../src/rootfs/ApplyLayer.ts"
import { FileTree } from "../../src/rootfs/FileTree.ts"
import { header, longName, member, octal, padded, pax, record } from "./tarFixtures.ts"

const utf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

/** Names as byte strings: short ones that collide, odd ones, long ones. */
const name: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("a", "b", "c", "lib", "x.pyc", "foo") },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "with space",
      "new\nline",
      "*star",
      "#hash",
      "!bang",
      "back\\slash",
      utf8("ü-文"),
      "\xff\xfe"
    )
  },
  { weight: 1, arbitrary: fc.constantFrom("n".repeat(99), "n".repeat(101), "m".repeat(200)) }
)

const directoryPath = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"))

/** What one random member is, before its path is known to be free. */
interface Plan {
  readonly kind:
    | "file"
    | "pax-file"
    | "gnu-file"
    | "star-file"
    | "v7-file"
    | "sparse-gnu"
    | "sparse-pax"
    | "directory"
    | "symlink"
    | "hardlink"
    | "device"
    | "fifo"
    | "whiteout"
    | "opaque"
    | "global"
    | "lower-hardlink"
  readonly path: string
  readonly size: number
  readonly seconds: number
  readonly nanoseconds: number
  readonly pick: number
  readonly prefix: "" | "./" | "/"
}

const plan: fc.Arbitrary<Plan> = fc.record({
  kind: fc.constantFrom<Plan["kind"]>(
    "file",
    "file",
    "pax-file",
    "gnu-file",
    "star-file",
    "v7-file",
    "sparse-gnu",
    "sparse-pax",
    "directory",
    "symlink",
    "hardlink",
    "hardlink",
    "device",
    "fifo",
    "whiteout",
    "opaque",
    "global",
    "lower-hardlink"
  ),
  path: directoryPath,
  size: fc.constantFrom(0, 1, 511, 512, 513, 1500),
  seconds: fc.constantFrom(0, 1, 1_700_000_000, 8 ** 11, -5),
  nanoseconds: fc.constantFrom(0, 250_000_000),
  pick: fc.nat(1000),
  prefix: fc.constantFrom("", "./")
})

const bodyOf = (size: number, seed: number): Buffer => {
  const body = Buffer.alloc(size)
  for (let i = 0; i < size; i++) body[i] = (i * 31 + seed) & 0xff
  return body
}

/** A layer as it was made: its bytes, and what was put into it. */
export interface RandomLayer {
  readonly tar: Buffer
  /** Paths of regular files and of hardlinks to them, which a layer above may name as the target of a hardlink. */
  readonly files: ReadonlyArray<string>
  readonly directories: ReadonlyArray<string>
  /** Paths of all that are no directories. */
  readonly leaves: ReadonlyArray<string>
  readonly [fc.toStringMethod]: () => string
}

const octal12 = (value: number): string => (value >= 0 && value < 8 ** 11 ? `${octal(value, 11)}\0` : base256(value))

const base256 = (value: number): string => {
  const bytes = Buffer.alloc(12)
  let rest = BigInt(value) & ((1n << 96n) - 1n)
  for (let i = 11; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  bytes[0] = (bytes[0]! & 0x7f) | 0x80
  return bytes.toString("latin1")
}

const written = (entry: TarWriteEntry, body: Uint8Array = Buffer.alloc(0)): Buffer =>
  Buffer.concat([encodeHeader({ ...entry, size: body.length }), body, padding(body.length)])

/** One layer: no path twice, every hardlink behind its target, nothing below what is no directory. */
const build = (plans: ReadonlyArray<Plan>, lower: ReadonlyArray<RandomLayer>): RandomLayer => {
  const parts: Array<Buffer> = []
  const taken = new Map<string, "directory" | "leaf">()
  const files: Array<string> = []
  const lowerFiles = lower.flatMap((one) => one.files)
  const lowerLeaves = new Set(lower.flatMap((one) => one.leaves))
  const lowerDirectories = lower.flatMap((one) => one.directories)
  const free = (path: string): boolean => {
    if (taken.has(path)) return false
    for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) {
      const parent = path.slice(0, slash)
      if (taken.get(parent) === "leaf" || (!taken.has(parent) && lowerLeaves.has(parent))) return false
    }
    return ![...taken.keys()].some((other) => other.startsWith(`${path}/`))
  }
  const take = (path: string, what: "directory" | "leaf"): void => {
    taken.set(path, what)
    for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) {
      taken.set(path.slice(0, slash), "directory")
    }
  }
  for (const one of plans) {
    const { kind, pick, prefix, seconds } = one
    const target =
      kind === "hardlink" ? files[pick % Math.max(1, files.length)] : lowerFiles[pick % Math.max(1, lowerFiles.length)]
    if ((kind === "hardlink" || kind === "lower-hardlink") && target === undefined) continue
    if (kind === "lower-hardlink" && taken.has(target!)) continue
    const hidden = lowerFiles[pick % Math.max(1, lowerFiles.length)] ?? one.path
    const slash = hidden.lastIndexOf("/") + 1
    const path =
      kind === "whiteout"
        ? `${hidden.slice(0, slash)}.wh.${hidden.slice(slash)}`
        : kind === "opaque"
          ? `${lowerDirectories[pick % Math.max(1, lowerDirectories.length)] ?? one.path}/.wh..wh..opq`
          : one.path
    if (kind !== "global" && !free(path)) continue
    // What this layer hides it neither adds nor needs.
    if (kind === "whiteout" && (taken.has(hidden) || plans.some((other) => other.kind === "lower-hardlink"))) continue
    if (kind === "opaque" && plans.some((other) => other.kind === "lower-hardlink")) continue
    if (
      [...taken.keys()].some((other) => {
        const at = other.lastIndexOf("/") + 1
        if (!other.slice(at).startsWith(".wh.")) return false
        const gone = `${other.slice(0, at)}${other.slice(at + 4)}`
        return path === gone || path.startsWith(`${gone}/`)
      })
    )
      continue
    const time = { mtimeSeconds: seconds, mtimeNanoseconds: one.nanoseconds }
    const body = bodyOf(one.size, pick)
    const full = prefix + path
    switch (kind) {
      case "file":
        parts.push(written({ path: full, type: "file", mode: 0o4755, uid: 5, gid: 6, ...time }, body))
        files.push(path)
        break
      case "pax-file":
        parts.push(
          written(
            {
              path: full,
              type: "file",
              ...time,
              uid: 3_000_000_000,
              xattrs: new Map([
                ["security.capability", Buffer.from([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
                ["user.empty", Buffer.alloc(0)],
                ["user.line", Buffer.from("a\n12 mtime=3\n")]
              ]),
              pax: new Map([
                ["atime", "1.5"],
                ["ctime", String(seconds)],
                ["comment", "kept"],
                ["LIBARCHIVE.creationtime", "17"]
              ])
            },
            body
          )
        )
        files.push(path)
        break
      case "gnu-file": {
        const long = full.length > 100 ? [longName(full)] : []
        parts.push(
          ...long,
          member(
            {
              name: full.slice(0, 100),
              format: "gnu",
              mtime: octal12(seconds),
              raw:
                pick % 2 === 0
                  ? []
                  : [
                      [345, octal12(seconds)],
                      [357, octal12(7)]
                    ]
            },
            body
          )
        )
        files.push(path)
        break
      }
      case "star-file":
        if (full.length > 100) continue
        parts.push(
          member(
            {
              name: full,
              format: "star",
              mtime: octal12(seconds),
              raw: [
                [476, octal12(9)],
                [488, octal12(seconds)]
              ]
            },
            body
          )
        )
        files.push(path)
        break
      case "v7-file":
        if (full.length > 100) continue
        parts.push(
          member({ name: full, format: "v7", mtime: `${octal(Math.max(0, seconds) % 8 ** 11, 11)} `, type: "\0" }, body)
        )
        files.push(path)
        break
      case "sparse-gnu": {
        const segments = 6
        const fields: Array<readonly [number, string]> = []
        for (let i = 0; i < 4; i++)
          fields.push([386 + 24 * i, `${octal(i * 1024, 11)}\0`], [398 + 24 * i, `${octal(256, 11)}\0`])
        const more = Buffer.alloc(512)
        for (let i = 4; i < segments; i++) {
          more.write(`${octal(i * 1024, 11)}\0${octal(256, 11)}\0`, 24 * (i - 4), "latin1")
        }
        const data = bodyOf(segments * 256, pick)
        parts.push(
          ...(full.length > 100 ? [longName(full)] : []),
          header({
            name: full.slice(0, 100),
            format: "gnu",
            type: "S",
            size: data.length,
            mtime: octal12(seconds),
            raw: [[345, octal12(3)], ...fields, [482, "\x01"], [483, `${octal(segments * 1024, 11)}\0`]]
          }),
          more,
          padded(data)
        )
        files.push(path)
        break
      }
      case "sparse-pax": {
        const data = Buffer.concat([padded("2\n0\n100\n5000\n24\n"), bodyOf(124, pick)])
        parts.push(
          pax([
            ["mtime", "12.25"],
            ["GNU.sparse.major", "1"],
            ["GNU.sparse.minor", "0"],
            ["GNU.sparse.name", full],
            ["GNU.sparse.realsize", "6000"]
          ]),
          member({ name: "GNUSparseFile.0/x", mtime: octal12(seconds) }, data)
        )
        files.push(path)
        break
      }
      case "directory":
        parts.push(written({ path: `${full}/`, type: "directory", mode: 0o1777, ...time }))
        take(path, "directory")
        continue
      case "symlink":
        parts.push(
          written({ path: full, type: "symlink", linkname: pick % 5 === 0 ? "t".repeat(150) : "../x", ...time })
        )
        break
      case "hardlink":
      case "lower-hardlink":
        parts.push(written({ path: full, type: "hardlink", linkname: (pick % 2 === 0 ? "./" : "") + target!, ...time }))
        if (kind === "hardlink") files.push(path)
        break
      case "device":
        parts.push(
          written({ path: full, type: pick % 2 === 0 ? "char" : "block", devmajor: 1, devminor: pick, ...time })
        )
        break
      case "fifo":
        parts.push(written({ path: full, type: "fifo", ...time }))
        break
      case "whiteout":
      case "opaque":
        parts.push(written({ path: full, type: "file", ...time }))
        break
      case "global":
        parts.push(pax(`${record("comment", "global")}${pick % 2 === 0 ? record("mtime", "77") : ""}`, "g"))
        continue
    }
    take(path, "leaf")
  }
  return {
    tar: Buffer.concat([...parts, Buffer.alloc(1024 + 512 * (plans.length % 3))]),
    files,
    directories: [...taken].flatMap(([path, what]) => (what === "directory" ? [path] : [])),
    leaves: [...taken].flatMap(([path, what]) => (what === "leaf" ? [path] : [])),
    // The bytes would fill the screen.
    [fc.toStringMethod]: () => JSON.stringify(plans)
  }
}

export const layer: fc.Arbitrary<RandomLayer> = fc.array(plan, { maxLength: 14 }).map((plans) => build(plans, []))

/** Whether every hardlink finds a target that it can have, in its own layer or below it. */
const linked = (layers: ReadonlyArray<RandomLayer>): boolean => {
  const tree = new FileTree()
  return layers.every(({ tar }, index) => {
    const applier = new LayerApplier(tree, index, { digests: false })
    const scanner = new TarScanner({ onEntry: applier.onEntry, onProblem: () => {} })
    scanner.write(tar)
    scanner.end()
    return !applier
      .finish()
      .problems.some(
        (one) => one.check === "rootfs.hardlink-missing-target" || one.check === "rootfs.hardlink-bad-target"
      )
  })
}

/** Layers of one image: the upper ones replace, hide and link to what the lower ones have. */
export const layers: fc.Arbitrary<ReadonlyArray<RandomLayer>> = fc
  .array(fc.array(plan, { maxLength: 12 }), { minLength: 1, maxLength: 3 })
  .map((all) => {
    const built: Array<RandomLayer> = []
    for (const plans of all) built.push(build(plans, built))
    return built
  })
  .filter(linked)
