/* tslint:disable */
/* eslint-disable */

/**
 * What was decided.
 */
export class Choice {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * The position of the arm to use.
     */
    readonly arm: number;
    /**
     * The event that records it elsewhere, as JSON.
     */
    readonly event: string;
    /**
     * The point of the continuous space, one number a dimension; else empty.
     */
    readonly point: Float64Array;
    /**
     * The probability with which it was drawn.
     */
    readonly propensity: number;
    /**
     * The probability with which the policy drew it.
     */
    readonly proposedPropensity: number;
    /**
     * The position of the arm that the policy drew: another one in shadow mode only.
     */
    readonly proposed: number;
}

/**
 * An experiment. Its methods change it in place; nothing is sent anywhere.
 */
export class Experiment {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Applies an event as JSON. Gives `recorded`, `known` or `too_old`. Throws as `decide`.
     */
    apply(event: string): string;
    /**
     * A copy, which goes on apart from this one.
     */
    copy(): Experiment;
    /**
     * Chooses and records it. Throws `no_arm`, `event_invalid`, `decision_conflict` or `experiment_full`.
     */
    decide(idHigh: bigint, idLow: bigint, atMs: number, namespace: string, features: Float64Array): Choice;
    /**
     * Tells the value of one reward, the one at `reward` in the definition: the fast form of a feedback event.
     */
    feedback(idHigh: bigint, idLow: bigint, atMs: number, reward: number, value: number): string;
    /**
     * Loads what `toBytes` has written. Throws `snapshot_corrupt` or `snapshot_unsupported`.
     */
    static fromBytes(bytes: Uint8Array): Experiment;
    /**
     * Loads what `toJson` has written. Throws `snapshot_corrupt` or `snapshot_unsupported`.
     */
    static fromJson(text: string): Experiment;
    /**
     * Joins two experiments that went on from `base`. Throws `merge_refused` or `decision_conflict`.
     */
    static merge(base: Experiment, left: Experiment, right: Experiment): Experiment;
    /**
     * An experiment without arms, from a definition as JSON. Throws `definition_invalid`.
     */
    constructor(definition: string);
    /**
     * The probabilities of the arms, in the order of `arms`. Throws `no_arm` or `event_invalid`.
     */
    probabilities(namespace: string, atMs: number, features: Float64Array): Float64Array;
    /**
     * The analytics as JSON; a namespace's intervals are ever wrong with probability at most `alpha`.
     */
    report(atMs: number, alpha: number): string;
    /**
     * The state as bytes.
     */
    toBytes(): Uint8Array;
    /**
     * The state as JSON.
     */
    toJson(): string;
    /**
     * The arms as JSON, in the order of a choice's `arm`.
     */
    readonly arms: string;
    /**
     * The definition as JSON.
     */
    readonly definition: string;
    /**
     * The latest time that it has heard of.
     */
    readonly newestMs: number;
    /**
     * Decisions whose rewards are awaited.
     */
    readonly open: number;
}

export function __wbg_reset_state(): void;

/**
 * What another policy would have earned: records and target as JSON, the result too. Throws `record_invalid`.
 */
export function offPolicy(records: string, target: string, confidence: number): string;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_choice_free: (a: number, b: number) => void;
    readonly __wbg_experiment_free: (a: number, b: number) => void;
    readonly choice_arm: (a: number) => number;
    readonly choice_event: (a: number) => [number, number];
    readonly choice_point: (a: number) => [number, number];
    readonly choice_propensity: (a: number) => number;
    readonly choice_proposed: (a: number) => number;
    readonly choice_proposedPropensity: (a: number) => number;
    readonly experiment_apply: (a: number, b: number, c: number) => [number, number, number, number];
    readonly experiment_arms: (a: number) => [number, number];
    readonly experiment_copy: (a: number) => number;
    readonly experiment_decide: (a: number, b: bigint, c: bigint, d: number, e: number, f: number, g: number, h: number) => [number, number, number];
    readonly experiment_definition: (a: number) => [number, number];
    readonly experiment_feedback: (a: number, b: bigint, c: bigint, d: number, e: number, f: number) => [number, number, number, number];
    readonly experiment_fromBytes: (a: number, b: number) => [number, number, number];
    readonly experiment_fromJson: (a: number, b: number) => [number, number, number];
    readonly experiment_merge: (a: number, b: number, c: number) => [number, number, number];
    readonly experiment_new: (a: number, b: number) => [number, number, number];
    readonly experiment_newestMs: (a: number) => number;
    readonly experiment_open: (a: number) => number;
    readonly experiment_probabilities: (a: number, b: number, c: number, d: number, e: number, f: number) => [number, number, number, number];
    readonly experiment_report: (a: number, b: number, c: number) => [number, number, number, number];
    readonly experiment_toBytes: (a: number) => [number, number];
    readonly experiment_toJson: (a: number) => [number, number];
    readonly offPolicy: (a: number, b: number, c: number, d: number, e: number) => [number, number, number, number];
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __wbindgen_free: (a: number, b: number, c: number) => void;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
    readonly __externref_table_dealloc: (a: number) => void;
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
