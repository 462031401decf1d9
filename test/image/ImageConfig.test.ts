import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as ImageConfig from "../../src/image/ImageConfig.ts"

const rootfs = { type: "layers", diff_ids: [`sha256:${"a".repeat(64)}`] }

describe("an image config", () => {
  it("is read with null where Docker writes null, and with properties that nobody knows", () => {
    for (const value of [
      { rootfs },
      { architecture: "amd64", os: "linux", rootfs, history: null, config: null },
      {
        created: "2020-01-01T00:00:00Z",
        author: "a",
        architecture: "arm",
        os: "linux",
        variant: "v7",
        "os.version": "1",
        "os.features": ["win32k"],
        config: {
          User: null,
          ExposedPorts: { "80/tcp": {} },
          Env: ["A=1"],
          Entrypoint: ["/bin/sh"],
          Cmd: "run it",
          Volumes: null,
          WorkingDir: "/",
          Labels: { a: "b" },
          StopSignal: "SIGTERM",
          Healthcheck: { Test: ["CMD"] }
        },
        rootfs,
        history: [{ created_by: "x", empty_layer: true, "org.example": 1 }],
        "org.example": {}
      }
    ])
      assert.isTrue(Either.isRight(ImageConfig.decode(value)), JSON.stringify(value))
  })

  it("is refused without what moving an image needs, with the field's name", () => {
    for (const [value, field] of [
      [{}, "rootfs"],
      [{ rootfs: {} }, "diff_ids"],
      [{ rootfs: { type: "layers", diff_ids: [1] } }, "diff_ids"],
      [{ rootfs, os: 1 }, "os"],
      [{ rootfs, history: {} }, "history"],
      [{ rootfs, config: { Env: "A=1" } }, "Env"],
      [{ rootfs, config: { Labels: { a: 1 } } }, "Labels"]
    ] as const) {
      const decoded = ImageConfig.decode(value)
      assert.isTrue(Either.isLeft(decoded), JSON.stringify(value))
      if (Either.isLeft(decoded)) assert.include(decoded.left, field)
    }
    for (const value of [null, [], "x", undefined]) assert.isTrue(Either.isLeft(ImageConfig.decode(value)))
  })
})
