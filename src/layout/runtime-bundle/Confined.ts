/** Files of an unpacked tree by their name in it: symlinks lead to where they would inside it, never out. */
import * as fs from "node:fs"
import { openForRead } from "../../content/OpenFile.ts"
import { describe } from "../Failure.ts"

const maxSymlinks = 40

/** The file's bytes as UTF-8 text, undefined when it is not there. Throws a one-line Error when it cannot be read. */
export const readText = (root: string, name: string, limit = 4 * 1024 * 1024): string | undefined => {
  const found = resolve(root, name)
  if (found === undefined) return undefined
  const fd = openForRead(found)
  try {
    const stat = fs.fstatSync(fd)
    if (!stat.isFile()) throw new Error(`/${name} is no regular file`)
    if (stat.size > limit) throw new Error(`/${name} has ${stat.size} bytes, more than the limit of ${limit}`)
    return fs.readFileSync(fd, "utf8")
  } catch (cause) {
    throw new Error(`/${name}: ${describe(cause)}`)
  } finally {
    fs.closeSync(fd)
  }
}

/** No component of the answer but those of `root` itself is a symlink. */
const resolve = (root: string, name: string): string | undefined => {
  const todo = name.split("/").reverse()
  const done: Array<string> = []
  let symlinks = 0
  while (todo.length > 0) {
    const part = todo.pop()!
    if (part === "" || part === ".") continue
    if (part === "..") {
      done.pop()
      continue
    }
    const at = [root, ...done, part].join("/")
    const stat = fs.lstatSync(at, { throwIfNoEntry: false })
    if (stat === undefined) return undefined
    if (stat.isSymbolicLink()) {
      if (++symlinks > maxSymlinks) return undefined
      const target = fs.readlinkSync(at)
      if (target.startsWith("/")) done.length = 0
      todo.push(...target.split("/").reverse())
      continue
    }
    if (todo.length > 0 && !stat.isDirectory()) return undefined
    done.push(part)
  }
  return [root, ...done].join("/")
}
