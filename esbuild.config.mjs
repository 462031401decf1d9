/**
 * Builds the command: `src/bin.ts` and all it needs become the one file
 * `dist/bin/tallyman.mjs`. The same file is the entry of its worker threads.
 *
 * Two constants are put in:
 * - `__TALLYMAN_VERSION__`: the version of package.json.
 * - `__TALLYMAN_HELP__`: what `tallyman --help` prints, so that it can be
 *   printed without loading the command parser. A first bundle, in which it is
 *   `undefined`, is asked for it.
 *
 * Tests start this while others run what it wrote before, so the file is
 * replaced by a rename, and only when it differs.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import * as esbuild from "esbuild"

const root = import.meta.dirname
const output = path.join(root, "dist/bin/tallyman.mjs")
const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))

/** The bundle's text with this help text in it. */
const bundle = async (help) => {
  const result = await esbuild.build({
    absWorkingDir: root,
    entryPoints: ["src/bin.ts"],
    bundle: true,
    write: false,
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
      __TALLYMAN_VERSION__: JSON.stringify(version),
      __TALLYMAN_HELP__: help === undefined ? "undefined" : JSON.stringify(help)
    },
    logLevel: "warning"
  })
  return result.outputFiles[0].text
}

const write = (file, text) => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const temporary = `${file}.${process.pid}`
  fs.writeFileSync(temporary, text, { mode: 0o755 })
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

// While the command is not written yet, there is nothing to build.
if (!fs.existsSync(path.join(root, "src/bin.ts"))) {
  process.stderr.write("src/bin.ts is missing: no command built\n")
  process.exit(0)
}

const text = await bundle(helpOf(await bundle(undefined)))
if (!fs.existsSync(output) || fs.readFileSync(output, "utf8") !== text) write(output, text)
