import { assert, describe, it } from "vitest"
import type { LayerFacts } from "../../src/content/LayerScan.ts"
import { LayerPaths } from "../../src/layout/LayerPaths.ts"

/** `paths` with their type letters: "d", "l" or "f" before each. */
const layer = (paths: ReadonlyArray<string>, more: Partial<LayerFacts> = {}): LayerFacts => ({
  openLinks: [],
  whiteouts: [],
  opaques: [],
  implied: [],
  paths: Buffer.from(paths.map((path) => `${path}\0`).join(""), "latin1"),
  ...more
})

const shown = (path: string, ...layers: ReadonlyArray<LayerFacts>): string | undefined =>
  new LayerPaths(1 << 20).shown(path, layers)

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
    assert.isUndefined(shown("usr", base, layer([], { whiteouts: ["usr"] })))
    assert.strictEqual(shown("usr/a", base, layer(["fusr/c"])), "other")
    assert.strictEqual(shown("plain", base, layer(["dplain"])), "directory")
  })

  it("is nothing below what covers it", () => {
    assert.isUndefined(shown("usr/a", base, layer([], { whiteouts: ["usr"] })))
    assert.isUndefined(shown("usr/a", base, layer(["dusr"], { opaques: ["usr"] })))
    assert.isUndefined(shown("usr/a", base, layer([], { opaques: [""] })))
    assert.isUndefined(shown("usr/a", base, layer(["fusr"])))
    assert.isUndefined(shown("plain/x", base))
  })

  it("cannot be told below a symlink, unless something nearer covers it", () => {
    assert.strictEqual(shown("ln/x/y", base), "behind-symlink")
    assert.isUndefined(shown("ln/x/y", layer(["lln", "fln/x"])))
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
    const deep = Array.from({ length: 1000 }, (_, i) => `${i}/${"a/".repeat(2000)}x`)
    const one = layer(deep.map((path) => `f${path}`))
    const tables = new LayerPaths(1 << 30)
    const started = performance.now()
    for (const path of deep) assert.isUndefined(tables.shown(`${path.slice(0, -1)}y`, [one]))
    assert.isBelow(performance.now() - started, 10_000)
  })

  it("is not sought without end in thousands of layers, and that is said", () => {
    const tables = new LayerPaths(1 << 20, 1000)
    const layers = Array.from({ length: 600 }, () => base)
    assert.isUndefined(tables.shown("nowhere", layers))
    assert.isFalse(tables.exhausted)
    assert.strictEqual(tables.shown("plain", layers), "other")
    assert.isUndefined(tables.shown("nowhere", layers))
    assert.isTrue(tables.exhausted)
    assert.isUndefined(tables.shown("plain", layers))
  })
})
