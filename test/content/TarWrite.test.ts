import * as Fs from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import { fromText, toBytes } from "../../src/content/ByteString.ts"
import { xattrsOf } from "../../src/content/TarEntry.ts"
import { encodeHeader, endOfArchive, padding, type TarWriteEntry } from "../../src/content/TarWrite.ts"
import { peerTest, run, withDirectory } from "../peers/Peers.ts"
import { asPythonReads, found, paths, scan } from "./tarFixtures.ts"

const archive = (entries: ReadonlyArray<TarWriteEntry>): Buffer =>
  Buffer.concat([
    ...entries.flatMap((entry) => {
      const size = entry.size ?? 0
      return [encodeHeader(entry), Buffer.alloc(size, "x"), padding(size)]
    }),
    endOfArchive
  ])

const back = (entry: TarWriteEntry) => {
  const scanned = scan(archive([entry]))
  assert.isTrue(scanned.summary.ended)
  assert.deepStrictEqual(
    found(scanned).filter(([check]) => check !== "tar.path-not-utf8"),
    []
  )
  assert.strictEqual(scanned.entries.length, 1)
  return scanned.entries[0]!.entry
}

const file = (fields: Partial<TarWriteEntry> = {}): TarWriteEntry => ({ path: "file", type: "file", ...fields })

describe("encodeHeader", () => {
  it("is one block where ustar is enough", () => {
    const entries: ReadonlyArray<TarWriteEntry> = [
      file(),
      file({ path: "n".repeat(100) }),
      file({ path: `${"p".repeat(155)}/${"n".repeat(100)}` }),
      file({ path: `${"p".repeat(50)}/${"n".repeat(60)}/`, type: "directory" }),
      file({ type: "symlink", linkname: "t".repeat(100) }),
      file({ type: "char", devmajor: 8 ** 7 - 1, devminor: 8 ** 7 - 1 }),
      file({ uid: 8 ** 7 - 1, gid: 8 ** 7 - 1, mtimeSeconds: 8 ** 11 - 1, mode: 0o7777 }),
      file({ uname: "u".repeat(31), gname: "g".repeat(31) }),
      file({ path: "caf\xe9" })
    ]
    for (const entry of entries) {
      assert.strictEqual(encodeHeader(entry).length, 512, JSON.stringify(entry))
      assert.deepInclude(back(entry), entry)
    }
    // Not written out: the size of the body that it claims.
    assert.strictEqual(encodeHeader(file({ size: 8 ** 11 - 1 })).length, 512)
  })

  it("puts a pax header in front where it is not", () => {
    const entries: ReadonlyArray<TarWriteEntry> = [
      file({ path: "n".repeat(101) }),
      file({ path: `${"p".repeat(156)}/n` }),
      file({ path: `p/${"n".repeat(101)}` }),
      file({ path: fromText("é") }),
      file({ path: "\xff".repeat(101) }),
      file({ type: "symlink", linkname: "t".repeat(101) }),
      file({ type: "hardlink", linkname: fromText("ü") }),
      file({ type: "block", devmajor: 8 ** 7, devminor: 3 }),
      file({ uid: 8 ** 7 }),
      file({ gid: Number.MAX_SAFE_INTEGER }),
      file({ uname: "u".repeat(32), gname: fromText("größe") }),
      file({ mtimeSeconds: 1, mtimeNanoseconds: 1 }),
      file({ mtimeSeconds: -1 }),
      file({ mtimeSeconds: -2, mtimeNanoseconds: 500_000_000 }),
      file({ mtimeSeconds: -1, mtimeNanoseconds: 999_999_999 }),
      file({ mtimeSeconds: 8 ** 11 })
    ]
    for (const entry of entries) {
      assert.strictEqual(encodeHeader(entry).length, 1536, JSON.stringify(entry))
      assert.deepInclude(back(entry), entry)
    }
    const large = scan(encodeHeader(file({ size: 8 ** 11 }))).entries[0]!.entry
    assert.strictEqual(large.size, 8 ** 11)
  })

  it("marks what is not UTF-8", () => {
    assert.strictEqual(back(file({ path: "\xff".repeat(101) })).pax?.get("hdrcharset"), "BINARY")
    assert.isFalse(back(file({ path: fromText("é") })).pax?.has("hdrcharset"))
  })

  it("writes extended attributes of any bytes, under any name", () => {
    const xattrs = new Map([
      ["security.capability", Buffer.from([1, 0, 0, 2, 10, 0, 0x3d, 0xff])],
      ["user.empty", Buffer.alloc(0)],
      ["user.a=b%c", Buffer.from("x")]
    ])
    assert.deepStrictEqual([...xattrsOf(back(file({ xattrs })))].sort(), [...xattrs].sort())
  })

  it("keeps further records, but none that contradicts a field", () => {
    const pax = new Map([
      ["path", "old"],
      ["mtime", "5.5"],
      ["uid", "77"],
      ["comment", "kept"],
      ["atime", "1.25"],
      ["GNU.sparse.major", "1"],
      ["SCHILY.xattr.user.a", "one"],
      ["LIBARCHIVE.xattr.user.b", "AAAA"]
    ])
    const kept = back(file({ mtimeSeconds: 7, pax }))
    assert.deepInclude(kept, { path: "file", mtimeSeconds: 7, mtimeNanoseconds: 0, uid: 0, sparse: undefined })
    const keywords = ["LIBARCHIVE.xattr.user.b", "SCHILY.xattr.user.a", "atime", "comment"]
    assert.deepStrictEqual([...kept.pax!.keys()], keywords)
    const replaced = back(file({ pax, xattrs: new Map([["user.c", Buffer.from("c")]]) }))
    assert.deepStrictEqual([...xattrsOf(replaced).keys()], ["user.c"])
  })

  it("gives the same bytes whatever the order of records", () => {
    const records = [
      ["b", "1"],
      ["a", "2"],
      ["c", "3"]
    ] as const
    const one = encodeHeader(file({ pax: new Map(records) }))
    assert.deepStrictEqual(encodeHeader(file({ pax: new Map([...records].reverse()) })), one)
  })

  it("counts the length of a record with its own digits", () => {
    for (let length = 80; length < 110; length++) {
      const pax = new Map([["k", "v".repeat(length)]])
      assert.deepStrictEqual(back(file({ pax })).pax, pax)
    }
  })

  it("refuses what no reader would take back", () => {
    const refused: ReadonlyArray<TarWriteEntry> = [
      file({ path: "" }),
      file({ path: "a\0b" }),
      file({ type: "symlink" }),
      file({ type: "hardlink", linkname: "a\0" }),
      file({ uname: "\0" }),
      file({ size: -1 }),
      file({ size: 1.5 }),
      file({ size: 2 ** 53 }),
      file({ uid: -1 }),
      file({ mtimeSeconds: Number.NaN }),
      file({ mtimeNanoseconds: 1e9 }),
      file({ type: "directory", size: 1 }),
      file({ pax: new Map([["", "v"]]) }),
      file({ pax: new Map([["a=b", "v"]]) })
    ]
    for (const entry of refused) assert.throws(() => encodeHeader(entry), RangeError)
  })

  it("pads bodies and ends the archive", () => {
    assert.deepStrictEqual(
      [0, 1, 511, 512, 513].map((size) => padding(size).length),
      [0, 511, 1, 0, 511]
    )
    assert.deepStrictEqual(Buffer.from(endOfArchive), Buffer.alloc(1024))
  })
})

const unit = FastCheck.constantFrom("a", "b", ".", " ", "é", "文", "\n", "=", "\\", "-")
const text = (maxLength: number) =>
  FastCheck.oneof(
    FastCheck.string({ unit, minLength: 1, maxLength }).map(fromText),
    FastCheck.constantFrom(99, 100, 101, 255).map((length) => "n".repeat(length))
  )
const path = FastCheck.array(
  text(60).filter((part) => !/^\.+$/.test(part)),
  { minLength: 1, maxLength: 4 }
).map((parts) => parts.join("/"))
const type = FastCheck.constantFrom("file", "hardlink", "symlink", "char", "block", "directory", "fifo")
const anyEntry = FastCheck.record({
  path,
  type,
  size: FastCheck.nat(1500),
  linkname: path,
  mode: FastCheck.nat(0o7777),
  uid: FastCheck.nat(4_000_000_000),
  gid: FastCheck.nat(4_000_000_000),
  uname: FastCheck.constantFrom("", "root", fromText("zoë"), "u".repeat(40)),
  gname: FastCheck.constantFrom("", "root", "wheel"),
  mtimeSeconds: FastCheck.integer({ min: -(2 ** 33), max: 2 ** 34 }),
  mtimeNanoseconds: FastCheck.oneof(FastCheck.constant(0), FastCheck.nat(999_999_999)),
  devmajor: FastCheck.nat(4095),
  devminor: FastCheck.nat(1 << 20),
  xattrs: FastCheck.dictionary(
    FastCheck.constantFrom("user.a", "user.b c", "security.capability"),
    FastCheck.uint8Array({ maxLength: 40 })
  ).map((values) => new Map(Object.entries(values)))
}).map((entry) => ({
  ...entry,
  size: entry.type === "file" ? entry.size : 0,
  linkname: entry.type === "hardlink" || entry.type === "symlink" ? entry.linkname : "",
  devmajor: entry.type === "char" || entry.type === "block" ? entry.devmajor : 0,
  devminor: entry.type === "char" || entry.type === "block" ? entry.devminor : 0
}))

describe("what was written", () => {
  it("is read back the same by the scanner", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(anyEntry, { maxLength: 8 }), (entries) => {
        const scanned = scan(archive(entries))
        assert.deepStrictEqual(scanned.problems, [])
        assert.deepStrictEqual(
          paths(scanned),
          entries.map((entry) => entry.path)
        )
        scanned.entries.forEach(({ body, entry }, i) => {
          const { xattrs, ...fields } = entries[i]!
          assert.deepInclude(entry, fields)
          assert.strictEqual(body.toString(), "x".repeat(fields.size))
          assert.deepStrictEqual(
            [...xattrsOf(entry)].map(([name, value]) => [name, value.toString("hex")]).sort(),
            [...xattrs].map(([name, value]) => [name, Buffer.from(value).toString("hex")]).sort()
          )
        })
      })
    )
  })

  const python = `
import json, sys, tarfile
types = {b"0": "file", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "directory", b"6": "fifo"}
raw = lambda text: text.encode("utf-8", "surrogateescape").hex()
json.dump([[raw(m.name), types[m.type], m.size, raw(m.linkname), m.mode, m.uid, m.gid, raw(m.uname), raw(m.gname),
            m.mtime, m.devmajor, m.devminor]
           for m in tarfile.open(sys.argv[1], "r:", encoding="utf-8", errors="surrogateescape")], sys.stdout)
`
  const hex = (value: string): string => toBytes(value).toString("hex")

  peerTest(["python3"], "is read the same by Python", () =>
    withDirectory((directory) => {
      const name = Path.join(directory, "a.tar")
      FastCheck.assert(
        FastCheck.property(FastCheck.array(anyEntry, { minLength: 1, maxLength: 12 }), (entries) => {
          Fs.writeFileSync(name, archive(entries))
          const seen = JSON.parse(run("python3", ["-c", python, name]).stdout)
          assert.deepStrictEqual(
            seen,
            entries.map((entry) => [
              hex(entry.path),
              entry.type,
              entry.size,
              hex(entry.linkname),
              entry.mode,
              entry.uid,
              entry.gid,
              hex(entry.uname),
              hex(entry.gname),
              asPythonReads(entry),
              entry.devmajor,
              entry.devminor
            ])
          )
        }),
        { numRuns: 20 }
      )
    })
  )

  peerTest(["gnutar"], "is read the same by GNU tar", () =>
    withDirectory((directory) => {
      const name = Path.join(directory, "a.tar")
      FastCheck.assert(
        FastCheck.property(FastCheck.array(anyEntry, { minLength: 1, maxLength: 12 }), (entries) => {
          Fs.writeFileSync(name, archive(entries))
          const listed = run("gnutar", ["--quoting-style=escape", "--absolute-names", "-tf", name]).bytes
          const escaped = (value: string) => value.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")
          // GNU tar lists directories with a slash, whether or not their names have it.
          const lines = Buffer.from(listed).toString("latin1").split("\n").slice(0, -1)
          assert.deepStrictEqual(
            lines.map((line) => line.replace(/\/$/, "")),
            entries.map((entry) => escaped(entry.path).replace(/\/$/, ""))
          )
        }),
        { numRuns: 20 }
      )
    })
  )

  const longest = `d/${"n".repeat(200)}`
  const unpacked: ReadonlyArray<TarWriteEntry> = [
    { path: "d/", type: "directory", mode: 0o755, mtimeSeconds: 1_700_000_000 },
    { path: longest, type: "file", size: 700, mode: 0o600, mtimeSeconds: 5, mtimeNanoseconds: 125_000_000 },
    { path: fromText("d/é文"), type: "file", size: 3, mode: 0o644, mtimeSeconds: -2, mtimeNanoseconds: 500_000_000 },
    { path: "d/hard", type: "hardlink", linkname: longest, mode: 0o600, mtimeSeconds: 5 },
    { path: "d/soft", type: "symlink", linkname: "t".repeat(500), mode: 0o777, mtimeSeconds: 6 },
    { path: "d/fifo", type: "fifo", mode: 0o640, mtimeSeconds: 7 }
  ]
  for (const [program, options] of [
    ["gnutar", ["--warning=no-timestamp"]],
    ["bsdtar", []]
  ] as const) {
    peerTest([program], `is unpacked by ${program}`, () =>
      withDirectory((directory) => {
        const name = Path.join(directory, "a.tar")
        const tree = Path.join(directory, "tree")
        Fs.mkdirSync(tree)
        Fs.writeFileSync(name, archive(unpacked))
        const result = run(program, [...options, "-C", tree, "-xpf", name])
        assert.strictEqual(result.stderr, "")
        const stat = (path: string) =>
          Fs.lstatSync(Buffer.concat([Buffer.from(`${tree}/`), toBytes(path)]), { bigint: true })
        const long = stat(unpacked[1]!.path)
        assert.deepStrictEqual([long.size, long.mtimeNs, long.nlink], [700n, 5_125_000_000n, 2n])
        assert.strictEqual(stat("d/hard").ino, long.ino)
        // libarchive adds the fraction of a negative time instead of subtracting it: -1.5 becomes -0.5.
        const old = program === "bsdtar" ? -500_000_000n : -1_500_000_000n
        assert.strictEqual(stat(unpacked[2]!.path).mtimeNs, old)
        assert.strictEqual(Fs.readlinkSync(Path.join(tree, "d/soft")), "t".repeat(500))
        assert.isTrue(stat("d/fifo").isFIFO())
        assert.strictEqual(stat("d/").mtimeNs, 1_700_000_000_000_000_000n)
        assert.deepStrictEqual(Fs.readdirSync(Path.join(tree, "d")).length, 5)
      })
    )
  }

  peerTest(["gnutar"], "has the bytes of GNU tar where both write ustar", () =>
    withDirectory((directory) => {
      Fs.writeFileSync(Path.join(directory, "file"), "x".repeat(700))
      Fs.chmodSync(Path.join(directory, "file"), 0o640)
      const bytes = run("gnutar", [
        "--format=ustar",
        "--owner=someone:1000",
        "--group=people:100",
        "--mtime=@1700000000",
        "-b2",
        "-C",
        directory,
        "-c",
        "file"
      ]).bytes
      const entry = file({
        size: 700,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        uname: "someone",
        gname: "people",
        mtimeSeconds: 1_700_000_000
      })
      assert.deepStrictEqual(Buffer.from(bytes).subarray(0, 512), Buffer.from(encodeHeader(entry)))
    })
  )

  peerTest(["gnutar", "setfattr"], "restores extended attributes through GNU tar", () =>
    withDirectory((directory) => {
      const name = Path.join(directory, "a.tar")
      const xattrs = new Map([
        ["user.binary", Buffer.from([0, 10, 61, 255])],
        ["user.a=b", Buffer.from("c")]
      ])
      Fs.writeFileSync(name, archive([file({ xattrs, mode: 0o644 })]))
      const result = run("gnutar", ["--xattrs", "--warning=no-unknown-keyword", "-C", directory, "-xf", name])
      const unpacked = Path.join(directory, "file")
      const listed = run("getfattr", ["-d", "-m", "user", "-e", "hex", unpacked], { allowFailure: true })
      // A file system without them: GNU tar says so for each.
      if (result.stderr !== "") assert.match(result.stderr, /not supported/i)
      else {
        assert.include(listed.stdout, "user.binary=0x000a3dff")
        assert.match(listed.stdout, /user\.a(=|\\075)b=0x63/)
      }
    })
  )
})
