import { catalog, ids } from "../../src/check/Catalog.ts"
import { rules } from "../../src/check/Rules.ts"

const cell = (text: string): string => text.replaceAll("|", "\\|")

/** docs/checks.md: the catalogue, and which rule of the specifications each id covers. */
export const checksPage = (): string => {
  const families = [...new Set(ids.map((id) => id.split(".")[0]!))]
  const sections = families.map((family) => {
    const own = ids.filter((id) => id.startsWith(`${family}.`))
    const entries = own.map((id) => {
      const entry = catalog[id]
      return `### ${id}\n\n**${entry.title}** (${entry.severity}). ${entry.explanation}\n\n*What to do:* ${entry.remedy}\n\n*Source:* ${entry.spec}\n`
    })
    return `## ${family}\n\n${entries.join("\n")}`
  })
  const coverage = rules.map((rule) => {
    const covering = ids.filter((id) => catalog[id].rules.includes(rule.number))
    const by = covering.length > 0 ? covering.map((id) => `\`${id}\``).join(", ") : (rule.reason ?? "")
    return `| ${rule.number} | ${rule.level} | ${cell(rule.text)} | ${rule.source} | ${cell(by)} |`
  })
  return `<!-- Made by \`npm run docs\` from src/check. -->
# Checks

Every finding names its check. \`tallyman explain CHECK-ID\` prints the same text. An **error** means that the output is wrong
or a MUST of a specification is broken, a **warning** that a SHOULD is, or that something wants a look, an **info** is good to
know. \`--severity CHECK-ID=LEVEL\` and \`--profile\` change severities ([commands](commands.md)).

${ids.length} checks: ${families.map((family) => `[${family}](#${family})`).join(", ")}; and [which rule is covered by which](#coverage).

${sections.join("\n")}
## Coverage

The rules of image-spec 1.1, docker-image-spec 1.3, tar, gzip and zstd that a verifier has to apply, and the checks that
cover them.

| # | level | rule | source | covered by |
| --- | --- | --- | --- | --- |
${coverage.join("\n")}
`
}
