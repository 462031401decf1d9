/** Edits of layers as plain data (`Image.Edit`), and what applies them to a stream. */
import type { Edit } from "../image/Image.ts"
import type { Sink } from "./Decoder.ts"
import { type CopyMember, ExcludeEdit, type ExcludeFacts, type ExcludeOptions } from "./ExcludeEdit.ts"
import { type MemberEdit, TarEditor } from "./TarEdit.ts"
import { TimestampEdit } from "./TimestampEdit.ts"

/** Sets every time in the tar to `timestamp`, in seconds since the epoch: 0 to 8^11 - 1. */
export const normalizeTimestamps = (timestamp: number): Edit => ({ kind: "normalize-timestamps", timestamp })

/** Leaves out what the patterns match. */
export const exclude = (options: ExcludeOptions): Edit => ({ kind: "exclude", ...options })

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

interface Stage {
  readonly edit: MemberEdit & { readonly facts?: () => ExcludeFacts }
  readonly editor: TarEditor
}

/** All of `edits`, the first one first, into `sink`. `write` and `end` throw `TarEditError`. */
export const makeChain = (edits: ReadonlyArray<Edit>, sink: Sink, copy: CopyMember): EditChain => {
  const stages: Array<Stage> = []
  let next = sink
  for (const one of edits.toReversed()) {
    const edit = makeEdit(one, copy)
    const editor = new TarEditor(edit, next)
    stages.unshift({ edit, editor })
    next = (chunk, from, to) => editor.write(chunk, from, to)
  }
  return {
    write: next,
    end: () =>
      stages.map(({ edit, editor }): EditFacts => {
        editor.end()
        return {
          members: editor.members,
          changed: editor.changed,
          ...(edit.facts === undefined ? {} : { exclude: edit.facts() })
        }
      })
  }
}

const makeEdit = (edit: Edit, copy: CopyMember): Stage["edit"] => {
  switch (edit.kind) {
    case "normalize-timestamps":
      return new TimestampEdit(edit["timestamp"] as number)
    case "exclude":
      return new ExcludeEdit(edit as unknown as ExcludeOptions, copy)
    default:
      throw new Error(`no edit is called ${edit.kind}`)
  }
}
