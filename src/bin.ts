/** The command: its layers and exit codes, nothing else. */
import "./cli/EarlyThreads.ts"
import { runMain } from "@effect/platform-node/NodeRuntime"
import { exitCode, main } from "./cli/Main.ts"

runMain(main(process.argv), {
  disableErrorReporting: true,
  teardown: (exit, onExit) => onExit(exitCode(exit))
})
