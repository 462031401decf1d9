/**
 * Builds the command: `src/bin.ts` and all it needs become the one file
 * `dist/bin/tallyman.mjs`. The same file is the entry of its worker threads.
 *
 * One constant is put in, `__TALLYMAN_HELP__`: what `tallyman --help` prints, so
 * that it can be printed without loading the command parser. A first bundle, in
 * which it is `undefined`, is asked for it.
 *
 * Beside it, `licenses.txt` holds the licenses of the packages in it.
 *
 * Tests start this while others run what it wrote before, so a file is
 * replaced by a rename, and only when it differs.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import * as esbuild from "esbuild"

const root = import.meta.dirname
const output = path.join(root, "dist/bin/tallyman.mjs")

/** The bundle with this help text in it. */
const bundle = (help) =>
  esbuild.build({
    absWorkingDir: root,
    entryPoints: ["src/bin.ts"],
    bundle: true,
    write: false,
    metafile: true,
    outfile: "tallyman.mjs",
    platform: "node",
    format: "esm",
    target: "node20.11",
    charset: "utf8",
    legalComments: "none",
    // Names stay as they are and lines short, for stack traces; the rest is worth a few milliseconds per start.
    minifyWhitespace: true,
    minifySyntax: true,
    lineLimit: 200,
    // Native and optional: looked up beside the installed package when the command runs.
    external: ["koffi"],
    // Packages that are CommonJS (yaml) call `require`, which ES modules lack.
    banner: {
      js: '#!/usr/bin/env node\nimport { createRequire as __createRequire } from "node:module"\nconst require = __createRequire(import.meta.url)'
    },
    define: {
      __TALLYMAN_HELP__: help === undefined ? "undefined" : JSON.stringify(help)
    },
    logLevel: "warning"
  })

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
    const env = { ...process.env, NO_COLOR: "1" }
    delete env.FORCE_COLOR
    return stripVTControlCharacters(execFileSync(process.execPath, [file, "--help"], { encoding: "utf8", env }))
  } finally {
    fs.rmSync(file)
  }
}

/** The licenses of the packages that a bundle contains. */
const licensesOf = ({ outputs }) => {
  const inputs = Object.values(outputs).flatMap((output) => Object.keys(output.inputs))
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

const withoutHelp = await bundle(undefined)
const { metafile, outputFiles } = await bundle(helpOf(withoutHelp.outputFiles[0].text))
write(output, outputFiles[0].text)
write(path.join(path.dirname(output), "licenses.txt"), licensesOf(metafile))
