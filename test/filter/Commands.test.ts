/** The commands that filters gave rise to, as users run them. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { archiveAt, isRoot, tallyman, withScratch } from "../fault/Workbench.ts"
import { dir, file, hardlink, tar, whiteout } from "../rootfs/Layers.ts"

const built = (seconds = 1_700_000_000) =>
  ImageBuilder.build({
    names: ["example.org/app:1"],
    layers: [
      tar([
        dir("lib/", { mtimeSeconds: seconds }),
        file("lib/a.pyc", "12345", { mtimeSeconds: seconds }),
        hardlink("lib/b", "lib/a.pyc", { mtimeSeconds: seconds }),
        file("lib/old", "old", { mtimeSeconds: seconds })
      ]),
      tar([whiteout("lib/old"), file("lib/new", "new", { mtimeSeconds: seconds })])
    ]
  })

const archive = (directory: string, name = "image.tar", seconds?: number): string =>
  archiveAt(directory, ImageBuilder.dockerDigestNames([built(seconds)]), name)

const oldLayer = tar([file("lib/a", "old")])
const ownLayer = tar([file("app", "own"), whiteout("lib/a")])
const onBase = (layers: ReadonlyArray<Buffer>, more: Partial<ImageBuilder.ImageSpec> = {}) =>
  ImageBuilder.build({ names: ["example.org/app:1"], layers, ...more })

/** An image and its old base in a compressed archive beside others, the new one in a layout of two platforms. */
const bases = (directory: string) => {
  const old = onBase([oldLayer])
  const other = onBase([ownLayer], { names: ["example.org/other:1"] })
  const fresh = onBase([tar([file("lib/a", "new")]), tar([file("lib/b", "new")])])
  const arm = onBase([tar([file("lib/a", "arm")])], { architecture: "arm64" })
  const layout = path.join(directory, "layout")
  fs.mkdirSync(layout)
  const index = [fresh, arm].map((image) => ({ image, platform: true, compression: "gzip" }) as const)
  ImageBuilder.writeTree(layout, ImageBuilder.ociLayout([{ index, names: ["new"] }]))
  const archived = archiveAt(directory, ImageBuilder.dockerDigestNames([old, other]), "bases.tar.gz", "gzip")
  return {
    app: archiveAt(directory, ImageBuilder.dockerDigestNames([onBase([oldLayer, ownLayer])]), "app.tar"),
    fresh,
    oldBase: `tar://${archived}?image=example.org/app:1`,
    newBase: `oci-layout://${layout}?image=new`
  }
}

const inDirectory = (use: (directory: string) => Promise<void>) => () => withScratch(use)

describe("process -f", () => {
  it(
    "applies filters in their order, says what they did, and writes a sound image",
    inDirectory(async (directory) => {
      const source = `tar://${archive(directory)}`
      const out = path.join(directory, "out")
      const jsonl = path.join(directory, "layers.jsonl")
      const args = [
        "process",
        source,
        `dir://${out}`,
        "-f",
        "exclude:pattern=*.pyc",
        "--filter",
        `inspect:file=${jsonl}`,
        "--verify-full"
      ]
      const { code, stderr, stdout } = await tallyman(args)
      assert.deepStrictEqual([code, stderr], [0, ""])
      const lines = stdout.trim().split("\n")
      assert.deepStrictEqual(lines.slice(0, 3), [
        "exclude: left out 0 entries, 0 B",
        "  layer 0: kept under another name: lib/b",
        `inspect: appended 2 layers to ${jsonl}`
      ])
      assert.match(lines.at(-1)!, /^Summary: 1\/1 images, 2 layers, .*, verified OK$/)
      assert.strictEqual(JSON.parse(fs.readFileSync(jsonl, "utf8")).layers.length, 2)
      const receipt = fs.readdirSync(out).find((name) => name.includes("receipt"))!
      const { filters } = JSON.parse(fs.readFileSync(path.join(out, receipt), "utf8")).predicate.receipt
      assert.deepStrictEqual(
        filters.map((one: { name: string }) => one.name),
        ["exclude", "inspect"]
      )
      assert.strictEqual(filters[0].before, built().id)
      assert.strictEqual(filters[0].after, filters[1].before)
    })
  )

  it(
    "tells scripts the same as JSON",
    inDirectory(async (directory) => {
      const source = `tar://${archive(directory)}`
      const { code, stdout } = await tallyman([
        "process",
        source,
        `dir://${path.join(directory, "out")}`,
        "-f",
        "search:pattern=*.pyc",
        "-f",
        "normalize-timestamps:ts=5",
        "-f",
        "flatten",
        "--format",
        "json"
      ])
      assert.strictEqual(code, 0)
      const { filters, image } = JSON.parse(stdout)
      assert.deepStrictEqual(
        filters[0].matches.map((one: { path: string }) => one.path),
        ["lib/a.pyc"]
      )
      assert.deepStrictEqual(
        [filters[1].name, filters[1].options, filters[1].before],
        ["normalize-timestamps", { ts: 5, config: false }, built().id]
      )
      assert.deepStrictEqual(
        filters.map((one: { before: string; after: string }) => [one.before, one.after]),
        [
          [built().id, built().id],
          [built().id, filters[1].after],
          [filters[1].after, image]
        ]
      )
      assert.isTrue(fs.existsSync(path.join(directory, "out", filters[2].diff_id.slice(7), "layer.tar")))
    })
  )

  it(
    "makes two builds the same, by SOURCE_DATE_EPOCH",
    inDirectory(async (directory) => {
      const ids: Array<string> = []
      for (const [name, seconds] of [
        ["one", 1_600_000_000],
        ["two", 1_700_000_000]
      ] as const) {
        const args = [
          "process",
          `tar://${archive(directory, `${name}.tar`, seconds)}`,
          `dir://${path.join(directory, name)}`,
          "-f",
          "normalize-timestamps:config=true",
          "--format",
          "json"
        ]
        const { code, stdout } = await tallyman(args, { env: { SOURCE_DATE_EPOCH: "1650000000" } })
        assert.strictEqual(code, 0)
        ids.push(JSON.parse(stdout).image)
      }
      assert.strictEqual(ids[0], ids[1])
      assert.notStrictEqual(ids[0], built().id)
    })
  )

  it(
    "rebases on what other sources hold, compressed or of several images and platforms, and leaves nothing behind",
    inDirectory(async (directory) => {
      const { app, fresh, oldBase, newBase } = bases(directory)
      const out = path.join(directory, "out")
      const temporary = path.join(directory, "temporary")
      fs.mkdirSync(temporary)
      const rebase = `rebase:old_base=${oldBase},new_base=${newBase}`
      const args = ["process", `tar://${app}`, `oci-layout://${out}:t`, "-f", rebase, "--temp-dir", temporary]
      const { code, stderr, stdout } = await tallyman([...args, "--verify-full", "--format", "json"])
      assert.strictEqual(code, 0, stderr)
      const { filters, image } = JSON.parse(stdout)
      assert.deepStrictEqual(filters, [
        {
          name: "rebase",
          options: { old_base: oldBase, new_base: newBase },
          before: onBase([oldLayer, ownLayer]).id,
          after: image,
          inputs: { old_base: onBase([oldLayer]).id, new_base: fresh.id },
          old_base: { id: onBase([oldLayer]).id, layers: 1 },
          new_base: { id: fresh.id, layers: 2 },
          kept: 1
        }
      ])
      assert.deepStrictEqual(fs.readdirSync(temporary), [])
      const again = await tallyman(["verify", out, "--full"])
      assert.strictEqual(again.code, 0, again.stdout)
      const text = await tallyman([...args.with(2, `dir://${out}-dir`), "--verify-full"])
      assert.strictEqual(
        text.stdout.split("\n")[0],
        `rebase: 2 layers of ${fresh.id} in the place of 1 layer of ${onBase([oldLayer]).id}, 1 layer kept`
      )
    })
  )

  it(
    "rebases nothing where that cannot be, and says why in one line",
    inDirectory(async (directory) => {
      const { app, oldBase, newBase } = bases(directory)
      const out = path.join(directory, "out")
      for (const [spec, status, expected] of [
        [`rebase:old_base=${oldBase}`, 2, "found no new_base"],
        [`rebase:old_base=${oldBase},new_base=bogus://x`, 2, "found bogus://"],
        [`rebase:old_base=${oldBase},new_base=${newBase}&x=y`, 2, "found x"],
        [`rebase:old_base=${oldBase},new_base=${directory}/nothing`, 3, `cannot read ${directory}/nothing`],
        [`rebase:old_base=${oldBase.replace(/\?.*/, "")},new_base=${newBase}`, 3, "expected one, found 2"],
        [`rebase:old_base=${newBase},new_base=${newBase}`, 3, "as in the old base"]
      ] as const) {
        const { code, stderr, stdout } = await tallyman(["process", `tar://${app}`, `dir://${out}`, "-f", spec])
        assert.deepStrictEqual([code, stdout], [status, ""], stderr)
        assert.include(stderr, expected)
        assert.strictEqual(stderr.trim().split("\n").length, 1)
      }
      assert.isFalse(fs.existsSync(path.join(out, "manifest.json")))
    })
  )

  it(
    "is wrong usage for what is no filter, and touches nothing",
    inDirectory(async (directory) => {
      const out = path.join(directory, "out")
      for (const [spec, expected] of [
        ["exclud:pattern=a", "exclude:pattern"],
        ["exclude:glob=a", "pattern=X"],
        ["normalize-timestamps:ts=soon", "seconds since the epoch"]
      ] as const) {
        const { code, stderr, stdout } = await tallyman([
          "process",
          `tar://${archive(directory)}`,
          `dir://${out}`,
          "-f",
          spec
        ])
        assert.deepStrictEqual([code, stdout], [2, ""])
        assert.include(stderr, expected)
        assert.strictEqual(stderr.trim().split("\n").length, 1)
      }
      assert.isFalse(fs.existsSync(out))
    })
  )
})

describe("search", () => {
  it(
    "lists matches in the older tool's form, with what became of them",
    inDirectory(async (directory) => {
      const { code, stdout } = await tallyman(["search", archive(directory), "lib/o*"])
      assert.strictEqual(code, 0)
      const [first] = built().layers
      assert.deepStrictEqual(stdout.split("\n"), [
        `Layer: ${first!.diffId.slice(7)}`,
        "  lib/old (file, 3 bytes) [deleted by layer 1]",
        "",
        "Found 1 match in 1 layer.",
        ""
      ])
    })
  )

  it(
    "speaks to scripts",
    inDirectory(async (directory) => {
      const source = archive(directory)
      const [first, second] = built().layers.map((layer) => layer.diffId.slice(7))
      const script = await tallyman(["search", "--script-friendly", "--regex", source, "^lib/.*(old|new)$"])
      assert.deepStrictEqual(
        [script.code, script.stdout],
        [
          0,
          `example.org/app:1:${first}:lib/old\nexample.org/app:1:${second}:lib/.wh.old\nexample.org/app:1:${second}:lib/new\n`
        ]
      )
      const json = JSON.parse((await tallyman(["search", source, "*.wh.*", "--format", "json"])).stdout)
      assert.deepStrictEqual(
        json.matches.map(({ by, hides, layer, path, state, type }: Record<string, unknown>) => ({
          by,
          hides,
          layer,
          path,
          state,
          type
        })),
        [{ by: null, hides: "lib/old", layer: 1, path: "lib/.wh.old", state: "whiteout", type: "whiteout" }]
      )
      const none = await tallyman(["search", source, "nothing", "--script-friendly"])
      assert.deepStrictEqual([none.code, none.stdout, none.stderr], [0, "", ""])
      const wrong = await tallyman(["search", source, "(", "--regex"])
      assert.strictEqual(wrong.code, 2)
      const both = await tallyman(["search", source, "*", "--script-friendly", "--format", "json"])
      assert.deepStrictEqual([both.code, both.stdout], [2, ""])
    })
  )
})

describe("inspect", () => {
  it(
    "shows an image as text, as JSON, and as a table of the width it is given",
    inDirectory(async (directory) => {
      const source = archive(directory)
      const text = await tallyman(["inspect", source])
      assert.strictEqual(text.code, 0)
      for (const part of [
        "example.org/app:1",
        built().id,
        built().layers[1]!.diffId,
        "deletes 3 B",
        "lib/old (layer 0, deleted by layer 1)"
      ])
        assert.include(text.stdout, part)
      const json = JSON.parse((await tallyman(["info", source, "--format", "json", "--top", "1"])).stdout)
      assert.deepStrictEqual(json.largest, [{ path: "lib/a.pyc", size: 5, layer: 0 }])
      assert.deepStrictEqual(
        json.layers.map((one: { diff_id: string }) => one.diff_id),
        built().layers.map((one) => one.diffId)
      )
      const table = await tallyman(["inspect", source, "--format", "table"], { env: { COLUMNS: "60" } })
      assert.strictEqual(table.code, 0)
      assert.isTrue(
        table.stdout.split("\n").every((line) => line.length <= 60),
        table.stdout
      )
      const missing = await tallyman(["inspect", path.join(directory, "nothing")])
      assert.deepStrictEqual([missing.code, missing.stdout], [3, ""])
    })
  )
})

describe("diff", () => {
  it(
    "tells by its exit code whether images differ, and says in what",
    inDirectory(async (directory) => {
      const source = archive(directory)
      const out = path.join(directory, "out")
      await tallyman(["process", `tar://${source}`, `dir://${out}`])
      const same = await tallyman(["diff", source, out])
      assert.deepStrictEqual([same.code, same.stdout], [0, `The same: ${built().id}\n`])
      const other = path.join(directory, "other")
      await tallyman(["process", `tar://${source}`, `dir://${other}`, "-f", "exclude:pattern=*.pyc,new"])
      const differs = await tallyman(["diff", out, other])
      assert.deepStrictEqual([differs.code, differs.stderr], [1, ""])
      assert.include(differs.stdout, "\n- lib/a.pyc (file)\n")
      assert.include(differs.stdout, "\n- lib/new (file)")
      const json = JSON.parse((await tallyman(["diff", out, other, "--format", "json"])).stdout)
      assert.deepStrictEqual(json.counts, { "only-in-a": 2 })
      assert.strictEqual((await tallyman(["diff", out, path.join(directory, "nothing")])).code, 3)
    })
  )

  it(
    "compares with a bundle, attributes of files among it",
    inDirectory(async (directory) => {
      const source = archive(directory)
      const bundle = path.join(directory, "bundle")
      const made = await tallyman(["process", `tar://${source}`, `oci://${bundle}`])
      assert.strictEqual(made.code, 0, made.stderr)
      const expected = isRoot ? 0 : 1
      const same = await tallyman(["diff", source, bundle])
      assert.deepStrictEqual([same.code, same.stderr], [expected, ""])
      assert.include(same.stdout, "layers: an unpacked image has none")
      assert.notInclude(same.stdout, "does not load")
      fs.writeFileSync(path.join(bundle, "rootfs/lib/new"), "changed")
      const differs = await tallyman(["diff", bundle, source])
      assert.strictEqual(differs.code, 1)
      assert.include(differs.stdout, "~ lib/new: size: 7 -> 3")
    })
  )

  it.skipIf(!isRoot)(
    "compares with mounts while they are mounted, what was changed in them among it",
    inDirectory(async (directory) => {
      const source = archive(directory)
      const mounts = path.join(directory, "mounts")
      const made = await tallyman(["process", `tar://${source}`, `mounts://${mounts}`])
      assert.strictEqual(made.code, 0, made.stderr)
      try {
        const same = await tallyman(["diff", source, `mounts://${mounts}`])
        assert.deepStrictEqual([same.code, same.stderr], [0, ""])
        assert.include(same.stdout, "The same: ")
        fs.writeFileSync(path.join(mounts, "rootfs/lib/new"), "changed")
        const differs = await tallyman(["diff", mounts, source])
        assert.strictEqual(differs.code, 1)
        assert.include(differs.stdout, "~ lib/new: size: 7 -> 3")
      } finally {
        assert.strictEqual((await tallyman(["unmount", mounts])).code, 0)
      }
      const apart = await tallyman(["diff", source, mounts])
      assert.strictEqual(apart.code, 3)
      assert.include(apart.stderr, "nothing is mounted on its rootfs/")
    })
  )
})
