import * as cp from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { refName } from "../../src/check/AnnotationChecks.ts"
import { type CheckId, catalog } from "../../src/check/Catalog.ts"
import type { Policy } from "../../src/check/Policy.ts"
import { compress } from "../../src/fault/ImageBuilder.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as SavedImages from "../../src/layout/docker-archive/SavedImages.ts"
import * as OciVerifier from "../../src/layout/oci-layout/OciVerifier.ts"
import * as Receipt from "../../src/layout/Receipt.ts"
import type { Verification, VerifyOptions } from "../../src/layout/Verifier.ts"
import {
  complaints,
  type Doc,
  type Edits,
  type Files,
  found,
  hash,
  idsOf,
  join,
  json,
  type Layout,
  makeLayout,
  pathOf,
  platform,
  pool,
  put,
  putIndex,
  tar,
  told,
  withDirectory,
  writeTree
} from "./ociFixture.ts"

const verifyAt = (directory: string, options: VerifyOptions) =>
  Effect.flatMap(OciVerifier.make({ path: directory, saved: Effect.succeed(SavedImages.auditBeside) }), (verifier) =>
    verifier.verify(options)
  ).pipe(Effect.provide(pool))

const verify = (
  files: Files,
  depth: "fast" | "full" = "full",
  disk: (directory: string) => void = () => {},
  policy: Policy = {}
) =>
  withDirectory((directory) =>
    Effect.suspend(() => {
      writeTree(directory, files)
      disk(directory)
      return verifyAt(directory, { depth, policy })
    })
  )

const setting = (key: string, value: unknown) => (document: Doc) => {
  document[key] = value
}

const without = (key: string) => (document: Doc) => {
  delete document[key]
}

/** Sets or takes a property of the config's descriptor. */
const configDescriptor = (changes: Doc) => (manifest: Doc) => {
  Object.assign(manifest.config, changes)
}

/** `{"a":1,"a":2}` cannot be had from JSON.stringify. */
const doubled = (document: Doc): Buffer => Buffer.from(JSON.stringify(document).replace("{", '{"x":1,"x":2,'))

const empty = { mediaType: MediaType.ociEmpty, digest: MediaType.emptyDigest, size: 2 }
const zeros = "0".repeat(64)

interface Case {
  readonly id: CheckId
  readonly subject: string | ((layout: Layout) => string)
  readonly edits?: Edits
  /** Changes to the files that the layout consists of. */
  readonly files?: (files: Files, layout: Layout) => void
  readonly disk?: (directory: string, layout: Layout) => void
  /** The shallowest depth that reports it; fast unless given. */
  readonly depth?: "full"
  readonly name?: string
}

const replaceIndex = (files: Files, manifests: ReadonlyArray<Doc>): void => {
  files.set("index.json", json({ schemaVersion: 2, manifests }))
}

const nested = (files: Files, entries: ReadonlyArray<Doc>): string => {
  const descriptor = putIndex(files, entries)
  replaceIndex(files, [descriptor])
  return pathOf(descriptor.digest)
}

/** A second image for another platform, all of it in the files. */
const addArm = (files: Files): Layout => {
  const arm = makeLayout({ config: setting("architecture", "arm64"), layers: [tar({ "bin/arm": "arm" })] })
  for (const [name, bytes] of arm.files) if (name.startsWith("blobs/")) files.set(name, bytes)
  return arm
}

const manifest = (layout: Layout): string => layout.manifest
const config = (layout: Layout): string => layout.config
const layer = (layout: Layout): string => layout.layers[0]!

const artifact = (changes: Doc) => (document: Doc) => ({
  schemaVersion: 2,
  mediaType: MediaType.ociManifest,
  artifactType: "application/vnd.example",
  config: empty,
  layers: document.layers.map((one: Doc) => ({ ...one, mediaType: "text/plain" })),
  ...changes
})

const braces = (files: Files): void => {
  put(files, Buffer.from("{}"))
}

/** The document's bytes with this text in place of that. */
const replacing = (text: string, other: string) => (document: Doc) =>
  Buffer.from(JSON.stringify(document).replace(text, other))

/** The size of a document's first descriptor, spelt another way. */
const sizeAs = (form: (size: number) => string) => (document: Doc) => {
  const { size } = document.config ?? document.manifests[0]
  return replacing(`"size":${size}`, `"size":${form(size)}`)(document)
}

const chunked = "io.github.containers.zstd-chunked."

/**
 * An image whose first layer is zstd:chunked: the tar's frame, and behind it one that decoders skip, with a table of contents
 * (RFC 8878 section 3.1.2). `change` has the annotations, which give the table's place and digest, and the layer's size.
 */
const withTable = (change: (annotations: Doc, size: number) => void = () => {}): Layout => {
  const table = Buffer.from("what files there are, and where")
  const frame = Buffer.alloc(8)
  frame.writeUInt32LE(0x184d2a50)
  frame.writeUInt32LE(table.length, 4)
  const plain = tar({ "etc/": "", "etc/hostname": "base" })
  const stored = Buffer.concat([compress(plain, "zstd"), frame, table])
  const layers: Files = new Map()
  const layout = makeLayout({
    layers: [plain],
    manifest: (document) => {
      const annotations = {
        [`${chunked}manifest-checksum`]: hash(table),
        [`${chunked}manifest-position`]: `${stored.length - table.length}:${table.length}:100:1`
      }
      change(annotations, stored.length)
      document.layers = [{ mediaType: MediaType.ociLayerZstd, ...put(layers, stored), annotations }]
    }
  })
  layout.files.delete(layout.layers[0]!)
  for (const [name, bytes] of layers) layout.files.set(name, bytes)
  return { ...layout, layers: [...layers.keys()] }
}

const cases: ReadonlyArray<Case> = [
  {
    id: "layer.diff-id-mismatch",
    name: "a plain layer whose digest is another",
    subject: layer,
    edits: { compression: "none", config: (document) => void document.rootfs.diff_ids.reverse() }
  },
  {
    id: "manifest.no-artifact-type",
    name: "an empty one",
    subject: manifest,
    edits: { manifest: artifact({ artifactType: "" }) },
    files: braces
  },
  {
    id: "config.wrong-type",
    name: "a port with a value",
    subject: config,
    edits: { config: (document) => void (document.config.ExposedPorts = { "80/tcp": 80 }) }
  },
  // Names that readers in Go take for others.
  {
    id: "json.ambiguous-name",
    name: "layers of a manifest",
    subject: manifest,
    edits: { manifest: replacing('"layers":', '"Layers":[],"layers":') }
  },
  {
    id: "json.ambiguous-name",
    name: "layers with a long s",
    subject: manifest,
    edits: { manifest: replacing('"layers":', '"layer\u017f":[],"layers":') }
  },
  {
    id: "json.ambiguous-name",
    name: "the digest of a descriptor",
    subject: manifest,
    edits: { manifest: replacing('"digest":', `"Digest":"sha256:${zeros}","digest":`) }
  },
  {
    id: "json.ambiguous-name",
    name: "manifests of index.json",
    subject: "index.json",
    edits: { index: setting("MANIFESTS", []) }
  },
  {
    id: "json.ambiguous-name",
    name: "a platform",
    subject: "index.json",
    edits: { entry: setting("platform", { ...platform, OS: "windows" }) }
  },
  {
    id: "json.ambiguous-name",
    name: "rootfs of a config",
    subject: config,
    edits: { config: setting("RootFS", { type: "layers", diff_ids: [] }) }
  },
  {
    id: "json.ambiguous-name",
    name: "Env of a config",
    subject: config,
    edits: { config: ({ config: inner, ...document }) => ({ ...document, config: { ...inner, env: ["A=b"] } }) }
  },
  {
    id: "json.ambiguous-name",
    name: "diff_ids of a config",
    subject: config,
    edits: { config: ({ rootfs, ...document }) => ({ ...document, rootfs: { ...rootfs, Diff_IDs: [] } }) }
  },
  {
    id: "json.ambiguous-name",
    name: "a history entry",
    subject: config,
    edits: { config: (document) => ({ ...document, history: [{ empty_layer: true, Empty_Layer: false }, {}, {}] }) }
  },
  {
    id: "json.ambiguous-name",
    name: "oci-layout",
    subject: "oci-layout",
    edits: { layoutFile: setting("ImageLayoutVersion", "2.0.0") }
  },
  { id: "json.name-case", subject: manifest, edits: { manifest: setting("Annotations", { a: "b" }) } },
  {
    id: "json.name-case",
    name: "a subject",
    subject: manifest,
    edits: {
      manifest: setting("Subject", { mediaType: MediaType.ociManifest, digest: `sha256:${zeros}`, size: 1 })
    }
  },
  { id: "manifest.ambiguous", name: "in other case", subject: manifest, edits: { manifest: setting("Manifests", []) } },
  { id: "index.ambiguous", name: "in other case", subject: "index.json", edits: { index: setting("LAYERS", []) } },
  // Numbers that readers in Go refuse.
  ...(
    [
      ["with a point", (size) => `${size}.0`],
      ["with an exponent", (size) => `${size}e0`],
      ["with an exponent and a sign", (size) => `${size}0E-1`]
    ] as ReadonlyArray<readonly [string, (size: number) => string]>
  ).flatMap(
    ([name, form]): ReadonlyArray<Case> => [
      { id: "descriptor.bad-size", name, subject: manifest, edits: { manifest: sizeAs(form) } },
      { id: "descriptor.bad-size", name: `${name}, index.json`, subject: "index.json", edits: { index: sizeAs(form) } }
    ]
  ),
  {
    id: "manifest.bad-schema-version",
    name: "with a point",
    subject: manifest,
    edits: { manifest: replacing('"schemaVersion":2', '"schemaVersion":2.0') }
  },
  {
    id: "index.bad-schema-version",
    name: "with an exponent",
    subject: "index.json",
    edits: { index: replacing('"schemaVersion":2', '"schemaVersion":2e0') }
  },
  {
    id: "config.duplicate-key",
    name: "surrogates that are one character to others",
    subject: config,
    edits: { config: replacing("{", '{"\\ud800":1,"\\ud801":2,') }
  },
  {
    id: "index.media-type-mismatch",
    name: "index.json as Docker's list",
    subject: "index.json",
    edits: { index: setting("mediaType", MediaType.dockerManifestList) }
  },
  // Configs that readers in Go refuse.
  ...Object.entries({
    empty_layer: "true",
    created_by: 1,
    author: {},
    comment: []
  }).map(
    ([field, value]): Case => ({
      id: "config.wrong-type",
      name: `history ${field}`,
      subject: config,
      edits: { config: (document) => ({ ...document, history: [{ [field]: value }, {}] }) }
    })
  ),
  {
    id: "config.wrong-type",
    name: "a command that is a string",
    subject: config,
    edits: { config: setting("config", { Cmd: "sh -c true" }) }
  },
  {
    id: "config.wrong-type",
    name: "a command of numbers",
    subject: config,
    edits: { config: setting("config", { Cmd: ["sh", 1] }) }
  },
  {
    id: "config.wrong-type",
    name: "ArgsEscaped",
    subject: config,
    edits: { config: setting("config", { ArgsEscaped: "yes" }) }
  },
  // The frame.
  { id: "oci-layout.missing", subject: "oci-layout", files: (files) => files.delete("oci-layout") },
  { id: "oci-layout.invalid-json", subject: "oci-layout", files: (files) => files.set("oci-layout", Buffer.from("{")) },
  {
    id: "oci-layout.invalid-json",
    name: "an array",
    subject: "oci-layout",
    files: (files) => files.set("oci-layout", Buffer.from("[]"))
  },
  { id: "oci-layout.duplicate-key", subject: "oci-layout", edits: { layoutFile: doubled } },
  {
    id: "oci-layout.bad-version",
    subject: "oci-layout",
    edits: { layoutFile: setting("imageLayoutVersion", "2.0.0") }
  },
  {
    id: "oci-layout.bad-version",
    name: "a number",
    subject: "oci-layout",
    edits: { layoutFile: setting("imageLayoutVersion", 1) }
  },
  {
    id: "oci-layout.bad-version",
    name: "none",
    subject: "oci-layout",
    edits: { layoutFile: without("imageLayoutVersion") }
  },
  {
    id: "oci-layout.no-blobs",
    subject: "blobs",
    disk: (directory) => fs.rmSync(path.join(directory, "blobs"), { recursive: true })
  },
  {
    id: "oci-layout.no-blobs",
    name: "a file",
    subject: "blobs",
    disk: (directory) => {
      fs.rmSync(path.join(directory, "blobs"), { recursive: true })
      fs.writeFileSync(path.join(directory, "blobs"), "")
    }
  },
  { id: "oci-layout.extra-file", subject: "notes.txt", files: (files) => files.set("notes.txt", Buffer.from("hello")) },

  // Indexes.
  { id: "index.missing", subject: "index.json", files: (files) => files.delete("index.json") },
  {
    id: "index.missing",
    name: "nested",
    subject: pathOf(`sha256:${zeros}`),
    files: (files) => replaceIndex(files, [{ mediaType: MediaType.ociIndex, digest: `sha256:${zeros}`, size: 10 }])
  },
  {
    id: "index.unreadable",
    subject: "index.json",
    disk: (directory) => {
      fs.rmSync(path.join(directory, "index.json"))
      fs.mkdirSync(path.join(directory, "index.json"))
    }
  },
  {
    id: "index.invalid-json",
    subject: "index.json",
    files: (files) => files.set("index.json", Buffer.from('{"schemaVersion": 2,'))
  },
  {
    id: "index.invalid-json",
    name: "an array",
    subject: "index.json",
    files: (files) => files.set("index.json", Buffer.from("[]"))
  },
  {
    id: "index.invalid-json",
    name: "not UTF-8",
    subject: "index.json",
    files: (files) => files.set("index.json", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))
  },
  {
    id: "index.invalid-json",
    name: "nested 100,000 deep",
    subject: "index.json",
    files: (files) => files.set("index.json", Buffer.from("[".repeat(100_000)))
  },
  { id: "index.duplicate-key", subject: "index.json", edits: { index: doubled } },
  {
    id: "index.size-mismatch",
    subject: (layout) => pathOf(putIndex(new Map(), [layout.entry]).digest),
    files: (files, layout) => {
      const descriptor = putIndex(files, [layout.entry])
      replaceIndex(files, [{ ...descriptor, size: descriptor.size + 1 }])
    }
  },
  {
    id: "index.digest-mismatch",
    subject: pathOf(`sha256:${zeros}`),
    files: (files, layout) => {
      const descriptor = putIndex(files, [layout.entry])
      files.set(pathOf(`sha256:${zeros}`), files.get(pathOf(descriptor.digest))!)
      files.delete(pathOf(descriptor.digest))
      replaceIndex(files, [{ ...descriptor, digest: `sha256:${zeros}` }])
    }
  },
  { id: "index.bad-schema-version", subject: "index.json", edits: { index: setting("schemaVersion", 1) } },
  {
    id: "index.bad-schema-version",
    name: "a string",
    subject: "index.json",
    edits: { index: setting("schemaVersion", "2") }
  },
  {
    id: "index.media-type-mismatch",
    subject: "index.json",
    edits: { index: setting("mediaType", MediaType.ociManifest) }
  },
  {
    id: "index.media-type-mismatch",
    name: "Docker's list called OCI's index",
    subject: (layout) =>
      pathOf(putIndex(new Map(), [layout.entry], setting("mediaType", MediaType.dockerManifestList)).digest),
    files: (files, layout) =>
      replaceIndex(files, [putIndex(files, [layout.entry], setting("mediaType", MediaType.dockerManifestList))])
  },
  {
    id: "index.no-media-type",
    subject: (layout) => pathOf(putIndex(new Map(), [layout.entry], without("mediaType")).digest),
    files: (files, layout) => replaceIndex(files, [putIndex(files, [layout.entry], without("mediaType"))])
  },
  { id: "index.ambiguous", subject: "index.json", edits: { index: setting("layers", []) } },
  {
    id: "index.ambiguous",
    name: "a manifest listed as an index (CVE-2021-41190)",
    subject: manifest,
    edits: {
      entry: setting("mediaType", MediaType.ociIndex),
      manifest: (document) => ({ ...document, mediaType: MediaType.ociIndex, manifests: [] })
    }
  },
  { id: "index.missing-field", subject: "index.json", edits: { index: without("manifests") } },
  { id: "index.wrong-type", subject: "index.json", edits: { index: setting("manifests", null) } },
  {
    id: "index.wrong-type",
    name: "a platform that is no object",
    subject: "index.json",
    edits: { entry: setting("platform", "linux/amd64") }
  },
  {
    id: "index.wrong-type",
    name: "os.features",
    subject: "index.json",
    edits: { entry: setting("platform", { ...platform, "os.features": "x" }) }
  },
  {
    id: "index.wrong-type",
    name: "os.features of numbers",
    subject: "index.json",
    edits: { entry: setting("platform", { ...platform, "os.features": [1] }) }
  },
  { id: "index.empty", subject: "index.json", edits: { index: setting("manifests", []) } },
  { id: "index.bad-platform", subject: "index.json", edits: { entry: setting("platform", { os: "linux" }) } },
  {
    id: "index.bad-platform",
    name: "a number",
    subject: "index.json",
    edits: { entry: setting("platform", { os: "linux", architecture: 64 }) }
  },
  {
    id: "index.empty-platform",
    subject: "index.json",
    edits: { entry: setting("platform", { os: "", architecture: "" }) }
  },
  {
    id: "index.empty-platform",
    name: "of no members",
    subject: "index.json",
    edits: { entry: setting("platform", {}) }
  },
  {
    id: "index.empty-platform",
    name: "of nulls",
    subject: "index.json",
    edits: { entry: setting("platform", { os: null, architecture: null, variant: null, "os.version": null }) }
  },
  {
    id: "index.bad-platform",
    name: "a null",
    subject: "index.json",
    edits: { entry: setting("platform", { os: "linux", architecture: null }) }
  },
  {
    id: "index.platform-mismatch",
    subject: manifest,
    edits: { entry: setting("platform", { os: "linux", architecture: "arm64" }) }
  },
  {
    id: "index.platform-mismatch",
    name: "another os",
    subject: manifest,
    edits: { entry: setting("platform", { ...platform, os: "windows" }) }
  },
  {
    id: "index.variant-mismatch",
    subject: manifest,
    edits: {
      config: (document) => ({ ...document, architecture: "arm", variant: "v6" }),
      entry: setting("platform", { os: "linux", architecture: "arm", variant: "v7" })
    }
  },
  {
    id: "index.os-version-mismatch",
    subject: manifest,
    edits: {
      config: (document) => ({ ...document, os: "windows", "os.version": "10.0.17763.1" }),
      entry: setting("platform", { os: "windows", architecture: "amd64", "os.version": "10.0.20348.1" })
    }
  },
  {
    id: "index.duplicate-name",
    subject: "index.json",
    files: (files, layout) => replaceIndex(files, [layout.entry, addArm(files).entry])
  },
  {
    id: "index.duplicate-name",
    name: "two of one kind",
    subject: "index.json",
    files: (files, layout) => {
      const kind = (entry: Doc): Doc => ({ ...entry, annotations: { ...entry.annotations, kind: "x/image" } })
      replaceIndex(files, [kind(layout.entry), kind(addArm(files).entry)])
    }
  },
  {
    id: "index.incomplete",
    subject: pathOf(`sha256:${zeros}`),
    files: (files, layout) => {
      put(files, Buffer.from("left over"))
      nested(files, [
        layout.entry,
        {
          mediaType: MediaType.ociManifest,
          digest: `sha256:${zeros}`,
          size: 400,
          platform: { os: "linux", architecture: "arm64" }
        }
      ])
    }
  },
  {
    id: "index.cycle",
    subject: pathOf(`sha256:${zeros}`),
    files: (files) => {
      const own = { mediaType: MediaType.ociIndex, digest: `sha256:${zeros}`, size: 1 }
      files.set(pathOf(own.digest), json({ schemaVersion: 2, manifests: [own] }))
      replaceIndex(files, [own])
    }
  },
  {
    id: "index.too-deep",
    subject: (layout) => pathOf(putIndex(new Map(), [layout.entry]).digest),
    files: (files, layout) => {
      let descriptor = putIndex(files, [layout.entry])
      for (let depth = 0; depth < 40; depth++) descriptor = putIndex(files, [descriptor])
      // The one that is reached at the limit: found by going down as far.
      replaceIndex(files, [descriptor])
    }
  },

  {
    id: "index.too-many-entries",
    subject: "index.json",
    edits: {
      index: setting(
        "manifests",
        Array.from({ length: 100_001 }, () => 1)
      )
    }
  },

  // Descriptors.
  { id: "descriptor.missing-field", subject: "index.json", edits: { entry: without("mediaType") } },
  { id: "descriptor.missing-field", name: "digest", subject: "index.json", edits: { entry: without("digest") } },
  {
    id: "descriptor.missing-field",
    name: "size",
    subject: manifest,
    edits: {
      manifest: (document) => {
        delete document.layers[1].size
      }
    }
  },
  {
    id: "descriptor.wrong-type",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.layers[0] = "layer"
      }
    }
  },
  {
    id: "descriptor.wrong-type",
    name: "a size in quotes",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.layers[0].size = "12"
      }
    }
  },
  {
    id: "descriptor.wrong-type",
    name: "urls",
    subject: manifest,
    edits: { manifest: configDescriptor({ urls: "https://example.com" }) }
  },
  {
    id: "descriptor.bad-media-type",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.layers[0].mediaType = "layer"
      }
    }
  },
  {
    id: "descriptor.bad-media-type",
    name: "too long",
    subject: "index.json",
    edits: { entry: setting("mediaType", `application/${"x".repeat(128)}`) }
  },
  {
    id: "descriptor.bad-digest",
    subject: "index.json",
    edits: { entry: setting("digest", `sha256:${zeros.slice(1)}`) }
  },
  {
    id: "descriptor.bad-digest",
    name: "upper case",
    subject: "index.json",
    edits: { entry: setting("digest", `sha256:${"A".repeat(64)}`) }
  },
  {
    id: "descriptor.bad-digest",
    name: "sha512 of 64",
    subject: "index.json",
    edits: { entry: setting("digest", `sha512:${zeros}`) }
  },
  {
    id: "descriptor.bad-digest",
    name: "out of the layout",
    subject: "index.json",
    edits: { entry: setting("digest", "../../../etc:passwd") }
  },
  {
    id: "descriptor.unknown-algorithm",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.layers[0].digest = "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"
      }
    },
    files: (files, layout) =>
      files.set("blobs/sha256+b64u/LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", files.get(layer(layout))!)
  },
  { id: "descriptor.bad-size", subject: "index.json", edits: { entry: setting("size", -1) } },
  { id: "descriptor.bad-size", name: "a fraction", subject: "index.json", edits: { entry: setting("size", 1.5) } },
  {
    id: "descriptor.bad-size",
    name: "beyond 2^53",
    subject: "index.json",
    edits: {
      index: (document) => Buffer.from(JSON.stringify(document).replace(/"size":\d+/, '"size":9223372036854775807'))
    }
  },
  {
    id: "descriptor.bad-url",
    subject: manifest,
    edits: { manifest: configDescriptor({ urls: ["https://example.com/a b"] }) }
  },
  {
    id: "descriptor.bad-url",
    name: "relative",
    subject: manifest,
    edits: { manifest: configDescriptor({ urls: ["/layers/1"] }) }
  },
  {
    id: "descriptor.url-scheme",
    subject: manifest,
    edits: { manifest: configDescriptor({ urls: ["file:///etc/passwd"] }) }
  },
  { id: "descriptor.bad-data", subject: manifest, edits: { manifest: configDescriptor({ data: "not base64!" }) } },
  {
    id: "descriptor.data-mismatch",
    subject: manifest,
    edits: { manifest: configDescriptor({ data: Buffer.from("{}").toString("base64") }) }
  },
  {
    id: "descriptor.data-mismatch",
    name: "of the right size",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.config.data = Buffer.alloc(document.config.size, "x").toString("base64")
      }
    }
  },
  { id: "descriptor.bad-artifact-type", subject: "index.json", edits: { entry: setting("artifactType", "no type") } },
  {
    id: "descriptor.bad-artifact-type",
    name: "of a manifest",
    subject: manifest,
    edits: { manifest: setting("artifactType", "//") }
  },
  {
    id: "descriptor.not-empty",
    subject: manifest,
    edits: { manifest: artifact({ config: { ...empty, size: 3 } }) },
    files: braces
  },
  {
    id: "descriptor.not-empty",
    name: "another digest",
    subject: manifest,
    edits: { manifest: artifact({ config: { ...empty, digest: hash(Buffer.from("[]")) } }) },
    files: (files) => void put(files, Buffer.from("[]"))
  },

  // Annotations.
  { id: "annotation.not-a-map", subject: manifest, edits: { manifest: setting("annotations", ["a"]) } },
  { id: "annotation.null", subject: "index.json", edits: { index: setting("annotations", null) } },
  { id: "annotation.not-a-string", subject: manifest, edits: { manifest: setting("annotations", { a: 1 }) } },
  {
    id: "annotation.reserved-key",
    subject: manifest,
    edits: { manifest: setting("annotations", { "org.opencontainers.image.mine": "x" }) }
  },
  {
    id: "annotation.bad-ref-name",
    subject: "index.json",
    edits: { entry: setting("annotations", { "org.opencontainers.image.ref.name": "a b" }) }
  },

  // Manifests.
  { id: "manifest.missing", subject: manifest, files: (files, layout) => files.delete(layout.manifest) },
  {
    id: "manifest.missing",
    name: "of a platform whose config is there",
    subject: () => addArm(new Map()).manifest,
    files: (files, layout) => {
      const arm = addArm(files)
      files.delete(arm.manifest)
      nested(files, [layout.entry, { ...arm.entry, platform: { os: "linux", architecture: "arm64" } }])
    }
  },
  {
    id: "manifest.unreadable",
    subject: manifest,
    disk: (directory, layout) => {
      fs.rmSync(path.join(directory, layout.manifest))
      fs.mkdirSync(path.join(directory, layout.manifest))
    }
  },
  { id: "manifest.invalid-json", subject: manifest, edits: { manifest: () => Buffer.from('{"schemaVersion":') } },
  { id: "manifest.invalid-json", name: "an array", subject: manifest, edits: { manifest: () => [] } },
  { id: "manifest.duplicate-key", subject: manifest, edits: { manifest: doubled } },
  {
    id: "manifest.size-mismatch",
    subject: manifest,
    edits: {
      entry: (entry) => {
        entry.size++
      }
    }
  },
  {
    id: "manifest.digest-mismatch",
    subject: manifest,
    files: (files, layout) => files.get(layout.manifest)!.writeUInt8(0x20, 1)
  },
  { id: "manifest.bad-schema-version", subject: manifest, edits: { manifest: setting("schemaVersion", 1) } },
  { id: "manifest.bad-schema-version", name: "none", subject: manifest, edits: { manifest: without("schemaVersion") } },
  {
    id: "manifest.media-type-mismatch",
    subject: manifest,
    edits: { manifest: setting("mediaType", MediaType.dockerManifest) }
  },
  {
    id: "manifest.media-type-mismatch",
    name: "two references by two types",
    subject: manifest,
    files: (files, layout) =>
      replaceIndex(files, [layout.entry, { ...layout.entry, mediaType: MediaType.dockerManifest }])
  },
  { id: "manifest.no-media-type", subject: manifest, edits: { manifest: without("mediaType") } },
  { id: "manifest.ambiguous", subject: manifest, edits: { manifest: setting("manifests", []) } },
  { id: "manifest.ambiguous", name: "schema 1", subject: manifest, edits: { manifest: setting("fsLayers", []) } },
  { id: "manifest.missing-field", subject: manifest, edits: { manifest: without("config") } },
  { id: "manifest.missing-field", name: "layers", subject: manifest, edits: { manifest: without("layers") } },
  { id: "manifest.wrong-type", subject: manifest, edits: { manifest: setting("layers", {}) } },
  {
    id: "manifest.wrong-type",
    name: "its own media type",
    subject: manifest,
    edits: { manifest: setting("mediaType", 1) }
  },
  { id: "manifest.no-layers", subject: manifest, edits: { layers: [] } },
  {
    id: "manifest.too-many-layers",
    subject: manifest,
    edits: {
      manifest: setting(
        "layers",
        Array.from({ length: 100_001 }, () => 1)
      )
    }
  },
  {
    id: "manifest.no-artifact-type",
    subject: manifest,
    edits: { manifest: artifact({ artifactType: undefined }) },
    files: braces
  },
  {
    id: "manifest.artifact-with-image-config",
    subject: manifest,
    edits: { manifest: setting("artifactType", "application/vnd.example") }
  },

  // Configs.
  { id: "config.missing", subject: config, files: (files, layout) => files.delete(layout.config) },
  { id: "config.invalid-json", subject: config, edits: { config: () => Buffer.from("nope") } },
  { id: "config.duplicate-key", subject: config, edits: { config: doubled } },
  {
    id: "config.size-mismatch",
    subject: config,
    edits: {
      manifest: (document) => {
        document.config.size--
      }
    }
  },
  {
    id: "config.digest-mismatch",
    subject: config,
    files: (files, layout) => files.get(layout.config)!.writeUInt8(0x20, 1)
  },
  { id: "config.missing-field", subject: config, edits: { config: without("os") } },
  { id: "config.empty-field", subject: config, edits: { config: setting("os", "") } },
  { id: "config.empty-field", name: "architecture", subject: config, edits: { config: setting("architecture", "") } },
  {
    id: "config.rootfs-type",
    subject: config,
    edits: {
      config: (document) => {
        document.rootfs.type = "squash"
      }
    }
  },
  { id: "config.bad-created", subject: config, edits: { config: setting("created", "yesterday") } },
  ...["2024-02-30", "2023-02-29", "1900-02-29", "2024-04-31", "2024-01-00", "2024-13-01", "2024-00-01"].map(
    (day): Case => ({
      id: "config.bad-created",
      name: day,
      subject: config,
      edits: { config: setting("created", `${day}T03:04:05Z`) }
    })
  ),
  ...["PATH", "", "="].map(
    (entry): Case => ({
      id: "config.bad-env",
      subject: config,
      edits: { config: (document) => ({ ...document, config: { Env: ["A=", "B==", "=C:=C:\\", "c d=e", entry] } }) },
      name: `an entry ${JSON.stringify(entry)}`
    })
  ),
  {
    id: "history.count-mismatch",
    subject: config,
    edits: {
      config: (document) => {
        document.history.pop()
      }
    }
  },

  // Layers and other blobs.
  { id: "layer.missing", subject: layer, files: (files, layout) => files.delete(layer(layout)) },
  {
    id: "layer.size-mismatch",
    subject: layer,
    edits: {
      manifest: (document) => {
        document.layers[0].size += 512
      }
    }
  },
  {
    id: "layer.digest-mismatch",
    depth: "full",
    subject: layer,
    files: (files, layout) => files.get(layer(layout))!.writeUInt8(7, 20)
  },
  {
    id: "layer.diff-id-mismatch",
    depth: "full",
    subject: layer,
    edits: {
      config: (document) => {
        document.rootfs.diff_ids.reverse()
      }
    }
  },
  {
    id: "layer.count-mismatch",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.layers.pop()
      }
    }
  },
  {
    id: "layer.not-distributable",
    subject: manifest,
    edits: {
      manifest: (document) => {
        document.layers[0].mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
      }
    }
  },
  {
    id: "layer.table-of-contents",
    depth: "full",
    subject: layer,
    edits: { layers: [Buffer.concat([tar({ a: "a" }), tar({ "stargz.index.json": "{}" })])], compression: "none" }
  },
  {
    id: "compression.media-type-mismatch",
    depth: "full",
    subject: layer,
    edits: {
      manifest: (document) => {
        document.layers[0].mediaType = MediaType.ociLayerZstd
      }
    }
  },
  {
    id: "blob.missing",
    subject: layer,
    edits: { manifest: artifact({}) },
    files: (files, layout) => {
      braces(files)
      files.delete(layer(layout))
    }
  },
  {
    id: "blob.absent",
    subject: layer,
    edits: {
      manifest: (document) => {
        document.layers[0].urls = ["https://example.com/layer"]
      }
    },
    files: (files, layout) => files.delete(layer(layout))
  },
  {
    id: "blob.absent",
    name: "a foreign layer",
    subject: layer,
    edits: {
      docker: true,
      manifest: (document) => {
        document.layers[0].mediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
      }
    },
    files: (files, layout) => files.delete(layer(layout))
  },
  {
    id: "blob.absent",
    name: "a subject",
    subject: pathOf(`sha256:${zeros}`),
    edits: {
      manifest: artifact({ subject: { mediaType: MediaType.ociManifest, digest: `sha256:${zeros}`, size: 300 } })
    },
    files: braces
  },
  {
    id: "blob.absent",
    name: "an image that an export left out",
    subject: pathOf(`sha256:${zeros}`),
    files: (files, layout) => {
      nested(files, [
        layout.entry,
        {
          mediaType: MediaType.ociManifest,
          digest: `sha256:${zeros}`,
          size: 400,
          platform: { os: "linux", architecture: "arm64" }
        }
      ])
    }
  },
  {
    id: "blob.unreadable",
    subject: layer,
    edits: { manifest: artifact({}) },
    files: braces,
    disk: (directory, layout) => {
      fs.rmSync(path.join(directory, layer(layout)))
      cp.execFileSync("mkfifo", [path.join(directory, layer(layout))])
    }
  },
  {
    id: "layer.unreadable",
    name: "a symlink out of the layout",
    subject: layer,
    disk: (directory, layout) => {
      fs.rmSync(path.join(directory, layer(layout)))
      fs.symlinkSync("/etc/hostname", path.join(directory, layer(layout)))
    }
  },
  {
    id: "blob.size-mismatch",
    subject: layer,
    edits: {
      manifest: (document) => {
        document.layers[0].size++
        return artifact({})(document)
      }
    },
    files: braces
  },
  {
    id: "blob.digest-mismatch",
    depth: "full",
    subject: layer,
    edits: { manifest: artifact({}) },
    files: (files, layout) => {
      braces(files)
      files.get(layer(layout))!.writeUInt8(7, 20)
    }
  },
  {
    id: "blob.digest-mismatch",
    name: "that nothing refers to",
    depth: "full",
    subject: pathOf(`sha256:${zeros}`),
    files: (files) => files.set(pathOf(`sha256:${zeros}`), Buffer.from("something else"))
  },
  {
    id: "blob.bad-name",
    subject: "blobs/sha256/abc",
    files: (files) => files.set("blobs/sha256/abc", Buffer.from("x"))
  },
  {
    id: "blob.bad-name",
    name: "a stray file",
    subject: "blobs/notes",
    files: (files) => files.set("blobs/notes", Buffer.from("x"))
  },
  {
    id: "blob.bad-name",
    name: "an algorithm",
    subject: "blobs/SHA256",
    files: (files) => files.set(`blobs/SHA256/${zeros}`, Buffer.from("x"))
  },
  {
    id: "blob.symlink",
    subject: layer,
    disk: (directory, layout) => {
      fs.renameSync(path.join(directory, layer(layout)), path.join(directory, "elsewhere"))
      fs.symlinkSync("../../elsewhere", path.join(directory, layer(layout)))
    }
  },
  {
    id: "blob.case-collision",
    subject: "blobs/x/aB",
    files: (files) => {
      files.set("blobs/x/AB", Buffer.from("x"))
      files.set("blobs/x/aB", Buffer.from("y"))
    }
  },
  {
    id: "blob.unreferenced",
    subject: pathOf(hash(Buffer.from("left over"))),
    files: (files) => {
      put(files, Buffer.from("left over"))
    }
  }
]

const verifyCase = (one: Case, depth: "fast" | "full") => {
  const layout = makeLayout(one.edits)
  one.files?.(layout.files, layout)
  const subject = typeof one.subject === "string" ? one.subject : one.subject(layout)
  return Effect.map(
    verify(layout.files, depth, (directory) => one.disk?.(directory, layout)),
    (verification) => ({ verification, subject })
  )
}

describe("a layout that is right", () => {
  for (const [name, edits] of Object.entries<Edits>({
    "as OCI has it": {},
    "with Docker's media types": { docker: true },
    "with layers that are not compressed": { compression: "none" },
    "named by sha512": { algorithm: "sha512" },
    "with a platform": { entry: setting("platform", platform) },
    "with a platform spelt another way": {
      entry: setting("platform", { os: "linux", architecture: "x86_64", variant: "v1" })
    },
    "without mediaType in index.json": { index: without("mediaType") },
    "with nulls where Docker writes them": {
      config: (document) => ({
        ...document,
        history: null,
        container_config: null,
        config: {
          Env: null,
          Cmd: null,
          Entrypoint: null,
          ExposedPorts: null,
          Volumes: null,
          Labels: null,
          OnBuild: null
        }
      })
    },
    "with Docker's media types and a command that is a string": {
      docker: true,
      config: setting("config", { Cmd: "sh -c true", Entrypoint: "sh" })
    },
    "with labels and annotations that differ in case only": {
      config: setting("config", { Labels: { a: "1", A: "2" } }),
      manifest: setting("annotations", { a: "1", A: "2" })
    },
    "with fractions where nothing says what they are": {
      manifest: replacing('"schemaVersion"', '"x":[1.5,{"size":1.5,"schemaVersion":2.0}],"schemaVersion"'),
      config: replacing('"created"', '"x":1e3,"created"')
    },
    "with a leap day of the year 0 and a leap second": {
      config: (document) => ({
        ...document,
        created: "0000-02-29T23:59:60Z",
        history: [{ created: "2000-02-29t00:00:00.5-23:59" }, { empty_layer: false }]
      })
    },
    "for a version of Windows that index and config agree on": {
      config: (document) => ({ ...document, os: "windows", "os.version": "10.0.17763.1", "os.features": ["win32k"] }),
      entry: setting("platform", { os: "windows", architecture: "amd64", "os.version": "10.0.17763.1" })
    },
    "of a leap year's day": { config: setting("created", "2024-02-29T03:04:05Z") },
    "of the day of a leap year that ends a century": { config: setting("created", "2000-02-29T03:04:05Z") },
    "whose entry alone has a variant and a version of its os": {
      entry: setting("platform", { ...platform, variant: "v2", "os.version": "1" })
    },
    "whose config alone has them": {
      config: (document) => ({ ...document, variant: "v2", "os.version": "1" }),
      entry: setting("platform", platform)
    },
    "with properties that no specification knows": {
      manifest: setting("x", { deep: [1] }),
      config: setting("moby.buildkit.cache.v0", "x"),
      entry: setting("y", null),
      index: setting("z", true)
    }
  })) {
    it.effect(`${name}: no findings`, () =>
      Effect.gen(function* () {
        for (const depth of ["fast", "full"] as const) {
          const verification = yield* verify(makeLayout(edits).files, depth)
          assert.deepStrictEqual(verification.results.results, [], told(verification))
          assert.deepStrictEqual(verification.images, [{ image: "v1", ok: true, errorCount: 0 }])
          assert.strictEqual(verification.layerCount, 2)
        }
      })
    )
  }

  it.effect("an artifact with contents of any type, embedded data and a subject", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const { digest, size } = layout.entry
      const own = makeLayout({
        manifest: artifact({
          config: { ...empty, data: Buffer.from("{}").toString("base64") },
          subject: { mediaType: MediaType.ociManifest, digest, size }
        }),
        layers: [Buffer.from("no tar"), Buffer.from("at all")],
        compression: "none",
        entry: without("annotations")
      })
      const files = join([layout, own], (entries) => entries)
      files.delete(own.config)
      braces(files)
      const verification = yield* verify(files)
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.image),
        ["v1", own.entry.digest]
      )
    })
  )

  it.effect("nested indexes, attestations and an empty layout", () =>
    Effect.gen(function* () {
      const amd = makeLayout()
      const arm = makeLayout({ config: setting("architecture", "arm64"), layers: [tar({ a: "arm" })] })
      const attestation = makeLayout({
        config: (document) => ({ architecture: "unknown", os: "unknown", config: {}, rootfs: document.rootfs }),
        manifest: (document) => {
          document.layers[0].mediaType = "application/vnd.in-toto+json"
        },
        layers: [Buffer.from('{"_type":"https://in-toto.io/Statement/v0.1"}')],
        compression: "none"
      })
      const files = join([amd, arm, attestation], ([one, two, three], files) => {
        const inner = putIndex(files, [
          { ...one, annotations: undefined, platform },
          { ...two, annotations: undefined, platform: { os: "linux", architecture: "arm64", variant: "v8" } },
          {
            ...three,
            platform: { os: "unknown", architecture: "unknown" },
            annotations: {
              "vnd.docker.reference.type": "attestation-manifest",
              "vnd.docker.reference.digest": one.digest
            }
          }
        ])
        return [{ ...putIndex(files, [inner]), annotations: { "org.opencontainers.image.ref.name": "multi" } }]
      })
      const verification = yield* verify(files)
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.image),
        ["multi (linux/amd64)", "multi (linux/arm64/v8)", "multi (unknown/unknown)"]
      )

      const none = yield* verify(
        new Map([
          ["oci-layout", json({ imageLayoutVersion: "1.0.0" })],
          ["index.json", json({ schemaVersion: 2, manifests: [] })]
        ]),
        "full",
        (directory) => fs.mkdirSync(path.join(directory, "blobs"))
      )
      assert.deepStrictEqual(complaints(none), [], told(none))
    })
  )
})

describe("every check", () => {
  const passing = Effect.runPromise(
    Effect.forEach(["fast", "full"] as const, (depth) => verify(makeLayout().files, depth))
  )

  for (const one of cases) {
    it.effect(`${one.id}${one.name === undefined ? "" : `: ${one.name}`}`, () =>
      Effect.gen(function* () {
        const [fast, full] = yield* Effect.promise(() => passing)
        const clean = one.depth === "full" ? full! : fast!
        assert.deepStrictEqual(
          clean.results.results.filter((finding) => finding.check === one.id),
          []
        )
        for (const depth of one.depth === "full" ? (["full"] as const) : (["fast", "full"] as const)) {
          const { subject, verification } = yield* verifyCase(one, depth)
          if (one.id === "index.too-deep") {
            assert.isTrue(
              verification.results.results.some(
                (finding) => finding.check === one.id && finding.subject.startsWith("blobs/")
              ),
              told(verification)
            )
            continue
          }
          const findings = found(verification, one.id, subject)
          assert.isAbove(findings.length, 0, `expected ${one.id} about ${subject}, found\n${told(verification)}`)
          assert.strictEqual(findings[0]!.severity, catalog[one.id].severity)
        }
        if (one.depth === "full") {
          const { subject, verification } = yield* verifyCase(one, "fast")
          assert.deepStrictEqual(found(verification, one.id, subject), [])
        }
      })
    )
  }

  it("has a case here", () => {
    const receipts: ReadonlyArray<CheckId> = ["index.missing-entry"]
    const covered = new Set<string>([...cases.map((one) => one.id), ...receipts])
    assert.deepStrictEqual(
      idsOf("json", "oci-layout", "index", "descriptor", "annotation", "blob").filter((id) => !covered.has(id)),
      []
    )
  })
})

describe("a layout whose blobs lie elsewhere", () => {
  const elsewhere = (
    use: (layout: string, shared: string, made: Layout) => void,
    options: VerifyOptions = { depth: "full" }
  ) =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const made = makeLayout()
        const layout = path.join(directory, "layout")
        const shared = path.join(directory, "shared")
        writeTree(layout, made.files)
        fs.renameSync(path.join(layout, "blobs"), shared)
        fs.writeFileSync(path.join(shared, "sha256", zeros), "another layout's")
        use(layout, shared, made)
        const verify = (sharedBlobs?: string) =>
          Effect.flatMap(OciVerifier.make({ path: layout, sharedBlobs }), (verifier) => verifier.verify(options)).pipe(
            Effect.provide(pool)
          )
        return { with: yield* verify(shared), without: yield* verify(), made }
      })
    )

  for (const [name, change] of [
    ["and it has no directory of its own", () => {}],
    ["and its own is empty", (layout: string) => fs.mkdirSync(path.join(layout, "blobs"))],
    [
      "and some are its own",
      (layout: string, shared: string, { config }: Layout) => {
        fs.mkdirSync(path.join(layout, "blobs/sha256"), { recursive: true })
        fs.renameSync(path.join(shared, config.slice("blobs/".length)), path.join(layout, config))
      }
    ]
  ] as const) {
    it.effect(`is audited with them, ${name}`, () =>
      Effect.map(elsewhere(change), (all) => {
        assert.deepStrictEqual(all.with.results.results, [], told(all.with))
        assert.strictEqual(all.with.layerCount, 2)
        assert.strictEqual(found(all.without, "manifest.missing", all.made.manifest).length, 1, told(all.without))
      })
    )
  }

  it.effect("says that they may be elsewhere when it has none at all", () =>
    Effect.map(
      elsewhere(() => {}),
      ({ made, without }) => {
        assert.include(found(without, "manifest.missing", made.manifest)[0]!.message, "shared_blobs=")
        assert.strictEqual(found(without, "oci-layout.no-blobs", "blobs").length, 1)
      }
    )
  )

  it.effect("damage and loss there are found", () =>
    Effect.map(
      elsewhere((_, shared, { config, layers }) => {
        fs.rmSync(path.join(shared, config.slice("blobs/".length)))
        fs.appendFileSync(path.join(shared, layers[0]!.slice("blobs/".length)), "x")
      }),
      (all) => {
        assert.strictEqual(found(all.with, "config.missing", all.made.config).length, 1, told(all.with))
        assert.strictEqual(found(all.with, "layer.size-mismatch", all.made.layers[0]!).length, 1)
        assert.strictEqual(found(all.with, "layer.digest-mismatch", all.made.layers[0]!).length, 1)
      }
    )
  )
})

describe("a zstd:chunked layer", () => {
  const warned = (layout: Layout, verification: Verification): void =>
    assert.deepStrictEqual(
      verification.results.results.map((one) => [one.severity, one.check, one.subject]),
      [["warning", "layer.toc-mismatch", layout.layers[0]!]],
      told(verification)
    )

  it.effect("is right where its table of contents is what its annotations say", () =>
    Effect.gen(function* () {
      for (const depth of ["fast", "full"] as const) {
        const verification = yield* verify(withTable().files, depth)
        assert.deepStrictEqual(verification.results.results, [], told(verification))
        assert.include(verification.results.checked, "layer.toc-mismatch")
        assert.strictEqual(verification.layerCount, 1)
      }
    })
  )

  const places: Readonly<Record<string, (annotations: Doc, size: number) => string>> = {
    "beyond its end": (_, size) => `${size - 10}:11:100:1`,
    "at its beginning": () => "0:10:100:1",
    "of nothing": () => "10:0:100:1",
    "that is none": () => "somewhere",
    "larger than any that is read": () => `10:${151 * 1024 * 1024}:100:1`
  }
  for (const [name, place] of Object.entries(places)) {
    it.effect(`is not with a table ${name}, at any depth`, () =>
      Effect.gen(function* () {
        for (const depth of ["fast", "full"] as const) {
          const layout = withTable((annotations, size) => {
            annotations[`${chunked}manifest-position`] = place(annotations, size)
          })
          warned(layout, yield* verify(layout.files, depth))
        }
      })
    )
  }

  it.effect("is not with another table than the annotations say", () =>
    Effect.gen(function* () {
      const layout = withTable((annotations) => {
        annotations[`${chunked}manifest-checksum`] = `sha256:${zeros}`
      })
      warned(layout, yield* verify(layout.files))
    })
  )

  it.effect("is not with a table for reading the tar that lies beyond it", () =>
    Effect.gen(function* () {
      const layout = withTable((annotations, size) => {
        annotations[`${chunked}tarsplit-position`] = `${size}:5:100`
      })
      const verification = yield* verify(layout.files, "fast")
      assert.strictEqual(found(verification, "layer.toc-mismatch", layout.layers[0]!).length, 1, told(verification))
    })
  )

  it.effect("is the fault of the image alone that says it", () =>
    Effect.gen(function* () {
      const right = withTable()
      const wrong = withTable((annotations) => {
        annotations[`${chunked}manifest-checksum`] = `sha256:${zeros}`
      })
      const place = withTable((annotations) => {
        annotations[`${chunked}manifest-position`] = "3:5:100:1"
      })
      const index = (layout: Layout) => JSON.parse(layout.files.get("index.json")!.toString())
      const entries = [right, wrong, place].flatMap((one, position) =>
        index(one).manifests.map((entry: Doc) => ({
          ...entry,
          annotations: { "org.opencontainers.image.ref.name": `v${position}` }
        }))
      )
      const files = new Map([...right.files, ...wrong.files, ...place.files])
      files.set("index.json", json({ ...index(right), manifests: entries }))
      const verification = yield* verify(files, "full", () => {}, { "layer.toc-mismatch": "error" })
      assert.deepStrictEqual(
        verification.images.map((one) => one.errorCount),
        [0, 1, 1],
        told(verification)
      )
    })
  )
})

describe("a fault", () => {
  it.effect("of the layout as a whole is one of each image", () =>
    Effect.gen(function* () {
      for (const layoutFile of [() => Buffer.from("{"), setting("imageLayoutVersion", "2")]) {
        const { images } = yield* verify(makeLayout({ layoutFile }).files)
        assert.deepStrictEqual(images, [{ image: "v1", ok: false, errorCount: 1 }])
      }
    })
  )

  it.effect("is said once: bytes that are no UTF-8 do not parse either, a flag that is no flag is not counted", () =>
    Effect.gen(function* () {
      const utf16 = makeLayout({ layoutFile: () => Buffer.from('{"imageLayoutVersion":"1.0.0"}', "utf16le") })
      utf16.files.set("oci-layout", Buffer.concat([Buffer.from([0xff, 0xfe]), utf16.files.get("oci-layout")!]))
      const flag = makeLayout({ config: setting("history", [{ empty_layer: 1 }, {}, {}]) })
      for (const [files, check] of [
        [utf16.files, "oci-layout.invalid-json"],
        [flag.files, "config.wrong-type"]
      ] as const) {
        const verification = yield* verify(files)
        assert.deepStrictEqual(
          complaints(verification).map((one) => one.check),
          [check],
          told(verification)
        )
      }
    })
  )

  it.effect("is not content of an unknown type, of which it is said that nothing in it was checked", () =>
    Effect.gen(function* () {
      const { entry, files } = makeLayout()
      const mediaType = "application/vnd.docker.distribution.manifest.v1+prettyjws"
      replaceIndex(files, [entry, { mediaType, ...put(files, json({ schemaVersion: 1 })) }])
      const verification = yield* verify(files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      const said = verification.results.skipped.filter((one) => one.reason.includes(mediaType))
      assert.deepStrictEqual(
        said.map((one) => one.check),
        ["manifest.missing-field"]
      )
      const known = yield* verify(makeLayout().files)
      assert.deepStrictEqual(known.results.skipped, [])
    })
  )

  it.effect("of an index is not that it lists content of unknown type which an export left out", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const path = nested(layout.files, [
        layout.entry,
        { mediaType: "application/vnd.example", digest: `sha256:${zeros}`, size: 1 }
      ])
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.lengthOf(found(verification, "blob.absent", pathOf(`sha256:${zeros}`)), 1)
      assert.isTrue(layout.files.has(path))
    })
  )
})

describe("a docker-save that was unpacked", () => {
  const saved = (layout: Layout, changes: Doc = {}): Buffer =>
    json([{ Config: layout.config, RepoTags: ["app:v1"], Layers: layout.layers, ...changes }])

  it.effect("is fine where manifest.json and index.json tell one story", () =>
    Effect.gen(function* () {
      const layout = makeLayout({ compression: "none" })
      layout.files.set("manifest.json", saved(layout))
      layout.files.set("repositories", json({ app: { v1: path.basename(layout.layers[1]!) } }))
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.deepStrictEqual(verification.images, [{ image: "app:v1", ok: true, errorCount: 0 }])
    })
  )

  it.effect("is at fault where they tell different ones", () =>
    Effect.gen(function* () {
      const layout = makeLayout({ compression: "none" })
      for (const [changes, check, subject] of [
        [{ RepoTags: ["app:v2"] }, "archive.index-mismatch", "index.json"],
        [{ Layers: [...layout.layers].reverse() }, "archive.index-mismatch", "manifest.json"],
        [{ Config: pathOf(`sha256:${zeros}`) }, "config.missing", pathOf(`sha256:${zeros}`)]
      ] as const) {
        layout.files.set("manifest.json", saved(layout, changes))
        const verification = yield* verify(layout.files, "fast")
        assert.isAbove(found(verification, check, subject).length, 0, told(verification))
        assert.isFalse(verification.images[0]!.ok)
      }
    })
  )

  it.effect("is not what every manifest.json beside a layout means", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      layout.files.set("manifest.json", json({ some: "file" }))
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
    })
  )
})

describe("the whole layout", () => {
  it.effect("is followed no longer than it has images, in however many ways it leads to them", () =>
    Effect.gen(function* () {
      const { files } = makeLayout()
      const inner = Array.from({ length: 1500 }, (_, index) => ({
        mediaType: MediaType.ociManifest,
        ...put(files, json({ schemaVersion: 2, index }))
      }))
      const index = putIndex(files, inner)
      replaceIndex(
        files,
        Array.from({ length: 50_000 }, () => index)
      )
      const begin = performance.now()
      const verification = yield* verify(files, "fast")
      assert.isBelow(performance.now() - begin, 60_000)
      assert.lengthOf(found(verification, "index.too-many-entries", "index.json"), 1)
      assert.lengthOf(verification.images, 1500)
    })
  )

  it.effect("is not searched for what reaches from each of thousands of layers into all below it", () =>
    Effect.gen(function* () {
      const layout = makeLayout({
        layers: [tar({ base: "x" }), tar({ ".wh.base": "" })],
        manifest: (document) => ({
          ...document,
          layers: [document.layers[0], ...Array.from({ length: 3000 }, () => document.layers[1])]
        })
      })
      const verification = yield* verify(layout.files)
      assert.lengthOf(found(verification, "layer.count-mismatch", layout.manifest), 1)
      const skipped = verification.results.skipped.filter((one) => one.check === "layer.hardlink-missing-target")
      assert.match(skipped[0]!.reason, /3001 layers/)
    })
  )

  it.effect("is read before it complains, and each image gets its verdict", () =>
    Effect.gen(function* () {
      const named = (name: string, body: string): Layout =>
        makeLayout({
          layers: [tar({ shared: "the same" }), tar({ [name]: body })],
          entry: setting("annotations", { "org.opencontainers.image.ref.name": name })
        })
      const layouts = [named("one", "1"), named("two", "2"), named("three", "3")]
      const files = join(layouts, (entries) => entries)
      files.get(layouts[0]!.layers[1]!)!.writeUInt8(9, 15)
      files.delete(layouts[1]!.config)
      const verification = yield* verify(files)
      assert.deepStrictEqual(
        verification.images.map(({ image, ok }) => [image, ok]),
        [
          ["one", false],
          ["two", false],
          ["three", true]
        ]
      )
      assert.isAbove(found(verification, "layer.digest-mismatch", layouts[0]!.layers[1]!).length, 0)
      assert.isAbove(found(verification, "config.missing", layouts[1]!.config).length, 0)
      assert.strictEqual(verification.layerCount, 4)
    })
  )

  it.effect("is wrong where an index is that leads to it", () =>
    Effect.gen(function* () {
      const root = yield* verify(makeLayout({ index: setting("schemaVersion", 1) }).files, "fast")
      assert.deepStrictEqual(
        root.images.map(({ errorCount, ok }) => [ok, errorCount]),
        [[false, 1]]
      )
      const layouts = ["one", "two", "three"].map((name) =>
        makeLayout({ layers: [tar({ name })], entry: setting("annotations", { [refName]: name }) })
      )
      const files = join(layouts, ([one, two, three], files) => {
        const broken = putIndex(files, [one, three], setting("schemaVersion", 1))
        // By the second way to the same index the images get names, and no more errors.
        return [broken, two, { ...broken, annotations: { [refName]: "again" } }]
      })
      const verification = yield* verify(files, "fast")
      assert.deepStrictEqual(
        verification.images.map(({ errorCount, image, ok }) => [image, ok, errorCount]),
        [
          ["again (linux/amd64)", false, 1],
          ["again (linux/amd64)", false, 1],
          ["two", true, 0]
        ]
      )
    })
  )

  it.effect("that nothing but an artifact refers to is looked into", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const { digest, size } = layout.entry
      const own = makeLayout({
        manifest: artifact({ subject: { mediaType: MediaType.ociManifest, digest, size } }),
        entry: without("annotations")
      })
      const files = join([layout, own], ([, artifact]) => [artifact])
      braces(files)
      files.delete(layout.config)
      const verification = yield* verify(files, "fast")
      assert.lengthOf(found(verification, "config.missing", layout.config), 1)
      assert.deepStrictEqual(
        verification.images.map(({ image, ok }) => [image, ok]),
        [
          [own.entry.digest, true],
          [digest, false]
        ]
      )
    })
  )

  it.effect("says the same thing once, however many images share the damage", () =>
    Effect.gen(function* () {
      const layouts = Array.from({ length: 20 }, (_, index) =>
        makeLayout({
          layers: [tar({ shared: "the same" }), tar({ own: `${index}` })],
          entry: setting("annotations", { "org.opencontainers.image.ref.name": `tag-${index}` })
        })
      )
      const files = join(layouts, (entries) => entries)
      files.delete(layouts[0]!.layers[0]!)
      const verification = yield* verify(files)
      assert.strictEqual(found(verification, "layer.missing", layouts[0]!.layers[0]!).length, 1)
      assert.isTrue(verification.images.every((one) => !one.ok))
    })
  )

  it.effect("counts an image with many names once", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const tagged = (name: string): Doc => ({
        ...layout.entry,
        annotations: { "org.opencontainers.image.ref.name": name }
      })
      replaceIndex(layout.files, ["a", "b", "c"].map(tagged))
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.deepStrictEqual(verification.images, [{ image: "a, b, c", ok: true, errorCount: 0 }])
    })
  )

  it.effect("a second, better reference leads to what a broken one hides", () =>
    Effect.gen(function* () {
      const layout = makeLayout({ config: setting("os", 1) })
      const { mediaType, ...bad } = layout.entry
      assert.isString(mediaType)
      replaceIndex(layout.files, [bad, layout.entry, layout.entry])
      const verification = yield* verify(layout.files)
      assert.strictEqual(found(verification, "config.wrong-type", layout.config).length, 1, told(verification))
    })
  )

  it.effect("documents that are no objects are said to be so once", () =>
    Effect.gen(function* () {
      const { files } = makeLayout()
      const index = { mediaType: MediaType.ociIndex, ...put(files, Buffer.from("[]")) }
      const manifest = { mediaType: MediaType.ociManifest, ...put(files, Buffer.from("1")) }
      replaceIndex(files, [index, index, manifest, manifest])
      const verification = yield* verify(files)
      assert.strictEqual(found(verification, "index.invalid-json", pathOf(index.digest)).length, 1, told(verification))
      assert.strictEqual(
        found(verification, "manifest.invalid-json", pathOf(manifest.digest)).length,
        1,
        told(verification)
      )
      assert.deepStrictEqual(
        verification.images.map((one) => one.ok),
        [false, false]
      )
    })
  )

  it.effect("every entry of Env that has a name and a value passes, and each that has not is told", () =>
    Effect.gen(function* () {
      const right = ["A=", "B==", "=C:=C:\\", "c d=e", "LINES=a\nb", "\u00e9=1"]
      const layout = makeLayout({ config: (document) => ({ ...document, config: { Env: ["X", ...right, "=", ""] } }) })
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(
        complaints(verification).map((one) => [one.check, one.message, one.actual]),
        [0, 7, 8].map((index) => [
          "config.bad-env",
          `config.Env[${index}] is not NAME=VALUE`,
          index === 0 ? '"X"' : index === 7 ? '"="' : '""'
        ])
      )
    })
  )

  it.effect("what one image says wrongly of a layer that it shares is not the others' fault", () =>
    Effect.gen(function* () {
      const liars: Readonly<Record<string, Edits>> = {
        diff_id: {
          config: (document) => {
            document.rootfs.diff_ids[1] = `sha256:${zeros}`
          }
        },
        // Its config differs and the lie does not.
        "same diff_id": {
          config: (document) => {
            document.author = "somebody else"
            document.rootfs.diff_ids[1] = `sha256:${zeros}`
          }
        },
        size: {
          manifest: (document) => {
            document.layers[1].size += 1
          }
        },
        "config size": {
          manifest: (document) => {
            document.config.size += 1
          }
        },
        "media type": {
          manifest: (document) => {
            document.layers[1].mediaType = MediaType.layerWith("none", false)
          }
        }
      }
      const names = ["right", ...Object.keys(liars)]
      const files = join([makeLayout(), ...Object.values(liars).map((edits) => makeLayout(edits))], (entries) =>
        entries.map((entry, index) => ({
          ...entry,
          annotations: { "org.opencontainers.image.ref.name": names[index] }
        }))
      )
      const verification = yield* verify(files)
      assert.deepStrictEqual(
        verification.images.map(({ errorCount, image }) => [image, errorCount]),
        names.map((name) => [name, name === "right" ? 0 : 1]),
        told(verification)
      )
      const damaged = makeLayout()
      const bytes = files.get(damaged.layers[1]!)!
      files.set(damaged.layers[1]!, Buffer.concat([bytes.subarray(0, -1), Buffer.of(bytes.at(-1)! ^ 1)]))
      const after = yield* verify(files)
      assert.isTrue(
        after.images.every((one) => !one.ok),
        told(after)
      )
    })
  )

  it.effect("an image is wrong however many others say the same file to be something else", () =>
    Effect.gen(function* () {
      const liars = Array.from({ length: 250 }, (_, index) =>
        makeLayout({
          config: (document) => {
            document.rootfs.diff_ids[1] = hash(Buffer.from(`no layer ${index}`))
          },
          manifest: (document) => {
            document.layers[0].size += 1 + index
          }
        })
      )
      const verification = yield* verify(join([makeLayout(), ...liars], (entries) => entries))
      assert.deepStrictEqual(
        verification.images.map((one) => one.errorCount),
        [0, ...liars.map(() => 2)]
      )
    })
  )

  it.effect("the empty blob as the config of an image is not the fault of artifacts that have it too", () =>
    Effect.gen(function* () {
      const image = makeLayout({
        layers: [],
        manifest: (document) => {
          document.config = { ...empty, mediaType: MediaType.ociConfig }
        }
      })
      const artifact = makeLayout({
        layers: [],
        manifest: (document) => {
          document.artifactType = "application/example"
          document.config = empty
          document.layers = [empty]
        }
      })
      const files = join([image, artifact], (entries) => entries)
      files.set(pathOf(empty.digest), Buffer.from("{}"))
      const verification = yield* verify(files)
      assert.strictEqual(found(verification, "config.missing-field", pathOf(empty.digest)).length, 3)
      assert.deepStrictEqual(
        verification.images.map((one) => one.ok),
        [false, true],
        told(verification)
      )
    })
  )

  it.effect("indexes that list each other many times over take no time to follow", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      let entries: ReadonlyArray<Doc> = [layout.entry]
      for (let level = 0; level < 25; level++) {
        const descriptor = putIndex(layout.files, entries)
        entries = [descriptor, descriptor, descriptor, descriptor]
      }
      replaceIndex(layout.files, entries)
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.strictEqual(verification.images.length, 1)
    })
  )

  it.effect("an archive cut to one platform has nothing wrong", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const others = ["arm64", "s390x"].map((architecture) => ({
        mediaType: MediaType.ociManifest,
        digest: hash(Buffer.from(architecture)),
        size: 500,
        platform: { os: "linux", architecture }
      }))
      nested(layout.files, [{ ...layout.entry, platform }, ...others])
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.strictEqual(verification.results.results.filter((one) => one.check === "blob.absent").length, 2)
    })
  )

  it.effect("a config that is embedded only is read from its descriptor", () =>
    Effect.gen(function* () {
      let raw: Buffer | undefined
      const layout = makeLayout({
        config: (document) => {
          raw = json(document)
        },
        manifest: (document) => {
          document.config.data = raw!.toString("base64")
        }
      })
      layout.files.delete(layout.config)
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.strictEqual(found(verification, "blob.absent", layout.config).length, 1)
      assert.include(verification.results.checked, "layer.diff-id-mismatch")
    })
  )

  it.effect("digests that cannot be computed are said to be skipped", () =>
    Effect.gen(function* () {
      const name = `blake9:${"abc".repeat(9)}`
      const layout = makeLayout({
        manifest: (document) => {
          document.layers[0].digest = name
        }
      })
      layout.files.set(pathOf(name), layout.files.get(layer(layout))!)
      layout.files.delete(layer(layout))
      const verification = yield* verify(layout.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.isTrue(
        verification.results.skipped.some(
          (one) => one.check === "layer.digest-mismatch" && one.reason.includes("blake9")
        )
      )
    })
  )
})

describe("receipts", () => {
  const receiptOf = (layout: Layout, changes: Partial<Receipt.Receipt> = {}): Receipt.Receipt => ({
    tool: "tallyman",
    version: "0.0.0",
    layout: "oci-layout",
    names: ["v1"],
    image: layout.config,
    source: { uri: "tar://x" },
    filters: [],
    conversions: [],
    files: [layout.config, ...layout.layers, layout.manifest].map((name) =>
      Receipt.fileOf(name, layout.files.get(name)!)
    ),
    details: { refs: ["v1"], manifest: { digest: layout.entry.digest } },
    ...changes
  })

  const withReceipt = (
    layout: Layout,
    receipt: Receipt.Receipt,
    disk: (directory: string) => void = () => {}
  ): Effect.Effect<Verification> =>
    withDirectory((directory) =>
      Effect.suspend(() => {
        writeTree(directory, layout.files)
        disk(directory)
        return verifyAt(directory, { depth: "full", receipt })
      })
    )

  it.effect("of the run that just wrote: that image alone is verified", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const other = makeLayout({
        layers: [tar({ other: "x" })],
        entry: setting("annotations", { "org.opencontainers.image.ref.name": "v2" })
      })
      const files = join([layout, other], (entries) => entries)
      files.delete(other.config)
      const verification = yield* withReceipt({ ...layout, files }, receiptOf(layout))
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.image),
        ["v1"]
      )
    })
  )

  it.effect("index.missing-entry", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const verification = yield* withReceipt(
        layout,
        receiptOf(layout, { details: { refs: ["v2"], manifest: { digest: layout.entry.digest } } })
      )
      assert.strictEqual(found(verification, "index.missing-entry", "index.json").length, 1)
    })
  )

  it.effect("receipt.missing-file, receipt.size-mismatch, receipt.digest-mismatch", () =>
    Effect.gen(function* () {
      const layout = makeLayout()
      const extra = Buffer.from("extra")
      layout.files.set("extra", extra)
      const gone = yield* withReceipt(layout, receiptOf(layout, { files: [Receipt.fileOf("gone", extra)] }))
      assert.strictEqual(found(gone, "receipt.missing-file", "gone").length, 1)
      const size = yield* withReceipt(
        layout,
        receiptOf(layout, { files: [{ ...Receipt.fileOf("extra", extra), size: 3 }] })
      )
      assert.strictEqual(found(size, "receipt.size-mismatch", "extra").length, 1)
      const digest = yield* withReceipt(
        layout,
        receiptOf(layout, { files: [{ ...Receipt.fileOf("extra", extra), sha256: zeros }] })
      )
      assert.strictEqual(found(digest, "receipt.digest-mismatch", "extra").length, 1)
    })
  )

  const standing = (layout: Layout, receipt: Buffer): Effect.Effect<Verification> => {
    layout.files.set("receipt-v1.json", receipt)
    return verify(layout.files)
  }

  it.effect("standing in the layout: compared as long as index.json has the entry", () =>
    Effect.gen(function* () {
      const fine = makeLayout()
      const clean = yield* standing(fine, Buffer.from(Receipt.encode(receiptOf(fine))))
      assert.deepStrictEqual(clean.results.results, [], told(clean))

      const invalid = yield* standing(makeLayout(), Buffer.from("{}"))
      assert.strictEqual(found(invalid, "receipt.invalid", "receipt-v1.json").length, 1)

      const moved = makeLayout({ entry: setting("annotations", { "org.opencontainers.image.ref.name": "v2" }) })
      const stale = yield* standing(moved, Buffer.from(Receipt.encode(receiptOf(moved))))
      assert.strictEqual(found(stale, "receipt.stale", "receipt-v1.json").length, 1)
      assert.isFalse(stale.results.hasErrors, told(stale))
    })
  )
})

describe("damage", () => {
  const layout = makeLayout()
  const blobs = [...layout.files.keys()].filter((name) => name.startsWith("blobs/"))

  const damaged = (name: string, change: (bytes: Buffer) => Uint8Array): Effect.Effect<Verification> => {
    const files = new Map([...layout.files].map(([file, bytes]) => [file, Buffer.from(bytes)] as const))
    files.set(name, Buffer.from(change(files.get(name)!)))
    return verify(files)
  }

  const reported = (name: string, change: (bytes: Buffer) => Uint8Array): Promise<boolean> =>
    Effect.runPromise(
      Effect.map(damaged(name, change), ({ results }) =>
        results.results.some((one) => one.severity === "error" && one.subject === name)
      )
    )

  it("any byte of any blob flipped is reported", () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...blobs),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        (name, at, mask) =>
          reported(name, (bytes) => {
            const offset = Math.floor(at * bytes.length)
            bytes.writeUInt8(bytes.readUInt8(offset) ^ mask, offset)
            return bytes
          })
      ),
      { numRuns: 150 }
    ))

  it("any blob cut or extended is reported", () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...blobs),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.uint8Array({ minLength: 1, maxLength: 600 }),
        fc.boolean(),
        (name, at, more, cut) =>
          reported(
            name,
            (bytes): Uint8Array =>
              cut ? bytes.subarray(0, Math.floor(at * bytes.length)) : Buffer.concat([bytes, more])
          )
      ),
      { numRuns: 100 }
    ))

  it("index.json cut anywhere, or any digit of its digests and sizes changed, is reported", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const text = layout.files.get("index.json")!.toString("latin1")
        for (let length = 0; length < text.length; length++) {
          const verification = yield* damaged("index.json", (bytes) => bytes.subarray(0, length))
          assert.isAbove(
            found(verification, "index.invalid-json", "index.json").length,
            0,
            `cut to ${length} bytes\n${told(verification)}`
          )
        }
        for (const match of text.matchAll(/(?<="digest":")[^"]+|(?<="size":)\d+|(?<="schemaVersion":)\d/g)) {
          for (let offset = match.index; offset < match.index + match[0].length; offset++) {
            const verification = yield* damaged("index.json", (bytes) => {
              bytes.writeUInt8(bytes.readUInt8(offset) ^ 0x01, offset)
              return bytes
            })
            assert.isTrue(
              verification.results.hasErrors,
              `byte ${offset} (${text.slice(Math.max(0, offset - 10), offset + 10)})\n${told(verification)}`
            )
          }
        }
      })
    ))

  it.effect("a layout whose files are swapped is reported for both", () =>
    Effect.gen(function* () {
      const files = new Map(layout.files)
      const [one, other] = layout.layers as [string, string]
      files.set(one, layout.files.get(other)!)
      files.set(other, layout.files.get(one)!)
      const verification = yield* verify(files)
      assert.isAbove(found(verification, "layer.digest-mismatch", one).length, 0)
      assert.isAbove(found(verification, "layer.digest-mismatch", other).length, 0)
    })
  )

  it.effect("gzip members in plenty, as pigz and eStargz write them, are all read", () =>
    Effect.gen(function* () {
      const whole = tar({ a: "a".repeat(5000), b: "b" })
      const members = Buffer.concat([
        zlib.gzipSync(whole.subarray(0, 700)),
        zlib.gzipSync(whole.subarray(700, 4000)),
        zlib.gzipSync(whole.subarray(4000))
      ])
      const files: Files = new Map()
      const own = makeLayout({
        layers: [whole],
        manifest: (document) => {
          Object.assign(document.layers[0], put(files, members))
        }
      })
      own.files.delete(own.layers[0]!)
      for (const [name, bytes] of files) own.files.set(name, bytes)
      const verification = yield* verify(own.files)
      assert.deepStrictEqual(complaints(verification), [], told(verification))
    })
  )
})
