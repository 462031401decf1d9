import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mount, unmount } from "../../../src/layout/mounts/Mounting.ts"
import * as Overlay from "../../../src/layout/mounts/Overlay.ts"
import { command, findings, processUris, scratch, tallyman, verifyTarget, withScratch } from "../../fault/Workbench.ts"
import { run } from "../../peers/Peers.ts"
import { dir, file, hardlink, type Member, opaque, symlink, tar, whiteout } from "../../rootfs/Layers.ts"
import { everything, imageOf, mountable, seen, sourceOf } from "../unpacked.ts"

/** Mounts in `directory/name` that go with the test. */
const mounted = (directory: string, layers: ReadonlyArray<ReadonlyArray<Member>>, name = "out", config = {}) =>
  Effect.gen(function* () {
    const out = path.join(directory, name)
    const image = imageOf(layers, config)
    const { verification } = yield* Effect.acquireRelease(
      processUris(sourceOf(directory, image), `mounts://${out}`),
      () => Effect.ignore(unmount(out))
    )
    assert.deepStrictEqual(
      verification!.results.results.filter((one) => one.severity === "error"),
      []
    )
    return out
  })

const told = (out: string, depth: "fast" | "full" = "full") =>
  Effect.map(verifyTarget(out, depth), (verification) =>
    findings(verification).filter(([check]) => check !== "tar.path-not-utf8")
  )

/** The tree that a bundle of the same image has. */
const bundleOf = (directory: string, layers: ReadonlyArray<ReadonlyArray<Member>>) =>
  Effect.map(
    processUris(sourceOf(directory, imageOf(layers)), `oci://${directory}/bundle`, undefined),
    () => `${directory}/bundle/rootfs`
  )

const implied = [".", `./${"n".repeat(200)}`]

describe.skipIf(!mountable)("mounts", () => {
  it.scoped("show the image's tree, to the kernel as to a bundle's reader", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = yield* mounted(directory, everything, "out", { User: "app" })
      assert.deepStrictEqual(seen(`${out}/rootfs`, implied), seen(yield* bundleOf(directory, everything), implied))
      assert.deepStrictEqual(yield* told(out), [])
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(`${out}/config.json`, "utf8")).process.user, {
        uid: 1000,
        gid: 1001,
        additionalGids: [50]
      })
    })
  )

  it.scoped("show what nested whiteouts, opaque directories and siblings leave", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const layers = [
        [
          dir("./"),
          dir("a/"),
          dir("a/b/"),
          file("a/b/c", "1"),
          file("a/b/d", "2"),
          dir("usr/"),
          dir("usr/lib/"),
          file("usr/lib/x", "x"),
          file("usr/lib64", "y")
        ],
        [dir("a/"), dir("a/b/"), whiteout("a/b/c"), dir("usr/"), whiteout("usr/lib")],
        [dir("a/"), dir("a/b/"), file("a/b/c", "again"), dir("usr/"), dir("usr/lib/"), file("usr/lib/z", "z")],
        [dir("a/"), opaque("a"), file("a/only", "o")]
      ]
      const out = yield* mounted(directory, layers)
      assert.deepStrictEqual(seen(`${out}/rootfs`), seen(yield* bundleOf(directory, layers)))
      const hex = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers
      const stat = fs.lstatSync(path.join(out, hex[1], "a/b/c"))
      assert.isTrue(stat.isCharacterDevice())
      assert.strictEqual(stat.rdev, 0)
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs/a`), ["only"])
    })
  )

  it.scoped("take any path, and layers that come again", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const again = [dir("./"), file("x", "first"), file("y", "y")]
      const layers = [again, [dir("./"), file("x", "second"), whiteout("y")], again]
      const out = yield* mounted(directory, layers, "a:b,c\\d e")
      assert.strictEqual(fs.readFileSync(`${out}/rootfs/x`, "utf8"), "first")
      assert.strictEqual(fs.readFileSync(`${out}/rootfs/y`, "utf8"), "y")
      assert.deepStrictEqual(yield* told(out), [])
    })
  )

  it.scoped("have more layers than a mount's options hold", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const layers = Array.from({ length: 127 }, (_, index) => [
        dir("./"),
        file(`f${index}`, `${index}`),
        file("top", `${index}`)
      ])
      const out = yield* mounted(directory, layers)
      assert.strictEqual(fs.readdirSync(`${out}/rootfs`).length, 128)
      assert.strictEqual(fs.readFileSync(`${out}/rootfs/top`, "utf8"), "126")
      assert.strictEqual(Overlay.mountAt(`${fs.realpathSync(out)}/rootfs`)!.lower!.length, 127)
      assert.deepStrictEqual(yield* told(out), [])
    })
  )

  it.scoped("of an image without layers are an empty root", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [])
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs`), [])
      assert.deepStrictEqual(yield* told(out), [])
    })
  )

  it.scoped("keep hardlinks within a layer", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [[dir("./"), file("a", "a"), hardlink("b", "a")]])
      assert.strictEqual(fs.statSync(`${out}/rootfs/a`).nlink, 2)
      assert.deepStrictEqual(yield* told(out), [])
    })
  )

  it.scoped("are taken down and say so", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, everything)
      assert.isTrue(yield* unmount(out))
      assert.isFalse(yield* unmount(out))
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs`), [])
      assert.deepStrictEqual(yield* told(out), [["mounts.not-mounted", "rootfs"]])
    })
  )

  it.scoped("are mounted again as they were, with what was changed", () =>
    Effect.gen(function* () {
      // A directory that hides what is below it, and more layers than a mount's options hold.
      const layers = [
        ...Array.from({ length: 60 }, (_, index) => [dir("./"), dir("d/"), file(`d/f${index}`, "")]),
        [dir("./"), dir("d/"), opaque("d"), file("d/last", "")]
      ]
      const out = yield* mounted(yield* scratch, layers)
      assert.isFalse(yield* mount(out))
      fs.writeFileSync(`${out}/rootfs/d/new`, "n")
      yield* unmount(out)
      assert.isTrue(yield* mount(out))
      assert.deepStrictEqual(fs.readdirSync(`${out}/rootfs/d`), ["last", "new"])
      assert.deepStrictEqual(yield* told(out), [["mounts.changed", "delta"]])
    })
  )

  it.scoped("are not mounted again when they would show something else", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [
        [dir("./"), dir("d/"), file("d/x", "x")],
        [dir("./"), opaque("d")]
      ])
      yield* unmount(out)
      const refused = Effect.map(Effect.flip(mount(out)), ({ message }) => message.replaceAll(out, "OUT"))
      const receipt = fs.readFileSync(`${out}/receipt.json`)
      const [base]: ReadonlyArray<string> = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers
      const without = (name: string) =>
        Effect.acquireUseRelease(
          Effect.sync(() => fs.renameSync(`${out}/${name}`, `${out}/aside`)),
          () => refused,
          () => Effect.sync(() => fs.renameSync(`${out}/aside`, `${out}/${name}`))
        )
      assert.strictEqual(
        yield* without(base!),
        `cannot mount OUT: ${base}: the manifest names it (expected a directory, found nothing) [mounts.missing-layer]`
      )
      assert.match(yield* without("manifest.json"), /^cannot mount OUT: manifest\.json: /)
      assert.match(yield* without("receipt.json"), /expected receipt\.json to say what the layers are marked for/)
      fs.renameSync(`${out}/delta`, `${out}/elsewhere`)
      fs.symlinkSync("elsewhere", `${out}/delta`)
      assert.match(yield* refused, /expected delta\/ as a directory, found a symlink/)
      fs.rmSync(`${out}/delta`)
      fs.renameSync(`${out}/elsewhere`, `${out}/delta`)
      run("mount", ["-t", "tmpfs", "tmpfs", "rootfs"], { cwd: out })
      assert.match(yield* refused, /expected overlay, found tmpfs\) \[mounts\.wrong-mount\]$/)
      yield* unmount(out)
      assert.deepStrictEqual(fs.readFileSync(`${out}/receipt.json`), receipt)
      assert.isTrue(yield* mount(out))
    })
  )

  it.skipIf(run("unshare", ["-Urm", "true"], { allowFailure: true }).code !== 0)(
    "in a user namespace are mounted again there, those of root not",
    () =>
      withScratch(async (directory) => {
        const layers = [
          [dir("./"), dir("d/"), file("d/x", "x")],
          [dir("./"), dir("d/"), opaque("d")]
        ]
        const source = sourceOf(directory, imageOf(layers))
        assert.strictEqual((await tallyman(["process", source, `mounts://${directory}/root`])).code, 0)
        try {
          const inside = (script: string) =>
            run("unshare", ["-Urm", "sh", "-c", `tallyman() { "${process.execPath}" "${command}" "$@"; }; ${script}`], {
              cwd: directory,
              allowFailure: true
            })
          const own = inside(
            `tallyman process ${source} mounts://own && tallyman unmount own && tallyman mount own && ls own/rootfs/d && tallyman verify own --full`
          )
          assert.strictEqual(own.code, 0, own.stderr)
          assert.match(own.stdout, /Mounted own\/rootfs\n(?:not checked: .*\n)*OK: own /)
          assert.strictEqual((await tallyman(["unmount", `${directory}/root`])).code, 0)
          const roots = inside("tallyman mount root")
          assert.strictEqual(roots.code, 3)
          assert.match(roots.stderr, /^tallyman: cannot mount root: its layers were written by root/)
          // What was written for a user name space shows the same to root.
          assert.strictEqual((await tallyman(["mount", `${directory}/own`])).code, 0)
          assert.deepStrictEqual(fs.readdirSync(`${directory}/own/rootfs/d`), [])
        } finally {
          await tallyman(["unmount", `${directory}/root`])
          await tallyman(["unmount", `${directory}/own`])
        }
      }),
    60_000
  )

  it.scoped("tell another order, another upper directory and another file system", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [[file("a", "1")], [file("a", "2")]])
      const layers: ReadonlyArray<string> = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers
      yield* unmount(out)
      Overlay.mount(out, [...layers].reverse(), "trusted")
      assert.deepStrictEqual(yield* told(out, "fast"), [["mounts.wrong-mount", "rootfs"]])
      yield* unmount(out)
      fs.mkdirSync(`${out}/other`)
      const options = `lowerdir=${[...layers].reverse().join(":")},upperdir=other,workdir=working`
      run("mount", ["-t", "overlay", "overlay", "-o", options, "rootfs"], { cwd: out })
      assert.deepStrictEqual(yield* told(out, "fast"), [["mounts.wrong-mount", "rootfs"]])
      yield* unmount(out)
      run("mount", ["-t", "tmpfs", "tmpfs", "rootfs"], { cwd: out })
      assert.deepStrictEqual(yield* told(out, "fast"), [["mounts.wrong-mount", "rootfs"]])
    })
  )

  it.scoped("tell layers that are not the config's, without a receipt too", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const again = [dir("./"), file("a", "1")]
      const out = yield* mounted(directory, [again, [dir("./"), file("a", "2")], [dir("./"), file("b", "3")], again])
      yield* unmount(out)
      fs.rmSync(`${out}/receipt.json`)
      const manifest = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))
      const [base, second, third, last]: ReadonlyArray<string> = manifest[0].Layers
      const found = (layers: ReadonlyArray<string | undefined>) => {
        fs.writeFileSync(`${out}/manifest.json`, JSON.stringify([{ ...manifest[0], Layers: layers }]))
        return Effect.map(told(out, "fast"), (all) => all.filter(([check]) => check === "mounts.wrong-layers"))
      }
      assert.deepStrictEqual(yield* found([base, second, third, last]), [])
      // An empty layer that comes again is not unpacked anew.
      assert.deepStrictEqual(yield* found([base, second, third]), [])
      for (const wrong of [[second, base, third, last], [base, third, last], [base, second], []]) {
        assert.deepStrictEqual(yield* found(wrong), [["mounts.wrong-layers", "manifest.json"]])
      }
    })
  )

  it.scoped("tell that the image's config is gone, which their manifest names, without a receipt too", () =>
    Effect.gen(function* () {
      const directory = yield* scratch
      const out = yield* mounted(directory, [[dir("./"), file("a", "1")]])
      yield* unmount(out)
      for (const name of ["receipt.json", "container-config.json"]) fs.rmSync(`${out}/${name}`)
      const found = yield* told(out, "fast")
      assert.deepInclude(found, ["bundle.missing-container-config", "container-config.json"])
      const manifest = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))
      fs.writeFileSync(`${out}/manifest.json`, JSON.stringify([{ ...manifest[0], Config: "config.json" }]))
      const other = yield* told(out, "fast")
      assert.notInclude(
        other.map(([check]) => check),
        "bundle.missing-container-config"
      )
    })
  )

  it.scoped("tell what is wrong in a layer's directory", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [
        [dir("./"), dir("d/"), file("d/x", "x")],
        [dir("./"), dir("d/"), whiteout("d/x")]
      ])
      yield* unmount(out)
      const [base, top]: ReadonlyArray<string> = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers
      const keep = (directory: string, change: () => void): void => {
        const { atimeMs, mtimeMs } = fs.statSync(directory)
        change()
        fs.utimesSync(directory, atimeMs / 1000, mtimeMs / 1000)
      }
      keep(`${out}/${base}/d`, () => {
        fs.rmSync(`${out}/${base}/d/x`)
      })
      keep(`${out}/${top}/d`, () => {
        fs.renameSync(`${out}/${top}/d/x`, `${out}/${top}/x`)
        fs.writeFileSync(`${out}/${top}/d/.wh.x`, "")
      })
      keep(`${out}/${top}`, () => {})
      fs.utimesSync(`${out}/${top}`, 1_600_000_000, 1_600_000_000)
      assert.deepStrictEqual(yield* told(out), [
        ["mounts.bad-whiteout", `${top}/d/.wh.x`],
        ["mounts.not-mounted", "rootfs"],
        ["rootfs.missing", `${base}/d/x`],
        ["rootfs.extra", `${top}/x`],
        ["rootfs.missing", `${top}/d/x`],
        ["rootfs.extra", `${top}/d/.wh.x`]
      ])
      fs.rmSync(`${out}/${base}`, { recursive: true })
      assert.deepInclude(yield* told(out, "fast"), ["mounts.missing-layer", base!])
      fs.rmSync(`${out}/working`, { recursive: true })
      assert.deepInclude(yield* told(out, "fast"), ["mounts.missing-directory", "working"])
    })
  )

  it.scoped("tell layers of whose files nothing can be told", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [[dir("./"), file("a", "1")], [file("b", "2")]])
      yield* unmount(out)
      const [base, top]: ReadonlyArray<string> = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers
      fs.appendFileSync(`${out}/${base}.mtree`, "x type=nonsense\n")
      fs.rmSync(`${out}/${top}.mtree`)
      assert.sameDeepMembers(
        [...(yield* told(out))],
        [
          ["mounts.not-mounted", "rootfs"],
          ["receipt.size-mismatch", `${base}.mtree`],
          ["receipt.digest-mismatch", `${base}.mtree`],
          ["receipt.missing-file", `${top}.mtree`],
          ["bundle.invalid-manifest", `${base}.mtree`],
          ["mounts.unverifiable-layer", top!]
        ]
      )
      fs.rmSync(`${out}/receipt.json`)
      assert.deepInclude(yield* told(out, "fast"), ["receipt.missing", "receipt.json"])
    })
  )

  it.scoped("of the older tool are held against the tars that are beside them", () =>
    Effect.gen(function* () {
      const layers = [
        [dir("./"), dir("d/"), file("d/x", "x"), symlink("l", "d/x"), file("gone", "")],
        [dir("./"), dir("d/"), file("d/y", "y"), whiteout("gone")]
      ]
      const out = yield* mounted(yield* scratch, layers)
      yield* unmount(out)
      // As it leaves them: the manifest names the tars, and there is neither a receipt nor a manifest of files.
      const manifest = JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))
      const [base, top]: ReadonlyArray<string> = manifest[0].Layers
      fs.writeFileSync(
        `${out}/manifest.json`,
        JSON.stringify([{ ...manifest[0], Layers: [`${base}.tar`, `${top}.tar`] }])
      )
      fs.rmSync(`${out}/receipt.json`)
      for (const [index, name] of [base, top].entries()) {
        fs.rmSync(`${out}/${name}.mtree`)
        fs.writeFileSync(`${out}/${name}.tar`, tar(layers[index]!))
      }
      assert.deepStrictEqual(yield* told(out), [["mounts.not-mounted", "rootfs"]])

      const { atime, mtime } = fs.statSync(`${out}/${base}/d/x`)
      fs.writeFileSync(`${out}/${base}/d/x`, "X")
      fs.utimesSync(`${out}/${base}/d/x`, atime, mtime)
      fs.rmSync(`${out}/${top}/gone`)
      assert.deepStrictEqual(yield* told(out), [
        ["mounts.not-mounted", "rootfs"],
        ["rootfs.content-mismatch", `${base}/d/x`],
        ["rootfs.missing", `${top}/gone`]
      ])
      fs.writeFileSync(`${out}/${top}.tar`, tar([file("other", "")]))
      assert.deepInclude(yield* told(out), ["layer.diff-id-mismatch", `${top}.tar`])
      fs.rmSync(`${out}/${top}.tar`)
      assert.deepInclude(yield* told(out), ["mounts.unverifiable-layer", top!])
    })
  )

  it.scoped("tell what was changed in them", () =>
    Effect.gen(function* () {
      const out = yield* mounted(yield* scratch, [[file("a", "1")]])
      fs.writeFileSync(`${out}/rootfs/new`, "")
      assert.deepStrictEqual(yield* told(out, "fast"), [["mounts.changed", "delta"]])
    })
  )

  it.skipIf(!fs.existsSync("/dev/fuse") || run("fuse-overlayfs", ["--version"], { allowFailure: true }).code !== 0)(
    "fuse-overlayfs shows the same tree",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const directory = yield* scratch
            const layers = everything.map((layer) => layer.filter(({ type }) => type !== "char"))
            const out = yield* mounted(directory, layers)
            const names = fs.readdirSync(`${out}/rootfs`, { recursive: true, encoding: "latin1" }).sort()
            yield* unmount(out)
            const lower = [...JSON.parse(fs.readFileSync(`${out}/manifest.json`, "utf8"))[0].Layers].reverse().join(":")
            const options = `lowerdir=${lower},upperdir=delta,workdir=working`
            if (run("fuse-overlayfs", ["-o", options, "rootfs"], { cwd: out, allowFailure: true }).code !== 0) return
            assert.deepStrictEqual(
              fs.readdirSync(`${out}/rootfs`, { recursive: true, encoding: "latin1" }).sort(),
              names
            )
            assert.isTrue(yield* unmount(out))
          })
        )
      )
  )
})

describe("mountinfo", () => {
  const line = (place: string, type: string, options: string): string =>
    `69 30 0:40 / ${place} rw,relatime shared:1 - ${type} overlay ${options}\n`

  it("is read with its escapes, and the last mount counts", () => {
    const table =
      line("/a\\040b", "tmpfs", "rw") +
      line("/a\\040b", "overlay", "rw,lowerdir=l/1:/x\\134:y:z\\0542,upperdir=delta,workdir=w,userxattr") +
      line("/a", "overlay", "rw,lowerdir+=/one,lowerdir+=/two")
    assert.deepStrictEqual(Overlay.mountAt("/a b", table), {
      place: "/a b",
      type: "overlay",
      lower: ["l/1", "/x:y", "z,2"],
      upper: "delta"
    })
    assert.deepStrictEqual(Overlay.mountAt("/a", table)!.lower, ["/one", "/two"])
    assert.isUndefined(Overlay.mountAt("/b", table))
  })
})
