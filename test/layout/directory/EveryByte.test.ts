/** Every single damage to a small output is reported at full depth: each byte of each file, whoever else is beside it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Damage from "../../../src/fault/Damage.ts"
import * as Entry from "../../../src/fault/Entry.ts"
import * as ImageBuilder from "../../../src/fault/ImageBuilder.ts"
import * as DirectoryVerifier from "../../../src/layout/directory/DirectoryVerifier.ts"
import * as Workbench from "../../fault/Workbench.ts"

/** Two layers of three blocks each; short fields, as every byte is tried. */
const image = ImageBuilder.build({
  names: ["a:1"],
  layers: [[Entry.file("a")], [Entry.directory("b")]],
  config: { config: undefined, created: undefined, history: undefined }
})

let sound: ReadonlyMap<string, Buffer>

beforeAll(() =>
  Workbench.withScratch(async (directory) => {
    sound = Workbench.snapshot(await Effect.runPromise(Workbench.written(directory, image, "", "o")))
  })
)

/** Calls `use` with a fresh copy and a function that gives the damaged copy's findings, none when it looks sound. */
const withCopy = (
  use: (root: string, found: () => Promise<ReadonlyArray<readonly [check: string, subject: string]>>) => Promise<void>
): Promise<void> =>
  Workbench.withScratch((directory) => {
    const root = path.join(directory, "out")
    Workbench.restore(root, sound)
    return Effect.runPromise(
      Effect.gen(function* () {
        const verifier = yield* DirectoryVerifier.make({ path: root })
        const runtime = yield* Effect.runtime()
        const found = () =>
          Runtime.runPromise(runtime)(Effect.map(verifier.verify({ depth: "full" }), Workbench.findings))
        assert.deepStrictEqual(yield* Effect.promise(found), [])
        yield* Effect.promise(() => use(root, found))
        assert.deepStrictEqual(yield* Effect.promise(found), [], "the copy was not restored")
      }).pipe(Effect.provide(Workbench.pool))
    )
  })

/** The names of the files, longest last, so that a failure in a document shows first. */
const names = (): ReadonlyArray<string> => [...sound.keys()]

/** The file, or the directory that is named after it. */
const accuses = (subject: string, name: string): boolean => subject === name || subject === path.dirname(name)

describe("a small output", () => {
  it("has the files that are damaged below", () => {
    assert.sameMembers(
      [...names()],
      [
        "catalog.json",
        "manifest.json",
        "receipt.json",
        `${image.id.slice(7)}.json`,
        ...image.layers.map((layer) => `${layer.diffId.slice(7)}/layer.tar`)
      ]
    )
  })

  it("with any byte flipped is reported, and the file is named", () =>
    withCopy(async (root, found) => {
      for (const name of names()) {
        const file = path.join(root, name)
        for (let at = 0; at < sound.get(name)!.length; at++) {
          // One bit, another one in each byte: the least that can go wrong.
          const damage = Damage.flipByte(file, at, 1 << (at % 8))
          const findings = await found()
          Damage.flipByte(file, at, 1 << (at % 8))
          assert.isTrue(
            findings.some(([, subject]) => accuses(subject, name)),
            `${name}: ${damage.what}`
          )
        }
      }
    }))

  it("with any file cut anywhere is reported, and the file is named", () =>
    withCopy(async (root, found) => {
      for (const name of names()) {
        const file = path.join(root, name)
        const bytes = sound.get(name)!
        // Layers all end in zeros, which tells nothing about one place more than about another.
        const step = name.endsWith("layer.tar") ? 61 : 1
        for (let size = bytes.length - 1; size >= 0; size -= step) {
          Damage.truncate(file, size)
          const findings = await found()
          fs.writeFileSync(file, bytes)
          assert.isTrue(
            findings.some(([, subject]) => accuses(subject, name)),
            `${name}: cut to ${size} bytes`
          )
        }
      }
    }))

  it("with anything behind any file is reported, and the file is named", () =>
    withCopy(async (root, found) => {
      const tails = [" ", "\n", "\0", "x", "{}", "\0".repeat(512), "\0".repeat(10_240)].map((text) => Buffer.from(text))
      for (const name of names()) {
        for (const tail of [...tails, sound.get(name)!]) {
          const file = path.join(root, name)
          Damage.extend(file, tail)
          const findings = await found()
          fs.writeFileSync(file, sound.get(name)!)
          assert.isTrue(
            findings.some(([, subject]) => accuses(subject, name)),
            `${name}: ${tail.length} bytes added`
          )
        }
      }
    }))

  it("without any one of its files is reported, and the file is named", () =>
    withCopy(async (root, found) => {
      for (const name of names()) {
        Damage.remove(path.join(root, name))
        const findings = await found()
        assert.isTrue(
          findings.some(([, subject]) => subject === name),
          name
        )
        fs.writeFileSync(path.join(root, name), sound.get(name)!)
      }
    }))

  it("with any file replaced by a directory, a FIFO or a symlink out of it is reported, and the file is named", () =>
    withCopy(async (root, found) => {
      for (const name of names()) {
        const file = path.join(root, name)
        const outside = path.join(path.dirname(root), "outside")
        fs.writeFileSync(outside, sound.get(name)!)
        for (const replace of [
          () => Damage.replaceByDirectory(file),
          () => Damage.replaceByFifo(file),
          // The same bytes, but not in the output any more.
          () => Damage.replaceBySymlink(file, outside),
          () => Damage.replaceBySymlink(file, path.relative(path.dirname(file), outside)),
          () => Damage.replaceByFile(file, Buffer.alloc(sound.get(name)!.length))
        ]) {
          const damage = replace()
          const findings = await found()
          assert.isTrue(
            findings.some(([, subject]) => accuses(subject, name)),
            `${name}: ${damage.what}`
          )
          fs.rmSync(file, { recursive: true })
          fs.writeFileSync(file, sound.get(name)!)
        }
      }
    }))

  it("with any two files exchanged is reported, and both are named", () =>
    withCopy(async (root, found) => {
      for (const [index, one] of names().entries()) {
        for (const other of names().slice(index + 1)) {
          Damage.swap(path.join(root, one), path.join(root, other))
          const findings = await found()
          Damage.swap(path.join(root, one), path.join(root, other))
          for (const name of [one, other]) {
            assert.isTrue(
              findings.some(([, subject]) => accuses(subject, name)),
              `${one} and ${other} exchanged: ${name}`
            )
          }
        }
      }
    }))
})
