/** What filters have to tell, for people and for scripts. */

import type { AppliedFilter } from "../filter/Filter.ts"
import type { LayerMatches, Match, MatchState, Report } from "../filter/Report.ts"
import { count } from "../image/Count.ts"
import { formatSize } from "../pipeline/Summary.ts"
import { safe } from "./Text.ts"

const entriesOf = (number: number): string => count(number, "entry", "entries")

/** Paths shown of one layer; JSON has more. */
const shown = 3

/** The lines of one filter. A search's are the same as those of the command `search`. */
export const lines = (report: Report): ReadonlyArray<string> => {
  switch (report.filter) {
    case "normalize-timestamps": {
      const changed = report.layers.filter((layer) => layer.before !== layer.after)
      return [`normalize-timestamps: ${changed.length} of ${count(report.layers.length, "layer")} changed`]
    }
    case "exclude": {
      const { layers } = report
      const entries = layers.reduce((sum, layer) => sum + layer.entries, 0)
      const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0)
      return [
        `exclude: left out ${entriesOf(entries)}, ${formatSize(bytes)}`,
        ...layers
          .filter((layer) => layer.entries > 0)
          .map(
            ({ bytes, entries, index, paths }) =>
              `  layer ${index}: ${entriesOf(entries)}, ${formatSize(bytes)} (${paths.slice(0, shown).map(safe).join(", ")}${
                entries > shown ? `, and ${entries - Math.min(shown, paths.length)} more` : ""
              })`
          ),
        ...layers
          .filter((layer) => layer.promoted.length > 0)
          .map(
            ({ index, promoted }) =>
              `  layer ${index}: kept under another name: ${promoted.slice(0, shown).map(safe).join(", ")}${promoted.length > shown ? `, and ${promoted.length - shown} more` : ""}`
          )
      ]
    }
    case "flatten":
      return [
        `flatten: ${count(report.layers, "layer")} ${report.layers > 1 ? "became one" : "stayed"}, ${entriesOf(report.entries)} left out, ${formatSize(report.bytes)}`
      ]
    case "rebase":
      return [
        `rebase: ${count(report.newBase.layers, "layer")} of ${report.newBase.id} in the place of ${count(
          report.oldBase.layers,
          "layer"
        )} of ${report.oldBase.id}, ${count(report.kept, "layer")} kept`
      ]
    case "search":
      return report.scriptFriendly ? searchScript(report.name, report.layers) : searchText(report.layers)
    case "inspect":
      return [`inspect: appended ${count(report.layers, "layer")} to ${safe(report.file)}`]
  }
}

/** `image:tag:layer:path`, a line for each match, as the older tool prints it. */
export const searchScript = (name: string, layers: ReadonlyArray<LayerMatches>): ReadonlyArray<string> =>
  layers.flatMap(({ id, matches }) => matches.map(({ path }) => safe(`${name}:${id}:${path}`)))

const types = { char: "character device", block: "block device" } as const

const typeOf = ({ type }: Match): string => (type === "char" || type === "block" ? types[type] : type)

const describe = (match: Match): string => {
  const { linkname, path, size, type } = match
  if (linkname !== undefined) return `${path} -> ${linkname} (${typeOf(match)})`
  return type === "file" ? `${path} (file, ${count(size, "byte")})` : `${path} (${typeOf(match)})`
}

const fate = (state: MatchState): string => {
  switch (state.state) {
    case "visible":
      return ""
    case "overwritten":
      return ` [overwritten by layer ${state.by}]`
    case "deleted":
      return ` [deleted by layer ${state.by}]`
    case "whiteout":
      return state.opaque
        ? ` [whiteout: hides what is below in ${state.hides || "/"}]`
        : ` [whiteout: hides ${state.hides}]`
    case "unknown":
      return " [too many files above to tell whether it is still there]"
  }
}

/** The lines of all filters. Where several images were filtered, each image's stand below its name. */
export const all = (applied: ReadonlyArray<AppliedFilter>, reports: ReadonlyArray<Report>): ReadonlyArray<string> =>
  reports.flatMap((report, index) => {
    const { manifest, platform } = applied[index]!
    const isScript = report.filter === "search" && report.scriptFriendly
    const isSame = manifest === undefined || manifest === applied[index - 1]?.manifest
    return [...(isSame || isScript ? [] : [`${safe(platform ?? "no platform")} ${manifest}:`]), ...lines(report)]
  })

/** Grouped by layer, in the form of the older tool, with what became of each match behind it. */
export const searchText = (layers: ReadonlyArray<LayerMatches>): ReadonlyArray<string> => {
  const found = layers.filter(({ matches }) => matches.length > 0)
  const problems = layers.flatMap(({ index, problems }) =>
    problems.map((line) => `Layer ${index} is damaged, there may be more: ${safe(line)}`)
  )
  if (found.length === 0) return [...problems, "No matches found."]
  const total = found.reduce((sum, { matches }) => sum + matches.length, 0)
  return [
    ...found.flatMap(({ id, matches }) => [
      `Layer: ${safe(id)}`,
      ...matches.map((match) => `  ${safe(describe(match))}${safe(fate(match.state))}`),
      ""
    ]),
    ...problems,
    `Found ${count(total, "match", "matches")} in ${count(found.length, "layer")}.`
  ]
}

/** Matches as JSON: one object each. */
export const searchJson = (layers: ReadonlyArray<LayerMatches>) =>
  layers.flatMap(({ diffId, id, index, matches }) =>
    matches.map(({ gid, linkname, mode, mtime, path, size, state, type, uid }) => ({
      path,
      layer: index,
      layer_id: id,
      diff_id: diffId,
      type: state.state === "whiteout" ? "whiteout" : type,
      size,
      mode,
      uid,
      gid,
      mtime,
      linkname: linkname ?? null,
      state: state.state,
      by: state.state === "overwritten" || state.state === "deleted" ? state.by : null,
      hides: state.state === "whiteout" ? state.hides : null
    }))
  )

/** One applied filter with what it has to tell. */
export const toJson = (applied: AppliedFilter, report: Report) => ({
  name: applied.name,
  options: applied.options,
  before: applied.before,
  after: applied.after,
  ...(applied.manifest === undefined ? {} : { manifest: applied.manifest, platform: applied.platform ?? null }),
  ...(applied.inputs === undefined ? {} : { inputs: applied.inputs }),
  ...detailsOf(report)
})

const detailsOf = (report: Report): object => {
  switch (report.filter) {
    case "normalize-timestamps":
      return { layers: report.layers }
    case "exclude":
      return {
        entries: report.layers.reduce((sum, layer) => sum + layer.entries, 0),
        bytes: report.layers.reduce((sum, layer) => sum + layer.bytes, 0),
        layers: report.layers
      }
    case "rebase":
      return { old_base: report.oldBase, new_base: report.newBase, kept: report.kept }
    case "flatten":
      return { layers: report.layers, diff_id: report.diffId ?? null, entries: report.entries, bytes: report.bytes }
    case "search":
      return { matches: searchJson(report.layers) }
    case "inspect":
      return { layers: report.layers }
  }
}
