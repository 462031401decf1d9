/** Runs that end before their time, and runs beside each other: what is there is whole, or is known not to be. */
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as Journal from "../../src/layout/Journal.ts"
import type { Depth } from "../../src/layout/Verifier.ts"
import * as Workbench from "../fault/Workbench.ts"

/** An image whose layers have these sizes in MiB, each of a byte of its own. */
const imageOf = (name: string, ...sizes: ReadonlyArray<number>): ImageBuilder.BuiltImage =>
  ImageBuilder.build({
    names: [name],
    layers: sizes.map((size, index) => [Entry.file(`${name}-${index}`, Buffer.alloc(size * 1024 ** 2, 0x61 + index))])
  })

const findings = (root: string, depth: Depth = "full") =>
  Effect.runPromise(
    Effect.map(Workbench.verifyTarget(root, depth), (found) =>
      found.results.results.filter((one) => one.severity !== "info")
    )
  )

/** One that has been written: a run may be killed before that. */
const isJournalIn = (root: string): boolean =>
  fs.existsSync(root) &&
  fs.readdirSync(root).some((name) => Journal.isJournal(name) && Journal.read(`${root}/${name}`) !== undefined)

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Waits until a run has begun to write, or has ended. */
const begun = async (root: string, { ended }: Workbench.Running): Promise<void> => {
  let over = false
  void ended.then(() => {
    over = true
  })
  while (!over && !isJournalIn(root)) await sleep(2)
}

/** Starts a run into `root` and sends it `signal` while it writes; once more when it was too fast for that. */
const caught = async (
  args: ReadonlyArray<string>,
  root: string,
  signal: "SIGKILL" | "SIGSTOP",
  before: () => void
): Promise<Workbench.Running> => {
  for (let attempt = 1; ; attempt++) {
    fs.rmSync(root, { recursive: true, force: true })
    before()
    const running = Workbench.start(args)
    await begun(root, running)
    running.child.kill(signal)
    if (signal === "SIGKILL") await running.ended
    if (isJournalIn(root)) return running
    assert.isBelow(attempt, 10, "no run could be caught while it wrote")
    running.child.kill("SIGCONT")
    await running.ended
  }
}

describe("a run that is interrupted", () => {
  // Small ones are copied in the main thread, large ones in others.
  for (const [what, sizes] of [
    ["small", [8, 8, 8]],
    ["large", [40, 40]]
  ] as const) {
    it(`leaves nothing behind, or what is known to be incomplete, and can be run again (${what})`, () =>
      Workbench.withScratch(async (directory) => {
        const image = imageOf("localhost/a:1", ...sizes)
        const args = ["process", `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([image]))}`]
        let interrupted = 0
        for (let run = 0; run < 10 && interrupted < 1; run++) {
          const root = `${directory}/out-${run}`
          const running = Workbench.start([...args, `dir://${root}`])
          await begun(root, running)
          running.child.kill("SIGINT")
          const { code, signal, stderr, stdout } = await running.ended
          if (code === 0) continue
          assert.deepStrictEqual([code, signal, stderr], [130, null, "tallyman: interrupted\n"])
          // The main thread hears of the signal when it is done with what it copies itself, at worst with everything.
          if (stdout !== "") {
            assert.strictEqual(what, "small")
            assert.match(stdout, /^Summary: .*verified OK\n$/)
            assert.deepStrictEqual(await findings(root), [])
            continue
          }
          interrupted++
          assert.deepStrictEqual(
            fs.readdirSync(root).filter((name) => name.startsWith(".tallyman") || name === "manifest.json"),
            []
          )
          assert.isNotEmpty(await findings(root))
          const again = await Workbench.tallyman([...args, `dir://${root}`, "--verify-full"])
          assert.match(again.stdout, /verified OK/)
          assert.deepStrictEqual(await findings(root), [])
        }
        if (what === "large") assert.isAtLeast(interrupted, 1, "no run could be interrupted in time")
      }))
  }
})

describe("a run that is killed at any moment", () => {
  it("is known to be incomplete unless it had finished, harms nothing that was there, and completes when it is run again", () =>
    Workbench.withScratch(async (directory) => {
      const first = imageOf("localhost/first:1", 1)
      const image = ImageBuilder.build({
        names: ["localhost/second:1"],
        layers: [first.layers[0]!.tar, ...imageOf("localhost/second:1", 6, 6, 3).layers.map((layer) => layer.tar)]
      })
      const put = (one: ImageBuilder.BuiltImage, name: string): string =>
        `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerHybrid([one]), name)}`
      const [firstUri, uri] = [put(first, "first.tar"), put(image, "second.tar")]
      const before = `${directory}/before`
      await Effect.runPromise(Workbench.processUris(firstUri, `dir://${before}?unique_names=true`, undefined))
      const ends = new Set<string>()
      let span = 120
      for (let run = 0; run < 10; run++) {
        const root = `${directory}/out`
        fs.rmSync(root, { recursive: true, force: true })
        // Every other time the directory has another image already, which shares a layer.
        const shared = run % 2 === 0
        if (shared) fs.cpSync(before, root, { recursive: true })
        const running = Workbench.start(["process", uri, `dir://${root}?unique_names=true`, "--no-verify"])
        await begun(root, running)
        const started = performance.now()
        const moment = Math.random() * span
        const finished = await Promise.race([running.ended.then(() => true), sleep(moment).then(() => false)])
        running.child.kill("SIGKILL")
        await running.ended
        // So that later moments lie within the time that a run takes here and now.
        if (finished) span = Math.max(10, performance.now() - started)

        const fast = await findings(root, "fast")
        const full = await findings(root)
        const context = `killed after ${moment.toFixed(1)} ms: ${fs.readdirSync(root).join(" ")}`
        const there = fs.existsSync(`${root}/manifest-localhost_second-1.json`)
        const errors = fast.filter((one) => one.severity === "error").map((one) => one.check)
        ends.add(finished ? "finished" : errors.length > 0 ? "incomplete" : "finished")
        if (errors.length === 0) {
          assert.isTrue(there, context)
          assert.deepStrictEqual(full, [], context)
        } else {
          assert.isFalse(finished, context)
          assert.isNotEmpty(
            errors.filter((check) => check === "directory.incomplete" || check === "manifest.missing"),
            context
          )
        }
        if (shared) {
          const { images } = await Effect.runPromise(Workbench.verifyTarget(root))
          assert.deepInclude(images, { image: "localhost/first:1", ok: true, errorCount: 0 }, context)
        }

        await Effect.runPromise(Workbench.processUris(uri, `dir://${root}?unique_names=true`))
        assert.deepStrictEqual(await findings(root), [], `run again, after it was ${context}`)
        assert.deepStrictEqual(
          fs.readdirSync(root).filter((name) => name.startsWith(".tallyman")),
          []
        )
      }
      assert.isTrue(ends.has("incomplete"), "no run was killed in time")
    }))

  it("and verify says so with its exit code", () =>
    Workbench.withScratch(async (directory) => {
      const image = imageOf("localhost/a:1", 30, 30)
      const uri = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerDigestNames([image]))}`
      const root = `${directory}/out`
      await caught(["process", uri, `dir://${root}`], root, "SIGKILL", () => {})
      const { code, stdout } = await Workbench.tallyman(["verify", root])
      assert.match(
        stdout,
        /^ {2}error \[directory\.incomplete\] a run that wrote localhost\/a:1 \(manifest\.json\) was cut off$/m
      )
      assert.match(stdout, /^FAILED: /m)
      assert.strictEqual(code, 1)
      const again = await Workbench.tallyman(["process", uri, `dir://${root}`, "--verify-full"])
      assert.strictEqual(again.code, 0)
      assert.strictEqual((await Workbench.tallyman(["verify", root, "--full"])).code, 0)
    }))
})

describe("runs at once into one directory", () => {
  it("of images that share layers all succeed", () =>
    Workbench.withScratch(async (directory) => {
      const shared = imageOf("shared", 4).layers[0]!.tar
      const images = ["a", "b", "c"].map((name) =>
        ImageBuilder.build({ names: [`localhost/${name}:1`], layers: [shared, [Entry.file(name)]] })
      )
      const uris = images.map(
        (image, index) => `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([image]), `${index}.tar`)}`
      )
      const root = `${directory}/out`
      const ends = await Promise.all(
        uris.map((uri) => Workbench.tallyman(["process", uri, `dir://${root}?unique_names=true`, "--verify-full"]))
      )
      for (const { code, stderr, stdout } of ends) {
        assert.match(stdout, /^Summary: .*verified OK\n$/)
        assert.deepStrictEqual([code, stderr], [0, ""])
      }
      const { images: verdicts, layerCount, results } = await Effect.runPromise(Workbench.verifyTarget(root))
      assert.deepStrictEqual(results.results, [])
      assert.deepStrictEqual([verdicts.length, layerCount], [3, 4])
      assert.deepStrictEqual(Object.keys(JSON.parse(fs.readFileSync(`${root}/catalog.json`, "utf8")) as object), [
        "localhost/a",
        "localhost/b",
        "localhost/c"
      ])
    }))

  it("of one image all succeed", () =>
    Workbench.withScratch(async (directory) => {
      const uri = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([imageOf("localhost/a:1", 4, 2)]))}`
      const root = `${directory}/out`
      const ends = await Promise.all(
        [0, 1, 2].map(() => Workbench.tallyman(["process", uri, `dir://${root}`, "--verify-full"]))
      )
      for (const { code, stderr } of ends) assert.deepStrictEqual([code, stderr], [0, ""])
      assert.deepStrictEqual(await findings(root), [])
    }))

  it("while one writes, an audit says that it does, and not that anything is wrong with the rest", () =>
    Workbench.withScratch(async (directory) => {
      const root = `${directory}/out`
      const first = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([imageOf("localhost/a:1", 1)]), "a.tar")}`
      const whole = `${directory}/whole`
      await Effect.runPromise(Workbench.processUris(first, `dir://${whole}?unique_names=true`))
      const second = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([imageOf("localhost/b:1", 30, 30)]), "b.tar")}`
      const running = await caught(["process", second, `dir://${root}?unique_names=true`], root, "SIGSTOP", () =>
        fs.cpSync(whole, root, { recursive: true })
      )
      const { images, results } = await Effect.runPromise(Workbench.verifyTarget(root))
      running.child.kill("SIGCONT")
      assert.isFalse(results.hasErrors, JSON.stringify(results.results))
      assert.deepStrictEqual(images, [{ image: "localhost/a:1", ok: true, errorCount: 0 }])
      const told = results.results.find((one) => one.check === "directory.in-progress")
      assert.include(told?.message, `process ${running.child.pid} is writing localhost/b:1`)
      assert.strictEqual((await running.ended).code, 0)
      assert.deepStrictEqual(await findings(root), [])
    }))
})
