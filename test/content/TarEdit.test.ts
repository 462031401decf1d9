import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as ByteString from "../../src/content/ByteString.ts"
import * as Edits from "../../src/content/LayerEdits.ts"
import { TarEditError, TarEditor } from "../../src/content/TarEdit.ts"
import type { TarEntry } from "../../src/content/TarEntry.ts"
import { checksumFits, checksumOf, sumBytes } from "../../src/content/TarField.ts"
import { putChecksum } from "../../src/content/TarPatch.ts"
import type { Edit } from "../../src/image/Image.ts"
import * as Random from "./tarArbitrary.ts"
import { end, found, header, longName, member, octal, padded, paths, pax, record, scan } from "./tarFixtures.ts"

const noOthers: Edits.OtherLayers = {
  copy: () => assert.fail("nothing is to be copied"),
  open: () => assert.fail("no other layer is to be read")
}

/** Applies edits to a copy of `bytes`, cut into chunks of the sizes that `cuts` gives over and over. */
const apply = (bytes: Uint8Array, edits: ReadonlyArray<Edit>, cuts: ReadonlyArray<number> = [bytes.length]) => {
  const input = Buffer.from(bytes)
  const parts: Array<Buffer> = []
  const chain = Edits.makeChain(
    edits,
    (chunk, from, to) => {
      assert.isBelow(from, to)
      parts.push(Buffer.from(chunk.subarray(from, to)))
    },
    noOthers
  )
  let turn = 0
  for (let at = 0; at < input.length; ) {
    const next = Math.min(input.length, at + Math.max(1, cuts[turn++ % cuts.length]!))
    chain.write(input, at, next)
    at = next
  }
  const facts = chain.end()
  return { bytes: Buffer.concat(parts), facts }
}

const normalize = (bytes: Uint8Array, timestamp = 0, cuts?: ReadonlyArray<number>): Buffer =>
  apply(bytes, [Edits.normalizeTimestamps(timestamp)], cuts).bytes

const excluded = (bytes: Uint8Array, patterns: ReadonlyArray<string>) => {
  const first = apply(bytes, [Edits.exclude({ patterns, promote: [], copies: [] })])
  const { promote } = first.facts[0]!.exclude!
  return promote.length === 0 ? first : apply(bytes, [Edits.exclude({ patterns, promote, copies: [] })])
}

const withoutTimes = (entry: TarEntry) => {
  const {
    dataOffset: _data,
    headerOffset: _header,
    mtimeNanoseconds: _nanoseconds,
    mtimeSeconds: _seconds,
    pax,
    ...rest
  } = entry
  const records = [...(pax ?? [])].filter(
    ([keyword]) => !/^(mtime|atime|ctime|LIBARCHIVE\.creationtime)$/.test(keyword)
  )
  return { ...rest, pax: records.sort() }
}

const tar = (...parts: ReadonlyArray<Uint8Array>): Buffer => Buffer.concat([...parts, end])

describe("times in headers", () => {
  it("keeps every byte of a header but mtime and checksum", () => {
    const input = tar(
      member({ name: "a", mode: "0004755\0", uname: "root", mtime: `${octal(1_700_000_000, 11)}\0` }, "body")
    )
    const output = normalize(input, 5)
    const differing = [...input.keys()].filter((at) => input[at] !== output[at])
    assert.isTrue(
      differing.every((at) => (at >= 136 && at < 148) || (at >= 148 && at < 156)),
      differing.join()
    )
    assert.strictEqual(output.toString("latin1", 136, 148), "00000000005\0")
    assert.deepStrictEqual(found(scan(output)), [])
    assert.deepStrictEqual(output.subarray(156), input.subarray(156))
  })

  it("keeps how a field was written", () => {
    const spaces = "14371573071 "
    const output = normalize(tar(member({ format: "v7", mtime: spaces }, "x")), 8)
    assert.strictEqual(output.toString("latin1", 136, 148), "00000000010 ")
    assert.deepStrictEqual(found(scan(output)), [])
  })

  it("takes the form from the size where that of the time depends on the time", () => {
    // By length of the number: blanks on the left, no terminator, base-256, and node-tar's terminator.
    for (const [size, times, put] of [
      ["          0 ", ["14371573071 ", "          7 "], "         10 "],
      ["00000000000 ", ["14371573071 ", "143715730711", "\x80\0\0\0\0\0\0\x7f\0\0\0\0"], "00000000010 "],
      ["0000000000 \0", ["14371573071\0", "0000000010 \0", "0000000007 \0"], "0000000010 \0"]
    ] as const) {
      for (const mtime of times) {
        const output = normalize(tar(member({ size, mtime })), 8)
        assert.strictEqual(output.toString("latin1", 136, 148), put, mtime)
        assert.deepStrictEqual(found(scan(output)), [])
      }
    }
  })

  it("sets times that star keeps behind the prefix without its mark", () => {
    const times: Array<readonly [number, string]> = [
      [476, "14371573071 "],
      [488, "14371573070 "]
    ]
    const output = normalize(tar(member({ prefix: "p", raw: times })), 8)
    assert.strictEqual(output.toString("latin1", 476, 500), "00000000010 00000000010 ")
    assert.deepStrictEqual(paths(scan(output)), ["p/file"])
    // A long prefix is none of these.
    const prefix = `${"d/".repeat(65)}x`.padEnd(155, "1")
    const long = normalize(tar(member({ prefix, mtime: `${octal(8, 11)}\0` })), 8)
    assert.deepStrictEqual(paths(scan(long)), [`${prefix}/file`])
  })

  it("writes base-256 and what is no number as octal", () => {
    const base256 = Buffer.concat([Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1])]).toString("latin1")
    for (const mtime of [base256, "nonsense", "\xff".repeat(12)]) {
      const output = normalize(tar(member({ format: "gnu", mtime })), 1_000)
      assert.strictEqual(output.toString("latin1", 136, 148), "00000001750\0")
      assert.deepStrictEqual(found(scan(output)), [])
    }
  })

  it("sets GNU's and star's atime and ctime where they are there", () => {
    const time = `${octal(99, 11)}\0`
    const gnu = normalize(
      tar(
        member({
          format: "gnu",
          raw: [
            [345, time],
            [357, time]
          ]
        })
      ),
      8
    )
    assert.strictEqual(gnu.toString("latin1", 345, 369), "00000000010\x0000000000010\0")
    const none = normalize(tar(member({ format: "gnu", raw: [[357, time]] })), 8)
    assert.strictEqual(none.toString("latin1", 345, 369), `${"\0".repeat(12)}00000000010\0`)
    const star = normalize(
      tar(
        member({
          format: "star",
          raw: [
            [476, time],
            [488, time]
          ]
        })
      ),
      8
    )
    assert.strictEqual(star.toString("latin1", 476, 500), "00000000010\x0000000000010\0")
    for (const one of [gnu, none, star]) assert.deepStrictEqual(found(scan(one)), [])
  })

  it("leaves the path alone that old Go wrote where GNU has times", () => {
    const input = tar(member({ name: "name", format: "gnu", prefix: "some/prefix", mtime: `${octal(9, 11)}\0` }))
    const output = normalize(input, 8)
    assert.deepStrictEqual(paths(scan(output)), ["some/prefix/name"])
    assert.strictEqual(scan(output).entries[0]!.entry.mtimeSeconds, 8)
  })

  it("takes signed checksums and writes unsigned ones", () => {
    const output = normalize(tar(member({ name: "\xff\xfe", checksum: "signed", mtime: `${octal(9, 11)}\0` })))
    assert.notInclude(
      found(scan(output)).map(([check]) => check),
      "tar.bad-checksum"
    )
  })

  it("leaves an archive alone that says the time already", () => {
    const input = tar(
      pax([
        ["path", "p"],
        ["SCHILY.xattr.user.a", "b"]
      ]),
      member({ mtime: `${octal(8, 11)} ` }, "body"),
      longName("l".repeat(120)),
      member({ format: "gnu", mtime: `${octal(8, 11)}\0` })
    )
    const { bytes, facts } = apply(input, [Edits.normalizeTimestamps(8)])
    assert.deepStrictEqual(bytes, input)
    assert.deepStrictEqual(facts, [{ members: 2, changed: 0 }])
  })

  it("refuses a time that headers cannot hold", () => {
    for (const timestamp of [-1, 0.5, 8 ** 11, Number.NaN]) assert.throws(() => normalize(end, timestamp), RangeError)
  })
})

describe("times in pax records", () => {
  const base = { name: "f", mtime: `${octal(1_700_000_000, 11)}\0` }
  const bare = normalize(tar(member(base, "body")), 3)

  it("takes a header away that holds nothing else", () => {
    const records = [
      ["mtime", "1700000000.123456789"],
      ["atime", "1"],
      ["ctime", "-3.5"],
      ["LIBARCHIVE.creationtime", "9"]
    ] as const
    assert.deepStrictEqual(normalize(tar(pax(records), member(base, "body")), 3), bare)
  })

  it("keeps the other records byte for byte, and fewer blocks where they fit", () => {
    const kept = [
      ["SCHILY.xattr.user.x", "\0\n5 mtime=1\n\xff"],
      ["path", "renamed"]
    ] as const
    const long = ["comment", "c".repeat(480)] as const
    const output = normalize(
      tar(pax([kept[0], ["mtime", "1.5"], kept[1], long, ["atime", "2"]]), member(base, "body")),
      3
    )
    const expected = normalize(tar(pax([...kept, long]), member(base, "body")), 3)
    assert.deepStrictEqual(output, expected)
    const shrunk = normalize(
      tar(
        pax([
          ["comment", "c".repeat(490)],
          ["mtime", "1700000000.25"]
        ]),
        member(base, "body")
      ),
      3
    )
    assert.strictEqual(shrunk.length, tar(pax([["comment", "c".repeat(490)]]), member(base, "body")).length)
  })

  it("does so in global headers too, wherever they stand", () => {
    const global = pax(
      [
        ["mtime", "5"],
        ["comment", "stays"]
      ],
      "g"
    )
    const gone = pax([["mtime", "5"]], "g")
    const stays = pax([["comment", "stays"]], "g")
    const extension = pax([["path", "p"]])
    assert.deepStrictEqual(normalize(tar(global, member(base, "x")), 3), normalize(tar(stays, member(base, "x")), 3))
    assert.deepStrictEqual(
      normalize(tar(extension, global, member(base, "x")), 3),
      normalize(tar(extension, stays, member(base, "x")), 3)
    )
    assert.deepStrictEqual(normalize(tar(member(base, "x"), gone), 3), normalize(tar(member(base, "x")), 3))
  })

  it("sets the extension's own mtime, unless it is zero", () => {
    const own = (mtime: number) =>
      Buffer.concat([
        member({ name: "PaxHeaders/f", type: "x", mtime: `${octal(mtime, 11)}\0` }, record("path", "p")),
        member(base)
      ])
    assert.deepStrictEqual(normalize(tar(own(1_700_000_000)), 3), normalize(tar(own(12)), 3))
    assert.strictEqual(normalize(tar(own(12)), 3).toString("latin1", 136, 147), "00000000003")
    assert.strictEqual(normalize(tar(own(0)), 3).toString("latin1", 136, 147), "00000000000")
  })

  it("sets a zero that may be a copy of the member's time", () => {
    const build = (time: number, mode: string, own = time) =>
      tar(
        member({ name: "PaxHeaders/f", type: "x", mode, mtime: `${octal(own, 11)}\0` }, record("path", "p")),
        member({ mtime: `${octal(time, 11)}\0` }, "x")
      )
    // GNU tar and bsdtar copy it, Go and Python have zeros for it and for the mode.
    assert.deepStrictEqual(normalize(build(0, "0000644\0"), 3), normalize(build(7, "0000644\0"), 3))
    assert.deepStrictEqual(normalize(build(0, "0000000\0"), 3), normalize(build(7, "0000000\0", 0), 3))
    assert.strictEqual(normalize(build(0, "0000000\0"), 3).toString("latin1", 136, 147), "00000000000")
  })

  it("makes archives the same that differ in times alone", () => {
    const build = (seconds: number, fraction: string) =>
      tar(
        pax([
          ["mtime", `${seconds}${fraction}`],
          ["SCHILY.xattr.user.a", "b"]
        ]),
        member({ name: "a", mtime: `${octal(seconds, 11)}\0` }, "a"),
        ...(fraction === "" ? [] : [pax([["mtime", `${seconds}${fraction}`]])]),
        member({ name: "b", mtime: `${octal(seconds, 11)}\0` }, "b")
      )
    assert.deepStrictEqual(normalize(build(1_600_000_000, ".5")), normalize(build(1_700_000_001, "")))
  })
})

describe("bytes that no edit concerns", () => {
  it("go through: odd padding, what follows the end, records nobody knows", () => {
    const odd = member({ name: "a" }, "body")
    odd.fill(0x55, 516, 1024)
    const input = Buffer.concat([
      pax([["VENDOR.unknown", "\x01\x02"]]),
      odd,
      member({ name: "label", type: "V" }),
      member({ name: "strange", type: "Z" }, "strange body"),
      end,
      Buffer.from("trailing bytes, and not a whole block")
    ])
    assert.deepStrictEqual(normalize(input), input)
    assert.deepStrictEqual(excluded(input, ["nothing"]).bytes, input)
  })

  it("fill the last record, where they did before", () => {
    const record = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((10_240 - (bytes.length % 10_240)) % 10_240)])
    const one = tar(member({ mtime: `${octal(7, 11)}\0` }, "x".repeat(8704)))
    const other = tar(pax([["mtime", "7.5"]]), member({ mtime: `${octal(7, 11)}\0` }, "x".repeat(8704)))
    assert.notStrictEqual(record(one).length, record(other).length)
    assert.deepStrictEqual(normalize(record(other)), normalize(record(one)))
    assert.strictEqual(excluded(record(other), ["file"]).bytes.length, 10_240)
    assert.deepStrictEqual(normalize(other), normalize(one))
    const followed = Buffer.concat([record(other).subarray(0, -1), Buffer.from("x")])
    assert.strictEqual(normalize(followed).length, followed.length - 1024)
    assert.isTrue(normalize(followed).toString("latin1").endsWith("\0x"))
  })

  it("may lack an end, or padding at the end", () => {
    for (const cut of [
      member({ name: "a" }, "body"),
      member({ name: "a" }, "body").subarray(0, 516),
      Buffer.alloc(0),
      Buffer.alloc(512),
      Buffer.alloc(700)
    ]) {
      assert.deepStrictEqual(normalize(cut), Buffer.from(cut))
    }
  })
})

describe("a tar that cannot be edited for sure", () => {
  const fails = (check: string, bytes: Uint8Array): void => {
    for (const edit of [Edits.normalizeTimestamps(0), Edits.exclude({ patterns: ["x"], promote: [], copies: [] })]) {
      for (const cuts of [[bytes.length], [100], [512]]) {
        try {
          apply(bytes, [edit], cuts)
        } catch (cause) {
          assert.instanceOf(cause, TarEditError)
          assert.strictEqual((cause as TarEditError).check, check)
          continue
        }
        assert.fail(`${check} was not found`)
      }
    }
  }

  it("is refused", () => {
    fails("tar.bad-checksum", tar(member({ name: "a", checksum: "wrong" })))
    fails("tar.bad-checksum", Buffer.concat([member({ name: "a" }), Buffer.alloc(512, 7)]))
    fails("tar.not-a-tar", Buffer.alloc(2048, 7))
    fails("tar.bad-number", tar(member({ name: "a", size: "garbage" })))
    fails("tar.bad-number", tar(member({ name: "a", type: "x", size: "-1" })))
    fails("tar.truncated", member({ name: "a" }, Buffer.alloc(1000)).subarray(0, 1400))
    fails("tar.truncated", header({ name: "a" }).subarray(0, 500))
    fails("tar.truncated", pax([["path", "p"]]))
    fails("tar.bad-pax", tar(pax([["path", "p"]])))
    fails("tar.bad-pax", tar(pax("99 path=short\n"), member({ name: "a" })))
    fails("tar.bad-pax", tar(pax([["path", "p"]]), pax([["path", "q"]]), member({ name: "a" })))
    fails("tar.bad-pax", tar(pax([["size", "0"]], "g"), member({ name: "a" }, "x")))
    fails("tar.bad-long-name", tar(longName("p"), longName("q"), member({ name: "a", format: "gnu" })))
    fails("tar.trailing-data", Buffer.concat([member({ name: "a" }), Buffer.alloc(512), member({ name: "b" }), end]))
    fails("tar.bad-sparse", tar(member({ name: "a", type: "S" })))
    fails("tar.too-large", tar(member({ name: "a", type: "x", size: 2 ** 30 })))
    fails("tar.bad-checksum", tar(member({ name: "a", type: "1", linkname: "b" }, "a body that some readers see")))
  })

  it("takes memory in proportion to what is there, not to what fields say", () => {
    const before = process.memoryUsage().arrayBuffers
    fails("tar.truncated", header({ name: "a", size: 8 ** 11 - 1 }))
    fails("tar.truncated", header({ name: "a", type: "x", size: 1024 * 1024 }))
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 16 * 1024 * 1024)
  })
})

describe("members left out", () => {
  const files = (...names: ReadonlyArray<string>): Buffer =>
    tar(...names.map((name) => member({ name, type: name.endsWith("/") ? "5" : "0" }, name.endsWith("/") ? "" : name)))
  const left = (patterns: ReadonlyArray<string>, ...names: ReadonlyArray<string>): ReadonlyArray<string> => {
    const { bytes } = excluded(files(...names), patterns)
    assert.deepStrictEqual(found(scan(bytes)), [])
    return paths(scan(bytes))
  }

  it("are those that gitignore's rules match", () => {
    assert.deepStrictEqual(left(["*.pyc"], "a.pyc", "lib/b.pyc", "lib/b.py"), ["lib/b.py"])
    assert.deepStrictEqual(
      left(["/usr/share/doc"], "usr/", "usr/share/doc/", "usr/share/doc/a/b", "opt/usr/share/doc/c"),
      ["usr/", "opt/usr/share/doc/c"]
    )
    assert.deepStrictEqual(left(["cache/"], "cache/", "cache/x", "var/cache/y", "bin/cache"), ["bin/cache"])
    assert.deepStrictEqual(left(["doc/*", "!doc/copyright"], "doc/", "doc/a", "doc/copyright"), [
      "doc/",
      "doc/copyright"
    ])
    assert.deepStrictEqual(left(["**/tmp/*.log"], "tmp/a.log", "var/tmp/b.log", "var/tmp/x/c.log"), ["var/tmp/x/c.log"])
    assert.deepStrictEqual(left(["A"], "a", "A"), ["a"])
    assert.deepStrictEqual(left(["b"], "./a", "./b", "/b/c", "./x/../b"), ["./a"])
  })

  it("are counted, with the bytes of their bodies", () => {
    const { facts } = excluded(files("keep", "gone.pyc", "d/", "d/gone too.pyc"), ["*.pyc"])
    assert.deepStrictEqual(facts, [
      {
        members: 4,
        changed: 2,
        exclude: { entries: 2, bytes: 22, paths: ["gone.pyc", "d/gone too.pyc"], promote: [], open: [] }
      }
    ])
  })

  it("are not whiteouts, unless their whole directory goes", () => {
    const names = [".wh.foo", "a/.wh.foo", "d/.wh..wh..opq", "gone/.wh.x", "gone/.wh..wh..opq", "foo"]
    assert.deepStrictEqual(left(["foo", ".wh.foo", "gone"], ...names), [".wh.foo", "a/.wh.foo", "d/.wh..wh..opq"])
    assert.deepStrictEqual(left(["*"], ".wh.foo", "b", "c/", "c/.wh.d"), [".wh.foo"])
  })

  it("take their extensions with them, but no global header among these", () => {
    const global = pax([["comment", "stays"]], "g")
    const output = excluded(
      tar(
        pax([["path", "gone"]]),
        global,
        longName("gone"),
        member({ name: "x", format: "gnu" }, "body"),
        member({ name: "kept" })
      ),
      ["gone"]
    )
    assert.deepStrictEqual(output.bytes, tar(global, member({ name: "kept" })))
  })

  it("are found under the name that extensions give", () => {
    const name = `${"d".repeat(120)}/gone`
    const sparse = [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "gone"],
      ["GNU.sparse.realsize", "3"]
    ] as const
    const output = excluded(
      tar(
        longName(name),
        member({ name: name.slice(0, 100), format: "gnu" }, "x"),
        pax([["path", name]]),
        member({ name: "other" }, "x"),
        member({ name: "gone", prefix: "deep/er" }, "x"),
        pax(sparse),
        member({ name: "GNUSparseFile.1/gone" }, Buffer.concat([padded("1\n0\n3\n"), Buffer.from("abc")])),
        member({ name: "gone", format: "gnu", prefix: "old/go" }, "x")
      ),
      ["gone"]
    )
    assert.deepStrictEqual(output.bytes, end)
  })

  it("reads names that are not UTF-8", () => {
    assert.deepStrictEqual(left(["*.pyc"], "\xff\xfe.pyc"), [])
    const bytes = excluded(files(ByteString.fromText("ü.txt"), "\xff"), ["ü.*"]).bytes
    assert.deepStrictEqual(paths(scan(bytes)), ["\xff"])
  })
})

describe("hardlinks to what is left out", () => {
  const link = (name: string, linkname: string, more: object = {}) => member({ name, type: "1", linkname, ...more })
  const seen = (bytes: Buffer) =>
    scan(bytes).entries.map(({ body, entry }) => [entry.type, entry.path, entry.linkname, body.toString("latin1")])

  it("become the file, in its place", () => {
    const output = excluded(
      tar(member({ name: "a", mode: "0004755\0" }, "body"), member({ name: "m" }), link("b", "./a"), link("c", "a")),
      ["/a"]
    )
    assert.deepStrictEqual(seen(output.bytes), [
      ["file", "b", "", "body"],
      ["file", "m", "", ""],
      ["hardlink", "c", "b", ""]
    ])
    assert.strictEqual(scan(output.bytes).entries[0]!.entry.mode, 0o4755)
    assert.deepStrictEqual(found(scan(output.bytes)), [])
    const facts = output.facts[0]!.exclude!
    assert.deepStrictEqual([facts.entries, facts.bytes, facts.promote], [0, 0, []])
  })

  it("go when they match themselves", () => {
    const output = excluded(tar(member({ name: "a.o" }, "body"), link("b.o", "a.o")), ["*.o"])
    assert.deepStrictEqual(output.bytes, end)
    assert.strictEqual(output.facts[0]!.exclude!.entries, 2)
  })

  it("are followed through links that go", () => {
    const output = excluded(
      tar(member({ name: "keep" }, "body"), link("x", "keep"), link("b", "x"), link("y", "x"), link("c", "y")),
      ["x", "y"]
    )
    assert.deepStrictEqual(seen(output.bytes), [
      ["file", "keep", "", "body"],
      ["hardlink", "b", "keep", ""],
      ["hardlink", "c", "keep", ""]
    ])
    const through = excluded(tar(member({ name: "x" }, "body"), link("y", "x"), link("b", "y"), link("c", "x")), [
      "x",
      "y"
    ])
    assert.deepStrictEqual(seen(through.bytes), [
      ["file", "b", "", "body"],
      ["hardlink", "c", "b", ""]
    ])
  })

  it("keep long and odd names in every format", () => {
    const names = [
      "b".repeat(100),
      "b".repeat(101),
      `${"d".repeat(120)}/${"b".repeat(90)}`,
      `${"d".repeat(200)}/${"b".repeat(200)}`,
      "\xff",
      ByteString.fromText("ü")
    ]
    for (const format of ["ustar", "gnu", "star", "v7"] as const) {
      for (const name of names) {
        const linked =
          name.length > 100 || /[^\x00-\x7f]/.test(name)
            ? (target: string) => [pax([["path", name]]), link("short", target, { format: "ustar" })]
            : (target: string) => [link(name, target, { format: "ustar" })]
        const second = [pax([["comment", "stays"]]), link("second", "x", { format })]
        const output = excluded(tar(member({ name: "x", format, prefix: "" }, "body"), ...linked("x"), ...second), [
          "x"
        ])
        assert.deepStrictEqual(
          seen(output.bytes),
          [
            ["file", name, "", "body"],
            ["hardlink", "second", name, ""]
          ],
          `${format} ${name}`
        )
        assert.deepStrictEqual(
          found(scan(output.bytes)).filter(([check]) => check !== "tar.path-not-utf8"),
          [],
          `${format} ${name}`
        )
        assert.strictEqual(scan(output.bytes).entries[1]!.entry.pax?.get("comment"), "stays")
      }
    }
  })

  it("take the attributes and the sparse map of the file with them", () => {
    const input = tar(
      pax([
        ["SCHILY.xattr.user.a", "b"],
        ["path", "x"],
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", "x"],
        ["GNU.sparse.realsize", "9"]
      ]),
      member({ name: "GNUSparseFile.1/x" }, Buffer.concat([padded("1\n6\n3\n"), Buffer.from("abc")])),
      link("b", "x")
    )
    const [one, ...more] = scan(excluded(input, ["x"]).bytes).entries
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(
      [one!.entry.path, one!.entry.sparse, one!.entry.realSize, one!.body.toString()],
      ["b", [[6, 3]], 9, "abc"]
    )
    assert.strictEqual(one!.entry.pax?.get("SCHILY.xattr.user.a"), "b")
  })

  it("name what only a lower layer has: told, and not broken", () => {
    const output = excluded(tar(link("b", "x"), link("c", "./x"), link("d", "y")), ["x"])
    assert.deepStrictEqual(output.facts[0]!.exclude!.open, [{ link: 0, path: "b", target: "x" }])
  })
})

const cuts = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 8 })
const timestamp = fc.constantFrom(0, 1, 1_700_000_000)
const patterns = fc.constantFrom(["*.pyc"], ["a"], ["/a", "b/"], ["lib/*", "!lib/foo"], ["*", "!foo"], ["**/c"])

describe("random archives", () => {
  it("come out the same however the chunks fall", () => {
    fc.assert(
      fc.property(Random.layer, timestamp, patterns, cuts, ({ tar }, timestamp, patterns, cuts) => {
        const edits = [Edits.exclude({ patterns, promote: [], copies: [] }), Edits.normalizeTimestamps(timestamp)]
        const whole = apply(tar, edits)
        const cut = apply(tar, edits, cuts)
        assert.isTrue(whole.bytes.equals(cut.bytes))
        assert.deepStrictEqual(cut.facts, whole.facts)
      }),
      { numRuns: 300 }
    )
  })

  it("keep all but times, and stay as they are the second time", () => {
    fc.assert(
      fc.property(Random.layer, timestamp, ({ tar }, timestamp) => {
        const output = normalize(tar, timestamp)
        const before = scan(tar)
        const after = scan(output)
        assert.deepStrictEqual(
          after.problems.map((one) => one.check),
          before.problems.map((one) => one.check)
        )
        assert.deepStrictEqual(
          after.entries.map((one) => withoutTimes(one.entry)),
          before.entries.map((one) => withoutTimes(one.entry))
        )
        for (const [index, { body, entry }] of after.entries.entries()) {
          assert.isTrue(body.equals(before.entries[index]!.body))
          assert.deepStrictEqual([entry.mtimeSeconds, entry.mtimeNanoseconds], [timestamp, 0])
          for (const keyword of ["mtime", "atime", "ctime", "LIBARCHIVE.creationtime"])
            assert.isFalse(entry.pax?.has(keyword) ?? false)
        }
        assert.isTrue(normalize(output, timestamp).equals(output))
      }),
      { numRuns: 300 }
    )
  })

  it("lose exactly the members that go, byte for byte", () => {
    fc.assert(
      fc.property(Random.layer, ({ tar }) => {
        const before = scan(tar)
        const gone = new Set(["x.pyc"])
        const output = apply(tar, [Edits.exclude({ patterns: ["x.pyc"], promote: [], copies: [] })])
        // No hardlink has to name another target.
        fc.pre(output.facts[0]!.changed === output.facts[0]!.exclude!.entries)
        // Whole records are filled up anew.
        fc.pre(tar.length % 10_240 !== 0)
        const isGone = (path: string) => path.split("/").some((part) => gone.has(part))
        const starts = [...before.entries.map(({ entry }) => entry.headerOffset)]
        // Global headers stand by themselves before the member that follows them.
        fc.pre(!tar.includes("global"))
        const last = before.entries.at(-1)
        const ends = [
          ...starts.slice(1),
          last === undefined ? 0 : last.entry.dataOffset + Math.ceil(last.entry.size / 512) * 512
        ]
        const kept = before.entries.flatMap(({ entry }, index) =>
          isGone(entry.path) ? [] : [tar.subarray(starts[index], ends[index])]
        )
        assert.isTrue(output.bytes.equals(Buffer.concat([...kept, tar.subarray(ends.at(-1) ?? 0)])))
      }),
      { numRuns: 300 }
    )
  })

  it("that are damaged are refused, or come out as the scanner reads them", () => {
    fc.assert(
      fc.property(
        Random.layer,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }),
        ({ tar }, damage) => {
          const damaged = Buffer.from(tar)
          for (const [at, byte] of damage) damaged[at % damaged.length] = byte
          let output: Buffer
          try {
            output = normalize(damaged)
          } catch (cause) {
            assert.instanceOf(cause, TarEditError)
            return
          }
          const before = scan(damaged)
          const after = scan(output)
          const comparable = (scanned: typeof before) =>
            scanned.entries.map(({ body, entry }) => ({
              path: entry.path,
              type: entry.type,
              link: entry.linkname,
              body: body.toString("latin1")
            }))
          assert.deepStrictEqual(comparable(after), comparable(before))
        }
      ),
      { numRuns: 500 }
    )
  })
})

describe("headers with any values", () => {
  /** Paths and link targets as the editor sees them. */
  const members = (bytes: Uint8Array): ReadonlyArray<readonly [string, string]> => {
    const seen: Array<readonly [string, string]> = []
    const editor = new TarEditor(
      {
        member: (headers) => {
          // Labels and lists of names are no files.
          if (headers.header < 0 || headers.type === 0x56 || headers.type === 0x4e) return
          seen.push([headers.path(), headers.type === 0x31 || headers.type === 0x32 ? headers.linkname() : ""])
        }
      },
      () => {}
    )
    editor.write(Buffer.from(bytes), 0, bytes.length)
    editor.end()
    return seen
  }

  it("are refused, or read as the scanner reads them", () => {
    const change = fc.tuple(
      fc.nat(),
      fc.integer({ min: 0, max: 511 }),
      fc.oneof(fc.constantFrom(0, 0x20, 0x30, 0x31, 0x37, 0x53, 0x80), fc.integer({ min: 0, max: 255 }))
    )
    fc.assert(
      fc.property(Random.layer, fc.array(change, { minLength: 1, maxLength: 3 }), ({ tar }, changes) => {
        const changed = Buffer.from(tar)
        const headers: Array<number> = []
        for (let at = 0; at < tar.length; at += 512) {
          const sum = sumBytes(tar, at)
          if (sum > 0 && checksumFits(tar, at, checksumOf(tar, at, sum))) headers.push(at)
        }
        fc.pre(headers.length > 0)
        for (const [index, offset, byte] of changes) {
          const at = headers[index % headers.length]!
          changed[at + offset] = byte
          putChecksum(changed, at)
        }
        let seen: ReadonlyArray<readonly [string, string]>
        try {
          seen = members(changed)
        } catch (cause) {
          assert.instanceOf(cause, TarEditError)
          return
        }
        assert.deepStrictEqual(
          seen,
          scan(changed).entries.map(({ entry }) => [entry.path, entry.linkname] as const)
        )
      }),
      { numRuns: 500 }
    )
  })
})

describe("GNU tar", () => {
  const list = (bytes: Buffer): string => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "tallyman-edit-"))
    try {
      const file = path.join(directory, "a.tar")
      fs.writeFileSync(file, bytes)
      return childProcess.execFileSync(
        "tar",
        [
          "--list",
          "-vv",
          "--numeric-owner",
          "--xattrs",
          "--xattrs-include=*",
          "--full-time",
          "--utc",
          "--warning=no-timestamp",
          "-f",
          file
        ],
        {
          encoding: "latin1",
          env: { ...process.env, LC_ALL: "C" },
          stdio: ["ignore", "pipe", "pipe"]
        }
      )
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  }
  const anyTime = (listing: string): string => listing.replace(/ *\S+ \d\d:\d\d:\d\d(\.\d+)? +/g, " TIME ")

  it("lists the same members before and after, but for times", () => {
    fc.assert(
      fc.property(Random.layer, ({ tar }) => {
        const before = list(tar)
        const after = list(normalize(tar, 1_700_000_000))
        assert.strictEqual(anyTime(after), anyTime(before))
        for (const line of after.split("\n")) {
          if (/^[-dlbcph]/.test(line)) assert.match(line, / 2023-11-14 22:13:20 /)
        }
      }),
      { numRuns: 25 }
    )
  })
})
