import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Data from "./Data.ts"
import { compare, once, type Side } from "./Measure.ts"

/** One comparison: what we do against what users would do otherwise. */
interface Case {
  readonly name: string
  readonly title: string
  /** Programs that have to be there. */
  readonly needs: ReadonlyArray<string>
  readonly prepare: () => { readonly ours: Side; readonly theirs: Side; readonly against: string }
  /** Bounds that are aimed at, as wall and cpu ratios ours/theirs. */
  readonly wall?: number
  readonly cpu?: number
  readonly runs?: number
}

const mebibyte = 1024 * 1024

/** 2 GiB in four layers, the last of them 100,000 small files. */
const fourLayers: ReadonlyArray<Data.LayerSpec> = [
  { files: 5, size: 104 * mebibyte, seed: 1 },
  { files: 5, size: 104 * mebibyte, seed: 2 },
  { files: 5, size: 104 * mebibyte, seed: 3 },
  { files: 100_000, size: 4500, seed: 4 }
]

/** One layer of 1.2 GiB and 100,000 files, for filters. */
const manyFiles: ReadonlyArray<Data.LayerSpec> = [{ files: 100_000, size: 12_500, seed: 60 }]

/** What users of Python write to set all times of a tar, and to know its digest. */
const pythonNormalize = `import hashlib, sys, tarfile
with tarfile.open(sys.argv[1]) as source, tarfile.open(sys.argv[2], "w") as target:
    for member in source:
        member.mtime = 0
        target.addfile(member, source.extractfile(member) if member.isfile() else None)
digest = hashlib.sha256()
with open(sys.argv[2], "rb") as file:
    while chunk := file.read(1 << 20):
        digest.update(chunk)
print(digest.hexdigest())
`

const eightLayers: ReadonlyArray<Data.LayerSpec> = Array.from({ length: 8 }, (_, index) => ({
  files: 12_000,
  size: 15_500,
  seed: 20 + index
}))

const where = (program: string): string | undefined =>
  (process.env["PATH"] ?? "")
    .split(":")
    .map((directory) => path.join(directory, program))
    .find((file) => fs.existsSync(file))

const cases = (root: string, directory: string): ReadonlyArray<Case> => {
  const node = process.execPath
  const tallyman = `${node} ${path.join(root, "dist/bin/tallyman.mjs")}`
  const at = (name: string): string => path.join(directory, name)
  const archive = (): string => Data.dockerArchive(directory, "four.tar", fourLayers)
  const large = (): string => Data.dockerArchive(directory, "large.tar", manyFiles)
  /** Its one layer as a file of its own. */
  const largeLayer = (): string =>
    Data.once(at("large-layer.tar"), (temporary) => {
      execFileSync("bash", ["-c", `tar -xOf ${large()} --wildcards '*.tar' > ${temporary}`])
    })
  const normalize = (source: string) => ({
    command: `${tallyman} process tar://${source} dir://${at("normalized")} -f normalize-timestamps --no-verify`,
    before: `rm -rf ${at("normalized")} ${at("copy")}`
  })
  const gzipLayout = (): string => Data.ociLayout(directory, "eight-gzip", eightLayers, "gzip")
  const zstdLayout = (): string => Data.ociLayout(directory, "eight-zstd", eightLayers, "zstd")
  const layersOf = (layout: string): string =>
    (
      JSON.parse(
        fs.readFileSync(
          path.join(
            layout,
            "blobs",
            (
              JSON.parse(fs.readFileSync(path.join(layout, "index.json"), "utf8")) as {
                manifests: Array<{ digest: string }>
              }
            ).manifests[0]!.digest.replace(":", "/")
          ),
          "utf8"
        )
      ) as { layers: Array<{ digest: string }> }
    ).layers
      .map((layer) => path.join(layout, "blobs", layer.digest.replace(":", "/")))
      .join(" ")
  return [
    {
      name: "help",
      title: "`tallyman --help`",
      needs: [],
      prepare: () => ({
        ours: { command: `${tallyman} --help` },
        theirs: { command: `${node} -e 0` },
        against: "`node -e 0`"
      }),
      wall: 2.2,
      runs: 15
    },
    {
      name: "fast-verify",
      title: "fast verify of a directory of 20 layers",
      needs: [],
      prepare: () => {
        const source = Data.dockerArchive(
          directory,
          "twenty.tar",
          Array.from({ length: 20 }, (_, index) => ({ files: 5, size: 1000, seed: 40 + index }))
        )
        return {
          ours: {
            command: `${tallyman} verify ${at("twenty")}`,
            before: `test -d ${at("twenty")} || ${tallyman} process tar://${source} dir://${at("twenty")}`
          },
          theirs: { command: `${node} -e 0` },
          against: "`node -e 0`"
        }
      },
      wall: 2.6,
      runs: 15
    },
    {
      name: "full-verify-dir",
      title: "full verify of a directory, 4 plain layers, 2 GiB",
      needs: ["openssl"],
      prepare: () => {
        const source = archive()
        return {
          ours: {
            command: `${tallyman} verify ${at("four")} --full`,
            before: `test -d ${at("four")} || ${tallyman} process tar://${source} dir://${at("four")}`
          },
          theirs: { command: `for layer in ${at("four")}/*/layer.tar; do openssl dgst -sha256 $layer; done` },
          against: "`openssl dgst -sha256` of each layer"
        }
      },
      wall: 0.6,
      cpu: 1.3
    },
    {
      name: "hash-floor",
      title: "the same files read and hashed by two bare threads of Node.js (`bench/hash.mjs`)",
      needs: ["openssl"],
      prepare: () => {
        const source = archive()
        const made = `test -d ${at("four")} || ${tallyman} process tar://${source} dir://${at("four")}`
        return {
          ours: { command: `${node} ${path.join(root, "bench/hash.mjs")} ${at("four")}/*/layer.tar`, before: made },
          theirs: { command: `for layer in ${at("four")}/*/layer.tar; do openssl dgst -sha256 $layer; done` },
          against: "`openssl dgst -sha256` of each layer"
        }
      }
    },
    {
      name: "process-dir",
      title: "process tar:// to dir://, 2 GiB",
      needs: ["openssl"],
      prepare: () => {
        const source = archive()
        return {
          ours: {
            command: `${tallyman} process tar://${source} dir://${at("out")} --no-verify`,
            before: `rm -rf ${at("out")}`
          },
          theirs: {
            command: `cp ${source} ${at("copy")} && openssl dgst -sha256 ${at("copy")}`,
            before: `rm -rf ${at("out")} ${at("copy")}`
          },
          against: "`cp` of the archive and `openssl dgst` of it"
        }
      },
      wall: 1.0
    },
    {
      name: "process-dir-skopeo",
      title: "process tar:// to dir://, 2 GiB",
      needs: ["skopeo"],
      prepare: () => {
        const source = archive()
        return {
          ours: {
            command: `${tallyman} process tar://${source} dir://${at("out")} --no-verify`,
            before: `rm -rf ${at("out")}`
          },
          theirs: {
            command: `skopeo --insecure-policy copy docker-archive:${source} dir:${at("skopeo")}`,
            before: `rm -rf ${at("out")} ${at("skopeo")}`
          },
          against: "`skopeo copy docker-archive: dir:`"
        }
      },
      wall: 1 / 3,
      runs: 3
    },
    {
      name: "normalize",
      title: "normalize-timestamps tar:// to dir://, one layer of 1.2 GiB, 100,000 files",
      needs: ["openssl"],
      prepare: () => {
        const source = large()
        return {
          ours: normalize(source),
          theirs: {
            command: `openssl dgst -sha256 ${source}; cp ${source} ${at("copy")}`,
            before: `rm -rf ${at("normalized")} ${at("copy")}`
          },
          against: "`openssl dgst` of it and `cp`"
        }
      },
      wall: 2.0
    },
    {
      name: "normalize-python",
      title: "normalize-timestamps tar:// to dir://, one layer of 1.2 GiB, 100,000 files",
      needs: ["python3"],
      prepare: () => {
        const [source, layer] = [large(), largeLayer()]
        fs.writeFileSync(at("normalize.py"), pythonNormalize)
        return {
          ours: normalize(source),
          theirs: {
            command: `python3 ${at("normalize.py")} ${layer} ${at("copy")}`,
            before: `rm -rf ${at("normalized")} ${at("copy")}`
          },
          against: "Python's tarfile and hashlib, the layer alone"
        }
      },
      wall: 1 / 8,
      runs: 3
    },
    {
      name: "search",
      title: "search in an archive with one layer of 1.2 GiB, 100,000 files",
      needs: ["tar", "grep"],
      prepare: () => {
        const [source, layer] = [large(), largeLayer()]
        return {
          ours: { command: `${tallyman} search ${source} '*99999*'` },
          theirs: { command: `tar -tf ${layer} | grep 99999` },
          against: "`tar -tf | grep` over the layer alone, taken out of the archive before"
        }
      },
      wall: 1.0
    },
    {
      name: "search-archive",
      title: "the same",
      needs: ["tar", "grep"],
      prepare: () => {
        const source = large()
        return {
          ours: { command: `${tallyman} search ${source} '*99999*'` },
          theirs: { command: `tar -xOf ${source} --wildcards '*.tar' | tar -tf - | grep 99999` },
          against: "`tar -xO | tar -t | grep` over the archive"
        }
      },
      wall: 1.0
    },
    {
      name: "unpack",
      title: "process tar:// to oci://, one plain layer of 1.2 GiB, 100,000 files",
      needs: ["tar"],
      prepare: () => {
        const source = large()
        return {
          ours: {
            command: `${tallyman} process tar://${source} oci://${at("bundle")} --no-verify`,
            before: `rm -rf ${at("bundle")} ${at("untarred")}`
          },
          theirs: {
            command: `tar -xf ${at("large-layer.tar")} -C ${at("untarred")}`,
            before: `rm -rf ${at("bundle")} ${at("untarred")}; mkdir ${at("untarred")}; test -f ${at("large-layer.tar")} || tar -xOf ${source} --wildcards '*.tar' > ${at("large-layer.tar")}`
          },
          against: "`tar -xf` of the same layer"
        }
      },
      wall: 1.2,
      runs: 5
    },
    {
      name: "unpack-floor",
      title: "the same files hashed, the layer too, and made by two bare threads of Node.js (`bench/unpack.mjs`)",
      needs: ["tar"],
      prepare: () => {
        const layer = largeLayer()
        const fresh = `rm -rf ${at("bare")} ${at("untarred")}; mkdir ${at("bare")} ${at("untarred")}`
        return {
          ours: { command: `${node} ${path.join(root, "bench/unpack.mjs")} ${layer} ${at("bare")}`, before: fresh },
          theirs: { command: `tar -xf ${layer} -C ${at("untarred")}`, before: fresh },
          against: "`tar -xf` of the same layer"
        }
      },
      runs: 5
    },
    {
      name: "unpack-gzip",
      title: "process oci-layout:// to oci://, 8 gzip layers, 96,000 files, 1.5 GiB",
      needs: ["umoci"],
      prepare: () => {
        const layout = gzipLayout()
        return {
          ours: {
            command: `${tallyman} process oci-layout://${layout} oci://${at("bundle")} --no-verify`,
            before: `rm -rf ${at("bundle")} ${at("umoci")}`
          },
          theirs: {
            command: `umoci unpack --image ${layout}:bench ${at("umoci")}`,
            before: `rm -rf ${at("bundle")} ${at("umoci")}`
          },
          against: "`umoci unpack`"
        }
      },
      wall: 0.4,
      runs: 3
    },
    {
      name: "verify-bundle",
      title: "full verify of a bundle, 100,000 files, 1.2 GiB",
      needs: ["sha256sum"],
      prepare: () => {
        const source = large()
        const made = `test -d ${at("bundle")} || ${tallyman} process tar://${source} oci://${at("bundle")} --no-verify`
        return {
          ours: { command: `${tallyman} verify ${at("bundle")} --full`, before: made },
          theirs: { command: `find ${at("bundle")}/rootfs -type f -print0 | xargs -0 sha256sum`, before: made },
          against: "`find -type f | xargs sha256sum`"
        }
      },
      wall: 0.35,
      runs: 3
    },
    {
      name: "verify-bundle-bsdtar",
      title: "full verify of a bundle, 100,000 files, 1.2 GiB",
      needs: ["bsdtar"],
      prepare: () => {
        const source = large()
        const made = `test -d ${at("bundle")} || ${tallyman} process tar://${source} oci://${at("bundle")} --no-verify`
        return {
          ours: { command: `${tallyman} verify ${at("bundle")} --full`, before: made },
          theirs: {
            command: `bsdtar -cf /dev/null --format=mtree --options=mtree:sha256 -C ${at("bundle")}/rootfs .`,
            before: made
          },
          against: "`bsdtar --format=mtree` with sha256"
        }
      },
      wall: 1.0,
      runs: 3
    },
    {
      name: "full-verify-gzip",
      title: "full verify of an OCI layout, 8 gzip layers, 1.5 GiB unpacked",
      needs: ["openssl", "gzip"],
      prepare: () => {
        const layout = gzipLayout()
        return {
          ours: { command: `${tallyman} verify ${layout} --full` },
          theirs: {
            command: `for layer in ${layersOf(layout)}; do openssl dgst -sha256 $layer; gzip -dc $layer | openssl dgst -sha256; done`
          },
          against: "`openssl dgst` of each blob and `gzip -dc | openssl dgst`"
        }
      },
      wall: 1 / 3.5,
      runs: 3
    },
    {
      name: "full-verify-gzip-crane",
      title: "full verify of an OCI layout, 8 gzip layers, 1.5 GiB unpacked",
      needs: ["crane", "docker-registry", "skopeo"],
      prepare: () => {
        const layout = gzipLayout()
        const config = at("registry.yml")
        fs.writeFileSync(
          config,
          `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${at("registry")}\nhttp:\n  addr: 127.0.0.1:5055\nlog:\n  level: error\n`
        )
        const up = `{ curl -s 127.0.0.1:5055/v2/ || { (docker-registry serve ${config} >/dev/null 2>&1 &) ; sleep 1; skopeo --insecure-policy copy --dest-tls-verify=false oci:${layout}:bench docker://127.0.0.1:5055/bench:1; }; }`
        return {
          ours: { command: `${tallyman} verify ${layout} --full` },
          theirs: { command: "crane validate --insecure --remote 127.0.0.1:5055/bench:1", before: up },
          against: "`crane validate --remote` from a registry on the same machine"
        }
      },
      wall: 1 / 2.5,
      runs: 3
    },
    {
      name: "full-verify-zstd",
      title: "full verify of an OCI layout, 8 zstd layers, 1.5 GiB unpacked",
      needs: ["openssl", "zstd"],
      prepare: () => {
        const layout = zstdLayout()
        return {
          ours: { command: `${tallyman} verify ${layout} --full` },
          theirs: { command: `for layer in ${layersOf(layout)}; do zstd -qdc $layer | openssl dgst -sha256; done` },
          against: "`zstd -dc | openssl dgst` of each blob"
        }
      },
      wall: 0.9,
      runs: 3
    },
    {
      name: "many-images",
      title: "fast verify of a layout of 500 images and 2,000 blobs",
      needs: [],
      prepare: () => ({
        ours: { command: `${tallyman} verify ${Data.manyImages(directory, "many", 500, 2000)}` },
        theirs: { command: `${node} -e 0` },
        against: "`node -e 0`"
      }),
      wall: 8,
      runs: 9
    },
    {
      name: "oci-gzip-skopeo",
      title: "process tar:// to oci-layout:// with gzip layers, 2 GiB",
      needs: ["skopeo"],
      prepare: () => {
        const source = archive()
        return {
          ours: {
            command: `${tallyman} process tar://${source} "oci-layout://${at("oci-out")}:x?compression=gzip" --no-verify`,
            before: `rm -rf ${at("oci-out")}`
          },
          theirs: {
            command: `skopeo --insecure-policy copy docker-archive:${source} oci:${at("oci-skopeo")}:x`,
            before: `rm -rf ${at("oci-skopeo")}`
          },
          against: "`skopeo copy docker-archive: oci:`"
        }
      },
      wall: 1.0,
      runs: 3
    }
  ]
}

const ratio = (value: number): string => value.toFixed(2)

export const main = async (root: string, wanted: ReadonlyArray<string>): Promise<number> => {
  const base =
    process.env["TALLYMAN_BENCH_DIR"] ??
    (fs.existsSync("/dev/shm") ? "/dev/shm/tallyman-bench" : path.join(root, "node_modules/.cache/tallyman-bench"))
  fs.mkdirSync(base, { recursive: true })
  const rows: Array<string> = []
  for (const one of cases(root, base)) {
    if (wanted.length > 0 && !wanted.includes(one.name)) continue
    const missing = one.needs.filter((program) => where(program) === undefined)
    if (missing.length > 0) {
      console.log(`${one.name}: skipped, no ${missing.join(", ")}`)
      continue
    }
    console.log(`${one.name} ...`)
    const { against, ours, theirs } = one.prepare()
    const result = await compare(ours, theirs, one.runs ?? 5)
    const bounds = [
      ...(one.wall === undefined ? [] : [`wall ≤ ${ratio(one.wall)}`]),
      ...(one.cpu === undefined ? [] : [`cpu ≤ ${ratio(one.cpu)}`])
    ]
    rows.push(
      `| ${one.title} | ${against.replaceAll("|", "\\|")} | ${ratio(result.wall)} | ${ratio(result.cpu)} | ${bounds.join(", ")} | ${result.a.wall.toFixed(2)} s, ${result.a.rss.toFixed(0)} MiB | ${result.b.wall.toFixed(2)} s |`
    )
    console.log(rows.at(-1))
  }
  if (wanted.length === 0 || wanted.includes("memory")) {
    for (const gibibytes of [2, 20]) {
      const sparse = Data.sparseDirectory(base, `sparse-${gibibytes}`, gibibytes)
      const sample = await once(
        `${process.execPath} ${path.join(root, "dist/bin/tallyman.mjs")} verify ${sparse} --full`
      )
      rows.push(
        `| peak memory, full verify of one layer of ${gibibytes} GiB | | | | ≤ 150 MiB | ${sample.rss.toFixed(0)} MiB | |`
      )
      console.log(rows.at(-1))
    }
  }
  console.log(
    [
      "",
      "| what | against | wall ratio | cpu ratio | aimed at | ours | theirs |",
      "| --- | --- | --- | --- | --- | --- | --- |",
      ...rows
    ].join("\n")
  )
  return 0
}
