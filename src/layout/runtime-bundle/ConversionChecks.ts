/** Whether a runtime configuration is what the image's config converts to (image-spec conversion.md; rules 61-65). */
import * as Either from "effect/Either"
import type { Collector } from "../../check/Collector.ts"
import type { ContainerConfig, ImageConfig } from "../../image/ImageConfig.ts"
import * as Json from "../../image/Json.ts"
import { describe } from "../Failure.ts"
import { resolveUser } from "./BundleConfig.ts"
import * as RuntimeConfig from "./RuntimeConfig.ts"

type Fields = Readonly<Record<string, unknown>>

/** Compares what the specification says is the same. `rootfs` is the unpacked tree, undefined when it is not there. */
export const checkConversion = (
  runtime: Fields,
  image: ImageConfig,
  subject: string,
  rootfs: string | undefined,
  report: Collector
): void => {
  report.ran(
    "bundle.process-mismatch",
    "bundle.annotation-mismatch",
    "bundle.label-mismatch",
    "bundle.user-mismatch",
    "bundle.unresolvable-user",
    "bundle.partial-conversion"
  )
  const config = image.config ?? {}
  const process = object(runtime["process"])
  command(process, config, subject, report)
  const lost = isTemplate(runtime, process) ? lostOf(process, image, config) : []
  if (lost.length > 0) {
    report.report("bundle.partial-conversion", subject, `it holds nothing of the image's ${lost.join(", ")}`)
  } else {
    environment(process, config, subject, report)
    annotations(object(runtime["annotations"]), image, config, subject, report)
    user(process, config, subject, rootfs, report)
  }
}

const object = (value: unknown): Fields => (Json.isObject(value) ? value : {})

const strings = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : []

const command = (process: Fields, config: ContainerConfig, subject: string, report: Collector): void => {
  const args = RuntimeConfig.argsOf(config)
  const found = strings(process["args"])
  // Without a command in the image any will do.
  if (args.length > 0 && JSON.stringify(args) !== JSON.stringify(found)) {
    report.report("bundle.process-mismatch", subject, "process.args is not the image's Entrypoint and Cmd", {
      expected: JSON.stringify(args),
      actual: JSON.stringify(found)
    })
  }
  const cwd = process["cwd"]
  if (cwd !== RuntimeConfig.cwdOf(config) && cwd !== (config.WorkingDir || "/")) {
    report.report("bundle.process-mismatch", subject, "process.cwd is not the image's WorkingDir", {
      expected: RuntimeConfig.cwdOf(config),
      actual: typeof cwd === "string" ? cwd : Json.typeName(cwd)
    })
  }
}

/** The last value of each variable counts. */
const variables = (env: ReadonlyArray<string>): ReadonlyMap<string, string> =>
  new Map(env.map((one) => [one.split("=", 1)[0]!, one]))

const environment = (process: Fields, config: ContainerConfig, subject: string, report: Collector): void => {
  const found = variables(strings(process["env"]))
  for (const [name, wanted] of variables(config.Env ?? [])) {
    if (found.get(name) !== wanted) {
      report.report("bundle.process-mismatch", subject, `process.env has not the image's ${JSON.stringify(name)}`, {
        expected: wanted,
        actual: found.get(name) ?? "nothing"
      })
    }
  }
}

const annotations = (
  found: Fields,
  image: ImageConfig,
  config: ContainerConfig,
  subject: string,
  report: Collector
): void => {
  const labels = config.Labels ?? {}
  for (const [name, wanted] of Object.entries(labels)) {
    if (found[name] !== wanted) {
      report.report(
        "bundle.label-mismatch",
        subject,
        `the annotation ${JSON.stringify(name)} is not the image's label`,
        {
          expected: wanted,
          actual: textOf(found[name])
        }
      )
    }
  }
  for (const [name, wanted] of Object.entries(RuntimeConfig.impliedAnnotations(image))) {
    if (Object.hasOwn(labels, name) || sorted(found[name]) === sorted(wanted)) continue
    report.report("bundle.annotation-mismatch", subject, `the annotation ${name} is not what the image says`, {
      expected: wanted,
      actual: textOf(found[name])
    })
  }
}

/** Ports and features are lists in no order. */
const sorted = (value: unknown): string | undefined =>
  typeof value === "string" ? value.split(",").sort().join(",") : undefined

const textOf = (value: unknown): string => (typeof value === "string" ? value : Json.typeName(value))

const user = (
  process: Fields,
  config: ContainerConfig,
  subject: string,
  rootfs: string | undefined,
  report: Collector
): void => {
  const spec = config.User ?? ""
  // Who runs when the image does not say is for the implementation to decide.
  if (spec === "") return
  if (rootfs === undefined) {
    report.skip("bundle.user-mismatch", "there is no root file system to look the user up in")
    return
  }
  let wanted: ReturnType<typeof resolveUser>
  try {
    wanted = resolveUser(spec, rootfs)
  } catch (cause) {
    const looked = `the image's user ${JSON.stringify(spec)} cannot be looked up`
    report.report("bundle.unreadable", "rootfs", `${looked}: ${describe(cause)}`)
    return
  }
  if (Either.isLeft(wanted)) {
    report.report(
      "bundle.unresolvable-user",
      subject,
      `the image's user ${JSON.stringify(spec)} cannot be resolved: ${wanted.left}`
    )
    return
  }
  const found = object(process["user"])
  if (found["uid"] !== wanted.right.uid || found["gid"] !== wanted.right.gid) {
    report.report("bundle.user-mismatch", subject, `process.user is not the image's ${JSON.stringify(spec)}`, {
      expected: `${wanted.right.uid}:${wanted.right.gid}`,
      actual: `${String(found["uid"])}:${String(found["gid"])}`
    })
  }
}

const templateEnv = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]

/** The older tool fills two fields of one template; everything else is as in every bundle it makes. */
const isTemplate = (runtime: Fields, process: Fields): boolean => {
  const { gid, uid } = object(process["user"])
  return (
    runtime["hostname"] === "occystrap" &&
    runtime["annotations"] === undefined &&
    uid === 0 &&
    gid === 0 &&
    JSON.stringify(process["env"]) === JSON.stringify(templateEnv)
  )
}

const lostOf = (process: Fields, image: ImageConfig, config: ContainerConfig): ReadonlyArray<string> => {
  const env = variables(strings(process["env"]))
  const { User: user = "" } = config
  return [
    ...([...variables(config.Env ?? [])].some(([name, value]) => env.get(name) !== value) ? ["Env"] : []),
    ...(["", "0", "root", "0:0", "root:root"].includes(user ?? "") ? [] : ["User"]),
    ...(Object.keys(config.Labels ?? {}).length > 0 ? ["Labels"] : []),
    ...(Object.keys(RuntimeConfig.impliedAnnotations(image)).length > 0 ? ["annotations"] : [])
  ]
}
