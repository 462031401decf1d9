import * as crypto from "node:crypto"
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WorkerPool } from "../../src/content/WorkerPool.ts"
import * as Damage from "../../src/fault/Damage.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { choose } from "../../src/layout/ImageSource.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Repair from "../../src/pipeline/Repair.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as Workbench from "../fault/Workbench.ts"

const image = Workbench.small()

describe("what a path holds", () => {
  it.scoped("is told by what is there", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const at = (name: string, entries: ReadonlyArray<Entry.Entry>): string => {
        ImageBuilder.writeTree(`${directory}/${name}`, entries)
        return `${directory}/${name}`
      }
      const layout = at("layout", ImageBuilder.ociLayout([{ image }]))
      const unmarked = at(
        "unmarked",
        ImageBuilder.ociLayout([{ image }]).filter((entry) => entry.path !== "oci-layout")
      )
      const own = at("own", ImageBuilder.directory([image]))
      const unpacked = at("unpacked", ImageBuilder.dockerHybrid([image]))
      for (const [path, scheme] of [
        [layout, "oci-layout"],
        [unmarked, "oci-layout"],
        [own, "dir"],
        [unpacked, "oci-layout"],
        [at("legacy", ImageBuilder.dockerLegacy([image])), "dir"],
        [at("bundle", [Entry.directory("rootfs"), Entry.file("config.json", "{}")]), "oci"],
        [at("empty", []), "dir"],
        [Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image])), "tar"]
      ] as const) {
        const uri = yield* Layouts.locate(path)
        assert.deepStrictEqual([uri.scheme, uri.path], [scheme, path])
      }
    })
  )

  it.scoped("is not looked into where that could take for ever", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      for (const name of ["version", "manifest.json"]) fs.writeFileSync(`${directory}/${name}`, "")
      Damage.replaceByFifo(`${directory}/version`)
      assert.strictEqual((yield* Layouts.locate(directory)).scheme, "dir")
      Damage.replaceByFile(`${directory}/version`, Buffer.from("Directory Transport Version: 1.1\n"))
      assert.strictEqual((yield* Effect.flip(Layouts.locate(directory))).reason, "Unsupported")
    })
  )

  it.scoped("is said where it is a directory of layouts", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      ImageBuilder.writeTree(`${directory}/all/layout`, ImageBuilder.ociLayout([{ image }]))
      const one = yield* Effect.flip(Layouts.locate(`${directory}/all`))
      assert.strictEqual(one.reason, "Unsupported")
      assert.match(one.message, /oci-layout:\/\/\S*\/all\/layout$/)
      fs.renameSync(`${directory}/all/layout/blobs`, `${directory}/all/shared`)
      assert.match(
        (yield* Effect.flip(Layouts.locate(`${directory}/all`))).message,
        /\/all\/layout\?shared_blobs=\S*\/all\/shared$/
      )
      fs.writeFileSync(`${directory}/all/manifest.json`, "[]")
      assert.strictEqual((yield* Layouts.locate(`${directory}/all`)).scheme, "dir")
    })
  )

  it.scoped("is an error when there is nothing", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(`${directory}/file`, "")
      const reason = (path: string) => Effect.map(Effect.flip(Layouts.locate(path)), (error) => error.reason)
      assert.strictEqual(yield* reason(`${directory}/gone`), "NotFound")
      assert.strictEqual(yield* reason(`${directory}/file/below`), "Unreadable")
      assert.strictEqual(yield* reason("nothing://x"), "BadUri")
    })
  )
})

describe("a path with a reference", () => {
  it("is taken apart where something stands", () =>
    Workbench.withScratch((directory) => {
      fs.mkdirSync(`${directory}/layout`)
      fs.mkdirSync(`${directory}/with:colon`)
      for (const [text, path, reference] of [
        [`${directory}/layout`, `${directory}/layout`, undefined],
        [`${directory}/layout:latest`, `${directory}/layout`, "latest"],
        [`${directory}/layout:localhost:5000/a/b:1`, `${directory}/layout`, "localhost:5000/a/b:1"],
        [`${directory}/with:colon`, `${directory}/with:colon`, undefined],
        [`${directory}/new`, `${directory}/new`, undefined],
        [`${directory}/new:1`, `${directory}/new`, "1"],
        [`${directory}/new:localhost:5000/a/b:1`, `${directory}/new`, "localhost:5000/a/b:1"],
        [`${directory}/new:a/b`, `${directory}/new`, "a/b"],
        [`${directory}/new/deep:1`, `${directory}/new/deep`, "1"],
        [`${directory}/with:colon/new:1`, `${directory}/with:colon/new`, "1"],
        [`${directory}/with:colon/new`, `${directory}/with:colon/new`, undefined]
      ] as const) {
        assert.deepStrictEqual(
          { ...Layouts.splitReference(text) },
          { path, ...(reference === undefined ? {} : { reference }) }
        )
      }
    }))
})

describe("a target that selects an image", () => {
  const reason = (target: string) => Effect.map(Effect.flip(Workbench.verifyTarget(target)), (error) => error.reason)

  it.scoped("is audited as a whole when the image is there, and an error when it is not", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const layout = `${directory}/layout`
      ImageBuilder.writeTree(layout, ImageBuilder.ociLayout([{ image, names: ["v1"] }]))
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]))
      yield* Workbench.processUris(`tar://${archive}`, `dir://${directory}/own`)
      for (const there of [
        `oci-layout://${layout}:v1`,
        `oci-layout://${layout}?platform=linux/amd64`,
        `oci-layout://${layout}?compression=gzip`,
        `tar://${archive}?image=localhost/small:1`,
        `tar://${archive}?index=0`,
        `dir://${directory}/own?image=${image.id}`
      ]) {
        const verification = yield* Workbench.verifyTarget(there)
        assert.deepStrictEqual([Workbench.findings(verification), verification.images.length], [[], 1], there)
      }
      for (const gone of [
        `oci-layout://${layout}:v2`,
        `oci-layout://${layout}:v1?platform=linux/s390x`,
        `tar://${archive}?image=localhost/small:2`,
        `tar://${archive}?index=1`,
        `dir://${directory}/own?image=localhost/other:1`
      ]) {
        assert.strictEqual(yield* reason(gone), "NoSuchImage", gone)
      }
      assert.strictEqual(yield* reason(`tar://${archive}?imag=localhost/small:1`), "UnknownOption")
      assert.strictEqual(yield* reason(`tar://${archive}?index=first`), "BadValue")
    })
  )

  it.scoped("has findings where the image is missing by what is wrong", () =>
    Effect.gen(function* () {
      const layout = `${yield* Workbench.scratch}/layout`
      ImageBuilder.writeTree(layout, ImageBuilder.ociLayout([{ image, names: ["v1"] }]))
      Damage.replaceByFile(`${layout}/index.json`, Buffer.from("{"))
      assert.deepInclude(Workbench.findings(yield* Workbench.verifyTarget(`oci-layout://${layout}:v1`)), [
        "index.invalid-json",
        "index.json"
      ])
    })
  )

  it.scoped("may select an artifact by its name", () =>
    Effect.gen(function* () {
      const layout = `${yield* Workbench.scratch}/layout`
      ImageBuilder.writeTree(layout, ImageBuilder.ociLayout([{ image, names: ["v1"] }]))
      const put = (mediaType: string, text: string) => {
        const hex = crypto.createHash("sha256").update(text).digest("hex")
        fs.writeFileSync(`${layout}/blobs/sha256/${hex}`, text)
        return { mediaType, digest: `sha256:${hex}`, size: Buffer.byteLength(text) }
      }
      const empty = put("application/vnd.oci.empty.v1+json", "{}")
      const mediaType = "application/vnd.oci.image.manifest.v1+json"
      const artifactType = "application/vnd.example.sbom"
      const artifact = { schemaVersion: 2, mediaType, artifactType, config: empty, layers: [empty] }
      const index = JSON.parse(fs.readFileSync(`${layout}/index.json`, "utf8"))
      index.manifests.push({
        ...put(mediaType, JSON.stringify(artifact)),
        annotations: { "org.opencontainers.image.ref.name": "sbom" }
      })
      fs.writeFileSync(`${layout}/index.json`, JSON.stringify(index))
      assert.isFalse((yield* Workbench.verifyTarget(`oci-layout://${layout}:sbom`)).results.hasErrors)
      assert.strictEqual(yield* reason(`oci-layout://${layout}:sbom2`), "NoSuchImage")
    })
  )
})

describe("blobs that lie elsewhere", () => {
  const scattered = Effect.gen(function* () {
    const directory = yield* Workbench.scratch
    ImageBuilder.writeTree(`${directory}/layout`, ImageBuilder.ociLayout([{ image }]))
    fs.renameSync(`${directory}/layout/blobs`, `${directory}/shared`)
    return { directory, uri: yield* Uri.parse(`oci-layout://${directory}/layout?shared_blobs=${directory}/shared`) }
  })

  it.scoped("are read from where the option says", () =>
    Effect.gen(function* () {
      const { directory, uri } = yield* scattered
      const { selector, source } = yield* Layouts.openSource(uri)
      const loaded = yield* choose(source, selector)
      assert.strictEqual(loaded.config.digest, image.id)
      for (const layer of loaded.layers) assert.isTrue(layer.bytes.path.startsWith(`${directory}/shared/`))
      const without = yield* Layouts.openSource(yield* Uri.parse(`oci-layout://${directory}/layout`))
      const failed = yield* Effect.flip(choose(without.source, selector))
      assert.strictEqual(failed.reason, "Damaged")
      assert.include(failed.message, "shared_blobs=")
    }).pipe(Effect.provide(Workbench.pool))
  )

  it.scoped("are not repaired: they may be other layouts' too", () =>
    Effect.gen(function* () {
      const { directory, uri } = yield* scattered
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]))
      const refused = yield* Effect.flip(Repair.repair(uri, yield* Uri.parse(`tar://${archive}`)))
      assert.strictEqual(`${refused._tag} ${refused.reason}`, "UsageError BadValue")
      assert.include(refused.message, "shared_blobs")
    }).pipe(Effect.provide(Workbench.pool))
  )
})

describe("opening", () => {
  type Opener = (uri: Uri.Uri) => Effect.Effect<unknown, Workbench.Failure, Scope.Scope | WorkerPool>
  const openers: Readonly<Record<"openSource" | "openWriter" | "openVerifier", Opener>> = {
    openSource: (uri) => Layouts.openSource(uri),
    openWriter: (uri) => Layouts.openWriter(uri),
    openVerifier: (uri) => Layouts.openVerifier(uri)
  }
  const open = (kind: keyof typeof openers, text: string): Effect.Effect<string> =>
    Effect.flatMap(Uri.parse(text), openers[kind]).pipe(
      Effect.scoped,
      Effect.provide(Workbench.pool),
      Effect.match({
        onFailure: (error) => `${error._tag} ${error.reason}: ${error.message}`,
        onSuccess: () => "opened"
      })
    )

  it.scoped("says what it cannot do with a layout or an option", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      for (const [kind, text, message] of [
        ["openSource", "mounts://x", /UsageError BadUri: .*as a source: expected one of .*tar:\/\//],
        ["openSource", `tar://${archive}?unique_names=true`, /UsageError UnknownOption: .*found unique_names/],
        ["openSource", `tar://${archive}?index=one`, /UsageError BadValue: .*index=N, found one/],
        ["openSource", `tar://${archive}?platform=linux`, /UsageError BadValue: .*OS\/ARCHITECTURE/],
        ["openSource", `tar://${archive}`, /^opened$/],
        ["openWriter", `dir://${directory}/out?expanded=true`, /UsageError UnknownOption: .*found expanded/],
        ["openWriter", `dir://${directory}/out?unique_names=perhaps`, /UsageError BadValue: .*found perhaps/],
        ["openWriter", `dir://${directory}/out?unique_names=true`, /^opened$/],
        ["openVerifier", `dir://${directory}/gone`, /SourceError NotFound/],
        ["openVerifier", `dir://${archive}`, /SourceError NotAnImage: .*expected a directory, found a file/],
        ["openVerifier", `dir://${directory}`, /^opened$/],
        ["openVerifier", `oci-layout://${directory}?shared_blobs=${directory}/gone`, /SourceError NotFound: .*gone/],
        ["openSource", `tar://${archive}?shared_blobs=${directory}`, /UsageError UnknownOption: .*found shared_blobs/]
      ] as const)
        assert.match(yield* open(kind, text), message, text)
      assert.isFalse(fs.existsSync(`${directory}/out`), "opening a writer wrote something")
    })
  )
})
