/** Members left out by patterns, with the hardlinks to them kept alive. */
import type { ByteString } from "./ByteString.ts"
import * as Bytes from "./ByteString.ts"
import type { Sink } from "./Decoder.ts"
import { normalizePath } from "./LayerScan.ts"
import { Patterns } from "./Patterns.ts"
import type { MemberEdit, MemberHeaders } from "./TarEdit.ts"
import { globalsOf, renamed } from "./TarRename.ts"

/** A file of a lower layer that has to be put in the place of a hardlink to it. */
export interface Copy<From = unknown> {
  /** Position of the hardlink among the members. */
  readonly link: number
  /** Position of the file among the members of the layer that `from` reads. */
  readonly entry: number
  readonly from: From
}

export interface ExcludeOptions {
  /** gitignore patterns, later ones win; `!` takes back. Relative to the root of the file system. */
  readonly patterns: ReadonlyArray<string>
  /** Excluded files, by their position among the members, that live on under the path of a hardlink to them. */
  readonly promote: ReadonlyArray<readonly [entry: number, path: ByteString]>
  readonly copies: ReadonlyArray<Copy>
}

/**
 * Puts the member that `copy` names, under `path`, into `sink`: headers, body and padding. It comes out with the attributes
 * that it has in its own layer, whatever the global pax records in force where it goes.
 */
export type CopyMember = (
  copy: Copy,
  path: ByteString,
  globals: ReadonlyMap<ByteString, ByteString>,
  sink: Sink
) => void

/** What went, and what the hardlinks that stay need. Plain data. */
export interface ExcludeFacts {
  /** Members left out, and the bytes of their bodies. */
  readonly entries: number
  readonly bytes: number
  /** Paths of them, for people; at most `maxPaths`. */
  readonly paths: ReadonlyArray<string>
  /** For `promote`: excluded files of this layer that hardlinks which stay name. */
  readonly promote: ReadonlyArray<readonly [entry: number, path: ByteString]>
  /** Hardlinks that stay, whose target is excluded and in a lower layer; the first one for each target. */
  readonly open: ReadonlyArray<{ readonly link: number; readonly path: ByteString; readonly target: ByteString }>
}

const maxPaths = 1000

/** As unpackers resolve it: without "", "." and "..", which cannot leave the root. */
export const resolvePath = (path: ByteString): ByteString => {
  const normal = normalizePath(path)
  if (!normal.includes("..")) return normal
  const parts: Array<ByteString> = []
  for (const part of normal.split("/")) {
    if (part === "..") parts.pop()
    else parts.push(part)
  }
  return parts.join("/")
}

/** An excluded file of this layer, and the name under which it lives on. */
interface Gone {
  readonly entry: number
  name: ByteString | undefined
}

/**
 * Leaves out every member that the patterns exclude. Whiteouts stay, unless their directory is excluded as a whole: then
 * it is in every layer, and there is nothing left for them to hide. Directories that become empty stay.
 *
 * A hardlink that stays while its target goes becomes the file: at the target's place, where the body is, under the
 * path of the first such link; further links point to that. Which targets these are only shows behind them, so that a
 * first pass finds out and a second one gets it in `promote`.
 */
export class ExcludeEdit implements MemberEdit {
  readonly #patterns: Patterns
  readonly #promote: ReadonlyMap<number, ByteString>
  readonly #copies: ReadonlyMap<number, Copy>
  readonly #copy: CopyMember
  /** Global pax records in force. */
  readonly #globals = new Map<ByteString, ByteString>()
  /** By path: an excluded file, or the path that an excluded hardlink named. */
  readonly #gone = new Map<ByteString, Gone | ByteString>()
  /** Excluded targets in lower layers, and where in this layer they live on. */
  readonly #copied = new Map<ByteString, ByteString>()
  readonly #promotions: Array<readonly [number, ByteString]> = []
  readonly #open: Array<{ readonly link: number; readonly path: ByteString; readonly target: ByteString }> = []
  readonly #paths: Array<string> = []
  #entries = 0
  #bytes = 0

  constructor(options: ExcludeOptions, copy: CopyMember) {
    this.#patterns = new Patterns(options.patterns)
    this.#promote = new Map(options.promote)
    this.#copies = new Map(options.copies.map((one) => [one.link, one]))
    this.#copy = copy
  }

  facts(): ExcludeFacts {
    return {
      entries: this.#entries,
      bytes: this.#bytes,
      paths: this.#paths,
      promote: this.#promotions,
      open: this.#open
    }
  }

  member(headers: MemberHeaders): void {
    if (this.#copies.size > 0) headers.readGlobals(this.#globals)
    if (headers.header < 0) return
    const path = resolvePath(headers.path())
    if (path === "") return
    const slash = path.lastIndexOf("/")
    if (path.startsWith(".wh.", slash + 1)) {
      if (slash > 0 && this.#patterns.excludes(path.slice(0, slash), true)) this.#leaveOut(headers, path)
      return
    }
    const isLink = headers.type === 0x31
    const isDirectory =
      headers.type === 0x35 ||
      headers.type === 0x44 ||
      ((headers.type === 0x30 || headers.type === 0) && headers.size === 0 && headers.path().endsWith("/"))
    if (!this.#patterns.excludes(path, isDirectory)) {
      if (isLink) this.#keptLink(headers, path)
      return
    }
    if (isLink) {
      const target = resolvePath(headers.linkname())
      this.#gone.set(path, this.#gone.get(target) ?? target)
    } else if (!isDirectory) {
      const name = this.#promote.get(headers.index)
      this.#gone.set(path, { entry: headers.index, name })
      if (name !== undefined) {
        headers.replace(renamed(headers, { path: name }))
        return
      }
    }
    this.#leaveOut(headers, path)
  }

  #leaveOut(headers: MemberHeaders, path: ByteString): void {
    headers.drop()
    this.#entries++
    this.#bytes += headers.size
    if (this.#paths.length < maxPaths) this.#paths.push(Bytes.display(path))
  }

  #keptLink(headers: MemberHeaders, path: ByteString): void {
    const named = resolvePath(headers.linkname())
    const copy = this.#copies.get(headers.index)
    let target = this.#gone.get(named) ?? named
    if (typeof target !== "string") {
      if (target.name === undefined) {
        target.name = path
        this.#promotions.push([target.entry, path])
      }
      // Where the file was, it now is under this very path.
      if (target.name === path) headers.drop()
      else headers.replace(renamed(headers, { linkname: target.name }))
      return
    }
    if (copy !== undefined) {
      this.#copied.set(target, path)
      headers.replace(globalsOf(headers), (sink) => this.#copy(copy, path, this.#globals, sink))
      return
    }
    if (this.#patterns.excludes(target, false)) {
      const copied = this.#copied.get(target)
      if (copied === undefined) {
        this.#open.push({ link: headers.index, path, target })
        this.#copied.set(target, path)
        return
      }
      target = copied
    }
    if (target !== named) headers.replace(renamed(headers, { linkname: target }))
  }
}

/**
 * Keeps one member, under another path, for a place where the global pax records `there` are in force.
 * `onHeaders` tells how many bytes it has in all, before any of them comes out.
 */
export class TakeEdit implements MemberEdit {
  readonly #entry: number
  readonly #path: ByteString
  readonly #there: ReadonlyMap<ByteString, ByteString>
  readonly #onHeaders: (bytes: number) => void
  /** Global pax records in force. */
  readonly #globals = new Map<ByteString, ByteString>()

  constructor(
    entry: number,
    path: ByteString,
    there: ReadonlyMap<ByteString, ByteString>,
    onHeaders: (bytes: number) => void
  ) {
    this.#entry = entry
    this.#path = path
    this.#there = there
    this.#onHeaders = onHeaders
  }

  member(headers: MemberHeaders): void {
    headers.readGlobals(this.#globals)
    if (headers.header < 0 || headers.index !== this.#entry) {
      headers.drop()
      return
    }
    // What is in force here the member takes along as its own; what is in force there it takes back.
    const records = new Map([...[...this.#there.keys()].map((keyword) => [keyword, ""] as const), ...this.#globals])
    headers.readOwn((keyword) => records.delete(keyword))
    const replacement = renamed(headers, { path: this.#path, records })
    headers.replace(replacement)
    this.#onHeaders(replacement.length + headers.size)
  }
}
