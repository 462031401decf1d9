/**
 * The conformance rules that the catalogue is measured by, each in a few words with the document it comes from. A check
 * names the rules it covers; a rule that no check can break in what is verified says why.
 */
import { type CheckId, catalog, ids } from "./Catalog.ts"

export interface Rule {
  readonly number: number
  readonly text: string
  readonly source: string
  /** `DEF`: a definition that a verifier has to apply. */
  readonly level: "MUST" | "SHOULD" | "DEF"
  /** Why no check of archives and layouts reports on it, where none does. */
  readonly reason?: string
}

const rule = (number: number, level: Rule["level"], source: string, text: string, reason?: string): Rule => ({
  number,
  level,
  source,
  text,
  ...(reason === undefined ? {} : { reason })
})

const tolerated = "It asks to let something pass: there is nothing to report, and no check reports it."
const applying =
  "It defines what applying layers gives. Layers as such cannot break it; what makes their result differ between tools is reported under layer.*."

const considerations = "image-spec considerations.md"
const descriptor = "image-spec descriptor.md"
const manifest = "image-spec manifest.md"
const index = "image-spec image-index.md"
const layout = "image-spec image-layout.md"
const config = "image-spec config.md"
const layer = "image-spec layer.md"
const annotations = "image-spec annotations.md"
const conversion = "image-spec conversion.md"
const bundle = "runtime-spec bundle.md"
const runtime = "runtime-spec config.md"
const linux = "runtime-spec config-linux.md"
const docker = "docker-image-spec v1.3"
const tar = "POSIX.1-2017 pax; GNU tar manual"
const compression = "image-spec media-types.md; RFC 1952; RFC 8878"

/** In the order of their numbers. The numbers stay: rules that come later have others. */
export const rules: ReadonlyArray<Rule> = [
  rule(1, "MUST", considerations, "JSON is UTF-8"),
  rule(2, "MUST", considerations, "no name stands twice in an object"),
  rule(3, "MUST", considerations, "copies alter neither content nor digest"),
  rule(4, "MUST", considerations, "unknown properties are tolerated", tolerated),
  rule(5, "MUST", descriptor, "mediaType is there and a media type"),
  rule(6, "MUST", descriptor, "digest is there and matches the grammar"),
  rule(7, "MUST", descriptor, "sha256 is 64 hexadecimal digits in lower case"),
  rule(8, "MUST", descriptor, "sha512 is 128 hexadecimal digits in lower case"),
  rule(9, "MUST", descriptor, "blake3 is 64 hexadecimal digits in lower case"),
  rule(10, "SHOULD", descriptor, "an unknown algorithm of valid grammar passes"),
  rule(11, "MUST", descriptor, "size is there and not negative"),
  rule(12, "MUST", descriptor, "the content has the size"),
  rule(13, "MUST", descriptor, "urls are URIs"),
  rule(14, "MUST", descriptor, "data is base64 of the content"),
  rule(15, "MUST", descriptor, "artifactType is a media type"),
  rule(16, "MUST", descriptor, "annotations of descriptors follow the rules"),
  rule(17, "MUST", manifest, "schemaVersion is 2"),
  rule(
    18,
    "MUST",
    manifest,
    "mediaType is the manifest's and the descriptor's; no document is manifest and index at once"
  ),
  rule(19, "MUST", manifest, "config is a descriptor"),
  rule(20, "SHOULD", manifest, "layers is an array of descriptors, with at least one"),
  rule(21, "MUST", manifest, "the base is first, the others follow in stack order"),
  rule(22, "MUST", manifest, "the result is that of applying the layers to an empty directory", applying),
  rule(23, "MUST", manifest, "unknown types of configs, layers and artifacts are no error", tolerated),
  rule(24, "MUST", manifest, "a config of unknown type is not parsed", tolerated),
  rule(25, "MUST", manifest, "artifactType is there when the config is empty"),
  rule(26, "MUST", manifest, "an artifact's config has a type of its own or the empty one"),
  rule(27, "DEF", manifest, "the empty descriptor is {} of 2 bytes"),
  rule(28, "MUST", manifest, "subject is a descriptor; what it names may be absent"),
  rule(29, "MUST", index, "schemaVersion is 2"),
  rule(30, "MUST", index, "mediaType is the index's"),
  rule(31, "MUST", index, "manifests is there, if empty; not null"),
  rule(32, "MUST", index, "unknown media types are no error", tolerated),
  rule(33, "MUST", index, "a platform has os and architecture, which agree with the config"),
  rule(34, "MUST", index, "annotations follow the rules; nested indexes are followed"),
  rule(35, "MUST", layout, "blobs/ exists"),
  rule(36, "MUST", layout, "oci-layout exists and says version 1.0.0"),
  rule(37, "MUST", layout, "index.json exists and is an index"),
  rule(38, "MUST", layout, "a blob's content is what its name says"),
  rule(39, "MUST", layout, "names below blobs/ are those of digests"),
  rule(40, "MUST", layout, "extra files, unreferenced and external blobs are allowed"),
  rule(41, "MUST", config, "architecture, os and rootfs are there"),
  rule(42, "MUST", config, "rootfs.type is layers"),
  rule(43, "MUST", config, "diff_ids are there, in order, over the uncompressed tars, as many as layers"),
  rule(44, "MUST", config, "created is RFC 3339"),
  rule(45, "MUST", config, "labels follow the annotation rules"),
  rule(46, "DEF", config, "extra and null fields pass; history without empty layers is as long as diff_ids"),
  rule(47, "MUST", layer, "a layer is a tar"),
  rule(48, "MUST", layer, "no path stands twice in a layer"),
  rule(49, "MUST", layer, "attributes are kept", applying),
  rule(50, "MUST", layer, "a directory over a directory replaces its attributes", applying),
  rule(51, "MUST", layer, "anything else over anything removes it first", applying),
  rule(52, "SHOULD", layer, ".wh. without a name is invalid"),
  rule(53, "MUST", layer, "whiteouts are not seen after applying", applying),
  rule(54, "MUST", layer, "whiteouts concern lower layers only"),
  rule(55, "MUST", layer, "explicit and opaque whiteouts are accepted, opaque ones apply first", applying),
  rule(56, "DEF", layer, "a whiteout is an empty file; no sparse entries, no non-distributable types"),
  rule(57, "MUST", annotations, "keys and values are strings"),
  rule(58, "MUST", annotations, "keys are unique"),
  rule(59, "MUST", annotations, "org.opencontainers is reserved"),
  rule(60, "MUST", annotations, "absent or {} where there are none"),
  rule(61, "MUST", conversion, "WorkingDir is cwd, Env is env, Entrypoint and Cmd are args"),
  rule(
    62,
    "MUST",
    conversion,
    "os, architecture, variant, author, created, stopSignal and the like become annotations"
  ),
  rule(63, "MUST", conversion, "labels win over implied annotations"),
  rule(64, "MUST", conversion, "a numeric User gives uid and gid"),
  rule(65, "MUST", conversion, "a User that cannot be resolved is an error"),
  rule(66, "MUST", bundle, "config.json is at the bundle's root"),
  rule(67, "MUST", bundle, "root.path is a directory beside it"),
  rule(68, "MUST", runtime, "ociVersion is a semantic version"),
  rule(69, "MUST", runtime, "root is there and its path exists"),
  rule(70, "MUST", runtime, "mount destinations are absolute, uidMappings and gidMappings come in pairs"),
  rule(71, "MUST", runtime, "cwd is absolute"),
  rule(72, "MUST", runtime, "args has an entry"),
  rule(73, "MUST", runtime, "user has uid and gid"),
  rule(74, "MUST", runtime, "rlimits are unique and have type, soft and hard"),
  rule(75, "MUST", runtime, "hooks have absolute paths and timeouts above zero"),
  rule(76, "MUST", runtime, "a configuration for Windows has its section"),
  rule(77, "MUST", linux, "namespaces have a type, which stands once, and absolute paths"),
  rule(78, "MUST", linux, "ID mappings are complete"),
  rule(79, "MUST", linux, "devices have type, path, major and minor"),
  rule(80, "MUST", linux, "device rules say whether they allow"),
  rule(81, "MUST", linux, "masked and read-only paths are absolute"),
  rule(82, "MUST", linux, "seccomp has a default action, its rules names and an action"),
  rule(83, "MUST", linux, "weights and RDMA limits say something"),
  rule(84, "MUST", docker, "manifest.json is an array"),
  rule(85, "MUST", docker, "its Config and Layers exist"),
  rule(86, "MUST", docker, "the image ID is the sha256 of the config"),
  rule(87, "MUST", docker, "layers match their diff_ids"),
  rule(88, "MUST", docker, "tags follow the grammar"),
  rule(89, "MUST", docker, "repositories follow the grammar"),
  rule(90, "MUST", docker, "Parent is in the same manifest.json"),
  rule(91, "MUST", docker, "repositories maps name to tag to ID"),
  rule(92, "MUST", docker, "manifest.json, repositories and index.json describe the same images"),
  rule(93, "MUST", tar, "checksums fit, numbers are well-formed and in range"),
  rule(94, "MUST", tar, "two zero blocks end the archive, and only zeros follow"),
  rule(95, "MUST", tar, "no header is cut, no body shorter than its size"),
  rule(96, "MUST", tar, "known types; pax records and GNU long names are well-formed"),
  rule(97, "MUST", tar, "no path is absolute, leaves the root, holds a NUL or is not UTF-8"),
  rule(98, "MUST", tar, "hardlinks have their targets, no write goes through a symlink"),
  rule(99, "MUST", tar, "a layer does not hide what it adds"),
  rule(100, "MUST", compression, "the declared compression is that of the bytes"),
  rule(101, "MUST", compression, "every gzip member and zstd frame is read"),
  rule(102, "MUST", compression, "a cut stream, or one with something behind it, is an error")
]

/** Ids of the checks that cover a rule, in the catalogue's order. */
export const covering = (number: number): ReadonlyArray<CheckId> =>
  ids.filter((id) => catalog[id].rules.includes(number))
