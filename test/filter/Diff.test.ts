import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { diff, type ImageDiff } from "../../src/filter/Diff.ts"
import type * as Image from "../../src/image/Image.ts"
import { digestOf, pool } from "../layout/writing.ts"
import { device, dir, file, hardlink, type Member, symlink, tar, whiteout } from "../rootfs/Layers.ts"
import { inside, withImage } from "./Rewriting.ts"

type Layers = ReadonlyArray<ReadonlyArray<Member>>

const between = <A>(a: Layers, b: Layers, use: (found: ImageDiff, a: Image.Image, b: Image.Image) => A) =>
  withImage(a, (one) =>
    withImage(
      b,
      (other) =>
        diff(one, other).pipe(
          Effect.provide(pool),
          Effect.map((found) => use(found, one, other))
        ),
      { compression: "gzip" }
    )
  )

const base = [
  dir("etc/"),
  file("etc/a", "a"),
  symlink("l", "etc"),
  device("null", 1, 3),
  file("x", "x", { xattrs: new Map([["user.a", Buffer.from("1")]]) })
]

/** As this process owns what it writes. */
const owned = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

describe("a diff", () => {
  it.effect("is empty for the same image, however its layers are stored", () =>
    between([base, [file("b")]], [base, [file("b")]], (found) => {
      assert.isTrue(found.same)
      assert.deepStrictEqual(
        [found.config, found.layers, found.files, found.counts, found.notCompared, found.problems],
        [[], [], [], {}, [], []]
      )
      assert.strictEqual(found.names, 7)
    })
  )

  it.effect("names every file that differs, and in what", () =>
    between(
      [
        base,
        [
          file("gone"),
          file("size", "12"),
          file("content", "ab"),
          file("mode", "", { mode: 0o644 }),
          file("owner", "", { uid: 1 }),
          file("time", "", { mtimeSeconds: 5 }),
          file("h"),
          hardlink("i", "h"),
          file("kind")
        ]
      ],
      [
        [
          dir("etc/"),
          file("etc/a", "a"),
          symlink("l", "var"),
          device("null", 1, 5),
          file("x", "x", { xattrs: new Map([["user.a", Buffer.from("2")]]) })
        ],
        [
          file("size", "123"),
          file("content", "cd"),
          file("mode", "", { mode: 0o755 }),
          file("owner", "", { uid: 2 }),
          file("time", "", { mtimeSeconds: 6 }),
          file("h"),
          file("i"),
          dir("kind/"),
          file("new")
        ]
      ],
      (found, a, b) => {
        assert.isFalse(found.same)
        assert.deepStrictEqual(found.files.map(({ a, b, kind, path }) => [path, kind, a, b]).sort(), [
          ["content", "content", `${digestOf(Buffer.from("ab"))}`, `${digestOf(Buffer.from("cd"))}`],
          ["gone", "only-in-a", "file", "nothing"],
          ["i", "hardlink", "a hardlink of h", "another file"],
          ["kind", "type", "file", "directory"],
          ["l", "link", "etc", "var"],
          ["mode", "mode", "0644", "0755"],
          ["new", "only-in-b", "nothing", "file"],
          ["null", "device", "1:3", "1:5"],
          ["owner", "owner", "1:0", "2:0"],
          ["size", "size", "2", "3"],
          ["time", "mtime", "5.000000000", "6.000000000"],
          ["x", "xattr", "user.a=0x31", "user.a=0x32"]
        ])
        assert.strictEqual(found.counts["content"], 1)
        assert.deepStrictEqual(
          found.layers,
          [0, 1].map((index) => ({ index, a: a.layers[index]!.diffId, b: b.layers[index]!.diffId }))
        )
        assert.deepStrictEqual(
          found.config.map(({ pointer }) => pointer),
          ["/rootfs/diff_ids/0", "/rootfs/diff_ids/1"]
        )
      }
    )
  )

  it.effect("sees the same files in other layers", () =>
    between(
      [
        [file("a", "1"), file("b", "old")],
        [file("b", "2"), whiteout("c")]
      ],
      [[file("a", "1"), file("b", "2")]],
      (found) => {
        assert.isFalse(found.same)
        assert.deepStrictEqual([found.files, found.layers.length], [[], 2])
      }
    )
  )

  it.effect("puts up with directories that only their members imply", () =>
    between([[file("d/a")]], [[dir("d/", { mode: 0o700 }), file("d/a")]], (found) => {
      assert.deepStrictEqual(found.files, [])
      assert.deepStrictEqual(found.counts, {})
    })
  )

  it.effect("tells configs apart that say the same", () =>
    withImage([base], (image) =>
      Effect.gen(function* () {
        const raw = Buffer.from(`${Buffer.from(image.config.raw).toString()}\n`)
        const other = { ...image, config: { ...image.config, raw, digest: digestOf(raw) } }
        const found = yield* diff(image, other).pipe(Effect.provide(pool))
        assert.deepStrictEqual([found.same, found.configFormOnly, found.config, found.files], [false, true, [], []])
      })
    )
  )

  it.effect("takes no damaged layer for the same", () =>
    withImage([base], (image) =>
      withImage([[...base, file("more")]], (other) =>
        Effect.gen(function* () {
          const damaged = { ...image, layers: [{ ...other.layers[0]!, diffId: image.layers[0]!.diffId }] }
          const error = yield* diff(image, damaged).pipe(Effect.provide(pool), Effect.flip)
          assert.strictEqual(error.reason, "Damaged")
          assert.include(error.message, digestOf(tar([...base, file("more")])))
        })
      )
    )
  )

  it.effect("is of what an image was unpacked to as well, from either side", () =>
    withImage(
      [[dir("etc/", { mode: 0o755 }), file("etc/a", "a", owned), symlink("l", "etc", owned), file("x", "x", owned)]],
      (image, directory) =>
        Effect.gen(function* () {
          const rootfs = inside(directory, "rootfs")
          fs.mkdirSync(path.join(rootfs, "etc"), { recursive: true })
          fs.writeFileSync(path.join(rootfs, "etc/a"), "b")
          fs.symlinkSync("etc", path.join(rootfs, "l"))
          fs.writeFileSync(path.join(rootfs, "new"), "")
          const unpacked = { source: "test://unpacked", rootfs, config: image.config }
          const there = yield* diff(image, unpacked).pipe(Effect.provide(pool))
          const back = yield* diff(unpacked, image).pipe(Effect.provide(pool))
          const kinds = (found: ImageDiff) =>
            found.files.flatMap(({ kind, path }) => (kind === "mtime" ? [] : [`${kind} ${path}`])).sort()
          assert.deepStrictEqual(kinds(there), ["content etc/a", "only-in-a x", "only-in-b new"])
          assert.deepStrictEqual(kinds(back), ["content etc/a", "only-in-a new", "only-in-b x"])
          const [one, other] = [there, back].map((found) => found.files.find(({ kind }) => kind === "content")!)
          assert.deepStrictEqual([one!.a, one!.b], [other!.b, other!.a])
          assert.deepStrictEqual(
            [there.same, there.layers, there.notCompared[0]],
            [false, [], "layers: an unpacked image has none"]
          )
          const itself = yield* diff(unpacked, { ...unpacked, config: undefined }).pipe(Effect.provide(pool))
          assert.isTrue(itself.same)
          assert.include(itself.notCompared.join(), "config")
          const error = yield* diff(image, { ...unpacked, rootfs: inside(directory, "nothing") }).pipe(
            Effect.provide(pool),
            Effect.flip
          )
          assert.deepStrictEqual([error.reason, error.message.includes("test://unpacked")], ["Unreadable", true])
        })
    )
  )
})
