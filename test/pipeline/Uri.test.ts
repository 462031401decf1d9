import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Uri from "../../src/pipeline/Uri.ts"

const parsed = (text: string): Uri.Uri => Either.getOrThrow(Uri.parse(text))
const refused = (text: string): string => Either.getOrThrow(Either.flip(Uri.parse(text))).message

describe("a URI", () => {
  it("has a scheme, a path as it is, and options", () => {
    for (const [text, scheme, path, options] of [
      ["dir://out", "dir", "out", {}],
      ["dir:///srv/images", "dir", "/srv/images", {}],
      ["tar://../a b.tar", "tar", "../a b.tar", {}],
      ["dir://out?unique_names=true", "dir", "out", { unique_names: "true" }],
      ["dir://out?unique_names", "dir", "out", { unique_names: "true" }],
      ["tar://x.tar?image=localhost:5000/a/b:1&index=2", "tar", "x.tar", { image: "localhost:5000/a/b:1", index: "2" }],
      ["tar://x.tar?image=a=b", "tar", "x.tar", { image: "a=b" }],
      ["tar://x.tar?image=", "tar", "x.tar", { image: "" }],
      ["oci-layout://dir:latest", "oci-layout", "dir:latest", {}],
      ["bundle://b", "oci", "b", {}],
      ["dir://100%25", "dir", "100%25", {}],
      ["dir://what?", "dir", "what?", {}],
      ["dir://a?b c", "dir", "a?b c", {}],
      ["dir://a?x=1?y=2", "dir", "a", { x: "1?y=2" }],
      ["dir://caf\u00e9\nline", "dir", "caf\u00e9\nline", {}]
    ] as const) {
      const uri = parsed(text)
      assert.deepStrictEqual(
        [uri.scheme, uri.path, Object.fromEntries(uri.options), uri.text],
        [scheme, path, options, text]
      )
      assert.isTrue(Uri.isUri(text), text)
    }
  })

  it("is refused when it cannot be meant", () => {
    for (const [text, message] of [
      ["out", /expected SCHEME:\/\/PATH/],
      ["/out", /expected SCHEME:\/\/PATH/],
      ["", /expected SCHEME:\/\/PATH/],
      ["dir:out", /expected SCHEME:\/\/PATH/],
      ["https://example.org", /found https:\/\//],
      ["DIR://out", /expected SCHEME/],
      ["dir://", /expected a path/],
      ["dir://?unique_names=true", /expected a path/],
      ["dir://a\0b", /NUL/],
      ["tar://x?index=1&index=2", /index is given twice/]
    ] as const)
      assert.match(refused(text), message, text)
    assert.isFalse(Uri.isUri("out"))
    assert.isFalse(Uri.isUri("/a://b"))
  })

  it("takes known options only, and of the right kind", () => {
    assert.isTrue(Either.isRight(Uri.onlyOptions(parsed("dir://a?x=1"), ["x"], "source")))
    const unknown = Uri.onlyOptions(parsed("dir://a?y=1"), ["x", "z"], "source")
    assert.match(Either.getOrThrow(Either.flip(unknown)).message, /the options x, z, found y/)
    assert.match(
      Either.getOrThrow(Either.flip(Uri.onlyOptions(parsed("dir://a?y"), [], "target"))).message,
      /no options/
    )
    for (const [text, value] of [
      ["true", true],
      ["True", true],
      ["1", true],
      ["yes", true],
      ["false", false],
      ["0", false],
      ["no", false]
    ] as const) {
      assert.deepStrictEqual(Uri.booleanOption(parsed(`dir://a?x=${text}`), "x"), Either.right(value))
    }
    assert.deepStrictEqual(Uri.booleanOption(parsed("dir://a"), "x"), Either.right(false))
    assert.match(
      Either.getOrThrow(Either.flip(Uri.booleanOption(parsed("dir://a?x=maybe"), "x"))).message,
      /found maybe/
    )
    assert.deepStrictEqual(Uri.integerOption(parsed("dir://a?x=12"), "x"), Either.right(12))
    assert.deepStrictEqual(Uri.integerOption(parsed("dir://a"), "x"), Either.right(undefined))
    for (const text of ["-1", "1.5", "", "0x1", "1e3", "99999999999"]) {
      assert.isTrue(Either.isLeft(Uri.integerOption(parsed(`dir://a?x=${text}`), "x")), text)
    }
  })
})
