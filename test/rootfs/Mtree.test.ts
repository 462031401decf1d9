import * as fs from "node:fs"
import * as path from "node:path"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { diff } from "../../src/rootfs/Compare.ts"
import { readDiskSync } from "../../src/rootfs/DiskTree.ts"
import { type FileTree, type Inode, secondsOnly, unknown } from "../../src/rootfs/FileTree.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import * as Mtree from "../../src/rootfs/Mtree.ts"
import { unpackSync } from "../../src/rootfs/Unpack.ts"
import * as Vis from "../../src/rootfs/Vis.ts"
import { peerTest, run } from "../peers/Peers.ts"
import { apply, device, dir, fifo, file, hardlink, isRoot, listing, symlink, withDirectory } from "./Layers.ts"

const parseText = (text: string) => Mtree.parse(Buffer.from(text, "latin1"))
const text = (tree: FileTree, options?: Mtree.MtreeOptions) => [...Mtree.write(tree, options)].join("")

const oddName = "a b\tc\nd\\e#f*g?h[i=j\xff\xc3\xa9\x01\x7f"

const image = () =>
  apply([
    [
      dir("./", { mode: 0o755, mtimeSeconds: 10 }),
      file("plain", "text", { mode: 0o4755, uid: 1, gid: 2, mtimeSeconds: 1_600_000_000, mtimeNanoseconds: 5 }),
      file(oddName, "odd"),
      file("\\", "backslash"),
      file("#comment"),
      symlink("link", `${oddName}\\`),
      hardlink("hard", "plain"),
      file("implied/below/x"),
      dir("b-dir/", { mode: 0o1777 }),
      file("b-dir/in", "i"),
      symlink("z", "y"),
      file("old", "", { mtimeSeconds: 0 })
    ]
  ])

const full = () =>
  apply([
    [
      device("null", 1, 3),
      device("disk", 259, 70_000, "block"),
      fifo("pipe"),
      file("caps", "c", {
        xattrs: new Map([
          ["security.capability", Buffer.from([0, 1, 255])],
          ["user.o d", Buffer.from("")]
        ])
      })
    ]
  ])

const facts = (inode: Inode) => {
  const { entry: _e, layer: _l, dataOffset: _o, dataSize: _d, sparse: _s, ...rest } = inode
  // A symlink's mode and a directory's links are nothing that a manifest tells.
  if (inode.type === "symlink") rest.mode = unknown
  if (inode.type !== "file") rest.size = unknown
  if (inode.type === "directory") rest.nlink = unknown
  if (inode.type !== "char" && inode.type !== "block") rest.devmajor = rest.devminor = unknown
  if (inode.mtimeNanoseconds === unknown) rest.mtimeSeconds = 0
  return rest
}

const allFacts = (tree: FileTree) => [...tree.entries()].map(([name, { inode }]) => [name, facts(inode)] as const)

describe("Vis", () => {
  it("encodes as go-mtree does", () => {
    assert.strictEqual(
      Vis.encode(oddName),
      "a\\040b\\011c\\012d\\\\e\\043f\\052g\\077h\\133i=j\\377\\303\\251\\001\\177"
    )
    assert.strictEqual(Vis.encode("plain-name_1.2+3~(x)"), "plain-name_1.2+3~(x)")
  })

  it("decodes what it encoded", () => {
    const bytes = fc.uint8Array({ minLength: 1 }).map((value) => Buffer.from(value).toString("latin1"))
    fc.assert(
      fc.property(bytes, (value) => {
        assert.match(Vis.encode(value), /^[\x21-\x7e]*$/)
        assert.strictEqual(Vis.decode(Vis.encode(value)), value)
      })
    )
  })

  it("decodes other flavours", () => {
    assert.strictEqual(
      Vis.decode("a\\sb\\tc\\nd\\#\\M-C\\M-)\\M^?\\^A\\^?\\x41\\E\\0"),
      "a b\tc\nd#\xc3\xa9\xff\x01\x7fA\x1b\0"
    )
    assert.strictEqual(Vis.decode("\\M^A\\M-\\040\\1"), "\x81\xdc040\x01")
  })
})

describe("write and parse", () => {
  it.each([["comment"], ["keyword"]] as const)(
    "agree on everything a manifest can tell (attributes by %s)",
    (xattrs) => {
      for (const { tree } of [image(), full()]) {
        const parsed = parseText(text(tree, { xattrs }))
        assert.deepStrictEqual(parsed.problems, [])
        assert.deepStrictEqual([...parsed.ignored], [])
        assert.deepStrictEqual(allFacts(parsed.tree), allFacts(tree))
        assert.isTrue(parsed.tree.records.xattrs)
        assert.isFalse(parsed.tree.records.hardlinks)
      }
    }
  )

  it("agree on names that look like keywords, paths and comments with attributes", () => {
    const { tree } = apply([
      [
        dir("./"),
        file("size=1", "x"),
        symlink("type=dir", "a/b"),
        dir("mode=7/"),
        file("mode=7/uid=0", "y"),
        dir("xattr.user.a=b/"),
        file("xattr.user.a=b/c", "z")
      ]
    ])
    const parsed = parseText(text(tree))
    assert.deepStrictEqual(parsed.problems, [])
    assert.deepStrictEqual(allFacts(parsed.tree), allFacts(tree))
    // As others write them.
    const bare = parseText(text(tree).replaceAll("\\075", "="))
    assert.deepStrictEqual(bare.problems, [])
    assert.deepStrictEqual(allFacts(bare.tree), allFacts(tree))
  })

  it("leaves attributes out when told, and says so", () => {
    const parsed = parseText(text(full().tree, { xattrs: "omit" }))
    assert.isUndefined(parsed.tree.lookup("caps")!.inode.xattrs)
    assert.isFalse(parsed.tree.records.xattrs)
  })

  it("writes what go-mtree lays out", () => {
    const { tree } = apply([
      [
        dir("./", { uid: 0, gid: 0, mtimeSeconds: 3 }),
        dir("d/", { mode: 0o700, uid: 4, gid: 0, mtimeSeconds: 1 }),
        file("d/x", "abc", { uid: 0, gid: 0, mtimeSeconds: 2 }),
        symlink("a", "d/x", { uid: 0, gid: 0, mtimeSeconds: 2 })
      ]
    ])
    assert.strictEqual(
      text(tree),
      [
        "#mtree",
        "#      keywords: type,mode,uid,gid,nlink,size,link,device,time,sha256digest,xattr",
        "",
        "/set type=file uid=0 gid=0",
        "",
        "# .",
        ". type=dir mode=0755 time=3.000000000",
        "    a type=link link=d/x nlink=1 time=2.000000000",
        "",
        "# d",
        "d type=dir mode=0700 uid=4 time=1.000000000",
        "    x mode=0644 nlink=1 size=3 time=2.000000000 sha256digest=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "..",
        "..",
        ""
      ].join("\n")
    )
  })

  it("comes in pieces of bounded size", () => {
    const { tree } = apply([Array.from({ length: 3000 }, (_, index) => file(`file-${index}`, "x"))])
    const pieces = [...Mtree.write(tree)]
    assert.isAbove(pieces.length, 4)
    assert.isTrue(pieces.every((piece) => piece.length < 70_000))
    assert.strictEqual(Mtree.parse(Buffer.from(pieces.join(""))).tree.names, 3001)
  })
})

describe("parse", () => {
  it("reads what NetBSD's mtree writes", () => {
    const { ignored, problems, tree } = parseText(`
#	   user: (null)
#	   tree: /tmp/d

# .
/set type=file uname=root gname=root uid=0 gid=0 mode=0644 nlink=1 flags=none
.               type=dir mode=0755 nlink=3 time=1795413128.496391690
    a\\sb        mode=04755 nlink=2 size=2 time=1795413128.484391690 \\
                cksum=2352138605 md5=49f68a5c8493ec2c0bf489821c21fc3b \\
                sha256=8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
    blk         type=block device=0x801 time=1795413128.496391690
    n\\M^?\\M-C\\M-)\\\\=\\#*[?x\\ty \\
                size=0 time=1795413128.496391690
    sl          type=link mode=0777 link=x\\sy\\#

# ./sub
sub             type=dir mode=0755 nlink=2
    f           size=0 time=1795413128.500391690
# ./sub
..

`)
    assert.deepStrictEqual(problems, [])
    assert.deepStrictEqual(listing(tree), [
      "a b",
      "blk (block)",
      "n\xff\xc3\xa9\\=#*[?x\ty",
      "sl -> x y#",
      "sub/",
      "sub/f"
    ])
    const a = tree.lookup("a b")!.inode
    assert.deepStrictEqual(
      [a.mode, a.nlink, a.size, a.uid, a.mtimeSeconds, a.mtimeNanoseconds],
      [0o4755, 2, 2, 0, 1795413128, 484391690]
    )
    assert.strictEqual(a.sha256, "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4")
    const blk = tree.lookup("blk")!.inode
    assert.deepStrictEqual([blk.devmajor, blk.devminor, blk.mode, blk.size], [8, 1, 0o644, unknown])
    assert.strictEqual(tree.lookup("sub")!.inode.mtimeNanoseconds, unknown)
    assert.sameMembers([...ignored.keys()], ["uname", "gname", "flags", "cksum", "md5"])
    assert.isFalse(tree.records.xattrs)
  })

  it("reads full paths, first and last on the line, and /unset", () => {
    const first = parseText(
      "#mtree\n. type=dir\n./a\\040b/c type=file size=3\n./a\\040b type=dir mode=755\nusr/lib type=link link=x\n"
    )
    assert.deepStrictEqual(first.problems, [])
    assert.deepStrictEqual(listing(first.tree), ["a b/", "a b/c", "usr/", "usr/lib -> x"])
    assert.strictEqual(first.tree.lookup("a b")!.inode.mode, 0o755)
    const last = parseText("type=dir mode=0755 .\nsize=3 mode=0644 type=file ./a/b\n")
    assert.deepStrictEqual(listing(last.tree), ["a/", "a/b"])
    const unset = parseText("/set mode=0644 uid=7\na\n/unset mode\nb\n/set uid=8\nc\n/unset all\nd\n")
    assert.deepStrictEqual(
      ["a", "b", "c", "d"].map((name) => {
        const { mode, uid } = unset.tree.lookup(name)!.inode
        return [mode, uid]
      }),
      [
        [0o644, 7],
        [unknown, 7],
        [unknown, 8],
        [unknown, unknown]
      ]
    )
  })

  it("reads umoci's times and attributes", () => {
    const { tree } = parseText(
      "#      keywords: size,xattr\n. type=dir\n    f tar_time=12.000000000 xattr.user.k=dg== xattrs.user.l=\n    g tar_time=12.000000000 time=12.000000007\n"
    )
    const f = tree.lookup("f")!.inode
    assert.deepStrictEqual([f.mtimeSeconds, f.mtimeNanoseconds], [12, secondsOnly])
    assert.deepStrictEqual(
      f.xattrs,
      new Map([
        ["user.k", "v"],
        ["user.l", ""]
      ])
    )
    assert.strictEqual(tree.lookup("g")!.inode.mtimeNanoseconds, 7)
  })

  it("names lines that make no sense, and stays in the root", () => {
    const bad = [
      ". type=dir",
      "../../etc/passwd type=file",
      "./a/../../b type=file",
      "x type=banana",
      "y mode=8",
      "z size=-1 time=never",
      "w sha256=12",
      "v type=char device=linux",
      "f type=file",
      "./f/g type=file",
      "f type=dir",
      "n\\000l",
      "./ type=file",
      "q xattr.user.a=***",
      "end \\"
    ].join("\n")
    const { problems, tree } = parseText(bad)
    assert.deepStrictEqual(
      problems.map((problem) => problem.line),
      [2, 3, 4, 5, 6, 6, 7, 8, 10, 11, 12, 13, 14, 15]
    )
    assert.deepStrictEqual(listing(tree), ["f", "q", "v (char)", "w", "y", "z"])
    assert.strictEqual(tree.lookup("y")!.inode.mode, unknown)
  })

  it("never throws and never leaves the root, whatever it reads", () => {
    const word = fc.constantFrom(
      "/set",
      "/unset",
      "..",
      ".",
      "a",
      "./a/b",
      "../x",
      "type=dir",
      "type=file",
      "mode=0755",
      "size=3",
      "\\",
      "\\040",
      "#",
      "=",
      "time=1.5",
      "all",
      "xattr.a=YQ=="
    )
    fc.assert(
      fc.property(fc.array(fc.array(word, { maxLength: 5 })), (lines) => {
        const { tree } = parseText(lines.map((words) => words.join(" ")).join("\n"))
        for (const [name] of tree.entries()) assert.notInclude(name.split("/"), "..")
      })
    )
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        Mtree.parse(bytes)
      })
    )
  })
})

describe("beside other implementations", () => {
  const unpacked = async (applied: ReturnType<typeof apply>, use: (root: string, directory: string) => void) => {
    await withDirectory((directory) => {
      const root = path.join(directory, "root")
      unpackSync(applied.tree, Buffer.from(root), applied.feed)
      use(root, directory)
    })
  }

  peerTest(["mtree"], "mtree(8) verifies a tree by the manifest, and sees a change", () =>
    !isRoot
      ? undefined
      : unpacked(image(), (root, directory) => {
          const spec = path.join(directory, "spec")
          fs.writeFileSync(spec, text(image().tree))
          const good = run("mtree", ["-f", spec, "-p", root], { allowFailure: true })
          assert.deepStrictEqual([good.code, good.stdout, good.stderr], [0, "", ""])
          fs.writeFileSync(path.join(root, "b-dir/in"), "j")
          const bad = run("mtree", ["-f", spec, "-p", root], { allowFailure: true })
          assert.notStrictEqual(bad.code, 0)
          assert.match(bad.stdout, /b-dir\/in/)
        })
  )

  peerTest(["mtree"], "mtree(8) reads a manifest with attributes and devices", () => {
    if (!isRoot || Libc.load() === undefined) return
    return unpacked(full(), (root, directory) => {
      const spec = path.join(directory, "spec")
      fs.writeFileSync(spec, text(full().tree))
      const good = run("mtree", ["-f", spec, "-p", root], { allowFailure: true })
      assert.deepStrictEqual([good.code, good.stdout, good.stderr], [0, "", ""])
    })
  })

  peerTest(["bsdtar"], "bsdtar lists the manifest", () =>
    unpacked(image(), (root, directory) => {
      const spec = path.join(directory, "spec")
      fs.writeFileSync(spec, text(image().tree))
      const listed = run("bsdtar", ["-tf", spec], { cwd: root })
      assert.strictEqual(listed.stderr, "")
      assert.strictEqual(listed.stdout.trim().split("\n").length, image().tree.names)
    })
  )

  const compared = (root: string, manifest: Uint8Array) => {
    const { problems, tree } = Mtree.parse(manifest)
    assert.deepStrictEqual(problems, [])
    const disk = readDiskSync(Buffer.from(root), { hash: tree })
    assert.strictEqual(tree.names, disk.tree.names)
    return diff(tree, disk)
  }

  peerTest(["bsdtar"], "reads bsdtar's manifests", () =>
    unpacked(image(), (root) => {
      for (const options of [
        "mtree:all",
        "mtree:use-set,mtree:indent,mtree:sha256,mtree:nlink",
        "mtree:!all,mtree:sha256,mtree:type,mtree:size,mtree:link"
      ]) {
        const { bytes } = run("bsdtar", ["-cf", "-", "--format=mtree", `--options=${options}`, "-C", root, "."])
        const result = compared(root, bytes)
        assert.deepStrictEqual(result.problems, [])
        assert.isFalse(result.notCompared.some(({ what }) => what === "content"))
      }
    })
  )

  peerTest(["mtree"], "reads mtree(8)'s manifests", () =>
    unpacked(image(), (root) => {
      const made = run("mtree", ["-c", "-k", "all,sha256,nlink", "-p", root])
      assert.deepStrictEqual(compared(root, made.bytes).problems, [])
      for (const form of ["-C", "-D"]) {
        const { bytes } = run("mtree", [form, "-k", "sha256,mode,type,link,size,time"], { input: made.bytes })
        assert.deepStrictEqual(compared(root, bytes).problems, [])
      }
    })
  )
})
