import * as Facts from "../content/LayerScan.ts"
import { type PathTree, root } from "../content/PathTree.ts"

/** What stands at a path: `behind-symlink` when names alone cannot tell. */
export type Shown = "directory" | "symlink" | "other" | "behind-symlink"

/** A hundred layers with as many whiteouts each as large ones have take a fifth of it. */
const defaultSteps = 200_000_000

/** Whether lower layers can show nothing below it. */
const covers = (marks: number): boolean =>
  (marks & (Facts.whiteout | Facts.opaque)) !== 0 || (marks & (Facts.isEntry | Facts.isDirectory)) === Facts.isEntry

/** A path that has a directory's entry as well counts as one. */
const isLink = (marks: number): boolean => (marks & (Facts.isSymlink | Facts.isDirectory)) === Facts.isSymlink

/** Answers what a stack of layers shows at a path, from the tables that one pass over each layer gave. */
export class LayerPaths {
  readonly #maxSteps: number
  /** Of the path that was asked for, from itself up. */
  readonly #records: Array<number> = []
  #steps = 0

  constructor(maxSteps = defaultSteps) {
    this.#maxSteps = maxSteps
  }

  /** Whether more has been asked than there is time for: answers mean nothing from then on. */
  get exhausted(): boolean {
    return this.#steps > this.#maxSteps
  }

  /** What the path of `record` of `tree` is when `layers` (base first) are applied (layer.md); undefined: nothing. */
  shown(tree: PathTree, record: number, layers: ReadonlyArray<PathTree>): Shown | undefined {
    const records = this.#records
    records.length = 0
    for (let id = record; id !== root; id = tree.directory(id)) records.push(id)
    for (let index = layers.length - 1; index >= 0; index--) {
      if (this.exhausted) return undefined
      const layer = layers[index]!
      let node: number | undefined = root
      /** Of the nearest directory above that covers what lower layers have there. */
      let cover = 0
      for (let left = records.length - 1; left >= 0 && node !== undefined; left--) {
        const marks = layer.marks(node)
        if (covers(marks)) cover = marks
        this.#steps++
        node = layer.child(node, tree, records[left]!)
      }
      if (node !== undefined) {
        const marks = layer.marks(node)
        if (node === root || (marks & (Facts.isDirectory | Facts.hasEntries)) !== 0) return "directory"
        if ((marks & Facts.isEntry) !== 0) return isLink(marks) ? "symlink" : "other"
        if ((marks & Facts.whiteout) !== 0) return undefined
      }
      if (cover !== 0) return isLink(cover) ? "behind-symlink" : undefined
    }
    return undefined
  }
}
