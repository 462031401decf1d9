import type { CatalogFamily } from "../CatalogEntry.ts"

const bundleSpec = "runtime-spec bundle.md"
const conversion = "image-spec conversion.md"

/** An unpacked image with a runtime configuration. */
export const bundle = {
  "bundle.missing-rootfs": {
    severity: "error",
    title: "the root file system is not there",
    spec: `${bundleSpec}; config.md, root`,
    rules: [67, 69],
    explanation: "The directory that holds the unpacked image does not exist, or is none.",
    remedy: "Unpack the image again."
  },
  "bundle.missing-config": {
    severity: "error",
    title: "config.json is not there",
    spec: bundleSpec,
    rules: [66],
    explanation: "A bundle has its runtime configuration in config.json beside the root file system.",
    remedy: "Unpack the image again."
  },
  "bundle.missing-container-config": {
    severity: "error",
    title: "container-config.json is not there",
    spec: "tallyman: a bundle keeps the image's config",
    rules: [],
    explanation:
      "The bundle was written with the image's config beside it, which is gone: which image this is cannot be told.",
    remedy: "Unpack the image again."
  },
  "bundle.unreadable": {
    severity: "error",
    title: "a file of the bundle cannot be read",
    spec: bundleSpec,
    rules: [66],
    explanation: "It is no regular file, larger than any such file may be, or reading it failed.",
    remedy: "Look at the reason in the message: permissions, a failing disk, or something else in the file's place."
  },
  "bundle.invalid-json": {
    severity: "error",
    title: "a configuration is not readable JSON",
    spec: "runtime-spec config.md; image-spec considerations.md",
    rules: [1],
    explanation: "config.json or container-config.json could not be parsed as JSON in UTF-8.",
    remedy: "Unpack the image again."
  },
  "bundle.duplicate-key": {
    severity: "error",
    title: "a name stands twice in one object of a configuration",
    spec: "RFC 8259 section 4; image-spec considerations.md",
    rules: [2],
    explanation: "Readers disagree on which of the two values counts.",
    remedy: "Unpack the image again."
  },
  "bundle.process-mismatch": {
    severity: "error",
    title: "the process is not the one that the image says",
    spec: `${conversion}, verbatim fields`,
    rules: [61],
    explanation:
      "process.cwd, process.env or process.args in config.json are not WorkingDir, Env, Entrypoint and Cmd of the image.",
    remedy: "If it was changed on purpose, none. Otherwise unpack the image again."
  },
  "bundle.annotation-mismatch": {
    severity: "error",
    title: "the annotations are not those that the image implies",
    spec: `${conversion}, annotation fields`,
    rules: [62],
    explanation:
      "An annotation of config.json that stands for a field of the image's config is missing or has another value.",
    remedy: "If it was changed on purpose, none. Otherwise unpack the image again."
  },
  "bundle.label-mismatch": {
    severity: "error",
    title: "a label of the image is not among the annotations",
    spec: `${conversion}, annotations`,
    rules: [63],
    explanation: "Labels become annotations, and win over those that other fields imply.",
    remedy: "Unpack the image again."
  },
  "bundle.user-mismatch": {
    severity: "error",
    title: "the process runs as another user than the image says",
    spec: `${conversion}, parsed fields, Config.User`,
    rules: [64],
    explanation:
      "process.user in config.json is not what Config.User is in the image's own /etc/passwd and /etc/group.",
    remedy: "If it was changed on purpose, none. Otherwise unpack the image again."
  },
  "bundle.unresolvable-user": {
    severity: "error",
    title: "the image's user does not exist in the image",
    spec: `${conversion}, parsed fields, Config.User`,
    rules: [65],
    explanation: "Config.User names a user or group that the image's own /etc/passwd and /etc/group do not have.",
    remedy: "Report it to whoever made the image."
  },
  "bundle.partial-conversion": {
    severity: "warning",
    title: "the runtime configuration ignores parts of the image's config",
    spec: conversion,
    rules: [],
    explanation:
      "Bundles of occystrap take command and working directory from the image and everything else from a template: Env, User and Labels are not applied, so the container runs as root with another environment.",
    remedy: "Set process.env and process.user by hand, or unpack the image with this program."
  },
  "bundle.layers-left": {
    severity: "warning",
    title: "a layer is still in the bundle",
    spec: "tallyman: layers are unpacked, none stays",
    rules: [],
    explanation:
      "A directory or file of a layer lies in the bundle: writing it was cut off, or it does not belong there.",
    remedy: "Unpack the image again."
  },
  "bundle.entry-count": {
    severity: "error",
    title: "the tree has another number of files than was written",
    spec: "tallyman: the receipt records how many files were unpacked",
    rules: [],
    explanation: "Files were added to or removed from rootfs/. Verify at full depth to see which.",
    remedy: "Unpack the image again."
  },
  "bundle.invalid-manifest": {
    severity: "error",
    title: "the manifest of the tree cannot be used",
    spec: "mtree(5)",
    rules: [],
    explanation: "rootfs.mtree has lines that make no sense, so what the tree should be is not known.",
    remedy: "Unpack the image again."
  }
} as const satisfies CatalogFamily

const config = "runtime-spec config.md"
const linux = "runtime-spec config-linux.md"
const report = "Report it to the tool that wrote the bundle; runtimes refuse it."

/** A runtime configuration as a document. */
export const runtime = {
  "runtime.wrong-type": {
    severity: "error",
    title: "a field of config.json has the wrong JSON type",
    spec: "runtime-spec schema/config-schema.json",
    rules: [],
    explanation:
      "A field holds another kind of value than the schema of runtime-spec 1.0 to 1.3 says, or lacks a part that it has to have.",
    remedy: report
  },
  "runtime.bad-version": {
    severity: "error",
    title: "ociVersion is no semantic version",
    spec: `${config}, specification version`,
    rules: [68],
    explanation: "ociVersion has to be there and follow SemVer 2.0.0.",
    remedy: report
  },
  "runtime.unknown-version": {
    severity: "warning",
    title: "ociVersion is a version that is not known here",
    spec: `${config}, specification version`,
    rules: [68],
    explanation:
      "The bundle was written for another major version of the specification: it was checked by the rules of 1.x.",
    remedy: "Use a newer version of this program."
  },
  "runtime.missing-root": {
    severity: "error",
    title: "config.json has no root",
    spec: `${config}, root`,
    rules: [69],
    explanation: "root and root.path are required on every platform but Windows.",
    remedy: report
  },
  "runtime.bad-root": {
    severity: "error",
    title: "root.path is no directory of the bundle",
    spec: `${bundleSpec}; config.md, root`,
    rules: [67, 69],
    explanation: "The root file system has to be a directory beside config.json.",
    remedy: "Unpack the image again, or correct root.path."
  },
  "runtime.bad-mount": {
    severity: "error",
    title: "a mount is not as the specification says",
    spec: `${config}, mounts`,
    rules: [70],
    explanation: "A destination is missing or not absolute, or only one of uidMappings and gidMappings is there.",
    remedy: report
  },
  "runtime.bad-cwd": {
    severity: "error",
    title: "process.cwd is not absolute",
    spec: `${config}, process`,
    rules: [71],
    explanation: "process.cwd is required and has to be an absolute path.",
    remedy: report
  },
  "runtime.no-args": {
    severity: "error",
    title: "process.args names no program",
    spec: `${config}, process`,
    rules: [72],
    explanation: "process.args needs at least one entry.",
    remedy: "Give the command to run: the image has neither Entrypoint nor Cmd, or it was lost."
  },
  "runtime.bad-user": {
    severity: "error",
    title: "process.user lacks uid or gid",
    spec: `${config}, user`,
    rules: [73],
    explanation: "On POSIX platforms process.user has the numbers uid and gid.",
    remedy: report
  },
  "runtime.bad-rlimit": {
    severity: "error",
    title: "an rlimit is incomplete or stands twice",
    spec: `${config}, rlimits`,
    rules: [74],
    explanation: "Each rlimit has type, soft and hard, and each type stands once.",
    remedy: report
  },
  "runtime.bad-hook": {
    severity: "error",
    title: "a hook is not as the specification says",
    spec: `${config}, POSIX-platform hooks`,
    rules: [75],
    explanation: "A hook's path has to be absolute, its timeout greater than zero.",
    remedy: report
  },
  "runtime.missing-windows": {
    severity: "error",
    title: "the section for Windows is missing",
    spec: `${config}, platform-specific configuration`,
    rules: [76],
    explanation: "A configuration for Windows needs the section windows with layerFolders.",
    remedy: report
  },
  "runtime.bad-namespace": {
    severity: "error",
    title: "a namespace is not as the specification says",
    spec: `${linux}, namespaces`,
    rules: [77],
    explanation: "A namespace has a known type, which stands once, and its path is absolute.",
    remedy: report
  },
  "runtime.bad-id-mapping": {
    severity: "error",
    title: "an ID mapping is incomplete",
    spec: `${linux}, user namespace mappings`,
    rules: [78],
    explanation: "Each mapping has containerID, hostID and size.",
    remedy: report
  },
  "runtime.bad-device": {
    severity: "error",
    title: "a device is incomplete",
    spec: `${linux}, devices`,
    rules: [79],
    explanation: "A device has type and an absolute path, and major and minor unless it is a FIFO.",
    remedy: report
  },
  "runtime.bad-device-rule": {
    severity: "error",
    title: "a device rule does not say whether it allows",
    spec: `${linux}, allowed device list`,
    rules: [80],
    explanation: "Each entry of linux.resources.devices has allow.",
    remedy: report
  },
  "runtime.bad-path": {
    severity: "error",
    title: "a masked or read-only path is not absolute",
    spec: `${linux}, masked paths, readonly paths`,
    rules: [81],
    explanation: "maskedPaths and readonlyPaths hold absolute paths of the container.",
    remedy: report
  },
  "runtime.bad-seccomp": {
    severity: "error",
    title: "the seccomp profile is incomplete",
    spec: `${linux}, seccomp`,
    rules: [82],
    explanation:
      "A profile has defaultAction; each of its rules has at least one name and an action; actions and operators are those that libseccomp has; listenerMetadata needs listenerPath.",
    remedy: report
  },
  "runtime.bad-resource": {
    severity: "error",
    title: "a limit of block I/O or RDMA says nothing",
    spec: `${linux}, block IO, RDMA`,
    rules: [83],
    explanation: "A weightDevice has weight or leafWeight, an RDMA limit has hcaHandles or hcaObjects.",
    remedy: report
  }
} as const satisfies CatalogFamily
