/** The filters there are, and filters from what a command line says: `NAME[:OPTION=VALUE,...]`. */
import * as Either from "effect/Either"
import { patternFault, withoutBlanks } from "../content/Patterns.ts"
import { maxTimestamp } from "../content/TimestampEdit.ts"
import * as Exclude from "./Exclude.ts"
import { type Filter, FilterError } from "./Filter.ts"
import * as Flatten from "./Flatten.ts"
import * as InspectFile from "./InspectFile.ts"
import * as NormalizeTimestamps from "./NormalizeTimestamps.ts"
import * as Rebase from "./Rebase.ts"
import * as Search from "./Search.ts"

/** An option of a filter. A `list` takes the items that follow it without a name of their own. */
export interface OptionKind {
  readonly name: string
  /** Another name for it. */
  readonly alias?: string
  readonly type: "integer" | "boolean" | "string" | "list"
  readonly required?: true
  readonly description: string
}

export interface FilterKind {
  readonly name: string
  readonly description: string
  readonly options: ReadonlyArray<OptionKind>
}

/** What a filter is made with besides its options. */
export interface Environment {
  /** The value of SOURCE_DATE_EPOCH, the time of builds that are to be repeatable; its default is `ts`'s. */
  readonly sourceDateEpoch?: string | undefined
  /** How filters get at other images; `rebase` cannot do without it. `Opener.make` gives one. */
  readonly open?: Rebase.OpenImage | undefined
}

type Values = ReadonlyMap<string, string | ReadonlyArray<string>>

interface Maker extends FilterKind {
  readonly make: (values: Reader, environment: Environment) => Filter
}

/** Thrown within `parse` only. */
class Fault extends Error {}

class Reader {
  readonly #values: Values

  constructor(values: Values) {
    this.#values = values
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  text(name: string): string {
    return String(this.#values.get(name) ?? "")
  }

  list(name: string): ReadonlyArray<string> {
    const value = this.#values.get(name) ?? []
    return typeof value === "string" ? [value] : value
  }

  boolean(name: string): boolean {
    const text = this.#values.get(name)
    if (text === undefined) return false
    const value = booleans[String(text).toLowerCase()]
    if (value === undefined) throw new Fault(`expected ${name}=true or ${name}=false, found ${JSON.stringify(text)}`)
    return value
  }

  integer(name: string): number {
    return integer(this.text(name), `${name}=`)
  }
}

const booleans: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  1: true,
  false: false,
  no: false,
  0: false
}

const integer = (text: string, what: string): number => {
  const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value) || value > maxTimestamp) {
    throw new Fault(
      `expected ${what}SECONDS, seconds since the epoch from 0 to ${maxTimestamp}, found ${JSON.stringify(text)}`
    )
  }
  return value
}

const makers: ReadonlyArray<Maker> = [
  {
    name: "normalize-timestamps",
    description: "Set every time in the layers to one, so that builds that differ in times alone become the same",
    options: [
      {
        name: "ts",
        alias: "timestamp",
        type: "integer",
        description: "Seconds since the epoch; by default SOURCE_DATE_EPOCH, or 0"
      },
      { name: "config", type: "boolean", description: "Also set the times in the config and its history" }
    ],
    make: (values, { sourceDateEpoch }) =>
      NormalizeTimestamps.make({
        timestamp: values.has("ts")
          ? values.integer("ts")
          : sourceDateEpoch === undefined || sourceDateEpoch === ""
            ? 0
            : integer(sourceDateEpoch, "SOURCE_DATE_EPOCH="),
        config: values.boolean("config")
      })
  },
  {
    name: "exclude",
    description: "Leave out files by patterns as in .gitignore, in every layer",
    options: [
      {
        name: "pattern",
        type: "list",
        required: true,
        description: "GLOB[,GLOB...]; later ones win, ! takes back, \\, is a comma"
      }
    ],
    make: (values) => {
      const patterns = values.list("pattern").map(withoutBlanks)
      for (const pattern of patterns) {
        const fault = patternFault(pattern)
        if (fault !== undefined) throw new Fault(`the pattern ${JSON.stringify(pattern)} matches nothing: ${fault}`)
      }
      return Exclude.make({ patterns })
    }
  },
  {
    name: "flatten",
    description: "Make one layer of all, without what later ones replaced or deleted",
    options: [],
    make: () => Flatten.make()
  },
  {
    name: "rebase",
    description: "Put the image on another base: replace the layers of its old one, keep those above them",
    options: [
      {
        name: "old_base",
        type: "string",
        required: true,
        description: "The image whose layers are the first ones now: a URI or path as for SOURCE, \\, is a comma"
      },
      { name: "new_base", type: "string", required: true, description: "The image whose layers take their place" }
    ],
    make: (values, { open }) => {
      if (open === undefined) throw new Fault("expected a way to open its sources, found none")
      return Rebase.make({ oldBase: values.text("old_base"), newBase: values.text("new_base") }, open)
    }
  },
  {
    name: "search",
    description: "List the files that match, layer by layer; the image stays as it is",
    options: [
      {
        name: "pattern",
        type: "string",
        required: true,
        description: "A shell pattern over whole paths or file names; * matches slashes too"
      },
      { name: "regex", type: "boolean", description: "The pattern is a regular expression, found anywhere in a path" },
      { name: "script_friendly", type: "boolean", description: "One line a match: image:tag:layer:path" }
    ],
    make: (values) => {
      const options = {
        pattern: values.text("pattern"),
        regex: values.boolean("regex"),
        scriptFriendly: values.boolean("script_friendly")
      }
      const fault = Search.patternFault(options)
      if (fault !== undefined) throw new Fault(fault)
      return Search.make(options)
    }
  },
  {
    name: "inspect",
    description: "Append what the layers are at this point to a file, as a line of JSON; the image stays as it is",
    options: [{ name: "file", type: "string", required: true, description: "The file to append to" }],
    make: (values) => InspectFile.make(values.text("file"))
  }
]

/** All filters, for help and for errors. */
export const kinds: ReadonlyArray<FilterKind> = makers

/** `exclude:pattern=...`, as a reminder of how a filter is written. */
export const usage = ({ name, options }: FilterKind): string => {
  const parts = options.map((option) => {
    const value =
      option.type === "integer" ? "N" : option.type === "boolean" ? "true" : option.type === "list" ? "X[,X...]" : "X"
    return option.required ? `${option.name}=${value}` : `[${option.name}=${value}]`
  })
  return options.length === 0 ? name : `${name}:${parts.join(",")}`
}

/** Left: `Usage`, with what there is. */
export const parse = (text: string, environment: Environment = {}): Either.Either<Filter, FilterError> => {
  const colon = text.indexOf(":")
  const name = (colon < 0 ? text : text.slice(0, colon)).trim()
  const bad = (message: string): Either.Either<never, FilterError> =>
    Either.left(
      new FilterError({ reason: "Usage", message: `cannot use the filter ${JSON.stringify(text)}: ${message}` })
    )
  const maker = makers.find((one) => one.name === name)
  if (maker === undefined) {
    return bad(`expected one of ${makers.map(usage).join(", ")}, found ${JSON.stringify(name)}`)
  }
  try {
    const values = read(maker, colon < 0 ? "" : text.slice(colon + 1))
    const missing = maker.options.find((option) => option.required && !values.has(option.name))
    if (missing !== undefined) return bad(`expected ${usage(maker)}, found no ${missing.name}`)
    return Either.right(maker.make(new Reader(values), environment))
  } catch (cause) {
    if (cause instanceof Fault) return bad(cause.message)
    throw cause
  }
}

/** `a=b,c=d`: items without a name belong to the option before them, as commas stand in patterns too. */
const read = (kind: FilterKind, text: string): Values => {
  const values = new Map<string, string | Array<string>>()
  let last: OptionKind | undefined
  for (const item of split(text)) {
    const equals = item.indexOf("=")
    const name = equals < 0 ? "" : item.slice(0, equals).trim()
    const option = kind.options.find((one) => one.name === name || one.alias === name)
    if (option === undefined) {
      if (item.trim() === "" && last?.type !== "string") continue
      const before = last === undefined ? undefined : values.get(last.name)
      if (equals < 0 && last !== undefined && Array.isArray(before)) before.push(item.trimStart())
      else if (equals < 0 && last?.type === "string") values.set(last.name, `${before},${item}`)
      else {
        throw new Fault(
          `expected ${usage(kind)}, found ${JSON.stringify(equals < 0 ? item : name)}${
            last?.type === "list" || last?.type === "string" ? ` (a comma inside ${last.name} is written \\,)` : ""
          }`
        )
      }
      continue
    }
    if (values.has(option.name)) throw new Fault(`${option.name} is given twice`)
    const value = item.slice(equals + 1)
    values.set(
      option.name,
      option.type === "list" ? [value.trimStart()] : option.type === "string" ? value : value.trim()
    )
    last = option
  }
  for (const option of kind.options) {
    if (option.required && values.get(option.name) === "") throw new Fault(`${option.name} is empty`)
  }
  return values
}

/** At commas without a backslash before them. */
const split = (text: string): ReadonlyArray<string> => {
  const items: Array<string> = [""]
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\" && text[i + 1] === ",") {
      items[items.length - 1] += ","
      i++
    } else if (text[i] === ",") items.push("")
    else items[items.length - 1] += text.charAt(i)
  }
  return items
}
