/**
 * The first lines of the command's file: answers `--version` and `--help` by itself, and starts the rest, which stands
 * below as a string, from V8's code cache where there is one. Compiling a megabyte at each start would cost as much as a
 * fast audit takes.
 */
import { createRequire } from "node:module"
import type * as vm from "node:vm"

// An import of these would evaluate every lazy part of them, streams among them, to list their exports.
const require = createRequire(import.meta.url)
const fs = require("node:fs") as typeof import("node:fs")
const path = require("node:path") as typeof import("node:path")

// Put in by the build.
declare const __TALLYMAN_VERSION__: string
declare const __TALLYMAN_HELP__: string | null
/** A function of `require`, `module`, `exports` and the file's URL, as source text. */
declare const __TALLYMAN_MAIN__: string
/** Tells builds apart. */
declare const __TALLYMAN_BUILD__: string

/** undefined when there is no place that only this user can write to: cached code is run, so it has to be trusted. */
const cacheFile = (): string | undefined => {
  const base =
    process.env["XDG_CACHE_HOME"] ||
    (process.env["HOME"] === undefined ? undefined : path.join(process.env["HOME"], ".cache"))
  if (base === undefined || !path.isAbsolute(base) || process.env["TALLYMAN_NO_CODE_CACHE"]) return undefined
  return path.join(base, "tallyman", `${__TALLYMAN_BUILD__}-${process.version}-${process.arch}.v8`)
}

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
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
    fs.writeFileSync(temporary, script.createCachedData(), { flag: "wx", mode: 0o600 })
    fs.renameSync(temporary, file)
  } catch {
    fs.rmSync(temporary, { force: true })
  }
}

const start = (): void => {
  const file = cacheFile()
  const cachedData = file === undefined ? undefined : readCache(file)
  const { Script } = require("node:vm") as typeof vm
  const script = new Script(__TALLYMAN_MAIN__, {
    filename: "tallyman",
    ...(cachedData === undefined ? {} : { cachedData })
  })
  if (file !== undefined && (cachedData === undefined || script.cachedDataRejected === true)) {
    // At the end, so that what was compiled on the way is in it too.
    process.once("exit", () => writeCache(file, script))
  }
  script.runInThisContext()(require, { exports: {} }, {}, import.meta.url)
}

const args = process.argv.slice(2)
const only = args.length === 1 ? args[0] : undefined
if (only === "--version") process.stdout.write(`${__TALLYMAN_VERSION__}\n`)
else if (__TALLYMAN_HELP__ !== null && (args.length === 0 || only === "--help" || only === "-h"))
  process.stdout.write(__TALLYMAN_HELP__)
else start()
