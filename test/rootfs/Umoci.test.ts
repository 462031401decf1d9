/**
 * The same image unpacked by umoci and by us has to be the same tree, as a third program sees it: bsdtar writes a
 * manifest of each.
 */

import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { isImplied, type TreeNode } from "../../src/rootfs/FileTree.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import * as Mtree from "../../src/rootfs/Mtree.ts"
import { unpackSync } from "../../src/rootfs/Unpack.ts"
import { peerTest, run } from "../peers/Peers.ts"
import {
  type Applied,
  apply,
  device,
  dir,
  fifo,
  file,
  hardlink,
  isRoot,
  type Member,
  opaque,
  problemsOf,
  symlink,
  whiteout,
  withDirectory
} from "./Layers.ts"
import { faults, member, withoutFaults } from "./RandomLayers.ts"

const usable = isRoot && Libc.load() !== undefined

const blob = (layout: string, bytes: Uint8Array, mediaType: string) => {
  const hex = crypto.createHash("sha256").update(bytes).digest("hex")
  fs.writeFileSync(path.join(layout, "blobs/sha256", hex), bytes)
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value))

const writeLayout = (layout: string, tars: ReadonlyArray<Buffer>): void => {
  fs.mkdirSync(path.join(layout, "blobs/sha256"), { recursive: true })
  const type = "application/vnd.oci.image"
  const layers = tars.map((tar) => blob(layout, tar, `${type}.layer.v1.tar`))
  const config = blob(
    layout,
    json({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
      config: {}
    }),
    `${type}.config.v1+json`
  )
  const manifest = blob(
    layout,
    json({ schemaVersion: 2, mediaType: `${type}.manifest.v1+json`, config, layers }),
    `${type}.manifest.v1+json`
  )
  fs.writeFileSync(path.join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}')
  fs.writeFileSync(
    path.join(layout, "index.json"),
    json({
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": "t" } }]
    })
  )
}

/**
 * What a third program sees, without the times of `timeless` directories, and without the mode and owner of `implied`
 * ones: umoci's inherit a setgid bit from the directory above, and keep what the directory was when a whiteout comes late.
 */
const seen = (root: string, timeless: ReadonlySet<string>, implied: ReadonlySet<string>): ReadonlyArray<string> => {
  const keywords =
    "mtree:!all,mtree:type,mtree:mode,mtree:uid,mtree:gid,mtree:nlink,mtree:size,mtree:link,mtree:device,mtree:time,mtree:sha256"
  const { stdout } = run("bsdtar", ["-cf", "-", "--format=mtree", `--options=${keywords}`, "-C", root, "."])
  const attributes = run("getfattr", ["-R", "-h", "-d", "-m", "-", "-e", "hex", "."], { cwd: root })
  return [
    ...stdout
      .split("\n")
      .sort()
      .map((line) => {
        const name = line.split(" ")[0]!
        const timed = timeless.has(name) ? line.replace(/ time=\S+/, "") : line
        return implied.has(name) ? timed.replace(/ (?:mode|uid|gid)=\S+/g, "") : timed
      }),
    ...attributes.stdout.split("\n\n").sort()
  ]
}

type Names = (applied: Applied) => ReadonlySet<string>

const namesOf =
  (wanted: (node: TreeNode) => boolean): Names =>
  (applied) =>
    new Set(
      [...applied.tree.entries()].filter(([, node]) => wanted(node)).map(([name]) => (name === "" ? "." : `./${name}`))
    )

const impliedNames = namesOf(({ inode }) => isImplied(inode))

/** umoci puts a directory's time back when it makes something in it, but not when it makes an implied directory there. */
const aroundImplied = namesOf(
  ({ children, inode }) =>
    isImplied(inode) || (children !== undefined && [...children.values()].some((child) => isImplied(child.inode)))
)

/** In random layers implied directories come and go anywhere. */
const directoryNames = namesOf(({ children }) => children !== undefined)

/** Whether umoci takes the image; where it does, the trees have to be the same. */
const sameAsUmoci = (
  layers: ReadonlyArray<ReadonlyArray<Member> | Buffer>,
  timeless: Names = aroundImplied
): Promise<boolean> =>
  withDirectory((directory) => {
    const applied = apply(layers)
    const layout = path.join(directory, "layout")
    writeLayout(layout, applied.tars)
    const bundle = path.join(directory, "bundle")
    const umoci = run("umoci", ["unpack", "--image", `${layout}:t`, bundle], { allowFailure: true })
    if (umoci.code !== 0) return false
    const root = path.join(directory, "root")
    const result = unpackSync(applied.tree, Buffer.from(root), applied.feed)
    assert.deepStrictEqual(result.unrestored, [])
    const without = [timeless(applied), impliedNames(applied)] as const
    assert.deepStrictEqual(seen(root, ...without), seen(path.join(bundle, "rootfs"), ...without))
    return true
  })

describe("the tree that umoci makes", () => {
  if (!usable) {
    it.skip("needs root and libc", () => {})
    return
  }

  peerTest(["umoci", "bsdtar", "setfattr"], "of every kind of change", async () => {
    const caps = Buffer.from("0100000200200000000000000000000000000000", "hex")
    const long = "n".repeat(200)
    assert.isTrue(
      await sameAsUmoci([
        [
          dir("./", { mode: 0o755, mtimeSeconds: 100 }),
          dir("usr/"),
          dir("usr/lib/"),
          file("usr/lib/a", "a"),
          dir("usr/lib64/"),
          file("usr/lib64/b", "b"),
          file("usr/libc", "c"),
          dir("etc/"),
          file("etc/passwd", "p"),
          file("etc/group", "g"),
          file("to-dir", "x"),
          dir("to-file/"),
          file("to-file/x", "x"),
          dir("to-link/"),
          file("to-link/x", "x"),
          symlink("from-link", "usr"),
          file("suid", "s", { mode: 0o4755, uid: 12, gid: 34 }),
          file("caps", "c", { mode: 0o755, xattrs: new Map([["security.capability", caps]]) }),
          device("null", 1, 3),
          device("disk", 259, 70_000, "block"),
          fifo("pipe"),
          dir(`${long}/`),
          file(`${long}/${long}`, "long"),
          file("\xff\xfe\xc3\xa9", "odd"),
          file("hard1", "shared"),
          hardlink("hard2", "hard1"),
          file("ns", "", { mtimeNanoseconds: 123_456_789 }),
          file("old", "", { mtimeSeconds: 0 }),
          dir("opaque/"),
          dir("opaque/sub/"),
          file("opaque/sub/x"),
          file("opaque/y")
        ],
        [
          whiteout("usr/lib"),
          whiteout("etc/passwd"),
          dir("to-dir/"),
          file("to-dir/y", "y"),
          file("to-file", "f"),
          symlink("to-link", "usr/lib64"),
          dir("from-link/"),
          file("from-link/own", "o"),
          dir("opaque/", { mode: 0o700 }),
          opaque("opaque"),
          dir("opaque/sub/"),
          file("opaque/sub/new", "n"),
          hardlink("hard3", "hard2"),
          whiteout("hard1"),
          hardlink("link-to-link", "to-link")
        ],
        [
          file("hard2", "broken"),
          dir("usr/", { mode: 0o711, mtimeSeconds: 7 }),
          dir("usr/lib/"),
          file("implied/dirs/x", "x")
        ]
      ])
    )
  })

  peerTest(["umoci", "bsdtar", "setfattr"], "of 60 layers", async () => {
    assert.isTrue(
      await sameAsUmoci(
        Array.from({ length: 60 }, (_, layer) => [
          dir("d/", { mtimeSeconds: layer + 1 }),
          file(`d/own-${layer}`, `own ${layer}`),
          file("d/changing", `version ${layer}`),
          ...(layer > 0 && layer % 3 === 0 ? [whiteout(`d/own-${layer - 1}`)] : []),
          ...(layer > 0 && layer % 20 === 0 ? [opaque("d")] : [])
        ])
      )
    )
  })

  peerTest(["umoci", "bsdtar", "setfattr", "gnutar"], "of sparse files", () =>
    withDirectory(async (directory) => {
      const sparse = path.join(directory, "sparse")
      fs.writeFileSync(sparse, "begin")
      fs.truncateSync(sparse, 3_000_000)
      const fd = fs.openSync(sparse, "r+")
      fs.writeSync(fd, "middle", 1_000_000)
      fs.closeSync(fd)
      const archive = (format: ReadonlyArray<string>): Buffer => {
        const tar = path.join(directory, "t.tar")
        run("tar", ["--create", "--sparse", ...format, `--file=${tar}`, `--directory=${directory}`, "sparse"])
        return fs.readFileSync(tar)
      }
      for (const version of ["0.0", "0.1", "1.0"]) {
        assert.isTrue(await sameAsUmoci([archive(["--format=pax", `--sparse-version=${version}`])]))
      }
      // umoci refuses GNU's own format; the file itself tells what is right.
      const gnu = apply([archive(["--format=gnu"])])
      const root = path.join(directory, "root")
      unpackSync(gnu.tree, Buffer.from(root), gnu.feed)
      assert.isTrue(fs.readFileSync(sparse).equals(fs.readFileSync(path.join(root, "sparse"))))
      assert.isBelow(fs.statSync(path.join(root, "sparse")).blocks * 512, 100_000)
    })
  )

  const runs = Number(process.env["UMOCI_RUNS"] ?? 40)

  peerTest(
    ["umoci", "bsdtar", "setfattr"],
    "of any layers that we find right",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(member, { maxLength: 12 }), { minLength: 1, maxLength: 4 }),
          async (layers) => {
            assert.isTrue(await sameAsUmoci(withoutFaults(layers), directoryNames))
          }
        ),
        { numRuns: runs }
      ),
    600_000
  )

  peerTest(
    ["umoci", "bsdtar", "setfattr"],
    "of any other layers, or what it refuses we report",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(member, { maxLength: 6 }), { minLength: 1, maxLength: 3 }),
          async (layers) => {
            if (await sameAsUmoci(layers, directoryNames)) return
            assert.isTrue(
              problemsOf(apply(layers)).some(([check]) => faults.has(check)),
              JSON.stringify(layers)
            )
          }
        ),
        { numRuns: runs }
      ),
    600_000
  )

  peerTest(["umoci"], "and its own manifest of it is one that we agree with", () =>
    withDirectory((directory) => {
      const applied = apply([
        [
          dir("./", { mtimeSeconds: 50 }),
          dir("d/", { mode: 0o1755 }),
          file("d/a b*\xff", "odd", { mode: 0o4755, uid: 3 }),
          hardlink("h", "d/a b*\xff"),
          symlink("l", "d/a b"),
          file("x", "x", { xattrs: new Map([["user.k", Buffer.from("v")]]) }),
          fifo("p"),
          device("n", 1, 3)
        ]
      ])
      writeLayout(path.join(directory, "layout"), applied.tars)
      run("umoci", ["unpack", "--image", `${path.join(directory, "layout")}:t`, path.join(directory, "bundle")])
      const manifest = fs.readdirSync(path.join(directory, "bundle")).find((name) => name.endsWith(".mtree"))!
      const theirs = Mtree.parse(fs.readFileSync(path.join(directory, "bundle", manifest)))
      assert.deepStrictEqual(theirs.problems, [])
      const ours = Mtree.parse(Buffer.from([...Mtree.write(applied.tree)].join(""), "latin1"))
      const facts = (tree: typeof ours.tree) =>
        [...tree.entries()].map(([name, { inode }]) => [
          name,
          inode.type,
          inode.mode,
          inode.uid,
          inode.gid,
          inode.size,
          inode.link,
          inode.sha256,
          inode.mtimeSeconds,
          inode.xattrs,
          inode.type === "symlink" || inode.type === "fifo" || inode.type === "char" ? 1 : inode.nlink
        ])
      assert.deepStrictEqual(facts(ours.tree), facts(theirs.tree))
      assert.isTrue(theirs.tree.records.xattrs)
    })
  )
})
