/**
 * The types of a runtime configuration's fields: runtime-spec's schema/config-schema.json and what it refers to, of all
 * versions from 1.0 to 1.3 at once. A field that a rule of its own is about is not here.
 */
import * as Json from "../image/Json.ts"

/** Told of a value that does not fit: where it is, and what was expected there. */
export type Misfit = (path: string, expected: string, actual: string) => void

type Shape = (value: unknown, path: string, misfit: Misfit) => void

const shown = (value: unknown): string =>
  typeof value === "object" ? Json.typeName(value) : String(JSON.stringify(value)).slice(0, 200)

const leaf =
  (expected: string, fits: (value: unknown) => boolean): Shape =>
  (value, path, misfit) => {
    if (!fits(value)) misfit(path, expected, shown(value))
  }

/** JSON numbers above 2^53 lose their last digits, but are numbers of 64 bits all the same. */
const integer = (bits: number, signed: boolean): Shape => {
  const [min, max] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1)] : [0, bits === 64 ? 2 ** 64 : 2 ** bits - 1]
  return leaf(
    `an integer of ${bits} bits${signed ? "" : " without sign"}`,
    (value) => typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
  )
}

const oneOf = (...values: ReadonlyArray<string>): Shape =>
  leaf(`one of ${values.join(", ")}`, (value) => typeof value === "string" && values.includes(value))

const matching = (expected: string, pattern: RegExp): Shape =>
  leaf(expected, (value) => typeof value === "string" && pattern.test(value))

const arrayOf =
  (item: Shape): Shape =>
  (value, path, misfit) => {
    if (!Array.isArray(value)) misfit(path, "an array", shown(value))
    else for (const [index, one] of value.entries()) item(one, `${path}[${index}]`, misfit)
  }

const mapOf =
  (item: Shape): Shape =>
  (value, path, misfit) => {
    if (!Json.isObject(value)) misfit(path, "an object", shown(value))
    else for (const [key, one] of Object.entries(value)) item(one, `${path}[${JSON.stringify(key)}]`, misfit)
  }

/** What it does not name is the writer's own (config.md, extensibility). Null is absent, as Go programs write it. */
const record =
  (fields: Readonly<Record<string, Shape>>, required: ReadonlyArray<string> = []): Shape =>
  (value, path, misfit) => {
    if (!Json.isObject(value)) return misfit(path, "an object", shown(value))
    for (const [name, shape] of Object.entries(fields)) {
      const found = value[name]
      const at = path === "" ? name : `${path}.${name}`
      if (found !== undefined && found !== null) shape(found, at, misfit)
      else if (required.includes(name)) misfit(at, "there", "nothing")
    }
  }

const string = leaf("a string", (value) => typeof value === "string")
const boolean = leaf("a boolean", (value) => typeof value === "boolean")
const uint16 = integer(16, false)
const uint32 = integer(32, false)
const uint64 = integer(64, false)
const int32 = integer(32, true)
const int64 = integer(64, true)
const strings = arrayOf(string)
const texts = mapOf(string)
const objects = arrayOf(record({}))

const cpuList = matching("a list of CPUs", /^[0-9, -]*$/)

const hooks = arrayOf(record({ args: strings, env: strings }))

const process = record({
  terminal: boolean,
  consoleSize: record({ height: uint64, width: uint64 }, ["height", "width"]),
  user: record({ umask: uint32, additionalGids: arrayOf(uint32), username: string }),
  args: strings,
  commandLine: string,
  env: strings,
  capabilities: record({
    bounding: strings,
    effective: strings,
    inheritable: strings,
    permitted: strings,
    ambient: strings
  }),
  rlimits: objects,
  noNewPrivileges: boolean,
  apparmorProfile: string,
  selinuxLabel: string,
  oomScoreAdj: int64,
  scheduler: record(
    {
      policy: oneOf(
        "SCHED_OTHER",
        "SCHED_FIFO",
        "SCHED_RR",
        "SCHED_BATCH",
        "SCHED_ISO",
        "SCHED_IDLE",
        "SCHED_DEADLINE"
      ),
      nice: int32,
      priority: int32,
      flags: arrayOf(
        oneOf(
          "SCHED_FLAG_RESET_ON_FORK",
          "SCHED_FLAG_RECLAIM",
          "SCHED_FLAG_DL_OVERRUN",
          "SCHED_FLAG_KEEP_POLICY",
          "SCHED_FLAG_KEEP_PARAMS",
          "SCHED_FLAG_UTIL_CLAMP_MIN",
          "SCHED_FLAG_UTIL_CLAMP_MAX"
        )
      ),
      runtime: uint64,
      deadline: uint64,
      period: uint64
    },
    ["policy"]
  ),
  ioPriority: record({ class: oneOf("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"), priority: int32 }, [
    "class"
  ]),
  execCPUAffinity: record({ initial: cpuList, final: cpuList })
})

const throttles = arrayOf(record({ major: int64, minor: int64, rate: uint64 }, ["major", "minor"]))

const resources = record({
  unified: texts,
  devices: arrayOf(record({ type: string, major: int64, minor: int64, access: string })),
  pids: record({ limit: int64 }, ["limit"]),
  blockIO: record({
    weight: uint16,
    leafWeight: uint16,
    weightDevice: arrayOf(
      record({ major: int64, minor: int64, weight: uint16, leafWeight: uint16 }, ["major", "minor"])
    ),
    throttleReadBpsDevice: throttles,
    throttleWriteBpsDevice: throttles,
    throttleReadIOPSDevice: throttles,
    throttleWriteIOPSDevice: throttles
  }),
  cpu: record({
    cpus: string,
    mems: string,
    shares: uint64,
    period: uint64,
    quota: int64,
    burst: uint64,
    realtimePeriod: uint64,
    realtimeRuntime: int64,
    idle: int64
  }),
  hugepageLimits: arrayOf(
    record({ pageSize: matching("a size like 64KB", /^[1-9][0-9]*[KMG]B$/), limit: uint64 }, ["pageSize", "limit"])
  ),
  memory: record({
    limit: int64,
    reservation: int64,
    swap: int64,
    kernel: int64,
    kernelTCP: int64,
    swappiness: uint64,
    disableOOMKiller: boolean,
    useHierarchy: boolean,
    checkBeforeUpdate: boolean
  }),
  network: record({
    classID: uint32,
    priorities: arrayOf(record({ name: string, priority: uint32 }, ["name", "priority"]))
  }),
  rdma: mapOf(record({ hcaHandles: uint32, hcaObjects: uint32 }))
})

const seccomp = record({
  defaultErrnoRet: uint32,
  flags: arrayOf(matching("a flag like SECCOMP_FILTER_FLAG_LOG", /^SECCOMP_FILTER_FLAG_[A-Z_]+$/)),
  listenerPath: string,
  listenerMetadata: string,
  architectures: arrayOf(matching("an architecture like SCMP_ARCH_X86", /^SCMP_ARCH_[A-Z0-9_]+$/)),
  syscalls: arrayOf(record({ names: strings, errnoRet: uint32, args: arrayOf(record({ valueTwo: uint64 })) }))
})

const timeOffset = record({ secs: int64, nanosecs: uint32 })

const linux = record({
  namespaces: objects,
  uidMappings: objects,
  gidMappings: objects,
  timeOffsets: mapOf(timeOffset),
  // Engines copy the type's bits with the permissions.
  devices: arrayOf(record({ fileMode: uint32, uid: uint32, gid: uint32 })),
  netDevices: mapOf(record({ name: string })),
  cgroupsPath: string,
  resources,
  // Engines write the recursive forms as well, and runtimes take them.
  rootfsPropagation: matching("shared, slave, private or unbindable", /^(?:r?(?:shared|slave|private|unbindable))?$/),
  seccomp,
  sysctl: texts,
  maskedPaths: strings,
  readonlyPaths: strings,
  mountLabel: string,
  intelRdt: record({
    closID: string,
    schemata: strings,
    l3CacheSchema: string,
    memBwSchema: matching("a line that begins with MB:", /^(?:MB:[^\n]*)?$/),
    enableCMT: boolean,
    enableMBM: boolean,
    enableMonitoring: boolean
  }),
  memoryPolicy: record({
    mode: matching("a mode like MPOL_BIND", /^MPOL_[A-Z_]+$/),
    nodes: string,
    flags: arrayOf(matching("a flag like MPOL_F_STATIC_NODES", /^MPOL_F_[A-Z_]+$/))
  }),
  personality: record({ domain: oneOf("LINUX", "LINUX32"), flags: strings })
})

const windows = record({
  layerFolders: strings,
  devices: arrayOf(record({ id: string, idType: string }, ["id", "idType"])),
  resources: record({
    memory: record({ limit: uint64 }),
    cpu: record({
      count: uint64,
      shares: uint16,
      maximum: uint16,
      affinity: arrayOf(record({ mask: uint64, group: uint32 }))
    }),
    storage: record({ iops: uint64, bps: uint64, sandboxSize: uint64 })
  }),
  network: record({
    endpointList: strings,
    allowUnqualifiedDNSQuery: boolean,
    DNSSearchList: strings,
    networkSharedContainerName: string,
    networkNamespace: string
  }),
  credentialSpec: record({}),
  servicing: boolean,
  ignoreFlushesDuringBoot: boolean,
  hyperv: record({ utilityVMPath: string })
})

const solaris = record({
  milestone: string,
  limitpriv: string,
  maxShmMemory: string,
  cappedCPU: record({ ncpus: string }),
  cappedMemory: record({ physical: string, swap: string }),
  anet: arrayOf(
    record({
      linkname: string,
      lowerLink: string,
      allowedAddress: string,
      configureAllowedAddress: string,
      defrouter: string,
      macAddress: string,
      linkProtection: string
    })
  )
})

const vm = record(
  {
    hypervisor: record({ path: string, parameters: strings }, ["path"]),
    kernel: record({ path: string, parameters: strings, initrd: string }, ["path"]),
    image: record({ path: string, format: oneOf("raw", "qcow2", "vdi", "vmdk", "vhd") }, ["path", "format"]),
    hwConfig: record({
      deviceTree: string,
      vcpus: uint32,
      memory: uint64,
      dtdevs: strings,
      iomems: arrayOf(record({ firstGFN: uint64, firstMFN: uint64, nrMFNs: uint64 }, ["firstMFN", "nrMFNs"])),
      irqs: arrayOf(uint32)
    })
  },
  ["kernel"]
)

const zos = record({
  namespaces: arrayOf(record({ type: oneOf("mount", "pid", "uts", "ipc"), path: string }, ["type"]))
})

const sharing = oneOf("disable", "new", "inherit")
const sharingOn = oneOf("new", "inherit")

const freebsd = record({
  devices: arrayOf(record({ path: string, mode: uint32 })),
  jail: record({
    parent: string,
    host: sharingOn,
    ip4: sharing,
    ip4Addr: strings,
    ip6: sharing,
    ip6Addr: strings,
    vnet: sharingOn,
    interface: string,
    vnetInterfaces: strings,
    sysvmsg: sharing,
    sysvsem: sharing,
    sysvshm: sharing,
    enforceStatfs: integer(8, false),
    allow: record({
      setHostname: boolean,
      rawSockets: boolean,
      chflags: boolean,
      mount: strings,
      quotas: boolean,
      socketAf: boolean,
      mlock: boolean,
      reservedPorts: boolean,
      suser: boolean
    })
  })
})

const config = record({
  root: record({ readonly: boolean }),
  mounts: arrayOf(
    record({ type: string, source: string, options: strings, uidMappings: objects, gidMappings: objects })
  ),
  process,
  hostname: string,
  domainname: string,
  hooks: record({
    prestart: hooks,
    createRuntime: hooks,
    createContainer: hooks,
    startContainer: hooks,
    poststart: hooks,
    poststop: hooks
  }),
  annotations: texts,
  linux,
  windows,
  solaris,
  vm,
  zos,
  freebsd
})

/** Every field of the wrong type in a runtime configuration. */
export const findMisfits = (value: unknown, misfit: Misfit): void => config(value, "", misfit)
