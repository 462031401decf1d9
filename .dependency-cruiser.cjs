/**
 * Who may import whom. `src/{bin,index,jobs,worker}.ts` are the entries: they may import everything, and nothing imports
 * them.
 * Checked by `npm run lint` and by test/package.test.ts.
 */

/** Folders of src, lowest first; a folder imports its own level and lower ones. */
const levels = [
  ["image"],
  ["content"],
  ["check", "rootfs"],
  ["layout", "filter"],
  ["pipeline", "report", "fault"],
  ["cli"]
]

/** Layouts that contain another one: an archive may hold an OCI layout. */
const layoutsMayImport = {
  directory: ["docker-archive"],
  "docker-archive": ["oci-layout"],
  mounts: ["runtime-bundle", "docker-archive"]
}

const anyOf = (names) => `(${names.join("|")})`

const upwards = levels.slice(0, -1).map((folders, level) => ({
  name: `upward-import-from-${folders.join("-or-")}`,
  comment: "cli -> pipeline, report, fault -> layout, filter -> check, rootfs -> content -> image",
  severity: "error",
  from: { path: `^src/${anyOf(folders)}/` },
  to: { path: `^src/${anyOf(levels.slice(level + 1).flat())}/` }
}))

const layoutExceptions = Object.entries(layoutsMayImport).map(([layout, others]) => ({
  name: `layout-${layout}-knows-only-what-it-contains`,
  severity: "error",
  from: { path: `^src/layout/${layout}/` },
  to: { path: "^src/layout/[^/]+/", pathNot: `^src/layout/${anyOf([layout, ...others])}/` }
}))

module.exports = {
  forbidden: [
    ...upwards,
    {
      name: "layouts-know-nothing-of-each-other",
      severity: "error",
      from: { path: "^src/layout/([^/]+)/", pathNot: `^src/layout/${anyOf(Object.keys(layoutsMayImport))}/` },
      to: { path: "^src/layout/[^/]+/", pathNot: "^src/layout/$1/" }
    },
    ...layoutExceptions,
    {
      name: "entries-are-imported-by-entries-only",
      severity: "error",
      from: { path: "^src/[^/]+/" },
      to: { path: "^src/(bin|index|jobs|worker)\\.ts$" }
    },
    {
      name: "version-imports-nothing",
      severity: "error",
      from: { path: "^src/version\\.ts$" },
      to: { path: "^src/" }
    },
    {
      name: "src-imports-only-src",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(test|fixtures|bench|dist)/" }
    },
    {
      name: "no-cycles",
      severity: "error",
      from: { path: "^src/" },
      to: { circular: true }
    },
    {
      name: "no-unresolvable-imports",
      severity: "error",
      from: { path: "^src/" },
      to: { couldNotResolve: true }
    },
    {
      name: "the-library-imports-only-what-it-installs",
      comment:
        "The command is bundled, the library is not: what it imports is in dependencies, peerDependencies or optionalDependencies.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(bin\\.ts$|cli/)" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["npm-peer"] }
    }
  ],
  options: {
    // TypeScript 7 has no compiler API in JavaScript, so swc parses.
    parser: "swc",
    // Imports of types count too.
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] }
  }
}
