import { assert, describe, it } from "@effect/vitest"
import * as Platform from "../../src/image/Platform.ts"

describe("a platform", () => {
  it("is written OS/ARCHITECTURE[/VARIANT], in several spellings", () => {
    for (const [text, shown] of [
      ["linux/amd64", "linux/amd64"],
      ["Linux/AMD64", "linux/amd64"],
      ["linux/x86_64", "linux/amd64"],
      ["linux/aarch64", "linux/arm64"],
      ["linux/arm64/v8", "linux/arm64"],
      ["linux/arm/v7", "linux/arm"],
      ["linux/arm/7", "linux/arm"],
      ["linux/armhf", "linux/arm"],
      ["linux/arm/6", "linux/arm/v6"],
      ["linux/armel", "linux/arm/v6"],
      ["linux/amd64/v3", "linux/amd64/v3"],
      ["windows/amd64", "windows/amd64"],
      ["linux/i686", "linux/386"],
      ["linux/riscv64", "linux/riscv64"]
    ] as const)
      assert.strictEqual(Platform.show(Platform.parse(text)!), shown, text)
    for (const bad of ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux//v8"]) {
      assert.isUndefined(Platform.parse(bad), bad)
    }
  })

  it("matches what is asked for, part by part", () => {
    const arm = { os: "linux", architecture: "arm64", variant: "v8" }
    for (const wanted of [
      {},
      { os: "linux" },
      { architecture: "aarch64" },
      { architecture: "arm64", variant: "v8" },
      { variant: "8", architecture: "arm64" },
      { os: "Linux", architecture: "ARM64" }
    ])
      assert.isTrue(Platform.matches(wanted, arm), JSON.stringify(wanted))
    for (const wanted of [{ os: "windows" }, { architecture: "arm" }, { architecture: "arm64", variant: "v9" }]) {
      assert.isFalse(Platform.matches(wanted, arm), JSON.stringify(wanted))
    }
    // The default variant may be said on one side only.
    assert.isTrue(Platform.matches({ architecture: "arm", variant: "v7" }, { os: "linux", architecture: "arm" }))
    assert.isFalse(Platform.matches({ architecture: "arm", variant: "v6" }, { os: "linux", architecture: "arm" }))
    assert.isTrue(Platform.matches({ architecture: "arm" }, { os: "linux", architecture: "arm", variant: "v6" }))
  })
})
