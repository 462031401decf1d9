/** How a layer's tar is stored. Named here because media types declare it; `content/` does it. */
export type Compression = "none" | "gzip" | "zstd"
