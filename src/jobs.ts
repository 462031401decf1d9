/** The jobs of threads that few runs need, by kind: each is loaded when it is asked for. */
import type { AnyJob } from "./content/Job.ts"

export const jobs: Readonly<Record<string, () => Promise<AnyJob>>> = {
  compress: async () => (await import("./content/Compress.ts")).job,
  rewrite: async () => (await import("./content/Rewrite.ts")).job,
  locate: async () => (await import("./content/Locate.ts")).job,
  search: async () => (await import("./filter/SearchLayer.ts")).job,
  inspection: async () => (await import("./filter/Inspection.ts")).job,
  diff: async () => (await import("./filter/Diff.ts")).job,
  apply: async () => (await import("./filter/ApplyLayers.ts")).job,
  flatten: async () => (await import("./filter/FlattenLayers.ts")).job,
  "rootfs.scan-files": async () => (await import("./rootfs/ScanFiles.ts")).scanJob,
  "rootfs.settle-files": async () => (await import("./rootfs/SettleFiles.ts")).settleJob,
  "rootfs.write-files": async () => (await import("./rootfs/WriteFiles.ts")).writeJob
}
