/**
 * Work cut into slices for several threads: each an eighth of what is left, so that messages are few and all threads end
 * at nearly the same time, until that is less than looking at two thousand files.
 */
export const slices = <A>(work: ReadonlyArray<A>, cost: (one: A) => number): ReadonlyArray<ReadonlyArray<A>> => {
  let left = work.reduce((sum, one) => sum + cost(one), 0)
  const found: Array<ReadonlyArray<A>> = []
  for (let from = 0; from < work.length; ) {
    const most = Math.max(left / 8, smallest)
    let to = from
    let held = 0
    do held += cost(work[to++]!)
    while (to < work.length && held + cost(work[to]!) <= most)
    found.push(work.slice(from, to))
    left -= held
    from = to
  }
  return found
}

const smallest = 16 * 1024 * 1024
