import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "../../src/check/Catalog.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
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
      ["process", ["SOURCE", "DESTINATION", "--verify-full", "--no-verify", "--platform", "--jobs", "--format"]],
      ["verify", ["TARGET", "--full", "--format"]],
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
    const is = (text: string): RegExp => new RegExp(`^tallyman: ${text.replace(/[[\]().|]/g, "\\$&")}\n$`)
    for (const [args, message] of [
      [["bogus"], /^tallyman: cannot run "bogus": expected a command, one of process, verify, /],
      [["--full", "verify"], /^tallyman: cannot run "--full": /],
      [["--completions"], is("cannot use --completions: expected one of bash, zsh, fish behind it, found nothing")],
      [["--completions", "tcsh"], /found tcsh/],
      [["verify"], is("cannot run verify: expected TARGET, found no TARGET")],
      [["verify", ""], is("cannot run verify: expected TARGET, found an empty argument")],
      [["verify", "a", "b"], is('cannot run verify: expected TARGET and nothing else, found "b"')],
      [["verify", "--full", "--full", "a"], is("cannot use --full twice: verify takes one")],
      [["verify", "a", "--full=no"], is('cannot use --full with a value: expected nothing behind it, found "no"')],
      [["verify", "a", "-x"], /^tallyman: verify has no option -x: expected one of --against, /],
      [["verify", "a", "--repair"], is("cannot use --repair: expected SOURCE behind it, found nothing")],
      [["verify", "a", "--severity", ""], is('cannot use --severity "": expected CHECK-ID=LEVEL')],
      [["process", "tar://a"], is("cannot run process: expected SOURCE DESTINATION, found no DESTINATION")],
      [["process", "tar://a", "dir://b", "-f", ""], is('cannot use -f "": expected FILTER')],
      [["process", "tar://a", "dir://b", "--filter="], is('cannot use --filter "": expected FILTER')],
      [["process", "tar://a", "dir://b", "--bogus"], /--bogus/],
      [["verify", "a", "--format", "xml"], is('cannot use --format "xml": expected text or json')],
      [["verify", "a", "--max-ratio", "x"], is('cannot use --max-ratio "x": expected a number')],
      [["inspect", "a", "--top=1.5"], is('cannot use --top "1.5": expected a whole number')],
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
      assert.match(stderr, /^tallyman: [^\n]+\n$/, args.join(" "))
    }
  })

  it("says before it reads anything that --temp-dir cannot be used, and exits with 3", () =>
    Workbench.withScratch(async (directory) => {
      const file = path.join(directory, "file")
      fs.writeFileSync(file, "")
      const closed = path.join(directory, "closed")
      fs.mkdirSync(closed, { mode: 0o555 })
      const cases = [
        [path.join(directory, "none"), "nothing"],
        [file, "something else"],
        [path.join(file, "below"), "that it cannot be used: a part of the path is no directory"],
        // root may write everywhere but where nobody can.
        process.getuid?.() === 0
          ? ["/sys/kernel/none", "nothing"]
          : [closed, "that it cannot be used: permission denied"]
      ] as const
      for (const args of [
        ["process", "tar://none", `dir://${directory}/out`],
        ["verify", "none"],
        ["verify", "none", "--repair", "none"],
        ["verify", "none", "--against", "none"],
        ["search", "none", "x"],
        ["inspect", "none"],
        ["info", "none"],
        ["diff", "none", "none"]
      ]) {
        for (const [place, found] of cases) {
          const { code, stderr, stdout } = await Workbench.tallyman([...args, "--temp-dir", place])
          assert.deepStrictEqual([code, stdout], [3, ""], args.join(" "))
          assert.strictEqual(
            stderr,
            `tallyman: cannot use --temp-dir ${JSON.stringify(place)}: expected a directory that can be written, found ${found}\n`
          )
        }
      }
    }))

  it("takes values in any form, and what begins with a dash behind --", () =>
    Workbench.withScratch(async (directory) => {
      const file = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([Workbench.small()]))
      for (const jobs of [["-j", "2"], ["-j2"], ["--jobs=2"], ["--jobs", "2"]])
        assert.strictEqual((await Workbench.tallyman(["verify", ...jobs, file, "--full"])).code, 0, jobs.join(" "))
      const found = await Workbench.tallyman(["search", file, "--format=json", "--", "-x"])
      assert.deepStrictEqual([found.code, found.stderr], [0, ""])
    }))

  it("helps within the columns that there are", () => {
    for (const columns of ["40", "80"]) {
      const { stdout } = spawnSync(process.execPath, [Workbench.command, "verify", "-h"], {
        encoding: "utf8",
        env: { ...process.env, COLUMNS: columns }
      })
      for (const line of stdout.split("\n").slice(3)) assert.isAtMost(line.length, Number(columns), line)
      assert.include(stdout, "  -j, --jobs N\n")
    }
  })

  it.skipIf(spawnSync("script", ["--version"]).status !== 0)("goes by COLUMNS on a terminal that has no size", () => {
    const { stdout } = spawnSync(
      "script",
      ["-qec", `"${process.execPath}" "${Workbench.command}" mount -h`, "/dev/null"],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, COLUMNS: "60" }
      }
    )
    assert.include(stdout, "Mount the layers of mounts://PATH again, after a restart or\r\n`unmount`")
  })

  it("keeps its exit code where the place of its code cache cannot be written to", () => {
    // As it is for a user whose HOME is still another's; root is refused nothing, but finds no way through a file.
    const { status, stderr, stdout } = spawnSync(process.execPath, [Workbench.command, "explain", "layer.missing"], {
      env: { ...process.env, XDG_CACHE_HOME: path.join(Workbench.command, "below") },
      encoding: "utf8"
    })
    assert.match(stdout, /layer\.missing/)
    assert.deepStrictEqual([status, stderr], [0, ""])
  })

  it("keeps its exit code when nobody reads on, and says when its output cannot be written", () => {
    const sh = (rest: string) =>
      spawnSync("bash", ["-c", `"$0" "$1" ${rest}`, process.execPath, Workbench.command], { encoding: "utf8" })
    const gone = sh('verify /nothing/here 2>&1 | true; echo "$PIPESTATUS"')
    assert.deepStrictEqual([gone.stdout, gone.stderr], ["3\n", ""])
    // The launcher answers the last two by itself.
    for (const command of ["explain", "--help", "--version"]) {
      const listed = sh(`${command} | true; echo "$PIPESTATUS"`)
      assert.deepStrictEqual([listed.stdout, listed.stderr], ["0\n", ""], command)
      if (!fs.existsSync("/dev/full")) continue
      const full = sh(`${command} >/dev/full`)
      assert.strictEqual(full.status, 3, command)
      assert.match(full.stderr, /^tallyman: cannot write to standard output: .*ENOSPC.*\n$/, command)
    }
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
    const narrow = spawnSync(process.execPath, [Workbench.command, "explain", "layer.diff-id-mismatch"], {
      encoding: "utf8",
      env: { ...process.env, COLUMNS: "40" }
    })
    assert.strictEqual(narrow.stdout.replace(/\s+/g, " "), text)
    const [, said, , remedied] = narrow.stdout.trimEnd().split("\n\n")
    for (const line of [said!, remedied!].flatMap((one) => one.split("\n"))) assert.isAtMost(line.length, 40)
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
