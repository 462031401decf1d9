import * as zlib from "node:zlib"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Compression from "../../src/content/Compression.ts"
import type { Problem } from "../../src/content/Problem.ts"
import { peerTest, run } from "../peers/Peers.ts"

const decode = (kind: "gzip" | "zstd", input: Uint8Array, cut = 65536) => {
  const parts: Array<Buffer> = []
  const problems: Array<Problem> = []
  const decoder = Compression.makeDecoder(
    kind,
    (chunk, from, to) => parts.push(Buffer.from(chunk.subarray(from, to))),
    (problem) => problems.push(problem)
  )
  for (let i = 0; i < input.length; i += cut) decoder.write(input, i, Math.min(input.length, i + cut))
  const summary = decoder.end()
  return { output: Buffer.concat(parts), problems, summary }
}

beforeAll(() => Compression.prepare())

describe("gzip", () => {
  it("reads every member", () => {
    const input = Buffer.concat([zlib.gzipSync("one"), zlib.gzipSync(""), zlib.gzipSync("two")])
    for (const cut of [1, 7, 1000]) {
      const { output, problems, summary } = decode("gzip", input, cut)
      assert.strictEqual(output.toString(), "onetwo")
      assert.deepStrictEqual(problems, [])
      assert.strictEqual(summary.members, 3)
    }
  })
})

describe("zstd", () => {
  peerTest(["zstd"], "reads every frame", () => {
    const one = run("zstd", ["-c"], { input: "one" }).bytes
    const two = run("zstd", ["-c"], { input: "two" }).bytes
    const input = Buffer.concat([one, two])
    for (const cut of [1, 7, 1000]) {
      const { output, problems, summary } = decode("zstd", input, cut)
      assert.deepStrictEqual(problems, [])
      assert.strictEqual(output.toString(), "onetwo")
      assert.strictEqual(summary.members, 2)
    }
  })
})
