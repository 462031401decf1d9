/** The kernel is asked: layers unpacked one by one and mounted on each other have to show the tree. */
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { TarScanner } from "../../src/content/TarScan.ts"
import { LayerApplier } from "../../src/rootfs/ApplyLayer.ts"
import { diff } from "../../src/rootfs/Compare.ts"
import { readDiskSync } from "../../src/rootfs/DiskTree.ts"
import { FileTree } from "../../src/rootfs/FileTree.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import { type OverlayNamespace, overlayLayer } from "../../src/rootfs/OverlayLayer.ts"
import { unpackSync } from "../../src/rootfs/Unpack.ts"
import {
  dir,
  file,
  hardlink,
  isRoot,
  listing,
  type Member,
  opaque,
  scan,
  symlink,
  tar,
  whiteout,
  withDirectory
} from "./Layers.ts"
import { member, withoutFaults } from "./RandomLayers.ts"

interface Built {
  readonly tree: FileTree
  readonly layers: ReadonlyArray<FileTree>
  readonly tars: ReadonlyArray<Buffer>
}

const build = (
  layers: ReadonlyArray<ReadonlyArray<Member>>,
  namespace: OverlayNamespace = "trusted.overlay."
): Built => {
  const tree = new FileTree()
  const tars = layers.map(tar)
  const overlays = tars.map((bytes, index) => {
    const applier = new LayerApplier(tree, index)
    const scanner = new TarScanner({
      onEntry: applier.onEntry,
      onBody: applier.onBody,
      onEntryEnd: applier.onEntryEnd,
      onProblem: () => {}
    })
    scanner.write(bytes)
    scanner.end()
    return overlayLayer(tree, applier.finish(), namespace)
  })
  return { tree, layers: overlays, tars }
}

const mountable = ((): boolean => {
  if (!isRoot || Libc.load() === undefined) return false
  const directory = fs.mkdtempSync("/dev/shm/overlay-try-")
  try {
    for (const name of ["a", "b", "m"]) fs.mkdirSync(path.join(directory, name))
    const { status } = ChildProcess.spawnSync("mount", ["-t", "overlay", "overlay", "-o", "lowerdir=a:b", "m"], {
      cwd: directory
    })
    if (status === 0) ChildProcess.spawnSync("umount", [path.join(directory, "m")])
    return status === 0
  } catch {
    return false
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
})()

/** Differences between the image's tree and what the kernel shows of its layers. */
const kernelShows = (layers: ReadonlyArray<ReadonlyArray<Member>>): Promise<ReadonlyArray<string>> =>
  withDirectory((directory) => {
    const built = build(layers)
    built.layers.forEach((overlay, index) => {
      const root = path.join(directory, `layer${index}`)
      const result = unpackSync(overlay, Buffer.from(root), (layer, visitor) => scan(built.tars[layer]!, visitor))
      assert.deepStrictEqual(result.unrestored, [])
    })
    fs.mkdirSync(path.join(directory, "none"))
    fs.mkdirSync(path.join(directory, "merged"))
    const lower = [...built.layers.keys()].reverse().map((index) => `layer${index}`)
    ChildProcess.execFileSync(
      "mount",
      ["-t", "overlay", "overlay", "-o", `lowerdir=${[...lower, "none"].join(":")}`, "merged"],
      {
        cwd: directory
      }
    )
    try {
      const disk = readDiskSync(Buffer.from(path.join(directory, "merged")), { hash: built.tree })
      const result = diff(built.tree, disk, { tolerances: ["external-links"] })
      assert.deepStrictEqual(result.notCompared, [])
      return (
        result.problems
          // Overlay cannot have hardlinks across layers.
          .filter(({ check }) => check !== "rootfs.hardlink-mismatch")
          .map(({ actual, check, expected, path }) => `${check} ${path} ${expected} ${actual}`)
      )
    } finally {
      ChildProcess.execFileSync("umount", [path.join(directory, "merged")])
    }
  })

const base = [
  dir("./", { mode: 0o711, mtimeSeconds: 5 }),
  dir("usr/", { mode: 0o750, uid: 3 }),
  dir("usr/lib/", { mode: 0o700, mtimeSeconds: 77 }),
  file("usr/lib/a", "a"),
  dir("usr/lib/deep/"),
  file("usr/lib/deep/x", "x"),
  dir("usr/lib64/"),
  file("usr/lib64/b", "b"),
  file("file", "f"),
  symlink("link", "usr/lib")
]

describe("one layer for overlay", () => {
  it("has its entries, with directories on the way as they are below", () => {
    const { layers } = build([base, [file("usr/lib/deep/new", "n")]])
    assert.deepStrictEqual(listing(layers[1]!), ["usr/", "usr/lib/", "usr/lib/deep/", "usr/lib/deep/new"])
    const lib = layers[1]!.lookup("usr/lib")!.inode
    assert.deepStrictEqual([lib.mode, lib.mtimeSeconds, lib.xattrs], [0o700, 77, undefined])
    assert.strictEqual(layers[1]!.root.inode.mode, 0o711)
  })

  it("has devices for whiteouts, where they belong", () => {
    const { layers } = build([base, [whiteout("usr/lib/a"), whiteout("file"), whiteout("nothing")]])
    assert.deepStrictEqual(listing(layers[1]!), ["file (char)", "usr/", "usr/lib/", "usr/lib/a (char)"])
    const { devmajor, devminor, mode } = layers[1]!.lookup("file")!.inode
    assert.deepStrictEqual([devmajor, devminor, mode], [0, 0, 0])
  })

  it.each(["trusted.overlay.", "user.overlay."] as const)(
    "marks what hides a lower directory by %sopaque",
    (namespace) => {
      const marked = (layer: FileTree) =>
        [...layer.entries()]
          .filter(([, { inode }]) => inode.xattrs?.get(`${namespace}opaque`) === "y")
          .map(([name]) => name)
      const { layers } = build(
        [
          base,
          [dir("usr/"), opaque("usr/lib")],
          [whiteout("usr/lib64"), dir("usr/lib64/"), file("usr/lib64/own")],
          [opaque("usr"), file("usr/x")]
        ],
        namespace
      )
      assert.deepStrictEqual(layers.map(marked), [[], ["usr/lib"], ["usr/lib64"], ["usr"]])
      assert.deepStrictEqual(listing(layers[2]!), ["usr/", "usr/lib64/", "usr/lib64/own"])
    }
  )

  it("makes a file of its own of a hardlink to a lower layer's", () => {
    const { layers, tars } = build([[file("a", "shared")], [hardlink("b", "a"), hardlink("c", "b")]])
    const b = layers[1]!.lookup("b")!.inode
    assert.strictEqual(b, layers[1]!.lookup("c")!.inode)
    assert.deepStrictEqual([b.layer, b.nlink], [0, 2])
    assert.strictEqual(tars[0]!.toString("latin1", b.dataOffset, b.dataOffset + b.dataSize), "shared")
  })

  it("leaves the image's tree alone", () => {
    const layers = [base, [whiteout("usr/lib"), file("usr/lib/new")]]
    const { tree } = build(layers)
    assert.deepStrictEqual(listing(tree), [
      "file",
      "link -> usr/lib",
      "usr/",
      "usr/lib/",
      "usr/lib/new",
      "usr/lib64/",
      "usr/lib64/b"
    ])
    tree.forEach(({ inode }) => {
      assert.strictEqual(inode.nlink, 1)
      assert.isUndefined(inode.xattrs)
    })
  })
})

describe("mounted on each other", () => {
  it.runIf(mountable)("layers show the tree", async () => {
    assert.deepStrictEqual(
      await kernelShows([
        base,
        [
          whiteout("usr/lib"),
          file("usr/lib/new", "n"),
          dir("usr/lib64/", { mode: 0o777 }),
          opaque("usr/lib64"),
          file("usr/lib64/c", "c"),
          dir("file/"),
          file("file/in", "i"),
          dir("link/"),
          file("link/y", "y")
        ],
        [
          file("usr/lib/new", "newer"),
          whiteout("file"),
          hardlink("h", "usr/lib64/c"),
          file("link", "now a file"),
          symlink("usr/lib64/s", "c")
        ],
        [dir("link/"), file("link/z", "z"), whiteout("usr/lib64/c")]
      ]),
      []
    )
  })

  it.runIf(mountable)("a root that hides all below it is hidden name by name", async () => {
    const layers = [
      base,
      [dir("usr/"), file("usr/own", "o"), opaque("."), whiteout("file"), file("new", "n"), symlink("link", "new")],
      [opaque("."), file("usr/again", "a"), hardlink("usr/too", "usr/again")]
    ]
    assert.deepStrictEqual(await kernelShows(layers.slice(0, 2)), [])
    assert.deepStrictEqual(await kernelShows(layers), [])
    const [, second, third] = build(layers).layers
    assert.deepStrictEqual(listing(second!), ["file (char)", "link -> new", "new", "usr/", "usr/own"])
    assert.deepStrictEqual(listing(third!), ["link (char)", "new (char)", "usr/", "usr/again", "usr/too"])
    assert.isUndefined(second!.root.inode.xattrs)
  })

  it.runIf(mountable)(
    "any layers show the tree",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(member, { maxLength: 10 }), { minLength: 1, maxLength: 5 }),
          async (layers) => {
            assert.deepStrictEqual(await kernelShows(withoutFaults(layers)), [])
          }
        ),
        { numRuns: Number(process.env["OVERLAY_RUNS"] ?? 100) }
      ),
    600_000
  )
})
