import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
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

describe("the compiled library", () => {
  it("reads large layers in threads of its own", () => {
    const root = path.resolve(import.meta.dirname, "..")
    // Below the project, so that its imports find their packages.
    const built = path.join(root, `dist/library-test-${process.pid}`)
    try {
      const compiler = path.join(root, "node_modules/typescript/bin/tsc")
      const compiled = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json", "--outDir", built], {
        cwd: root,
        encoding: "utf8"
      })
      // Types are checked elsewhere.
      assert.isTrue(fs.existsSync(path.join(built, "index.js")), compiled.stdout)
      const program = `
        import threads from "node:worker_threads"
        import { syncBuiltinESMExports } from "node:module"
        import * as fs from "node:fs"
        import * as os from "node:os"
        let started = 0
        threads.Worker = class extends threads.Worker {
          constructor(...args) {
            super(...args)
            started++
          }
        }
        syncBuiltinESMExports()
        const Effect = await import("effect/Effect")
        const { processImage, verify, WorkerPool } = await import("./index.js")
        const { Damage, Entry, ImageBuilder } = await import("./fault/index.js")
        const image = ImageBuilder.build({
          layers: [1, 2, 3].map((n) => [Entry.file("large-" + n, Buffer.alloc(20 << 20, n))])
        })
        const directory = fs.mkdtempSync(os.tmpdir() + "/tallyman-test-")
        try {
          fs.writeFileSync(directory + "/a.tar", ImageBuilder.archive(ImageBuilder.dockerLegacy([image])))
          const program = Effect.gen(function* () {
            const written = yield* processImage("tar://" + directory + "/a.tar", "dir://" + directory + "/out", { verify: "full" })
            Damage.flipByte(directory + "/out/" + image.layers[2].diffId.slice(7) + "/layer.tar", 10_000_000)
            const report = yield* verify(directory + "/out", { depth: "full" })
            return [written.verification.results.results.length, report.results.results.map((one) => one.check)]
          })
          const found = await Effect.runPromise(program.pipe(Effect.provide(WorkerPool.layer({ size: 2 }))))
          console.log(JSON.stringify([started, ...found]))
        } finally {
          fs.rmSync(directory, { recursive: true })
        }`
      fs.writeFileSync(path.join(built, "program.mjs"), program)
      const { status, stderr, stdout } = spawnSync(process.execPath, [path.join(built, "program.mjs")], {
        encoding: "utf8"
      })
      assert.strictEqual(stderr, "")
      assert.deepStrictEqual(JSON.parse(stdout), [2, 0, ["layer.digest-mismatch", "layer.diff-id-mismatch"]])
      assert.strictEqual(status, 0)
    } finally {
      fs.rmSync(built, { recursive: true, force: true })
    }
  })
})
