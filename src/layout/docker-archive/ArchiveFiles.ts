/** Names in and beside an image archive. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Digest from "../../image/Digest.ts"
import * as Reference from "../../image/Reference.ts"
import { plainName, type Store } from "../Store.ts"

export const manifestFile = "manifest.json"
export const repositoriesFile = "repositories"

/** `docker`: manifest.json and repositories. `oci`: an OCI image layout. `hybrid`: both, as Docker writes since 25. */
export const formats = ["hybrid", "docker", "oci"] as const
export type Format = (typeof formats)[number]

/** The archive that a path means: a link that the user names is followed. Throws what the file system says. */
export const resolve = (file: string): string => {
  const target = path.resolve(file)
  return fs.statSync(target, { throwIfNoEntry: false }) === undefined ? target : fs.realpathSync(target)
}

/** The receipt stands beside the archive (as `resolve` answers it), so that the archive is the same whatever wrote it. */
export const receiptPath = (archive: string): string => `${archive}.receipt.json`

const rootDirectories: ReadonlySet<string> = new Set(["bin", "dev", "etc", "lib", "proc", "sys", "usr", "var"])

/** True when the archive looks like the root of a file system: what `docker export` and BuildKit's type=tar write. */
export const isRootfs = (store: Store): boolean => {
  const names = store.list("") ?? []
  return names.includes(".dockerenv") || names.filter((name) => rootDirectories.has(name)).length > 1
}

/** A member that is a blob, `blobs/{algorithm}/{encoded}`: its digest. */
export const blobDigest = (name: string): Digest.Digest | undefined => {
  const match = /^blobs\/([^/]+)\/([^/]+)$/.exec(plainName(name))
  if (match === null) return undefined
  const digest = `${match[1]}:${match[2]}`
  return Digest.isDigest(digest) ? digest : undefined
}

/** A name as manifest.json's RepoTags may hold it, or undefined for one without a tag: Docker refuses such an archive. */
export const repoTag = (
  name: string
): { readonly repository: string; readonly tag: string; readonly text: string } | undefined => {
  const reference = Reference.parse(name)
  return reference?.tag === undefined
    ? undefined
    : { repository: reference.name, tag: reference.tag, text: `${reference.name}:${reference.tag}` }
}

/** The full reference by which containerd and Docker store an image: `debian:12` is `docker.io/library/debian:12`. */
export const canonicalName = (repository: string, tag: string): string => {
  const slash = repository.indexOf("/")
  const first = slash < 0 ? "" : repository.slice(0, slash)
  const hasHost = first.includes(".") || first.includes(":") || first === "localhost" || first !== first.toLowerCase()
  const [host, path] = hasHost ? [first, repository.slice(slash + 1)] : ["docker.io", repository]
  // index.docker.io is how the registry was called at first.
  const registry = host === "index.docker.io" ? "docker.io" : host
  return `${registry}/${registry === "docker.io" && !path.includes("/") ? `library/${path}` : path}:${tag}`
}

/** The form in which Docker shows and saves a name: `docker.io/library/debian:12` is `debian:12`. */
export const familiarName = (name: string): string => name.replace(/^docker\.io\/(?:library\/(?=[^/]*$))?/, "")
