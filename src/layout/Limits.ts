import type { DecoderLimits } from "../content/Compression.ts"

/** What reading may cost, and how much of what is found is told. Documents have limits of their own: `Json.setLimits`. */
export interface Limits extends DecoderLimits {
  /** Members of one archive; 500,000 by default. */
  readonly maxMembers?: number
  /** Findings of one check that are listed; 10,000 by default. Of all checks together twice as many are. */
  readonly maxFindings?: number
}
