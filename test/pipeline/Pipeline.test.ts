import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Inspect from "../../src/content/Inspect.ts"
import { WorkerPool } from "../../src/content/WorkerPool.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import type { Depth } from "../../src/layout/Verifier.ts"
import * as Pipeline from "../../src/pipeline/Pipeline.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as Workbench from "../fault/Workbench.ts"

const image = Workbench.small()

/** Runs the pipeline and answers what it gave and every file that a pass read, in order. */
const traced = (source: string, destination: string, verify: Depth | undefined) =>
  Effect.gen(function* () {
    const read: Array<string> = []
    const pool = yield* WorkerPool
    const processed = yield* Pipeline.process({
      source: yield* Uri.parse(source),
      destination: yield* Uri.parse(destination),
      verify
    }).pipe(
      Effect.scoped,
      Effect.provideService(
        WorkerPool,
        WorkerPool.of({
          ...pool,
          runAll: (job, tasks, options) => {
            for (const task of tasks) read.push((task as unknown as Inspect.InspectTask).region.path)
            return pool.runAll(job, tasks, options)
          }
        })
      )
    )
    return { ...processed, read }
  }).pipe(Effect.provide(Workbench.pool))

describe("the pipeline", () => {
  it.scoped("verifies nothing, fast, or by reading every layer back", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      for (const [depth, back] of [
        [undefined, 0],
        ["fast", 0],
        ["full", 2]
      ] as const) {
        const root = `${directory}/${depth}`
        const { read, verification } = yield* traced(`tar://${archive}`, `dir://${root}`, depth)
        assert.strictEqual(read.filter((file) => file.startsWith(root)).length, back, String(depth))
        assert.strictEqual(read.filter((file) => file === archive).length, 2)
        if (depth === undefined) assert.isUndefined(verification)
        else assert.deepStrictEqual(verification?.results.results, [])
      }
    })
  )

  it.scoped("reports what is wrong with the image itself after it was written as it is", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const odd = ImageBuilder.build({
        layers: [[Entry.file("a", "1"), Entry.file("a", "2")]],
        config: { history: [{ created_by: "1" }, { created_by: "2" }] }
      })
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([odd]))
      const config = `${odd.id.slice(7)}.json`
      const fast = yield* traced(`tar://${archive}`, `dir://${directory}/fast`, "fast")
      assert.deepStrictEqual(Workbench.findings(fast.verification!), [["history.count-mismatch", config]])
      const full = yield* traced(`tar://${archive}`, `dir://${directory}/full`, "full")
      assert.deepStrictEqual(Workbench.findings(full.verification!), [
        ["history.count-mismatch", config],
        ["layer.duplicate-path", `${odd.layers[0]!.diffId.slice(7)}/layer.tar`]
      ])
    })
  )

  it.scoped("counts layers and their bytes", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      const { counts, layerBytes, receipt } = yield* traced(`tar://${archive}`, `dir://${directory}/out`, undefined)
      assert.deepStrictEqual(counts, { images: 1, artifacts: 0, layers: 2 })
      assert.strictEqual(
        layerBytes,
        image.layers.reduce((sum, layer) => sum + layer.tar.length, 0)
      )
      assert.strictEqual(receipt.source.uri, `tar://${archive}`)
    })
  )

  it.scoped("writes nothing when the source cannot be used", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(`${directory}/empty.tar`, "")
      const error = yield* Effect.flip(traced(`tar://${directory}/empty.tar`, `dir://${directory}/out`, "fast"))
      assert.deepInclude(error, { _tag: "SourceError", reason: "NotAnImage" })
      assert.isFalse(fs.existsSync(`${directory}/out`))
    })
  )
})
