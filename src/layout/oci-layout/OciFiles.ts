/** Names of files in an OCI image layout (image-layout.md), and of what this program adds to one. */
import * as crypto from "node:crypto"
import * as Digest from "../../image/Digest.ts"

export const layoutFile = "oci-layout"
export const indexFile = "index.json"
export const blobs = "blobs"

/** The annotation of an index entry that names it (annotations.md). */
export const refName = "org.opencontainers.image.ref.name"
/** containerd's: a full reference, for example `docker.io/library/debian:12`. */
export const containerdName = "io.containerd.image.name"

/** Annotations of an index entry that do not name what it describes. */
export const withoutNames = <A>(annotations: Readonly<Record<string, A>>): Readonly<Record<string, A>> => {
  const { [containerdName]: _full, [refName]: _ref, ...others } = annotations
  return others
}

const referrerTag = /(?:^|:)(sha256|sha512)-([a-f0-9]+)(?:\.(?:sig|att|sbom))?$/

/**
 * The digest that an entry's name says it is about: cosign's `sha256-HEX.sig`, `.att` and `.sbom`, and the index of
 * referrers as registries tag it that know no others (distribution-spec "Referrers Tag Schema").
 */
export const subjectByName = (annotations: Readonly<Record<string, string>> = {}): string | undefined => {
  const match = referrerTag.exec(annotations[refName] ?? annotations[containerdName] ?? "")
  if (match === null) return undefined
  const digest = `${match[1]}:${match[2]}`
  return Digest.isDigest(digest) ? digest : undefined
}

/** The content of `oci-layout` (image-layout.md "oci-layout file"). */
export const layoutVersion = "1.0.0"
export const layoutBytes: Uint8Array = Buffer.from(`{"imageLayoutVersion":"${layoutVersion}"}`)

const receiptPattern = /^receipt-.+\.json$/
/** Longer ones are cut, so that the name fits into the 255 bytes that file systems allow. */
const maxEncoded = 180

export const isReceipt = (file: string): boolean => receiptPattern.test(file)

/**
 * Where the receipt of an entry of index.json stands, at the layout's root: by its reference name, or by the digest of
 * what was written without one. Distinct names have distinct files on any file system.
 */
export const receiptFile = (name: string): string => {
  const encoded = [...Buffer.from(name, "utf8")]
    .map((byte) =>
      /[a-z0-9._-]/.test(String.fromCharCode(byte))
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).padStart(2, "0")}`
    )
    .join("")
  return encoded.length <= maxEncoded
    ? `receipt-${encoded}.json`
    : `receipt-${encoded.slice(0, maxEncoded - 65).replace(/%.?$/, "")}-${crypto.createHash("sha256").update(name).digest("hex")}.json`
}
