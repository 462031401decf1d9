/** Where a layer has certain paths: a pass for the rare question that one layer has about another. */
import type { ByteString } from "./ByteString.ts"
import * as Codec from "./Compression.ts"
import { resolvePath } from "./ExcludeEdit.ts"
import type { Job } from "./Job.ts"
import { bytesRead } from "./LayerEdits.ts"
import { type LayerInput, stream } from "./LayerStream.ts"
import { failureOf, type Rewritten } from "./Rewrite.ts"
import { type MemberHeaders, TarEditor } from "./TarEdit.ts"

/** Plain data: it crosses to a worker. */
export interface LocateTask extends LayerInput {
  /** Normalised. */
  readonly paths: ReadonlyArray<ByteString>
}

export interface Located {
  readonly members: ReadonlyArray<LocatedMember>
  /** Those of the paths that a whiteout, or something in a directory's place, hides in the layers below. */
  readonly hidden: ReadonlyArray<ByteString>
  readonly failure?: NonNullable<Rewritten["failure"]>
}

export interface LocatedMember {
  readonly path: ByteString
  /** Position among the members, as edits count them. */
  readonly entry: number
  readonly kind: "hardlink" | "directory" | "other"
  /** Normalised; of a hardlink. */
  readonly target: ByteString
}

export const run = (task: LocateTask, progress: (bytes: number) => void = () => {}): Located => {
  const wanted = new Set(task.paths)
  /** The paths below each directory above one. */
  const below = new Map<ByteString, Array<ByteString>>()
  for (const path of wanted) {
    for (let slash = path.lastIndexOf("/"); ; slash = path.lastIndexOf("/", slash - 1)) {
      const parent = slash <= 0 ? "" : path.slice(0, slash)
      below.set(parent, [...(below.get(parent) ?? []), path])
      if (slash <= 0) break
    }
  }
  const members: Array<LocatedMember> = []
  const hidden = new Set<ByteString>()
  const hide = (path: ByteString): void => {
    if (wanted.has(path)) hidden.add(path)
    for (const one of below.get(path) ?? []) hidden.add(one)
  }
  const member = (headers: MemberHeaders): void => {
    if (headers.header < 0) return
    const path = resolvePath(headers.path())
    const slash = path.lastIndexOf("/")
    if (path.startsWith(".wh.", slash + 1)) {
      const directory = path.slice(0, Math.max(0, slash))
      const name = path.slice(slash + 1)
      if (name === ".wh..wh..opq") for (const one of below.get(directory) ?? []) hidden.add(one)
      else if (!name.startsWith(".wh..wh.")) hide(directory === "" ? name.slice(4) : `${directory}/${name.slice(4)}`)
      return
    }
    const kind = headers.type === 0x31 ? "hardlink" : headers.type === 0x35 ? "directory" : "other"
    if (kind !== "directory") for (const one of below.get(path) ?? []) hidden.add(one)
    if (!wanted.has(path)) return
    members.push({
      path,
      entry: headers.index,
      kind,
      target: kind === "hardlink" ? resolvePath(headers.linkname()) : ""
    })
  }
  try {
    const editor = new TarEditor({ member }, () => {})
    stream(task, (chunk, from, to) => editor.write(chunk, from, to), { onProgress: progress })
    editor.end()
    return { members, hidden: [...hidden] }
  } catch (cause) {
    return { members: [], hidden: [], failure: failureOf(cause) }
  }
}

export const job: Job<LocateTask, Located> = {
  kind: "locate",
  prepare: Codec.prepare,
  run,
  cost: bytesRead
}
