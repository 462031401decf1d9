/** What two images differ in, for people and as JSON. */
import type { DifferenceKind, FileDifference, ImageDiff } from "../filter/Diff.ts"
import { safe } from "./Text.ts"

const value = (one: unknown): string => {
  const text = one === undefined ? "nothing" : JSON.stringify(one)
  return text.length > 100 ? `${text.slice(0, 99)}…` : text
}

/** Which side has it, or that both have it and it differs. */
const mark = (kind: DifferenceKind): string => (kind === "only-in-a" ? "-" : kind === "only-in-b" ? "+" : "~")

const fileLine = ({ a, b, kind, path }: FileDifference): string => {
  const name = safe(path === "" ? "/" : path)
  return kind === "only-in-a"
    ? `- ${name} (${safe(a ?? "")})`
    : kind === "only-in-b"
      ? `+ ${name} (${safe(b ?? "")})`
      : `${mark(kind)} ${name}: ${kind}: ${safe(a ?? "nothing")} -> ${safe(b ?? "nothing")}`
}

/** `-` is in the first image only, `+` in the second only, `~` in both and not the same. */
export const text = (diff: ImageDiff): string => {
  if (diff.same) {
    const layers = diff.layers.length === 0 ? "" : ", in other layers"
    return [
      `The same: ${diff.a ?? diff.b ?? "every file"}${layers}`,
      ...section(
        "Not compared",
        diff.notCompared.map((line) => `  ${safe(line)}`)
      )
    ].join("\n")
  }
  const total = Object.values(diff.counts).reduce((sum, count) => sum + count, 0)
  return [
    `- ${diff.a ?? "no config"}`,
    `+ ${diff.b ?? "no config"}`,
    ...section("Config", [
      ...diff.config.map(({ a, b, pointer }) => `~ ${safe(pointer)}: ${safe(value(a))} -> ${safe(value(b))}`),
      ...(diff.configFormOnly ? ["~ the same values in other bytes"] : [])
    ]),
    ...section(
      "Layers",
      diff.layers.map(({ a, b, index }) => `~ ${index}: ${a ?? "nothing"} -> ${b ?? "nothing"}`)
    ),
    ...section("Files", [
      ...diff.files.map(fileLine),
      ...(total > diff.files.length ? [`  and ${total - diff.files.length} more differences`] : []),
      ...(total === 0 ? ["  the same"] : [])
    ]),
    ...section(
      "Not compared",
      diff.notCompared.map((line) => `  ${safe(line)}`)
    ),
    ...section(
      "Problems (verify tells more)",
      diff.problems.map((line) => `  ${safe(line)}`)
    )
  ].join("\n")
}

const section = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["", `${title}:`, ...lines]

export const json = (diff: ImageDiff) => ({
  same: diff.same,
  a: diff.a ?? null,
  b: diff.b ?? null,
  config: diff.config.map(({ a, b, pointer }) => ({ pointer, a: a ?? null, b: b ?? null })),
  config_form_only: diff.configFormOnly,
  layers: diff.layers.map(({ a, b, index }) => ({ index, a: a ?? null, b: b ?? null })),
  files: diff.files.map(({ a, b, kind, path }) => ({ path, kind, a: a ?? null, b: b ?? null })),
  counts: diff.counts,
  names_compared: diff.names,
  not_compared: diff.notCompared,
  problems: diff.problems
})
