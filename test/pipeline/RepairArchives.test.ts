/** Archives that are compressed as a whole, or hold several images, damaged and repaired from another copy. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Digest from "../../src/image/Digest.ts"
import type * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Workbench from "../fault/Workbench.ts"
import { findings, repair } from "../fault/Workbench.ts"
import * as Fixture from "../filter/IndexFixture.ts"
import { leaveDeadRun, membersOf, readJson, traces } from "../layout/writing.ts"

const image = Workbench.small(["localhost/app:1"], "content")
const other = Workbench.small(["localhost/app:2"], "other")

const forms = (
  images: ReadonlyArray<ImageBuilder.BuiltImage>
): Readonly<Record<string, ReadonlyArray<Entry.Entry>>> => ({
  legacy: ImageBuilder.dockerLegacy(images),
  podman: ImageBuilder.dockerDigestNames(images),
  hybrid: ImageBuilder.dockerHybrid(images),
  oci: ImageBuilder.ociLayout(images.map((one) => ({ image: one })))
})

const extensions = { none: "tar", gzip: "tar.gz", zstd: "tar.zst" } as const
type Compression = keyof typeof extensions

/** Writes an archive whose bytes `damage` changes before it is compressed. */
const archiveOf = (
  file: string,
  entries: ReadonlyArray<Entry.Entry>,
  compression: Compression,
  damage: (tar: Buffer) => void
): string => {
  const tar = Buffer.from(ImageBuilder.archive(entries))
  damage(tar)
  const name = `${file}.${extensions[compression]}`
  fs.writeFileSync(name, ImageBuilder.compress(tar, compression))
  return name
}

/** Inverts the first byte of `text`, which is a file's content in a layer. */
const flip =
  (text: string) =>
  (tar: Buffer): void => {
    const at = tar.indexOf(Buffer.concat([Buffer.from(text), Buffer.alloc(16)]))
    assert.isAbove(at, 0)
    tar[at]! ^= 0xff
  }

const magics = { none: 0, gzip: 0x1f, zstd: 0x28 } as const
const isCompressed = (file: string, compression: Compression): boolean =>
  compression === "none" || fs.readFileSync(file)[0] === magics[compression]

const unpacked = (file: string, compression: Compression): Buffer => {
  const copy = `${file}.copy`
  const [program, ...args] = compression === "gzip" ? ["gzip", "-dc"] : ["zstd", "-dcq"]
  if (compression === "none") return fs.readFileSync(file)
  fs.writeFileSync(copy, childProcess.execFileSync(program!, [...args, file]))
  return fs.readFileSync(copy)
}

const paths = (changes: ReadonlyArray<{ readonly path: string }>): ReadonlyArray<string> =>
  changes.map((one) => one.path).sort()

/** A layout that holds these images, and no other. */
const sourceOf = (directory: string, ...images: ReadonlyArray<ImageBuilder.BuiltImage>): string => {
  const root = path.join(
    directory,
    `source-${images.map(({ id, names }) => `${names[0]!.at(-1)}${id.slice(7, 15)}`).join("-")}`
  )
  if (!fs.existsSync(root)) ImageBuilder.writeTree(root, ImageBuilder.ociLayout(images.map((one) => ({ image: one }))))
  return root
}

describe("repairing an archive that is compressed as a whole", () => {
  for (const compression of ["gzip", "zstd"] as const) {
    it.scoped(`writes it anew in ${compression} where something is damaged, and only then`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const source = sourceOf(directory, image)
        const wrong = sourceOf(directory, other)
        for (const [name, entries] of Object.entries(forms([image]))) {
          const sound = archiveOf(path.join(directory, `sound-${name}`), entries, compression, () => {})
          const { ino, mtimeMs } = fs.statSync(sound)
          assert.deepStrictEqual((yield* repair(sound, source)).repaired, [])
          assert.deepInclude(fs.statSync(sound), { ino, mtimeMs })
          const file = archiveOf(path.join(directory, name), entries, compression, flip("content"))
          const damaged = fs.readFileSync(file)
          assert.deepInclude(yield* Effect.flip(repair(file, wrong)), { reason: "NoSuchImage" }, name)
          const dry = yield* repair(file, source, { dryRun: true })
          assert.deepStrictEqual(fs.readFileSync(file), damaged)
          const done = yield* repair(file, source)
          assert.deepStrictEqual([done.repaired, done.impossible], [dry.repaired, []], name)
          assert.deepStrictEqual(paths(done.repaired), [path.basename(file), `${path.basename(file)}.receipt.json`])
          assert.isTrue(done.before.results.hasErrors)
          assert.deepStrictEqual(findings(done.after), [], name)
          assert.isTrue(isCompressed(file, compression), name)
          assert.deepStrictEqual(
            fs.readdirSync(directory).filter((one) => one.startsWith(".")),
            []
          )
          // Nothing is left of it but the receipt that tells which image it was.
          for (const size of [Math.floor(fs.statSync(file).size / 2), 0]) {
            Damage.truncate(file, size)
            const again = yield* repair(`tar://${file}`, source)
            assert.deepStrictEqual([findings(again.after), again.impossible], [[], []], name)
            assert.isTrue(isCompressed(file, compression), name)
          }
        }
      })
    )
  }

  it.scoped("does not take names from a stream whose checksum is wrong", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const file = archiveOf(path.join(directory, "image"), ImageBuilder.dockerLegacy([image]), "gzip", () => {})
      Damage.flipByte(file, fs.statSync(file).size - 8)
      const bytes = fs.readFileSync(file)
      const renamed = sourceOf(directory, { ...image, names: ["localhost/app:3"] })
      const done = yield* repair(file, renamed)
      assert.deepStrictEqual([done.repaired, paths(done.impossible)], [[], ["image.tar.gz"]])
      assert.match(
        done.impossible[0]!.reason,
        /names may be wrong: expected localhost\/app:3 .*found localhost\/app:1$/
      )
      assert.deepStrictEqual(fs.readFileSync(file), bytes)
      assert.deepStrictEqual(findings((yield* repair(file, sourceOf(directory, image))).after), [])
    })
  )
})

describe("repairing an archive of several images", () => {
  for (const compression of ["none", "gzip", "zstd"] as const) {
    it.scoped(`restores what the source has, and keeps every other byte (${compression})`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const source = sourceOf(directory, image)
        const second = sourceOf(directory, other)
        const neither = sourceOf(directory, Workbench.small(["localhost/app:1"], "third"))
        for (const [name, entries] of Object.entries(forms([image, other]))) {
          const whole = Buffer.from(ImageBuilder.archive(entries))
          const both = archiveOf(path.join(directory, name), entries, compression, (tar) => {
            flip("content")(tar)
            flip("other")(tar)
          })
          const half = Buffer.from(whole)
          flip("other")(half)
          const damaged = fs.readFileSync(both)
          assert.deepInclude(yield* Effect.flip(repair(both, neither)), { reason: "NoSuchImage" }, name)
          const dry = yield* repair(both, source, { dryRun: true })
          assert.deepStrictEqual(fs.readFileSync(both), damaged, name)
          const first = yield* repair(both, source)
          assert.deepStrictEqual([first.repaired, first.impossible], [dry.repaired, dry.impossible], name)
          assert.lengthOf(first.repaired, 1, name)
          assert.lengthOf(first.impossible, 1, name)
          assert.match(first.repaired[0]!.reason, / \[[a-z-]+\.[a-z-]+\]$/, name)
          assert.isTrue(first.after.results.hasErrors, name)
          assert.include(
            findings(first.after).map(([, subject]) => subject),
            first.impossible[0]!.path,
            name
          )
          assert.isTrue(isCompressed(both, compression), name)
          assert.deepStrictEqual(unpacked(both, compression), half, name)
          const last = yield* repair(both, second)
          assert.deepStrictEqual(paths(last.repaired), paths(first.impossible), name)
          assert.deepStrictEqual(findings(last.after), [], name)
          assert.deepStrictEqual(unpacked(both, compression), whole, name)
          const { ino } = fs.statSync(both)
          assert.deepStrictEqual((yield* repair(both, source)).repaired, [], name)
          assert.strictEqual(fs.statSync(both).ino, ino)
          // From a source that has both images, both at once.
          fs.writeFileSync(both, damaged)
          const at = yield* repair(both, sourceOf(directory, image, other))
          assert.lengthOf(at.repaired, 2, name)
          assert.deepStrictEqual(unpacked(both, compression), whole, name)
          assert.deepStrictEqual(
            fs.readdirSync(directory).filter((one) => one.startsWith(".")),
            [],
            name
          )
        }
      })
    )
  }

  it.scoped("adds members that are lost, and replaces what has another size, type or header", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = sourceOf(directory, image)
      for (const [name, entries] of Object.entries(forms([image, other]))) {
        const isTop = (one: Entry.Entry): boolean => one.type === "file" && Buffer.from(one.body).includes("content")
        const [top] = entries.filter(isTop)
        assert.isDefined(top, name)
        const changes: Readonly<Record<string, (one: Entry.Entry) => ReadonlyArray<Entry.Entry>>> = {
          gone: () => [],
          shorter: (one) => [{ ...one, body: Buffer.from("short") } as Entry.Entry],
          longer: (one) => [{ ...one, body: Buffer.alloc(9000, 7) } as Entry.Entry],
          "a symlink": ({ path: at }) => [Entry.symlink(at, "nothing")]
        }
        for (const [what, change] of Object.entries(changes)) {
          const file = path.join(directory, `${name}.tar`)
          fs.writeFileSync(file, ImageBuilder.archive(entries.flatMap((one) => (one === top ? change(one) : [one]))))
          const done = yield* repair(file, source)
          assert.deepStrictEqual(paths(done.repaired), [top!.path], `${name} ${what}`)
          assert.deepStrictEqual(done.impossible, [], `${name} ${what}`)
          assert.deepStrictEqual(findings(done.after), [], `${name} ${what}`)
          // What is not the lost member's is there still, in its order.
          const kept = fs.readFileSync(file)
          let at = 0
          for (const one of entries) {
            if (one === top || one.type !== "file") continue
            const found = kept.indexOf(ImageBuilder.archive([one]).subarray(0, 512 + one.body.length), at)
            assert.isAtLeast(found, at, `${name} ${what}: ${one.path}`)
            at = found
          }
        }
        // A header whose checksum is wrong, but which says what it should.
        const file = path.join(directory, `${name}.tar`)
        const tar = Buffer.from(ImageBuilder.archive(entries))
        fs.writeFileSync(file, tar)
        const header = tar.lastIndexOf("ustar", tar.indexOf(top!.type === "file" ? top!.body : "")) - 257
        Damage.overwrite(file, header + 136, Buffer.from("7"))
        flipIn(file, "content")
        const done = yield* repair(file, source)
        assert.deepStrictEqual(paths(done.repaired), [top!.path], name)
        assert.deepStrictEqual(findings(done.after), [], name)
      }
    })
  )

  it.scoped("gives back the very bytes that its receipt records", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const [one, two] = [sourceOf(directory, image), sourceOf(directory, other)]
      for (const format of ["hybrid", "docker", "oci"]) {
        for (const compression of ["none", "gzip"]) {
          const file = path.join(directory, `${format}-${compression}.tar`)
          for (const source of [one, two]) {
            yield* Workbench.processUris(
              `oci-layout://${source}`,
              `tar://${file}?format=${format}&compression=${compression}`,
              undefined,
              { append: true } as Layouts.SourceOptions
            )
          }
          const whole = fs.readFileSync(file)
          // The layer that only the second image has, which was written the last time.
          Damage.flipByte(file, whole.indexOf(compression === "none" ? "other" : "rootfs") + 1)
          const done = [yield* repair(file, one), yield* repair(file, two)]
          assert.deepStrictEqual(findings(done[1]!.after), [], file)
          assert.deepStrictEqual(fs.readFileSync(file), whole, file)
        }
      }
    })
  )

  it.scoped("leaves alone what cannot be told apart, and says so", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = sourceOf(directory, image)
      const entries = ImageBuilder.dockerLegacy([image, other])
      const broken = archiveOf(path.join(directory, "broken"), entries, "gzip", () => {})
      Damage.flipByte(broken, fs.statSync(broken).size - 8)
      const cut = archiveOf(path.join(directory, "cut"), [...entries].reverse(), "none", () => {})
      Damage.truncate(cut, fs.statSync(cut).size - 1024 - 100)
      for (const file of [broken, cut]) {
        const bytes = fs.readFileSync(file)
        const done = yield* repair(file, source)
        assert.deepStrictEqual(done.repaired, [])
        assert.match(
          done.impossible[0]!.reason,
          /^the archive itself is damaged .* other images too: localhost\/app:2$/
        )
        assert.isTrue(done.after.results.hasErrors)
        assert.deepStrictEqual(fs.readFileSync(file), bytes)
      }
      // An entry that names another image's layer: filling that with its own would damage the other one.
      const file = path.join(directory, "swapped.tar")
      const layer = (entry: Entry.Entry): string => (entry.type === "file" ? Buffer.from(entry.body).toString() : "")
      const manifest = JSON.parse(layer(entries.find((entry) => entry.path === "manifest.json")!))
      manifest[0].Layers[1] = manifest[1].Layers[1]
      fs.writeFileSync(
        file,
        ImageBuilder.archive(
          entries.map((entry) =>
            entry.path === "manifest.json"
              ? ({ ...entry, body: Buffer.from(JSON.stringify(manifest)) } as Entry.Entry)
              : entry
          )
        )
      )
      const swapped = fs.readFileSync(file)
      const done = yield* repair(file, source)
      assert.deepStrictEqual([done.repaired, fs.readFileSync(file)], [[], swapped])
      assert.deepInclude(done.impossible, {
        path: manifest[1].Layers[1],
        reason: "another image names it too, and means other content"
      })
    })
  )

  it.scoped("is as it was where a run was cut off, and the next one completes it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = sourceOf(directory, image)
      const entries = ImageBuilder.dockerHybrid([image, other])
      const file = archiveOf(path.join(directory, "image"), entries, "gzip", flip("content"))
      leaveDeadRun(directory, "image.tar.gz")
      const done = yield* repair(file, source)
      assert.deepStrictEqual(findings(done.after), [])
      assert.deepStrictEqual(
        fs.readdirSync(directory).filter((one) => one.startsWith(".")),
        []
      )
    })
  )
})

/** A member's bytes in an archive: headers and padding too. */
const memberIn = (
  tar: Buffer,
  name: string
): { readonly start: number; readonly data: number; readonly end: number } => {
  const start = tar.indexOf(`${name}\0`)
  assert.strictEqual(start % 512, 0, name)
  const size = Number.parseInt(tar.toString("latin1", start + 124, start + 135), 8)
  return { start, data: start + 512, end: start + 512 + Math.ceil(size / 512) * 512 }
}

/** What can happen to one member. */
const memberDamages: Readonly<Record<string, (tar: Buffer, name: string) => Buffer>> = {
  flipped: (tar, name) => {
    const copy = Buffer.from(tar)
    copy[memberIn(tar, name).data + 1]! ^= 0xff
    return copy
  },
  gone: (tar, name) => {
    const { end, start } = memberIn(tar, name)
    return Buffer.concat([tar.subarray(0, start), tar.subarray(end)])
  },
  "of another size": (tar, name) => {
    const { end, start } = memberIn(tar, name)
    const other = ImageBuilder.archive([Entry.file(name, "other bytes")]).subarray(0, 1024)
    return Buffer.concat([tar.subarray(0, start), other, tar.subarray(end)])
  }
}

const everyMember = Effect.fnUntraced(function* (
  file: string,
  source: string,
  unnoticed: (name: string, damage: string) => boolean = () => false
) {
  const whole = fs.readFileSync(file)
  const members = membersOf(file)
  for (const name of members.keys()) {
    if (name.endsWith("/")) continue
    for (const [damage, apply] of Object.entries(memberDamages)) {
      if (unnoticed(name, damage)) continue
      const what = `${name} is ${damage}`
      const damaged = apply(whole, name)
      fs.writeFileSync(file, damaged)
      const dry = yield* repair(file, source, { dryRun: true })
      assert.deepStrictEqual(fs.readFileSync(file), damaged, what)
      const done = yield* repair(file, source)
      assert.deepStrictEqual([done.repaired, done.impossible], [dry.repaired, []], what)
      assert.deepStrictEqual(paths(done.repaired), [name], what)
      assert.deepStrictEqual(findings(done.after), [], what)
      const now = fs.readFileSync(file)
      if (damage === "flipped") assert.deepStrictEqual(now, whole, what)
      assert.deepStrictEqual(membersOf(file).get(name), members.get(name), what)
      assert.deepStrictEqual(memberDamages["gone"]!(now, name), memberDamages["gone"]!(whole, name), what)
    }
  }
  fs.writeFileSync(file, whole)
})

const graphArchive = (from: Fixture.Fixture, file: string, more: { readonly append?: boolean } = {}) =>
  Workbench.processUris(`oci-layout://${from.directory}:app`, `tar://${file}?format=oci`, undefined, {
    allPlatforms: true,
    referrers: true,
    ...more
  } as Layouts.SourceOptions)

/** What may be missing, as an index lists it and either holds its bytes or has everything that it leads to elsewhere. */
const mayBeGone = ({ images, nested, unknown }: Fixture.Fixture): ReadonlySet<string> =>
  new Set([images.amd64, nested.plain, unknown].map(({ digest }) => Digest.blobPath(digest)))

const flipped = (tar: Buffer, ...names: ReadonlyArray<string>): Buffer =>
  names.reduce((left, name) => memberDamages["flipped"]!(left, name), tar)

const blobPaths = (from: Fixture.Fixture, { digest }: Fixture.Descriptor) => {
  const { config, layers } = readJson(from.directory, Digest.blobPath(digest))
  return { config: Digest.blobPath(config.digest), own: Digest.blobPath(layers.at(-1).digest) }
}

describe("repairing an archive of an index", () => {
  it.scoped("restores every member, whatever happened to it, and no other byte", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const from = Fixture.make(path.join(directory, "from"))
      const file = path.join(directory, "image.tar")
      yield* graphArchive(from, file)
      yield* everyMember(file, from.directory)
      // Nothing but what it holds tells what it was.
      const copy = path.join(directory, "copy.tar")
      fs.copyFileSync(file, copy)
      fs.rmSync(`${file}.receipt.json`)
      const unnoticed = mayBeGone(from)
      yield* everyMember(file, copy, (name, damage) => damage === "gone" && unnoticed.has(name))
    })
  )

  it.scoped("restores several members at once, the index and what it leads to", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const from = Fixture.make(path.join(directory, "from"))
      const [amd64, arm64] = [blobPaths(from, from.images.amd64), blobPaths(from, from.images.arm64)]
      const damaged = [
        "index.json",
        Digest.blobPath(from.root.digest),
        Digest.blobPath(from.nested.arm64.digest),
        Digest.blobPath(from.images.arm64.digest),
        Digest.blobPath(from.attestations.amd64.digest),
        arm64.config,
        amd64.own
      ]
      for (const compression of ["none", "gzip", "zstd"] as const) {
        const tar = path.join(directory, "image.tar")
        yield* graphArchive(from, tar)
        const whole = fs.readFileSync(tar)
        const file = `${path.join(directory, compression)}.${extensions[compression]}`
        fs.writeFileSync(file, ImageBuilder.compress(flipped(whole, ...damaged), compression))
        fs.copyFileSync(`${tar}.receipt.json`, `${file}.receipt.json`)
        leaveDeadRun(directory, path.basename(file))
        const done = yield* repair(file, from.directory)
        assert.deepStrictEqual([paths(done.repaired), done.impossible], [[...damaged].sort(), []])
        assert.deepStrictEqual(findings(done.after), [])
        assert.deepStrictEqual(unpacked(file, compression), whole)
        assert.deepStrictEqual(traces(directory), [])
        const { ino } = fs.statSync(file)
        assert.deepStrictEqual((yield* repair(file, from.directory)).repaired, [])
        assert.strictEqual(fs.statSync(file).ino, ino)
      }
    })
  )

  it.scoped(
    "takes what there is from a source with fewer images, says what that lacks, and refuses one with others",
    () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const from = Fixture.make(path.join(directory, "from"))
        const file = path.join(directory, "image.tar")
        yield* graphArchive(from, file)
        const whole = fs.readFileSync(file)
        const [amd64, arm64] = [blobPaths(from, from.images.amd64), blobPaths(from, from.images.arm64)]
        const manifest = Digest.blobPath(from.images.arm64.digest)
        const attestation = Digest.blobPath(from.attestations.arm64.digest)
        const damaged = flipped(whole, amd64.own, amd64.config, arm64.own, arm64.config, manifest, attestation)
        fs.writeFileSync(file, damaged)
        const refused = yield* Effect.flip(repair(file, sourceOf(directory, image)))
        assert.deepInclude(refused, { reason: "NoSuchImage" })
        assert.match(refused.message, /expected the same image, found .* here$/)
        assert.deepStrictEqual(fs.readFileSync(file), damaged)
        const fewer = path.join(directory, "arm64")
        yield* Workbench.processUris(
          `oci-layout://${from.directory}:app?platform=linux/arm64`,
          `oci-layout://${fewer}`,
          undefined
        )
        const first = yield* repair(file, fewer)
        assert.deepStrictEqual(paths(first.repaired), [arm64.own, arm64.config, manifest].sort())
        assert.deepStrictEqual(paths(first.impossible), [amd64.own, amd64.config, attestation].sort())
        assert.deepStrictEqual(fs.readFileSync(file), flipped(whole, amd64.own, amd64.config, attestation))
        // A docker-save archive has the config, and no manifest.
        const saved = path.join(directory, "amd64.tar")
        yield* Workbench.processUris(
          `oci-layout://${from.directory}:app?platform=linux/amd64`,
          `tar://${saved}?format=docker&name=app:1`,
          undefined
        )
        const second = yield* repair(file, saved)
        assert.deepStrictEqual(paths(second.repaired), [amd64.own, amd64.config].sort())
        assert.deepStrictEqual(paths(second.impossible), [attestation])
        const broken = path.join(directory, "broken")
        fs.cpSync(from.directory, broken, { recursive: true })
        Damage.flipByte(path.join(broken, attestation), 3)
        const before = fs.readFileSync(file)
        const none = yield* repair(file, broken)
        assert.deepStrictEqual([none.repaired, paths(none.impossible)], [[], [attestation]])
        assert.deepStrictEqual(fs.readFileSync(file), before)
        const last = yield* repair(file, from.directory)
        assert.deepStrictEqual([findings(last.after), fs.readFileSync(file)], [[], whole])
      })
  )

  it.scoped("does not write an index.json that would leave out what is there", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const from = Fixture.make(path.join(directory, "from"))
      const file = path.join(directory, "image.tar")
      const second = sourceOf(directory, image)
      yield* Workbench.processUris(`oci-layout://${second}`, `tar://${file}?format=oci`, undefined)
      yield* graphArchive(from, file, { append: true })
      const bytes = flipped(fs.readFileSync(file), "index.json")
      fs.writeFileSync(file, bytes)
      for (const isRecorded of [true, false]) {
        if (!isRecorded) fs.rmSync(`${file}.receipt.json`)
        for (const source of [from.directory, second]) {
          const result = yield* Effect.either(repair(file, source))
          assert.deepStrictEqual(result._tag === "Right" ? result.right.repaired : [], [])
          assert.deepStrictEqual(fs.readFileSync(file), bytes)
        }
      }
    })
  )

  it.scoped("that a manifest.json tells of too restores what either leads to", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const arm = ImageBuilder.build({ names: [], layers: [[Entry.file("arm", "arm's")]], architecture: "arm64" })
      const layout = ImageBuilder.ociLayout([
        {
          index: [
            { image, platform: true },
            { image: arm, platform: true }
          ],
          names: ["1"]
        }
      ])
      const blobOf = (digest: string) => `blobs/sha256/${digest.slice(7)}`
      const manifest = [
        {
          Config: blobOf(image.id),
          RepoTags: ["localhost/app:1"],
          Layers: image.layers.map(({ diffId }) => blobOf(diffId))
        }
      ]
      const source = path.join(directory, "source")
      ImageBuilder.writeTree(source, layout)
      const file = Workbench.archiveAt(directory, [...layout, Entry.file("manifest.json", JSON.stringify(manifest))])
      // An index may list what is not there; that the manifest.json tells of the image does not say it was.
      const manifests = [...membersOf(file)].flatMap(([name, bytes]) => (bytes.includes('"layers":[') ? [name] : []))
      assert.lengthOf(manifests, 2)
      yield* everyMember(
        file,
        source,
        (name, damage) =>
          ["manifest.json", "index.json"].includes(name) || (damage === "gone" && manifests.includes(name))
      )
    })
  )
})

const flipIn = (file: string, text: string): void => {
  const bytes = fs.readFileSync(file)
  flip(text)(bytes)
  fs.writeFileSync(file, bytes)
}
