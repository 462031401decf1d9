/** `tallyman.json`, --config, and the options that say how much is taken in. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { archiveAt, isRoot, small, tallyman, withScratch } from "../fault/Workbench.ts"

const image = small()

/** An archive of an image, in a directory of its own to run in. */
const withArchive = (
  use: (directory: string, run: (...args: ReadonlyArray<string>) => ReturnType<typeof tallyman>) => Promise<void>
) =>
  withScratch((directory) => {
    archiveAt(directory, ImageBuilder.dockerLegacy([image]), "image.tar")
    return use(directory, (...args) => tallyman(args, { cwd: directory }))
  })

describe("a settings file", () => {
  it("that cannot be read ends the run with 3, in a line that names it", () =>
    withArchive(async (directory, run) => {
      const file = path.join(directory, "tallyman.json")
      const named = await run("verify", "image.tar", "--config", "none.json")
      assert.deepStrictEqual(
        [named.code, named.stdout, named.stderr],
        [3, "", 'tallyman: cannot read --config "none.json": it does not exist\n']
      )
      assert.match((await run("verify", "image.tar", "--config", ".")).stderr, /--config "\.": it is a directory\n$/)
      fs.mkdirSync(file)
      const found = await run("verify", "image.tar")
      assert.deepStrictEqual(
        [found.code, found.stdout, found.stderr],
        [3, "", `tallyman: cannot read the settings file ${file}: it is no regular file\n`]
      )
      fs.rmdirSync(file)
      childProcess.execFileSync("mkfifo", [file])
      assert.strictEqual((await run("process", "tar://image.tar", "dir://out")).stderr, found.stderr)
      fs.rmSync(file)
      if (isRoot) return
      fs.writeFileSync(file, "{}", { mode: 0 })
      assert.match((await run("verify", "image.tar")).stderr, /settings file .*: permission denied\n$/)
    }))

  it("that says what cannot be meant is wrong usage, and told with its name", () =>
    withArchive(async (directory, run) => {
      const file = path.join(directory, "tallyman.json")
      for (const [text, message] of [
        ["{", /JSON does not parse/],
        ['{"profile":1}', /profile/],
        ['{"bogus":1}', /bogus/],
        ['{"severity":{"layer.bogus":"error"}}', /expected a check id/],
        ['{"max-unpacked":"x"}', /max-unpacked of .*"x": expected bytes/],
        ['{"max-json":"1G"}', /max-json of .*"1G": expected at most 256M/],
        ['{"max-members":0}', /max-members/]
      ] as const) {
        fs.writeFileSync(file, text)
        for (const args of [[], ["--config", file]]) {
          const { code, stderr, stdout } = await run("verify", "image.tar", ...args)
          assert.deepStrictEqual([code, stdout], [2, ""], text)
          assert.match(stderr, /^tallyman: cannot use [^\n]*tallyman\.json[^\n]*\n$/)
          assert.match(stderr, message)
        }
      }
      fs.writeFileSync(file, '{"max-json":"1G"}')
      assert.strictEqual((await run("verify", "image.tar", "--max-json", "1M")).code, 0)
    }))
})

describe("limits", () => {
  it("on documents stop what is beyond them, name the option, and are raised by it", () =>
    withArchive(async (directory, run) => {
      for (const [args, message] of [
        [["--max-json", "50"], /--max-json raises it/],
        [["--max-json-values", "3"], /--max-json-values raises it/]
      ] as const) {
        const { code, stdout } = await run("verify", "image.tar", ...args)
        assert.strictEqual(code, 1)
        assert.match(stdout, message)
        for (const command of [
          ["inspect", "image.tar"],
          ["search", "image.tar", "x"],
          ["diff", "image.tar", "image.tar"]
        ]) {
          const other = await run(...command, ...args)
          assert.deepStrictEqual([other.code, other.stdout], [3, ""], command[0])
          assert.match(other.stderr, message)
        }
      }
      const large = ImageBuilder.build({
        layers: [[Entry.file("a")]],
        config: { config: { Labels: Object.fromEntries(Array.from({ length: 260_000 }, (_, i) => [`l${i}`, ""])) } }
      })
      archiveAt(directory, ImageBuilder.dockerLegacy([large]), "large.tar")
      assert.match((await run("verify", "large.tar")).stdout, /--max-json-values raises it/)
      assert.strictEqual((await run("verify", "large.tar", "--full", "--max-json-values", "1000000")).code, 0)
    }))

  it("on members of an archive and on findings, too", () =>
    withArchive(async (directory, run) => {
      const few = await run("verify", "image.tar", "--max-members", "3")
      const beyond = /expected at most 3 entries \(--max-members raises it\), found \d+\n/
      assert.strictEqual(few.code, 1)
      assert.match(few.stdout, beyond)
      const inspected = await run("inspect", "image.tar", "--max-members", "3")
      assert.strictEqual(inspected.code, 3)
      assert.match(inspected.stderr, beyond)
      assert.strictEqual((await run("verify", "image.tar", "--max-members", "100")).code, 0)
      const extra = Array.from({ length: 30 }, (_, index) => Entry.file(String(index).padStart(64, "0")))
      archiveAt(directory, [...ImageBuilder.dockerLegacy([image]), ...extra], "extra.tar")
      const listed = async (...args: ReadonlyArray<string>): Promise<ReadonlyArray<string>> =>
        JSON.parse((await run("verify", "extra.tar", "--format", "json", ...args)).stdout).results.map(
          ({ message }: { readonly message: string }) => message
        )
      assert.lengthOf(await listed(), 30)
      const some = await listed("--max-findings", "10")
      assert.lengthOf(some, 11)
      assert.match(some.at(-1)!, /^it is the first of 20 more of these, .*\(--max-findings raises how many are\)$/)
    }))

  it("have to be such", async () => {
    for (const [args, message] of [
      [["--max-json", "much"], 'cannot use --max-json "much": expected bytes, for example 500M or 10G'],
      [["--max-json", "2G"], 'cannot use --max-json "2G": expected at most 256M'],
      [["--max-members", "0"], "cannot use --max-members 0: expected 1 or more"],
      [["--max-ratio", "0"], "cannot use --max-ratio 0: expected a number above 0"]
    ] as const) {
      const { code, stderr } = await tallyman(["verify", "none", ...args])
      assert.deepStrictEqual([code, stderr], [2, `tallyman: ${message}\n`])
    }
  })
})
