/** Every chain of filters into every layout: what comes out is a valid image. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "fast-check"
import * as Filter from "../../src/filter/Filter.ts"
import * as Filters from "../../src/filter/Filters.ts"
import type * as Image from "../../src/image/Image.ts"
import { unmount } from "../../src/layout/mounts/Unmount.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as Random from "../content/tarArbitrary.ts"
import { isRoot, scratch } from "../fault/Workbench.ts"
import { makeImage, pool } from "../layout/writing.ts"
import { file, tar } from "../rootfs/Layers.ts"

const specs = [
  "normalize-timestamps",
  "normalize-timestamps:ts=1700000000,config=true",
  "exclude:pattern=*.pyc",
  "exclude:pattern=a,b",
  "exclude:pattern=/lib/*,!/lib/foo,c/",
  "exclude:pattern=*,!foo",
  "flatten",
  "search:pattern=*a*",
  "inspect:file=FILE"
] as const

const chain = fc.array(fc.constantFrom(...specs), { minLength: 1, maxLength: 3 })

interface Made {
  readonly layers: ReadonlyArray<Random.RandomLayer>
  readonly compression: "none" | "gzip"
  readonly manifest: "oci" | "docker" | undefined
}

const made: fc.Arbitrary<Made> = fc.record({
  layers: Random.layers,
  compression: fc.constantFrom("none", "gzip"),
  manifest: fc.constantFrom("oci", "docker", undefined)
})

const imageOf = (directory: string, { compression, layers, manifest }: Made): Image.Image =>
  makeImage(directory, {
    names: ["localhost/random:1"],
    layers: layers.map((one) => one.tar),
    compression,
    ...(manifest === undefined ? {} : { manifest })
  })

const parsed = (directory: string, specs: ReadonlyArray<string>) =>
  specs.map((spec) => Either.getOrThrow(Filters.parse(spec.replace("FILE", path.join(directory, "inspected.jsonl")))))

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

const processed = (destination: (directory: string) => string, made: Made, specs: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const directory = yield* scratch
    const image = imageOf(directory, made)
    const done = yield* Filter.applyAll(parsed(directory, specs), image)
    const uri = destination(directory)
    // What is mounted holds on to the directory.
    if (uri.startsWith("mounts://")) {
      yield* Effect.addFinalizer(() => Effect.orDie(unmount(uri.slice("mounts://".length))))
    }
    const { errors, receipt } = yield* writtenAndVerified(uri, done.image, done.applied)
    assert.deepStrictEqual(errors, [])
    assert.deepStrictEqual(receipt.filters, done.applied)
    assert.strictEqual(receipt.image, done.image.config.digest)
    return done
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
          const { applied, image: next } = yield* Filter.applyAll(parsed(directory, [spec]), image)
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
})
