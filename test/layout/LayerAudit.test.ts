import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Collector } from "../../src/check/Collector.ts"
import { encodeHeader, endOfArchive } from "../../src/content/TarWrite.ts"
import { LayerAudit, layerChecks } from "../../src/layout/LayerAudit.ts"
import * as Workbench from "../fault/Workbench.ts"

const digestOf = (content: string | Uint8Array): string =>
  `sha256:${crypto.createHash("sha256").update(content).digest("hex")}`

describe("a file that is verified", () => {
  for (const [what, change, ids] of [
    ["stays as it was", () => {}, []],
    ["has grown since it was looked at", (file: string) => fs.appendFileSync(file, "more"), ["layer.unreadable"]],
    [
      "has been cut since it was looked at",
      (file: string) => fs.truncateSync(file, 3),
      ["layer.unreadable", "layer.digest-mismatch"]
    ],
    ["has gone since it was looked at", (file: string) => fs.rmSync(file), ["layer.unreadable"]]
  ] as const) {
    it.scoped(`and ${what}`, () =>
      Effect.gen(function* () {
        const file = path.join(yield* Workbench.scratch, "blob")
        fs.writeFileSync(file, "content")
        const report = new Collector()
        const audit = new LayerAudit(report)
        const key = audit.add({ subject: "blob", region: { path: file, offset: 0, size: 7 }, as: "blob" }, layerChecks)
        audit.digest(key, { value: digestOf("content"), by: "its name" })
        change(file)
        yield* audit.readAll({})
        const { results, skipped } = report.results()
        assert.deepStrictEqual(
          results.map(({ check }) => check),
          [...ids]
        )
        assert.deepStrictEqual(
          skipped.map(({ check }) => check),
          fs.existsSync(file) ? [] : ["layer.digest-mismatch"]
        )
      }).pipe(Effect.provide(Workbench.pool))
    )
  }

  it.scoped("and has gone is told without reading it", () =>
    Effect.gen(function* () {
      const gone = path.join(yield* Workbench.scratch, "gone")
      const report = new Collector()
      const audit = new LayerAudit(report)
      audit.add({ subject: "gone", region: { path: gone, offset: 0, size: 7 }, as: "blob" }, layerChecks)
      audit.openAll()
      assert.deepStrictEqual(
        report.results().results.map(({ check, subject }) => [check, subject]),
        [["layer.unreadable", "gone"]]
      )
    })
  )
})

describe("a blob that turns out to be a layer by another name", () => {
  const blobChecks = {
    size: "blob.size-mismatch",
    digest: "blob.digest-mismatch",
    unreadable: "blob.unreadable"
  } as const

  for (const [what, name, found] of [
    ["is held against the digest in its first one", digestOf(endOfArchive), []],
    ["is not what its first one says", digestOf("other"), [["layer.digest-mismatch", "1/layer.tar"]]]
  ] as const) {
    it.scoped(what, () =>
      Effect.gen(function* () {
        const file = path.join(yield* Workbench.scratch, "blob")
        fs.writeFileSync(file, endOfArchive)
        const report = new Collector()
        const audit = new LayerAudit(report)
        const region = { path: file, offset: 0, size: endOfArchive.length }
        const subject = `blobs/${name.replace(":", "/")}`
        audit.named(audit.add({ subject, region, as: "blob" }, blobChecks), subject)
        audit.add({ subject: "1/layer.tar", region, as: "layer" }, layerChecks)
        assert.strictEqual(audit.layerCount, 1)
        yield* audit.readAll({})
        assert.deepStrictEqual(
          report.results().results.map(({ check, subject }) => [check, subject]),
          found.map((one) => [...one])
        )
        assert.deepStrictEqual(report.results().skipped, [])
      }).pipe(Effect.provide(Workbench.pool))
    )
  }
})

describe("a file that stands for many layers", () => {
  it.scoped("is told of a few of them, and counted for the images of all", () =>
    Effect.gen(function* () {
      const file = path.join(yield* Workbench.scratch, "layer.tar")
      fs.writeFileSync(file, endOfArchive)
      const report = new Collector()
      const audit = new LayerAudit(report)
      const region = { path: file, offset: 0, size: endOfArchive.length }
      const key = audit.add({ subject: "layer.tar", region, as: "layer" }, layerChecks)
      const right = audit.diffId(key, { value: digestOf(endOfArchive), by: "layer 0", own: true })
      const wrong = [1, 2, 3, 4, 5].map((n) =>
        audit.diffId(key, { value: digestOf(`${n}`), by: `layer ${n}`, own: true })
      )
      yield* audit.readAll({})
      assert.deepStrictEqual(
        report.results().results.map(({ check, message }) => [check, message]),
        [
          ["layer.diff-id-mismatch", "its uncompressed content is not layer 1"],
          ["layer.diff-id-mismatch", "its uncompressed content is not layer 2"],
          ["layer.diff-id-mismatch", "its uncompressed content is not layer 3"],
          ["layer.diff-id-mismatch", "nor is it 2 other layers that it stands for"]
        ]
      )
      assert.deepStrictEqual(
        [right, ...wrong].map((about) => report.errorsBySubject.get(about!)),
        [undefined, 1, 1, 1, 1, 1]
      )
    }).pipe(Effect.provide(Workbench.pool))
  )
})

describe("layers on each other", () => {
  const layer = (...names: ReadonlyArray<string>): Buffer =>
    Buffer.concat([...names.map((name) => encodeHeader({ path: name, type: "file", mode: 0o644 })), endOfArchive])

  for (const [what, maxTables, found, skips] of [
    ["are held against each other", undefined, ["layer.whiteout-of-nothing"], 0],
    ["are not, and that is said, when their paths take more room than there is", 5000, [], 1]
  ] as const) {
    it.scoped(what, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const report = new Collector()
        const audit = new LayerAudit(report, maxTables)
        const keys = [layer("a"), layer(".wh.a", ".wh.b")].map((bytes, index) => {
          const file = path.join(directory, `${index}`)
          fs.writeFileSync(file, bytes)
          return audit.add(
            { subject: `${index}`, region: { path: file, offset: 0, size: bytes.length }, as: "layer" },
            layerChecks
          )
        })
        audit.stack("image", keys)
        yield* audit.readAll({})
        const { results, skipped } = report.results()
        assert.deepStrictEqual(
          results.map(({ check }) => check),
          [...found]
        )
        assert.lengthOf(
          skipped.filter(({ reason }) => reason.includes("not all entries of the layers up to 1 are known")),
          skips
        )
      }).pipe(Effect.provide(Workbench.pool))
    )
  }
})
