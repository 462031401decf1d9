/**
 * Work cut into slices for several threads: each an eighth of what is left, so that messages are few and all threads end
 * at nearly the same time, until that is less than looking at two thousand files. Answers where each of `count` pieces of
 * work ends.
 */
export const slices = (count: number, cost: (index: number) => number): ReadonlyArray<number> => {
  let left = 0
  for (let index = 0; index < count; index++) left += cost(index)
  const ends: Array<number> = []
  for (let at = 0; at < count; ) {
    const most = Math.max(left / 8, smallest)
    let held = cost(at++)
    for (let next = 0; at < count && held + (next = cost(at)) <= most; at++) held += next
    ends.push(at)
    left -= held
  }
  return ends
}

const smallest = 16 * 1024 * 1024
