/** Images that other programs made arrive whole and verify; what is written here, they read back. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Workbench from "../fault/Workbench.ts"
import { peerTest, run, withDirectory, withPodmanSocket } from "../peers/Peers.ts"

const image = ImageBuilder.rich(["localhost/rich:1"])
/** One name in it is not UTF-8; umoci leaves the end off the layers that it packs. Both are worth a warning. */
const odd = new Set(["tar.path-not-utf8", "tar.no-end", "tar.no-padding"])

interface Written {
  readonly config: string
  readonly diffIds: ReadonlyArray<string>
}

/** Processes the archive into a directory, verifies that in full, and answers what it holds. */
const arrive = async (uri: string, root: string): Promise<Written> => {
  const { verification } = await Effect.runPromise(Workbench.processUris(uri, `dir://${root}`))
  for (const found of [verification!, await Effect.runPromise(Workbench.verifyTarget(root))]) {
    assert.deepStrictEqual(
      Workbench.findings(found).filter(([check]) => !odd.has(check)),
      []
    )
  }
  const [{ Config }] = JSON.parse(fs.readFileSync(`${root}/manifest.json`, "utf8")) as [{ readonly Config: string }]
  const { rootfs } = JSON.parse(fs.readFileSync(path.join(root, Config), "utf8")) as {
    readonly rootfs: { readonly diff_ids: ReadonlyArray<string> }
  }
  return { config: `sha256:${Config.replace(".json", "")}`, diffIds: rootfs.diff_ids }
}

/** No error at full depth, whatever the archive's form. */
const sound = async (target: string): Promise<void> => {
  const found = await Effect.runPromise(Workbench.verifyTarget(target))
  assert.deepStrictEqual(
    found.results.results.filter((one) => one.severity === "error"),
    [],
    target
  )
}

const diffIds = image.layers.map((layer) => layer.diffId)

describe("archives of other programs", () => {
  peerTest(["skopeo"], "skopeo's, of every kind that it writes", () =>
    withDirectory(async (directory) => {
      const source = `docker-archive:${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "source.tar")}`
      for (const [kind, name, same] of [
        ["docker-archive", "docker.tar:localhost/rich:1", true],
        ["oci-archive", "oci.tar:localhost/rich:1", false],
        ["oci", "layout:localhost/rich:1", false]
      ] as const) {
        run("skopeo", ["copy", source, `${kind}:${directory}/${name}`])
        const file = `${directory}/${name.split(":")[0]}`
        await sound(file)
        const uri = kind === "oci" ? `oci-layout://${file}` : `tar://${file}`
        const { config, diffIds: found } = await arrive(uri, `${directory}/out-${kind}`)
        assert.deepStrictEqual(found, diffIds, kind)
        if (same) assert.strictEqual(config, image.id)
      }
    })
  )

  peerTest(
    ["podman"],
    "podman's and Docker's, through its storage",
    () =>
      withPodmanSocket(async ({ podman }) =>
        withDirectory(async (directory) => {
          podman(["load", "-i", Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "source.tar")])
          for (const format of ["docker-archive", "oci-archive"]) {
            const file = `${directory}/${format}.tar`
            podman(["save", "--format", format, "-o", file, "localhost/rich:1"])
            await sound(file)
            const { diffIds: found } = await arrive(`tar://${file}`, `${directory}/out-${format}`)
            assert.deepStrictEqual(found, diffIds, format)
          }
        })
      ),
    120_000
  )

  peerTest(
    ["buildah"],
    "buildah's, of an image that it built",
    () =>
      withDirectory(async (directory) => {
        const storage = ["--root", `${directory}/root`, "--runroot", `${directory}/run`, "--storage-driver", "vfs"]
        const buildah = (...args: ReadonlyArray<string>) => run("buildah", [...storage, ...args])
        const container = buildah("from", "scratch").stdout.trim()
        fs.writeFileSync(`${directory}/file`, "content")
        buildah("copy", container, `${directory}/file`, "/etc/file")
        buildah("config", "--label", "a=b", "--cmd", "/bin/sh", container)
        buildah("commit", container, "localhost/built:1")
        for (const kind of ["docker-archive", "oci-archive"]) {
          const file = `${directory}/${kind}.tar`
          buildah("push", "localhost/built:1", `${kind}:${file}:localhost/built:1`)
          await sound(file)
          const { diffIds: found } = await arrive(`tar://${file}`, `${directory}/out-${kind}`)
          assert.lengthOf(found, 1)
        }
      }),
    120_000
  )

  peerTest(["umoci"], "umoci's layouts, with a layer that it packed", () =>
    withDirectory(async (directory) => {
      const layout = `${directory}/layout`
      fs.mkdirSync(`${directory}/files`)
      fs.writeFileSync(`${directory}/files/file`, "content")
      run("umoci", ["init", "--layout", layout])
      run("umoci", ["new", "--image", `${layout}:1`])
      run("umoci", ["insert", "--image", `${layout}:1`, `${directory}/files`, "/etc"])
      await sound(layout)
      const { diffIds: found } = await arrive(`oci-layout://${layout}:1`, `${directory}/out`)
      assert.lengthOf(found, 1)
      // An archive of it, as GNU tar makes one.
      run("gnutar", ["-C", layout, "-cf", `${directory}/layout.tar`, "."])
      await sound(`${directory}/layout.tar`)
      assert.deepStrictEqual((await arrive(`tar://${directory}/layout.tar`, `${directory}/again`)).diffIds, found)
    })
  )

  peerTest(["gnutar", "bsdtar", "pigz", "zstd"], "packed and compressed again by other programs", () =>
    withDirectory(async (directory) => {
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([image]), "source.tar")
      fs.mkdirSync(`${directory}/tree`)
      run("gnutar", ["-xf", archive, "-C", `${directory}/tree`])
      const variants: ReadonlyArray<
        readonly [name: string, command: Parameters<typeof run>[0], args: ReadonlyArray<string>]
      > = [
        ["gnu.tar", "gnutar", ["-C", `${directory}/tree`, "--format=gnu", "-cf", `${directory}/gnu.tar`, "."]],
        ["posix.tar", "gnutar", ["-C", `${directory}/tree`, "--format=posix", "-cf", `${directory}/posix.tar`, "."]],
        [
          "sparse.tar",
          "gnutar",
          ["-C", `${directory}/tree`, "-S", "--format=posix", "-cf", `${directory}/sparse.tar`, "."]
        ],
        ["bsd.tar", "bsdtar", ["-C", `${directory}/tree`, "-cf", `${directory}/bsd.tar`, "."]],
        ["pigz.tar.gz", "sh", ["-c", `pigz -b 128 -c ${archive} > ${directory}/pigz.tar.gz`]],
        [
          "members.tar.gz",
          "sh",
          [
            "-c",
            `head -c 5000 ${archive} | gzip > ${directory}/members.tar.gz; tail -c +5001 ${archive} | gzip >> ${directory}/members.tar.gz`
          ]
        ],
        [
          "frames.tar.zst",
          "sh",
          [
            "-c",
            `head -c 5000 ${archive} | zstd > ${directory}/frames.tar.zst; tail -c +5001 ${archive} | zstd >> ${directory}/frames.tar.zst`
          ]
        ]
      ]
      for (const [name, command, args] of variants) {
        run(command, args)
        const { config, diffIds: found } = await arrive(`tar://${directory}/${name}`, `${directory}/out-${name}`)
        assert.deepStrictEqual([config, found], [image.id, diffIds], name)
      }
    })
  )
})

describe("what is written here", () => {
  peerTest(["skopeo", "gnutar"], "is what skopeo reads: a directory packed as it lies", () =>
    withDirectory(async (directory) => {
      const archive = Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), "source.tar")
      await arrive(`tar://${archive}`, `${directory}/out`)
      run("gnutar", ["-C", `${directory}/out`, "-cf", `${directory}/packed.tar`, "--exclude=./receipt.json", "."])
      run("skopeo", ["copy", `docker-archive:${directory}/packed.tar:localhost/rich:1`, `dir:${directory}/copied`])
      const { config } = JSON.parse(fs.readFileSync(`${directory}/copied/manifest.json`, "utf8")) as {
        readonly config: { readonly digest: string }
      }
      assert.strictEqual(config.digest, image.id)
    })
  )

  peerTest(
    ["podman"],
    "is what podman loads",
    () =>
      withPodmanSocket(async ({ podman }) =>
        withDirectory(async (directory) => {
          const small = ImageBuilder.build({
            names: ["localhost/small:1"],
            layers: [[Entry.file("a", "a")], [Entry.whiteout("a")]]
          })
          const archive = Workbench.archiveAt(
            directory,
            ImageBuilder.dockerHybrid([small], { compression: "gzip" }),
            "source.tar"
          )
          await arrive(`tar://${archive}`, `${directory}/out`)
          run("gnutar", ["-C", `${directory}/out`, "-cf", `${directory}/packed.tar`, "."])
          podman(["load", "-i", `${directory}/packed.tar`])
          const { stdout } = podman(["image", "inspect", "--format", "{{.Id}}", "localhost/small:1"])
          assert.strictEqual(`sha256:${stdout.trim()}`, small.id)
        })
      ),
    120_000
  )
})
