/** A runtime configuration as a document (runtime-spec 1.0 to 1.2 config.md, config-linux.md; rules 66-83). */
import * as Json from "../image/Json.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"

type Fields = Readonly<Record<string, unknown>>

/** What later checks need, as far as it could be made out. */
export interface CheckedRuntimeConfig {
  readonly value: Fields
  /** `root.path` where it is a string. */
  readonly rootPath: string | undefined
}

/** SemVer 2.0.0, the expression of its own FAQ. */
const semver =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$/

/** What node-semver reads; the expression takes stack for each part of what it matches. */
const maxVersion = 256

const namespaces = new Set(["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"])

/** `os` is that of the image where it is known. Windows is also recognised by its section. */
export const checkRuntimeConfig = (
  value: unknown,
  subject: string,
  report: Collector,
  os?: string
): CheckedRuntimeConfig | undefined => {
  report.ran(
    "runtime.wrong-type",
    "runtime.bad-version",
    "runtime.unknown-version",
    "runtime.missing-root",
    "runtime.bad-mount",
    "runtime.bad-cwd",
    "runtime.no-args",
    "runtime.bad-user",
    "runtime.bad-rlimit",
    "runtime.bad-hook",
    "runtime.missing-windows",
    "runtime.bad-namespace",
    "runtime.bad-id-mapping",
    "runtime.bad-device",
    "runtime.bad-device-rule",
    "runtime.bad-path",
    "runtime.bad-seccomp",
    "runtime.bad-resource"
  )
  if (!Json.isObject(value)) {
    report.report("bundle.invalid-json", subject, "the configuration is not a JSON object", {
      expected: "an object",
      actual: Json.typeName(value)
    })
    return undefined
  }
  return new Checker(value, subject, report, os === "windows" || value["windows"] !== undefined).run()
}

const isAbsolute = (path: string, windows: boolean): boolean =>
  path.startsWith("/") || (windows && /^(?:[A-Za-z]:[\\/]|\\)/.test(path))

const isCount = (value: unknown, max = 0xffffffff): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max

const isString = (value: unknown): value is string => typeof value === "string"

/** Bits of 64: JSON numbers above 2^53 lose their last digits, but are numbers all the same. */
const isUint64 = (value: unknown): boolean => isCount(value, 2 ** 64)

class Checker {
  readonly #value: Fields
  readonly #subject: string
  readonly #report: Collector
  readonly #windows: boolean

  constructor(value: Fields, subject: string, report: Collector, windows: boolean) {
    this.#value = value
    this.#subject = subject
    this.#report = report
    this.#windows = windows
  }

  run(): CheckedRuntimeConfig {
    const value = this.#value
    this.#version(value["ociVersion"])
    const rootPath = this.#root(value["root"])
    this.#mounts(value["mounts"])
    this.#process(value["process"])
    this.#hooks(value["hooks"])
    this.#optional(value, "hostname", "", "a string", isString)
    this.#optional(value, "domainname", "", "a string", isString)
    this.#strings(value["annotations"], "annotations")
    const windows = this.#object(value["windows"], "windows")
    if (this.#windows && windows === undefined && value["windows"] === undefined) {
      this.#fail("runtime.missing-windows", "the section windows is missing", "windows", "nothing")
    }
    if (windows !== undefined && (!Array.isArray(windows["layerFolders"]) || windows["layerFolders"].length === 0)) {
      this.#fail(
        "runtime.missing-windows",
        "windows.layerFolders names no layer",
        "an array of paths",
        show(windows["layerFolders"])
      )
    }
    const linux = this.#object(value["linux"], "linux")
    if (linux !== undefined) this.#linux(linux)
    return { value, rootPath }
  }

  #fail(check: CheckId, message: string, expected?: string, actual?: string): void {
    this.#report.report(check, this.#subject, message, { expected, actual })
  }

  #wrongType(path: string, expected: string, actual: unknown): void {
    this.#fail("runtime.wrong-type", `${path} is not ${expected}`, expected, Json.typeName(actual))
  }

  /** Absent (or null, as Go programs write it) is fine. */
  #optional(fields: Fields, name: string, prefix: string, expected: string, fits: (value: unknown) => boolean): void {
    const found = fields[name]
    if (found !== undefined && found !== null && !fits(found)) this.#wrongType(prefix + name, expected, found)
  }

  #object(value: unknown, path: string): Fields | undefined {
    if (value === undefined || value === null) return undefined
    if (Json.isObject(value)) return value
    this.#wrongType(path, "an object", value)
    return undefined
  }

  /** The objects of an array; what is none is reported. */
  #objects(value: unknown, path: string): ReadonlyArray<readonly [path: string, fields: Fields]> {
    return this.#array(value, path).flatMap((one, index): ReadonlyArray<readonly [string, Fields]> => {
      if (Json.isObject(one)) return [[`${path}[${index}]`, one]]
      this.#wrongType(`${path}[${index}]`, "an object", one)
      return []
    })
  }

  #array(value: unknown, path: string): ReadonlyArray<unknown> {
    if (value === undefined || value === null) return []
    if (Array.isArray(value)) return value
    this.#wrongType(path, "an array", value)
    return []
  }

  #strings(value: unknown, path: string): void {
    for (const [key, one] of Object.entries(this.#object(value, path) ?? {})) {
      if (typeof one !== "string") this.#wrongType(`${path}[${JSON.stringify(key)}]`, "a string", one)
    }
  }

  #stringArray(value: unknown, path: string): ReadonlyArray<string> {
    return this.#array(value, path).flatMap((one, index) => {
      if (typeof one === "string") return [one]
      this.#wrongType(`${path}[${index}]`, "a string", one)
      return []
    })
  }

  #version(version: unknown): void {
    const match = typeof version === "string" && version.length <= maxVersion ? semver.exec(version) : null
    if (match === null) {
      this.#fail("runtime.bad-version", "ociVersion is no semantic version", "for example 1.2.0", show(version))
    } else if (match[1] !== "1") {
      this.#fail("runtime.unknown-version", "ociVersion is of another major version", "1.x", show(version))
    }
  }

  #root(value: unknown): string | undefined {
    if (value === undefined || value === null) {
      if (!this.#windows) this.#fail("runtime.missing-root", "root is missing", "root", "nothing")
      return undefined
    }
    const root = this.#object(value, "root")
    if (root === undefined) return undefined
    this.#optional(root, "readonly", "root.", "a boolean", (one) => typeof one === "boolean")
    if (typeof root["path"] === "string" && root["path"] !== "") return root["path"]
    this.#fail("runtime.missing-root", "root.path is missing", "a path", show(root["path"]))
    return undefined
  }

  #mounts(value: unknown): void {
    for (const [path, mount] of this.#objects(value, "mounts")) {
      const { destination } = mount
      if (typeof destination !== "string" || !isAbsolute(destination, this.#windows)) {
        this.#fail("runtime.bad-mount", `${path}.destination is not absolute`, "an absolute path", show(destination))
      }
      this.#optional(mount, "type", `${path}.`, "a string", isString)
      this.#optional(mount, "source", `${path}.`, "a string", isString)
      this.#stringArray(mount["options"], `${path}.options`)
      const uid = this.#mappings(mount["uidMappings"], `${path}.uidMappings`)
      const gid = this.#mappings(mount["gidMappings"], `${path}.gidMappings`)
      if (uid !== gid) {
        this.#fail(
          "runtime.bad-mount",
          `${path} has only one of uidMappings and gidMappings`,
          "both or none",
          uid ? "uidMappings" : "gidMappings"
        )
      }
    }
  }

  /** True when there are any. */
  #mappings(value: unknown, path: string): boolean {
    const mappings = this.#objects(value, path)
    for (const [at, mapping] of mappings) {
      for (const field of ["containerID", "hostID", "size"]) {
        if (!isCount(mapping[field])) {
          this.#fail(
            "runtime.bad-id-mapping",
            `${at}.${field} is missing or no number of 32 bits`,
            field,
            show(mapping[field])
          )
        }
      }
    }
    return mappings.length > 0
  }

  #process(value: unknown): void {
    const process = this.#object(value, "process")
    if (process === undefined) return
    const { args, cwd } = process
    if (typeof cwd !== "string" || !isAbsolute(cwd, this.#windows)) {
      this.#fail("runtime.bad-cwd", "process.cwd is not absolute", "an absolute path", show(cwd))
    }
    const named = this.#stringArray(args, "process.args")
    const hasCommandLine = this.#windows && typeof process["commandLine"] === "string" && process["commandLine"] !== ""
    if (named.length === 0 && !hasCommandLine) {
      this.#fail("runtime.no-args", "process.args has no entry", "a program", show(args))
    }
    this.#stringArray(process["env"], "process.env")
    for (const field of ["terminal", "noNewPrivileges"]) {
      this.#optional(process, field, "process.", "a boolean", (one) => typeof one === "boolean")
    }
    this.#user(process["user"])
    this.#rlimits(process["rlimits"])
    // Before 1.0.0-rc6 it was a plain list.
    if (!Array.isArray(process["capabilities"])) {
      const capabilities = this.#object(process["capabilities"], "process.capabilities") ?? {}
      for (const set of ["bounding", "effective", "inheritable", "permitted", "ambient"]) {
        this.#stringArray(capabilities[set], `process.capabilities.${set}`)
      }
    }
    this.#optional(process, "oomScoreAdj", "process.", "an integer", Number.isInteger)
    for (const field of ["apparmorProfile", "selinuxLabel"])
      this.#optional(process, field, "process.", "a string", isString)
  }

  #user(value: unknown): void {
    const user = this.#object(value, "process.user")
    if (this.#windows) {
      if (user !== undefined) this.#optional(user, "username", "process.user.", "a string", isString)
      return
    }
    for (const field of ["uid", "gid"]) {
      if (!isCount(user?.[field])) {
        this.#fail(
          "runtime.bad-user",
          `process.user.${field} is missing or no number of 32 bits`,
          field,
          show(user?.[field])
        )
      }
    }
    this.#array(user?.["additionalGids"], "process.user.additionalGids").forEach((gid, index) => {
      if (!isCount(gid)) this.#wrongType(`process.user.additionalGids[${index}]`, "a number of 32 bits", gid)
    })
  }

  #rlimits(value: unknown): void {
    const seen = new Set<string>()
    for (const [path, limit] of this.#objects(value, "process.rlimits")) {
      const { hard, soft, type } = limit
      if (typeof type !== "string" || !/^RLIMIT_[A-Z]+$/.test(type)) {
        this.#fail("runtime.bad-rlimit", `${path}.type names no limit`, "for example RLIMIT_NOFILE", show(type))
      } else if (seen.has(type)) this.#fail("runtime.bad-rlimit", `${type} stands more than once`, "once", "again")
      else seen.add(type)
      if (!isUint64(soft))
        this.#fail("runtime.bad-rlimit", `${path}.soft is missing or no number`, "a number", show(soft))
      if (!isUint64(hard))
        this.#fail("runtime.bad-rlimit", `${path}.hard is missing or no number`, "a number", show(hard))
    }
  }

  #hooks(value: unknown): void {
    for (const [name, hooks] of Object.entries(this.#object(value, "hooks") ?? {})) {
      for (const [path, hook] of this.#objects(hooks, `hooks.${name}`)) {
        if (typeof hook["path"] !== "string" || !isAbsolute(hook["path"], this.#windows)) {
          this.#fail("runtime.bad-hook", `${path}.path is not absolute`, "an absolute path", show(hook["path"]))
        }
        const { timeout } = hook
        if (timeout !== undefined && timeout !== null && !(Number.isInteger(timeout) && (timeout as number) > 0)) {
          this.#fail("runtime.bad-hook", `${path}.timeout is not above zero`, "seconds above 0", show(timeout))
        }
        this.#stringArray(hook["args"], `${path}.args`)
        this.#stringArray(hook["env"], `${path}.env`)
      }
    }
  }

  #linux(linux: Fields): void {
    this.#namespaces(linux["namespaces"])
    this.#mappings(linux["uidMappings"], "linux.uidMappings")
    this.#mappings(linux["gidMappings"], "linux.gidMappings")
    this.#devices(linux["devices"])
    for (const field of ["maskedPaths", "readonlyPaths"]) {
      this.#stringArray(linux[field], `linux.${field}`).forEach((path, index) => {
        if (!path.startsWith("/")) {
          this.#fail("runtime.bad-path", `linux.${field}[${index}] is not absolute`, "an absolute path", show(path))
        }
      })
    }
    this.#seccomp(linux["seccomp"])
    this.#resources(linux["resources"])
    this.#strings(linux["sysctl"], "linux.sysctl")
    for (const field of ["cgroupsPath", "rootfsPropagation", "mountLabel"]) {
      this.#optional(linux, field, "linux.", "a string", isString)
    }
  }

  #namespaces(value: unknown): void {
    const seen = new Set<string>()
    for (const [path, namespace] of this.#objects(value, "linux.namespaces")) {
      const { type } = namespace
      if (typeof type !== "string" || !namespaces.has(type)) {
        this.#fail("runtime.bad-namespace", `${path}.type names no namespace`, [...namespaces].join(", "), show(type))
      } else if (seen.has(type)) {
        this.#fail("runtime.bad-namespace", `the namespace ${type} stands more than once`, "once", "again")
      } else seen.add(type)
      const where = namespace["path"]
      if (where !== undefined && where !== null && where !== "" && !(isString(where) && where.startsWith("/"))) {
        this.#fail("runtime.bad-namespace", `${path}.path is not absolute`, "an absolute path", show(where))
      }
    }
  }

  #devices(value: unknown): void {
    for (const [path, device] of this.#objects(value, "linux.devices")) {
      const { type } = device
      if (!isString(type) || !["c", "b", "u", "p"].includes(type)) {
        this.#fail("runtime.bad-device", `${path}.type is none of c, b, u and p`, "c, b, u or p", show(type))
      }
      if (!isString(device["path"]) || !device["path"].startsWith("/")) {
        this.#fail("runtime.bad-device", `${path}.path is not absolute`, "an absolute path", show(device["path"]))
      }
      if (type === "p") continue
      for (const field of ["major", "minor"]) {
        if (!Number.isInteger(device[field])) {
          this.#fail("runtime.bad-device", `${path}.${field} is missing or no number`, "a number", show(device[field]))
        }
      }
    }
  }

  #seccomp(value: unknown): void {
    const seccomp = this.#object(value, "linux.seccomp")
    if (seccomp === undefined) return
    const action = (found: unknown, path: string): void => {
      if (!isString(found) || !/^SCMP_ACT_[A-Z_]+$/.test(found)) {
        this.#fail("runtime.bad-seccomp", `${path} is missing or no action`, "for example SCMP_ACT_ERRNO", show(found))
      }
    }
    action(seccomp["defaultAction"], "linux.seccomp.defaultAction")
    this.#stringArray(seccomp["architectures"], "linux.seccomp.architectures")
    this.#stringArray(seccomp["flags"], "linux.seccomp.flags")
    for (const [path, rule] of this.#objects(seccomp["syscalls"], "linux.seccomp.syscalls")) {
      if (this.#stringArray(rule["names"], `${path}.names`).length === 0) {
        this.#fail("runtime.bad-seccomp", `${path}.names has no entry`, "a system call", show(rule["names"]))
      }
      action(rule["action"], `${path}.action`)
      for (const [at, arg] of this.#objects(rule["args"], `${path}.args`)) {
        if (!isCount(arg["index"]) || !isUint64(arg["value"]) || !isString(arg["op"])) {
          this.#fail("runtime.bad-seccomp", `${at} lacks index, value or op`, "index, value and op", show(arg))
        }
      }
    }
  }

  #resources(value: unknown): void {
    const resources = this.#object(value, "linux.resources")
    if (resources === undefined) return
    for (const [path, rule] of this.#objects(resources["devices"], "linux.resources.devices")) {
      if (typeof rule["allow"] !== "boolean") {
        this.#fail(
          "runtime.bad-device-rule",
          `${path}.allow is missing or no boolean`,
          "true or false",
          show(rule["allow"])
        )
      }
      this.#optional(rule, "type", `${path}.`, "a string", isString)
      this.#optional(rule, "access", `${path}.`, "a string", isString)
      for (const field of ["major", "minor"]) this.#optional(rule, field, `${path}.`, "an integer", Number.isInteger)
    }
    const blockIO = this.#object(resources["blockIO"], "linux.resources.blockIO") ?? {}
    for (const [path, device] of this.#objects(blockIO["weightDevice"], "linux.resources.blockIO.weightDevice")) {
      if (!isCount(device["weight"]) && !isCount(device["leafWeight"])) {
        this.#fail("runtime.bad-resource", `${path} has neither weight nor leafWeight`, "at least one", "none")
      }
    }
    for (const [device, limit] of Object.entries(this.#object(resources["rdma"], "linux.resources.rdma") ?? {})) {
      const fields = this.#object(limit, `linux.resources.rdma[${JSON.stringify(device)}]`)
      if (fields !== undefined && !isCount(fields["hcaHandles"]) && !isCount(fields["hcaObjects"])) {
        this.#fail(
          "runtime.bad-resource",
          `linux.resources.rdma[${JSON.stringify(device)}] has neither hcaHandles nor hcaObjects`,
          "at least one",
          "none"
        )
      }
    }
    for (const section of ["memory", "cpu", "pids", "network"])
      this.#object(resources[section], `linux.resources.${section}`)
    this.#strings(resources["unified"], "linux.resources.unified")
    for (const [path, limit] of this.#objects(resources["hugepageLimits"], "linux.resources.hugepageLimits")) {
      if (!isString(limit["pageSize"]) || !isUint64(limit["limit"])) {
        this.#fail("runtime.wrong-type", `${path} lacks pageSize or limit`, "pageSize and limit", show(limit))
      }
    }
  }
}

const show = (value: unknown): string => (value === undefined ? "nothing" : String(JSON.stringify(value)).slice(0, 200))
