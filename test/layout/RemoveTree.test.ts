import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { removeTree } from "../../src/layout/RemoveTree.ts"
import { isRoot } from "../fault/Workbench.ts"
import { withDirectory } from "../rootfs/Layers.ts"

/** As the user `nobody`, who needs permissions. */
const asNobody = (act: () => void): void => {
  if (!isRoot) return act()
  process.setegid!(65534)
  process.seteuid!(65534)
  try {
    act()
  } finally {
    process.seteuid!(0)
    process.setegid!(0)
  }
}

describe("removing a tree", () => {
  it("opens the directories that an image has closed to their owner, and follows no symlink", () =>
    withDirectory(async (directory) => {
      fs.chmodSync(directory, 0o777)
      const kept = path.join(directory, "kept")
      fs.mkdirSync(kept, { mode: 0o755 })
      fs.writeFileSync(path.join(kept, "file"), "x")
      const tree = path.join(directory, "tree")
      asNobody(() => {
        fs.mkdirSync(path.join(tree, "a/b"), { recursive: true })
        fs.writeFileSync(path.join(tree, "a/b/file"), "x")
        fs.writeFileSync(Buffer.from(`${tree}/a/\xff`, "latin1"), "x")
        fs.symlinkSync(kept, path.join(tree, "a/link"))
        fs.chmodSync(path.join(tree, "a/b"), 0)
        fs.chmodSync(path.join(tree, "a"), 0o500)
        removeTree(tree)
      })
      assert.isFalse(fs.existsSync(tree))
      assert.deepStrictEqual(fs.readdirSync(kept), ["file"])
      assert.strictEqual(fs.statSync(kept).mode & 0o777, 0o755)
      removeTree(tree)
    }))
})
