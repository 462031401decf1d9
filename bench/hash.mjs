// Hashes files in two bare threads: node bench/hash.mjs FILE... Nothing that Node.js hashes with can take less time.
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import { isMainThread, parentPort, Worker } from "node:worker_threads"

if (isMainThread) {
  const files = process.argv.slice(2).sort((a, b) => fs.statSync(b).size - fs.statSync(a).size)
  for (let index = 0; index < 2; index++) {
    const worker = new Worker(new URL(import.meta.url))
    const next = () => {
      const file = files.shift()
      if (file === undefined) worker.unref()
      else worker.postMessage(file)
    }
    worker.on("message", (line) => {
      console.log(line)
      next()
    })
    next()
  }
} else {
  const buffer = Buffer.allocUnsafeSlow(256 * 1024)
  parentPort.on("message", (file) => {
    const fd = fs.openSync(file)
    const hash = crypto.createHash("sha256")
    for (let read = -1; read !== 0; ) {
      read = fs.readSync(fd, buffer)
      hash.update(buffer.subarray(0, read))
    }
    fs.closeSync(fd)
    parentPort.postMessage(`${hash.digest("hex")}  ${file}`)
  })
}
