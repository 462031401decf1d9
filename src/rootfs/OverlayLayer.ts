/**
 * One layer alone in overlayfs's own form, as an upper or lower directory of an overlay mount: whiteouts as 0:0 character
 * devices, directories that hide what is below as marked by an attribute (kernel documentation, overlayfs.rst "whiteouts
 * and opaque directories"). All layers so unpacked and mounted on each other show the tree that `ApplyLayer` makes.
 */
import type { ByteString } from "../content/ByteString.ts"
import type { AppliedLayer } from "./ApplyLayer.ts"
import { FileTree, Inode, isImplied, TreeNode } from "./FileTree.ts"

/** `user.overlay.` is what the kernel reads in mounts made with `userxattr`, and fuse-overlayfs without root. */
export type OverlayNamespace = "trusted.overlay." | "user.overlay."

/**
 * The layer `applied` as a tree of its own. `tree` is the image's as it was right after that layer was applied, and is not
 * changed. What the layer does not say of directories on the way to its entries is as the layers below have it: overlay
 * shows the uppermost directory's attributes.
 *
 * A hardlink to a lower layer's file cannot be one here: it becomes a file of its own, whose content is still that
 * layer's (`Inode.layer`).
 */
export const overlayLayer = (tree: FileTree, applied: AppliedLayer, namespace: OverlayNamespace): FileTree => {
  const { layer } = applied
  const root = directoryOf(tree.root, layer, undefined, namespace)
  const result = new FileTree({ root, maxNames: Infinity })
  const inodes = new Map<Inode, Inode>()
  /** Directories of the image's tree, and what stands for them here. */
  const made = new Map<TreeNode, TreeNode>([[tree.root, result.root]])
  /** Not the root, which overlay merges all the same: what it hides is told name by name. */
  const opaque = new Set(applied.opaque.filter((node) => node !== tree.root))
  const hidden = new Set<TreeNode>()

  const add = (parent: TreeNode, name: ByteString, inode: Inode): TreeNode => {
    if (inode.type === "directory") inode.nlink = 1
    else inode.nlink++
    const node = new TreeNode(name, parent, inode, layer)
    parent.children!.set(name, node)
    result.names++
    return node
  }

  /** The directory here that stands for one of the image's, made with all above it. */
  const directory = (node: TreeNode): TreeNode => {
    const known = made.get(node)
    if (known !== undefined) return known
    const parent = directory(node.parent!)
    const here = add(parent, node.name, directoryOf(node, layer, undefined, namespace))
    made.set(node, here)
    return here
  }

  const attached = (node: TreeNode): boolean => {
    for (let at = node; at.parent !== undefined; at = at.parent) {
      if (at.parent.children?.get(at.name) !== at) return false
    }
    return true
  }

  const whiteouts: Array<readonly [TreeNode, ByteString]> = []
  for (const [parent, name] of applied.hidden) {
    if (!attached(parent)) continue
    const now = parent.children!.get(name)
    // What the layer puts there itself hides what was there, except for a directory, which overlay would merge.
    if (now === undefined) whiteouts.push([parent, name])
    else if (now.children !== undefined) hidden.add(now)
  }

  const stack: Array<TreeNode> = [tree.root]
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const here = made.get(at)!
    for (const child of at.children!.values()) {
      if (child.layer !== layer) continue
      if (child.children === undefined) {
        const known = inodes.get(child.inode)
        const inode = known ?? copyOf(child.inode)
        if (known === undefined) inodes.set(child.inode, inode)
        add(here, child.name, inode)
        continue
      }
      made.set(child, add(here, child.name, directoryOf(child, layer, undefined, namespace)))
      stack.push(child)
    }
  }
  for (const node of [...opaque, ...hidden]) {
    if (!attached(node)) continue
    const here = directory(node)
    here.inode = directoryOf(node, layer, "y", namespace)
    here.inode.nlink = 1
  }
  const isHiding = (node: TreeNode | undefined): boolean =>
    node !== undefined && (opaque.has(node) || hidden.has(node) || isHiding(node.parent))
  for (const [parent, name] of whiteouts) {
    // Overlay shows the device itself in a directory that has nothing below it.
    if (isHiding(parent)) continue
    const inode = new Inode("char", 0, 0, 0, 0, 0)
    inode.layer = layer
    add(directory(parent), name, inode)
  }
  return result
}

const copyOf = (from: Inode): Inode => {
  const inode = new Inode(from.type, from.mode, from.uid, from.gid, from.mtimeSeconds, from.mtimeNanoseconds)
  inode.size = from.size
  inode.layer = from.layer
  inode.entry = from.entry
  inode.dataOffset = from.dataOffset
  inode.dataSize = from.dataSize
  inode.sparse = from.sparse
  inode.link = from.link
  inode.devmajor = from.devmajor
  inode.devminor = from.devminor
  inode.xattrs = from.xattrs
  inode.sha256 = from.sha256
  return inode
}

const directoryOf = (node: TreeNode, layer: number, opaque: string | undefined, namespace: OverlayNamespace): Inode => {
  const inode = copyOf(node.inode)
  // Known from below, but not told by this layer.
  if (!isImplied(inode)) inode.layer = layer
  inode.nlink = 1
  if (opaque !== undefined) inode.xattrs = new Map([...(inode.xattrs ?? []), [`${namespace}opaque`, opaque]])
  return inode
}
