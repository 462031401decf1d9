/** Filters over an index: every image that it names, and the index itself. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Rewrite from "../../src/content/Rewrite.ts"
import { WorkerPool } from "../../src/content/WorkerPool.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Filters from "../../src/filter/Filters.ts"
import * as Digest from "../../src/image/Digest.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as Opener from "../../src/pipeline/Opener.ts"
import * as Pipeline from "../../src/pipeline/Pipeline.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import { scan } from "../content/tarFixtures.ts"
import { findings, pool, scratch, tallyman, verifyTarget, withScratch } from "../fault/Workbench.ts"
import { type Doc, digestOf, readJson, traces } from "../layout/writing.ts"
import { peerTest, run } from "../peers/Peers.ts"
import { file, tar } from "../rootfs/Layers.ts"
import * as Fixture from "./IndexFixture.ts"

interface Options {
  readonly name?: string
  readonly referrers?: boolean
  readonly layers?: Array<string>
}

/** `process --all-platforms --verify-full -f ...`; answers only when the output is sound. */
const process_ = (
  source: string,
  to: string,
  specs: ReadonlyArray<string>,
  { layers, name, referrers }: Options = {}
) =>
  Effect.gen(function* () {
    const inner = yield* WorkerPool
    const open = yield* Opener.make()
    const processed = yield* Pipeline.process({
      source: yield* Uri.parse(source),
      destination: yield* Uri.parse(`oci-layout://${to}${name === undefined ? "" : `:${name}`}`),
      filters: specs.map((spec) => Either.getOrThrow(Filters.parse(spec, { open }))),
      verify: "full",
      allPlatforms: true,
      ...(referrers === undefined ? {} : { referrers })
    }).pipe(
      Effect.provideService(WorkerPool, {
        ...inner,
        runAll: (job, tasks, options) => {
          if ((job as unknown) === Rewrite.job)
            for (const task of tasks) layers?.push((task as unknown as Rewrite.RewriteTask).region.path)
          return inner.runAll(job, tasks, options)
        }
      })
    )
    assert.deepStrictEqual(findings(processed.verification!), [])
    assert.deepStrictEqual(findings(yield* verifyTarget(to)), [])
    assert.deepStrictEqual(traces(to), [])
    return processed
  }).pipe(Effect.scoped, Effect.provide(pool))

const blob = (directory: string, digest: string): Doc => readJson(directory, Digest.blobPath(digest as Digest.Digest))
const bytesOf = (directory: string, digest: string): Buffer =>
  fs.readFileSync(path.join(directory, Digest.blobPath(digest as Digest.Digest)))
const entriesOf = (directory: string): ReadonlyArray<Doc> => readJson(directory, "index.json").manifests
const digests = (entries: ReadonlyArray<Doc>): ReadonlyArray<string> => entries.map((one) => one.digest)

/** The names in each layer of an image. */
const namesIn = (directory: string, manifest: string): ReadonlyArray<ReadonlyArray<string>> =>
  blob(directory, manifest).layers.map(({ digest }: Doc) =>
    scan(Fixture.unpacked(bytesOf(directory, digest))).entries.map(({ entry }) => entry.path)
  )

const inScratch = <A, E>(use: (fixture: Fixture.Fixture, to: string) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const directory = yield* scratch
    return yield* use(Fixture.make(path.join(directory, "from")), path.join(directory, "to"))
  })

const exclude = "exclude:pattern=*.pyc"

describe("filters with --all-platforms", () => {
  it.scoped("apply to every image once; what names those that changed is rewritten, the rest stays byte for byte", () =>
    inScratch((from, to) =>
      Effect.gen(function* () {
        const layers: Array<string> = []
        const { leftOut, receipt, reports } = yield* process_(`oci-layout://${from.directory}:app`, to, [exclude], {
          layers
        })
        // A pass over each gzipped layer, two over a plain one; the shared layer stands in two images.
        const plainLayer = blob(from.directory, from.images.arm64.digest).layers[1].digest
        const counted = new Map<string, number>()
        for (const one of layers) counted.set(path.basename(one), (counted.get(path.basename(one)) ?? 0) + 1)
        assert.strictEqual(counted.size, 4)
        for (const [name, count] of counted) assert.strictEqual(count, plainLayer.endsWith(name) ? 2 : 1)

        const [entry] = entriesOf(to)
        assert.strictEqual(entriesOf(to).length, 1)
        assert.deepStrictEqual(entry.annotations, { [Fixture.refName]: "app" })
        assert.notStrictEqual(entry.digest, from.root.digest)
        assert.strictEqual(receipt.image, entry.digest)
        assert.strictEqual(receipt.source.digest, from.root.digest)
        const index = blob(to, entry.digest)
        assert.deepStrictEqual(index.annotations, { "com.example.index": "kept" })
        const [amd64, again, nested, nestedPlain, ...rest] = index.manifests
        assert.deepStrictEqual(rest, [from.images.plain, from.attestations.plain, from.unknown, from.absent])
        assert.deepStrictEqual(nestedPlain, from.nested.plain)
        assert.isTrue(bytesOf(to, nestedPlain.digest).equals(bytesOf(from.directory, nestedPlain.digest)))
        const size = bytesOf(to, amd64.digest).length
        const { mediaType, platform } = from.images.amd64
        assert.deepStrictEqual(amd64, {
          mediaType,
          digest: amd64.digest,
          size,
          platform,
          annotations: {
            [Fixture.createdKey]: "2024-01-02T03:04:05Z",
            "com.example": "kept",
            "com.example.entry": "2024-01-02T03:04:05Z"
          }
        })
        assert.deepStrictEqual(again, { ...amd64, annotations: { "com.example.again": "yes" } })
        const [arm64, ...others] = blob(to, nested.digest).manifests
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(arm64.platform, from.images.arm64.platform)
        for (const one of [amd64, arm64]) assert.deepStrictEqual(namesIn(to, one.digest), [["lib/a.py"], ["bin/app"]])
        assert.strictEqual(blob(to, amd64.digest).layers[0].digest, blob(to, arm64.digest).layers[0].digest)
        assert.isTrue(bytesOf(to, from.images.plain.digest).equals(bytesOf(from.directory, from.images.plain.digest)))

        assert.deepStrictEqual(
          [...leftOut].sort((a, b) => a.digest.localeCompare(b.digest)),
          [
            { of: from.attestations.amd64, subject: from.images.amd64.digest },
            { of: from.attestations.arm64, subject: from.images.arm64.digest },
            { of: from.listedSbom, subject: from.images.amd64.digest },
            { of: from.listedSignature, subject: from.listedSbom.digest }
          ]
            .map(({ of, subject }) => ({ digest: of.digest, mediaType: of.mediaType, subject }))
            .sort((a, b) => a.digest.localeCompare(b.digest))
        )
        const blobs = fs.readdirSync(path.join(to, "blobs/sha256"))
        for (const { digest } of [from.attestations.amd64, from.images.amd64, from.nested.arm64, from.sbom])
          assert.notInclude(blobs, Digest.encodedOf(digest))
        assert.deepStrictEqual(
          receipt.files.map((one) => path.basename(one.path)).sort(),
          [...blobs].sort(),
          "the receipt has every blob once"
        )

        assert.strictEqual(reports.length, 3)
        assert.deepStrictEqual(
          receipt.filters.map(({ manifest, name, options, platform }) => [name, options, manifest, platform]),
          [
            ["exclude", { pattern: ["*.pyc"] }, from.images.amd64.digest, "linux/amd64"],
            ["exclude", { pattern: ["*.pyc"] }, from.images.arm64.digest, "linux/arm64"],
            ["exclude", { pattern: ["*.pyc"] }, from.images.plain.digest, "linux/riscv64"]
          ]
        )
        assert.deepStrictEqual(
          receipt.filters.map(({ after }) => after),
          [amd64, arm64, from.images.plain].map(({ digest }) => blob(to, digest).config.digest)
        )
        assert.deepStrictEqual(receipt.details["images"], [
          { platform: "linux/amd64", before: from.images.amd64.digest, after: amd64.digest },
          { platform: "linux/arm64", before: from.images.arm64.digest, after: arm64.digest },
          { platform: "linux/riscv64", before: from.images.plain.digest, after: from.images.plain.digest }
        ])
        assert.include(receipt.conversions, `index: ${from.root.digest} became ${entry.digest}`)
        assert.include(
          receipt.conversions,
          `left out: ${from.listedSignature.digest} (${from.listedSignature.mediaType}): it is about ${from.listedSbom.digest}, which was changed or left out`
        )
        assert.include(receipt.conversions, `index: ${from.nested.arm64.digest} became ${nested.digest}`)
      })
    )
  )

  it.scoped("leave an index of which nothing changed as it is, with all that vouches for it", () =>
    inScratch((from, to) =>
      Effect.gen(function* () {
        const { leftOut, receipt } = yield* process_(
          `oci-layout://${from.directory}:app`,
          to,
          ["exclude:pattern=nothing", "search:pattern=*.py"],
          { referrers: true }
        )
        assert.deepStrictEqual([leftOut, receipt.conversions], [[], []])
        assert.strictEqual(receipt.image, from.root.digest)
        assert.strictEqual(receipt.filters.length, 6)
        assert.sameMembers([...digests(entriesOf(to))], [...digests(entriesOf(from.directory))])
        for (const name of fs.readdirSync(path.join(from.directory, "blobs/sha256"))) {
          const bytes = fs.readFileSync(path.join(from.directory, "blobs/sha256", name))
          assert.isTrue(bytes.equals(fs.readFileSync(path.join(to, "blobs/sha256", name))))
        }
      })
    )
  )

  it.scoped(
    "leave out what refers to an image or an index that changed, and keep what refers to one that did not",
    () =>
      inScratch((from, to) =>
        Effect.gen(function* () {
          const { leftOut, receipt } = yield* process_(`oci-layout://${from.directory}:app`, to, [exclude], {
            referrers: true
          })
          assert.deepStrictEqual(receipt.details["referrers"], [from.plainSbom.digest])
          assert.deepStrictEqual(digests(entriesOf(to)), [receipt.image, from.plainSbom.digest])
          const subjects = new Map(leftOut.map(({ digest, subject }) => [digest, subject]))
          assert.strictEqual(subjects.size, 7)
          assert.strictEqual(subjects.get(from.sbom.digest), from.images.arm64.digest)
          assert.strictEqual(subjects.get(from.signature.digest), from.sbom.digest)
          assert.strictEqual(subjects.get(from.indexSignature.digest), from.root.digest)
        })
      )
  )

  it.scoped("give the same again, and change nothing when they are applied to what they made", () =>
    inScratch((from, to) =>
      Effect.gen(function* () {
        const specs = ["normalize-timestamps:ts=1000,config=true", exclude]
        const one = yield* process_(`oci-layout://${from.directory}:app`, to, specs)
        const other = yield* process_(`oci-layout://${from.directory}:app`, `${to}2`, specs)
        const same = yield* process_(`oci-layout://${from.directory}:app`, to, specs)
        const again = yield* process_(`oci-layout://${to}:app`, `${to}3`, specs)
        assert.deepStrictEqual(
          [other.receipt.image, same.receipt.image, again.receipt.image],
          [one.receipt.image, one.receipt.image, one.receipt.image]
        )
        assert.deepStrictEqual([again.leftOut, again.receipt.conversions], [[], []])
        const { manifests } = blob(to, one.receipt.image)
        // What the entry repeats of its manifest follows it; what is only the entry's stays.
        assert.deepStrictEqual(manifests[0].annotations, {
          [Fixture.createdKey]: "1970-01-01T00:16:40Z",
          "com.example": "kept",
          "com.example.entry": "2024-01-02T03:04:05Z"
        })
        assert.deepStrictEqual(
          manifests.filter((entry: Doc) => entry.annotations?.[Fixture.attested] !== undefined),
          [],
          "every image changed"
        )
      })
    )
  )

  for (const chain of [["flatten"], ["flatten", "normalize-timestamps"], [exclude, "flatten"]])
    it.scoped(`write images that are sound: ${chain.join(", ")}`, () =>
      inScratch((from, to) =>
        Effect.gen(function* () {
          const { receipt } = yield* process_(`oci-layout://${from.directory}:app`, to, chain)
          const [amd64] = blob(to, receipt.image).manifests
          assert.strictEqual(blob(to, amd64.digest).layers.length, 1)
          assert.strictEqual(receipt.filters.length, 3 * chain.length)
        })
      )
    )

  it.scoped("read archives that hold an index", () =>
    inScratch((from, to) =>
      Effect.gen(function* () {
        const archive = path.join(path.dirname(to), "layout.tar")
        fs.writeFileSync(archive, Fixture.archiveOf(from.directory))
        const one = yield* process_(`tar://${archive}?image=app`, to, [exclude])
        const other = yield* process_(`oci-layout://${from.directory}:app`, `${to}2`, [exclude])
        assert.strictEqual(one.receipt.image, other.receipt.image)
        const hybrid = path.join(path.dirname(to), "hybrid.tar")
        const built = ImageBuilder.build({ names: ["example.org/a:1"], layers: [Fixture.shared] })
        fs.writeFileSync(hybrid, ImageBuilder.archive(ImageBuilder.dockerHybrid([built])))
        const single = yield* process_(`tar://${hybrid}`, `${to}3`, [exclude])
        assert.deepStrictEqual(namesIn(`${to}3`, single.receipt.image), [["lib/a.py"]])
      })
    )
  )

  it.scoped("rewrite Docker's manifest lists", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const from = path.join(directory, "from")
      const to = path.join(directory, "to")
      const entries = ["amd64", "arm64"].map((architecture) => {
        const image = ImageBuilder.build({ architecture, layers: [Fixture.shared] })
        return { ...ImageBuilder.blobs(image, { docker: true, compression: "gzip" }), platform: image.platform }
      })
      const manifests = entries.map(({ manifest, platform }) => ({ ...manifest, platform }))
      const list = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MediaType.dockerManifestList, manifests }))
      const root = { mediaType: MediaType.dockerManifestList, digest: digestOf(list), size: list.length }
      const files = new Map(entries.flatMap(({ entries }) => entries.map(({ body, path }) => [String(path), body!])))
      files.set(Digest.blobPath(root.digest), list)
      files.set("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
      files.set("index.json", Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [root] })))
      fs.mkdirSync(path.join(from, "blobs/sha256"), { recursive: true })
      for (const [name, bytes] of files) fs.writeFileSync(path.join(from, name), bytes)
      const { receipt } = yield* process_(`oci-layout://${from}`, to, [exclude])
      const [entry] = entriesOf(to)
      assert.deepStrictEqual([entry.mediaType, entry.digest], [MediaType.dockerManifestList, receipt.image])
      const written = blob(to, entry.digest)
      assert.strictEqual(written.mediaType, MediaType.dockerManifestList)
      for (const [index, one] of written.manifests.entries()) {
        assert.deepStrictEqual([one.mediaType, one.platform], [MediaType.dockerManifest, manifests[index]!.platform])
        assert.deepStrictEqual(namesIn(to, one.digest), [["lib/a.py"]])
      }
    })
  )

  it.scoped("add to a layout that holds other things", () =>
    inScratch((from, to) =>
      Effect.gen(function* () {
        const plain = yield* process_(`oci-layout://${from.directory}:app`, to, [])
        const filtered = yield* process_(`oci-layout://${from.directory}:app`, to, [exclude], { name: "less" })
        assert.deepStrictEqual(
          entriesOf(to).map((entry) => [entry.digest, entry.annotations[Fixture.refName]]),
          [
            [plain.receipt.image, "app"],
            [filtered.receipt.image, "less"]
          ]
        )
        // From one name of a layout to another, too.
        const { receipt } = yield* process_(`oci-layout://${to}:app`, to, [exclude], { name: "again" })
        assert.strictEqual(receipt.image, filtered.receipt.image)
      })
    )
  )

  it.scoped("rebase every image on the base of its platform", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const layoutOf = (name: string, layers: (architecture: string) => ReadonlyArray<Buffer>, osVersion?: string) => {
        const root = path.join(directory, name)
        fs.mkdirSync(root)
        const index = ["amd64", "arm64"].map((architecture) => ({
          image: ImageBuilder.build({
            architecture,
            layers: layers(architecture),
            ...(osVersion === undefined ? {} : { config: { "os.version": osVersion } })
          }),
          platform: true
        }))
        ImageBuilder.writeTree(root, ImageBuilder.ociLayout([{ index, names: [name] }]))
        return `oci-layout://${root}`
      }
      const base = (version: string) => (architecture: string) => [tar([file("base", `${version} ${architecture}`)])]
      const own = tar([file("app", "own")])
      const app = layoutOf("app", (architecture) => [...base("1")(architecture), own], "10.0.1")
      const spec = `rebase:old_base=${layoutOf("old", base("1"))},new_base=${layoutOf("new", base("2"), "10.0.2")}`
      const to = path.join(directory, "to")
      const { receipt } = yield* process_(app, to, [spec])
      const { manifests } = blob(to, receipt.image)
      for (const { digest, platform } of manifests) {
        const [layer] = blob(to, digest).layers
        assert.include(bytesOf(to, layer.digest).toString("latin1"), `2 ${platform.architecture}`)
      }
      assert.strictEqual(new Set(receipt.filters.map((one) => one.inputs?.["new_base"])).size, 2)
    })
  )

  it.scoped("keep an entry's os.version that of the config", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const image = (layers: ReadonlyArray<Buffer>, version: string) =>
        ImageBuilder.build({ os: "windows", layers, config: { "os.version": version } })
      const layoutOf = (name: string, built: ImageBuilder.BuiltImage) => {
        const root = path.join(directory, name)
        fs.mkdirSync(root)
        const platform = {
          ...built.platform,
          "os.version": JSON.parse(Buffer.from(built.config).toString())["os.version"]
        }
        const index = [{ image: { ...built, platform }, platform: true }]
        ImageBuilder.writeTree(root, ImageBuilder.ociLayout([{ index, names: [name] }]))
        return `oci-layout://${root}`
      }
      const old = tar([file("Files/base", "1")])
      const fresh = tar([file("Files/base", "2")])
      const own = tar([file("Files/app", "own")])
      const app = layoutOf("app", image([old, own], "10.0.1"))
      const bases = [layoutOf("old", image([old], "10.0.1")), layoutOf("new", image([fresh], "10.0.2"))]
      const to = path.join(directory, "to")
      const { receipt } = yield* process_(app, to, [`rebase:old_base=${bases[0]},new_base=${bases[1]}`])
      const [entry] = blob(to, receipt.image).manifests
      assert.strictEqual(entry.platform["os.version"], "10.0.2")
    })
  )

  it.scoped("fail where there is nothing to filter, or an index that readers may understand in two ways", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const from = Fixture.make(path.join(directory, "from"))
      const to = path.join(directory, "to")
      const none = yield* Effect.flip(
        process_(`oci-layout://${from.directory}?image=${from.sbom.digest}`, to, [exclude])
      )
      assert.include(none.message, "expected an image, found none")
      const twice = Fixture.make(path.join(directory, "twice"), (index) =>
        Buffer.from(JSON.stringify(index).replace('"schemaVersion":2', '"annotations":{},"schemaVersion":2'))
      )
      const failed = yield* Effect.flip(process_(`oci-layout://${twice.directory}:app`, to, [exclude]))
      assert.include(failed.message, "annotations")
      assert.isFalse(fs.existsSync(path.join(to, "index.json")))
      const cut = Fixture.make(path.join(directory, "cut"))
      const [layer] = blob(cut.directory, cut.images.arm64.digest).layers
      fs.truncateSync(path.join(cut.directory, Digest.blobPath(layer.digest)), 20)
      assert.include(
        (yield* Effect.flip(process_(`oci-layout://${cut.directory}:app`, to, [exclude]))).message,
        layer.digest.slice(7)
      )
      assert.isFalse(fs.existsSync(path.join(to, "index.json")))
    })
  )

  it.scoped("write what an audit can find damage in", () =>
    inScratch((from, to) =>
      Effect.gen(function* () {
        const { receipt } = yield* process_(`oci-layout://${from.directory}:app`, to, [exclude])
        const [amd64, , nested] = blob(to, receipt.image).manifests
        const layer = blob(to, amd64.digest).layers[1].digest
        for (const [digest, check] of [
          [receipt.image, "index.digest-mismatch"],
          [nested.digest, "index.digest-mismatch"],
          [amd64.digest, "manifest.digest-mismatch"],
          [layer, "layer.digest-mismatch"]
        ] as const) {
          const target = path.join(to, Digest.blobPath(digest))
          const sound = fs.readFileSync(target)
          const spoilt = Buffer.from(sound)
          // A blank less in a document, or a changed byte of the compressed data.
          spoilt[check === "layer.digest-mismatch" ? sound.length - 12 : sound.indexOf("sha256:") + 7]! ^= 1
          fs.writeFileSync(target, spoilt)
          const found = findings(yield* verifyTarget(to))
          assert.isTrue(
            found.some(([id, subject]) => id === check && subject === Digest.blobPath(digest)),
            JSON.stringify(found)
          )
          fs.writeFileSync(target, sound)
        }
        fs.rmSync(path.join(to, Digest.blobPath(layer)))
        assert.isTrue(findings(yield* verifyTarget(to, "fast")).some(([id]) => id === "layer.missing"))
      })
    )
  )
})

describe("process --all-platforms -f", () => {
  it("says for each platform what filters did, and what is left out", () =>
    withScratch(async (directory) => {
      const from = Fixture.make(path.join(directory, "from"))
      const jsonl = path.join(directory, "layers.jsonl")
      const args = ["process", `oci-layout://${from.directory}:app`, `oci-layout://${directory}/to`, "--all-platforms"]
      const filters = ["-f", exclude, "-f", `inspect:file=${jsonl}`]
      const { code, stderr, stdout } = await tallyman([...args, ...filters])
      assert.deepStrictEqual([code, stderr], [0, ""])
      const lines = stdout.trim().split("\n")
      assert.strictEqual(lines[0], `linux/amd64 ${from.images.amd64.digest}:`)
      assert.match(lines[1]!, /^exclude: left out 2 entries/)
      assert.include(lines, `inspect: appended 1 layer to ${jsonl}`)
      assert.include(lines, `linux/riscv64 ${from.images.plain.digest}:`)
      assert.include(
        lines,
        `left out: ${from.attestations.amd64.digest} (${from.attestations.amd64.mediaType}): it is about ${from.images.amd64.digest}, which was changed or left out`
      )
      assert.match(lines.at(-1)!, /^Summary: 3\/3 images, 1 artifact, 4 layers, .*, 3\/3 verified$/)
      const recorded = fs.readFileSync(jsonl, "utf8").trim().split("\n")
      assert.deepStrictEqual(
        recorded.map((line) => JSON.parse(line).layers.length),
        [2, 2, 1]
      )
      const script = await tallyman([...args, "-f", "search:pattern=*.pyc,script_friendly=true"])
      assert.deepStrictEqual(
        script.stdout
          .trim()
          .split("\n")
          .slice(0, -1)
          .map((line) => line.split(":").at(-1)),
        ["lib/a.pyc", "bin/app.pyc", "lib/a.pyc", "bin/app.pyc"]
      )
      const json = JSON.parse((await tallyman([...args, ...filters, "--format", "json"])).stdout)
      assert.deepStrictEqual(
        json.filters.map((one: Doc) => [one.name, one.platform, one.manifest]),
        (["amd64", "arm64", "plain"] as const).flatMap((name) =>
          ["exclude", "inspect"].map((filter) => [
            filter,
            name === "plain" ? "linux/riscv64" : `linux/${name}`,
            from.images[name].digest
          ])
        )
      )
      assert.strictEqual(json.left_out.length, 4)
    }))

  it("is refused where one platform is chosen, and where there is place for one image only", () =>
    withScratch(async (directory) => {
      const from = Fixture.make(path.join(directory, "from"))
      const source = `oci-layout://${from.directory}:app`
      const to = path.join(directory, "to")
      for (const [args, message] of [
        [
          [source, `oci-layout://${to}`, "--platform", "linux/arm64"],
          "cannot use --all-platforms with the choice of a platform"
        ],
        [
          [`${source}?architecture=arm64`, `oci-layout://${to}`],
          "cannot use --all-platforms with the choice of a platform"
        ],
        [
          [source, `dir://${to}`],
          `cannot use --all-platforms with "dir://${to}": a dir:// destination holds single images`
        ],
        [
          [source, `oci://${to}`],
          `cannot use --all-platforms with "oci://${to}": an oci:// destination holds single images`
        ],
        ...["", "?format=docker", "?format=hybrid"].map(
          (format) =>
            [
              [source, `tar://${to}${format}`],
              `cannot use --all-platforms with "tar://${to}${format}": a tar:// destination holds single images (format=oci makes one that holds all)`
            ] as const
        )
      ] as const) {
        const { code, stderr } = await tallyman(["process", ...args, "--all-platforms"])
        assert.strictEqual(code, 2, stderr)
        assert.include(stderr, message)
        assert.isFalse(fs.existsSync(to))
      }
    }))

  peerTest(["skopeo"], "is accepted by skopeo, with the digests it says", () =>
    withScratch(async (directory) => {
      const from = Fixture.make(path.join(directory, "from"), (index) => {
        // skopeo copies no index in an index, and nothing that is not there.
        const manifests = (index["manifests"] as ReadonlyArray<Doc>).filter(
          ({ mediaType, platform }) =>
            mediaType === "application/vnd.oci.image.manifest.v1+json" && platform?.architecture !== "s390x"
        )
        return Buffer.from(JSON.stringify({ ...index, manifests }))
      })
      const to = path.join(directory, "to")
      const args = ["process", `oci-layout://${from.directory}:app`, `oci-layout://${to}`, "--all-platforms"]
      const { code, stdout } = await tallyman([
        ...args,
        "-f",
        exclude,
        "-f",
        "normalize-timestamps",
        "--verify-full",
        "--format",
        "json"
      ])
      assert.strictEqual(code, 0)
      const raw = run("skopeo", ["inspect", "--raw", `oci:${to}:app`]).bytes
      assert.strictEqual(JSON.parse(stdout).image, digestOf(raw))
      run("skopeo", ["copy", "-q", "--all", `oci:${to}:app`, `oci:${directory}/copy:app`])
      const copied = run("skopeo", ["inspect", "--raw", `oci:${directory}/copy:app`]).bytes
      assert.isTrue(Buffer.from(copied).equals(Buffer.from(raw)))
      const layers = run("skopeo", ["--override-arch", "amd64", "inspect", `oci:${to}:app`]).stdout
      assert.strictEqual(JSON.parse(layers).Layers.length, 2)
    })
  )
})
