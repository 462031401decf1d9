import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Tallyman from "../../src/index.ts"
import type * as Layouts from "../../src/pipeline/Layouts.ts"
import type * as Repair from "../../src/pipeline/Repair.ts"
import * as Workbench from "../fault/Workbench.ts"
import { repair } from "../fault/Workbench.ts"
import * as Fixture from "../filter/IndexFixture.ts"

const image = Workbench.small(["localhost/app:1"], "content")

const paths = ({ repaired }: Repair.Repaired): ReadonlyArray<string> => repaired.map((one) => one.path).sort()

const tree = (directory: string, name: string, entries: ReadonlyArray<Entry.Entry>): string => {
  ImageBuilder.writeTree(`${directory}/${name}`, entries)
  return `${directory}/${name}`
}

/** Inode and time of every file: a file that was written again has others. */
const marks = (root: string): ReadonlyMap<string, string> =>
  new Map(
    Damage.files(root).map((name) => {
      const { ino, mtimeMs } = fs.statSync(path.join(root, name))
      return [name, `${ino} ${mtimeMs}`]
    })
  )

const differences = (before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): ReadonlyArray<string> =>
  [...new Set([...before.keys(), ...after.keys()])].filter((name) => before.get(name) !== after.get(name)).sort()

/** Every kind of damage that one file can have. */
const damages: Readonly<Record<string, (file: string) => unknown>> = {
  flipped: (file) => Damage.flipByte(file, Math.floor(fs.statSync(file).size / 3)),
  cut: (file) => Damage.truncate(file, Math.floor(fs.statSync(file).size / 2)),
  emptied: (file) => Damage.truncate(file, 0),
  extended: (file) => Damage.extend(file, Buffer.from("more")),
  gone: Damage.remove,
  "a directory": Damage.replaceByDirectory,
  "a symlink": (file) => Damage.replaceBySymlink(file, "/etc/passwd"),
  "a FIFO": Damage.replaceByFifo
}

/** Damages each file of `root` in each way, repairs it, and expects everything to be as it was but nothing else touched. */
const everyFile = Effect.fnUntraced(function* (
  root: string,
  source: string,
  unnoticed: (file: string, damage: string) => boolean = () => false
) {
  const whole = Workbench.snapshot(root)
  for (const file of whole.keys()) {
    for (const [name, damage] of Object.entries(damages)) {
      if (unnoticed(file, name)) continue
      const what = `${file} is ${name}`
      Workbench.restore(root, whole)
      damage(path.join(root, file))
      const before = marks(root)
      const done = yield* repair(root, source)
      assert.isTrue(
        done.before.results.results.some(({ severity }) => severity !== "info"),
        `${what}: nobody noticed`
      )
      assert.deepStrictEqual(Workbench.findings(done.after), [], what)
      assert.deepStrictEqual(done.impossible, [], what)
      assert.deepStrictEqual(paths(done), [file], what)
      assert.match(done.repaired[0]!.reason, / \[[a-z-]+\.[a-z-]+\]$/, what)
      assert.deepStrictEqual(differences(before, marks(root)), [file], what)
      if (!/^receipt/.test(file)) assert.deepStrictEqual(Workbench.snapshot(root), whole, what)
    }
  }
  Workbench.restore(root, whole)
})

/** As `everyFile`, with two files damaged at once: what one of them led to nobody has looked at. */
const everyPair = Effect.fnUntraced(function* (
  root: string,
  source: string,
  unnoticed: (file: string, damage: string) => boolean = () => false
) {
  const whole = Workbench.snapshot(root)
  const files = [...whole.keys()]
  for (const [index, one] of files.entries()) {
    for (const other of files.slice(index + 1)) {
      for (const [first, second] of [
        ["gone", "flipped"],
        ["flipped", "gone"],
        ["cut", "emptied"],
        ["emptied", "cut"]
      ] as const) {
        if (unnoticed(one, first) || unnoticed(other, second)) continue
        const what = `${one} is ${first} and ${other} is ${second}`
        Workbench.restore(root, whole)
        damages[first]!(path.join(root, one))
        damages[second]!(path.join(root, other))
        const before = marks(root)
        const planned = yield* Effect.either(repair(root, source, { dryRun: true }))
        const done = yield* Effect.either(repair(root, source))
        if (done._tag === "Left") {
          assert.match(done.left.message, /expected the same image/, what)
          assert.deepStrictEqual(differences(before, marks(root)), [], what)
          continue
        }
        // A receipt alone can be beyond repair: where the only other file that has the image's name is lost too.
        const impossible = done.right.impossible.map((left) => left.path)
        assert.isTrue(impossible.length === 0 || (one === "index.json" && impossible.join() === other), what)
        assert.deepStrictEqual(
          [...new Set(Workbench.findings(done.right.after).map(([, about]) => about))],
          impossible,
          what
        )
        const right = [one, other].filter((file) => !impossible.includes(file)).sort()
        assert.deepStrictEqual(paths(done.right), right, what)
        assert.deepStrictEqual(planned._tag === "Right" && paths(planned.right), right, what)
        assert.deepStrictEqual(differences(before, marks(root)), right, what)
      }
    }
  }
  Workbench.restore(root, whole)
})

describe("repairing two files at once", () => {
  it.scoped("of a directory", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = yield* Workbench.written(directory, image)
      yield* everyPair(root, Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "image.tar"))
    })
  )

  it.scoped("of a layout", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const layout = tree(directory, "layout", ImageBuilder.ociLayout([{ image, compression: "gzip" }]))
      const root = path.join(directory, "out")
      yield* Workbench.processUris(`oci-layout://${layout}`, `oci-layout://${root}:app`, undefined)
      yield* everyPair(root, layout, (file, damage) => /^receipt/.test(file) && damage === "gone")
    })
  )
})

describe("repairing a directory", () => {
  it.scoped("restores every file, whatever happened to it, and touches no other", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const layout = tree(directory, "layout", ImageBuilder.ociLayout([{ image, compression: "gzip" }]))
      const root = path.join(directory, "out")
      yield* Workbench.processUris(`oci-layout://${layout}`, `dir://${root}`, undefined)
      yield* everyFile(root, layout)
    })
  )

  it.scoped("restores each of several images, whose names need not be the source's", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const other = Workbench.small(["localhost/app:2"], "other")
      const archive = (built: ImageBuilder.BuiltImage, name: string) =>
        Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([{ ...built, names: [] }]), name)
      const root = yield* Workbench.written(directory, image, "?unique_names=true")
      yield* Workbench.written(directory, other, "?unique_names=true")
      const whole = Workbench.snapshot(root)
      const layer = (built: ImageBuilder.BuiltImage, index: number) =>
        `${built.layers[index]!.diffId.slice(7)}/layer.tar`
      Damage.remove(path.join(root, layer(image, 1)))
      Damage.flipByte(path.join(root, layer(other, 1)), 600)
      Damage.remove(path.join(root, "manifest-localhost_app-2.json"))
      const first = yield* repair(root, archive(image, "1.tar"))
      assert.deepStrictEqual(paths(first), [layer(image, 1)])
      assert.deepInclude(Workbench.findings(first.after), ["manifest.missing", "manifest-localhost_app-2.json"])
      const second = yield* repair(root, archive(other, "2.tar"))
      assert.deepStrictEqual(paths(second), [layer(other, 1), "manifest-localhost_app-2.json"].sort())
      assert.deepStrictEqual(Workbench.findings(second.after), [])
      assert.deepStrictEqual(Workbench.snapshot(root), whole)
      Damage.truncate(path.join(root, "catalog.json"), 20)
      assert.deepStrictEqual(paths(yield* repair(root, archive(image, "1.tar"))), ["catalog.json"])
      assert.deepStrictEqual(Workbench.snapshot(root), whole)
    })
  )

  it.scoped("of other tools keeps their names, and what they wrote anew", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]))
      const forms = {
        legacy: ImageBuilder.dockerLegacy([image]),
        podman: ImageBuilder.dockerDigestNames([image]),
        occystrap: ImageBuilder.occystrapDirectory([image])
      }
      for (const [name, entries] of Object.entries(forms)) {
        const root = tree(directory, name, entries)
        const whole = Workbench.snapshot(root)
        for (const file of whole.keys()) {
          const isLayer = /\.tar$/.test(file)
          const isConfig = file === `${image.id.slice(7)}.json`
          if ((!isLayer && !isConfig) || fs.lstatSync(path.join(root, file)).isSymbolicLink()) continue
          Damage.flipByte(path.join(root, file), isLayer ? 520 : 3)
          const done = yield* repair(`dir://${root}`, source)
          assert.deepStrictEqual(
            Workbench.findings(done.after).filter(([check]) => check !== "catalog.stale"),
            [],
            `${name} ${file}`
          )
          assert.deepStrictEqual(paths(done), [file], name)
          // The original config is better than the one that was written anew.
          if (isLayer || name !== "occystrap")
            assert.deepStrictEqual(fs.readFileSync(path.join(root, file)), whole.get(file))
        }
      }
    })
  )

  it.scoped("fills no file that another image means other content by", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const other = Workbench.small(["localhost/app:2"], "other")
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]))
      const forms = {
        theirs: ImageBuilder.occystrapDirectory([image, other], { uniqueNames: true }),
        ours: ImageBuilder.directory([image, other], { uniqueNames: true })
      }
      for (const [name, entries] of Object.entries(forms)) {
        const root = tree(directory, name, entries)
        const manifests = ["manifest-localhost_app-1.json", "manifest-localhost_app-2.json"].map(
          (file) => [`${root}/${file}`, JSON.parse(fs.readFileSync(`${root}/${file}`, "utf8"))] as const
        )
        const [[first, mine], [, theirs]] = manifests as [(typeof manifests)[0], (typeof manifests)[0]]
        const layer: string = theirs[0].Layers[1]
        mine[0].Layers[1] = layer
        fs.writeFileSync(first, JSON.stringify(mine))
        const whole = Workbench.snapshot(root)
        const done = yield* repair(`dir://${root}`, source)
        assert.deepStrictEqual(done.repaired, [], name)
        assert.deepStrictEqual(
          done.impossible.map((one) => [one.path, one.reason]),
          [[layer, "another image names it too, and means other content"]]
        )
        assert.deepInclude(Workbench.findings(done.after), ["layer.diff-id-mismatch", layer])
        assert.deepStrictEqual(Workbench.snapshot(root), whole)
      }
    })
  )

  it.scoped("fills a file that a damaged image names too, where its name or a receipt settles what it is", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const other = Workbench.small(["localhost/app:2"], "other")
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]))
      const theirs = tree(directory, "theirs", ImageBuilder.directory([image, other], { uniqueNames: true }))
      const ours = yield* Workbench.written(directory, image, "?unique_names=true")
      yield* Workbench.processUris(
        `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([other]), "other.tar")}`,
        `dir://${ours}?unique_names=true`,
        undefined
      )
      for (const root of [theirs, ours]) {
        const shared = `${image.layers[0]!.diffId.slice(7)}/layer.tar`
        const right = fs.readFileSync(`${root}/${shared}`)
        fs.rmSync(`${root}/${other.id.slice(7)}.json`)
        Damage.flipByte(`${root}/${shared}`, 520)
        const done = yield* repair(`dir://${root}`, source)
        assert.include(paths(done), shared)
        assert.deepStrictEqual(fs.readFileSync(`${root}/${shared}`), right)
      }
    })
  )

  it.scoped("clears away what a run that was cut off has left", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = yield* Workbench.written(directory, image)
      const run = { pid: 4_194_303, started: "1", host: "", boot: "gone", target: "manifest.json", image: "x" }
      const journal = ".tallyman-run-4194303-000000000000.json"
      const { hostname } = yield* Effect.promise(() => import("node:os"))
      fs.writeFileSync(path.join(root, journal), JSON.stringify({ ...run, host: hostname() }))
      fs.writeFileSync(path.join(root, journal.replace(".json", ".0.partial")), "")
      const done = yield* repair(root, path.join(directory, "out-source.tar"))
      assert.deepInclude(Workbench.findings(done.before), ["directory.incomplete", journal])
      assert.deepStrictEqual(paths(done), [journal.replace(".json", ".0.partial"), journal])
      assert.deepStrictEqual(Workbench.findings(done.after), [])
    })
  )

  it.scoped("says what it cannot put in place", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = yield* Workbench.written(directory, image)
      const place = `${image.layers[0]!.diffId.slice(7)}/layer.tar`
      fs.rmSync(path.join(root, place))
      fs.mkdirSync(path.join(root, place, "mine"), { recursive: true })
      const done = yield* repair(root, path.join(directory, "out-source.tar"))
      assert.deepStrictEqual(done.repaired, [])
      assert.deepStrictEqual(done.impossible, [
        { path: place, reason: "a directory that is not empty stands in its place" }
      ])
      assert.isTrue(done.after.results.hasErrors)
      assert.isTrue(fs.existsSync(path.join(root, place, "mine")))
    })
  )
})

describe("repairing an OCI layout", () => {
  it.scoped("restores every file, whatever happened to it, and touches no other", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      // Layers as they are, and layers that have to be compressed again into the very same bytes.
      for (const [name, option] of [
        ["plain", ""],
        ["gzip", "?compression=gzip&level=9"],
        ["zstd", "?compression=zstd"]
      ] as const) {
        const root = path.join(directory, name)
        yield* Workbench.processUris(`tar://${archive}`, `oci-layout://${root}${option}`, undefined)
        // Layouts of other tools have no receipts: that one is gone cannot be told.
        yield* everyFile(root, archive, (file, damage) => file.startsWith("receipt") && damage === "gone")
      }
    })
  )

  it.scoped("of other tools takes what is lost from another layout", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const arm = ImageBuilder.build({ names: [], layers: [[Entry.file("arm", "1")]], architecture: "arm64" })
      const entries = ImageBuilder.ociLayout([
        {
          index: [
            { image, compression: "gzip" },
            { image: arm, compression: "zstd" }
          ],
          names: ["latest"]
        },
        { image: arm, docker: true }
      ])
      const source = Workbench.archiveAt(directory, entries)
      const root = tree(directory, "layout", entries)
      yield* everyFile(root, source)
      const whole = Workbench.snapshot(root)
      for (const name of whole.keys()) Damage.remove(path.join(root, name))
      fs.writeFileSync(path.join(root, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}')
      const error = yield* Effect.flip(repair(`oci-layout://${root}`, source))
      assert.deepInclude(error, { reason: "NoSuchImage" })
    })
  )

  it.scoped("of an index restores all that it leads to, and lists what refers to it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const from = Fixture.make(path.join(directory, "from"))
      const root = path.join(directory, "out")
      yield* Workbench.processUris(`oci-layout://${from.directory}:app`, `oci-layout://${root}:app`, undefined, {
        allPlatforms: true,
        referrers: true
      } as Layouts.SourceOptions)
      // Of an index no receipt can be made anew: it is no image.
      yield* everyFile(root, from.directory, (file) => file.startsWith("receipt"))
    })
  )

  it.scoped("says what the source has in other bytes only", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = tree(directory, "layout", ImageBuilder.ociLayout([{ image, compression: "gzip" }]))
      const source = Workbench.archiveAt(directory, ImageBuilder.ociLayout([{ image, compression: "zstd" }]))
      const layers = Damage.files(root).filter((file) => fs.readFileSync(path.join(root, file))[0] === 0x1f)
      Damage.flipByte(path.join(root, layers[0]!), 20)
      const before = marks(root)
      const done = yield* repair(root, source)
      assert.deepStrictEqual(done.impossible, [{ path: layers[0]!, reason: "the source does not have these bytes" }])
      assert.deepStrictEqual([done.repaired, differences(before, marks(root))], [[], []])
      assert.isTrue(done.after.results.hasErrors)
    })
  )

  it.scoped("does not put back what was taken out of a sound index", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const other = Workbench.small(["localhost/app:2"], "other")
      const root = path.join(directory, "layout")
      const sources = [image, other].map((one, index) =>
        Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([one]), `${index}.tar`)
      )
      for (const source of sources) yield* Workbench.processUris(`tar://${source}`, `oci-layout://${root}`, undefined)
      const index = path.join(root, "index.json")
      const { manifests, ...rest } = JSON.parse(fs.readFileSync(index, "utf8")) as { manifests: ReadonlyArray<unknown> }
      fs.writeFileSync(index, JSON.stringify({ ...rest, manifests: manifests.slice(1) }))
      assert.deepStrictEqual(paths(yield* repair(root, sources[1]!)), [])
      // What is damaged is another matter: then receipts tell of every image.
      Damage.truncate(index, 30)
      assert.deepStrictEqual(paths(yield* repair(root, sources[1]!)), ["index.json"])
      assert.lengthOf(
        (JSON.parse(fs.readFileSync(index, "utf8")) as { manifests: ReadonlyArray<unknown> }).manifests,
        2
      )
    })
  )
})

describe("repairing an archive", () => {
  it.scoped("writes it anew as it was", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = tree(directory, "source", ImageBuilder.directory([{ ...image, names: ["localhost/else:1"] }]))
      const first = tree(directory, "first", ImageBuilder.directory([image]))
      for (const format of ["hybrid", "docker", "oci"] as const) {
        for (const compression of ["none", "gzip", "zstd"] as const) {
          const file = path.join(directory, `${format}-${compression}.tar`)
          yield* Workbench.processUris(
            `dir://${first}`,
            `tar://${file}?format=${format}&compression=${compression}`,
            undefined
          )
          const whole = fs.readFileSync(file)
          for (const damage of ["flipped", "cut", "emptied"] as const) {
            if (damage === "flipped") Damage.flipByte(file, whole.indexOf('"rootfs"'))
            else damages[damage]!(file)
            const done = yield* repair(`tar://${file}`, source)
            assert.deepStrictEqual(Workbench.findings(done.after), [], `${file} was ${damage}`)
            assert.deepStrictEqual(paths(done), [path.basename(file), `${path.basename(file)}.receipt.json`])
            assert.deepStrictEqual(fs.readFileSync(file), whole, `${file} was ${damage}`)
          }
        }
      }
    })
  )

  it.scoped("of other tools keeps its names and form", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = tree(directory, "source", ImageBuilder.ociLayout([{ image, names: [], compression: "gzip" }]))
      for (const [name, entries] of [
        ["legacy", ImageBuilder.dockerLegacy([image])],
        ["hybrid", ImageBuilder.dockerHybrid([image])],
        ["oci", ImageBuilder.ociLayout([{ image, compression: "gzip" }])]
      ] as const) {
        const file = Workbench.archiveAt(directory, entries, `${name}.tar`)
        const layer = fs.readFileSync(file).indexOf(name === "oci" ? Buffer.from([0x1f, 0x8b]) : "content")
        Damage.flipByte(file, layer + (name === "oci" ? 30 : 0))
        const done = yield* repair(file, source)
        assert.isTrue(done.before.results.hasErrors)
        assert.deepStrictEqual(Workbench.findings(done.after), [], name)
        assert.deepStrictEqual(
          done.after.images.map((one) => one.image),
          done.before.images.map((one) => one.image),
          name
        )
      }
    })
  )

  it.scoped("leaves one alone of which nothing tells what it was", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const other = Workbench.small(["localhost/app:2"], "other")
      const source = tree(directory, "source", ImageBuilder.directory([image]))
      const unknown = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "unknown.tar")
      Damage.truncate(unknown, 100)
      assert.deepInclude(yield* Effect.flip(repair(unknown, source)), { _tag: "SourceError", reason: "NoSuchImage" })

      // Appended to, and its documents cut off: its receipt tells that there was more.
      const grown = path.join(directory, "grown.tar")
      yield* Workbench.processUris(`dir://${source}`, `tar://${grown}`, undefined)
      const second = tree(directory, "second", ImageBuilder.directory([other]))
      yield* Workbench.processUris(`dir://${second}`, `tar://${grown}`, undefined, {
        append: true
      } as Layouts.SourceOptions)
      Damage.truncate(grown, Math.floor(fs.statSync(grown).size / 2))
      const size = fs.statSync(grown).size
      for (const from of [source, second]) {
        const result = yield* Effect.either(repair(grown, from))
        if (result._tag === "Right") assert.deepStrictEqual(result.right.repaired, [])
        assert.strictEqual(fs.statSync(grown).size, size)
      }
    })
  )
})

describe("a repair", () => {
  it.scoped("refuses another image, itself, and what it cannot write", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const other = Workbench.archiveAt(
        directory,
        ImageBuilder.dockerLegacy([{ ...Workbench.small(image.names, "other") }]),
        "other.tar"
      )
      const right = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "right.tar")
      const targets = [
        yield* Workbench.written(directory, image),
        tree(directory, "layout", ImageBuilder.ociLayout([{ image }])),
        Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]), "hybrid.tar")
      ]
      for (const target of targets) {
        const file = fs.statSync(target).isFile()
          ? target
          : path.join(target, Damage.files(target).find((name) => /layer\.tar|blobs/.test(name))!)
        Damage.flipByte(file, Math.floor(fs.statSync(file).size / 3))
        const bytes = fs.statSync(target).isFile() ? fs.readFileSync(target) : Workbench.snapshot(target)
        const error = yield* Effect.flip(repair(target, other))
        assert.deepInclude(error, { _tag: "SourceError", reason: "NoSuchImage" }, target)
        assert.match(error.message, /expected the same image, found localhost\/app:1 \(sha256:[a-f0-9]{64}\) there/)
        assert.deepStrictEqual(
          fs.statSync(target).isFile() ? fs.readFileSync(target) : Workbench.snapshot(target),
          bytes
        )
        assert.deepInclude(yield* Effect.flip(repair(target, target)), { _tag: "UsageError" })
      }
      assert.deepInclude(yield* Effect.flip(repair("registry://localhost/app:1", right)), { _tag: "UsageError" })
      assert.deepInclude(yield* Effect.flip(repair(right, `${directory}/none`)), { reason: "NotFound" })
    })
  )

  it.scoped("refuses where another image took the place of the one that a receipt records", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = yield* Workbench.written(directory, image)
      const other = Workbench.small(image.names, "other")
      for (const entry of ImageBuilder.directory([other])) {
        if (entry.type !== "file") continue
        const file = path.join(root, Buffer.from(entry.path, "latin1").toString())
        fs.mkdirSync(path.dirname(file), { recursive: true })
        fs.writeFileSync(file, entry.body)
      }
      const bytes = Workbench.snapshot(root)
      const error = yield* Effect.flip(repair(root, path.join(directory, "out-source.tar")))
      assert.deepInclude(error, { reason: "NoSuchImage" })
      assert.deepStrictEqual(Workbench.snapshot(root), bytes)
    })
  )

  it.scoped("does not take an archive for the image of a receipt that was left there", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = tree(directory, "source", ImageBuilder.directory([image]))
      const file = path.join(directory, "image.tar")
      yield* Workbench.processUris(`dir://${source}`, `tar://${file}`, undefined)
      const other = Workbench.small(image.names, "another")
      fs.writeFileSync(file, ImageBuilder.archive(ImageBuilder.dockerLegacy([other])))
      Damage.flipByte(file, fs.readFileSync(file).indexOf("another"))
      const bytes = fs.readFileSync(file)
      assert.deepInclude(yield* Effect.flip(repair(file, source)), { _tag: "SourceError", reason: "NoSuchImage" })
      assert.deepStrictEqual(fs.readFileSync(file), bytes)
    })
  )

  it.scoped("knows an image whose config was written anew by what it says, not by the name that was kept", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const old = ImageBuilder.occystrapDirectory([image])
      const root = tree(directory, "old", old)
      const layers = Damage.files(root).filter((name) => name.endsWith("layer.tar"))
      for (const source of [tree(directory, "copy", old), tree(directory, "source", ImageBuilder.directory([image]))]) {
        Damage.flipByte(path.join(root, layers[0]!), 520)
        assert.deepStrictEqual(paths(yield* repair(root, source)), [layers[0]!])
      }
      // The config's name is still that of the image, its values are those of another.
      const config = path.join(root, `${image.id.slice(7)}.json`)
      fs.writeFileSync(config, fs.readFileSync(config, "utf8").replace("/bin/sh", "/bin/ash"))
      const bytes = Workbench.snapshot(root)
      assert.deepInclude(yield* Effect.flip(repair(root, `${directory}/source`)), { reason: "NoSuchImage" })
      assert.deepStrictEqual(Workbench.snapshot(root), bytes)
    })
  )

  it.scoped("changes nothing where nothing is wrong, when it is dry, or when the source is damaged", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = tree(directory, "source", ImageBuilder.directory([image]))
      const layer = `${image.layers[1]!.diffId.slice(7)}/layer.tar`
      const root = yield* Workbench.written(directory, image)
      const sound = marks(root)
      assert.deepStrictEqual((yield* repair(root, source)).repaired, [])
      assert.deepStrictEqual(differences(sound, marks(root)), [])
      Damage.flipByte(path.join(root, layer), 600)
      Damage.remove(path.join(root, "catalog.json"))
      const before = marks(root)
      const dry = yield* repair(root, source, { dryRun: true })
      assert.deepStrictEqual(paths(dry), [layer, "catalog.json"].sort())
      assert.isTrue(dry.after.results.hasErrors)
      assert.deepStrictEqual(differences(before, marks(root)), [])
      Damage.flipByte(path.join(source, layer), 601)
      const error = yield* Effect.flip(repair(root, source))
      assert.deepInclude(error, { _tag: "SourceError", reason: "Damaged" })
      assert.deepStrictEqual(differences(before, marks(root)), [])
      assert.deepStrictEqual(
        fs.readdirSync(root).filter((name) => name.startsWith(".tallyman")),
        []
      )
    })
  )

  it.scoped("leaves faults alone that the image has from its making", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const odd = ImageBuilder.build({
        names: ["localhost/odd:1"],
        layers: [[Entry.file("a", "1"), Entry.file("a", "2")], [Entry.file("b", "")]]
      })
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([odd]))
      for (const target of [
        yield* Workbench.written(directory, odd),
        tree(directory, "layout", ImageBuilder.ociLayout([{ image: odd }])),
        Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([odd]), "target.tar")
      ]) {
        const done = yield* repair(target, source)
        assert.isTrue(done.before.results.hasErrors, target)
        assert.deepStrictEqual([done.repaired, done.impossible], [[], []], target)
      }
    })
  )
})

describe("the library", () => {
  it.scoped("verifies against a source, and repairs from it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const root = yield* Workbench.written(directory, image)
      const source = path.join(directory, "out-source.tar")
      const layer = `${image.layers[0]!.diffId.slice(7)}/layer.tar`
      Damage.remove(path.join(root, layer))
      const found = yield* Tallyman.verify(root, { against: source })
      assert.deepInclude(Workbench.findings(found), ["against.unreadable", "out"])
      assert.deepInclude(Workbench.findings(found), ["layer.missing", layer])
      const { after, repaired } = yield* Tallyman.repair(root, source, { depth: "fast" })
      assert.deepStrictEqual([repaired.map((one) => one.path), Workbench.findings(after)], [[layer], []])
      const right = yield* Tallyman.verify(root, { against: source, depth: "full" })
      assert.deepStrictEqual(Workbench.findings(right), [])
    }).pipe(Effect.provide(Workbench.pool))
  )
})
