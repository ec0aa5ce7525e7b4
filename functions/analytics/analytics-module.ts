/**
 * The Rust module `analytics` behind typed calls. An experiment's state lies in the module's memory and is a function of
 * the events that it was told, in whatever order; `wasm-rust/analytics` says more.
 */
import {
  initSync,
  Experiment as RustExperiment,
  __wbg_reset_state as resetGlue,
  offPolicy as rustOffPolicy,
} from '../../wasm-rust/pkg/analytics/treeline_analytics.js';
import { refusals } from '../wasm/refusals.ts';

/** The settings of an arm: what a call under it uses. */
export type Settings = Readonly<Record<string, number | string | boolean>>;

/** One thing that happened, as the core reads it. Ids are 32 hexadecimal digits, times milliseconds since 1970. */
export type CoreEvent =
  | { readonly arm: { atMs: number; arm: string; settings: Settings; active: boolean } }
  | { readonly decide: DecideEvent }
  | { readonly feedback: { id: string; atMs: number; rewards: Readonly<Record<string, number>> } }
  | { readonly tick: { atMs: number } };

/** A decision, as it is logged. */
export interface DecideEvent {
  readonly id: string;
  readonly atMs: number;
  readonly namespace: string;
  readonly arm: string;
  readonly propensity: number;
  readonly features: readonly number[];
  readonly point: readonly number[];
}

/** An arm as the core keeps it. */
export interface CoreArm {
  readonly name: string;
  readonly settings: Settings;
  readonly active: boolean;
  readonly atMs: number;
}

/** What was decided. */
export interface CoreChoice {
  /** Position of the arm to use; nothing to go by where there is a point. */
  readonly arm: number;
  readonly propensity: number;
  /** Position of the arm that the policy drew: another one in shadow mode only. */
  readonly proposed: number;
  readonly proposedPropensity: number;
  /** The point of a continuous space, one number a dimension; else empty. */
  readonly point: readonly number[];
  readonly event: CoreEvent;
}

/** A decision with its whole reward, for an off-policy estimate. */
export interface OffPolicyRecord {
  readonly namespace: string;
  readonly arm: string;
  readonly propensity: number;
  readonly reward: number;
}

/** The policy that an off-policy estimate asks about. */
export type OffPolicyTarget =
  | { readonly arm: string }
  | { readonly mixture: Readonly<Record<string, number>> }
  | { readonly byNamespace: Readonly<Record<string, Readonly<Record<string, number>>>> };

/** The core has refused a call, and is unchanged. */
export class AnalyticsRefused extends Error {
  override readonly name = 'AnalyticsRefused';
  /** One of the codes of `wasm-rust/analytics/src/error.rs`, such as `no_arm`. */
  readonly code: string;

  constructor(code: string, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

const refusing = refusals((code, message, cause) => new AnalyticsRefused(code, message, cause));

/** The module's one live instance. */
export interface AnalyticsModule {
  /** An experiment without arms, from a definition in the core's form. */
  begin(definition: object): ExperimentCore;
  /** An experiment from the bytes of `snapshot`. */
  fromSnapshot(bytes: Uint8Array): ExperimentCore;
  /** What another policy would have earned, with intervals of this confidence. */
  offPolicy(records: readonly OffPolicyRecord[], target: OffPolicyTarget, confidence: number): unknown;
}

/** The generated glue holds one instance for the whole isolate, so whether there is one is the isolate's state too. */
let hasInstance = false;

/** Starts a fresh instance of the isolate's module; experiments of the one before it are dead. */
export function startAnalytics(module: WebAssembly.Module): AnalyticsModule {
  if (hasInstance) resetGlue();
  initSync({ module });
  hasInstance = true;
  return {
    begin: (definition) => new ExperimentCore(refusing(() => new RustExperiment(JSON.stringify(definition)))),
    fromSnapshot: (bytes) => new ExperimentCore(refusing(() => RustExperiment.fromBytes(bytes))),
    offPolicy: (records, target, confidence) =>
      JSON.parse(refusing(() => rustOffPolicy(JSON.stringify(records), JSON.stringify(target), confidence))),
  };
}

/** An experiment in the module's memory. Lives and dies with the instance; `free` gives its memory back. */
export class ExperimentCore {
  readonly #inner: RustExperiment;
  /** Read once after each change, since a decision reads them and they change seldom. */
  #arms: readonly CoreArm[] | null = null;

  /** Experiments come from an `AnalyticsModule`. */
  constructor(inner: RustExperiment) {
    this.#inner = inner;
  }

  /** Its arms by name, with those that may not be chosen any more. */
  get arms(): readonly CoreArm[] {
    this.#arms ??= JSON.parse(this.#inner.arms) as CoreArm[];
    return this.#arms;
  }

  /** Chooses for the decision `id` (32 hexadecimal digits), and records it. */
  decide(id: string, atMs: number, namespace: string, features: readonly number[]): CoreChoice {
    const [high, low] = [BigInt(`0x${id.slice(0, 16)}`), BigInt(`0x${id.slice(16)}`)];
    const choice = refusing(() => this.#inner.decide(high, low, atMs, namespace, Float64Array.from(features)));
    try {
      const { arm, propensity, proposed, proposedPropensity } = choice;
      const event = JSON.parse(choice.event) as CoreEvent;
      return { arm, propensity, proposed, proposedPropensity, point: [...choice.point], event };
    } finally {
      choice.free();
    }
  }

  /** Applies an event: whether it is new, was known, or is too old to change anything. */
  apply(event: CoreEvent): 'recorded' | 'known' | 'too_old' {
    if ('arm' in event || 'decide' in event) this.#arms = null;
    return refusing(() => this.#inner.apply(JSON.stringify(event))) as 'recorded' | 'known' | 'too_old';
  }

  /** The analytics at a time; a namespace's intervals are ever wrong with probability at most `alpha`. */
  report(atMs: number, alpha: number): unknown {
    return JSON.parse(refusing(() => this.#inner.report(atMs, alpha)));
  }

  /** The state as bytes. */
  snapshot(): Uint8Array {
    return this.#inner.toBytes();
  }

  /** Gives the memory back. */
  free(): void {
    this.#inner.free();
  }
}
