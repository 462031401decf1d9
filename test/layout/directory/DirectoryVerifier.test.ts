import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Catalog from "../../../src/check/Catalog.ts"
import type { Finding } from "../../../src/check/Finding.ts"
import type * as Inspect from "../../../src/content/Inspect.ts"
import { WorkerPool } from "../../../src/content/WorkerPool.ts"
import * as Damage from "../../../src/fault/Damage.ts"
import * as Entry from "../../../src/fault/Entry.ts"
import * as ImageBuilder from "../../../src/fault/ImageBuilder.ts"
import * as PythonJson from "../../../src/image/PythonJson.ts"
import * as DirectoryVerifier from "../../../src/layout/directory/DirectoryVerifier.ts"
import * as Journal from "../../../src/layout/Journal.ts"
import * as Receipt from "../../../src/layout/Receipt.ts"
import type { Depth, Verification } from "../../../src/layout/Verifier.ts"
import { end, field, withField } from "../../fault/Headers.ts"
import * as Workbench from "../../fault/Workbench.ts"

const audit = (root: string, depth: Depth): Promise<Verification> =>
  Effect.runPromise(Workbench.verifyTarget(`dir://${root}`, depth))

const image = Workbench.small()
const config = `${image.id.slice(7)}.json`
const layerOf = (one: ImageBuilder.BuiltImage, index: number): string =>
  `${one.layers[index]!.diffId.slice(7)}/layer.tar`
const base = layerOf(image, 0)
const top = layerOf(image, 1)

/** `image` as the writer leaves it. */
let sound: ReadonlyMap<string, Buffer>

beforeAll(() =>
  Workbench.withScratch(async (directory) => {
    sound = Workbench.snapshot(await Effect.runPromise(Workbench.written(directory, image)))
  })
)

/** A directory at a fresh path, made by `make`, and damaged by `damage`. */
interface Case {
  /** What has to be reported, and about what. */
  readonly check: Catalog.CheckId
  readonly subject: string
  /** What it is, when the check alone does not say it. */
  readonly title?: string
  /** The least depth that sees it; fast unless given. */
  readonly depth?: Depth
  /** Other subjects that may be named, as they are hit too. */
  readonly also?: ReadonlyArray<string>
  readonly make: (root: string) => void
}

/** The directory that the writer left, with one thing done to it. */
const after =
  (damage: (root: string) => void) =>
  (root: string): void => {
    Workbench.restore(root, sound)
    damage(root)
  }

/** A directory without catalog and receipt, as another tool might write it. */
const built =
  (one: ImageBuilder.BuiltImage, damage: (root: string) => void = () => {}) =>
  (root: string): void => {
    ImageBuilder.writeTree(root, ImageBuilder.directory([one]))
    Damage.remove(`${root}/catalog.json`)
    damage(root)
  }

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1")

/** What JSON.parse gives: tests put in it what types would not let them. */
type Loose = ReturnType<typeof JSON.parse>

/** Changes a JSON file. */
const edit = (root: string, file: string, change: (value: Loose) => unknown): void => {
  const value = JSON.parse(fs.readFileSync(path.join(root, file), "utf8"))
  fs.writeFileSync(path.join(root, file), PythonJson.stringify(change(value) ?? value))
}

/** An image whose config has other fields; its name fits its content. */
const withConfig = (fields: Readonly<Record<string, unknown>>): ImageBuilder.BuiltImage =>
  ImageBuilder.build({ layers: [[Entry.file("a", "a")], [Entry.file("b", "b")]], config: fields })

const configOf = (one: ImageBuilder.BuiltImage): string => `${one.id.slice(7)}.json`

const configCase = (
  check: Catalog.CheckId,
  fields: Readonly<Record<string, unknown>>,
  more: Partial<Case> = {}
): Case => {
  const one = withConfig(fields)
  return { check, subject: configOf(one), make: built(one), ...more }
}

/** A layer that is these bytes; its diff_id fits, so that nothing but the tar itself can tell. */
const tarCase = (check: Catalog.CheckId, tar: Uint8Array, more: Partial<Case> = {}): Case => {
  const one = ImageBuilder.build({ layers: [tar] })
  return { check, subject: layerOf(one, 0), depth: "full", make: built(one), ...more }
}

const layerCase = (
  check: Catalog.CheckId,
  entries: ReadonlyArray<Entry.Entry>,
  below: ReadonlyArray<Entry.Entry> = [Entry.file("below")],
  more: Partial<Case> = {}
): Case => {
  const one = ImageBuilder.build({ layers: [below, entries] })
  return { check, subject: layerOf(one, 1), depth: "full", make: built(one), ...more }
}

/** A gzip layer as other tools leave it in a directory. */
const gzipCase = (check: Catalog.CheckId, change: (stored: Buffer) => Uint8Array, more: Partial<Case> = {}): Case => ({
  check,
  subject: base,
  depth: "full",
  make: built(image, (root) => fs.writeFileSync(path.join(root, base), change(zlib.gzipSync(image.layers[0]!.tar)))),
  ...more
})

const plain = Entry.tar([Entry.file("a", "a")])

const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`

const pax = (record: string): Uint8Array =>
  Buffer.concat([
    withField({ ...Entry.file("PaxHeaders/a", record) }, field.type, "x"),
    Entry.encode(Entry.file("a", "a")),
    end
  ])

/** A docker-save that was unpacked. */
const unpacked =
  (damage: (root: string) => void = () => {}) =>
  (root: string): void => {
    ImageBuilder.writeTree(root, ImageBuilder.dockerLegacy([image]))
    damage(root)
  }

const cases: ReadonlyArray<Case> = [
  {
    check: "repositories.invalid-json",
    subject: "repositories",
    make: unpacked((root) => fs.writeFileSync(`${root}/repositories`, "{"))
  },
  {
    check: "archive.repositories-mismatch",
    subject: "repositories",
    also: ["manifest.json"],
    make: unpacked((root) => edit(root, "repositories", (value) => ({ "localhost/other": Object.values(value)[0] })))
  },
  // manifest
  {
    check: "manifest.missing",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: after((root) => Damage.remove(`${root}/manifest.json`))
  },
  {
    check: "manifest.missing",
    title: "of another tool",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => Damage.remove(`${root}/manifest.json`))
  },
  {
    check: "manifest.missing",
    title: "an empty directory",
    subject: "manifest.json",
    make: (root) => fs.mkdirSync(root)
  },
  {
    check: "manifest.invalid-json",
    title: "cut short",
    subject: "manifest.json",
    also: ["receipt.json", "catalog.json", base, top, config],
    make: after((root) => Damage.truncate(`${root}/manifest.json`, 40))
  },
  {
    check: "manifest.invalid-json",
    title: "empty",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => Damage.truncate(`${root}/manifest.json`, 0))
  },
  {
    check: "manifest.invalid-json",
    title: "not UTF-8",
    subject: "manifest.json",
    make: built(image, (root) => {
      const text = fs.readFileSync(`${root}/manifest.json`, "latin1")
      fs.writeFileSync(`${root}/manifest.json`, text.replace("{", '{"Comment": "caf\xe9",'), "latin1")
    })
  },
  {
    check: "manifest.invalid-json",
    title: "nested 100,000 deep",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => fs.writeFileSync(`${root}/manifest.json`, deep))
  },
  {
    check: "manifest.invalid-json",
    title: "a directory",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => Damage.replaceByDirectory(`${root}/manifest.json`))
  },
  {
    check: "manifest.invalid-json",
    title: "a FIFO",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => Damage.replaceByFifo(`${root}/manifest.json`))
  },
  {
    check: "manifest.invalid-json",
    title: "a symlink out of the directory",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => Damage.replaceBySymlink(`${root}/manifest.json`, "/etc/hostname"))
  },
  {
    check: "manifest.not-an-array",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => edit(root, "manifest.json", (value) => value[0]))
  },
  {
    check: "manifest.empty",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => edit(root, "manifest.json", () => []))
  },
  {
    check: "manifest.missing-field",
    title: "Config",
    subject: "manifest.json",
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        delete value[0].Config
      })
    )
  },
  {
    check: "manifest.missing-field",
    title: "Layers",
    subject: "manifest.json",
    also: [base, top],
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        delete value[0].Layers
      })
    )
  },
  {
    check: "manifest.wrong-type",
    title: "an entry",
    subject: "manifest.json",
    also: ["catalog.json", base, top],
    make: built(image, (root) => edit(root, "manifest.json", () => ["image"]))
  },
  {
    check: "manifest.wrong-type",
    title: "Config",
    subject: "manifest.json",
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Config = 1
      })
    )
  },
  {
    check: "manifest.wrong-type",
    title: "Layers",
    subject: "manifest.json",
    also: [base, top],
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Layers = { 0: base }
      })
    )
  },
  {
    check: "manifest.wrong-type",
    title: "RepoTags",
    subject: "manifest.json",
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].RepoTags = "localhost/small:1"
      })
    )
  },
  {
    check: "manifest.duplicate-key",
    subject: "manifest.json",
    make: built(image, (root) => {
      const text = fs.readFileSync(`${root}/manifest.json`, "utf8")
      fs.writeFileSync(`${root}/manifest.json`, text.replace('"Config"', '"RepoTags": [], "Config"'))
    })
  },
  ...["../outside.json", "/etc/passwd", "a\0b", "", "a/../../b"].map(
    (name): Case => ({
      check: "manifest.unsafe-path",
      title: `Config ${JSON.stringify(name)}`,
      subject: "manifest.json",
      make: built(image, (root) =>
        edit(root, "manifest.json", (value) => {
          value[0].Config = name
        })
      )
    })
  ),
  ...["../layer.tar", "/layer.tar", "a\0/layer.tar", ""].map(
    (name): Case => ({
      check: "manifest.unsafe-path",
      title: `a layer ${JSON.stringify(name)}`,
      subject: "manifest.json",
      also: [base, top],
      make: built(image, (root) =>
        edit(root, "manifest.json", (value) => {
          value[0].Layers[1] = name
        })
      )
    })
  ),
  {
    check: "manifest.parent-missing",
    subject: "manifest.json",
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Parent = `sha256:${"0".repeat(64)}`
      })
    )
  },
  {
    check: "image.bad-name",
    subject: "manifest.json",
    also: ["catalog.json"],
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].RepoTags = ["Localhost/Small:.1"]
      })
    )
  },

  // config
  { check: "config.missing", subject: config, make: after((root) => Damage.remove(path.join(root, config))) },
  {
    check: "config.unreadable",
    title: "a directory",
    subject: config,
    make: after((root) => Damage.replaceByDirectory(path.join(root, config)))
  },
  {
    check: "config.unreadable",
    title: "a FIFO",
    subject: config,
    make: after((root) => Damage.replaceByFifo(path.join(root, config)))
  },
  {
    check: "config.unreadable",
    title: "a symlink out of the directory",
    subject: config,
    make: after((root) => Damage.replaceBySymlink(path.join(root, config), "../../../etc/hostname"))
  },
  {
    check: "config.unreadable",
    title: "4 GiB",
    subject: config,
    make: after((root) => fs.truncateSync(path.join(root, config), 2 ** 32))
  },
  {
    check: "config.invalid-json",
    title: "no JSON",
    subject: config,
    make: built(image, (root) => fs.writeFileSync(path.join(root, config), "{"))
  },
  {
    check: "config.invalid-json",
    title: "no object",
    subject: config,
    make: built(image, (root) => fs.writeFileSync(path.join(root, config), "[]"))
  },
  {
    check: "config.duplicate-key",
    subject: config,
    make: built(image, (root) => {
      const text = fs.readFileSync(path.join(root, config), "utf8")
      fs.writeFileSync(path.join(root, config), text.replace("{", '{"os":"plan9",'))
    })
  },
  {
    check: "config.size-mismatch",
    subject: config,
    make: after((root) => Damage.extend(path.join(root, config), bytes("\n")))
  },
  {
    check: "config.digest-mismatch",
    title: "by the receipt and its name",
    subject: config,
    make: after((root) => Damage.flipByte(path.join(root, config), 5, 0x20))
  },
  {
    check: "config.digest-mismatch",
    title: "by its name alone",
    subject: config,
    make: built(image, (root) => Damage.extend(path.join(root, config), bytes(" ")))
  },
  configCase("config.missing-field", { architecture: undefined }, { title: "architecture" }),
  configCase("config.missing-field", { os: null }, { title: "os" }),
  configCase("config.missing-field", { rootfs: undefined }, { title: "rootfs" }),
  configCase("config.missing-field", { rootfs: { type: "layers" } }, { title: "rootfs.diff_ids" }),
  configCase("config.wrong-type", { architecture: 1 }, { title: "architecture" }),
  configCase("config.wrong-type", { rootfs: { type: "layers", diff_ids: "none" } }, { title: "rootfs.diff_ids" }),
  configCase("config.wrong-type", { config: { Labels: { a: 1 } } }, { title: "a label" }),
  configCase("config.wrong-type", { config: { Env: "A=1" } }, { title: "config.Env" }),
  configCase("config.wrong-type", { created: 1 }, { title: "created" }),
  configCase("config.bad-created", { created: "2024-02-30T00:00:00Z" }, { title: "a day that is none" }),
  configCase("config.bad-created", { created: "yesterday" }),
  configCase("history.count-mismatch", { history: [{ created_by: "one" }] }),
  configCase("history.count-mismatch", { history: [{}, {}, { empty_layer: true }, {}] }, { title: "one too many" }),
  {
    ...configCase("config.rootfs-type", {
      rootfs: { type: "tree", diff_ids: withConfig({}).layers.map((layer) => layer.diffId) }
    })
  },
  ...["sha256:abc", "md5", "", `sha256:${"A".repeat(64)}`].map((diffId) =>
    configCase(
      "config.bad-diff-id",
      { rootfs: { type: "layers", diff_ids: [withConfig({}).layers[0]!.diffId, diffId] } },
      { title: JSON.stringify(diffId) }
    )
  ),

  // layers as files
  {
    check: "layer.missing",
    subject: top,
    make: after((root) => Damage.remove(path.join(root, top))),
    also: [path.dirname(top)]
  },
  {
    check: "layer.missing",
    title: "its whole directory",
    subject: top,
    make: after((root) => Damage.remove(path.dirname(path.join(root, top))))
  },
  {
    check: "layer.unreadable",
    title: "a directory",
    subject: top,
    make: after((root) => Damage.replaceByDirectory(path.join(root, top)))
  },
  {
    check: "layer.unreadable",
    title: "a FIFO",
    subject: top,
    make: after((root) => Damage.replaceByFifo(path.join(root, top)))
  },
  {
    check: "layer.unreadable",
    title: "a symlink out of the directory",
    subject: top,
    make: after((root) => Damage.replaceBySymlink(path.join(root, top), "/etc/hostname"))
  },
  {
    check: "layer.unreadable",
    title: "a symlink to itself",
    subject: top,
    make: after((root) => Damage.replaceBySymlink(path.join(root, top), "layer.tar"))
  },
  {
    check: "layer.size-mismatch",
    title: "cut",
    subject: top,
    make: after((root) => Damage.truncate(path.join(root, top), 1024))
  },
  {
    check: "layer.size-mismatch",
    title: "extended",
    subject: top,
    make: after((root) => Damage.extend(path.join(root, top), new Uint8Array(512)))
  },
  {
    check: "layer.digest-mismatch",
    depth: "full",
    subject: top,
    make: after((root) => Damage.flipByte(path.join(root, top), 600))
  },
  {
    check: "layer.diff-id-mismatch",
    depth: "full",
    title: "with a receipt",
    subject: top,
    make: after((root) => Damage.flipByte(path.join(root, top), 600))
  },
  {
    check: "layer.diff-id-mismatch",
    depth: "full",
    title: "without one",
    subject: top,
    make: built(image, (root) => Damage.flipByte(path.join(root, top), 600))
  },
  {
    check: "layer.diff-id-mismatch",
    depth: "full",
    title: "two exchanged",
    subject: top,
    also: [base],
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Layers.reverse()
      })
    )
  },
  {
    check: "layer.count-mismatch",
    title: "one too few",
    subject: "manifest.json",
    also: [top],
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Layers.pop()
      })
    )
  },
  {
    check: "layer.count-mismatch",
    title: "one too many",
    subject: "manifest.json",
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Layers.push(base)
      })
    )
  },
  {
    check: "layer.shared-path",
    subject: base,
    also: [top],
    make: built(image, (root) =>
      edit(root, "manifest.json", (value) => {
        value[0].Layers = [base, base]
      })
    )
  },
  {
    check: "layer.unreferenced",
    subject: `${"0".repeat(64)}/layer.tar`,
    make: after((root) => {
      fs.mkdirSync(path.join(root, "0".repeat(64)))
      fs.writeFileSync(path.join(root, "0".repeat(64), "layer.tar"), plain)
    })
  },

  // layers as tars
  tarCase(
    "tar.bad-checksum",
    Buffer.concat([withField(Entry.file("a"), field.mode, "0000644"), end]).fill(
      "7",
      field.checksum,
      field.checksum + 6
    ),
    { title: "the first header" }
  ),
  tarCase(
    "tar.bad-checksum",
    (() => {
      const tar = Buffer.from(Entry.tar([Entry.file("a", "a"), Entry.file("b", "b")]))
      tar[1024 + 1] = 0x78
      return tar
    })(),
    { title: "the second header" }
  ),
  tarCase("tar.truncated", plain.subarray(0, 512), { title: "before a body" }),
  tarCase("tar.truncated", Entry.tar([Entry.file("a", "a"), Entry.file("b", "b")]).subarray(0, 1024 + 100), {
    title: "within a header"
  }),
  tarCase("tar.no-end", plain.subarray(0, 1024)),
  tarCase("tar.no-padding", plain.subarray(0, 513)),
  tarCase("tar.trailing-data", Buffer.concat([plain, plain]), { title: "a second archive" }),
  tarCase("tar.trailing-data", Buffer.concat([plain, Buffer.alloc(512, "x")]), { title: "garbage" }),
  tarCase("tar.bad-number", Buffer.concat([withField(Entry.file("a"), field.mode, "00006x4\0"), end]), {
    title: "mode"
  }),
  tarCase("tar.bad-number", Buffer.concat([withField(Entry.file("a"), field.size, "zzzzzzzzzzz\0"), end]), {
    title: "size"
  }),
  tarCase(
    "tar.bad-size",
    Buffer.concat([withField(Entry.hardlink("a", "b"), field.size, "00000001000\0"), Buffer.alloc(512, "x"), end])
  ),
  tarCase("tar.bad-pax", pax("99 path=x\n"), { title: "a length beyond the header" }),
  tarCase("tar.bad-pax", pax("path=x\n"), { title: "no length" }),
  tarCase("tar.bad-type", Buffer.concat([withField(Entry.file("a"), field.type, "@"), end])),
  tarCase("tar.uncommon-type", Buffer.concat([withField(Entry.file("a"), field.type, "7"), end])),
  tarCase("tar.bad-long-name", Buffer.concat([withField(Entry.file("././@LongLink", "name\0"), field.type, "L"), end])),
  tarCase(
    "tar.bad-sparse",
    Entry.tar([
      Entry.sparse(
        "a",
        {
          realSize: 100,
          segments: [
            [0, Buffer.alloc(512)],
            [200, bytes("x")]
          ]
        },
        "gnu"
      )
    ])
  ),
  tarCase("tar.not-a-tar", crypto.createHash("shake256", { outputLength: 4096 }).digest()),
  tarCase("tar.too-large", Entry.tar([Entry.file("a", "a", { pax: { comment: "x".repeat(1_100_000) } })])),
  tarCase("tar.path-absolute", Entry.tar([Entry.file("/etc/passwd")])),
  tarCase("tar.path-escapes", Entry.tar([Entry.file("../../etc/passwd")]), { title: "a name" }),
  tarCase("tar.path-escapes", Entry.tar([Entry.hardlink("a", "../../etc/passwd")]), { title: "a hardlink's target" }),
  tarCase("tar.path-nul", pax("13 path=a\0bc\n")),
  tarCase("tar.path-empty", Buffer.concat([withField(Entry.file("a"), field.name, "\0"), end])),
  tarCase("tar.path-not-utf8", Entry.tar([Entry.file(Uint8Array.of(0xe9))])),

  // layers as changesets
  layerCase("layer.duplicate-path", [Entry.file("a"), Entry.file("./a", "other")]),
  layerCase("layer.duplicate-directory", [Entry.directory("a"), Entry.file("a/b"), Entry.directory("./a")]),
  layerCase("layer.duplicate-path", [Entry.file("d/../a"), Entry.file("a", "other")], undefined, {
    title: "by another way"
  }),
  layerCase("layer.duplicate-whiteout", [Entry.whiteout("below"), Entry.whiteout("./below")]),
  layerCase("layer.duplicate-whiteout", [Entry.opaque("d"), Entry.file("d/a"), Entry.opaque("d")], undefined, {
    title: "opaque"
  }),
  layerCase("layer.bad-whiteout", [Entry.file("d/.wh.")]),
  layerCase("layer.whiteout-not-empty", [Entry.file(".wh.below", "x")]),
  layerCase("layer.whiteout-not-empty", [Entry.file(".wh.below/hidden", "x")], undefined, {
    title: "entries below one"
  }),
  layerCase("layer.whiteout-of-own-path", [Entry.file("below"), Entry.whiteout("below")]),
  layerCase("layer.whiteout-of-own-path", [Entry.whiteout("below"), Entry.file("below/deeper/a")], undefined, {
    title: "a directory without an entry"
  }),
  layerCase("layer.whiteout-of-nothing", [Entry.whiteout("nothing")]),
  layerCase("layer.sparse-entry", [Entry.sparse("s", { realSize: 4096, segments: [[0, bytes("x")]] })]),
  layerCase("layer.hardlink-missing-target", [Entry.hardlink("a", "gone")]),
  layerCase(
    "layer.hardlink-missing-target",
    [Entry.hardlink("a", "below"), Entry.hardlink("b", "below/deeper")],
    undefined,
    { title: "below a file" }
  ),
  layerCase("layer.hardlink-missing-target", [Entry.whiteout("below"), Entry.hardlink("a", "below")], undefined, {
    title: "hidden by the same layer"
  }),
  layerCase("layer.hardlink-bad-target", [Entry.directory("d"), Entry.hardlink("a", "d")]),
  layerCase(
    "layer.hardlink-bad-target",
    [Entry.hardlink("a", "etc")],
    [Entry.file("etc/passwd"), Entry.file("below")],
    {
      title: "of a lower layer"
    }
  ),
  layerCase("layer.root-not-directory", [Entry.symlink(".", "etc")]),
  layerCase("layer.path-unusable", [Entry.file("x".repeat(256))], undefined, { title: "a component" }),
  layerCase("layer.path-unusable", [Entry.file(`${"abcdefg/".repeat(512)}x`)], undefined, { title: "a path" }),
  layerCase("layer.path-unusable", [Entry.symlink("l", "x/".repeat(2048))], undefined, { title: "a target" }),
  layerCase("layer.overlay-artifact", [Entry.device("gone", "char", 0, 0)], undefined, { title: "a device" }),
  layerCase(
    "layer.overlay-artifact",
    [Entry.directory("d", { xattrs: { "trusted.overlay.opaque": "y" } })],
    undefined,
    { title: "an attribute" }
  ),
  layerCase("layer.path-through-non-directory", [Entry.symlink("l", "d"), Entry.file("l/x")]),
  layerCase(
    "layer.path-through-non-directory",
    [Entry.file("d/x"), Entry.symlink("l", "d"), Entry.hardlink("y", "l/x")],
    undefined,
    { title: "a hardlink's target" }
  ),
  layerCase(
    "layer.path-through-non-directory",
    [Entry.file("lib/x")],
    [Entry.file("usr/lib/y"), Entry.symlink("lib", "usr/lib")],
    {
      title: "a lower layer's symlink"
    }
  ),
  layerCase("layer.path-through-non-directory", [Entry.file("lib/d/x")], [Entry.file("lib")], {
    title: "a lower layer's file"
  }),
  layerCase(
    "layer.path-through-non-directory",
    [Entry.hardlink("x", "lib/y")],
    [Entry.file("usr/lib/y"), Entry.symlink("lib", "usr/lib")],
    { title: "a hardlink's target below a lower layer's symlink" }
  ),
  layerCase(
    "layer.path-through-non-directory",
    [Entry.whiteout("lib/y")],
    [Entry.file("usr/lib/y"), Entry.symlink("lib", "usr/lib")],
    { title: "a whiteout below a lower layer's symlink" }
  ),

  // compressed layers
  gzipCase("compression.truncated", (stored) => stored.subarray(0, -9)),
  gzipCase("compression.corrupt", (stored) => {
    stored[stored.length - 5]! ^= 1
    return stored
  }),
  gzipCase("compression.trailing-data", (stored) => Buffer.concat([stored, bytes("garbage")])),
  gzipCase("compression.unsupported", (stored) => Buffer.concat([Buffer.from("fd377a585a0000", "hex"), stored])),

  // catalog
  {
    check: "catalog.invalid-json",
    title: "no JSON",
    subject: "catalog.json",
    make: after((root) => Damage.truncate(`${root}/catalog.json`, 10))
  },
  {
    check: "catalog.invalid-json",
    title: "another form",
    subject: "catalog.json",
    make: after((root) => edit(root, "catalog.json", () => ({ image: "manifest.json" })))
  },
  {
    check: "catalog.invalid-json",
    title: "a directory",
    subject: "catalog.json",
    make: after((root) => Damage.replaceByDirectory(`${root}/catalog.json`))
  },
  {
    check: "catalog.duplicate-key",
    subject: "catalog.json",
    make: after((root) =>
      fs.writeFileSync(`${root}/catalog.json`, `{"localhost/small":{"1":"manifest.json","1":"manifest.json"}}`)
    )
  },
  {
    check: "catalog.dangling",
    subject: "catalog.json",
    make: after((root) =>
      edit(root, "catalog.json", (value) => {
        value.gone = { "1": "manifest-gone-1.json" }
      })
    )
  },
  {
    check: "catalog.dangling",
    title: "a manifest without images",
    subject: "catalog.json",
    also: ["manifest.json", base, top],
    make: built(image, (root) => {
      fs.writeFileSync(`${root}/manifest.json`, "[]")
      fs.writeFileSync(`${root}/catalog.json`, '{"localhost/small": {"1": "manifest.json"}}')
    })
  },
  {
    check: "catalog.dangling",
    title: "a file that is no manifest",
    subject: "catalog.json",
    make: after((root) =>
      edit(root, "catalog.json", (value) => {
        value.gone = { "1": "catalog.json" }
      })
    )
  },
  {
    check: "catalog.stale",
    subject: "catalog.json",
    make: after((root) =>
      edit(root, "catalog.json", (value) => {
        value.older = { "1": "manifest.json" }
      })
    )
  },
  {
    check: "catalog.unlisted",
    subject: "catalog.json",
    also: ["receipt.json"],
    make: built(image, (root) => fs.writeFileSync(`${root}/catalog.json`, "{}"))
  },
  { check: "catalog.missing", subject: "catalog.json", make: after((root) => Damage.remove(`${root}/catalog.json`)) },
  {
    check: "catalog.missing-entry",
    subject: "catalog.json",
    make: after((root) => edit(root, "catalog.json", () => ({})))
  },
  {
    check: "catalog.reformatted",
    subject: "catalog.json",
    make: after((root) => Damage.extend(`${root}/catalog.json`, bytes("\n")))
  },
  {
    check: "catalog.collision",
    subject: "catalog.json",
    also: ["receipt-a_b_c-1.json"],
    make: (root) => {
      const named = ImageBuilder.build({ names: ["a/b_c:1"], layers: [plain] })
      ImageBuilder.writeTree(root, ImageBuilder.directory([named], { uniqueNames: true }))
      edit(root, "catalog.json", (value) => {
        value["a_b/c"] = { "1": "manifest-a_b_c-1.json" }
      })
    }
  },
  ...["../manifest.json", "/manifest.json", "a/manifest.json", "", "a\0"].map(
    (name): Case => ({
      check: "catalog.unsafe-path",
      title: JSON.stringify(name),
      subject: "catalog.json",
      make: after((root) =>
        edit(root, "catalog.json", (value) => {
          value.other = { "1": name }
        })
      )
    })
  ),

  // receipt
  {
    check: "receipt.invalid",
    title: "no JSON",
    subject: "receipt.json",
    make: after((root) => Damage.truncate(`${root}/receipt.json`, 10))
  },
  {
    check: "receipt.invalid",
    title: "other white space",
    subject: "receipt.json",
    make: after((root) => edit(root, "receipt.json", (value) => value))
  },
  {
    check: "receipt.invalid",
    title: "a field changed",
    subject: "receipt.json",
    make: after((root) => {
      const text = fs.readFileSync(`${root}/receipt.json`, "utf8")
      fs.writeFileSync(`${root}/receipt.json`, text.replace("tar://", "TAR://"))
    })
  },
  {
    check: "receipt.invalid",
    title: "a directory",
    subject: "receipt.json",
    make: after((root) => Damage.replaceByDirectory(`${root}/receipt.json`))
  },
  {
    check: "receipt.invalid",
    title: "a path that leaves the directory",
    subject: "receipt.json",
    also: ["receipt.json"],
    make: after((root) =>
      resealed(root, (receipt) => ({ ...receipt, files: [...receipt.files, Receipt.fileOf("../x", bytes(""))] }))
    )
  },
  { check: "receipt.missing", subject: "receipt.json", make: after((root) => Damage.remove(`${root}/receipt.json`)) },
  {
    check: "receipt.missing-file",
    subject: "extra",
    also: ["receipt.json"],
    make: after((root) =>
      resealed(root, (receipt) => ({ ...receipt, files: [...receipt.files, Receipt.fileOf("extra", bytes("x"))] }))
    )
  },
  {
    check: "receipt.size-mismatch",
    subject: "manifest.json",
    make: after((root) => Damage.extend(`${root}/manifest.json`, bytes("\n")))
  },
  {
    check: "receipt.digest-mismatch",
    subject: "manifest.json",
    make: after((root) =>
      edit(root, "manifest.json", (value) => {
        value[0].RepoTags = ["localhost/small:2"]
      })
    ),
    also: ["catalog.json"]
  },
  {
    check: "receipt.image-mismatch",
    subject: "receipt.json",
    make: after((root) =>
      resealed(root, (receipt) => ({ ...receipt, files: receipt.files.filter((file) => file.path !== top) }))
    )
  },

  // the directory itself
  {
    check: "directory.incomplete",
    subject: ".tallyman-run-1-00.json",
    make: after((root) => {
      // No process has this number: the kernel's highest is 2^22.
      fs.writeFileSync(
        `${root}/.tallyman-run-1-00.json`,
        JSON.stringify({
          ...JSON.parse(Buffer.from(Journal.describeSelf("manifest.json", "x")).toString()),
          pid: 2 ** 30
        })
      )
    })
  },
  {
    check: "directory.incomplete",
    title: "an empty journal",
    subject: `.tallyman-run-${2 ** 30}-00.json`,
    make: after((root) => fs.writeFileSync(`${root}/.tallyman-run-${2 ** 30}-00.json`, ""))
  },
  {
    check: "directory.incomplete",
    title: "a journal that is a FIFO",
    subject: ".tallyman-run-1-00.json",
    make: after((root) => {
      fs.writeFileSync(`${root}/.tallyman-run-1-00.json`, "")
      Damage.replaceByFifo(`${root}/.tallyman-run-1-00.json`)
    })
  },
  {
    check: "directory.incomplete",
    title: "a journal that is a symlink to endless bytes",
    subject: ".tallyman-run-1-00.json",
    make: after((root) => fs.symlinkSync("/dev/zero", `${root}/.tallyman-run-1-00.json`))
  },
  {
    check: "directory.in-progress",
    subject: ".tallyman-run-1-00.json",
    make: after((root) =>
      fs.writeFileSync(`${root}/.tallyman-run-1-00.json`, Journal.describeSelf("manifest.json", "x"))
    )
  },
  {
    check: "directory.leftover",
    subject: ".tallyman-run-1-00.0.partial",
    make: after((root) => fs.writeFileSync(`${root}/.tallyman-run-1-00.0.partial`, "x"))
  },
  {
    check: "directory.empty",
    subject: "0".repeat(64),
    make: after((root) => fs.mkdirSync(path.join(root, "0".repeat(64))))
  }
]

const resealed = (root: string, change: (receipt: Receipt.Receipt) => Receipt.Receipt): void => {
  const decoded = Receipt.decode(fs.readFileSync(`${root}/receipt.json`))
  if (decoded._tag === "Left") throw new Error(decoded.left)
  fs.writeFileSync(`${root}/receipt.json`, Receipt.encode(change(decoded.right)))
}

const ofCheck = ({ results }: Verification, check: string): ReadonlyArray<Finding> =>
  results.results.filter((one) => one.check === check)

const isCase = (subject: string, found: Verification, one: Case): boolean =>
  ofCheck(found, one.check).some((finding) => finding.subject === subject)

describe("every check", () => {
  for (const one of cases) {
    const depth = one.depth ?? "fast"
    it(`${one.check}${one.title === undefined ? "" : ` (${one.title})`} is reported, and nothing else is accused`, () =>
      Workbench.withScratch(async (directory) => {
        const root = path.join(directory, "out")
        one.make(root)
        const full = await audit(root, "full")
        const found = depth === "full" ? full : await audit(root, "fast")
        for (const result of [found, full]) {
          assert.isTrue(isCase(one.subject, result, one), JSON.stringify(result.results.results))
          for (const finding of ofCheck(result, one.check)) {
            assert.strictEqual(finding.severity, Catalog.catalog[one.check].severity)
          }
          const accused = result.results.results
            .filter((finding) => finding.severity !== "info")
            .map((finding) => finding.subject)
          assert.includeMembers([one.subject, ...(one.also ?? [])], accused)
          assert.include(result.results.checked, one.check)
        }
        if (depth === "full") {
          assert.isFalse(isCase(one.subject, await audit(root, "fast"), one), "seen at fast depth as well")
        }
        if (Catalog.catalog[one.check].severity === "error") {
          assert.isTrue(full.results.hasErrors)
          assert.isFalse(
            full.images.some((verdict) => verdict.ok) &&
              one.subject !== "catalog.json" &&
              !one.check.startsWith("directory."),
            "a verdict is good"
          )
        }
      }))
  }

  it("ran on a sound directory and found nothing", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      Workbench.restore(root, sound)
      for (const depth of ["fast", "full"] as const) {
        const { images, layerCount, results } = await audit(root, depth)
        assert.deepStrictEqual(results.results, [])
        assert.deepStrictEqual(images, [{ image: "localhost/small:1", ok: true, errorCount: 0 }])
        assert.strictEqual(layerCount, 2)
        const reachable = cases.filter((one) => depth === "full" || one.depth !== "full").map((one) => one.check)
        assert.deepStrictEqual(
          reachable.filter((check) => !results.checked.includes(check) && !unlessMet.has(check)),
          []
        )
      }
    }))
})

/** Checks of what a sound directory does not have. */
const unlessMet: ReadonlySet<string> = new Set([
  "config.unreadable",
  "receipt.missing",
  "layer.whiteout-of-nothing",
  "repositories.invalid-json",
  "archive.repositories-mismatch"
])

it("passes a docker-save that was unpacked", () =>
  Workbench.withScratch(async (directory) => {
    const root = path.join(directory, "saved")
    unpacked()(root)
    const { results } = await audit(root, "full")
    assert.deepStrictEqual(results.results, [])
    assert.include([...results.checked], "archive.repositories-mismatch")
  }))

describe("a directory of many images", () => {
  const shared = image.layers[0]!.tar
  const second = ImageBuilder.build({ names: ["localhost/second:1"], layers: [shared, [Entry.file("second")]] })
  const third = ImageBuilder.build({ names: ["localhost/third:1"], layers: [[Entry.file("third")]] })

  /** The real writer's, with unique names. */
  const many = (root: string): Promise<void> =>
    Workbench.withScratch(async (directory) => {
      for (const [index, one] of [image, second, third].entries()) {
        const archive = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([one]), `${index}.tar`)
        await Effect.runPromise(Workbench.processUris(`tar://${archive}`, `dir://${root}?unique_names=true`))
      }
    })

  it("is audited whole, each shared layer read once", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      await many(root)
      const read: Array<string> = []
      const counting = Effect.map(WorkerPool, (pool) =>
        WorkerPool.of({
          ...pool,
          runAll: (job, tasks, options) => {
            for (const task of tasks)
              read.push(path.relative(root, (task as unknown as Inspect.InspectTask).region.path))
            return pool.runAll(job, tasks, options)
          }
        })
      )
      const found = await Effect.runPromise(
        Effect.flatMap(DirectoryVerifier.make({ path: root }), (verifier) => verifier.verify({ depth: "full" })).pipe(
          Effect.provideServiceEffect(WorkerPool, counting),
          Effect.provide(Workbench.pool)
        )
      )
      assert.deepStrictEqual(found.results.results, [])
      assert.deepStrictEqual(read.toSorted(), [base, top, layerOf(second, 1), layerOf(third, 0)].toSorted())
      assert.strictEqual(found.layerCount, 4)
      assert.deepStrictEqual(
        found.images.map(({ image: name, ok }) => [name, ok]),
        [
          ["localhost/second:1", true],
          ["localhost/small:1", true],
          ["localhost/third:1", true]
        ]
      )
    }))

  it("has a verdict for each image, and a damaged layer counts against every one that has it", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      await many(root)
      Damage.flipByte(path.join(root, base), 600)
      const found = await audit(root, "full")
      assert.deepStrictEqual(
        ofCheck(found, "layer.diff-id-mismatch").map((finding) => finding.subject),
        [base]
      )
      assert.deepStrictEqual(
        found.images.map(({ image: name, ok }) => [name, ok]),
        [
          ["localhost/second:1", false],
          ["localhost/small:1", false],
          ["localhost/third:1", true]
        ]
      )
    }))

  it("names every damage, and stops at none", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      await many(root)
      Damage.remove(`${root}/manifest-localhost_third-1.json`)
      Damage.remove(path.join(root, top))
      Damage.truncate(path.join(root, layerOf(second, 1)), 700)
      Damage.replaceByDirectory(path.join(root, configOf(second)))
      Damage.extend(`${root}/receipt-localhost_small-1.json`, bytes(" "))
      const found = await audit(root, "full")
      const errors = found.results.results
        .filter((one) => one.severity === "error")
        .map((one) => [one.check, one.subject])
      assert.sameDeepMembers(errors, [
        ["catalog.dangling", "catalog.json"],
        ["manifest.missing", "manifest-localhost_third-1.json"],
        ["layer.missing", top],
        ["layer.size-mismatch", layerOf(second, 1)],
        ["layer.digest-mismatch", layerOf(second, 1)],
        ["tar.truncated", layerOf(second, 1)],
        ["config.unreadable", configOf(second)],
        ["receipt.invalid", "receipt-localhost_small-1.json"]
      ])
    }))

  it("is not looked at beyond the image that was just written", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      await many(root)
      Damage.flipByte(path.join(root, layerOf(third, 0)), 600)
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([second]))
      const { verification } = await Effect.runPromise(
        Workbench.processUris(`tar://${archive}`, `dir://${root}?unique_names=true`)
      )
      assert.deepStrictEqual(verification?.results.results, [])
      assert.deepStrictEqual(
        verification?.images.map((one) => one.image),
        ["localhost/second:1"]
      )
      assert.isTrue((await audit(root, "full")).results.hasErrors)
    }))
})

describe("a layer with very many faults of a kind", () => {
  it("has the first hundred listed, and the number of the rest", () =>
    Workbench.withScratch(async (directory) => {
      const links = Array.from({ length: 150 }, (_, index) => Entry.hardlink(`link-${index}`, `gone-${index}`))
      const one = ImageBuilder.build({ layers: [[Entry.file("below")], links] })
      built(one)(`${directory}/out`)
      const found = ofCheck(await audit(`${directory}/out`, "full"), "layer.hardlink-missing-target")
      assert.lengthOf(found, 101)
      assert.include(found.at(-1)!.message, "50 more")
    }))
})

describe("documents with very many entries", () => {
  it("are audited in a time that grows with their size, not with its square", () =>
    Workbench.withScratch(async (directory) => {
      const many = 20_000
      const root = `${directory}/out`
      built(image)(root)
      const [entry] = JSON.parse(fs.readFileSync(`${root}/manifest.json`, "utf8")) as [object]
      const names = Array.from({ length: many }, (_, index) => `name-${index}:1`)
      // One image with very many names and layers, and very many without any.
      fs.writeFileSync(
        `${root}/manifest.json`,
        JSON.stringify([
          { ...entry, RepoTags: names, Layers: Array.from({ length: many }, () => base) },
          ...names.map(() => ({ Config: "gone.json", Layers: ["gone.tar"] }))
        ])
      )
      const catalog = names.map((_, index) => [`other-${index}`, { "1": "manifest.json" }])
      fs.writeFileSync(`${root}/catalog.json`, JSON.stringify(Object.fromEntries(catalog)))
      const started = performance.now()
      const found = await audit(root, "full")
      // Not all of them are listed.
      assert.isAtLeast(ofCheck(found, "catalog.stale").length, 100)
      assert.isAtLeast(ofCheck(found, "layer.missing").length, 100)
      assert.lengthOf(found.images, many + 1)
      // Two seconds by itself; its square would take minutes.
      assert.isBelow(performance.now() - started, 30_000)
    }))
})

describe("what cannot be read", () => {
  it("is said to be skipped, never passed", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      Workbench.restore(root, sound)
      const fast = await audit(root, "fast")
      assert.deepStrictEqual(
        fast.results.skipped.map((one) => one.check),
        ["layer.diff-id-mismatch"]
      )
      assert.notInclude(fast.results.checked, "layer.diff-id-mismatch")
      assert.notInclude(fast.results.checked, "tar.truncated")
    }))

  it("is an error when it is the directory itself", () =>
    Workbench.withScratch(async (directory) => {
      const file = path.join(directory, "file")
      fs.writeFileSync(file, "")
      const found = await Effect.runPromise(
        Effect.flatMap(DirectoryVerifier.make({ path: file }), (verifier) => verifier.verify({ depth: "full" })).pipe(
          Effect.provide(Workbench.pool)
        )
      )
      assert.deepStrictEqual(Workbench.findings(found), [["directory.unreadable", file]])
    }))
})

describe("one fault", () => {
  const faults: ReadonlyArray<readonly [name: string, check: string, damage: (root: string) => void]> = [
    ["receipt.json", "receipt.invalid", (root) => fs.writeFileSync(`${root}/receipt.json`, "{}")],
    [
      "catalog.json",
      "catalog.invalid-json",
      (root) => fs.writeFileSync(`${root}/catalog.json`, `\ufeff${fs.readFileSync(`${root}/catalog.json`, "utf8")}`)
    ],
    ["catalog.json", "catalog.invalid-json", (root) => fs.writeFileSync(`${root}/catalog.json`, '{"a":{"b":1}}')],
    ["catalog.json", "catalog.invalid-json", (root) => fs.writeFileSync(`${root}/catalog.json`, "{")]
  ]
  for (const [subject, check, damage] of faults) {
    it(`is one finding: ${check}`, () =>
      Workbench.withScratch(async (directory) => {
        const root = path.join(directory, "out")
        Workbench.restore(root, sound)
        damage(root)
        assert.deepStrictEqual(Workbench.findings(await audit(root, "fast")), [[check, subject]])
      }))
  }

  it("in the manifest does not make a layer of the config that its receipt records", () =>
    Workbench.withScratch(async (directory) => {
      const root = path.join(directory, "out")
      Workbench.restore(root, sound)
      Damage.truncate(`${root}/manifest.json`, 20)
      const checks = new Set((await audit(root, "full")).results.results.map((one) => `${one.check} ${one.subject}`))
      assert.sameMembers(
        [...checks],
        [
          "manifest.invalid-json manifest.json",
          "receipt.image-mismatch receipt.json",
          "receipt.size-mismatch manifest.json",
          "receipt.digest-mismatch manifest.json"
        ]
      )
      fs.appendFileSync(`${root}/${config}`, " ")
      assert.include(
        (await audit(root, "full")).results.results.map((one) => `${one.check} ${one.subject}`),
        `config.digest-mismatch ${config}`
      )
    }))
})
