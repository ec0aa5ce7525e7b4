/* tslint:disable */
/* eslint-disable */

export function __wbg_reset_state(): void;

/**
 * Distils the static model from the encoder's model file (as [`quantise_minilm`] makes it). Takes about half a minute.
 * `progress` is called with the share that is done, from 0 to 1.
 */
export function distilStatic(name: string, encoder: Uint8Array, progress?: Function | null): Uint8Array;

/**
 * Quantises all-MiniLM-L6-v2: the bytes of `model.safetensors` and the text of `tokenizer.json` in, the model file out.
 * `progress` is called with the share that is done, from 0 to 1.
 */
export function quantiseMiniLm(name: string, safetensors: Uint8Array, tokenizerJson: string, progress?: Function | null): Uint8Array;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly distilStatic: (a: number, b: number, c: number, d: number, e: number) => [number, number, number, number];
    readonly quantiseMiniLm: (a: number, b: number, c: number, d: number, e: number, f: number, g: number) => [number, number, number, number];
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
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
