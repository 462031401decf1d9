import type { CatalogFamily } from "../CatalogEntry.ts"

const posix = "POSIX.1-2017 pax, ustar interchange format"

/** The tar format itself. */
export const tar = {
  "tar.bad-checksum": {
    severity: "error",
    title: "a header's checksum is wrong",
    spec: `${posix}, chksum`,
    rules: [93],
    explanation: "The sum over a header block is not what the block says: it was damaged, or it is no header at all.",
    remedy: "Write the layer again from the source."
  },
  "tar.bad-number": {
    severity: "error",
    title: "a number in a header is malformed",
    spec: `${posix}; GNU tar manual, base-256 encoding`,
    rules: [93],
    explanation: "A size, owner, time or mode is neither octal nor base-256, or out of range.",
    remedy: "Write the layer again with a tool that keeps to the format."
  },
  "tar.bad-size": {
    severity: "warning",
    title: "an entry has a size that its type cannot have",
    spec: `${posix}, size`,
    rules: [93, 95],
    explanation:
      "A hardlink or a directory states a size, as some writers leave it there: most readers take it for nothing, some for a body, and then see other entries behind it. The diff_id proves the bytes all the same.",
    remedy: "If the diff_id matches, none is needed for image tools. Write the layer again for others."
  },
  "tar.bad-pax": {
    severity: "error",
    title: "a pax record is malformed",
    spec: "POSIX.1-2017 pax, extended header",
    rules: [96],
    explanation: "A record is not `length keyword=value\\n`, or its value does not fit its keyword.",
    remedy: "Write the layer again with a tool that keeps to the format."
  },
  "tar.bad-type": {
    severity: "error",
    title: "an entry of unknown type",
    spec: `${posix}, typeflag`,
    rules: [96],
    explanation:
      "The type is none that POSIX or a known implementation defines; readers skip it or take it for a file.",
    remedy: "Write the layer again with a tool that keeps to the format."
  },
  "tar.uncommon-type": {
    severity: "warning",
    title: "an entry of a type that images do not have",
    spec: `image-spec layer.md, file types; ${posix}, typeflag; GNU tar manual`,
    rules: [96],
    explanation:
      "A contiguous file, a directory of an incremental backup or a volume label: tar programs know them, but Docker, containerd, Podman and umoci all fail to unpack a layer that has one.",
    remedy: "Write the layer again with regular files and directories, and without a label."
  },
  "tar.bad-long-name": {
    severity: "error",
    title: "a long name without its entry",
    spec: "GNU tar manual, @LongLink",
    rules: [96],
    explanation: "A header that carries a long name or extended attributes is not followed by the entry it belongs to.",
    remedy: "Write the layer again from the source."
  },
  "tar.bad-sparse": {
    severity: "error",
    title: "a sparse map is malformed",
    spec: "GNU tar manual, storing sparse files",
    rules: [96],
    explanation: "The map of a sparse file overlaps, goes backwards, or does not fit the sizes.",
    remedy: "Write the layer again without sparse entries."
  },
  "tar.truncated": {
    severity: "error",
    title: "the tar is cut short",
    spec: posix,
    rules: [94, 95],
    explanation: "The archive ends within a header, within the blocks at its end, or before the body it announces.",
    remedy: "Write the layer again from the source."
  },
  "tar.no-end": {
    severity: "warning",
    title: "the end-of-archive blocks are missing",
    spec: `${posix}: two zero blocks end the archive`,
    rules: [94],
    explanation:
      "Several tools write layers without the two zero blocks, so this is no proof of damage; but a tar cut exactly between two entries looks the same. The diff_id decides.",
    remedy: "If the diff_id matches, none. Otherwise write the layer again."
  },
  "tar.no-padding": {
    severity: "warning",
    title: "the last body is not padded to a full block",
    spec: posix,
    rules: [94],
    explanation: "The archive ends right behind the last entry's bytes, as a few tools write it.",
    remedy: "If the diff_id matches, none. Otherwise write the layer again."
  },
  "tar.trailing-data": {
    severity: "error",
    title: "data behind the end of the archive",
    spec: posix,
    rules: [94],
    explanation: "Something other than zeros follows the end-of-archive blocks; most readers never see it, some do.",
    remedy: "Write the layer again. Two archives joined by `cat` look like this."
  },
  "tar.not-a-tar": {
    severity: "error",
    title: "not a tar archive",
    spec: "image-spec layer.md",
    rules: [47],
    explanation: "The bytes do not begin with a tar header.",
    remedy: "Check that the right file is in this place; write it again from the source."
  },
  "tar.too-large": {
    severity: "error",
    title: "a header is larger than any real one",
    spec: posix,
    rules: [93],
    explanation:
      "An extended header announces more bytes than are taken into memory, or an archive's member has a name longer or deeper than any image's; it was skipped.",
    remedy: "Treat the archive as hostile."
  },
  "tar.path-absolute": {
    severity: "warning",
    title: "an absolute path",
    spec: "image-spec layer.md: names are relative to the root",
    rules: [97],
    explanation:
      "The name begins with a slash. Readers of images take it relative to the root, other tar programs may not.",
    remedy: "None is needed inside images; do not unpack the layer with a plain tar as root."
  },
  "tar.path-escapes": {
    severity: "error",
    title: "a path that leaves the root",
    spec: "image-spec layer.md",
    rules: [97],
    explanation: "With its `..` components the name, or a hardlink's target, lies outside the root.",
    remedy: "Treat the archive as hostile."
  },
  "tar.path-nul": {
    severity: "error",
    title: "a NUL inside a path",
    spec: "POSIX.1-2017 pathname",
    rules: [97],
    explanation: "Readers that end names at the NUL see another file than readers that do not.",
    remedy: "Treat the archive as hostile."
  },
  "tar.path-empty": {
    severity: "error",
    title: "an entry without a name",
    spec: posix,
    rules: [97],
    explanation: "The name is empty.",
    remedy: "Write the layer again from the source."
  },
  "tar.path-not-utf8": {
    severity: "warning",
    title: "a path that is not UTF-8",
    spec: "POSIX.1-2017 pax, path",
    rules: [97],
    explanation: "The bytes of the name are kept as they are, but tools that want text will not show or match it.",
    remedy: "None is needed on Linux."
  }
} as const satisfies CatalogFamily

/** gzip (RFC 1952) and zstd (RFC 8878). */
export const compression = {
  "compression.truncated": {
    severity: "error",
    title: "the compressed stream is cut short",
    spec: "RFC 1952 section 2.2; RFC 8878 section 3",
    rules: [102],
    explanation: "The last gzip member or zstd frame is not complete.",
    remedy: "Fetch the blob again."
  },
  "compression.corrupt": {
    severity: "error",
    title: "the compressed stream is damaged",
    spec: "RFC 1952 section 2.3; RFC 8878 section 3",
    rules: [101, 102],
    explanation: "The data does not decompress, or a checksum or length in it does not fit what came out.",
    remedy: "Fetch the blob again."
  },
  "compression.trailing-data": {
    severity: "error",
    title: "data behind the compressed stream",
    spec: "RFC 1952 section 2.2; RFC 8878 section 3",
    rules: [101, 102],
    explanation:
      "Bytes that are no gzip member or zstd frame follow the last one; readers differ on whether that is an error.",
    remedy: "Fetch the blob again, or compress the layer anew."
  },
  "compression.limit": {
    severity: "error",
    title: "decompression stopped at a limit",
    spec: "RFC 8878 section 8 (security considerations)",
    rules: [],
    explanation:
      "The blob would decompress to more than the limits allow, or needs more memory; the rest of it was not checked.",
    remedy: "If the image is trusted, raise the limit that the message names."
  },
  "compression.unsupported": {
    severity: "error",
    title: "a compression that images do not use",
    spec: "image-spec layer.md, media types",
    rules: [100],
    explanation:
      "The layer is compressed with something else than gzip or zstd, or with a dictionary that is not there.",
    remedy: "Compress the layer with gzip or zstd."
  },
  "compression.media-type-mismatch": {
    severity: "error",
    title: "the media type declares another compression than the bytes show",
    spec: "image-spec media-types.md; layer.md",
    rules: [100],
    explanation: "The descriptor's media type says gzip, zstd or none, and the first bytes of the blob say otherwise.",
    remedy: "Correct the descriptor's media type and with it the manifest's digest, or fetch the image again."
  }
} as const satisfies CatalogFamily
