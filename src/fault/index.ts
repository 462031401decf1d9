/** `tallyman/testing`: images to test with, and ways to damage them. */
export * as Damage from "./Damage.ts"
export * as Entry from "./Entry.ts"
export * as ImageBuilder from "./ImageBuilder.ts"
