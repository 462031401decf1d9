import * as crypto from "node:crypto"
import * as zlib from "node:zlib"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Compression from "../../src/content/Compression.ts"
import * as Crc32 from "../../src/content/Crc32.ts"
import * as Gzip from "../../src/content/Gzip.ts"
import type { Problem } from "../../src/content/Problem.ts"
import { peerTest, run } from "../peers/Peers.ts"

type Kind = "gzip" | "zstd"

interface Decoded {
  readonly output: Buffer
  readonly problems: ReadonlyArray<Problem>
  readonly summary: Compression.DecoderSummary
  readonly largestChunk: number
}

type Make = (
  sink: Compression.Sink,
  onProblem: (problem: Problem) => void,
  limits?: Compression.DecoderLimits
) => Compression.Decoder

const makers: Readonly<Record<string, Make>> = {
  "gzip (zlib's binding)": (sink, onProblem, limits) => Gzip.makeDecoder(sink, onProblem, limits, "binding"),
  "gzip (minizlib)": (sink, onProblem, limits) => Gzip.makeDecoder(sink, onProblem, limits, "minizlib"),
  zstd: (sink, onProblem, limits) => Compression.makeDecoder("zstd", sink, onProblem, limits)
}

const gzipMakers = Object.entries(makers).filter(([name]) => name.startsWith("gzip"))

/** Decodes `input` in pieces of the sizes that `cut` gives, the last of them repeated. */
const decodeWith = (
  make: Make,
  input: Uint8Array,
  cut: ReadonlyArray<number> = [65_536],
  limits?: Compression.DecoderLimits
): Decoded => {
  const parts: Array<Buffer> = []
  const problems: Array<Problem> = []
  let largestChunk = 0
  const decoder = make(
    (chunk, from, to) => {
      largestChunk = Math.max(largestChunk, to - from)
      parts.push(Buffer.from(chunk.subarray(from, to)))
    },
    (problem) => problems.push(problem),
    limits
  )
  // A buffer with something before and after what is to be read, as a caller's would be.
  const padded = Buffer.concat([Buffer.alloc(3, 0x1f), input, Buffer.alloc(5, 0x8b)])
  for (let position = 0, index = 0; position < input.length; ) {
    const size = Math.min(input.length - position, Math.max(1, cut[Math.min(index++, cut.length - 1)]!))
    decoder.write(padded, 3 + position, 3 + position + size)
    position += size
  }
  const summary = decoder.end()
  return { output: Buffer.concat(parts), problems, summary, largestChunk }
}

const decode = (
  kind: Kind,
  input: Uint8Array,
  cut?: ReadonlyArray<number>,
  limits?: Compression.DecoderLimits
): Decoded =>
  decodeWith((sink, onProblem, own) => Compression.makeDecoder(kind, sink, onProblem, own), input, cut, limits)

const checksOf = (decoded: Decoded): ReadonlyArray<string> => decoded.problems.map((problem) => problem.check)

const assertSound = (decoded: Decoded, content: Uint8Array | string, members?: number): void => {
  assert.deepStrictEqual(decoded.problems, [])
  assert.isTrue(decoded.output.equals(Buffer.from(content)), "output differs")
  assert.isTrue(decoded.summary.complete)
  assert.strictEqual(decoded.summary.unread, 0)
  assert.strictEqual(decoded.summary.bytesOut, decoded.output.length)
  if (members !== undefined) assert.strictEqual(decoded.summary.members, members)
}

/** What a layer looks like to a compressor: text, repetition and some noise; the same on every run. */
const sample = (size: number): Buffer => {
  const words = ["usr", "lib", "share", "the", "of", "image", "layer", " ", " ", "\n", "/", "0", "7", "\0\0\0\0"]
  let seed = 12345
  const next = (bound: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return Math.floor((seed / 2 ** 32) * bound)
  }
  const out = Buffer.alloc(size)
  for (let i = 0; i < size; ) {
    const kind = next(20)
    if (kind === 0 && i > 5000) {
      const from = i - 301 - next(4000)
      i += out.copy(out, i, from, from + next(60))
    } else if (kind === 1) out[i++] = next(256)
    else i += out.write(words[next(words.length)]!, i, "latin1")
  }
  return out
}

beforeAll(() => Compression.prepare())

// gzip files by hand, RFC 1952 section 2.3

interface MemberOptions {
  readonly flags?: number
  readonly method?: number
  readonly extra?: Uint8Array
  readonly name?: string
  readonly comment?: string
  readonly headerChecksum?: boolean | number
  readonly crc?: number
  readonly length?: number
  readonly level?: number
  readonly strategy?: number
}

const member = (content: Uint8Array | string, options: MemberOptions = {}): Buffer => {
  const body = Buffer.from(content)
  const flags =
    options.flags ??
    (options.extra === undefined ? 0 : 4) |
      (options.name === undefined ? 0 : 8) |
      (options.comment === undefined ? 0 : 16) |
      (options.headerChecksum === undefined ? 0 : 2)
  const parts: Array<Buffer> = [Buffer.from([0x1f, 0x8b, options.method ?? 8, flags, 1, 2, 3, 4, 0, 255])]
  if (options.extra !== undefined) {
    const length = Buffer.alloc(2)
    length.writeUInt16LE(options.extra.length)
    parts.push(length, Buffer.from(options.extra))
  }
  if (options.name !== undefined) parts.push(Buffer.from(`${options.name}\0`, "latin1"))
  if (options.comment !== undefined) parts.push(Buffer.from(`${options.comment}\0`, "latin1"))
  if (options.headerChecksum !== undefined) {
    const header = Buffer.concat(parts)
    const checksum = Buffer.alloc(2)
    checksum.writeUInt16LE(
      typeof options.headerChecksum === "number"
        ? options.headerChecksum
        : Crc32.update(0, header, 0, header.length) & 0xffff
    )
    parts.push(checksum)
  }
  parts.push(zlib.deflateRawSync(body, { level: options.level ?? 6, strategy: options.strategy ?? 0 }))
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(options.crc ?? Crc32.update(0, body, 0, body.length), 0)
  trailer.writeUInt32LE(options.length ?? body.length, 4)
  parts.push(trailer)
  return Buffer.concat(parts)
}

// zstd files by hand, RFC 8878 section 3.1

const mask64 = (1n << 64n) - 1n
const rotate = (value: bigint, bits: bigint): bigint => ((value << bits) | (value >> (64n - bits))) & mask64
const prime1 = 0x9e3779b185ebca87n
const prime2 = 0xc2b2ae3d27d4eb4fn
const prime3 = 0x165667b19e3779f9n
const prime4 = 0x85ebca77c2b2ae63n
const prime5 = 0x27d4eb2f165667c5n

/** XXH64 with seed 0 of less than 32 bytes, or of any number. */
const xxh64 = (input: Buffer): bigint => {
  const round = (acc: bigint, lane: bigint) => (rotate((acc + lane * prime2) & mask64, 31n) * prime1) & mask64
  let h: bigint
  let i = 0
  if (input.length >= 32) {
    let v = [prime1 + prime2, prime2, 0n, -prime1].map((lane) => lane & mask64)
    for (; i + 32 <= input.length; i += 32) v = v.map((lane, k) => round(lane, input.readBigUInt64LE(i + 8 * k)))
    h = (rotate(v[0]!, 1n) + rotate(v[1]!, 7n) + rotate(v[2]!, 12n) + rotate(v[3]!, 18n)) & mask64
    for (const lane of v) h = ((h ^ round(0n, lane)) * prime1 + prime4) & mask64
  } else {
    h = prime5
  }
  h = (h + BigInt(input.length)) & mask64
  for (; i + 8 <= input.length; i += 8) {
    h = (rotate(h ^ round(0n, input.readBigUInt64LE(i)), 27n) * prime1 + prime4) & mask64
  }
  if (i + 4 <= input.length) {
    h = (rotate(h ^ ((BigInt(input.readUInt32LE(i)) * prime1) & mask64), 23n) * prime2 + prime3) & mask64
    i += 4
  }
  for (; i < input.length; i++) h = (rotate(h ^ ((BigInt(input[i]!) * prime5) & mask64), 11n) * prime1) & mask64
  h = ((h ^ (h >> 33n)) * prime2) & mask64
  h = ((h ^ (h >> 29n)) * prime3) & mask64
  return h ^ (h >> 32n)
}

type Block = { readonly raw: Uint8Array | string } | { readonly byte: number; readonly times: number }

interface FrameOptions {
  /** The window descriptor byte; 0x58 is 2 MiB. */
  readonly window?: number
  readonly dictionary?: number
  readonly checksum?: boolean | number
  /** Written as eight bytes; makes the frame a single segment. */
  readonly contentSize?: number
  readonly descriptorBits?: number
}

const contentOf = (blocks: ReadonlyArray<Block>): Buffer =>
  Buffer.concat(
    blocks.map((block) => ("raw" in block ? Buffer.from(block.raw) : Buffer.alloc(block.times, block.byte)))
  )

const frame = (blocks: ReadonlyArray<Block>, options: FrameOptions = {}): Buffer => {
  const single = options.contentSize !== undefined
  const parts: Array<Buffer> = [
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
    Buffer.from([
      (single ? 0xc0 | 0x20 : 0) |
        (options.checksum === undefined ? 0 : 4) |
        (options.dictionary === undefined ? 0 : 3) |
        (options.descriptorBits ?? 0)
    ])
  ]
  if (!single) parts.push(Buffer.from([options.window ?? 0x58]))
  if (options.dictionary !== undefined) {
    const id = Buffer.alloc(4)
    id.writeUInt32LE(options.dictionary)
    parts.push(id)
  }
  if (options.contentSize !== undefined) {
    const size = Buffer.alloc(8)
    size.writeBigUInt64LE(BigInt(options.contentSize))
    parts.push(size)
  }
  blocks.forEach((block, index) => {
    const raw = "raw" in block ? Buffer.from(block.raw) : Buffer.from([block.byte])
    const size = "raw" in block ? raw.length : block.times
    const header = Buffer.alloc(3)
    header.writeUIntLE((size << 3) | (("raw" in block ? 0 : 1) << 1) | (index === blocks.length - 1 ? 1 : 0), 0, 3)
    parts.push(header, raw)
  })
  if (options.checksum !== undefined) {
    const checksum = Buffer.alloc(4)
    checksum.writeUInt32LE(
      typeof options.checksum === "number" ? options.checksum : Number(xxh64(contentOf(blocks)) & 0xffffffffn)
    )
    parts.push(checksum)
  }
  return Buffer.concat(parts)
}

const skippable = (content: Uint8Array | string, kind = 0): Buffer => {
  const body = Buffer.from(content)
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x184d2a50 + kind, 0)
  header.writeUInt32LE(body.length, 4)
  return Buffer.concat([header, body])
}

/** A frame that `zstd -19` wrote: Huffman-coded literals, FSE-coded sequences, a checksum; and what is in it. */
const compressedFrameContent = Buffer.from(
  Array.from({ length: 40 }, (_, i) => `line ${i * i} of a layer's text, entry ${i % 7}\n`).join("")
)

describe("detect", () => {
  const padded = (...head: ReadonlyArray<number>) => Buffer.concat([Buffer.from(head), Buffer.alloc(600, 0x55)])

  it("knows the compressions by their magic bytes", () => {
    assert.strictEqual(Compression.detect(member("x")), "gzip")
    assert.strictEqual(Compression.detect(frame([{ raw: "x" }])), "zstd")
    for (let kind = 0; kind < 16; kind++) assert.strictEqual(Compression.detect(skippable("", kind)), "zstd")
    assert.strictEqual(Compression.detect(padded(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)), "xz")
    assert.strictEqual(Compression.detect(padded(...Buffer.from("BZh9"), 0x31, 0x41, 0x59, 0x26, 0x53, 0x59)), "bzip2")
    assert.strictEqual(Compression.detect(padded(0x04, 0x22, 0x4d, 0x18)), "lz4")
    assert.strictEqual(Compression.detect(padded(...Buffer.from("LZIP"), 1)), "lzip")
    assert.strictEqual(Compression.detect(padded(0x5d, 0, 0, 0x80, 0, 255, 255, 255, 255, 255, 255, 255, 255)), "lzma")
    assert.strictEqual(Compression.detect(padded(0x1f, 0x9d, 0x90)), "compress")
  })

  it("calls everything else none, a tar with a treacherous first name included", () => {
    assert.strictEqual(Compression.detect(Buffer.alloc(0)), "none")
    assert.strictEqual(Compression.detect(Buffer.alloc(1024)), "none")
    assert.strictEqual(Compression.detect(Buffer.from([0x1f])), "none")
    assert.strictEqual(Compression.detect(Buffer.from("BZh9 is no bzip2")), "none")
    const header = Buffer.alloc(512)
    header[0] = 0x1f
    header[1] = 0x8b
    header.write("ustar\0", 257, "latin1")
    let sum = 8 * 32
    for (const byte of header) sum += byte
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1")
    assert.strictEqual(Compression.detect(header), "none")
    header[156] = 0x35
    assert.strictEqual(Compression.detect(header), "gzip")
  })

  peerTest(["xz"], "agrees with xz", () => {
    assert.strictEqual(Compression.detect(run("xz", ["-c"], { input: "text" }).bytes), "xz")
    assert.strictEqual(Compression.detect(run("xz", ["-c", "--format=lzma"], { input: "text" }).bytes), "lzma")
  })
})

describe("Crc32", () => {
  it("agrees with zlib, by tables as well, from any part to any part", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), fc.nat(300), (bytes, a, b) => {
        const from = Math.min(a, b, bytes.length)
        const to = Math.min(Math.max(a, b), bytes.length)
        const expected = zlib.gzipSync(bytes).readUInt32LE(zlib.gzipSync(bytes).length - 8)
        for (const update of [Crc32.update, Crc32.updateWithTables]) {
          let crc = update(0, bytes, 0, from)
          crc = update(crc, bytes, from, to)
          assert.strictEqual(update(crc, bytes, to, bytes.length), expected)
        }
      })
    )
  })
})

for (const [name, make] of gzipMakers) {
  describe(name, () => {
    const input = Buffer.concat([
      member("the first"),
      member(""),
      member("named", {
        name: "na\xefve.tar",
        extra: Buffer.from([65, 66, 2, 0, 7, 7]),
        comment: "c",
        headerChecksum: true
      }),
      member(""),
      member(sample(5000), { level: 1 }),
      member("stored", { level: 0 }),
      member("fixed Huffman codes", { strategy: zlib.constants.Z_FIXED })
    ])
    const content = Buffer.concat([
      Buffer.from("the firstnamed"),
      sample(5000),
      Buffer.from("storedfixed Huffman codes")
    ])

    it("reads every member, whatever fields its header has and wherever the input is cut", () => {
      for (const cut of [[1], [2], [7], [4096], [input.length]]) assertSound(decodeWith(make, input, cut), content, 7)
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }), (cut) => {
          assertSound(decodeWith(make, input, cut), content, 7)
        })
      )
    })

    it("decodes what zlib encodes", () => {
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.uint8Array({ maxLength: 3000 }), fc.integer({ min: 0, max: 9 })), {
            minLength: 1,
            maxLength: 4
          }),
          fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 5 }),
          (members, cut) => {
            const packed = Buffer.concat(members.map(([bytes, level]) => zlib.gzipSync(bytes, { level })))
            assertSound(decodeWith(make, packed, cut), Buffer.concat(members.map(([bytes]) => bytes)), members.length)
          }
        )
      )
    })

    it("reads thousands of small members", () => {
      const one = member("0123456789")
      const packed = Buffer.concat(Array.from({ length: 5000 }, () => one))
      assertSound(decodeWith(make, packed), "0123456789".repeat(5000), 5000)
    })

    it("reports truncation at every byte, save where a member ends", () => {
      const ends = new Map<number, string>()
      const pieces = [member("one", { name: "n", headerChecksum: true }), member(""), member("three")]
      const whole = Buffer.concat(pieces)
      ends.set(pieces[0]!.length, "one")
      ends.set(pieces[0]!.length + pieces[1]!.length, "one")
      ends.set(whole.length, "onethree")
      for (let length = 0; length <= whole.length; length++) {
        for (const cut of [[1], [whole.length]]) {
          const decoded = decodeWith(make, whole.subarray(0, length), cut)
          const sound = ends.get(length)
          if (sound !== undefined) assertSound(decoded, sound)
          else {
            assert.deepStrictEqual(checksOf(decoded), ["compression.truncated"], `cut to ${length}`)
            assert.strictEqual(decoded.problems[0]!.offset, length)
            assert.isFalse(decoded.summary.complete)
          }
        }
      }
    })

    it("reports truncation in the middle of a large body", () => {
      const whole = zlib.gzipSync(sample(300_000))
      const decoded = decodeWith(make, whole.subarray(0, whole.length >> 1))
      assert.deepStrictEqual(checksOf(decoded), ["compression.truncated"])
      assert.isTrue(sample(300_000).subarray(0, decoded.output.length).equals(decoded.output))
    })

    it("reports zeros after the last member, be it one or a block of them", () => {
      for (const zeros of [1, 2, 3, 9, 512, 100_000]) {
        for (const cut of [[1000], [input.length], [200_000]]) {
          const decoded = decodeWith(make, Buffer.concat([input, Buffer.alloc(zeros)]), cut)
          assert.deepStrictEqual(checksOf(decoded), ["compression.trailing-data"])
          assert.strictEqual(decoded.problems[0]!.offset, input.length)
          assert.include(decoded.problems[0]!.message, `${zeros} zero byte${zeros === 1 ? "" : "s"} behind`)
          assert.strictEqual(decoded.summary.unread, zeros)
          assert.isFalse(decoded.summary.complete)
          assert.isTrue(decoded.output.equals(content))
        }
      }
    })

    it("reports zeros even when a member follows them", () => {
      for (const zeros of [1, 512]) {
        const packed = Buffer.concat([member("a"), Buffer.alloc(zeros), member("b")])
        for (const cut of [[1], [member("a").length], [member("a").length + zeros], [packed.length]]) {
          const decoded = decodeWith(make, packed, cut)
          assert.deepStrictEqual(checksOf(decoded), ["compression.trailing-data"])
          assert.strictEqual(decoded.output.toString(), "a")
          assert.strictEqual(decoded.summary.unread, zeros + member("b").length)
        }
      }
    })

    it("reports garbage after the last member", () => {
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 1, maxLength: 50 }).filter((bytes) => bytes[0] !== 0x1f),
          fc.integer({ min: 1, max: 600 }),
          (garbage, cut) => {
            const decoded = decodeWith(make, Buffer.concat([input, garbage]), [cut])
            assert.deepStrictEqual(checksOf(decoded), ["compression.trailing-data"])
            assert.strictEqual(decoded.problems[0]!.offset, input.length)
            assert.strictEqual(decoded.summary.unread, garbage.length)
            assert.isTrue(decoded.output.equals(content))
          }
        )
      )
      const decoded = decodeWith(make, Buffer.concat([input, Buffer.from([0x1f, 0x8c, 0, 0])]), [1])
      assert.deepStrictEqual(checksOf(decoded), ["compression.trailing-data"])
    })

    it("reports what is no gzip at all, once", () => {
      for (const bytes of [[0], [0x1f, 0], [0x50, 0x4b, 3, 4], Array.from(Buffer.alloc(5000, 0x41))]) {
        const decoded = decodeWith(make, Buffer.from(bytes), [1])
        assert.deepStrictEqual(checksOf(decoded), ["compression.corrupt"])
        assert.strictEqual(decoded.summary.unread, bytes.length)
      }
    })

    it("reports a flipped bit anywhere, or puts out the same bytes", () => {
      const whole = Buffer.concat([
        member(compressedFrameContent.subarray(0, 200), { name: "n", headerChecksum: true }),
        member("plain")
      ])
      const expected = Buffer.concat([compressedFrameContent.subarray(0, 200), Buffer.from("plain")])
      for (let index = 0; index < whole.length; index++) {
        for (let bit = 0; bit < 8; bit++) {
          const flipped = Buffer.from(whole)
          flipped[index]! ^= 1 << bit
          const decoded = decodeWith(make, flipped)
          if (decoded.problems.length === 0) {
            assert.isTrue(decoded.output.equals(expected), `byte ${index} bit ${bit}`)
          } else {
            assert.lengthOf(decoded.problems, 1)
            assert.match(decoded.problems[0]!.check, /^compression\.(corrupt|truncated|trailing-data|unsupported)$/)
            assert.isFalse(decoded.summary.complete)
          }
        }
      }
    })

    it("reports wrong checksums and lengths, with both values", () => {
      const crc = decodeWith(make, Buffer.concat([member("a"), member("b", { crc: 1 }), member("c")]))
      assert.deepStrictEqual(checksOf(crc), ["compression.corrupt"])
      assert.strictEqual(crc.problems[0]!.expected, "00000001")
      assert.strictEqual(crc.problems[0]!.actual, "71beeff9")
      assert.strictEqual(crc.problems[0]!.offset, member("a").length + member("b").length - 8)
      assert.strictEqual(crc.output.toString(), "ab")
      assert.strictEqual(crc.summary.unread, 8 + member("c").length)
      const length = decodeWith(make, member("abc", { length: 4 }))
      assert.deepStrictEqual(checksOf(length), ["compression.corrupt"])
      assert.strictEqual(length.problems[0]!.expected, "4")
      assert.strictEqual(length.problems[0]!.actual, "3")
      const header = decodeWith(make, member("abc", { name: "n", headerChecksum: 0x1234 }))
      assert.deepStrictEqual(checksOf(header), ["compression.corrupt"])
      assert.strictEqual(header.output.length, 0)
    })

    it("reports reserved flags and unknown methods", () => {
      assert.deepStrictEqual(checksOf(decodeWith(make, member("a", { flags: 0x20 }))), ["compression.corrupt"])
      assert.deepStrictEqual(checksOf(decodeWith(make, member("a", { method: 7 }))), ["compression.unsupported"])
    })

    it("reports corruption deep inside with its place, and how much was not read", () => {
      const whole = zlib.gzipSync(sample(1_000_000))
      const broken = Buffer.from(whole)
      const at = (whole.length / 3) | 0
      broken.fill(0xff, at, at + 300)
      const decoded = decodeWith(make, broken, [262_144])
      assert.deepStrictEqual(checksOf(decoded), ["compression.corrupt"])
      const offset = decoded.problems[0]!.offset!
      assert.isTrue(offset <= at + 65_536 && offset > at - 65_536, `offset ${offset} for damage at ${at}`)
      assert.strictEqual(decoded.summary.unread, whole.length - offset)
    })

    it("unpacks a bomb in small pieces and stops at the limits", () => {
      const zeros = zlib.gzipSync(Buffer.alloc(32 * 1024 * 1024))
      const bomb = Buffer.concat(Array.from({ length: 20 }, () => zeros))
      const before = process.memoryUsage().rss
      let size = 0
      let largest = 0
      const problems: Array<Problem> = []
      const sink: Compression.Sink = (_, from, to) => {
        size += to - from
        largest = Math.max(largest, to - from)
      }
      const unlimited = make(sink, (problem) => problems.push(problem), { maxRatio: Infinity, maxOutput: Infinity })
      unlimited.write(bomb, 0, bomb.length)
      assert.strictEqual(unlimited.end().members, 20)
      assert.deepStrictEqual(problems, [])
      assert.strictEqual(size, 20 * 32 * 1024 * 1024)
      assert.isAtMost(largest, 1024 * 1024)
      // minizlib allocates every chunk anew, so that it is up to the garbage collector how many there are.
      const allowed = name.includes("minizlib") ? 400 : 80
      assert.isAtMost(process.memoryUsage().rss - before, allowed * 1024 * 1024)

      const byOutput = decodeWith(make, bomb, [bomb.length], { maxOutput: 1_000_000 })
      assert.deepStrictEqual(checksOf(byOutput), ["compression.limit"])
      assert.isAtMost(byOutput.output.length, 1_000_000)
      const ratio = { maxRatio: 100, ratioAfter: 8 * 1024 * 1024 }
      const byRatio = decodeWith(make, bomb, [bomb.length], ratio)
      assert.deepStrictEqual(checksOf(byRatio), ["compression.limit"])
      assert.isAtMost(byRatio.output.length, 64 * 1024 * 1024)
      assertSound(decodeWith(make, zlib.gzipSync(Buffer.alloc(8_000_000)), [1000], ratio), Buffer.alloc(8_000_000))
      const inFront = Buffer.concat([zeros, zlib.gzipSync(crypto.randomBytes(300_000))])
      assert.deepStrictEqual(checksOf(decodeWith(make, inFront, [1000], ratio)), ["compression.limit"])
      assert.deepStrictEqual(
        checksOf(decodeWith(make, inFront, [1000], { ...ratio, inputSize: inFront.length + 100_000 })),
        []
      )
    })

    it("can be closed from within the sink, and when the sink throws", () => {
      const packed = zlib.gzipSync(sample(2_000_000))
      let calls = 0
      const closing: Compression.Decoder = make(
        () => {
          calls++
          closing.close()
        },
        () => {}
      )
      closing.write(packed, 0, packed.length)
      closing.write(packed, 0, packed.length)
      closing.close()
      assert.strictEqual(calls, 1)
      assert.isFalse(closing.end().complete)
      assert.strictEqual(closing.end().unread, packed.length)
      const throwing = make(
        () => {
          throw new Error("disk full")
        },
        () => {}
      )
      assert.throws(() => throwing.write(packed, 0, packed.length), "disk full")
      throwing.write(packed, 0, packed.length)
      assert.isFalse(throwing.end().complete)
    })
  })
}

describe("gzip with the programs", () => {
  const content = sample(600_000)
  const variants: ReadonlyArray<readonly ["gzip" | "pigz", ReadonlyArray<string>]> = [
    ["gzip", ["-1"]],
    ["gzip", ["-9"]],
    ["gzip", ["--rsyncable"]],
    ["pigz", ["-p4", "-b128"]],
    ["pigz", ["-p4", "-i", "-b128"]],
    ["pigz", ["-11"]],
    ["pigz", ["-p2", "-0"]]
  ]
  for (const [program, options] of variants) {
    peerTest([program], `decodes what ${program} ${options.join(" ")} writes`, () => {
      const packed = run(program, [...options, "-c"], { input: content }).bytes
      assertSound(decode("gzip", packed, [100_000]), content)
      assertSound(decode("gzip", Buffer.concat([packed, packed]), [7777]), Buffer.concat([content, content]))
    })
  }
})

describe("zstd", () => {
  const make = makers["zstd"]!
  const input = Buffer.concat([
    skippable("in front", 3),
    frame([{ raw: "the first" }, { byte: 65, times: 1000 }], { checksum: true }),
    skippable(""),
    frame([{ raw: "" }]),
    frame([{ raw: "" }], { checksum: true, contentSize: 0 }),
    frame([{ byte: 66, times: 10 }], { contentSize: 10 }),
    skippable("behind", 15)
  ])
  const content = Buffer.from(`the first${"A".repeat(1000)}${"B".repeat(10)}`)

  it("reads every frame and skips what is skippable, wherever the input is cut", () => {
    for (const cut of [[1], [2], [7], [input.length]]) assertSound(decode("zstd", input, cut), content, 4)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 }), (cut) => {
        assertSound(decode("zstd", input, cut), content, 4)
      })
    )
  })

  it("takes skippable frames alone for an empty stream", () => {
    assertSound(decode("zstd", skippable("only")), "", 0)
  })

  it("reports truncation at every byte, save where a frame ends", () => {
    const pieces = [
      skippable("skip"),
      frame([{ raw: "one" }, { byte: 1, times: 3 }], { checksum: true }),
      frame([{ raw: "" }]),
      skippable("")
    ]
    const whole = Buffer.concat(pieces)
    const ends = new Set<number>()
    pieces.reduce((end, piece) => {
      ends.add(end + piece.length)
      return end + piece.length
    }, 0)
    for (let length = 0; length <= whole.length; length++) {
      for (const cut of [[1], [whole.length]]) {
        const decoded = decode("zstd", whole.subarray(0, length), cut)
        if (ends.has(length)) assert.deepStrictEqual(decoded.problems, [])
        else {
          assert.deepStrictEqual(checksOf(decoded), ["compression.truncated"], `cut to ${length}`)
          assert.strictEqual(decoded.problems[0]!.offset, length)
          assert.isFalse(decoded.summary.complete)
        }
      }
    }
  })

  it("reports zeros and garbage after the last frame", () => {
    for (const zeros of [1, 3, 4, 5, 512]) {
      const decoded = decode("zstd", Buffer.concat([input, Buffer.alloc(zeros)]), [3])
      assert.deepStrictEqual(checksOf(decoded), ["compression.trailing-data"])
      assert.strictEqual(decoded.problems[0]!.offset, input.length)
      assert.include(decoded.problems[0]!.message, `${zeros} zero byte${zeros === 1 ? "" : "s"} behind`)
      assert.strictEqual(decoded.summary.unread, zeros)
      assert.isTrue(decoded.output.equals(content))
    }
    fc.assert(
      fc.property(
        fc
          .uint8Array({ minLength: 1, maxLength: 50 })
          .filter((bytes) => bytes[0] !== 0x28 && (bytes[0]! & 0xf0) !== 0x50),
        fc.integer({ min: 1, max: 200 }),
        (garbage, cut) => {
          const decoded = decode("zstd", Buffer.concat([input, garbage]), [cut])
          assert.deepStrictEqual(
            checksOf(decoded),
            // A magic number of zstd's first years.
            garbage.length >= 4 && Buffer.from(garbage).readUInt32LE(0) >>> 4 === 0xfd2fb52
              ? ["compression.unsupported"]
              : ["compression.trailing-data"]
          )
          assert.strictEqual(decoded.summary.unread, garbage.length)
        }
      )
    )
  })

  it("reports a bad checksum, a wrong content size and a reserved block type", () => {
    const checksum = decode("zstd", frame([{ raw: "content" }], { checksum: 1 }))
    assert.deepStrictEqual(checksOf(checksum), ["compression.corrupt"])
    assert.include(checksum.problems[0]!.message, "checksum")
    assert.deepStrictEqual(checksOf(decode("zstd", frame([{ raw: "abc" }], { contentSize: 2 }))), [
      "compression.corrupt"
    ])
    assert.deepStrictEqual(checksOf(decode("zstd", frame([{ raw: "abc" }], { contentSize: 4 }))), [
      "compression.corrupt"
    ])
    const reserved = frame([{ raw: "abc" }])
    reserved[6]! |= 6
    assert.deepStrictEqual(checksOf(decode("zstd", reserved)), ["compression.corrupt"])
  })

  it("reports a flipped bit anywhere in a frame with a checksum, or puts out the same bytes", () => {
    const whole = Buffer.concat([
      frame([{ raw: "some raw content" }, { byte: 7, times: 300 }, { raw: "the end" }], { checksum: true }),
      frame([{ raw: "next" }], { checksum: true, contentSize: 4 })
    ])
    const expected = decode("zstd", whole).output
    for (let index = 0; index < whole.length; index++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(whole)
        flipped[index]! ^= 1 << bit
        const decoded = decode("zstd", flipped)
        if (decoded.problems.length === 0) assert.isTrue(decoded.output.equals(expected), `byte ${index} bit ${bit}`)
        else assert.lengthOf(decoded.problems, 1)
      }
    }
  })

  it("ends on random bytes behind a frame header", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 1, max: 100 }), (bytes, cut) => {
        const decoded = decode("zstd", Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), bytes]), [cut])
        assert.isAtMost(decoded.problems.length, 1)
        assert.strictEqual(decoded.summary.complete, decoded.problems.length === 0)
      }),
      { numRuns: 500 }
    )
  })

  it("refuses dictionaries, large windows, reserved bits and the formats before 0.8", () => {
    const dictionary = decode("zstd", frame([{ raw: "x" }], { dictionary: 77 }))
    assert.deepStrictEqual(checksOf(dictionary), ["compression.unsupported"])
    assert.include(dictionary.problems[0]!.message, "77")
    assertSound(decode("zstd", frame([{ raw: "x" }], { dictionary: 0 })), "x", 1)
    assertSound(decode("zstd", frame([{ raw: "x" }], { window: (27 - 10) << 3 })), "x", 1)
    const window = decode("zstd", frame([{ raw: "x" }], { window: ((27 - 10) << 3) | 1 }))
    assert.deepStrictEqual(checksOf(window), ["compression.limit"])
    assert.include(window.problems[0]!.message, "150994944")
    assert.deepStrictEqual(checksOf(decode("zstd", frame([{ raw: "x" }], { window: 0xff }))), ["compression.limit"])
    assert.deepStrictEqual(checksOf(decode("zstd", frame([{ raw: "x" }], { contentSize: 2 ** 40 }))), [
      "compression.limit"
    ])
    assert.deepStrictEqual(checksOf(decode("zstd", frame([{ raw: "x" }], { descriptorBits: 8 }))), [
      "compression.unsupported"
    ])
    assert.deepStrictEqual(checksOf(decode("zstd", Buffer.from([0x27, 0xb5, 0x2f, 0xfd, 1, 2, 3]))), [
      "compression.unsupported"
    ])
  })

  it("reports what is no zstd at all, once", () => {
    for (const bytes of [[0], [0x28, 0xb5, 0], [0x50, 0x2a, 0x4d, 0x19, 0], Array.from(Buffer.alloc(5000, 0x41))]) {
      const decoded = decode("zstd", Buffer.from(bytes), [1])
      assert.deepStrictEqual(checksOf(decoded), ["compression.corrupt"])
      assert.strictEqual(decoded.summary.unread, bytes.length)
    }
  })

  it("unpacks a bomb in small pieces and stops at the limits", () => {
    const block: Block = { byte: 0, times: 128 * 1024 }
    const bomb = frame(
      Array.from({ length: 8192 }, () => block),
      { window: 0x58 }
    )
    const before = process.memoryUsage().rss
    let size = 0
    let largest = 0
    const problems: Array<Problem> = []
    const unlimited = make(
      (_, from, to) => {
        size += to - from
        largest = Math.max(largest, to - from)
      },
      (problem) => problems.push(problem),
      { maxRatio: Infinity, maxOutput: Infinity }
    )
    unlimited.write(bomb, 0, bomb.length)
    assert.isTrue(unlimited.end().complete)
    assert.strictEqual(size, 1024 ** 3)
    assert.isAtMost(largest, 1024 * 1024)
    assert.isAtMost(process.memoryUsage().rss - before, 80 * 1024 * 1024)
    const byOutput = decode("zstd", bomb, [bomb.length], { maxOutput: 1_000_000 })
    assert.deepStrictEqual(checksOf(byOutput), ["compression.limit"])
    assert.isAtMost(byOutput.output.length, 1_000_000)
    const byRatio = decode("zstd", bomb, [bomb.length], { maxRatio: 250, ratioAfter: 8 * 1024 * 1024 })
    assert.deepStrictEqual(checksOf(byRatio), ["compression.limit"])
  })

  it("does not grow from decoder to decoder", () => {
    const packed = frame([{ byte: 1, times: 128 * 1024 }], { window: 0x70 })
    const once = () => assert.strictEqual(decode("zstd", packed).output.length, 128 * 1024)
    for (let i = 0; i < 20; i++) once()
    const before = process.memoryUsage()
    for (let i = 0; i < 300; i++) once()
    const after = process.memoryUsage()
    assert.isAtMost(after.arrayBuffers - before.arrayBuffers, 60 * 1024 * 1024)
    assert.isAtMost(after.rss - before.rss, 80 * 1024 * 1024)
  })

  it("serves decoders that run at the same time", () => {
    const first: Array<Buffer> = []
    const second: Array<Buffer> = []
    const a = make(
      (chunk, from, to) => first.push(Buffer.from(chunk.subarray(from, to))),
      () => {}
    )
    const b = make(
      (chunk, from, to) => second.push(Buffer.from(chunk.subarray(from, to))),
      () => {}
    )
    const other = frame([{ raw: "other" }], { checksum: true })
    for (let i = 0; i < input.length; i++) {
      a.write(input, i, i + 1)
      if (i < other.length) b.write(other, i, i + 1)
    }
    assert.isTrue(a.end().complete && b.end().complete)
    assert.isTrue(Buffer.concat(first).equals(content))
    assert.strictEqual(Buffer.concat(second).toString(), "other")
  })

  it("can be closed from within the sink, and when the sink throws", () => {
    let calls = 0
    const closing: Compression.Decoder = make(
      () => {
        calls++
        closing.close()
      },
      () => {}
    )
    closing.write(input, 0, input.length)
    closing.write(input, 0, input.length)
    assert.strictEqual(calls, 1)
    assert.isFalse(closing.end().complete)
    assert.strictEqual(closing.end().unread, input.length)
    const throwing = make(
      () => {
        throw new Error("disk full")
      },
      () => {}
    )
    assert.throws(() => throwing.write(input, 0, input.length), "disk full")
    throwing.write(input, 0, input.length)
    assert.isFalse(throwing.end().complete)
    assertSound(decode("zstd", input), content)
  })

  const large = sample(700_000)
  const variants: ReadonlyArray<ReadonlyArray<string>> = [
    ["-1"],
    ["-3", "--no-check"],
    ["-19"],
    ["--ultra", "-22"],
    ["--long=27"],
    ["-T4", "-B32768"],
    ["--fast=5"],
    ["--rsyncable"]
  ]
  for (const options of variants) {
    peerTest(["zstd"], `decodes what zstd ${options.join(" ")} writes`, () => {
      const packed = run("zstd", ["-q", ...options, "-c"], { input: large }).bytes
      assertSound(decode("zstd", packed, [100_000]), large, 1)
      assertSound(decode("zstd", packed, [1]), large, 1)
      assertSound(
        decode("zstd", Buffer.concat([packed, skippable("between"), packed]), [7777]),
        Buffer.concat([large, large]),
        2
      )
    })
  }

  peerTest(["zstd"], "reports windows beyond 128 MiB", () => {
    const packed = run("zstd", ["-q", "--long=28", "-c"], { input: large }).bytes
    assert.deepStrictEqual(checksOf(decode("zstd", packed)), ["compression.limit"])
  })

  peerTest(["zstd"], "reports every truncation and every flipped byte of a compressed frame", () => {
    const packed = Buffer.from(run("zstd", ["-q", "-19", "-c"], { input: compressedFrameContent }).bytes)
    for (let length = 0; length < packed.length; length++) {
      assert.deepStrictEqual(checksOf(decode("zstd", packed.subarray(0, length))), ["compression.truncated"])
    }
    for (let index = 0; index < packed.length; index++) {
      for (const mask of [1, 0x80, 0xff]) {
        const flipped = Buffer.from(packed)
        flipped[index]! ^= mask
        const decoded = decode("zstd", flipped, [50])
        if (decoded.problems.length === 0) assert.isTrue(decoded.output.equals(compressedFrameContent))
        else assert.lengthOf(decoded.problems, 1)
      }
    }
  })
})

describe("encoders", () => {
  beforeAll(() => Compression.prepareEncoder("zstd"))

  /** Encodes `content` in pieces of the sizes that `cut` gives, the last of them repeated. */
  const encode = (kind: Kind, level: number, content: Uint8Array, cut: ReadonlyArray<number> = [100_000]): Buffer => {
    const parts: Array<Buffer> = []
    const encoder = Compression.makeEncoder(kind, level, (chunk, from, to) =>
      parts.push(Buffer.from(chunk.subarray(from, to)))
    )
    const padded = Buffer.concat([Buffer.alloc(3, 1), content, Buffer.alloc(5, 2)])
    for (let position = 0, index = 0; position < content.length; ) {
      const size = Math.min(content.length - position, Math.max(1, cut[Math.min(index++, cut.length - 1)]!))
      encoder.write(padded, 3 + position, 3 + position + size)
      position += size
    }
    const summary = encoder.end()
    const packed = Buffer.concat(parts)
    assert.deepStrictEqual(summary, { bytesIn: content.length, bytesOut: packed.length })
    return packed
  }

  const levels: ReadonlyArray<readonly [Kind, number]> = [
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((level) => ["gzip", level] as const),
    ...[1, 3, 9, 19].map((level) => ["zstd", level] as const)
  ]

  /** Content with copies near and far, long and short, from alphabets small and large. */
  const content = fc
    .tuple(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }).map((bytes) => ({ bytes: Buffer.from(bytes) })),
          fc.tuple(fc.nat(255), fc.nat(40_000)).map(([byte, times]) => ({ bytes: Buffer.alloc(times, byte) })),
          fc.tuple(fc.nat(40_000), fc.nat(600)).map(([back, length]) => ({ back, length }))
        ),
        { maxLength: 30 }
      ),
      fc.constantFrom(1, 3, 15, 255)
    )
    .map(([pieces, mask]) => {
      let out: Buffer = Buffer.alloc(0)
      for (const piece of pieces) {
        const added =
          "bytes" in piece
            ? piece.bytes.map((byte) => byte & mask)
            : out.subarray(Math.max(0, out.length - piece.back)).subarray(0, piece.length)
        out = Buffer.concat([out, added])
      }
      return out
    })

  for (const [kind, level] of levels) {
    it(`${kind} ${level}: what was encoded decodes, and is the same however it was cut`, () => {
      fc.assert(
        fc.property(
          content,
          fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 8 }),
          (bytes, cut) => {
            const packed = encode(kind, level, bytes, cut)
            assertSound(decode(kind, packed), bytes)
            if (kind === "gzip") assert.isTrue(zlib.gunzipSync(packed).equals(bytes))
            assert.isTrue(packed.equals(encode(kind, level, bytes, [bytes.length])), "depends on the cuts")
          }
        ),
        { numRuns: level > 9 ? 20 : 50 }
      )
    })
  }

  it("gzip: sizes around those of blocks and matches", () => {
    const long = sample(2 * 1024 * 1024 + 300)
    for (const level of [1, 6, 9]) {
      for (const size of [0, 1, 2, 3, 4, 7, 8, 9, 10, 257, 258, 259, 260, 65_535, 65_536]) {
        for (const bytes of [
          long.subarray(0, size),
          Buffer.alloc(size, 7),
          Buffer.from(long.subarray(0, size)).reverse()
        ]) {
          assertSound(decode("gzip", encode("gzip", level, bytes)), bytes, 1)
        }
      }
      for (const size of [-9, -1, 0, 1, 9].map((more) => 1024 * 1024 + more)) {
        assertSound(decode("gzip", encode("gzip", level, long.subarray(0, size), [size])), long.subarray(0, size), 1)
      }
      assertSound(decode("gzip", encode("gzip", level, long)), long, 1)
    }
  })

  it("zstd: a frame for each 4 MiB, one even for nothing", () => {
    const block = Compression.blockFormat("zstd").blockSize
    const long = Buffer.concat(Array.from({ length: 9 }, () => sample(1024 * 1024))).subarray(0, 2 * block + 1)
    for (const [size, frames] of [
      [0, 1],
      [1, 1],
      [block - 1, 1],
      [block, 1],
      [block + 1, 2],
      [2 * block, 2],
      [2 * block + 1, 3]
    ] as const) {
      assertSound(decode("zstd", encode("zstd", 1, long.subarray(0, size))), long.subarray(0, size), frames)
    }
  })

  it("gives the same bytes on every machine and every Node", () => {
    const bytes = Buffer.concat([sample(1_500_000), Buffer.alloc(100_000), crypto.createHash("sha512").digest()])
    const digests = levels.map(
      ([kind, level]) =>
        `${kind} ${level} ${crypto
          .createHash("sha256")
          .update(encode(kind, level, bytes))
          .digest("hex")
          .slice(0, 16)}`
    )
    assert.deepStrictEqual(digests, [
      "gzip 1 06bde1eb99809c7a",
      "gzip 2 df4392a04c3fcd81",
      "gzip 3 c916aada19979ea5",
      "gzip 4 eaeb28cd70db1d77",
      "gzip 5 2f75a26af53114b5",
      "gzip 6 2585e8586b21612a",
      "gzip 7 ae2c716232c487c1",
      "gzip 8 e072d9bfb210ec25",
      "gzip 9 b8fcfd7e92174e81",
      "zstd 1 3a91010266e68c9e",
      "zstd 3 aaf36731d5190711",
      "zstd 9 b80e0d3475ba47d3",
      "zstd 19 99e48bc20170acb6"
    ])
  })

  it("gzip: a header without time, name or system", () => {
    assert.strictEqual(encode("gzip", 9, Buffer.from("x")).subarray(0, 10).toString("hex"), "1f8b08000000000000ff")
  })

  it("hardly grows what cannot be compressed, and shrinks the rest as gzip and zstd do", () => {
    const noise = crypto.randomBytes(3_000_000)
    for (const [kind, level] of levels) assert.isAtMost(encode(kind, level, noise).length, noise.length + 1000)
    const text = sample(3_000_000)
    const sizes = levels.map(([kind, level]) => [`${kind} ${level}`, encode(kind, level, text).length] as const)
    const size = new Map(sizes)
    for (const level of [2, 3, 4, 5, 6, 7, 8, 9]) {
      assert.isAtMost(size.get(`gzip ${level}`)!, size.get(`gzip ${level - 1}`)! * 1.01)
    }
    assert.isAtMost(size.get("gzip 1")!, zlib.gzipSync(text, { level: 1 }).length * 1.03)
    assert.isAtMost(size.get("gzip 6")!, zlib.gzipSync(text, { level: 6 }).length * 1.1)
    assert.isAtMost(size.get("gzip 9")!, zlib.gzipSync(text, { level: 9 }).length * 1.03)
  })

  it("encodes blocks in any order to the same bytes", () => {
    const bytes = sample(9_000_000)
    for (const [kind, level] of [
      ["gzip", 6],
      ["gzip", 1],
      ["zstd", 3]
    ] as const) {
      const format = Compression.blockFormat(kind)
      const starts = Array.from({ length: Math.ceil(bytes.length / format.blockSize) }, (_, i) => i * format.blockSize)
      const blocks = starts
        .reverse()
        .map((start) => {
          const from = Math.max(0, start - format.historySize)
          const end = Math.min(bytes.length, start + format.blockSize)
          const input = bytes.subarray(from, end)
          return Buffer.from(format.encode(level, input, start - from, end - from, end === bytes.length))
        })
        .reverse()
      const tail = format.tail(Crc32.update(0, bytes, 0, bytes.length), bytes.length)
      assert.isTrue(Buffer.concat([format.head, ...blocks, tail]).equals(encode(kind, level, bytes)))
    }
  })

  it("keeps its memory to a few blocks", () => {
    const chunk = Buffer.alloc(1024 * 1024)
    for (const kind of ["gzip", "zstd"] as const) {
      const before = process.memoryUsage().rss
      let size = 0
      let largest = 0
      const encoder = Compression.makeEncoder(kind, 1, (_, from, to) => {
        size += to - from
        largest = Math.max(largest, to - from)
      })
      for (let i = 0; i < 300; i++) encoder.write(chunk, 0, chunk.length)
      assert.strictEqual(encoder.end().bytesOut, size)
      assert.isAtMost(largest, 1024 * 1024)
      assert.isAtMost(process.memoryUsage().rss - before, 100 * 1024 * 1024)
    }
  })

  it("refuses levels that the format does not have", () => {
    for (const [kind, level] of [
      ["gzip", 0],
      ["gzip", 10],
      ["gzip", 1.5],
      ["zstd", 0],
      ["zstd", 20],
      ["zstd", Number.NaN]
    ] as const) {
      assert.throws(() => Compression.makeEncoder(kind, level, () => {}), RangeError)
    }
  })

  const text = sample(2_500_000)
  for (const level of [1, 6, 9]) {
    for (const program of ["gzip", "pigz"] as const) {
      peerTest([program], `${program} decodes gzip ${level}`, () => {
        assert.isTrue(Buffer.from(run(program, ["-dc"], { input: encode("gzip", level, text) }).bytes).equals(text))
      })
    }
  }
  for (const level of [1, 3, 19]) {
    peerTest(["zstd"], `zstd decodes zstd ${level}`, () => {
      const long = Buffer.concat([text, text])
      assert.isTrue(Buffer.from(run("zstd", ["-dcq"], { input: encode("zstd", level, long) }).bytes).equals(long))
    })
  }
})
