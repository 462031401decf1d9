import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { CheckResults } from "../../src/check/CheckResults.ts"
import type { Report } from "../../src/report/Report.ts"
import * as Text from "../../src/report/Text.ts"

const plain = { colour: false }

const results = CheckResults.combineAll([
  CheckResults.info("config.reserialized", "b.json", "the config was re-serialised"),
  CheckResults.warning("tar.no-end", "a/layer.tar", "the end is missing"),
  CheckResults.error("layer.missing", "c/layer.tar", "it does not exist"),
  CheckResults.error("layer.size-mismatch", "a/layer.tar", "its size is wrong", {
    expected: "5 bytes",
    actual: "4 bytes"
  }),
  CheckResults.warning("layer.sparse-entry", "d/layer.tar", "a sparse entry", { actual: "one" }),
  CheckResults.skipped("layer.diff-id-mismatch", "content is read at full depth only")
])

const report = (fields: Partial<Report> = {}): Report => ({
  target: "out",
  layout: "dir",
  depth: "full",
  results,
  images: [{ image: "a:1", ok: false, errorCount: 2 }],
  layerCount: 3,
  ...fields
})

describe("findings for people", () => {
  it("are grouped by subject, the worst first, both among subjects and within one", () => {
    assert.strictEqual(
      Text.findings(results, plain),
      [
        "a/layer.tar",
        "  error [layer.size-mismatch] its size is wrong (expected 5 bytes, found 4 bytes)",
        "  warning [tar.no-end] the end is missing",
        "c/layer.tar",
        "  error [layer.missing] it does not exist",
        "d/layer.tar",
        "  warning [layer.sparse-entry] a sparse entry (found one)",
        "b.json",
        "  info [config.reserialized] the config was re-serialised"
      ].join("\n")
    )
    assert.strictEqual(Text.findings(CheckResults.empty, plain), "")
  })

  it("are the same in colour, but for the colour", () => {
    const coloured = Text.findings(results, { colour: true })
    assert.include(coloured, "\x1b[31merror\x1b[0m")
    assert.strictEqual(stripVTControlCharacters(coloured), Text.findings(results, plain))
  })

  it("cannot drive the terminal, nor look like another line", () => {
    const hostile = CheckResults.error("layer.missing", "\x1b[2J\x9b31m\nOK: out", "a\r\x07b", {
      expected: "\u202eabc\u2066",
      actual: "\x7f\x00"
    })
    const text = Text.findings(hostile, plain)
    assert.match(text, /^[^\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$/)
    assert.lengthOf(text.split("\n"), 2)
    assert.include(text, "(expected \\u202eabc\\u2066, found \\x7f\\x00)")
    assert.notMatch(Text.toText(report({ target: "\x1b[31m\n" }), plain), /\x1b/)
  })

  it("may be very many about one subject", () => {
    const many = new CheckResults(
      {
        results: Array.from({ length: 200_000 }, () => results.results[0]!),
        checked: [],
        skipped: []
      },
      { disableValidation: true }
    )
    assert.lengthOf(Text.findings(many, plain).split("\n"), 200_001)
  })
})

describe("an audit for people", () => {
  it("ends with one line that says it all", () => {
    const lines = Text.toText(report(), plain).split("\n")
    assert.deepStrictEqual(lines.slice(-2), [
      "not checked: [layer.diff-id-mismatch] content is read at full depth only",
      "FAILED: out (dir, full): 0/1 images, 3 layers, 2 errors, 2 warnings"
    ])
    assert.strictEqual(
      Text.toText(
        report({
          results: CheckResults.passed("layer.missing"),
          images: [{ image: "a:1", ok: true, errorCount: 0 }],
          layerCount: 1
        }),
        plain
      ),
      "OK: out (dir, full): 1/1 images, 1 layer, 0 errors, 0 warnings"
    )
  })

  it("names the images that are not right when there are several", () => {
    const text = Text.toText(
      report({
        images: [
          { image: "a:1", ok: false, errorCount: 1 },
          { image: "b:1", ok: true, errorCount: 0 },
          { image: "c:1", ok: false, errorCount: 2 }
        ]
      }),
      plain
    )
    assert.include(text, "not verified: a:1 (1 error)\nnot verified: c:1 (2 errors)")
    assert.notInclude(text, "b:1")
    assert.include(text, "1/3 images")
  })

  it("does not list reasons without end", () => {
    const skipped = CheckResults.combineAll(
      Array.from({ length: 50 }, (_, index) => CheckResults.skipped("layer.digest-mismatch", `reason ${index}`))
    )
    const lines = Text.toText(report({ results: skipped }), plain).split("\n")
    assert.lengthOf(lines, 22)
    assert.match(lines[20]!, /30 more/)
  })
})
