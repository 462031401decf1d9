import { assert, describe, it } from "vitest"
import * as LayerScan from "../../src/content/LayerScan.ts"
import { PathTree } from "../../src/content/PathTree.ts"
import type { Problem } from "../../src/content/Problem.ts"
import type { TarEntry } from "../../src/content/TarEntry.ts"

const entry = (path: string, more: Partial<TarEntry> = {}): TarEntry => ({
  index: 0,
  headerOffset: 0,
  dataOffset: 512,
  size: 0,
  realSize: 0,
  type: "file",
  typeflag: "0",
  path,
  linkname: "",
  mode: 0o644,
  uid: 0,
  gid: 0,
  uname: "",
  gname: "",
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  devmajor: 0,
  devminor: 0,
  pax: undefined,
  sparse: undefined,
  ...more
})

const directory = (path: string): TarEntry => entry(path, { type: "directory" })
const symlink = (path: string, linkname: string): TarEntry => entry(path, { type: "symlink", linkname })
const hardlink = (path: string, linkname: string): TarEntry => entry(path, { type: "hardlink", linkname })

/** What the facts say, as lists of paths. */
interface Told {
  readonly found: ReadonlyArray<string>
  readonly facts: LayerScan.LayerFacts
  readonly openLinks: ReadonlyArray<readonly [path: string, target: string]>
  readonly entries: ReadonlyArray<string>
  readonly whiteouts: ReadonlyArray<string>
  readonly opaques: ReadonlyArray<string>
  readonly implied: ReadonlyArray<string>
}

const scan = (entries: Iterable<TarEntry>, held?: number): Told => {
  const problems: Array<Problem> = []
  const layer = new LayerScan.LayerScan((problem) => problems.push(problem), held)
  for (const one of entries) layer.entry(one)
  const facts = layer.end(true)
  const tree = new PathTree(facts.paths)
  const marked = (mark: number): ReadonlyArray<number> => {
    const ids: Array<number> = []
    for (let id = tree.first; id < tree.end; id = tree.next(id)) if (tree.has(id, mark)) ids.push(id)
    return ids
  }
  const pathsOf = (mark: number): ReadonlyArray<string> => marked(mark).map((id) => tree.pathOf(id))
  assert.deepStrictEqual(
    [facts.openLinks, facts.whiteouts, facts.implied],
    [LayerScan.openLink, LayerScan.whiteout, LayerScan.implied].map((mark) => marked(mark).length)
  )
  return {
    found: problems.map(({ check, path }) => (path === undefined ? check : `${check} ${path}`)),
    facts,
    get openLinks() {
      return marked(LayerScan.openLink).map((id) => [tree.pathOf(id), tree.pathOf(tree.next(id))] as const)
    },
    get entries() {
      return pathsOf(LayerScan.isEntry)
    },
    get whiteouts() {
      return pathsOf(LayerScan.whiteout)
    },
    get opaques() {
      return pathsOf(LayerScan.opaque)
    },
    get implied() {
      return pathsOf(LayerScan.implied)
    }
  }
}

describe("hardlinks", () => {
  it("lead to files and symlinks that came before them", () => {
    const { found, openLinks } = scan([
      entry("a"),
      symlink("s", "nowhere"),
      hardlink("b", "./a"),
      hardlink("c", "b"),
      hardlink("t", "s"),
      hardlink("d", "x/../a")
    ])
    assert.deepStrictEqual(found, [])
    assert.deepStrictEqual(openLinks, [])
  })

  it("leave to lower layers what this one has not", () => {
    assert.deepStrictEqual(scan([hardlink("b", "/lower/a"), hardlink("c", "later"), entry("later")]).openLinks, [
      ["b", "lower/a"],
      ["c", "later"]
    ])
  })

  it("do not lead to directories, nor through what a whiteout hides", () => {
    assert.deepStrictEqual(scan([directory("d"), hardlink("b", "d/"), hardlink("c", ".")]).found, [
      "layer.hardlink-bad-target b",
      "layer.hardlink-bad-target c"
    ])
    assert.deepStrictEqual(scan([entry(".wh.a"), hardlink("b", "a/x"), entry("o/.wh..wh..opq")]).found, [
      "layer.hardlink-missing-target b"
    ])
    // An opaque whiteout counts from the beginning, an explicit one from where it stands.
    assert.deepStrictEqual(scan([hardlink("b", "o/x"), entry("o/.wh..wh..opq")]).found, [
      "layer.hardlink-missing-target b"
    ])
    assert.deepStrictEqual(scan([hardlink("b", "a"), entry(".wh.a")]).openLinks, [["b", "a"]])
  })

  it("below a symlink of the layer may lead anywhere", () => {
    const { found, openLinks } = scan([entry("d/x"), symlink("l", "d"), hardlink("b", "l/x")])
    assert.deepStrictEqual(found, ["layer.path-through-non-directory b"])
    assert.deepStrictEqual(openLinks, [])
  })

  it("without a target have been reported by then", () => {
    const { found, openLinks } = scan([hardlink("b", "")])
    assert.deepStrictEqual([found, openLinks], [[], []])
  })
})

describe("whiteouts", () => {
  it("hide what the layer adds even where only entries below it show that", () => {
    assert.deepStrictEqual(scan([entry(".wh.d"), entry("d/e/f")]).found, ["layer.whiteout-of-own-path d"])
    assert.deepStrictEqual(scan([entry("d/.wh.e"), entry("d/e/f/g"), entry("d/ee")]).found, [
      "layer.whiteout-of-own-path d/e"
    ])
    assert.deepStrictEqual(scan([entry(".wh.d"), entry("dd/x")]).found, [])
  })

  it("that stand twice are told, and counted once", () => {
    const { found, opaques, whiteouts } = scan([
      entry(".wh.a"),
      entry("x/../.wh.a"),
      entry("o/.wh..wh..opq"),
      entry("./o/.wh..wh..opq")
    ])
    assert.deepStrictEqual(found, ["layer.duplicate-whiteout o/.wh..wh..opq", "layer.duplicate-whiteout .wh.a"])
    assert.deepStrictEqual([whiteouts, opaques], [["a"], ["o"]])
  })

  it("have nothing below them, told once for each", () => {
    const { entries, found } = scan([directory(".wh.d"), entry(".wh.d/a"), entry(".wh.d/b"), entry("p/.wh.q/r/s")])
    assert.deepStrictEqual(found, ["layer.whiteout-not-empty .wh.d", "layer.whiteout-not-empty p/.wh.q"])
    assert.deepStrictEqual(entries, [])
  })

  it("of the aufs driver are passed over, but for files that hardlinks name", () => {
    const { found, openLinks } = scan([
      directory(".wh..wh.plnk"),
      entry(".wh..wh.plnk/1.2", { size: 1 }),
      hardlink("a", ".wh..wh.plnk/1.2"),
      entry(".wh..wh.aufs", { size: 1 })
    ])
    assert.deepStrictEqual([found, openLinks], [[], []])
  })

  it("that lead through a symlink of the layer are told", () => {
    assert.deepStrictEqual(scan([symlink("l", "/etc"), entry("l/.wh.passwd"), entry("l/d/.wh..wh..opq")]).found, [
      "layer.path-through-non-directory l/passwd",
      "layer.path-through-non-directory l/d"
    ])
    assert.deepStrictEqual(scan([symlink("l", "/etc"), entry(".wh.m"), entry("ll/.wh.passwd")]).found, [])
  })

  it("are all kept, however many", () => {
    const { whiteouts } = scan(Array.from({ length: 150_000 }, (_, i) => entry(`.wh.${i}`)))
    assert.strictEqual(new Set(whiteouts).size, 150_000)
  })
})

describe("names", () => {
  it("that no file system can hold are reported and not kept", () => {
    const { entries, found } = scan([
      entry("x".repeat(255)),
      entry("y".repeat(256)),
      entry(`${"a/".repeat(2047)}b`),
      entry(`${"a/".repeat(2048)}b`),
      entry(`${"./".repeat(4000)}c`),
      symlink("s", "t".repeat(4095)),
      symlink("u", "t".repeat(4096)),
      hardlink("h", `d/${"y".repeat(256)}`)
    ])
    assert.deepStrictEqual(found, [
      `layer.path-unusable ${"y".repeat(256)}`,
      `layer.path-unusable ${`${"a/".repeat(2048)}b`.slice(0, 4095)}`,
      "layer.path-unusable u",
      "layer.path-unusable h"
    ])
    assert.deepStrictEqual(entries, ["x".repeat(255), `${"a/".repeat(2047)}b`, "c", "s"])
  })

  it("of the root are a directory's", () => {
    assert.deepStrictEqual(scan([directory("./"), directory(".")]).found, [])
    assert.deepStrictEqual(scan([symlink("./", "etc"), entry("a/..")]).found, [
      "layer.root-not-directory ./",
      "layer.root-not-directory a/.."
    ])
    assert.deepStrictEqual(scan([entry("")]).found, [])
  })

  it("that are long are looked through in proportion to their length", () => {
    const deep = Array.from({ length: 1000 }, (_, i) => entry(`${i}/${"a/".repeat(2000)}x`))
    const started = performance.now()
    assert.deepStrictEqual(scan([entry("7"), ...deep, entry(".wh.nothing")]).found, [
      `layer.path-through-non-directory 7/${"a/".repeat(2000)}x`
    ])
    assert.isBelow(performance.now() - started, 10_000)
  })

  it("are kept until they are too many, and then the rest is said to be unseen", () => {
    const few = scan(
      Array.from({ length: 10 }, (_, i) => entry(`${i}`)),
      4096 + 12 + 4 * 16
    )
    assert.deepStrictEqual(few.found, ["layer.too-large"])
    assert.isFalse(few.facts.whole)
    assert.deepStrictEqual(few.entries, ["0", "1", "2", "3"])
  })
})

describe("directories without entries", () => {
  it("are told, for lower layers may have something else there", () => {
    const { implied } = scan([directory("a"), entry("a/b/c/d"), entry("a/b/c/e"), entry("f"), symlink("g/h", "x")])
    assert.sameMembers([...implied], ["a/b/c", "a/b", "g"])
    for (const depth of [100, 2000]) {
      assert.deepStrictEqual(
        scan([entry(`${"a/".repeat(depth)}x`)]).implied,
        Array.from({ length: 32 }, (_, i) => "a/".repeat(depth - 31 + i).slice(0, -1))
      )
    }
  })
})

describe("overlay's own marks", () => {
  it("are reported", () => {
    const marked = (keyword: string): TarEntry => entry("d", { type: "directory", pax: new Map([[keyword, "y"]]) })
    for (const keyword of [
      "SCHILY.xattr.trusted.overlay.opaque",
      "SCHILY.xattr.user.overlay.redirect",
      "LIBARCHIVE.xattr.trusted.overlay.metacopy"
    ]) {
      assert.deepStrictEqual(scan([marked(keyword)]).found, ["layer.overlay-artifact d"])
    }
    for (const keyword of ["SCHILY.xattr.user.overlayed", "SCHILY.acl.access", "LIBARCHIVE.creationtime", "mtime"]) {
      assert.deepStrictEqual(scan([marked(keyword)]).found, [])
    }
    assert.deepStrictEqual(scan([entry("gone", { type: "char" })]).found, ["layer.overlay-artifact gone"])
    assert.deepStrictEqual(scan([entry("dev/null", { type: "char", devmajor: 1, devminor: 3 })]).found, [])
  })
})
