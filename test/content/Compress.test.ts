import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as zlib from "node:zlib"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as Compress from "../../src/content/Compress.ts"
import * as Codec from "../../src/content/Compression.ts"
import * as Crc32 from "../../src/content/Crc32.ts"
import type { Region } from "../../src/image/Region.ts"

let directory: string
beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "compress-"))
  await Codec.prepare()
  await Codec.prepareEncoder("zstd")
})
afterAll(() => fs.rmSync(directory, { recursive: true }))

const file = (bytes: Uint8Array): string => {
  const name = path.join(directory, crypto.randomBytes(8).toString("hex"))
  fs.writeFileSync(name, bytes)
  return name
}

/** Half of it compresses, so that pieces refer back into the ones before them. */
const content = (size: number): Buffer => {
  const bytes = crypto.randomBytes(size)
  for (let at = 0; at + 8192 <= size; at += 8192)
    bytes.copy(bytes, at + 4096, Math.max(0, at - 20_000), Math.max(0, at - 20_000) + 4096)
  return bytes
}

const encodeWhole = (bytes: Uint8Array, kind: "gzip" | "zstd", level: number): Buffer => {
  const parts: Array<Buffer> = []
  const encoder = Codec.makeEncoder(kind, level, (chunk, from, to) => parts.push(Buffer.from(chunk.subarray(from, to))))
  encoder.write(bytes, 0, bytes.length)
  encoder.end()
  return Buffer.concat(parts)
}

const encodePieces = (region: Region, coding: Compress.Coding): Buffer => {
  const tasks = Compress.pieces(region, coding)
  // Threads finish in any order.
  const results = new Map(
    [...tasks.keys()].reverse().map((index) => {
      const piece = Compress.job.run(tasks[index]!, () => {})
      if (piece.step !== "piece") throw new Error("no piece")
      assert.isUndefined(piece.failure)
      return [index, { ...piece, bytes: Buffer.from(piece.bytes!) }]
    })
  )
  const parts: Array<Buffer> = []
  const assembly = new Compress.Assembly(coding.kind, (bytes) => parts.push(Buffer.from(bytes)))
  for (const index of tasks.keys()) assembly.add(results.get(index)!)
  assembly.end()
  return Buffer.concat(parts)
}

describe("pieces", () => {
  const mib = 1024 * 1024
  for (const kind of ["gzip", "zstd"] as const) {
    for (const size of [0, 1, 1000, mib, 2 * mib - 1, 2 * mib, 2 * mib + 1, 4 * mib, 5 * mib + 77, 8 * mib]) {
      it(`of ${size} bytes are what one encoder makes of them: ${kind}`, () => {
        const bytes = content(size)
        const before = crypto.randomBytes(1000)
        const region = { path: file(Buffer.concat([before, bytes, before])), offset: before.length, size }
        const encoded = encodePieces(region, { kind, level: kind === "gzip" ? 2 : 1 })
        assert.isTrue(encoded.equals(encodeWhole(bytes, kind, kind === "gzip" ? 2 : 1)))
        if (kind === "gzip") assert.isTrue(zlib.gunzipSync(encoded).equals(bytes))
      })
    }
  }

  it("say why they could not be read", () => {
    const bytes = content(3 * mib)
    const region = { path: file(bytes), offset: 0, size: bytes.length + 10 }
    const tasks = Compress.pieces(region, { kind: "gzip", level: 1 })
    const results = tasks.map((task) => Compress.job.run(task, () => {}))
    assert.deepStrictEqual(
      results.map((piece) => piece.step === "piece" && piece.failure?.code),
      [undefined, "ESHORT"]
    )
    const [gone] = Compress.pieces({ ...region, path: `${region.path}.gone` }, { kind: "gzip", level: 1 })
    const piece = Compress.job.run(gone!, () => {})
    assert.strictEqual(piece.step === "piece" && piece.failure?.code, "ENOENT")
  })

  it("lie in the same memory, which threads share, one after the other", () => {
    const region = { path: file(content(5 * mib)), offset: 0, size: 5 * mib }
    const buffers = Compress.pieces(region, { kind: "gzip", level: 1 }).map((task) => {
      const piece = Compress.job.run(task, () => {})
      assert.deepStrictEqual(Compress.job.transfer!(piece), [])
      return piece.step === "piece" ? piece.bytes!.buffer : undefined
    })
    assert.isAtLeast(buffers.length, 3)
    assert.instanceOf(buffers[0], SharedArrayBuffer)
    // The first pieces may have needed more room.
    assert.strictEqual(buffers.at(-1), buffers.at(-2))
  })
})

describe("Crc32.combine", () => {
  it("is the CRC of both", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.uint8Array({ maxLength: 3000 }), (first, second) => {
        const both = Buffer.concat([first, second])
        const combined = Crc32.combine(
          Crc32.update(0, first, 0, first.length),
          Crc32.update(0, second, 0, second.length),
          second.length
        )
        assert.strictEqual(combined, Crc32.update(0, both, 0, both.length))
      })
    )
  })

  it("of lengths beyond 32 bits", () => {
    // 2^33 zero bytes move a CRC as 2^32 twice do.
    const step = (crc: number): number => Crc32.combine(crc, 0, 2 ** 32)
    assert.strictEqual(Crc32.combine(0x12345678, 0, 2 ** 33), step(step(0x12345678)))
  })
})
