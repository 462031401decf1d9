/** Several layers made one: the members that are left of each, one layer after the other. */
import type { ByteString } from "./ByteString.ts"
import type { Sink } from "./Decoder.ts"
import type { LayerInput } from "./LayerInput.ts"
import { type MemberEdit, type MemberHeaders, TarEditor } from "./TarEdit.ts"
import { renamed } from "./TarRename.ts"
import { encodeHeader, endOfArchive } from "./TarWrite.ts"

/** What is left of one layer. Plain data that JSON can hold. */
export interface Remains {
  /** A bit for each member by its position, the lowest of a byte first; members beyond it go. */
  readonly keep: ByteString
  /** Members that stay under another path. */
  readonly renames: ReadonlyArray<readonly [member: number, path: ByteString]>
  readonly links: ReadonlyArray<Links>
}

/** Further names of a member, which follow it as hardlinks. */
export interface Links {
  readonly member: number
  /** Its own path, without "./" and the like. */
  readonly target: ByteString
  readonly paths: ReadonlyArray<ByteString>
  /** Its attributes: what unpacks a hardlink may set them once more. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly mtimeNanoseconds: number
  readonly xattrs: ReadonlyArray<readonly [name: ByteString, value: ByteString]>
}

export interface FlattenOptions {
  /** Of the layer whose stream is edited. */
  readonly base: Remains
  readonly above: ReadonlyArray<{ readonly from: LayerInput; readonly remains: Remains }>
  /** Directories that no member describes and no member below them implies any more. */
  readonly directories: ReadonlyArray<ByteString>
}

/** Streams a layer's tar, its edits applied. */
export type OpenLayer = (input: LayerInput, sink: Sink) => void

/** Whether bit `index` is set. */
const isKept = (keep: ByteString, index: number): boolean =>
  index >>> 3 < keep.length && ((keep.charCodeAt(index >>> 3) >>> (index & 7)) & 1) === 1

/** The base's members as they stream by, those of the layers above and the end of the archive behind them. */
export class Flatten {
  readonly #options: FlattenOptions
  readonly #sink: Sink
  readonly #open: OpenLayer
  readonly #base: TarEditor
  #members = 0
  #changed = 0

  constructor(options: FlattenOptions, sink: Sink, open: OpenLayer) {
    this.#options = options
    this.#sink = sink
    this.#open = open
    this.#base = this.#editor(options.base)
  }

  #editor(remains: Remains): TarEditor {
    return new TarEditor(new RemainsEdit(remains, this.#sink), this.#sink, { membersOnly: true })
  }

  /** Members that came in, of all layers, and those of them that went or were changed. */
  get members(): number {
    return this.#members
  }

  get changed(): number {
    return this.#changed
  }

  write(chunk: Uint8Array, from: number, to: number): void {
    this.#base.write(chunk, from, to)
  }

  end(): void {
    this.#finish(this.#base)
    for (const { from, remains } of this.#options.above) {
      const editor = this.#editor(remains)
      this.#open(from, (chunk, start, end) => editor.write(chunk, start, end))
      this.#finish(editor)
    }
    for (const path of this.#options.directories) {
      this.#put(encodeHeader({ path: `${path}/`, type: "directory", mode: 0o755 }))
    }
    this.#put(endOfArchive)
  }

  #finish(editor: TarEditor): void {
    editor.end()
    this.#members += editor.members
    this.#changed += editor.changed
  }

  /** What takes it may change it. */
  #put(bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes)
    this.#sink(copy, 0, copy.length)
  }
}

class RemainsEdit implements MemberEdit {
  readonly #keep: ByteString
  readonly #renames: ReadonlyMap<number, ByteString>
  readonly #links: ReadonlyMap<number, Links>
  readonly #sink: Sink
  /** Global pax records in force: they would be in force for the layers that follow. */
  readonly #globals = new Map<ByteString, ByteString>()
  /** Hardlinks that have to come out before the next member. */
  #pending: Uint8Array | undefined

  constructor({ keep, links, renames }: Remains, sink: Sink) {
    this.#keep = keep
    this.#renames = new Map(renames)
    this.#links = new Map(links.map((one) => [one.member, one]))
    this.#sink = sink
  }

  member(headers: MemberHeaders): void {
    headers.readGlobals(this.#globals)
    if (headers.header < 0 || !isKept(this.#keep, headers.index)) {
      headers.drop()
      return
    }
    const path = this.#renames.get(headers.index)
    const pending = this.#pending
    const hasGlobals = this.#globals.size > 0 || headers.hasGlobals()
    if (path !== undefined || hasGlobals || pending !== undefined) {
      const own =
        path === undefined && !hasGlobals
          ? headers.bytes.subarray(headers.start, headers.end)
          : renamed(headers, {
              ...(path === undefined ? {} : { path }),
              records: this.#inForce(headers),
              withoutGlobals: true
            })
      headers.replace(pending === undefined ? own : Buffer.concat([pending, own]))
    }
    const links = this.#links.get(headers.index)
    this.#pending = links === undefined ? undefined : linksOf(links)
  }

  /** What is in force for the member and not its own. */
  #inForce(headers: MemberHeaders): ReadonlyMap<ByteString, ByteString> {
    const records = new Map(this.#globals)
    headers.readOwn((keyword) => records.delete(keyword))
    return records
  }

  end(): void {
    if (this.#pending !== undefined) this.#sink(this.#pending, 0, this.#pending.length)
    this.#pending = undefined
  }
}

const linksOf = ({ paths, target, xattrs, ...attributes }: Links): Uint8Array =>
  Buffer.concat(
    paths.map((path) =>
      encodeHeader({
        ...attributes,
        path,
        type: "hardlink",
        linkname: target,
        ...(xattrs.length === 0
          ? {}
          : { xattrs: new Map(xattrs.map(([name, value]) => [name, Buffer.from(value, "latin1")])) })
      })
    )
  )
