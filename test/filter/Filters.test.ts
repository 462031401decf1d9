import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Filters from "../../src/filter/Filters.ts"

const optionsOf = (spec: string, environment: Filters.Environment = {}) =>
  Either.match(Filters.parse(spec, environment), {
    onLeft: (error) => assert.fail(error.message),
    onRight: (filter) => [filter.name, filter.options]
  })

const refused = (spec: string, environment: Filters.Environment = {}): string =>
  Either.match(Filters.parse(spec, environment), {
    onLeft: (error) => {
      assert.strictEqual(error.reason, "Usage")
      return error.message
    },
    onRight: () => assert.fail(`${spec} was taken`)
  })

describe("what a command line says of a filter", () => {
  it("is its name and its options", () => {
    assert.deepStrictEqual(optionsOf("normalize-timestamps"), ["normalize-timestamps", { ts: 0, config: false }])
    assert.deepStrictEqual(optionsOf("normalize-timestamps:ts=12,config=yes"), [
      "normalize-timestamps",
      { ts: 12, config: true }
    ])
    assert.deepStrictEqual(optionsOf("normalize-timestamps:timestamp=12"), [
      "normalize-timestamps",
      { ts: 12, config: false }
    ])
    assert.deepStrictEqual(optionsOf("inspect:file=a=b.jsonl"), ["inspect", { file: "a=b.jsonl" }])
    assert.deepStrictEqual(optionsOf("search:pattern=*.conf,script_friendly=1"), [
      "search",
      { pattern: "*.conf", regex: false, script_friendly: true }
    ])
  })

  it("has lists, and commas in them", () => {
    const patterns = (spec: string) => (optionsOf(spec)[1] as { readonly pattern: unknown }).pattern
    assert.deepStrictEqual(patterns("exclude:pattern=*.pyc"), ["*.pyc"])
    assert.deepStrictEqual(patterns("exclude:pattern=**/.git, *.pyc ,!keep/"), ["**/.git", "*.pyc", "!keep/"])
    assert.deepStrictEqual(patterns("exclude:pattern=a\\,b,c"), ["a,b", "c"])
    assert.deepStrictEqual(patterns("exclude:pattern=a,,b,"), ["a", "b"])
  })

  it("may have commas in a pattern that is one text", () => {
    assert.deepStrictEqual(optionsOf("search:pattern=a{1,2}b,regex=true"), [
      "search",
      { pattern: "a{1,2}b", regex: true, script_friendly: false }
    ])
    assert.deepStrictEqual(optionsOf("search:pattern=(?=x)y,regex=true")[1], {
      pattern: "(?=x)y",
      regex: true,
      script_friendly: false
    })
  })

  it("may have a source as a value", () => {
    const open = () => Effect.die("opened")
    const bases = (spec: string) => optionsOf(spec, { open })[1]
    assert.deepStrictEqual(
      bases("rebase:old_base=tar:///a:b.tar?image=x:1&platform=linux/arm64,new_base=oci-layout://l:t"),
      {
        old_base: "tar:///a:b.tar?image=x:1&platform=linux/arm64",
        new_base: "oci-layout://l:t"
      }
    )
    assert.deepStrictEqual(bases("rebase:new_base=tar://a,b.tar,old_base=c\\,d=e.tar"), {
      old_base: "c,d=e.tar",
      new_base: "tar://a,b.tar"
    })
    assert.deepStrictEqual(bases("rebase:old_base=a\\\\,b,new_base=c\\d"), { old_base: "a\\,b", new_base: "c\\d" })
    assert.include(refused("rebase:old_base=a,c=d,new_base=b", { open }), "a comma inside old_base is written \\,")
    assert.include(refused("rebase:old_base=a", { open }), "rebase:old_base=X,new_base=X, found no new_base")
    assert.include(refused("rebase:old_base=,new_base=b", { open }), "old_base is empty")
    assert.include(refused("rebase:old_base=a,new_base=b"), "expected a way to open its sources")
  })

  it("takes its time from SOURCE_DATE_EPOCH, unless it says one", () => {
    const environment = { sourceDateEpoch: "1700000000" }
    assert.deepStrictEqual(optionsOf("normalize-timestamps", environment)[1], { ts: 1_700_000_000, config: false })
    assert.deepStrictEqual(optionsOf("normalize-timestamps:ts=5", environment)[1], { ts: 5, config: false })
    assert.deepStrictEqual(optionsOf("normalize-timestamps", { sourceDateEpoch: "" })[1], { ts: 0, config: false })
    assert.include(refused("normalize-timestamps", { sourceDateEpoch: "yesterday" }), "SOURCE_DATE_EPOCH")
    assert.include(refused("normalize-timestamps", { sourceDateEpoch: "-1" }), "SOURCE_DATE_EPOCH")
  })

  it("is refused with what there is", () => {
    const unknown = refused("normalise:ts=0")
    for (const { name } of Filters.kinds) assert.include(unknown, name)
    assert.include(unknown, '"normalise"')
    assert.include(refused(""), "exclude")
    assert.include(refused("normalize-timestamps:tz=0"), 'normalize-timestamps:[ts=N],[config=true], found "tz"')
    assert.include(refused("normalize-timestamps:0"), 'found "0"')
    assert.include(refused("exclude"), "exclude:pattern=X[,X...], found no pattern")
    assert.include(refused("exclude:pattern=a,option=b"), "\\,")
    assert.include(refused("search:regex=true"), "found no pattern")
    assert.include(refused("inspect:file="), "empty")
    assert.include(refused("inspect:file=a,file=b"), "twice")
  })

  it("is refused with values that it cannot have", () => {
    for (const value of ["x", "-1", "1.5", "8589934592", "", "1e3"]) {
      assert.include(refused(`normalize-timestamps:ts=${value}`), "seconds since the epoch")
    }
    assert.include(refused("search:pattern=a,regex=maybe"), "regex=true or regex=false")
    assert.include(refused("search:pattern=a(,regex=true"), "cannot search for")
    for (const pattern of ["#comment", "back\\", "./a", "../a", "/", "..", " "]) {
      assert.include(refused(`exclude:pattern=${pattern}`), "matches nothing")
    }
  })
})
