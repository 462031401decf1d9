import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { LayerInput } from "../../src/content/LayerStream.ts"
import * as Digest from "../../src/image/Digest.ts"
import { readLayers } from "../../src/rootfs/ReadLayers.ts"
import { apply, dir, file, hardlink, listing, type Member, tar, whiteout, withDirectory } from "./Layers.ts"

const layers: ReadonlyArray<ReadonlyArray<Member>> = [
  [dir("d/"), file("d/a", "lower"), file("gone", "12345")],
  [file("d/a", "upper"), whiteout("gone"), hardlink("l", "d/a")]
]

const inputs = (directory: string, bytes: ReadonlyArray<Buffer>): ReadonlyArray<LayerInput> =>
  bytes.map((content, index) => {
    const name = path.join(directory, `${index}`)
    fs.writeFileSync(name, content)
    return { region: { path: name, offset: 0, size: content.length }, edits: [] }
  })

const inDirectory = <A, E>(use: (directory: string) => Effect.Effect<A, E>): Promise<A> =>
  withDirectory((directory) => Effect.runPromise(use(directory)))

describe("readLayers", () => {
  it("makes the tree of plain and compressed layers, with their diff_ids", () =>
    inDirectory((directory) =>
      Effect.gen(function* () {
        const tars = layers.map(tar)
        const stored = [tars[0]!, zlib.gzipSync(tars[1]!)]
        const seen: Array<number> = []
        const algorithms = ["sha256", "sha512"] as const
        const expectedIds = tars.map((bytes, index) => {
          const algorithm = algorithms[index]!
          return Digest.make(algorithm, crypto.createHash(algorithm).update(bytes).digest("hex"))
        })
        const result = yield* readLayers(inputs(directory, stored), {
          diffIds: expectedIds,
          onLayer: (tree, { layer }) => seen.push(layer, tree.names)
        })
        const expected = apply(layers)
        assert.deepStrictEqual(listing(result.tree), listing(expected.tree))
        assert.strictEqual(result.tree.lookup("l")!.inode.sha256, expected.tree.lookup("l")!.inode.sha256)
        assert.deepStrictEqual(
          result.layers.map(({ diffId, size }) => [diffId, size]),
          tars.map((bytes, index) => [expectedIds[index], bytes.length])
        )
        assert.deepStrictEqual(seen, [0, 4, 1, 4])
        assert.deepStrictEqual(
          result.layers.map(({ deletedBytes, overwrittenBytes }) => [overwrittenBytes, deletedBytes]),
          [
            [0, 0],
            [5, 5]
          ]
        )
      })
    ))

  it("computes no digests when told", () =>
    inDirectory((directory) =>
      Effect.gen(function* () {
        const { layers: read, tree } = yield* readLayers(inputs(directory, layers.map(tar)), { digests: false })
        assert.isUndefined(tree.lookup("d/a")!.inode.sha256)
        assert.isUndefined(read[0]!.diffId)
      })
    ))

  it("tells what is wrong with a tar", () =>
    inDirectory((directory) =>
      Effect.gen(function* () {
        const { layers: read } = yield* readLayers(inputs(directory, [tar([file("../x")]).subarray(0, -1024)]))
        assert.sameMembers(
          read[0]!.tarProblems.map(({ check }) => check),
          ["tar.path-escapes", "tar.no-end"]
        )
      })
    ))

  it.each([
    ["unreadable", "gone"],
    ["damaged", "cut"],
    ["damaged", "xz"]
  ] as const)("fails with %s for a layer that is %s", (reason, how) =>
    inDirectory((directory) =>
      Effect.gen(function* () {
        const tars = layers.map(tar)
        const sources = inputs(directory, [tars[0]!, zlib.gzipSync(tars[1]!)])
        if (how === "gone") fs.rmSync(path.join(directory, "1"))
        else if (how === "cut") fs.truncateSync(path.join(directory, "1"), 50)
        else
          fs.writeFileSync(
            path.join(directory, "1"),
            Buffer.from("fd377a585a0000000000000000000000000000".repeat(30), "hex")
          )
        const error = yield* Effect.flip(readLayers(sources))
        assert.deepStrictEqual([error._tag, error.reason, error.layer], ["LayersError", reason, 1])
      })
    )
  )
})
