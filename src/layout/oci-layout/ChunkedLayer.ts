/**
 * What the annotations of a zstd:chunked layer say of the tables in it (containers/storage pkg/chunked): podman pulls single
 * files by them, and takes no layer whose table is another than they say.
 */
import * as Digest from "../../image/Digest.ts"

const prefix = "io.github.containers.zstd-chunked."

/** What containers/storage reads at most. */
const maxTable = 150 * 1024 * 1024

export interface Table {
  /** The annotation that says where it is. */
  readonly annotation: string
  readonly position: string
  /** Bytes of the layer as stored; undefined where the position is none that is read. */
  readonly place: { readonly offset: number; readonly size: number } | undefined
  /** Of these bytes; undefined where nothing says it: the table of contents has the digest of the other one. */
  readonly digest: Digest.Digest | undefined
}

/** `offset:compressed:uncompressed`, and the type of a table of contents behind them. */
const place = (position: string): Table["place"] => {
  const [, offset, size] = /^(\d{1,15}):(\d{1,15}):\d{1,15}(?::\d{1,15})?$/.exec(position) ?? []
  return Number(size) <= maxTable ? { offset: Number(offset), size: Number(size) } : undefined
}

export const tables = (annotations: ReadonlyMap<string, string>): ReadonlyArray<Table> => {
  // Without it nothing is read by the other ones.
  if (!annotations.has(`${prefix}manifest-checksum`)) return []
  return ["manifest", "tarsplit"].flatMap((kind) => {
    const annotation = `${prefix}${kind}-position`
    const position = annotations.get(annotation)
    const digest = annotations.get(`${prefix}${kind}-checksum`)
    return position === undefined
      ? []
      : [
          {
            annotation,
            position,
            place: place(position),
            digest: digest !== undefined && Digest.isDigest(digest) ? digest : undefined
          }
        ]
  })
}
