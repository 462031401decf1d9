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
  [
    82,
    "an action that is none",
    (c) => (c["linux"].seccomp = { defaultAction: "SCMP_ACT_DENY" }),
    "runtime.bad-seccomp"
  ],
  [
    82,
    "an operator that is none",
    (c) =>
      (c["linux"].seccomp = {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["a"], action: "SCMP_ACT_LOG", args: [{ index: 0, value: 1, op: "SCMP_CMP_IS" }] }]
      }),
    "runtime.bad-seccomp"
  ],
  [
    82,
    "metadata for no listener",
    (c) => (c["linux"].seccomp = { defaultAction: "SCMP_ACT_NOTIFY", listenerMetadata: "x" }),
    "runtime.bad-seccomp"
  ],
  [
    0,
    "a page size in pages",
    (c) => (c["linux"].resources.hugepageLimits = [{ pageSize: "64kB", limit: 1 }]),
    "runtime.wrong-type"
  ],
  [
    0,
    "a huge page without limit",
    (c) => (c["linux"].resources.hugepageLimits = [{ pageSize: "2MB" }]),
    "runtime.wrong-type"
  ],
  [0, "a CPU share that is text", (c) => (c["linux"].resources.cpu = { shares: "1024" }), "runtime.wrong-type"],
  [0, "a memory limit of half a byte", (c) => (c["linux"].resources.memory = { limit: 0.5 }), "runtime.wrong-type"],
  [0, "pids without limit", (c) => (c["linux"].resources.pids = {}), "runtime.wrong-type"],
  [
    0,
    "a throttled device without minor",
    (c) => (c["linux"].resources.blockIO = { throttleReadBpsDevice: [{ major: 8, rate: 1 }] }),
    "runtime.wrong-type"
  ],
  [0, "a network device that is text", (c) => (c["linux"].netDevices = { eth0: "x" }), "runtime.wrong-type"],
  [0, "a propagation that is none", (c) => (c["linux"].rootfsPropagation = "sideways"), "runtime.wrong-type"],
  [0, "an unknown personality", (c) => (c["linux"].personality = { domain: "BSD" }), "runtime.wrong-type"],
  [0, "an offset in text", (c) => (c["linux"].timeOffsets = { boottime: { secs: "1" } }), "runtime.wrong-type"],
  [0, "a scheduler without policy", (c) => (c["process"].scheduler = { nice: 1 }), "runtime.wrong-type"],
  [0, "an unknown I/O class", (c) => (c["process"].ioPriority = { class: "BEST" }), "runtime.wrong-type"],
  [0, "CPUs that are none", (c) => (c["process"].execCPUAffinity = { initial: "all" }), "runtime.wrong-type"],
  [0, "a console without width", (c) => (c["process"].consoleSize = { height: 1 }), "runtime.wrong-type"],
  [0, "a umask in text", (c) => (c["process"].user.umask = "022"), "runtime.wrong-type"],
  [0, "a hook that is no object", (c) => (c["hooks"] = { prestart: ["/hook"] }), "runtime.wrong-type"],
  [0, "a virtual machine without kernel", (c) => (c["vm"] = {}), "runtime.wrong-type"],
  [0, "a namespace of z/OS", (c) => (c["zos"] = { namespaces: [{ type: "net" }] }), "runtime.wrong-type"],
  [0, "a jail without network", (c) => (c["freebsd"] = { jail: { vnet: "disable" } }), "runtime.wrong-type"],
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
    config["windows"] = null
    config["hooks"].ours = "an extension"
    config["mounts"] = null
    delete config["process"]
    assert.deepStrictEqual(check(config), [])
  })

  it("with what later versions brought is sound", () => {
    const config = sound()
    Object.assign(config["process"], {
      consoleSize: { height: 25, width: 80 },
      scheduler: { policy: "SCHED_DEADLINE", flags: ["SCHED_FLAG_RECLAIM"], runtime: 1, deadline: 2, period: 3 },
      ioPriority: { class: "IOPRIO_CLASS_BE", priority: 4 },
      execCPUAffinity: { initial: "0-3,8", final: "" },
      capabilities: { bounding: ["CAP_CHECKPOINT_RESTORE"], ambient: null }
    })
    config["process"].rlimits[0].hard = 18446744073709552000
    config["mounts"][0].uidMappings = config["mounts"][0].gidMappings = [{ containerID: 0, hostID: 1, size: 0 }]
    config["hooks"] = Object.fromEntries(
      ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"].map((name) => [
        name,
        [{ path: "/hook", args: null, timeout: null }]
      ])
    )
    config["linux"].namespaces.push({ type: "time" }, { type: "user", path: "/proc/1/ns/user" })
    Object.assign(config["linux"], {
      timeOffsets: { monotonic: { secs: -1, nanosecs: 5 } },
      devices: [{ type: "c", path: "/dev/x", major: 1, minor: 3, fileMode: 8630, uid: 0, gid: 6 }],
      netDevices: { eth0: { name: "ctr0" }, eth1: {} },
      rootfsPropagation: "rslave",
      intelRdt: { closID: "a", memBwSchema: "MB:0=20", enableCMT: true },
      memoryPolicy: { mode: "MPOL_INTERLEAVE", nodes: "0-1", flags: ["MPOL_F_STATIC_NODES"] },
      personality: { domain: "LINUX32", flags: null },
      cgroupsPath: "system.slice:runc:x",
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO",
        defaultErrnoRet: 38,
        flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        listenerPath: "/run/agent",
        listenerMetadata: "x",
        architectures: ["SCMP_ARCH_LOONGARCH64"],
        syscalls: [
          {
            names: ["clone"],
            action: "SCMP_ACT_NOTIFY",
            args: [{ index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }]
          }
        ]
      }
    })
    Object.assign(config["linux"].resources, {
      memory: { limit: -1, swap: -1, swappiness: 60, disableOOMKiller: false },
      cpu: { quota: -1, period: 100000, cpus: "0-1", idle: 1 },
      pids: { limit: -1 },
      hugepageLimits: [{ pageSize: "1GB", limit: 0 }],
      unified: { "memory.high": "max" }
    })
    assert.deepStrictEqual(check(config), [])
  })

  it("that is no object is none", () => {
    assert.deepStrictEqual(check([]), ["bundle.invalid-json"])
    assert.deepStrictEqual(check(null), ["bundle.invalid-json"])
  })
})
