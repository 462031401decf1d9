import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "vitest"
import { tallyman, withScratch } from "../fault/Workbench.ts"
import { imageOf, sourceOf, usable } from "../layout/unpacked.ts"
import { file } from "../rootfs/Layers.ts"

describe("unmount", () => {
  it("refuses what is no directory of mounts", () =>
    withScratch(async (directory) => {
      const ran = await tallyman(["unmount", directory])
      assert.strictEqual(ran.code, 3)
      assert.match(ran.stderr, /expected a directory of mounts/)
      assert.strictEqual((await tallyman(["unmount", `dir://${directory}`])).code, 2)
      assert.strictEqual((await tallyman(["unmount", path.join(directory, "none")])).code, 3)
    }))

  it.skipIf(!usable)("takes a mount down, and says when there is none", () =>
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
      const second = await tallyman(["unmount", out])
      assert.strictEqual(second.code, 0)
      assert.strictEqual(second.stdout, `Nothing is mounted on ${out}/rootfs\n`)
    })
  )
})
