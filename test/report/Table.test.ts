import { assert, describe, it } from "@effect/vitest"
import * as Table from "../../src/report/Table.ts"

describe("a table", () => {
  const columns: ReadonlyArray<Table.Column> = [
    { title: "#", align: "right" },
    { title: "What", fills: true },
    { title: "Size", align: "right" }
  ]

  it("lines up its columns and cuts the one that fills", () => {
    const rows = [
      ["1", "short", "5 B"],
      ["10", "a text that is too long for it", "1.0 KB"]
    ]
    assert.deepStrictEqual(Table.table(columns, rows, 26), [
      " #  What              Size",
      " 1  short              5 B",
      "10  a text that i…  1.0 KB"
    ])
    assert.deepStrictEqual(Table.table(columns, rows, 200)[2], "10  a text that is too long for it  1.0 KB")
  })

  it("does without columns where there is no room", () => {
    const all: ReadonlyArray<Table.Column> = [
      { title: "first", dispensable: 2 },
      { title: "second", dispensable: 1 },
      { title: "third" }
    ]
    const rows = [["1", "2", "3"]]
    assert.deepStrictEqual(Table.table(all, rows, 20), ["first  second  third", "1      2       3"])
    assert.deepStrictEqual(Table.table(all, rows, 19), ["first  third", "1      3"])
    assert.deepStrictEqual(Table.table(all, rows, 6), ["third", "3"])
    assert.deepStrictEqual(Table.table(all, rows, 2), ["third", "3"])
  })

  it("counts columns as a terminal does", () => {
    assert.deepStrictEqual(["abc", "äöü", "日本", "e\u0301", "😀", ""].map(Table.width), [3, 3, 4, 1, 2, 0])
    assert.deepStrictEqual(Table.shorten("日本語", 5), "日本…")
    assert.deepStrictEqual(Table.shorten("日本語", 4), "日…")
    assert.deepStrictEqual(
      ["abc", "abcd"].map((text) => Table.shorten(text, 3)),
      ["abc", "ab…"]
    )
    assert.deepStrictEqual(Table.shorten("abc", 0), "")
  })
})
