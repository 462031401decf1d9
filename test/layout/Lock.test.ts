import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { WriteError } from "../../src/layout/Failure.ts"
import * as Journal from "../../src/layout/Journal.ts"
import * as Lock from "../../src/layout/Lock.ts"
import * as Workbench from "../fault/Workbench.ts"

const lockIn = (directory: string): string => path.join(directory, ".tallyman-lock")

/** A holder that is gone. */
const dead = (): string =>
  JSON.stringify({ ...(JSON.parse(Buffer.from(Journal.describeSelf("x")).toString()) as object), pid: 2 ** 30 })

describe("the lock of a directory", () => {
  it.scopedLive("lets one in at a time", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      let inside = 0
      let most = 0
      yield* Effect.all(
        Array.from({ length: 8 }, () =>
          Lock.withLock(
            directory,
            Effect.gen(function* () {
              most = Math.max(most, ++inside)
              yield* Effect.sleep("5 millis")
              inside--
            })
          )
        ),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(most, 1)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    })
  )

  it.scopedLive("is let go of by what fails, and by what is interrupted", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      assert.strictEqual(yield* Effect.flip(Lock.withLock(directory, Effect.fail("no"))), "no")
      const fiber = yield* Effect.fork(Lock.withLock(directory, Effect.never))
      while (!fs.existsSync(lockIn(directory))) yield* Effect.sleep("1 millis")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    })
  )

  it.scopedLive("is taken from a process that is gone, by one of all that want it", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(lockIn(directory), dead())
      let inside = 0
      const each = Lock.withLock(
        directory,
        Effect.gen(function* () {
          assert.strictEqual(++inside, 1)
          yield* Effect.sleep("2 millis")
          inside--
        })
      )
      yield* Effect.all(
        Array.from({ length: 6 }, () => each),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    })
  )

  it.scopedLive("is taken when it has said nothing for some seconds", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(lockIn(directory), "")
      const past = new Date(Date.now() - 60_000)
      fs.utimesSync(lockIn(directory), past, past)
      assert.strictEqual(yield* Lock.withLock(directory, Effect.succeed("in"), 2), "in")
    })
  )

  it.scopedLive("is waited for, and then given up with the holder's name", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      fs.writeFileSync(lockIn(directory), Journal.describeSelf("x"))
      const error = yield* Effect.flip(Lock.withLock(directory, Effect.void, 0.2))
      assert.instanceOf(error, WriteError)
      assert.strictEqual(error.reason, "Locked")
      assert.include(error.message, `process ${process.pid}`)
      assert.isTrue(fs.existsSync(lockIn(directory)), "it was another's")
    })
  )

  it.scopedLive("cannot be had in a directory that is not there", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const error = yield* Effect.flip(Lock.withLock(path.join(directory, "gone"), Effect.void, 1))
      assert.deepInclude(error, { _tag: "WriteError", reason: "Unwritable" })
    })
  )

  it("is known by its name", () => {
    assert.isTrue(Lock.isLock(".tallyman-lock"))
    assert.isTrue(Lock.isLock(".tallyman-lock-break"))
    assert.isFalse(Lock.isLock("manifest.json"))
  })
})
