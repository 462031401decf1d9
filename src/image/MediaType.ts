/** Media types of the image-spec and of Docker's image manifest v2, schema 2. */
import type { Compression } from "./Compression.ts"

export const ociManifest = "application/vnd.oci.image.manifest.v1+json"
export const ociIndex = "application/vnd.oci.image.index.v1+json"
export const ociConfig = "application/vnd.oci.image.config.v1+json"
export const ociLayer = "application/vnd.oci.image.layer.v1.tar"
export const ociLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
export const ociLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
export const ociEmpty = "application/vnd.oci.empty.v1+json"
export const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
export const dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
export const dockerConfig = "application/vnd.docker.container.image.v1+json"
export const dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
export const dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
export const dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"

/** The empty descriptor's content `{}` (manifest.md "Guidance for an Empty Descriptor"). */
export const emptyDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

export type Kind = "manifest" | "index" | "config" | "layer" | "empty" | "other"

interface LayerType {
  readonly compression: Compression
  readonly distributable: boolean
}

const layers: Readonly<Record<string, LayerType>> = {
  [ociLayer]: { compression: "none", distributable: true },
  [ociLayerGzip]: { compression: "gzip", distributable: true },
  [ociLayerZstd]: { compression: "zstd", distributable: true },
  "application/vnd.oci.image.layer.nondistributable.v1.tar": { compression: "none", distributable: false },
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": { compression: "gzip", distributable: false },
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": { compression: "zstd", distributable: false },
  [dockerLayer]: { compression: "none", distributable: true },
  [dockerLayerGzip]: { compression: "gzip", distributable: true },
  [dockerLayerZstd]: { compression: "zstd", distributable: true },
  "application/vnd.docker.image.rootfs.foreign.diff.tar": { compression: "none", distributable: false },
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": { compression: "gzip", distributable: false }
}

export const kind = (mediaType: string): Kind => {
  switch (mediaType) {
    case ociManifest:
    case dockerManifest:
      return "manifest"
    case ociIndex:
    case dockerManifestList:
      return "index"
    case ociConfig:
    case dockerConfig:
      return "config"
    case ociEmpty:
      return "empty"
    default:
      return Object.hasOwn(layers, mediaType) ? "layer" : "other"
  }
}

/** The compression that a layer's media type declares; undefined when it is no known layer type (rule 100). */
export const layerCompression = (mediaType: string): Compression | undefined =>
  Object.hasOwn(layers, mediaType) ? layers[mediaType]?.compression : undefined

/** Non-distributable (foreign) layers may be absent: they live at their `urls`. */
export const isDistributable = (mediaType: string): boolean =>
  !Object.hasOwn(layers, mediaType) || layers[mediaType]?.distributable === true

export const isDocker = (mediaType: string): boolean => mediaType.startsWith("application/vnd.docker.")

/** The layer media type of the same family with another compression. */
export const layerWith = (compression: Compression, docker: boolean): string =>
  compression === "none"
    ? docker
      ? dockerLayer
      : ociLayer
    : compression === "gzip"
      ? docker
        ? dockerLayerGzip
        : ociLayerGzip
      : docker
        ? dockerLayerZstd
        : ociLayerZstd

/** RFC 6838 section 4.2: type/subtype, each a restricted name of at most 127 characters (rules 5, 15). */
export const isValid = (mediaType: string): boolean =>
  /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/.test(mediaType)
