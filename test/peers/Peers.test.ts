import { describe, expect } from "vitest"
import { peerTest, run, runAsync, withDirectory, withPodmanSocket, withRegistry } from "./Peers.ts"

// The helpers of Peers.ts, each against the real programs.
describe("peers", () => {
  peerTest(["gnutar"], "run gives code and output", () => {
    expect(run("gnutar", ["--version"]).stdout).toContain("GNU tar")
    expect(run("sh", ["-c", "cat; echo no >&2; exit 3"], { input: "in", allowFailure: true })).toMatchObject({
      code: 3,
      stdout: "in",
      stderr: "no\n"
    })
    expect(() => run("sh", ["-c", "echo why >&2; exit 1"])).toThrow(/code 1\nwhy/)
  })

  peerTest(["docker-registry", "skopeo", "umoci", "podman"], "a registry and podman's socket work", () =>
    withDirectory((directory) =>
      withRegistry((registry) =>
        withPodmanSocket(async (podman) => {
          run("umoci", ["init", "--layout", `${directory}/layout`])
          run("umoci", ["new", "--image", `${directory}/layout:a`])
          await runAsync("skopeo", [
            "copy",
            "--dest-tls-verify=false",
            `oci:${directory}/layout:a`,
            `docker://${registry.host}/a:1`
          ])
          expect(registry.log()).toContain("PUT")
          run("skopeo", [
            "copy",
            "--src-tls-verify=false",
            `docker://${registry.host}/a:1`,
            `docker-archive:${directory}/a.tar:localhost/a:1`
          ])
          podman.podman(["load", "-i", `${directory}/a.tar`])
          // Through the socket, to the same storage.
          const images = await runAsync("podman", [
            "--url",
            podman.url,
            "images",
            "--format",
            "{{.Repository}}:{{.Tag}}"
          ])
          expect(images.stdout).toBe("localhost/a:1\n")
        })
      )
    )
  )
})
