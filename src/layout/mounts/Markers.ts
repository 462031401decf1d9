import * as fs from "node:fs"
import type { ByteString } from "../../content/ByteString.ts"

/** As many as are worth telling. */
const maxMarkers = 100

/** Names below `root` that begin with `.wh.`, relative to it. No symlink is followed; what cannot be listed is left out. */
export const findMarkers = (root: string): ReadonlyArray<ByteString> => {
  const found: Array<ByteString> = []
  const base = Buffer.from(root).toString("latin1")
  const stack: Array<ByteString> = [""]
  for (let at = stack.pop(); at !== undefined && found.length < maxMarkers; at = stack.pop()) {
    let entries: ReadonlyArray<fs.Dirent>
    try {
      entries = fs.readdirSync(Buffer.from(base + at, "latin1"), { withFileTypes: true, encoding: "latin1" })
    } catch {
      continue
    }
    for (const entry of entries) {
      const name = `${at}/${entry.name}`
      if (entry.name.startsWith(".wh.")) found.push(name.slice(1))
      if (entry.isDirectory()) stack.push(name)
    }
  }
  return found
}
