import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../src/fault/Damage.ts"
import * as ImageBuilder from "../src/fault/ImageBuilder.ts"
import * as tallyman from "../src/index.ts"
import * as Workbench from "./fault/Workbench.ts"

const image = Workbench.small()

describe("the library", () => {
  it.scoped("moves an image and verifies it, with two effects", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      const out = `${directory}/out`
      const processed = yield* tallyman.processImage(`tar://${archive}`, `dir://${out}`, { verify: "full" })
      assert.isFalse(processed.verification!.results.hasErrors)
      assert.strictEqual(processed.receipt.image, image.id)

      const report = yield* tallyman.verify(out, { depth: "full" })
      assert.deepInclude(report, { target: out, layout: "dir", depth: "full", layerCount: 2 })
      assert.deepStrictEqual(report.results.results, [])

      const layer = `${image.layers[0]!.diffId.slice(7)}/layer.tar`
      Damage.flipByte(`${out}/${layer}`, 600)
      const again = yield* tallyman.verify(`dir://${out}`, { depth: "full" })
      assert.deepStrictEqual(again.images, [{ image: "localhost/small:1", ok: false, errorCount: 2 }])
      assert.isTrue(
        again.results.results.some((one) => one.check === "layer.diff-id-mismatch" && one.subject === layer)
      )
      assert.include(tallyman.TextReport.toText(again, { colour: false }), "FAILED")
      assert.strictEqual(tallyman.JsonReport.toJson(again).error_count, 2)
      // Fast is the default.
      assert.strictEqual((yield* tallyman.verify(out)).depth, "fast")
      assert.isFalse((yield* tallyman.verify(out)).results.hasErrors)
    }).pipe(Effect.provide(tallyman.WorkerPool.layer()))
  )

  it.scoped("verifies nothing when it is told to, and goes by other severities when it is told which", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      const out = `${directory}/out`
      const { verification } = yield* tallyman.processImage(`tar://${archive}`, `dir://${out}`, { verify: "none" })
      assert.isUndefined(verification)
      Damage.remove(`${out}/receipt.json`)
      assert.isFalse((yield* tallyman.verify(out)).results.hasErrors)
      assert.isTrue((yield* tallyman.verify(out, { policy: tallyman.Policy.policyOf.strict })).results.hasErrors)
    }).pipe(Effect.provide(tallyman.WorkerPool.layer()))
  )

  it.effect("says in its errors what could not be done", () =>
    Effect.gen(function* () {
      assert.instanceOf(yield* Effect.flip(tallyman.verify("/nowhere")), tallyman.SourceError)
      assert.instanceOf(yield* Effect.flip(tallyman.verify("nothing://x")), tallyman.Uri.UsageError)
      assert.instanceOf(yield* Effect.flip(tallyman.processImage("tar:///nowhere", "dir://x")), tallyman.SourceError)
    }).pipe(Effect.provide(tallyman.WorkerPool.layer()))
  )
})
