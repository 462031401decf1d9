import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { assert, describe } from "vitest"
import type * as Image from "../../src/image/Image.ts"
import * as ArchiveSource from "../../src/layout/docker-archive/ArchiveSource.ts"
import * as ArchiveWriter from "../../src/layout/docker-archive/ArchiveWriter.ts"
import { choose } from "../../src/layout/ImageSource.ts"
import { peerTest, run, withDirectory, withPodmanSocket } from "../peers/Peers.ts"
import { content, type Doc, makeImage, pool, sha256, tar } from "./writing.ts"

const base = tar({ "etc/os": "linux", "usr/tool": content("tool", 50_000) })
const top = tar({ "app/main": content("main", 300_000) })

const write = (file: string, image: Image.Image, options: Omit<ArchiveWriter.ArchiveWriterOptions, "path"> = {}) =>
  Effect.runPromise(
    Effect.flatMap(ArchiveWriter.make({ path: file, ...options }), (writer) =>
      writer.write(image, { filters: [] })
    ).pipe(Effect.provide(pool))
  )

const manifestOf = (receipt: { readonly details: Doc }): string => receipt.details["manifest"].digest

const forms = [
  {},
  { compression: "gzip" },
  { compression: "zstd" },
  { mediaTypes: "docker", compression: "gzip" },
  { format: "docker" },
  { format: "docker", compression: "gzip" },
  { format: "oci" },
  { format: "oci", compression: "gzip" }
] as const

const nameOf = (form: object): string => JSON.stringify(form)

describe("skopeo", () => {
  for (const form of forms) {
    const format = "format" in form ? form.format : "hybrid"
    peerTest(["skopeo"], `reads what was written: ${nameOf(form)}`, () =>
      withDirectory(async (directory) => {
        const image = makeImage(directory, { layers: [base, top, base], names: ["example.org/app:1"], manifest: "oci" })
        const file = path.join(directory, "image.tar")
        const receipt = await write(file, image, form)
        const diffIds = image.layers.map((layer) => layer.diffId)
        if (format !== "docker") {
          const raw = run("skopeo", ["inspect", "--raw", `oci-archive:${file}`]).bytes
          assert.strictEqual(`sha256:${sha256(raw)}`, manifestOf(receipt))
          // It does not look at manifests of Docker's types by name.
          const reference = "mediaTypes" in form ? file : `${file}:1`
          run("skopeo", ["copy", "-q", `oci-archive:${reference}`, `dir:${directory}/from-oci`])
        }
        if (format !== "oci") {
          const config = run("skopeo", ["inspect", "--config", "--raw", `docker-archive:${file}`]).bytes
          assert.isTrue(Buffer.from(config).equals(image.config.raw))
          run("skopeo", [
            "copy",
            "-q",
            `docker-archive:${file}:example.org/app:1`,
            `docker-archive:${directory}/again.tar:app:2`
          ])
          const again = await Effect.runPromise(
            Effect.scoped(
              Effect.flatMap(ArchiveSource.make({ path: `${directory}/again.tar`, uri: "tar://again" }), (source) =>
                choose(source, {})
              )
            ).pipe(Effect.provide(pool))
          )
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.deepStrictEqual(
            again.layers.map((layer) => layer.diffId),
            diffIds
          )
        }
      })
    )
  }

  peerTest(["skopeo"], "finds every image of an archive that was appended to", () =>
    withDirectory(async (directory) => {
      const file = path.join(directory, "image.tar")
      const images = ["one:1", "two:1", "host.example/three:1"].map((name, index) =>
        makeImage(directory, { layers: [base, tar({ index: `${index}` })], names: [name] })
      )
      for (const image of images) await write(file, image, { append: true })
      for (const [index, image] of images.entries()) {
        for (const reference of [`:${image.names[0]}`, `:@${index}`]) {
          const config = run("skopeo", ["inspect", "--config", "--raw", `docker-archive:${file}${reference}`]).bytes
          assert.strictEqual(`sha256:${sha256(config)}`, image.config.digest)
        }
        // Only one can be called by the tag alone.
        run("skopeo", ["inspect", `oci-archive:${file}:${index === 0 ? "1" : image.names[0]}`])
      }
    })
  )

  peerTest(["skopeo"], "writes archives that can be appended to", () =>
    withDirectory(async (directory) => {
      const image = makeImage(directory, { layers: [base], names: ["one:1"] })
      const other = makeImage(directory, { layers: [base, top], names: ["two:1"] })
      await write(path.join(directory, "image.tar"), image)
      for (const transport of ["docker-archive", "oci-archive"]) {
        const file = path.join(directory, `${transport}.tar`)
        run("skopeo", ["copy", "-q", `${transport}:${directory}/image.tar`, `${transport}:${file}:one:1`])
        await write(file, other, { append: true })
        for (const one of [image, other]) {
          const config = run("skopeo", ["inspect", "--config", "--raw", `docker-archive:${file}:${one.names[0]}`]).bytes
          assert.strictEqual(`sha256:${sha256(config)}`, one.config.digest)
        }
      }
    })
  )
})

describe("podman", () => {
  peerTest(["podman"], "loads what was written", () =>
    withPodmanSocket(({ podman }) =>
      withDirectory(async (directory) => {
        const ids = () =>
          new Map(
            (JSON.parse(podman(["images", "--format", "json"]).stdout) as ReadonlyArray<Doc>).flatMap((one) =>
              (one.Names ?? [""]).map((name: string) => [name, `sha256:${one.Id}`] as const)
            )
          )
        for (const [index, form] of forms.entries()) {
          const names = [`localhost/app:${index}`, ...(index % 2 === 0 ? [`docker.io/library/app:${index}`] : [])]
          const image = makeImage(directory, { layers: [base, top, base], names, config: { author: `${index}` } })
          const file = path.join(directory, `${index}.tar`)
          await write(file, image, form)
          // From an OCI archive it takes one image, and that without asking for its name.
          if (!("format" in form) || form.format !== "oci" || names.length === 1) {
            podman(["load", "-q", "-i", file])
            for (const name of names) assert.strictEqual(ids().get(name), image.config.digest, nameOf(form))
          }
        }
        const file = path.join(directory, "several.tar")
        const images = ["localhost/one:1", "localhost/two:1"].map((name, index) =>
          makeImage(directory, { layers: [tar({ index: `several ${index}` })], names: [name] })
        )
        for (const image of images) await write(file, image, { append: true })
        podman(["load", "-q", "-i", file])
        for (const image of images) assert.strictEqual(ids().get(image.names[0]!), image.config.digest)
      })
    )
  )
})

describe("crane", () => {
  peerTest(["crane"], "validates what was written", () =>
    withDirectory(async (directory) => {
      const image = makeImage(directory, { layers: [base, top, base], names: ["app:1"] })
      for (const options of [{}, { compression: "gzip" }, { format: "docker" }] as const) {
        const file = path.join(directory, "image.tar")
        await write(file, image, options)
        run("crane", ["validate", "--tarball", file])
        fs.rmSync(file)
      }
    })
  )
})

describe("tar programs", () => {
  peerTest(["gnutar", "bsdtar", "python3"], "list the same members", () =>
    withDirectory(async (directory) => {
      const file = path.join(directory, "image.tar")
      const receipt = await write(file, makeImage(directory, { layers: [base, top], names: ["app:1"] }))
      const expected = ["blobs/", "blobs/sha256/", ...receipt.files.map((one) => one.path)].sort()
      const lines = (text: string) => text.trimEnd().split("\n").sort()
      assert.deepStrictEqual(lines(run("gnutar", ["-tf", file]).stdout), expected)
      assert.deepStrictEqual(lines(run("bsdtar", ["-tf", file]).stdout), expected)
      const script =
        "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name + ('/' if m.isdir() else ''))"
      assert.deepStrictEqual(lines(run("python3", ["-c", script, file]).stdout), expected)
    })
  )
})
