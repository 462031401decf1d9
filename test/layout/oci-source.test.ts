import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MediaType from "../../src/image/MediaType.ts"
import * as ArchiveStore from "../../src/layout/ArchiveStore.ts"
import * as DirectoryStore from "../../src/layout/DirectoryStore.ts"
import type { SourceError } from "../../src/layout/Failure.ts"
import type { Candidate } from "../../src/layout/ImageSource.ts"
import * as OciSource from "../../src/layout/oci-layout/OciSource.ts"
import { readRegion } from "../../src/layout/Store.ts"
import {
  type Doc,
  type Files,
  hash,
  json,
  makeLayout,
  pack,
  pathOf,
  pool,
  put,
  putIndex,
  tar,
  withDirectory,
  writeTree
} from "./ociFixture.ts"

const uri = "oci-layout://x"

const using = <A, E>(files: Files, use: (candidates: ReadonlyArray<Candidate>) => Effect.Effect<A, E>) =>
  withDirectory((directory) =>
    Effect.suspend(() => {
      writeTree(directory, files)
      return Effect.flatMap(OciSource.candidates(DirectoryStore.make(directory), uri), use)
    })
  )

const list = (files: Files) =>
  using(files, (candidates) =>
    Effect.succeed(candidates.map(({ digest, names, platform }) => ({ digest, names, platform })))
  )

const failure = (files: Files): Effect.Effect<SourceError, unknown> =>
  Effect.flip(
    using(files, ([first]) => (first === undefined ? Effect.die("no candidate") : first.load))
  ) as Effect.Effect<SourceError, unknown>

const replaceIndex = (files: Files, manifests: ReadonlyArray<Doc>): void => {
  files.set("index.json", json({ schemaVersion: 2, manifests }))
}

const linux = { os: "linux", architecture: "amd64" }

describe("OciSource", () => {
  for (const [name, edits] of Object.entries({
    OCI: {},
    "Docker schema 2": { docker: true },
    sha512: { algorithm: "sha512" as const }
  })) {
    it.effect(`loads an image, ${name}: documents verbatim, layers where they lie`, () => {
      const layout = makeLayout(edits)
      return using(layout.files, (candidates) =>
        Effect.gen(function* () {
          assert.strictEqual(candidates.length, 1)
          const image = yield* candidates[0]!.load
          assert.deepStrictEqual(image.names, ["v1"])
          assert.deepStrictEqual(Buffer.from(image.manifest!.raw), layout.files.get(layout.manifest)!)
          assert.strictEqual(image.manifest!.digest as string, layout.entry.digest)
          assert.strictEqual(image.manifest!.mediaType, layout.entry.mediaType)
          assert.deepStrictEqual(Buffer.from(image.config.raw), layout.files.get(layout.config)!)
          assert.deepStrictEqual(
            image.layers.map((one) => [one.index, one.name, one.diffId as string]),
            layout.layers.map((file, index) => [index, file, layout.diffIds[index]!])
          )
          assert.deepStrictEqual(
            image.layers.map((one) => pathOf(one.digest!)),
            [...layout.layers]
          )
          for (const layer of image.layers) {
            const read = readRegion(layer.bytes, 1 << 20)
            assert.isTrue("bytes" in read && Buffer.compare(read.bytes, layout.files.get(layer.name)!) === 0)
          }
          assert.deepStrictEqual(image.platform, linux)
          assert.strictEqual(image.source, uri)
        })
      )
    })
  }

  it.effect("finds the images of nested indexes, once each, with every name", () => {
    const amd = makeLayout()
    const arm = makeLayout({
      config: (document) => ({ ...document, architecture: "arm64" }),
      layers: [tar({ arm: "x" })]
    })
    const { files } = amd
    for (const [name, bytes] of arm.files) if (name.startsWith("blobs/")) files.set(name, bytes)
    const inner = putIndex(files, [
      { ...amd.entry, annotations: undefined, platform: linux },
      { ...arm.entry, annotations: undefined }
    ])
    replaceIndex(files, [
      {
        ...inner,
        annotations: { "org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/library/app:1" }
      },
      { ...putIndex(files, [inner]), annotations: { "org.opencontainers.image.ref.name": "latest" } },
      { ...amd.entry, annotations: { "org.opencontainers.image.ref.name": "amd" } }
    ])
    return Effect.map(list(files), (found) => {
      assert.deepStrictEqual(
        found.map(({ digest, names, platform }) => [digest as string, names, platform]),
        [
          [amd.entry.digest, ["docker.io/library/app:1", "latest", "amd"], linux],
          [arm.entry.digest, ["docker.io/library/app:1", "latest"], { os: "linux", architecture: "arm64" }]
        ]
      )
    })
  })

  it.effect("leaves out attestations, artifacts, and what an index lists that is not there", () => {
    const image = makeLayout()
    const attestation = makeLayout({ layers: [tar({ statement: "x" })] })
    const { files } = image
    for (const [name, bytes] of attestation.files) if (name.startsWith("blobs/")) files.set(name, bytes)
    const artifact = put(
      files,
      json({
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        artifactType: "a/b",
        config: { mediaType: MediaType.ociEmpty, ...put(files, Buffer.from("{}")) },
        layers: []
      })
    )
    replaceIndex(files, [
      putIndex(files, [
        image.entry,
        {
          ...attestation.entry,
          annotations: { "vnd.docker.reference.type": "attestation-manifest" },
          platform: { os: "unknown", architecture: "unknown" }
        },
        {
          mediaType: MediaType.ociManifest,
          digest: hash(Buffer.from("gone")),
          size: 4,
          platform: { os: "linux", architecture: "s390x" }
        }
      ]),
      { mediaType: MediaType.ociManifest, ...artifact },
      { mediaType: "application/vnd.example", ...put(files, Buffer.from("anything")) }
    ])
    return Effect.map(list(files), (found) =>
      assert.deepStrictEqual(
        found.map((one) => one.digest as string),
        [image.entry.digest]
      )
    )
  })

  it.effect("says so when artifacts are all there is", () => {
    const { entry, files } = makeLayout({
      manifest: (document) => {
        document.config.mediaType = "application/vnd.example.config"
      }
    })
    const again = { ...entry, annotations: { "org.opencontainers.image.ref.name": "v2" } }
    replaceIndex(files, [entry, again, putIndex(files, [entry])])
    return Effect.map(failure(files), (error) => {
      assert.strictEqual(error.reason, "NoSuchImage")
      assert.include(error.message, "found 1 artifact and no image")
    })
  })

  it.effect("leaves out what cosign stores beside an image under the same name", () => {
    const named = (entry: Doc, kind: string): Doc => ({
      ...entry,
      annotations: { kind: `dev.cosignproject.cosign/${kind}`, "org.opencontainers.image.ref.name": "example.org/x:1" }
    })
    const { entry, files } = makeLayout()
    const signature = makeLayout({
      layers: [Buffer.from('{"critical":{}}')],
      compression: "none",
      manifest: (document) => {
        document.layers[0].mediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
      }
    })
    for (const [name, bytes] of signature.files) if (name.startsWith("blobs/")) files.set(name, bytes)
    replaceIndex(files, [named(entry, "image"), named(signature.entry, "sigs")])
    return Effect.map(list(files), (all) =>
      assert.deepStrictEqual(all, [{ digest: entry.digest, names: ["example.org/x:1"], platform: linux }])
    )
  })

  it.effect("has no candidates in an empty layout", () =>
    Effect.map(
      list(
        makeLayout({
          index: (document) => {
            document.manifests = []
          }
        }).files
      ),
      (found) => assert.deepStrictEqual(found, [])
    )
  )

  it.effect("reads layers from an archive in place", () => {
    const layout = makeLayout()
    return withDirectory((directory) =>
      Effect.gen(function* () {
        const file = path.join(directory, "x.tar")
        fs.writeFileSync(file, pack(layout.files))
        const store = yield* ArchiveStore.open(file)
        const [candidate] = yield* OciSource.candidates(store, "tar://x")
        const image = yield* candidate!.load
        assert.isTrue(image.layers.every((layer) => layer.bytes.path === file && layer.bytes.offset > 0))
        const read = readRegion(image.layers[1]!.bytes, 1 << 20)
        assert.isTrue("bytes" in read && Buffer.compare(read.bytes, layout.files.get(layout.layers[1]!)!) === 0)
      })
    ).pipe(Effect.scoped, Effect.provide(pool))
  })

  const damaged: Readonly<
    Record<
      string,
      { readonly change: (files: Files, layout: ReturnType<typeof makeLayout>) => void; readonly says: string }
    >
  > = {
    "a manifest that was changed": {
      change: (files, { manifest }) => files.get(manifest)!.writeUInt8(0x20, 1),
      says: "was changed"
    },
    "a manifest that is missing": { change: (files, { manifest }) => files.delete(manifest), says: "found nothing" },
    "a config that was changed": {
      change: (files, { config }) => files.get(config)!.writeUInt8(0x20, 1),
      says: "was changed"
    },
    "a config of another size": {
      change: (files, { config }) => files.set(config, Buffer.concat([files.get(config)!, Buffer.from(" ")])),
      says: "bytes"
    },
    "a layer that is missing": { change: (files, { layers }) => files.delete(layers[1]!), says: "expected layer 1" },
    "a layer of another size": {
      change: (files, { layers }) => files.set(layers[1]!, Buffer.from("short")),
      says: "bytes"
    }
  }
  for (const [name, { change, says }] of Object.entries(damaged)) {
    it.effect(`fails to load ${name}`, () => {
      const layout = makeLayout()
      change(layout.files, layout)
      return Effect.map(failure(layout.files), (error) => {
        assert.strictEqual(error.reason, "Damaged", error.message)
        assert.include(error.message, says)
        assert.notInclude(error.message, "\n")
      })
    })
  }

  it.effect("a damaged image does not keep the others from being used", () => {
    const broken = makeLayout()
    const fine = makeLayout({
      layers: [tar({ fine: "x" })],
      entry: (entry) => {
        entry.annotations = { "org.opencontainers.image.ref.name": "v2" }
      }
    })
    const files: Files = new Map([...broken.files, ...fine.files])
    replaceIndex(files, [broken.entry, fine.entry])
    files.delete(broken.manifest)
    return using(files, (candidates) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(
          candidates.map((one) => one.names),
          [["v1"], ["v2"]]
        )
        assert.strictEqual((yield* Effect.flip(candidates[0]!.load)).reason, "Damaged")
        assert.deepStrictEqual((yield* candidates[1]!.load).names, ["v2"])
      })
    )
  })

  it.effect("says where a layer is to be had that is not there", () => {
    const layout = makeLayout({
      manifest: (document) => {
        document.layers[0].urls = ["https://example.com/base"]
      }
    })
    layout.files.delete(layout.layers[0]!)
    return Effect.map(failure(layout.files), (error) => {
      assert.strictEqual(error.reason, "Unsupported")
      assert.include(error.message, "https://example.com/base")
    })
  })

  it.effect("refuses an index that contains itself", () => {
    const { files } = makeLayout()
    const own = { mediaType: MediaType.ociIndex, digest: `sha256:${"0".repeat(64)}`, size: 10 }
    files.set(pathOf(own.digest), json({ schemaVersion: 2, manifests: [own] }))
    replaceIndex(files, [own])
    return Effect.map(failure(files), (error) => assert.strictEqual(error.reason, "Damaged"))
  })

  for (const [name, bytes] of Object.entries({
    "no JSON": "{",
    "an array": "[]",
    "null for a list": '{"schemaVersion":2,"manifests":null}',
    "a deep nest": "[".repeat(100_000)
  })) {
    it.effect(`refuses an index.json that is ${name}`, () => {
      const { files } = makeLayout()
      files.set("index.json", Buffer.from(bytes))
      return Effect.map(failure(files), (error) => {
        assert.strictEqual(error.reason, "Damaged")
        assert.notInclude(error.message, "\n")
        assert.isBelow(error.message.length, 1000)
      })
    })
  }
})
