import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { version } from "../../src/version.ts"
import * as Workbench from "../fault/Workbench.ts"
import { peerTest, run } from "../peers/Peers.ts"

const image = Workbench.small()
const layer = `${image.layers[1]!.diffId.slice(7)}/layer.tar`

/** A written directory in a fresh place. */
const withOutput = (use: (root: string, directory: string) => Promise<void>): Promise<void> =>
  Workbench.withScratch(async (directory) =>
    use(await Effect.runPromise(Workbench.written(directory, image)), directory)
  )

describe("verify", () => {
  it("passes what is sound, at either depth, by path or URI", () =>
    withOutput(async (root) => {
      for (const [args, depth] of [
        [[root], "fast"],
        [[root, "--full"], "full"],
        [["--full", `dir://${root}`], "full"]
      ] as const) {
        const { code, stderr, stdout } = await Workbench.tallyman(["verify", ...args])
        const last = stdout.trimEnd().split("\n").at(-1)
        const target = args.find((arg) => arg !== "--full")
        assert.strictEqual(last, `OK: ${target} (dir, ${depth}): 1/1 images, 2 layers, 0 errors, 0 warnings`)
        assert.deepStrictEqual([code, stderr], [0, ""])
      }
    }))

  it("lists findings by subject, and exits with 1", () =>
    withOutput(async (root) => {
      Damage.flipByte(path.join(root, layer), 600)
      Damage.remove(path.join(root, "receipt.json"))
      const { code, stderr, stdout } = await Workbench.tallyman(["verify", root, "--full"])
      const lines = stdout.trimEnd().split("\n")
      assert.strictEqual(lines[0], layer)
      assert.match(lines[1]!, /^ {2}error \[layer\.diff-id-mismatch\] /)
      assert.strictEqual(lines[2], "receipt.json")
      assert.match(lines[3]!, /^ {2}warning \[receipt\.missing\] /)
      assert.strictEqual(lines.at(-1), `FAILED: ${root} (dir, full): 0/1 images, 2 layers, 1 error, 1 warning`)
      assert.deepStrictEqual([code, stderr], [1, ""])
    }))

  it("as JSON: exactly these fields, on stdout and nothing else there", () =>
    withOutput(async (root) => {
      Damage.truncate(path.join(root, layer), 1024)
      const { code, stderr, stdout } = await Workbench.tallyman(["verify", "--format", "json", root])
      const document = JSON.parse(stdout) as Record<string, unknown> & { readonly checked: ReadonlyArray<string> }
      assert.deepStrictEqual(
        { ...document, checked: [] },
        {
          tool: "tallyman",
          version,
          target: root,
          layout: "dir",
          depth: "fast",
          ok: false,
          has_errors: true,
          error_count: 1,
          warning_count: 0,
          info_count: 0,
          results: [
            {
              severity: "error",
              check: "layer.size-mismatch",
              message: "its size is not what receipt.json says",
              subject: layer,
              expected: "2048 bytes",
              actual: "1024 bytes"
            }
          ],
          checked: [],
          skipped: [{ check: "layer.diff-id-mismatch", reason: "content is read at full depth only" }],
          images: [{ image: "localhost/small:1", ok: false, error_count: 1 }],
          layers: 2
        }
      )
      assert.deepStrictEqual(Object.keys(document).slice(0, 13), [
        "tool",
        "version",
        "target",
        "layout",
        "depth",
        "ok",
        "has_errors",
        "error_count",
        "warning_count",
        "info_count",
        "results",
        "checked",
        "skipped"
      ])
      assert.includeMembers(
        [...document.checked],
        ["manifest.missing", "layer.missing", "layer.size-mismatch", "catalog.dangling", "receipt.invalid"]
      )
      assert.deepStrictEqual([code, stderr], [1, ""])
      const sound = await Workbench.tallyman([
        "verify",
        root,
        "--format=json",
        "--severity",
        "layer.size-mismatch=warning"
      ])
      assert.deepInclude(JSON.parse(sound.stdout), { ok: true, error_count: 0, warning_count: 1 })
      assert.strictEqual(sound.code, 0)
    }))

  it("names what a path does not hold, and exits with 3", () =>
    withOutput(async (root, directory) => {
      for (const [target, message] of [
        [`${directory}/gone`, "it does not exist"],
        [`dir://${directory}/gone`, "it does not exist"],
        [`dir://${root}/manifest.json`, "expected a directory, found a file"]
      ] as const) {
        const { code, stderr, stdout } = await Workbench.tallyman(["verify", target])
        assert.deepStrictEqual(
          [code, stdout, stderr],
          [3, "", `tallyman: cannot read ${target.replace("dir://", "")}: ${message}\n`]
        )
      }
    }))

  it("cannot be made to print control characters by what an image holds", () =>
    Workbench.withScratch(async (directory) => {
      const hostile = ImageBuilder.build({
        names: ["\x1b]0;title\x07\x1b[2Jevil"],
        layers: [[Entry.file("a\n\x1b[31mOK: all fine"), Entry.file("a\n\x1b[31mOK: all fine")]]
      })
      ImageBuilder.writeTree(`${directory}/out`, ImageBuilder.directory([hostile]))
      const { code, stdout } = await Workbench.tallyman(["verify", `${directory}/out`, "--full"])
      assert.notMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f]/)
      assert.notMatch(stdout, /^OK/m)
      assert.strictEqual(code, 1)
    }))

  peerTest(["python3"], "is coloured on a terminal only, and never against NO_COLOR", () =>
    withOutput(async (root) => {
      Damage.remove(path.join(root, layer))
      const args = [process.execPath, Workbench.command, "verify", root]
      const onTerminal = (env: Readonly<Record<string, string>>): string =>
        run(
          "python3",
          ["-c", "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))", ...args],
          {
            env: { TERM: "xterm", ...env },
            allowFailure: true
          }
        ).stdout
      assert.include(onTerminal({ NO_COLOR: "" }), "\x1b[31merror\x1b[0m")
      assert.notInclude(onTerminal({ NO_COLOR: "1" }), "\x1b[")
      assert.notInclude(onTerminal({ TERM: "dumb", NO_COLOR: "" }), "\x1b[3")
      assert.notInclude((await Workbench.tallyman(["verify", root])).stdout, "\x1b")
    })
  )

  peerTest(["python3"], "shows on a terminal how far it is when it takes longer than a second", () =>
    withOutput((root) => {
      // Holes cost no room, but they are read and hashed: some seconds of work.
      fs.truncateSync(path.join(root, layer), 3 * 1024 ** 3)
      const script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
      const args = [process.execPath, Workbench.command, "verify", root, "--full"]
      const { code, stdout } = run("python3", ["-c", script, ...args], {
        env: { TERM: "xterm", NO_COLOR: "1" },
        allowFailure: true
      })
      assert.match(stdout, /\[=*-*\] \d+% [\d.]+ (MB|GB) of 3\.0 GB/)
      assert.include(stdout, "[layer.size-mismatch]")
      assert.strictEqual(code, 1)
      return Promise.resolve()
    })
  )
})
