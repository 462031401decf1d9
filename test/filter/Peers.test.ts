/** Other programs take what filters have made. */
import * as path from "node:path"
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as FilterText from "../../src/report/FilterText.ts"
import * as Random from "../content/tarArbitrary.ts"
import { scratch } from "../fault/Workbench.ts"
import { makeImage, pool } from "../layout/writing.ts"
import { peerTest, run } from "../peers/Peers.ts"
import { file, hardlink } from "../rootfs/Layers.ts"
import { filtered, inside, treeOf, withImage } from "./Rewriting.ts"

const chains = [
  ["normalize-timestamps:config=true"],
  ["exclude:pattern=*.pyc,a,lib/*"],
  ["exclude:pattern=foo,c", "normalize-timestamps:ts=1700000000", "exclude:pattern=b"]
]

/** A random image, written as it is and through filters. */
const both = (
  layers: ReadonlyArray<Random.RandomLayer>,
  specs: ReadonlyArray<string>,
  destination: (directory: string, name: string) => string,
  use: (directory: string) => void
): Promise<void> =>
  Effect.gen(function* () {
    const directory = yield* scratch
    const image = makeImage(directory, {
      names: ["localhost/random:1"],
      layers: layers.map((one) => one.tar),
      manifest: "oci"
    })
    const { image: next } = yield* filtered(image, ...specs)
    for (const [name, one] of [
      ["plain", image],
      ["filtered", next]
    ] as const) {
      const writer = yield* Layouts.openWriter(yield* Uri.parse(destination(directory, name)))
      yield* writer.write(one, { filters: [] })
    }
    use(directory)
  }).pipe(Effect.scoped, Effect.provide(pool), Effect.runPromise)

const accepted = (command: string, args: ReadonlyArray<string>): boolean =>
  run(command, args, { allowFailure: true }).code === 0

describe("filtered images", () => {
  peerTest(
    ["umoci"],
    "are unpacked by umoci where it unpacks the originals",
    () =>
      fc.assert(
        fc.asyncProperty(Random.layers, fc.constantFrom(...chains), (layers, specs) =>
          both(
            layers,
            specs,
            (directory, name) => `oci-layout://${directory}/${name}:t`,
            (directory) => {
              const unpacked = (name: string) =>
                accepted("umoci", [
                  "unpack",
                  "--rootless",
                  "--image",
                  `${directory}/${name}:t`,
                  `${directory}/${name}-bundle`
                ])
              // It refuses some forms of sparse files, which a filter may have left out.
              if (unpacked("plain")) assert.isTrue(unpacked("filtered"))
            }
          )
        ),
        { numRuns: 12 }
      ),
    300_000
  )

  peerTest(
    ["skopeo"],
    "are taken by skopeo, which compares every layer with its diff_id",
    () =>
      fc.assert(
        fc.asyncProperty(Random.layers, fc.constantFrom(...chains), (layers, specs) =>
          both(
            layers,
            specs,
            (directory, name) => `tar://${directory}/${name}.tar`,
            (directory) => {
              assert.isTrue(
                accepted("skopeo", ["copy", `docker-archive:${directory}/filtered.tar`, `oci:${directory}/copy:t`])
              )
            }
          )
        ),
        { numRuns: 12 }
      ),
    300_000
  )

  peerTest(
    ["occystrap"],
    "say of themselves what the older tool says of the originals",
    () =>
      withImage([[file("bin/a", "program"), hardlink("bin/b", "bin/a")], [file("etc/a")]], (image, directory) =>
        Effect.gen(function* () {
          const archive = inside(directory, "source.tar")
          const writer = yield* Layouts.openWriter(yield* Uri.parse(`tar://${archive}`))
          yield* writer.write(image, { filters: [] })
          const theirs = inside(directory, "theirs.jsonl")
          const search = run("occystrap", ["search", "--script-friendly", `tar://${archive}`, "*a*"])
          run("occystrap", [
            "process",
            `tar://${archive}`,
            `dir://${path.join(directory, "out")}`,
            "-f",
            `inspect:file=${theirs}`
          ])
          const { selector, source } = yield* Layouts.openSource(yield* Uri.parse(`tar://${archive}`))
          assert.deepStrictEqual(selector, {})
          const read = yield* (yield* source.candidates)[0]!.load
          const ours = inside(directory, "ours.jsonl")
          const { reports } = yield* filtered(read, `inspect:file=${ours}`, "search:pattern=*a*,script_friendly=true")
          assert.strictEqual(run("cat", [ours]).stdout, run("cat", [theirs]).stdout)
          assert.deepStrictEqual(reports.flatMap(FilterText.lines).slice(1), search.stdout.trim().split("\n"))
          assert.strictEqual(treeOf(read).totals().files, 2)
        }).pipe(Effect.scoped, Effect.provide(pool), Effect.orDie)
      ).pipe(Effect.runPromise),
    120_000
  )
})
