import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Workbench from "../fault/Workbench.ts"
import { dir, file } from "../rootfs/Layers.ts"
import { imageOf, sourceOf, usable } from "./unpacked.ts"

/** As a user who is not root. */
const asNobody = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      process.setegid!(65534)
      process.seteuid!(65534)
    }),
    () => effect,
    () =>
      Effect.sync(() => {
        process.seteuid!(0)
        process.setegid!(0)
      })
  )

describe.skipIf(!usable)("a directory whose names may not be listed", () => {
  for (const scheme of ["dir", "oci-layout", "oci", "mounts"] as const) {
    it.scoped(`is said, when it is all of ${scheme}://`, () =>
      Effect.gen(function* () {
        const scratch = yield* Workbench.scratch
        fs.chmodSync(scratch, 0o755)
        const out = `${scratch}/out`
        fs.mkdirSync(out)
        fs.chmodSync(out, 0o711)
        const verification = yield* asNobody(Workbench.verifyTarget(`${scheme}://${out}`))
        assert.deepInclude(Workbench.findings(verification), ["directory.unreadable", out])
        assert.isTrue(verification.results.hasErrors)
      })
    )
  }

  const cases: ReadonlyArray<readonly [scheme: string, directory: string, subject: string]> = [
    ["dir", "LAYER", "LAYER"],
    ["oci-layout", "blobs", "blobs"],
    ["oci-layout", "blobs/sha256", "blobs/sha256"]
  ]
  for (const [scheme, directory, subject] of cases) {
    it.scoped(`is said, and nothing passes: ${scheme}://, ${directory}`, () =>
      Effect.gen(function* () {
        const scratch = yield* Workbench.scratch
        fs.chmodSync(scratch, 0o755)
        const out = `${scratch}/out`
        yield* Workbench.processUris(sourceOf(scratch, imageOf([[dir("./"), file("x", "x")]])), `${scheme}://${out}`)
        fs.chmodSync(out, 0o755)
        const layer = fs.readdirSync(out).find((name) => /^[a-f0-9]{64}$/.test(name)) ?? ""
        const named = (text: string) => text.replace("LAYER", layer)
        const target = `${scheme}://${out}`
        const verified = asNobody(Workbench.verifyTarget(target, "fast"))
        assert.isFalse((yield* verified).results.hasErrors)
        // Whoever knows a name still gets at what it names.
        fs.chmodSync(`${out}/${named(directory)}`, 0o711)
        const verification = yield* verified
        assert.deepInclude(Workbench.findings(verification), ["directory.unreadable", named(subject)])
        assert.isTrue(verification.results.hasErrors)
      })
    )
  }

  it.scoped("leaves the names of a bundle's tree uncounted, which is said", () =>
    Effect.gen(function* () {
      const scratch = yield* Workbench.scratch
      fs.chmodSync(scratch, 0o755)
      const out = `${scratch}/out`
      const image = imageOf([[dir("./"), dir("d/", { mode: 0o711 }), file("d/x", "x")]])
      yield* Workbench.processUris(sourceOf(scratch, image), `oci://${out}`)
      fs.chmodSync(out, 0o755)
      const { results } = yield* asNobody(Workbench.verifyTarget(out, "fast"))
      assert.notInclude(results.checked, "bundle.entry-count")
      assert.lengthOf(
        results.skipped.filter(
          ({ check, reason }) => check === "bundle.entry-count" && reason.startsWith("1 directory")
        ),
        1
      )
    })
  )

  it.scoped("is said when it is a bundle's tree, or above it", () =>
    Effect.gen(function* () {
      const scratch = yield* Workbench.scratch
      fs.chmodSync(scratch, 0o755)
      const out = `${scratch}/out`
      yield* Workbench.processUris(sourceOf(scratch, imageOf([[dir("./"), file("x", "x")]])), `oci://${out}`)
      fs.chmodSync(out, 0o755)
      fs.chmodSync(`${out}/rootfs`, 0o700)
      assert.deepInclude(Workbench.findings(yield* asNobody(Workbench.verifyTarget(out))), [
        "rootfs.unreadable",
        "rootfs"
      ])
      fs.mkdirSync(`${out}/closed`, { mode: 0o700 })
      fs.renameSync(`${out}/rootfs`, `${out}/closed/rootfs`)
      const config = JSON.parse(fs.readFileSync(`${out}/config.json`, "utf8"))
      fs.writeFileSync(`${out}/config.json`, JSON.stringify({ ...config, root: { path: "closed/rootfs" } }))
      assert.deepInclude(Workbench.findings(yield* asNobody(Workbench.verifyTarget(out))), [
        "bundle.missing-rootfs",
        "closed/rootfs"
      ])
    })
  )
})
