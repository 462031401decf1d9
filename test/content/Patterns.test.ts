import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { Patterns, patternFault } from "../../src/content/Patterns.ts"

const excludes = (patterns: ReadonlyArray<string>, name: string, isDirectory = false): boolean =>
  new Patterns(patterns).excludes(name, isDirectory)

describe("patterns", () => {
  for (const [pattern, matching, others] of [
    ["[!a]", ["b", "x/b"], ["a", "bb"]],
    ["[^a]", ["b"], ["a"]],
    ["q\\?", ["q?"], ["qx", "q"]],
    ["\\*", ["*"], ["a"]],
    ["a\\*", ["a*"], ["ab", "a"]],
    ["[[]z]", ["[z]"], ["z"]],
    ["[[:digit:]]", ["1"], ["a"]],
    ["[a-]", ["a", "-"], ["b"]],
    ["[/", [], ["a", "["]],
    ["[z-a]", [], ["m"]],
    ["{a,b}", ["{a,b}"], ["a"]],
    ["+(a)", ["+(a)"], ["a", "aa"]],
    ["a ", ["a"], ["a "]],
    ["a\\ ", ["a "], ["a"]],
    ["\\!a", ["!a"], ["a"]],
    ["\\#a", ["#a"], ["a"]],
    ["*", ["...", ".a", "new\nline"], []],
    ["**/new*", ["x/new\nline"], []],
    ["a/**", ["a/b", "a/b/c"], ["a", "x/a/b"]],
    ["a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/x"]],
    ["a**b", ["axb", "ab"], ["a/b"]],
    ["/***", ["a", "a/b"], []],
    ["a/***/b", ["a/b", "a/x/y/b"], []],
    ["A", ["A"], ["a"]],
    ["?", ["ü"], ["üü"]]
  ] as const) {
    it(`${pattern} is read as git reads it`, () => {
      for (const name of matching) assert.isTrue(excludes([pattern], name), name)
      for (const name of others) assert.isFalse(excludes([pattern], name), name)
    })
  }

  it("that can match nothing are told", () => {
    for (const pattern of ["", "  ", "#a", "a\\", "a\\\\\\", "/", "//", "!", ".", "./a", "!../a"])
      assert.isDefined(patternFault(pattern), pattern)
    for (const pattern of ["a", "a\\ ", "a\\\\", "\\#a", "...", ".a", "!a", "[/"])
      assert.isUndefined(patternFault(pattern), pattern)
  })
})

describe("git", () => {
  const git = childProcess.spawnSync("git", ["--version"]).status === 0
  it.skipIf(!git)("ignores the same files", { timeout: 120_000 }, () => {
    const repository = fs.mkdtempSync(path.join(os.tmpdir(), "tallyman-test-"))
    try {
      const files = [
        "a",
        "b",
        "c/a",
        "c/b/x.pyc",
        "c/[z]",
        "c/.hid",
        "d/a b",
        "d/a*",
        "d/q?",
        "!bang",
        "#hash",
        "e/..."
      ]
      files.push("e/-", "e/new\nline", "f/back\\slash", "f/{x}", "f/(p)", "f/a+b", "f/A/a/b/c")
      for (const file of files) {
        fs.mkdirSync(path.join(repository, path.dirname(file)), { recursive: true })
        fs.writeFileSync(path.join(repository, file), "")
      }
      const run = (args: ReadonlyArray<string>, input: string): string =>
        childProcess.spawnSync("git", ["-C", repository, ...args], { input, encoding: "utf8" }).stdout
      run(["init", "--quiet"], "")
      const part = fc.constantFrom(
        ...[
          "a",
          "b",
          "c",
          "d",
          "*",
          "**",
          "?",
          "/",
          "/",
          "[!a]",
          "[^b]",
          "[a-c]",
          "[[]z]",
          ".pyc",
          "*.pyc",
          "\\*",
          "\\?"
        ],
        ...["\\ ", "\\#", "\\!", ".", "...", "{x}", "(p)", "+", "\\\\", "]", "-", "[a-]", "[[:alpha:]]"]
      )
      const glob = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""))
      const pattern = fc
        .tuple(fc.constantFrom("", "", "!", "/"), glob, fc.constantFrom("", "", "/"))
        .map((parts) => parts.join(""))
        .filter((one) => patternFault(one) === undefined)
        // Before `**` git takes what has no wildcards off first, and then reads `a**/b` as if it were `a/**/b`.
        .filter((one) => !/[^/!]\*\*\//.test(one))
      fc.assert(
        fc.property(fc.array(pattern, { minLength: 1, maxLength: 3 }), (patterns) => {
          fs.writeFileSync(path.join(repository, ".git/info/exclude"), patterns.join("\n"))
          const ignored = run(["check-ignore", "--no-index", "-z", "--stdin"], files.join("\0")).split("\0")
          const matcher = new Patterns(patterns)
          assert.deepStrictEqual(
            files.filter((file) => matcher.excludes(file, false)),
            ignored.filter((file) => file !== "")
          )
        }),
        { numRuns: Number(process.env["PATTERN_RUNS"] ?? 80) }
      )
    } finally {
      fs.rmSync(repository, { recursive: true })
    }
  })
})
