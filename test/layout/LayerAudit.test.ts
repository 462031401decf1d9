import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Collector } from "../../src/check/Collector.ts"
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
