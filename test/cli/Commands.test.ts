import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "../../src/check/Catalog.ts"
import { version } from "../../src/version.ts"
import * as Workbench from "../fault/Workbench.ts"

describe("the command", () => {
  it("tells its version, which is the package's", async () => {
    const { version: packaged } = JSON.parse(
      fs.readFileSync(path.resolve(import.meta.dirname, "../../package.json"), "utf8")
    ) as {
      readonly version: string
    }
    assert.strictEqual(version, packaged)
    assert.deepInclude(await Workbench.tallyman(["--version"]), { code: 0, stdout: `${packaged}\n`, stderr: "" })
  })

  it("helps, as a whole and for each command, without colour off a terminal", async () => {
    const whole = await Workbench.tallyman(["--help"])
    assert.deepStrictEqual([whole.code, whole.stderr], [0, ""])
    for (const word of ["process", "verify", "explain", "Exit codes"]) assert.include(whole.stdout, word)
    for (const args of [[], ["-h"]]) assert.strictEqual((await Workbench.tallyman(args)).stdout, whole.stdout)
    for (const [name, words] of [
      ["process", ["<SOURCE>", "<DESTINATION>", "--verify-full", "--no-verify", "--platform", "--jobs", "--format"]],
      ["verify", ["<TARGET>", "--full", "--format"]],
      ["explain", ["CHECK-ID"]]
    ] as const) {
      const { code, stderr, stdout } = await Workbench.tallyman([name, "--help"])
      assert.deepStrictEqual([code, stderr], [0, ""], name)
      for (const word of words) assert.include(stdout, word, name)
      assert.notInclude(stdout, "\x1b", name)
    }
  })

  it("completes for three shells", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { code, stderr, stdout } = await Workbench.tallyman(["--completions", shell])
      assert.deepStrictEqual([code, stderr], [0, ""], shell)
      assert.include(stdout, "verify", shell)
      if (shell === "bash") assert.strictEqual(spawnSync("bash", ["-n"], { input: stdout }).status, 0)
    }
  })

  it("says on one line what is wrong with a command line, and exits with 2", async () => {
    for (const [args, message] of [
      [["bogus"], /bogus|subcommand/],
      [["verify"], /TARGET/],
      [["verify", "a", "b"], /'b'/],
      [["process", "tar://a"], /DESTINATION/],
      [["process", "tar://a", "dir://b", "--bogus"], /--bogus/],
      [["verify", "a", "--format", "xml"], /text, json/],
      [["process", "a", "b"], /expected SCHEME:\/\/PATH/],
      [["process", "tar://a", "dir://b", "-j", "0"], /--jobs 0/],
      [["process", "tar://a", "dir://b", "-j", "many"], /many/],
      [["process", "tar://a", "dir://b", "--platform", "linux"], /OS\/ARCHITECTURE/],
      [["process", "tar://a", "dir://b?wrong=1"], /unique_names.*, found wrong/],
      [["verify", "nothing://x"], /nothing:\/\//],
      [["explain", "layer.bogus"], /layer\.missing/]
    ] as const) {
      const { code, stderr, stdout } = await Workbench.tallyman(args)
      assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
      assert.match(stderr, message)
      assert.match(stderr, /^[^\n]+\n$/, args.join(" "))
    }
  })

  it("keeps its exit code when nobody reads on, and says when its output cannot be written", () => {
    const sh = (rest: string) =>
      spawnSync("bash", ["-c", `"$0" "$1" ${rest}`, process.execPath, Workbench.command], { encoding: "utf8" })
    const gone = sh('verify /nothing/here 2>&1 | true; echo "$PIPESTATUS"')
    assert.deepStrictEqual([gone.stdout, gone.stderr], ["3\n", ""])
    const listed = sh('explain | true; echo "$PIPESTATUS"')
    assert.deepStrictEqual([listed.stdout, listed.stderr], ["0\n", ""])
    if (!fs.existsSync("/dev/full")) return
    const full = sh("explain >/dev/full")
    assert.strictEqual(full.status, 3)
    assert.match(full.stderr, /^tallyman: cannot write to standard output: .*ENOSPC.*\n$/)
  })
})

describe("explain", () => {
  it("tells what a check means, where it is written, and what to do", async () => {
    const { code, stderr, stdout } = await Workbench.tallyman(["explain", "layer.diff-id-mismatch"])
    assert.deepStrictEqual([code, stderr], [0, ""])
    const { explanation, remedy, severity, spec, title } = Catalog.catalog["layer.diff-id-mismatch"]
    const text = stdout.replace(/\s+/g, " ")
    for (const part of [`layer.diff-id-mismatch: ${title}`, explanation, remedy, spec, `Severity: ${severity}`]) {
      assert.include(text, part.replace(/\s+/g, " "))
    }
    for (const line of stdout.split("\n")) assert.isAtMost(line.length, 120)
  })

  it("lists every check without an id", async () => {
    const { code, stdout } = await Workbench.tallyman(["explain"])
    assert.strictEqual(code, 0)
    assert.deepStrictEqual(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.split(" ")[0]),
      [...Catalog.ids]
    )
  })
})

describe("the demo", () => {
  it("shows a damage named, and ends well", () =>
    Workbench.withScratch((directory) => {
      const demo = path.resolve(import.meta.dirname, "../../fixtures/demo.mjs")
      const { status, stderr, stdout } = spawnSync(process.execPath, [demo], {
        encoding: "utf8",
        env: { ...process.env, TMPDIR: directory }
      })
      assert.strictEqual(status, 0, stderr)
      for (const text of ["verified OK", "[layer.diff-id-mismatch]", "[layer.missing]", "(exit code 1)", directory]) {
        assert.include(stdout, text)
      }
      const [made] = fs.readdirSync(directory)
      assert.sameMembers(fs.readdirSync(path.join(directory, made!)), ["image.tar", "image", "flipped", "incomplete"])
    }))
})
