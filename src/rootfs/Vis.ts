/** vis(3) and unvis(3): names in manifests, with nothing in them that ends a word or a line. */
import type { ByteString } from "../content/ByteString.ts"

const octal = (char: string): string => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`

/**
 * As go-mtree writes it (VIS_WHITE | VIS_OCTAL | VIS_GLOB): octal for everything but graphic ASCII, and for `*?[#`.
 * libarchive and the BSD tools read no more than this.
 */
export const encode = (value: ByteString): string =>
  plain.test(value) ? value : value.replace(/[^\x21-\x7e]|[*?[#\\]/g, (char) => (char === "\\" ? "\\\\" : octal(char)))

const plain = /^[\x21\x22\x24-\x29\x2b-\x3e\x40-\x5a\x5d-\x7e]*$/

const letters: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  s: " ",
  t: "\t",
  v: "\v",
  E: "\x1b",
  $: "",
  "\n": ""
}

const escapes = /\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|M-(.)|M\^(.)|\^(.)|(.))/gs

const control = (char: string): number => (char === "?" ? 0x7f : char.charCodeAt(0) & 0x1f)

/** The bytes that any flavour of vis(3) without its HTTP style stands for. A lone backslash at the end stays. */
export const decode = (value: string): ByteString =>
  value.includes("\\")
    ? value.replace(
        escapes,
        (
          _all,
          digits: string | undefined,
          hex: string | undefined,
          meta: string | undefined,
          metaControl: string | undefined,
          controlled: string | undefined,
          other: string | undefined
        ) => {
          if (digits !== undefined) return String.fromCharCode(Number.parseInt(digits, 8) & 0xff)
          if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16))
          if (meta !== undefined) return String.fromCharCode(meta.charCodeAt(0) | 0x80)
          if (metaControl !== undefined) return String.fromCharCode(control(metaControl) | 0x80)
          if (controlled !== undefined) return String.fromCharCode(control(controlled))
          return letters[other!] ?? other!
        }
      )
    : value
