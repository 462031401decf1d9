/** Image names: `[HOST/]NAME[:TAG][@DIGEST]` (distribution reference grammar, docker-image-spec v1.3; rules 88, 89). */
import * as Digest from "./Digest.ts"

export interface Reference {
  /** With the host where one was given, for example `docker.io/library/debian` or `debian`. */
  readonly name: string
  readonly tag?: string
  readonly digest?: Digest.Digest
}

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
const host =
  "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\\[[a-fA-F0-9:]+\\]"
const repository = new RegExp(`^(?:(?:${host})(?::[0-9]+)?/)?${component}(?:/${component})*$`)
const tagGrammar = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/

export const isTag = (text: string): boolean => tagGrammar.test(text)
export const isRepository = (text: string): boolean => text.length <= 255 && repository.test(text)

/** undefined when `text` is no valid reference. */
export const parse = (text: string): Reference | undefined => {
  const { name, tag, digest } = split(text)
  if (!isRepository(name)) return undefined
  if (tag !== undefined && !isTag(tag)) return undefined
  if (digest !== undefined && !Digest.isDigest(digest)) return undefined
  return {
    name,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest: digest as Digest.Digest })
  }
}

/** The parts without judging them: a colon behind the last slash begins the tag. */
export const split = (text: string): { readonly name: string; readonly tag?: string; readonly digest?: string } => {
  const at = text.indexOf("@")
  const rest = at < 0 ? text : text.slice(0, at)
  const colon = rest.lastIndexOf(":")
  const tagged = colon > rest.lastIndexOf("/")
  return {
    name: tagged ? rest.slice(0, colon) : rest,
    ...(tagged ? { tag: rest.slice(colon + 1) } : {}),
    ...(at < 0 ? {} : { digest: text.slice(at + 1) })
  }
}

export const show = (reference: Reference): string =>
  `${reference.name}${reference.tag === undefined ? "" : `:${reference.tag}`}${
    reference.digest === undefined ? "" : `@${reference.digest}`
  }`

/** True when a user who typed `wanted` may mean `name`: docker.io, library/ and `latest` may be left out. */
export const same = (wanted: string, name: string): boolean => familiar(wanted) === familiar(name)

/** What names that mean the same have in common. */
export const familiar = (text: string): string => {
  const { name, tag, digest } = split(text)
  const short = name
    .replace(/^(?:index\.)?docker\.io\//, "")
    .replace(/^localhost\//, "")
    .replace(/^library\//, "")
  return `${short}:${tag ?? (digest === undefined ? "latest" : "")}${digest === undefined ? "" : `@${digest}`}`
}
