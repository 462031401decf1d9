/** The closing line of a run, in the form that scripts of the older tool read. */
import { count } from "../image/Count.ts"

export interface Summary {
  readonly images: number
  readonly succeeded: number
  /** What was copied with them: signatures, attestations. */
  readonly artifacts: number
  readonly layers: number
  readonly bytes: number
  readonly seconds: number
  /** Images that were verified without errors; undefined when nothing was verified. */
  readonly verified: number | undefined
  readonly verifyErrors: number
}

/** `512 B`, `77.1 MB`: powers of 1024, one decimal. */
export const formatSize = (bytes: number): string => {
  if (bytes < 1024) return `${bytes} B`
  const units = ["KB", "MB", "GB", "TB"]
  let value = bytes / 1024
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(1)} ${units[unit]}`
}

/** `Summary: 1/1 images, 5 layers, 77.1 MB, 0.4s, verified OK` */
export const format = (summary: Summary): string =>
  `Summary: ${[
    `${summary.succeeded}/${summary.images} images`,
    ...(summary.artifacts === 0 ? [] : [count(summary.artifacts, "artifact")]),
    count(summary.layers, "layer"),
    formatSize(summary.bytes),
    `${summary.seconds.toFixed(1)}s`,
    ...verified(summary)
  ].join(", ")}`

const verified = ({ images, verified, verifyErrors }: Summary): ReadonlyArray<string> => {
  if (verified === undefined) return []
  if (images > 1)
    return [`${verified}/${images} verified`, ...(verifyErrors > 0 ? [count(verifyErrors, "verify error")] : [])]
  return verifyErrors > 0 ? [count(verifyErrors, "verify error")] : ["verified OK"]
}
