// What two threads take that do nothing but hash a plain layer, hash its files and make them: node unpack.mjs LAYER ROOT
// Only for ustar headers without extensions, as the benchmarks' own layers have them.
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"

const block = 512
const share = 1000

if (isMainThread) {
  const [layer, root] = process.argv.slice(2)
  const start = (first) => new Worker(new URL(import.meta.url), { workerData: { layer, root, first } })
  const first = start(true)
  const fd = fs.openSync(layer)
  const header = Buffer.alloc(block)
  const [names, offsets, sizes] = [[], [], []]
  for (let at = 0; fs.readSync(fd, header, 0, block, at) === block && header[0] !== 0; ) {
    const name = header.latin1Slice(0, header.indexOf(0))
    const size = Number.parseInt(header.latin1Slice(124, 135), 8)
    if (name.endsWith("/")) fs.mkdirSync(`${root}/${name}`, { recursive: true })
    else {
      names.push(name)
      offsets.push(at + block)
      sizes.push(size)
    }
    at += block + Math.ceil(size / block) * block
  }
  const task = { names, offsets, sizes, next: new Int32Array(new SharedArrayBuffer(4)) }
  for (const worker of [first, start(false)]) worker.postMessage(task)
} else {
  const { first, layer, root } = workerData
  const buffer = Buffer.allocUnsafeSlow(256 * 1024)
  const fd = fs.openSync(layer)
  if (first) {
    const hash = crypto.createHash("sha256")
    for (let read = -1; read !== 0; ) {
      read = fs.readSync(fd, buffer, 0, buffer.length, null)
      hash.update(buffer.subarray(0, read))
    }
    hash.digest()
  }
  parentPort.once("message", ({ names, next, offsets, sizes }) => {
    let [from, to] = [0, 0]
    for (let index = Atomics.add(next, 0, share); index < names.length; index = Atomics.add(next, 0, share)) {
      for (let at = index; at < Math.min(index + share, names.length); at++) {
        const [offset, size] = [offsets[at], sizes[at]]
        if (offset < from || offset + size > to) {
          from = offset
          to = offset + fs.readSync(fd, buffer, 0, buffer.length, offset)
        }
        const body = buffer.subarray(offset - from, offset - from + size)
        crypto.createHash("sha256").update(body).digest("hex")
        const file = fs.openSync(`${root}/${names[at]}`, "wx", 0o644)
        fs.writeSync(file, body)
        fs.futimesSync(file, 1_600_000_000, 1_600_000_000)
        fs.closeSync(file)
      }
    }
  })
}
