/** The two errors of moving an image: it could not be read, or it could not be written. */
import * as Schema from "effect/Schema"

/** An image could not be had from a source. The message is one line and names both sides. */
export class SourceError extends Schema.TaggedError<SourceError>()("SourceError", {
  reason: Schema.Literal(
    "NotFound",
    "Unreadable",
    "NotAnImage",
    "Damaged",
    "Ambiguous",
    "NoSuchImage",
    "Unsupported",
    "Limit"
  ),
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

/** An output could not be written or looked at. */
export class WriteError extends Schema.TaggedError<WriteError>()("WriteError", {
  reason: Schema.Literal("Occupied", "Unwritable", "Locked", "SourceChanged", "Unsupported"),
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

const codes: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is no directory",
  ENOSPC: "no space left on the device",
  EDQUOT: "the quota is used up",
  EROFS: "the file system is read-only",
  EIO: "input/output error",
  ELOOP: "it is a symlink",
  ENOTREG: "it is no regular file",
  EMFILE: "too many open files",
  ENAMETOOLONG: "the name is too long",
  EEXIST: "it exists already",
  EFBIG: "the file system takes no file as large as this"
}

/** What a failed system call means, for people. */
export const describe = (cause: unknown): string => {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code !== undefined && Object.hasOwn(codes, code)) return codes[code]!
  return String(message ?? cause).replace(/\s+/g, " ")
}
