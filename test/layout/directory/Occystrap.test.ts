import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Entry from "../../../src/fault/Entry.ts"
import * as ImageBuilder from "../../../src/fault/ImageBuilder.ts"
import * as Reference from "../../../src/image/Reference.ts"
import type { Depth, Verification } from "../../../src/layout/Verifier.ts"
import * as Workbench from "../../fault/Workbench.ts"
import { peerTest, run } from "../../peers/Peers.ts"

const audit = (root: string, depth: Depth = "full"): Promise<Verification> =>
  Effect.runPromise(Workbench.verifyTarget(root, depth))

const first = ImageBuilder.build({
  names: ["registry.example/team/first:1"],
  layers: [[Entry.file("a", "\u00fc")], [Entry.file("b")]],
  config: { author: "J\u00fcrgen \u{1f41f}", comment: "caf\u00e9\u007f" }
})
const second = ImageBuilder.build({
  names: ["registry.example/team/second:2"],
  layers: [first.layers[0]!.tar, [Entry.file("c")]]
})

const configOf = (image: ImageBuilder.BuiltImage): string => `${image.id.slice(7)}.json`

/** The directory in which a tool left `entries`, as `change` makes them. */
const directoryOf = (root: string, entries: ReadonlyArray<Entry.Entry>): string => {
  ImageBuilder.writeTree(root, entries)
  return root
}

const layersOf = (root: string, manifest = "manifest.json"): ReadonlyArray<string> =>
  (JSON.parse(fs.readFileSync(path.join(root, manifest), "utf8")) as [{ readonly Layers: ReadonlyArray<string> }])[0]
    .Layers

describe("a sound directory of occystrap", () => {
  for (const depth of ["fast", "full"] as const) {
    it(`of one image passes, and the lost image ID is told (${depth})`, () =>
      Workbench.withScratch(async (directory) => {
        const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([first]))
        const { images, results } = await audit(root, depth)
        assert.deepStrictEqual(
          results.results.map((one) => [one.severity, one.check, one.subject]),
          [["info", "config.reserialized", configOf(first)]]
        )
        assert.deepStrictEqual(
          images.map((one) => one.ok),
          [true]
        )
      }))

    it(`of several images with unique names passes (${depth})`, () =>
      Workbench.withScratch(async (directory) => {
        const root = directoryOf(
          `${directory}/out`,
          ImageBuilder.occystrapDirectory([first, second], { uniqueNames: true })
        )
        const found = await audit(root, depth)
        assert.deepStrictEqual(Workbench.findings(found), [])
        assert.strictEqual(found.layerCount, 3)
        assert.deepStrictEqual(
          found.images.map((one) => one.ok),
          [true, true]
        )
      }))
  }

  it("is a source: the config comes as it is there, the layers by their diff_ids", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(`${directory}/theirs`, ImageBuilder.occystrapDirectory([first]))
      const out = `${directory}/out`
      const { receipt, verification } = await Effect.runPromise(Workbench.processUris(`dir://${root}`, `dir://${out}`))
      assert.deepStrictEqual(Workbench.findings(verification!), [])
      assert.notStrictEqual(receipt.image, first.id)
      for (const layer of first.layers) {
        assert.isTrue(fs.readFileSync(path.join(out, layer.diffId.slice(7), "layer.tar")).equals(layer.tar))
      }
    }))
})

describe("what occystrap is known to damage", () => {
  it("an image that another took manifest.json from is still in the catalog", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([second]))
      const catalog = JSON.parse(fs.readFileSync(`${root}/catalog.json`, "utf8")) as object
      fs.writeFileSync(`${root}/catalog.json`, JSON.stringify({ ...catalog, older: { "1": "manifest.json" } }))
      const found = await audit(root)
      assert.deepStrictEqual(Workbench.findings(found), [["catalog.stale", "catalog.json"]])
      assert.isFalse(found.results.hasErrors)
    }))

  it("two names that become one file name share it", () =>
    Workbench.withScratch(async (directory) => {
      const named = ImageBuilder.build({ names: ["a_b/c:1"], layers: [[Entry.file("x")]] })
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([named], { uniqueNames: true }))
      fs.writeFileSync(
        `${root}/catalog.json`,
        JSON.stringify({ "a/b_c": { "1": "manifest-a_b_c-1.json" }, "a_b/c": { "1": "manifest-a_b_c-1.json" } })
      )
      assert.deepStrictEqual(Workbench.findings(await audit(root)), [["catalog.collision", "catalog.json"]])
    }))

  for (const [uniqueNames, a, b, manifest, check] of [
    [false, "a/x", "b/x", "manifest.json", "catalog.stale"],
    [true, "a/b/x", "a_b/x", "manifest-a_b_x-1.json", "catalog.collision"]
  ] as const) {
    it(`${a} and ${b}, which are the same in their last part, are told to be two (${manifest})`, () =>
      Workbench.withScratch(async (directory) => {
        const named = ImageBuilder.build({ names: [`${b}:1`], layers: [[Entry.file("x")]] })
        const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([named], { uniqueNames }))
        assert.deepStrictEqual(Workbench.findings(await audit(root)), [])
        fs.writeFileSync(`${root}/catalog.json`, JSON.stringify({ [a]: { "1": manifest }, [b]: { "1": manifest } }))
        const found = await audit(root)
        assert.deepStrictEqual(Workbench.findings(found), [[check, "catalog.json"]])
        assert.isFalse(found.results.hasErrors)
      }))

    it(`${a} and ${b} are two names of one image that says so (${manifest})`, () =>
      Workbench.withScratch(async (directory) => {
        const named = ImageBuilder.build({ names: [`${b}:1`], layers: [[Entry.file("x")]] })
        const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([named], { uniqueNames }))
        const [saved] = JSON.parse(fs.readFileSync(`${root}/${manifest}`, "utf8"))
        fs.writeFileSync(`${root}/${manifest}`, JSON.stringify([{ ...saved, RepoTags: [`${a}:1`, `${b}:1`] }]))
        fs.writeFileSync(`${root}/catalog.json`, JSON.stringify({ [a]: { "1": manifest }, [b]: { "1": manifest } }))
        assert.deepStrictEqual(Workbench.findings(await audit(root)), [])
      }))
  }

  it("a catalog that is gone is missed where manifests have names, which it alone leads to", () =>
    Workbench.withScratch(async (directory) => {
      for (const uniqueNames of [false, true]) {
        const root = directoryOf(
          `${directory}/${uniqueNames}`,
          ImageBuilder.occystrapDirectory([first], { uniqueNames })
        )
        fs.rmSync(`${root}/catalog.json`)
        assert.deepStrictEqual(
          Workbench.findings(await audit(root)),
          uniqueNames ? [["catalog.missing", "catalog.json"]] : []
        )
      }
    }))

  it("a layer of no bytes is told without reading, unless that is what it should be", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([first]))
      fs.truncateSync(path.join(root, layersOf(root)[1]!))
      assert.deepStrictEqual(Workbench.findings(await audit(root, "fast")), [
        ["layer.diff-id-mismatch", layersOf(root)[1]!]
      ])
      const empty = ImageBuilder.build({ names: ["empty:1"], layers: [first.layers[0]!.tar, new Uint8Array()] })
      const other = directoryOf(`${directory}/empty`, ImageBuilder.occystrapDirectory([empty]))
      assert.deepStrictEqual(Workbench.findings(await audit(other, "fast")), [])
    }))

  it("layers that a filter rewrote no longer fit the diff_ids", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([first]))
      const rewritten = layersOf(root)[1]!
      fs.writeFileSync(path.join(root, rewritten), Entry.tar([Entry.file("b", "", { mtimeSeconds: 0 })]))
      assert.deepStrictEqual(Workbench.findings(await audit(root)), [["layer.diff-id-mismatch", rewritten]])
      assert.deepStrictEqual(Workbench.findings(await audit(root, "fast")), [])
    }))

  it("one layer.tar at the root stands for all layers", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(
        `${directory}/out`,
        ImageBuilder.occystrapDirectory([first]).map((entry) =>
          entry.path === "manifest.json"
            ? Entry.file(
                "manifest.json",
                Buffer.from(entry.body)
                  .toString()
                  .replace(/[a-f0-9]{64}\/layer\.tar/g, "layer.tar")
              )
            : entry
        )
      )
      for (const name of fs.readdirSync(root)) {
        if (!name.includes(".")) fs.rmSync(path.join(root, name), { recursive: true })
      }
      fs.writeFileSync(`${root}/layer.tar`, first.layers[1]!.tar)
      const found = Workbench.findings(await audit(root))
      assert.sameDeepMembers(
        [...found],
        [
          ["layer.shared-path", "layer.tar"],
          ["layer.diff-id-mismatch", "layer.tar"]
        ]
      )
      assert.deepStrictEqual(Workbench.findings(await audit(root, "fast")), [["layer.shared-path", "layer.tar"]])
    }))

  it("a layer that was cut at its first gzip member is no whole tar", () =>
    Workbench.withScratch(async (directory) => {
      const large = ImageBuilder.build({
        layers: [[Entry.file("a", "x".repeat(3000)), Entry.file("b", "y".repeat(3000))]]
      })
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([large]))
      const [layer] = layersOf(root)
      fs.truncateSync(path.join(root, layer!), 2048)
      assert.sameDeepMembers(
        [...Workbench.findings(await audit(root))],
        [
          ["tar.truncated", layer!],
          ["layer.diff-id-mismatch", layer!]
        ]
      )
    }))

  it("a layer left compressed is read all the same", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([first]))
      const layer = path.join(root, layersOf(root)[0]!)
      fs.writeFileSync(layer, zlib.gzipSync(fs.readFileSync(layer)))
      assert.deepStrictEqual(Workbench.findings(await audit(root)), [])
    }))

  it("a config that is not even the re-serialised one is damaged", () =>
    Workbench.withScratch(async (directory) => {
      const root = directoryOf(`${directory}/out`, ImageBuilder.occystrapDirectory([first]))
      const config = path.join(root, configOf(first))
      fs.writeFileSync(config, fs.readFileSync(config, "utf8").replace('    "architecture"', '   "architecture"'))
      assert.deepStrictEqual(Workbench.findings(await audit(root)), [["config.digest-mismatch", configOf(first)]])
    }))
})

describe("occystrap itself", () => {
  peerTest(["occystrap"], "writes directories that pass, and reads back what is written here", () =>
    Workbench.withScratch(async (directory) => {
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([first]))
      run("occystrap", ["process", `tar://${archive}`, `dir://${directory}/theirs`])
      assert.deepStrictEqual(Workbench.findings(await audit(`${directory}/theirs`)), [])

      const ours = `${directory}/ours`
      await Effect.runPromise(Workbench.processUris(`tar://${archive}`, `dir://${ours}?unique_names=true`))
      const { name, tag } = Reference.split(first.names[0]!)
      const back = `${directory}/back.tar`
      run("occystrap", ["recreate-image", ours, name, tag!, back])
      const checked = run("occystrap", ["check", `tar://${back}`])
      assert.include(checked.stdout, "0 error(s)")
      const again = await Effect.runPromise(Workbench.processUris(`tar://${back}`, `dir://${directory}/again`))
      assert.deepStrictEqual(Workbench.findings(again.verification!), [])
      for (const layer of first.layers) {
        assert.isTrue(
          fs.readFileSync(path.join(directory, "again", layer.diffId.slice(7), "layer.tar")).equals(layer.tar)
        )
      }
    })
  )
})
