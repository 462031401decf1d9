/**
 * The first lines of the command's file: answers `--version` and `--help` by itself, and starts the rest, which stands
 * below in comments, from V8's code cache where there is one. Compiling a megabyte at each start would cost as much as a
 * fast audit takes, and so would making a string of it that the parser has to read; comments it only skips.
 */
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import type * as vm from "node:vm"
import type { ThreadScript } from "./content/Job.ts"

// An import of these would evaluate every lazy part of them, streams among them, to list their exports.
const require = createRequire(import.meta.url)
const fs = require("node:fs") as typeof import("node:fs")
const path = require("node:path") as typeof import("node:path")

// Put in by the build.
declare const __TALLYMAN_VERSION__: string
declare const __TALLYMAN_HELP__: string | null
/** Tells builds apart. */
declare const __TALLYMAN_BUILD__: string

/** undefined when there is no place that only this user can write to: cached code is run, so it has to be trusted. */
const cacheDirectory = (): string | undefined => {
  const base =
    process.env["XDG_CACHE_HOME"] ||
    (process.env["HOME"] === undefined ? undefined : path.join(process.env["HOME"], ".cache"))
  if (base === undefined || !path.isAbsolute(base) || process.env["TALLYMAN_NO_CODE_CACHE"]) return undefined
  return path.join(base, "tallyman")
}

type Part = "main" | "worker" | "jobs"

const cacheFile = (directory: string, name: Part): string =>
  path.join(directory, `${__TALLYMAN_BUILD__}-${process.version}-${process.arch}-${name}.v8`)

const readCache = (file: string): Buffer | undefined => {
  try {
    const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
    try {
      const stat = fs.fstatSync(fd)
      const mine = process.getuid === undefined || (stat.uid === process.getuid() && (stat.mode & 0o022) === 0)
      return stat.isFile() && mine ? fs.readFileSync(fd) : undefined
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    return undefined
  }
}

/** Only saves time: whatever goes wrong here is of no consequence. */
const writeCache = (file: string, script: vm.Script): void => {
  const temporary = `${file}.${process.pid}`
  try {
    fs.writeFileSync(temporary, script.createCachedData(), { flag: "wx", mode: 0o600 })
    fs.renameSync(temporary, file)
  } catch {
    try {
      fs.unlinkSync(temporary)
    } catch {
      // Nor was it made, where the directory is not this user's. An error here would take the exit code's place.
    }
  }
}

/** What other builds left goes. */
const prepareCache = (directory: string): void => {
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
    for (const other of fs.readdirSync(directory)) {
      if (other.endsWith(".v8") && !other.startsWith(__TALLYMAN_BUILD__)) fs.rmSync(path.join(directory, other))
    }
  } catch {
    // Nor is this.
  }
}

/** A part of this file: the lines between its marks, each of which begins with two slashes. */
const part = (text: string, name: Part): string => {
  const from = text.indexOf(`\n//<${name}>\n`) + name.length + 6
  return text
    .slice(from, text.indexOf(`\n//</${name}>`, from))
    .replaceAll("\n//", "\n")
    .slice(2)
}

const start = (): void => {
  const text = fs.readFileSync(fileURLToPath(import.meta.url), "latin1")
  const { Script } = require("node:vm") as typeof vm
  const directory = cacheDirectory()
  const cached = (name: Part): Buffer | undefined =>
    directory === undefined ? undefined : readCache(cacheFile(directory, name))
  const load = (name: Part, cachedData?: Buffer): vm.Script =>
    new Script(part(text, name), { filename: name, ...(cachedData === undefined ? {} : { cachedData }) })
  const cachedMain = cached("main")
  const main = load("main", cachedMain)
  if (directory !== undefined && (cachedMain === undefined || main.cachedDataRejected === true)) {
    // At the end, so that what was compiled on the way is in it too.
    process.once("exit", () => {
      prepareCache(directory)
      for (const name of ["worker", "jobs"] as const) writeCache(cacheFile(directory, name), load(name))
      writeCache(cacheFile(directory, "main"), main)
    })
  }
  const scriptOf = (name: Part): ThreadScript => ({ code: part(text, name), cached: cached(name) })
  main.runInThisContext()(require, { exports: {} }, {}, import.meta.url, scriptOf)
}

/** A reader that has gone (`head`, a pager) has seen what it wanted. */
const say = (text: string): void => {
  process.stdout.on("error", (cause: NodeJS.ErrnoException) => {
    if (cause.code === "EPIPE") return
    process.stderr.write(`tallyman: cannot write to standard output: ${cause.message}\n`)
    process.exitCode = 3
  })
  process.stdout.write(text)
}

const args = process.argv.slice(2)
const only = args.length === 1 ? args[0] : undefined
if (only === "--version") say(`${__TALLYMAN_VERSION__}\n`)
else if (__TALLYMAN_HELP__ !== null && (args.length === 0 || only === "--help" || only === "-h")) say(__TALLYMAN_HELP__)
else start()
