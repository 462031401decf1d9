import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import * as Inspect from "../../src/content/Inspect.ts"

const src = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../src")

/** Every file below `directory`. */
const filesIn = (directory: string): ReadonlyArray<string> =>
  fs
    .readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory() ? filesIn(path.join(directory, entry.name)) : [path.join(directory, entry.name)]
    )

describe("the worker thread", () => {
  it("serves every job there is, by its kind", () => {
    const kinds = filesIn(src).flatMap((file) => {
      const text = fs.readFileSync(file, "utf8")
      return [...text.matchAll(/: Job<[^=]*> = \{\s*kind: "([^"]+)"/g)].map((match) => match[1]!)
    })
    const served = [
      ...fs.readFileSync(path.join(src, "jobs.ts"), "utf8").matchAll(/^ {2}"?([a-z.-]+)"?: (?:async )?\(\) =>/gm)
    ].map((match) => match[1]!)
    assert.isAtLeast(kinds.length, 9)
    assert.deepStrictEqual([...served, Inspect.job.kind].sort(), [...kinds].sort())
  })
})
