import { assert, describe, it } from "@effect/vitest"
import { CheckResults } from "../../src/check/CheckResults.ts"
import * as Json from "../../src/report/Json.ts"
import { version } from "../../src/version.ts"

describe("an audit as JSON", () => {
  it("has exactly these fields, in this order, null where there is nothing to say", () => {
    const results = CheckResults.combineAll([
      CheckResults.error("layer.size-mismatch", "a/layer.tar", "its size is wrong", { expected: 5, actual: 4 }),
      CheckResults.warning("tar.no-end", "a/layer.tar", "the end is missing"),
      CheckResults.info("config.reserialized", "b.json", "changed"),
      CheckResults.skipped("layer.diff-id-mismatch", "why")
    ])
    const document = Json.toJson({
      target: "dir://out",
      layout: "dir",
      depth: "fast",
      results,
      images: [{ image: "a:1", ok: false, errorCount: 1 }],
      layerCount: 2
    })
    assert.strictEqual(
      JSON.stringify(document),
      JSON.stringify({
        tool: "tallyman",
        version,
        target: "dir://out",
        layout: "dir",
        depth: "fast",
        ok: false,
        has_errors: true,
        error_count: 1,
        warning_count: 1,
        info_count: 1,
        results: [
          {
            severity: "error",
            check: "layer.size-mismatch",
            message: "its size is wrong",
            subject: "a/layer.tar",
            expected: "5",
            actual: "4"
          },
          {
            severity: "warning",
            check: "tar.no-end",
            message: "the end is missing",
            subject: "a/layer.tar",
            expected: null,
            actual: null
          },
          {
            severity: "info",
            check: "config.reserialized",
            message: "changed",
            subject: "b.json",
            expected: null,
            actual: null
          }
        ],
        checked: ["layer.size-mismatch", "tar.no-end", "config.reserialized"],
        skipped: [{ check: "layer.diff-id-mismatch", reason: "why" }],
        images: [{ image: "a:1", ok: false, error_count: 1 }],
        layers: 2
      })
    )
  })

  it("is fine when nothing was found", () => {
    assert.deepInclude(Json.resultsToJson(CheckResults.passed("layer.missing")), {
      ok: true,
      has_errors: false,
      error_count: 0,
      results: [],
      checked: ["layer.missing"]
    })
  })
})
