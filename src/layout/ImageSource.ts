import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Image from "../image/Image.ts"
import * as Platform from "../image/Platform.ts"
import * as Reference from "../image/Reference.ts"
import type { ContentGraph } from "./ContentGraph.ts"
import { SourceError } from "./Failure.ts"

/** Which image of a source is meant; what is not given does not narrow the choice. */
export interface Selector {
  /** `NAME:TAG`, or a digest or its beginning. */
  readonly image?: string
  /** Position in the source's list, from 0. */
  readonly index?: number
  readonly platform?: Platform.Wanted
}

/** One image that a source holds. */
export interface Candidate {
  readonly names: ReadonlyArray<string>
  /** Digest of its manifest or config. */
  readonly digest: string | undefined
  readonly platform: Platform.Platform | undefined
  /** Digest of its config, as its manifest or that file's name says. */
  readonly config?: string | undefined
  /** False where its manifest says that not all of its layers are tars: `load` fails. */
  readonly isOfTars?: boolean
  /** Not the source's own list has it, but another one: it is meant only where nothing else is. */
  readonly isBeside?: boolean
  readonly load: Effect.Effect<Image.Image, SourceError>
}

/** Images at rest. */
export class ImageSource extends Context.Tag("tallyman/ImageSource")<
  ImageSource,
  {
    readonly uri: string
    readonly candidates: Effect.Effect<ReadonlyArray<Candidate>, SourceError>
    /** Everything in it by digest, where the source keeps more than single images. */
    readonly graph?: ContentGraph
  }
>() {}

const show = (candidate: Candidate, index: number): string =>
  `${index}: ${candidate.names.join(", ") || candidate.digest || "unnamed"}${
    candidate.platform === undefined ? "" : ` (${Platform.show(candidate.platform)})`
  }`

/** The candidates that a selector leaves. */
export const matching = (candidates: ReadonlyArray<Candidate>, selector: Selector): ReadonlyArray<Candidate> => {
  const left = candidates.filter(
    (candidate, index) =>
      (selector.index === undefined || selector.index === index) &&
      (selector.image === undefined || isNamed(candidate, selector.image)) &&
      (selector.platform === undefined ||
        (candidate.platform !== undefined && Platform.matches(selector.platform, candidate.platform)))
  )
  return left.every(({ isBeside }) => isBeside) ? left : left.filter(({ isBeside }) => !isBeside)
}

const isNamed = (candidate: Candidate, wanted: string): boolean =>
  candidate.names.some((name) => Reference.same(wanted, name) || name === wanted) ||
  (candidate.digest !== undefined &&
    (candidate.digest === wanted ||
      (/^(sha256:)?[a-f0-9]{6,64}$/.test(wanted) &&
        candidate.digest.replace("sha256:", "").startsWith(wanted.replace("sha256:", "")))))

/** The one image that is meant. Its error lists what is there when that is none or several. */
export const choose = Effect.fn("ImageSource.choose")(function* (source: ImageSource["Type"], selector: Selector) {
  const candidates = yield* source.candidates
  const left = matching(candidates, selector)
  if (left.length === 1) return yield* left[0]!.load
  const list = (all: ReadonlyArray<Candidate>): string => {
    const lines = all.slice(0, 20).map((candidate) => show(candidate, candidates.indexOf(candidate)))
    return `${lines.join("; ")}${all.length > 20 ? `; and ${all.length - 20} more` : ""}`
  }
  if (candidates.length === 0) {
    return yield* new SourceError({
      reason: "NoSuchImage",
      message: `cannot choose an image of ${source.uri}: it holds none`
    })
  }
  return yield* left.length === 0
    ? new SourceError({
        reason: "NoSuchImage",
        message: `cannot choose an image of ${source.uri}: expected ${describe(selector)}, found ${list(candidates)}`
      })
    : new SourceError({
        reason: "Ambiguous",
        message: `cannot choose an image of ${source.uri}: expected one, found ${left.length} (choose with ?image=NAME:TAG, ?index=N or --platform): ${list(
          left
        )}`
      })
})

const describe = (selector: Selector): string =>
  [
    ...(selector.image === undefined ? [] : [JSON.stringify(selector.image)]),
    ...(selector.index === undefined ? [] : [`index ${selector.index}`]),
    ...(selector.platform === undefined
      ? []
      : [
          `platform ${[selector.platform.os ?? "*", selector.platform.architecture ?? "*", ...(selector.platform.variant === undefined ? [] : [selector.platform.variant])].join("/")}`
        ])
  ].join(", ") || "an image"
