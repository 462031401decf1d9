/** Platforms of image-index.md: what an image runs on. */

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  readonly osVersion?: string
}

/** `os/arch[/variant]` as people write it on a command line; undefined when it has another form. */
export const parse = (text: string): Platform | undefined => {
  const parts = text.split("/")
  const [os, architecture, variant] = parts
  if (parts.length < 2 || parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]+$/.test(part))) return undefined
  return normalize({ os: os!, architecture: architecture!, ...(variant === undefined ? {} : { variant }) })
}

const aliases: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ["amd64"],
  "x86-64": ["amd64"],
  i386: ["386"],
  i686: ["386"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"]
}

/** Known spellings folded, default variants (arm64 v8, arm v7, amd64 v1) made explicit by leaving them out. */
export const normalize = (platform: Platform): Platform => {
  const [architecture, implied] = aliases[platform.architecture.toLowerCase()] ?? [platform.architecture.toLowerCase()]
  const variant = (platform.variant || implied)?.toLowerCase()
  const dropped =
    (architecture === "arm64" && (variant === "v8" || variant === "8")) ||
    (architecture === "amd64" && variant === "v1") ||
    (architecture === "arm" && (variant === "v7" || variant === "7"))
  return {
    os: platform.os.toLowerCase(),
    architecture,
    ...(variant === undefined || dropped ? {} : { variant: /^\d/.test(variant) ? `v${variant}` : variant }),
    ...(platform.osVersion === undefined ? {} : { osVersion: platform.osVersion })
  }
}

export const show = (platform: Platform): string =>
  [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join("/")

/** What a user asked for: every part that is given has to match. */
export interface Wanted {
  readonly os?: string
  readonly architecture?: string
  readonly variant?: string
}

export const matches = (wanted: Wanted, platform: Platform): boolean => {
  const have = normalize(platform)
  const want = normalize({
    os: wanted.os ?? have.os,
    architecture: wanted.architecture ?? have.architecture,
    ...(wanted.variant === undefined ? {} : { variant: wanted.variant })
  })
  return (
    have.os === want.os &&
    have.architecture === want.architecture &&
    (wanted.variant === undefined || have.variant === want.variant)
  )
}
