/** A runtime configuration as a document (runtime-spec 1.0 to 1.3 config.md, config-linux.md; rules 66-83). */
import * as Json from "../image/Json.ts"
import type { CheckId } from "./Catalog.ts"
import type { Collector } from "./Collector.ts"
import { findMisfits } from "./RuntimeSchema.ts"

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

const hookNames = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]

const seccompActions = new Set(
  ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY"].map(
    (name) => `SCMP_ACT_${name}`
  )
)

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
  return new Checker(value, subject, report, os === "windows" || isSet(value["windows"])).run()
}

const isAbsolute = (path: string, windows: boolean): boolean =>
  path.startsWith("/") || (windows && /^(?:[A-Za-z]:[\\/]|\\)/.test(path))

const isCount = (value: unknown, max = 0xffffffff): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max

const isString = (value: unknown): value is string => typeof value === "string"

/** Bits of 64: JSON numbers above 2^53 lose their last digits, but are numbers all the same. */
const isUint64 = (value: unknown): boolean => isCount(value, 2 ** 64)

const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== ""

const isOperator = (value: unknown): boolean =>
  isString(value) && /^SCMP_CMP_(?:NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/.test(value)

// What is of another type is reported once, by its schema.

const object = (value: unknown): Fields | undefined => (Json.isObject(value) ? value : undefined)

const array = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

const objects = (value: unknown, path: string): ReadonlyArray<readonly [path: string, fields: Fields]> =>
  array(value).flatMap((one, index) => (Json.isObject(one) ? [[`${path}[${index}]`, one] as const] : []))

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
    this.#hooks(object(value["hooks"]))
    const windows = object(value["windows"])
    if (this.#windows && !isSet(value["windows"])) {
      this.#fail("runtime.missing-windows", "the section windows is missing", "windows", "nothing")
    }
    if (windows !== undefined && array(windows["layerFolders"]).length === 0) {
      this.#fail(
        "runtime.missing-windows",
        "windows.layerFolders names no layer",
        "an array of paths",
        show(windows["layerFolders"])
      )
    }
    const linux = object(value["linux"])
    if (linux !== undefined) this.#linux(linux)
    findMisfits(value, (path, expected, actual) =>
      this.#fail("runtime.wrong-type", `${path} is not ${expected}`, expected, actual)
    )
    return { value, rootPath }
  }

  #fail(check: CheckId, message: string, expected?: string, actual?: string): void {
    this.#report.report(check, this.#subject, message, { expected, actual })
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
    const root = object(value)
    if (root === undefined) return undefined
    if (isString(root["path"]) && root["path"] !== "") return root["path"]
    this.#fail("runtime.missing-root", "root.path is missing", "a path", show(root["path"]))
    return undefined
  }

  #mounts(value: unknown): void {
    for (const [path, mount] of objects(value, "mounts")) {
      const { destination } = mount
      if (typeof destination !== "string" || !isAbsolute(destination, this.#windows)) {
        this.#fail("runtime.bad-mount", `${path}.destination is not absolute`, "an absolute path", show(destination))
      }
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
    const mappings = objects(value, path)
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
    const process = object(value)
    if (process === undefined) return
    const { args, cwd } = process
    if (typeof cwd !== "string" || !isAbsolute(cwd, this.#windows)) {
      this.#fail("runtime.bad-cwd", "process.cwd is not absolute", "an absolute path", show(cwd))
    }
    const hasCommandLine = this.#windows && typeof process["commandLine"] === "string" && process["commandLine"] !== ""
    if ((!Array.isArray(args) || args.length === 0) && !hasCommandLine) {
      this.#fail("runtime.no-args", "process.args has no entry", "a program", show(args))
    }
    this.#user(process["user"])
    this.#rlimits(process["rlimits"])
  }

  #user(value: unknown): void {
    if (this.#windows) return
    const user = object(value)
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
  }

  #rlimits(value: unknown): void {
    const seen = new Set<string>()
    for (const [path, limit] of objects(value, "process.rlimits")) {
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

  #hooks(hooks: Fields | undefined): void {
    for (const name of hookNames) {
      for (const [path, hook] of objects(hooks?.[name], `hooks.${name}`)) {
        if (typeof hook["path"] !== "string" || !isAbsolute(hook["path"], this.#windows)) {
          this.#fail("runtime.bad-hook", `${path}.path is not absolute`, "an absolute path", show(hook["path"]))
        }
        const { timeout } = hook
        if (timeout !== undefined && timeout !== null && !(Number.isInteger(timeout) && (timeout as number) > 0)) {
          this.#fail("runtime.bad-hook", `${path}.timeout is not above zero`, "seconds above 0", show(timeout))
        }
      }
    }
  }

  #linux(linux: Fields): void {
    this.#namespaces(linux["namespaces"])
    this.#mappings(linux["uidMappings"], "linux.uidMappings")
    this.#mappings(linux["gidMappings"], "linux.gidMappings")
    this.#devices(linux["devices"])
    for (const field of ["maskedPaths", "readonlyPaths"]) {
      array(linux[field]).forEach((path, index) => {
        if (isString(path) && !path.startsWith("/")) {
          this.#fail("runtime.bad-path", `linux.${field}[${index}] is not absolute`, "an absolute path", show(path))
        }
      })
    }
    this.#seccomp(object(linux["seccomp"]))
    this.#resources(object(linux["resources"]))
  }

  #namespaces(value: unknown): void {
    const seen = new Set<string>()
    for (const [path, namespace] of objects(value, "linux.namespaces")) {
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
    for (const [path, device] of objects(value, "linux.devices")) {
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

  #seccomp(seccomp: Fields | undefined): void {
    if (seccomp === undefined) return
    const action = (found: unknown, path: string): void => {
      if (!isString(found) || !seccompActions.has(found)) {
        this.#fail("runtime.bad-seccomp", `${path} is missing or no action`, "for example SCMP_ACT_ERRNO", show(found))
      }
    }
    action(seccomp["defaultAction"], "linux.seccomp.defaultAction")
    if (isSet(seccomp["listenerMetadata"]) && !isSet(seccomp["listenerPath"])) {
      this.#fail(
        "runtime.bad-seccomp",
        "linux.seccomp.listenerMetadata is set without listenerPath",
        "both or listenerPath alone",
        show(seccomp["listenerMetadata"])
      )
    }
    for (const [path, rule] of objects(seccomp["syscalls"], "linux.seccomp.syscalls")) {
      if (array(rule["names"]).length === 0) {
        this.#fail("runtime.bad-seccomp", `${path}.names has no entry`, "a system call", show(rule["names"]))
      }
      action(rule["action"], `${path}.action`)
      for (const [at, arg] of objects(rule["args"], `${path}.args`)) {
        if (!isCount(arg["index"]) || !isUint64(arg["value"]) || !isOperator(arg["op"])) {
          this.#fail("runtime.bad-seccomp", `${at} lacks index, value or op`, "index, value and op", show(arg))
        }
      }
    }
  }

  #resources(resources: Fields | undefined): void {
    if (resources === undefined) return
    for (const [path, rule] of objects(resources["devices"], "linux.resources.devices")) {
      if (typeof rule["allow"] !== "boolean") {
        this.#fail(
          "runtime.bad-device-rule",
          `${path}.allow is missing or no boolean`,
          "true or false",
          show(rule["allow"])
        )
      }
    }
    for (const [path, device] of objects(
      object(resources["blockIO"])?.["weightDevice"],
      "linux.resources.blockIO.weightDevice"
    )) {
      if (!isCount(device["weight"]) && !isCount(device["leafWeight"])) {
        this.#fail("runtime.bad-resource", `${path} has neither weight nor leafWeight`, "at least one", "none")
      }
    }
    for (const [device, limit] of Object.entries(object(resources["rdma"]) ?? {})) {
      const fields = object(limit)
      if (fields !== undefined && !isCount(fields["hcaHandles"]) && !isCount(fields["hcaObjects"])) {
        this.#fail(
          "runtime.bad-resource",
          `linux.resources.rdma[${JSON.stringify(device)}] has neither hcaHandles nor hcaObjects`,
          "at least one",
          "none"
        )
      }
    }
  }
}

const show = (value: unknown): string => (value === undefined ? "nothing" : String(JSON.stringify(value)).slice(0, 200))
