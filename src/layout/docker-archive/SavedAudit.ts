/** The images of a docker-save manifest.json against what the store holds (docker-image-spec v1.3; rules 84-90). */

import * as crypto from "node:crypto"
import { Collector } from "../../check/Collector.ts"
import * as ConfigChecks from "../../check/ConfigChecks.ts"
import * as Hasher from "../../content/Hasher.ts"
import { count } from "../../image/Count.ts"
import * as Digest from "../../image/Digest.ts"
import * as Json from "../../image/Json.ts"
import * as PythonJson from "../../image/PythonJson.ts"
import * as Reference from "../../image/Reference.ts"
import * as Document from "../Document.ts"
import { type BlobKey, type LayerAudit, layerChecks } from "../LayerAudit.ts"
import type { LayoutImage } from "../oci-layout/LayoutAudit.ts"
import { plainName, type Store } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"
import type * as DockerSave from "./DockerSave.ts"

export interface AuditedImage {
  readonly saved: DockerSave.SavedImage
  /** sha256 of the config's bytes: the image ID. */
  readonly id: Digest.Digest | undefined
  readonly config: ConfigChecks.CheckedConfig | undefined
  /** Keys of its layers in the audit, from the base up; undefined where one is missing. */
  readonly layers: ReadonlyArray<BlobKey | undefined>
  /** What errors are counted for besides the files that it names. */
  readonly statements: ReadonlyArray<string>
  /** By the archive's OCI manifest of the same config and by the config itself, it is no image. */
  readonly isArtifact: boolean
}

/** What the archive's OCI manifest of the same config says. */
export type InLayout = Pick<LayoutImage, "kind" | "otherTypes" | "withoutDiffIds">

/** What findings that concern this image name as their subject. */
export const subjectsOf = ({ saved, statements }: AuditedImage): ReadonlySet<string> =>
  new Set([
    saved.subject,
    saved.manifestFile,
    ...(saved.config === undefined ? [] : [saved.config]),
    ...(saved.layers ?? []),
    ...statements
  ])

/** The digest that a config's file name promises: `{hex}.json`, or that of a blob. */
export const promisedDigest = (file: string): Digest.Digest | undefined => {
  const hex = /^(?:blobs\/sha256\/)?(?:sha256:)?([a-f0-9]{64})(?:\.json)?$/.exec(plainName(file))?.[1]
  return hex === undefined ? Files.blobDigest(file) : Digest.make("sha256", hex)
}

/** The images of one manifest.json. Reports what is wrong at fast depth. */
export const auditImages = (
  store: Store,
  all: ReadonlyArray<DockerSave.SavedImage>,
  audit: LayerAudit,
  report: Collector,
  inLayout: (saved: DockerSave.SavedImage) => InLayout | undefined = () => undefined
): ReadonlyArray<AuditedImage> => {
  // A manifest.json can name one config a hundred thousand times.
  const configs = new Map<string, ReadConfig>()
  return all.map((saved) => auditImage(store, saved, configs, audit, report, inLayout(saved)))
}

type ReadConfig = Pick<AuditedImage, "id" | "config">

/** A config and its ID, as far as they can be had. */
const readConfig = (store: Store, file: string, report: Collector): ReadConfig => {
  const document = Document.read(store, file, Document.configChecks, report)
  if (document === undefined) return { id: undefined, config: undefined }
  const id = Digest.make("sha256", crypto.createHash("sha256").update(document.raw).digest("hex"))
  imageId(file, document, report)
  return {
    id,
    config: document.value === undefined ? undefined : ConfigChecks.checkConfig(document.value, "docker", file, report)
  }
}

/** One image: names, config, and its layers said to the audit. */
const auditImage = (
  store: Store,
  saved: DockerSave.SavedImage,
  configs: Map<string, ReadConfig>,
  audit: LayerAudit,
  report: Collector,
  inLayout: InLayout | undefined
): AuditedImage => {
  names(store, saved, report)
  const otherTypes = inLayout?.otherTypes ?? new Map<string, string>()
  const isArtifact = inLayout?.kind === "artifact" && saved.config !== undefined && isNoImage(store, saved.config)
  let read: ReadConfig = { id: undefined, config: undefined }
  if (saved.config !== undefined && !isArtifact) {
    read = configs.get(saved.config) ?? readConfig(store, saved.config, report)
    configs.set(saved.config, read)
  }
  const { config, id } = read
  const diffIds = config?.diffIds
  const tars = (saved.layers ?? []).filter((name) => !otherTypes.has(name)).length
  const some = inLayout?.withoutDiffIds === true && diffIds?.length === tars
  let next = 0
  const statements: Array<string> = []
  const layers = (saved.layers ?? []).map((name, index) => {
    const otherType = otherTypes.get(name)
    const diffId = some && otherType !== undefined ? undefined : diffIds?.[next++]
    return auditLayer(store, name, saved, diffId, index, otherType, statements, audit, report)
  })
  if (inLayout !== undefined) report.ran("archive.artifact-listed")
  if (isArtifact || some) {
    const what = isArtifact ? "an artifact" : `an image with ${[...new Set(otherTypes.values())].join(", ")}`
    report.report("archive.artifact-listed", saved.subject, `docker load refuses it: by index.json it is ${what}`)
  } else if (saved.layers !== undefined && diffIds !== undefined) {
    report.ran("layer.count-mismatch")
    if (saved.layers.length !== diffIds.length) {
      report.report(
        "layer.count-mismatch",
        saved.subject,
        "the config has another number of layers than the manifest",
        {
          expected: `${diffIds.length} diff_ids`,
          actual: count(saved.layers.length, "layer")
        }
      )
    }
    sharedPaths(saved, diffIds, report)
  }
  if (!isArtifact) audit.stack(saved.subject, layers)
  return { saved, id, config, layers, statements, isArtifact }
}

/** Whether docker load takes the config for that of no image, whatever else it says (moby image, NewFromJSON). */
const isNoImage = (store: Store, file: string): boolean => {
  if (store.lookup(file)?.kind !== "file") return false
  const config = Document.read(store, file, Document.configChecks, new Collector())?.value
  return !Json.isObject(config) || !Json.isObject(Json.withKnownNames(config, ["rootfs"])["rootfs"])
}

const names = (store: Store, saved: DockerSave.SavedImage, report: Collector): void => {
  report.ran("image.bad-name", "image.untagged-name")
  for (const name of saved.names) {
    const reference = Reference.parse(name)
    // A directory of images is no archive for docker load.
    if (reference !== undefined && reference.tag === undefined && store.kind === "archive") {
      report.report("image.untagged-name", saved.subject, "a name of the image has no tag", {
        expected: "name:tag",
        actual: JSON.stringify(name.slice(0, 300))
      })
    }
    if (reference === undefined) {
      report.report("image.bad-name", saved.subject, "a name of the image is no valid reference", {
        expected: "name:tag",
        actual: JSON.stringify(name.slice(0, 300))
      })
    }
  }
}

/** Rule 86: the image ID is the sha256 of the config, and the file is named after it; a layout's blobs by any digest. */
const imageId = (file: string, document: Document.ReadDocument, report: Collector): void => {
  const promised = promisedDigest(file)
  if (promised === undefined) {
    report.skip("config.digest-mismatch", `${file}: nothing says its digest`)
    return
  }
  const actual = Hasher.digestOfBytes(promised, document.raw)
  if (actual === undefined) {
    report.skip("config.digest-mismatch", `${file}: ${Digest.algorithmOf(promised)} cannot be computed here`)
    return
  }
  report.ran("config.digest-mismatch", "config.reserialized")
  if (promised === actual) return
  if (document.value !== undefined && PythonJson.isReserialized(document.raw, document.value)) {
    report.report("config.reserialized", file, "the config was re-serialised: the image ID cannot be recovered", {
      expected: promised,
      actual
    })
  } else {
    report.report("config.digest-mismatch", file, `its ${Digest.algorithmOf(promised)} is not the one in its name`, {
      expected: promised,
      actual
    })
  }
}

const auditLayer = (
  store: Store,
  name: string,
  saved: DockerSave.SavedImage,
  diffId: string | undefined,
  index: number,
  otherType: string | undefined,
  statements: Array<string>,
  audit: LayerAudit,
  report: Collector
): BlobKey | undefined => {
  report.ran("layer.missing", "layer.unreadable")
  const entry = store.lookup(name)
  if (entry === undefined) {
    report.report("layer.missing", name, `layer ${index} of ${saved.subject} does not exist`)
    return undefined
  }
  if (entry.kind !== "file") {
    report.report("layer.unreadable", name, `layer ${index} of ${saved.subject} is no regular file`, {
      expected: "a tar",
      actual: entry.kind === "directory" ? "a directory" : entry.what
    })
    return undefined
  }
  const as = otherType === undefined ? "layer" : "blob"
  const key = audit.add({ subject: name, region: entry.region, as }, layerChecks)
  // A hybrid's blobs are named by what they hold; any other name of a layer promises nothing.
  const promised = Files.blobDigest(name)
  if (promised !== undefined) audit.digest(key, { value: promised, by: "its name" })
  if (otherType !== undefined) {
    // Encrypted layers and their like: containerd lists them for Docker all the same.
    if (diffId !== undefined && diffId !== promised)
      report.skip("layer.diff-id-mismatch", `${name} is of type ${otherType}, which is no layer's`)
    return undefined
  }
  if (diffId !== undefined && Digest.isDigest(diffId)) {
    const about = audit.diffId(key, { value: diffId, by: `layer ${index} of ${saved.config}`, own: true })
    if (about !== undefined) statements.push(about)
  }
  return key
}

/** One file cannot be two different layers: known damage of a tool that mapped every `{hex}.tar` to one name. */
const sharedPaths = (saved: DockerSave.SavedImage, diffIds: ReadonlyArray<string>, report: Collector): void => {
  report.ran("layer.shared-path")
  const byPath = new Map<string, Set<string>>()
  for (const [index, name] of (saved.layers ?? []).entries()) {
    const diffId = diffIds[index]
    if (diffId === undefined) continue
    const known = byPath.get(name)
    if (known === undefined) byPath.set(name, new Set([diffId]))
    else known.add(diffId)
  }
  for (const [name, different] of byPath) {
    if (different.size > 1) {
      report.report(
        "layer.shared-path",
        name,
        `${saved.subject} names this file for ${different.size} different layers`,
        {
          expected: "a file for each",
          actual: "one file"
        }
      )
    }
  }
}

/** Rule 90: a Parent is the ID of an image in the same manifest.json, on which the image stands by one step. */
export const parents = (images: ReadonlyArray<AuditedImage>, report: Collector): void => {
  report.ran("manifest.parent-missing", "manifest.bad-parent")
  const byId = new Map<string, AuditedImage>()
  for (const image of images) if (image.id !== undefined) byId.set(image.id, image)
  for (const { config, id, saved } of images) {
    if (saved.parent === undefined) continue
    const parent = byId.get(saved.parent)
    if (saved.parent === id || parent === undefined) {
      report.report("manifest.parent-missing", saved.subject, "its Parent is no other image of the same manifest", {
        expected: "the ID of an image here",
        actual: saved.parent.slice(0, 200)
      })
      continue
    }
    const [own, its] = [config?.steps, parent.config?.steps]
    // Images need not have a history (moby image/tarexport, checkValidParent).
    if (own === undefined || its === undefined || own - its === 1 || (own === 0 && its === 0)) continue
    report.report("manifest.bad-parent", saved.subject, "its Parent is not the image that it was built on", {
      expected: `a history of ${own} entries less one`,
      actual: `${its} in ${saved.parent}`
    })
  }
}

/** A name is that of one image, however often it is listed. */
export const duplicateNames = (images: ReadonlyArray<AuditedImage>, report: Collector): void => {
  report.ran("image.duplicate-name")
  const known = new Map<string, DockerSave.SavedImage>()
  const told = new Set<string>()
  for (const { saved } of images) {
    for (const name of saved.names) {
      const key = Reference.familiar(name)
      const first = known.get(key)
      if (first === undefined) known.set(key, saved)
      else if (!isSame(first, saved) && !told.has(key)) {
        told.add(key)
        report.report("image.duplicate-name", saved.subject, `${JSON.stringify(name.slice(0, 300))} names two images`, {
          expected: first.config,
          actual: saved.config
        })
      }
    }
  }
}

const isSame = (one: DockerSave.SavedImage, other: DockerSave.SavedImage): boolean =>
  one.config === other.config &&
  one.layers?.length === other.layers?.length &&
  (one.layers ?? []).every((name, index) => name === other.layers?.[index])
