/** The scanner reads what other programs write, sees what they see, and finds nothing wrong with it. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "@effect/vitest"
import * as FastCheck from "fast-check"
import type { TarEntry } from "../../src/content/TarEntry.ts"
import { xattrsOf } from "../../src/content/TarEntry.ts"
import { peerTest, run, withDirectory } from "../peers/Peers.ts"
import { asPythonReads, expanded, type Scanned, scan } from "./tarFixtures.ts"
import { assertIsTree, makeTree, type TreeOptions } from "./tarTree.ts"

const unlimited: TreeOptions = { maxName: 255, maxPath: 4000, past: "fractions", bytes: true, special: true }

/** Reading in chunks of an odd size: what one program writes is long enough to be cut everywhere. */
const read = (file: string): Scanned => scan(Fs.readFileSync(file), {}, [65536, 1000, 512, 7])

const assertClean = (scanned: Scanned, apartFrom: ReadonlyArray<string> = []): void => {
  assert.deepStrictEqual(
    scanned.problems.filter(({ check }) => !apartFrom.includes(check)),
    []
  )
  assert.isTrue(scanned.summary.ended)
}

/** What Python's tarfile sees: names in hexadecimal of their bytes. */
const listing = `
import json, sys, tarfile
types = {b"0": "file", b"\\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink", b"3": "char",
         b"4": "block", b"5": "directory", b"6": "fifo"}
out = []
for m in tarfile.open(sys.argv[1], "r:", encoding="utf-8", errors="surrogateescape"):
    raw = lambda text: text.encode("utf-8", "surrogateescape").hex()
    out.append([raw(m.name.rstrip("/")), types[m.type], m.size, raw(m.linkname), m.mode & 0o7777, m.uid, m.gid,
                m.mtime])
json.dump(out, sys.stdout)
`

const hex = (value: string): string => Buffer.from(value, "latin1").toString("hex")

const asPythonLists = ({ entries }: Scanned) =>
  entries.map(({ entry }) => [
    hex(entry.path.replace(/\/+$/, "")),
    entry.type,
    entry.realSize,
    hex(entry.linkname),
    entry.mode,
    entry.uid,
    entry.gid,
    asPythonReads(entry)
  ])

const assertAsPythonSees = (scanned: Scanned, file: string): void => {
  const listed = JSON.parse(run("python3", ["-c", listing, file]).stdout)
  assert.deepStrictEqual(asPythonLists(scanned), listed)
}

/** Names as GNU tar and bsdtar list them, in order. */
const assertNamesAs = (scanned: Scanned, program: "gnutar" | "bsdtar", file: string): void => {
  const listed =
    program === "gnutar"
      ? run("gnutar", ["--quoting-style=literal", "--null", "-tf", file]).bytes
      : run("bsdtar", ["-tf", file]).bytes
  const lines = Buffer.from(listed).toString("latin1").split("\n").slice(0, -1)
  const names = scanned.entries.map(({ entry }) => entry.path)
  // bsdtar escapes what does not print; GNU tar's literal names may hold newlines.
  if (program === "gnutar") assert.deepStrictEqual(lines.join("\n"), names.join("\n"))
  else {
    const plain = (name: string) => /^[\x20-\x5b\x5d-\x7e]*$/.test(name)
    assert.strictEqual(lines.length, names.length)
    names.forEach((name, i) => {
      if (plain(name)) assert.strictEqual(lines[i], name)
    })
  }
}

describe("GNU tar", () => {
  const formats: ReadonlyArray<readonly [format: string, options: TreeOptions, nanoseconds: boolean]> = [
    ["v7", { maxName: 97, maxPath: 98, past: "none", bytes: true, special: false }, false],
    ["oldgnu", unlimited, false],
    ["gnu", unlimited, false],
    ["ustar", { maxName: 99, maxPath: 250, past: "none", bytes: true, special: true }, false],
    ["posix", unlimited, true]
  ]
  for (const [format, options, nanoseconds] of formats) {
    peerTest(["gnutar", "python3"], `--format=${format}`, () =>
      withDirectory((directory) => {
        const tree = Path.join(directory, "tree")
        const file = Path.join(directory, "a.tar")
        Fs.mkdirSync(tree)
        makeTree(tree, options)
        run("gnutar", [`--format=${format}`, "-C", tree, "-cf", file, "."])
        const scanned = read(file)
        assertClean(scanned, ["tar.path-not-utf8"])
        assert.deepStrictEqual(
          scanned.problems.map(({ path }) => path),
          scanned.entries.map(({ entry }) => entry.path).filter((path) => path.includes("\xff"))
        )
        assertIsTree(scanned, tree, nanoseconds)
        assertAsPythonSees(scanned, file)
        assertNamesAs(scanned, "gnutar", file)
      })
    )
  }

  const sparse: ReadonlyArray<ReadonlyArray<string>> = [
    ["--format=oldgnu"],
    ["--format=gnu"],
    ["--format=posix", "--sparse-version=0.0"],
    ["--format=posix", "--sparse-version=0.1"],
    ["--format=posix", "--sparse-version=1.0"]
  ]
  for (const args of sparse) {
    peerTest(["gnutar"], `--sparse ${args.join(" ")}`, () =>
      withDirectory((directory) => {
        const tree = Path.join(directory, "tree")
        const file = Path.join(directory, "a.tar")
        Fs.mkdirSync(tree)
        const write = (name: string, size: number, pieces: ReadonlyArray<readonly [number, string]>) => {
          const handle = Fs.openSync(Path.join(tree, name), "w")
          Fs.ftruncateSync(handle, size)
          for (const [offset, text] of pieces) Fs.writeSync(handle, text, offset)
          Fs.closeSync(handle)
        }
        write("hole", 1_000_000, [])
        write("end", 1_000_003, [[1_000_000, "end"]])
        write("begin", 500_000, [[0, "begin"]])
        write(
          "many",
          2_000_000,
          Array.from({ length: 100 }, (_, i) => [i * 20_000, `piece ${i}`] as const)
        )
        write("l".repeat(200), 900_000, [[450_000, "long"]])
        write("full", 0, [[0, "not sparse"]])
        // Raw detection: a file system need not keep holes.
        run("gnutar", ["--sparse", "--hole-detection=raw", ...args, "-C", tree, "-cf", file, "."])
        const scanned = read(file)
        assertClean(scanned)
        assertIsTree(scanned, tree, args.includes("--format=posix"))
        for (const { body, entry } of scanned.entries) {
          if (entry.type !== "file" || entry.path === "./full") continue
          assert.isDefined(entry.sparse, entry.path)
          assert.strictEqual(
            entry.sparse!.reduce((sum, [, length]) => sum + length, 0),
            body.length
          )
          assert.isBelow(body.length, entry.realSize)
        }
        assertNamesAs(scanned, "gnutar", file)
      })
    )
  }

  peerTest(["gnutar"], "--incremental, --label, --multi-volume", () =>
    withDirectory((directory) => {
      const tree = Path.join(directory, "tree")
      Fs.mkdirSync(Path.join(tree, "d"), { recursive: true })
      Fs.writeFileSync(Path.join(tree, "d", "file"), "x".repeat(30_000))
      for (const format of ["gnu", "posix"]) {
        const file = Path.join(directory, `${format}.tar`)
        run("gnutar", [
          `--format=${format}`,
          "--label=a label",
          `--listed-incremental=${Path.join(directory, `${format}.snar`)}`,
          "-C",
          tree,
          "-cf",
          file,
          "."
        ])
        const scanned = read(file)
        assertClean(scanned, ["tar.uncommon-type"])
        assert.deepStrictEqual(
          scanned.entries.map(({ entry }) => [entry.path, entry.type]),
          [
            ["./", "directory"],
            ["./d/", "directory"],
            ["./d/file", "file"]
          ]
        )
        assert.strictEqual(scanned.entries[2]!.body.length, 30_000)
      }
      const volumes = [1, 2, 3].map((i) => Path.join(directory, `volume${i}`))
      run("gnutar", ["--format=gnu", "-M", "-L", "20", ...volumes.map((file) => `-f${file}`), "-C", tree, "-c", "."], {
        allowFailure: true
      })
      // The second volume begins in the middle of the file: what is there is not all of it.
      const second = read(volumes[1]!)
      assert.include(
        second.problems.map(({ check }) => check),
        "tar.bad-type"
      )
    })
  )
})

describe("bsdtar", () => {
  const formats: ReadonlyArray<readonly [format: string, options: TreeOptions, nanoseconds: boolean]> = [
    ["ustar", { maxName: 99, maxPath: 200, past: "none", bytes: false, special: true }, false],
    // libarchive writes -1.5 s as -2 s and then the fraction: "-2.5", which to all others is what it says.
    ["pax", { ...unlimited, bytes: false, past: "seconds" }, true],
    ["gnutar", { ...unlimited, bytes: false, past: "none" }, false]
  ]
  for (const [format, options, nanoseconds] of formats) {
    peerTest(["bsdtar", "python3"], `--format=${format}`, () =>
      withDirectory((directory) => {
        const tree = Path.join(directory, "tree")
        const file = Path.join(directory, "a.tar")
        Fs.mkdirSync(tree)
        makeTree(tree, options)
        run("bsdtar", ["--format", format, "-C", tree, "-cf", file, "."])
        const scanned = read(file)
        assertClean(scanned)
        assertIsTree(scanned, tree, nanoseconds)
        assertAsPythonSees(scanned, file)
        assertNamesAs(scanned, "bsdtar", file)
      })
    )
  }

  peerTest(["bsdtar"], "sparse files and names that are not UTF-8", () =>
    withDirectory((directory) => {
      const tree = Path.join(directory, "tree")
      const file = Path.join(directory, "a.tar")
      Fs.mkdirSync(tree)
      const handle = Fs.openSync(Path.join(tree, "sparse"), "w")
      Fs.ftruncateSync(handle, 3_000_000)
      Fs.writeSync(handle, "middle", 1_500_000)
      Fs.closeSync(handle)
      Fs.writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0x41])]), "bytes")
      run("bsdtar", ["--format", "pax", "-C", tree, "-cf", file, "."], { allowFailure: true })
      const scanned = read(file)
      assertClean(scanned, ["tar.path-not-utf8"])
      assert.deepStrictEqual(
        scanned.problems.map(({ path }) => path),
        ["./\xffA"]
      )
      assertIsTree(scanned, tree, true)
    })
  )
})

const attributes: ReadonlyArray<readonly [name: string, value: Buffer]> = [
  ["user.text", Buffer.from("value")],
  ["user.binary", Buffer.from([0, 10, 0x3d, 0xff, 10, 0])],
  ["user.with=equals and space", Buffer.from("x")]
]

for (const [program, args] of [
  ["gnutar", ["--format=posix", "--xattrs"]],
  ["bsdtar", ["--format", "pax"]]
] as const) {
  peerTest([program, "setfattr"], `${program}: extended attributes`, () =>
    withDirectory((directory) => {
      const path = Path.join(directory, "file")
      const file = Path.join(directory, "a.tar")
      Fs.writeFileSync(path, "content")
      const set = attributes.map(([name, value]) =>
        run("setfattr", ["-n", name, "-v", `0x${value.toString("hex")}`, path], { allowFailure: true })
      )
      run(program, [...args, "-C", directory, "-cf", file, "file"])
      const scanned = read(file)
      assertClean(scanned)
      const { entry } = scanned.entries[0]!
      // A file system without them: then there is nothing but the refusal to see.
      if (set.some(({ code }) => code !== 0)) {
        assert.match(set[0]!.stderr, /not supported/i)
        return
      }
      // GNU tar writes an "=" in a name as %3D in the keyword, which other readers do not undo.
      const seen = [...xattrsOf(entry)].map(([name, value]) => [name.replace("%3D", "="), value.toString("hex")])
      assert.deepStrictEqual(
        seen.filter(([name]) => name!.startsWith("user.")).sort(),
        attributes.map(([name, value]) => [name, value.toString("hex")]).sort()
      )
    })
  )
}

describe("Python", () => {
  const write = `
import io, json, sys, tarfile
spec = json.load(sys.stdin)
archive = tarfile.open(sys.argv[1], "w", format=getattr(tarfile, sys.argv[2]), encoding="utf-8",
                       errors="surrogateescape")
raw = lambda text: bytes.fromhex(text).decode("utf-8", "surrogateescape")
for m in spec:
    info = tarfile.TarInfo(raw(m["path"]))
    info.type = m["typeflag"].encode()
    info.linkname = raw(m["linkname"])
    info.size = m["size"]
    info.mode = m["mode"]
    info.uid = m["uid"]
    info.gid = m["gid"]
    info.mtime = m["mtime"]
    info.uname = info.gname = m["uname"]
    archive.addfile(info, io.BytesIO(b"x" * m["size"]))
archive.close()
`
  const unit = FastCheck.constantFrom("a", "b", ".", " ", "é", "文", "\n", "=", "\\")
  const name = (maximum: number) =>
    FastCheck.string({ unit, minLength: 1, maxLength: maximum })
      .map((text) => Buffer.from(text).toString("latin1"))
      .filter((text) => text.length <= maximum && !/^\.+$/.test(text))
  const path = (parts: number, maximum: number) =>
    FastCheck.array(name(maximum), { minLength: 1, maxLength: parts }).map((names) => names.join("/"))

  const formats = [
    ["USTAR_FORMAT", path(1, 90), 8 ** 7 - 1, false],
    ["GNU_FORMAT", path(5, 200), 2 ** 31, true],
    ["PAX_FORMAT", path(5, 200), 2 ** 31, true]
  ] as const
  for (const [format, names, ids, past] of formats) {
    peerTest(["python3"], format, () =>
      withDirectory((directory) => {
        const file = Path.join(directory, "a.tar")
        const member = FastCheck.record({
          path: names,
          typeflag: FastCheck.constantFrom("0", "1", "2", "5", "6"),
          linkname: names,
          size: FastCheck.nat(2000),
          mode: FastCheck.nat(0o7777),
          uid: FastCheck.nat(ids),
          gid: FastCheck.nat(ids),
          mtime: FastCheck.integer({ min: past ? -(2 ** 33) : 0, max: 2 ** 32 }),
          uname: FastCheck.constantFrom("", "root", "someone")
        }).map((fields) => ({
          ...fields,
          size: fields.typeflag === "0" ? fields.size : 0,
          linkname: fields.typeflag === "1" || fields.typeflag === "2" ? fields.linkname : ""
        }))
        FastCheck.assert(
          FastCheck.property(FastCheck.array(member, { maxLength: 12 }), (members) => {
            const spec = members.map((each) => ({ ...each, path: hex(each.path), linkname: hex(each.linkname) }))
            run("python3", ["-c", write, file, format], { input: JSON.stringify(spec) })
            const scanned = read(file)
            assertClean(scanned, ["tar.path-absolute", "tar.path-escapes"])
            const seen = scanned.entries.map(({ body, entry }) => {
              assert.strictEqual(body.toString(), "x".repeat(entry.size))
              return {
                path: entry.path.replace(/\/$/, ""),
                typeflag: entry.typeflag,
                linkname: entry.linkname,
                size: entry.size,
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtimeSeconds,
                uname: entry.uname
              } satisfies Partial<Record<keyof TarEntry | "mtime", unknown>>
            })
            assert.deepStrictEqual(seen, members)
          }),
          { numRuns: 15 }
        )
      })
    )
  }

  peerTest(["gnutar", "python3"], "and GNU tar see the same random trees as the scanner", () =>
    withDirectory((directory) => {
      const anyName = FastCheck.uint8Array({ minLength: 1, maxLength: 120 })
        .map((bytes) =>
          Buffer.from(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x41 : byte))).toString("latin1")
        )
        .filter((text) => text !== "." && text !== "..")
      let turn = 0
      FastCheck.assert(
        FastCheck.property(
          FastCheck.uniqueArray(FastCheck.tuple(anyName, FastCheck.nat(3000), FastCheck.nat(2 ** 32 - 1)), {
            selector: ([text]) => text,
            maxLength: 10
          }),
          FastCheck.constantFrom("oldgnu", "gnu", "posix"),
          (files, format) => {
            const tree = Path.join(directory, `tree${turn}`)
            const file = Path.join(directory, `${turn++}.tar`)
            Fs.mkdirSync(tree)
            for (const [text, size, time] of files) {
              const full = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(text, "latin1")])
              Fs.writeFileSync(full, Buffer.alloc(size, text))
              Fs.utimesSync(full, time, time)
            }
            run("gnutar", [`--format=${format}`, "-C", tree, "-cf", file, "."])
            const scanned = read(file)
            assertClean(scanned, ["tar.path-not-utf8"])
            assertIsTree(scanned, tree, format === "posix")
            assert.isTrue(scanned.entries.every((each) => expanded(each).length === each.entry.size))
          }
        ),
        { numRuns: 15 }
      )
    })
  )
})
