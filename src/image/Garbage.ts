/**
 * Documents that have been dealt with: V8 lets their bytes lie until its heap has grown to several times what is in use,
 * and buffers outside of its heap hardly count with it.
 */
import { createRequire } from "node:module"
import type * as V8 from "node:v8"
import type * as Vm from "node:vm"

/** Bytes of documents that may have become garbage before it is cleared away: a collection takes as long as a few of them. */
const maxGarbage = 12 * 1024 * 1024

let bytes = 0
let collect: (() => void) | undefined

/** `size` bytes of documents are about to be taken in; what was before them may have to go first. */
export const make = (size: number): void => {
  if (bytes + size > maxGarbage && bytes > 0) {
    collect ??= load()
    collect()
    bytes = 0
  }
  bytes += size
}

const load = (): (() => void) => {
  const require = createRequire(import.meta.url)
  const v8 = require("node:v8") as typeof V8
  const vm = require("node:vm") as typeof Vm
  v8.setFlagsFromString("--expose-gc")
  return vm.runInNewContext("gc") as () => void
}
