import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Filter from "../../src/filter/Filter.ts"
import type { OpenImage } from "../../src/filter/Rebase.ts"
import type * as Image from "../../src/image/Image.ts"
import type * as Platform from "../../src/image/Platform.ts"
import * as OciLayoutWriter from "../../src/layout/oci-layout/OciLayoutWriter.ts"
import { scratch } from "../fault/Workbench.ts"
import { assertSound, audit, type Doc, type ImageOptions, makeImage, pool, readJson } from "../layout/writing.ts"
import { dir, file, hardlink, type Member, symlink, tar, whiteout } from "../rootfs/Layers.ts"
import { filter, filtered, tellOf } from "./Rewriting.ts"

type Layers = ReadonlyArray<ReadonlyArray<Member>>
type Options = Omit<ImageOptions, "layers">

interface Parts {
  readonly old: Layers
  readonly fresh: Layers
  readonly own: Layers
  readonly options?: Options
  readonly oldOptions?: Options
  readonly freshOptions?: Options
}

interface Bench {
  readonly directory: string
  readonly image: Image.Image
  readonly old: Image.Image
  readonly fresh: Image.Image
  /** Sources that were opened, and for which platform. */
  readonly opened: Array<readonly [string, Platform.Platform | undefined]>
  readonly rebased: (
    ...before: ReadonlyArray<string>
  ) => Effect.Effect<Filter.Chained & { readonly image: Image.Image }, Filter.FilterError>
}

const spec = "rebase:old_base=tar://old.tar,new_base=tar://new.tar"

/** An image of the layers `old` and `own`, and its bases, each with files of its own. */
const bench = <A, E>(parts: Parts, use: (bench: Bench) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const directory = yield* scratch
    const make = (name: string, layers: Layers, options: Options = {}): Image.Image => {
      const place = path.join(directory, name)
      fs.mkdirSync(place)
      return makeImage(place, { ...options, layers: layers.map((layer) => tar(layer)) })
    }
    const image = make("image", [...parts.old, ...parts.own], parts.options)
    const old = make("old", parts.old, parts.oldOptions)
    const fresh = make("new", parts.fresh, parts.freshOptions)
    const opened: Array<readonly [string, Platform.Platform | undefined]> = []
    const open: OpenImage = (source, platform) =>
      Effect.sync(() => {
        opened.push([source, platform])
        return source === "tar://old.tar" ? old : fresh
      })
    const rebased: Bench["rebased"] = (...before) =>
      Filter.applyAll(
        [...before, spec].map((one) => filter(one, { open })),
        image
      ).pipe(Effect.provide(pool))
    return yield* use({ directory, image, old, fresh, opened, rebased })
  }).pipe(Effect.scoped)

const refusal = (parts: Parts, ...before: ReadonlyArray<string>): Effect.Effect<Filter.FilterError> =>
  bench(parts, ({ rebased }) => Effect.orDie(Effect.flip(rebased(...before))))

const plain: Parts = {
  old: [[dir("etc/"), file("etc/release", "1"), file("etc/gone", "x")]],
  fresh: [[dir("etc/"), file("etc/release", "2")], [file("etc/more", "m")]],
  own: [[file("app", "a"), hardlink("link", "app"), whiteout("etc/gone")], [file("etc/release.d", "own")]]
}

const parsed = ({ config }: Image.Image): Doc => JSON.parse(Buffer.from(config.raw).toString())

describe("rebase", () => {
  it.effect("puts an image's own layers on other ones, and keeps their bytes", () =>
    bench({ ...plain, options: { compression: "gzip", manifest: "oci" } }, ({ fresh, image, old, opened, rebased }) =>
      Effect.gen(function* () {
        const { applied, image: next, reports } = yield* rebased()
        assert.deepStrictEqual(next.layers, [
          ...fresh.layers,
          { ...image.layers[1]!, index: 2 },
          { ...image.layers[2]!, index: 3 }
        ])
        const before = parsed(image)
        assert.deepStrictEqual(parsed(next), {
          ...before,
          rootfs: { type: "layers", diff_ids: next.layers.map(({ diffId }) => diffId) },
          history: [...parsed(fresh).history, ...before.history.slice(1)]
        })
        assert.deepStrictEqual(applied, [
          {
            name: "rebase",
            options: { old_base: "tar://old.tar", new_base: "tar://new.tar" },
            before: image.config.digest,
            after: next.config.digest,
            inputs: { old_base: old.config.digest, new_base: fresh.config.digest }
          }
        ])
        assert.deepStrictEqual(reports, [
          {
            filter: "rebase",
            oldBase: { id: old.config.digest, layers: 1 },
            newBase: { id: fresh.config.digest, layers: 2 },
            kept: 2
          }
        ])
        assert.deepStrictEqual(
          opened.map(([source]) => source),
          ["tar://old.tar", "tar://new.tar"]
        )
        assert.deepStrictEqual(opened[1]![1], image.platform)
      })
    )
  )

  it.effect("makes what an image built there would be", () =>
    bench(plain, ({ directory, rebased }) =>
      Effect.gen(function* () {
        const built = makeImage(directory, { layers: [...plain.fresh, ...plain.own].map((layer) => tar(layer)) })
        const { image } = yield* rebased()
        assert.deepStrictEqual(yield* tellOf(image), yield* tellOf(built))
        assert.deepStrictEqual(
          image.layers.map(({ diffId }) => diffId),
          built.layers.map(({ diffId }) => diffId)
        )
      })
    )
  )

  it.effect("changes nothing where the base stays the same, and there and back is where it was", () =>
    Effect.gen(function* () {
      yield* bench({ ...plain, fresh: plain.old }, ({ image, rebased }) =>
        Effect.map(rebased(), (done) => assert.strictEqual(done.image, image))
      )
      yield* bench(plain, ({ fresh, image, old, rebased }) =>
        Effect.gen(function* () {
          const { image: there } = yield* rebased()
          const back: OpenImage = (source) => Effect.succeed(source === "tar://old.tar" ? fresh : old)
          const { image: again } = yield* Filter.applyAll([filter(spec, { open: back })], there)
          assert.strictEqual(again.config.digest, image.config.digest)
        }).pipe(Effect.provide(pool))
      )
    })
  )

  it.effect("keeps every other byte of the config", () =>
    bench(plain, ({ image, rebased }) =>
      Effect.gen(function* () {
        const { image: next } = yield* rebased()
        const without = (text: string): string =>
          text.replace(/"diff_ids":\s*\[[^\]]*\]/, "").replace(/"history":\s*\[[^\]]*\]/, "")
        const [before, after] = [image, next].map((one) => without(Buffer.from(one.config.raw).toString()))
        assert.strictEqual(after, before)
        assert.include(before, '"Env":["PATH=/bin"]')
      })
    )
  )

  describe("gives the image the new base's history and its own", () => {
    const step = (name: string) => ({ created_by: name })
    const empty = (name: string) => ({ created_by: name, empty_layer: true })
    const history = (steps: unknown): Options => ({ config: { history: steps } })
    const layers = { old: plain.old, fresh: [plain.fresh[0]!], own: [plain.own[0]!] }
    const cases: ReadonlyArray<{
      readonly name: string
      readonly image: unknown
      readonly old?: unknown
      readonly fresh?: unknown
      readonly expected: unknown
    }> = [
      {
        name: "steps without a layer before and behind the base's last one go with it",
        image: [empty("ARG"), step("old"), empty("CMD sh"), empty("ENV a"), step("own")],
        old: [empty("ARG"), step("old"), empty("CMD sh")],
        fresh: [step("new"), empty("CMD bash")],
        expected: [step("new"), empty("CMD bash"), empty("ENV a"), step("own")]
      },
      {
        name: "those of the image stay, though the base ends in one of its own",
        image: [step("old"), empty("ENV a"), step("own"), empty("CMD sh")],
        old: [step("old"), empty("CMD sh")],
        fresh: [step("new")],
        expected: [step("new"), empty("ENV a"), step("own"), empty("CMD sh")]
      },
      {
        name: "the same step twice is the base's once",
        image: [step("old"), empty("CMD sh"), empty("CMD sh"), step("own")],
        old: [step("old"), empty("CMD sh")],
        fresh: [step("new")],
        expected: [step("new"), empty("CMD sh"), step("own")]
      },
      {
        name: "an old base without history has no steps",
        image: [step("old"), empty("CMD sh"), step("own")],
        old: undefined,
        fresh: [step("new")],
        expected: [step("new"), empty("CMD sh"), step("own")]
      },
      {
        name: "an old base whose history does not fit it says nothing of where it ends",
        image: [step("old"), empty("CMD sh"), step("own")],
        old: [empty("CMD sh")],
        fresh: [step("new")],
        expected: [step("new"), empty("CMD sh"), step("own")]
      },
      {
        name: "what else a step says stays",
        image: [step("old"), { ...step("own"), author: "me", "x-more": { a: [1] } }],
        old: [step("old")],
        fresh: [{ ...step("new"), comment: "c" }],
        expected: [
          { ...step("new"), comment: "c" },
          { ...step("own"), author: "me", "x-more": { a: [1] } }
        ]
      },
      {
        name: "layers of a new base without history get steps",
        image: [step("old"), step("own")],
        old: [step("old")],
        fresh: null,
        expected: [
          {
            created: "2024-01-02T03:04:05Z",
            created_by: "tallyman rebase",
            comment: "a layer of the new base, which has no history"
          },
          step("own")
        ]
      },
      { name: "an image without history gets none", image: undefined, expected: undefined },
      { name: "nor does one of null", image: null, expected: null },
      { name: "nor does one of nothing", image: [], expected: [] }
    ]
    for (const { expected, fresh = [step("new")], image, name, old } of cases) {
      it.effect(name, () =>
        bench(
          {
            ...layers,
            options: history(image),
            oldOptions: history(old),
            freshOptions: history(fresh === null ? undefined : fresh)
          },
          ({ rebased }) => Effect.map(rebased(), (done) => assert.deepStrictEqual(parsed(done.image).history, expected))
        )
      )
    }

    it.effect("and refuses one whose steps do not fit the layers", () =>
      Effect.gen(function* () {
        const own = yield* refusal({ ...layers, options: history([step("own")]) })
        assert.strictEqual(own.reason, "Mismatch")
        assert.match(own.message, /^cannot rebase: expected 2 steps with a layer in the history of test:.*, found 1$/)
        const fresh = yield* refusal({ ...layers, freshOptions: history([step("a"), step("b")]) })
        assert.match(fresh.message, /^cannot rebase: expected 1 steps with a layer in the history of .*, found 2$/)
      })
    )
  })

  it.effect("takes the os.version of the new base", () =>
    Effect.gen(function* () {
      for (const [own, base, expected] of [
        ["10.0.1", "10.0.2", "10.0.2"],
        [undefined, "10.0.2", "10.0.2"],
        [null, "10.0.2", "10.0.2"],
        ["10.0.1", undefined, "10.0.1"],
        [null, undefined, null],
        [undefined, undefined, undefined]
      ]) {
        const [options, freshOptions] = [own, base].map((version) => ({ config: { "os.version": version } }))
        yield* bench({ ...plain, options: options!, freshOptions: freshOptions! }, ({ rebased }) =>
          Effect.map(rebased(), (done) => assert.strictEqual(parsed(done.image)["os.version"], expected))
        )
      }
    })
  )

  it.effect("takes spellings of one platform for the same, and refuses another", () =>
    Effect.gen(function* () {
      const on = (architecture: string, variant?: string): Options => ({ config: { architecture, variant } })
      yield* bench({ ...plain, options: on("arm64", "v8"), freshOptions: on("arm64") }, ({ rebased }) => rebased())
      for (const [options, freshOptions, message] of [
        [
          on("amd64"),
          on("arm64"),
          "expected a base for linux/amd64, as the image is, found tar://new.tar to be for linux/arm64"
        ],
        [
          on("arm", "v6"),
          on("arm", "v7"),
          "expected a base for linux/arm/v6, as the image is, found tar://new.tar to be for linux/arm"
        ],
        [{}, { config: { os: "windows" } }, "linux/amd64, as the image is, found tar://new.tar to be for windows/amd64"]
      ] as const) {
        const error = yield* refusal({ ...plain, options, freshOptions })
        assert.strictEqual(error.reason, "Mismatch")
        assert.include(error.message, message)
      }
    })
  )

  it.effect("refuses an image that does not stand on the old base, and says where", () =>
    Effect.gen(function* () {
      const other = yield* bench(plain, ({ directory, image }) => {
        fs.mkdirSync(path.join(directory, "other"))
        const layers = [tar(plain.old[0]!), tar([file("other")])]
        const old = makeImage(path.join(directory, "other"), { layers })
        const open: OpenImage = () => Effect.succeed(old)
        return Filter.applyAll([filter(spec, { open })], image).pipe(
          Effect.provide(pool),
          Effect.flip,
          Effect.map(({ message }) => [message, old.layers[1]!.diffId, image.layers[1]!.diffId] as const)
        )
      })
      assert.strictEqual(
        other[0],
        `cannot rebase: expected diff_id ${other[1]} as layer 1, as in the old base tar://old.tar, found ${other[2]}`
      )
      const short = yield* bench(plain, ({ image, old }) => {
        const open: OpenImage = () => Effect.succeed(image)
        return Effect.flip(Filter.applyAll([filter(spec, { open })], old)).pipe(Effect.provide(pool))
      })
      assert.match(
        short.message,
        /^cannot rebase: expected diff_id sha256:\w+ as layer 1, .*, found an image of 1 layer$/
      )
      const changed = yield* refusal(plain, "normalize-timestamps")
      assert.match(
        changed.message,
        /as layer 0, .*, found sha256:\w+ \(a filter before this one made it: rebase first\)$/
      )
      assert.match((yield* refusal(plain, "flatten")).message, /rebase first/)
    })
  )

  it.effect("takes a filter before it that leaves the base alone", () =>
    bench(plain, ({ image, rebased }) =>
      Effect.gen(function* () {
        const { image: next } = yield* rebased("exclude:pattern=release.d")
        assert.lengthOf(next.layers, 4)
        assert.strictEqual(next.layers[2]!.diffId, image.layers[1]!.diffId)
        assert.notStrictEqual(next.layers[3]!.diffId, image.layers[2]!.diffId)
        assert.notInclude((yield* tellOf(next)).join("\n"), "release.d")
      })
    )
  )

  it.effect("takes whiteouts that hide nothing any more", () =>
    bench({ ...plain, fresh: [[file("x")]], own: [[whiteout("etc/gone")]] }, ({ rebased }) => rebased())
  )

  describe("refuses what would be no valid image, by layer and path", () => {
    const old = [[file("a", "a"), dir("d/"), file("d/x", "x")]]
    const cases: ReadonlyArray<readonly [name: string, fresh: Layers, own: Layers, message: RegExp]> = [
      [
        "a hardlink to what is gone",
        [[file("b")]],
        [[file("fine")], [hardlink("link", "a")]],
        /^cannot rebase layer 2 \(layers\/2\) on tar:\/\/new\.tar: it cannot be applied: link: a hardlink to nothing \[rootfs\.hardlink-missing-target\]$/
      ],
      [
        "a hardlink to what is a directory now",
        [[dir("a/")]],
        [[hardlink("link", "a")]],
        /^cannot rebase layer 1 \(layers\/1\) .* link: a hardlink to a directory \[rootfs\.hardlink-bad-target\]$/
      ],
      [
        "a file below what is a symlink now, which would take its place",
        [[dir("usr/"), symlink("d", "usr")]],
        [[file("d/y")]],
        /^cannot rebase layer 1 .* d\/y: .* \[rootfs\.path-through-symlink\]$/
      ],
      [
        "a file below what is a file now",
        [[file("d")]],
        [[file("d/y")]],
        /^cannot rebase layer 1 .* d\/y: .* \[rootfs\.path-through-file\]$/
      ],
      [
        "a new base that is none itself",
        [[file("x")], [hardlink("y", "z")]],
        [[file("own")]],
        /^cannot rebase layer 1 \(layers\/1\) of tar:\/\/new\.tar: .* y: a hardlink to nothing/
      ]
    ]
    for (const [name, fresh, own, message] of cases) {
      it.effect(name, () =>
        Effect.gen(function* () {
          const error = yield* refusal({ old, fresh, own })
          assert.match(error.message, message)
          assert.strictEqual(error.reason, message.source.includes(" of tar:") ? "Damaged" : "Mismatch")
        })
      )
    }

    it.effect("a new base whose tar is damaged, or that is gone", () =>
      Effect.gen(function* () {
        const cut = yield* bench({ old, fresh: [[file("x", "y".repeat(2000))]], own: [] }, ({ fresh, rebased }) => {
          fs.truncateSync(fresh.layers[0]!.bytes.path, 1024)
          Object.assign(fresh.layers[0]!, { bytes: { ...fresh.layers[0]!.bytes, size: 1024 } })
          return Effect.flip(rebased())
        })
        assert.deepInclude(cut, { _tag: "FilterError", reason: "Damaged" })
        assert.match(cut.message, /^cannot rebase layer 0 .* of tar:\/\/new\.tar: .*\[tar\.truncated\]$/)
        const gone = yield* bench({ old, fresh: [[file("x")]], own: [] }, ({ fresh, rebased }) => {
          fs.rmSync(fresh.layers[0]!.bytes.path)
          return Effect.flip(rebased())
        })
        assert.strictEqual(gone.reason, "Unreadable")
      })
    )
  })

  it.effect("tells the manifest's truth about the base, and what is written is sound", () =>
    Effect.gen(function* () {
      const digest = "org.opencontainers.image.base.digest"
      const name = "org.opencontainers.image.base.name"
      const annotations = { [digest]: `sha256:${"0".repeat(64)}`, [name]: "docker.io/library/debian:12", kept: "x" }
      const written = (freshOptions: Options, stated: Readonly<Record<string, string>> = annotations) =>
        bench(
          { ...plain, options: { manifest: "oci", annotations: stated }, freshOptions },
          ({ directory, fresh, rebased }) =>
            Effect.gen(function* () {
              const { applied, image } = yield* rebased()
              const out = path.join(directory, "layout")
              const writer = yield* OciLayoutWriter.make({ path: out, ref: "t" })
              const receipt = yield* writer.write(image, { filters: applied })
              yield* assertSound(out, receipt)
              const blob = (hash: string): string => path.join(out, "blobs", hash.replace(":", "/"))
              const [entry] = readJson(out, "index.json").manifests
              const manifest = readJson(blob(entry.digest))
              assert.deepStrictEqual(
                manifest.layers.map((one: Doc) => one.digest),
                image.layers.map((one) => one.digest ?? one.diffId)
              )
              // What was the new base's is guarded like everything else.
              const [{ digest: first, size }] = manifest.layers
              fs.writeFileSync(blob(first), Buffer.alloc(size, "x"))
              assert.include(yield* audit(out), `layer.digest-mismatch ${path.relative(out, blob(first))}`)
              return [manifest.annotations, fresh.manifest?.digest] as const
            }).pipe(Effect.provide(pool), Effect.orDie)
        )
      const [all, own] = yield* written({ manifest: "oci", names: ["other:1", "debian:12"] })
      assert.deepStrictEqual(all, { [digest]: own, [name]: "debian:12", kept: "x" })
      const [renamed] = yield* written({ manifest: "oci", names: ["tag", "localhost/base:2"] })
      assert.strictEqual(renamed[name], "localhost/base:2")
      assert.deepStrictEqual((yield* written({}))[0], { kept: "x" })
      assert.deepStrictEqual((yield* written({ manifest: "oci", names: ["a:1"] }, { kept: "x" }))[0], { kept: "x" })
      assert.isUndefined((yield* written({}, { [digest]: annotations[digest]! }))[0])
    })
  )

  it.effect("works before every other filter", () =>
    bench(plain, ({ image, fresh, old }) =>
      Effect.gen(function* () {
        const open: OpenImage = (source) => Effect.succeed(source === "tar://old.tar" ? old : fresh)
        const chain = [spec, "exclude:pattern=link", "flatten", "normalize-timestamps:config=true"]
        const one = yield* Filter.applyAll(
          chain.map((each) => filter(each, { open })),
          image
        ).pipe(Effect.provide(pool))
        assert.lengthOf(one.image.layers, 1)
        const { image: apart } = yield* filtered(
          (yield* Filter.applyAll([filter(spec, { open })], image).pipe(Effect.provide(pool))).image,
          ...chain.slice(1)
        )
        assert.strictEqual(one.image.config.digest, apart.config.digest)
      })
    )
  )
})
