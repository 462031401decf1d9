/** Images whose blobs and diff_ids are named by each algorithm that the image-spec registers, in every form at rest. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Hasher from "../../src/content/Hasher.ts"
import * as Damage from "../../src/fault/Damage.ts"
import * as Filters from "../../src/filter/Filters.ts"
import * as Digest from "../../src/image/Digest.ts"
import * as MediaType from "../../src/image/MediaType.ts"
import * as Receipt from "../../src/layout/Receipt.ts"
import * as Against from "../../src/pipeline/Against.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Pipeline from "../../src/pipeline/Pipeline.ts"
import * as Repair from "../../src/pipeline/Repair.ts"
import * as Uri from "../../src/pipeline/Uri.ts"
import * as Workbench from "../fault/Workbench.ts"
import {
  type Doc,
  type Edits,
  found,
  hash,
  json,
  type Layout,
  makeLayout,
  pathOf,
  put,
  tar,
  told,
  writeTree
} from "./ociFixture.ts"

const algorithms: ReadonlyArray<Digest.Algorithm> = ["sha256", "sha512", "blake3"]

const layoutAt = (directory: string, name: string, edits: Edits): Layout => {
  const layout = makeLayout(edits)
  writeTree(path.join(directory, name), layout.files)
  return layout
}

const process = (source: string, destination: string, filters: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    return yield* Pipeline.process({
      source: yield* Uri.parse(source),
      destination: yield* Uri.parse(destination),
      filters: yield* Effect.forEach(filters, (one) => Filters.parse(one)),
      verify: "full"
    })
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

const against = (target: string, source: string) =>
  Effect.gen(function* () {
    return yield* Against.verify(yield* Layouts.locate(target), yield* Layouts.locate(source), { depth: "full" })
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

const repair = (target: string, source: string) =>
  Effect.gen(function* () {
    return yield* Repair.repair(yield* Layouts.locate(target), yield* Layouts.locate(source))
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

const clean = (verification: Parameters<typeof told>[0] | undefined): void => {
  assert.isDefined(verification)
  assert.deepStrictEqual(Workbench.findings(verification!), [], told(verification!))
  assert.deepStrictEqual(
    verification!.results.skipped.filter(
      ({ check, reason }) => /digest|diff-id/.test(check) && /cannot be/.test(reason)
    ),
    []
  )
}

describe("the default", () => {
  // The first one: later ones load it.
  it.scoped("does without what blake3 takes", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      layoutAt(directory, "in", {})
      for (const depth of ["fast", "full"] as const)
        clean(yield* Workbench.verifyTarget(`oci-layout://${directory}/in`, depth))
      clean((yield* process(`oci-layout://${directory}/in`, `tar://${directory}/out.tar`)).verification)
      assert.throws(() => Hasher.make("blake3"), Hasher.NotLoaded)
      // Nor is there any other way to it than the one that was not taken.
      const sources = fs
        .readdirSync(path.resolve("src"), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .map((name) => [name, fs.readFileSync(path.resolve("src", name), "utf8")] as const)
      const naming = (what: RegExp) => sources.filter(([, text]) => what.test(text)).map(([name]) => name)
      assert.deepStrictEqual(naming(/from "hash-wasm"/), ["content/Blake3.ts"])
      assert.deepStrictEqual(naming(/from ".*\/Blake3\.ts"/), [])
      assert.deepStrictEqual(naming(/import\(".*\/Blake3\.ts"\)/), ["content/Hasher.ts"])
    })
  )
})

describe("blobs", () => {
  for (const algorithm of algorithms) {
    it.scoped(`named by ${algorithm} are proved`, () =>
      Effect.gen(function* () {
        yield* Effect.promise(() => Hasher.prepare([algorithm]))
        const directory = yield* Workbench.scratch
        const root = `${directory}/in`
        const layout = makeLayout({ algorithm })
        const { digest } = put(layout.files, Buffer.from("left over"), algorithm)
        writeTree(root, layout.files)
        const target = `oci-layout://${root}`
        const whole = yield* Workbench.verifyTarget(target)
        clean(whole)
        assert.lengthOf(found(whole, "blob.unreferenced", pathOf(digest)), 1)
        for (const [file, check, depth] of [
          [layout.layers[1]!, "layer.digest-mismatch", "full"],
          [layout.config, "config.digest-mismatch", "fast"],
          [layout.manifest, "manifest.digest-mismatch", "fast"],
          [pathOf(digest), "blob.digest-mismatch", "full"]
        ] as const) {
          const at = path.join(root, file)
          const before = fs.readFileSync(at)
          Damage.flipByte(at, before.length - 3)
          const damaged = yield* Workbench.verifyTarget(target, depth)
          const [finding] = found(damaged, check, file)
          assert.strictEqual(finding?.expected, file.slice("blobs/".length).replace("/", ":"), told(damaged))
          assert.strictEqual(finding?.actual, hash(fs.readFileSync(at), algorithm))
          fs.writeFileSync(at, before)
        }
        clean(yield* Workbench.verifyTarget(target))
      })
    )

    it.scoped(`embedded in a descriptor under a digest of ${algorithm} are proved`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const content = Buffer.from("{}")
        const embedded = (data: Buffer) => (manifest: Doc) => {
          manifest.config = {
            mediaType: MediaType.ociEmpty,
            digest: hash(content, algorithm),
            size: 2,
            data: data.toString("base64")
          }
          manifest.artifactType = "application/x.test"
        }
        layoutAt(directory, "right", { manifest: embedded(content) })
        const wrong = layoutAt(directory, "wrong", { manifest: embedded(Buffer.from("[]")) })
        assert.deepStrictEqual(
          Workbench.findings(yield* Workbench.verifyTarget(`oci-layout://${directory}/right`)).filter(
            ([check]) => check === "descriptor.data-mismatch" || check === "descriptor.not-empty"
          ),
          []
        )
        const damaged = yield* Workbench.verifyTarget(`oci-layout://${directory}/wrong`, "fast")
        const [finding] = found(damaged, "descriptor.data-mismatch", wrong.manifest)
        assert.strictEqual(finding?.actual, hash(Buffer.from("[]"), algorithm), told(damaged))
      })
    )
  }

  it.scoped("of an algorithm that nobody registered are said not to be checkable", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const digest = "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"
      const layout = makeLayout({ manifest: (manifest) => void (manifest.layers[0].digest = digest) })
      layout.files.set(pathOf(digest), layout.files.get(layout.layers[0]!)!)
      writeTree(`${directory}/in`, layout.files)
      const verification = yield* Workbench.verifyTarget(`oci-layout://${directory}/in`)
      assert.deepStrictEqual(Workbench.findings(verification), [])
      assert.lengthOf(found(verification, "descriptor.unknown-algorithm", layout.manifest), 1)
      assert.isTrue(
        verification.results.skipped.some(
          ({ check, reason }) => check === "layer.digest-mismatch" && reason.includes("sha256+b64u cannot be computed")
        )
      )
    })
  )
})

describe("the command", () => {
  it.scoped("proves blake3 in its threads too, and tells what is damaged", () =>
    Effect.gen(function* () {
      yield* Effect.promise(() => Hasher.prepare(["blake3"]))
      const directory = yield* Workbench.scratch
      // More than is read without threads, in two layers of which each is for one.
      const layers = ["a", "b"].map((name) => tar({ [name]: name.repeat(26 * 1024 * 1024) }))
      const layout = layoutAt(directory, "in", { algorithm: "blake3", diffIds: "blake3", compression: "none", layers })
      const verify = () => Workbench.tallyman(["verify", "--full", `oci-layout://${directory}/in`])
      const whole = yield* Effect.promise(verify)
      assert.strictEqual(whole.code, 0, whole.stdout + whole.stderr)
      Damage.flipByte(path.join(directory, "in", layout.layers[1]!), 20_000_000)
      const damaged = yield* Effect.promise(verify)
      assert.strictEqual(damaged.code, 1)
      for (const check of ["layer.digest-mismatch", "layer.diff-id-mismatch"]) assert.include(damaged.stdout, check)
    })
  )
})

describe("diff_ids", () => {
  for (const diffIds of algorithms) {
    for (const compression of ["gzip", "none"] as const) {
      it.scoped(`in ${diffIds} are proved of layers stored as ${compression}`, () =>
        Effect.gen(function* () {
          const directory = yield* Workbench.scratch
          const other = hash(Buffer.from("other"), diffIds)
          layoutAt(directory, "right", { diffIds, compression })
          const wrong = layoutAt(directory, "wrong", {
            diffIds,
            compression,
            config: (config) => void (config.rootfs.diff_ids[1] = other)
          })
          clean(yield* Workbench.verifyTarget(`oci-layout://${directory}/right`))
          const damaged = yield* Workbench.verifyTarget(`oci-layout://${directory}/wrong`)
          const [finding] = found(damaged, "layer.diff-id-mismatch", wrong.layers[1]!)
          assert.strictEqual(finding?.expected, other, told(damaged))
          assert.strictEqual(finding?.actual, wrong.diffIds[1])
        })
      )
    }
  }

  it.scoped("of one layer in several algorithms are all proved in its one pass", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const [one, two] = algorithms.slice(1).map((diffIds) => makeLayout({ diffIds }))
      const files = new Map([...one!.files, ...two!.files])
      files.set("index.json", json({ schemaVersion: 2, manifests: [one!.entry, { ...two!.entry, annotations: {} }] }))
      writeTree(`${directory}/in`, files)
      const whole = yield* Workbench.verifyTarget(`oci-layout://${directory}/in`)
      clean(whole)
      assert.strictEqual(whole.layerCount, 2)
    })
  )
})

/** What each destination makes of an image: a refusal, or the algorithms that name its layers and its diff_ids. */
const destinations = [
  "oci-layout",
  "oci-layout?compression=none",
  "tar",
  "tar?format=docker",
  "tar?format=oci",
  "dir",
  "dir?expand=true",
  "oci"
]

const uriOf = (directory: string, destination: string): string => {
  const [scheme, options] = destination.split("?")
  return `${scheme}://${directory}/out${options === undefined ? "" : `?${options}`}`
}

const isDocker = (destination: string): boolean => /^(?:tar(?!\?format=oci)|dir)/.test(destination)

/** A file of the output that holds what is the image's. */
const blobOf = (directory: string, receipt: Receipt.Receipt): string =>
  path.join(directory, "out", receipt.files.map((file) => file.path).find((file) => /layer|blobs|rootfs/.test(file))!)

describe("moving an image", () => {
  for (const algorithm of ["sha512", "blake3"] as const) {
    for (const destination of destinations) {
      it.scoped(`named by ${algorithm} to ${destination} makes a right one`, () =>
        Effect.gen(function* () {
          const directory = yield* Workbench.scratch
          const source = `oci-layout://${directory}/in`
          const layout = layoutAt(directory, "in", { algorithm })
          const uri = uriOf(directory, destination)
          const { receipt, verification } = yield* process(source, uri)
          clean(verification)
          const target = uri.replace(/\?.*/, "")
          clean(yield* Workbench.verifyTarget(target))
          const compared = yield* against(target, source)
          assert.deepStrictEqual(
            Workbench.findings(compared).filter(([check]) => check !== "against.name-mismatch"),
            [],
            told(compared)
          )
          const files = receipt.files.map((file) => file.path)
          if (destination === "oci-layout") {
            for (const file of [layout.manifest, layout.config, ...layout.layers]) assert.include(files, file)
            assert.deepStrictEqual(receipt.conversions, [])
          }
          // Readers of docker-save know sha256 alone.
          if (isDocker(destination)) assert.isFalse(files.some((file) => file.includes(algorithm)))
          if (destination.startsWith("tar?format=docker") || destination === "tar")
            assert.isTrue(receipt.conversions.some((one) => one.startsWith(`layer 0: ${algorithm}:`)))
        })
      )

      it.scoped(`with diff_ids in ${algorithm} to ${destination} makes a right one, or says why not`, () =>
        Effect.gen(function* () {
          const directory = yield* Workbench.scratch
          const source = `oci-layout://${directory}/in`
          const layout = layoutAt(directory, "in", { diffIds: algorithm })
          const uri = uriOf(directory, destination)
          if (isDocker(destination)) {
            const failure = yield* Effect.flip(process(source, uri))
            assert.include(
              failure.message,
              `expected a diff_id in sha256, as Docker wants it, found ${layout.diffIds[0]}`
            )
            assert.deepStrictEqual(
              fs.readdirSync(directory).filter((name) => name.startsWith("out")),
              []
            )
            return
          }
          clean((yield* process(source, uri)).verification)
          const target = uri.replace(/\?.*/, "")
          clean(yield* Workbench.verifyTarget(target))
          clean(yield* against(target, source))
        })
      )
    }

    it.scoped(`with diff_ids in ${algorithm} fails where a layer is another one`, () =>
      Effect.gen(function* () {
        const directory = yield* Workbench.scratch
        const other = hash(Buffer.from("other"), algorithm)
        layoutAt(directory, "in", { diffIds: algorithm, config: (config) => void (config.rootfs.diff_ids[1] = other) })
        for (const [destination, filters] of [
          ["oci-layout", []],
          ["oci-layout?compression=zstd", []],
          ["tar?format=oci", []],
          ["oci", []],
          ["oci-layout", ["flatten"]],
          ["oci-layout", ["exclude:pattern=etc/motd"]]
        ] as const) {
          const failure = yield* Effect.flip(
            process(`oci-layout://${directory}/in`, uriOf(directory, destination), filters)
          )
          assert.include(failure.message, `expected diff_id ${other}, found ${algorithm}:`, destination)
          fs.rmSync(`${directory}/out`, { recursive: true, force: true })
        }
      })
    )

    for (const [filter, kept] of [
      ["normalize-timestamps:ts=1234", algorithm],
      ["exclude:pattern=etc/motd", algorithm],
      ["flatten", "sha256"]
    ] as const) {
      it.scoped(`with everything in ${algorithm} through ${filter} makes a right one`, () =>
        Effect.gen(function* () {
          const directory = yield* Workbench.scratch
          layoutAt(directory, "in", { algorithm, diffIds: algorithm })
          const filtered = yield* process(`oci-layout://${directory}/in`, `oci-layout://${directory}/out`, [filter])
          clean(filtered.verification)
          const config = JSON.parse(
            fs.readFileSync(path.join(directory, "out", Digest.blobPath(filtered.receipt.image)), "utf8")
          )
          for (const diffId of config.rootfs.diff_ids) assert.strictEqual(Digest.algorithmOf(diffId), kept)
          // Damage that only the layer's digests tell of.
          const at = blobOf(directory, filtered.receipt)
          Damage.flipByte(at, fs.statSync(at).size - 5)
          const damaged = yield* Workbench.verifyTarget(`oci-layout://${directory}/out`)
          assert.isTrue(damaged.results.hasErrors)
        })
      )
    }

    for (const destination of ["oci-layout", "tar", "dir", "oci"]) {
      it.scoped(`named by ${algorithm} in ${destination} can be repaired from its source`, () =>
        Effect.gen(function* () {
          const directory = yield* Workbench.scratch
          const source = `oci-layout://${directory}/in`
          const layers = [tar({ "etc/": "", "etc/hostname": "base" }), tar({ "etc/motd": "second layer\n" })]
          layoutAt(directory, "in", { algorithm, layers })
          const target = `${destination}://${directory}/out`
          const { receipt } = yield* process(source, target)
          const at =
            destination === "tar"
              ? `${directory}/out`
              : destination === "oci"
                ? `${directory}/out/rootfs/etc/motd`
                : blobOf(directory, receipt)
          Damage.flipByte(at, destination === "tar" ? 2000 : 3)
          const repaired = yield* repair(target, source)
          assert.isTrue(repaired.before.results.hasErrors, told(repaired.before))
          clean(repaired.after)
          assert.deepStrictEqual(repaired.impossible, [])
          if (destination !== "oci-layout") return
          const kept = path.join(directory, "out", "receipt-v1.json")
          Damage.flipByte(kept, 100)
          clean((yield* repair(target, source)).after)
          const anew = Either.getOrThrow(Receipt.decode(fs.readFileSync(kept)))
          assert.sameDeepMembers([...anew.files], [...receipt.files])
        })
      )
    }
  }
})
