import { assert, describe, it } from "@effect/vitest"
import * as Summary from "../../src/pipeline/Summary.ts"

const one = {
  images: 1,
  succeeded: 1,
  layers: 5,
  bytes: 80_845_210,
  seconds: 0.42,
  verified: 1,
  artifacts: 0,
  verifyErrors: 0
}

describe("the summary", () => {
  it("has the form that scripts read", () => {
    assert.strictEqual(Summary.format(one), "Summary: 1/1 images, 5 layers, 77.1 MB, 0.4s, verified OK")
    assert.strictEqual(
      Summary.format({ ...one, verified: 0, verifyErrors: 2 }),
      "Summary: 1/1 images, 5 layers, 77.1 MB, 0.4s, 2 verify errors"
    )
    assert.strictEqual(Summary.format({ ...one, verified: undefined }), "Summary: 1/1 images, 5 layers, 77.1 MB, 0.4s")
    const many = {
      images: 47,
      artifacts: 0,
      succeeded: 47,
      layers: 312,
      bytes: 4_509_715_661,
      seconds: 38.08,
      verified: 47,
      verifyErrors: 0
    }
    assert.strictEqual(Summary.format(many), "Summary: 47/47 images, 312 layers, 4.2 GB, 38.1s, 47/47 verified")
    assert.strictEqual(
      Summary.format({ ...many, verified: 45, verifyErrors: 2 }),
      "Summary: 47/47 images, 312 layers, 4.2 GB, 38.1s, 45/47 verified, 2 verify errors"
    )
  })

  it("says what was copied besides images", () => {
    assert.strictEqual(
      Summary.format({ ...one, images: 3, succeeded: 3, artifacts: 2, verified: 3 }),
      "Summary: 3/3 images, 2 artifacts, 5 layers, 77.1 MB, 0.4s, 3/3 verified"
    )
  })

  it("says one of what there is one of", () => {
    assert.strictEqual(
      Summary.format({ ...one, layers: 1, verified: 0, verifyErrors: 1 }),
      "Summary: 1/1 images, 1 layer, 77.1 MB, 0.4s, 1 verify error"
    )
  })

  it("shows sizes in powers of 1024", () => {
    for (const [bytes, text] of [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1.0 KB"],
      [1536, "1.5 KB"],
      [1024 ** 2, "1.0 MB"],
      [1024 ** 3 * 2.25, "2.3 GB"],
      [1024 ** 4, "1.0 TB"],
      [1024 ** 5, "1024.0 TB"]
    ] as const)
      assert.strictEqual(Summary.formatSize(bytes), text)
  })
})
