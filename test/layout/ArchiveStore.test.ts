import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { putChecksum } from "../../src/content/TarWrite.ts"
import * as Entry from "../../src/fault/Entry.ts"
import * as ImageBuilder from "../../src/fault/ImageBuilder.ts"
import * as ArchiveStore from "../../src/layout/ArchiveStore.ts"
import * as Journal from "../../src/layout/Journal.ts"
import { readRegion, type StoreEntry } from "../../src/layout/Store.ts"
import * as Workbench from "../fault/Workbench.ts"

/** Opens an archive of these entries and hands its store to `use`. */
const withStore = <A>(
  entries: ReadonlyArray<Entry.Entry> | Uint8Array,
  use: (store: ArchiveStore.ArchiveStore, file: string) => A,
  compression: "none" | "gzip" | "zstd" = "none"
) =>
  Effect.gen(function* () {
    const directory = yield* Workbench.scratch
    const file = path.join(directory, "archive.tar")
    fs.writeFileSync(file, entries instanceof Uint8Array ? entries : ImageBuilder.archive(entries, compression))
    const store = yield* ArchiveStore.open(file, { tempDirectory: directory })
    return use(store, file)
  }).pipe(Effect.scoped, Effect.provide(Workbench.pool))

const text = (entry: StoreEntry | undefined): string => {
  if (entry?.kind !== "file") return entry === undefined ? "nothing" : entry.kind === "other" ? entry.what : entry.kind
  const read = readRegion(entry.region, 1_000_000)
  return "failure" in read ? `failure: ${read.failure}` : Buffer.from(read.bytes).toString("latin1")
}

describe("an archive as a store", () => {
  for (const compression of ["none", "gzip", "zstd"] as const) {
    it.scoped(`finds files by name, whatever the name looks like in the tar (${compression})`, () =>
      withStore(
        [
          Entry.directory("./"),
          Entry.file("./a", "one"),
          Entry.file("dir//b", "two"),
          Entry.file("/c", "three"),
          Entry.file("dir/./deep/d", "four"),
          Entry.file("empty")
        ],
        (store, file) => {
          assert.strictEqual(store.kind, "archive")
          assert.strictEqual(store.path, file)
          assert.strictEqual(store.compression, compression)
          assert.deepStrictEqual(
            ["a", "dir/b", "c", "dir/deep/d", "empty"].map((name) => text(store.lookup(name))),
            ["one", "two", "three", "four", ""]
          )
          assert.deepStrictEqual(store.files(), ["a", "c", "dir/b", "dir/deep/d", "empty"])
          assert.deepStrictEqual(store.list(""), ["a", "c", "dir", "empty"])
          assert.deepStrictEqual(store.list("dir"), ["b", "deep"])
          assert.isUndefined(store.list("gone"))
          assert.isUndefined(store.lookup("gone"))
          assert.deepStrictEqual(store.lookup("dir"), { kind: "directory" })
          assert.deepStrictEqual(
            store.problems.filter((one) => one.check !== "tar.path-absolute"),
            []
          )
        },
        compression
      )
    )
  }

  it.scoped("reads a plain archive in place and a compressed one from a file that goes with the scope", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      for (const compression of ["none", "gzip"] as const) {
        const temporary = path.join(directory, compression)
        fs.mkdirSync(temporary)
        const file = Workbench.archiveAt(directory, [Entry.file("a", "one")], `${compression}.tar`, compression)
        yield* Effect.gen(function* () {
          const store = yield* ArchiveStore.open(file, { tempDirectory: temporary })
          const entry = store.lookup("a")
          assert.isTrue(entry?.kind === "file" && (entry.region.path === file) === (compression === "none"))
          assert.lengthOf(fs.readdirSync(temporary).filter(Journal.isTemporary), compression === "none" ? 0 : 1)
        }).pipe(Effect.scoped, Effect.provide(Workbench.pool))
        assert.deepStrictEqual(fs.readdirSync(temporary), [])
      }
    })
  )

  it.scoped("follows links inside the archive only", () =>
    withStore(
      [
        Entry.file("a/file", "content"),
        Entry.symlink("b/link", "../a/file"),
        Entry.symlink("b/link-to-link", "link"),
        Entry.symlink("linked", "a"),
        Entry.hardlink("b/hard", "a/file"),
        Entry.hardlink("./hard-with-dot", "./a/file"),
        Entry.symlink("out", "../a/file"),
        Entry.symlink("absolute", "/a/file"),
        Entry.symlink("loop", "loop"),
        Entry.symlink("dangling", "gone"),
        Entry.fifo("pipe"),
        Entry.device("null", "char", 1, 3)
      ],
      (store) => {
        for (const name of ["b/link", "b/link-to-link", "linked/file", "b/hard", "hard-with-dot"]) {
          assert.strictEqual(text(store.lookup(name)), "content", name)
        }
        assert.match(text(store.lookup("out")), /leads out/)
        assert.match(text(store.lookup("absolute")), /symlink out of the image, to "\/a\/file"/)
        assert.match(text(store.lookup("loop")), /round in a circle/)
        assert.isUndefined(store.lookup("dangling"))
        assert.strictEqual(text(store.lookup("pipe")), "a FIFO")
        assert.strictEqual(text(store.lookup("null")), "a device")
      }
    )
  )

  it.scoped("writes sparse members out whole", () => {
    const map = {
      realSize: 70_000,
      segments: [
        [4096, Buffer.alloc(512, "x")],
        [65_536, Buffer.from("end")]
      ]
    } as const
    const whole = Buffer.alloc(70_000)
    whole.fill("x", 4096, 4608)
    whole.write("end", 65_536)
    return withStore(
      [Entry.sparse("gnu", map, "gnu"), Entry.sparse("pax", map), Entry.file("behind", "b")],
      (store) => {
        for (const name of ["gnu", "pax"]) assert.strictEqual(text(store.lookup(name)), whole.toString("latin1"), name)
        assert.strictEqual(text(store.lookup("behind")), "b")
        assert.deepStrictEqual(store.files(), ["behind", "gnu", "pax"])
      }
    )
  })

  it.scoped("tells names that come twice, and whether the bytes are the same", () =>
    withStore(
      [
        Entry.directory("d"),
        Entry.directory("d"),
        Entry.file("same", "1"),
        Entry.file("./same", "1"),
        Entry.file("other", "1"),
        Entry.file("other", "2"),
        Entry.file("kind", "1"),
        Entry.symlink("kind", "same")
      ],
      (store) => {
        assert.deepStrictEqual(
          [...store.duplicates],
          [
            ["same", true],
            ["other", false],
            ["kind", false]
          ]
        )
        assert.strictEqual(text(store.lookup("other")), "2")
      }
    )
  )

  it.scoped("lists directories whether or not they are members, before or after what is in them", () =>
    withStore(
      [
        Entry.file("a/b/c", "1"),
        Entry.directory("a/b/"),
        Entry.file("a/d", "2"),
        Entry.directory("e/"),
        Entry.file("e/f/g", "3"),
        Entry.directory("./")
      ],
      (store) => {
        assert.deepStrictEqual(store.list(""), ["a", "e"])
        assert.deepStrictEqual(store.list("a"), ["b", "d"])
        assert.deepStrictEqual(store.list("a/b"), ["c"])
        assert.deepStrictEqual(store.list("e"), ["f"])
        assert.strictEqual(store.lookup("e/f")?.kind, "directory")
        assert.isUndefined(store.list("a/d"))
      }
    )
  )

  it.scoped("takes thousands of members of one name for what they are", () =>
    withStore(
      Array.from({ length: 20_000 }, (_, index) => Entry.file("same", index === 19_999 ? "x" : "y")),
      (store) => {
        assert.deepStrictEqual([...store.duplicates], [["same", false]])
        assert.strictEqual(text(store.lookup("same")), "x")
      }
    )
  )

  it.scoped("makes no file for each of thousands of sparse members", () =>
    Effect.gen(function* () {
      const map = { realSize: 4096, segments: [[0, Buffer.from("x")]] } as const
      const entries = Array.from({ length: 1001 }, (_, index) => Entry.sparse(`s${index}`, map))
      const failed = yield* Effect.flip(withStore(entries, () => undefined))
      assert.strictEqual(failed.reason, "Limit")
    })
  )

  it.scoped("keeps all sparse members in one place", () =>
    Effect.gen(function* () {
      const map = { realSize: 2 ** 40, segments: [[2 ** 40 - 1, Buffer.from("x")]] } as const
      const entries = Array.from({ length: 20 }, (_, index) => Entry.sparse(`s${index}`, map))
      yield* withStore(entries, (store, file) => {
        // The archive, a journal, and a directory.
        assert.lengthOf(fs.readdirSync(path.dirname(file)), 3)
        for (const { path: name } of entries) {
          const entry = store.lookup(String(name))
          assert.strictEqual(entry?.kind === "file" ? entry.region.size : undefined, 2 ** 40)
        }
      })
    })
  )

  it.scoped("passes over members whose names are deeper or longer than any image's, and says so", () =>
    withStore(
      [
        Entry.file("a/".repeat(200) + "deep", "1"),
        Entry.file("b".repeat(5000), "2"),
        Entry.file("c/".repeat(50) + "fine", "3")
      ],
      (store) => {
        assert.deepStrictEqual(store.files(), ["c/".repeat(50) + "fine"])
        assert.deepStrictEqual(
          store.problems.map(({ check }) => check),
          ["tar.too-large", "tar.too-large"]
        )
        assert.deepStrictEqual(store.list(""), ["c"])
      }
    )
  )

  it.scoped("keeps names that are not UTF-8 apart", () =>
    withStore(
      [Entry.file(Uint8Array.of(0xe9), "1"), Entry.file(Uint8Array.of(0xe8), "2"), Entry.file("\u00e9", "3")],
      (store) => {
        assert.strictEqual(text(store.lookup("\u00e9")), "3")
        assert.lengthOf(store.files(), 3)
      }
    )
  )

  it.scoped("says what is wrong with the tar", () =>
    Effect.gen(function* () {
      const whole = Buffer.from(ImageBuilder.archive([Entry.file("a", "x".repeat(2000)), Entry.file("b", "y")]))
      const checks = (bytes: Uint8Array) => withStore(bytes, (store) => store.problems.map((one) => one.check))
      assert.deepStrictEqual(yield* checks(whole), [])
      assert.include(yield* checks(whole.subarray(0, 1500)), "tar.truncated")
      assert.include(yield* checks(whole.subarray(0, whole.length - 1024)), "tar.no-end")
      assert.include(yield* checks(Buffer.concat([whole, Buffer.from("garbage")])), "tar.trailing-data")
      const broken = Buffer.from(whole)
      broken[2560 + 3] = 0x78
      assert.include(yield* checks(broken), "tar.bad-checksum")
    })
  )

  it.scoped("walks past members of many gigabytes without reading them, and reads none into memory", () =>
    Effect.gen(function* () {
      const directory = yield* Workbench.scratch
      const file = path.join(directory, "huge.tar")
      const size = 6 * 1024 ** 3
      const fd = fs.openSync(file, "w")
      const header = Buffer.from(Entry.encode(Entry.file("huge.json")))
      // Base-256 would do as well: 11 octal digits reach to 8 GiB.
      header.write(`${size.toString(8).padStart(11, "0")}\0`, 124, "latin1")
      putChecksum(header)
      fs.writeSync(fd, header)
      fs.writeSync(fd, Entry.tar([Entry.file("behind", "b")]), 0, undefined, 512 + size)
      fs.closeSync(fd)
      const started = process.memoryUsage().rss
      const store = yield* ArchiveStore.open(file)
      assert.strictEqual(text(store.lookup("behind")), "b")
      assert.match(text(store.lookup("huge.json")), /more than the limit/)
      assert.isBelow(process.memoryUsage().rss - started, 200 * 1024 ** 2)
    }).pipe(Effect.provide(Workbench.pool))
  )
})
