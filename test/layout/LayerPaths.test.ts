import { assert, describe, it } from "vitest"
import * as Facts from "../../src/content/LayerScan.ts"
import { PathTree } from "../../src/content/PathTree.ts"
import type { TarEntry, TarEntryType } from "../../src/content/TarEntry.ts"
import { LayerPaths, type Shown } from "../../src/layout/LayerPaths.ts"

const types: Record<string, TarEntryType> = { d: "directory", l: "symlink", f: "file" }

/** What a scan makes of entries, each with the letter of its type before it. */
const layer = (paths: ReadonlyArray<string>): PathTree => {
  const scan = new Facts.LayerScan(() => {})
  for (const path of paths) {
    const entry: Partial<TarEntry> = {
      headerOffset: 0,
      size: 0,
      type: types[path[0]!]!,
      path: path.slice(1),
      linkname: "",
      pax: undefined,
      sparse: undefined
    }
    scan.entry(entry as TarEntry)
  }
  return new PathTree(scan.end(true).paths)
}

const ask = (paths: LayerPaths, path: string, layers: ReadonlyArray<PathTree>): Shown | undefined => {
  const question = new PathTree()
  return paths.shown(question, question.reach(path), layers)
}

const shown = (path: string, ...layers: ReadonlyArray<PathTree>): Shown | undefined =>
  ask(new LayerPaths(), path, layers)

describe("what layers show at a path", () => {
  const base = layer(["dusr", "fusr/a", "fimplied/by/b", "lln", "fplain"])

  it("is what the uppermost one has there", () => {
    assert.strictEqual(shown("usr", base), "directory")
    assert.strictEqual(shown("", base), "directory")
    assert.strictEqual(shown("usr/a", base), "other")
    assert.strictEqual(shown("ln", base), "symlink")
    assert.strictEqual(shown("implied/by", base), "directory")
    assert.isUndefined(shown("usr/b", base))
    assert.isUndefined(shown("us", base))
    assert.isUndefined(shown("usr", base, layer(["f.wh.usr"])))
    assert.strictEqual(shown("usr/a", base, layer(["fusr/c"])), "other")
    assert.strictEqual(shown("plain", base, layer(["dplain"])), "directory")
  })

  it("is nothing below what covers it", () => {
    assert.isUndefined(shown("usr/a", base, layer(["f.wh.usr"])))
    assert.isUndefined(shown("usr/a", base, layer(["dusr", "fusr/.wh..wh..opq"])))
    assert.isUndefined(shown("usr/a", base, layer(["f.wh..wh..opq"])))
    assert.isUndefined(shown("usr/a", base, layer(["fusr"])))
    assert.isUndefined(shown("plain/x", base))
  })

  it("cannot be told below a symlink, unless something nearer covers it", () => {
    assert.strictEqual(shown("ln/x/y", base), "behind-symlink")
    assert.isUndefined(shown("ln/x/y", layer(["lln", "fln/x"])))
    assert.strictEqual(shown("ln/x", base, layer(["lln", "f.wh..wh..opq"])), "behind-symlink")
  })

  it("counts directories that only far lower entries imply", () => {
    const deep = `${"a/".repeat(200)}x`
    const one = layer([`f${deep}`, "fb"])
    for (const depth of [1, 20, 100, 199]) {
      assert.strictEqual(shown("a/".repeat(depth).slice(0, -1), one), "directory")
    }
    assert.strictEqual(shown(deep, one), "other")
    assert.isUndefined(shown(`${"a/".repeat(100)}b`, one))
  })

  it("is found in time proportional to names", () => {
    const deep = Array.from({ length: 300 }, (_, i) => `${i}/${"a/".repeat(2000)}x`)
    const one = layer(deep.map((path) => `f${path}`))
    const tables = new LayerPaths()
    const started = performance.now()
    for (const path of deep) assert.isUndefined(ask(tables, `${path.slice(0, -1)}y`, [one]))
    assert.isBelow(performance.now() - started, 10_000)
  })

  it("is not sought without end in thousands of layers, and that is said", () => {
    const tables = new LayerPaths(1000)
    const layers = Array.from({ length: 600 }, () => base)
    assert.isUndefined(ask(tables, "nowhere", layers))
    assert.isFalse(tables.exhausted)
    assert.strictEqual(ask(tables, "plain", layers), "other")
    assert.isUndefined(ask(tables, "nowhere", layers))
    assert.isTrue(tables.exhausted)
    assert.isUndefined(ask(tables, "plain", layers))
  })
})
