import * as fs from "node:fs"
import * as path from "node:path"

/**
 * Removes a file or a tree, if it is there. Without root that needs directories that their owner may list and change,
 * which those of an image need not be: where it fails for that, they are opened first. No symlink is followed. Throws.
 */
export const removeTree = (root: string): void => {
  try {
    fs.rmSync(root, { force: true, recursive: true })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EACCES") throw cause
    openDirectories(root)
    fs.rmSync(root, { force: true, recursive: true })
  }
}

const openDirectories = (root: string): void => {
  const stack = [Buffer.from(path.resolve(root))]
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (!fs.lstatSync(at).isDirectory()) continue
    fs.chmodSync(at, 0o700)
    for (const name of fs.readdirSync(at, "buffer")) stack.push(Buffer.concat([at, Buffer.from("/"), name]))
  }
}
