import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Damage from "../../src/fault/Damage.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import type { Depth } from "../../src/layout/Verifier.ts"
import * as Against from "../../src/pipeline/Against.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Workbench from "../fault/Workbench.ts"

const image = ImageBuilder.rich(["localhost/rich:1"])
const blob = (id: string): string => `blobs/sha256/${id.slice(7)}`

const against = (target: string, source: string, depth: Depth = "full") =>
  Effect.gen(function* () {
    return yield* Against.verify(yield* Layouts.locate(target), yield* Layouts.locate(source), { depth })
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

type Verified = Effect.Effect.Success<ReturnType<typeof against>>

/** What the comparison itself reported, information too. */
const told = ({ results }: Verified): ReadonlyArray<readonly [string, string]> =>
  results.results.filter((one) => one.check.startsWith("against.")).map((one) => [one.check, one.subject] as const)

const tree = (directory: string, name: string, entries: ReadonlyArray<Entry.Entry>): string => {
  ImageBuilder.writeTree(`${directory}/${name}`, entries)
  return `${directory}/${name}`
}

describe("a source of several platforms", () => {
  const of = (architecture: string) =>
    ImageBuilder.build({
      names: ["localhost/a:1"],
      layers: [[Entry.file(architecture, architecture)]],
      config: { architecture, os: "linux" }
    })
  const [amd, arm] = [of("amd64"), of("arm64")]

  it.scoped("is compared by the image that the target is, or else by its platform", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = tree(directory, "source", ImageBuilder.ociLayout([{ image: amd }, { image: arm }]))
      const [bundle, mirror] = [path.join(directory, "bundle"), path.join(directory, "mirror")]
      const alone = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([arm]))}`
      yield* Workbench.processUris(alone, `oci://${bundle}`)
      yield* Workbench.processUris(alone, `dir://${mirror}`)
      for (const target of [bundle, mirror]) {
        const found = yield* against(target, source)
        assert.deepStrictEqual(told(found), [], target)
        assert.isFalse(found.results.hasErrors)
      }
      const config = `${bundle}/container-config.json`
      fs.writeFileSync(config, fs.readFileSync(config, "utf8").replace("{", '{"author":"somebody",'))
      assert.deepStrictEqual(told(yield* against(bundle, source)), [
        ["against.config-mismatch", "container-config.json"]
      ])
      fs.writeFileSync(config, fs.readFileSync(config, "utf8").replace("arm64", "riscv64"))
      assert.deepInclude(yield* Effect.flip(against(bundle, source)), { reason: "Ambiguous" })
    })
  )
})

describe("an image against its source", () => {
  it.scoped("is the same in every layout, at both depths", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const forms = [
        `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "legacy.tar")}`,
        `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([image]), "hybrid.tar.gz", "gzip")}`,
        `dir://${tree(directory, "dir", ImageBuilder.directory([image]))}`,
        `oci-layout://${tree(directory, "layout", ImageBuilder.ociLayout([{ image, compression: "zstd" }]))}`
      ]
      for (const target of forms) {
        for (const source of forms) {
          for (const depth of ["fast", "full"] as const) {
            const found = yield* against(target, source, depth)
            assert.deepStrictEqual(
              found.results.results.filter(({ severity }) => severity === "error"),
              [],
              `${target} against ${source}`
            )
            const informed = told(found).map(([check]) => check)
            const converted = target !== source && [target, source].every((one) => /hybrid|layout/.test(one))
            assert.deepStrictEqual(
              informed,
              converted ? ["against.manifest-converted"] : [],
              `${target} against ${source}`
            )
            assert.includeMembers([...found.results.checked], ["against.config-mismatch", "against.layer-mismatch"])
          }
        }
      }
    })
  )

  it.scoped("is found out to be another one", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const base = Entry.file("base", "base")
      const one = ImageBuilder.build({ layers: [[base], [Entry.file("a", "1")]] })
      const source = tree(directory, "one", ImageBuilder.ociLayout([{ image: one }]))
      const cases = {
        env: [
          ImageBuilder.build({ layers: [[base], [Entry.file("a", "1")]], config: { config: { Env: ["A=1"] } } }),
          ["against.config-mismatch"]
        ],
        content: [
          ImageBuilder.build({ layers: [[base], [Entry.file("a", "2")]] }),
          ["against.config-mismatch", "against.layer-mismatch"]
        ],
        order: [
          ImageBuilder.build({ layers: [[Entry.file("a", "1")], [base]] }),
          ["against.config-mismatch", "against.layer-mismatch", "against.layer-mismatch"]
        ],
        fewer: [ImageBuilder.build({ layers: [[base]] }), ["against.config-mismatch", "against.layer-count-mismatch"]],
        platform: [
          ImageBuilder.build({ layers: [[base], [Entry.file("a", "1")]], architecture: "arm64" }),
          ["against.config-mismatch", "against.platform-mismatch"]
        ],
        form: [
          ImageBuilder.build({
            layers: [[base], [Entry.file("a", "1")]],
            rawConfig: Buffer.concat([one.config, Buffer.from("\n")])
          }),
          ["against.config-mismatch"]
        ]
      } as const
      for (const [name, [other, checks]] of Object.entries(cases)) {
        for (const [kind, entries] of [
          ["dir", ImageBuilder.directory([other])],
          ["layout", ImageBuilder.ociLayout([{ image: other }])]
        ] as const) {
          const target = tree(directory, `${name}-${kind}`, entries)
          const found = yield* against(target, source, "fast")
          const errors = found.results.results.filter(({ severity }) => severity === "error").map(({ check }) => check)
          assert.deepStrictEqual(errors, [...checks], `${name} ${kind}`)
          assert.deepStrictEqual(
            found.images.map(({ ok }) => ok),
            [false]
          )
        }
      }
      const moved = yield* against(`${directory}/order-dir`, source, "fast")
      assert.strictEqual(
        moved.results.results.find(({ check }) => check === "against.layer-mismatch")?.message,
        "layer 0 is layer 1 of the source"
      )
      const env = yield* against(`${directory}/env-dir`, source, "fast")
      assert.match(
        env.results.results.find(({ check }) => check === "against.config-mismatch")!.message,
        /\/config\/Env/
      )
    })
  )

  it.scoped("may have other names, and a config that the older tool wrote anew", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      const old = tree(directory, "old", ImageBuilder.occystrapDirectory([image]))
      const found = yield* against(old, source)
      assert.deepStrictEqual(told(found), [["against.config-reserialized", "rich:1"]])
      assert.isFalse(found.results.hasErrors)
      const renamed = tree(directory, "renamed", ImageBuilder.directory([{ ...image, names: ["localhost/other:2"] }]))
      assert.deepStrictEqual(told(yield* against(renamed, source)), [["against.name-mismatch", "localhost/other:2"]])
      // Written anew with another value it is another image.
      const changed = {
        ...image,
        config: Buffer.from(Buffer.from(image.config).toString().replace("/bin/sh", "/bin/ash"))
      }
      const other = tree(directory, "changed", ImageBuilder.occystrapDirectory([changed]))
      assert.deepStrictEqual(told(yield* against(other, source)), [["against.config-mismatch", "rich:1"]])
    })
  )

  it.scoped("has a manifest that may be converted, but not say something else", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const annotated = { manifest: { annotations: { "org.opencontainers.image.title": "a" } } }
      const source = tree(directory, "source", ImageBuilder.ociLayout([{ image, ...annotated }]))
      const of = (name: string, options: ImageBuilder.BlobOptions) =>
        against(tree(directory, name, ImageBuilder.ociLayout([{ image, ...options }])), source)
      const subject = image.names[0]!
      assert.deepStrictEqual(told(yield* of("same", annotated)), [])
      assert.deepStrictEqual(told(yield* of("compressed", { ...annotated, compression: "gzip" })), [
        ["against.manifest-converted", subject]
      ])
      assert.deepStrictEqual(told(yield* of("docker", { docker: true })), [["against.manifest-converted", subject]])
      const other = yield* of("other", { manifest: { annotations: { "org.opencontainers.image.title": "b" } } })
      assert.deepStrictEqual(told(other), [["against.manifest-mismatch", subject]])
      assert.isFalse(other.results.hasErrors)
    })
  )

  it.scoped("is damaged: the verification and the comparison say so", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]))
      const target = tree(directory, "target", ImageBuilder.ociLayout([{ image }]))
      const layer = blob(image.layers[1]!.diffId)
      Damage.flipByte(path.join(target, layer), 700)
      const flipped = yield* against(target, source)
      assert.deepStrictEqual(
        Workbench.findings(flipped).find(([, subject]) => subject === layer),
        ["layer.digest-mismatch", layer]
      )
      Damage.remove(path.join(target, blob(image.id)))
      const gone = yield* against(target, source)
      assert.deepInclude(Workbench.findings(gone), ["config.missing", blob(image.id)])
      assert.deepInclude(Workbench.findings(gone), ["against.unreadable", "target"])
      fs.writeFileSync(`${target}/index.json`, '{"schemaVersion":2,"manifests":[]}')
      assert.deepInclude(Workbench.findings(yield* against(target, source)), ["against.unreadable", "target"])
    })
  )

  it.scoped("cannot be compared with a source that is damaged or not there", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const target = tree(directory, "target", ImageBuilder.directory([image]))
      const source = tree(directory, "source", ImageBuilder.directory([image]))
      Damage.flipByte(path.join(source, `${image.layers[0]!.diffId.slice(7)}/layer.tar`), 700)
      const error = yield* Effect.flip(against(target, source))
      assert.deepInclude(error, { _tag: "SourceError", reason: "Damaged" })
      assert.match(error.message, /^cannot compare with dir:.*layer 0 .* is damaged/)
      assert.isFalse((yield* against(target, source, "fast")).results.hasErrors)
      assert.deepInclude(yield* Effect.flip(against(target, `${directory}/none`)), { reason: "NotFound" })
      assert.deepInclude(yield* Effect.flip(against(`${directory}/none`, target)), { reason: "NotFound" })
    })
  )

  it.scoped("is chosen among several by the source's name, its platform, its digest, or the user", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const a = Workbench.small(["localhost/a:1"], "a")
      const b = Workbench.small(["localhost/b:1"], "b")
      const many = tree(directory, "many", ImageBuilder.directory([a, b], { uniqueNames: true }))
      const source = (built: ImageBuilder.BuiltImage, names: ReadonlyArray<string>, file: string): string =>
        Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([{ ...built, names }]), file)
      assert.deepStrictEqual(told(yield* against(many, source(b, b.names, "b.tar"))), [])
      // The name counts more than the digest: that the image stands elsewhere does not make the named one right.
      const swapped = yield* against(many, source(b, a.names, "swapped.tar"))
      assert.deepStrictEqual(told(swapped), [
        ["against.config-mismatch", "localhost/a:1"],
        ["against.layer-mismatch", `${a.layers[1]!.diffId.slice(7)}/layer.tar`]
      ])
      assert.deepStrictEqual(
        swapped.images.map(({ image, ok }) => [image, ok]),
        [
          ["localhost/a:1", false],
          ["localhost/b:1", true]
        ]
      )
      const unnamed = source(b, [], "unnamed.tar")
      assert.deepStrictEqual(told(yield* against(many, unnamed)), [["against.name-mismatch", "localhost/b:1"]])
      const chosen = yield* against(`dir://${many}?image=localhost/a:1`, unnamed)
      assert.includeMembers(
        told(chosen).map(([check]) => check),
        ["against.config-mismatch"]
      )
      const stranger = source(Workbench.small(["localhost/c:1"], "c"), ["localhost/c:1"], "c.tar")
      const error = yield* Effect.flip(against(many, stranger))
      assert.deepInclude(error, { _tag: "SourceError", reason: "Ambiguous" })
      assert.match(error.message, /0: localhost\/a:1 .*1: localhost\/b:1/)
      assert.deepInclude(yield* Effect.flip(against(`dir://${many}?image=localhost/d:1`, stranger)), {
        reason: "NoSuchImage"
      })

      const arm = ImageBuilder.build({
        names: ["localhost/a:1"],
        layers: [[Entry.file("arm", "")]],
        architecture: "arm64"
      })
      const amd = ImageBuilder.build({ names: ["localhost/a:1"], layers: [[Entry.file("amd", "")]] })
      const index = tree(
        directory,
        "index",
        ImageBuilder.ociLayout([{ index: [{ image: amd }, { image: arm }], names: ["localhost/a:1"] }])
      )
      const other = ImageBuilder.build({
        names: ["localhost/a:1"],
        layers: [[Entry.file("other", "")]],
        architecture: "arm64"
      })
      assert.deepStrictEqual(told(yield* against(index, source(arm, arm.names, "arm.tar"))), [])
      const found = yield* against(index, source(other, other.names, "other.tar"))
      assert.deepInclude(told(found), ["against.layer-mismatch", blob(arm.layers[0]!.diffId)])
    })
  )
})

describe("a bundle against its source", () => {
  it.scoped("is compared file by file with the source's layers", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const entries = [
        Entry.directory("etc/"),
        Entry.file("etc/motd", "hello"),
        Entry.file("etc/passwd", "root:x:0:0::/:/bin/sh\n")
      ]
      const made = (extra: ReadonlyArray<Entry.Entry>) =>
        ImageBuilder.build({ names: ["localhost/tree:1"], layers: [entries, [Entry.file("top", "top"), ...extra]] })
      const source = Workbench.archiveAt(
        directory,
        ImageBuilder.ociLayout([{ image: made([]), compression: "gzip" }]),
        "source.tar"
      )
      const bundle = path.join(directory, "bundle")
      yield* Workbench.processUris(`tar://${source}`, `oci://${bundle}`, undefined)
      for (const depth of ["fast", "full"] as const) {
        const same = yield* against(bundle, source, depth)
        assert.deepStrictEqual(
          same.results.results.filter(({ severity }) => severity === "error"),
          []
        )
        assert.strictEqual(same.results.checked.includes("rootfs.content-mismatch"), depth === "full")
      }
      // Neither the manifest of the tree nor the receipt is relied on.
      fs.rmSync(path.join(bundle, "rootfs.mtree"))
      fs.rmSync(path.join(bundle, "receipt.json"))
      fs.writeFileSync(path.join(bundle, "rootfs/etc/motd"), "HELLO")
      fs.rmSync(path.join(bundle, "rootfs/top"))
      fs.writeFileSync(path.join(bundle, "rootfs/more"), "")
      const changed = Workbench.findings(yield* against(bundle, source))
      for (const one of [
        ["rootfs.content-mismatch", "rootfs/etc/motd"],
        ["rootfs.missing", "rootfs/top"],
        ["rootfs.extra", "rootfs/more"]
      ] as const)
        assert.deepInclude(changed, one)
    })
  )

  it.scoped("is found out to be another image's, and a damaged source is an error", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const one = Workbench.archiveAt(
        directory,
        ImageBuilder.dockerHybrid([Workbench.small(["localhost/a:1"], "one")]),
        "one.tar"
      )
      const two = tree(directory, "two", ImageBuilder.directory([Workbench.small(["localhost/a:1"], "two")]))
      const bundle = path.join(directory, "bundle")
      yield* Workbench.processUris(`tar://${one}`, `oci://${bundle}`, undefined)
      const found = yield* against(bundle, two)
      assert.deepInclude(Workbench.findings(found), ["against.config-mismatch", "container-config.json"])
      assert.deepInclude(Workbench.findings(found), ["rootfs.content-mismatch", "rootfs/top"])
      const layer = Damage.files(two).find((name) => name.endsWith("layer.tar"))!
      Damage.flipByte(path.join(two, layer), 600)
      const error = yield* Effect.flip(against(bundle, two))
      assert.deepInclude(error, { _tag: "SourceError", reason: "Damaged" })
    })
  )
})

describe("mounts against their source", () => {
  /** Whether this machine lets anybody mount an overlay. */
  const mountable = Workbench.isRoot && fs.readFileSync("/proc/filesystems", "utf8").includes("\toverlay\n")

  it.scoped.skipIf(!mountable)("are compared layer by layer, in overlay's form", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const built = ImageBuilder.build({
        layers: [
          [
            Entry.directory("etc/"),
            Entry.file("etc/motd", "hello"),
            Entry.directory("var/"),
            Entry.file("var/log", "")
          ],
          [Entry.opaque("etc"), Entry.whiteout("var/log")],
          [Entry.file("top", "top")]
        ]
      })
      const source = Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([built]))
      const target = path.join(directory, "mounts")
      const written = yield* Effect.either(Workbench.processUris(`tar://${source}`, `mounts://${target}`, undefined))
      // A container may have the right to be root and none to mount.
      if (written._tag === "Left" && /not permitted|permission/.test(written.left.message)) return
      yield* Effect.addFinalizer(() => Effect.sync(() => execFileSync("umount", [path.join(target, "rootfs")])))
      assert.deepStrictEqual(written._tag, "Right")
      const same = yield* against(target, source)
      assert.deepStrictEqual(
        same.results.results.filter(({ severity }) => severity === "error"),
        []
      )
      const layer = `${built.layers[0]!.diffId.slice(7)}/layer`
      fs.rmSync(path.join(target, `${layer}.mtree`))
      fs.writeFileSync(path.join(target, layer, "etc/motd"), "HELLO")
      fs.rmSync(path.join(target, `${built.layers[1]!.diffId.slice(7)}/layer/var/log`))
      const found = Workbench.findings(yield* against(target, source))
      assert.deepInclude(found, ["rootfs.content-mismatch", `${layer}/etc/motd`])
      assert.deepInclude(found, ["rootfs.missing", `${built.layers[1]!.diffId.slice(7)}/layer/var/log`])
    })
  )
})
