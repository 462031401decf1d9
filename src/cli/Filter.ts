/** `-f FILTER`: filters as a command line gives them. */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import type { Filter } from "../filter/Filter.ts"
import * as Filters from "../filter/Filters.ts"
import type { OpenImage } from "../filter/Rebase.ts"
import { UsageError } from "../pipeline/Uri.ts"

export const option = Options.text("filter").pipe(
  Options.withAlias("f"),
  Options.withPseudoName("FILTER"),
  Options.repeated,
  Options.withDescription(
    `What to do to the image on the way, in this order; may be given often: ${Filters.kinds.map(Filters.usage).join(", ")}`
  )
)

/** The filters in their order; a usage error says what there is. */
export const parse = (
  specs: ReadonlyArray<string>,
  open: OpenImage
): Effect.Effect<ReadonlyArray<Filter>, UsageError> =>
  Effect.forEach(specs, (spec) =>
    Effect.mapError(
      Filters.parse(spec, { sourceDateEpoch: process.env["SOURCE_DATE_EPOCH"], open }),
      ({ message }) => new UsageError({ reason: "UnknownFilter", message })
    )
  )
