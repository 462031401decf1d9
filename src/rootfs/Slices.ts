/**
 * Work cut into slices for several threads: each an eighth of what is left, so that messages are few and all threads end
 * at nearly the same time, until that is less than looking at two thousand files.
 */
export const slices = <A>(
  work: ReadonlyArray<A>,
  cost: (one: A, index: number) => number
): ReadonlyArray<ReadonlyArray<A>> => {
  const costs = work.map(cost)
  let left = costs.reduce((sum, one) => sum + one, 0)
  const found: Array<ReadonlyArray<A>> = []
  for (let from = 0; from < work.length; ) {
    const most = Math.max(left / 8, smallest)
    let to = from
    let held = 0
    do held += costs[to++]!
    while (to < work.length && held + costs[to]! <= most)
    found.push(work.slice(from, to))
    left -= held
    from = to
  }
  return found
}

const smallest = 16 * 1024 * 1024
