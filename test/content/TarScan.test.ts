import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import { fromBytes, fromText, toBytes } from "../../src/content/ByteString.ts"
import { xattrsOf } from "../../src/content/TarEntry.ts"
import { TarScanner } from "../../src/content/TarScan.ts"
import {
  end,
  expanded,
  type Fields,
  found,
  header,
  longName,
  member,
  octal,
  padded,
  paths,
  pax,
  record,
  type Scanned,
  scan,
  scanAll
} from "./tarFixtures.ts"

const clean = (...parts: ReadonlyArray<Uint8Array>): Scanned => {
  const scanned = scanAll(...parts)
  assert.deepStrictEqual(scanned.problems, [])
  assert.isTrue(scanned.summary.ended)
  assert.isTrue(scanned.entries.every(({ complete }) => complete))
  return scanned
}

const only = (...parts: ReadonlyArray<Uint8Array>) => clean(...parts, end).entries[0]!.entry

const a = member({ name: "a" }, "alpha")
const b = member({ name: "b" }, "beta")

describe("a sound archive", () => {
  it("yields its members with bodies and offsets", () => {
    const scanned = clean(a, member({ name: "d/", type: "5" }), b, end)
    assert.deepStrictEqual(paths(scanned), ["a", "d/", "b"])
    assert.deepStrictEqual(
      scanned.entries.map(({ body }) => body.toString()),
      ["alpha", "", "beta"]
    )
    assert.deepStrictEqual(
      scanned.entries.map(({ entry }) => [entry.index, entry.headerOffset, entry.dataOffset]),
      [
        [0, 0, 512],
        [1, 1024, 1536],
        [2, 1536, 2048]
      ]
    )
    assert.deepStrictEqual(scanned.summary, { entries: 3, bytes: 3584, bodyBytes: 9, ended: true })
  })

  it("may be empty of members, and be filled up with zeros", () => {
    clean(end)
    clean(a, end, Buffer.alloc(10240 - 2048))
    clean(a, end, Buffer.alloc(100))
  })

  it("reads all fields", () => {
    const entry = only(
      member({
        name: "dev",
        type: "3",
        mode: "0104755\0",
        uid: "0001750\0",
        gid: "0000144\0",
        mtime: `${octal(1_700_000_000, 11)}\0`,
        uname: "alice",
        gname: "users",
        devmajor: "0000005\0",
        devminor: "0000001\0"
      })
    )
    assert.deepInclude(entry, {
      type: "char",
      typeflag: "3",
      mode: 0o4755,
      uid: 1000,
      gid: 100,
      mtimeSeconds: 1_700_000_000,
      mtimeNanoseconds: 0,
      uname: "alice",
      gname: "users",
      devmajor: 5,
      devminor: 1,
      pax: undefined,
      sparse: undefined
    })
  })

  it("joins prefix and name, each up to its full width", () => {
    const prefix = "p".repeat(155)
    const name = "n".repeat(100)
    assert.strictEqual(only(member({ name, prefix })).path, `${prefix}/${name}`)
    const short = "s".repeat(131)
    assert.strictEqual(only(member({ name, prefix: short, format: "star" })).path, `${short}/${name}`)
  })

  it("keeps apart names that differ from the one before in length only", () => {
    const unames = ["root", "roo", "rooted", "", "u".repeat(32)]
    const scanned = clean(...unames.map((uname) => member({ name: "n", uname })), end)
    assert.deepStrictEqual(
      scanned.entries.map(({ entry }) => entry.uname),
      unames
    )
  })

  it("takes no format for one of which a single byte of the magic is another", () => {
    for (let i = 0; i < 5; i++) {
      assert.strictEqual(only(member({ name: "n", prefix: "p", raw: [[257 + i, "x"]] })).path, "n")
    }
    const long = "s".repeat(140)
    for (let i = 0; i < 4; i++) {
      assert.strictEqual(
        only(member({ name: "n", prefix: long, format: "star", raw: [[508 + i, "x"]] })).path,
        `${long}/n`
      )
    }
  })

  it("takes GNU's times for no prefix", () => {
    const times: Fields["raw"] = [[345, "14536045631\x0014536045631\0"]]
    assert.strictEqual(only(member({ name: "n", format: "gnu", raw: times })).path, "n")
  })

  it("knows directories of before ustar by their slash", () => {
    assert.strictEqual(only(member({ name: "d/", type: "\0", format: "v7" })).type, "directory")
    assert.strictEqual(only(member({ name: "d", type: "\0", format: "v7" })).type, "file")
  })

  it("says where a member begins: at its own extensions, not at a global header before them", () => {
    const global = pax([["comment", "c"]], "g")
    assert.strictEqual(only(global, a).headerOffset, global.length)
    assert.strictEqual(only(global, pax([["mtime", "1"]]), a).headerOffset, global.length)
    assert.strictEqual(only(pax([["mtime", "1"]]), global, a).headerOffset, 0)
  })

  it("ignores the size of members that have no body", () => {
    for (const type of ["2", "3", "4", "5", "6"]) {
      const scanned = clean(header({ name: "n", type, size: 4096, linkname: "t" }), a, end)
      assert.deepStrictEqual(paths(scanned), ["n", "a"])
      assert.deepInclude(scanned.entries[0]!.entry, { size: 0, realSize: 0 })
    }
  })
})

describe("tar.bad-checksum", () => {
  it("accepts sums of unsigned and of signed bytes", () => {
    const name = fromText("é")
    clean(member({ name, checksum: "unsigned" }), member({ name, checksum: "signed" }), end)
  })

  it("reports a wrong one and goes on behind the body", () => {
    const scanned = scanAll(a, member({ name: "x", checksum: "wrong" }, "lost"), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1024, "x"]])
    assert.match(scanned.problems[0]!.message, /bytes 1024 to 2048/)
    assert.deepStrictEqual(paths(scanned), ["a", "b"])
    assert.isTrue(scanned.summary.ended)
  })

  it("looks block by block for the next header when the size is no help", () => {
    const wrecked = Buffer.concat([Buffer.alloc(512, 0x5a), Buffer.alloc(1024), Buffer.alloc(512, 0x5b)])
    const scanned = scanAll(a, wrecked, b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1024, undefined]])
    assert.match(scanned.problems[0]!.message, /bytes 1024 to 3072/)
    assert.deepStrictEqual(paths(scanned), ["a", "b"])
  })

  it("reports one gap when the size leads astray", () => {
    const scanned = scanAll(a, header({ name: "x", checksum: "wrong", size: 512 }), padded("1".repeat(1000)), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1024, "x"]])
    assert.deepStrictEqual(paths(scanned), ["a", "b"])
  })

  it("reports a field that holds something else, although its digits fit", () => {
    for (const other of ["x", "8", "/"]) {
      const block = header({ name: "x" })
      block.write(other, 155)
      const scanned = scanAll(a, block, b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1024, "x"]])
      assert.deepStrictEqual(paths(scanned), ["a", "b"])
    }
  })

  it("takes a size from it only where there is one, and a body only for a type that has one", () => {
    const wrong = { name: "x", checksum: "wrong" } as const
    for (const lost of [{ size: "junk" }, { size: 512, type: "5" }, { size: "\xff".repeat(12) }]) {
      const scanned = scanAll(a, header({ ...wrong, ...lost }), b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1024, "x"]])
      assert.deepStrictEqual(paths(scanned), ["a", "b"])
    }
    assert.deepStrictEqual(
      found(scanAll(a, header(wrong), header(wrong), b, end)).map(([check, offset]) => [check, offset]),
      [
        ["tar.bad-checksum", 1024],
        ["tar.bad-checksum", 1536]
      ]
    )
  })

  it("passes over damaged headers inside wreckage, which do not tell where anything is", () => {
    const wreck = Buffer.alloc(512, 0x5a)
    const inside = header({ name: "x", checksum: "wrong", size: 512 })
    assert.deepStrictEqual(paths(scanAll(a, wreck, inside, b, end)), ["a", "b"])
    // The first header of all: what follows is a part of what is lost, not the proof that this is no tar.
    const first = scanAll(header({ name: "x", checksum: "wrong", size: "junk" }), wreck, b, end)
    assert.deepStrictEqual(found(first), [["tar.bad-checksum", 0, "x"]])
    assert.deepStrictEqual(paths(first), ["b"])
    const sized = scanAll(header({ name: "x", checksum: "wrong", size: 512 }), wreck, wreck, b, end)
    assert.deepStrictEqual(found(sized), [["tar.bad-checksum", 0, "x"]])
    assert.deepStrictEqual(paths(sized), ["b"])
    const unsized = header({ name: "x", checksum: "wrong", size: "junk" })
    assert.deepStrictEqual(found(scanAll(unsized, unsized, b, end)), [["tar.bad-checksum", 0, "x"]])
    const junk = { mode: "junk", uid: "junk", gid: "junk", size: "junk", mtime: "junk" }
    assert.deepStrictEqual(found(scanAll(header({ name: "x", checksum: "wrong", ...junk }), b, end)), [
      ["tar.bad-checksum", 0, "x"]
    ])
    for (const lead of [[], [a]]) {
      for (const rest of ["lost", `${"l".repeat(512)}abc`]) {
        assert.deepStrictEqual(
          found(
            scanAll(
              ...lead,
              header({ name: "x", checksum: "wrong", size: Math.min(rest.length, 512) }),
              Buffer.from(rest)
            )
          ).map(([check]) => check),
          ["tar.bad-checksum", "tar.no-end"]
        )
      }
    }
    const cut = scanAll(header({ name: "x", checksum: "wrong", size: "junk" }), Buffer.from("abc"))
    assert.deepStrictEqual(
      found(cut).map(([check]) => check),
      ["tar.bad-checksum", "tar.no-end"]
    )
  })

  it("reports each of several wrecked headers", () => {
    const bad = member({ name: "x", checksum: "wrong" }, "lost")
    const scanned = scanAll(bad, a, bad, bad, b, end)
    assert.deepStrictEqual(
      found(scanned).map(([check, offset]) => [check, offset]),
      [
        ["tar.bad-checksum", 0],
        ["tar.bad-checksum", 2048],
        ["tar.bad-checksum", 3072]
      ]
    )
    assert.deepStrictEqual(paths(scanned), ["a", "b"])
  })

  it("finds the end behind wreckage, and says when there is none", () => {
    const wreck = Buffer.alloc(512, 0x5a)
    assert.deepStrictEqual(found(scanAll(a, wreck, end)), [["tar.bad-checksum", 1024, undefined]])
    assert.deepStrictEqual(
      found(scanAll(a, wreck)).map(([check]) => check),
      ["tar.bad-checksum", "tar.no-end"]
    )
    const swallowed = scanAll(a, header({ name: "x", checksum: "wrong", size: 1 << 30 }), b, end)
    assert.deepStrictEqual(
      found(swallowed).map(([check]) => check),
      ["tar.bad-checksum", "tar.no-end"]
    )
  })

  it("does not take zeros inside wreckage for the end when something follows them", () => {
    const wreck = Buffer.alloc(512, 0x5a)
    const scanned = scanAll(a, wreck, end, Buffer.from("more"))
    assert.deepStrictEqual(
      found(scanned).map(([check]) => check),
      ["tar.bad-checksum", "tar.no-end"]
    )
    assert.match(scanned.problems[0]!.message, /bytes 1024 to 2564/)
    assert.isTrue(scanAll(a, wreck, end, Buffer.alloc(4)).summary.ended)
  })

  it("does not apply the extensions of a lost header to the next one", () => {
    const scanned = scanAll(pax([["path", "other"]]), member({ name: "x", checksum: "wrong" }), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1024, "x"]])
    assert.deepStrictEqual(paths(scanned), ["b"])
  })
})

describe("tar.bad-number", () => {
  const sizes: ReadonlyArray<readonly [field: string, size: number]> = [
    ["00000000005\0", 5],
    ["000000000005", 5],
    ["          5 ", 5],
    ["5\0", 5],
    ["5 \0", 5],
    ["00000000005 ", 5],
    ["5\0trailing", 5],
    ["\0", 0],
    ["            ", 0],
    ["\x80\0\0\0\0\0\0\0\0\0\0\x05", 5]
  ]
  for (const [field, size] of sizes) {
    it(`accepts the size ${JSON.stringify(field)}`, () => {
      const scanned = clean(member({ name: "n", size: field }, "x".repeat(size)), b, end)
      assert.strictEqual(scanned.entries[0]!.entry.size, size)
      assert.deepStrictEqual(paths(scanned), ["n", "b"])
    })
  }

  const bogus = [
    "0000000000x\0",
    "00000000008\0",
    "-0000000005\0",
    "5 5\0",
    "\x005\0",
    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    "\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    "\x80\0\0\0\0\x20\0\0\0\0\0\0"
  ]
  for (const field of bogus) {
    it(`rejects the size ${JSON.stringify(field)} and finds what follows`, () => {
      const scanned = scanAll(a, header({ name: "n", size: field }), padded("body"), b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-number", 1024, "n"]])
      assert.deepStrictEqual(paths(scanned), ["a", "n", "b"])
      assert.isTrue(scanned.summary.ended)
    })
  }

  const others: ReadonlyArray<readonly [string, Fields]> = [
    ["mode", { mode: "xyz" }],
    ["uid", { uid: "0000009\0" }],
    ["gid", { gid: "\xff\xff\xff\xff\xff\xff\xff\xfe" }],
    ["mtime", { mtime: "yesterday" }],
    ["devmajor", { devmajor: "!" }],
    ["devminor", { devminor: "?" }]
  ]
  for (const [name, fields] of others) {
    it(`rejects a bogus ${name}, in a member and in the header of an extension`, () => {
      const scanned = scanAll(header({ name: "n", ...fields }), b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-number", 0, "n"]])
      assert.include(scanned.problems[0]!.message, name)
      assert.deepStrictEqual(paths(scanned), ["n", "b"])
      const extension = scanAll(member({ type: "x", ...fields }, record("path", "p")), a, end)
      assert.deepStrictEqual(found(extension), [["tar.bad-number", 0, undefined]])
      assert.deepStrictEqual(paths(extension), ["p"])
    })
  }

  it("reads base-256 of both signs", () => {
    const entry = only(
      member({
        uid: "\x80\0\0\0\x7f\xff\xff\xff",
        mtime: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
        format: "gnu"
      })
    )
    assert.strictEqual(entry.uid, 0x7fffffff)
    assert.strictEqual(entry.mtimeSeconds, -2)
    assert.strictEqual(only(member({ mtime: "\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff" })).mtimeSeconds, 2 ** 53 - 1)
  })

  it("reports the prefix that Go before 1.8 wrote over GNU's times, and applies it as Go does", () => {
    const scanned = scanAll(member({ name: "n", format: "gnu", raw: [[345, "some/directory"]] }), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-number", 0, "some/directory/n"]])
    assert.deepStrictEqual(paths(scanned), ["some/directory/n", "b"])
    const latin = scanAll(member({ name: "n", format: "gnu", raw: [[345, "some/\xe9"]] }), end)
    assert.deepStrictEqual(found(latin), [["tar.bad-number", 0, "n"]])
    const change = scanAll(member({ name: "n", format: "gnu", raw: [[345, "14536045631\x00what"]] }), end)
    assert.deepStrictEqual(found(change), [["tar.bad-number", 0, "14536045631/n"]])
  })

  it("says once that an extension's size is none, and finds the next header", () => {
    const records = pax([["path", "lost"]])
    const broken = member({ name: "PaxHeaders/x", type: "x", size: "junk" })
    const scanned = scanAll(a, broken.subarray(0, 512), records.subarray(512), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-number", 1024, undefined]])
    assert.deepStrictEqual(paths(scanned), ["a", "b"])
  })

  it("goes on behind a member without a body, whatever its size says", () => {
    const scanned = scanAll(
      header({ name: "d", type: "5", size: "junk" }),
      header({ name: "x", checksum: "wrong" }),
      b,
      end
    )
    assert.deepStrictEqual(found(scanned), [
      ["tar.bad-number", 0, "d"],
      ["tar.bad-checksum", 512, "x"]
    ])
  })

  it("reads star's times", () => {
    for (const field of [476, 488]) {
      assert.deepStrictEqual(found(scanAll(header({ format: "star", raw: [[field, "junk"]] }), end)), [
        ["tar.bad-number", 0, "file"]
      ])
    }
  })

  it("says what is wrong with one, and shows it", () => {
    const shown = (size: string) =>
      scanAll(header({ size }), end)
        .problems.filter(({ check }) => check === "tar.bad-number")
        .map(({ actual, message }) => [message, actual])
    assert.deepStrictEqual(shown("\xff".repeat(12)), [["the size field is negative", "-1"]])
    assert.deepStrictEqual(shown("00000000012x"), [["the size field is not an octal number", "00000000012x"]])
    assert.match(shown(`\x80${"\x7f".repeat(11)}`)[0]![0]!, /beyond 2\^53/)
  })

  it("leaves v7's unused fields alone", () => {
    for (const field of [329, 345]) {
      clean(header({ format: "v7", raw: [[field, "garbage"]] }), end)
      clean(member({ type: "x", format: "v7", raw: [[field, "garbage"]] }, record("path", "p")), a, end)
    }
  })
})

describe("tar.bad-type", () => {
  const types = {
    "0": "file",
    "\0": "file",
    "1": "hardlink",
    "2": "symlink",
    "3": "char",
    "4": "block",
    "5": "directory",
    "6": "fifo"
  }
  for (const [type, name] of Object.entries(types)) {
    it(`knows ${JSON.stringify(type)} as ${name}`, () => {
      assert.strictEqual(only(member({ type, linkname: type === "1" || type === "2" ? "t" : "" })).type, name)
    })
  }

  it("knows what GNU and Solaris write", () => {
    assert.strictEqual(only(pax([["path", "sun"]], "X"), a).path, "sun")
  })

  it("reports what tar programs know and those of images do not (tar.uncommon-type)", () => {
    const dump = scanAll(member({ name: "d/", type: "D", format: "gnu" }, "Yfile\0\0"), a, end)
    assert.deepStrictEqual(found(dump), [["tar.uncommon-type", 0, "d/"]])
    assert.deepStrictEqual(
      dump.entries.map(({ entry }) => entry.type),
      ["directory", "file"]
    )
    const label = scanAll(member({ name: "label", type: "V", format: "gnu" }), a, end)
    assert.deepStrictEqual(found(label), [["tar.uncommon-type", 0, "label"]])
    assert.deepStrictEqual(paths(label), ["a"])
    const contiguous = scanAll(member({ name: "c", type: "7" }, "body"), a, end)
    assert.deepStrictEqual(found(contiguous), [["tar.uncommon-type", 0, "c"]])
    assert.deepStrictEqual(
      contiguous.entries.map(({ entry, body }) => [entry.type, body.toString()]),
      [
        ["file", "body"],
        ["file", "alpha"]
      ]
    )
  })

  it("reports the rest, and takes their size as POSIX says", () => {
    for (const type of ["8", "9", "a", "z", "A", "E", "M", "Z", " ", "\xff"]) {
      const scanned = scanAll(member({ name: "n", type }, "body"), b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-type", 0, "n"]])
      assert.deepStrictEqual(paths(scanned), ["n", "b"])
    }
    const names = scanAll(member({ name: "n", type: "N" }, "Rename a to b\n"), b, end)
    assert.deepStrictEqual(found(names), [["tar.bad-type", 0, "n"]])
    assert.deepStrictEqual(paths(names), ["b"])
  })

  it("reports files with the name of a directory", () => {
    const scanned = scanAll(
      member({ name: "d/", type: "0" }),
      member({ name: "e/", type: "\0" }, "body"),
      member({ name: "f/", type: "0" }),
      b,
      end
    )
    assert.deepStrictEqual(found(scanned), [
      ["tar.bad-type", 0, "d/"],
      ["tar.bad-type", 512, "e/"],
      ["tar.bad-type", 1536, "f/"]
    ])
    assert.deepStrictEqual(paths(scanned), ["d/", "e/", "f/", "b"])
    assert.deepStrictEqual(
      scanned.entries.map(({ entry }) => entry.type),
      ["directory", "file", "directory", "file"]
    )
  })
})

describe("tar.bad-pax", () => {
  it("applies records over the header's fields", () => {
    const entry = only(
      pax([
        ["path", "long/path"],
        ["uid", "3000000"],
        ["gid", "4000000"],
        ["uname", fromText("zoë")],
        ["gname", "staff"],
        ["mtime", "1700000000.123456789123"],
        ["SCHILY.devmajor", "7"],
        ["LIBARCHIVE.creationtime", "1"],
        ["comment", "with = and \n and \0 in it"]
      ]),
      a
    )
    assert.deepInclude(entry, {
      path: "long/path",
      uid: 3_000_000,
      gid: 4_000_000,
      uname: fromText("zoë"),
      gname: "staff",
      mtimeSeconds: 1_700_000_000,
      mtimeNanoseconds: 123_456_789,
      devmajor: 7,
      headerOffset: 0,
      dataOffset: 1536
    })
    assert.strictEqual(entry.pax?.get("comment"), "with = and \n and \0 in it")
  })

  const times: ReadonlyArray<readonly [string, number, number]> = [
    ["0", 0, 0],
    ["1.", 1, 0],
    ["1.5", 1, 500_000_000],
    ["-1", -1, 0],
    ["-1.5", -2, 500_000_000],
    ["-0.25", -1, 750_000_000],
    ["1.0000000019", 1, 1],
    ["9007199254740991", Number.MAX_SAFE_INTEGER, 0]
  ]
  for (const [text, seconds, nanoseconds] of times) {
    it(`reads the time ${text}`, () => {
      const entry = only(pax([["mtime", text]]), a)
      assert.deepStrictEqual([entry.mtimeSeconds, entry.mtimeNanoseconds], [seconds, nanoseconds])
    })
  }

  it("takes the size from its record", () => {
    const scanned = clean(pax([["size", "5"]]), header({ name: "n", size: 0 }), padded("alpha"), b, end)
    assert.deepStrictEqual(
      scanned.entries.map(({ body }) => body.toString()),
      ["alpha", "beta"]
    )
  })

  it("lets the last of equal keywords count, and empty values delete", () => {
    assert.strictEqual(
      only(
        pax([
          ["path", "one"],
          ["path", "two"]
        ]),
        a
      ).path,
      "two"
    )
    const entry = only(
      pax(
        [
          ["comment", "x"],
          ["uid", "7"]
        ],
        "g"
      ),
      pax([
        ["comment", ""],
        ["path", ""],
        ["uid", ""]
      ]),
      a
    )
    assert.strictEqual(entry.path, "a")
    assert.strictEqual(entry.uid, 0)
    assert.strictEqual(entry.pax, undefined)
  })

  it("lets empty values delete where nothing is global, but not attributes", () => {
    const empties = [
      ["path", ""],
      ["uid", ""],
      ["SCHILY.xattr.user.empty", ""],
      ["LIBARCHIVE.xattr.user.none", ""]
    ] as const
    const entry = only(pax(empties), member({ name: "a", uid: "0000007\0" }))
    assert.deepInclude(entry, { path: "a", uid: 7 })
    assert.deepStrictEqual([...entry.pax!.keys()], ["SCHILY.xattr.user.empty", "LIBARCHIVE.xattr.user.none"])
  })

  it("does not read a record on into what follows the header", () => {
    const scanned = scanAll(pax("520 path=b\n"), member({ name: "aaaaaaa\nb" }), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-pax", 512, undefined]])
    assert.deepStrictEqual(paths(scanned), ["aaaaaaa\nb", "b"])
  })

  it("applies global records to all members that follow, below their own", () => {
    const scanned = clean(
      a,
      pax(
        [
          ["mtime", "5"],
          ["comment", "all"]
        ],
        "g"
      ),
      a,
      pax([["mtime", "6"]]),
      a,
      pax([["mtime", ""]], "g"),
      a,
      end
    )
    assert.deepStrictEqual(
      scanned.entries.map(({ entry }) => entry.mtimeSeconds),
      [0, 5, 6, 0]
    )
    assert.strictEqual(scanned.entries[2]!.entry.pax?.get("comment"), "all")
  })

  it("keeps binary extended attributes", () => {
    const value = "\x01\0\0\x02\n12 a=b\n\xff="
    const entry = only(
      pax([
        ["SCHILY.xattr.security.capability", value],
        ["SCHILY.xattr.user.empty", ""]
      ]),
      a
    )
    assert.deepStrictEqual(
      [...xattrsOf(entry)].map(([name, bytes]) => [name, bytes.toString("latin1")]),
      [
        ["security.capability", value],
        ["user.empty", ""]
      ]
    )
  })

  it("decodes libarchive's extended attributes where star's are missing", () => {
    const entry = only(
      pax([
        ["LIBARCHIVE.xattr.user.a%20b%3D", Buffer.from([0, 1, 255]).toString("base64").replace(/=+$/, "")],
        ["LIBARCHIVE.xattr.user.both", "AAAA"],
        ["SCHILY.xattr.user.both", "star"]
      ]),
      a
    )
    assert.deepStrictEqual(xattrsOf(entry).get("user.a b="), Buffer.from([0, 1, 255]))
    assert.deepStrictEqual(xattrsOf(entry).get("user.both"), Buffer.from("star"))
    assert.strictEqual(xattrsOf(only(a)).size, 0)
  })

  const malformed: ReadonlyArray<readonly [what: string, body: string]> = [
    ["no length", "path=b\n"],
    ["an empty record", "\n"],
    ["NULs behind the records", `${record("path", "b")}\0\0`],
    ["a length beyond the header", "99 path=b\n"],
    ["a length that is too short", "9 path=bc\n"],
    ["a huge length", "99999999999999999999 path=b\n"],
    ["a zero length", "0 path=b\n"],
    ["a signed length", "+9 path=b\n"],
    ["no space", "9path=bc\n"],
    ["no equals sign", "9 path b\n"],
    ["no keyword", "5 =b\n"],
    ["no newline", "9 path=b;"],
    ["a NUL in the keyword", record("pa\0th", "b")],
    ["a size that is no number", record("size", "1x")],
    ["a negative size", record("size", "-1")],
    ["a size beyond 2^53", record("size", "9007199254740993")],
    ["a uid with a fraction", record("uid", "1.5")],
    ["a gid in hexadecimal", record("gid", "0x10")],
    ["an mtime with an exponent", record("mtime", "1e9")],
    ["an mtime with two points", record("mtime", "1.2.3")],
    ["an mtime without digits", record("mtime", "-")],
    ["an mtime beyond 2^53", record("mtime", "99999999999999999999")],
    ["an mtime with a blank behind it", record("mtime", "1.5 ")],
    ["a zero length behind a record", `${record("comment", "c")}0 path=b\n`],
    ["an atime that is text", record("atime", "now")],
    ["a ctime with a space", record("ctime", " 1")],
    ["a NUL in uname", record("uname", "ro\0ot")],
    ["a blank before the keyword, which GNU tar passes over", record(" path", "b")],
    ["a tab before the keyword", record("\tpath", "b")]
  ]
  for (const [what, body] of malformed) {
    it(`reports ${what}`, () => {
      const scanned = scanAll(pax(body), a, b, end)
      assert.deepStrictEqual(
        found(scanned).map(([check]) => check),
        ["tar.bad-pax"]
      )
      assert.strictEqual(paths(scanned).at(-1), "b")
      assert.deepStrictEqual(
        scanned.entries.map(({ body }) => body.toString()),
        ["alpha", "beta"]
      )
    })
  }

  it("gives a target to links alone", () => {
    assert.strictEqual(only(pax([["linkpath", "t"]]), a).linkname, "")
    assert.strictEqual(only(pax([["linkpath", "t"]]), member({ type: "2", linkname: "l" })).linkname, "t")
  })

  it("tells where in the header the fault is", () => {
    const good = record("comment", "fine")
    const scanned = scanAll(a, pax(`${good}9 path=b;`), a, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-pax", 1024 + 512 + good.length, undefined]])
  })

  it("reports a second header for the same member, and one without a member", () => {
    const twice = scanAll(pax([["path", "one"]]), pax([["path", "two"]]), a, end)
    assert.deepStrictEqual(found(twice), [["tar.bad-pax", 1024, undefined]])
    const dangling = scanAll(a, pax([["path", "none"]]), end)
    assert.deepStrictEqual(found(dangling), [["tar.bad-pax", 1024, undefined]])
    const label = scanAll(pax([["path", "none"]]), member({ type: "V", format: "gnu" }), a, end)
    assert.deepStrictEqual(found(label), [
      ["tar.bad-pax", 0, undefined],
      ["tar.uncommon-type", 1024, "none"]
    ])
    assert.deepStrictEqual(paths(label), ["a"])
    const atEnd = scanAll(a, pax([["path", "none"]]))
    assert.deepStrictEqual(
      found(atEnd).map(([check]) => check),
      ["tar.bad-pax", "tar.no-end"]
    )
    const list = scanAll(pax([["path", "none"]]), member({ type: "N" }), a, end)
    assert.deepStrictEqual(found(list), [
      ["tar.bad-pax", 0, undefined],
      ["tar.bad-type", 1024, "none"]
    ])
    assert.deepStrictEqual(paths(list), ["a"])
  })

  it("reports global records that would move or resize every member, and does not apply them", () => {
    const scanned = scanAll(
      pax(
        [
          ["path", "all"],
          ["size", "1"],
          ["GNU.sparse.name", "all"],
          ["comment", "c"]
        ],
        "g"
      ),
      a,
      end
    )
    assert.deepStrictEqual(
      found(scanned).map(([check]) => check),
      ["tar.bad-pax", "tar.bad-pax", "tar.bad-pax"]
    )
    assert.deepStrictEqual(paths(scanned), ["a"])
  })
})

describe("tar.bad-long-name", () => {
  const long = `${"directory/".repeat(30)}file`

  it("applies long names and long link names to their member", () => {
    const link = member({ name: "cut", type: "2", linkname: "cut", format: "gnu" })
    const entry = only(longName(long, "K"), longName(`${long}2`), link)
    assert.strictEqual(entry.path, `${long}2`)
    assert.strictEqual(entry.linkname, long)
    assert.strictEqual(entry.headerOffset, 0)
    assert.deepStrictEqual(paths(clean(longName(long), a, b, end)), [long, "b"])
    assert.strictEqual(only(member({ name: "././@LongLink", type: "L", format: "gnu" }, long), a).path, long)
  })

  const faults: ReadonlyArray<readonly [what: string, parts: ReadonlyArray<Buffer>, offset: number]> = [
    ["one without a member", [a, longName(long)], 1024],
    ["a link name without a member", [a, longName(long, "K")], 1024],
    ["a second one", [longName(long), longName(long), a], 1024],
    ["a second link name", [longName("t", "K"), longName("t", "K"), member({ type: "2" })], 1024],
    ["an empty one", [member({ type: "L", format: "gnu" }), a], 0],
    ["more behind its NUL", [member({ type: "L", format: "gnu" }, "name\0more\0"), a], 0],
    ["a link name for a file", [longName("target", "K"), a], 1024],
    ["one that contradicts a pax path", [longName(long), pax([["path", "other"]]), a], 2048],
    [
      "a link name that contradicts a pax linkpath",
      [longName("target", "K"), pax([["linkpath", "other"]]), member({ type: "2" })],
      2048
    ]
  ]
  for (const [what, parts, offset] of faults) {
    it(`reports ${what}`, () => {
      const scanned = scanAll(...parts, end)
      const relevant = found(scanned).filter(([check]) => check === "tar.bad-long-name")
      assert.deepStrictEqual(
        relevant.map(([, at]) => at),
        [offset]
      )
      assert.isTrue(scanned.problems.every(({ check }) => check === "tar.bad-long-name"))
    })
  }

  it("takes one that says what pax says", () => {
    assert.strictEqual(only(longName(long), pax([["path", long]]), a).path, long)
    assert.strictEqual(only(longName(long), pax([["mtime", "1"]]), a).path, long)
    const link = member({ name: "l", type: "2", linkname: "cut" })
    assert.strictEqual(only(longName(long, "K"), pax([["linkpath", long]]), link).linkname, long)
    assert.strictEqual(only(longName(long, "K"), pax([["mtime", "1"]]), link).linkname, long)
  })

  it("takes the header's own name where the long one is empty, as Go does", () => {
    assert.deepStrictEqual(paths(scanAll(member({ type: "L", format: "gnu" }), a, end)), ["a"])
  })
})

describe("tar.bad-sparse", () => {
  const number = (value: number) => `${octal(value, 11)}\0`
  const map = (segments: ReadonlyArray<readonly [number, number]>) =>
    segments.map(([offset, length]) => number(offset) + number(length)).join("")
  const old = (segments: ReadonlyArray<readonly [number, number]>, realSize: number, more = false): Fields => ({
    name: "s",
    type: "S",
    format: "gnu",
    raw: [
      [386, map(segments)],
      [482, more ? "\x01" : "\0"],
      [483, number(realSize)]
    ]
  })
  const data = Buffer.from("x".repeat(512) + "tail")

  it("reads GNU's old format", () => {
    const scanned = clean(
      member(
        old(
          [
            [1024, 512],
            [4096, 4],
            [5000, 0]
          ],
          5000
        ),
        data
      ),
      b,
      end
    )
    const { entry } = scanned.entries[0]!
    assert.deepInclude(entry, { type: "file", typeflag: "S", size: 516, realSize: 5000 })
    assert.deepStrictEqual(entry.sparse, [
      [1024, 512],
      [4096, 4]
    ])
    assert.strictEqual(expanded(scanned.entries[0]!).toString("latin1", 4095, 4101), "\0tail\0")
    assert.deepStrictEqual(paths(scanned), ["s", "b"])
  })

  it("reads GNU's old format with extension blocks", () => {
    const segments = Array.from({ length: 50 }, (_, i) => [i * 1024, 512] as const)
    const blocks = [4, 25, 46].map((at) => {
      const block = Buffer.alloc(512)
      block.write(map(segments.slice(at, at + 21)), "latin1")
      block[504] = at === 46 ? 0 : 1
      return block
    })
    const body = Buffer.alloc(50 * 512, "abc")
    const head = header({ ...old(segments.slice(0, 4), 60000, true), size: body.length })
    const scanned = clean(head, ...blocks, body, b, end)
    assert.deepStrictEqual(scanned.entries[0]!.entry.sparse, segments)
    assert.strictEqual(scanned.entries[0]!.entry.dataOffset, 512 * 4)
    assert.deepStrictEqual(scanned.entries[0]!.body, body)
    assert.deepStrictEqual(paths(scanned), ["s", "b"])
  })

  const versions: ReadonlyArray<readonly [string, ReadonlyArray<readonly [string, string]>, string]> = [
    [
      "0.0",
      [
        ["GNU.sparse.size", "5000"],
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.offset", "1024"],
        ["GNU.sparse.numbytes", "512"],
        ["GNU.sparse.offset", "4096"],
        ["GNU.sparse.numbytes", "4"]
      ],
      ""
    ],
    [
      "0.1",
      [
        ["GNU.sparse.size", "5000"],
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.map", "1024,512,4096,4"],
        ["GNU.sparse.name", "s"]
      ],
      ""
    ],
    [
      "1.0",
      [
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", "s"],
        ["GNU.sparse.realsize", "5000"]
      ],
      "2\n1024\n512\n4096\n4\n"
    ]
  ]
  for (const [version, records, text] of versions) {
    it(`reads version ${version}`, () => {
      const body = text === "" ? data : Buffer.concat([padded(text), data])
      const scanned = clean(pax(records), member({ name: version === "0.0" ? "s" : "GNUSparseFile.1/s" }, body), b, end)
      const { body: seen, entry } = scanned.entries[0]!
      assert.deepInclude(entry, { path: "s", size: 516, realSize: 5000, dataOffset: text === "" ? 1536 : 2048 })
      assert.deepStrictEqual(entry.sparse, [
        [1024, 512],
        [4096, 4]
      ])
      assert.deepStrictEqual(seen, data)
      assert.deepStrictEqual(paths(scanned), ["s", "b"])
    })
  }

  it("reads a 1.0 map of several blocks, and of none", () => {
    const segments = Array.from({ length: 300 }, (_, i) => [i * 1024, 1] as const)
    const text = `300\n${segments.flat().join("\n")}\n`
    assert.isAbove(text.length, 1024)
    const records = [...versions[2]![1], ["GNU.sparse.realsize", "400000"]] as const
    const scanned = clean(pax(records), member({}, Buffer.concat([padded(text), Buffer.alloc(300, 1)])), b, end)
    assert.deepStrictEqual(scanned.entries[0]!.entry.sparse, segments)
    const hole = clean(pax(records), member({}, padded("0\n")), b, end)
    assert.deepStrictEqual(hole.entries[0]!.entry.sparse, [])
    assert.strictEqual(hole.entries[0]!.entry.size, 0)
    assert.deepStrictEqual(paths(hole), ["s", "b"])
  })

  const one = (text: string, records = versions[2]![1]) => [pax(records), member({}, padded(text))]
  const zero = (value: string, records: ReadonlyArray<readonly [string, string]> = []) => [
    pax([["GNU.sparse.size", "5000"], ["GNU.sparse.map", value], ...records]),
    member({}, data)
  ]
  const faults: ReadonlyArray<readonly [what: string, parts: ReadonlyArray<Buffer>]> = [
    [
      "segments out of order",
      [
        member(
          old(
            [
              [4096, 4],
              [1024, 512]
            ],
            5000
          ),
          data
        )
      ]
    ],
    [
      "segments that overlap",
      [
        member(
          old(
            [
              [1024, 512],
              [1500, 4]
            ],
            5000
          ),
          data
        )
      ]
    ],
    [
      "a segment behind the end of the file",
      [
        member(
          old(
            [
              [1024, 512],
              [4999, 4]
            ],
            5000
          ),
          data
        )
      ]
    ],
    [
      "less data than the map says",
      [
        member(
          old(
            [
              [1024, 512],
              [4096, 5]
            ],
            5000
          ),
          data
        )
      ]
    ],
    ["more data than the map says", [member(old([[1024, 512]], 5000), data)]],
    ["an offset that is no number", [member({ ...old([], 5000), raw: [[386, `what${"\0".repeat(20)}`]] }, data)]],
    ["a GNU type without GNU's magic", [member({ name: "s", type: "S" }, data)]],
    [
      "a GNU type without GNU's magic, of a map that would fit",
      [
        member(
          {
            ...old(
              [
                [1024, 512],
                [4096, 4]
              ],
              5000
            ),
            format: "ustar"
          },
          data
        )
      ]
    ],
    [
      "a negative length that the next one makes up for",
      [
        member(
          {
            ...old([], 5000),
            raw: [
              [386, `${number(1024)}${"\xff".repeat(12)}${map([[1023, 517]])}`],
              [483, number(5000)]
            ]
          },
          data
        )
      ]
    ],
    ["a map that begins with an empty line", one("\n")],
    ["a map that fills its blocks and goes on", one(`300\n${"1\n".repeat(254)}`)],
    [
      "a map with a letter behind a number",
      [pax(versions[2]![1]), member({}, Buffer.concat([padded("1\n1024\n5:\n"), Buffer.alloc(60, 1)]))]
    ],
    [
      "a map with a point behind a number",
      [pax(versions[2]![1]), member({}, Buffer.concat([padded("1\n1024\n5.\n"), Buffer.alloc(48, 1)]))]
    ],
    ["a map that is text", one("two\n")],
    ["a map that does not end", one("9\n1\n2\n")],
    ["a map with a number beyond 2^53", one("1\n9007199254740993\n1\n")],
    ["a map in a body without room for it", [pax(versions[2]![1]), member({}, "0\n")]],
    ["a file without its real size", one("0\n", versions[2]![1].slice(0, 3))],
    [
      "an unknown version",
      one("0\n", [
        ["GNU.sparse.major", "2"],
        ["GNU.sparse.minor", "0"]
      ])
    ],
    [
      "a size without a map",
      [
        pax([
          ["GNU.sparse.realsize", "5000"],
          ["GNU.sparse.name", "s"]
        ]),
        member({}, data)
      ]
    ],
    ["an odd number of values", zero("1024,512,4096", [["GNU.sparse.numblocks", "2"]])],
    ["a count that does not fit", zero("1024,512,4096,4", [["GNU.sparse.numblocks", "3"]])],
    ["a missing count", zero("1024,512,4096,4")],
    ["an empty offset", zero(",516", [["GNU.sparse.numblocks", "1"]])],
    [
      "an unknown version of a map that would fit",
      zero("1024,512,4096,4", [
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.major", "2"],
        ["GNU.sparse.minor", "0"]
      ])
    ],
    [
      "an unknown minor version of one",
      zero("1024,512,4096,4", [
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.major", "0"],
        ["GNU.sparse.minor", "2"]
      ])
    ],
    [
      "version 1.1",
      one("0\n", [
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "1"],
        ["GNU.sparse.realsize", "5000"]
      ])
    ],
    [
      "version 2.0",
      one("0\n", [
        ["GNU.sparse.major", "2"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.realsize", "5000"]
      ])
    ],
    ["a major version alone", one("0\n", [["GNU.sparse.major", "0"]])],
    ["a minor version alone", one("0\n", [["GNU.sparse.minor", "0"]])],
    [
      "two lengths, each without its offset",
      [
        pax([
          ["GNU.sparse.size", "5000"],
          ["GNU.sparse.numblocks", "1"],
          ["GNU.sparse.numbytes", "0"],
          ["GNU.sparse.numbytes", "516"]
        ]),
        member({}, data)
      ]
    ],
    ["a negative offset", zero("-1,512,4096,4", [["GNU.sparse.numblocks", "2"]])],
    [
      "a length without an offset",
      [
        pax([
          ["GNU.sparse.size", "9"],
          ["GNU.sparse.numblocks", "1"],
          ["GNU.sparse.numbytes", "516"]
        ]),
        member({}, data)
      ]
    ],
    ["a directory with a map", [pax(versions[2]![1]), member({ type: "5" })]],
    [
      "two maps",
      [
        pax(versions[1]![1]),
        member(
          old(
            [
              [1024, 512],
              [4096, 4]
            ],
            5000
          ),
          data
        )
      ]
    ]
  ]
  for (const [what, parts] of faults) {
    it(`reports ${what}`, () => {
      const scanned = scanAll(...parts, b, end)
      assert.deepStrictEqual(
        found(scanned).map(([check]) => check),
        ["tar.bad-sparse"]
      )
      assert.strictEqual(paths(scanned).at(-1), "b")
      assert.isTrue(scanned.entries.every(({ entry }) => Number.isSafeInteger(entry.realSize)))
      assert.isTrue(scanned.summary.ended)
    })
  }

  it("reads version 0 where it says that it is one", () => {
    const major = ["GNU.sparse.major", "0"] as const
    for (const said of [[major], [["GNU.sparse.minor", "0"]], [major, ["GNU.sparse.minor", "1"]]] as const) {
      assert.deepStrictEqual(only(...zero("1024,512,4096,4", [["GNU.sparse.numblocks", "2"], ...said])).sparse, [
        [1024, 512],
        [4096, 4]
      ])
    }
  })

  it("leaves name and size to the header where what the records mean is not known", () => {
    const stray = pax([
      ["GNU.sparse.realsize", "5000"],
      ["GNU.sparse.name", "s"]
    ])
    assert.deepInclude(scanAll(stray, member({ name: "h" }, data), end).entries[0]!.entry, { path: "h", realSize: 516 })
  })

  it("reads a 1.0 map that is all that there is of the body", () => {
    const text = `130\n${"0\n0\n".repeat(130)}`
    assert.strictEqual(text.length > 512 && text.length < 1024, true)
    const scanned = clean(pax(versions[2]![1]), member({}, padded(text)), b, end)
    assert.deepStrictEqual(paths(scanned), ["s", "b"])
  })
})

describe("tar.bad-size: hardlinks with a size", () => {
  const link: Fields = { name: "l", type: "1", linkname: "a", size: 700 }

  it("have no body where a header or the end follows", () => {
    for (const format of ["v7", "ustar", "gnu"] as const) {
      const scanned = clean(a, header({ ...link, format }), b, end)
      assert.deepStrictEqual(paths(scanned), ["a", "l", "b"])
      assert.strictEqual(scanned.entries[1]!.entry.size, 0)
      assert.deepStrictEqual(paths(clean(a, header({ ...link, format }), end)), ["a", "l"])
    }
    const last = scanAll(a, header(link))
    assert.deepStrictEqual(
      found(last).map(([check]) => check),
      ["tar.no-end"]
    )
    assert.deepStrictEqual(paths(last), ["a", "l"])
    assert.deepStrictEqual(paths(clean(a, header(link), member({ name: "old", format: "v7" }), end)), ["a", "l", "old"])
    // A long name is GNU's, and no sign of pax.
    assert.deepStrictEqual(paths(clean(longName("x"), a, header(link), b, end)), ["x", "l", "b"])
  })

  it("are reported in a pax archive, where libarchive looks for a body", () => {
    for (const type of ["x", "X", "g"]) {
      const scanned = scanAll(a, pax([["mtime", "1"]], type), header(link), b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-size", 2048, "l"]])
      assert.deepStrictEqual(paths(scanned), ["a", "l", "b"])
    }
    const record = scanAll(a, pax([["size", "700"]]), header({ ...link, size: 0 }), b, end)
    assert.deepStrictEqual(found(record), [["tar.bad-size", 2048, "l"]])
  })

  it("are read with a body where one follows, and reported", () => {
    const body = Buffer.alloc(700, "body")
    const scanned = scanAll(a, member(link, body), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-size", 1024, "l"]])
    assert.deepStrictEqual(paths(scanned), ["a", "l", "b"])
    assert.deepStrictEqual(scanned.entries[1]!.body, body)
    assert.deepInclude(scanned.entries[1]!.entry, { size: 700, dataOffset: 1536 })
    assert.deepStrictEqual(scan(Buffer.concat([a, member(link, body), b, end]), {}, [100]), scanned)
    for (const format of ["ustar", "star"] as const) {
      for (const size of [100, 512]) {
        const short = scanAll(a, member({ ...link, size, format }, body.subarray(0, size)), b, end)
        assert.deepStrictEqual(found(short), [["tar.bad-size", 1024, "l"]])
        assert.deepStrictEqual(paths(short), ["a", "l", "b"])
        assert.deepStrictEqual(short.entries[1]!.body, body.subarray(0, size))
      }
    }
  })

  it("and others with a size from a pax record, which libarchive obeys", () => {
    for (const type of ["2", "3", "5", "6"]) {
      const scanned = scanAll(pax([["size", "512"]]), header({ name: "n", type, linkname: "t" }), b, end)
      assert.deepStrictEqual(found(scanned), [["tar.bad-size", 1024, "n"]])
      assert.deepStrictEqual(paths(scanned), ["n", "b"])
      clean(pax([["size", "0"]]), header({ name: "n", type, linkname: "t" }), b, end)
    }
  })

  it("and labels with one: libarchive passes over no body", () => {
    const scanned = scanAll(member({ name: "label", type: "V", format: "gnu" }, "body"), b, end)
    assert.deepStrictEqual(found(scanned), [
      ["tar.uncommon-type", 0, "label"],
      ["tar.bad-size", 0, "label"]
    ])
    assert.deepStrictEqual(paths(scanned), ["b"])
  })

  it("do not swallow a damaged header that follows", () => {
    const damaged = member({ name: "x", checksum: "wrong" }, "lost")
    const scanned = scanAll(a, header({ ...link, size: 4096 }), damaged, b, end)
    assert.deepStrictEqual(found(scanned), [["tar.bad-checksum", 1536, "x"]])
    assert.deepStrictEqual(paths(scanned), ["a", "l", "b"])
  })
})

describe("tar.truncated, tar.no-padding, tar.no-end", () => {
  const whole = Buffer.concat([a, pax([["path", "p"]]), b, end])

  it("show wherever an archive is cut", () => {
    for (let size = 0; size < whole.length; size++) {
      const scanned = scan(whole.subarray(0, size))
      const checks = found(scanned).map(([check]) => check)
      assert.isFalse(scanned.summary.ended)
      if (size > 0 && size <= 262) {
        // Less than the magic: nobody can tell that this was to become a tar.
        assert.deepStrictEqual(checks, ["tar.not-a-tar"], `at ${size}`)
      } else {
        assert.notStrictEqual(checks.includes("tar.no-end"), checks.includes("tar.truncated"), `at ${size}`)
        if (size % 512 !== 0) assert.isTrue(checks.includes("tar.truncated") || checks.includes("tar.no-padding"))
      }
    }
  })

  const cuts: ReadonlyArray<readonly [what: string, size: number, checks: ReadonlyArray<string>]> = [
    ["in the first header", 300, ["tar.truncated"]],
    ["in a body", 515, ["tar.truncated"]],
    ["behind the last byte of a body", 517, ["tar.no-padding", "tar.no-end"]],
    ["in the padding", 1000, ["tar.no-padding", "tar.no-end"]],
    ["behind the padding", 1024, ["tar.no-end"]],
    ["in the header of an extension", 1100, ["tar.truncated"]],
    ["in an extension", 1540, ["tar.truncated"]],
    ["in the member's header", 2100, ["tar.truncated"]],
    ["behind a zero block", whole.length - 512, ["tar.no-end"]],
    ["in the first zero block", whole.length - 600, ["tar.truncated"]],
    ["in the second zero block", whole.length - 1, ["tar.truncated"]]
  ]
  for (const [what, size, checks] of cuts) {
    it(`are told apart: a cut ${what}`, () => {
      assert.deepStrictEqual(
        found(scan(whole.subarray(0, size))).map(([check]) => check),
        checks
      )
    })
  }

  it("a body that is cut short has no end, and says how much is missing", () => {
    const scanned = scan(Buffer.concat([a, header({ name: "n", size: 2000 }), Buffer.alloc(512)]))
    assert.isFalse(scanned.entries[1]!.complete)
    assert.deepInclude(scanned.problems[0]!, {
      check: "tar.truncated",
      expected: "2000 bytes",
      actual: "512 bytes",
      offset: 2048,
      path: "n"
    })
  })

  it("an end that is missing is told from half of one, and from nothing at all", () => {
    const message = (...parts: ReadonlyArray<Buffer>) => scanAll(...parts).problems.map((one) => one.message)
    assert.deepStrictEqual(message(a), ["the archive does not end with two zero blocks"])
    for (const lead of [[], [a]]) {
      assert.deepStrictEqual(message(...lead, Buffer.alloc(512)), [
        "the archive ends with one zero block instead of two"
      ])
    }
    assert.deepStrictEqual(message(), ["the archive is empty: not even the two zero blocks at its end are there"])
  })

  it("what fills its last block lacks no padding", () => {
    assert.deepStrictEqual(found(scanAll(member({ name: "m" }, "x".repeat(512)))), [["tar.no-end", 1024, undefined]])
    const filled = scanAll(pax([["comment", "c".repeat(512 - record("comment", "").length - 1)]]))
    assert.deepStrictEqual(
      found(filled).map(([check]) => check),
      ["tar.bad-pax", "tar.no-end"]
    )
  })

  it("nothing at all is an archive without its end, and nothing else", () => {
    const scanned = scan(Buffer.alloc(0))
    assert.deepStrictEqual(found(scanned), [["tar.no-end", 0, undefined]])
    assert.deepStrictEqual(scanned.summary, { entries: 0, bytes: 0, bodyBytes: 0, ended: false })
  })
})

describe("tar.trailing-data", () => {
  it("is anything but zeros behind the two zero blocks, reported once", () => {
    const offset = a.length + end.length
    const scanned = scanAll(a, end, b, end, Buffer.from("more"))
    assert.deepStrictEqual(found(scanned), [["tar.trailing-data", offset, undefined]])
    assert.deepStrictEqual(paths(scanned), ["a"])
    assert.deepStrictEqual(found(scanAll(a, end, Buffer.alloc(700), Buffer.from("x"))), [
      ["tar.trailing-data", offset + 700, undefined]
    ])
  })

  it("is what follows a single zero block, and it is read", () => {
    const scanned = scanAll(a, Buffer.alloc(512), b, end)
    assert.deepStrictEqual(found(scanned), [["tar.trailing-data", 1536, undefined]])
    assert.deepStrictEqual(paths(scanned), ["a", "b"])
    const garbage = scanAll(a, Buffer.alloc(512), Buffer.alloc(600, 1), Buffer.alloc(424), b, end)
    assert.deepStrictEqual(found(garbage), [["tar.trailing-data", 1536, undefined]])
    assert.deepStrictEqual(paths(garbage), ["a", "b"])
    for (const lead of [[a], []]) {
      const cut = found(scanAll(...lead, Buffer.alloc(512), Buffer.from("abc"))).map(([check]) => check)
      assert.deepStrictEqual(cut, ["tar.trailing-data", "tar.no-end"])
      assert.deepStrictEqual(
        found(scanAll(...lead, Buffer.alloc(512), b, end)).map(([check]) => check),
        ["tar.trailing-data"]
      )
    }
  })
})

describe("tar.not-a-tar", () => {
  const others: ReadonlyArray<readonly [string, Buffer]> = [
    ["gzip", Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.alloc(5000, 0xa7)])],
    ["text", Buffer.from("hello\n".repeat(500))],
    ["a few bytes", Buffer.from("{}")],
    ["most of a block", Buffer.alloc(400, "x")],
    ["a zip", Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(2000, 3)])]
  ]
  for (const [what, bytes] of others) {
    it(`reports ${what}, and nothing else`, () => {
      const scanned = scan(Buffer.concat([bytes, a, end]).subarray(0, bytes.length))
      assert.deepStrictEqual(found(scanned), [["tar.not-a-tar", 0, undefined]])
      assert.strictEqual(scanned.summary.bytes, bytes.length)
    })
  }

  it("does not take a damaged first header for it, whatever the format", () => {
    for (const format of ["ustar", "gnu", "v7"] as const) {
      const scanned = scanAll(member({ name: "x", format, checksum: "wrong" }, "lost"), b, end)
      assert.deepStrictEqual(
        found(scanned).map(([check, offset]) => [check, offset]),
        [["tar.bad-checksum", 0]]
      )
      assert.deepStrictEqual(paths(scanned), ["b"])
    }
  })
})

describe("paths", () => {
  const problemsOf = (...parts: ReadonlyArray<Uint8Array>) => found(scanAll(...parts, end)).map(([check]) => check)
  const named = (path: string) => problemsOf(pax([["path", path]]), member({ type: path.endsWith("/") ? "5" : "0" }))
  const linked = (linkname: string, type: string) =>
    problemsOf(pax([["linkpath", linkname]]), member({ type, linkname: "x" }))

  const sound = ["a", "./", "./a", "a/../b", "a/./../b", "..a/b", "a../..b", "...", "a/b/../../c", "x\\..\\y"]
  for (const path of [...sound, fromText("ünï")]) {
    it(`lets ${path} pass`, () => {
      assert.deepStrictEqual(named(path), [])
    })
  }

  it("reports tar.path-absolute", () => {
    assert.deepStrictEqual(named("/etc/passwd"), ["tar.path-absolute"])
    assert.deepStrictEqual(named("/"), ["tar.path-absolute"])
    assert.deepStrictEqual(linked("/etc/passwd", "1"), ["tar.path-absolute"])
    assert.deepStrictEqual(linked("/etc/passwd", "2"), [])
  })

  it("reports tar.path-escapes", () => {
    for (const path of ["..", "../a", "a/../../b", "./..", "a/..//../b"]) {
      assert.deepStrictEqual(named(path), ["tar.path-escapes"], path)
      assert.deepStrictEqual(linked(path, "1"), ["tar.path-escapes"], path)
      assert.deepStrictEqual(linked(path, "2"), [], path)
    }
    assert.deepStrictEqual(named("/../a"), ["tar.path-absolute", "tar.path-escapes"])
  })

  it("reports tar.path-nul", () => {
    assert.deepStrictEqual(found(scanAll(pax([["path", "a\0b"]]), a, end)), [["tar.path-nul", 1024, "a\0b"]])
    assert.deepStrictEqual(linked("a\0b", "2"), ["tar.path-nul"])
  })

  it("reports tar.path-empty", () => {
    assert.deepStrictEqual(found(scanAll(member({ name: "" }), end)), [["tar.path-empty", 0, ""]])
    assert.deepStrictEqual(problemsOf(member({ type: "2" })), ["tar.path-empty"])
    assert.deepStrictEqual(problemsOf(member({ type: "1" })), ["tar.path-empty"])
  })

  it("reports tar.path-not-utf8", () => {
    assert.deepStrictEqual(named("caf\xe9"), ["tar.path-not-utf8"])
    assert.deepStrictEqual(named("\xed\xa0\x80"), ["tar.path-not-utf8"])
    assert.deepStrictEqual(named("\x80"), ["tar.path-not-utf8"])
    assert.deepStrictEqual(linked("caf\xe9", "2"), ["tar.path-not-utf8"])
    const scanned = scanAll(
      pax([
        ["hdrcharset", "BINARY"],
        ["path", "caf\xe9"]
      ]),
      a,
      end
    )
    assert.deepStrictEqual(found(scanned), [["tar.path-not-utf8", 1024, "caf\xe9"]])
    assert.deepStrictEqual(toBytes(scanned.entries[0]!.entry.path), Buffer.from("caf\xe9", "latin1"))
  })
})

describe("limits", () => {
  it("passes over extended headers beyond the limit (tar.too-large)", () => {
    for (const type of ["x", "g", "L", "K"]) {
      const scanned = scan(Buffer.concat([member({ type }, Buffer.alloc(2000, 0x41)), a, end]), {
        maxMetadataBytes: 1999
      })
      assert.deepStrictEqual(found(scanned), [["tar.too-large", 0, undefined]], type)
      assert.deepStrictEqual(paths(scanned), ["a"])
    }
    const fits = record("comment", "c".repeat(1000))
    assert.deepStrictEqual(scan(Buffer.concat([pax(fits), a, end]), { maxMetadataBytes: fits.length }).problems, [])
  })

  it("reports a header that claims 8 GiB of records, and allocates nothing for it", () => {
    const before = process.memoryUsage().arrayBuffers
    const scanned = scanAll(header({ type: "x", size: 8 ** 11 - 1 }), Buffer.alloc(4096, 0x41))
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 1 << 20)
    assert.deepStrictEqual(
      found(scanned).map(([check]) => check),
      ["tar.too-large", "tar.truncated"]
    )
  })

  it("bounds sparse maps", () => {
    const block = Buffer.alloc(512)
    block.write("0".repeat(504), "latin1")
    block[504] = 1
    const last = Buffer.alloc(512)
    const head = header({
      name: "s",
      type: "S",
      format: "gnu",
      raw: [
        [482, "\x01"],
        [483, "00000000000\0"]
      ]
    })
    const old = scan(Buffer.concat([head, ...Array.from({ length: 9 }, () => block), last, b, end]), {
      maxMetadataBytes: 4096
    })
    assert.deepStrictEqual(found(old), [["tar.too-large", 0, "s"]])
    assert.deepStrictEqual(paths(old), ["s", "b"])
    const text = `1000\n${"1\n0\n".repeat(1000)}`
    const records = pax([
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.realsize", "9"]
    ])
    const one = scan(Buffer.concat([records, member({ name: "s" }, padded(text)), b, end]), { maxMetadataBytes: 1024 })
    assert.deepStrictEqual(found(one), [["tar.too-large", 0, "s"]])
    assert.deepStrictEqual(paths(one), ["s", "b"])
  })

  it("bounds global records together", () => {
    const parts = Array.from({ length: 30 }, (_, i) => pax([[`key${i}`, "v".repeat(400)]], "g"))
    const scanned = scan(Buffer.concat([...parts, a, end]), { maxMetadataBytes: 4096 })
    assert.isNotEmpty(scanned.problems)
    assert.isTrue(scanned.problems.every(({ check }) => check === "tar.too-large"))
    assert.isBelow(scanned.entries[0]!.entry.pax!.size, 12)
    const numbered = (count: number) =>
      scanAll(
        ...Array.from({ length: count }, (_, i) =>
          pax(
            [
              [`key${i}`, ""],
              [`k${i}`, "v"]
            ],
            "g"
          )
        ),
        a,
        end
      )
    assert.deepStrictEqual(numbered(100).problems, [])
    assert.deepStrictEqual(
      numbered(101).problems.map(({ check }) => check),
      ["tar.too-large"]
    )
    const exact = (limit: number) =>
      scan(Buffer.concat([pax([["a", "v".repeat(60)]], "g"), pax([["b", "v".repeat(60)]], "g"), a, end]), {
        maxMetadataBytes: limit
      }).problems.length
    assert.deepStrictEqual([exact(122), exact(121)], [0, 1])
  })

  it("lists so many problems of a kind, then says how many more there are", () => {
    const absolute = Array.from({ length: 25 }, (_, i) => member({ name: `/${i}` }))
    const bytes = Buffer.concat([...absolute, member({ name: "" }), end])
    const scanned = scan(bytes, { maxProblemsPerCheck: 10 })
    assert.strictEqual(scanned.entries.length, 26)
    assert.deepStrictEqual(
      found(scanned).map(([check]) => check),
      [...Array.from({ length: 10 }, () => "tar.path-absolute"), "tar.path-empty", "tar.path-absolute"]
    )
    assert.match(scanned.problems.at(-1)!.message, /^15 more/)
    assert.lengthOf(scan(bytes, { maxProblemsPerCheck: 25 }).problems, 26)
    const many = Buffer.concat([...Array.from({ length: 200 }, () => member({ name: "/a" })), end])
    assert.strictEqual(scan(many).problems.length, 101)
  })

  it("shortens monstrous names in problems, not in entries", () => {
    const path = `/${"x".repeat(100_000)}`
    const scanned = scanAll(pax([["path", path]]), a, end)
    assert.strictEqual(scanned.entries[0]!.entry.path, path)
    const shown = scanned.problems.map(({ check, path }) => [check, path?.length])
    assert.deepStrictEqual(shown, [["tar.path-absolute", 4096]])
    assert.isBelow(scanned.problems[0]!.message.length, 300)
  })
})

describe("any damage", () => {
  const whole = Buffer.concat([
    pax([
      ["path", "long/name"],
      ["mtime", "1.5"],
      ["SCHILY.xattr.user.a", "v"]
    ]),
    a,
    longName("other/long/name"),
    member({ name: "other", format: "gnu", uname: "root" }, "beta"),
    member({ name: "l", type: "1", linkname: "b" }),
    end
  ])
  const sound = scan(whole)
  const recordsLength =
    record("path", "long/name").length + record("mtime", "1.5").length + record("SCHILY.xattr.user.a", "v").length
  // Headers, records and the long name: not bodies, whose damage only a digest shows, and not padding.
  const places = [
    [0, 512 + recordsLength],
    [1024, 1536],
    [2048, 2560 + "other/long/name\0".length],
    [3072, 3584],
    [4096, 4608 + 1024]
  ] as const

  it("to a header is reported or shows in the entries", () => {
    assert.deepStrictEqual(sound.problems, [])
    for (const [from, to] of places) {
      for (let at = from; at < to; at++) {
        for (const flip of [0x01, 0x04, 0x40, 0x80, 0xff]) {
          const damaged = Buffer.from(whole)
          damaged[at]! ^= flip
          const scanned = scan(damaged)
          if (scanned.problems.length > 0) continue
          assert.notDeepEqual(scanned.entries, sound.entries, `byte ${at} xor ${flip}`)
        }
      }
    }
  })

  it("never makes the scanner throw, and never hides that the end is missing", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.tuple(FastCheck.nat(whole.length - 1), FastCheck.nat(255)), { maxLength: 8 }),
        FastCheck.nat(whole.length),
        (changes, size) => {
          const damaged = Buffer.from(whole)
          for (const [at, byte] of changes) damaged[at] = byte
          const scanned = scan(damaged.subarray(0, size))
          assert.strictEqual(scanned.summary.bytes, size)
          if (!scanned.summary.ended) assert.isNotEmpty(scanned.problems)
          assert.strictEqual(scanned.summary.entries, scanned.entries.length)
        }
      ),
      { numRuns: 2000 }
    )
  })

  it("garbage never makes the scanner throw", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.uint8Array({ maxLength: 4000 }), (bytes) => {
        const scanned = scan(bytes)
        assert.isNotEmpty(scanned.problems)
      })
    )
  })
})

const manySegments = `200\n${Array.from({ length: 200 }, (_, i) => `${i * 10}\n1\n`).join("")}`

/** Archives that take the scanner through all of its states. */
const samples: ReadonlyArray<Buffer> = [
  Buffer.concat([a, b, end]),
  Buffer.concat([
    pax([
      ["path", "p"],
      ["mtime", "1.5"]
    ]),
    a,
    longName("l".repeat(600)),
    b,
    end,
    Buffer.from("junk")
  ]),
  Buffer.concat([a, header({ name: "l", type: "1", linkname: "a", size: 700 }), b, end]),
  Buffer.concat([a, member({ name: "l", type: "1", linkname: "a" }, Buffer.alloc(700, 5)), b, end]),
  Buffer.concat([a, header({ name: "l", type: "1", linkname: "a", size: 700 })]),
  Buffer.concat([a, member({ name: "x", checksum: "wrong" }, "lost"), Buffer.alloc(1500, 9), Buffer.alloc(36), b, end]),
  Buffer.concat([a, Buffer.alloc(512), b, Buffer.alloc(512)]),
  Buffer.concat([
    pax([
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.realsize", "5000"]
    ]),
    member({}, Buffer.concat([padded(manySegments), Buffer.alloc(200, 7)])),
    b,
    end
  ]),
  Buffer.concat([
    header({
      name: "s",
      type: "S",
      format: "gnu",
      size: 0,
      raw: [
        [482, "\x01"],
        [483, "00000000000\0"]
      ]
    }),
    Buffer.alloc(512),
    b,
    end
  ]),
  Buffer.from("no tar at all, but long enough to fill one block and a little more. ".repeat(10)),
  Buffer.concat([a, header({ name: "big", size: 5000 }), Buffer.alloc(100)])
]

describe("chunks", () => {
  it("of any sizes give the same entries and problems", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.constantFrom(...samples),
        FastCheck.array(FastCheck.oneof(FastCheck.integer({ min: 1, max: 1500 }), FastCheck.constant(512)), {
          minLength: 1,
          maxLength: 20
        }),
        (bytes, cuts) => {
          assert.deepStrictEqual(scan(bytes, {}, cuts), scan(bytes))
        }
      ),
      { numRuns: 400 }
    )
  })

  it("of one byte give the same entries and problems, at any alignment in memory", () => {
    for (const bytes of samples) {
      const whole = scan(bytes)
      assert.deepStrictEqual(scan(bytes, {}, [1]), whole)
      for (const shift of [1, 2, 3]) {
        const shifted = new Uint8Array(bytes.length + 4).subarray(shift, shift + bytes.length)
        shifted.set(bytes)
        assert.deepStrictEqual(scan(shifted), whole)
      }
    }
  })

  it("are read from and to where `write` says, without a copy of the body", () => {
    const chunk = Buffer.concat([Buffer.from("before"), a, end, Buffer.from("behind")])
    const chunks: Array<Uint8Array> = []
    const problems: Array<unknown> = []
    const scanner = new TarScanner({
      onBody: (_, bytes, from, to) => {
        chunks.push(bytes)
        assert.strictEqual(fromBytes(bytes, from, to), "alpha")
      },
      onProblem: (problem) => problems.push(problem)
    })
    scanner.write(chunk, 6, chunk.length - 6)
    assert.deepStrictEqual(scanner.end(), { entries: 1, bytes: 2048, bodyBytes: 5, ended: true })
    assert.strictEqual(chunks[0], chunk)
    assert.deepStrictEqual(problems, [])
    assert.strictEqual(scanner.end(), scanner.end())
  })
})
