/**
 * The peers: other programs that read and write container images, which the
 * interoperability tests run beside tallyman. `install.sh` in this folder
 * installs the ones of `debianPeers`; the ones of `extraPeers` have to be
 * built or fetched by hand and are used where they happen to be there.
 *
 * Environment:
 * - `PEERS=required`: a test whose Debian peers are missing fails instead of
 *   being skipped (`PEERS=all`: the same for the extra peers).
 * - `PEERS_PATH`: directories, separated by `:`, searched before `PATH`; they
 *   are put before the `PATH` of every program that is run here as well.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Os from "node:os"
import * as Path from "node:path"
import { expect, it } from "vitest"

/** Installed by `install.sh`. */
export const debianPeers = [
  "skopeo",
  "umoci",
  "podman",
  "buildah",
  "docker-registry",
  "runc",
  "crun",
  "bsdtar",
  "gnutar",
  "python3",
  "gzip",
  "zstd",
  "pigz",
  "xz",
  "mtree",
  "openssl",
  "setcap",
  "setfattr",
  "setfacl"
] as const

/** Not in Debian: used where they are there, never demanded by `PEERS=required`. */
export const extraPeers = ["crane", "regctl", "oras", "ko", "apko", "gomtree", "occystrap"] as const

export type Peer = (typeof debianPeers)[number] | (typeof extraPeers)[number]

/** The command of a peer that is not called like it. */
const commandNames: { readonly [P in Peer]?: string } = { gnutar: "tar" }

/** The name of the program of a peer, to hand to `run`. */
export const commandOf = (peer: Peer): string => commandNames[peer] ?? peer

// Debian keeps setcap and others in sbin, which is not on every PATH.
const searchPath: ReadonlyArray<string> = [
  ...(process.env["PEERS_PATH"] ?? "").split(":"),
  ...(process.env["PATH"] ?? "").split(":"),
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin"
].filter((directory) => directory !== "")

const isExecutable = (file: string): boolean => {
  try {
    Fs.accessSync(file, Fs.constants.X_OK)
    return Fs.statSync(file).isFile()
  } catch {
    return false
  }
}

const found = new Map<Peer, string | undefined>()

/** Where the program of a peer is, or `undefined`; looked up once. */
export const locate = (peer: Peer): string | undefined => {
  if (!found.has(peer)) {
    const command = commandOf(peer)
    let file = searchPath.map((directory) => Path.join(directory, command)).find(isExecutable)
    // A `tar` that is not GNU's (bsdtar, busybox) is not the peer that is meant.
    if (peer === "gnutar" && file !== undefined) {
      const version = ChildProcess.spawnSync(file, ["--version"], { encoding: "utf8" })
      if (!version.stdout?.includes("GNU tar")) file = undefined
    }
    found.set(peer, file)
  }
  return found.get(peer)
}

/** Whether the program of a peer is there. */
export const has = (peer: Peer): boolean => locate(peer) !== undefined

/** Whether this environment demands the peer, so that its lack is a failure. */
const isDemanded = (peer: Peer): boolean => {
  const mode = process.env["PEERS"]
  return mode === "all" || (mode === "required" && (debianPeers as ReadonlyArray<string>).includes(peer))
}

/**
 * A test that needs peers. With all of them there it is a plain test; else it
 * is skipped, with the reason in its name, or fails where the environment
 * demands a missing one.
 */
export const peerTest = (
  peers: ReadonlyArray<Peer>,
  name: string,
  fn: () => void | Promise<void>,
  timeout: number = 180_000
): void => {
  const missing = peers.filter((peer) => !has(peer))
  if (missing.length === 0) {
    it(name, fn, timeout)
  } else if (missing.some(isDemanded)) {
    it(name, () => {
      expect.fail(`missing peer: ${missing.filter(isDemanded).join(", ")} (bash test/peers/install.sh installs it)`)
    })
  } else {
    it.skip(`${name} (skipped: no ${missing.join(", no ")})`, () => {})
  }
}

export interface RunOptions {
  readonly cwd?: string
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>
  /** What the program reads; without it, standard input is empty. */
  readonly input?: string | Uint8Array
  /** Milliseconds until the program is killed; two minutes unless told. */
  readonly timeout?: number
  /** Whether to return normally on a non-zero exit code, rather than throw. */
  readonly allowFailure?: boolean
}

export interface RunResult {
  /** The exit code; 128 and more when a signal ended the program. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** Standard output as it came, for output that is not text. */
  readonly bytes: Uint8Array
}

const programOf = (command: string): string =>
  [...debianPeers, ...extraPeers].some((peer) => peer === command) ? (locate(command as Peer) ?? command) : command

const environmentOf = (env: RunOptions["env"]): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: searchPath.join(":"),
  LC_ALL: "C.UTF-8",
  ...env
})

const codeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? 128 + (signal === null ? 0 : Os.constants.signals[signal])

const finish = (
  command: string,
  args: ReadonlyArray<string>,
  options: RunOptions,
  code: number,
  bytes: Buffer,
  stderr: Buffer
): RunResult => {
  const result: RunResult = { code, stdout: bytes.toString("utf8"), stderr: stderr.toString("utf8"), bytes }
  if (code !== 0 && options.allowFailure !== true) {
    throw new Error(
      `${[command, ...args].join(" ")} ended with code ${code}\n${result.stderr}${result.stdout.slice(0, 2000)}`
    )
  }
  return result
}

/**
 * Runs a program to its end. A non-zero exit code throws, with what the program
 * said, unless `allowFailure` is set. It blocks this process: a program that
 * talks to a server in this process needs `runAsync`.
 */
export const run = (command: string, args: ReadonlyArray<string>, options: RunOptions = {}): RunResult => {
  const result = ChildProcess.spawnSync(programOf(command), args, {
    env: environmentOf(options.env),
    timeout: options.timeout ?? 120_000,
    maxBuffer: 1 << 30,
    input: options.input ?? "",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd })
  })
  // EPIPE: the program ended without reading all of its input, as it may.
  if (result.error !== undefined && (result.error as NodeJS.ErrnoException).code !== "EPIPE") throw result.error
  return finish(command, args, options, codeOf(result.status, result.signal), result.stdout, result.stderr)
}

/** `run` that does not block this process meanwhile. */
export const runAsync = (command: string, args: ReadonlyArray<string>, options: RunOptions = {}): Promise<RunResult> =>
  new Promise((resolve, reject) => {
    const child = ChildProcess.spawn(programOf(command), args, {
      env: environmentOf(options.env),
      timeout: options.timeout ?? 120_000,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd })
    })
    const stdout: Array<Buffer> = []
    const stderr: Array<Buffer> = []
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk))
    child.on("error", reject)
    child.on("close", (code, signal) => {
      try {
        resolve(finish(command, args, options, codeOf(code, signal), Buffer.concat(stdout), Buffer.concat(stderr)))
      } catch (error) {
        reject(error)
      }
    })
    child.stdin.on("error", () => {
      // The program ended without reading all of its input, as it may.
    })
    child.stdin.end(options.input ?? "")
  })

/** Hands `fn` a fresh directory and removes it afterwards. */
export const withDirectory = async <A>(fn: (directory: string) => A | Promise<A>): Promise<A> => {
  // Short, since a Unix socket's path has to fit in 107 bytes.
  const directory = Fs.mkdtempSync(Path.join(Fs.realpathSync(Os.tmpdir()), "peer-"))
  try {
    return await fn(directory)
  } finally {
    Fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  }
}

interface Service {
  readonly isRunning: () => boolean
  readonly log: () => string
  readonly stop: () => Promise<void>
}

/**
 * Starts a program that keeps running. What it says goes to a file, so that it
 * never waits for this process to read it (which `run` would keep from it).
 */
const startService = (
  command: string,
  args: ReadonlyArray<string>,
  logFile: string,
  env: RunOptions["env"]
): Service => {
  const output = Fs.openSync(logFile, "a")
  const child = ChildProcess.spawn(programOf(command), args, {
    env: environmentOf(env),
    stdio: ["ignore", output, output]
  })
  Fs.closeSync(output)
  let running = true
  const ended = new Promise<void>((resolve) => {
    child.on("error", (error) => {
      running = false
      Fs.appendFileSync(logFile, `${error.message}\n`)
      resolve()
    })
    child.on("exit", () => {
      running = false
      resolve()
    })
  })
  const onExit = () => {
    child.kill("SIGKILL")
  }
  process.once("exit", onExit)
  return {
    isRunning: () => running,
    log: () => Fs.readFileSync(logFile, "utf8"),
    stop: async () => {
      process.removeListener("exit", onExit)
      if (!running) return
      child.kill("SIGTERM")
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000)
      await ended
      clearTimeout(timer)
    }
  }
}

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Asks `probe` until it answers something, or the service ends, or 20 seconds are over. */
const waitFor = async <A>(
  what: string,
  service: Service,
  probe: () => A | undefined | Promise<A | undefined>
): Promise<A> => {
  const deadline = Date.now() + 20_000
  while (service.isRunning() && Date.now() < deadline) {
    const answer = await probe()
    if (answer !== undefined) return answer
    await sleep(25)
  }
  throw new Error(`${what} ${service.isRunning() ? "does not answer" : "ended"}:\n${service.log()}`)
}

const statusOf = (request: Http.RequestOptions): Promise<number | undefined> =>
  new Promise((resolve) => {
    Http.get({ ...request, timeout: 2000 }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).on("error", () => resolve(undefined))
  })

export interface Registry {
  /** `127.0.0.1:PORT`, as it stands in an image reference. */
  readonly host: string
  readonly port: number
  /** The root of its file storage: `docker/registry/v2/…` is below it. */
  readonly storage: string
  /** What it has logged so far: one line for each request, and more. */
  readonly log: () => string
}

export interface RegistryOptions {
  /**
   * Settings beside the defaults, by the registry's own rule: the path of the
   * setting in its configuration file, upper case, joined by `_`, such as
   * `REGISTRY_HTTP_TLS_CERTIFICATE` or `REGISTRY_STORAGE_DELETE_ENABLED`.
   */
  readonly env?: Readonly<Record<string, string>>
}

/** Runs Debian's `docker-registry` on a free port of 127.0.0.1 while `fn` runs. */
export const withRegistry = <A>(
  fn: (registry: Registry) => A | Promise<A>,
  options: RegistryOptions = {}
): Promise<A> =>
  withDirectory(async (directory) => {
    const storage = Path.join(directory, "storage")
    const config = Path.join(directory, "config.yml")
    Fs.mkdirSync(storage)
    Fs.writeFileSync(
      config,
      [
        "version: 0.1",
        "log: { level: info, formatter: json, accesslog: { disabled: false } }",
        "storage:",
        `  filesystem: { rootdirectory: ${JSON.stringify(storage)} }`,
        "  delete: { enabled: true }",
        "http:",
        // It takes a free port itself, and logs which: no gap between finding
        // one and using it.
        "  addr: 127.0.0.1:0",
        // Without one it makes up its own, with a warning.
        "  secret: not-a-secret",
        ""
      ].join("\n")
    )
    const service = startService("docker-registry", ["serve", config], Path.join(directory, "log"), {
      OTEL_TRACES_EXPORTER: "none",
      ...options.env
    })
    try {
      const port = await waitFor("docker-registry", service, () => {
        const match = /listening on 127\.0\.0\.1:(\d+)/.exec(service.log())
        return match === null ? undefined : Number(match[1])
      })
      return await fn({ host: `127.0.0.1:${port}`, port, storage, log: service.log })
    } finally {
      await service.stop()
    }
  })

export interface PodmanSocket {
  /** The path of the Unix socket. */
  readonly socket: string
  /** The same as `DOCKER_HOST` and `CONTAINER_HOST` want it: `unix:///…`. */
  readonly url: string
  /** Runs podman itself (not through the socket) on the storage the service has. */
  readonly podman: (args: ReadonlyArray<string>, options?: RunOptions) => RunResult
  readonly log: () => string
}

/**
 * Runs podman's service, which speaks the Docker Engine API, on a Unix socket
 * while `fn` runs. It has an empty image storage of its own. Needs root.
 */
export const withPodmanSocket = <A>(fn: (podman: PodmanSocket) => A | Promise<A>): Promise<A> =>
  withDirectory(async (directory) => {
    const socket = Path.join(directory, "podman.sock")
    const url = `unix://${socket}`
    const global = [
      "--root",
      Path.join(directory, "root"),
      "--runroot",
      Path.join(directory, "runroot"),
      "--tmpdir",
      Path.join(directory, "tmp"),
      // vfs works on every file system and leaves no mounts behind.
      "--storage-driver",
      "vfs",
      "--events-backend",
      "none",
      "--cgroup-manager",
      "cgroupfs",
      "--log-level",
      "error"
    ]
    const service = startService(
      "podman",
      [...global, "system", "service", "--time", "0", url],
      Path.join(directory, "log"),
      undefined
    )
    try {
      await waitFor("podman system service", service, async () =>
        (await statusOf({ socketPath: socket, path: "/_ping" })) === 200 ? true : undefined
      )
      return await fn({
        socket,
        url,
        podman: (args, options) => run("podman", [...global, ...args], options),
        log: service.log
      })
    } finally {
      await service.stop()
    }
  })
