import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Journal from "../../src/layout/Journal.ts"
import * as Workbench from "../fault/Workbench.ts"

const self = (): Journal.Run =>
  JSON.parse(Buffer.from(Journal.describeSelf("manifest.json", "a:1")).toString()) as Journal.Run

describe("a journal", () => {
  it("names this process until it is closed", () =>
    Workbench.withScratch((directory) => {
      const journal = Journal.open(directory, "manifest.json", "a:1")
      const [name, ...others] = fs.readdirSync(directory)
      assert.deepStrictEqual(others, [])
      assert.isTrue(Journal.isJournal(name!))
      const run = Journal.read(path.join(directory, name!))
      assert.deepInclude(run, { pid: process.pid, host: os.hostname(), target: "manifest.json", image: "a:1" })
      assert.isTrue(Journal.isAlive(run!))
      assert.deepStrictEqual(Journal.leftovers(directory, fs.readdirSync(directory)), [])
      journal.close()
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    }))

  it("takes its temporary files with it, however it ends", () =>
    Workbench.withScratch((directory) => {
      for (const end of ["close", "abandon"] as const) {
        const journal = Journal.open(directory, "manifest.json", "a:1")
        const [one, other] = [journal.temporary(), journal.temporary()]
        assert.notStrictEqual(one, other)
        assert.isTrue(Journal.isTemporary(path.basename(one)))
        fs.writeFileSync(one, "x")
        fs.mkdirSync(other)
        journal[end]()
        assert.deepStrictEqual(fs.readdirSync(directory), [])
      }
    }))

  it("of a process that is gone is left over, with its temporary files", () =>
    Workbench.withScratch((directory) => {
      const put = (id: string, run: Partial<Journal.Run> | string): void => {
        const text = typeof run === "string" ? run : JSON.stringify({ ...self(), ...run })
        fs.writeFileSync(path.join(directory, `.tallyman-run-${id}.json`), text)
        fs.writeFileSync(path.join(directory, `.tallyman-run-${id}.0.partial`), "")
      }
      put("alive", {})
      put("dead", { pid: 2 ** 30 })
      put("other-target", { pid: 2 ** 30, target: "manifest-b-1.json" })
      put("other-boot", { boot: "another" })
      put("pid-used-again", { started: "1" })
      put("other-host", { host: "elsewhere", pid: 2 ** 30 })
      put("empty", "")
      fs.writeFileSync(path.join(directory, ".tallyman-run-nobody.0.partial"), "")
      fs.writeFileSync(path.join(directory, "manifest.json"), "")
      const names = fs.readdirSync(directory)
      const ids = (all: ReadonlyArray<string>): ReadonlyArray<string> =>
        all
          .map((name) =>
            name
              .replace(".tallyman-run-", "")
              .replace(/\.json$/, " journal")
              .replace(".0.partial", "")
          )
          .sort()
      // On another host nobody can tell: it counts as alive.
      const gone = ["dead", "empty", "other-boot", "other-target", "pid-used-again"]
      const known =
        os.platform() === "linux" ? gone : gone.filter((id) => id !== "other-boot" && id !== "pid-used-again")
      assert.deepStrictEqual(
        ids(Journal.leftovers(directory, names)),
        [...known.flatMap((id) => [id, `${id} journal`]), "nobody"].sort()
      )
      assert.notInclude(ids(Journal.leftovers(directory, names, "manifest.json")), "other-target journal")
    }))

  it("in which nothing stands yet is that of the process in its name, for a minute", () =>
    Workbench.withScratch((directory) => {
      const [own, gone] = [`.tallyman-run-${process.pid}-1.json`, `.tallyman-run-${2 ** 30}-1.json`]
      for (const name of [own, gone]) fs.writeFileSync(path.join(directory, name), "")
      assert.deepStrictEqual(Journal.leftovers(directory, [own, gone]), [gone])
      const then = Date.now() / 1000 - 61
      fs.utimesSync(path.join(directory, own), then, then)
      assert.deepStrictEqual(Journal.leftovers(directory, [own, gone]), [own, gone])
    }))

  it("has files that nobody else may read in another directory, where one was named", () =>
    Workbench.withScratch((directory) => {
      const [output, spools] = ["output", "spools"].map((name) => path.join(directory, name))
      fs.mkdirSync(output!)
      fs.mkdirSync(spools!)
      for (const end of ["close", "abandon"] as const) {
        const journal = Journal.open(output!, "manifest.json", "a:1", spools)
        assert.deepStrictEqual(fs.readdirSync(spools!), [])
        const file = journal.spool()
        assert.strictEqual(path.dirname(path.dirname(file)), spools)
        assert.strictEqual(fs.statSync(path.dirname(file)).mode & 0o777, 0o700)
        fs.writeFileSync(file, "x")
        journal[end]()
        assert.deepStrictEqual([fs.readdirSync(output!), fs.readdirSync(spools!)], [[], []])
      }
      const without = Journal.open(output!, "manifest.json", "a:1")
      assert.strictEqual(path.dirname(without.spool()), output)
      without.abandon()
    }))

  it("of temporary files that a killed run left goes with the next run, those of outputs stay", () =>
    Workbench.withScratch((directory) => {
      const dead = { ...self(), pid: 2 ** 30 }
      fs.writeFileSync(`${directory}/.tallyman-run-a.json`, JSON.stringify({ ...dead, target: "temporary files" }))
      fs.mkdirSync(`${directory}/.tallyman-run-a.0.partial`)
      fs.writeFileSync(`${directory}/.tallyman-run-a.0.partial/0`, "half of it")
      fs.writeFileSync(`${directory}/.tallyman-run-b.json`, JSON.stringify({ ...dead, target: "manifest.json" }))
      fs.writeFileSync(`${directory}/mine`, "")
      const output = path.join(directory, "output")
      fs.mkdirSync(output)
      // The next run may need no such file itself, nor the directory for them.
      Journal.open(output, "manifest.json", "a:1", directory).close()
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), [".tallyman-run-b.json", "mine", "output"])
      Journal.open(output, "manifest.json", "a:1", `${directory}/nowhere`).close()
      const spools = Journal.openSpools(directory)
      fs.writeFileSync(spools.next(), "x")
      spools.close()
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), [".tallyman-run-b.json", "mine", "output"])
    }))

  it("of a process that was killed is no longer alive", () => {
    const child = childProcess.spawnSync(process.execPath, ["-e", "console.log(process.pid)"], { encoding: "utf8" })
    assert.isFalse(Journal.isAlive({ ...self(), pid: Number(child.stdout), started: "" }))
  })

  it("that names no run is none", () =>
    Workbench.withScratch((directory) => {
      const file = path.join(directory, "run.json")
      for (const text of ["", "null", "[]", "1", "{}", '{"pid":"1"}', '{"pid":-1}', '{"pid":1.5}', "{"]) {
        fs.writeFileSync(file, text)
        assert.isUndefined(Journal.read(file), text)
      }
      assert.isUndefined(Journal.read(path.join(directory, "gone")))
    }))
})

describe("files", () => {
  it("are made new or not at all, and never through a symlink", () =>
    Workbench.withScratch((directory) => {
      const file = path.join(directory, "file")
      Journal.writeNew(file, Buffer.from("one"))
      assert.throws(() => Journal.writeNew(file, Buffer.from("two")), /EEXIST/)
      assert.strictEqual(fs.readFileSync(file, "utf8"), "one")
      fs.symlinkSync(path.join(directory, "target"), path.join(directory, "link"))
      assert.throws(() => Journal.writeNew(path.join(directory, "link"), Buffer.from("x")), /EEXIST|ELOOP/)
      assert.isFalse(fs.existsSync(path.join(directory, "target")))
    }))
})
