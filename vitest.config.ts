import { defineConfig } from "vitest/config"

/** Where to write the results as JSON too, for a program that counts them. */
const resultsFile = process.env["TEST_RESULTS"]

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/globalSetup.ts"],
    setupFiles: ["test/setup.ts"],
    // Processes: tests start worker threads, send signals and change the working directory.
    pool: "forks",
    testTimeout: 180_000,
    hookTimeout: 180_000,
    ...(resultsFile === undefined ? {} : { reporters: ["default", "json"], outputFile: { json: resultsFile } })
  }
})
