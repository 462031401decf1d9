import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Reference from "../../src/image/Reference.ts"

const digest = `sha256:${"a".repeat(64)}`

describe("a reference", () => {
  it("comes apart by the distribution grammar", () => {
    const parts: ReadonlyArray<readonly [text: string, name: string, tag?: string | undefined, digest?: string]> = [
      ["debian", "debian"],
      ["debian:12", "debian", "12"],
      ["library/debian:12", "library/debian", "12"],
      ["docker.io/library/debian:12-slim", "docker.io/library/debian", "12-slim"],
      ["localhost/a:1", "localhost/a", "1"],
      ["localhost:5000/a", "localhost:5000/a"],
      ["localhost:5000/a:1", "localhost:5000/a", "1"],
      ["[::1]:5000/a:1", "[::1]:5000/a", "1"],
      ["Registry.Example.COM/a", "Registry.Example.COM/a"],
      ["a__b/c.d-e--f:_x", "a__b/c.d-e--f", "_x"],
      [`debian@${digest}`, "debian", undefined, digest],
      [`debian:12@${digest}`, "debian", "12", digest],
      [`a:${"t".repeat(128)}`, "a", "t".repeat(128)]
    ]
    for (const [text, name, tag, its] of parts) {
      const parsed = Reference.parse(text)
      assert.deepStrictEqual(
        { ...parsed },
        { name, ...(tag === undefined ? {} : { tag }), ...(its === undefined ? {} : { digest: its }) },
        text
      )
      assert.strictEqual(Reference.show(parsed!), text)
    }
  })

  it("is none otherwise", () => {
    for (const bad of [
      "",
      ":1",
      "a:",
      "a:.1",
      "a:-1",
      `a:${"t".repeat(129)}`,
      "a:t/b",
      "A",
      "a/B",
      "a//b",
      "/a",
      "a/",
      "a..b",
      "a._b",
      "a___b",
      "-a",
      "a-",
      "a b",
      "a\n",
      "a@",
      "a@sha256:1",
      `a@${digest}@${digest}`,
      "../a",
      "https://a/b",
      "a".repeat(256)
    ])
      assert.isUndefined(Reference.parse(bad), bad)
  })

  it("may be written shorter by a user", () => {
    for (const [wanted, name] of [
      ["debian", "docker.io/library/debian:latest"],
      ["debian:12", "library/debian:12"],
      ["index.docker.io/library/debian", "debian"],
      ["docker.io/user/app:1", "user/app:1"],
      ["app:1", "localhost/app:1"],
      [`debian@${digest}`, `docker.io/library/debian@${digest}`]
    ] as const) {
      assert.isTrue(Reference.same(wanted, name), `${wanted} ${name}`)
      assert.isTrue(Reference.same(name, wanted), `${name} ${wanted}`)
    }
    for (const [wanted, name] of [
      ["debian", "debian:12"],
      ["debian", "user/debian"],
      ["quay.io/debian", "debian"],
      ["debian:12", `debian:12@${digest}`],
      ["debi", "debian"]
    ] as const)
      assert.isFalse(Reference.same(wanted, name), `${wanted} ${name}`)
  })

  it("never makes any text fail, and what it takes it shows as it was", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9:@/._-]{0,30}$/)), (text) => {
        const parsed = Reference.parse(text)
        if (parsed !== undefined) assert.strictEqual(Reference.show(parsed), text)
      })
    )
  })
})
