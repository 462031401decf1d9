import * as fs from "node:fs"
import * as zlib from "node:zlib"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Damage from "../../src/fault/Damage.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { version } from "../../src/version.ts"
import * as Workbench from "../fault/Workbench.ts"

const sound = ImageBuilder.rich()
/** Its history lacks a step, which any depth sees; one path comes twice in a layer, which full depth sees. */
const odd = ImageBuilder.build({
  names: ["localhost/odd:1"],
  layers: [[Entry.file("a", "1"), Entry.file("a", "2")], [Entry.file("b")]],
  config: { history: [{ created_by: "1" }] }
})

let directory: string
let soundUri: string
let oddUri: string
let count = 0

beforeAll(() => {
  directory = fs.mkdtempSync(`${fs.existsSync("/dev/shm") ? "/dev/shm" : "/tmp"}/tallyman-test-`)
  soundUri = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([sound]), "sound.tar")}`
  oddUri = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([odd]), "odd.tar")}`
})

afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

/** A destination that is not there yet. */
const fresh = (): string => `dir://${directory}/out-${count++}`

const size = sound.layers.reduce((sum, layer) => sum + layer.tar.length, 0)
const figures = `1/1 images, 3 layers, ${(size / 1024).toFixed(1)} KB`

describe("process", () => {
  it("verifies by default, and says so in its last line", async () => {
    const { code, stderr, stdout } = await Workbench.tallyman(["process", soundUri, fresh()])
    assert.match(stdout, new RegExp(`^Summary: ${figures}, \\d+\\.\\ds, verified OK\\n$`))
    assert.deepStrictEqual([code, stderr], [0, ""])
  })

  it("with errors: lists them above the summary, and exits with 1", async () => {
    const { code, stderr, stdout } = await Workbench.tallyman(["process", oddUri, fresh()])
    const lines = stdout.trimEnd().split("\n")
    assert.strictEqual(lines[0], `${odd.id.slice(7)}.json`)
    assert.match(
      lines[1]!,
      /^ {2}error \[history\.count-mismatch\] .*\(expected 2 entries without empty_layer, found 1\)$/
    )
    assert.match(lines.at(-1)!, /^Summary: 1\/1 images, 2 layers, [\d.]+ KB, \d+\.\ds, 1 verify error$/)
    assert.deepStrictEqual([code, stderr], [1, ""])
  })

  it("takes its flags before and after the arguments, and between them", async () => {
    const runs: ReadonlyArray<readonly [args: ReadonlyArray<string>, errors: number | undefined]> = [
      [["--verify-full", oddUri, fresh()], 2],
      [[oddUri, fresh(), "--verify-full"], 2],
      [[oddUri, "--verify-full", fresh()], 2],
      [["--verify", oddUri, fresh()], 1],
      [[oddUri, fresh(), "--verify"], 1],
      [[oddUri, fresh(), "--verify", "--verify-full"], 2],
      [["--no-verify", oddUri, fresh()], undefined],
      [[oddUri, fresh(), "--no-verify"], undefined],
      [["-j", "1", oddUri, fresh(), "--temp-dir", directory, "--format=text"], 1]
    ]
    for (const [args, errors] of runs) {
      const { code, stderr, stdout } = await Workbench.tallyman(["process", ...args])
      const last = stdout.trimEnd().split("\n").at(-1)!
      assert.match(
        last,
        errors === undefined ? /^Summary: .*, [\d.]+s$/ : new RegExp(`, ${errors} verify errors?$`),
        args.join(" ")
      )
      assert.deepStrictEqual([code, stderr], [errors === undefined ? 0 : 1, ""], args.join(" "))
    }
  })

  it("with --no-verify verifies nothing", async () => {
    const { code, stderr, stdout } = await Workbench.tallyman(["process", oddUri, fresh(), "--no-verify"])
    assert.match(stdout, /^Summary: 1\/1 images, 2 layers, [\d.]+ KB, \d+\.\ds\n$/)
    assert.deepStrictEqual([code, stderr], [0, ""])
  })

  it("does not take yes and no together", async () => {
    for (const flag of ["--verify", "--verify-full"]) {
      const { code, stderr, stdout } = await Workbench.tallyman(["process", soundUri, fresh(), "--no-verify", flag])
      assert.deepStrictEqual(
        [code, stdout, stderr],
        [2, "", `tallyman: cannot use --no-verify together with ${flag}\n`]
      )
    }
  })

  it("as JSON: the document on stdout and nothing else there", async () => {
    const destination = fresh()
    const { code, stderr, stdout } = await Workbench.tallyman([
      "process",
      oddUri,
      destination,
      "--format",
      "json",
      "--verify-full"
    ])
    const document = JSON.parse(stdout) as Record<string, unknown>
    assert.deepInclude(document, {
      tool: "tallyman",
      version,
      source: oddUri,
      destination,
      image: odd.id,
      names: ["localhost/odd:1"],
      images: 1,
      layers: 2,
      bytes: odd.layers.reduce((sum, layer) => sum + layer.tar.length, 0),
      depth: "full"
    })
    assert.deepInclude(document["verification"], { ok: false, has_errors: true, error_count: 2 })
    assert.match(stderr, /^Summary: .*, 2 verify errors\n$/)
    assert.strictEqual(code, 1)
    const unverified = await Workbench.tallyman(["process", oddUri, fresh(), "--format", "json", "--no-verify"])
    assert.deepInclude(JSON.parse(unverified.stdout), { depth: null, verification: null })
    assert.strictEqual(unverified.code, 0)
  })

  it("chooses among images by URI and by flag", async () => {
    const arm = ImageBuilder.build({
      names: ["localhost/rich:1"],
      layers: [[Entry.file("arm")]],
      architecture: "arm64"
    })
    const uri = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([sound, arm]), "two.tar")}`
    const image = async (args: ReadonlyArray<string>): Promise<unknown> =>
      (JSON.parse((await Workbench.tallyman(["process", ...args, "--format", "json"])).stdout) as { image: string })
        .image
    assert.strictEqual(await image([uri, fresh(), "--platform", "linux/arm64"]), arm.id)
    assert.strictEqual(await image([uri, fresh(), "--os", "linux", "--architecture", "amd64"]), sound.id)
    assert.strictEqual(await image([`${uri}?index=1`, fresh()]), arm.id)
    const { code, stderr, stdout } = await Workbench.tallyman(["process", uri, fresh()])
    assert.deepStrictEqual([code, stdout], [3, ""])
    assert.match(
      stderr,
      /^tallyman: cannot choose an image .*0: localhost\/rich:1 \(linux\/amd64\); 1: localhost\/rich:1 \(linux\/arm64\)\n$/
    )
  })

  it("follows a link that the user names, to an archive to read and to one to write over", async () => {
    const image = ImageBuilder.archive(ImageBuilder.dockerLegacy([sound]))
    for (const [name, bytes] of [
      ["plain.tar", image],
      ["packed.tar.gz", zlib.gzipSync(image)]
    ] as const) {
      fs.writeFileSync(`${directory}/${name}`, bytes)
      fs.symlinkSync(name, `${directory}/to-${name}`)
      const link = `tar://${directory}/to-${name}`
      const destination = fresh()
      for (const args of [
        ["process", link, destination, "--verify-full"],
        ["verify", link, "--full", "--against", destination],
        ["process", destination, link, "--verify-full"],
        ["verify", `${directory}/${name}`, "--full"],
        ["verify", link, "--repair", destination]
      ]) {
        const { code, stderr } = await Workbench.tallyman(args)
        assert.deepStrictEqual([code, stderr], [0, ""], args.join(" "))
      }
      assert.isTrue(fs.lstatSync(`${directory}/to-${name}`).isSymbolicLink())
      Damage.flipByte(`${directory}/${name}`, 1500)
      assert.strictEqual((await Workbench.tallyman(["verify", link, "--full"])).code, 1)
      assert.strictEqual((await Workbench.tallyman(["verify", link, "--repair", destination])).code, 0)
      assert.isTrue(fs.lstatSync(`${directory}/to-${name}`).isSymbolicLink())
    }
  })

  it("takes .. behind a link to lead where the system does, in what is written and in what is verified", async () => {
    fs.mkdirSync(`${directory}/far/away`, { recursive: true })
    fs.symlinkSync("far/away", `${directory}/near`)
    const places = ["tar://NEAR/../there.tar", "dir://NEAR/../there", "oci-layout://NEAR/../layout:a/b"]
    for (const place of places) {
      const uri = place.replace("NEAR", `${directory}/near`)
      const { code, stderr } = await Workbench.tallyman(["process", soundUri, uri, "--verify-full"])
      assert.deepStrictEqual([code, stderr], [0, ""], uri)
      assert.strictEqual((await Workbench.tallyman(["verify", uri.replace(/^.*:\/\/|:a\/b$/g, ""), "--full"])).code, 0)
    }
    assert.sameMembers(fs.readdirSync(`${directory}/far`), [
      "away",
      "there.tar",
      "there.tar.receipt.json",
      "there",
      "layout"
    ])
    for (const name of ["there.tar", "there", "layout"]) assert.isFalse(fs.existsSync(`${directory}/${name}`), name)
    // What is beside the link has nothing to do with it.
    fs.mkdirSync(`${directory}/layout`)
    assert.strictEqual((await Workbench.tallyman(["verify", `${directory}/near/../layout`, "--full"])).code, 0)
  })

  it("again into the same directory keeps what is right", async () => {
    const destination = fresh()
    for (let run = 0; run < 2; run++) {
      const { code, stdout } = await Workbench.tallyman(["process", soundUri, destination, "--verify-full"])
      assert.strictEqual(code, 0)
      assert.match(stdout, new RegExp(`Summary: ${figures}, .*, verified OK\\n$`))
    }
  })
})
