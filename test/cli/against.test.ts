import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Workbench from "../fault/Workbench.ts"

const image = Workbench.small()
const layer = `${image.layers[1]!.diffId.slice(7)}/layer.tar`

/** A written directory, the archive it came from, and one of another image by the same name. */
const withImages = (use: (root: string, source: string, other: string) => Promise<void>): Promise<void> =>
  Workbench.withScratch(async (directory) => {
    const root = await Effect.runPromise(Workbench.written(directory, image))
    const other = ImageBuilder.dockerHybrid([Workbench.small(image.names, "other")])
    await use(root, path.join(directory, "out-source.tar"), Workbench.archiveAt(directory, other, "other.tar"))
  })

const run = async (...args: ReadonlyArray<string>) => Workbench.tallyman(["verify", ...args])

describe("verify --against", () => {
  it("passes the same image, whichever side of TARGET the flag is on", () =>
    withImages(async (root, source) => {
      for (const args of [
        [root, "--against", source, "--full"],
        ["--full", "--against", `tar://${source}`, root],
        ["--against", source, root],
        [`dir://${root}?unique_names=false&expand=false`, "--against", source]
      ]) {
        const { code, stderr, stdout } = await run(...args)
        assert.match(stdout.trimEnd().split("\n").at(-1)!, /^OK: .*: 1\/1 images, 2 layers, 0 errors, 0 warnings$/)
        assert.deepStrictEqual([code, stderr], [0, ""])
      }
    }))

  it("exits with 1 for another image, as text and as JSON", () =>
    withImages(async (root, _, other) => {
      const text = await run(root, "--against", other)
      assert.match(
        text.stdout,
        /error \[against\.config-mismatch\] its config is not the source's: \/rootfs\/diff_ids\/1 differs/
      )
      assert.match(text.stdout, /error \[against\.layer-mismatch\] layer 1 is not the source's/)
      assert.match(text.stdout, /^FAILED: .*: 0\/1 images/m)
      assert.strictEqual(text.code, 1)
      const json = await run(root, "--against", other, "--format", "json")
      const document = JSON.parse(json.stdout) as {
        readonly against: string
        readonly results: ReadonlyArray<{ readonly check: string; readonly subject: string }>
      }
      assert.strictEqual(document.against, other)
      assert.deepStrictEqual(
        document.results.map(({ check, subject }) => [check, subject]),
        [
          ["against.config-mismatch", image.names[0]],
          ["against.layer-mismatch", layer]
        ]
      )
      assert.strictEqual(json.code, 1)
      assert.strictEqual(
        (
          await run(
            root,
            "--against",
            other,
            "--severity",
            "against.config-mismatch=ignore",
            "--severity",
            "against.layer-mismatch=info"
          )
        ).code,
        0
      )
    }))

  it("exits with 3 and one line where the source is damaged or not there", () =>
    withImages(async (root, source) => {
      Damage.flipByte(source, fs.readFileSync(source).indexOf("content"))
      const damaged = await run(root, "--against", source, "--full")
      assert.match(
        damaged.stderr,
        /^tallyman: cannot compare with tar:[^ ]*: layer 1 \([^ ]*\): it is damaged in the source: .*\n$/
      )
      assert.deepStrictEqual([damaged.code, damaged.stdout], [3, ""])
      const gone = await run(root, "--against", `${source}.gone`)
      assert.match(gone.stderr, /^tallyman: cannot read .*: it does not exist\n$/)
      assert.strictEqual(gone.code, 3)
    }))
})

describe("verify --repair", () => {
  it("says what was wrong, what was repaired, and what is right now", () =>
    withImages(async (root, source) => {
      const whole = Workbench.snapshot(root)
      Damage.flipByte(path.join(root, layer), 600)
      const dry = await run("--repair", source, root, "--dry-run")
      assert.match(dry.stdout, new RegExp(`^Would repair:\n  ${layer}: .* \\[layer\\.[a-z-]+\\]\n${layer}\n  error `))
      assert.deepStrictEqual([dry.code, dry.stderr], [1, ""])
      assert.notDeepEqual(Workbench.snapshot(root), whole)
      const done = await run(root, "--repair", source)
      assert.match(
        done.stdout,
        new RegExp(
          `^Found:\n  ${layer}\n    error .*\nRepaired:\n  ${layer}: .* \\[layer\\.[a-z-]+\\]\nOK: .* \\(dir, full\\): 1/1 images`,
          "s"
        )
      )
      assert.deepStrictEqual([done.code, done.stderr], [0, ""])
      assert.deepStrictEqual(Workbench.snapshot(root), whole)
      const again = await run(root, "--repair", source)
      assert.match(again.stdout, /^OK: /)
    }))

  it("as JSON: the fields of every verification, and what was done", () =>
    withImages(async (root, source) => {
      Damage.remove(path.join(root, "catalog.json"))
      const repaired = [
        {
          path: "catalog.json",
          reason: "the images here were written with a catalog, which is not there [catalog.missing]"
        }
      ]
      const dry = JSON.parse((await run(root, "--repair", source, "--dry-run", "--format", "json")).stdout) as Record<
        string,
        unknown
      >
      assert.deepInclude(dry, {
        ok: false,
        error_count: 1,
        depth: "full",
        repaired: [],
        would_repair: repaired,
        not_repaired: []
      })
      const done = JSON.parse((await run(root, "--repair", source, "--format", "json")).stdout) as Record<
        string,
        unknown
      >
      assert.deepInclude(done, { ok: true, error_count: 0, results: [], layers: 2, repaired, not_repaired: [] })
      assert.deepInclude(done["before"] as object, { ok: false, error_count: 1 })
      assert.notProperty(done, "would_repair")
    }))

  it("exits with 1 where something remains, 3 for another image, 2 for flags that cannot be meant", () =>
    withImages(async (root, source, other) => {
      Damage.remove(path.join(root, layer))
      const refused = await run(root, "--repair", other)
      assert.match(refused.stderr, /^tallyman: cannot repair .*: expected the same image, found .*\n$/)
      assert.deepStrictEqual([refused.code, refused.stdout], [3, ""])
      fs.mkdirSync(path.join(root, layer, "mine"), { recursive: true })
      const left = await run(root, "--repair", source)
      assert.match(left.stdout, new RegExp(`^Cannot be repaired:\n  ${layer}: a directory that is not empty`))
      assert.strictEqual(left.code, 1)
      for (const args of [["--dry-run"], ["--repair", source, "--against", source], ["--repair", root]]) {
        const { code, stderr } = await run(root, ...args)
        assert.match(stderr, /^tallyman: cannot .*expected|^tallyman: cannot use /)
        assert.strictEqual(code, 2, args.join(" "))
      }
    }))
})
