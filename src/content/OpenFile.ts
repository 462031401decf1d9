import * as fs from "node:fs"

/** Opens for reading without following a link and without waiting for the other end of a FIFO. */
export const openForRead = (path: string): number =>
  fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
