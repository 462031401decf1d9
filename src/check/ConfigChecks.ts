/** An image configuration as a document (image-spec config.md; rules 41-46). */
import { count } from "../image/Count.ts"
import * as Digest from "../image/Digest.ts"
import * as Json from "../image/Json.ts"
import type { Collector } from "./Collector.ts"
import { checkNames, nameChecks } from "./NameChecks.ts"

/** What later checks need of a config, as far as it could be made out. */
export interface CheckedConfig {
  /** undefined when the config does not say them as an array. */
  readonly diffIds: ReadonlyArray<string> | undefined
  /** Entries of its history. */
  readonly steps: number
  readonly os: string | undefined
  readonly architecture: string | undefined
  readonly variant: string | undefined
  readonly osVersion: string | undefined
}

const properties: ReadonlyArray<string> = [
  "created",
  "author",
  "architecture",
  "os",
  "variant",
  "os.version",
  "os.features",
  "config",
  "rootfs",
  "history"
]

/** Properties of `config`, with what they hold. */
const execution: Readonly<Record<string, Form>> = {
  User: "string",
  ExposedPorts: "set",
  Env: "strings",
  Volumes: "set",
  WorkingDir: "string",
  Labels: "object",
  StopSignal: "string",
  ArgsEscaped: "boolean",
  Entrypoint: "strings",
  Cmd: "strings"
}

/** Docker takes a plain string for a command, as images of schema 1 times carry it. */
const dockerExecution: typeof execution = { ...execution, Entrypoint: "command", Cmd: "command" }

const step: Readonly<Record<string, Form>> = {
  created_by: "string",
  author: "string",
  comment: "string",
  empty_layer: "boolean"
}

/** Reports everything that is wrong with a parsed config; `form` is whose media type it has. */
export const checkConfig = (
  value: unknown,
  form: "oci" | "docker",
  subject: string,
  report: Collector
): CheckedConfig | undefined => {
  report.ran(
    ...nameChecks,
    "config.missing-field",
    "config.empty-field",
    "config.wrong-type",
    "config.rootfs-type",
    "config.bad-diff-id",
    "config.bad-created",
    "config.bad-env",
    "history.count-mismatch"
  )
  if (!Json.isObject(value)) {
    report.report("config.invalid-json", subject, "the config is not a JSON object", {
      expected: "an object",
      actual: Json.typeName(value)
    })
    return undefined
  }
  checkNames(value, properties, "", subject, report)
  for (const field of ["architecture", "os"]) {
    const found = value[field]
    if (found === "") report.report("config.empty-field", subject, `${field} is empty`)
    else if (found === undefined || found === null) {
      report.report("config.missing-field", subject, `${field} is missing`, { expected: field, actual: "nothing" })
    } else if (typeof found !== "string") wrongType(report, subject, field, "a string", found)
  }
  created(value["created"], subject, "created", report)
  optional(value, subject, report, {
    author: "string",
    variant: "string",
    "os.version": "string",
    "os.features": "strings",
    config: "object",
    history: "array"
  })
  if (Json.isObject(value["config"])) {
    checkNames(value["config"], Object.keys(execution), "config", subject, report)
    optional(value["config"], subject, report, form === "docker" ? dockerExecution : execution, "config.")
    environment(value["config"]["Env"], subject, report)
    for (const [key, label] of Object.entries(
      Json.isObject(value["config"]["Labels"]) ? value["config"]["Labels"] : {}
    )) {
      if (typeof label !== "string")
        wrongType(report, subject, `config.Labels[${JSON.stringify(key)}]`, "a string", label)
    }
  }
  const diffIds = rootfs(value["rootfs"], subject, report)
  if (diffIds !== undefined) history(value["history"], diffIds.length, subject, report)
  const text = (field: string): string | undefined => (typeof value[field] === "string" ? value[field] : undefined)
  return {
    diffIds,
    steps: Array.isArray(value["history"]) ? value["history"].length : 0,
    os: text("os"),
    architecture: text("architecture"),
    variant: text("variant"),
    osVersion: text("os.version")
  }
}

type Form = "string" | "strings" | "boolean" | "object" | "set" | "array" | "command"

const forms: Readonly<Record<Form, readonly [name: string, fits: (value: unknown) => boolean]>> = {
  string: ["a string", (value) => typeof value === "string"],
  strings: ["an array of strings", (value) => Array.isArray(value) && value.every((one) => typeof one === "string")],
  boolean: ["a boolean", (value) => typeof value === "boolean"],
  object: ["an object", Json.isObject],
  // Go's form of a set, which it reads from nothing else (config.md, ExposedPorts).
  set: [
    "an object of empty objects",
    (value) => Json.isObject(value) && Object.values(value).every((one) => one === null || Json.isObject(one))
  ],
  array: ["an array", Array.isArray],
  command: ["an array of strings", (value) => typeof value === "string" || forms.strings[1](value)]
}

/** Fields that may be absent or null, as Docker writes them. */
const optional = (
  value: Readonly<Record<string, unknown>>,
  subject: string,
  report: Collector,
  fields: Readonly<Record<string, Form>>,
  prefix = ""
): void => {
  for (const [field, form] of Object.entries(fields)) {
    const found = value[field]
    const [name, fits] = forms[form]
    if (found !== undefined && found !== null && !fits(found)) wrongType(report, subject, prefix + field, name, found)
  }
}

const environment = (value: unknown, subject: string, report: Collector): void => {
  if (!Array.isArray(value)) return
  for (const [index, one] of value.entries()) {
    // Windows keeps a directory for each drive in variables like "=C:".
    if (typeof one === "string" && !/^.[^=]*=/su.test(one)) {
      report.report("config.bad-env", subject, `config.Env[${index}] is not NAME=VALUE`, {
        expected: "NAME=VALUE",
        actual: JSON.stringify(one.slice(0, 100))
      })
    }
  }
}

const rootfs = (value: unknown, subject: string, report: Collector): ReadonlyArray<string> | undefined => {
  if (value === undefined || value === null) {
    report.report("config.missing-field", subject, "rootfs is missing", { expected: "rootfs", actual: "nothing" })
    return undefined
  }
  if (!Json.isObject(value)) {
    wrongType(report, subject, "rootfs", "an object", value)
    return undefined
  }
  checkNames(value, ["type", "diff_ids"], "rootfs", subject, report)
  if (value["type"] !== "layers") {
    report.report("config.rootfs-type", subject, 'rootfs.type is not "layers"', {
      expected: "layers",
      actual: typeof value["type"] === "string" ? value["type"] : Json.typeName(value["type"])
    })
  }
  const diffIds = value["diff_ids"]
  // Docker writes null for an image without layers.
  if (diffIds === null) return []
  if (diffIds === undefined) {
    report.report("config.missing-field", subject, "rootfs.diff_ids is missing", {
      expected: "rootfs.diff_ids",
      actual: "nothing"
    })
    return undefined
  }
  if (!Array.isArray(diffIds)) {
    wrongType(report, subject, "rootfs.diff_ids", "an array", diffIds)
    return undefined
  }
  for (const [index, one] of diffIds.entries()) {
    const why = typeof one === "string" ? Digest.invalid(one) : "is not a string"
    if (why !== undefined) {
      report.report("config.bad-diff-id", subject, `rootfs.diff_ids[${index}] ${why}`, {
        expected: "a digest",
        actual: String(JSON.stringify(one)).slice(0, 200)
      })
    }
  }
  return diffIds.map((one) => (typeof one === "string" ? one : ""))
}

const history = (value: unknown, layers: number, subject: string, report: Collector): void => {
  if (!Array.isArray(value)) return
  let counted = 0
  let unclear = false
  for (const [index, entry] of value.entries()) {
    if (!Json.isObject(entry)) {
      wrongType(report, subject, `history[${index}]`, "an object", entry)
      continue
    }
    created(entry["created"], subject, `history[${index}].created`, report)
    checkNames(entry, ["created", ...Object.keys(step)], `history[${index}]`, subject, report)
    optional(entry, subject, report, step, `history[${index}].`)
    const empty = entry["empty_layer"]
    if (empty !== undefined && empty !== null && typeof empty !== "boolean") unclear = true
    else if (empty !== true) counted++
  }
  // An empty history is the same as none: several builders leave it at that.
  if (value.length > 0 && !unclear && counted !== layers) {
    report.report("history.count-mismatch", subject, "history does not have one entry for each layer", {
      expected: `${count(layers, "entry", "entries")} without empty_layer`,
      actual: `${counted}`
    })
  }
}

const dateTime =
  /^(\d{4})-(\d{2})-(\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$/

/** RFC 3339 section 5.6, the day within its month. */
const isDateTime = (text: string): boolean => {
  const match = dateTime.exec(text)
  if (match === null) return false
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
  return days !== undefined && day >= 1 && day <= days
}

const created = (value: unknown, subject: string, field: string, report: Collector): void => {
  if (value === undefined || value === null) return
  if (typeof value !== "string") wrongType(report, subject, field, "a string", value)
  else if (!isDateTime(value)) {
    report.report("config.bad-created", subject, `${field} is no RFC 3339 date-time`, {
      expected: "for example 2006-01-02T15:04:05Z",
      actual: value.slice(0, 100)
    })
  }
}

const wrongType = (report: Collector, subject: string, field: string, expected: string, actual: unknown): void =>
  report.report("config.wrong-type", subject, `${field} is not ${expected}`, {
    expected,
    actual: Json.typeName(actual)
  })
