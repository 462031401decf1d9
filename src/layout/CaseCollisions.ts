/** Each name that a file system without case takes for one before it, with that one. */
export function* caseCollisions(names: Iterable<string>): Iterable<readonly [name: string, earlier: string]> {
  // Most names are in lower case, and there can be a million of them: only those that could collide are kept.
  const mixed = new Set<string>()
  const all = [...names]
  for (const name of all) {
    const folded = name.toLowerCase()
    if (folded !== name) mixed.add(folded)
  }
  if (mixed.size === 0) return
  const seen = new Map<string, string>()
  for (const name of all) {
    const folded = name.toLowerCase()
    if (!mixed.has(folded)) continue
    const earlier = seen.get(folded)
    if (earlier === undefined) seen.set(folded, name)
    else yield [name, earlier]
  }
}
