import * as crypto from "node:crypto"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import type { TarEntry } from "../../src/content/TarEntry.ts"
import { LayerApplier, type Shadowed, splitPath } from "../../src/rootfs/ApplyLayer.ts"
import { FileTree, heldBy, type Inode, isImplied } from "../../src/rootfs/FileTree.ts"
import {
  apply,
  device,
  dir,
  fifo,
  file,
  hardlink,
  listing,
  type Member,
  opaque,
  problemsOf,
  scan,
  symlink,
  tar,
  whiteout
} from "./Layers.ts"

const sha256 = (text: string) => crypto.createHash("sha256").update(text).digest("hex")

describe("splitPath", () => {
  it("takes out what says nothing", () => {
    assert.deepStrictEqual(splitPath("./usr//bin/./env/"), ["usr", "bin", "env"])
    assert.deepStrictEqual(splitPath("/etc/passwd"), ["etc", "passwd"])
    assert.deepStrictEqual(splitPath("./"), [])
  })

  it("cannot rise above the root", () => {
    assert.deepStrictEqual(splitPath("../../etc/../../x"), ["x"])
    assert.deepStrictEqual(splitPath("a/b/../../../../c"), ["c"])
  })

  it("refuses what no file system can hold", () => {
    assert.isUndefined(splitPath("a\0b"))
    assert.isUndefined(splitPath("x".repeat(256)))
    assert.isUndefined(splitPath(`${"x".repeat(200)}/`.repeat(21)))
    assert.isDefined(splitPath("x".repeat(255)))
  })

  it("never gives a part that could leave its directory", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("..", ".", "", "a", "..a", "a..", "...")), (parts) => {
        for (const part of splitPath(parts.join("/")) ?? []) assert.notInclude(["", ".", ".."], part)
      })
    )
  })
})

describe("one layer", () => {
  it("keeps attributes, contents' digests and where the content is", () => {
    const applied = apply([
      [
        dir("./", { mode: 0o750, uid: 7, gid: 8, mtimeSeconds: 12 }),
        dir("./usr/", { mode: 0o1777 }),
        file("./usr/tool", "content", { mode: 0o4755, uid: 1, gid: 2, mtimeSeconds: 5, mtimeNanoseconds: 123456789 }),
        symlink("usr/link", "../etc"),
        device("dev/null", 1, 3),
        fifo("run/pipe"),
        file("caps", "x", { xattrs: new Map([["security.capability", Buffer.from([1, 0, 0, 2])]]) })
      ]
    ])
    assert.deepStrictEqual(problemsOf(applied), [])
    assert.deepStrictEqual(listing(applied.tree), [
      "caps",
      "dev/",
      "dev/null (char)",
      "run/",
      "run/pipe (fifo)",
      "usr/",
      "usr/link -> ../etc",
      "usr/tool"
    ])
    const { root } = applied.tree
    assert.deepStrictEqual(
      [root.inode.mode, root.inode.uid, root.inode.gid, root.inode.mtimeSeconds],
      [0o750, 7, 8, 12]
    )
    const tool = applied.tree.lookup("usr/tool")!.inode
    assert.deepStrictEqual(
      [tool.mode, tool.uid, tool.gid, tool.mtimeSeconds, tool.mtimeNanoseconds, tool.size, tool.nlink],
      [0o4755, 1, 2, 5, 123456789, 7, 1]
    )
    assert.strictEqual(tool.sha256, sha256("content"))
    assert.strictEqual(
      applied.tars[tool.layer]!.toString("latin1", tool.dataOffset, tool.dataOffset + tool.dataSize),
      "content"
    )
    assert.isTrue(isImplied(applied.tree.lookup("dev")!.inode))
    assert.isFalse(isImplied(applied.tree.lookup("usr")!.inode))
    assert.deepStrictEqual(
      applied.tree.lookup("caps")!.inode.xattrs,
      new Map([["security.capability", "\x01\0\0\x02"]])
    )
  })

  it("lets the last of several entries of one path win", () => {
    const shadowed: Array<Shadowed> = []
    const applied = apply(
      [[file("a", "first"), file("a", "second"), dir("d", { mode: 0o700 }), file("d/x"), dir("d/")]],
      {
        onShadowed: (one) => shadowed.push(one)
      }
    )
    assert.strictEqual(applied.tree.lookup("a")!.inode.sha256, sha256("second"))
    assert.deepStrictEqual(listing(applied.tree), ["a", "d/", "d/x"])
    assert.strictEqual(applied.tree.lookup("d")!.inode.mode, 0o755)
    assert.deepStrictEqual(shadowed, [{ path: "a", size: 5, layer: 0, by: 0, how: "overwritten" }])
  })

  it("hashes a sparse file with its holes", () => {
    const tree = new FileTree()
    const applier = new LayerApplier(tree, 0)
    const entry: TarEntry = {
      index: 0,
      headerOffset: 0,
      dataOffset: 512,
      size: 6,
      realSize: 1_000_000,
      type: "file",
      typeflag: "S",
      path: "s",
      linkname: "",
      mode: 0o644,
      uid: 0,
      gid: 0,
      uname: "",
      gname: "",
      mtimeSeconds: 0,
      mtimeNanoseconds: 0,
      devmajor: 0,
      devminor: 0,
      pax: undefined,
      sparse: [
        [10, 4],
        [500_000, 2],
        [1_000_000, 0]
      ]
    }
    applier.onEntry(entry)
    applier.onBody(entry, Buffer.from("xabcx"), 1, 4)
    applier.onBody(entry, Buffer.from("dEF"), 0, 3)
    applier.onEntryEnd()
    applier.finish()
    const whole = Buffer.alloc(1_000_000)
    whole.write("abcd", 10)
    whole.write("EF", 500_000)
    assert.strictEqual(tree.lookup("s")!.inode.sha256, crypto.createHash("sha256").update(whole).digest("hex"))
  })

  it("gives no digest to a body that is cut short", () => {
    const tree = new FileTree()
    const applier = new LayerApplier(tree, 0)
    const bytes = apply([[file("a", "0123456789")]]).tars[0]!
    const half = bytes.subarray(0, 516)
    const applied = apply([half])
    assert.isUndefined(applied.tree.lookup("a")!.inode.sha256)
    assert.deepStrictEqual(
      applied.tarProblems.map(({ check }) => check),
      ["tar.truncated"]
    )
    assert.strictEqual(applier.finish().entries, 0)
  })
})

describe("changes", () => {
  const base = [
    dir("usr/", { mode: 0o700, uid: 5 }),
    dir("usr/lib/"),
    file("usr/lib/a", "lower"),
    dir("usr/lib64/"),
    file("usr/lib64/b", "b"),
    file("usr/library", "l")
  ]

  it("replaces a directory's attributes and keeps what is in it", () => {
    const { tree } = apply([base, [dir("usr/", { mode: 0o755, uid: 0, mtimeSeconds: 99 })]])
    assert.deepStrictEqual(listing(tree), ["usr/", "usr/lib/", "usr/lib/a", "usr/lib64/", "usr/lib64/b", "usr/library"])
    const { inode } = tree.lookup("usr")!
    assert.deepStrictEqual([inode.mode, inode.uid, inode.mtimeSeconds, inode.layer], [0o755, 0, 99, 1])
  })

  it("keeps a lower directory's attributes when the layer has no entry for it", () => {
    const { tree } = apply([base, [file("usr/lib/new")]])
    const { inode } = tree.lookup("usr")!
    assert.deepStrictEqual([inode.mode, inode.uid, inode.layer], [0o700, 5, 0])
  })

  it.each([
    ["file over directory", [file("usr/lib", "x")], ["usr/", "usr/lib", "usr/lib64/", "usr/lib64/b", "usr/library"]],
    [
      "symlink over directory",
      [symlink("usr/lib", "lib64")],
      ["usr/", "usr/lib -> lib64", "usr/lib64/", "usr/lib64/b", "usr/library"]
    ],
    [
      "directory over file",
      [dir("usr/library/"), file("usr/library/x")],
      ["usr/", "usr/lib/", "usr/lib/a", "usr/lib64/", "usr/lib64/b", "usr/library/", "usr/library/x"]
    ],
    [
      "fifo over file",
      [fifo("usr/library")],
      ["usr/", "usr/lib/", "usr/lib/a", "usr/lib64/", "usr/lib64/b", "usr/library (fifo)"]
    ]
  ] as ReadonlyArray<[string, ReadonlyArray<Member>, ReadonlyArray<string>]>)("%s", (_name, layer, expected) => {
    const applied = apply([base, layer])
    assert.deepStrictEqual(listing(applied.tree), expected)
    assert.deepStrictEqual(problemsOf(applied), [])
  })

  it("replaces a symlink to a directory by a directory of its own", () => {
    const applied = apply([
      [dir("real"), file("real/x"), symlink("d", "real")],
      [dir("d/"), file("d/y")]
    ])
    assert.deepStrictEqual(listing(applied.tree), ["d/", "d/y", "real/", "real/x"])
    assert.deepStrictEqual(problemsOf(applied), [])
  })

  it("a whiteout takes its own path only, not names that begin alike", () => {
    const applied = apply([base, [whiteout("usr/lib")]])
    assert.deepStrictEqual(listing(applied.tree), ["usr/", "usr/lib64/", "usr/lib64/b", "usr/library"])
    assert.deepStrictEqual(problemsOf(applied), [])
  })

  it("an opaque whiteout takes all that lower layers have, in whatever order it comes", () => {
    const upper = [dir("usr/"), dir("usr/lib/"), file("usr/lib/new", "n")]
    const first = apply([base, [upper[0]!, opaque("usr"), ...upper.slice(1)]])
    const last = apply([base, [...upper, opaque("usr")]])
    for (const applied of [first, last]) {
      assert.deepStrictEqual(listing(applied.tree), ["usr/", "usr/lib/", "usr/lib/new"])
      assert.deepStrictEqual(problemsOf(applied), [])
    }
  })

  it("a whiteout hides lower layers only: what the same layer has stays, before it or behind it", () => {
    for (const layer of [
      [whiteout("usr/lib"), file("usr/lib/new")],
      [file("usr/lib/new"), whiteout("usr/lib")]
    ]) {
      const { tree } = apply([base, layer])
      assert.deepStrictEqual(listing(tree), [
        "usr/",
        "usr/lib/",
        "usr/lib/new",
        "usr/lib64/",
        "usr/lib64/b",
        "usr/library"
      ])
      // The lower directory is gone: this one has only its name.
      assert.isTrue(isImplied(tree.lookup("usr/lib")!.inode))
      assert.strictEqual(tree.lookup("usr")!.inode.mode, 0o700)
    }
  })

  it("gives the same wherever in a layer its whiteouts are", () => {
    const at = fc.array(fc.constantFrom("a", "b", "ab"), { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"))
    // A way through a symlink may lead elsewhere before a whiteout than behind it; that is reported.
    const entry = fc.oneof(
      at.map((name) => file(name, name)),
      at.map((name) => dir(name, { mode: 0o711 }))
    )
    const hiding = fc.oneof(at.map(whiteout), at.map(opaque))
    const layer = fc.record({ entries: fc.array(entry, { maxLength: 6 }), hiding: fc.array(hiding, { maxLength: 3 }) })
    const described = (layers: ReadonlyArray<ReadonlyArray<Member>>) =>
      [...apply(layers).tree.entries()].map(([name, { inode }]) => [
        name,
        inode.type,
        inode.mode,
        inode.layer,
        inode.sha256
      ])
    fc.assert(
      fc.property(fc.array(layer, { maxLength: 4 }), (layers) => {
        const first = described(layers.map((one) => [...one.hiding, ...one.entries]))
        const last = described(layers.map((one) => [...one.entries, ...one.hiding]))
        assert.deepStrictEqual(last, first)
      }),
      { numRuns: 500 }
    )
  })

  it("an opaque whiteout of the root empties it", () => {
    assert.deepStrictEqual(listing(apply([base, [file(".wh..wh..opq"), file("x")]]).tree), ["x"])
  })

  it("a whiteout of nothing is told", () => {
    const applied = apply([base, [whiteout("usr/nothing"), whiteout("nowhere/x"), opaque("nowhere")]])
    assert.deepStrictEqual(problemsOf(applied), [
      ["rootfs.whiteout-missing-target", "usr/.wh.nothing"],
      ["rootfs.whiteout-missing-target", "nowhere/.wh.x"],
      ["rootfs.whiteout-missing-target", "nowhere/.wh..wh..opq"]
    ])
    assert.strictEqual(listing(applied.tree).length, 6)
  })

  it("explicit whiteouts beside an opaque one are no news", () => {
    assert.deepStrictEqual(problemsOf(apply([base, [opaque("usr"), whiteout("usr/lib"), whiteout("usr/library")]])), [])
  })

  it("never takes a whiteout for the directory itself or the one above", () => {
    const applied = apply([base, [file("usr/lib/.wh."), file("usr/lib/.wh.."), file("usr/lib/.wh...")]])
    assert.deepStrictEqual(problemsOf(applied), [
      ["rootfs.whiteout-escapes", "usr/lib/.wh."],
      ["rootfs.whiteout-escapes", "usr/lib/.wh.."],
      ["rootfs.whiteout-escapes", "usr/lib/.wh..."]
    ])
    assert.strictEqual(listing(applied.tree).length, 6)
  })

  it("passes over the aufs driver's bookkeeping, but takes its hardlinks' bodies", () => {
    const applied = apply([
      [
        dir(".wh..wh.plnk/"),
        file(".wh..wh.plnk/87.11", "shared"),
        file(".wh..wh.aufs"),
        dir(".wh..wh.orph/"),
        hardlink("a", ".wh..wh.plnk/87.11"),
        hardlink("b", "/.wh..wh.plnk/87.11")
      ]
    ])
    assert.deepStrictEqual(listing(applied.tree), ["a", "b"])
    assert.strictEqual(applied.tree.lookup("a")!.inode, applied.tree.lookup("b")!.inode)
    assert.strictEqual(applied.tree.lookup("a")!.inode.sha256, sha256("shared"))
    assert.deepStrictEqual(problemsOf(applied), [])
  })
})

describe("hardlinks", () => {
  it("leave the digest of a lower layer's file alone, even at its own position", () => {
    const applied = apply([[file("a", "content")], [hardlink("b", "a")]])
    assert.strictEqual(applied.tree.lookup("b")!.inode.sha256, sha256("content"))
  })

  it("share one inode", () => {
    const applied = apply([[file("a", "x"), hardlink("b", "a"), hardlink("c/d", "./b")]])
    const { tree } = applied
    assert.strictEqual(tree.lookup("a")!.inode, tree.lookup("c/d")!.inode)
    assert.strictEqual(tree.lookup("b")!.inode.nlink, 3)
    assert.deepStrictEqual(problemsOf(applied), [])
  })

  it("to a lower layer's file are applied, and told", () => {
    const applied = apply([[file("a", "x")], [hardlink("b", "a")]])
    assert.strictEqual(applied.tree.lookup("b")!.inode.nlink, 2)
    assert.deepStrictEqual(problemsOf(applied), [["rootfs.hardlink-across-layers", "b"]])
  })

  it("keep their file when its first name goes or changes", () => {
    const deleted = apply([[file("a", "x"), hardlink("b", "a")], [whiteout("a")]])
    assert.strictEqual(deleted.tree.lookup("b")!.inode.nlink, 1)
    assert.strictEqual(deleted.tree.lookup("b")!.inode.sha256, sha256("x"))
    assert.strictEqual(deleted.layers[1]!.deletedBytes, 0)
    const changed = apply([[file("a", "x"), hardlink("b", "a")], [file("a", "new")]])
    assert.strictEqual(changed.tree.lookup("b")!.inode.sha256, sha256("x"))
    assert.strictEqual(changed.tree.lookup("a")!.inode.sha256, sha256("new"))
    const same = apply([[file("a", "x"), hardlink("b", "a"), file("a", "new")]])
    assert.strictEqual(same.tree.lookup("b")!.inode.sha256, sha256("x"))
  })

  it("to a symlink are to the symlink itself", () => {
    const { tree } = apply([[file("f"), symlink("s", "f"), hardlink("h", "s")]])
    assert.deepStrictEqual(listing(tree), ["f", "h -> f", "s -> f"])
    assert.strictEqual(tree.lookup("h")!.inode, tree.lookup("s")!.inode)
  })

  it("to nothing, to what comes later, to a directory and to itself are told", () => {
    const applied = apply([
      [
        hardlink("nothing", "missing"),
        hardlink("early", "late"),
        file("late", "x"),
        dir("d"),
        hardlink("dl", "d"),
        file("self"),
        hardlink("self", "self"),
        hardlink("up", "../../../outside")
      ]
    ])
    assert.deepStrictEqual([...problemsOf(applied)].sort(), [
      ["rootfs.hardlink-bad-target", "dl"],
      ["rootfs.hardlink-bad-target", "self"],
      ["rootfs.hardlink-bad-target", "up"],
      ["rootfs.hardlink-missing-target", "early"],
      ["rootfs.hardlink-missing-target", "nothing"]
    ])
    assert.deepStrictEqual(listing(applied.tree), ["d/", "early", "late", "self"])
  })
})

describe("ways through what is no directory", () => {
  it("resolves a symlink inside the root and says so", () => {
    const applied = apply([
      [dir("usr/lib"), symlink("lib", "/usr/lib"), symlink("up", "../../../usr"), file("usr/lib/old")],
      [file("lib/x", "x"), file("up/y", "y"), whiteout("lib/old"), hardlink("h", "lib/x")]
    ])
    assert.deepStrictEqual(listing(applied.tree), [
      "h",
      "lib -> /usr/lib",
      "up -> ../../../usr",
      "usr/",
      "usr/lib/",
      "usr/lib/x",
      "usr/y"
    ])
    assert.deepStrictEqual(problemsOf(applied), [
      ["rootfs.path-through-symlink", "lib/x"],
      ["rootfs.path-through-symlink", "up/y"],
      ["rootfs.path-through-symlink", "lib/.wh.old"],
      ["rootfs.path-through-symlink", "h"]
    ])
  })

  it("makes the directories that a dangling symlink names", () => {
    const { tree } = apply([[symlink("l", "not/there"), file("l/x")]])
    assert.deepStrictEqual(listing(tree), ["l -> not/there", "not/", "not/there/", "not/there/x"])
  })

  it("does not apply what lies behind a loop", () => {
    const applied = apply([[symlink("a", "b"), symlink("b", "a"), file("a/x"), symlink("s", "s"), file("s/x")]])
    assert.deepStrictEqual(listing(applied.tree), ["a -> b", "b -> a", "s -> s"])
    assert.includeDeepMembers(
      [...problemsOf(applied)],
      [
        ["rootfs.path-unusable", "a/x"],
        ["rootfs.path-unusable", "s/x"]
      ]
    )
  })

  it("replaces a file by the directory that an entry below it needs, and says so", () => {
    const applied = apply([[file("f", "1234")], [file("f/x")]])
    assert.deepStrictEqual(listing(applied.tree), ["f/", "f/x"])
    assert.deepStrictEqual(problemsOf(applied), [["rootfs.path-through-file", "f/x"]])
    assert.strictEqual(applied.layers[1]!.overwrittenBytes, 4)
  })

  it("does not let an entry replace the root", () => {
    const applied = apply([[file("x"), symlink("./", "/etc"), file("..", "y")]])
    assert.deepStrictEqual(listing(applied.tree), ["x"])
    assert.deepStrictEqual(problemsOf(applied), [
      ["rootfs.root-not-directory", ""],
      ["rootfs.root-not-directory", ""]
    ])
  })

  it("tells overlay's own marks and does not take its attributes over", () => {
    const applied = apply([
      [
        device("w", 0, 0),
        dir("d", {
          xattrs: new Map([
            ["trusted.overlay.opaque", Buffer.from("y")],
            ["user.x", Buffer.from("1")]
          ])
        }),
        file("m", "", { xattrs: new Map([["user.overlay.redirect", Buffer.from("/etc/shadow")]]) })
      ]
    ])
    assert.deepStrictEqual(problemsOf(applied), [
      ["rootfs.overlay-artifact", "w"],
      ["rootfs.overlay-artifact", "d"],
      ["rootfs.overlay-artifact", "m"]
    ])
    assert.deepStrictEqual(applied.tree.lookup("d")!.inode.xattrs, new Map([["user.x", "1"]]))
    assert.isUndefined(applied.tree.lookup("m")!.inode.xattrs)
  })

  it("bounds depth and number of names", () => {
    const deep = apply([
      [symlink("l", "d/".repeat(2000)), file("l/l2"), symlink("d/l", "d/".repeat(2000)), file(`${"d/".repeat(1999)}x`)]
    ])
    assert.isTrue(deep.tree.names < 10_000)
    const tree = new FileTree({ maxNames: 100 })
    const applier = new LayerApplier(tree, 0)
    const many = apply([Array.from({ length: 200 }, (_, index) => file(`f${index}`))])
    many.feed(0, applier)
    const result = applier.finish()
    assert.strictEqual(tree.names, 100)
    assert.isFalse(result.complete)
    assert.deepStrictEqual([...result.problemCounts], [["rootfs.too-large", 101]])
  })
})

describe("what was in vain", () => {
  it("is counted by layer, with who did it", () => {
    const shadowed: Array<Shadowed> = []
    const applied = apply(
      [
        [file("a", "12345"), file("d/b", "123"), file("d/c", "1234567"), file("keep", "1")],
        [file("a", "1"), whiteout("d")],
        [file("a", "22")]
      ],
      { onShadowed: (one) => shadowed.push(one) }
    )
    assert.deepStrictEqual(
      applied.layers.map((layer) => [layer.contentBytes, layer.overwrittenBytes, layer.deletedBytes]),
      [
        [16, 0, 0],
        [1, 5, 10],
        [2, 1, 0]
      ]
    )
    assert.sameDeepMembers(shadowed, [
      { path: "a", size: 5, layer: 0, by: 1, how: "overwritten" },
      { path: "d/b", size: 3, layer: 0, by: 1, how: "deleted" },
      { path: "d/c", size: 7, layer: 0, by: 1, how: "deleted" },
      { path: "a", size: 1, layer: 1, by: 2, how: "overwritten" }
    ])
    assert.deepStrictEqual(applied.tree.totals(), { names: 3, directories: 1, files: 2, bytes: 3 })
  })

  it("takes in names, targets, attributes and maps up to so many bytes", () => {
    const big = (name: string): Member => file(name, "", { xattrs: new Map([["user.big", Buffer.alloc(5000, "x")]]) })
    const dangling = (name: string): Member => hardlink(name, `${"x".repeat(200)}/${"y/".repeat(1000)}z`)
    for (const make of [big, dangling, (name: string) => symlink(name, "t".repeat(4000))]) {
      const tree = new FileTree({ maxHeld: 20_000 })
      const applier = new LayerApplier(tree, 0)
      scan(tar(Array.from({ length: 50 }, (_, index) => make(`f${index}`))), applier)
      const result = applier.finish()
      assert.isFalse(result.complete)
      assert.isTrue(result.problemCounts.has("rootfs.too-large"))
      assert.isBelow(tree.held, 25_000)
    }
    // What is replaced counts no more.
    const tree = new FileTree({ maxHeld: 20_000 })
    for (let layer = 0; layer < 50; layer++) {
      const applier = new LayerApplier(tree, layer)
      scan(tar([big("f"), whiteout("g"), symlink("g", "t".repeat(4000)), big("d/x")]), applier)
      assert.isTrue(applier.finish().complete)
    }
  })

  it("takes no names from a tree whose whiteouts repeat, and no time in the square", () => {
    const files = Array.from({ length: 5000 }, (_, index) => file(`d/${index}`))
    const again = Array.from({ length: 5000 }, () => [opaque("d"), whiteout("d")]).flat()
    const started = performance.now()
    const { tree, layers } = apply([
      [dir("d/"), file("d/lower")],
      [...files, ...again]
    ])
    assert.isBelow(performance.now() - started, 5000)
    assert.strictEqual(tree.names, 5002)
    assert.isUndefined(tree.lookup("d/lower"))
    assert.lengthOf(layers[1]!.hidden, 1)
  })

  it("follows so many symlinks in all of a layer, and says where it stops", () => {
    const chain = Array.from({ length: 38 }, (_, index) => symlink(`s${index + 1}`, `s${index}${"/.".repeat(150)}`))
    const many = Array.from({ length: 2500 }, (_, index) => file(`s38/f${index}`))
    const { layers } = apply([[dir("s0/"), ...chain, ...many, file("s0/direct")]])
    const found = layers[0]!.problemCounts
    assert.isAbove(found.get("rootfs.path-unusable") ?? 0, 0)
    assert.isBelow(found.get("rootfs.path-unusable") ?? 0, 2500)
  })

  it("keeps little of monstrous names in problems", () => {
    const monster = "m".repeat(100_000)
    const { layers } = apply([[file(`d/${monster}`), hardlink("l", `../${monster}`)]])
    assert.deepStrictEqual(
      layers[0]!.problems.map(({ actual, check, path }) => [check, path.length, actual?.length]),
      [
        ["rootfs.path-unusable", 4096, undefined],
        ["rootfs.hardlink-bad-target", 1, 4096]
      ]
    )
  })

  it("counts names exactly, whatever happens", () => {
    const name = fc.constantFrom("a", "b", "a/a", "a/b", "b/a", "a/a/a", "b/b/a")
    const member: fc.Arbitrary<Member> = fc.oneof(
      name.map((at) => file(at, at)),
      name.map((at) => dir(`${at}/`)),
      name.map(whiteout),
      fc.constantFrom("a", "b", "a/a").map(opaque),
      fc.tuple(name, name).map(([at, to]) => symlink(at, `/${to}`)),
      fc.tuple(name, name).map(([at, to]) => hardlink(at, to))
    )
    fc.assert(
      fc.property(fc.array(fc.array(member, { maxLength: 8 }), { maxLength: 4 }), (layers) => {
        const { tree } = apply(layers)
        const links = new Map<object, number>()
        let names = 0
        tree.forEach((node) => {
          names++
          links.set(node.inode, (links.get(node.inode) ?? 0) + 1)
          assert.isFalse(node.name.startsWith(".wh."))
          if (node.parent !== undefined) assert.strictEqual(node.parent.children!.get(node.name), node)
          assert.strictEqual(node.children !== undefined, node.inode.type === "directory")
        })
        assert.strictEqual(tree.names, names)
        let held = 0
        tree.forEach((node) => {
          held += node.name.length
        })
        for (const inode of links.keys()) held += heldBy(inode as Inode)
        assert.strictEqual(tree.held, held)
        for (const [, { inode }] of tree.entries()) assert.strictEqual(inode.nlink, links.get(inode))
      }),
      { numRuns: 500 }
    )
  })
})
