import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "../../src/check/Catalog.ts"

describe("the catalogue", () => {
  it("has the ids that scripts rely on", () => {
    const relied =
      "manifest.missing manifest.invalid-json manifest.missing-field manifest.duplicate-key config.missing config.invalid-json config.size-mismatch config.digest-mismatch layer.missing layer.size-mismatch layer.digest-mismatch layer.diff-id-mismatch layer.count-mismatch layer.unreferenced layer.unreadable tar.bad-checksum tar.truncated tar.no-end tar.trailing-data tar.bad-number tar.bad-pax catalog.invalid-json catalog.dangling receipt.invalid history.count-mismatch"
    assert.includeMembers([...Catalog.ids], relied.split(" "))
    for (const warning of ["layer.unreferenced", "tar.no-end"] as const) {
      assert.strictEqual(Catalog.catalog[warning].severity, "warning")
    }
  })

  it("says of every check what it means, where it is written, and what to do", () => {
    for (const id of Catalog.ids) {
      const entry = Catalog.catalog[id]
      assert.match(id, /^[a-z]+(-[a-z]+)*\.[a-z0-9]+(-[a-z0-9]+)*$/, id)
      assert.include(["error", "warning", "info"], entry.severity, id)
      for (const text of [entry.title, entry.explanation, entry.remedy, entry.spec]) assert.match(text, /^\S.*\S$/s, id)
      assert.notMatch(entry.title, /\.$/, `${id}: a few words, no sentence`)
      assert.match(entry.explanation, /[.)]$/, `${id}: a sentence`)
      assert.match(entry.remedy, /[.)]$/, `${id}: a sentence`)
      for (const rule of entry.rules) assert.isTrue(Number.isInteger(rule) && rule >= 1 && rule <= 102, id)
    }
  })

  it("knows an id from anything else", () => {
    assert.isTrue(Catalog.isCheckId("layer.missing"))
    for (const other of ["layer", "toString", "__proto__", "layer.missing "])
      assert.isFalse(Catalog.isCheckId(other), other)
  })
})
