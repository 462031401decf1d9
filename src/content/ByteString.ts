/**
 * Names inside archives are bytes, not text (POSIX pax "path" may be anything but NUL). They are carried as strings with
 * one char (0..255) per byte: lossless, cheap to slice out of a buffer, usable as Map keys and comparable bytewise.
 * For ASCII, which is nearly all of them, the byte string equals the text.
 */
export type ByteString = string

/** The byte string of `bytes[start, end)`. */
export const fromBytes = (bytes: Uint8Array, start = 0, end = bytes.length): ByteString =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1")

/** The byte string of a text, encoded as UTF-8. */
export const fromText = (text: string): ByteString =>
  isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1")

/** The bytes, for instance as a path argument of `node:fs`. */
export const toBytes = (value: ByteString): Buffer => Buffer.from(value, "latin1")

const isAscii = (value: string): boolean => /^[\x00-\x7f]*$/.test(value)

const utf8 = new TextDecoder("utf-8", { fatal: true })

/** True when the bytes are well-formed UTF-8. */
export const isUtf8 = (value: ByteString): boolean => {
  if (isAscii(value)) return true
  try {
    utf8.decode(toBytes(value))
    return true
  } catch {
    return false
  }
}

/** The text if the bytes are UTF-8, undefined otherwise. */
export const toText = (value: ByteString): string | undefined => {
  if (isAscii(value)) return value
  try {
    return utf8.decode(toBytes(value))
  } catch {
    return undefined
  }
}

const escaped = (char: string): string =>
  char === "\n" ? "\\n" : char === "\t" ? "\\t" : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`

/**
 * For people: UTF-8 where it is, `\xNN` for bytes that are not and for control characters (a name must not be able to
 * drive a terminal or to break a line of output).
 */
export const display = (value: ByteString): string => {
  const text = toText(value)
  return text === undefined
    ? value.replace(/[\x00-\x1f\x7f-\xff]/g, escaped)
    : text.replace(/[\x00-\x1f\x7f-\x9f]/g, escaped)
}
