import { execFileSync } from "node:child_process"
import * as path from "node:path"

/** docs/commands.md: what the built command says about itself. */
export const commandsPage = (root: string): string => {
  const help = (...args: ReadonlyArray<string>): string =>
    execFileSync(process.execPath, [path.join(root, "dist/bin/tallyman.mjs"), ...args, "--help"], {
      encoding: "utf8",
      env: { ...process.env, COLUMNS: "100" }
    }).trim()
  const overview = help()
  const commands = [
    ...overview.slice(overview.indexOf("\nCOMMANDS"), overview.indexOf("\nEXAMPLES")).matchAll(/^ {2}([a-z]+) [A-Z[]/gm)
  ].map((match) => match[1]!)
  const sections = commands.map((name) => {
    const text = help(name)
    return `## ${name}\n\n\`\`\`\n${text}\n\`\`\`\n`
  })
  return `<!-- Made by \`npm run docs\` from the command's own help. -->
# Command reference

\`\`\`
${overview}
\`\`\`

${sections.join("\n")}
## Sources and destinations

\`SCHEME://PATH[?option=value&...]\`. Paths are taken as they are, relative or absolute. \`verify\`, \`search\`,
\`inspect\` and \`diff\` also take a plain path and find out what it holds, and so do \`--against\`, \`--repair\` and \`rebase\`.
\`verify\` audits everything that stands there; an image that TARGET selects as a source would has to be among it, or else
that is an error.

| as a source | |
| --- | --- |
| \`tar://\`, \`dir://\`, \`oci-layout://PATH[:REF]\` | \`image=NAME:TAG\` (or a digest, or its beginning), \`index=N\` (from 0), \`platform=OS/ARCH[/VARIANT]\`, or \`os=\`, \`architecture=\`, \`variant=\` |
| \`oci-layout://PATH[:REF]\` | \`shared_blobs=DIRECTORY\`: where blobs are, as \`ALGORITHM/ENCODED\`, that are not in the layout itself (\`skopeo copy --dest-shared-blob-dir\`); also with \`verify\` |

| as a destination | |
| --- | --- |
| \`dir://\` | \`unique_names=true\`: a manifest for each image, so that many images share the directory; \`expand=true\`: beside each manifest, in a directory of its name, the tree that the layers make |
| \`tar://\` | \`format=hybrid\` (the default: every reader loads it), \`docker\` or \`oci\`; \`name=NAME:TAG\` instead of the names that the source has |
| \`tar://\`, \`oci-layout://PATH[:REF]\` | \`compression=none\`, \`gzip\` or \`zstd\` and \`level=N\` store layers anew; without them their bytes are kept. \`media_types=oci\` or \`docker\` converts the manifest. An archive that stands there is replaced, unless \`--append\` keeps its images |
| \`oci://\`, \`mounts://\` | nothing, or an empty directory, has to stand there. What is mounted goes with a restart: \`tallyman mount PATH\` mounts it again |

Digests in sha256, sha384, sha512 and blake3 are proved and kept, those of layers as stored and the diff_ids. What Docker
reads knows sha256 alone: \`dir://\` and \`tar://\`, unless it is \`format=oci\`, name everything by it, and refuse an image whose
diff_ids are in another algorithm. Filters keep a diff_id's algorithm; \`flatten\` takes sha256.

## Repair

\`verify TARGET --repair SOURCE\` fetches what was found damaged from any other copy of the same image, in whatever form that
is, and nothing else: what is right keeps its inode. \`--dry-run\` says what it would do.

| target | what is made right |
| --- | --- |
| \`dir://\` | layers, config, manifest, receipt, catalog; the tree beside a manifest (\`expand=true\`), file by file |
| \`oci-layout://\` | blobs, manifests and indexes, index.json, oci-layout, receipts |
| \`tar://\` | the archive, written anew as a whole, in gzip or zstd where it was compressed so. Where it holds several images, or an index of them: single members that the source has, every other byte is kept; index.json too, where a receipt or the source tells all that it listed; one whose stream is damaged or that is cut off then stays as it is, as nothing tells what is lost of the others |
| \`oci://\` | files of rootfs/ that are missing, too much, or of another type, content, mode, owner, time, link or attribute; config.json, container-config.json, rootfs.mtree, receipt.json. The tree of a bundle that another tool made is left alone: nothing says how it came about |
| \`mounts://\` | files of each layer's directory in the same way, whiteouts and opaque directories among them; layers that are lost, rootfs/, working/ and delta/ where they are missing; manifests, configurations, receipt.json. Layers that are mounted are not changed: \`tallyman unmount PATH\` first. What a container wrote into delta/ stays |

A file by whose name another image means other content is left alone.

Everything is made beside its place, proved while it is copied, and renamed. Attributes of files whose content is right are
set where they are. No directory on the way is entered through a symlink. A repair that is cut off leaves a journal, by which
a directory verifies as incomplete; an archive stays what it was until its new one is whole. The next repair completes either.
What \`--tolerate\` names is neither reported nor repaired.

## Settings

\`tallyman.json\`, in the working directory or above it, or named by \`--config\`, sets what \`process\` and \`verify\` need not
be told each time; flags win over it. \`tallyman.schema.json\`, in the package, describes it to editors.

\`\`\`json
{
  "profile": "default",
  "severity": { "tar.path-not-utf8": "ignore" },
  "max-unpacked": "2T",
  "max-ratio": 1000,
  "max-json": "64M",
  "max-json-values": 2000000,
  "max-members": 1000000,
  "max-findings": 100000
}
\`\`\`

| profile | |
| --- | --- |
| \`default\` | as the [catalogue](checks.md) says |
| \`strict\` | every warning is an error, and so is what a specification says SHOULD of |
| \`docker\` | what Docker itself loads and runs without a word is no error |
| \`occystrap\` | what every directory of the older tool has is not reported |

## JSON

\`verify --format json\` prints one document on stdout and nothing else there:

\`\`\`
{"tool", "version", "target", "layout", "depth", "ok", "has_errors", "error_count", "warning_count", "info_count",
 "results": [{"severity", "check", "message", "subject", "expected", "actual"}],
 "checked": [ids], "skipped": [{"check", "reason"}],
 "images": [{"image", "ok", "error_count"}], "layers"}
\`\`\`

With \`--against\` it has \`against\` too. With \`--repair\` the fields above are about what stands there afterwards, and there are
\`repaired\` and \`not_repaired\` ([{"path", "reason"}]), with \`--dry-run\` \`would_repair\`, and \`before\`, the fields from \`ok\` to
\`skipped\` of what was found at first.

\`process --format json\` prints \`tool\`, \`version\`, \`source\`, \`destination\`, \`image\` (its ID as written), \`names\`, \`filters\`,
\`left_out\`, \`images\`, \`artifacts\`, \`layers\`, \`bytes\`, \`seconds\`, \`depth\` and, as \`verification\`, the fields from \`ok\` to \`skipped\`; the
last two are null with \`--no-verify\`. Its summary line goes to stderr. \`left_out\` has {"digest", "media_type", "subject"} for each
attestation or signature that was left out, as filters changed what it is about. \`filters\` has, for each filter of each image,
\`name\`, \`options\`, \`before\` and \`after\` (image IDs), with several images \`manifest\` and \`platform\`, \`inputs\` where other images
went into it, and what the filter has to tell:

| filter | |
| --- | --- |
| \`normalize-timestamps\` | \`layers\` [{"index", "before", "after", "changed"}] (diff_ids, members changed) |
| \`exclude\` | \`entries\`, \`bytes\`, \`layers\`: as above, with \`entries\`, \`bytes\`, \`paths\` and \`promoted\` of each |
| \`flatten\` | \`layers\` (how many there were), \`diff_id\` of the one there is, \`entries\` and \`bytes\` that are not in it |
| \`rebase\` | \`old_base\` and \`new_base\` {"id", "layers"}, \`kept\` layers |
| \`search\` | \`matches\`, as below |
| \`inspect\` | \`layers\`, how many the file tells of |

The others print, besides \`tool\` and \`version\`:

\`\`\`
search:  {"source", "image", "id", "pattern", "regex", "matches": [{"path", "layer", "layer_id", "diff_id", "type", "size",
          "mode", "uid", "gid", "mtime", "linkname", "state", "by", "hides"}], "problems": [{"layer", "message"}]}
inspect: {"names", "source", "id", "config_size", "manifest": {"digest", "media_type", "size"}, "platform", "created",
          "author", "config", "layers": [{"index", "diff_id", "digest", "media_type", "compression", "size",
          "uncompressed_size", "entries", "whiteouts", "overwritten_bytes", "deleted_bytes", "history"}],
          "history": [{"created", "created_by", "comment", "author", "layer"}],
          "totals": {"stored", "uncompressed", "files", "bytes", "wasted"}, "largest": [{"path", "size", "layer"}],
          "wasted": [{"path", "size", "layer", "by", "how"}], "problems": [texts]}
diff:    {"a_source", "b_source", "same", "a", "b", "config": [{"pointer", "a", "b"}], "config_form_only",
          "layers": [{"index", "a", "b"}], "files": [{"path", "kind", "a", "b"}],
          "counts": by kind of difference, "names_compared", "not_compared": [texts], "problems": [texts]}
\`\`\`

\`state\` is visible, overwritten or deleted (\`by\` that layer), whiteout (it \`hides\` that path) or unknown. Sizes are bytes,
\`mtime\` seconds since the epoch, \`mode\` a decimal number, \`layer\`, \`index\` and \`history\` count from 0; what is not there is
null. Fields are only ever added.

## Exit codes

| | |
| --- | --- |
| 0 | fine |
| 1 | verification found errors |
| 2 | wrong usage |
| 3 | it could not be done: I/O, network, an unreadable source |
| 130 | interrupted |
`
}
