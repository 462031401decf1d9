import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "..")
const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as { readonly version: string }

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const run = (command: string, args: ReadonlyArray<string>, cwd: string): Result => {
  const { status, stdout, stderr, error } = ChildProcess.spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024
  })
  if (error !== undefined) throw error
  return { code: status, stdout, stderr }
}

/** A program of the development dependencies, run by this Node. */
const runTool = (file: string, args: ReadonlyArray<string>, cwd: string): Result =>
  run(process.execPath, [path.join(root, "node_modules", file), ...args], cwd)

const tsc = "typescript/bin/tsc"

let folder: string

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "tallyman-package-"))
})

afterAll(() => {
  fs.rmSync(folder, { recursive: true, force: true })
})

describe("the packed package", () => {
  let files: ReadonlyArray<string>
  let installed: string
  /** Why the package could not be installed, when that is not its fault. */
  let unreachable: string | undefined

  const inFolder = (code: string): Result => run(process.execPath, ["--input-type=module", "-e", code], installed)

  beforeAll(() => {
    const build = run("npm", ["run", "build:lib"], root)
    expect(build.code, build.stdout).toBe(0)
    const packed = run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], root)
    expect(packed.code, packed.stderr).toBe(0)
    const [{ filename, files: entries }] = JSON.parse(packed.stdout) as [
      { readonly filename: string; readonly files: ReadonlyArray<{ readonly path: string }> }
    ]
    files = entries.map((entry) => entry.path)

    installed = path.join(folder, "installed")
    fs.mkdirSync(installed)
    fs.writeFileSync(path.join(installed, "package.json"), JSON.stringify({ private: true, type: "module" }))
    // Without koffi: the package has to work where optional dependencies are not installed.
    const options = [
      "--omit=optional",
      "--no-audit",
      "--no-fund",
      "--prefer-offline",
      "--fetch-retries=0",
      "--fetch-timeout=30000"
    ]
    const install = run("npm", ["install", ...options, path.join(folder, filename)], installed)
    if (
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT/.test(
        install.stderr
      )
    ) {
      unreachable = "the package registry is not reachable"
    } else {
      expect(install.code, install.stderr).toBe(0)
    }
  })

  /** A test of the installed package: skipped without a registry, unless this environment demands all that it needs. */
  const installedTest = (name: string, test: () => void | Promise<void>): void => {
    it(name, async (context) => {
      if (process.env["PEERS"] === "required") expect(unreachable).toBeUndefined()
      context.skip(unreachable !== undefined, unreachable)
      await test()
    })
  }

  it("contains the command, the library, the documents and nothing else", () => {
    const expected =
      /^(LICENSE|README\.md|package\.json|tallyman\.schema\.json|docs\/[^/]+\.md|dist\/bin\/(tallyman\.mjs|licenses\.txt)|dist\/lib\/.*\.(js|d\.ts))$/
    expect(files.filter((file) => !expected.test(file))).toEqual([])
    expect(files).toEqual(
      expect.arrayContaining(["LICENSE", "README.md", "dist/bin/tallyman.mjs", "dist/lib/index.d.ts"])
    )
    expect(files.filter((file) => /^dist\/lib\/(cli\/|bin\.)/.test(file))).toEqual([])
  })

  installedTest("runs the command", () => {
    const command = path.join(installed, "node_modules/.bin/tallyman")
    expect(run(command, ["--version"], installed)).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" })
    expect(run(command, ["--help"], installed)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("verify"),
      stderr: ""
    })
  })

  installedTest("exports the library and the testing tools, and nothing below them", () => {
    const open = `const names = async (name) => Object.keys(await import(name)).length > 0
      console.log(await names("tallyman"), await names("tallyman/testing"))`
    expect(inFolder(open)).toEqual({ code: 0, stdout: "true true\n", stderr: "" })
    for (const closed of [
      "content/TarScan.js",
      "content/TarScan",
      "dist/lib/content/TarScan.js",
      "internal",
      "dist/bin/tallyman.mjs"
    ]) {
      const code = `await import("tallyman/${closed}").catch((error) => console.log(error.code))`
      expect(inFolder(code).stdout, closed).toBe("ERR_PACKAGE_PATH_NOT_EXPORTED\n")
    }
  })

  installedTest("has types", () => {
    fs.writeFileSync(
      path.join(installed, "consumer.ts"),
      `import * as tallyman from "tallyman"
       import * as testing from "tallyman/testing"
       export const names: ReadonlyArray<string> = [...Object.keys(tallyman), ...Object.keys(testing)]
       // @ts-expect-error: without types this would be any, and fine.
       export const nothing = tallyman.thereIsNoSuchName\n`
    )
    const options = [
      "--noEmit",
      "--strict",
      "--skipLibCheck",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--types",
      ""
    ]
    expect(runTool(tsc, [...options, "consumer.ts"], installed)).toEqual({ code: 0, stdout: "", stderr: "" })
  })

  installedTest("has what the library guide's examples use", () => {
    const guide = fs.readFileSync(path.join(root, "docs/library.md"), "utf8")
    const examples = [...guide.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1]!)
    expect(examples.length).toBeGreaterThan(2)
    const modules = path.join(root, "node_modules")
    const directory = path.join(installed, "guide")
    fs.mkdirSync(directory)
    for (const [index, example] of examples.entries()) fs.writeFileSync(path.join(directory, `${index}.mts`), example)
    const compilerOptions = {
      noEmit: true,
      strict: true,
      skipLibCheck: true,
      module: "nodenext",
      target: "es2022",
      types: ["node"],
      typeRoots: [path.join(modules, "@types")],
      paths: { vitest: [path.join(modules, "vitest/dist/index.d.ts")] }
    }
    fs.writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions }))
    expect(runTool(tsc, ["-p", directory], installed)).toEqual({ code: 0, stdout: "", stderr: "" })
  })

  installedTest("has no fault that publint knows", async () => {
    const { messages, pkg } = await publint({
      pkgDir: path.join(installed, "node_modules/tallyman"),
      pack: false,
      strict: true
    })
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([])
  })
})

/** Files in a new directory, whose path is returned. */
const tree = (name: string, sources: Readonly<Record<string, string>>): string => {
  const directory = path.join(folder, name)
  for (const [file, text] of Object.entries(sources)) {
    fs.mkdirSync(path.join(directory, path.dirname(file)), { recursive: true })
    fs.writeFileSync(path.join(directory, file), text)
  }
  return directory
}

describe("the import order", () => {
  const violations = (cwd: string): ReadonlyArray<string> => {
    const config = path.join(root, ".dependency-cruiser.cjs")
    const { stdout, stderr } = runTool(
      "dependency-cruiser/bin/dependency-cruise.mjs",
      ["--config", config, "--output-type", "json", "src"],
      cwd
    )
    expect(stderr).toBe("")
    const { summary } = JSON.parse(stdout) as {
      readonly summary: {
        readonly totalCruised: number
        readonly violations: ReadonlyArray<{
          readonly rule: { readonly name: string }
          readonly from: string
          readonly to: string
        }>
      }
    }
    expect(summary.totalCruised).toBeGreaterThan(1)
    return summary.violations.map(({ from, rule, to }) => `${rule.name}: ${from} -> ${to}`).sort()
  }

  it("holds in src", () => {
    expect(violations(root)).toEqual([])
  })

  it("is broken by each kind of import that goes up or across", () => {
    const directory = tree("broken", {
      "package.json": JSON.stringify({ type: "module", devDependencies: { "dev-only": "1.0.0" } }),
      "node_modules/dev-only/package.json": JSON.stringify({ name: "dev-only", version: "1.0.0", main: "index.js" }),
      "node_modules/dev-only/index.js": "",
      "src/index.ts": `export * as Uri from "./pipeline/Uri.ts"`,
      "src/bin.ts": `import "dev-only"\nvoid import("./cli/Main.ts")`,
      "src/cli/Main.ts": `import "dev-only"\nimport "../pipeline/Uri.ts"`,
      "src/pipeline/Uri.ts": `import "../layout/ImageSource.ts"\nimport "../index.ts"`,
      "src/fault/Drill.ts": `import "../cli/Main.ts"`,
      "src/layout/ImageSource.ts": `import type { Report } from "../report/Text.ts"\nexport type Source = Report`,
      "src/layout/mounts/Writer.ts": `import "../runtime-bundle/Config.ts"\nimport "../registry/Client.ts"`,
      "src/layout/registry/Client.ts": `import "../ImageSource.ts"\nimport "../mounts/Writer.ts"`,
      "src/layout/runtime-bundle/Config.ts": `import "../oci-layout/Blob.ts"`,
      "src/layout/oci-layout/Blob.ts": `import "dev-only"\nexport {}`,
      "src/report/Text.ts": `export interface Report { readonly text: string }`,
      "src/content/Inspect.ts": `export * from "../check/Finding.ts"\nexport const later = () => import("../filter/Exclude.ts")`,
      "src/check/Finding.ts": `import "../image/Digest.ts"\nimport "../missing/Gone.ts"`,
      "src/filter/Exclude.ts": `export {}`,
      "src/image/Digest.ts": `import { type Finding } from "../check/Finding.ts"\nexport type D = Finding`
    })
    expect(violations(directory)).toMatchInlineSnapshot(`
      [
        "entries-are-imported-by-entries-only: src/pipeline/Uri.ts -> src/index.ts",
        "layout-mounts-knows-only-what-it-contains: src/layout/mounts/Writer.ts -> src/layout/registry/Client.ts",
        "layouts-know-nothing-of-each-other: src/layout/registry/Client.ts -> src/layout/mounts/Writer.ts",
        "layouts-know-nothing-of-each-other: src/layout/runtime-bundle/Config.ts -> src/layout/oci-layout/Blob.ts",
        "no-cycles: src/check/Finding.ts -> src/image/Digest.ts",
        "no-cycles: src/index.ts -> src/pipeline/Uri.ts",
        "no-cycles: src/layout/mounts/Writer.ts -> src/layout/registry/Client.ts",
        "no-unresolvable-imports: src/check/Finding.ts -> ../missing/Gone.ts",
        "the-library-imports-only-what-it-installs: src/layout/oci-layout/Blob.ts -> node_modules/dev-only/index.js",
        "upward-import-from-content: src/content/Inspect.ts -> src/check/Finding.ts",
        "upward-import-from-content: src/content/Inspect.ts -> src/filter/Exclude.ts",
        "upward-import-from-image: src/image/Digest.ts -> src/check/Finding.ts",
        "upward-import-from-layout-or-filter: src/layout/ImageSource.ts -> src/report/Text.ts",
        "upward-import-from-pipeline-or-report-or-fault: src/fault/Drill.ts -> src/cli/Main.ts",
      ]
    `)
  })
})

describe("Effect's diagnostics", () => {
  // They were seen to fall silent with a module resolution that they do not understand.
  it("are found where modules are imported as namespaces", () => {
    const directory = tree("diagnostics", {
      "package.json": JSON.stringify({ type: "module" }),
      "tsconfig.json": JSON.stringify({ extends: path.join(root, "tsconfig.effect.json"), include: ["*.ts"] }),
      "Wrong.ts": [
        `import * as Effect from "effect/Effect"`,
        `export const nested = Effect.gen(function*() { return Effect.void })`,
        `export const floating = Effect.sync(() => { Effect.void })`
      ].join("\n")
    })
    fs.symlinkSync(path.join(root, "node_modules"), path.join(directory, "node_modules"))
    const options = ["diagnostics", "--project", "tsconfig.json", "--format", "text"]
    const { code, stdout } = runTool("@effect/tsgo/dist/effect-tsgo.cjs", options, directory)
    expect(
      [...stdout.matchAll(/Wrong\.ts\((\d+),\d+\): error effect\((\w+)\)/g)].map(([, line, rule]) => [line, rule])
    ).toEqual([
      ["2", "returnEffectInGen"],
      ["3", "floatingEffect"]
    ])
    expect(code).toBe(1)
  })
})
