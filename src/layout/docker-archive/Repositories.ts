/** docker-save's `repositories`: name to tag to the ID of the top layer (docker-image-spec v1.3; rule 91). */
import type { Collector } from "../../check/Collector.ts"
import * as Json from "../../image/Json.ts"
import * as Reference from "../../image/Reference.ts"
import type { Region } from "../../image/Region.ts"
import * as Document from "../Document.ts"
import type { Store } from "../Store.ts"
import * as Files from "./ArchiveFiles.ts"

/** One name and what it stands for. */
export interface RepositoryTag {
  /** `name:tag`. */
  readonly name: string
  readonly id: string
}

const checks: Document.DocumentChecks = {
  missing: "repositories.invalid-json",
  unreadable: "repositories.invalid-json",
  invalid: "repositories.invalid-json",
  duplicateKey: "repositories.duplicate-key"
}

const file = Files.repositoriesFile

/**
 * Every name in the file that has an ID; undefined when there is no such file or nothing can be made of it. Where
 * manifest.json says the names (`secondary`), a key that holds its tag as well is only odd: nothing loads by it.
 */
export const read = (store: Store, secondary: boolean, report: Collector): ReadonlyArray<RepositoryTag> | undefined => {
  if (store.lookup(file) === undefined) return undefined
  report.ran("repositories.wrong-type", "repositories.bad-name", "repositories.dangling")
  if (secondary) report.ran("repositories.name-with-tag")
  const document = Document.read(store, file, checks, report)
  if (document?.value === undefined) return undefined
  if (!Json.isObject(document.value)) {
    wrongType(report, "it is not an object", "an object", document.value)
    return undefined
  }
  const found: Array<RepositoryTag> = []
  for (const [repository, tags] of Object.entries(document.value)) {
    const whole = secondary && hasTag(repository)
    if (whole) {
      report.report("repositories.name-with-tag", file, `the name ${show(repository)} holds its tag`, {
        expected: "name to tag to ID",
        actual: show(repository)
      })
    } else if (!Reference.isRepository(repository)) badName(report, "the name", repository)
    if (!Json.isObject(tags)) {
      wrongType(report, `${show(repository)} is not an object of tags`, "an object", tags)
      continue
    }
    for (const [tag, id] of Object.entries(tags)) {
      if (!Reference.isTag(tag)) badName(report, `the tag of ${show(repository)}`, tag)
      if (typeof id !== "string" || !/^[a-f0-9]{64}$/.test(id)) {
        report.report("repositories.wrong-type", file, `the ID of ${show(`${repository}:${tag}`)} is none`, {
          expected: "64 hexadecimal digits",
          actual: typeof id === "string" ? show(id) : Json.typeName(id)
        })
        continue
      }
      found.push({ name: whole ? repository : `${repository}:${tag}`, id })
      if (!isThere(store, id)) {
        report.report(
          "repositories.dangling",
          file,
          `${show(`${repository}:${tag}`)} has an ID that nothing here has`,
          {
            expected: `${id}/json or blobs/sha256/${id}`,
            actual: "neither"
          }
        )
      }
    }
  }
  return found
}

/** `name:tag` where a name alone belongs. */
const hasTag = (repository: string): boolean => {
  const { name, tag } = Reference.split(repository)
  return (
    tag !== undefined && !Reference.isRepository(repository) && Reference.isRepository(name) && Reference.isTag(tag)
  )
}

const isThere = (store: Store, id: string): boolean =>
  store.lookup(id) !== undefined || store.lookup(`blobs/sha256/${id}`) !== undefined

/** The layer that an ID stands for, where the archive shows it. */
export const layerOf = (store: Store, id: string): Region | undefined => {
  for (const name of [`${id}/layer.tar`, `blobs/sha256/${id}`]) {
    const entry = store.lookup(name)
    if (entry?.kind === "file") return entry.region
  }
  return undefined
}

const wrongType = (report: Collector, message: string, expected: string, actual: unknown): void =>
  report.report("repositories.wrong-type", file, message, { expected, actual: Json.typeName(actual) })

const badName = (report: Collector, what: string, actual: string): void =>
  report.report("repositories.bad-name", file, `${what} is no valid one`, {
    expected: "name:tag",
    actual: show(actual)
  })

const show = (text: string): string => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)
