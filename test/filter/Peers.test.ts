/** Other programs take what filters have made. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fc from "fast-check"
import * as Filter from "../../src/filter/Filter.ts"
import type { OpenImage } from "../../src/filter/Rebase.ts"
import type * as Image from "../../src/image/Image.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Opener from "../../src/pipeline/Opener.ts"
import * as Pipeline from "../../src/pipeline/Pipeline.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as FilterText from "../../src/report/FilterText.ts"
import * as Random from "../content/tarArbitrary.ts"
import { scratch } from "../fault/Workbench.ts"
import { type Doc, makeImage, pool } from "../layout/writing.ts"
import { peerTest, run, withDirectory, withPodmanSocket } from "../peers/Peers.ts"
import { file, hardlink } from "../rootfs/Layers.ts"
import { filter, filtered, inside, treeOf, withImage } from "./Rewriting.ts"

const rebase = "rebase:old_base=OLD,new_base=NEW"

const chains = [
  ["normalize-timestamps:config=true"],
  ["exclude:pattern=*.pyc,a,lib/*"],
  ["exclude:pattern=foo,c", "normalize-timestamps:ts=1700000000", "exclude:pattern=b"],
  ["flatten"],
  [rebase],
  [rebase, "flatten"],
  [rebase, "exclude:pattern=*.pyc,a", "normalize-timestamps"]
]

interface Drawn {
  readonly layers: ReadonlyArray<Random.RandomLayer>
  readonly base: ReadonlyArray<Random.RandomLayer>
  /** How many of the layers are those of its base. */
  readonly below: number
  readonly specs: ReadonlyArray<string>
}

const drawn = (chains: ReadonlyArray<ReadonlyArray<string>>): fc.Arbitrary<Drawn> =>
  fc.record({
    layers: Random.layers,
    base: Random.layers,
    below: fc.nat(2),
    specs: fc.constantFrom(...chains)
  })

/** Filters that leave the files as they are: a rebase is held against the image that was built on the other base. */
const keepsFiles = (specs: ReadonlyArray<string>): boolean => specs.every((spec) => [rebase, "flatten"].includes(spec))

/** A random image, written as it is (or as it were on its new base) and through filters. */
const both = (
  { base, below, layers, specs }: Drawn,
  destination: (directory: string, name: string) => string,
  use: (directory: string) => void
): Promise<void> =>
  Effect.gen(function* () {
    const directory = yield* scratch
    const imageOf = (all: ReadonlyArray<Random.RandomLayer>): Image.Image =>
      makeImage(directory, { names: ["localhost/random:1"], layers: all.map((one) => one.tar), manifest: "oci" })
    const images = { OLD: imageOf(layers.slice(0, below)), NEW: imageOf(base) }
    const open: OpenImage = (source) => Effect.succeed(images[source as "OLD" | "NEW"])
    const filters = specs.map((spec) => filter(spec, { open }))
    const either = yield* Effect.either(Filter.applyAll(filters, imageOf(layers)))
    // Random layers do not always fit on random bases.
    if (Either.isLeft(either)) {
      if (specs.includes(rebase) && either.left.reason === "Mismatch") return
      return yield* either.left
    }
    const plain = imageOf(specs.includes(rebase) ? [...base, ...layers.slice(below)] : layers)
    for (const [name, one] of [
      ["plain", plain],
      ["filtered", either.right.image]
    ] as const) {
      const writer = yield* Layouts.openWriter(yield* Uri.parse(destination(directory, name)))
      yield* writer.write(one, { filters: [] })
    }
    use(directory)
  }).pipe(Effect.scoped, Effect.provide(pool), Effect.runPromise)

const accepted = (command: string, args: ReadonlyArray<string>): boolean =>
  run(command, args, { allowFailure: true }).code === 0

/** Name, type, mode, size, content and target of everything below a directory. */
const listing = (cwd: string): ReadonlyArray<string> => {
  const lines = (...args: ReadonlyArray<string>) =>
    Buffer.from(run("find", args, { cwd }).bytes)
      .toString("latin1")
      .split("\n")
      .sort()
  return [
    // A directory's size is the file system's.
    ...lines(".", "-type", "d", "-printf", "%P %y %m\\n"),
    ...lines(".", "!", "-type", "d", "-printf", "%P %y %m %s %l\\n"),
    ...lines(".", "-type", "f", "-exec", "sha256sum", "{}", "+")
  ]
}

describe("filtered images", () => {
  peerTest(
    ["umoci"],
    "are unpacked by umoci where it unpacks the originals, to the same files",
    () =>
      fc.assert(
        fc.asyncProperty(drawn(chains), (one) =>
          both(
            one,
            (directory, name) => `oci-layout://${directory}/${name}:t`,
            (directory) => {
              const unpacked = (name: string) =>
                accepted("umoci", [
                  "unpack",
                  "--rootless",
                  "--image",
                  `${directory}/${name}:t`,
                  `${directory}/${name}-bundle`
                ])
              // It refuses some forms of sparse files, which a filter may have left out.
              if (!unpacked("plain")) return
              assert.isTrue(unpacked("filtered"))
              if (keepsFiles(one.specs)) {
                const [plain, filtered] = ["plain", "filtered"].map((name) =>
                  listing(`${directory}/${name}-bundle/rootfs`)
                )
                assert.deepStrictEqual(filtered, plain)
              }
            }
          )
        ),
        { numRuns: 24 }
      ),
    300_000
  )

  peerTest(
    ["skopeo"],
    "are taken by skopeo, which compares every layer with its diff_id",
    () =>
      fc.assert(
        fc.asyncProperty(drawn(chains), (one) =>
          both(
            one,
            (directory, name) => `tar://${directory}/${name}.tar`,
            (directory) => {
              assert.isTrue(
                accepted("skopeo", ["copy", `docker-archive:${directory}/filtered.tar`, `oci:${directory}/copy:t`])
              )
            }
          )
        ),
        { numRuns: 24 }
      ),
    300_000
  )

  peerTest(
    ["podman"],
    "are loaded by podman, to the files of an image that was built there",
    () =>
      withPodmanSocket(({ podman }) =>
        fc.assert(
          fc.asyncProperty(drawn([[rebase], [rebase], ["flatten"]]), (one) =>
            both(
              one,
              (directory, name) => `tar://${directory}/${name}.tar?name=localhost/${name}:1`,
              (directory) => {
                const loaded = (name: string) =>
                  podman(["load", "-q", "-i", `${directory}/${name}.tar`], { allowFailure: true }).code === 0
                // It refuses the older form of sparse files.
                if (!loaded("plain")) return
                assert.isTrue(loaded("filtered"))
                // Of a flattened image it would see other modes of hardlinks, and no directory named by a global header.
                const files = (name: string) => listing(podman(["image", "mount", `localhost/${name}:1`]).stdout.trim())
                if (one.specs.every((spec) => spec === rebase))
                  assert.deepStrictEqual(files("filtered"), files("plain"))
                podman(["image", "unmount", "--all"])
                podman(["rmi", "--all", "--force"])
              }
            )
          ),
          { numRuns: 6 }
        )
      ),
    300_000
  )

  peerTest(
    ["buildah", "umoci"],
    "stand on another base of buildah's, which says so, as what it builds there",
    () =>
      withDirectory(async (directory) => {
        const storage = ["--root", `${directory}/root`, "--runroot", `${directory}/run`, "--storage-driver", "vfs"]
        const buildah = (...args: ReadonlyArray<string>) => run("buildah", [...storage, ...args]).stdout.trim()
        const build = (name: string, from: string, files: Readonly<Record<string, string>>, cmd: string): void => {
          const container = buildah("from", "--pull-never", from)
          for (const [file, body] of Object.entries(files)) {
            fs.writeFileSync(`${directory}/file`, body)
            buildah("copy", container, `${directory}/file`, file)
          }
          buildah("config", "--cmd", cmd, container)
          buildah("commit", container, `localhost/${name}`)
          buildah(
            "push",
            `localhost/${name}`,
            `oci-archive:${directory}/${name.replace(":", "-")}.tar:localhost/${name}`
          )
        }
        build("base:1", "scratch", { "/etc/release": "one", "/etc/old": "x" }, "/bin/sh")
        build("base:2", "scratch", { "/etc/release": "two", "/etc/new": "y" }, "/bin/bash")
        build("app:1", "localhost/base:1", { "/app/run": "app" }, "/app/run")
        build("app:2", "localhost/base:2", { "/app/run": "app" }, "/app/run")
        const out = `${directory}/layout`
        const processed = await Effect.runPromise(
          Effect.gen(function* () {
            const open = yield* Opener.make()
            const spec = `rebase:old_base=${directory}/base-1.tar,new_base=tar://${directory}/base-2.tar`
            return yield* Pipeline.process({
              source: yield* Uri.parse(`tar://${directory}/app-1.tar`),
              destination: yield* Uri.parse(`oci-layout://${out}:t`),
              filters: [filter(spec, { open })],
              verify: "full"
            })
          }).pipe(Effect.scoped, Effect.provide(pool))
        )
        assert.strictEqual(processed.verification!.results.errorCount, 0)
        const { annotations } = JSON.parse(run("skopeo", ["inspect", "--raw", `oci:${out}:t`]).stdout)
        const base = run("skopeo", ["inspect", "--format", "{{.Digest}}", `oci-archive:${directory}/base-2.tar`])
        assert.deepInclude(annotations, {
          "org.opencontainers.image.base.digest": base.stdout.trim(),
          "org.opencontainers.image.base.name": "localhost/base:2"
        })
        run("skopeo", ["copy", `oci-archive:${directory}/app-2.tar`, `oci:${directory}/built:t`])
        const [rebased, expected] = [out, `${directory}/built`].map((layout) => {
          run("umoci", ["unpack", "--rootless", "--image", `${layout}:t`, `${layout}-bundle`])
          return listing(`${layout}-bundle/rootfs`)
        })
        assert.deepStrictEqual(rebased, expected)
        assert.strictEqual(fs.readFileSync(`${out}-bundle/rootfs/etc/release`, "utf8"), "two")
        const stepsOf = (layout: string) =>
          JSON.parse(run("skopeo", ["inspect", "--config", `oci:${layout}:t`]).stdout).history.map((one: Doc) =>
            [one.created_by, one.empty_layer === true].join()
          )
        assert.deepStrictEqual(stepsOf(out), stepsOf(`${directory}/built`))
        // It makes a name of the path, which may have no capitals.
        run("buildah", [...storage, "pull", "oci:layout:t"], { cwd: directory })
      }),
    300_000
  )

  peerTest(
    ["occystrap"],
    "say of themselves what the older tool says of the originals",
    () =>
      withImage([[file("bin/a", "program"), hardlink("bin/b", "bin/a")], [file("etc/a")]], (image, directory) =>
        Effect.gen(function* () {
          const archive = inside(directory, "source.tar")
          const writer = yield* Layouts.openWriter(yield* Uri.parse(`tar://${archive}`))
          yield* writer.write(image, { filters: [] })
          const theirs = inside(directory, "theirs.jsonl")
          const search = run("occystrap", ["search", "--script-friendly", `tar://${archive}`, "*a*"])
          run("occystrap", [
            "process",
            `tar://${archive}`,
            `dir://${path.join(directory, "out")}`,
            "-f",
            `inspect:file=${theirs}`
          ])
          const { selector, source } = yield* Layouts.openSource(yield* Uri.parse(`tar://${archive}`))
          assert.deepStrictEqual(selector, {})
          const read = yield* (yield* source.candidates)[0]!.load
          const ours = inside(directory, "ours.jsonl")
          const { reports } = yield* filtered(read, `inspect:file=${ours}`, "search:pattern=*a*,script_friendly=true")
          assert.strictEqual(run("cat", [ours]).stdout, run("cat", [theirs]).stdout)
          assert.deepStrictEqual(reports.flatMap(FilterText.lines).slice(1), search.stdout.trim().split("\n"))
          assert.strictEqual(treeOf(read).totals().files, 2)
        }).pipe(Effect.scoped, Effect.provide(pool), Effect.orDie)
      ).pipe(Effect.runPromise),
    120_000
  )
})
