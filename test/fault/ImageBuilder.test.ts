import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Codec from "../../src/content/Compression.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { peerTest, run } from "../peers/Peers.ts"
import * as Workbench from "./Workbench.ts"

const rich = ImageBuilder.rich()
const other = ImageBuilder.build({
  names: ["localhost/other:1", "localhost/other:latest"],
  layers: [rich.layers[0]!.tar, [Entry.file("own", "own")]]
})

const archives: Readonly<Record<string, ReadonlyArray<Entry.Entry>>> = {
  "docker, legacy": ImageBuilder.dockerLegacy([rich, other]),
  "docker, digest names": ImageBuilder.dockerDigestNames([rich, other]),
  "docker, hybrid": ImageBuilder.dockerHybrid([rich, other]),
  "docker, hybrid, gzip": ImageBuilder.dockerHybrid([rich, other], { compression: "gzip" }),
  "oci-archive": ImageBuilder.ociLayout([{ image: rich }, { image: other, compression: ["gzip", "zstd"] }]),
  "oci-archive, nested": ImageBuilder.ociLayout([
    { image: rich },
    {
      index: [
        { image: other, platform: true, compression: "zstd" },
        { image: ImageBuilder.build({ layers: [[Entry.file("arm")]], architecture: "arm64" }), platform: true }
      ],
      names: ["localhost/other:1"]
    }
  ])
}

describe("every form of an archive", () => {
  for (const [form, entries] of Object.entries(archives)) {
    it.scoped(`${form} is a source whose image arrives whole`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        for (const compression of ["none", "gzip", "zstd"] as const) {
          // Readers may not count on an order.
          const shuffled = compression === "none" ? entries : entries.toReversed()
          const archive = Workbench.archiveAt(directory, shuffled, `${compression}.tar`, compression)
          for (const [image, choice] of [
            [rich, "localhost/rich:1"],
            [other, "localhost/other:1&architecture=amd64"]
          ] as const) {
            const out = path.join(directory, `${compression}-${choice.slice(10, 14)}`)
            const { receipt, verification } = yield* Workbench.processUris(
              `tar://${archive}?image=${choice}`,
              `dir://${out}`
            )
            assert.deepStrictEqual(Workbench.findings(verification!), [
              ...(image === rich
                ? [["tar.path-not-utf8", `${rich.layers[1]!.diffId.slice(7)}/layer.tar`] as const]
                : [])
            ])
            assert.strictEqual(receipt.image, image.id)
            for (const layer of image.layers) {
              assert.isTrue(fs.readFileSync(path.join(out, layer.diffId.slice(7), "layer.tar")).equals(layer.tar))
            }
          }
        }
      })
    )

    it(`${form} has the same bytes each time`, () => {
      assert.isTrue(Buffer.from(ImageBuilder.archive(entries)).equals(ImageBuilder.archive(entries)))
    })

    peerTest(["gnutar", "bsdtar"], `${form} is read by GNU tar and bsdtar`, () =>
      Workbench.withScratch((directory) => {
        const archive = Workbench.archiveAt(directory, entries)
        const names = entries.map((entry) => entry.path)
        assert.deepStrictEqual(run("gnutar", ["tf", archive]).stdout.trim().split("\n"), names)
        assert.deepStrictEqual(run("bsdtar", ["tf", archive]).stdout.trim().split("\n"), names)
      })
    )

    peerTest(["skopeo"], `${form} is copied by skopeo, config and layers as they are`, () =>
      Workbench.withScratch((directory) => {
        const archive = Workbench.archiveAt(directory, entries)
        const source = form.startsWith("oci") ? "oci-archive" : "docker-archive"
        run("skopeo", ["copy", `${source}:${archive}:localhost/rich:1`, `dir:${directory}/out`])
        const manifest = JSON.parse(fs.readFileSync(`${directory}/out/manifest.json`, "utf8")) as {
          readonly config: { readonly digest: string }
          readonly layers: ReadonlyArray<{ readonly digest: string }>
        }
        assert.strictEqual(manifest.config.digest, rich.id)
        const tars = manifest.layers.map(({ digest }) => {
          const stored = fs.readFileSync(`${directory}/out/${digest.slice(7)}`)
          return stored[0] === 0x1f ? zlib.gunzipSync(stored) : stored
        })
        assert.deepStrictEqual(
          tars,
          rich.layers.map((layer) => Buffer.from(layer.tar))
        )
      })
    )
  }
})

describe("images", () => {
  it("have diff_ids, history and an ID that fit", () => {
    const config = JSON.parse(Buffer.from(rich.config).toString("utf8")) as {
      readonly rootfs: { readonly diff_ids: ReadonlyArray<string> }
      readonly history: ReadonlyArray<unknown>
    }
    const sha256 = (bytes: Uint8Array) => `sha256:${crypto.createHash("sha256").update(bytes).digest("hex")}`
    assert.deepStrictEqual(
      config.rootfs.diff_ids,
      rich.layers.map((layer) => sha256(layer.tar))
    )
    assert.strictEqual(config.history.length, 3)
    assert.strictEqual(rich.id, sha256(rich.config))
    assert.deepStrictEqual(ImageBuilder.rich(), rich)
  })

  it("take fields that are laid over, and lose those that are undefined", () => {
    const { config } = ImageBuilder.build({ layers: [], config: { created: "yesterday", history: undefined } })
    const value = JSON.parse(Buffer.from(config).toString("utf8")) as Record<string, unknown>
    assert.strictEqual(value["created"], "yesterday")
    assert.notProperty(value, "history")
  })
})

describe("directories", () => {
  it.scoped("are what the writer writes, but for the receipt", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const out = yield* Workbench.written(directory, rich)
      ImageBuilder.writeTree(path.join(directory, "built"), ImageBuilder.directory([rich]))
      const files = new Map(Workbench.snapshot(out))
      assert.isTrue(files.delete("receipt.json"))
      assert.deepStrictEqual(Workbench.snapshot(path.join(directory, "built")), files)
    })
  )

  it("refuse names that leave them", () =>
    Workbench.withScratch((directory) => {
      assert.throws(() => ImageBuilder.writeTree(directory, [Entry.file("../escaped")]), /cannot write/)
    }))
})

describe("compression", () => {
  it("zstd frames decode to what went in", async () => {
    await Codec.prepare()
    for (const size of [0, 1, 128 * 1024 - 1, 128 * 1024, 300_000]) {
      const bytes = crypto.createHash("shake256", { outputLength: size }).digest()
      const parts: Array<Buffer> = []
      const problems: Array<unknown> = []
      const decoder = Codec.makeDecoder(
        "zstd",
        (chunk, from, to) => parts.push(Buffer.from(chunk.subarray(from, to))),
        (problem) => problems.push(problem)
      )
      const stored = ImageBuilder.compress(bytes, "zstd")
      decoder.write(stored, 0, stored.length)
      assert.deepInclude(decoder.end(), { members: 1, complete: true, unread: 0 })
      assert.deepStrictEqual([Buffer.concat(parts), problems], [bytes, []])
    }
  })

  peerTest(["zstd", "gzip"], "the real programs decode it", () => {
    const bytes = crypto.createHash("shake256", { outputLength: 300_000 }).digest()
    for (const kind of ["zstd", "gzip"] as const) {
      const input = ImageBuilder.compress(bytes, kind)
      assert.isTrue(bytes.equals(run(kind, ["-dc"], { input }).bytes), kind)
    }
  })
})

describe("entries", () => {
  peerTest(["gnutar"], "sparse files of both forms unpack to their whole content", () =>
    Workbench.withScratch((directory) => {
      const map = {
        realSize: 70_000,
        segments: [
          [4096, Buffer.alloc(512, "one")],
          [65_536, Buffer.from("two")]
        ]
      } as const
      const archive = Workbench.archiveAt(directory, [
        Entry.sparse("deep/pax", map),
        Entry.sparse("gnu", map, "gnu"),
        Entry.file("behind", "x")
      ])
      run("gnutar", ["xf", archive, "-C", directory])
      const whole = Buffer.alloc(70_000)
      whole.fill("one", 4096, 4608)
      whole.write("two", 65_536)
      assert.isTrue(fs.readFileSync(`${directory}/deep/pax`).equals(whole))
      assert.isTrue(fs.readFileSync(`${directory}/gnu`).equals(whole))
      assert.strictEqual(fs.readFileSync(`${directory}/behind`, "utf8"), "x")
    })
  )

  peerTest(["python3"], "names, types and attributes are what Python reads", () =>
    Workbench.withScratch((directory) => {
      const archive = Workbench.archiveAt(directory, [
        Entry.file("caf\u00e9", "x", { mode: 0o4711, uid: 3_000_000, mtimeSeconds: -5, uname: "\u00fcser" }),
        Entry.file(Uint8Array.of(0x6c, 0xe9), "y"),
        Entry.device("dev", "block", 8, 1),
        Entry.whiteout("a/b"),
        Entry.opaque("a"),
        Entry.file("attributes", "", { xattrs: { "user.note": "text" }, pax: { comment: "\u00e9" } })
      ])
      const script = [
        "import sys, tarfile",
        "for m in tarfile.open(sys.argv[1], errors='surrogateescape'):",
        "  print([m.name.encode('utf8', 'surrogateescape').hex(), m.type.decode(), oct(m.mode), m.uid, m.mtime, m.uname, m.devmajor, m.devminor, m.pax_headers.get('SCHILY.xattr.user.note'), m.pax_headers.get('comment')])"
      ].join("\n")
      const lines = run("python3", ["-c", script, archive]).stdout.trim().split("\n")
      assert.deepStrictEqual(lines, [
        `['${Buffer.from("caf\u00e9").toString("hex")}', '0', '0o4711', 3000000, -5.0, '\u00fcser', 0, 0, None, None]`,
        "['6ce9', '0', '0o644', 0, 1600000000, '', 0, 0, None, None]",
        `['${Buffer.from("dev").toString("hex")}', '4', '0o600', 0, 1600000000, '', 8, 1, None, None]`,
        `['${Buffer.from("a/.wh.b").toString("hex")}', '0', '0o644', 0, 1600000000, '', 0, 0, None, None]`,
        `['${Buffer.from("a/.wh..wh..opq").toString("hex")}', '0', '0o644', 0, 1600000000, '', 0, 0, None, None]`,
        `['${Buffer.from("attributes").toString("hex")}', '0', '0o644', 0, 1600000000, '', 0, 0, 'text', '\u00e9']`
      ])
    })
  )
})
