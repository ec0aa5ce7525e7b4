/* tslint:disable */
/* eslint-disable */

/**
 * A loaded model.
 */
export class EmbeddingModel {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * How many tokens `embed` uses for a text, after truncation.
     */
    countTokens(text: string): number;
    /**
     * Embeds token ids: `lengths` cuts `ids` into sequences. `[CLS]` and `[SEP]` are added where they are missing.
     */
    embedTokens(ids: Uint32Array, lengths: Uint32Array): Embeddings;
    /**
     * Embeds texts, each of which must be non-empty. Longer ones than the model's length are cut, and say so.
     */
    embed(texts: string[]): Embeddings;
    /**
     * The ids that `embed` uses for a text, after truncation.
     */
    tokenize(text: string): Uint32Array;
    /**
     * What the model is.
     */
    readonly info: ModelInfo;
}

/**
 * Embeddings of one call. Every read copies, so read once and then `free()`.
 */
export class Embeddings {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Each input's tokens, special ones included, after truncation.
     */
    readonly tokenCounts: Uint32Array;
    /**
     * 1 where an input was cut, else 0.
     */
    readonly truncated: Uint8Array;
    /**
     * The embeddings, one row after the other, each of length 1.
     */
    readonly vectors: Float32Array;
}

/**
 * What a model is.
 */
export class ModelInfo {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Floats an embedding.
     */
    readonly dimensions: number;
    /**
     * `bert` or `static`.
     */
    readonly kind: string;
    /**
     * Its name.
     */
    readonly name: string;
    /**
     * Tokens a text may have, special ones included.
     */
    readonly tokensMax: number;
    /**
     * Token ids are below this.
     */
    readonly vocabularySize: number;
}

/**
 * Takes a model file's bytes as they arrive.
 */
export class ModelLoader {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Checks the file and makes it a model. The loader is used up, whether this succeeds or throws.
     */
    finish(): EmbeddingModel;
    /**
     * Takes memory for a file of `byteLength` bytes. Throws `model_too_large` above 64 MiB.
     */
    constructor(byteLength: number);
    /**
     * Copies the next bytes in. Throws `model_too_large` when they are more than announced.
     */
    write(chunk: Uint8Array): void;
    /**
     * Bytes announced.
     */
    readonly byteLength: number;
    /**
     * Where the bytes are in the module's memory, so that they can be hashed without a copy.
     */
    readonly pointer: number;
    /**
     * Bytes written so far.
     */
    readonly written: number;
}

export function __wbg_reset_state(): void;

/**
 * The cosine of the angle between two vectors, in -1..=1. Throws `length_mismatch`.
 */
export function cosineSimilarity(left: Float32Array, right: Float32Array): number;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_embeddingmodel_free: (a: number, b: number) => void;
    readonly __wbg_embeddings_free: (a: number, b: number) => void;
    readonly __wbg_modelinfo_free: (a: number, b: number) => void;
    readonly __wbg_modelloader_free: (a: number, b: number) => void;
    readonly cosineSimilarity: (a: number, b: number, c: number, d: number) => [number, number, number];
    readonly embeddingmodel_countTokens: (a: number, b: number, c: number) => number;
    readonly embeddingmodel_embed: (a: number, b: number, c: number) => [number, number, number];
    readonly embeddingmodel_embedTokens: (a: number, b: number, c: number, d: number, e: number) => [number, number, number];
    readonly embeddingmodel_info: (a: number) => number;
    readonly embeddingmodel_tokenize: (a: number, b: number, c: number) => [number, number];
    readonly embeddings_tokenCounts: (a: number) => [number, number];
    readonly embeddings_truncated: (a: number) => [number, number];
    readonly embeddings_vectors: (a: number) => [number, number];
    readonly modelinfo_dimensions: (a: number) => number;
    readonly modelinfo_kind: (a: number) => [number, number];
    readonly modelinfo_name: (a: number) => [number, number];
    readonly modelinfo_tokensMax: (a: number) => number;
    readonly modelinfo_vocabularySize: (a: number) => number;
    readonly modelloader_byteLength: (a: number) => number;
    readonly modelloader_finish: (a: number) => [number, number, number];
    readonly modelloader_new: (a: number) => [number, number, number];
    readonly modelloader_pointer: (a: number) => number;
    readonly modelloader_write: (a: number, b: any) => [number, number];
    readonly modelloader_written: (a: number) => number;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __externref_table_dealloc: (a: number) => void;
    readonly __wbindgen_free: (a: number, b: number, c: number) => void;
    readonly __wbindgen_start: () => void;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput }} module - Passing `SyncInitInput` directly is deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput } | SyncInitInput): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput> }} module_or_path - Passing `InitInput` directly is deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path: { module_or_path: InitInput | Promise<InitInput> } | InitInput | Promise<InitInput>): Promise<InitOutput>;
