import { assert, describe, it } from "@effect/vitest"
import * as MediaType from "../../src/image/MediaType.ts"

describe("media types", () => {
  it("tell what a descriptor points to", () => {
    for (const [mediaType, kind] of [
      [MediaType.ociManifest, "manifest"],
      [MediaType.dockerManifest, "manifest"],
      [MediaType.ociIndex, "index"],
      [MediaType.dockerManifestList, "index"],
      [MediaType.ociConfig, "config"],
      [MediaType.dockerConfig, "config"],
      [MediaType.ociEmpty, "empty"],
      [MediaType.ociLayer, "layer"],
      [MediaType.dockerLayerGzip, "layer"],
      ["application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "layer"],
      ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "layer"],
      ["application/vnd.example.thing", "other"],
      ["toString", "other"],
      ["", "other"]
    ] as const)
      assert.strictEqual(MediaType.kind(mediaType), kind, mediaType)
  })

  it("declare a layer's compression, and have its like in the same family", () => {
    for (const compression of ["none", "gzip", "zstd"] as const) {
      for (const docker of [false, true]) {
        const mediaType = MediaType.layerWith(compression, docker)
        assert.strictEqual(MediaType.layerCompression(mediaType), compression)
        assert.strictEqual(MediaType.isDocker(mediaType), docker)
        assert.strictEqual(MediaType.kind(mediaType), "layer")
      }
    }
    assert.isUndefined(MediaType.layerCompression(MediaType.ociConfig))
    assert.isUndefined(MediaType.layerCompression("toString"))
  })

  it("tell layers that may be absent", () => {
    assert.isFalse(MediaType.isDistributable("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"))
    assert.isFalse(MediaType.isDistributable("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"))
    for (const other of [MediaType.ociLayer, MediaType.ociConfig, "toString"])
      assert.isTrue(MediaType.isDistributable(other), other)
  })

  it("have the form of RFC 6838", () => {
    for (const good of [
      MediaType.ociManifest,
      "a/b",
      `${"t".repeat(127)}/${"s".repeat(127)}`,
      "application/vnd.a+json"
    ]) {
      assert.isTrue(MediaType.isValid(good), good)
    }
    for (const bad of [
      "",
      "a",
      "a/",
      "/b",
      "a/b/c",
      "a b/c",
      ".a/b",
      "a/.b",
      "a/b;c=d",
      "a/b\n",
      `${"t".repeat(128)}/s`
    ]) {
      assert.isFalse(MediaType.isValid(bad), bad)
    }
  })
})
