import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fnmatch } from "../../src/filter/Glob.ts"
import type { MatchState } from "../../src/filter/Report.ts"
import { search } from "../../src/filter/Search.ts"
import { testAll } from "../../src/filter/SearchLayer.ts"
import type * as Image from "../../src/image/Image.ts"
import { pool } from "../layout/writing.ts"
import { device, dir, fifo, file, hardlink, opaque, symlink, whiteout } from "../rootfs/Layers.ts"
import { filtered, withImage } from "./Rewriting.ts"

const found = (image: Image.Image, pattern: string, regex = false) =>
  search(image, { pattern, regex }).pipe(
    Effect.provide(pool),
    Effect.map((layers) =>
      layers.flatMap(({ index, matches }) => matches.map((match) => [index, match.path, fate(match.state)]))
    )
  )

const fate = (state: MatchState): string =>
  state.state === "overwritten" || state.state === "deleted"
    ? `${state.state} by ${state.by}`
    : state.state === "whiteout"
      ? `hides ${state.hides}${state.opaque ? "/*" : ""}`
      : state.state

describe("patterns", () => {
  it("are those of Python's fnmatch", () => {
    const cases: ReadonlyArray<
      readonly [pattern: string, matching: ReadonlyArray<string>, others: ReadonlyArray<string>]
    > = [
      ["*.py", ["a.py", "a/b.py", ".py"], ["a.pyc", "a.PY"]],
      ["a?c", ["abc", "a/c", "aüc"], ["ac", "abbc"]],
      ["[a-c]x", ["ax", "cx"], ["dx", "-x"]],
      ["[!a-c]x", ["dx", "^x"], ["ax"]],
      ["[]a]x", ["]x", "ax"], ["bx"]],
      ["[!]a]x", ["bx"], ["]x", "ax"]],
      ["[^a]x", ["^x", "ax"], ["bx"]],
      ["[a-]x", ["ax", "-x"], ["bx"]],
      ["[z-a]x", [], ["zx", "ax", "mx"]],
      ["[abc", ["[abc"], ["a"]],
      ["a.b|c(d)+{1}$", ["a.b|c(d)+{1}$"], ["axb"]],
      ["*\n*", ["a\nb"], ["ab"]],
      ["a*b*b", ["abb", "axbxb"], ["ab", "abc"]],
      ["*ab*ab*", ["abab", "xabxabx"], ["ab", "aab"]],
      ["*a*ab", ["aab", "abaab"], ["ab"]],
      ["a**b", ["ab", "axb"], ["a"]],
      ["*", ["", "a\n"], []],
      ["", [""], ["a"]]
    ]
    for (const [pattern, matching, others] of cases) {
      for (const text of matching) assert.isTrue(fnmatch(pattern).test(text), `${pattern} ${text}`)
      for (const text of others) assert.isFalse(fnmatch(pattern).test(text), `${pattern} ${text}`)
    }
  })
})

describe("patterns that could take forever", () => {
  it("with many stars do not", () => {
    const started = performance.now()
    assert.isFalse(fnmatch(`${"*a".repeat(40)}*b`).test("a".repeat(200)))
    assert.isBelow(performance.now() - started, 2000)
  })

  it("as regular expressions are given up, and that is said", () => {
    assert.deepStrictEqual(testAll(/^(a+)+$/u, ["aaa", "aab"], 1), [true, false])
    assert.throws(
      () => testAll(/^(a+)+$/u, ["a", `${"a".repeat(100)}!`], 0.2),
      "the regular expression takes too long: expected 2 paths to take at most 0.2 s"
    )
  })
})

describe("search", () => {
  it.effect("finds whole paths and names, and says what each is", () =>
    withImage(
      [
        [
          dir("./bin/"),
          file("./bin/bash", "12345", { mode: 0o755, uid: 1, gid: 2 }),
          symlink("./bin/sh", "bash"),
          hardlink("./bin/bash2", "./bin/bash"),
          device("dev/bashtty", 4, 1),
          fifo("run/bash")
        ]
      ],
      (image) =>
        Effect.gen(function* () {
          const [layer] = yield* search(image, { pattern: "*bash*", regex: false }).pipe(Effect.provide(pool))
          assert.deepStrictEqual(
            layer!.matches.map(({ gid, linkname, mode, path, size, type, uid }) => [
              path,
              type,
              size,
              mode,
              uid,
              gid,
              linkname
            ]),
            [
              ["./bin/bash", "file", 5, 0o755, 1, 2, undefined],
              ["./bin/bash2", "hardlink", 0, 0o644, 0, 0, "./bin/bash"],
              ["dev/bashtty", "char", 0, 0o660, 0, 0, undefined],
              ["run/bash", "fifo", 0, 0o600, 0, 0, undefined]
            ]
          )
          assert.deepStrictEqual(yield* found(image, "bin/sh"), [[0, "./bin/sh", "visible"]])
          assert.deepStrictEqual(yield* found(image, "sh"), [[0, "./bin/sh", "visible"]])
          assert.deepStrictEqual(yield* found(image, "bin"), [[0, "./bin", "visible"]])
          assert.deepStrictEqual(yield* found(image, "bas"), [])
          assert.deepStrictEqual(yield* found(image, "ba[st]h$", true), [
            [0, "./bin/bash", "visible"],
            [0, "run/bash", "visible"]
          ])
        }),
      { compression: "gzip" }
    )
  )

  it.effect("says which layer overwrites or deletes what it finds", () =>
    withImage(
      [
        [
          file("x1"),
          file("x2"),
          file("d/x3"),
          file("e/x4"),
          file("f/x5"),
          file("g/h/x6"),
          file("x7"),
          dir("x8/"),
          file("x8/y")
        ],
        [
          file("x1"),
          whiteout("x2"),
          whiteout("d"),
          opaque("e"),
          file("e/x4b"),
          file("f"),
          symlink("g", "elsewhere"),
          file("x77"),
          dir("x8/")
        ],
        [file("unrelated"), whiteout("x1")]
      ],
      (image) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* found(image, "x*"), [
            [0, "x1", "overwritten by 1"],
            [0, "x2", "deleted by 1"],
            [0, "d/x3", "deleted by 1"],
            [0, "e/x4", "deleted by 1"],
            [0, "f/x5", "overwritten by 1"],
            [0, "g/h/x6", "overwritten by 1"],
            [0, "x7", "visible"],
            [0, "x8", "overwritten by 1"],
            [0, "x8/y", "visible"],
            [1, "x1", "deleted by 2"],
            [1, "e/x4b", "visible"],
            [1, "x77", "visible"],
            [1, "x8", "visible"]
          ])
          assert.deepStrictEqual(yield* found(image, "*.wh.*"), [
            [1, ".wh.x2", "hides x2"],
            [1, ".wh.d", "hides d"],
            [1, "e/.wh..wh..opq", "hides e/*"],
            [2, ".wh.x1", "hides x1"]
          ])
        })
    )
  )

  it.effect("as a filter leaves the image as it is, and sees what earlier filters did", () =>
    withImage([[file("a.o", "body"), hardlink("b", "a.o")], [file("c.o")]], (image) =>
      Effect.gen(function* () {
        const {
          applied,
          image: next,
          reports
        } = yield* filtered(image, "search:pattern=*", "exclude:pattern=*.o", "search:pattern=*,script_friendly=true")
        assert.notStrictEqual(next, image)
        assert.deepStrictEqual(
          applied.map(({ after, before, name }) => [name, after === before]),
          [
            ["search", true],
            ["exclude", false],
            ["search", true]
          ]
        )
        const lists = reports.flatMap((report) =>
          report.filter === "search"
            ? [report.layers.map(({ matches }) => matches.map(({ path, type }) => `${type} ${path}`))]
            : []
        )
        assert.deepStrictEqual(lists, [
          [["file a.o", "hardlink b"], ["file c.o"]],
          [["file b"], []]
        ])
      })
    )
  )

  it.effect("says what is wrong instead of finding nothing, and nothing of what hides no match", () =>
    withImage([[file("a"), file("b\xe9")], Buffer.alloc(4096, 7)], (image) =>
      Effect.gen(function* () {
        const layers = yield* search(image, { pattern: "a", regex: false }).pipe(Effect.provide(pool))
        assert.deepStrictEqual(
          layers.map(({ problems }) => problems.map((line) => line.replace(/.*\[/, "["))),
          [[], ["[tar.not-a-tar]"]]
        )
        const gone = {
          ...image,
          layers: image.layers.map((layer) => ({ ...layer, bytes: { ...layer.bytes, path: "/nonexistent" } }))
        }
        const error = yield* search(gone, { pattern: "a", regex: false }).pipe(Effect.provide(pool), Effect.flip)
        assert.strictEqual(error.reason, "Unreadable")
        assert.match(error.message, /^cannot search layer 0 /)
        const usage = yield* search(image, { pattern: "(", regex: true }).pipe(Effect.provide(pool), Effect.flip)
        assert.strictEqual(usage.reason, "Usage")
      })
    )
  )
})
