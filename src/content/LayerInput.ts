import type { Edit } from "../image/Image.ts"
import type { Region } from "../image/Region.ts"
import type { DecoderLimits } from "./Compression.ts"

/** What can be read as a tar. Plain data: it crosses to a worker. */
export interface LayerInput {
  readonly region: Region
  readonly edits: ReadonlyArray<Edit>
  readonly limits?: DecoderLimits
}
