/* tslint:disable */
/* eslint-disable */

/**
 * A search over answers.
 */
export class Search {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Adds an arm and gives its number.
     */
    addArm(priorMean?: number | null): number;
    /**
     * Applies an event, given as JSON, and gives its outcome as JSON.
     */
    apply(event: string): string;
    /**
     * Mean score and number of scores of an arm.
     */
    armStatistics(arm: number): Float64Array;
    /**
     * Trials to carry out, three numbers each: its own, its parent's (0 for the root), and its arm's.
     */
    ask(count: number, now: number): Uint32Array;
    /**
     * Gives up all open trials past their deadline, and names them.
     */
    expire(now: number): Uint32Array;
    /**
     * Takes note that a trial's call failed; false where it had ended before.
     */
    fail(trial: number, tokens: number, moneyMicros: number, timeMs: number, now: number): boolean;
    /**
     * A hash of the whole state, in hexadecimal.
     */
    fingerprint(): string;
    /**
     * A search from its JSON. Throws as `fromSnapshot` does.
     */
    static fromJson(text: string): Search;
    /**
     * A search from its bytes. Throws `snapshot_corrupt`, `snapshot_version` and others.
     */
    static fromSnapshot(bytes: Uint8Array): Search;
    /**
     * A search that has not begun. `options` is JSON. Throws `options_invalid`.
     */
    constructor(options: string);
    /**
     * Trials without an end, in the order of asking.
     */
    openTrials(): Uint32Array;
    /**
     * Takes an arm out of the choice.
     */
    removeArm(arm: number): void;
    /**
     * The state as bytes.
     */
    snapshot(): Uint8Array;
    /**
     * All that was spent, as JSON.
     */
    spent(): string;
    /**
     * What is known of a node, as JSON; of the root for 0.
     */
    statistics(node: number): string;
    /**
     * Why no more trials are given; undefined while some are.
     */
    stopReason(now: number): string | undefined;
    /**
     * Takes a trial's score; false where it had one before.
     */
    tell(trial: number, score: number, tokens: number, moneyMicros: number, timeMs: number, now: number): boolean;
    /**
     * The state as JSON.
     */
    toJson(): string;
    /**
     * The best answers as JSON, best first.
     */
    top(count: number): string;
    /**
     * What one more trial may be expected to gain at most, in score.
     */
    readonly expectedGain: number;
    /**
     * Trials asked, whatever became of them.
     */
    readonly trials: number;
}

export function __wbg_reset_state(): void;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_search_free: (a: number, b: number) => void;
    readonly search_addArm: (a: number, b: number, c: number) => [number, number, number];
    readonly search_apply: (a: number, b: number, c: number) => [number, number, number, number];
    readonly search_armStatistics: (a: number, b: number) => [number, number, number, number];
    readonly search_ask: (a: number, b: number, c: number) => [number, number, number, number];
    readonly search_expectedGain: (a: number) => number;
    readonly search_expire: (a: number, b: number) => [number, number, number, number];
    readonly search_fail: (a: number, b: number, c: number, d: number, e: number, f: number) => [number, number, number];
    readonly search_fingerprint: (a: number) => [number, number];
    readonly search_fromJson: (a: number, b: number) => [number, number, number];
    readonly search_fromSnapshot: (a: number, b: number) => [number, number, number];
    readonly search_new: (a: number, b: number) => [number, number, number];
    readonly search_openTrials: (a: number) => [number, number];
    readonly search_removeArm: (a: number, b: number) => [number, number];
    readonly search_snapshot: (a: number) => [number, number];
    readonly search_spent: (a: number) => [number, number];
    readonly search_statistics: (a: number, b: number) => [number, number, number, number];
    readonly search_stopReason: (a: number, b: number) => [number, number, number, number];
    readonly search_tell: (a: number, b: number, c: number, d: number, e: number, f: number, g: number) => [number, number, number];
    readonly search_toJson: (a: number) => [number, number];
    readonly search_top: (a: number, b: number) => [number, number];
    readonly search_trials: (a: number) => number;
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __externref_table_dealloc: (a: number) => void;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
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
