/** Patterns as in gitignore(5), over paths of a file system. */
import { Minimatch } from "minimatch"
import type { ByteString } from "./ByteString.ts"
import * as Bytes from "./ByteString.ts"

interface Rule {
  readonly takesBack: boolean
  readonly directoriesOnly: boolean
  /** Over whole paths; otherwise over names anywhere. */
  readonly anchored: boolean
  readonly glob: Minimatch
}

const options = {
  dot: true,
  nobrace: true,
  nocomment: true,
  noext: true,
  nonegate: true,
  optimizationLevel: 0,
  platform: "linux",
  preserveMultipleSlashes: true
} as const

const ruleOf = (pattern: string): Rule => {
  let glob = withoutBlanks(pattern)
  const takesBack = glob.startsWith("!")
  if (takesBack) glob = glob.slice(1)
  const directoriesOnly = glob.endsWith("/")
  if (directoriesOnly) glob = glob.slice(0, -1)
  const anchored = glob.includes("/")
  if (glob.startsWith("/")) glob = glob.slice(1)
  // More stars than two are two to git, where nothing else stands between the slashes.
  glob = glob.replace(/(?<=^|\/)\*{3,}(?=\/|$)/g, "**")
  return { takesBack, directoriesOnly, anchored, glob: new Minimatch(glob, options) }
}

/** Blanks at the end count when a backslash is before them. */
export const withoutBlanks = (pattern: string): string => {
  let end = pattern.length
  while (pattern[end - 1] === " " && !endsOpen(pattern.slice(0, end - 1))) end--
  return pattern.slice(0, end)
}

/** Whether it ends with a backslash that takes the next character literally. */
const endsOpen = (pattern: string): boolean => /\\*$/.exec(pattern)![0].length % 2 === 1

export class Patterns {
  readonly #rules: ReadonlyArray<Rule>
  readonly #directories = new Map<ByteString, boolean>()

  /** Later ones win. */
  constructor(patterns: ReadonlyArray<string>) {
    this.#rules = patterns.map(ruleOf).reverse()
  }

  /** `path` is normalised and not the root. What lies below an excluded directory is excluded, whatever comes later. */
  excludes(path: ByteString, isDirectory: boolean): boolean {
    if (isDirectory) return this.#directory(path)
    const slash = path.lastIndexOf("/")
    return (slash > 0 && this.#directory(path.slice(0, slash))) || this.#test(path, false)
  }

  #directory(path: ByteString): boolean {
    const known = this.#directories.get(path)
    if (known !== undefined) return known
    const slash = path.lastIndexOf("/")
    const excluded = (slash > 0 && this.#directory(path.slice(0, slash))) || this.#test(path, true)
    if (this.#directories.size >= cacheSize) this.#directories.clear()
    this.#directories.set(path, excluded)
    return excluded
  }

  #test(path: ByteString, isDirectory: boolean): boolean {
    const text = Bytes.toText(path) ?? path
    const name = text.slice(text.lastIndexOf("/") + 1)
    for (const { anchored, directoriesOnly, glob, takesBack } of this.#rules) {
      if ((isDirectory || !directoriesOnly) && glob.match(anchored ? text : name)) return !takesBack
    }
    return false
  }
}

const cacheSize = 16_384

/** Why `pattern` would match nothing whatever the paths, or undefined. */
export const patternFault = (pattern: string): string | undefined => {
  const own = withoutBlanks(pattern)
  if (own === "") return "it is empty"
  if (own.startsWith("#")) return "it begins with #, which makes it a comment (write \\#)"
  if (endsOpen(own)) return "it ends with a single backslash"
  if (/^!?\.{0,2}\/*$/.test(own) || /^!?\/?\.{1,2}\//.test(own))
    return "paths are relative to the root, without ./ and ../"
  return undefined
}
