import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as RuntimeConfig from "../../../src/layout/runtime-bundle/RuntimeConfig.ts"

const files = {
  passwd: "# comment\nroot:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n",
  group: "root:x:0:root\nadm:x:4:root,app\napp:x:1001:\nstaff:x:50:app\n"
}

const user = (spec: string, of: RuntimeConfig.UserFiles = files) => RuntimeConfig.userOf(spec, of)

describe("an image's user", () => {
  const resolved: ReadonlyArray<readonly [string, RuntimeConfig.User]> = [
    ["", { uid: 0, gid: 0, additionalGids: [0, 4] }],
    ["root", { uid: 0, gid: 0, additionalGids: [0, 4] }],
    ["app", { uid: 1000, gid: 1001, additionalGids: [4, 50] }],
    ["1000", { uid: 1000, gid: 1001 }],
    ["app:staff", { uid: 1000, gid: 50 }],
    ["app:77", { uid: 1000, gid: 77 }],
    ["5:6", { uid: 5, gid: 6 }],
    ["5", { uid: 5, gid: 0 }],
    ["5:adm", { uid: 5, gid: 4 }]
  ]
  for (const [spec, expected] of resolved) {
    it(`${JSON.stringify(spec)} is ${expected.uid}:${expected.gid}`, () =>
      assert.deepStrictEqual(Either.getOrThrow(user(spec)), expected))
  }

  it("is nobody when the image has no such user or group", () => {
    for (const spec of ["nobody", "app:nogroup", "99999999999", "5:99999999999", "-1", "1.5"]) {
      assert.isTrue(Either.isLeft(user(spec)), spec)
    }
    assert.isTrue(Either.isLeft(user("root", { passwd: undefined, group: undefined })))
    assert.deepStrictEqual(Either.getOrThrow(user("", { passwd: undefined, group: undefined })), { uid: 0, gid: 0 })
  })
})

interface Converted {
  readonly process: {
    readonly args: ReadonlyArray<string>
    readonly env: ReadonlyArray<string>
    readonly cwd: string
  }
  readonly annotations: Readonly<Record<string, string>>
  readonly mounts: ReadonlyArray<{ readonly destination: string }>
}

const convert = (config: Record<string, unknown>, image: Record<string, unknown> = {}) =>
  RuntimeConfig.convert({ rootfs: { diff_ids: [] }, config, ...image } as never, {
    uid: 0,
    gid: 0
  }) as unknown as Converted

describe("the conversion", () => {
  it("takes Entrypoint and Cmd, Env and WorkingDir", () => {
    const { process } = convert({
      Entrypoint: ["/e", "1"],
      Cmd: ["2"],
      Env: ["PATH=/p", "B=c", "B=d"],
      WorkingDir: "/w"
    })
    assert.deepStrictEqual(process.args, ["/e", "1", "2"])
    assert.deepStrictEqual(process.env, ["PATH=/p", "B=c", "B=d"])
    assert.strictEqual(process.cwd, "/w")
  })

  it("fills in what the image leaves open", () => {
    const { process } = convert({ Env: ["B=c"], Cmd: null, Entrypoint: null })
    assert.deepStrictEqual(process.args, ["sh"])
    assert.match(process.env[0]!, /^PATH=\/usr\/local\/sbin:/)
    assert.deepStrictEqual(process.env.slice(1), ["B=c"])
    assert.strictEqual(process.cwd, "/")
    assert.deepStrictEqual(convert({ Cmd: "one string" }).process.args, ["one string"])
  })

  it("makes annotations of fields, and labels win", () => {
    const { annotations } = convert(
      {
        StopSignal: "SIGINT",
        ExposedPorts: { "80/tcp": {}, "443/tcp": {} },
        Labels: { "org.opencontainers.image.author": "label", own: "x" }
      },
      {
        os: "linux",
        architecture: "arm",
        variant: "v7",
        author: "field",
        created: "2020-01-01T00:00:00Z",
        "os.version": "1",
        "os.features": ["a", "b"]
      }
    )
    const prefix = "org.opencontainers.image."
    assert.deepStrictEqual(annotations, {
      [`${prefix}os`]: "linux",
      [`${prefix}architecture`]: "arm",
      [`${prefix}variant`]: "v7",
      [`${prefix}os.version`]: "1",
      [`${prefix}os.features`]: "a,b",
      [`${prefix}author`]: "label",
      [`${prefix}created`]: "2020-01-01T00:00:00Z",
      [`${prefix}stopSignal`]: "SIGINT",
      [`${prefix}exposedPorts`]: "443/tcp,80/tcp",
      own: "x"
    })
  })

  it("mounts something on volumes", () => {
    const destinations = convert({ Volumes: { "/data": {}, "relative/../x": {}, "/": {} } }).mounts.map(
      (one) => one.destination
    )
    assert.deepStrictEqual(destinations.slice(-2), ["/data", "/x"])
  })
})
