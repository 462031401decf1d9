/** An inspection as text, as a table, and as JSON. */

import type { HistoryStep, InspectedLayer, Inspection } from "../filter/Inspection.ts"
import { count } from "../image/Count.ts"
import type { ContainerConfig } from "../image/ImageConfig.ts"
import * as Platform from "../image/Platform.ts"
import { formatSize } from "../pipeline/Summary.ts"
import * as Table from "./Table.ts"
import { safe } from "./Text.ts"

const field = (name: string, value: string | undefined): ReadonlyArray<string> =>
  value === undefined || value === "" ? [] : [`${`${name}:`.padEnd(13)} ${safe(value)}`]

const command = (value: string | ReadonlyArray<string> | null | undefined): string | undefined =>
  value === null || value === undefined ? undefined : JSON.stringify(value)

const keys = (value: Readonly<Record<string, unknown>> | null | undefined): string => Object.keys(value ?? {}).join(" ")

const percent = (part: number, whole: number): string => (whole === 0 ? "" : ` (${((100 * part) / whole).toFixed(1)}%)`)

const head = (one: Inspection): ReadonlyArray<string> => [
  ...(one.names.length === 0 ? field("Image", "(no name)") : one.names.flatMap((name) => field("Image", name))),
  ...field("Source", one.source),
  ...field("ID", one.id),
  ...field(
    "Manifest",
    one.manifest === undefined
      ? undefined
      : `${one.manifest.digest} (${one.manifest.mediaType}, ${count(one.manifest.size, "byte")})`
  ),
  ...field("Platform", one.platform === undefined ? undefined : Platform.show(one.platform)),
  ...field("Created", one.created),
  ...field("Author", one.author),
  ...configLines(one.config),
  ...field(
    "Size",
    `${count(one.layers.length, "layer")}: ${formatSize(one.totals.stored)} stored, ${formatSize(one.totals.uncompressed)} uncompressed`
  ),
  ...field("Files", `${one.totals.files}, ${formatSize(one.totals.bytes)}`),
  ...field(
    "Wasted",
    `${formatSize(one.totals.wasted)}${percent(one.totals.wasted, one.totals.wasted + one.totals.bytes)} in files that later layers overwrite or delete`
  )
]

const configLines = (config: ContainerConfig | undefined): ReadonlyArray<string> =>
  config === undefined
    ? []
    : [
        ...field("Entrypoint", command(config.Entrypoint)),
        ...field("Cmd", command(config.Cmd)),
        ...field("User", config.User ?? undefined),
        ...field("Directory", config.WorkingDir ?? undefined),
        ...(config.Env ?? []).flatMap((one) => field("Env", one)),
        ...field("Ports", keys(config.ExposedPorts)),
        ...field("Volumes", keys(config.Volumes)),
        ...field("Stop signal", config.StopSignal ?? undefined),
        ...Object.entries(config.Labels ?? {}).flatMap(([key, value]) => field("Label", `${key}=${value}`))
      ]

/** What made a layer, in one line. */
const stepText = (step: HistoryStep | undefined): string =>
  step === undefined
    ? ""
    : safe(
        [step.createdBy, ...(step.comment === "" ? [] : [`# ${step.comment}`])].join(" ").replace(/\s+/g, " ").trim()
      )

const layerLines = (layer: InspectedLayer, step: HistoryStep | undefined): ReadonlyArray<string> => {
  const stored =
    layer.compression === "none" ? "stored as it is" : `${formatSize(layer.size)} with ${layer.compression}`
  return [
    `Layer ${layer.index}: ${layer.diffId}`,
    `  ${formatSize(layer.uncompressedSize)}, ${stored}${layer.digest === undefined || layer.digest === layer.diffId ? "" : `, ${layer.digest}`}`,
    `  ${count(layer.entries, "entry", "entries")}${layer.whiteouts === 0 ? "" : `, ${count(layer.whiteouts, "whiteout")}`}${
      layer.overwritten === 0 ? "" : `, overwrites ${formatSize(layer.overwritten)}`
    }${layer.deleted === 0 ? "" : `, deletes ${formatSize(layer.deleted)}`}`,
    ...(step === undefined ? [] : [`  ${[step.created, stepText(step)].filter(Boolean).join("  ")}`])
  ]
}

const tail = (one: Inspection): ReadonlyArray<string> => [
  ...(one.largest.length === 0 ? [] : ["", "Largest files:"]),
  ...one.largest.map(({ layer, path, size }) => `  ${formatSize(size).padStart(9)}  ${safe(path)} (layer ${layer})`),
  ...(one.wasted.length === 0 ? [] : ["", "Most wasted:"]),
  ...one.wasted.map(
    ({ by, how, layer, path, size }) =>
      `  ${formatSize(size).padStart(9)}  ${safe(path)} (layer ${layer}, ${how} by layer ${by})`
  ),
  ...(one.problems.length === 0 ? [] : ["", "Problems (verify tells more):"]),
  ...one.problems.map((line) => `  ${safe(line)}`)
]

/** Everything, layer by layer. */
export const text = (one: Inspection): string =>
  [
    ...head(one),
    ...one.layers.flatMap((layer) => [
      "",
      ...layerLines(layer, layer.step === undefined ? undefined : one.history[layer.step])
    ]),
    ...steps(one),
    ...tail(one)
  ].join("\n")

/** Steps that made no layer: they have no place among those. */
const steps = (one: Inspection): ReadonlyArray<string> => {
  const empty = one.history.filter((step) => step.layer === undefined)
  return empty.length === 0
    ? []
    : [
        "",
        "Steps without a layer:",
        ...empty.map((step) => `  ${[step.created, stepText(step)].filter(Boolean).join("  ")}`)
      ]
}

const short = (digest: string): string => digest.replace(/^sha256:/, "").slice(0, 12)

const columns: ReadonlyArray<Table.Column> = [
  { title: "#", align: "right" },
  { title: "Layer" },
  { title: "Stored", align: "right" },
  { title: "Unpacked", align: "right", dispensable: 2 },
  { title: "Entries", align: "right", dispensable: 1 },
  { title: "Hides", align: "right", dispensable: 3 },
  { title: "Created by", fills: true }
]

/** History beside layers, a line for each step, no wider than `width` columns where that can be. */
export const table = (one: Inspection, width: number): string => {
  const row = (layer: InspectedLayer, step: HistoryStep | undefined): ReadonlyArray<string> => [
    String(layer.index),
    short(layer.diffId),
    formatSize(layer.size),
    formatSize(layer.uncompressedSize),
    String(layer.entries),
    layer.overwritten + layer.deleted === 0 ? "" : formatSize(layer.overwritten + layer.deleted),
    stepText(step)
  ]
  const rows = one.history.map((step) =>
    step.layer === undefined ? ["", "", "", "", "", "", stepText(step)] : row(one.layers[step.layer]!, step)
  )
  const untold = one.layers.filter((layer) => layer.step === undefined).map((layer) => row(layer, undefined))
  return [
    ...head(one).map((line) => Table.shorten(line, width)),
    "",
    ...Table.table(columns, [...rows, ...untold], width),
    ...tail(one).map((line) => Table.shorten(line, width))
  ].join("\n")
}

export const json = (one: Inspection) => ({
  names: one.names,
  source: one.source,
  id: one.id,
  config_size: one.configSize,
  manifest:
    one.manifest === undefined
      ? null
      : { digest: one.manifest.digest, media_type: one.manifest.mediaType, size: one.manifest.size },
  platform: one.platform ?? null,
  created: one.created ?? null,
  author: one.author ?? null,
  config: one.config ?? null,
  layers: one.layers.map((layer) => ({
    index: layer.index,
    diff_id: layer.diffId,
    digest: layer.digest ?? null,
    media_type: layer.mediaType,
    compression: layer.compression,
    size: layer.size,
    uncompressed_size: layer.uncompressedSize,
    entries: layer.entries,
    whiteouts: layer.whiteouts,
    overwritten_bytes: layer.overwritten,
    deleted_bytes: layer.deleted,
    history: layer.step ?? null
  })),
  history: one.history.map((step) => ({
    created: step.created ?? null,
    created_by: step.createdBy,
    comment: step.comment,
    author: step.author ?? null,
    layer: step.layer ?? null
  })),
  totals: one.totals,
  largest: one.largest,
  wasted: one.wasted,
  problems: one.problems
})
