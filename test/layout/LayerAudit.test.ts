import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Collector } from "../../src/check/Collector.ts"
import { encodeHeader, endOfArchive } from "../../src/content/TarWrite.ts"
import { LayerAudit, layerChecks } from "../../src/layout/LayerAudit.ts"
import * as Workbench from "../fault/Workbench.ts"

describe("a file that is verified", () => {
  for (const [what, appended, ids] of [
    ["stays as it was", "", []],
    ["has grown since it was looked at", "more", ["layer.unreadable"]]
  ] as const) {
    it.scoped(`and ${what}`, () =>
      Effect.gen(function* () {
        const file = path.join(yield* Workbench.scratch, "blob")
        fs.writeFileSync(file, "content")
        const report = new Collector()
        const audit = new LayerAudit(report)
        audit.add({ subject: "blob", region: { path: file, offset: 0, size: 7 }, as: "blob" }, layerChecks)
        fs.appendFileSync(file, appended)
        yield* audit.readAll({})
        assert.deepStrictEqual(
          report.results().results.map(({ check }) => check),
          [...ids]
        )
      }).pipe(Effect.provide(Workbench.pool))
    )
  }
})

describe("layers on each other", () => {
  const layer = (...names: ReadonlyArray<string>): Buffer =>
    Buffer.concat([...names.map((name) => encodeHeader({ path: name, type: "file", mode: 0o644 })), endOfArchive])

  for (const [what, maxTables, found, skips] of [
    ["are held against each other", undefined, ["layer.whiteout-of-nothing"], 0],
    ["are not, and that is said, when their paths take more room than there is", 5000, [], 1]
  ] as const) {
    it.scoped(what, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const report = new Collector()
        const audit = new LayerAudit(report, maxTables)
        const keys = [layer("a"), layer(".wh.a", ".wh.b")].map((bytes, index) => {
          const file = path.join(directory, `${index}`)
          fs.writeFileSync(file, bytes)
          return audit.add(
            { subject: `${index}`, region: { path: file, offset: 0, size: bytes.length }, as: "layer" },
            layerChecks
          )
        })
        audit.stack("image", keys)
        yield* audit.readAll({})
        const { results, skipped } = report.results()
        assert.deepStrictEqual(
          results.map(({ check }) => check),
          [...found]
        )
        assert.lengthOf(
          skipped.filter(({ reason }) => reason.includes("not all entries of the layers up to 1 are known")),
          skips
        )
      }).pipe(Effect.provide(Workbench.pool))
    )
  }
})
