/** The image configuration (image-spec config.md; docker-image-spec v1.3 "Image JSON"). */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Json from "./Json.ts"
import { explain } from "./SchemaFault.ts"

/** Optional, and null where Docker writes null. */
const maybe = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))

export const HistoryEntry = Schema.Struct({
  created: maybe(Schema.String),
  created_by: maybe(Schema.String),
  author: maybe(Schema.String),
  comment: maybe(Schema.String),
  empty_layer: maybe(Schema.Boolean)
})
export type HistoryEntry = typeof HistoryEntry.Type

/** What a container is run with by default. */
export const ContainerConfig = Schema.Struct({
  User: maybe(Schema.String),
  ExposedPorts: maybe(Schema.Record({ key: Schema.String, value: Schema.Unknown })),
  Env: maybe(Schema.Array(Schema.String)),
  Entrypoint: maybe(Schema.Union(Schema.String, Schema.Array(Schema.String))),
  Cmd: maybe(Schema.Union(Schema.String, Schema.Array(Schema.String))),
  Volumes: maybe(Schema.Record({ key: Schema.String, value: Schema.Unknown })),
  WorkingDir: maybe(Schema.String),
  Labels: maybe(Schema.Record({ key: Schema.String, value: Schema.String })),
  StopSignal: maybe(Schema.String)
})
export type ContainerConfig = typeof ContainerConfig.Type

/** What moving and unpacking an image needs of its config; anything else is kept in the raw bytes alone. */
export const ImageConfig = Schema.Struct({
  architecture: maybe(Schema.String),
  os: maybe(Schema.String),
  variant: maybe(Schema.String),
  "os.version": maybe(Schema.String),
  "os.features": maybe(Schema.Array(Schema.String)),
  author: maybe(Schema.String),
  created: maybe(Schema.String),
  config: maybe(ContainerConfig),
  rootfs: Schema.Struct({
    type: maybe(Schema.String),
    diff_ids: Schema.Array(Schema.String)
  }),
  history: maybe(Schema.Array(HistoryEntry))
})
export type ImageConfig = typeof ImageConfig.Type

const decodeStrict = Schema.decodeUnknownEither(ImageConfig, { errors: "first" })

/** Left: one line on what does not fit. Unknown properties are tolerated (considerations.md, extensibility). */
export const decode = (value: unknown): Either.Either<ImageConfig, string> => {
  const rootfs = Json.isObject(value) ? value["rootfs"] : undefined
  // Builders in Go write null for an image without layers.
  const read =
    Json.isObject(value) && Json.isObject(rootfs) && rootfs["diff_ids"] === null
      ? { ...value, rootfs: { ...rootfs, diff_ids: [] } }
      : value
  return Either.mapLeft(decodeStrict(read), explain)
}
