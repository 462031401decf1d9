import type { CheckResults } from "../check/CheckResults.ts"
import { version } from "../version.ts"
import type { Report } from "./Report.ts"

/** Findings as plain JSON, every field of the older tool's among them. */
export const resultsToJson = (results: CheckResults) => ({
  ok: !results.hasErrors,
  has_errors: results.hasErrors,
  error_count: results.errorCount,
  warning_count: results.warningCount,
  info_count: results.infoCount,
  results: results.results.map(({ actual, check, expected, message, severity, subject }) => ({
    severity,
    check,
    message,
    subject,
    expected: expected ?? null,
    actual: actual ?? null
  })),
  checked: results.checked,
  skipped: results.skipped.map(({ check, reason }) => ({ check, reason }))
})

/** One audit as a JSON document. */
export const toJson = (report: Report) => ({
  tool: "tallyman",
  version,
  target: report.target,
  layout: report.layout,
  depth: report.depth,
  ...resultsToJson(report.results),
  images: report.images.map(({ errorCount, image, ok }) => ({ image, ok, error_count: errorCount })),
  layers: report.layerCount
})
