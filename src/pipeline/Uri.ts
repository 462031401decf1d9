/** `scheme://PATH[?option=value&...]`: how sources and destinations are named. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"

/** The command line says something that cannot be meant. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", {
  reason: Schema.Literal("BadUri", "UnknownOption", "BadValue", "UnknownCheck", "UnknownFilter"),
  message: Schema.String
}) {}

export const schemes = ["dir", "tar", "oci-layout", "oci", "mounts"] as const
export type Scheme = (typeof schemes)[number]

const aliases: Readonly<Record<string, Scheme>> = { bundle: "oci" }

export interface Uri {
  readonly scheme: Scheme
  /** As the user wrote it. */
  readonly text: string
  /** Everything between `://` and `?`, not percent-encoded, taken as it is but for what `unambiguous` does. */
  readonly path: string
  readonly options: ReadonlyMap<string, string>
}

const isScheme = (text: string): text is Scheme => (schemes as ReadonlyArray<string>).includes(text)

/** True when the text has the form of a URI rather than of a path. */
export const isUri = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//.test(text)

/**
 * `..` behind a link to a directory is where the link leads, for the system, and beside the link by its letters, for
 * `path.resolve`. A path in which the two differ is written so that they do not.
 */
export const unambiguous = (text: string): string => {
  const climbing = /^.*[^/]\/+\.\.(?=\/|$)/s.exec(text)?.[0]
  if (climbing === undefined) return text
  // Not `realpathSync`, which goes by the letters itself.
  const real = (one: string): string | undefined => {
    try {
      return fs.realpathSync.native(one)
    } catch {
      return undefined
    }
  }
  const led = real(climbing)
  // What is not there is for those to tell who look for it.
  return led === undefined || led === real(path.resolve(climbing)) ? text : `${led}${text.slice(climbing.length)}`
}

export const parse = (text: string): Either.Either<Uri, UsageError> => {
  const bad = (message: string): Either.Either<never, UsageError> =>
    Either.left(new UsageError({ reason: "BadUri", message: `cannot use ${JSON.stringify(text)}: ${message}` }))
  const match = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/s.exec(text)
  if (match === null) return bad(`expected SCHEME://PATH with one of ${schemes.map((one) => `${one}://`).join(", ")}`)
  const scheme = aliases[match[1]!] ?? match[1]!
  if (!isScheme(scheme))
    return bad(`expected one of ${schemes.map((one) => `${one}://`).join(", ")}, found ${scheme}://`)
  const rest = match[2]!
  // Only what looks like options is taken for them: `?` may stand in a path.
  const query = /\?([A-Za-z_][A-Za-z0-9_-]*(?:=[^&]*)?(?:&[A-Za-z_][A-Za-z0-9_-]*(?:=[^&]*)?)*)$/.exec(rest)
  const given = query === null ? rest : rest.slice(0, query.index)
  if (given === "") return bad("expected a path behind ://, found nothing")
  if (given.includes("\0")) return bad("expected a path, found a NUL in it")
  const options = new Map<string, string>()
  for (const pair of query?.[1]?.split("&") ?? []) {
    const equals = pair.indexOf("=")
    const key = equals < 0 ? pair : pair.slice(0, equals)
    if (options.has(key)) return bad(`the option ${key} is given twice`)
    options.set(key, equals < 0 ? "true" : pair.slice(equals + 1))
  }
  return Either.right({ scheme, text, path: unambiguous(given), options })
}

/** `a tar:// source`, `an oci:// target`. */
export const described = ({ scheme }: Uri, what: string): string =>
  `${scheme.startsWith("o") ? "an" : "a"} ${scheme}:// ${what}`

/** Left when an option is none of `known`; the message lists them. */
export const onlyOptions = (uri: Uri, known: ReadonlyArray<string>, what: string): Either.Either<Uri, UsageError> => {
  const unknown = [...uri.options.keys()].find((key) => !known.includes(key))
  return unknown === undefined
    ? Either.right(uri)
    : Either.left(
        new UsageError({
          reason: "UnknownOption",
          message: `cannot use ${JSON.stringify(uri.text)}: ${described(uri, what)} has ${
            known.length === 0 ? "no options" : `the options ${known.join(", ")}`
          }, found ${unknown}`
        })
      )
}

export const booleanOption = (uri: Uri, key: string): Either.Either<boolean, UsageError> => {
  const value = uri.options.get(key)
  switch (value?.toLowerCase()) {
    case undefined:
    case "false":
    case "0":
    case "no":
      return Either.right(false)
    case "true":
    case "1":
    case "yes":
      return Either.right(true)
    default:
      return Either.left(
        new UsageError({
          reason: "BadValue",
          message: `cannot use ${JSON.stringify(uri.text)}: expected ${key}=true or ${key}=false, found ${value}`
        })
      )
  }
}

export const integerOption = (uri: Uri, key: string): Either.Either<number | undefined, UsageError> => {
  const value = uri.options.get(key)
  if (value === undefined) return Either.right(undefined)
  return /^\d{1,9}$/.test(value)
    ? Either.right(Number(value))
    : Either.left(
        new UsageError({
          reason: "BadValue",
          message: `cannot use ${JSON.stringify(uri.text)}: expected ${key}=N, found ${value}`
        })
      )
}
