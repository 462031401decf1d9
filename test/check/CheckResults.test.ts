import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Catalog from "../../src/check/Catalog.ts"
import { CheckResults } from "../../src/check/CheckResults.ts"
import { Collector } from "../../src/check/Collector.ts"
import { Finding } from "../../src/check/Finding.ts"

const id = fc.constantFrom("layer.missing", "layer.size-mismatch", "config.missing", "catalog.stale")

/** Any results, grown by the constructors alone. */
const arbitrary: fc.Arbitrary<CheckResults> = fc
  .array(
    fc.oneof(
      fc
        .tuple(
          fc.constantFrom("error", "warning", "info"),
          id,
          fc.string(),
          fc.string(),
          fc.option(fc.nat(), { nil: undefined })
        )
        .map(([severity, check, subject, message, expected]) =>
          CheckResults[severity as "error" | "warning" | "info"](check, subject, message, { expected, actual: "x" })
        ),
      id.map((check) => CheckResults.passed(check)),
      fc.tuple(id, fc.constantFrom("a", "b")).map(([check, reason]) => CheckResults.skipped(check, reason)),
      fc.constant(CheckResults.empty)
    ),
    { maxLength: 6 }
  )
  .map(CheckResults.combineAll)

/** What two results that are equal have in common. */
const plain = (results: CheckResults): unknown => JSON.parse(JSON.stringify(results))

describe("combining results", () => {
  it("is associative", () => {
    fc.assert(
      fc.property(arbitrary, arbitrary, arbitrary, (a, b, c) => {
        assert.deepStrictEqual(plain(a.combine(b).combine(c)), plain(a.combine(b.combine(c))))
      })
    )
  })

  it("has the empty results as its identity, on both sides", () => {
    fc.assert(
      fc.property(arbitrary, (a) => {
        assert.deepStrictEqual(plain(a.combine(CheckResults.empty)), plain(a))
        assert.deepStrictEqual(plain(CheckResults.empty.combine(a)), plain(a))
        // Another empty value than the constant does as well.
        const empty = new CheckResults({ results: [], checked: [], skipped: [] })
        assert.deepStrictEqual(plain(a.combine(empty)), plain(a))
        assert.deepStrictEqual(plain(empty.combine(a)), plain(a))
      })
    )
  })

  it("loses no finding and adds none, and counts them", () => {
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 4 }), (all) => {
        const combined = CheckResults.combineAll(all)
        assert.deepStrictEqual(
          combined.results,
          all.flatMap((one) => one.results)
        )
        const sum = (count: (one: CheckResults) => number): number => all.reduce((total, one) => total + count(one), 0)
        assert.strictEqual(
          combined.errorCount,
          sum((one) => one.errorCount)
        )
        assert.strictEqual(
          combined.warningCount,
          sum((one) => one.warningCount)
        )
        assert.strictEqual(
          combined.infoCount,
          sum((one) => one.infoCount)
        )
        assert.strictEqual(combined.errorCount + combined.warningCount + combined.infoCount, combined.results.length)
        assert.strictEqual(
          combined.hasErrors,
          all.some((one) => one.hasErrors)
        )
      })
    )
  })

  it("names each check once, and each reason for skipping one", () => {
    fc.assert(
      fc.property(arbitrary, arbitrary, (a, b) => {
        const { checked, skipped } = a.combine(b)
        assert.strictEqual(new Set(checked).size, checked.length)
        assert.deepStrictEqual(new Set(checked), new Set([...a.checked, ...b.checked]))
        const keys = skipped.map((one) => JSON.stringify([one.check, one.reason]))
        assert.strictEqual(new Set(keys).size, keys.length)
      })
    )
  })

  it("leaves its operands as they were", () => {
    fc.assert(
      fc.property(arbitrary, arbitrary, (a, b) => {
        const before = [plain(a), plain(b)]
        a.combine(b)
        assert.deepStrictEqual([plain(a), plain(b)], before)
      })
    )
  })
})

describe("results", () => {
  it("are made with a severity, subject, message and what was expected and found", () => {
    const results = CheckResults.error("layer.size-mismatch", "a/layer.tar", "its size is wrong", {
      expected: 5,
      actual: 4
    })
    assert.deepStrictEqual(plain(results), {
      results: [
        {
          severity: "error",
          check: "layer.size-mismatch",
          message: "its size is wrong",
          subject: "a/layer.tar",
          expected: "5",
          actual: "4"
        }
      ],
      checked: ["layer.size-mismatch"],
      skipped: []
    })
    assert.isTrue(results.hasErrors)
    assert.isFalse(CheckResults.warning("catalog.stale", "catalog.json", "old").hasErrors)
    assert.isFalse(CheckResults.info("config.reserialized", "config.json", "changed").hasErrors)
    assert.deepStrictEqual(plain(CheckResults.passed("layer.missing")), {
      results: [],
      checked: ["layer.missing"],
      skipped: []
    })
    assert.deepStrictEqual(plain(CheckResults.skipped("layer.missing", "why")), {
      results: [],
      checked: [],
      skipped: [{ check: "layer.missing", reason: "why" }]
    })
  })

  it("have a schema: they can be written as JSON and read back, and nothing else can be read", () => {
    fc.assert(
      fc.property(arbitrary, (results) => {
        const read = Schema.decodeUnknownSync(CheckResults)(plain(results))
        assert.instanceOf(read, CheckResults)
        assert.deepStrictEqual(plain(read), plain(results))
        assert.strictEqual(read.errorCount, results.errorCount)
      })
    )
    const decode = Schema.decodeUnknownEither(CheckResults)
    for (const wrong of [{}, { results: [{}], checked: [], skipped: [] }, { results: [], checked: [1], skipped: [] }]) {
      assert.isTrue(Either.isLeft(decode(wrong)))
    }
    assert.throws(() => new Finding({ severity: "fatal" as "error", check: "a.b", message: "", subject: "" }))
  })
})

describe("a collector", () => {
  it("takes the severity from the catalogue, and remembers what ran and what did not", () => {
    const report = new Collector()
    report.ran("manifest.missing", "layer.missing")
    report.report("layer.missing", "a/layer.tar", "it is gone", { expected: "a file" })
    report.report("catalog.stale", "catalog.json", "old")
    report.skip("layer.diff-id-mismatch", "fast")
    report.skip("layer.diff-id-mismatch", "fast")
    const results = report.results()
    assert.deepStrictEqual(
      results.results.map((one) => [one.severity, one.check, one.expected, one.actual]),
      [
        [Catalog.catalog["layer.missing"].severity, "layer.missing", "a file", undefined],
        ["warning", "catalog.stale", undefined, undefined]
      ]
    )
    assert.deepStrictEqual([...results.checked], ["manifest.missing", "layer.missing", "catalog.stale"])
    assert.deepStrictEqual(plain(results), {
      ...(plain(results) as object),
      skipped: [{ check: "layer.diff-id-mismatch", reason: "fast" }]
    })
    assert.deepStrictEqual([...report.errorsBySubject], [["a/layer.tar", 1]])
  })

  it("lists no more findings of a kind than memory is for, and counts the errors of every subject", () => {
    const report = new Collector()
    const count = 40_000
    for (let index = 0; index < count; index++) report.report("layer.missing", `layer ${index}`, "it is gone")
    const { results } = report.results()
    assert.lengthOf(results, 10_001)
    const last = results.at(-1)!
    assert.strictEqual(last.check, "layer.missing")
    assert.strictEqual(last.severity, "error")
    assert.strictEqual(last.subject, "layer 10000")
    assert.match(last.message, /the first of 30000 more/)
    assert.strictEqual(report.errorsBySubject.size, count)
    report.report("config.missing", "config", "it is gone")
    assert.strictEqual(report.results().results[10_000]!.subject, "config")
  })

  it("lists no more of a kind about one subject either, and counts them for whatever they concern", () => {
    const report = new Collector()
    const tell = (check: Catalog.CheckId, from: number, to: number): void => {
      for (let index = from; index < to; index++)
        report.report(check, "layer", `it is not that of image ${index}`, {}, `image ${index}`)
    }
    tell("layer.diff-id-mismatch", 0, 200)
    assert.lengthOf(report.results().results, 200)
    tell("layer.diff-id-mismatch", 200, 205)
    const { results } = report.results()
    assert.lengthOf(results, 201)
    assert.match(results.at(-1)!.message, /^and 5 more of these/)
    assert.deepStrictEqual(
      [...report.errorsBySubject.values()],
      Array.from({ length: 205 }, () => 1)
    )
    tell("layer.unreferenced", 205, 500)
    assert.strictEqual(report.errorsBySubject.size, 205)
  })

  it("counts an error once for each that it concerns, and warnings for nobody", () => {
    const report = new Collector({}, 2)
    for (const about of ["a", "a", "b"]) report.report("layer.diff-id-mismatch", "layer", "it is another", {}, about)
    assert.lengthOf(report.results().results, 1)
    assert.deepStrictEqual(
      [...report.errorsBySubject],
      [
        ["a", 1],
        ["b", 1]
      ]
    )
    for (let index = 0; index < 5; index++) report.report("layer.unreferenced", `layer ${index}`, "nothing names it")
    assert.match(report.results().results.at(-1)!.message, /the first of 3 more/)
    report.count("layer.unreferenced", "layer 0")
    assert.strictEqual(report.errorsBySubject.size, 2)
    report.count("layer.missing", "c")
    assert.strictEqual(report.errorsBySubject.get("c"), 1)
  })

  it("says of a check that is to be ignored that it was", () => {
    const report = new Collector({ "layer.missing": "ignore" })
    report.report("layer.missing", "layer", "it is gone")
    report.count("layer.missing", "layer")
    const { checked, results, skipped } = report.results()
    assert.deepStrictEqual([results, checked], [[], []])
    assert.deepStrictEqual(
      skipped.map(({ check }) => check),
      ["layer.missing"]
    )
    assert.strictEqual(report.errorsBySubject.size, 0)
  })

  it("gives a value that later reports do not change", () => {
    const report = new Collector()
    const before = report.results()
    report.report("layer.missing", "a", "gone")
    assert.deepStrictEqual([before.results, before.checked], [[], []])
  })
})
