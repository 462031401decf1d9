/** Docs that repeat code are made from it. `npm run docs` writes them; without it, stale ones fail here. */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as JSONSchema from "effect/JSONSchema"
import { assert, describe, it } from "vitest"
import { SettingsFile } from "../src/pipeline/Settings.ts"
import { checksPage } from "./docs/ChecksPage.ts"
import { commandsPage } from "./docs/CommandsPage.ts"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")

const pages: ReadonlyArray<readonly [file: string, make: () => string]> = [
  ["docs/checks.md", checksPage],
  ["docs/commands.md", () => commandsPage(root)],
  ["tallyman.schema.json", () => `${JSON.stringify(JSONSchema.make(SettingsFile), null, 2)}\n`]
]

describe("generated docs", () => {
  for (const [file, make] of pages) {
    it(`${file} is up to date (npm run docs writes it)`, () => {
      const target = path.join(root, file)
      const made = make()
      if (process.env["UPDATE_DOCS"] === "1") fs.writeFileSync(target, made)
      assert.strictEqual(fs.existsSync(target) ? fs.readFileSync(target, "utf8") : "", made)
    })
  }

  it("links between pages lead somewhere", () => {
    const files = ["README.md", ...fs.readdirSync(path.join(root, "docs")).map((name) => `docs/${name}`)]
    for (const file of files.filter((name) => name.endsWith(".md"))) {
      const text = fs.readFileSync(path.join(root, file), "utf8")
      for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
        assert.isTrue(fs.existsSync(path.join(root, path.dirname(file), target!)), `${file} links to ${target}`)
      }
    }
  })
})
