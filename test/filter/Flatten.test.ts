import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import type * as Image from "../../src/image/Image.ts"
import * as Random from "../content/tarArbitrary.ts"
import { scan } from "../content/tarFixtures.ts"
import { scratch } from "../fault/Workbench.ts"
import { makeImage } from "../layout/writing.ts"
import { apply, device, dir, fifo, file, hardlink, opaque, symlink, whiteout } from "../rootfs/Layers.ts"
import * as RandomLayers from "../rootfs/RandomLayers.ts"
import { filtered, membersOf, tarOf, tellOf, withImage } from "./Rewriting.ts"

const flattened = (image: Image.Image, ...before: ReadonlyArray<string>) =>
  Effect.map(filtered(image, ...before, "flatten"), ({ image: flat }) => {
    assert.lengthOf(flat.layers, 1)
    const { problems } = scan(tarOf(flat.layers[0]!))
    assert.deepStrictEqual(problems, [])
    return flat
  })

const everything = [
  [
    dir("./"),
    dir("usr/"),
    dir("usr/lib/"),
    file("usr/lib/a", "a"),
    file("gone", "gone"),
    symlink("lib", "usr/lib"),
    file("caps", "c", { mode: 0o4755, xattrs: new Map([["security.capability", Buffer.from("x\0y", "latin1")]]) }),
    device("null", 1, 3),
    fifo("pipe"),
    file("first", "shared", { xattrs: new Map([["user.a", Buffer.from("1")]]) }),
    hardlink("second", "first"),
    dir("empty/"),
    file("empty/x", "x"),
    dir("opaque/"),
    file("opaque/old", "o"),
    file("to-dir", "x")
  ],
  [
    whiteout("gone"),
    whiteout("first"),
    file("usr/lib/a", "b"),
    hardlink("third", "second"),
    whiteout("empty/x"),
    dir("opaque/", { mode: 0o700 }),
    opaque("opaque"),
    file("opaque/new", "n"),
    dir("to-dir/"),
    file("to-dir/y", "y"),
    file("deep/er/z", "z")
  ],
  [whiteout("deep/er/z")]
]

describe("flatten", () => {
  it.effect("makes one layer of all, without whiteouts and what they hide", () =>
    withImage(everything, (image) =>
      Effect.gen(function* () {
        const flat = yield* flattened(image)
        assert.deepStrictEqual(yield* tellOf(flat), yield* tellOf(image))
        assert.deepStrictEqual(membersOf(flat.layers[0]!), [
          "directory ./",
          "directory usr/",
          "directory usr/lib/",
          "symlink lib -> usr/lib",
          "file caps c",
          "char null",
          "fifo pipe",
          "file second shared",
          "hardlink third -> second",
          "directory empty/",
          "file usr/lib/a b",
          "directory opaque/",
          "file opaque/new n",
          "directory to-dir/",
          "file to-dir/y y",
          "directory deep/er/"
        ])
      })
    )
  )

  it.effect("says so in the history, and keeps everything else in the config", () =>
    withImage(everything, (image) =>
      Effect.gen(function* () {
        const { applied, image: flat, reports } = yield* filtered(image, "flatten")
        const before = JSON.parse(Buffer.from(image.config.raw).toString())
        const after = JSON.parse(Buffer.from(flat.config.raw).toString())
        assert.deepStrictEqual(after, {
          ...before,
          rootfs: { type: "layers", diff_ids: [flat.layers[0]!.diffId] },
          history: [{ created: before.created, created_by: "tallyman flatten", comment: "flattened from 3 layers" }]
        })
        assert.deepStrictEqual(applied, [
          { name: "flatten", options: {}, before: image.config.digest, after: flat.config.digest }
        ])
        assert.deepStrictEqual(reports, [
          { filter: "flatten", layers: 3, diffId: flat.layers[0]!.diffId, entries: 13, bytes: 9 }
        ])
      })
    )
  )

  it.effect("adds a history where there is none", () =>
    withImage(
      everything,
      (image) =>
        Effect.gen(function* () {
          const { image: flat } = yield* filtered(image, "flatten")
          assert.lengthOf(flat.config.value.history!, 1)
        }),
      { config: { history: undefined } }
    )
  )

  it.effect("changes nothing of an image that is flat, so that twice is once", () =>
    withImage(everything, (image) =>
      Effect.gen(function* () {
        const once = yield* flattened(image)
        const twice = yield* filtered(once, "flatten")
        assert.strictEqual(twice.image, once)
        const again = yield* flattened(image)
        assert.strictEqual(again.config.digest, once.config.digest)
      })
    )
  )

  it.effect("keeps the bytes of what stays, global records and cut ends of layers apart", () =>
    withImage(
      [
        [file("a", "a", { pax: new Map([["comment", "kept"]]), xattrs: new Map([["user.x", Buffer.from("y")]]) })],
        [dir("d/"), file("d/b", "b".repeat(700), { mtimeNanoseconds: 5 })]
      ],
      (image) =>
        Effect.gen(function* () {
          const flat = tarOf((yield* flattened(image)).layers[0]!)
          const [one, two] = image.layers.map(tarOf)
          assert.deepStrictEqual(
            flat,
            Buffer.concat([
              one!.subarray(0, one!.length - 1024),
              two!.subarray(0, two!.length - 1024),
              Buffer.alloc(1024)
            ])
          )
        })
    )
  )

  it.effect("gives what lies behind a global header its records, and nothing else them", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const files = [
        ["g", "one", "comment=x"],
        ["p", "two", ""]
      ] as const
      const layers = files.map(([kind, name]) => {
        const place = path.join(directory, kind)
        fs.mkdirSync(place)
        fs.writeFileSync(path.join(place, name), name)
        const out = childProcess.spawnSync(
          "tar",
          [
            "-C",
            place,
            "--format=pax",
            ...(kind === "g" ? ["--pax-option=globexthdr.name=g,uname=ever"] : []),
            "-cf",
            "-",
            name
          ],
          { maxBuffer: 1 << 24 }
        )
        return out.stdout
      })
      const image = makeImage(directory, { layers })
      const flat = yield* flattened(image)
      const { entries } = scan(tarOf(flat.layers[0]!))
      assert.deepStrictEqual(
        entries.map(({ entry }) => [entry.path, entry.uname]),
        [
          ["one", "ever"],
          ["two", scan(layers[1]!).entries[0]!.entry.uname]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("refuses a layer that is not what the config says, and what tools disagree about", () =>
    Effect.gen(function* () {
      const damaged = yield* withImage(everything, (image) => {
        fs.appendFileSync(image.layers[1]!.bytes.path, "x")
        const { bytes, ...rest } = image.layers[1]!
        const layers = image.layers.with(1, { ...rest, bytes: { ...bytes, size: bytes.size + 1 } })
        return Effect.flip(filtered({ ...image, layers }, "flatten"))
      })
      assert.deepInclude(damaged, { _tag: "FilterError", reason: "Damaged" })
      assert.match(damaged.message, /^cannot filter layer 1 /)
      const through = yield* withImage([[symlink("lib", "usr"), dir("usr/")], [file("lib/x", "x")]], (image) =>
        Effect.flip(filtered(image, "flatten"))
      )
      assert.match(through.message, /\[rootfs\.path-through-symlink\]/)
      const dangling = yield* withImage([[hardlink("a", "b")]], (image) => Effect.flip(filtered(image, "flatten")))
      assert.match(dangling.message, /\[rootfs\.hardlink-missing-target\]/)
    })
  )

  it("makes the same tree of any image, one member for each name", () =>
    fc.assert(
      fc.asyncProperty(Random.layers, fc.constantFrom("none", "gzip"), async (layers, compression) => {
        await Effect.runPromise(
          Effect.gen(function* () {
            const directory = yield* scratch
            const image = makeImage(directory, { layers: layers.map((one) => one.tar), compression })
            const { image: flat } = yield* filtered(image, "flatten")
            assert.deepStrictEqual(yield* tellOf(flat), yield* tellOf(image))
            if (flat === image) return
            const { entries } = scan(tarOf(flat.layers[0]!))
            const paths = entries.map(({ entry }) => entry.path.replace(/^(?:\.?\/)+|\/+$/g, ""))
            assert.strictEqual(new Set(paths).size, paths.length)
            assert.isFalse(paths.some((one) => /(?:^|\/)\.wh\./.test(one)))
          }).pipe(Effect.scoped)
        )
      }),
      { numRuns: 100 }
    ))

  it("makes the same tree where names collide in every way", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(RandomLayers.member, { maxLength: 12 }), { minLength: 1, maxLength: 4 }),
        async (random) => {
          const layers = RandomLayers.withoutFaults(random)
          const problems = apply(layers).layers.flatMap((one) => one.problems)
          fc.pre(!problems.some(({ check }) => check === "rootfs.path-through-symlink"))
          await Effect.runPromise(
            withImage(layers, (image) =>
              Effect.gen(function* () {
                const { image: flat } = yield* filtered(image, "flatten")
                assert.deepStrictEqual(yield* tellOf(flat), yield* tellOf(image))
              })
            )
          )
        }
      ),
      { numRuns: 200 }
    ))
})
