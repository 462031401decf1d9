/** Overlay mounts: making one, taking it down, and what is mounted where (proc_pid_mountinfo(5), overlayfs.rst). */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { WriteError } from "../Failure.ts"
import * as Files from "./MountsFiles.ts"

/** One line of mountinfo. */
export interface Mount {
  readonly place: string
  /** For example `overlay` or `fuse.fuse-overlayfs`. */
  readonly type: string
  /** Directories below the upper one, uppermost first, as they were named; undefined when the mount does not tell. */
  readonly lower: ReadonlyArray<string> | undefined
  readonly upper: string | undefined
}

const decodeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Options are separated by commas, directories by colons; a backslash keeps either as it is. */
const split = (text: string, separator: string): ReadonlyArray<string> => {
  const parts: Array<string> = [""]
  for (let index = 0; index < text.length; index++) {
    const char = text[index]!
    if (char === "\\" && index + 1 < text.length) parts[parts.length - 1] += char + text[++index]!
    else if (char === separator) parts.push("")
    else parts[parts.length - 1] += char
  }
  return parts
}

const mountTable = (): string => fs.readFileSync("/proc/self/mountinfo", "latin1")

/** What is mounted at exactly `place`, an absolute path without symlinks; the uppermost where there are several. */
export const mountAt = (place: string, table = mountTable()): Mount | undefined =>
  mounts(table, (at) => at === place).at(-1)

/** A mount that shows files below `root`, an absolute path without symlinks: its own, or another overlay of its layers. */
export const mountOf = (root: string, table = mountTable()): Mount | undefined =>
  mounts(table, () => true).find(
    ({ lower = [], place, upper }) =>
      place === path.join(root, Files.rootfs) ||
      [...lower, ...(upper === undefined ? [] : [upper])].some((one) => one.startsWith(`${root}/`))
  )

const mounts = (table: string, isWanted: (place: string) => boolean): ReadonlyArray<Mount> => {
  const found: Array<Mount> = []
  for (const line of table.split("\n")) {
    const fields = line.split(" ")
    const dash = fields.indexOf("-")
    if (dash < 6) continue
    const place = Buffer.from(decodeOctal(fields[4]!), "latin1").toString("utf8")
    if (!isWanted(place)) continue
    const options = split(fields[dash + 3] ?? "", ",").map(decodeOption)
    const lower = options.flatMap(([name, value]) =>
      name === "lowerdir"
        ? split(value, ":")
            .filter((one) => one !== "")
            .map(plain)
        : name === "lowerdir+"
          ? [plain(value)]
          : []
    )
    const upper = options.find(([name]) => name === "upperdir")?.[1]
    found.push({
      place,
      type: fields[dash + 1]!,
      lower: lower.length === 0 ? undefined : lower,
      upper: upper === undefined ? undefined : plain(upper)
    })
  }
  return found
}

const decodeOption = (option: string): readonly [name: string, value: string] => {
  const text = decodeOctal(option)
  const equals = text.indexOf("=")
  return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)]
}

const plain = (text: string): string => Buffer.from(text.replace(/\\(.)/gs, "$1"), "latin1").toString("utf8")

/** The kernel takes a page of options with their NUL, and this many lower directories (OVL_MAX_STACK). */
const maxOptions = 4095
const maxLower = 500

/** What the layers' directories are marked for. */
export type Marks = "trusted" | "user"

/**
 * Mounts `layers`, base first, on `rootfs` in the directory `root`; names are relative to it, so that no `:` or `,` of the
 * way to it is in an option. Throws WriteError.
 */
export const mount = (root: string, layers: ReadonlyArray<string>, marks: Marks): void => {
  if (layers.length > maxLower) {
    throw new WriteError({
      reason: "Unsupported",
      message: `cannot mount ${root}: expected at most ${maxLower} layers, found ${layers.length}`
    })
  }
  const uppermostFirst = [...layers].reverse()
  let options = optionsFor(uppermostFirst, marks)
  if (options.length > maxOptions || layers.some((one) => !isPlain(one)))
    options = optionsFor(shortNames(root, uppermostFirst), marks)
  // Newer ones of mount(8) hand options over one by one, where each may have 256 bytes only.
  const env = { ...process.env, LIBMOUNT_FORCE_MOUNT2: "always" }
  const failed = run("mount", ["-t", "overlay", "overlay", "-o", options, Files.rootfs], root, env)
  if (failed === undefined) return
  const fuse = run("fuse-overlayfs", ["-o", optionsFor(uppermostFirst, "trusted"), Files.rootfs], root, process.env)
  if (fuse === undefined) return
  throw new WriteError({
    reason: "Unwritable",
    message: `cannot mount the layers on ${path.join(root, Files.rootfs)}: ${failed}; ${fuse}`
  })
}

const optionsFor = (lower: ReadonlyArray<string>, marks: Marks): string =>
  `lowerdir=${lower.join(":")},upperdir=${Files.delta},workdir=${Files.working}${marks === "user" ? ",userxattr" : ""}`

/** Whether a mount's options can hold a name as it is. */
const isPlain = (name: string): boolean => /^[\w./-]+$/.test(name)

/** Symlinks beside the layers; those of an earlier mount are the same. */
const shortNames = (root: string, directories: ReadonlyArray<string>): ReadonlyArray<string> => {
  const links = path.join(root, Files.links)
  if (fs.lstatSync(links, { throwIfNoEntry: false })?.isDirectory() !== true) fs.mkdirSync(links)
  return directories.map((directory, index) => {
    const name = `${Files.links}/${index.toString(36)}`
    const place = path.join(root, name)
    const target = path.posix.join("..", directory)
    if (fs.lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() !== true) fs.symlinkSync(target, place)
    else if (fs.readlinkSync(place) !== target) {
      fs.unlinkSync(place)
      fs.symlinkSync(target, place)
    }
    return name
  })
}

/** Undefined when it went well, otherwise why not. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string, env: NodeJS.ProcessEnv): string | undefined => {
  const { error, signal, status, stderr } = childProcess.spawnSync(command, args, {
    cwd,
    env,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"]
  })
  if (error !== undefined)
    return `${command}: ${(error as NodeJS.ErrnoException).code === "ENOENT" ? "it is not installed" : error.message}`
  if (status === 0) return undefined
  // Both say their own name, and mount(8) what else could be looked at.
  const said = stderr
    .replace(/\s+/g, " ")
    .replace(/ dmesg\(1\) may have more information.*$/, "")
    .replaceAll(`${command}: `, "")
    .trim()
  return `${command}: ${said || `it ended with ${status ?? signal}`}`
}

/** Takes down what is mounted on `rootfs` of `root`. Answers whether anything was. Throws WriteError. */
export const unmount = (root: string): boolean => {
  const place = path.join(fs.realpathSync(root), Files.rootfs)
  const there = mountAt(place)
  if (there === undefined) return false
  const ways: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = there.type.startsWith("fuse")
    ? [
        ["fusermount3", ["-u", place]],
        ["fusermount", ["-u", place]],
        ["umount", [place]]
      ]
    : [["umount", [place]]]
  const failures: Array<string> = []
  for (const [command, args] of ways) {
    const failed = run(command, args, root, process.env)
    if (failed === undefined) return true
    failures.push(failed)
  }
  throw new WriteError({ reason: "Unwritable", message: `cannot unmount ${place}: ${failures.join("; ")}` })
}

/** Whether a directory with these names in it is one of mounts, whoever made it. */
export const isMounts = (names: ReadonlyArray<string>): boolean =>
  names.includes(Files.working) && names.includes(Files.delta) && names.includes(Files.rootfs)
