import * as fc from "fast-check"

/**
 * Property tests try the same cases at every run, so that a run says something of the change at hand alone.
 * `TEST_SEED=random` looks for new ones, and `TEST_SEED=N` repeats those that a failure printed the seed of.
 */
const seed = process.env["TEST_SEED"]
if (seed !== "random") fc.configureGlobal({ seed: seed === undefined ? 1 : Number(seed) })
