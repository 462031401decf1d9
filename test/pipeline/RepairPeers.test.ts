/** Archives of all platforms that other programs wrote, damaged and repaired. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe } from "@effect/vitest"
import * as Digest from "../../src/image/Digest.ts"
import { tallyman } from "../fault/Workbench.ts"
import * as Fixture from "../filter/IndexFixture.ts"
import { type Doc, membersOf, readJson } from "../layout/writing.ts"
import { peerTest, run, withDirectory } from "../peers/Peers.ts"

/** It wants everything that an index lists. */
const complete = (directory: string): Fixture.Fixture =>
  Fixture.make(directory, (index) => {
    const [{ data: _, ...amd64 }, , , , plain, ofAmd64, ofPlain] = index["manifests"] as ReadonlyArray<Doc>
    return Buffer.from(JSON.stringify({ ...index, manifests: [amd64, plain, ofAmd64, ofPlain] }))
  })

const repair = async (file: string, source: string, ...more: ReadonlyArray<string>) => {
  const { code, stderr, stdout } = await tallyman(["verify", file, "--repair", source, "--format", "json", ...more])
  const { not_repaired, repaired, would_repair } = stdout === "" ? {} : JSON.parse(stdout)
  return { code, stderr, impossible: not_repaired, repaired: would_repair ?? repaired }
}

describe("an oci-archive of all platforms by skopeo", () => {
  peerTest(["skopeo"], "is given back each of its blobs, and an index.json that was lost", () =>
    withDirectory(async (directory) => {
      const from = complete(path.join(directory, "from"))
      const file = path.join(directory, "app.tar")
      const reference = `oci-archive:${file}:app`
      run("skopeo", ["copy", "-q", "--all", "--preserve-digests", `oci:${from.directory}:app`, reference])
      const whole = fs.readFileSync(file)
      const members = membersOf(file)
      const manifest = Digest.blobPath(from.images.amd64.digest)
      const { config, layers } = readJson(from.directory, manifest)
      const blobs = [from.root.digest, from.images.amd64.digest, from.attestations.plain.digest, config.digest]
      const damaged = [...blobs, ...layers.map((one: Doc) => one.digest)].map((one) => Digest.blobPath(one))
      for (const name of [...damaged, "index.json"]) {
        const bytes = Buffer.from(whole)
        bytes[whole.indexOf(members.get(name)!) + 2]! ^= 0xff
        fs.writeFileSync(file, bytes)
        const dry = await repair(file, from.directory, "--dry-run")
        assert.deepStrictEqual([dry.code, fs.readFileSync(file)], [1, bytes], name)
        const done = await repair(file, from.directory)
        assert.deepStrictEqual([done.code, done.repaired, done.impossible], [0, dry.repaired, []], done.stderr)
        assert.deepStrictEqual(
          done.repaired.map((one: Doc) => one.path),
          [name]
        )
        if (name !== "index.json") assert.deepStrictEqual(fs.readFileSync(file), whole, name)
        const raw = run("skopeo", ["inspect", "--raw", reference]).bytes
        assert.deepStrictEqual(raw, members.get(Digest.blobPath(from.root.digest)), name)
        assert.deepStrictEqual((await repair(file, from.directory)).repaired, [], name)
      }
    })
  )
})
