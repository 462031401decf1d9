import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as ByteString from "../../src/content/ByteString.ts"
import { Patterns } from "../../src/content/Patterns.ts"
import type * as Image from "../../src/image/Image.ts"
import { isImplied } from "../../src/rootfs/FileTree.ts"
import * as Random from "../content/tarArbitrary.ts"
import { digestOf } from "../layout/writing.ts"
import { device, dir, file, hardlink, opaque, symlink, whiteout } from "../rootfs/Layers.ts"
import { filtered, membersOf, tarOf, treeOf, withImage } from "./Rewriting.ts"

const sound = (image: Image.Image): void => {
  for (const layer of image.layers) assert.strictEqual(layer.diffId, digestOf(tarOf(layer)))
  assert.deepStrictEqual(
    image.config.value.rootfs.diff_ids,
    image.layers.map((layer) => layer.diffId)
  )
  assert.strictEqual(image.config.digest, digestOf(image.config.raw))
}

describe("exclude", () => {
  it.effect("says what went from which layer, and keeps the bytes of those that lose nothing", () =>
    withImage(
      [
        [dir("lib/"), file("lib/a.pyc", "12345"), file("lib/a.py", "a")],
        [file("b.py", "b")],
        [file("lib/b.pyc", "123"), dir("cache.pyc/"), file("cache.pyc/x", "1234567")]
      ],
      (image) =>
        Effect.gen(function* () {
          const { image: next, reports } = yield* filtered(image, "exclude:pattern=*.pyc")
          sound(next)
          assert.deepStrictEqual(next.layers.map(membersOf), [
            ["directory lib/", "file lib/a.py a"],
            ["file b.py b"],
            []
          ])
          assert.strictEqual(next.layers[1], image.layers[1])
          const [report] = reports
          assert.strictEqual(report?.filter, "exclude")
          if (report?.filter !== "exclude") return
          assert.deepStrictEqual(
            report.layers.map(({ bytes, entries, paths, promoted }) => ({ bytes, entries, paths, promoted })),
            [
              { bytes: 5, entries: 1, paths: ["lib/a.pyc"], promoted: [] },
              { bytes: 0, entries: 0, paths: [], promoted: [] },
              { bytes: 10, entries: 3, paths: ["lib/b.pyc", "cache.pyc", "cache.pyc/x"], promoted: [] }
            ]
          )
          assert.deepStrictEqual(
            report.layers.map(({ after, before, index }) => [index, before, after]),
            [0, 1, 2].map((index) => [index, image.layers[index]!.diffId, next.layers[index]!.diffId])
          )
        }),
      { compression: "gzip", manifest: "docker" }
    )
  )

  it.effect("changes nothing when nothing matches", () =>
    withImage([[file("a"), hardlink("b", "a")]], (image) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* filtered(image, "exclude:pattern=nothing")).image, image)
      })
    )
  )

  it.effect("keeps whiteouts, so that nothing re-appears", () =>
    withImage(
      [
        [file("foo", "lower"), file("d/x", "lower")],
        [whiteout("foo"), opaque("d"), file("d/foo", "upper")]
      ],
      (image) =>
        Effect.gen(function* () {
          const { image: next } = yield* filtered(image, "exclude:pattern=/foo,d/foo")
          sound(next)
          assert.deepStrictEqual(membersOf(next.layers[1]!), ["file .wh.foo", "file d/.wh..wh..opq"])
          const { image: partly } = yield* filtered(image, "exclude:pattern=foo/")
          assert.strictEqual(partly, image)
        })
    )
  )

  it.effect("keeps hardlinks to what goes, with their content", () =>
    withImage(
      [[file("bin/a", "program", { mode: 0o4755 }), hardlink("bin/b", "bin/a"), hardlink("bin/c", "./bin/a")]],
      (image) =>
        Effect.gen(function* () {
          const { image: next, reports } = yield* filtered(image, "exclude:pattern=bin/a")
          sound(next)
          assert.deepStrictEqual(membersOf(next.layers[0]!), ["file bin/b program", "hardlink bin/c -> bin/b"])
          assert.deepStrictEqual(
            reports.flatMap((one) => (one.filter === "exclude" ? one.layers[0]!.promoted : [])),
            ["bin/b"]
          )
          assert.strictEqual(treeOf(next).lookup("bin/c")?.inode.mode, 0o4755)
        })
    )
  )

  describe("of a file that a layer above links to", () => {
    it.effect("puts a copy in the place of the link", () =>
      withImage(
        [
          [file("old/a", "content", { mode: 0o755, uid: 7, xattrs: new Map([["user.x", Buffer.from("y")]]) })],
          [file("unrelated")],
          [hardlink("b", "old/a"), hardlink("c", "./old/a"), file("z", "z")]
        ],
        (image) =>
          Effect.gen(function* () {
            const { image: next } = yield* filtered(image, "exclude:pattern=old")
            sound(next)
            assert.deepStrictEqual(next.layers.map(membersOf), [
              [],
              ["file unrelated"],
              ["file b content", "hardlink c -> b", "file z z"]
            ])
            const { inode } = treeOf(next).lookup("b")!
            assert.deepStrictEqual([inode.mode, inode.uid, inode.xattrs?.get("user.x")], [0o755, 7, "y"])
          }),
        { compression: "gzip" }
      )
    )

    it.effect("finds the content through links, newer versions and earlier filters", () =>
      withImage(
        [
          [file("a.o", "oldest"), file("kept", "kept")],
          [file("a.o", "newer", { mtimeSeconds: 77 }), hardlink("b.o", "a.o"), hardlink("k.o", "kept")],
          [hardlink("one", "b.o"), hardlink("two", "k.o"), symlink("l.o", "x"), hardlink("three", "l.o")],
          [hardlink("four", "l.o"), device("null.o", 1, 3)],
          [hardlink("null", "null.o")]
        ],
        (image) =>
          Effect.gen(function* () {
            const { image: next } = yield* filtered(image, "normalize-timestamps:ts=5", "exclude:pattern=*.o")
            sound(next)
            assert.deepStrictEqual(next.layers.map(membersOf), [
              ["file kept kept"],
              [],
              ["file one newer", "file two kept", "symlink three -> x"],
              ["symlink four -> x"],
              ["char null"]
            ])
            assert.strictEqual(treeOf(next).lookup("one")?.inode.mtimeSeconds, 5)
            const again = yield* filtered(next, "exclude:pattern=one", "normalize-timestamps:ts=6")
            sound(again.image)
          })
      )
    )

    it.effect("leaves a link as it is that named nothing", () =>
      withImage([[file("a.o", "gone")], [whiteout("a.o")], [hardlink("b", "a.o")]], (image) =>
        Effect.gen(function* () {
          const { image: next } = yield* filtered(image, "exclude:pattern=*.o")
          sound(next)
          assert.deepStrictEqual(membersOf(next.layers[2]!), ["hardlink b -> a.o"])
        })
      )
    )
  })

  it("leaves the rest of the file system as it was", () => {
    const patterns = fc.constantFrom(
      ["*.pyc"],
      ["a", "b"],
      ["/lib/*", "!/lib/foo"],
      ["*", "!foo"],
      ["foo", "c"],
      ["**/a/**"]
    )
    return fc.assert(
      fc.asyncProperty(
        Random.layers,
        patterns,
        fc.constantFrom("none", "gzip"),
        async (layers, patterns, compression) => {
          await Effect.runPromise(
            withImage(
              layers.map((one) => one.tar),
              (image) =>
                Effect.gen(function* () {
                  const { image: next } = yield* filtered(image, `exclude:pattern=${patterns.join(",")}`)
                  sound(next)
                  const matcher = new Patterns(patterns)
                  const wanted = listing(
                    image,
                    (path, isDirectory) => path === "" || !matcher.excludes(path, isDirectory)
                  )
                  assert.deepStrictEqual(
                    listing(next, () => true),
                    wanted
                  )
                }),
              { compression }
            )
          )
        }
      ),
      { numRuns: 150 }
    )
  })
})

/** Every name that members describe: what it is, and its content. */
const listing = (image: Image.Image, keeps: (path: string, isDirectory: boolean) => boolean): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const [path, { inode }] of treeOf(image).entries()) {
    // Nothing says what is left of a directory that only its members imply.
    if (isImplied(inode) || !keeps(path, inode.type === "directory")) continue
    const attributes = [
      inode.type,
      inode.mode,
      inode.uid,
      inode.gid,
      inode.mtimeSeconds,
      inode.size,
      inode.sha256,
      inode.link,
      [...(inode.xattrs ?? [])].sort()
    ]
    lines.push(`${ByteString.display(path)} ${JSON.stringify(attributes)}`)
  }
  return lines
}
