/** What others read of an oci-archive of all platforms, and what they write. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe } from "vitest"
import * as Digest from "../../src/image/Digest.ts"
import { tallyman } from "../fault/Workbench.ts"
import * as Fixture from "../filter/IndexFixture.ts"
import { peerTest, run, withDirectory, withPodmanSocket } from "../peers/Peers.ts"
import { type Doc, digestOf } from "./writing.ts"

/** As BuildKit writes one: every image and its attestation in one index, and all of it is there. */
const flat = (directory: string): Fixture.Fixture =>
  Fixture.make(directory, (index) => {
    const [{ data: _, ...amd64 }, , nested, , plain, ofAmd64, ofPlain] = index["manifests"] as ReadonlyArray<Doc>
    const { manifests } = JSON.parse(fs.readFileSync(path.join(directory, Digest.blobPath(nested.digest)), "utf8"))
    return Buffer.from(JSON.stringify({ ...index, manifests: [amd64, plain, ofAmd64, ofPlain, ...manifests] }))
  })

const archived = async (from: Fixture.Fixture, file: string, ...more: ReadonlyArray<string>): Promise<string> => {
  const args = ["process", `oci-layout://${from.directory}:app`, `tar://${file}?format=oci`, "--all-platforms"]
  const { code, stderr, stdout } = await tallyman([...args, "--verify-full", "--format", "json", ...more])
  assert.strictEqual(code, 0, stderr)
  return JSON.parse(stdout).image
}

/** Left to itself, skopeo compresses layers that are not, and the index becomes another one. */
const copyAll = ["copy", "-q", "--all", "--preserve-digests"]

const rawOf = (reference: string): string => digestOf(run("skopeo", ["inspect", "--raw", reference]).bytes)

describe("skopeo", () => {
  for (const [name, more] of [
    ["as it is", []],
    ["with referrers", ["--referrers"]],
    ["filtered", ["-f", "exclude:pattern=*.pyc", "-f", "normalize-timestamps"]]
  ] as const) {
    peerTest(["skopeo"], `reads every platform, by the digests that were said: ${name}`, () =>
      withDirectory(async (directory) => {
        const from = flat(path.join(directory, "from"))
        const file = path.join(directory, "image.tar")
        const root = await archived(from, file, ...more)
        if (name !== "filtered") assert.strictEqual(root, from.root.digest)
        assert.strictEqual(rawOf(`oci-archive:${file}:app`), root)
        // With others beside it, it wants to be told which.
        if (name !== "with referrers") assert.strictEqual(rawOf(`oci-archive:${file}`), root)
        run("skopeo", [...copyAll, `oci-archive:${file}:app`, `oci:${directory}/copy:app`])
        assert.strictEqual(rawOf(`oci:${directory}/copy:app`), root)
        for (const architecture of ["amd64", "arm64", "riscv64"]) {
          const args = ["--override-arch", architecture, "inspect", "--config", `oci-archive:${file}:app`]
          assert.strictEqual(JSON.parse(run("skopeo", args).stdout).architecture, architecture)
        }
      })
    )
  }

  peerTest(["skopeo"], "writes archives of all platforms that keep their digests, and can be added to", () =>
    withDirectory(async (directory) => {
      const from = flat(path.join(directory, "from"))
      const theirs = path.join(directory, "theirs.tar")
      run("skopeo", [...copyAll, `oci:${from.directory}:app`, `oci-archive:${theirs}:app`])
      const ours = path.join(directory, "ours.tar")
      const args = ["--all-platforms", "--verify-full"]
      const taken = await tallyman(["process", `tar://${theirs}`, `tar://${ours}?format=oci`, ...args])
      assert.strictEqual(taken.code, 0, taken.stderr)
      assert.strictEqual(rawOf(`oci-archive:${ours}`), from.root.digest)
      const added = await tallyman([
        "process",
        `oci-layout://${from.directory}:app`,
        `tar://${theirs}?format=oci&name=more:1`,
        "--append",
        ...args
      ])
      assert.strictEqual(added.code, 0, added.stderr)
      for (const name of ["app", "1"]) assert.strictEqual(rawOf(`oci-archive:${theirs}:${name}`), from.root.digest)
    })
  )
})

describe("umoci", () => {
  peerTest(["umoci", "gnutar"], "lists what was unpacked", () =>
    withDirectory(async (directory) => {
      const file = path.join(directory, "image.tar")
      await archived(flat(path.join(directory, "from")), file)
      const layout = path.join(directory, "layout")
      fs.mkdirSync(layout)
      run("tar", ["-xf", file, "-C", layout])
      // It unpacks no image of an index with several platforms.
      assert.strictEqual(run("umoci", ["ls", "--layout", layout]).stdout.trim(), "app")
    })
  )
})

describe("podman", () => {
  peerTest(["podman"], "loads its own platform, and pulls any", () =>
    withPodmanSocket(({ podman }) =>
      withDirectory(async (directory) => {
        const from = flat(path.join(directory, "from"))
        const file = path.join(directory, "image.tar")
        await archived(from, file)
        const configOf = (image: Fixture.Descriptor): string =>
          JSON.parse(fs.readFileSync(path.join(from.directory, Digest.blobPath(image.digest as Digest.Digest)), "utf8"))
            .config.digest
        for (const name of ["amd64", "arm64"] as const) {
          const id = podman(["pull", "-q", "--arch", name, `oci-archive:${file}`]).stdout.trim()
          assert.strictEqual(`sha256:${id}`, configOf(from.images[name]))
        }
        podman(["load", "-q", "-i", file])
        const [loaded] = JSON.parse(podman(["image", "inspect", "localhost/app:latest"]).stdout)
        assert.include(
          (["amd64", "arm64", "plain"] as const).map((name) => configOf(from.images[name])),
          `sha256:${loaded.Id}`
        )
      })
    )
  )
})
