import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Inspect from "../../src/content/Inspect.ts"
import { encodeHeader, endOfArchive, padding } from "../../src/content/TarWrite.ts"

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "tallyman-toc-"))
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

const tar = (name: string, body: string, end: Uint8Array = endOfArchive): Buffer =>
  Buffer.concat([
    encodeHeader({ path: name, type: "file", size: body.length }),
    Buffer.from(body),
    padding(body.length),
    end
  ])

const checks = async (bytes: Buffer) => {
  const file = path.join(directory, "layer")
  fs.writeFileSync(file, bytes)
  const task: Inspect.InspectTask = {
    region: { path: file, offset: 0, size: bytes.length },
    algorithms: [],
    as: "layer",
    keepPaths: false,
    limits: {}
  }
  await Inspect.job.prepare!(task)
  const evidence = Inspect.run(task)
  return {
    ids: evidence.problems.map((one) => one.check),
    offsets: evidence.problems.map((one) => one.offset),
    evidence
  }
}

const layer = tar("a", "content")
const toc = tar("stargz.index.json", '{"version":1}')

describe("what follows the end of a layer", () => {
  it("may be an eStargz table of contents", async () => {
    for (const bytes of [Buffer.concat([layer, toc]), Buffer.concat([zlib.gzipSync(layer), zlib.gzipSync(toc)])]) {
      const { evidence, ids, offsets } = await checks(bytes)
      assert.deepStrictEqual(ids, ["layer.table-of-contents"])
      assert.deepStrictEqual(offsets, [layer.length])
      assert.strictEqual(evidence.layer!.entries, 1)
      assert.isTrue(evidence.layer!.complete)
    }
  })

  it("may come behind more zeros", async () => {
    const { ids } = await checks(Buffer.concat([layer, Buffer.alloc(8192), toc]))
    assert.deepStrictEqual(ids, ["layer.table-of-contents"])
  })

  for (const [name, behind] of Object.entries({
    "another file": tar("passwd", "root"),
    "a second member": Buffer.concat([tar("stargz.index.json", "{}", new Uint8Array(0)), tar("passwd", "root")]),
    "a cut table": toc.subarray(0, 700),
    "a table without its end": toc.subarray(0, 1024),
    "bytes behind the table": Buffer.concat([toc, Buffer.from("x")]),
    "stray bytes": Buffer.from("stray"),
    "a link of that name": Buffer.concat([
      encodeHeader({ path: "stargz.index.json", type: "symlink", linkname: "x" }),
      endOfArchive
    ])
  })) {
    it(`is stray data when it is ${name}`, async () => {
      const { ids } = await checks(Buffer.concat([layer, behind]))
      assert.deepStrictEqual(ids, ["tar.trailing-data"])
    })
  }
})
