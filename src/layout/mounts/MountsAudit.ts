/** What of a directory of mounts can be told without reading its layers' files: what is there, and what is mounted. */

import * as fs from "node:fs"
import * as path from "node:path"
import type { Collector } from "../../check/Collector.ts"
import * as ByteString from "../../content/ByteString.ts"
import { count } from "../../image/Count.ts"
import * as Document from "../Document.ts"
import * as DockerSave from "../docker-archive/DockerSave.ts"
import { describe } from "../Failure.ts"
import { tellRuns } from "../RunAudit.ts"
import type { Store } from "../Store.ts"
import { findMarkers } from "./Markers.ts"
import * as Files from "./MountsFiles.ts"
import * as Overlay from "./Overlay.ts"

export interface Found {
  /** The file that the manifest names. */
  readonly config: string | undefined
  /** Base first; nothing when the manifest cannot be used. */
  readonly layers: ReadonlyArray<NamedLayer>
  /** Those of them that are there. */
  readonly present: ReadonlyArray<NamedLayer>
  /** Whether the image is to be seen on rootfs/. */
  readonly mounted: boolean
}

export const look = (store: Store, names: ReadonlyArray<string>, report: Collector): Found => {
  tellRuns(store, names, report)
  directories(store, report)
  const saved = savedImage(store, report)
  const layers = (saved?.layers ?? []).map((named) => ({ named, directory: Files.directoryOf(named) }))
  return {
    config: saved?.config,
    layers,
    present: layers.filter((one) => present(store, one, report)),
    mounted: auditMount(store, layers, report)
  }
}

/** The older tool names the tars that it has unpacked. */
export const isOlder = (layers: ReadonlyArray<NamedLayer>): boolean =>
  layers.some(({ named }) => named.endsWith(".tar"))

export interface NamedLayer {
  /** As the manifest has it. */
  readonly named: string
  /** Of its files, below the root. */
  readonly directory: string
}

const directories = (store: Store, report: Collector): void => {
  report.ran("mounts.missing-directory", "mounts.changed")
  for (const name of [Files.rootfs, Files.working, Files.delta]) {
    const entry = store.lookup(name)
    if (entry?.kind !== "directory") {
      report.report("mounts.missing-directory", name, "it is no directory", {
        expected: "a directory",
        actual: entry === undefined ? "nothing" : "something else"
      })
    }
  }
  const changed = store.list(Files.delta) ?? []
  if (changed.length > 0) {
    report.report("mounts.changed", Files.delta, "it holds what was changed in rootfs/ since it was mounted", {
      expected: "nothing",
      actual: `${count(changed.length, "name")}, for example ${JSON.stringify(changed[0])}`
    })
  }
}

/** Nothing when the manifest cannot be used. */
const savedImage = (store: Store, report: Collector): DockerSave.SavedImage | undefined => {
  const document = Document.read(store, Files.manifest, Document.manifestChecks, report)
  return document === undefined ? undefined : DockerSave.readManifest(document, Files.manifest, report)[0]
}

const present = (store: Store, { directory }: NamedLayer, report: Collector): boolean => {
  report.ran("mounts.missing-layer", "mounts.bad-whiteout")
  const entry = store.lookup(directory)
  if (entry?.kind !== "directory") {
    report.report("mounts.missing-layer", directory, "the manifest names it", {
      expected: "a directory",
      actual: entry === undefined ? "nothing" : "something else"
    })
    return false
  }
  for (const name of findMarkers(path.join(store.path, directory))) {
    report.report(
      "mounts.bad-whiteout",
      `${directory}/${ByteString.display(name)}`,
      "a whiteout as archives have it: overlay shows it as a file",
      {
        expected: "a 0:0 character device, or an opaque directory",
        actual: "a name that begins with .wh."
      }
    )
  }
  return true
}

/** Whether the image is to be seen on rootfs/. */
const auditMount = (store: Store, layers: ReadonlyArray<NamedLayer>, report: Collector): boolean => {
  report.ran("mounts.not-mounted", "mounts.wrong-mount")
  let found: Overlay.Mount | undefined
  let root: string
  try {
    root = fs.realpathSync(store.path)
    found = Overlay.mountAt(path.join(root, Files.rootfs))
  } catch (cause) {
    report.skip("mounts.not-mounted", `what is mounted cannot be told: ${describe(cause)}`)
    return false
  }
  if (found === undefined) {
    report.report("mounts.not-mounted", Files.rootfs, "no file system is mounted there")
    return false
  }
  if (found.type !== "overlay" && found.type !== "fuse.fuse-overlayfs") {
    report.report("mounts.wrong-mount", Files.rootfs, "the file system mounted there is no overlay", {
      expected: "overlay",
      actual: found.type
    })
    return false
  }
  if (found.lower === undefined) {
    report.skip("mounts.wrong-mount", `a mount of ${found.type} does not tell its layers`)
    return true
  }
  const wanted = [...layers].reverse().map(({ directory }) => path.join(root, directory))
  if (wanted.length === 0) wanted.push(path.join(root, Files.empty))
  const actual = found.lower.map((lower) => real(path.resolve(root, lower)))
  const shown = (all: ReadonlyArray<string>): string =>
    all
      .map((one) => path.relative(root, one) || ".")
      .join(", ")
      .slice(0, 500)
  if (JSON.stringify(actual) !== JSON.stringify(wanted.map(real))) {
    report.report("mounts.wrong-mount", Files.rootfs, "its layers are not the manifest's, from the last to the first", {
      expected: shown(wanted),
      actual: shown(actual)
    })
    return false
  }
  const upper = found.upper === undefined ? undefined : real(path.resolve(root, found.upper))
  if (upper !== real(path.join(root, Files.delta))) {
    report.report("mounts.wrong-mount", Files.rootfs, "its upper directory is not delta/", {
      expected: Files.delta,
      actual: upper === undefined ? "none" : shown([upper])
    })
  }
  return true
}

const real = (file: string): string => {
  try {
    return fs.realpathSync(file)
  } catch {
    return file
  }
}
