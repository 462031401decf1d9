import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { catalog, ids } from "../../src/check/Catalog.ts"
import { covering, rules } from "../../src/check/Rules.ts"

const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../src")

const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)

describe("the rules", () => {
  it("are numbered without gaps", () => {
    const numbers = new Set(rules.map((rule) => rule.number))
    assert.strictEqual(numbers.size, rules.length)
    assert.deepStrictEqual(
      range(1, 102).filter((number) => !numbers.has(number)),
      []
    )
    assert.deepStrictEqual(
      [...numbers].filter((number) => number < 1 || number > 102),
      []
    )
    assert.deepStrictEqual(
      rules.map((rule) => rule.number),
      [...numbers].sort((a, b) => a - b)
    )
  })

  for (const rule of rules) {
    it(`${rule.number}: a check or a reason`, () => {
      const covered = covering(rule.number).length > 0
      assert.isTrue(covered || rule.reason !== undefined, `no check covers rule ${rule.number}: ${rule.text}`)
    })
  }
})

describe("the catalogue", () => {
  it("names rules that there are", () => {
    const numbers = new Set(rules.map((rule) => rule.number))
    const unknown = ids.flatMap((id) =>
      catalog[id].rules.filter((number) => !numbers.has(number)).map((number) => `${id}: ${number}`)
    )
    assert.deepStrictEqual(unknown, [])
  })

  it("has texts that say something", () => {
    for (const id of ids) {
      assert.match(id, /^[a-z]+(?:-[a-z]+)*\.[a-z0-9]+(?:-[a-z0-9]+)*$/)
      const { explanation, remedy, spec, title } = catalog[id]
      for (const text of [title, spec]) assert.isNotEmpty(text, id)
      for (const text of [explanation, remedy]) assert.match(text, /[.?]$/, id)
      assert.notInclude(title + explanation + remedy, "\n", id)
    }
  })

  it("has no id that nothing reports", () => {
    const files = fs
      .readdirSync(source, { recursive: true, encoding: "utf8" })
      .filter(
        (file) =>
          file.endsWith(".ts") &&
          !file.startsWith(path.join("check", "catalog")) &&
          file !== path.join("check", "Rules.ts")
      )
    const text = files.map((file) => fs.readFileSync(path.join(source, file), "utf8")).join("\n")
    // Lists of what is looked for, what is said to have run, and types report nothing.
    const element = /(?:\.\.\.[\w.#]+|"[^"\n]*")/.source
    const lists = new RegExp(`(?:\\[|\\.ran\\()\\s*${element}(?:,\\s*${element})*,?\\s*[\\])]|\\|\\s*"[^"\\n]*"`, "g")
    const reporting = text.replaceAll(lists, "")
    assert.deepStrictEqual(
      ids.filter((id) => !reporting.includes(`"${id}"`)),
      []
    )
  })
})
