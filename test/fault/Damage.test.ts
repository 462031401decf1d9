import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Damage from "../../src/fault/Damage.ts"
import * as Workbench from "./Workbench.ts"

/** Runs `use` with the path of a file that holds `0123456789`. */
const withFile = (use: (file: string) => void): Promise<void> =>
  Workbench.withScratch((directory) => {
    const file = path.join(directory, "file")
    fs.writeFileSync(file, "0123456789")
    use(file)
  })

const text = (file: string): string => fs.readFileSync(file, "utf8")

describe("damage", () => {
  it("flips the bits that are asked for in one byte", () =>
    withFile((file) => {
      assert.deepStrictEqual(Damage.flipByte(file, 3, 0x01), {
        kind: "flip-byte",
        paths: [file],
        what: "byte 3 changed from 0x33 to 0x32"
      })
      assert.strictEqual(text(file), "0122456789")
      Damage.flipByte(file, 9)
      assert.strictEqual(fs.readFileSync(file)[9], 0x39 ^ 0xff)
      assert.throws(() => Damage.flipByte(file, 10), /no byte 10/)
      assert.throws(() => Damage.flipByte(file, 0, 0), RangeError)
    }))

  it("overwrites within the file only", () =>
    withFile((file) => {
      assert.strictEqual(Damage.overwrite(file, 8, Buffer.from("xy")).kind, "overwrite")
      assert.strictEqual(text(file), "01234567xy")
      assert.throws(() => Damage.overwrite(file, 9, Buffer.from("xy")), RangeError)
    }))

  it("cuts and extends", () =>
    withFile((file) => {
      assert.strictEqual(Damage.truncate(file, 4).what, "cut from 10 to 4 bytes")
      assert.strictEqual(text(file), "0123")
      assert.throws(() => Damage.truncate(file, 4), RangeError)
      assert.strictEqual(Damage.extend(file, Buffer.from("ab")).what, "extended from 4 to 6 bytes")
      assert.strictEqual(text(file), "0123ab")
    }))

  it("deletes files and whole directories, and complains of what is not there", () =>
    withFile((file) => {
      assert.deepStrictEqual(Damage.remove(file), { kind: "delete", paths: [file], what: "deleted" })
      assert.isFalse(fs.existsSync(file))
      Damage.remove(path.dirname(file))
      assert.isFalse(fs.existsSync(path.dirname(file)))
      assert.throws(() => Damage.remove(file), /ENOENT/)
    }))

  it("exchanges two files", () =>
    withFile((file) => {
      const other = `${file}2`
      fs.writeFileSync(other, "other")
      assert.deepStrictEqual(Damage.swap(file, other).paths, [file, other])
      assert.deepStrictEqual([text(file), text(other)], ["other", "0123456789"])
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["file", "file2"])
    }))

  it("puts something else in the place of a file", () =>
    withFile((file) => {
      Damage.replaceByFile(file, Buffer.from("new"))
      assert.strictEqual(text(file), "new")
      Damage.replaceBySymlink(file, "/etc/hostname")
      assert.strictEqual(fs.readlinkSync(file), "/etc/hostname")
      Damage.replaceByFifo(file)
      assert.isTrue(fs.lstatSync(file).isFIFO())
      Damage.replaceByDirectory(file)
      assert.isTrue(fs.lstatSync(file).isDirectory())
    }))

  it("lists regular files only, in order, without following links", () =>
    withFile((file) => {
      const directory = path.dirname(file)
      fs.mkdirSync(path.join(directory, "a/b"), { recursive: true })
      fs.writeFileSync(path.join(directory, "a/b/c"), "")
      fs.symlinkSync(directory, path.join(directory, "a/loop"))
      assert.deepStrictEqual(Damage.files(directory), ["a/b/c", "file"])
    }))
})
