import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Digest from "../../src/image/Digest.ts"
import type { Image } from "../../src/image/Image.ts"
import { choose, type Selector } from "../../src/layout/ImageSource.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as Workbench from "../fault/Workbench.ts"

/** The image that a URI and a platform choose. */
const load = (uri: string, platform?: Selector["platform"]): Effect.Effect<Image, Workbench.Failure> =>
  Effect.gen(function* () {
    const { selector, source } = yield* Layouts.openSource(
      yield* Uri.parse(uri),
      platform === undefined ? {} : { platform }
    )
    return yield* choose(source, selector)
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

/** The message of the SourceError that loading fails with, with its reason before it. */
const refusal = (uri: string, platform?: Selector["platform"]): Effect.Effect<string> =>
  load(uri, platform).pipe(
    Effect.match({
      onFailure: (error) => `${error.reason}: ${error.message}`,
      onSuccess: (image) => assert.fail(`loaded ${image.names}`)
    })
  )

const one = ImageBuilder.build({
  names: ["localhost/one:1", "docker.io/library/one:latest"],
  layers: [[Entry.file("one")]]
})
const two = ImageBuilder.build({ names: ["localhost/two:1"], layers: [[Entry.file("two")], [Entry.file("top")]] })
const arm = ImageBuilder.build({
  names: ["localhost/two:1"],
  layers: [[Entry.file("arm")]],
  architecture: "arm64",
  variant: "v8"
})

const all = [one, two, arm]

describe("which image is meant", () => {
  const withArchive = <A, E>(use: (uri: string) => Effect.Effect<A, E>) =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      return yield* use(`tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy(all))}`)
    })

  it.scoped("is told by name, index, platform, ID, or the beginning of one", () =>
    withArchive((uri) =>
      Effect.gen(function* () {
        const chosen: ReadonlyArray<readonly [choice: string, image: ImageBuilder.BuiltImage]> = [
          ["?image=localhost/one:1", one],
          ["?image=one", one],
          ["?image=docker.io/library/one", one],
          ["?image=one:latest", one],
          ["?index=0", one],
          ["?index=1", two],
          ["?index=2", arm],
          ["?image=localhost/two:1&architecture=amd64", two],
          ["?image=localhost/two:1&platform=linux/arm64", arm],
          ["?platform=linux/arm64/v8", arm],
          ["?architecture=aarch64", arm],
          ["?variant=v8&architecture=arm64", arm],
          [`?image=${two.id}`, two],
          [`?image=${two.id.slice(7, 19)}`, two]
        ]
        for (const [choice, image] of chosen) {
          const { config, layers } = yield* load(`${uri}${choice}`)
          assert.strictEqual(config.digest, image.id, choice)
          assert.deepStrictEqual(
            layers.map((layer) => layer.diffId),
            image.layers.map((layer) => layer.diffId),
            choice
          )
        }
        assert.strictEqual((yield* load(uri, { architecture: "arm64" })).config.digest, arm.id)
      })
    )
  )

  it.scoped("is asked for when several are there, with a list of them", () =>
    withArchive((uri) =>
      Effect.gen(function* () {
        const message = yield* refusal(uri)
        assert.match(message, /^Ambiguous: cannot choose an image of tar:/)
        for (const line of [
          "0: localhost/one:1, docker.io/library/one:latest (linux/amd64)",
          "1: localhost/two:1 (linux/amd64)",
          "2: localhost/two:1 (linux/arm64/v8)",
          "?image=NAME:TAG",
          "--platform"
        ])
          assert.include(message, line)
        assert.notInclude(message, "\n")
        const two = yield* refusal(`${uri}?image=localhost/two:1`)
        assert.match(two, /^Ambiguous: .*expected one, found 2/)
        assert.notInclude(two, "localhost/one")
      })
    )
  )

  it.scoped("is not there: the list says what is", () =>
    withArchive((uri) =>
      Effect.gen(function* () {
        for (const choice of [
          "?image=localhost/three:1",
          "?index=3",
          "?platform=linux/s390x",
          "?image=localhost/one:1&architecture=arm64"
        ]) {
          const message = yield* refusal(`${uri}${choice}`)
          assert.match(message, /^NoSuchImage: .*expected .*, found 0: localhost\/one:1/, choice)
        }
      })
    )
  )

  it.scoped("is told in the same way of a directory", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      for (const [index, image] of [one, two].entries())
        yield* Workbench.written(directory, image, "?unique_names=true", `out`).pipe(Effect.as(index))
      const uri = `dir://${directory}/out`
      assert.match(yield* refusal(uri), /^Ambiguous: .*localhost\/one:1.*localhost\/two:1/)
      assert.strictEqual((yield* load(`${uri}?image=localhost/two:1`)).config.digest, two.id)
    })
  )
})

describe("round trips", () => {
  it.scoped("a directory that was written is a source of the same image, byte for byte", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const rich = ImageBuilder.rich()
      const first = yield* Workbench.written(directory, rich)
      const second = `${directory}/second`
      yield* Workbench.processUris(`dir://${first}`, `dir://${second}`)
      const [a, b] = [new Map(Workbench.snapshot(first)), new Map(Workbench.snapshot(second))]
      // The receipts name their sources.
      for (const files of [a, b]) assert.isTrue(files.delete("receipt.json"))
      assert.deepStrictEqual(b, a)
      const image = yield* load(`dir://${second}`)
      assert.strictEqual(image.config.digest, rich.id)
      assert.deepStrictEqual(image.names, rich.names)
    })
  )
})

describe("the order of an archive's entries", () => {
  it("does not matter", async () => {
    const forms = [
      ImageBuilder.dockerLegacy([one, arm]),
      ImageBuilder.dockerDigestNames([one, arm]),
      ImageBuilder.dockerHybrid([one, arm], { compression: "gzip" })
    ]
    await Workbench.withScratch((directory) =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...forms).chain((form) => fc.shuffledSubarray([...form], { minLength: form.length })),
          async (entries) => {
            const archive = Workbench.archiveAt(directory, entries)
            const image = await Effect.runPromise(load(`tar://${archive}?index=1`))
            assert.strictEqual(image.config.digest, arm.id)
            assert.deepStrictEqual(
              image.layers.map((layer) => layer.diffId),
              arm.layers.map((layer) => layer.diffId)
            )
          }
        ),
        { numRuns: 30 }
      )
    )
  })
})

describe("manifests of other producers", () => {
  const saved = (image: ImageBuilder.BuiltImage, names: ReadonlyArray<string>): object => ({
    Config: `${image.id.slice(7)}.json`,
    RepoTags: names,
    Layers: image.layers.map((layer) => `${layer.diffId.slice(7)}.tar`)
  })
  const with_ = (manifest: unknown): ReadonlyArray<Entry.Entry> => [
    ...ImageBuilder.dockerDigestNames([one, two]).filter(({ path: name }) => name !== "manifest.json"),
    Entry.file("manifest.json", JSON.stringify(manifest))
  ]

  it.scoped("an entry for each tag of an image, as Bazel writes them, is one image", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const manifest = [saved(two, ["bazel/two:1", ""]), saved(two, ["gcr.io/two:1"])]
      const alone = Workbench.archiveAt(directory, with_(manifest))
      assert.deepStrictEqual((yield* load(`tar://${alone}`)).names, ["bazel/two:1", "gcr.io/two:1"])
      const among = Workbench.archiveAt(directory, with_([manifest[0], saved(one, ["one:1"]), manifest[1]]))
      assert.match(yield* refusal(`tar://${among}`), /Ambiguous: .*0: bazel\/two:1, gcr.io\/two:1 .*1: one:1 \([^;]*$/)
    })
  )

  it.scoped("an absolute name of a member, as buildpacks write them, is that member", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const layers = two.layers.map((layer) => `/${layer.diffId.slice(7)}.tar`)
      const archive = Workbench.archiveAt(directory, with_([{ ...saved(two, ["two:1"]), Layers: layers }]))
      assert.deepStrictEqual(
        (yield* load(`tar://${archive}`)).layers.map((layer) => `/${layer.name}`),
        layers
      )
    })
  )

  it.scoped("of an index beside it, as apko writes one, the manifest is kept", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const hybrid = ImageBuilder.dockerHybrid([two], { compression: "gzip" })
      const manifest = JSON.parse(
        Buffer.from(hybrid.find((entry) => entry.path === "manifest.json")!.body).toString()
      )[0] as {
        readonly Config: string
        readonly Layers: ReadonlyArray<string>
        readonly RepoTags: ReadonlyArray<string>
      }
      const base = (name: string): string => path.posix.basename(name)
      const layer = (name: string): string => `${base(name)}.tar.gz`
      const archive = Workbench.archiveAt(directory, [
        ...hybrid.flatMap((entry) =>
          entry.path.startsWith("blobs/sha256/") && entry.body.length > 0
            ? [
                Entry.file(
                  manifest.Layers.includes(entry.path) ? layer(entry.path) : `sha256:${base(entry.path)}`,
                  entry.body
                )
              ]
            : entry.path === "index.json"
              ? [entry]
              : []
        ),
        Entry.file(
          "manifest.json",
          JSON.stringify([
            { ...manifest, Config: `sha256:${base(manifest.Config)}`, Layers: manifest.Layers.map(layer) }
          ])
        )
      ])
      const kept = yield* load(`tar://${Workbench.archiveAt(directory, hybrid)}`)
      const image = yield* load(`tar://${archive}`)
      assert.isDefined(kept.manifest)
      assert.strictEqual(image.manifest?.digest, kept.manifest?.digest)
      assert.deepStrictEqual(
        image.layers.map(({ digest }) => digest),
        kept.layers.map(({ digest }) => digest)
      )
    })
  )
})

describe("a layer that is no tar by what the OCI manifest says", () => {
  it.scoped("is not taken for one by manifest.json", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const entries = ImageBuilder.dockerHybrid([two])
      const body = (name: string): string => Buffer.from(entries.find((entry) => entry.path === name)!.body).toString()
      const index = JSON.parse(body("index.json")) as { readonly manifests: ReadonlyArray<{ readonly digest: string }> }
      const old = Digest.blobPath(index.manifests[0]!.digest)
      const raw = Buffer.from(body(old).replace(/("mediaType":\s*"[^"]*\.layer\.v1\.tar)"/, '$1+encrypted"'))
      const digest = `sha256:${crypto.createHash("sha256").update(raw).digest("hex")}` as const
      const changed = { ...index, manifests: [{ ...index.manifests[0], digest, size: raw.length }] }
      const archive = Workbench.archiveAt(directory, [
        ...entries.filter((entry) => entry.path !== old && entry.path !== "index.json"),
        Entry.file(Digest.blobPath(digest), raw),
        Entry.file("index.json", JSON.stringify(changed))
      ])
      assert.match(
        yield* refusal(`tar://${archive}`),
        /^Unsupported: .*expected layer 0 to be a tar, found .*\+encrypted/
      )
    })
  )
})

describe("what an archive's index.json has and its manifest.json has not", () => {
  const entries = ImageBuilder.dockerHybrid([two, one])
  const documentOf = (name: string): ReadonlyArray<Record<string, unknown>> => {
    const value = JSON.parse(Buffer.from(entries.find((entry) => entry.path === name)!.body).toString())
    return name === "index.json" ? value.manifests : value
  }
  const others = entries.filter((entry) => !["manifest.json", "index.json"].includes(entry.path))
  const json = (name: string, value: unknown) => Entry.file(name, JSON.stringify(value))
  const [saved, listed] = [documentOf("manifest.json"), documentOf("index.json")]
  const indexOf = (manifests: ReadonlyArray<unknown>) => json("index.json", { schemaVersion: 2, manifests })

  it.scoped("is chosen where nothing else is meant, as containerd lists one platform for Docker", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, [...others, indexOf(listed), json("manifest.json", [saved[0]])])
      assert.strictEqual((yield* load(`tar://${archive}`)).config.digest, two.id)
      for (const query of [`image=${one.names[0]}`, `image=${String(listed[1]!["digest"])}`, "index=1"]) {
        assert.strictEqual((yield* load(`tar://${archive}?${query}`)).config.digest, one.id, query)
      }
      assert.match(yield* refusal(`tar://${archive}?image=none`), /found 0: [^;]*; 1: [^;]*$/)
    })
  )

  it.scoped("is all there is where manifest.json has nothing but artifacts", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const sha256 = (bytes: string): string => crypto.createHash("sha256").update(bytes).digest("hex")
      const config = "{}"
      const layer = { mediaType: "application/octet-stream", digest: `sha256:${sha256("x")}`, size: 1 }
      const artifact = JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: {
          mediaType: "application/vnd.example.index.v1+json",
          digest: `sha256:${sha256(config)}`,
          size: config.length
        },
        layers: [layer]
      })
      const blob = (bytes: string) => Entry.file(`blobs/sha256/${sha256(bytes)}`, bytes)
      const entry = {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: `sha256:${sha256(artifact)}`,
        size: artifact.length
      }
      const docker = {
        Config: `blobs/sha256/${sha256(config)}`,
        RepoTags: ["app:index"],
        Layers: [`blobs/sha256/${sha256("x")}`]
      }
      const with_ = (images: ReadonlyArray<unknown>) =>
        Workbench.archiveAt(directory, [
          ...others,
          ...[config, "x", artifact].map(blob),
          indexOf([...images, entry]),
          json("manifest.json", [docker])
        ])
      assert.strictEqual((yield* load(`tar://${with_([listed[0]])}`)).config.digest, two.id)
      assert.match(
        yield* refusal(`tar://${with_([])}`),
        /^NoSuchImage: .*expected an image, found 1 artifact and no image$/
      )
    })
  )
})

describe("an archive that cannot be used", () => {
  const form = ImageBuilder.dockerDigestNames([two])
  const manifest = [
    {
      Config: `${two.id.slice(7)}.json`,
      RepoTags: two.names,
      Layers: two.layers.map((layer) => `${layer.diffId.slice(7)}.tar`)
    }
  ]
  const with_ = (value: unknown): ReadonlyArray<Entry.Entry> => [
    ...form.filter((entry) => entry.path !== "manifest.json"),
    Entry.file("manifest.json", typeof value === "string" ? value : JSON.stringify(value))
  ]
  const layer = (index: number): string => manifest[0]!.Layers[index]!
  const without = (name: string): ReadonlyArray<Entry.Entry> => form.filter((entry) => entry.path !== name)

  const cases: ReadonlyArray<readonly [what: string, entries: ReadonlyArray<Entry.Entry>, message: RegExp]> = [
    [
      "no manifest",
      without("manifest.json").filter((entry) => entry.path !== "repositories"),
      /NotAnImage: .*expected manifest\.json or index\.json/
    ],
    [
      "a root file system",
      [Entry.directory("etc"), Entry.directory("usr")],
      /NotAnImage: .*found a root file system, as docker export writes it/
    ],
    [
      "images of the oldest form",
      [Entry.directory("a".repeat(64)), Entry.file(`${"a".repeat(64)}/json`, "{}")],
      /NotAnImage: .*found images of the time before manifest\.json/
    ],
    ["an object", with_(manifest[0]), /Damaged: .*manifest\.json: the manifest is not an array/],
    ["no JSON", with_("[{"), /Damaged: .*manifest\.json: JSON does not parse/],
    ["null", with_("null"), /Damaged: .*manifest\.json: the manifest is not an array .*found null/],
    ["nothing in it", with_([]), /NoSuchImage: .*it holds none/],
    [
      "100,000 levels",
      with_(`${"[".repeat(100_000)}${"]".repeat(100_000)}`),
      /Damaged: .*nests deeper than 128 levels/
    ],
    [
      "one name twice in an object",
      with_(JSON.stringify(manifest).replace("{", '{"Config":"x",')),
      /Damaged: .*"Config" stands more than once/
    ],
    ["no Config", with_([{ Layers: [] }]), /Damaged: .*Config is missing/],
    ["no Layers", with_([{ Config: manifest[0]!.Config }]), /Damaged: .*Layers is missing/],
    [
      "a number for Config",
      with_([{ ...manifest[0], Config: 5 }]),
      /Damaged: .*Config is not a string .*found a number/
    ],
    [
      "a config that is not there",
      with_([{ ...manifest[0], Config: "gone.json" }]),
      /Damaged: .*gone\.json: it does not exist/
    ],
    [
      "a layer that is not there",
      with_([{ ...manifest[0], Layers: [layer(0), "gone.tar"] }]),
      /Damaged: .*expected layer 1 at "gone\.tar", found nothing/
    ],
    [
      "too few layers",
      with_([{ ...manifest[0], Layers: [layer(0)] }]),
      /Damaged: .*expected 2 layers as in the config, found 1/
    ],
    [
      "a layer with ..",
      with_([{ ...manifest[0], Layers: [layer(0), `../${layer(1)}`] }]),
      /Damaged: .*Layers\[1\] names a path that cannot be followed: it has a `\.\.` component/
    ],
    [
      "an absolute config",
      with_([{ ...manifest[0], Config: "/etc/passwd" }]),
      /Damaged: .*Config names a path that cannot be followed: it is absolute/
    ],
    ["a NUL in a name", with_([{ ...manifest[0], Config: "a\0b" }]), /Damaged: .*it holds a NUL/],
    [
      "a layer that is a directory",
      [...without(layer(1)), Entry.directory(layer(1))],
      /Damaged: .*to be a file, found a directory/
    ],
    ["a layer that is a FIFO", [...without(layer(1)), Entry.fifo(layer(1))], /Damaged: .*to be a file, found a FIFO/],
    [
      "a layer that is a symlink out of it",
      [...without(layer(1)), Entry.symlink(layer(1), "/etc/passwd")],
      /Damaged: .*a symlink out of the image/
    ],
    [
      "a layer that is a symlink above it",
      [...without(layer(1)), Entry.symlink(layer(1), "../../etc/passwd")],
      /Damaged: .*leads out of the image/
    ],
    [
      "a layer that is a symlink to itself",
      [...without(layer(1)), Entry.symlink(layer(1), layer(1))],
      /Damaged: .*go round in a circle/
    ],
    [
      "a layer that is a hardlink to nothing",
      [...without(layer(1)), Entry.hardlink(layer(1), "gone")],
      /Damaged: .*found nothing/
    ],
    [
      "two different entries of one name",
      [...form, Entry.file(layer(1), "other")],
      /Damaged: .*expected one entry named ".*\.tar", found several that differ/
    ],
    [
      "two different manifests",
      [...form, Entry.file("manifest.json", "[]")],
      /Damaged: .*expected one entry named "manifest\.json"/
    ],
    [
      "a config whose content is another",
      form.map((entry) =>
        entry.path === manifest[0]!.Config
          ? Entry.file(entry.path, Buffer.from(entry.body).toString().replace("linux", "plan9"))
          : entry
      ),
      /Damaged: .*it was changed: expected sha256:.*, found sha256:/
    ],
    [
      "a config that is no config",
      form.map((entry) => (entry.path === manifest[0]!.Config ? Entry.file(entry.path, "[]") : entry)),
      /Damaged: /
    ]
  ]
  for (const [what, entries, message] of cases) {
    it.scoped(`has ${what}`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const found = yield* refusal(`tar://${Workbench.archiveAt(directory, entries)}`)
        assert.match(found, message)
        assert.notInclude(found, "\n")
      })
    )
  }

  it.scoped("the same entry twice is no harm", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const twice = [...form, form.find((entry) => entry.path === layer(0))!]
      assert.strictEqual((yield* load(`tar://${Workbench.archiveAt(directory, twice)}`)).config.digest, two.id)
    })
  )

  it.scoped("an empty file, random bytes, a directory, nothing at all", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const put = (name: string, bytes: string | Uint8Array): string => {
        fs.writeFileSync(path.join(directory, name), bytes)
        return `tar://${directory}/${name}`
      }
      assert.match(yield* refusal(put("empty", "")), /NotAnImage: .*found an empty file/)
      assert.match(
        yield* refusal(put("text", "no tar at all\n".repeat(200))),
        /NotAnImage: .*expected a tar archive, found something else/
      )
      assert.match(yield* refusal(put("short", "x")), /(NotAnImage|Damaged): /)
      assert.match(yield* refusal(put("xz", Buffer.from("fd377a585a000004e6d6b446", "hex"))), /Unsupported: .*found xz/)
      assert.match(yield* refusal(`tar://${directory}`), /Unreadable: .*it is a directory/)
      assert.match(yield* refusal(`tar://${directory}/gone`), /NotFound: .*it does not exist/)
      assert.match(yield* refusal("tar:///dev/null"), /Unreadable: .*no regular file/)
      assert.match(yield* refusal(`dir://${directory}/text`), /Unreadable: .*expected a directory, found a file/)
      assert.match(yield* refusal(`dir://${directory}/gone`), /NotFound: .*it does not exist/)
      assert.match(yield* refusal(`dir://${directory}`), /NotAnImage: .*expected manifest\.json/)
    })
  )

  it.scoped("one that is cut anywhere is refused, or what is cut off is not of the image", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const whole = Buffer.from(ImageBuilder.archive(form))
      for (let size = whole.length - 1024; size > 0; size -= 487) {
        const file = path.join(directory, "cut.tar")
        fs.writeFileSync(file, whole.subarray(0, size))
        const message = yield* load(`tar://${file}`).pipe(
          Effect.match({ onFailure: (error) => error.reason, onSuccess: (image) => image.config.digest })
        )
        // manifest.json is the last: only its padding can be missing without a loss.
        assert.include(
          ["Damaged", "NotAnImage", ...(size > whole.length - 1536 ? [two.id] : [])],
          message,
          `cut to ${size}`
        )
      }
      for (const compression of ["gzip", "zstd"] as const) {
        const stored = ImageBuilder.compress(whole, compression)
        for (const size of [1, 20, stored.length >> 1, stored.length - 9, stored.length - 1]) {
          const file = path.join(directory, "cut.tar")
          fs.writeFileSync(file, stored.subarray(0, size))
          assert.match(yield* refusal(`tar://${file}`), /^(Damaged|NotAnImage): /, `${compression} cut to ${size}`)
        }
      }
    })
  )
})
