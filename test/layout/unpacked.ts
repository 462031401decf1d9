/** Images for tests of unpacked forms, and what other programs see of a tree. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Libc from "../../src/rootfs/Libc.ts"
import { archiveAt, type Failure, isRoot, processUris } from "../fault/Workbench.ts"
import { run } from "../peers/Peers.ts"
import { device, dir, fifo, file, hardlink, type Member, opaque, symlink, tar, whiteout } from "../rootfs/Layers.ts"

/** Owners, devices and attributes can be restored. */
export const usable = isRoot && Libc.load() !== undefined

/** Whether overlay can be mounted here, which containers mostly may not. */
export const mountable = usable && canMount()

function canMount(): boolean {
  const base = fs.mkdtempSync("/dev/shm/overlay-")
  try {
    for (const name of ["a", "u", "w", "m"]) fs.mkdirSync(path.join(base, name))
    const options = "lowerdir=a,upperdir=u,workdir=w"
    const mounted = run("mount", ["-t", "overlay", "overlay", "-o", options, "m"], { cwd: base, allowFailure: true })
    if (mounted.code !== 0) return false
    run("umount", [path.join(base, "m")])
    return true
  } finally {
    fs.rmSync(base, { recursive: true, force: true })
  }
}

const capability = Buffer.from("0100000200200000000000000000000000000000", "hex")

/** A default ACL (rwx for the owner and for uid 1000, r-x for the others), as it is stored. */
export const defaultAcl = Buffer.from(
  "0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff",
  "hex"
)

/** Every kind of file, and every kind of change from layer to layer. */
export const everything: ReadonlyArray<ReadonlyArray<Member>> = [
  [
    dir("./", { mtimeSeconds: 100 }),
    dir("etc/"),
    file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n"),
    file("etc/group", "root:x:0:\napp:x:1001:\nextra:x:50:app,other\n"),
    dir("usr/"),
    dir("usr/lib/"),
    file("usr/lib/a", "a"),
    dir("usr/lib64/"),
    file("usr/lib64/kept", "a sibling that shares a prefix"),
    symlink("lib", "usr/lib"),
    file("suid", "s", { mode: 0o4755, uid: 12, gid: 34 }),
    file("caps", "c", { mode: 0o755, xattrs: new Map([["security.capability", capability]]) }),
    device("null", 1, 3),
    fifo("pipe"),
    file("hard1", "shared"),
    hardlink("hard2", "hard1"),
    file("\xff\xfe", "a name that is not UTF-8"),
    file(`${"n".repeat(200)}/${"m".repeat(200)}`, "long"),
    file("nanoseconds", "x", { mtimeNanoseconds: 123_456_789 }),
    dir("opaque/"),
    file("opaque/old", "o"),
    file("to-dir", "x"),
    dir("to-file/"),
    file("to-file/x", "x")
  ],
  [
    whiteout("usr/lib"),
    dir("opaque/"),
    opaque("opaque"),
    file("opaque/new", "n"),
    dir("to-dir/"),
    file("to-dir/y", "y"),
    file("to-file", "f")
  ]
]

/** An image of these layers whose config has these fields. */
export const imageOf = (
  layers: ReadonlyArray<ReadonlyArray<Member>> = everything,
  config: Readonly<Record<string, unknown>> = {}
): ImageBuilder.BuiltImage =>
  ImageBuilder.build({
    names: ["localhost/unpacked:1"],
    layers: layers.map(tar),
    config: { config: { Cmd: ["sh"], ...config } }
  })

/** Writes an image as an archive into `directory` and answers its URI. */
export const sourceOf = (directory: string, image: ImageBuilder.BuiltImage): string =>
  `tar://${archiveAt(directory, ImageBuilder.dockerDigestNames([image]))}`

/** Moves an image into `scheme://directory/out`, verified in full, and answers that place. */
export const unpacked = (
  directory: string,
  scheme: "oci" | "mounts",
  image: ImageBuilder.BuiltImage
): Effect.Effect<string, Failure> =>
  Effect.gen(function* () {
    const out = path.join(directory, "out")
    const { verification } = yield* processUris(sourceOf(directory, image), `${scheme}://${out}`)
    const errors = verification!.results.results.filter((one) => one.severity === "error")
    if (errors.length > 0) throw new Error(JSON.stringify(errors))
    return out
  })

const keywords =
  "mtree:!all,mtree:type,mtree:mode,mtree:uid,mtree:gid,mtree:nlink,mtree:size,mtree:link,mtree:device,mtree:time,mtree:sha256"

/** What bsdtar and getfattr see, one line for each name; without the times of these directories. */
export const seen = (root: string, timeless: ReadonlyArray<string> = []): ReadonlyArray<string> => [
  ...run("bsdtar", ["-cf", "-", "--format=mtree", `--options=${keywords}`, "-C", root, "."])
    .stdout.split("\n")
    .sort()
    .map((line) => (timeless.includes(line.split(" ")[0]!) ? line.replace(/ time=\S+/, "") : line)),
  ...run("getfattr", ["-R", "-h", "-d", "-m", "-", "-e", "hex", "."], { cwd: root }).stdout.split("\n\n").sort()
]
