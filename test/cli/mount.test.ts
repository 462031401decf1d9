import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { tallyman, withScratch } from "../fault/Workbench.ts"
import { imageOf, sourceOf, usable } from "../layout/unpacked.ts"
import { file } from "../rootfs/Layers.ts"

describe("mount and unmount", () => {
  it("refuse what is no directory of mounts", () =>
    withScratch(async (directory) => {
      for (const command of ["mount", "unmount"]) {
        const ran = await tallyman([command, directory])
        assert.strictEqual(ran.code, 3)
        assert.strictEqual(
          ran.stderr,
          `tallyman: cannot ${command} ${directory}: expected a directory of mounts (rootfs/, working/, delta/), found an empty directory\n`
        )
        assert.strictEqual((await tallyman([command, `dir://${directory}`])).code, 2)
        assert.strictEqual((await tallyman([command, path.join(directory, "none")])).code, 3)
      }
    }))

  it.skipIf(!usable)("take down and put up again, and say when there is nothing to do", () =>
    withScratch(async (directory) => {
      const out = path.join(directory, "out")
      const source = sourceOf(directory, imageOf([[file("a", "a")]]))
      const processed = await tallyman(["process", source, `mounts://${out}`])
      // Containers mostly may not mount; then nothing is left behind.
      if (processed.code === 3) {
        assert.match(processed.stderr, /cannot mount/)
        assert.deepStrictEqual(fs.readdirSync(directory), ["image.tar"])
        return
      }
      assert.strictEqual(processed.code, 0, processed.stderr)
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs`), ["a"])
      const first = await tallyman(["unmount", `mounts://${out}`])
      assert.strictEqual(first.stdout, `Unmounted ${out}/rootfs\n`)
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs`), [])
      const second = await tallyman(["unmount", `${out}/`])
      assert.strictEqual(second.code, 0)
      assert.strictEqual(second.stdout, `Nothing is mounted on ${out}/rootfs\n`)
      const third = await tallyman(["mount", `mounts://${out}`])
      assert.strictEqual(third.stdout, `Mounted ${out}/rootfs\n`)
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs`), ["a"])
      const fourth = await tallyman(["mount", out])
      assert.deepStrictEqual([fourth.code, fourth.stdout], [0, `${out}/rootfs is mounted already\n`])
      assert.strictEqual((await tallyman(["unmount", out])).code, 0)
    })
  )
})
