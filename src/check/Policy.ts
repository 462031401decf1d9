/** How severe each finding is: the catalogue's word, changed by a profile and then check by check. */
import type { CheckId } from "./Catalog.ts"
import { catalog, ids, isCheckId } from "./Catalog.ts"
import type { Severity } from "./Finding.ts"

/** `ignore` drops a finding; the results say that it was to be ignored. */
export type Level = Severity | "ignore"

export const levels: ReadonlyArray<Level> = ["error", "warning", "info", "ignore"]

/** What differs from the catalogue. */
export type Policy = Readonly<Partial<Record<CheckId, Level>>>

export const profiles = ["default", "strict", "docker", "occystrap"] as const
export type Profile = (typeof profiles)[number]

export const isProfile = (text: string): text is Profile => (profiles as ReadonlyArray<string>).includes(text)

/** What Docker itself loads and runs without a word. */
const docker: Policy = {
  "history.count-mismatch": "warning",
  "config.bad-created": "warning",
  "image.bad-name": "warning",
  "tar.path-absolute": "info",
  "tar.path-not-utf8": "info",
  "tar.no-end": "info",
  "tar.no-padding": "info",
  "layer.duplicate-path": "warning",
  "layer.duplicate-directory": "info",
  "layer.whiteout-of-own-path": "warning",
  "layer.sparse-entry": "info"
}

/** What is normal in directories of the older tool: every one of them has it. */
const occystrap: Policy = {
  "config.reserialized": "ignore",
  "catalog.stale": "info",
  "catalog.unlisted": "ignore",
  "catalog.collision": "info",
  "layer.unreferenced": "info",
  "bundle.partial-conversion": "info"
}

/** Every SHOULD is taken for a MUST. */
const strict: Policy = Object.fromEntries(
  ids.flatMap((id) => {
    const { severity, spec } = catalog[id]
    return severity === "warning" || spec.includes("SHOULD") ? [[id, "error" as const]] : []
  })
)

export const policyOf: Readonly<Record<Profile, Policy>> = { default: {}, strict, docker, occystrap }

/** `ID=LEVEL`, as on a command line; a string says what is wrong with it. */
export const parseOverride = (text: string): readonly [CheckId, Level] | string => {
  const [id = "", level = "", ...rest] = text.split("=")
  if (rest.length > 0 || level === "") return `expected CHECK-ID=LEVEL, found ${JSON.stringify(text)}`
  return overrideOf(id, level)
}

/** One entry of a policy from outside; a string says what is wrong with it. */
export const overrideOf = (id: string, level: string): readonly [CheckId, Level] | string => {
  if (!isCheckId(id)) return `expected a check id (\`tallyman explain\` lists them), found ${JSON.stringify(id)}`
  const known = levels.find((one) => one === level)
  return known === undefined
    ? `expected one of ${levels.join(", ")} for ${id}, found ${JSON.stringify(level)}`
    : [id, known]
}
