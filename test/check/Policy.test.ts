import { assert, describe, it } from "@effect/vitest"
import { catalog, ids } from "../../src/check/Catalog.ts"
import { policyOf } from "../../src/check/Policy.ts"

describe("the strict profile", () => {
  it("takes warnings and every SHOULD for errors, and nothing else", () => {
    for (const id of ["layer.unreferenced", "manifest.no-media-type", "index.no-media-type"] as const) {
      assert.strictEqual(policyOf.strict[id], "error")
    }
    for (const id of ids) {
      const { severity, spec } = catalog[id]
      if (severity === "info" && !spec.includes("SHOULD")) assert.isUndefined(policyOf.strict[id], id)
    }
  })
})
