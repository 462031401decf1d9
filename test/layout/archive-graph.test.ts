/** `tar://PATH?format=oci` with all that an index leads to. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Filters from "../../src/filter/Filters.ts"
import * as Digest from "../../src/image/Digest.ts"
import * as ArchiveFiles from "../../src/layout/docker-archive/ArchiveFiles.ts"
import * as Receipt from "../../src/layout/Receipt.ts"
import * as Opener from "../../src/pipeline/Opener.ts"
import * as Pipeline from "../../src/pipeline/Pipeline.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import {
  command,
  findings,
  pool,
  processUris,
  scratch,
  snapshot,
  start,
  tallyman,
  withScratch
} from "../fault/Workbench.ts"
import * as Fixture from "../filter/IndexFixture.ts"
import { assertSound, audit, content, type Doc, documentOf, membersOf, sha256, traces } from "./writing.ts"

interface Options {
  readonly referrers?: boolean
  readonly append?: boolean
  readonly filters?: ReadonlyArray<string>
}

/** `process --all-platforms --verify-full`; answers only when the output is sound. */
const copy = (source: string, destination: string, { append, filters = [], referrers }: Options = {}) =>
  Effect.gen(function* () {
    const open = yield* Opener.make()
    const processed = yield* Pipeline.process({
      source: yield* Uri.parse(source),
      destination: yield* Uri.parse(destination),
      filters: filters.map((spec) => Either.getOrThrow(Filters.parse(spec, { open }))),
      verify: "full",
      allPlatforms: true,
      ...(append === undefined ? {} : { append }),
      ...(referrers === undefined ? {} : { referrers })
    })
    assert.deepStrictEqual(findings(processed.verification!), [])
    return processed
  }).pipe(Effect.scoped, Effect.provide(pool))

const test = <E>(
  name: string,
  body: (from: Fixture.Fixture, to: string) => Effect.Effect<void, E>,
  edit?: Parameters<typeof Fixture.make>[1]
) =>
  it.scoped(name, () =>
    Effect.flatMap(scratch, (directory) => {
      const to = path.join(directory, "to")
      fs.mkdirSync(to)
      return body(Fixture.make(path.join(directory, "from"), edit), to)
    })
  )

const sourceOf = (from: Fixture.Fixture): string => `oci-layout://${from.directory}:app`
const archiveIn = (to: string): string => path.join(to, "image.tar")

const sound = (file: string, receipt: Receipt.Receipt) =>
  Effect.gen(function* () {
    yield* assertSound(file, receipt)
    assert.deepStrictEqual(traces(path.dirname(file)), [])
    assert.deepStrictEqual(Either.getOrThrow(Receipt.decode(fs.readFileSync(ArchiveFiles.receiptPath(file)))), receipt)
  }).pipe(Effect.provide(pool))

const blobsIn = (members: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> =>
  new Map([...members].filter(([name]) => /^blobs\/[^/]+\/./.test(name)).sort(([one], [two]) => (one < two ? -1 : 1)))

const entriesOf = (file: string): ReadonlyArray<Doc> => documentOf(file, "index.json").manifests

const exclude = "exclude:pattern=*.pyc"

describe("an oci-archive of all platforms", () => {
  for (const [name, options] of [
    ["as it is", {}],
    ["with referrers", { referrers: true }],
    ["filtered", { filters: [exclude, "normalize-timestamps"] }],
    ["filtered, with referrers", { filters: [exclude], referrers: true }],
    ["filtered in layers of images' own", { filters: ["flatten"] }]
  ] as const) {
    test(`holds what a layout would: ${name}`, (from, to) =>
      Effect.gen(function* () {
        const file = archiveIn(to)
        const written = yield* copy(sourceOf(from), `tar://${file}?format=oci`, options)
        yield* sound(file, written.receipt)
        const layout = path.join(to, "layout")
        const other = yield* copy(sourceOf(from), `oci-layout://${layout}:app`, options)
        const members = membersOf(file)
        assert.deepStrictEqual(blobsIn(members), blobsIn(snapshot(layout)))
        assert.deepStrictEqual(
          entriesOf(file),
          JSON.parse(fs.readFileSync(path.join(layout, "index.json"), "utf8")).manifests
        )
        for (const part of ["counts", "layerBytes", "leftOut", "reports"] as const)
          assert.deepStrictEqual(written[part], other[part])
        const { files, details, layout: _, ...rest } = written.receipt
        assert.deepInclude(other.receipt, rest)
        const { format, size, ...same } = details
        assert.deepInclude(other.receipt.details, same)
        assert.deepStrictEqual([format, size], ["oci", fs.statSync(file).size])
        assert.sameMembers(
          files.map((one) => one.path),
          [...members.keys()].filter((one) => !one.endsWith("/"))
        )
      }))
  }

  test("is the same bytes every time, index.json behind all that it lists, without times and owners", (from, to) =>
    Effect.gen(function* () {
      const other = path.join(to, "elsewhere", "other.tar")
      for (const options of [{ referrers: true }, { filters: [exclude] }]) {
        yield* copy(sourceOf(from), `tar://${archiveIn(to)}?format=oci`, options)
        yield* copy(sourceOf(from), `tar://${other}?format=oci`, options)
        assert.isTrue(fs.readFileSync(other).equals(fs.readFileSync(archiveIn(to))))
        const names = [...membersOf(other).keys()]
        assert.deepStrictEqual(names.slice(0, 2), ["blobs/", "blobs/sha256/"])
        assert.deepStrictEqual(names.slice(-2), ["index.json", "oci-layout"])
        const bytes = fs.readFileSync(other)
        assert.strictEqual(bytes.toString("latin1", 136, 147), "00000000000", "no time")
        assert.strictEqual(bytes.toString("latin1", 108, 115), "0000000", "no owner")
      }
    }))

  test("comes back as it was through a layout", (from, to) =>
    Effect.gen(function* () {
      const [first, again] = [archiveIn(to), path.join(to, "again.tar")]
      const one = yield* copy(sourceOf(from), `tar://${first}?format=oci`, { referrers: true })
      const layout = path.join(to, "layout")
      yield* copy(`tar://${first}?image=app`, `oci-layout://${layout}`, { referrers: true })
      const two = yield* copy(`oci-layout://${layout}:app`, `tar://${again}?format=oci`, { referrers: true })
      assert.strictEqual(two.receipt.image, from.root.digest)
      assert.strictEqual(one.receipt.image, from.root.digest)
      assert.deepStrictEqual(blobsIn(membersOf(again)), blobsIn(snapshot(from.directory)))
      assert.isTrue(fs.readFileSync(again).equals(fs.readFileSync(first)))
    }))

  test("is called as the URI says, by both names that there are", (from, to) =>
    Effect.gen(function* () {
      const file = archiveIn(to)
      const { receipt } = yield* copy(sourceOf(from), `tar://${file}?format=oci&name=team/app:2`)
      assert.deepStrictEqual(receipt.names, ["team/app:2"])
      assert.deepStrictEqual(entriesOf(file), [
        {
          ...from.root,
          annotations: {
            "io.containerd.image.name": "docker.io/team/app:2",
            "org.opencontainers.image.ref.name": "2"
          }
        }
      ])
      yield* copy(`tar://${file}?image=team/app:2`, `oci-layout://${to}/layout`)
    }))

  test("takes the place of what is there, or is added to it", (from, to) =>
    Effect.gen(function* () {
      const file = archiveIn(to)
      const single = `oci-layout://${from.directory}:app?platform=linux/riscv64`
      yield* processUris(single, `tar://${file}?format=oci&name=single:1`)
      const added = yield* copy(sourceOf(from), `tar://${file}?format=oci`, { append: true, referrers: true })
      yield* sound(file, added.receipt)
      assert.strictEqual(entriesOf(file)[0].annotations["io.containerd.image.name"], "docker.io/library/single:1")
      assert.strictEqual(entriesOf(file).length, 6)
      const filtered = yield* copy(sourceOf(from), `tar://${file}?format=oci&name=less:1`, {
        append: true,
        filters: [exclude]
      })
      yield* sound(file, filtered.receipt)
      assert.strictEqual(entriesOf(file).length, 7)
      const before = fs.readFileSync(file)
      for (const [name, options] of [
        ["app", { referrers: true }],
        ["less:1", { filters: [exclude] }]
      ] as const) {
        const again = yield* copy(sourceOf(from), `tar://${file}?format=oci&name=${name}`, { append: true, ...options })
        yield* sound(file, again.receipt)
        assert.strictEqual(entriesOf(file).length, 7)
        assert.deepStrictEqual([...membersOf(file).keys()].sort(), [...members(before)].sort())
      }
      // An image that joins them leaves them in there.
      yield* Pipeline.process({
        source: yield* Uri.parse(single),
        destination: yield* Uri.parse(`tar://${file}?format=oci&name=more:1`),
        verify: "full",
        append: true
      }).pipe(Effect.scoped, Effect.provide(pool))
      assert.strictEqual(entriesOf(file).length, 8)
      const { receipt } = yield* copy(sourceOf(from), `tar://${file}?format=oci`)
      yield* sound(file, receipt)
      assert.deepStrictEqual(
        entriesOf(file).map((one) => one.digest),
        [from.root.digest]
      )
    }))

  for (const format of ["docker", "hybrid"] as const) {
    test(`is not made of one for single images: ${format}`, (from, to) =>
      Effect.gen(function* () {
        const file = archiveIn(to)
        yield* processUris(
          `oci-layout://${from.directory}:app?platform=linux/riscv64`,
          `tar://${file}?format=${format}&name=single:1`
        )
        const before = snapshot(to)
        const failed = yield* Effect.flip(copy(sourceOf(from), `tar://${file}?format=oci`, { append: true }))
        assert.include(failed.message, `cannot append to ${file}: expected an oci-archive`)
        assert.deepStrictEqual(snapshot(to), before)
        const refused = yield* Effect.flip(copy(sourceOf(from), `tar://${file}?format=${format}`))
        assert.strictEqual(refused._tag, "UsageError")
        assert.include(refused.message, "format=oci")
        assert.deepStrictEqual(snapshot(to), before)
      }))
  }

  test("is not converted", (from, to) =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(copy(sourceOf(from), `tar://${archiveIn(to)}?format=oci&compression=zstd`))
      assert.include(failed.message, "cannot convert")
      assert.deepStrictEqual(fs.readdirSync(to), [])
    }))

  test("is not written of a source that is damaged, and what is there stays", (from, to) =>
    Effect.gen(function* () {
      const file = archiveIn(to)
      const layers = documentOfLayout(from, from.images.arm64.digest).layers
      for (const there of [false, true]) {
        if (there) yield* copy(sourceOf(from), `tar://${file}?format=oci`)
        const before = snapshot(to)
        for (const [digest, options] of [
          [layers[1].digest, {}],
          [layers[1].digest, { filters: [exclude] }],
          [from.nested.arm64.digest, {}],
          [from.sbom.digest, { referrers: true }]
        ] as const) {
          const blob = path.join(from.directory, Digest.blobPath(digest))
          const bytes = fs.readFileSync(blob)
          fs.writeFileSync(blob, Buffer.from(bytes).fill("x", 100, 101))
          const failed = yield* Effect.flip(copy(sourceOf(from), `tar://${file}?format=oci`, options))
          assert.include(["SourceError", "FilterError"], failed._tag)
          assert.deepStrictEqual(snapshot(to), before)
          fs.writeFileSync(blob, bytes)
        }
      }
    }))
})

const members = (bytes: Buffer): ReadonlySet<string> => {
  const names = new Set<string>()
  for (let at = 0; bytes[at] !== 0; ) {
    const size = Number.parseInt(bytes.toString("latin1", at + 124, at + 135), 8)
    names.add(bytes.toString("latin1", at, at + 100).replace(/\0.*/s, ""))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return names
}

const documentOfLayout = (from: Fixture.Fixture, digest: string): Doc =>
  JSON.parse(fs.readFileSync(path.join(from.directory, Digest.blobPath(digest as Digest.Digest)), "utf8"))

describe("every damage to it", () => {
  /** One bit of what `of` names is another, without a change of what it means where it is JSON; or it is lost. */
  const spoilt = (
    name: string,
    of: (from: Fixture.Fixture) => string,
    how: "changed" | "lost",
    expected: (file: string) => ReadonlyArray<string>
  ) =>
    test(
      `${name} is ${how}`,
      (from, to) =>
        Effect.gen(function* () {
          const file = archiveIn(to)
          const { receipt } = yield* copy(sourceOf(from), `tar://${file}?format=oci`, { referrers: true })
          const member = of(from)
          const there = membersOf(file)
          assert.isTrue(there.has(member))
          const entries = [...there].flatMap(([one, body]) =>
            one.endsWith("/") || (one === member && how === "lost")
              ? []
              : [Entry.file(one, one === member ? changed(body) : body)]
          )
          fs.writeFileSync(file, ImageBuilder.archive(entries))
          const beside = [yield* audit(file, receipt), yield* audit(file)]
          fs.rmSync(ArchiveFiles.receiptPath(file))
          assert.deepStrictEqual([...(yield* audit(file))].sort(), [...expected(member)].sort())
          for (const found of beside) {
            if (how === "lost") assert.include(found, `receipt.missing-file ${member}`)
            assert.includeMembers([...found], [...expected(member)])
          }
        }).pipe(Effect.provide(pool)),
      // What is listed and not there anyway might be what was lost.
      (index) => {
        const manifests = (index["manifests"] as ReadonlyArray<Doc>).slice(0, -1)
        return Buffer.from(JSON.stringify({ ...index, manifests }))
      }
    )
  const changed = (body: Buffer): Buffer => {
    const text = body.toString("latin1")
    const swapped = text.replace(/^\{("schemaVersion":2),("mediaType":"[^"]*"),/, "{$2,$1,")
    const other = Buffer.from(swapped, "latin1")
    // A byte of the first member's content, where it is a tar.
    if (swapped === text) other[other.length > 1024 ? 514 : 2]! ^= 1
    return other
  }
  const blob = (digest: string): string => Digest.blobPath(digest as Digest.Digest)
  const only = (check: string) => (file: string) => [`${check} ${file}`]
  const layerOf = (from: Fixture.Fixture): string =>
    blob(documentOfLayout(from, from.images.arm64.digest).layers[1].digest)

  spoilt("a layer", layerOf, "changed", (file) => [`layer.diff-id-mismatch ${file}`, `layer.digest-mismatch ${file}`])
  spoilt("a layer", layerOf, "lost", only("layer.missing"))
  spoilt("the index", (from) => blob(from.root.digest), "changed", only("index.digest-mismatch"))
  spoilt("the index", (from) => blob(from.root.digest), "lost", only("index.missing"))
  spoilt("a nested index", (from) => blob(from.nested.arm64.digest), "changed", only("index.digest-mismatch"))
  spoilt("a nested index", (from) => blob(from.nested.arm64.digest), "lost", only("index.incomplete"))
  spoilt("a nested manifest", (from) => blob(from.images.arm64.digest), "changed", only("manifest.digest-mismatch"))
  spoilt("a nested manifest", (from) => blob(from.images.arm64.digest), "lost", only("manifest.missing"))
  spoilt("a signature", (from) => blob(from.signature.digest), "changed", only("manifest.digest-mismatch"))
  spoilt("a signature", (from) => blob(from.signature.digest), "lost", only("manifest.missing"))
  spoilt("what nobody knows", (from) => blob(from.unknown.digest), "changed", only("blob.digest-mismatch"))
  spoilt("oci-layout", () => "oci-layout", "lost", only("oci-layout.missing"))
})

describe("a run into an oci-archive of all platforms that is cut off", () => {
  it("leaves nothing under the name, or all of it, and what was there until then", () =>
    withScratch(async (directory) => {
      assert.isTrue(fs.existsSync(command))
      const from = Fixture.make(path.join(directory, "from"), (index) => {
        // So that there is something to write.
        const config = Buffer.from("{}")
        const put = (mediaType: string, bytes: Buffer) => {
          fs.writeFileSync(path.join(directory, "from/blobs/sha256", sha256(bytes)), bytes)
          return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length }
        }
        const large = put(
          "application/vnd.oci.image.manifest.v1+json",
          Buffer.from(
            JSON.stringify({
              schemaVersion: 2,
              mediaType: "application/vnd.oci.image.manifest.v1+json",
              artifactType: "application/large",
              config: put("application/vnd.oci.empty.v1+json", config),
              layers: ["a", "b", "c"].map((seed) => put("application/octet-stream", content(seed, 20_000_000)))
            })
          )
        )
        const manifests = [...(index["manifests"] as ReadonlyArray<Doc>), large]
        return Buffer.from(JSON.stringify({ ...index, manifests }))
      })
      const to = path.join(directory, "to")
      const file = archiveIn(to)
      const args = ["process", sourceOf(from), `tar://${file}?format=oci`, "--all-platforms", "--no-verify"]
      const whole = await tallyman(args)
      assert.strictEqual(whole.code, 0, whole.stderr)
      const bytes = fs.readFileSync(file)
      const old = Buffer.from("what was there until then")
      const ends = new Set<string>()
      for (let run = 0; run < 8; run++) {
        fs.rmSync(to, { recursive: true })
        fs.mkdirSync(to)
        const replaces = run % 2 === 1
        const signal = run % 4 < 2 ? "SIGKILL" : "SIGINT"
        if (replaces) fs.writeFileSync(file, old)
        const running = start(args)
        let over = false
        void running.ended.then(() => {
          over = true
        })
        // From the moment at which there is a temporary file to one that is never reached.
        const least = (bytes.length / 6) * run
        while (!over) {
          const partial = fs.readdirSync(to).find((name) => name.endsWith(".partial"))
          const size =
            partial === undefined ? undefined : fs.statSync(path.join(to, partial), { throwIfNoEntry: false })
          if (size !== undefined && size.blocks * 512 >= least) break
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        running.child.kill(signal)
        const { code } = await running.ended
        const there = fs.existsSync(file) ? fs.readFileSync(file) : undefined
        if (there?.equals(bytes) === true) ends.add("whole")
        else {
          ends.add("cut off")
          assert.notStrictEqual(code, 0)
          assert.deepStrictEqual(there, replaces ? old : undefined)
          if (signal === "SIGINT") assert.deepStrictEqual(traces(to), [])
        }
        const again = await tallyman(args)
        assert.strictEqual(again.code, 0, again.stderr)
        assert.isTrue(fs.readFileSync(file).equals(bytes))
        assert.deepStrictEqual(fs.readdirSync(to).sort(), ["image.tar", "image.tar.receipt.json"])
      }
      assert.include([...ends], "cut off")
    }))

  it("gives the same bytes with any number of threads", () =>
    withScratch(async (directory) => {
      const from = Fixture.make(path.join(directory, "from"))
      const written: Array<string> = []
      for (const threads of ["1", "3"]) {
        const file = path.join(directory, `${threads}.tar`)
        const args = ["process", sourceOf(from), `tar://${file}?format=oci`, "--referrers", "-j", threads]
        const { code, stderr } = await tallyman([...args, "-f", exclude, "--verify-full"])
        assert.strictEqual(code, 0, stderr)
        written.push(sha256(fs.readFileSync(file)))
      }
      assert.strictEqual(written[0], written[1])
    }))
})
