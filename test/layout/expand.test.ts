import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { findings, processUris, scratch, verifyTarget } from "../fault/Workbench.ts"
import { dir, file, symlink } from "../rootfs/Layers.ts"
import { everything, imageOf, seen, sourceOf, usable } from "./unpacked.ts"

const told = (out: string, depth: "fast" | "full" = "full") =>
  Effect.map(verifyTarget(out, depth), (verification) =>
    findings(verification).filter(([check]) => check !== "tar.path-not-utf8")
  )

describe.skipIf(!usable)("a directory with its tree beside the layers", () => {
  it.scoped("holds the tree that a bundle has, for each image", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const source = sourceOf(directory, imageOf())
      const out = path.join(directory, "out")
      yield* processUris(source, `dir://${out}?expand=true&unique_names=true`)
      yield* processUris(source, `oci://${directory}/bundle`, undefined)
      const timeless = [".", `./${"n".repeat(200)}`]
      const tree = fs.readdirSync(out).find((name) => /^manifest-.*unpacked-1$/.test(name))!
      assert.deepStrictEqual(seen(`${out}/${tree}`, timeless), seen(`${directory}/bundle/rootfs`, timeless))
      assert.deepStrictEqual(yield* told(out), [])
      assert.deepStrictEqual(yield* told(out, "fast"), [])
    })
  )

  it.scoped("is written again in place of an older one", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = path.join(directory, "out")
      yield* processUris(sourceOf(directory, imageOf([[file("old", "o")]])), `dir://${out}?expand=true`)
      yield* processUris(sourceOf(directory, imageOf([[file("new", "n")]])), `dir://${out}?expand=true`)
      assert.deepStrictEqual(fs.readdirSync(`${out}/manifest`), ["new"])
      assert.deepStrictEqual(
        fs.readdirSync(out).filter((name) => name.startsWith(".")),
        []
      )
    })
  )

  it.scoped("tells damage of the tree, and that image is not right", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = path.join(directory, "out")
      const layer = [dir("./"), dir("d/"), file("d/x", "x"), symlink("l", "d")]
      yield* processUris(sourceOf(directory, imageOf([layer])), `dir://${out}?expand=true`)
      fs.chmodSync(`${out}/manifest/d/x`, 0o600)
      const verification = yield* verifyTarget(out)
      assert.deepStrictEqual(findings(verification), [["rootfs.mode-mismatch", "manifest/d/x"]])
      assert.isFalse(verification.images[0]!.ok)
      fs.rmSync(`${out}/manifest/d`, { recursive: true })
      assert.deepStrictEqual(yield* told(out, "fast"), [["bundle.entry-count", "manifest"]])
      fs.rmSync(`${out}/manifest`, { recursive: true })
      assert.deepStrictEqual(yield* told(out, "fast"), [["bundle.missing-rootfs", "manifest"]])
    })
  )

  it.scoped("of the older tool is compared as well: what a whiteout's sibling lost is told", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = path.join(directory, "out")
      yield* processUris(sourceOf(directory, imageOf(everything)), `dir://${out}?expand=true`)
      for (const name of ["receipt.json", "catalog.json"]) fs.rmSync(`${out}/${name}`)
      fs.lutimesSync(`${out}/manifest/lib`, 5, 5)
      assert.deepStrictEqual(yield* told(out), [])
      fs.rmSync(`${out}/manifest/usr/lib64`, { recursive: true })
      assert.deepStrictEqual(yield* told(out), [["rootfs.missing", "manifest/usr/lib64"]])
    })
  )
})
