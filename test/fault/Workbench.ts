/** What tests of whole images share: fresh directories, images in them, the command, and findings to compare. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { WorkerPool } from "../../src/content/WorkerPool.ts"
import type * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import type { FilterError } from "../../src/filter/Filter.ts"
import type { SourceError, WriteError } from "../../src/layout/Failure.ts"
import type { Depth, Verification } from "../../src/layout/Verifier.ts"
import * as Layouts from "../../src/pipeline/Layouts.ts"
import * as Pipeline from "../../src/pipeline/Pipeline.ts"
import * as Repair from "../../src/pipeline/Repair.ts"
import * as Uri from "../../src/pipeline/Uri.ts"

/** On a file system in memory where there is one: writers sync every file, which a busy disk makes slow. */
const base = fs.existsSync("/dev/shm") ? "/dev/shm" : fs.realpathSync(os.tmpdir())

/** A fresh directory that goes with the scope. */
export const scratch: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(base, "tallyman-test-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

/** A fresh directory for plain tests. */
export const withScratch = async <A>(use: (directory: string) => A | Promise<A>): Promise<A> => {
  const directory = fs.mkdtempSync(path.join(base, "tallyman-test-"))
  try {
    return await use(directory)
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

/** The pool that tests run in: everything in this thread. */
export const pool = WorkerPool.layer()

export type Failure = Uri.UsageError | SourceError | FilterError | WriteError

/** `process SOURCE DESTINATION` without the command line around it. */
export const processUris = (
  source: string,
  destination: string,
  verify: Depth | undefined = "full",
  options: Layouts.SourceOptions = {}
): Effect.Effect<Pipeline.Processed, Failure> =>
  Effect.gen(function* () {
    return yield* Pipeline.process({
      source: yield* Uri.parse(source),
      destination: yield* Uri.parse(destination),
      verify,
      ...options
    })
  }).pipe(Effect.scoped, Effect.provide(pool))

/** `verify TARGET` without the command line around it. */
export const verifyTarget = (target: string, depth: Depth = "full"): Effect.Effect<Verification, Failure> =>
  Effect.gen(function* () {
    const opened = yield* Layouts.openTarget(yield* Layouts.locate(target))
    return yield* opened.verify({ depth })
  }).pipe(Effect.scoped, Effect.provide(pool))

/** `verify TARGET --repair SOURCE` without the command line around it. */
export const repair = (
  target: string,
  source: string,
  options: Repair.RepairOptions = {}
): Effect.Effect<Repair.Repaired, Failure> =>
  Effect.gen(function* () {
    return yield* Repair.repair(yield* Layouts.locate(target), yield* Layouts.locate(source), options)
  }).pipe(Effect.scoped, Effect.provide(pool))

/** Check and subject of every finding that is more than information. */
export const findings = ({ results }: Verification): ReadonlyArray<readonly [check: string, subject: string]> =>
  results.results.filter((one) => one.severity !== "info").map((one) => [one.check, one.subject] as const)

/** Writes `entries` as an archive and answers its path. */
export const archiveAt = (
  directory: string,
  entries: ReadonlyArray<Entry.Entry>,
  name = "image.tar",
  compression: "none" | "gzip" | "zstd" = "none"
): string => {
  const file = path.join(directory, name)
  fs.writeFileSync(file, ImageBuilder.archive(entries, compression))
  return file
}

/** An image of two layers as small as they get. */
export const small = (
  names: ReadonlyArray<string> = ["localhost/small:1"],
  content = "content"
): ImageBuilder.BuiltImage =>
  ImageBuilder.build({
    names,
    layers: [[file("base", "base")], [file("top", content)]]
  })

const file = (name: string, content: string): Entry.Entry => ({
  path: name,
  type: "file",
  mode: 0o644,
  body: Buffer.from(content)
})

/** Writes an image through the real writer into `out` and answers its root. */
export const written = (
  directory: string,
  image: ImageBuilder.BuiltImage,
  options = "",
  name = "out"
): Effect.Effect<string, Failure> =>
  Effect.gen(function* () {
    const archive = archiveAt(directory, ImageBuilder.dockerDigestNames([image]), `${name}-source.tar`)
    const out = path.join(directory, name)
    yield* processUris(`tar://${archive}`, `dir://${out}${options}`, undefined)
    return out
  })

/** Every file below `directory` with its bytes. */
export const snapshot = (directory: string): ReadonlyMap<string, Buffer> =>
  new Map(
    fs
      .readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
      .sort()
      .map((name) => [path.relative(directory, name), fs.readFileSync(name)] as const)
  )

/** Makes `directory` hold exactly the files of a snapshot again. */
export const restore = (directory: string, files: ReadonlyMap<string, Buffer>): void => {
  fs.rmSync(directory, { recursive: true, force: true })
  fs.mkdirSync(directory)
  for (const [name, bytes] of files) {
    fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true })
    fs.writeFileSync(path.join(directory, name), bytes)
  }
}

/** The bundle that users run; the tests' global set-up builds it. */
export const command = path.resolve(import.meta.dirname, "../../dist/bin/tallyman.mjs")

export interface Ran {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: childProcess.ChildProcess
  readonly ended: Promise<Ran>
}

/** Starts the command; nothing of it is on a terminal. */
export const start = (args: ReadonlyArray<string>, options: childProcess.SpawnOptions = {}): Running => {
  const env = { ...process.env, ...options.env }
  delete env["FORCE_COLOR"]
  const child = childProcess.spawn(process.execPath, [command, ...args], {
    ...options,
    env,
    stdio: ["ignore", "pipe", "pipe"]
  })
  const stdout: Array<Buffer> = []
  const stderr: Array<Buffer> = []
  child.stdout!.on("data", (chunk: Buffer) => stdout.push(chunk))
  child.stderr!.on("data", (chunk: Buffer) => stderr.push(chunk))
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code, signal) =>
      resolve({
        code,
        signal,
        stdout: Buffer.concat(stdout).toString("utf8"),
        stderr: Buffer.concat(stderr).toString("utf8")
      })
    )
  })
  return { child, ended }
}

/** Runs the command to its end. */
export const tallyman = (args: ReadonlyArray<string>, options: childProcess.SpawnOptions = {}): Promise<Ran> =>
  start(args, options).ended

export const isRoot = process.geteuid?.() === 0
