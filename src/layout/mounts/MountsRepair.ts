/** What of a directory of mounts has to be written again, given a right copy of its image: its layers, file by file. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { Collector } from "../../check/Collector.ts"
import type * as Image from "../../image/Image.ts"
import { FileTree, impliedDirectory } from "../../rootfs/FileTree.ts"
import * as Mtree from "../../rootfs/Mtree.ts"
import * as DirectoryStore from "../DirectoryStore.ts"
import * as Document from "../Document.ts"
import * as DockerSave from "../docker-archive/DockerSave.ts"
import { describe } from "../Failure.ts"
import * as ProvedTree from "../ProvedTree.ts"
import * as Receipt from "../Receipt.ts"
import type * as Restore from "../Restore.ts"
import { configFiles, streamed } from "../runtime-bundle/BundleConfig.ts"
import { readSmall, type Store } from "../Store.ts"
import { hardlinksOf } from "../TreeManifest.ts"
import * as UnpackedRepair from "../UnpackedRepair.ts"
import { keptProblems } from "../UnpackImage.ts"
import * as LayerTrees from "./LayerTrees.ts"
import * as Files from "./MountsFiles.ts"
import * as Overlay from "./Overlay.ts"

/** What the mount itself needs; what containers put there is theirs. */
const scaffold = [Files.rootfs, Files.working, Files.delta].map(
  (directory): UnpackedRepair.TreePlace => ({ directory, manifest: undefined, onlyThere: true })
)

/** The mounts at `root`, as they should be of `image`. */
export const formOf = (root: string, image: Image.Image): UnpackedRepair.Form => {
  const store = DirectoryStore.make(root)
  const { receipt } = UnpackedRepair.identify(root)
  const saved = savedIn(store)
  const names = receipt?.names ?? saved?.names ?? image.names
  // The older tool names the tars that it has unpacked, and has no manifests of what came of them.
  const ours = receipt !== undefined || saved?.layers?.some((name) => name.endsWith(".tar")) !== true
  let marks: Overlay.Marks = "trusted"
  return {
    layout: "mounts",
    ours,
    places: [...scaffold, ...(saved?.layers ?? []).map((directory) => placeOf(directory))],
    keys: ours ? [Files.manifest] : [],
    names,
    read: Effect.gen(function* () {
      const gathered = {
        trusted: LayerTrees.gather(image, "trusted.overlay."),
        user: LayerTrees.gather(image, "user.overlay.")
      }
      const proved = yield* ProvedTree.prove(image, "cannot use", (whole, layer) => {
        for (const { onLayer } of Object.values(gathered)) onLayer(whole, layer)
      })
      marks = marksIn(store, receipt, gathered)
      const layers = gathered[marks].trees
      const configs = yield* configFiles(image, proved.tree, proved.inputs, streamed)
      const directories = layers.map(({ directory }) => directory)
      return {
        proved,
        trees: [
          ...scaffold.map((place) => ({
            ...place,
            // The root that is seen is the upper directory's.
            tree: new FileTree({ root: place.directory === Files.delta ? proved.tree.root.inode : impliedDirectory() })
          })),
          ...layers.map((one) => ({ ...one, ...placeOf(one.directory) }))
        ],
        documents: new Map([
          ...configs.map(({ bytes, file }) => [file.path, bytes] as const),
          ...(ours ? [[Files.manifest, LayerTrees.manifestBytes(names, directories)] as const] : [])
        ])
      }
    }),
    obstacle: () => mountedOn(root),
    details: ({ proved: { layers }, trees }, outcomeOf) => {
      const own = trees.filter(({ manifest }) => manifest !== undefined)
      const hardlinks = own.map(({ directory, tree }) => [directory, hardlinksOf(tree)] as const)
      return {
        layers: image.layers.map(({ diffId }, index) => ({ diffId, size: layers[index]!.size })),
        marks,
        entries: Object.fromEntries(
          own.map(({ directory, tree }) => [directory, tree.names - outcomeOf(directory).lost])
        ),
        hardlinks: Object.fromEntries(hardlinks.filter(([, groups]) => groups.length > 0)),
        problems: keptProblems(image, layers),
        unrestored: own.flatMap(({ directory }) =>
          outcomeOf(directory).unrestored.map((one) => ({ ...one, layer: directory }))
        )
      }
    }
  }
}

const placeOf = (directory: string): UnpackedRepair.TreePlace => ({
  directory,
  manifest: Files.manifestOf(directory)
})

/** What manifest.json says; undefined when that cannot be relied on. */
const savedIn = (store: Store): DockerSave.SavedImage | undefined => {
  const report = new Collector()
  const document = Document.read(store, Files.manifest, Document.manifestChecks, report)
  const [saved] = document === undefined ? [] : DockerSave.readManifest(document, Files.manifest, report)
  return report.results().hasErrors ? undefined : saved
}

/**
 * What the layers were marked for when they were written: manifests with just these marks are recorded, or there. Where
 * nothing tells, it is what who repairs would mark them for.
 */
const marksIn = (
  store: Store,
  receipt: Receipt.Receipt | undefined,
  gathered: Readonly<Record<Overlay.Marks, LayerTrees.Gathering>>
): Overlay.Marks => {
  const digestOf = (file: string): string | undefined => {
    const recorded = receipt?.files.find((one) => one.path === file)
    if (recorded !== undefined) return recorded.sha256
    const raw = readSmall(store, file)
    return raw === undefined ? undefined : Receipt.fileOf(file, raw).sha256
  }
  const known = ({ trees }: LayerTrees.Gathering): number =>
    trees.filter(({ directory, tree }) => {
      const file = Files.manifestOf(directory)
      return digestOf(file) === Receipt.fileOf(file, Buffer.concat([...Mtree.write(tree)])).sha256
    }).length
  const [trusted, user] = [known(gathered.trusted), known(gathered.user)]
  return (trusted === user ? (process.geteuid?.() ?? 0) !== 0 : user > trusted) ? "user" : "trusted"
}

/** What an overlay shows after its lower directories have changed is undefined (overlayfs.rst). */
const mountedOn = (root: string): Restore.Change | undefined => {
  try {
    const mount = Overlay.mountOf(fs.realpathSync(root))
    if (mount === undefined) return undefined
    const own = mount.place === path.join(fs.realpathSync(root), Files.rootfs)
    return {
      path: Files.rootfs,
      reason: `the layers are mounted${own ? "" : ` on ${mount.place}`}, and must not be changed meanwhile: ${own ? `tallyman unmount ${root}` : "unmount it"} first`
    }
  } catch (cause) {
    return { path: Files.rootfs, reason: `what is mounted cannot be told: ${describe(cause)}` }
  }
}
