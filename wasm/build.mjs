/**
 * Compiles `wasm/deflate.as` into `src/content/DeflateModule.ts`; with `--check`, only tells whether that is up to date.
 * Needs the package assemblyscript; the same version gives the same bytes.
 * AssemblyScript's own `.ts` would have every tool here take the source for TypeScript.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"

const root = path.resolve(import.meta.dirname, "..")
const output = path.join(root, "src/content/DeflateModule.ts")

/** The text of the generated module. */
export const generate = async () => {
  const { main } = (await import("assemblyscript/asc")).default
  let binary
  const { error, stderr } = await main(
    [
      "deflate.ts",
      "--optimizeLevel",
      "3",
      "--noAssert",
      "--runtime",
      "stub",
      "--initialMemory",
      "52",
      "--outFile",
      "out"
    ],
    {
      readFile: (name) =>
        name === "deflate.ts" ? fs.readFileSync(path.join(import.meta.dirname, "deflate.as"), "utf8") : null,
      writeFile: (name, content) => {
        if (name === "out") binary = Buffer.from(content)
      },
      listFiles: () => []
    }
  )
  if (error !== null || binary === undefined) throw new Error(`${error}\n${stderr}`)
  return `/** Generated from wasm/deflate.as by \`node wasm/build.mjs\`: WebAssembly in base64, ${binary.length} bytes. */
export const deflateModule =
  "${binary.toString("base64")}"
`
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const text = await generate()
  if (!process.argv.includes("--check")) fs.writeFileSync(output, text)
  else if (!fs.existsSync(output) || fs.readFileSync(output, "utf8") !== text) {
    process.stderr.write(`${path.relative(root, output)} is not what wasm/deflate.as compiles to\n`)
    process.exitCode = 1
  }
}
