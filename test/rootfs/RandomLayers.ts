/** Random layers over few names, so that their entries meet. */
import * as fc from "fast-check"
import { apply, device, dir, fifo, file, hardlink, type Member, opaque, symlink, whiteout } from "./Layers.ts"

const names = ["a", "b", "ab"]
const at = fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"))
const prefixed = fc.tuple(fc.constantFrom("", "./", "/"), at).map(([prefix, name]) => prefix + name)
const attributes = fc.record({
  mode: fc.constantFrom(0o644, 0o755, 0o4711, 0o2755, 0o1777, 0o400, 0),
  uid: fc.constantFrom(0, 1, 65534),
  gid: fc.constantFrom(0, 5),
  mtimeSeconds: fc.constantFrom(1, 1_600_000_000),
  mtimeNanoseconds: fc.constantFrom(0, 1, 987_654_321)
})

export const member: fc.Arbitrary<Member> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(prefixed, fc.string({ maxLength: 5 }), attributes)
      .map(([name, body, more]) => file(name, body, more))
  },
  { weight: 4, arbitrary: fc.tuple(prefixed, attributes).map(([name, more]) => dir(`${name}/`, more)) },
  { weight: 2, arbitrary: fc.tuple(prefixed, at).map(([name, target]) => symlink(name, target)) },
  { weight: 2, arbitrary: fc.tuple(at, prefixed).map(([name, target]) => hardlink(name, target)) },
  { weight: 2, arbitrary: at.map(whiteout) },
  { weight: 1, arbitrary: fc.oneof({ weight: 5, arbitrary: at }, fc.constant(".")).map(opaque) },
  { weight: 1, arbitrary: at.map((name) => device(name, 1, 3)) },
  { weight: 1, arbitrary: at.map((name) => fifo(name)) }
)

/** On which every tool fails that puts all layers into one directory. */
export const faults: ReadonlySet<string> = new Set([
  "rootfs.path-through-file",
  "rootfs.path-unusable",
  "rootfs.hardlink-missing-target",
  "rootfs.hardlink-bad-target"
])

/** The layers without the entries that we report as faults. */
export const withoutFaults = (layers: ReadonlyArray<ReadonlyArray<Member>>): ReadonlyArray<ReadonlyArray<Member>> => {
  for (let current = layers; ; ) {
    const found = apply(current)
      .layers.flatMap(({ problems }) => problems)
      .filter(({ check }) => faults.has(check))
    if (found.length === 0) return current
    current = current.map((members, layer) =>
      members.filter((one) => !found.some((problem) => problem.layer === layer && problem.path === one.path))
    )
  }
}
