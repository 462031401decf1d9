/**
 * Compiles `deflate.as` (AssemblyScript; its own ending `.ts` would have every tool here take it for TypeScript) into
 * `../DeflateModule.ts`; with `--check`, only tells whether that is up to date. npm fetches the compiler for it: at 95 MB
 * it is too large for everybody to install. The same version gives the same bytes.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const here = import.meta.dirname
const output = path.join(here, "../DeflateModule.ts")
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "deflate-"))
try {
  fs.copyFileSync(path.join(here, "deflate.as"), path.join(directory, "deflate.ts"))
  const options = [
    "--optimizeLevel",
    "3",
    "--noAssert",
    "--runtime",
    "stub",
    "--initialMemory",
    "52",
    "--outFile",
    "out"
  ]
  const compile = ["exec", "--yes", "--package=assemblyscript@0.28.20", "--", "asc", "deflate.ts", ...options]
  execFileSync("npm", compile, { cwd: directory, stdio: ["ignore", "ignore", "inherit"] })
  const binary = fs.readFileSync(path.join(directory, "out"))
  const text = `/** Generated from deflate/deflate.as by \`npm run build:deflate\`: WebAssembly in base64, ${binary.length} bytes. */
export const deflateModule =
  "${binary.toString("base64")}"
`
  if (!process.argv.includes("--check")) fs.writeFileSync(output, text)
  else if (fs.readFileSync(output, "utf8") !== text) {
    process.stderr.write("src/content/DeflateModule.ts is not what deflate/deflate.as compiles to\n")
    process.exitCode = 1
  }
} finally {
  fs.rmSync(directory, { recursive: true, force: true })
}
