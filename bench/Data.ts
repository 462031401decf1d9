/** What the benchmarks read, made from scratch and kept between runs in one directory. */
import { execFileSync } from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { encodeHeader, endOfArchive, padding } from "../src/content/TarWrite.ts"

const mebibyte = 1024 * 1024

/** A small generator with a fixed seed: the same data on every machine. */
const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

/** Text-like bytes that compress about 3.5:1, as the content of real layers does. */
const textPool = (): Buffer => {
  const next = random(7)
  const words = Array.from({ length: 4096 }, () =>
    crypto
      .createHash("sha256")
      .update(String(next()))
      .digest("hex")
      .slice(0, 4 + Math.floor(next() * 20))
  )
  const pieces: Array<string> = []
  for (let length = 0; length < 8 * mebibyte; ) {
    const word = words[Math.floor(next() ** 2 * words.length)]!
    pieces.push(word)
    length += word.length
  }
  return Buffer.from(pieces.join("")).subarray(0, 8 * mebibyte)
}

let pool: Buffer | undefined

export interface LayerSpec {
  readonly files: number
  /** Average bytes of a file. */
  readonly size: number
  readonly seed: number
}

/** Writes one layer's tar; answers its sha256. */
export const writeLayer = (file: string, { files, seed, size }: LayerSpec): string => {
  pool ??= textPool()
  const next = random(seed)
  const hash = crypto.createHash("sha256")
  const fd = fs.openSync(file, "w")
  const pending: Array<Uint8Array> = []
  let held = 0
  const put = (bytes: Uint8Array): void => {
    hash.update(bytes)
    pending.push(bytes)
    held += bytes.length
    if (held > 4 * mebibyte) flush()
  }
  const flush = (): void => {
    fs.writeSync(fd, Buffer.concat(pending))
    pending.length = 0
    held = 0
  }
  const made = new Set<string>()
  for (let index = 0; index < files; index++) {
    const directory = `usr/share/d${seed}-${index % 200}`
    if (!made.has(directory)) {
      made.add(directory)
      put(encodeHeader({ path: `${directory}/`, type: "directory", mode: 0o755 }))
    }
    const length = files === 1 ? size : Math.floor(size * (0.5 + next()))
    put(
      encodeHeader({
        path: `${directory}/file-${index}.txt`,
        type: "file",
        size: length,
        mode: 0o644,
        mtimeSeconds: 1_600_000_000 + index
      })
    )
    let from = Math.floor(next() * mebibyte)
    for (let left = length; left > 0; ) {
      const take = Math.min(left, pool.length - from)
      put(pool.subarray(from, from + take))
      left -= take
      from = 0
    }
    put(padding(length))
  }
  put(endOfArchive)
  flush()
  fs.closeSync(fd)
  return hash.digest("hex")
}

const configOf = (diffIds: ReadonlyArray<string>): Buffer =>
  Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["/bin/true"] },
      rootfs: { type: "layers", diff_ids: diffIds.map((hex) => `sha256:${hex}`) },
      history: diffIds.map((_, index) => ({ created_by: `layer ${index}` }))
    })
  )

const sha256 = (bytes: Uint8Array): string => crypto.createHash("sha256").update(bytes).digest("hex")

/** Makes `target` by `make` unless it is there. */
export const once = (target: string, make: (temporary: string) => void): string => {
  if (fs.existsSync(target)) return target
  const temporary = `${target}.making`
  fs.rmSync(temporary, { recursive: true, force: true })
  make(temporary)
  fs.renameSync(temporary, target)
  return target
}

/** A docker-save archive of `layers`, as podman and skopeo write it. */
export const dockerArchive = (directory: string, name: string, layers: ReadonlyArray<LayerSpec>): string =>
  once(path.join(directory, name), (temporary) => {
    const work = `${temporary}.d`
    fs.rmSync(work, { recursive: true, force: true })
    fs.mkdirSync(work)
    const diffIds = layers.map((layer, index) => {
      const hex = writeLayer(path.join(work, `layer-${index}`), layer)
      fs.renameSync(path.join(work, `layer-${index}`), path.join(work, `${hex}.tar`))
      return hex
    })
    const config = configOf(diffIds)
    fs.writeFileSync(path.join(work, `${sha256(config)}.json`), config)
    fs.writeFileSync(
      path.join(work, "manifest.json"),
      JSON.stringify([
        {
          Config: `${sha256(config)}.json`,
          RepoTags: ["localhost/bench:1"],
          Layers: diffIds.map((hex) => `${hex}.tar`)
        }
      ])
    )
    execFileSync("tar", [
      "-cf",
      temporary,
      "--format=ustar",
      "-C",
      work,
      ...diffIds.map((hex) => `${hex}.tar`),
      `${sha256(config)}.json`,
      "manifest.json"
    ])
    fs.rmSync(work, { recursive: true })
  })

/** An OCI layout of one image; `compress` is a shell filter, for example `gzip -6n`. */
export const ociLayout = (
  directory: string,
  name: string,
  layers: ReadonlyArray<LayerSpec>,
  compression: "gzip" | "zstd"
): string =>
  once(path.join(directory, name), (temporary) => {
    const blobs = path.join(temporary, "blobs/sha256")
    fs.mkdirSync(blobs, { recursive: true })
    const put = (bytes: Buffer): { digest: string; size: number } => {
      const hex = sha256(bytes)
      fs.writeFileSync(path.join(blobs, hex), bytes)
      return { digest: `sha256:${hex}`, size: bytes.length }
    }
    const made = layers.map((layer, index) => {
      const tar = path.join(temporary, `layer-${index}`)
      const diffId = writeLayer(tar, layer)
      execFileSync("bash", ["-c", `${compression === "gzip" ? "gzip -6n" : "zstd -q -3"} < ${tar} > ${tar}.c`])
      fs.rmSync(tar)
      const hex = execFileSync("openssl", ["dgst", "-sha256", "-r", `${tar}.c`])
        .toString()
        .slice(0, 64)
      const size = fs.statSync(`${tar}.c`).size
      fs.renameSync(`${tar}.c`, path.join(blobs, hex))
      return {
        diffId,
        descriptor: {
          mediaType: `application/vnd.oci.image.layer.v1.tar+${compression}`,
          digest: `sha256:${hex}`,
          size
        }
      }
    })
    const config = {
      mediaType: "application/vnd.oci.image.config.v1+json",
      ...put(configOf(made.map((one) => one.diffId)))
    }
    const manifest = put(
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: "application/vnd.oci.image.manifest.v1+json",
          config,
          layers: made.map((one) => one.descriptor)
        })
      )
    )
    writeIndex(temporary, [{ ...manifest, name: "bench" }])
  })

const writeIndex = (
  directory: string,
  manifests: ReadonlyArray<{ readonly digest: string; readonly size: number; readonly name: string }>
): void => {
  fs.writeFileSync(path.join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }))
  fs.writeFileSync(
    path.join(directory, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: manifests.map(({ digest, name, size }) => ({
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest,
        size,
        annotations: { "org.opencontainers.image.ref.name": name }
      }))
    })
  )
}

/** A layout of many small images that share layers. */
export const manyImages = (directory: string, name: string, images: number, blobs: number): string =>
  once(path.join(directory, name), (temporary) => {
    const store = path.join(temporary, "blobs/sha256")
    fs.mkdirSync(store, { recursive: true })
    const put = (bytes: Buffer): { digest: string; size: number } => {
      const hex = sha256(bytes)
      fs.writeFileSync(path.join(store, hex), bytes)
      return { digest: `sha256:${hex}`, size: bytes.length }
    }
    // Each image adds a manifest and a config; the rest of the blobs are layers.
    const layers = Array.from({ length: blobs - 2 * images }, (_, index) => {
      const tar = path.join(temporary, "layer")
      const diffId = writeLayer(tar, { files: 3, size: 300, seed: index })
      const bytes = fs.readFileSync(tar)
      fs.rmSync(tar)
      return { diffId, descriptor: { mediaType: "application/vnd.oci.image.layer.v1.tar", ...put(bytes) } }
    })
    const next = random(3)
    const manifests = Array.from({ length: images }, (_, index) => {
      const used = Array.from(
        { length: 8 },
        (_, at) => layers[at === 0 ? index % layers.length : Math.floor(next() * layers.length)]!
      )
      const config = {
        mediaType: "application/vnd.oci.image.config.v1+json",
        ...put(configOf(used.map((one) => one.diffId)))
      }
      const manifest = put(
        Buffer.from(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            config,
            layers: used.map((one) => one.descriptor),
            annotations: { number: String(index) }
          })
        )
      )
      return { ...manifest, name: `image-${index}` }
    })
    writeIndex(temporary, manifests)
  })

/** A `dir://` directory of one image whose only layer is one huge sparse file: large to read, small to keep. */
export const sparseDirectory = (directory: string, name: string, gibibytes: number): string =>
  once(path.join(directory, name), (temporary) => {
    fs.mkdirSync(path.join(temporary, "layer"), { recursive: true })
    const size = gibibytes * 1024 * mebibyte
    const tar = path.join(temporary, "layer/layer.tar")
    const header = encodeHeader({ path: "huge", type: "file", size, mode: 0o644 })
    fs.writeFileSync(tar, header)
    fs.truncateSync(tar, header.length + size + padding(size).length + endOfArchive.length)
    const hex = execFileSync("openssl", ["dgst", "-sha256", "-r", tar]).toString().slice(0, 64)
    const config = configOf([hex])
    fs.writeFileSync(path.join(temporary, `${sha256(config)}.json`), config)
    fs.writeFileSync(
      path.join(temporary, "manifest.json"),
      JSON.stringify([{ Config: `${sha256(config)}.json`, RepoTags: ["bench:sparse"], Layers: ["layer/layer.tar"] }])
    )
  })
