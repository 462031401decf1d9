/** A runtime configuration from an image's (image-spec conversion.md; rules 61-65), for runtime-spec 1.2. */

import * as path from "node:path"
import * as Either from "effect/Either"
import type { ContainerConfig, ImageConfig } from "../../image/ImageConfig.ts"

/**
 * The oldest that has all that is written here, which every later one takes: crun reads no version beyond those that it
 * knows.
 */
export const ociVersion = "1.0.2"

/** `process.user` on POSIX platforms. */
export interface User {
  readonly uid: number
  readonly gid: number
  readonly additionalGids?: ReadonlyArray<number>
}

/** Texts of the image's own files; undefined where it has none. */
export interface UserFiles {
  readonly passwd: string | undefined
  readonly group: string | undefined
}

const maxId = 0xfffffffe
const numeric = /^[0-9]+$/

const idOf = (text: string | undefined): number | undefined => {
  if (text === undefined || !numeric.test(text)) return undefined
  const id = Number(text)
  return id <= maxId ? id : undefined
}

const rows = (text: string | undefined): ReadonlyArray<ReadonlyArray<string>> =>
  (text ?? "")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"))

/**
 * What `Config.User` means in the image: `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or `user:gid`. Left: why it
 * means nothing there.
 */
export const userOf = (spec: string, files: UserFiles): Either.Either<User, string> => {
  const colon = spec.indexOf(":")
  const user = colon < 0 ? spec : spec.slice(0, colon)
  const group = colon < 0 ? "" : spec.slice(colon + 1)
  const passwd = rows(files.passwd)
  const groups = rows(files.group)
  // Numbers are copied as they are (conversion.md), whatever /etc/passwd knows.
  const number = user === "" ? 0 : idOf(user)
  if (number === undefined && numeric.test(user)) return Either.left(`the user ${user} is no ID: it is too large`)
  const entry =
    number === undefined ? passwd.find((row) => row[0] === user) : passwd.find((row) => idOf(row[2]) === number)
  const uid = number ?? idOf(entry?.[2])
  if (uid === undefined) return Either.left(`/etc/passwd has no user ${JSON.stringify(user)}`)
  if (group !== "") {
    const gid = numeric.test(group) ? idOf(group) : idOf(groups.find((row) => row[0] === group)?.[2])
    if (gid === undefined) {
      return Either.left(
        numeric.test(group)
          ? `the group ${group} is no ID: it is too large`
          : `/etc/group has no group ${JSON.stringify(group)}`
      )
    }
    return Either.right({ uid, gid })
  }
  const gid = idOf(entry?.[3]) ?? 0
  // Of a number the specification wants no groups; of no user at all it leaves them open, and root's are usual.
  const name = user === "" || number === undefined ? entry?.[0] : undefined
  const additionalGids =
    name === undefined
      ? []
      : groups.flatMap((row) => ((row[3] ?? "").split(",").includes(name) ? (idOf(row[2]) ?? []) : []))
  return Either.right({
    uid,
    gid,
    ...(additionalGids.length === 0 ? {} : { additionalGids: [...new Set(additionalGids)].sort((a, b) => a - b) })
  })
}

const list = (value: string | ReadonlyArray<string> | null | undefined): ReadonlyArray<string> =>
  value === null || value === undefined ? [] : typeof value === "string" ? (value === "" ? [] : [value]) : value

/** Entrypoint and Cmd; empty when the image names neither. */
export const argsOf = (config: ContainerConfig): ReadonlyArray<string> => [
  ...list(config.Entrypoint),
  ...list(config.Cmd)
]

export const cwdOf = (config: ContainerConfig): string => path.posix.resolve("/", config.WorkingDir || "/")

/** Annotations that fields of the image's config imply, without its labels. What is empty implies nothing. */
export const impliedAnnotations = (image: ImageConfig): Readonly<Record<string, string>> => {
  const { config } = image
  const fields: ReadonlyArray<readonly [string, string | null | undefined]> = [
    ["os", image.os],
    ["architecture", image.architecture],
    ["variant", image.variant],
    ["os.version", image["os.version"]],
    ["os.features", image["os.features"]?.join(",")],
    ["author", image.author],
    ["created", image.created],
    ["stopSignal", config?.StopSignal],
    [
      "exposedPorts",
      Object.keys(config?.ExposedPorts ?? {})
        .sort()
        .join(",")
    ]
  ]
  return Object.fromEntries(
    fields.flatMap(([name, value]) => (value ? [[`org.opencontainers.image.${name}`, value]] : []))
  )
}

const volumesOf = (config: ContainerConfig): ReadonlyArray<string> =>
  [...new Set(Object.keys(config.Volumes ?? {}).map((volume) => path.posix.resolve("/", volume)))]
    .filter((volume) => volume !== "/")
    .sort()

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** What is run when the image names nothing: the specification wants something to be there. */
const defaultArgs = ["sh"]

const capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

const hidden = { type: "tmpfs", source: "tmpfs" }

const defaultMounts = [
  { destination: "/proc", type: "proc", source: "proc" },
  { destination: "/dev", ...hidden, options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
  },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
  },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  {
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    source: "cgroup",
    options: ["nosuid", "noexec", "nodev", "relatime", "ro"]
  }
]

/** The configuration as `runc spec` begins it, filled from the image. Runs without a terminal. */
export const convert = (image: ImageConfig, user: User): Readonly<Record<string, unknown>> => {
  const config = image.config ?? {}
  const args = argsOf(config)
  const env = config.Env ?? []
  return {
    ociVersion,
    process: {
      terminal: false,
      user,
      args: args.length === 0 ? defaultArgs : args,
      env: env.some((one) => one.startsWith("PATH=")) ? env : [defaultPath, ...env],
      cwd: cwdOf(config),
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
      noNewPrivileges: true
    },
    root: { path: "rootfs" },
    hostname: "tallyman",
    mounts: [
      ...defaultMounts,
      ...volumesOf(config).map((destination) => ({ destination, ...hidden, options: ["nosuid", "nodev", "mode=755"] }))
    ],
    annotations: { ...impliedAnnotations(image), ...config.Labels },
    linux: {
      resources: { devices: [{ allow: false, access: "rwm" }] },
      namespaces: ["pid", "network", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type })),
      maskedPaths: [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi"
      ],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    }
  }
}

/** The file's bytes. */
export const encode = (config: Readonly<Record<string, unknown>>): Uint8Array =>
  Buffer.from(`${JSON.stringify(config, null, 2)}\n`)
