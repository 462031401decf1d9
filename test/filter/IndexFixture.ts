/** A layout with an index of several platforms, as BuildKit writes one, and all that may stand beside images in it. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Digest from "../../src/image/Digest.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import { digestOf } from "../layout/writing.ts"
import { file, tar } from "../rootfs/Layers.ts"

export type Descriptor = ImageBuilder.Descriptor

export const refName = "org.opencontainers.image.ref.name"
export const attested = "vnd.docker.reference.digest"
export const createdKey = "org.opencontainers.image.created"

const created = "2024-01-02T03:04:05Z"

/** Of amd64 and arm64. */
export const shared = tar([file("lib/a.pyc", "compiled"), file("lib/a.py", "source")])

const own = (architecture: string): Buffer => tar([file("bin/app", architecture), file("bin/app.pyc", architecture)])

const imageOf = (architecture: string, layers: ReadonlyArray<Uint8Array>): ImageBuilder.BuiltImage =>
  ImageBuilder.build({ names: [], architecture, layers })

export interface Fixture {
  readonly directory: string
  /** The index called `app`. */
  readonly root: Descriptor
  readonly images: { readonly amd64: Descriptor; readonly arm64: Descriptor; readonly plain: Descriptor }
  readonly attestations: { readonly amd64: Descriptor; readonly arm64: Descriptor; readonly plain: Descriptor }
  /** In the index: with arm64, and one whose only image is `plain`. */
  readonly nested: { readonly arm64: Descriptor; readonly plain: Descriptor }
  /** Beside the index: an SBOM of arm64 with its signature, another one of `plain`, and a signature of the index. */
  readonly sbom: Descriptor
  readonly signature: Descriptor
  readonly plainSbom: Descriptor
  readonly indexSignature: Descriptor
  /** In the index: of a type that nobody knows, an SBOM of amd64, and its signature. */
  readonly unknown: Descriptor
  readonly listedSbom: Descriptor
  readonly listedSignature: Descriptor
  /** Listed, and not there. */
  readonly absent: Descriptor
}

/** `plain` has nothing that `exclude:pattern=*.pyc` would leave out. */
export const make = (
  directory: string,
  edit: (index: Record<string, unknown>) => Uint8Array | undefined = () => undefined
): Fixture => {
  const put = (mediaType: string, bytes: Uint8Array): Descriptor => {
    const digest = digestOf(bytes)
    const target = path.join(directory, Digest.blobPath(digest))
    fs.mkdirSync(path.dirname(target), { recursive: true })
    fs.writeFileSync(target, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const json = (mediaType: string, value: unknown): Descriptor => put(mediaType, Buffer.from(JSON.stringify(value)))
  const image = (built: ImageBuilder.BuiltImage, options: ImageBuilder.BlobOptions): Descriptor => {
    const blobs = ImageBuilder.blobs(built, options)
    for (const { body, path: name } of blobs.entries)
      if (!fs.existsSync(path.join(directory, String(name))))
        fs.writeFileSync(path.join(directory, String(name)), body!)
    return { ...blobs.manifest, platform: built.platform }
  }
  fs.mkdirSync(path.join(directory, "blobs/sha256"), { recursive: true })
  const images = {
    amd64: image(imageOf("amd64", [shared, own("amd64")]), {
      compression: "gzip",
      manifest: { annotations: { [createdKey]: created, "com.example": "kept" } }
    }),
    arm64: image(imageOf("arm64", [shared, own("arm64")]), { compression: ["gzip", "none"] }),
    plain: image(imageOf("riscv64", [tar([file("bin/app", "riscv64")])]), { compression: "gzip" })
  }
  const attestation = (of: Descriptor): Descriptor => {
    const statement = put("application/vnd.in-toto+json", Buffer.from(JSON.stringify({ subject: of.digest })))
    const config = json(MediaType.ociConfig, {
      architecture: "unknown",
      os: "unknown",
      config: {},
      rootfs: { type: "layers", diff_ids: [statement.digest] }
    })
    return {
      ...json(MediaType.ociManifest, {
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config,
        layers: [{ ...statement, annotations: { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" } }]
      }),
      platform: { os: "unknown", architecture: "unknown" },
      annotations: { [attested]: of.digest, "vnd.docker.reference.type": "attestation-manifest" }
    }
  }
  const attestations = {
    amd64: attestation(images.amd64),
    arm64: attestation(images.arm64),
    plain: attestation(images.plain)
  }
  const empty = put(MediaType.ociEmpty, Buffer.from("{}"))
  const artifact = (artifactType: string, { digest, mediaType, size }: Descriptor): Descriptor =>
    json(MediaType.ociManifest, {
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      artifactType,
      config: empty,
      layers: [put("text/plain", Buffer.from(`${artifactType} of ${digest}`))],
      subject: { mediaType, digest, size }
    })
  const index = (manifests: ReadonlyArray<unknown>, more: object = {}): Descriptor =>
    json(MediaType.ociIndex, { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests, ...more })
  const nested = { arm64: index([images.arm64, attestations.arm64]), plain: index([images.plain]) }
  const unknown = put("application/vnd.example.thing", Buffer.from("a thing"))
  const listedSbom = artifact("application/listed-sbom", images.amd64)
  const listedSignature = artifact("application/listed-signature", listedSbom)
  const absent: Descriptor = {
    mediaType: MediaType.ociManifest,
    digest: digestOf(Buffer.from("absent")),
    size: 6,
    platform: { os: "linux", architecture: "s390x" }
  }
  const raw = fs.readFileSync(path.join(directory, Digest.blobPath(images.amd64.digest)))
  const value = {
    schemaVersion: 2,
    mediaType: MediaType.ociIndex,
    manifests: [
      {
        ...images.amd64,
        data: raw.toString("base64"),
        annotations: { [createdKey]: created, "com.example": "kept", "com.example.entry": created }
      },
      { ...images.amd64, annotations: { "com.example.again": "yes" } },
      nested.arm64,
      nested.plain,
      images.plain,
      attestations.amd64,
      attestations.plain,
      listedSignature,
      listedSbom,
      unknown,
      absent
    ],
    annotations: { "com.example.index": "kept" }
  }
  const edited = edit(value)
  const root = edited === undefined ? json(MediaType.ociIndex, value) : put(MediaType.ociIndex, edited)
  const sbom = artifact("application/sbom", images.arm64)
  const signature = artifact("application/signature", sbom)
  const plainSbom = artifact("application/sbom", images.plain)
  const indexSignature = artifact("application/signature", root)
  fs.writeFileSync(path.join(directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}')
  fs.writeFileSync(
    path.join(directory, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ ...root, annotations: { [refName]: "app" } }, sbom, signature, plainSbom, indexSignature]
    })
  )
  return {
    directory,
    root,
    images,
    attestations,
    nested,
    sbom,
    signature,
    plainSbom,
    indexSignature,
    unknown,
    listedSbom,
    listedSignature,
    absent
  }
}

/** Files of a directory as an archive has them. */
export const archiveOf = (directory: string): Buffer =>
  Buffer.from(
    ImageBuilder.archive(
      fs
        .readdirSync(directory, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
        .sort()
        .map((name) => Entry.file(path.relative(directory, name), fs.readFileSync(name)))
    )
  )

/** What a layer's blob holds. */
export const unpacked = (bytes: Buffer): Buffer => (bytes[0] === 0x1f ? zlib.gunzipSync(bytes) : bytes)
