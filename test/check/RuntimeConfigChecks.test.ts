import { assert, describe, it } from "@effect/vitest"
import { Collector } from "../../src/check/Collector.ts"
import { checkRuntimeConfig } from "../../src/check/RuntimeConfigChecks.ts"
import * as RuntimeConfig from "../../src/layout/runtime-bundle/RuntimeConfig.ts"

// biome-ignore lint/suspicious/noExplicitAny: documents are taken apart in every way
type Fields = Record<string, any>

/** As this program writes it. */
const sound = (): Fields =>
  JSON.parse(
    Buffer.from(
      RuntimeConfig.encode(
        RuntimeConfig.convert(
          { os: "linux", architecture: "amd64", config: { Volumes: { "/data": {} } }, rootfs: { diff_ids: [] } },
          { uid: 0, gid: 0 }
        )
      )
    ).toString()
  )

const check = (value: unknown, os?: string): ReadonlyArray<string> => {
  const report = new Collector()
  checkRuntimeConfig(value, "config.json", report, os)
  return report.results().results.map((one) => {
    assert.strictEqual(one.subject, "config.json")
    return one.check
  })
}

/** A change of a sound configuration, and the one check that reports it. */
const cases: ReadonlyArray<readonly [rule: number, name: string, change: (config: Fields) => void, check: string]> = [
  [68, "no version", (c) => delete c["ociVersion"], "runtime.bad-version"],
  [68, "a version of two parts", (c) => (c["ociVersion"] = "1.2"), "runtime.bad-version"],
  [
    68,
    "a version of millions of parts",
    (c) => (c["ociVersion"] = `1.0.0-${"a.".repeat(3_000_000)}a`),
    "runtime.bad-version"
  ],
  [68, "a leading zero", (c) => (c["ociVersion"] = "1.02.0"), "runtime.bad-version"],
  [68, "another major version", (c) => (c["ociVersion"] = "2.0.0"), "runtime.unknown-version"],
  [69, "no root", (c) => delete c["root"], "runtime.missing-root"],
  [69, "no root.path", (c) => (c["root"] = {}), "runtime.missing-root"],
  [70, "a relative destination", (c) => (c["mounts"][0].destination = "proc"), "runtime.bad-mount"],
  [70, "no destination", (c) => delete c["mounts"][0].destination, "runtime.bad-mount"],
  [
    70,
    "uidMappings alone",
    (c) => (c["mounts"][0].uidMappings = [{ containerID: 0, hostID: 0, size: 1 }]),
    "runtime.bad-mount"
  ],
  [71, "a relative cwd", (c) => (c["process"].cwd = "srv"), "runtime.bad-cwd"],
  [71, "no cwd", (c) => delete c["process"].cwd, "runtime.bad-cwd"],
  [72, "no args", (c) => delete c["process"].args, "runtime.no-args"],
  [72, "empty args", (c) => (c["process"].args = []), "runtime.no-args"],
  [73, "no gid", (c) => delete c["process"].user.gid, "runtime.bad-user"],
  [73, "a negative uid", (c) => (c["process"].user.uid = -1), "runtime.bad-user"],
  [74, "an rlimit twice", (c) => c["process"].rlimits.push(c["process"].rlimits[0]), "runtime.bad-rlimit"],
  [74, "no soft limit", (c) => delete c["process"].rlimits[0].soft, "runtime.bad-rlimit"],
  [74, "no type", (c) => delete c["process"].rlimits[0].type, "runtime.bad-rlimit"],
  [75, "a relative hook", (c) => (c["hooks"] = { prestart: [{ path: "hook" }] }), "runtime.bad-hook"],
  [75, "a timeout of zero", (c) => (c["hooks"] = { poststop: [{ path: "/hook", timeout: 0 }] }), "runtime.bad-hook"],
  [76, "no layers of Windows", (c) => (c["windows"] = {}), "runtime.missing-windows"],
  [77, "an unknown namespace", (c) => (c["linux"].namespaces[0].type = "nope"), "runtime.bad-namespace"],
  [77, "a namespace twice", (c) => c["linux"].namespaces.push({ type: "pid" }), "runtime.bad-namespace"],
  [77, "a relative namespace", (c) => (c["linux"].namespaces[0].path = "proc/1/ns/pid"), "runtime.bad-namespace"],
  [
    78,
    "a mapping without size",
    (c) => (c["linux"].uidMappings = [{ containerID: 0, hostID: 1 }]),
    "runtime.bad-id-mapping"
  ],
  [
    79,
    "a device without minor",
    (c) => (c["linux"].devices = [{ type: "c", path: "/dev/x", major: 1 }]),
    "runtime.bad-device"
  ],
  [79, "a relative device", (c) => (c["linux"].devices = [{ type: "p", path: "dev/x" }]), "runtime.bad-device"],
  [80, "a rule without allow", (c) => (c["linux"].resources.devices = [{ access: "rwm" }]), "runtime.bad-device-rule"],
  [81, "a relative masked path", (c) => (c["linux"].maskedPaths = ["proc/keys"]), "runtime.bad-path"],
  [81, "a relative read-only path", (c) => (c["linux"].readonlyPaths = ["proc/bus"]), "runtime.bad-path"],
  [82, "no default action", (c) => (c["linux"].seccomp = {}), "runtime.bad-seccomp"],
  [
    82,
    "a rule without names",
    (c) =>
      (c["linux"].seccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: [], action: "SCMP_ACT_ERRNO" }] }),
    "runtime.bad-seccomp"
  ],
  [
    82,
    "a rule without action",
    (c) => (c["linux"].seccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["open"] }] }),
    "runtime.bad-seccomp"
  ],
  [
    83,
    "no weight",
    (c) => (c["linux"].resources.blockIO = { weightDevice: [{ major: 8, minor: 0 }] }),
    "runtime.bad-resource"
  ],
  [83, "no RDMA limit", (c) => (c["linux"].resources.rdma = { mlx5_1: {} }), "runtime.bad-resource"],
  [0, "args that are a string", (c) => (c["process"].env = "A=b"), "runtime.wrong-type"],
  [0, "an annotation that is a number", (c) => (c["annotations"] = { a: 1 }), "runtime.wrong-type"],
  [0, "not an object", (c) => (c["linux"] = []), "runtime.wrong-type"]
]

describe("a runtime configuration", () => {
  it("as it is written is sound", () => assert.deepStrictEqual(check(sound()), []))

  for (const [rule, name, change, expected] of cases) {
    it(`${rule === 0 ? "" : `rule ${rule}: `}${name}`, () => {
      const config = sound()
      change(config)
      assert.deepStrictEqual(check(config), [expected])
    })
  }

  it("rule 76: a configuration for Windows without its section", () => {
    assert.deepStrictEqual(check({ ociVersion: "1.2.0" }, "windows"), ["runtime.missing-windows"])
    const windows = { layerFolders: ["C:\\layer"] }
    const config = { ociVersion: "1.0.2", windows, process: { cwd: "C:\\", commandLine: "cmd" } }
    assert.deepStrictEqual(check(config, "windows"), [])
  })

  it("of other versions and with what is optional is sound", () => {
    for (const ociVersion of ["1.0.0", "1.0.0-rc5", "1.0.2-dev", "1.1.0+build", "1.2.1"]) {
      assert.deepStrictEqual(check({ ...sound(), ociVersion }), [])
    }
    const config = sound()
    config["linux"].namespaces[0].path = ""
    config["hooks"] = { createRuntime: [{ path: "/hook", args: ["hook"], timeout: 5 }] }
    config["linux"].resources.blockIO = { weightDevice: [{ major: 8, minor: 0, leafWeight: 10 }] }
    config["linux"].seccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls: null }
    config["mounts"] = null
    delete config["process"]
    assert.deepStrictEqual(check(config), [])
  })

  it("that is no object is none", () => {
    assert.deepStrictEqual(check([]), ["bundle.invalid-json"])
    assert.deepStrictEqual(check(null), ["bundle.invalid-json"])
  })
})
