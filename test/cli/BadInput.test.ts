import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import { end, field, withField } from "../fault/Headers.ts"
import * as Workbench from "../fault/Workbench.ts"

const image = Workbench.small()
const form = ImageBuilder.dockerDigestNames([image])
const config = `${image.id.slice(7)}.json`
const layers = image.layers.map((layer) => `${layer.diffId.slice(7)}.tar`)
const without = (name: string): ReadonlyArray<Entry.Entry> => form.filter((entry) => entry.path !== name)
const withManifest = (text: string): ReadonlyArray<Entry.Entry> => [
  ...without("manifest.json"),
  Entry.file("manifest.json", text)
]
const manifest = (fields: Readonly<Record<string, unknown>>): ReadonlyArray<Entry.Entry> =>
  withManifest(JSON.stringify([{ Config: config, RepoTags: image.names, Layers: layers, ...fields }]))

/** What stands at the source, and what has to be said about it. */
const cases: ReadonlyArray<readonly [what: string, make: (file: string) => void, message: RegExp]> = [
  ["an empty file", (file) => fs.writeFileSync(file, ""), /expected an archive, found an empty file/],
  [
    "random bytes",
    (file) => fs.writeFileSync(file, Buffer.from(image.id.repeat(100))),
    /expected a tar archive, found something else/
  ],
  ["a directory", (file) => fs.mkdirSync(file), /it is a directory/],
  ["nothing", () => {}, /it does not exist/],
  ["no manifest", (file) => put(file, without("manifest.json")), /expected manifest\.json or index\.json/],
  ["a manifest that is no array", (file) => put(file, withManifest("{}")), /not an array/],
  [
    "a manifest that names a layer that is not there",
    (file) => put(file, without(layers[1]!)),
    /layer 1 at .* found nothing/
  ],
  ["a manifest that names a config that is not there", (file) => put(file, without(config)), /it does not exist/],
  [
    "two entries of one name",
    (file) => put(file, [...form, Entry.file(layers[0]!, "other")]),
    /expected one entry named/
  ],
  [
    "a layer that is a symlink out of the archive",
    (file) => put(file, [...without(layers[0]!), Entry.symlink(layers[0]!, "../../../../etc/passwd")]),
    /leads out of the image/
  ],
  [
    "a layer that is an absolute symlink",
    (file) => put(file, [...without(layers[0]!), Entry.symlink(layers[0]!, "/etc/passwd")]),
    /symlink out of the image/
  ],
  [
    "a config of 4 GiB by its header, which is not there",
    (file) =>
      fs.writeFileSync(
        file,
        Buffer.concat([
          ...without(config).map(Entry.encode),
          withField(Entry.file(config), field.size, "40000000000\0"),
          Buffer.alloc(512, "{"),
          end
        ])
      ),
    /the body is shorter than the size in the header/
  ],
  [
    "a config of 4 GiB that is there",
    (file) => {
      const head = Buffer.concat([
        ...without(config).map(Entry.encode),
        withField(Entry.file(config), field.size, "40000000000\0")
      ])
      fs.writeFileSync(file, head)
      fs.truncateSync(file, head.length + 2 ** 32 + 1024)
    },
    /4294967296 bytes, more than the limit/
  ],
  [
    "JSON that nests 100,000 deep",
    (file) => put(file, withManifest(`${"[".repeat(100_000)}${"]".repeat(100_000)}`)),
    /nests deeper than/
  ],
  [
    "a name of millions of parts",
    (file) => put(file, manifest({ Config: "a/".repeat(2_000_000) })),
    /it has 4000000 characters/
  ],
  ["a NUL in a name", (file) => put(file, manifest({ Config: "a\0b" })), /holds a NUL/],
  ["`..` in a name", (file) => put(file, manifest({ Layers: ["../../etc/passwd", layers[1]] })), /`\.\.` component/],
  ["an absolute name", (file) => put(file, manifest({ Layers: ["/etc/passwd", layers[1]] })), /it is absolute/],
  [
    "a layer whose content is another",
    (file) =>
      put(
        file,
        form.map((entry) =>
          entry.path === layers[1] ? Entry.file(layers[1]!, Entry.tar([Entry.file("evil")])) : entry
        )
      ),
    /damaged in the source: expected diff_id/
  ],
  [
    "a layer that is no tar's, in gzip, cut short",
    (file) =>
      put(
        file,
        form.map((entry) =>
          entry.path === layers[1]
            ? Entry.file(layers[1]!, ImageBuilder.compress(entry.body, "gzip").subarray(0, -4))
            : entry
        )
      ),
    /damaged in the source: /
  ]
]

const put = (file: string, entries: ReadonlyArray<Entry.Entry>): void =>
  fs.writeFileSync(file, ImageBuilder.archive(entries))

describe("a source that cannot be used", () => {
  for (const [what, make, message] of cases) {
    it(`${what}: one line says why, the exit code is 3, and nothing is left at the destination`, () =>
      Workbench.withScratch(async (directory) => {
        const file = `${directory}/source`
        make(file)
        const { code, stderr, stdout } = await Workbench.tallyman([
          "process",
          `tar://${file}`,
          `dir://${directory}/out`
        ])
        assert.match(stderr, message)
        assert.match(stderr, /^tallyman: [^\n]+\n$/)
        assert.deepStrictEqual([code, stdout], [3, ""])
        const left = fs.existsSync(`${directory}/out`) ? fs.readdirSync(`${directory}/out`) : []
        assert.deepStrictEqual(left, [])
      }))
  }

  it("a file where a directory is meant", () =>
    Workbench.withScratch(async (directory) => {
      fs.writeFileSync(`${directory}/file`, "")
      const { code, stderr } = await Workbench.tallyman([
        "process",
        `dir://${directory}/file`,
        `dir://${directory}/out`
      ])
      assert.deepStrictEqual(
        [code, stderr],
        [3, `tallyman: cannot read ${directory}/file: expected a directory, found a file\n`]
      )
    }))
})

describe("a destination that cannot be used", () => {
  const withArchive = (use: (directory: string, source: string) => void | Promise<void>): Promise<void> =>
    Workbench.withScratch((directory) => use(directory, `tar://${Workbench.archiveAt(directory, form)}`))

  it("holds something else, is a file, or lies below one: one line, exit code 3, and it stays as it is", () =>
    withArchive(async (directory, source) => {
      fs.mkdirSync(`${directory}/mine`)
      fs.writeFileSync(`${directory}/mine/diary`, "dear diary")
      const before = fs.readdirSync(directory).sort()
      for (const [place, message] of [
        ["mine", /expected an empty directory or one of images, found "diary"/],
        ["image.tar", /expected a directory or nothing, found a file/],
        ["image.tar/out", /no directory/]
      ] as const) {
        const { code, stderr, stdout } = await Workbench.tallyman(["process", source, `dir://${directory}/${place}`])
        assert.match(stderr, message)
        assert.match(stderr, /^tallyman: [^\n]+\n$/)
        assert.deepStrictEqual([code, stdout], [3, ""])
        assert.deepStrictEqual(fs.readdirSync(directory).sort(), before)
        assert.deepStrictEqual(fs.readdirSync(`${directory}/mine`), ["diary"])
      }
    }))

  // Mounts of a namespace of their own, which go with it.
  const namespace = ["-m", "-rm"].find(
    (flags) => spawnSync("unshare", [flags, "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0
  )

  /** Runs a shell script in which `tallyman` is the command and `/mnt` is free to be mounted on. */
  const inNamespace = (
    script: string
  ): { readonly code: number | null; readonly stdout: string; readonly stderr: string } => {
    const { status, stderr, stdout } = spawnSync(
      "unshare",
      [namespace!, "sh", "-c", `tallyman() { "${process.execPath}" "${Workbench.command}" "$@"; }\n${script}`],
      { encoding: "utf8" }
    )
    return { code: status, stdout, stderr }
  }

  it.runIf(namespace !== undefined)("is read-only (skipped where no file system can be mounted)", () =>
    withArchive((_, source) => {
      const { code, stderr, stdout } = inNamespace(`
        mount -t tmpfs none /mnt && mount -o remount,ro /mnt
        tallyman process ${source} dir:///mnt/out`)
      assert.match(stderr, /^tallyman: cannot write into \/mnt\/out: the file system is read-only\n$/)
      assert.deepStrictEqual([code, stdout], [3, ""])
    })
  )

  it.runIf(namespace !== undefined)(
    "is full: nothing is published, and the same run completes it once there is room (skipped where no file system can be mounted)",
    () =>
      Workbench.withScratch((directory) => {
        const large = ImageBuilder.build({
          layers: [[Entry.file("a", "a")], [Entry.file("large", Buffer.alloc(3_000_000, "x"))]]
        })
        const source = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([large]))}`
        const { code, stderr, stdout } = inNamespace(`
        mount -t tmpfs -o size=1m none /mnt
        tallyman process ${source} dir:///mnt/out
        echo "code $?"
        ls -A /mnt/out
        mount -o remount,size=8m /mnt
        tallyman process ${source} dir:///mnt/out --verify-full
        tallyman verify /mnt/out --full --format json`)
        assert.match(stderr, /^tallyman: cannot write layer \d .* into \/mnt\/out: no space left on the device\n$/)
        assert.match(stdout, /^code 3\nSummary: 1\/1 images, 2 layers, .*verified OK\n/)
        assert.deepInclude(JSON.parse(stdout.slice(stdout.indexOf("{"))), { ok: true, results: [] })
        assert.strictEqual(code, 0)
      })
  )

  it.runIf(namespace !== undefined)(
    "has no room for the documents alone: the run says so, and the next one completes it (skipped where no file system can be mounted)",
    () =>
      Workbench.withScratch((directory) => {
        const large = ImageBuilder.build({ layers: [[Entry.file("a")]], config: { author: "x".repeat(60_000) } })
        const source = `tar://${Workbench.archiveAt(directory, ImageBuilder.dockerLegacy([large]))}`
        // Layer and journal take a page of 4 KiB each, the config 15: the runs end at different documents.
        const { code, stdout } = inNamespace(`
          for pages in 18 19 20; do
            mount -t tmpfs -o size=$((pages * 4096)) none /mnt
            tallyman process ${source} dir:///mnt/out >/dev/null 2>&1
            first=$?
            tallyman verify /mnt/out --full >/dev/null 2>&1
            second=$?
            mount -o remount,size=8m /mnt
            tallyman process ${source} dir:///mnt/out --verify-full --profile strict >/dev/null || exit 1
            echo "$pages $first $second"
            umount /mnt
          done`)
        assert.strictEqual(code, 0)
        const runs = stdout
          .trim()
          .split("\n")
          .map((line) => line.split(" ").map(Number))
        assert.lengthOf(runs, 3)
        // What failed to be written never verifies.
        for (const [pages, first, second] of runs) {
          assert.include(["3,1", "0,0"], `${first},${second}`, `${pages} pages`)
        }
        assert.deepStrictEqual(runs[0], [18, 3, 1])
      })
  )

  it.runIf(process.geteuid?.() !== 0)(
    "may not be written by this user (skipped for root, whom permissions do not bind)",
    () =>
      withArchive(async (directory, source) => {
        fs.mkdirSync(`${directory}/locked`, { mode: 0o555 })
        const { code, stderr } = await Workbench.tallyman(["process", source, `dir://${directory}/locked/out`])
        assert.deepStrictEqual(
          [code, stderr],
          [3, `tallyman: cannot write into ${directory}/locked/out: permission denied\n`]
        )
      })
  )
})
