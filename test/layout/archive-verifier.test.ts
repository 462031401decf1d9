import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { type CheckId, catalog } from "../../src/check/Catalog.ts"
import { encodeHeader, endOfArchive } from "../../src/content/TarWrite.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as ArchiveVerifier from "../../src/layout/docker-archive/ArchiveVerifier.ts"
import * as Receipt from "../../src/layout/Receipt.ts"
import type { Verification } from "../../src/layout/Verifier.ts"
import { peerTest, run } from "../peers/Peers.ts"
import {
  complaints,
  type Doc,
  type Files,
  found,
  hash,
  idsOf,
  join,
  json,
  type Layout,
  makeLayout,
  pack,
  pathOf,
  pool,
  put,
  putIndex,
  tar,
  told,
  withDirectory
} from "./ociFixture.ts"

const archive = "image.tar"

const verify = (
  bytes: Uint8Array,
  depth: "fast" | "full" = "full",
  beside: Readonly<Record<string, Uint8Array>> = {}
) =>
  withDirectory((directory) =>
    Effect.gen(function* () {
      fs.writeFileSync(path.join(directory, archive), bytes)
      for (const [name, content] of Object.entries(beside)) fs.writeFileSync(path.join(directory, name), content)
      const verifier = yield* ArchiveVerifier.make({ path: path.join(directory, archive), tempDirectory: directory })
      return yield* verifier.verify({ depth })
    }).pipe(Effect.scoped, Effect.provide(pool))
  )

const hex = (digest: string): string => digest.slice(digest.indexOf(":") + 1)

interface Hybrid extends Layout {
  readonly saved: Doc
  readonly repositories: Doc
}

/** An archive as Docker writes it since version 25. */
const hybrid = (change: (hybrid: Hybrid) => void = () => {}): Files => {
  const layout = makeLayout({ compression: "none" })
  const top = path.basename(layout.layers[1]!)
  const whole: Hybrid = {
    ...layout,
    saved: {
      Config: layout.config,
      RepoTags: ["app:1"],
      Layers: [...layout.layers],
      LayerSources: Object.fromEntries(
        layout.diffIds.map((digest, index) => [
          digest,
          {
            mediaType: "application/vnd.oci.image.layer.v1.tar",
            digest,
            size: layout.files.get(layout.layers[index]!)!.length
          }
        ])
      )
    },
    repositories: { app: { 1: top } }
  }
  whole.entry.annotations = {
    "io.containerd.image.name": "docker.io/library/app:1",
    "org.opencontainers.image.ref.name": "1"
  }
  change(whole)
  const { files } = layout
  files.set("index.json", json({ schemaVersion: 2, manifests: [whole.entry] }))
  files.set("manifest.json", json([whole.saved]))
  files.set("repositories", json(whole.repositories))
  return files
}

/** An archive as Docker wrote it before: `{id}/layer.tar`, and the config under its digest. */
const legacy = (
  change: (files: Files, names: { readonly ids: ReadonlyArray<string>; readonly config: string }) => void = () => {}
): Files => {
  const layout = makeLayout({ compression: "none" })
  const files: Files = new Map()
  const ids = layout.layers.map((_, index) => hex(hash(Buffer.from(`id ${index}`))))
  for (const [index, id] of ids.entries()) {
    files.set(`${id}/VERSION`, Buffer.from("1.0"))
    files.set(`${id}/json`, json({ id, ...(index === 0 ? {} : { parent: ids[index - 1] }) }))
    files.set(`${id}/layer.tar`, layout.files.get(layout.layers[index]!)!)
  }
  const config = `${path.basename(layout.config)}.json`
  files.set(config, layout.files.get(layout.config)!)
  files.set(
    "manifest.json",
    json([{ Config: config, RepoTags: ["app:1"], Layers: ids.map((id) => `${id}/layer.tar`) }])
  )
  files.set("repositories", json({ app: { 1: ids.at(-1) } }))
  change(files, { ids, config })
  return files
}

/** What Docker 25.0 writes of an image saved by its ID. */
const byId = (change: (files: Files) => void = () => {}): Files => {
  const files = hybrid(({ saved }) => {
    saved.RepoTags = null
  })
  files.set("index.json", Buffer.from('{"schemaVersion":2,"manifests":null}'))
  files.delete("repositories")
  change(files)
  return files
}

/** The json of the upper of two layers, beside manifest.json, as it is when it says this. */
const beyond = (document: (ids: ReadonlyArray<string>) => Buffer): Buffer =>
  pack(legacy((files, { ids }) => files.set(`${ids[1]}/json`, document(ids))))

const upper = `${hex(hash(Buffer.from("id 1")))}/json`

/** An archive of the time before manifest.json. */
const oldest = (change: (files: Files, ids: ReadonlyArray<string>) => void = () => {}): Files =>
  legacy((files, { config, ids }) => {
    files.delete("manifest.json")
    files.delete(config)
    change(files, ids)
  })

/** An archive as apko writes it: layers by digest, manifests too, and the index of all platforms behind them. */
const beside = (change: (files: Files, index: Doc) => void = () => {}): Files => {
  const layouts = ["amd64", "arm64"].map((architecture) =>
    makeLayout({
      config: (document) => ({ ...document, architecture }),
      layers: [tar({ "bin/": "", [architecture]: "x" })]
    })
  )
  const files: Files = new Map()
  const saved = layouts.map(({ config, entry, files: blobs, layers, manifest }) => {
    files.set(`sha256:${path.basename(config)}`, blobs.get(config)!)
    for (const layer of layers) files.set(`${path.basename(layer)}.tar.gz`, blobs.get(layer)!)
    files.set(`sha256:${path.basename(manifest)}`, blobs.get(manifest)!)
    return {
      Config: `sha256:${path.basename(config)}`,
      RepoTags: [`app:${entry.digest.slice(7, 15)}`],
      Layers: layers.map((layer) => `${path.basename(layer)}.tar.gz`)
    }
  })
  files.set("manifest.json", json(saved))
  const index = {
    schemaVersion: 2,
    manifests: layouts.map(({ entry }, position) => ({
      ...entry,
      annotations: undefined,
      platform: { os: "linux", architecture: ["amd64", "arm64"][position] }
    }))
  }
  change(files, index)
  files.set("index.json", json(index))
  return files
}

/** As buildpacks write it: layers under absolute names. */
const absolute = (change: (layers: Array<string>) => void = () => {}): Buffer => {
  const layout = makeLayout({ compression: "none" })
  const config = `${path.basename(layout.config)}.json`
  const layers = layout.diffIds.map((digest) => `/${digest}.tar`)
  const files: Files = new Map([[config, layout.files.get(layout.config)!]])
  for (const [index, name] of layers.entries()) files.set(name, layout.files.get(layout.layers[index]!)!)
  change(layers)
  files.set("manifest.json", json([{ Config: config, RepoTags: ["app:1"], Layers: layers }]))
  return pack(files)
}

/** What containerd makes of an image and of an artifact beside it, whose config it takes for an image's in manifest.json. */
const withArtifact = (
  config: Buffer = json({}),
  change: (files: Files, listed: Doc, artifact: Doc) => void = () => {}
): Files => {
  const files = hybrid()
  files.delete("repositories")
  const blob = Buffer.from("no tar at all")
  const manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: { mediaType: "application/vnd.example.config.v1+json", ...put(files, config) },
    layers: [{ mediaType: "application/octet-stream", ...put(files, blob) }]
  }
  const listed = { Config: pathOf(hash(config)), RepoTags: ["artifact:1"], Layers: [pathOf(hash(blob))] }
  change(files, listed, manifest)
  const index = JSON.parse(files.get("index.json")!.toString())
  const artifact = { mediaType: MediaType.ociManifest, ...put(files, json(manifest)) }
  files.set("index.json", json({ ...index, manifests: [...index.manifests, artifact] }))
  const [image] = JSON.parse(files.get("manifest.json")!.toString())
  return files.set("manifest.json", json([image, listed]))
}

/** What images for containerd's wasm shims look like: modules that no diff_id stands for, here between two tars. */
const withModule = (change: (files: Files, listed: Doc, layers: Array<Doc>) => void = () => {}): Files => {
  const module = Buffer.from("\0asm\x01\0\0\0", "latin1")
  const listed: Doc = { RepoTags: ["app:v1"] }
  const extra: Files = new Map()
  const layout = makeLayout({
    compression: "none",
    manifest: ({ layers }) => {
      layers.splice(1, 0, { mediaType: "application/vnd.example.module.v0+wasm", ...put(extra, module) })
      listed.Layers = layers.map((one: Doc) => pathOf(one.digest))
      change(extra, listed, layers)
    }
  })
  const { files } = layout
  for (const [name, bytes] of extra) files.set(name, bytes)
  listed.Config = layout.config
  return files.set("manifest.json", json([listed]))
}

/** The names of manifest.json in lower case, as containerify writes them. */
const lowerCase = (files: Files): Files =>
  files.set(
    "manifest.json",
    Buffer.from(
      files
        .get("manifest.json")!
        .toString()
        .replace(/"(Config|RepoTags|Layers)"/g, (name) => name.toLowerCase())
    )
  )

const zeros = "0".repeat(64)
const doubled = (value: unknown): Buffer => Buffer.from(JSON.stringify(value).replace("{", '{"x":{},"x":{},'))

interface Case {
  readonly id: CheckId
  readonly subject: string
  readonly bytes: () => Uint8Array
  readonly name?: string
  readonly depth?: "full"
  readonly beside?: Readonly<Record<string, Uint8Array>>
}

const edited =
  (change: (saved: Doc, layout: Hybrid) => void): (() => Uint8Array) =>
  () =>
    pack(hybrid((whole) => change(whole.saved, whole)))

const repositories =
  (value: Buffer): (() => Uint8Array) =>
  () =>
    pack(legacy((files) => files.set("repositories", value)))

/** Two images in one archive: the second has the history of `steps` more entries, all of them without layers. */
const family = (steps: number, change: (images: ReadonlyArray<Doc>, ids: ReadonlyArray<string>) => void): Buffer => {
  const files: Files = new Map()
  const images = [0, steps].map((more, position) => {
    const layout = makeLayout({
      compression: "none",
      config: (document) => {
        document.history.push(...Array.from({ length: more }, () => ({ created_by: "x", empty_layer: true })))
      }
    })
    for (const name of [layout.config, ...layout.layers]) files.set(path.basename(name), layout.files.get(name)!)
    return {
      Config: path.basename(layout.config),
      RepoTags: [`app:${position}`],
      Layers: layout.layers.map((name) => path.basename(name))
    }
  })
  change(
    images,
    images.map((one) => `sha256:${one.Config}`)
  )
  files.set("manifest.json", json(images))
  return pack(files)
}

const cases: ReadonlyArray<Case> = [
  { id: "archive.artifact-listed", subject: "manifest.json#1", bytes: () => pack(withArtifact()) },
  {
    id: "archive.artifact-listed",
    name: "whose config is no JSON",
    subject: "manifest.json#1",
    bytes: () => pack(withArtifact(Buffer.from("name: chart")))
  },
  { id: "archive.artifact-listed", name: "with modules", subject: "manifest.json", bytes: () => pack(withModule()) },
  {
    id: "archive.index-mismatch",
    name: "other layers of an artifact",
    subject: "manifest.json#1",
    bytes: () =>
      pack(
        withArtifact(json({}), (files, listed) => {
          listed.Layers = [pathOf(put(files, Buffer.from("another")).digest)]
        })
      )
  },
  {
    id: "archive.index-mismatch",
    name: "an image that index.json calls an artifact",
    subject: "manifest.json#1",
    bytes: () =>
      pack(withArtifact(json({ rootfs: { type: "layers", diff_ids: [] }, architecture: "amd64", os: "linux" })))
  },
  {
    id: "archive.path-through-non-directory",
    subject: "d",
    bytes: () => {
      const files = hybrid()
      const other = files.get("manifest.json")!.toString().replace("app:1", "app:2")
      const whole = pack(files.set("d/manifest.json", Buffer.from(other)))
      return Buffer.concat([encodeHeader({ path: "d", type: "symlink", mode: 0o777, linkname: "." }), whole])
    }
  },
  ...["x/../manifest.json", "blobs/sha256/../../manifest.json"].map(
    (name): Case => ({
      id: "archive.duplicate-member",
      name: `that unpackers put at one place, ${name}`,
      subject: "manifest.json",
      bytes: () => {
        const files = hybrid()
        const other = files.get("manifest.json")!.toString().replace("app:1", "app:2")
        return pack(files.set(name, Buffer.from(other)))
      }
    })
  ),
  {
    id: "image.duplicate-name",
    subject: "manifest.json#1",
    bytes: () =>
      family(1, ([first, second]) => {
        second.RepoTags = ["app:1", ...first.RepoTags]
      })
  },
  {
    id: "manifest.bad-parent",
    subject: "manifest.json#1",
    bytes: () =>
      family(2, ([, child], [id]) => {
        child.Parent = id
      })
  },
  {
    id: "manifest.bad-parent",
    name: "a circle",
    subject: "manifest.json#0",
    bytes: () =>
      family(1, ([parent, child], [id, upper]) => {
        child.Parent = id
        parent.Parent = upper
      })
  },
  {
    id: "compression.media-type-mismatch",
    name: "of what manifest.json says of layers",
    depth: "full",
    subject: makeLayout({ compression: "none" }).layers[0]!,
    bytes: edited((saved) => {
      ;(Object.values(saved.LayerSources)[0] as Doc).mediaType = MediaType.ociLayerGzip
    })
  },
  {
    id: "image.untagged-name",
    subject: "manifest.json",
    bytes: () =>
      pack(
        legacy((files) => {
          const [saved] = JSON.parse(files.get("manifest.json")!.toString())
          files.set("manifest.json", json([{ ...saved, RepoTags: ["app"] }]))
          files.delete("repositories")
        })
      )
  },
  { id: "image.bad-name", subject: "manifest.json", bytes: edited((saved) => saved.RepoTags.push("App:1")) },
  {
    id: "json.ambiguous-name",
    subject: "manifest.json",
    bytes: edited((saved) => {
      saved.layers = []
    })
  },
  { id: "archive.unreadable", name: "empty", subject: archive, bytes: () => new Uint8Array(0) },
  {
    id: "archive.unreadable",
    name: "random bytes",
    subject: archive,
    bytes: () => Buffer.from("no tar at all ".repeat(200))
  },
  { id: "archive.not-an-image", subject: archive, bytes: () => tar({ "etc/": "", "etc/passwd": "root" }) },
  { id: "archive.not-an-image", name: "an empty tar", subject: archive, bytes: () => endOfArchive },
  {
    id: "archive.duplicate-member",
    subject: "manifest.json",
    bytes: () => {
      const files = hybrid()
      return pack([["manifest.json", json([])], ...files])
    }
  },
  {
    id: "archive.repeated-member",
    subject: "manifest.json",
    bytes: () => {
      const files = hybrid()
      return pack([["manifest.json", files.get("manifest.json")!], ...files])
    }
  },
  {
    id: "archive.case-collision",
    subject: "manifest.json",
    bytes: () => pack([["Manifest.json", Buffer.from("[]")], ...hybrid()])
  },
  {
    id: "archive.unreferenced",
    subject: `${zeros}/layer.tar`,
    bytes: () => pack(legacy((files) => files.set(`${zeros}/layer.tar`, tar({}))))
  },
  { id: "archive.legacy", subject: archive, bytes: () => pack(oldest()) },
  {
    id: "archive.not-an-image",
    name: "what docker export writes",
    subject: archive,
    bytes: () => tar({ ".dockerenv": "", "etc/": "" })
  },
  {
    id: "legacy.bad-parent",
    name: "of an image without a name",
    subject: `${hex(hash(Buffer.from("id 1")))}/json`,
    bytes: () =>
      pack(
        oldest((files, [, top]) => {
          files.delete("repositories")
          files.set(`${top}/json`, json({ id: top, parent: zeros }))
        })
      )
  },
  {
    id: "layer.missing",
    name: "of an image without a name",
    subject: `${hex(hash(Buffer.from("id 0")))}/layer.tar`,
    bytes: () =>
      pack(
        oldest((files, [base]) => {
          files.delete("repositories")
          files.delete(`${base}/layer.tar`)
        })
      )
  },
  { id: "legacy.bad-id", subject: upper, bytes: () => beyond(() => json({ id: zeros })) },
  {
    id: "legacy.invalid-json",
    name: "beside manifest.json",
    subject: upper,
    bytes: () => beyond(() => Buffer.from("{"))
  },
  {
    id: "legacy.bad-parent",
    name: "beside manifest.json",
    subject: upper,
    bytes: () => beyond(([, id]) => json({ id, parent: zeros }))
  },
  {
    id: "legacy.bad-parent",
    name: "a circle beside manifest.json",
    subject: upper,
    bytes: () => beyond(([, id]) => json({ id, parent: id }))
  },
  { id: "archive.unlisted", subject: "index.json", bytes: () => pack(byId()) },
  { id: "archive.unlisted", name: "an image of several", subject: "manifest.json", bytes: () => pack(byId()) },
  {
    id: "index.wrong-type",
    name: "null for the manifests of an image with a name",
    subject: "index.json",
    bytes: () => pack(byId((files) => files.set("manifest.json", hybrid().get("manifest.json")!)))
  },
  {
    id: "manifest.parent-missing",
    name: "the image itself",
    subject: "manifest.json",
    bytes: edited((saved) => {
      saved.Parent = `sha256:${path.basename(saved.Config)}`
    })
  },
  { id: "archive.index-beside", subject: "index.json", bytes: () => pack(beside()) },
  {
    id: "manifest.missing",
    name: "of an index that is no layout's",
    subject: pathOf(`sha256:${zeros}`),
    bytes: () =>
      pack(
        beside((_, index) => {
          index.manifests[0].digest = `sha256:${zeros}`
        })
      )
  },
  {
    id: "archive.index-mismatch",
    name: "an index that is no layout's and lists one image less",
    subject: "manifest.json#1",
    bytes: () => pack(beside((_, index) => index.manifests.pop()))
  },
  { id: "manifest.absolute-path", subject: "manifest.json", bytes: () => absolute() },
  {
    id: "manifest.unsafe-path",
    name: "an absolute one of no member",
    subject: "manifest.json",
    bytes: () =>
      absolute((layers) => {
        layers[0] = "/etc/passwd"
      })
  },
  {
    id: "manifest.unsafe-path",
    name: "an absolute one with ..",
    subject: "manifest.json",
    bytes: () =>
      absolute((layers) => {
        layers[0] = `/x/..${layers[0]}`
      })
  },
  {
    id: "repositories.name-with-tag",
    subject: "repositories",
    bytes: () => {
      const files = legacy()
      const { app } = JSON.parse(files.get("repositories")!.toString())
      files.set("repositories", json({ "app:1": { latest: app[1] } }))
      return pack(files)
    }
  },
  {
    id: "repositories.bad-name",
    name: "a name that holds its tag, where nothing else says the names",
    subject: "repositories",
    bytes: () => pack(oldest((files, ids) => files.set("repositories", json({ "app:1": { latest: ids.at(-1) } }))))
  },
  {
    id: "archive.repositories-mismatch",
    name: "a name that holds another tag",
    subject: "repositories",
    bytes: () => {
      const files = legacy()
      const { app } = JSON.parse(files.get("repositories")!.toString())
      files.set("repositories", json({ "app:2": { latest: app[1] } }))
      return pack(files)
    }
  },
  {
    id: "repositories.not-top",
    subject: "repositories",
    bytes: () =>
      pack(
        legacy((files, { ids }) => {
          for (const id of ids) files.set(`${id}/json`, json({ created: "1970-01-01T00:00:01Z" }))
          files.set("repositories", json({ app: { 1: ids[0] } }))
        })
      )
  },

  // One story.
  {
    id: "archive.index-mismatch",
    name: "another config",
    subject: "manifest.json",
    bytes: () => {
      const files = hybrid()
      const other = makeLayout({ compression: "none", config: (document) => ({ ...document, author: "someone else" }) })
      files.set(other.config, other.files.get(other.config)!)
      files.set(
        "manifest.json",
        json([{ ...JSON.parse(files.get("manifest.json")!.toString())[0], Config: other.config }])
      )
      return pack(files)
    }
  },
  {
    id: "archive.index-mismatch",
    name: "another order of layers",
    subject: "manifest.json",
    bytes: edited((saved) => saved.Layers.reverse())
  },
  {
    id: "archive.index-mismatch",
    name: "another name",
    subject: "index.json",
    bytes: edited((saved, { repositories }) => {
      saved.RepoTags = ["app:2"]
      repositories.app = { 2: repositories.app[1] }
    })
  },
  {
    id: "archive.index-mismatch",
    name: "a tag alone that differs",
    subject: "index.json",
    bytes: edited((_, { entry }) => {
      entry.annotations = { "org.opencontainers.image.ref.name": "2" }
    })
  },
  {
    id: "archive.index-mismatch",
    name: "an image that manifest.json does not have",
    subject: "index.json",
    bytes: () => {
      const files = hybrid()
      const other = makeLayout({ layers: [tar({ other: "x" })] })
      for (const [name, bytes] of other.files) if (name.startsWith("blobs/")) files.set(name, bytes)
      const own = JSON.parse(files.get("index.json")!.toString())
      files.set("index.json", json({ ...own, manifests: [...own.manifests, other.entry] }))
      return pack(files)
    }
  },
  {
    id: "archive.repositories-mismatch",
    subject: "repositories",
    bytes: () => pack(legacy((files, { ids }) => files.set("repositories", json({ app: { 2: ids[1] } }))))
  },
  {
    id: "archive.repositories-mismatch",
    name: "another layer",
    subject: "repositories",
    bytes: () => pack(legacy((files, { ids }) => files.set("repositories", json({ app: { 1: ids[0] } }))))
  },
  {
    id: "archive.repositories-mismatch",
    name: "a name that is missing",
    subject: "manifest.json",
    bytes: repositories(json({}))
  },
  {
    id: "archive.layer-sources-mismatch",
    name: "a size",
    subject: "manifest.json",
    bytes: edited((saved) => {
      ;(Object.values(saved.LayerSources)[0] as Doc).size++
    })
  },
  {
    id: "archive.layer-sources-mismatch",
    name: "a layer that is not listed",
    subject: "manifest.json",
    bytes: edited((saved) => {
      saved.LayerSources = {
        [`sha256:${zeros}`]: { ...(Object.values(saved.LayerSources)[0] as Doc), digest: `sha256:${zeros}` }
      }
    })
  },
  {
    id: "archive.layer-sources-mismatch",
    name: "no object",
    subject: "manifest.json",
    bytes: edited((saved) => {
      saved.LayerSources = []
    })
  },

  // repositories.
  { id: "repositories.invalid-json", subject: "repositories", bytes: repositories(Buffer.from("{")) },
  { id: "repositories.duplicate-key", subject: "repositories", bytes: repositories(doubled({ y: {} })) },
  { id: "repositories.wrong-type", subject: "repositories", bytes: repositories(json([])) },
  { id: "repositories.wrong-type", name: "tags", subject: "repositories", bytes: repositories(json({ app: "1" })) },
  {
    id: "repositories.wrong-type",
    name: "an ID",
    subject: "repositories",
    bytes: repositories(json({ app: { 1: "latest" } }))
  },
  {
    id: "repositories.bad-name",
    subject: "repositories",
    bytes: () => pack(legacy((files, { ids }) => files.set("repositories", json({ "A pp": { 1: ids[1] } }))))
  },
  {
    id: "repositories.bad-name",
    name: "a tag",
    subject: "repositories",
    bytes: () => pack(legacy((files, { ids }) => files.set("repositories", json({ app: { "-1": ids[1] } }))))
  },
  { id: "repositories.dangling", subject: "repositories", bytes: repositories(json({ app: { 1: zeros } })) },

  // The oldest form.
  {
    id: "legacy.invalid-json",
    subject: `${hex(hash(Buffer.from("id 1")))}/json`,
    bytes: () => pack(oldest((files, ids) => files.set(`${ids[1]}/json`, Buffer.from("{"))))
  },
  {
    id: "legacy.invalid-json",
    name: "an array",
    subject: upper,
    bytes: () => pack(oldest((files, ids) => files.set(`${ids[1]}/json`, json([]))))
  },
  {
    id: "legacy.duplicate-key",
    subject: `${hex(hash(Buffer.from("id 1")))}/json`,
    bytes: () => pack(oldest((files, ids) => files.set(`${ids[1]}/json`, doubled({ id: ids[1], parent: ids[0] }))))
  },
  {
    id: "legacy.bad-parent",
    subject: `${hex(hash(Buffer.from("id 1")))}/json`,
    bytes: () => pack(oldest((files, ids) => files.set(`${ids[1]}/json`, json({ id: ids[1], parent: zeros }))))
  },
  {
    id: "legacy.bad-parent",
    name: "in a circle",
    subject: `${hex(hash(Buffer.from("id 1")))}/json`,
    bytes: () => pack(oldest((files, ids) => files.set(`${ids[0]}/json`, json({ id: ids[0], parent: ids[1] }))))
  },
  {
    id: "layer.missing",
    name: "of the oldest form",
    subject: `${hex(hash(Buffer.from("id 0")))}/layer.tar`,
    bytes: () => pack(oldest((files, ids) => files.delete(`${ids[0]}/layer.tar`)))
  },
  {
    id: "layer.unreadable",
    name: "a directory in the oldest form",
    subject: `${hex(hash(Buffer.from("id 0")))}/layer.tar`,
    bytes: () =>
      pack(
        oldest((files, ids) => {
          files.delete(`${ids[0]}/layer.tar`)
          files.set(`${ids[0]}/layer.tar/inside`, Buffer.from("x"))
        })
      )
  },

  // The tar and its compression.
  { id: "tar.trailing-data", subject: archive, bytes: () => Buffer.concat([pack(hybrid()), Buffer.from("more")]) },
  { id: "tar.no-end", subject: archive, bytes: () => pack(hybrid(), new Uint8Array(0)) },
  { id: "tar.truncated", subject: archive, bytes: () => pack(hybrid()).subarray(0, -1600) },
  {
    id: "tar.bad-checksum",
    subject: archive,
    bytes: () => {
      const bytes = pack(hybrid())
      bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0)
      return bytes
    }
  },
  { id: "compression.truncated", subject: archive, bytes: () => zlib.gzipSync(pack(hybrid())).subarray(0, -9) },
  {
    id: "compression.trailing-data",
    subject: archive,
    bytes: () => Buffer.concat([zlib.gzipSync(pack(hybrid())), Buffer.from("more")])
  }
]

const fine: Readonly<Record<string, () => Uint8Array>> = {
  "docker-save since Docker 25": () => pack(hybrid()),
  "docker-save before": () => pack(legacy()),
  "regctl's export of a layout": () =>
    pack(
      hybrid(({ entry }) => {
        entry.annotations["io.containerd.image.name"] = "ocidir://layouts/app:1"
      })
    ),
  "an oci-archive": () => pack(makeLayout().files),
  "with members in any order": () => pack([...hybrid()].reverse()),
  "compressed with gzip": () => zlib.gzipSync(pack(hybrid())),
  "compressed with gzip in members": () => {
    const bytes = pack(hybrid())
    return Buffer.concat([zlib.gzipSync(bytes.subarray(0, 1000)), zlib.gzipSync(bytes.subarray(1000))])
  },
  "without names": () =>
    pack(
      hybrid(({ entry, repositories, saved }) => {
        saved.RepoTags = null
        delete entry.annotations
        delete repositories.app
      })
    ),
  "with a tag alone as reference name": () =>
    pack(
      hybrid(({ entry }) => {
        entry.annotations = { "org.opencontainers.image.ref.name": "1" }
      })
    ),
  "with a link instead of a layer that is there twice": () => {
    const files = legacy()
    const [id] = [...files.keys()][0]!.split("/")
    const link = encodeHeader({ path: `${zeros}/layer.tar`, type: "symlink", linkname: `../${id}/layer.tar` })
    return Buffer.concat([link, pack(files)])
  }
}

describe("an archive that is right", () => {
  for (const [name, bytes] of Object.entries(fine)) {
    it.effect(`${name}: no findings`, () =>
      Effect.gen(function* () {
        for (const depth of ["fast", "full"] as const) {
          const verification = yield* verify(bytes(), depth)
          assert.deepStrictEqual(verification.results.results, [], told(verification))
          assert.strictEqual(verification.images.length, 1)
          assert.isTrue(verification.images[0]!.ok)
          assert.strictEqual(verification.layerCount, 2)
        }
      })
    )
  }

  peerTest(["zstd"], "compressed with zstd: no findings", () =>
    Effect.runPromise(
      Effect.map(verify(run("zstd", ["-c"], { input: pack(hybrid()) }).bytes), (verification) => {
        assert.deepStrictEqual(verification.results.results, [], told(verification))
      })
    )
  )

  it.effect("saved by Docker 25 by its ID, which index.json does not list", () =>
    Effect.gen(function* () {
      const verification = yield* verify(pack(byId()))
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.ok),
        [true]
      )
    })
  )

  it.effect("a diff_id that one image says wrongly of a layer that it shares is not the other's fault", () =>
    Effect.gen(function* () {
      const right = makeLayout({ compression: "none" })
      const wrong = makeLayout({
        compression: "none",
        config: (document) => {
          document.rootfs.diff_ids[0] = hash(Buffer.from("no layer"))
        }
      })
      for (const depth of ["fast", "full"] as const) {
        const files: Files = new Map([...right.files, ...wrong.files])
        for (const name of ["index.json", "oci-layout", right.manifest, wrong.manifest]) files.delete(name)
        files.set(
          "manifest.json",
          json(
            [right, wrong].map(({ config, layers }, index) => ({
              Config: config,
              RepoTags: [`app:${index}`],
              Layers: layers
            }))
          )
        )
        const saved = yield* verify(pack(files), depth)
        assert.strictEqual(found(saved, "layer.diff-id-mismatch", right.layers[0]!).length, depth === "full" ? 1 : 0)
        assert.deepStrictEqual(
          saved.images.map((one) => one.ok),
          [true, depth === "fast"],
          told(saved)
        )
        // The same two in a layout beside it.
        const layout = join([right, wrong], (entries) =>
          entries.map((entry, index) => ({
            ...entry,
            annotations: {
              "io.containerd.image.name": `docker.io/library/app:${index}`,
              "org.opencontainers.image.ref.name": `${index}`
            }
          }))
        )
        layout.set("manifest.json", files.get("manifest.json")!)
        const both = yield* verify(pack(layout), depth)
        assert.deepStrictEqual(
          both.images.map((one) => one.ok),
          [true, false],
          told(both)
        )
      }
    })
  )

  it.effect("a multi-platform image of which manifest.json knows one", () =>
    Effect.gen(function* () {
      const files = hybrid()
      const arm = makeLayout({
        config: (document) => ({ ...document, architecture: "arm64" }),
        layers: [tar({ arm: "x" })]
      })
      for (const [name, bytes] of arm.files) if (name.startsWith("blobs/")) files.set(name, bytes)
      const [own] = JSON.parse(files.get("index.json")!.toString()).manifests
      const index = putIndex(files, [
        { ...own, annotations: undefined, platform: { os: "linux", architecture: "amd64" } },
        { ...arm.entry, annotations: undefined, platform: { os: "linux", architecture: "arm64" } }
      ])
      files.set("index.json", json({ schemaVersion: 2, manifests: [{ ...index, annotations: own.annotations }] }))
      const verification = yield* verify(pack(files))
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.image),
        ["app:1", "docker.io/library/app:1 (linux/arm64)"]
      )
    })
  )

  it.effect("with the image that another one was built on, and one image under one name twice", () =>
    Effect.gen(function* () {
      const bytes = family(1, (images, [id]) => {
        images[1].Parent = id
        ;(images as Array<Doc>).push({ ...images[1], RepoTags: ["docker.io/library/app:1"] })
      })
      const verification = yield* verify(bytes)
      assert.deepStrictEqual(verification.results.results, [], told(verification))
      assert.strictEqual(verification.images.length, 3)
    })
  )

  it.effect("with an index of all platforms beside docker-save's manifest.json", () =>
    Effect.gen(function* () {
      const verification = yield* verify(pack(beside()))
      assert.deepStrictEqual(
        verification.results.results.map((one) => [one.severity, one.check]),
        [["info", "archive.index-beside"]],
        told(verification)
      )
      assert.strictEqual(verification.images.length, 2)
      assert.strictEqual(verification.layerCount, 2)
    })
  )

  it.effect("with layers that are no tars, by what the OCI manifest says of them", () =>
    Effect.gen(function* () {
      const encrypted = Buffer.from("what a cipher made of a layer")
      const files = hybrid()
      const layout = makeLayout({
        compression: "none",
        manifest: (document) => {
          document.layers[1] = {
            mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            digest: hash(encrypted),
            size: encrypted.length
          }
        }
      })
      const [saved] = JSON.parse(files.get("manifest.json")!.toString())
      saved.Layers[1] = pathOf(hash(encrypted))
      delete saved.LayerSources
      for (const [name, bytes] of layout.files) files.set(name, bytes)
      put(files, encrypted)
      files.delete(layout.layers[1]!)
      files.delete("repositories")
      files.set("index.json", json({ schemaVersion: 2, manifests: [{ ...layout.entry, annotations: undefined }] }))
      files.set("manifest.json", json([saved]))
      const verification = yield* verify(pack(files))
      assert.deepStrictEqual(
        verification.results.results.filter((one) => one.check !== "blob.unreferenced"),
        [],
        told(verification)
      )
      assert.isTrue(
        verification.results.skipped.some(
          (one) => one.check === "layer.diff-id-mismatch" && one.reason.includes("+encrypted")
        )
      )
      const flipped = Buffer.from(encrypted)
      flipped.writeUInt8(flipped.readUInt8(3) ^ 1, 3)
      files.set(pathOf(hash(encrypted)), flipped)
      const damaged = yield* verify(pack(files))
      assert.strictEqual(found(damaged, "layer.digest-mismatch", pathOf(hash(encrypted))).length, 1, told(damaged))
    })
  )

  it.effect("with an artifact in manifest.json: a warning, and index.json says what it is", () =>
    Effect.gen(function* () {
      const blob = pathOf(hash(Buffer.from("no tar at all")))
      for (const config of [json({}), json({ name: "chart" }), Buffer.from("name: chart")]) {
        const verification = yield* verify(pack(withArtifact(config)))
        assert.deepStrictEqual(
          verification.results.results.map((one) => [one.severity, one.check]),
          [["warning", "archive.artifact-listed"]],
          told(verification)
        )
        assert.deepStrictEqual(
          verification.images.map((one) => one.ok),
          [true, true]
        )
        const without = withArtifact(config)
        without.delete(blob)
        const missing = yield* verify(pack(without))
        assert.strictEqual(found(missing, "blob.missing", blob).length, 1, told(missing))
        const damaged = yield* verify(pack(withArtifact(config).set(blob, Buffer.from("no tar at ALL"))))
        assert.deepStrictEqual(
          complaints(damaged)
            .filter((one) => one.severity === "error")
            .map((one) => [one.check, one.subject]),
          [["blob.digest-mismatch", blob]],
          told(damaged)
        )
      }
    })
  )

  it.effect("with artifacts that have one config: each has its own layers", () =>
    Effect.gen(function* () {
      const files = withArtifact()
      const other = withArtifact(json({}), (into, listed, artifact) => {
        artifact.layers[0] = { mediaType: "text/plain", ...put(into, Buffer.from("of the other")) }
        listed.Layers = [pathOf(artifact.layers[0].digest)]
        listed.RepoTags = ["other:1"]
      })
      const list = (name: string) => [files, other].map((one) => JSON.parse(one.get(name)!.toString()))
      const [index, itsIndex] = list("index.json")
      const [saved, itsSaved] = list("manifest.json")
      for (const [name, bytes] of other) if (name.startsWith("blobs/")) files.set(name, bytes)
      files.set("index.json", json({ ...index, manifests: [...index.manifests, itsIndex.manifests[1]] }))
      files.set("manifest.json", json([...saved, itsSaved[1]]))
      const verification = yield* verify(pack(files))
      assert.deepStrictEqual(
        complaints(verification).map((one) => [one.check, one.subject]),
        [
          ["archive.artifact-listed", "manifest.json#1"],
          ["archive.artifact-listed", "manifest.json#2"]
        ],
        told(verification)
      )
    })
  )

  it.effect("with modules that have no diff_id: a warning, and the tars are proved", () =>
    Effect.gen(function* () {
      const verification = yield* verify(pack(withModule()))
      assert.deepStrictEqual(
        verification.results.results.map((one) => [one.severity, one.check, one.subject]),
        [["warning", "archive.artifact-listed", "manifest.json"]],
        told(verification)
      )
      assert.strictEqual(verification.layerCount, 2)
      const counted = (given: Verification) => found(given, "layer.count-mismatch", "manifest.json").length
      const twice = yield* verify(
        pack(
          withModule((_, listed, layers) => {
            layers.push(layers[2])
            listed.Layers.push(listed.Layers[2])
          })
        )
      )
      assert.strictEqual(counted(twice), 1, told(twice))
      const turned = yield* verify(
        pack(
          withModule((_, listed, layers) => {
            layers.reverse()
            listed.Layers.reverse()
          })
        )
      )
      const mismatches = turned.results.results.filter((one) => one.check === "layer.diff-id-mismatch")
      assert.strictEqual(new Set(mismatches.map((one) => one.subject)).size, 2, told(turned))
    })
  )

  it.effect("with the names of manifest.json in lower case: warnings, and every layer is proved", () =>
    Effect.gen(function* () {
      const verification = yield* verify(pack(lowerCase(legacy())))
      assert.deepStrictEqual(
        verification.results.results.map((one) => [one.severity, one.check]),
        ["Config", "RepoTags", "Layers"].map(() => ["warning", "json.name-case"]),
        told(verification)
      )
      assert.strictEqual(verification.layerCount, 2)
      const files = lowerCase(legacy())
      const [layer] = [...files.keys()].filter((name) => name.endsWith("/layer.tar"))
      const damaged = yield* verify(pack(files.set(layer!, tar({ other: "" }))))
      assert.strictEqual(found(damaged, "layer.diff-id-mismatch", layer!).length, 1, told(damaged))
      const twice = lowerCase(legacy())
      const [saved] = JSON.parse(twice.get("manifest.json")!.toString())
      const ambiguous = yield* verify(pack(twice.set("manifest.json", json([{ ...saved, LAYERS: [] }]))))
      assert.strictEqual(found(ambiguous, "json.ambiguous-name", "manifest.json").length, 1, told(ambiguous))
      assert.strictEqual(found(ambiguous, "layer.count-mismatch", "manifest.json").length, 1, told(ambiguous))
    })
  )

  it.effect("with absolute names of layers: a warning, and every layer is proved", () =>
    Effect.gen(function* () {
      const verification = yield* verify(absolute())
      assert.deepStrictEqual(
        [...new Set(verification.results.results.map((one) => `${one.severity} ${one.check}`))].sort(),
        ["warning manifest.absolute-path", "warning tar.path-absolute"],
        told(verification)
      )
      assert.strictEqual(verification.layerCount, 2)
    })
  )

  it.effect("of the oldest form, saved by ID: images without a name are audited too", () =>
    Effect.gen(function* () {
      const verification = yield* verify(pack(oldest((files) => files.delete("repositories"))))
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.image),
        [hex(hash(Buffer.from("id 1")))]
      )
      assert.strictEqual(verification.layerCount, 2)
    })
  )

  it.effect("of the oldest form: what cannot be proved is said", () =>
    Effect.gen(function* () {
      const verification = yield* verify(pack(oldest()))
      assert.deepStrictEqual(complaints(verification), [], told(verification))
      assert.deepStrictEqual(
        verification.images.map((one) => one.image),
        ["app:1"]
      )
      assert.isTrue(verification.results.skipped.some((one) => one.check === "layer.diff-id-mismatch"))
    })
  )
})

describe("every check", () => {
  const clean = new Set<string>()

  for (const one of cases) {
    it.effect(`${one.id}${one.name === undefined ? "" : `: ${one.name}`}`, () =>
      Effect.gen(function* () {
        for (const depth of one.depth === "full" ? (["full"] as const) : (["fast", "full"] as const)) {
          const verification = yield* verify(one.bytes(), depth, one.beside)
          const findings = found(verification, one.id, one.subject)
          assert.isAbove(findings.length, 0, `expected ${one.id} about ${one.subject}, found\n${told(verification)}`)
          assert.strictEqual(findings[0]!.severity, catalog[one.id].severity)
        }
      })
    )
  }

  it.effect("runs on archives that are right", () =>
    Effect.gen(function* () {
      for (const bytes of [fine["docker-save since Docker 25"]!(), zlib.gzipSync(pack(hybrid()))]) {
        for (const id of (yield* verify(bytes)).results.checked) clean.add(id)
      }
      const legacyOnly = [
        "archive.legacy",
        "legacy.invalid-json",
        "legacy.duplicate-key",
        "legacy.bad-id",
        "legacy.bad-parent"
      ]
      const unchecked = [...new Set(cases.map((one) => one.id))].filter(
        (id) => !clean.has(id) && !legacyOnly.includes(id)
      )
      assert.deepStrictEqual(unchecked, [])
      const old = new Set((yield* verify(pack(oldest()))).results.checked)
      assert.deepStrictEqual(
        legacyOnly.filter((id) => !old.has(id)),
        []
      )
    })
  )

  it("has a case here", () => {
    const covered = new Set<string>(cases.map((one) => one.id))
    assert.deepStrictEqual(
      idsOf("image", "archive", "repositories", "legacy").filter((id) => !covered.has(id)),
      []
    )
  })
})

describe("a fault", () => {
  const only = (files: Iterable<readonly [string, Buffer]>) =>
    Effect.map(verify(pack(files)), (verification) => {
      assert.isTrue(
        verification.images.every((one) => !one.ok),
        told(verification)
      )
      return complaints(verification).map((one) => `${one.check} ${one.subject}`)
    })

  const withFile = (files: Files, name: string, bytes: Buffer): Files => files.set(name, bytes)

  it.effect("of one document is not one of those that it would be compared with", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* only(withFile(hybrid(), "manifest.json", Buffer.from("["))), [
        "manifest.invalid-json manifest.json"
      ])
      assert.deepStrictEqual(yield* only(withFile(hybrid(), "manifest.json", Buffer.from("{}"))), [
        "manifest.not-an-array manifest.json"
      ])
      assert.deepStrictEqual(yield* only(withFile(hybrid(), "index.json", Buffer.from("["))), [
        "index.invalid-json index.json"
      ])
      assert.deepStrictEqual(yield* only(withFile(hybrid(), "repositories", Buffer.from("["))), [
        "repositories.invalid-json repositories"
      ])
    })
  )

  it.effect("of a config is found however the config is spelt in manifest.json", () =>
    Effect.gen(function* () {
      for (const spelt of [(name: string) => `./${name}`, (name: string) => `.//${name}`]) {
        let config = ""
        const files = legacy((all, names) => {
          const [saved] = JSON.parse(all.get("manifest.json")!.toString())
          config = spelt(names.config)
          all.set("manifest.json", json([{ ...saved, Config: config }]))
        })
        const sound = yield* verify(pack(files))
        assert.deepStrictEqual(sound.results.results, [], told(sound))
        const name = [...files.keys()].find((one) => one.endsWith(".json") && one.length > 60)!
        files.set(name, Buffer.from(files.get(name)!.toString().replace('"sh"', '"zh"')))
        assert.deepStrictEqual(yield* only(files), [`config.digest-mismatch ${config}`])
      }
    })
  )

  it.effect("of the archive as a tar is one of each image", () =>
    Effect.gen(function* () {
      const bytes = Buffer.concat([pack(hybrid()), Buffer.alloc(1024, 0x78)])
      const verification = yield* verify(bytes, "fast")
      assert.isAbove(found(verification, "tar.trailing-data", archive).length, 0, told(verification))
      assert.isFalse(verification.images[0]!.ok)
    })
  )
})

describe("thousands of images", () => {
  it.effect("of one config are told apart in time, in manifest.json, repositories and index.json", () =>
    Effect.gen(function* () {
      const count = 20_000
      const files = hybrid()
      const [saved] = JSON.parse(files.get("manifest.json")!.toString())
      const [entry] = JSON.parse(files.get("index.json")!.toString()).manifests
      const id = JSON.parse(files.get("repositories")!.toString()).app["1"]
      const names = Array.from({ length: count }, (_, index) => `app:${index}`)
      files.set("manifest.json", json(names.map((name) => ({ ...saved, LayerSources: null, RepoTags: [name] }))))
      files.set("repositories", json({ app: Object.fromEntries(names.map((name) => [name.slice(4), id])) }))
      files.set(
        "index.json",
        json({
          schemaVersion: 2,
          manifests: names.map((name) => ({ ...entry, annotations: { "io.containerd.image.name": name } }))
        })
      )
      const begin = performance.now()
      const verification = yield* verify(pack(files), "fast")
      assert.isBelow(performance.now() - begin, 60_000)
      assert.deepStrictEqual(verification.results.results, [], told(verification).slice(0, 1000))
      assert.lengthOf(verification.images, count)
      assert.isTrue(verification.images.every((one) => one.ok))
    })
  )

  it.effect("with one fault in each member are told of it a few times, with how many more there are", () =>
    Effect.gen(function* () {
      const messages = function* (count: number) {
        const files = hybrid()
        for (let index = 0; index < count; index++) files.set(`/absolute-${index}`, Buffer.from("x"))
        return found(yield* verify(pack(files), "fast"), "tar.path-absolute", archive).map(({ message }) => message)
      }
      assert.lengthOf(yield* messages(3), 3)
      const five = yield* messages(5)
      assert.lengthOf(five, 4)
      assert.strictEqual(five.at(-1), "and 2 more of these")
    })
  )

  it.effect("that stand on one another, from before manifest.json, are followed as far as real ones go", () =>
    Effect.gen(function* () {
      const ids = Array.from({ length: 1000 }, (_, index) => index.toString(16).padStart(64, "0"))
      const files: Files = new Map()
      for (const [index, id] of ids.entries()) {
        files.set(`${id}/json`, json({ id, ...(index === 0 ? {} : { parent: ids[index - 1] }) }))
        files.set(`${id}/layer.tar`, tar({}))
      }
      files.set("repositories", json({ app: Object.fromEntries(ids.map((id, index) => [index, id])) }))
      const verification = yield* verify(pack(files), "fast")
      assert.lengthOf(found(verification, "manifest.too-many-layers", "repositories"), 1)
      assert.isFalse(verification.images.at(-1)!.ok)
    })
  )
})

describe("receipts", () => {
  const receiptOf = (files: Files, changes: Partial<Receipt.Receipt> = {}): Uint8Array =>
    Receipt.encode({
      tool: "tallyman",
      version: "0.0.0",
      layout: "tar",
      names: ["app:1"],
      image: "sha256:x",
      source: { uri: "dir://x" },
      filters: [],
      conversions: [],
      files: [...files].map(([name, bytes]) => Receipt.fileOf(name, bytes)),
      details: { size: pack(files).length },
      ...changes
    })

  it.effect("beside the archive are compared with it", () =>
    Effect.gen(function* () {
      const files = hybrid()
      const at = (receipt: Uint8Array): Effect.Effect<Verification, unknown> =>
        verify(pack(files), "full", { [`${archive}.receipt.json`]: receipt })
      const clean = yield* at(receiptOf(files))
      assert.deepStrictEqual(clean.results.results, [], told(clean))

      const recorded = [...files].map(([name, bytes]) => Receipt.fileOf(name, bytes))
      const changed = yield* at(
        receiptOf(files, {
          files: recorded.map((file) => (file.path === "repositories" ? { ...file, sha256: zeros } : file))
        })
      )
      assert.strictEqual(found(changed, "receipt.digest-mismatch", "repositories").length, 1, told(changed))
      const gone = yield* at(receiptOf(files, { files: [...recorded, { path: "gone", size: 1, sha256: zeros }] }))
      assert.strictEqual(found(gone, "receipt.missing-file", "gone").length, 1, told(gone))
      const unknown = yield* at(receiptOf(files, { files: recorded.slice(1) }))
      assert.strictEqual(found(unknown, "receipt.image-mismatch", recorded[0]!.path).length, 1, told(unknown))
      const longer = yield* at(receiptOf(files, { details: { size: 1 } }))
      assert.strictEqual(found(longer, "receipt.size-mismatch", archive).length, 1, told(longer))
      const broken = yield* at(Buffer.from("{"))
      assert.strictEqual(found(broken, "receipt.invalid", `${archive}.receipt.json`).length, 1, told(broken))
    })
  )
})

describe("damage", () => {
  it("any byte of any member's body flipped is reported", () => {
    const files = hybrid()
    const bytes = pack(files)
    const bodies = [...files]
      .filter(([name]) => name.startsWith("blobs/"))
      .map(([, body]) => body)
      .filter((body) => body.length > 0)
    return fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...bodies),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        async (body, at, mask) => {
          const copy = Buffer.from(bytes)
          const offset = copy.indexOf(body) + Math.floor(at * body.length)
          copy.writeUInt8(copy.readUInt8(offset) ^ mask, offset)
          const { results } = await Effect.runPromise(verify(copy))
          return results.hasErrors
        }
      ),
      { numRuns: 100 }
    )
  })

  it("an archive cut anywhere before its end blocks is reported", () => {
    const bytes = pack(hybrid())
    return fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1025 }), async (length) => {
        const { results } = await Effect.runPromise(verify(bytes.subarray(0, length)))
        return results.hasErrors || results.warningCount > 0
      }),
      { numRuns: 100 }
    )
  })

  it.effect("several images in one archive each get their verdict", () =>
    Effect.gen(function* () {
      const files: Files = new Map()
      const layouts = ["one", "two"].map((name) =>
        makeLayout({ layers: [tar({ shared: "x" }), tar({ [name]: name })], compression: "none" })
      )
      for (const layout of layouts)
        for (const [name, bytes] of layout.files) if (name.startsWith("blobs/")) files.set(name, bytes)
      files.set(
        "manifest.json",
        json(
          layouts.map((layout, index) => ({ Config: layout.config, RepoTags: [`app:${index}`], Layers: layout.layers }))
        )
      )
      const broken = layouts[1]!.layers[1]!
      files.set(broken, Buffer.from(files.get(broken)!))
      files.get(broken)!.writeUInt8(0x41, 600)
      const verification = yield* verify(pack(files))
      assert.deepStrictEqual(
        verification.images.map(({ image, ok }) => [image, ok]),
        [
          ["app:0", true],
          ["app:1", false]
        ],
        told(verification)
      )
      assert.isAbove(found(verification, "layer.digest-mismatch", broken).length, 0)
    })
  )

  it.effect("a hybrid whose index.json is gone still has the frame of a layout, and says so", () =>
    Effect.gen(function* () {
      const files = hybrid()
      files.delete("index.json")
      const verification = yield* verify(pack(files))
      assert.strictEqual(found(verification, "index.missing", "index.json").length, 1, told(verification))
    })
  )

  it.effect("blobs that nothing refers to are hashed as well", () =>
    Effect.gen(function* () {
      const files = hybrid()
      put(files, Buffer.from("left over"))
      files.set(pathOf(`sha256:${zeros}`), Buffer.from("wrong"))
      const verification = yield* verify(pack(files))
      assert.strictEqual(found(verification, "blob.unreferenced", pathOf(hash(Buffer.from("left over")))).length, 1)
      assert.strictEqual(found(verification, "blob.digest-mismatch", pathOf(`sha256:${zeros}`)).length, 1)
    })
  )
})

describe("what is not there", () => {
  it.effect("is an error of its own, not a finding", () =>
    withDirectory((directory) =>
      Effect.gen(function* () {
        const missing = yield* Effect.flip(ArchiveVerifier.make({ path: path.join(directory, "nothing.tar") }))
        assert.strictEqual(missing.reason, "NotFound")
        const unknown = path.join(directory, "x.tar.xz")
        fs.writeFileSync(unknown, Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 1, 2, 3]))
        const unsupported = yield* Effect.flip(ArchiveVerifier.make({ path: unknown }))
        assert.strictEqual(unsupported.reason, "Unsupported")
      })
    ).pipe(Effect.scoped, Effect.provide(pool))
  )
})
