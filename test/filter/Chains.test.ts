/** Every chain of filters into every layout: what comes out is a valid image. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import * as fc from "fast-check"
import type { WorkerPool } from "../../src/content/WorkerPool.ts"
import * as Filter from "../../src/filter/Filter.ts"
import * as Filters from "../../src/filter/Filters.ts"
import type * as Image from "../../src/image/Image.ts"
import { unmount } from "../../src/layout/mounts/Mounting.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Opener from "../../src/pipeline/Opener.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as Random from "../content/tarArbitrary.ts"
import type * as Workbench from "../fault/Workbench.ts"
import { isRoot, scratch, tallyman, withScratch } from "../fault/Workbench.ts"
import { digestOf, makeImage, pool } from "../layout/writing.ts"
import { file, tar } from "../rootfs/Layers.ts"

const rebase = "rebase:old_base=OLD,new_base=NEW"

const specs = [
  "normalize-timestamps",
  "normalize-timestamps:ts=1700000000,config=true",
  "exclude:pattern=*.pyc",
  "exclude:pattern=a,b",
  "exclude:pattern=/lib/*,!/lib/foo,c/",
  "exclude:pattern=*,!foo",
  "flatten",
  rebase,
  "search:pattern=*a*",
  "inspect:file=FILE"
] as const

const some = (minLength: number, maxLength: number) => fc.array(fc.constantFrom(...specs), { minLength, maxLength })

/** A rebase is more often possible at the beginning. */
const chain: fc.Arbitrary<ReadonlyArray<string>> = fc.oneof(
  { weight: 3, arbitrary: some(1, 3) },
  { weight: 1, arbitrary: some(0, 2).map((rest) => [rebase, ...rest]) }
)

type Layer = Pick<Random.RandomLayer, "tar">

interface Made {
  readonly layers: ReadonlyArray<Layer>
  readonly compression: "none" | "gzip"
  readonly manifest: "oci" | "docker" | undefined
  /** How many of the layers are those of its base, and the layers of another base. */
  readonly below: number
  readonly base: ReadonlyArray<Layer>
}

const made: fc.Arbitrary<Made> = fc.record({
  layers: Random.layers,
  compression: fc.constantFrom("none", "gzip"),
  manifest: fc.constantFrom("oci", "docker", undefined),
  below: fc.nat(2),
  base: Random.layers
})

const imageOf = (directory: string, { compression, layers, manifest }: Omit<Made, "below" | "base">): Image.Image =>
  makeImage(directory, {
    names: ["localhost/random:1"],
    layers: layers.map((one) => one.tar),
    compression,
    ...(manifest === undefined ? {} : { manifest })
  })

const parsed = (directory: string, specs: ReadonlyArray<string>) =>
  Effect.map(Opener.make(), (open) =>
    specs.map((spec) => {
      const inside = (name: string): string => path.join(directory, name)
      const text = spec
        .replace("FILE", inside("inspected.jsonl"))
        .replace("OLD", inside("old.tar"))
        .replace("NEW", inside("new.tar"))
      return Either.getOrThrow(Filters.parse(text, { open }))
    })
  )

/** The bases that specs name. */
const writeBases = Effect.fnUntraced(function* (directory: string, { base, below, layers, ...made }: Made) {
  for (const [name, own] of [
    ["old", layers.slice(0, below)],
    ["new", base]
  ] as const) {
    const writer = yield* Layouts.openWriter(yield* Uri.parse(`tar://${path.join(directory, name)}.tar`))
    yield* writer.write(imageOf(directory, { ...made, layers: own }), { filters: [] })
  }
})

const refusals =
  /^cannot rebase: expected diff_id|^cannot rebase layer .* \[rootfs\.(?:hardlink-|path-through-)[a-z-]+\]$/

/** Chains with a rebase in which there were, and those that came to an end. */
const rebases = { all: 0, done: 0 }

/** Writes an image and reads all of it back. */
const writtenAndVerified = Effect.fnUntraced(function* (
  destination: string,
  image: Image.Image,
  filters: ReadonlyArray<Filter.AppliedFilter>
) {
  const uri = yield* Uri.parse(destination)
  const writer = yield* Layouts.openWriter(uri)
  const receipt = yield* writer.write(image, { filters })
  const verifier = yield* Layouts.openVerifier(uri)
  const { results } = yield* verifier.verify({ depth: "full", receipt })
  return { receipt, errors: results.results.filter((one) => one.severity === "error") }
})

const check = async (
  destination: (directory: string) => string,
  made: Made,
  specs: ReadonlyArray<string>
): Promise<void> => {
  await Effect.runPromise(processed(destination, made, specs))
}

const processed = (
  destination: (directory: string) => string,
  made: Made,
  specs: ReadonlyArray<string>,
  behind: (uri: string) => Effect.Effect<void, Workbench.Failure, Scope.Scope | WorkerPool> = () => Effect.void
) =>
  Effect.gen(function* () {
    const directory = yield* scratch
    const image = imageOf(directory, made)
    const isRebase = specs.includes(rebase)
    if (isRebase) {
      rebases.all++
      yield* writeBases(directory, made)
    }
    const either = yield* Effect.either(Filter.applyAll(yield* parsed(directory, specs), image))
    if (Either.isLeft(either)) {
      // Random layers do not always fit on random bases, and what was changed before is not the base any more.
      if (!isRebase || either.left.reason !== "Mismatch") return yield* either.left
      assert.match(either.left.message, refusals)
      return
    }
    const done = either.right
    if (isRebase) rebases.done++
    const uri = destination(directory)
    // What is mounted holds on to the directory.
    if (uri.startsWith("mounts://")) {
      yield* Effect.addFinalizer(() => Effect.orDie(unmount(uri.slice("mounts://".length))))
    }
    const { errors, receipt } = yield* writtenAndVerified(uri, done.image, done.applied)
    assert.deepStrictEqual(errors, [])
    assert.deepStrictEqual(receipt.filters, done.applied)
    assert.strictEqual(receipt.image, done.image.config.digest)
    yield* behind(uri)
  }).pipe(Effect.scoped, Effect.provide(pool))

const stored: Readonly<Record<string, (directory: string) => string>> = {
  "dir://": (directory) => `dir://${directory}/out`,
  "tar://": (directory) => `tar://${directory}/out.tar`,
  "oci-layout://": (directory) => `oci-layout://${directory}/layout`
}

/** Only root can make all that random images hold. */
const unpacked: typeof stored = isRoot
  ? { "oci://": (directory) => `oci://${directory}/bundle`, "mounts://": (directory) => `mounts://${directory}/mounts` }
  : {}

const destinations = { ...stored, ...unpacked }

describe("what a filter makes", () => {
  for (const [destination, spools] of [
    ["dir://OUT", false],
    ["tar://OUT", false],
    ["oci-layout://OUT", false],
    ["oci-layout://OUT?compression=gzip", true]
  ] as const) {
    it.scoped(`is written to ${destination} ${spools ? "by" : "without"} temporary files`, () =>
      Effect.gen(function* () {
        const directory = yield* scratch
        const image = makeImage(directory, {
          layers: [tar([file("a", "a")]), tar([file("b", "b"), file("c", "c")])]
        })
        for (const spec of ["normalize-timestamps", "exclude:pattern=b", "flatten"]) {
          const { applied, image: next } = yield* Filter.applyAll(yield* parsed(directory, [spec]), image)
          const write = (name: string, tempDirectory: string) =>
            Effect.gen(function* () {
              const uri = yield* Uri.parse(destination.replace("OUT", `${directory}/${spec.slice(0, 4)}-${name}`))
              const writer = yield* Layouts.openWriter(uri, { tempDirectory })
              return yield* Effect.either(writer.write(next, { filters: applied }))
            })
          // Where there is no such directory nothing can be put into it.
          const without = yield* write("without", `${directory}/nowhere`)
          assert.strictEqual(without._tag, spools ? "Left" : "Right", spec)
          const temporary = path.join(directory, "temporary")
          fs.mkdirSync(temporary, { recursive: true })
          assert.strictEqual((yield* write("with", temporary))._tag, "Right", spec)
          assert.deepStrictEqual(fs.readdirSync(temporary), [])
        }
      }).pipe(Effect.provide(pool))
    )
  }
})

/** Files below a directory, or the file itself, that hold `text`. */
const holding = (place: string, text: string): ReadonlyArray<string> =>
  (fs.statSync(place).isFile()
    ? [place]
    : fs
        .readdirSync(place, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
  ).filter((name) => fs.readFileSync(name).includes(text))

describe("damage to what a chain made", () => {
  const chains = [["flatten"], [rebase], [rebase, "flatten"], [rebase, "normalize-timestamps"], ["flatten", "flatten"]]
  const content = { own: "what the image has itself", base: "what its new base has" }
  const expected: Readonly<Record<string, RegExp>> = {
    "dir://": /^layer\.(?:digest|diff-id)-mismatch$/,
    "tar://": /^layer\.(?:digest|diff-id)-mismatch$/,
    "oci-layout://": /^layer\.digest-mismatch$/,
    "oci://": /^rootfs\.content-mismatch$/,
    "mounts://": /^rootfs\.content-mismatch$/
  }
  const image: Made = {
    layers: [{ tar: tar([file("old", "old")]) }, { tar: tar([file("own", content.own)]) }],
    base: [{ tar: tar([file("base", content.base)]) }],
    below: 1,
    compression: "none",
    manifest: "oci"
  }
  /** What is written there goes elsewhere. */
  const mounted = /\/mounts\/rootfs\//
  for (const [scheme, destination] of Object.entries(destinations)) {
    it.effect(`is reported in ${scheme}`, () =>
      Effect.gen(function* () {
        for (const specs of chains) {
          for (const text of specs.includes(rebase) ? Object.values(content) : [content.own]) {
            yield* processed(destination, image, specs, (written) =>
              Effect.gen(function* () {
                const uri = yield* Uri.parse(written)
                const files = holding(uri.path, text).filter((name) => scheme !== "mounts://" || !mounted.test(name))
                assert.isNotEmpty(files)
                for (const name of files) {
                  const bytes = fs.readFileSync(name)
                  bytes[bytes.indexOf(text)]! ^= 1
                  const { atime, mtime } = fs.statSync(name)
                  fs.writeFileSync(name, bytes)
                  fs.utimesSync(name, atime, mtime)
                }
                const verifier = yield* Layouts.openVerifier(uri)
                const { results } = yield* verifier.verify({ depth: "full" })
                const errors = results.results.filter((one) => one.severity === "error")
                assert.isTrue(
                  errors.some((one) => expected[scheme]!.test(one.check)),
                  `${specs.join(" ")}: ${errors.map((one) => one.check).join(", ")}`
                )
              })
            )
          }
        }
      })
    )
  }
})

describe("a manifest that says more than its descriptors", () => {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
  const created = "org.opencontainers.image.created"
  const withMore = (image: Image.Image, time: string): Image.Image => {
    const value = JSON.parse(text(image.manifest!.raw))
    value.config.data = Buffer.from(image.config.raw).toString("base64")
    value.config.urls = ["https://localhost/config"]
    value.annotations = { [created]: time, kept: "as it is" }
    const raw = Buffer.from(JSON.stringify(value))
    return { ...image, manifest: { ...image.manifest!, raw, digest: digestOf(raw) } }
  }
  const build = (directory: string, seconds: number): Image.Image => {
    const time = new Date(seconds * 1000).toISOString()
    const config = { created: time, config: { Labels: { [created]: time, a: "b" } } }
    const layers = [tar([file("a", "a", { mtimeSeconds: seconds })])]
    return withMore(makeImage(directory, { layers, manifest: "oci", config }), time)
  }

  it.scoped("no longer embeds the config that was", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const image = build(directory, 5)
      for (const [spec, embeds] of [
        ["normalize-timestamps", false],
        ["exclude:pattern=a", false],
        ["search:pattern=a", true]
      ] as const) {
        const { applied, image: next } = yield* Filter.applyAll(yield* parsed(directory, [spec]), image)
        const output = `${directory}/${spec.slice(0, 4)}`
        const { errors } = yield* writtenAndVerified(`oci-layout://${output}`, next, applied)
        assert.deepStrictEqual(errors, [], spec)
        assert.strictEqual("data" in manifestIn(output).config, embeds, spec)
        assert.strictEqual("urls" in manifestIn(output).config, embeds, spec)
      }
    }).pipe(Effect.provide(pool))
  )

  it.scoped("and labels that say when it was made are the same for two builds", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const digests: Array<string> = []
      for (const seconds of [5, 1_700_000_000]) {
        const image = build(directory, seconds)
        const spec = "normalize-timestamps:config=true,ts=86400"
        const { applied, image: next } = yield* Filter.applyAll(yield* parsed(directory, [spec]), image)
        const output = `${directory}/${seconds}`
        const { errors } = yield* writtenAndVerified(`oci-layout://${output}`, next, applied)
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual(manifestIn(output).annotations, { [created]: "1970-01-02T00:00:00Z", kept: "as it is" })
        assert.deepStrictEqual(next.config.value.config?.Labels, { [created]: "1970-01-02T00:00:00Z", a: "b" })
        digests.push(indexIn(output).manifests[0].digest)
        const again = yield* Filter.applyAll(yield* parsed(directory, [spec]), next)
        assert.strictEqual(again.image, next)
      }
      assert.strictEqual(digests[0], digests[1])
    }).pipe(Effect.provide(pool))
  )

  it.scoped("is written anew when nothing but an annotation changed", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const { image } = yield* Filter.applyAll(
        yield* parsed(directory, ["normalize-timestamps:config=true"]),
        build(directory, 0)
      )
      const dated = withMore(image, "2024-01-01T00:00:00Z")
      const { applied, image: next } = yield* Filter.applyAll(
        yield* parsed(directory, ["normalize-timestamps:config=true"]),
        dated
      )
      assert.strictEqual(next.config, dated.config)
      const { errors, receipt } = yield* writtenAndVerified(`oci-layout://${directory}/out`, next, applied)
      assert.deepStrictEqual(errors, [])
      assert.strictEqual(manifestIn(`${directory}/out`).annotations[created], "1970-01-01T00:00:00Z")
      assert.strictEqual(receipt.source.digest, dated.manifest!.digest)
      assert.isTrue(receipt.conversions.some((one) => one.startsWith(`manifest: ${dated.manifest!.digest} became `)))
    }).pipe(Effect.provide(pool))
  )
})

describe("an index entry that says more than a name", () => {
  const ref = "org.opencontainers.image.ref.name"
  const created = "org.opencontainers.image.created"
  const base = "org.opencontainers.image.base.digest"
  const from = "containerd.io/distribution.source.localhost"

  it(
    "keeps what does not name it, but for what is about bytes that are not there any more",
    () =>
      withScratch(async (directory) => {
        const image = makeImage(directory, {
          layers: [tar([file("a", "a")]), tar([file("b", "b")])],
          names: ["app:1"],
          manifest: "oci"
        })
        await Effect.runPromise(
          Effect.scoped(writtenAndVerified(`oci-layout://${directory}/in`, image, [])).pipe(Effect.provide(pool))
        )
        const index = indexIn(`${directory}/in`)
        const [entry] = index.manifests
        const stated = {
          [ref]: "app:1",
          [created]: "2024-01-01T00:00:00Z",
          [base]: `sha256:${"0".repeat(64)}`,
          [from]: "app",
          title: "An app",
          signed: `of ${entry.digest}`
        }
        entry.annotations = stated
        fs.writeFileSync(`${directory}/in/index.json`, JSON.stringify(index))
        const { [from]: _from, signed: _signed, ...kept } = stated
        for (const [filter, expected] of [
          ["search:pattern=a", stated],
          ["exclude:pattern=a", kept],
          ["normalize-timestamps:config=true", { ...kept, [created]: "1970-01-01T00:00:00Z" }]
        ] as const) {
          const out = `${directory}/${filter.slice(0, 4)}`
          for (const uri of [`oci-layout://${out}`, `tar://${out}.tar?format=oci`]) {
            const ran = await tallyman(["process", `oci-layout://${directory}/in`, uri, "-f", filter, "--verify-full"])
            assert.strictEqual(ran.code, 0, ran.stderr)
          }
          // An archive has Docker's choice of a name: the tag alone.
          const archive = execFileSync("tar", ["-xOf", `${out}.tar`, "index.json"], {
            encoding: "utf8"
          })
          const full = "io.containerd.image.name"
          for (const [found, names] of [
            [indexIn(out), {}],
            [JSON.parse(archive), { [ref]: "1", [full]: "docker.io/library/app:1" }]
          ] as const) {
            assert.deepStrictEqual(found.manifests[0].annotations, { ...expected, ...names }, filter)
          }
        }
        // A name that moves on leaves an entry that says what it said.
        const again = ["process", `oci-layout://${directory}/in`, `tar://${directory}/all.tar?format=oci`, "--append"]
        for (let times = 0; times < 2; times++) assert.strictEqual((await tallyman(again)).code, 0)
        const all = execFileSync("tar", ["-xOf", `${directory}/all.tar`, "index.json"], { encoding: "utf8" })
        assert.strictEqual(JSON.parse(all).manifests.length, 1)
      }),
    30_000
  )
})

const readJson = (file: string) => JSON.parse(fs.readFileSync(file, "utf8"))
const indexIn = (layout: string) => readJson(`${layout}/index.json`)
const manifestIn = (layout: string) =>
  readJson(`${layout}/blobs/${indexIn(layout).manifests[0].digest.replace(":", "/")}`)

describe("random images", () => {
  it("are valid before any filter", () =>
    fc.assert(
      fc.asyncProperty(made, (made) => check(destinations["dir://"]!, made, [])),
      { numRuns: 60 }
    ))

  for (const [scheme, destination] of Object.entries(destinations)) {
    it(`stay valid through chains of up to three filters into ${scheme}`, () =>
      fc.assert(
        fc.asyncProperty(made, chain, (made, specs) => check(destination, made, specs)),
        { numRuns: 80 }
      ))
  }

  it("were rebased often enough to tell", () => {
    assert.isAtLeast(rebases.done, rebases.all / 4)
  })
})
