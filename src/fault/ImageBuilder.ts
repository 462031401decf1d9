/**
 * Small real images, built in memory and written in the forms that producers use. The same description gives the same
 * bytes (those of gzip depend on the zlib of the Node that runs). For tests, of this project and of its users.
 *
 * Every form is a list of entries: `archive` makes a tar of it, `writeTree` a directory.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import * as ByteString from "../content/ByteString.ts"
import type { Compression } from "../image/Compression.ts"
import * as Digest from "../image/Digest.ts"
import * as MediaType from "../image/MediaType.ts"
import * as PythonJson from "../image/PythonJson.ts"
import * as Reference from "../image/Reference.ts"
import * as Entry from "./Entry.ts"
import * as Zstd from "./Zstd.ts"

/** What an image is to be like. */
export interface ImageSpec {
  /** `name:tag` of every name; `localhost/example:1` unless given. */
  readonly names?: ReadonlyArray<string>
  /** From the base up: entries, or the bytes of a tar. */
  readonly layers: ReadonlyArray<ReadonlyArray<Entry.Entry> | Uint8Array>
  readonly os?: string
  readonly architecture?: string
  readonly variant?: string
  /** Laid over the config's fields; undefined takes a field out. */
  readonly config?: Readonly<Record<string, unknown>>
  /** The config's bytes, in place of everything made from the fields above. */
  readonly rawConfig?: Uint8Array
}

/** One layer of a built image. */
export interface BuiltLayer {
  readonly tar: Uint8Array
  /** sha256 of the tar (image-spec config.md "Layer DiffID"). */
  readonly diffId: Digest.Digest
}

/** An image in memory. */
export interface BuiltImage {
  readonly names: ReadonlyArray<string>
  readonly layers: ReadonlyArray<BuiltLayer>
  /** The config's bytes. */
  readonly config: Uint8Array
  /** Their sha256: the image ID. */
  readonly id: Digest.Digest
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string }
}

const created = "2020-09-13T12:26:40Z"

const sha256 = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const hash = crypto.createHash("sha256")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}

const digestOf = (bytes: Uint8Array): Digest.Digest => Digest.make("sha256", sha256(bytes))

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

/** Builds an image whose diff_ids, history and ID fit its layers. */
export const build = (spec: ImageSpec): BuiltImage => {
  const layers = spec.layers.map((layer): BuiltLayer => {
    const tar = layer instanceof Uint8Array ? layer : Entry.tar(layer)
    return { tar, diffId: digestOf(tar) }
  })
  const platform = {
    architecture: spec.architecture ?? "amd64",
    os: spec.os ?? "linux",
    ...(spec.variant === undefined ? {} : { variant: spec.variant })
  }
  const config =
    spec.rawConfig ??
    json({
      created,
      ...platform,
      config: { Env: ["PATH=/usr/local/bin:/usr/bin:/bin"], Cmd: ["/bin/sh"], WorkingDir: "/" },
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
      history: layers.map((_, index) => ({ created, created_by: `layer ${index}` })),
      ...spec.config
    })
  return { names: spec.names ?? ["localhost/example:1"], layers, config, id: digestOf(config), platform }
}

/** cap_net_bind_service=ep, as the kernel takes it (struct vfs_cap_data, revision 2). */
const capability = Buffer.from("0100000200040000000000000000000000000000", "hex")

/** A small image of three layers with everything that makes layers hard: links, devices, whiteouts, odd names, holes. */
export const rich = (names: ReadonlyArray<string> = ["localhost/rich:1"]): BuiltImage =>
  build({
    names,
    layers: [
      [
        Entry.directory("etc/"),
        Entry.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        Entry.file("etc/shadow", "root:*:::::::\n", { mode: 0o640, gid: 42, gname: "shadow" }),
        Entry.directory("usr/"),
        Entry.directory("usr/lib/"),
        Entry.file("usr/lib/library.so.1", "\x7fELF library"),
        Entry.symlink("usr/lib/library.so", "library.so.1"),
        Entry.symlink("lib", "usr/lib"),
        Entry.directory("usr/lib64/"),
        Entry.file("usr/lib64/kept", "a sibling that shares a prefix"),
        Entry.directory("var/"),
        Entry.directory("var/cache/"),
        Entry.file("var/cache/old", "goes with an opaque whiteout"),
        Entry.file("var/log", "goes with a whiteout"),
        Entry.file("root-only", "x", { mode: 0o4755, uid: 0, gid: 0, mtimeNanoseconds: 123_456_789 })
      ],
      [
        Entry.whiteout("var/log"),
        Entry.opaque("var/cache"),
        Entry.file("var/cache/new", "comes behind the opaque whiteout"),
        Entry.hardlink("etc/passwd-", "etc/passwd"),
        Entry.file("etc/hosts", "127.0.0.1 localhost\n"),
        Entry.hardlink("etc/hosts.link", "etc/hosts"),
        Entry.file(`long/${"n".repeat(120)}/${"m".repeat(120)}`, "a name for a pax header"),
        Entry.file("caf\u00e9", "a name that is not ASCII"),
        Entry.file(Uint8Array.of(0x6c, 0x61, 0x74, 0x69, 0x6e, 0xe9), "a name that is not UTF-8")
      ],
      [
        Entry.directory("dev/"),
        Entry.device("dev/null", "char", 1, 3, { mode: 0o666 }),
        Entry.device("dev/disk", "block", 8, 0),
        Entry.fifo("run-pipe"),
        Entry.file("attributes", "x", {
          xattrs: { "user.note": "text", "security.capability": capability }
        }),
        Entry.file("empty")
      ]
    ]
  })

/** `bytes` as stored with this compression. The zstd frame holds raw blocks. */
export const compress = (bytes: Uint8Array, compression: Compression): Uint8Array =>
  compression === "none" ? bytes : compression === "zstd" ? Zstd.frame(bytes) : zlib.gzipSync(bytes)

/** The archive of these entries, as a whole plain or compressed. */
export const archive = (entries: ReadonlyArray<Entry.Entry>, compression: Compression = "none"): Uint8Array =>
  compress(Entry.tar(entries), compression)

/** Writes files, directories and links below `directory`, which is made; refuses to replace anything. */
export const writeTree = (directory: string, entries: ReadonlyArray<Entry.Entry>): void => {
  fs.mkdirSync(directory, { recursive: true })
  for (const { body, linkname, path: name, type } of entries) {
    const parts = (ByteString.toText(name) ?? "").split("/").filter((part) => part !== "")
    if (parts.length === 0 || parts.includes("..")) throw new RangeError(`cannot write ${ByteString.display(name)}`)
    const target = path.join(directory, ...parts)
    fs.mkdirSync(path.dirname(target), { recursive: true })
    if (type === "directory") fs.mkdirSync(target, { recursive: true })
    else if (type === "file") fs.writeFileSync(target, body, { flag: "wx" })
    else if (type === "symlink") fs.symlinkSync(ByteString.toBytes(linkname ?? ""), target)
    else if (type === "hardlink") fs.linkSync(path.join(directory, ByteString.toText(linkname ?? "") ?? ""), target)
    else throw new RangeError(`cannot write ${ByteString.display(name)}, a ${type}`)
  }
}

/** Keeps the first of several entries with one name: images that share a blob name it once. */
const distinct = (entries: Iterable<Entry.Entry>): ReadonlyArray<Entry.Entry> => {
  const byName = new Map<string, Entry.Entry>()
  for (const entry of entries) if (!byName.has(entry.path)) byName.set(entry.path, entry)
  return [...byName.values()]
}

/** The `repositories` file: name to tag to v1 ID of the uppermost layer (docker-image-spec v1.0). */
const repositories = (images: ReadonlyArray<BuiltImage>, top: (image: BuiltImage) => string): Entry.Entry => {
  const table: Record<string, Record<string, string>> = {}
  for (const image of images) {
    for (const name of image.names) {
      const { name: repository, tag } = Reference.split(name)
      table[repository] = { ...table[repository], [tag ?? "latest"]: top(image) }
    }
  }
  return Entry.file("repositories", json(table))
}

interface V1Layer extends BuiltLayer {
  readonly v1Id: string
  readonly v1Json: Uint8Array
}

/** The v1 IDs of an image's layers: each stands for its layer on top of those below it. */
const v1Layers = (image: BuiltImage): ReadonlyArray<V1Layer> => {
  const layers: Array<V1Layer> = []
  for (const [index, layer] of image.layers.entries()) {
    const parent = layers.at(-1)?.v1Id
    // The uppermost one is the image's own: it carries its config.
    const own = index === image.layers.length - 1 ? image.id : ""
    const v1Id = sha256(parent ?? "", layer.diffId, own)
    layers.push({
      ...layer,
      v1Id,
      v1Json: json({
        id: v1Id,
        ...(parent === undefined ? {} : { parent }),
        created,
        container_config: { Cmd: null },
        os: image.platform.os
      })
    })
  }
  return layers
}

const v1Files = (layer: V1Layer): ReadonlyArray<Entry.Entry> => [
  Entry.file(`${layer.v1Id}/VERSION`, "1.0"),
  Entry.file(`${layer.v1Id}/json`, layer.v1Json)
]

const configName = (image: BuiltImage): string => `${Digest.encodedOf(image.id)}.json`

const topOf = (image: BuiltImage): string => v1Layers(image).at(-1)?.v1Id ?? Digest.encodedOf(image.id)

/**
 * `docker save` before Docker 25: `{v1 id}/layer.tar` with VERSION and json, a layer that comes again as a symlink to
 * its first place.
 */
export const dockerLegacy = (images: ReadonlyArray<BuiltImage>): ReadonlyArray<Entry.Entry> => {
  const places = new Map<string, string>()
  const entries = images.flatMap((image) => [
    ...v1Layers(image).flatMap((layer) => {
      const place = places.get(layer.diffId)
      places.set(layer.diffId, place ?? layer.v1Id)
      return [
        Entry.directory(`${layer.v1Id}/`),
        ...v1Files(layer),
        place === undefined || place === layer.v1Id
          ? Entry.file(`${layer.v1Id}/layer.tar`, layer.tar)
          : Entry.symlink(`${layer.v1Id}/layer.tar`, `../${place}/layer.tar`)
      ]
    }),
    Entry.file(configName(image), image.config)
  ])
  const manifest = images.map((image) => ({
    Config: configName(image),
    RepoTags: image.names.length === 0 ? null : image.names,
    Layers: v1Layers(image).map((layer) => `${layer.v1Id}/layer.tar`)
  }))
  return distinct([...entries, Entry.file("manifest.json", json(manifest)), repositories(images, topOf)])
}

/** What `podman save` and skopeo write: `{diff_id}.tar`, with `{v1 id}/layer.tar` as a symlink to it. */
export const dockerDigestNames = (images: ReadonlyArray<BuiltImage>): ReadonlyArray<Entry.Entry> => {
  const nameOf = (layer: BuiltLayer): string => `${Digest.encodedOf(layer.diffId)}.tar`
  const manifest = images.map((image) => ({
    Config: configName(image),
    RepoTags: image.names,
    Layers: image.layers.map(nameOf)
  }))
  return distinct([
    ...images.flatMap((image) => [
      ...image.layers.map((layer) => Entry.file(nameOf(layer), layer.tar)),
      ...v1Layers(image).flatMap((layer) => [
        ...v1Files(layer),
        Entry.symlink(`${layer.v1Id}/layer.tar`, `../${nameOf(layer)}`)
      ]),
      Entry.file(configName(image), image.config)
    ]),
    repositories(images, topOf),
    Entry.file("manifest.json", json(manifest))
  ])
}

/** How an image's blobs are stored in an OCI layout. */
export interface BlobOptions {
  /** Of all layers, or of each one; none unless given. */
  readonly compression?: Compression | ReadonlyArray<Compression>
  /** Docker's media types in place of OCI's. */
  readonly docker?: boolean
  /** Laid over the manifest's fields. */
  readonly manifest?: Readonly<Record<string, unknown>>
}

/** A descriptor (image-spec descriptor.md). */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest.Digest
  readonly size: number
  readonly [field: string]: unknown
}

interface Blobs {
  readonly entries: ReadonlyArray<Entry.Entry>
  readonly manifest: Descriptor
  readonly config: Descriptor
  readonly layers: ReadonlyArray<Descriptor>
}

const describe = (mediaType: string, bytes: Uint8Array): Descriptor => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length
})

const blob = (bytes: Uint8Array): Entry.Entry => Entry.file(Digest.blobPath(digestOf(bytes)), bytes)

/** Layers, config and manifest as blobs, with their descriptors. */
export const blobs = (image: BuiltImage, options: BlobOptions = {}): Blobs => {
  const docker = options.docker === true
  const stored = image.layers.map((layer, index) => {
    const wanted = options.compression ?? "none"
    const compression = typeof wanted === "string" ? wanted : (wanted[index] ?? "none")
    const bytes = compress(layer.tar, compression)
    return { bytes, descriptor: describe(MediaType.layerWith(compression, docker), bytes) }
  })
  const config = describe(docker ? MediaType.dockerConfig : MediaType.ociConfig, image.config)
  const mediaType = docker ? MediaType.dockerManifest : MediaType.ociManifest
  const layers = stored.map((one) => one.descriptor)
  const manifest = json({ schemaVersion: 2, mediaType, config, layers, ...options.manifest })
  return {
    entries: [...stored.map((one) => blob(one.bytes)), blob(image.config), blob(manifest)],
    manifest: describe(mediaType, manifest),
    config,
    layers
  }
}

const ociLayoutFile = Entry.file("oci-layout", json({ imageLayoutVersion: "1.0.0" }))
const refName = "org.opencontainers.image.ref.name"

/**
 * `docker save` of Docker 25 and later: an OCI layout that holds a manifest.json and `repositories` as well. Its layers
 * are plain tars there; compressed ones come from the containerd image store and from buildkit.
 */
export const dockerHybrid = (
  images: ReadonlyArray<BuiltImage>,
  options: BlobOptions = {}
): ReadonlyArray<Entry.Entry> => {
  const all = images.map((image) => ({ image, ...blobs(image, options) }))
  const manifest = all.map(({ config, image, layers }) => ({
    Config: Digest.blobPath(config.digest),
    RepoTags: image.names.length === 0 ? null : image.names,
    Layers: layers.map((layer) => Digest.blobPath(layer.digest)),
    LayerSources: Object.fromEntries(image.layers.map(({ diffId }, index) => [diffId, layers[index]]))
  }))
  const index = {
    schemaVersion: 2,
    mediaType: MediaType.ociIndex,
    manifests: all.flatMap(({ image, manifest: descriptor }) =>
      image.names.length === 0
        ? [descriptor]
        : image.names.map((name) => ({
            ...descriptor,
            annotations: { "io.containerd.image.name": name, [refName]: Reference.split(name).tag ?? "latest" }
          }))
    )
  }
  return distinct([
    Entry.directory("blobs/"),
    Entry.directory("blobs/sha256/"),
    ...all.flatMap((one) => one.entries),
    Entry.file("index.json", json(index)),
    Entry.file("manifest.json", json(manifest)),
    ociLayoutFile,
    repositories(images, (image) => Digest.encodedOf(image.layers.at(-1)?.diffId ?? image.id))
  ])
}

/** One entry of an index: an image, or an index of its own. */
export type IndexItem =
  | (BlobOptions & {
      readonly image: BuiltImage
      /** `org.opencontainers.image.ref.name`: by default each of the image's names in turn; none for `[]`. */
      readonly names?: ReadonlyArray<string>
      /** Whether the descriptor says the platform. */
      readonly platform?: boolean
    })
  | { readonly index: ReadonlyArray<IndexItem>; readonly names?: ReadonlyArray<string> }

/** An OCI image layout, as a directory or an oci-archive holds it; indexes nest as deep as they are given. */
export const ociLayout = (items: ReadonlyArray<IndexItem>): ReadonlyArray<Entry.Entry> => {
  const { bytes, entries } = index(items, true)
  return distinct([
    ociLayoutFile,
    Entry.directory("blobs/"),
    Entry.directory("blobs/sha256/"),
    ...entries,
    Entry.file("index.json", bytes)
  ])
}

const index = (
  items: ReadonlyArray<IndexItem>,
  outermost: boolean
): { readonly bytes: Uint8Array; readonly entries: ReadonlyArray<Entry.Entry> } => {
  const entries: Array<Entry.Entry> = []
  const manifests: Array<Descriptor> = []
  for (const item of items) {
    let descriptor: Descriptor
    let names = item.names
    if ("index" in item) {
      const inner = index(item.index, false)
      entries.push(...inner.entries, blob(inner.bytes))
      descriptor = describe(MediaType.ociIndex, inner.bytes)
    } else {
      const made = blobs(item.image, item)
      entries.push(...made.entries)
      descriptor = item.platform === true ? { ...made.manifest, platform: item.image.platform } : made.manifest
      names ??= outermost ? item.image.names : []
    }
    if (names === undefined || names.length === 0) manifests.push(descriptor)
    else manifests.push(...names.map((name) => ({ ...descriptor, annotations: { [refName]: name } })))
  }
  return { bytes: json({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }), entries }
}

export interface DirectoryOptions {
  /** A manifest for each image, so that the directory holds several. */
  readonly uniqueNames?: boolean
}

const underscored = (name: string): string => name.replaceAll("/", "_")

const catalogOf = (images: ReadonlyArray<readonly [name: string, manifest: string]>): Entry.Entry => {
  const table: Record<string, Record<string, string>> = {}
  for (const [name, manifest] of images) {
    const { name: repository, tag } = Reference.split(name)
    table[repository] = { ...table[repository], [tag ?? "latest"]: manifest }
  }
  return Entry.file("catalog.json", PythonJson.stringify(table))
}

const manifestName = (image: BuiltImage, uniqueNames: boolean | undefined): string => {
  const { name, tag } = Reference.split(image.names[0] ?? Digest.encodedOf(image.id))
  return uniqueNames === true ? `manifest-${underscored(name)}-${tag ?? "latest"}.json` : "manifest.json"
}

/** A `dir://` directory: verbatim config, layers under their diff_ids; without the receipt that only a writer can give. */
export const directory = (
  images: ReadonlyArray<BuiltImage>,
  options: DirectoryOptions = {}
): ReadonlyArray<Entry.Entry> =>
  distinct([
    ...images.flatMap((image) => [
      ...image.layers.map((layer) => Entry.file(`${Digest.encodedOf(layer.diffId)}/layer.tar`, layer.tar)),
      Entry.file(configName(image), image.config),
      Entry.file(
        manifestName(image, options.uniqueNames),
        PythonJson.stringify([
          {
            Config: configName(image),
            Layers: image.layers.map((layer) => `${Digest.encodedOf(layer.diffId)}/layer.tar`),
            RepoTags: image.names
          }
        ])
      )
    ]),
    catalogOf(
      images.flatMap((image) => image.names.map((name) => [name, manifestName(image, options.uniqueNames)] as const))
    )
  ])

/**
 * A directory as the Python tool occystrap writes it: the config re-serialised under the name of what it was, layer
 * directories named after another digest than the diff_id, and names that keep their last part only.
 */
export const occystrapDirectory = (
  images: ReadonlyArray<BuiltImage>,
  options: DirectoryOptions = {}
): ReadonlyArray<Entry.Entry> => {
  // The registry's digest of the compressed blob, which nothing else in the directory tells.
  const layerName = (layer: BuiltLayer): string => `${sha256("compressed", layer.tar)}/layer.tar`
  const lastPart = (name: string): string => name.slice(name.lastIndexOf("/") + 1)
  return distinct([
    ...images.flatMap((image) => [
      Entry.file(configName(image), PythonJson.stringify(JSON.parse(Buffer.from(image.config).toString("utf8")))),
      ...image.layers.map((layer) => Entry.file(layerName(layer), layer.tar)),
      Entry.file(
        manifestName(image, options.uniqueNames),
        PythonJson.stringify([
          {
            Config: configName(image),
            ...(options.uniqueNames === true ? { ImageName: Reference.split(image.names[0] ?? "").name } : {}),
            Layers: image.layers.map(layerName),
            RepoTags: image.names.slice(0, 1).map(lastPart)
          }
        ])
      )
    ]),
    catalogOf(
      images.flatMap((image) =>
        image.names.slice(0, 1).map((name) => [name, manifestName(image, options.uniqueNames)] as const)
      )
    )
  ])
}
