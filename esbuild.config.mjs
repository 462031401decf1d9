/**
 * Builds the command, `dist/bin/tallyman.mjs`: one file in which `src/launch.ts` comes first, and the rest follows in
 * comments, of which it takes what it needs:
 * - `src/bin.ts` and all it needs, a script that is compiled (or taken from V8's code cache) only when it is to run;
 * - `src/worker.ts`, the code of its threads, and `src/jobs.ts`, what of it few runs need: a thread compiles only what it
 *   runs.
 * What `--help` prints is asked of a first build.
 *
 * Beside it, `licenses.txt` holds the licenses of the packages in it.
 *
 * Tests start this while others run what it wrote before, so a file is
 * replaced by a rename, and only when it differs.
 */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import * as esbuild from "esbuild"

const root = import.meta.dirname
const output = path.join(root, "dist/bin/tallyman.mjs")
const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))

const common = {
  absWorkingDir: root,
  bundle: true,
  write: false,
  metafile: true,
  platform: "node",
  target: "node20.11",
  // Pure ASCII stays one byte a character in memory.
  charset: "ascii",
  legalComments: "none",
  minify: true,
  // Looked up beside the installed package when they are needed: koffi is native and optional, the other one reads its
  // WebAssembly from a file beside itself.
  external: ["koffi", "@bokuweb/zstd-wasm"],
  // What its main file holds for Node is every algorithm there is in one piece.
  alias: { "hash-wasm": "hash-wasm/dist/index.esm.js" },
  logLevel: "warning"
}

/** In a thread: the jobs are a script of their own, which the one that was started with them evaluates when asked. */
const jobsApart = {
  name: "jobs-apart",
  setup: (build) => {
    build.onResolve({ filter: /^\.\/jobs\.ts$/ }, () => ({ path: "jobs", namespace: "apart" }))
    build.onLoad({ filter: /.*/, namespace: "apart" }, () => ({ contents: "module.exports = __jobs()" }))
  }
}

/** One entry with all it needs, as a script that expects `require` and `__url`. */
const script = async (entry, plugins = []) => {
  const result = await esbuild.build({
    ...common,
    entryPoints: [entry],
    outfile: "script.js",
    format: "cjs",
    define: { "import.meta.url": "__url" },
    plugins
  })
  return { text: result.outputFiles[0].text, metafile: result.metafile }
}

/** A part of the file, in comments: `part` of launch.ts takes it out again. */
const comment = (name, text) => `\n//<${name}>\n//${text.replaceAll("\n", "\n//")}\n//</${name}>\n`

const hashOf = (...texts) => {
  const hash = createHash("sha256")
  for (const text of texts) hash.update(text)
  return hash.digest("hex")
}

/** The whole file. */
const assemble = async ({ jobs, main, worker }, help) => {
  const result = await esbuild.build({
    ...common,
    entryPoints: ["src/launch.ts"],
    outfile: "tallyman.mjs",
    format: "esm",
    banner: { js: "#!/usr/bin/env node" },
    define: {
      __TALLYMAN_VERSION__: JSON.stringify(version),
      __TALLYMAN_HELP__: JSON.stringify(help ?? null),
      __TALLYMAN_BUILD__: JSON.stringify(hashOf(main, worker, jobs).slice(0, 16))
    }
  })
  return result.outputFiles[0].text + comment("main", main) + comment("worker", worker) + comment("jobs", jobs)
}

const write = (file, text) => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === text) return
  const temporary = `${file}.${process.pid}`
  fs.writeFileSync(temporary, text, { mode: file.endsWith(".mjs") ? 0o755 : 0o644 })
  fs.renameSync(temporary, file)
}

/** What this bundle prints for `--help`, without colours. */
const helpOf = (text) => {
  const file = path.join(path.dirname(output), `help-${process.pid}.mjs`)
  write(file, text)
  try {
    const env = { ...process.env, NO_COLOR: "1", TALLYMAN_NO_CODE_CACHE: "1" }
    delete env.FORCE_COLOR
    return stripVTControlCharacters(execFileSync(process.execPath, [file, "--help"], { encoding: "utf8", env }))
  } finally {
    fs.rmSync(file)
  }
}

/** The licenses of the packages that a bundle contains. */
const licensesOf = (metafiles) => {
  const inputs = metafiles.flatMap(({ outputs }) => Object.values(outputs).flatMap((one) => Object.keys(one.inputs)))
  const packages = new Set(inputs.flatMap((file) => file.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0] ?? []))
  return [...packages]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(fs.readFileSync(path.join(root, folder, "package.json"), "utf8"))
      const file = fs.readdirSync(path.join(root, folder)).find((entry) => /^licen[cs]e/i.test(entry))
      const text = file === undefined ? "" : `\n${fs.readFileSync(path.join(root, folder, file), "utf8").trim()}\n`
      return `${name} ${version} (${license})\n${text}`
    })
    .join(`\n${"-".repeat(80)}\n\n`)
}

const scripts = {
  main: await script("src/bin.ts"),
  worker: await script("src/worker.ts", [jobsApart]),
  jobs: await script("src/jobs.ts")
}
const data = 'require("node:worker_threads").workerData'
const asModule = (text) => `(function (require, module, exports, __url, __part) {${text}\n})`
const parts = {
  main: asModule(scripts.main.text),
  jobs: asModule(scripts.jobs.text),
  worker: `(function (__url, __jobs) {${scripts.worker.text}
})(${data}.url, () => {
  const module = { exports: {} }
  ${data}.load("jobs")(require, module, module.exports, ${data}.url)
  return module.exports
})`
}
write(output, await assemble(parts, helpOf(await assemble(parts))))
write(
  path.join(path.dirname(output), "licenses.txt"),
  licensesOf(Object.values(scripts).map(({ metafile }) => metafile))
)
