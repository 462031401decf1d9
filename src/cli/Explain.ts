import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Catalog from "../check/Catalog.ts"
import { UsageError } from "../pipeline/Uri.ts"
import * as Help from "./Help.ts"
import * as Output from "./Output.ts"

export const topic: Help.Topic = {
  usage: "explain [CHECK-ID]",
  summary: "Say what a check means, which clause it rests on, and what to do when it is reported"
}

export const command = Command.make("explain", {
  check: Args.text({ name: "CHECK-ID" }).pipe(
    Args.withDescription("A check as reports name it, for example layer.missing; without it, all are listed"),
    Args.optional
  )
}).pipe(
  Command.withDescription(topic.summary),
  Command.withHandler(({ check }) =>
    Effect.gen(function* () {
      if (Option.isNone(check)) {
        const width = Math.max(...Catalog.ids.map((id) => id.length))
        return yield* Output.printLine(
          Catalog.ids
            .map((id) => `${id.padEnd(width)}  ${Catalog.catalog[id].severity.padEnd(7)}  ${Catalog.catalog[id].title}`)
            .join("\n")
        )
      }
      const id = check.value
      if (!Catalog.isCheckId(id)) {
        const family = id.split(".")[0]!
        const near = Catalog.ids.filter((known) => known.startsWith(`${family}.`))
        return yield* new UsageError({
          reason: "UnknownCheck",
          message: `cannot explain ${JSON.stringify(id)}: expected a check id${
            near.length === 0 ? "; `tallyman explain` lists them" : ` such as ${near.slice(0, 8).join(", ")}`
          }`
        })
      }
      const { explanation, remedy, severity, spec, title } = Catalog.catalog[id]
      // Longer lines are tiring to read, however wide the terminal is.
      const wrap = (text: string): string => Help.wrap(text, Math.min(96, Output.columns())).join("\n")
      yield* Output.printLine(
        [
          `${id}: ${title}`,
          "",
          wrap(explanation),
          "",
          `Severity: ${severity}`,
          `Source:   ${spec}`,
          "",
          wrap(`What to do: ${remedy}`)
        ].join("\n")
      )
    })
  )
)
