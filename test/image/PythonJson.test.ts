import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PythonJson from "../../src/image/PythonJson.ts"
import { peerTest, run } from "../peers/Peers.ts"

/** Without numbers that are no integers: Python and JavaScript show some of them differently. */
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme" }),
    fc.array(tie("any"), { maxLength: 4 }),
    fc.dictionary(
      fc.string({ unit: "binary" }).filter((key) => key !== "__proto__"),
      tie("any"),
      { maxKeys: 4 }
    )
  )
})).any

describe("the form of Python's json.dumps(indent=4, sort_keys=True)", () => {
  it("has sorted keys, an indentation of four, and ASCII only", () => {
    assert.strictEqual(
      PythonJson.stringify({ b: [1, { z: null, a: [] }], a: {}, "\u00e9": "\u{1f41f}\u007f\n" }),
      `{
    "a": {},
    "b": [
        1,
        {
            "a": [],
            "z": null
        }
    ],
    "\\u00e9": "\\ud83d\\udc1f\\u007f\\n"
}`
    )
  })

  it("is JSON of the same value", () => {
    fc.assert(
      fc.property(value, (one) => {
        const text = PythonJson.stringify(one)
        assert.match(text, /^[\x20-\x7e\n]*$/)
        assert.deepStrictEqual(JSON.parse(text), JSON.parse(JSON.stringify(one)))
      })
    )
  })

  peerTest(["python3"], "is what Python writes, byte for byte", () => {
    const values = fc.sample(value, { numRuns: 300, seed: 7 })
    const script =
      "import json, sys\nprint('\\0'.join(json.dumps(v, indent=4, sort_keys=True) for v in json.load(sys.stdin)), end='')"
    const written = run("python3", ["-c", script], { input: JSON.stringify(values) }).stdout.split("\0")
    assert.strictEqual(written.length, values.length)
    for (const [index, one] of values.entries()) assert.strictEqual(PythonJson.stringify(one), written[index])
  })

  it("tells a document that was written so from one that was not", () => {
    const one = { b: 1, a: "\u00e9" }
    const text = PythonJson.stringify(one)
    assert.isTrue(PythonJson.isReserialized(Buffer.from(text), one))
    assert.isTrue(PythonJson.isReserialized(Buffer.from(`${text}\n`), one))
    assert.isFalse(PythonJson.isReserialized(Buffer.from(JSON.stringify(one)), one))
    assert.isFalse(PythonJson.isReserialized(Buffer.from(text.replace("1", "2")), one))
    assert.isFalse(PythonJson.isReserialized(Buffer.from(` ${text}`), one))
  })
})
