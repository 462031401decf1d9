/**
 * A run that writes into a place others use leaves a journal there until its output is whole. A journal whose process is
 * gone shows that the run was cut off; temporary files bear the same name, so that the next run can clear them away.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { removeTree } from "./RemoveTree.ts"
import { readRegion } from "./Store.ts"

/** What a journal says about its run. */
export interface Run {
  readonly pid: number
  /** Start time of the process in clock ticks since boot, so that a reused pid is not taken for it; "" where unknown. */
  readonly started: string
  readonly host: string
  readonly boot: string
  /** The file whose arrival makes the output whole. */
  readonly target: string
  /** The image's name, for messages. */
  readonly image: string
}

const prefix = ".tallyman-run-"
export const isJournal = (file: string): boolean => file.startsWith(prefix) && file.endsWith(".json")
export const isTemporary = (file: string): boolean => file.startsWith(prefix) && file.endsWith(".partial")

/** The part of the name that journal and temporary files of a run share. */
const idOf = (file: string): string => file.slice(prefix.length).split(".")[0]!

const readText = (file: string): string => {
  try {
    return fs.readFileSync(file, "utf8").trim()
  } catch {
    return ""
  }
}

const bootId = (): string => readText("/proc/sys/kernel/random/boot_id")

/** Field 22 of /proc/pid/stat; the command's name before it may hold spaces and parentheses. */
const startOf = (pid: number): string => {
  const stat = readText(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
}

/** False only when the process is known to be gone. */
export const isAlive = (run: Run): boolean => {
  if (run.host !== os.hostname()) return true
  const boot = bootId()
  if (boot !== "" && run.boot !== "" && boot !== run.boot) return false
  try {
    process.kill(run.pid, 0)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ESRCH") return false
  }
  const started = startOf(run.pid)
  return started === "" || run.started === "" || started === run.started
}

/** Longer than it takes to write a journal that is there. */
const beginning = 60_000

/** Whether a journal in which nothing stands yet may be that of a run that has just made it: its name has the process. */
const isBeginning = (file: string): boolean => {
  const pid = Number(/^\d+(?=-)/.exec(idOf(path.basename(file)))?.[0])
  try {
    const stat = fs.lstatSync(file)
    if (!(pid > 0) || !stat.isFile() || stat.size > 0 || Date.now() - stat.mtimeMs > beginning) return false
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** The bytes by which this process names itself in a journal or a lock. */
export const describeSelf = (target: string, image = ""): Uint8Array => {
  const run: Run = {
    pid: process.pid,
    started: startOf(process.pid),
    host: os.hostname(),
    boot: bootId(),
    target,
    image
  }
  return Buffer.from(`${JSON.stringify(run)}\n`)
}

/** More than any journal has. */
const maxBytes = 64 * 1024

/** undefined when there is no such file, or it does not name a run. Never waits: what stands there may be anything. */
export const read = (file: string): Run | undefined => {
  try {
    const { size } = fs.lstatSync(file)
    const found = readRegion({ path: file, offset: 0, size }, maxBytes)
    if ("failure" in found) return undefined
    const run = JSON.parse(Buffer.from(found.bytes).toString("utf8")) as Partial<Run> | null
    return typeof run === "object" &&
      run !== null &&
      typeof run.pid === "number" &&
      Number.isInteger(run.pid) &&
      run.pid > 0
      ? {
          pid: run.pid,
          started: String(run.started ?? ""),
          host: String(run.host ?? ""),
          boot: String(run.boot ?? ""),
          target: String(run.target ?? ""),
          image: String(run.image ?? "")
        }
      : undefined
  } catch {
    return undefined
  }
}

export interface Journal {
  /** A path for a new temporary file of this run, in the journal's directory. */
  readonly temporary: () => string
  /** The same for one that never takes a place in the output: in the directory for such files, where one was named. */
  readonly spool: () => string
  /** Removes the journal: the output is whole. */
  readonly close: () => void
  /** Removes the run's temporary files and its journal, where the output was not touched. */
  readonly abandon: () => void
}

/** Begins a run in `directory`. `spools`: where to put what is only needed meanwhile. Throws what the file system says. */
export const open = (directory: string, target: string, image: string, spools?: string): Journal => {
  const id = `${process.pid}-${crypto.randomBytes(6).toString("hex")}`
  const file = path.join(directory, `${prefix}${id}.json`)
  writeNew(file, describeSelf(target, image))
  syncDirectory(directory)
  if (spools !== undefined) {
    try {
      sweepSpools(spools)
    } catch {
      // A run that needs no such files does not need the directory.
    }
  }
  const temporaries = new Set<string>()
  let spooling: Spools | undefined
  let next = 0
  const clear = (): void => {
    for (const temporary of temporaries) removeTree(temporary)
    spooling?.close()
    spooling = undefined
  }
  const temporary = (): string => {
    const temporary = path.join(directory, `${prefix}${id}.${next++}.partial`)
    temporaries.add(temporary)
    return temporary
  }
  return {
    temporary,
    spool: () => (spools === undefined ? temporary() : (spooling ??= openSpools(spools)).next()),
    close: () => {
      clear()
      fs.rmSync(file, { force: true })
      syncDirectory(directory)
    },
    abandon: () => {
      clear()
      fs.rmSync(file, { force: true })
    }
  }
}

/** Files that are only needed for a while, in a place that others use too. */
export interface Spools {
  /** A path for a new file, which nobody else may read. */
  readonly next: () => string
  readonly close: () => void
}

const spoolTarget = "temporary files"

/** Clears away what dead runs of this user have left in `directory`. Throws what the file system says. */
const sweepSpools = (directory: string): void => {
  // Journals of outputs stay: they tell that these are not complete.
  for (const name of leftovers(directory, fs.readdirSync(directory), spoolTarget)) {
    const left = path.join(directory, name)
    try {
      // In a place for everybody such a name may be anybody's.
      if (fs.lstatSync(left).uid === (process.geteuid?.() ?? 0)) removeTree(left)
    } catch {}
  }
}

/** Throws what the file system says. */
export const openSpools = (directory: string): Spools => {
  sweepSpools(directory)
  const id = `${process.pid}-${crypto.randomBytes(6).toString("hex")}`
  const file = path.join(directory, `${prefix}${id}.json`)
  const inside = path.join(directory, `${prefix}${id}.0.partial`)
  writeNew(file, describeSelf(spoolTarget))
  const close = (): void => {
    removeTree(inside)
    fs.rmSync(file, { force: true })
  }
  try {
    fs.mkdirSync(inside, { mode: 0o700 })
  } catch (cause) {
    close()
    throw cause
  }
  let next = 0
  return { next: () => path.join(inside, String(next++)), close }
}

/** Journals and temporary files in `directory` whose runs are gone; `target` limits journals to those for it. */
export const leftovers = (directory: string, names: ReadonlyArray<string>, target?: string): ReadonlyArray<string> => {
  const alive = new Set<string>()
  const dead: Array<string> = []
  for (const name of names) {
    if (!isJournal(name)) continue
    const file = path.join(directory, name)
    const run = read(file)
    if (run === undefined ? isBeginning(file) : isAlive(run)) alive.add(idOf(name))
    else if (target === undefined || run === undefined || run.target === target) dead.push(name)
  }
  return [...dead, ...names.filter((name) => isTemporary(name) && !alive.has(idOf(name)))]
}

/** Creates `file` with `bytes`, on the disk when it returns; fails when anything stands there. */
export const writeNew = (file: string, bytes: Uint8Array): void => {
  const fd = fs.openSync(
    file,
    fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW,
    0o644
  )
  try {
    for (let from = 0; from < bytes.length; ) from += fs.writeSync(fd, bytes, from)
    fs.fsyncSync(fd)
  } catch (cause) {
    // Half of a file is worse than none.
    fs.rmSync(file, { force: true })
    throw cause
  } finally {
    fs.closeSync(fd)
  }
}

/** Writes beside, syncs, renames: `file` is either as it was or whole. */
export const replace = (file: string, bytes: Uint8Array, temporary: string): void => {
  writeNew(temporary, bytes)
  fs.renameSync(temporary, file)
  syncDirectory(path.dirname(file))
}

/** Makes renames in a directory last. */
export const syncDirectory = (directory: string): void => {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY)
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}
