import * as fs from "node:fs"

/** Names below a directory, itself included, and how many directories could not be listed. No symlink is followed. */
export const countNames = (root: string): { readonly names: number; readonly unreadable: number } => {
  let names = 1
  let unreadable = 0
  const stack: Array<string> = [root]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    try {
      const at = Buffer.from(next, next === root ? "utf8" : "latin1")
      const prefix = next === root ? at.toString("latin1") : next
      for (const entry of fs.readdirSync(at, { withFileTypes: true, encoding: "latin1" })) {
        names++
        if (entry.isDirectory()) stack.push(`${prefix}/${entry.name}`)
      }
    } catch {
      unreadable++
    }
  }
  return { names, unreadable }
}
