import * as path from "node:path"
import * as Effect from "effect/Effect"
import { assert, describe } from "vitest"
import type * as Image from "../../src/image/Image.ts"
import type * as ContentGraph from "../../src/layout/ContentGraph.ts"
import { choose } from "../../src/layout/ImageSource.ts"
import * as OciLayoutSource from "../../src/layout/oci-layout/OciLayoutSource.ts"
import * as OciLayoutWriter from "../../src/layout/oci-layout/OciLayoutWriter.ts"
import { peerTest, run, withDirectory, withPodmanSocket } from "../peers/Peers.ts"
import { audit, content, type Doc, makeImage, pool, readJson, sha256, tar } from "./writing.ts"

const base = tar({ "etc/os": "linux", "usr/tool": content("tool", 50_000) })
const top = tar({ "app/main": content("main", 300_000), "app/note": "note" })

const write = (
  directory: string,
  image: Image.Image,
  options: Omit<OciLayoutWriter.OciLayoutWriterOptions, "path"> = {}
) =>
  Effect.runPromise(
    Effect.flatMap(OciLayoutWriter.make({ path: directory, ...options }), (writer) =>
      writer.write(image, { filters: [] })
    ).pipe(Effect.provide(pool))
  )

const read = (directory: string, image: string) =>
  Effect.runPromise(
    Effect.flatMap(OciLayoutSource.make({ path: directory, uri: "oci-layout://x" }), (source) =>
      choose(source, { image })
    )
  )

const manifestOf = (receipt: { readonly details: Doc }): string => receipt.details["manifest"].digest
const soundness = (directory: string) => Effect.runPromise(audit(directory).pipe(Effect.provide(pool)))

describe("skopeo", () => {
  for (const compression of [undefined, "gzip", "zstd"] as const) {
    peerTest(["skopeo"], `reads and copies a layout: ${compression ?? "as it was"}`, () =>
      withDirectory(async (directory) => {
        const layout = path.join(directory, "layout")
        const images = ["app:1", "other"].map((name, index) =>
          makeImage(directory, { layers: [base, top, tar({ index: `${index}` })], names: [name], manifest: "oci" })
        )
        for (const image of images) {
          const receipt = await write(layout, image, { compression })
          const raw = run("skopeo", ["inspect", "--raw", `oci:${layout}:${image.names[0]}`]).bytes
          assert.strictEqual(`sha256:${sha256(raw)}`, manifestOf(receipt))
          // It verifies every digest on the way.
          run("skopeo", ["copy", "-q", `oci:${layout}:${image.names[0]}`, `oci:${directory}/copy:${image.names[0]}`])
          const again = await read(path.join(directory, "copy"), image.names[0]!)
          assert.strictEqual(again.config.digest, image.config.digest)
          assert.deepStrictEqual(
            again.layers.map((layer) => layer.diffId),
            image.layers.map((layer) => layer.diffId)
          )
        }
      })
    )
  }

  peerTest(["skopeo"], "adds to a layout that was written, and the other way round", () =>
    withDirectory(async (directory) => {
      const layout = path.join(directory, "layout")
      const image = makeImage(directory, { layers: [base], names: ["one"], manifest: "oci" })
      await write(layout, image)
      run("skopeo", ["copy", "-q", `oci:${layout}:one`, `oci:${layout}:two`])
      await write(layout, makeImage(directory, { layers: [base, top], names: ["three"] }), { compression: "gzip" })
      const names = readJson(layout, "index.json").manifests.map(
        (one: Doc) => one.annotations["org.opencontainers.image.ref.name"]
      )
      assert.deepStrictEqual(names.sort(), ["one", "three", "two"])
      assert.deepStrictEqual(await soundness(layout), [])
    })
  )

  peerTest(["skopeo"], "reads a graph that was copied", () =>
    withDirectory(async (directory) => {
      const layout = path.join(directory, "layout")
      for (const architecture of ["amd64", "arm64"]) {
        const image = makeImage(directory, {
          layers: [tar({ architecture })],
          manifest: "oci",
          config: { architecture }
        })
        await write(layout, image, { ref: architecture, compression: "gzip" })
      }
      const { manifests } = readJson(layout, "index.json")
      const index = JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: manifests.map(({ annotations, ...one }: Doc) => ({
          ...one,
          platform: { os: "linux", architecture: annotations["org.opencontainers.image.ref.name"] }
        }))
      })
      run("bash", ["-c", `cat > "$0"`, path.join(layout, "blobs/sha256", sha256(index))], { input: index })
      const root = {
        name: "multi",
        descriptor: {
          mediaType: "application/vnd.oci.image.index.v1+json",
          digest: `sha256:${sha256(index)}`,
          size: index.length
        }
      }
      const to = path.join(directory, "to")
      const receipt = await Effect.runPromise(
        Effect.gen(function* () {
          const graph = (yield* OciLayoutSource.make({ path: layout, uri: "oci-layout://x" }))
            .graph as ContentGraph.ContentGraph
          const writer = yield* OciLayoutWriter.make({ path: to })
          return (yield* writer.writeGraph(graph, { root, referrers: false })).receipt
        }).pipe(Effect.provide(pool))
      )
      assert.strictEqual(manifestOf(receipt), root.descriptor.digest)
      const raw = run("skopeo", ["inspect", "--raw", `oci:${to}:multi`]).bytes
      assert.strictEqual(`sha256:${sha256(raw)}`, root.descriptor.digest)
      run("skopeo", ["copy", "-q", "--all", `oci:${to}:multi`, `oci:${directory}/again:multi`])
      for (const architecture of ["amd64", "arm64"]) {
        const config = run("skopeo", ["--override-arch", architecture, "inspect", "--config", `oci:${to}:multi`]).stdout
        assert.strictEqual(JSON.parse(config).architecture, architecture)
      }
    })
  )
})

describe("umoci", () => {
  for (const compression of ["none", "gzip"] as const) {
    peerTest(["umoci"], `lists and unpacks a layout: ${compression}`, () =>
      withDirectory(async (directory) => {
        const layout = path.join(directory, "layout")
        const image = makeImage(directory, { layers: [base, top], names: ["app:1"], manifest: "docker" })
        await write(layout, image, { ref: "v1", compression, mediaTypes: "oci" })
        assert.strictEqual(run("umoci", ["ls", "--layout", layout]).stdout.trim(), "v1")
        // It takes uncompressed layers for gzip, whatever their media type says.
        if (compression === "none") return
        run("umoci", ["unpack", "--rootless", "--image", `${layout}:v1`, path.join(directory, "bundle")])
        assert.strictEqual(run("cat", [path.join(directory, "bundle/rootfs/app/note")]).stdout, "note")
        assert.strictEqual(
          sha256(run("cat", [path.join(directory, "bundle/rootfs/app/main")]).bytes),
          sha256(content("main", 300_000))
        )
      })
    )
  }

  peerTest(["umoci"], "adds a tag, which is kept", () =>
    withDirectory(async (directory) => {
      const layout = path.join(directory, "layout")
      const image = makeImage(directory, { layers: [base], manifest: "oci", compression: "gzip" })
      await write(layout, image, { ref: "one" })
      run("umoci", ["tag", "--image", `${layout}:one`, "two"])
      await write(layout, image, { ref: "three" })
      assert.deepStrictEqual(run("umoci", ["ls", "--layout", layout]).stdout.trim().split("\n").sort(), [
        "one",
        "three",
        "two"
      ])
      assert.deepStrictEqual(await soundness(layout), [])
    })
  )
})

describe("podman", () => {
  peerTest(["podman"], "pulls from a layout", () =>
    withPodmanSocket(({ podman }) =>
      withDirectory(async (directory) => {
        for (const [index, compression] of (["none", "gzip", "zstd"] as const).entries()) {
          const layout = path.join(directory, `layout${index}`)
          const image = makeImage(directory, { layers: [base, top], config: { author: `${index}` } })
          await write(layout, image, { ref: "v1", compression })
          const id = podman(["pull", "-q", `oci:layout${index}:v1`], { cwd: directory }).stdout.trim()
          assert.strictEqual(`sha256:${id}`, image.config.digest)
        }
      })
    )
  )
})
