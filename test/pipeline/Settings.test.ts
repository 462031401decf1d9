import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Settings from "../../src/pipeline/Settings.ts"
import * as Workbench from "../fault/Workbench.ts"

describe("a settings file", () => {
  const load = (text: string) =>
    Effect.scoped(
      Effect.gen(function* () {
        const config = `${yield* Workbench.scratch}/tallyman.json`
        fs.writeFileSync(config, text)
        return yield* Settings.load({ config, severity: ["tar.no-end=info"] }).pipe(
          Effect.mapError(({ message }) => message.replace(config, "FILE"))
        )
      })
    )

  it.effect("sets severities and limits, below what flags say", () =>
    Effect.gen(function* () {
      const { limits, policy } = yield* load(
        '{"profile": "strict", "severity": {"tar.no-end": "ignore", "layer.missing": "warning"}, "max-unpacked": "2K", "max-ratio": 7}'
      )
      assert.deepStrictEqual(limits, { maxOutput: 2048, maxRatio: 7 })
      assert.strictEqual(policy["tar.no-end"], "info")
      assert.strictEqual(policy["layer.missing"], "warning")
      assert.strictEqual(policy["tar.path-absolute"], "error")
    })
  )

  it.effect("says in one line what is wrong with it", () =>
    Effect.gen(function* () {
      for (const [text, message] of [
        ["[]", 'cannot use --config "FILE": expected an object, found an array'],
        [
          '{"profile": "x"}',
          'cannot use --config "FILE": profile: expected "default" or "strict" or "docker" or "occystrap", found "x"'
        ],
        [
          '{"severity": {"layer.missing": "bad"}}',
          'cannot use --config "FILE": severity.layer.missing: expected "error" or "warning" or "info" or "ignore", found "bad"'
        ],
        ['{"max-ratio": 0}', 'cannot use --config "FILE": max-ratio: expected a positive number, found 0'],
        [
          '{"severitys": {}}',
          'cannot use --config "FILE": severitys: is unexpected, expected: "$schema" | "profile" | "severity" | "max-unpacked" | "max-ratio" | "max-json" | "max-json-values" | "max-members" | "max-findings"'
        ]
      ] as const) {
        assert.strictEqual(yield* Effect.flip(load(text)), message)
      }
    })
  )
})
