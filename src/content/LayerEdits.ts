/** Edits of layers as plain data (`Image.Edit`), and what applies them to a stream. */
import type { Edit } from "../image/Image.ts"
import type { Region } from "../image/Region.ts"
import type { Sink } from "./Decoder.ts"
import { type CopyMember, ExcludeEdit, type ExcludeFacts, type ExcludeOptions } from "./ExcludeEdit.ts"
import { Flatten, type FlattenOptions, type OpenLayer } from "./FlattenEdit.ts"
import { type MemberEdit, TarEditor } from "./TarEdit.ts"
import { TimestampEdit } from "./TimestampEdit.ts"

/** Sets every time in the tar to `timestamp`, in seconds since the epoch: 0 to 8^11 - 1. */
export const normalizeTimestamps = (timestamp: number): Edit => ({ kind: "normalize-timestamps", timestamp })

/** Leaves out what the patterns match. */
export const exclude = (options: ExcludeOptions): Edit => ({ kind: "exclude", ...options })

/** Adds what is left of other layers behind what is left of this one. */
export const flatten = (options: FlattenOptions): Edit => ({ kind: "flatten", ...options })

/** Stored bytes that reading a layer with its edits takes: those of other layers too. */
export const bytesRead = ({
  edits = [],
  region
}: {
  readonly region: Region
  readonly edits?: ReadonlyArray<Edit>
}): number =>
  edits
    .filter(({ kind }) => kind === "flatten")
    .flatMap((edit) => (edit as unknown as FlattenOptions).above)
    .reduce((sum, { from }): number => sum + bytesRead(from), region.size)

/** What one edit did to one tar. */
export interface EditFacts {
  /** Members that came in, and how many of them were changed or left out. */
  readonly members: number
  readonly changed: number
  readonly exclude?: ExcludeFacts
}

export interface EditChain {
  /** May change the bytes it is given. */
  readonly write: Sink
  /** Behind the last byte; one for each edit. */
  readonly end: () => ReadonlyArray<EditFacts>
}

/** How edits get at other layers. */
export interface OtherLayers {
  readonly copy: CopyMember
  readonly open: OpenLayer
}

interface Stage {
  readonly write: Sink
  readonly end: () => EditFacts
}

/** All of `edits`, the first one first, into `sink`. `write` and `end` throw `TarEditError`. */
export const makeChain = (edits: ReadonlyArray<Edit>, sink: Sink, others: OtherLayers): EditChain => {
  const stages: Array<Stage> = []
  let next = sink
  for (const edit of edits.toReversed()) {
    const stage = edit.kind === "flatten" ? flattening(edit, next, others) : editing(edit, next, others)
    stages.unshift(stage)
    next = stage.write
  }
  return { write: next, end: () => stages.map((stage) => stage.end()) }
}

const flattening = (edit: Edit, sink: Sink, { open }: OtherLayers): Stage => {
  const flatten = new Flatten(edit as unknown as FlattenOptions, sink, open)
  return {
    write: (chunk, from, to) => flatten.write(chunk, from, to),
    end: () => {
      flatten.end()
      return { members: flatten.members, changed: flatten.changed }
    }
  }
}

const editing = (options: Edit, sink: Sink, { copy }: OtherLayers): Stage => {
  const edit = makeEdit(options, copy)
  const editor = new TarEditor(edit, sink)
  return {
    write: (chunk, from, to) => editor.write(chunk, from, to),
    end: () => {
      editor.end()
      return {
        members: editor.members,
        changed: editor.changed,
        ...(edit.facts === undefined ? {} : { exclude: edit.facts() })
      }
    }
  }
}

const makeEdit = (edit: Edit, copy: CopyMember): MemberEdit & { readonly facts?: () => ExcludeFacts } => {
  switch (edit.kind) {
    case "normalize-timestamps":
      return new TimestampEdit(edit["timestamp"] as number)
    case "exclude":
      return new ExcludeEdit(edit as unknown as ExcludeOptions, copy)
    default:
      throw new Error(`no edit is called ${edit.kind}`)
  }
}
