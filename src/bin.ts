import { parentPort, workerData } from "node:worker_threads"
import { version } from "./version.ts"

/** Put in by the build: what `--help` prints, so that it needs no parser; undefined in the build that makes it. */
declare const __TALLYMAN_HELP__: string | undefined


const start = async (): Promise<void> => {
  if (parentPort !== null && (workerData as { readonly tallyman?: string } | null)?.tallyman === "worker") {
    // Serves because it was started as a worker.
    await import("./worker.ts")
    return
  }
  const args = process.argv.slice(2)
  if (args.length === 1 && args[0] === "--version") {
    process.stdout.write(`${version}\n`)
    return
  }
  if (__TALLYMAN_HELP__ !== undefined && (args.length === 0 || (args.length === 1 && (args[0] === "--help" || args[0] === "-h")))) {
    process.stdout.write(__TALLYMAN_HELP__)
    return
  }
  const [{ runMain }, { exitCode, main }] = await Promise.all([
    import("@effect/platform-node/NodeRuntime"),
    import("./cli/Main.ts")
  ])
  runMain(main(process.argv), {
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(exitCode(exit))
  })
}

await start()
