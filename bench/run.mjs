// Builds and runs the benchmarks: npm run bench [-- CASE...]
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as esbuild from "esbuild"

const root = path.resolve(import.meta.dirname, "..")
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "tallyman-bench-"))
const outfile = path.join(directory, "bench.mjs")
try {
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: ["bench/main.ts"],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20.11",
    external: ["koffi", "@bokuweb/zstd-wasm"],
    outfile,
    logLevel: "warning"
  })
  const { main } = await import(pathToFileURL(outfile).href)
  process.exitCode = await main(root, process.argv.slice(2))
} finally {
  fs.rmSync(directory, { recursive: true, force: true })
}
