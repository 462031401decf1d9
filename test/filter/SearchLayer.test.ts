import * as Fs from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SearchLayer from "../../src/filter/SearchLayer.ts"
import { layer as anyLayer } from "../content/tarArbitrary.ts"
import { end, longName, member, pax } from "../content/tarFixtures.ts"
import { withDirectory } from "../peers/Peers.ts"

const taskOf = (path: string): SearchLayer.SearchTask => ({
  region: { path, offset: 0, size: Fs.statSync(path).size },
  edits: [],
  pattern: "*",
  regex: false,
  keepLeaves: true
})

const whole = (path: string): SearchLayer.SearchedLayer => SearchLayer.run(taskOf(path))

const inParts = (path: string, threads: number) => {
  const tasks = SearchLayer.split(taskOf(path), threads, 1024)
  return { tasks, layer: SearchLayer.join(tasks.map((task) => SearchLayer.run(task))) }
}

const withTar = (bytes: Uint8Array, use: (path: string) => void): Promise<void> =>
  withDirectory((directory) => {
    const path = Path.join(directory, "layer.tar")
    Fs.writeFileSync(path, bytes)
    use(path)
  })

const files = (count: number, before: (index: number) => Buffer = () => Buffer.alloc(0)): Buffer =>
  Buffer.concat(
    Array.from({ length: count }, (_, index) =>
      Buffer.concat([before(index), member({ name: `d/file-${index}` }, "x".repeat((index * 977) % 5000))])
    )
  )

describe("a layer searched in parts", () => {
  it("is cut between members, whatever headers they have", async () => {
    const kinds: ReadonlyArray<(index: number) => Buffer> = [
      () => Buffer.alloc(0),
      (index) => pax([["path", `pax/${"n".repeat(200)}-${index}`]]),
      (index) => longName(`gnu/${"n".repeat(200)}-${index}`)
    ]
    for (const before of kinds) {
      await withTar(Buffer.concat([files(200, before), end]), (path) => {
        for (const threads of [2, 3, 7]) {
          const { layer, tasks } = inParts(path, threads)
          assert.strictEqual(tasks.length, threads)
          assert.isTrue(layer.fits)
          assert.strictEqual(layer.members.length, 200)
          assert.deepStrictEqual(
            { ...layer, leaves: Buffer.from(layer.leaves) },
            {
              ...whole(path),
              leaves: Buffer.from(whole(path).leaves)
            }
          )
        }
      })
    }
  })

  it("is searched as a whole when a cut was made in an archive within it", async () => {
    const inner = member({ name: "inner.tar" }, Buffer.concat([files(200), end]))
    await withTar(Buffer.concat([files(3), inner, files(3), end]), (path) => {
      const { layer, tasks } = inParts(path, 2)
      assert.strictEqual(tasks.length, 2)
      assert.isFalse(layer.fits)
      assert.strictEqual(whole(path).members.length, 7)
    })
  })

  it("is searched as a whole when a global header is in force in it", async () => {
    await withTar(Buffer.concat([pax([["uid", "77"]], "g"), files(200), end]), (path) => {
      assert.isFalse(inParts(path, 2).layer.fits)
      assert.strictEqual(whole(path).members[199]!.uid, 77)
    })
  })

  it("is not cut when it is compressed, or a file is in the way", async () => {
    await withTar(Buffer.concat([member({ name: "large" }, Buffer.alloc(20 * 1024 * 1024, "x")), end]), (path) => {
      assert.strictEqual(inParts(path, 2).tasks.length, 1)
    })
    await withTar(Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(9000)]), (path) => {
      assert.strictEqual(inParts(path, 2).tasks.length, 1)
    })
  })

  it("finds the same, or says that the parts do not fit", async () => {
    let parts = 0
    await withDirectory((directory) => {
      const path = Path.join(directory, "layer.tar")
      fc.assert(
        fc.property(anyLayer, fc.integer({ min: 2, max: 5 }), ({ tar }, threads) => {
          Fs.writeFileSync(path, tar)
          const { layer, tasks } = inParts(path, threads)
          if (!layer.fits) return
          if (tasks.length > 1) parts++
          assert.deepStrictEqual(layer.members, whole(path).members)
          assert.deepStrictEqual(layer.problems, whole(path).problems)
          assert.deepStrictEqual(Buffer.from(layer.leaves), Buffer.from(whole(path).leaves))
        }),
        { numRuns: 300 }
      )
    })
    assert.isAbove(parts, 20)
  })
})
