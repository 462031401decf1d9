import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as fc from "fast-check"
import * as Damage from "../../../src/fault/Damage.ts"
import * as Entry from "../../../src/fault/Entry.ts"
import * as ImageBuilder from "../../../src/fault/ImageBuilder.ts"
import * as Journal from "../../../src/layout/Journal.ts"
import * as Receipt from "../../../src/layout/Receipt.ts"
import * as Workbench from "../../fault/Workbench.ts"

const image = Workbench.small()
const config = `${image.id.slice(7)}.json`
const layerOf = (one: ImageBuilder.BuiltImage, index: number): string =>
  `${one.layers[index]!.diffId.slice(7)}/layer.tar`
const second = ImageBuilder.build({
  names: ["localhost/second:1"],
  layers: [image.layers[0]!.tar, [Entry.file("second")]]
})

/** Writes an image, through an archive beside it, and verifies it in full. */
const write = (directory: string, one: ImageBuilder.BuiltImage, options = "", name = "out") =>
  Effect.suspend(() => {
    const archive = path.join(fs.mkdtempSync(path.join(directory, "source-")), "image.tar")
    fs.writeFileSync(archive, ImageBuilder.archive(ImageBuilder.dockerHybrid([one])))
    return Workbench.processUris(`tar://${archive}`, `dir://${path.join(directory, name)}${options}`)
  })

/** The error that `effect` fails with. */
const failureOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<E> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
    if (Option.isNone(failure)) return assert.fail(`expected a failure, found ${exit}`)
    return failure.value
  })

const names = (root: string): ReadonlyArray<string> => fs.readdirSync(root).sort()

describe("what is written", () => {
  it.scoped("is the config as it was, the layers under their diff_ids, catalog, receipt and manifest", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { receipt, verification } = yield* write(directory, image)
      const root = path.join(directory, "out")
      assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual(
        names(root),
        [
          config,
          "catalog.json",
          "manifest.json",
          "receipt.json",
          ...image.layers.map((layer) => layer.diffId.slice(7))
        ].sort()
      )
      assert.isTrue(fs.readFileSync(path.join(root, config)).equals(image.config))
      for (const [index, layer] of image.layers.entries()) {
        assert.isTrue(fs.readFileSync(path.join(root, layerOf(image, index))).equals(layer.tar))
      }
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(`${root}/manifest.json`, "utf8")), [
        { Config: config, Layers: [layerOf(image, 0), layerOf(image, 1)], RepoTags: ["localhost/small:1"] }
      ])
      assert.strictEqual(
        fs.readFileSync(`${root}/catalog.json`, "utf8"),
        `{\n    "localhost/small": {\n        "1": "manifest.json"\n    }\n}`
      )
      assert.deepStrictEqual(Receipt.decode(fs.readFileSync(`${root}/receipt.json`)), Either.right(receipt))
      assert.deepStrictEqual(
        receipt.files.map((file) => file.path),
        [config, layerOf(image, 0), layerOf(image, 1), "manifest.json"]
      )
    })
  )

  it.scoped("is the plain tar, however the source stores it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const plain = yield* Workbench.written(directory, image)
      for (const compression of ["gzip", "zstd"] as const) {
        const archive = Workbench.archiveAt(
          directory,
          ImageBuilder.dockerHybrid([image], { compression }),
          `${compression}.tar`
        )
        const root = path.join(directory, compression)
        const { verification } = yield* Workbench.processUris(`tar://${archive}`, `dir://${root}`)
        assert.deepStrictEqual(verification!.results.results, [])
        const [a, b] = [new Map(Workbench.snapshot(plain)), new Map(Workbench.snapshot(root))]
        for (const files of [a, b]) files.delete("receipt.json")
        assert.deepStrictEqual(b, a)
      }
    })
  )

  it.scoped("an image without a name goes by its ID", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const unnamed = ImageBuilder.build({ names: [], layers: [[Entry.file("a")]] })
      const { receipt, verification } = yield* write(directory, unnamed, "?unique_names=true")
      assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual(receipt.names, [])
      assert.include(names(`${directory}/out`), `manifest-${unnamed.id.slice(7)}-latest.json`)
    })
  )

  it.scoped("an image without layers is one", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { verification } = yield* write(directory, ImageBuilder.build({ layers: [] }))
      assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual(yield* Effect.map(Workbench.verifyTarget(`${directory}/out`), Workbench.findings), [])
    })
  )

  it.scoped("a layer that comes twice is one file", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const { tar } = image.layers[0]!
      const twice = ImageBuilder.build({ layers: [tar, [Entry.file("x")], tar] })
      const { counts, layerBytes, verification } = yield* write(directory, twice)
      assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual([counts.layers, layerBytes], [3, tar.length + twice.layers[1]!.tar.length])
    })
  )
})

/** Text without what no name may hold. */
const word = fc.string({ unit: "grapheme", minLength: 1, maxLength: 120 }).map((text) => text.replace(/[/\0.]/g, "_"))

const attributes: fc.Arbitrary<Entry.Attributes> = fc.record(
  {
    mode: fc.nat(0o7777),
    uid: fc.nat(2 ** 31),
    gid: fc.nat(2 ** 31),
    uname: word,
    mtimeSeconds: fc.integer({ min: -(2 ** 33), max: 2 ** 34 }),
    mtimeNanoseconds: fc.nat(999_999_999),
    xattrs: fc.dictionary(fc.stringMatching(/^user\.[a-z]{1,20}$/), fc.uint8Array({ maxLength: 40 }), { maxKeys: 2 })
  },
  { requiredKeys: [] }
)

/** Layers that no rule is broken by: each path once, links to what is there, whiteouts of what is below. */
const layer: fc.Arbitrary<ReadonlyArray<Entry.Entry>> = fc
  .uniqueArray(
    fc.tuple(word, fc.constantFrom("file", "directory", "symlink", "hardlink", "char", "fifo"), attributes, word),
    {
      selector: ([name]) => name,
      maxLength: 8
    }
  )
  .map((all) => {
    const entries: Array<Entry.Entry> = [Entry.directory("d/")]
    let file: string | undefined
    for (const [name, type, more, content] of all) {
      const path = `d/${name}`
      if (type === "directory") entries.push(Entry.directory(`${path}/`, more), Entry.file(`${path}/inner`, content))
      else if (type === "symlink") entries.push(Entry.symlink(path, content, more))
      else if (type === "char") entries.push(Entry.device(path, "char", 1, 3, more))
      else if (type === "fifo") entries.push(Entry.fifo(path, more))
      else if (type === "hardlink" && file !== undefined) entries.push(Entry.hardlink(path, file, more))
      else {
        entries.push(Entry.file(path, content, more))
        file = path
      }
    }
    return entries
  })

const anyImage: fc.Arbitrary<ImageBuilder.BuiltImage> = fc
  .record({
    names: fc.uniqueArray(
      fc.stringMatching(/^([a-z0-9]{1,5}\/){0,2}[a-z0-9]{1,8}(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,8})?$/),
      { maxLength: 3 }
    ),
    layers: fc.array(layer, { maxLength: 4 }),
    opaque: fc.boolean(),
    author: fc.string({ unit: "binary", maxLength: 20 })
  })
  .map(({ author, layers, names, opaque }) =>
    ImageBuilder.build({
      names,
      layers: [
        [Entry.directory("old/"), Entry.file("old/gone"), Entry.file("old/hidden")],
        ...layers,
        [Entry.whiteout("old/gone"), ...(opaque ? [Entry.opaque("old"), Entry.file("old/new")] : [])]
      ],
      config: { author }
    })
  )

describe("any sound image, in any form", () => {
  it("is written so that its own verifier has nothing to say, and comes back the same", async () => {
    const forms: ReadonlyArray<(image: ImageBuilder.BuiltImage) => ReadonlyArray<Entry.Entry>> = [
      (image) => ImageBuilder.dockerLegacy([image]),
      (image) => ImageBuilder.dockerDigestNames([image]),
      (image) => ImageBuilder.dockerHybrid([image], { compression: ["none", "gzip", "zstd"] }),
      (image) => ImageBuilder.ociLayout([{ image, compression: "gzip" }]),
      (image) => ImageBuilder.ociLayout([{ index: [{ image, platform: true, compression: "zstd", docker: true }] }])
    ]
    await Workbench.withScratch((directory) =>
      fc.assert(
        fc.asyncProperty(anyImage, fc.constantFrom(...forms), fc.boolean(), async (image, form, unique) => {
          const root = path.join(fs.mkdtempSync(path.join(directory, "run-")), "out")
          const archive = Workbench.archiveAt(directory, form(image))
          const { receipt, verification } = await Effect.runPromise(
            Workbench.processUris(`tar://${archive}`, `dir://${root}?unique_names=${unique}`)
          )
          assert.strictEqual(receipt.image, image.id)
          assert.deepStrictEqual(verification!.results.results, [])
          const alone = await Effect.runPromise(Workbench.verifyTarget(root))
          assert.deepStrictEqual(alone.results.results, [])
          const again = await Effect.runPromise(Workbench.processUris(`dir://${root}`, `dir://${root}-again`))
          assert.strictEqual(again.receipt.image, image.id)
          for (const { diffId, tar } of image.layers) {
            assert.isTrue(fs.readFileSync(path.join(`${root}-again`, diffId.slice(7), "layer.tar")).equals(tar))
          }
          fs.rmSync(path.dirname(root), { recursive: true })
        }),
        { numRuns: 60 }
      )
    )
  })
})

describe("a directory of several images", () => {
  it.scoped("has a manifest and a receipt of each, shares layers, and merges the catalog", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = `${directory}/out`
      yield* write(directory, image, "?unique_names=true")
      const before = fs.statSync(path.join(root, layerOf(image, 0)))
      yield* write(directory, second, "?unique_names=true")
      const after = fs.statSync(path.join(root, layerOf(image, 0)))
      assert.strictEqual(after.ino, before.ino, "the shared layer was written again")
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(`${root}/catalog.json`, "utf8")), {
        "localhost/second": { "1": "manifest-localhost_second-1.json" },
        "localhost/small": { "1": "manifest-localhost_small-1.json" }
      })
      const found = yield* Workbench.verifyTarget(root)
      assert.deepStrictEqual(found.results.results, [])
      assert.strictEqual(found.layerCount, 3)
    })
  )

  it.scoped("every name of an image is in the catalog", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const named = ImageBuilder.build({ names: ["a/b:1", "c:latest", "a/b:2"], layers: [[Entry.file("a")]] })
      yield* write(directory, named, "?unique_names=true")
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(`${directory}/out/catalog.json`, "utf8")), {
        "a/b": { "1": "manifest-a_b-1.json", "2": "manifest-a_b-1.json" },
        c: { latest: "manifest-a_b-1.json" }
      })
      assert.deepStrictEqual(yield* Effect.map(Workbench.verifyTarget(`${directory}/out`), Workbench.findings), [])
    })
  )

  it.scoped("names without a tag, and with a digest, are in the catalog and not taken for others", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      for (const [index, name] of ["1", "a/b", `a/c@sha256:${"d".repeat(64)}`].entries()) {
        const named = ImageBuilder.build({ names: [name], layers: [[Entry.file("a")]] })
        for (const unique of [false, true]) {
          const out = `out-${index}-${unique}`
          yield* write(directory, named, `?unique_names=${unique}`, out)
          const found = yield* Workbench.verifyTarget(`${directory}/${out}`)
          assert.deepStrictEqual(Workbench.findings(found), [], name)
        }
      }
    })
  )

  it.scoped("without unique names the next image takes the place of the one before, in the catalog too", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      yield* write(directory, image)
      const { verification } = yield* write(directory, second)
      assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(`${directory}/out/catalog.json`, "utf8")), {
        "localhost/second": { "1": "manifest.json" }
      })
      // The old image's own layer is left, and is said to be of no use.
      assert.deepStrictEqual(yield* Effect.map(Workbench.verifyTarget(`${directory}/out`), Workbench.findings), [
        ["layer.unreferenced", layerOf(image, 1)]
      ])
    })
  )

  it.scoped("two names that become one file name are refused, and nothing is changed", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const [one, other] = ["a/b_c:1", "a_b/c:1"].map((name) =>
        ImageBuilder.build({ names: [name], layers: [[Entry.file(name.replace("/", "-"))]] })
      )
      yield* write(directory, one!, "?unique_names=true")
      const before = Workbench.snapshot(`${directory}/out`)
      const error = yield* failureOf(write(directory, other!, "?unique_names=true"))
      assert.deepInclude(error, { _tag: "WriteError", reason: "Occupied" })
      for (const [name, bytes] of before) assert.isTrue(fs.readFileSync(`${directory}/out/${name}`).equals(bytes), name)
      const found = yield* Workbench.verifyTarget(`${directory}/out`)
      assert.isFalse(found.results.hasErrors, JSON.stringify(found.results.results))
    })
  )

  it.scoped("four runs at once into it all succeed", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const images = [0, 1, 2, 3].map((index) =>
        ImageBuilder.build({
          names: [`localhost/${index}:1`],
          layers: [image.layers[0]!.tar, [Entry.file(`own-${index}`)]]
        })
      )
      const all = yield* Effect.forEach(images, (one) => write(directory, one, "?unique_names=true"), {
        concurrency: "unbounded"
      })
      for (const { verification } of all) assert.deepStrictEqual(verification!.results.results, [])
      const found = yield* Workbench.verifyTarget(`${directory}/out`)
      assert.deepStrictEqual(found.results.results, [])
      assert.strictEqual(found.images.length, 4)
      assert.strictEqual(found.layerCount, 5)
    })
  )

  it.scoped("three runs of one image at once all succeed", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const all = yield* Effect.all(
        Array.from({ length: 3 }, () => write(directory, image)),
        { concurrency: "unbounded" }
      )
      for (const { verification } of all) assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual((yield* Workbench.verifyTarget(`${directory}/out`)).results.results, [])
    })
  )
})

describe("a layer that is there already", () => {
  it.scoped("is read before it is trusted, and written again when it is damaged", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      yield* write(directory, image)
      const file = path.join(directory, "out", layerOf(image, 0))
      for (const damage of [
        () => Damage.flipByte(file, 600),
        () => Damage.truncate(file, 700),
        () => Damage.extend(file, Buffer.from("x")),
        () => Damage.replaceByFile(file, Buffer.alloc(0)),
        () => Damage.replaceByFifo(file)
      ]) {
        const { what } = damage()
        const { verification } = yield* write(directory, image)
        assert.deepStrictEqual(verification!.results.results, [], what)
        assert.isTrue(fs.readFileSync(file).equals(image.layers[0]!.tar), what)
      }
      assert.deepStrictEqual((yield* Workbench.verifyTarget(`${directory}/out`)).results.results, [])
    })
  )

  it.scoped("is not used when it is a symlink: what it points to stays as it is", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = `${directory}/out`
      yield* write(directory, image)
      const outside = `${directory}/outside`
      for (const content of [Buffer.from("precious"), Buffer.from(image.layers[0]!.tar)]) {
        for (const name of [layerOf(image, 0), config, "manifest.json", "receipt.json"]) {
          fs.writeFileSync(outside, content)
          Damage.replaceBySymlink(path.join(root, name), outside)
          const { verification } = yield* write(directory, image)
          assert.deepStrictEqual(verification!.results.results, [], name)
          assert.isTrue(fs.lstatSync(path.join(root, name)).isFile(), name)
          assert.isTrue(fs.readFileSync(outside).equals(content), name)
        }
      }
    })
  )

  it.scoped("is refused when its directory is a symlink", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = `${directory}/out`
      yield* write(directory, image)
      const own = path.dirname(path.join(root, layerOf(image, 0)))
      fs.renameSync(own, `${directory}/elsewhere`)
      fs.symlinkSync(`${directory}/elsewhere`, own)
      const error = yield* failureOf(write(directory, image))
      assert.deepInclude(error, { _tag: "WriteError", reason: "Occupied" })
      assert.deepStrictEqual(names(`${directory}/elsewhere`), ["layer.tar"])
    })
  )
})

describe("a catalog that cannot be merged into", () => {
  for (const [what, damage] of [
    ["is no JSON", (file: string) => Damage.replaceByFile(file, Buffer.from("{"))],
    ["has another form", (file: string) => Damage.replaceByFile(file, Buffer.from("[]"))],
    ["is a directory", Damage.replaceByDirectory],
    ["is a FIFO", Damage.replaceByFifo],
    [
      "is a symlink to a catalog elsewhere",
      (file: string) => {
        fs.copyFileSync(file, `${file}.elsewhere`)
        return Damage.replaceBySymlink(file, "catalog.json.elsewhere")
      }
    ],
    [
      "is huge",
      (file: string) => {
        fs.truncateSync(file, 2 ** 33)
        return undefined
      }
    ]
  ] as const) {
    it.scoped(`${what}: the run fails, and what was there stays`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const root = `${directory}/out`
        yield* write(directory, image, "?unique_names=true")
        damage(`${root}/catalog.json`)
        const error = yield* failureOf(write(directory, second, "?unique_names=true"))
        assert.deepInclude(error, { _tag: "WriteError", reason: "Occupied" })
        assert.notInclude(names(root), "manifest-localhost_second-1.json")
        assert.notInclude(names(root), "receipt-localhost_second-1.json")
        assert.deepStrictEqual(
          names(root).filter((name) => name.startsWith(".tallyman")),
          []
        )
      })
    )
  }
})

describe("a source that turns out damaged", () => {
  it.scoped("publishes nothing and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([image]))
      const at = fs.readFileSync(archive).indexOf("content")
      Damage.flipByte(archive, at)
      const root = `${directory}/out`
      const error = yield* failureOf(Workbench.processUris(`tar://${archive}`, `dir://${root}`))
      assert.deepInclude(error, { _tag: "SourceError", reason: "Damaged" })
      assert.include((error as Error).message, image.layers[1]!.diffId)
      assert.deepStrictEqual(names(root), [])
    })
  )

  it.scoped("does not disturb what was written before", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      yield* write(directory, image)
      const before = Workbench.snapshot(`${directory}/out`)
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([second], { compression: "gzip" }))
      const bytes = fs.readFileSync(archive)
      // The crc of the second layer's gzip member.
      const stored = Buffer.from(ImageBuilder.compress(second.layers[1]!.tar, "gzip"))
      Damage.flipByte(archive, bytes.indexOf(stored) + stored.length - 8)
      const error = yield* failureOf(Workbench.processUris(`tar://${archive}`, `dir://${directory}/out`))
      assert.deepInclude(error, { _tag: "SourceError", reason: "Damaged" })
      assert.deepStrictEqual(Workbench.snapshot(`${directory}/out`), before)
    })
  )
})

describe("a destination", () => {
  it.scoped("that holds something else is left alone", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = `${directory}/out`
      fs.mkdirSync(`${root}/photos`, { recursive: true })
      fs.writeFileSync(`${root}/letter.txt`, "dear")
      const error = yield* failureOf(write(directory, image))
      assert.deepInclude(error, { _tag: "WriteError", reason: "Occupied" })
      assert.deepStrictEqual(names(root), ["letter.txt", "photos"])
    })
  )

  it.scoped("that is a file is refused", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(`${directory}/out`, "text")
      const error = yield* failureOf(write(directory, image))
      assert.deepInclude(error, { _tag: "WriteError", reason: "Occupied" })
      assert.strictEqual(fs.readFileSync(`${directory}/out`, "utf8"), "text")
    })
  )

  it.scoped("below a file, or named by a dangling symlink, cannot be written", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(`${directory}/file`, "")
      fs.symlinkSync("nowhere", `${directory}/dangling`)
      for (const name of ["file/out", "dangling"]) {
        assert.deepInclude(yield* failureOf(write(directory, image, "", name)), { _tag: "WriteError" }, name)
      }
    })
  )

  it.scoped("is made with the directories above it, and may be a symlink to a directory", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      yield* write(directory, image, "", "a/b/c")
      fs.symlinkSync("a/b/c", `${directory}/link`)
      yield* write(directory, image, "", "link")
      assert.deepStrictEqual((yield* Workbench.verifyTarget(`${directory}/link`)).results.results, [])
    })
  )
})

describe("after a run that was cut off", () => {
  const dead = (root: string, target: string): void => {
    const run = JSON.parse(Buffer.from(Journal.describeSelf(target, "localhost/small:1")).toString()) as object
    fs.writeFileSync(`${root}/.tallyman-run-9-aa.json`, JSON.stringify({ ...run, pid: 2 ** 30 }))
    fs.writeFileSync(`${root}/.tallyman-run-9-aa.0.partial`, "half a layer")
  }

  it.scoped("the same run completes the output and clears what was left", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = `${directory}/out`
      fs.mkdirSync(root)
      dead(root, "manifest.json")
      const incomplete = yield* Workbench.verifyTarget(root)
      assert.includeDeepMembers(
        [...Workbench.findings(incomplete)],
        [
          ["directory.incomplete", ".tallyman-run-9-aa.json"],
          ["directory.leftover", ".tallyman-run-9-aa.0.partial"],
          ["manifest.missing", "manifest.json"]
        ]
      )
      yield* write(directory, image)
      assert.deepStrictEqual((yield* Workbench.verifyTarget(root)).results.results, [])
      assert.deepStrictEqual(
        names(root).filter((name) => name.startsWith(".tallyman")),
        []
      )
    })
  )

  it.scoped("a run for another image leaves the trace that the first is incomplete", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = `${directory}/out`
      fs.mkdirSync(root)
      dead(root, "manifest-localhost_small-1.json")
      const { verification } = yield* write(directory, second, "?unique_names=true")
      assert.deepStrictEqual(verification!.results.results, [])
      assert.deepStrictEqual(Workbench.findings(yield* Workbench.verifyTarget(root)), [
        ["directory.incomplete", ".tallyman-run-9-aa.json"]
      ])
    })
  )
})
