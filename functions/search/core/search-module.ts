/**
 * The Rust module `search` behind typed calls. The core keeps numbers alone: which trial refines which, by which arm,
 * with which score. Texts, calls and prices are the caller's, under the numbers of trials.
 */
import {
  initSync,
  type Search as RustSearch,
  Search as RustSearchClass,
  __wbg_reset_state as resetGlue,
} from '../../../wasm-rust/pkg/search/treeline_search.js';
import { refusals } from '../../wasm/refusals.ts';

/** The number of the root: the problem itself. */
export const rootNode = 0;

/** How the next trial is chosen. */
export type SearchAlgorithm =
  | 'abmcts-a'
  | 'abmcts-m'
  | 'mcts'
  | 'tree-of-thoughts'
  | 'best-first'
  | 'repeated-sampling'
  | 'sequential-refinement';

/** How AB-MCTS deals with several arms. */
export type SearchStrategy = 'bandit' | 'ucb' | 'stack' | 'algorithm-two';

/** When no more trials are given. What is not there stops nothing. */
export interface StopRules {
  /** Trials that succeed or are open. */
  readonly trialsMax?: number;
  readonly tokensMax?: number;
  /** Millionths of the unit of money. */
  readonly moneyMicrosMax?: number;
  /** A time on the clock of all `now`, in milliseconds. */
  readonly deadlineMs?: number;
  /** A score that is good enough, 0 to 1. */
  readonly scoreReached?: number;
  /** The least gain of one more trial that is worth it, in score. */
  readonly gainLeast?: number;
  /** Trials that failed or ran out of time. */
  readonly failuresMax?: number;
}

/** What a search is set up with. `wasm-rust/search/src/options.rs` says more of each field and has the defaults. */
export interface SearchOptions {
  readonly algorithm: SearchAlgorithm;
  readonly strategy?: SearchStrategy;
  /** Arms at the beginning; their numbers are 0, 1, … */
  readonly arms: number;
  /** Whatever is drawn follows from it. A whole number below 2^53. */
  readonly seed: number;
  readonly distribution?: 'gaussian' | 'beta';
  readonly gaussian?: {
    readonly mean?: number;
    readonly weight?: number;
    readonly freedom?: number;
    readonly variance?: number;
  };
  readonly beta?: { readonly successes?: number; readonly failures?: number };
  readonly mixed?: {
    readonly mean?: number;
    readonly meanDeviation?: number;
    readonly groupDeviation?: number;
    readonly noiseDeviation?: number;
    readonly noiseLeast?: number;
  };
  readonly pruning?: { readonly enabled?: boolean; readonly nodesLeast?: number; readonly sameShare?: number };
  readonly pendingShare?: number;
  readonly exploration?: number;
  readonly childrenEach?: number;
  readonly breadth?: number;
  /** Chooses arms by gain for their mean cost; with the strategy `bandit`. */
  readonly valueFor?: 'tokens' | 'money' | 'time';
  /** After this time `expire` gives a trial up, in milliseconds; 0 for never. */
  readonly trialTimeoutMs?: number;
  readonly stop?: StopRules;
}

/** A trial to carry out: make an answer with `arm` from the answer of `parent`, from nothing where that is the root. */
export interface Trial {
  readonly id: number;
  readonly parent: number;
  readonly arm: number;
}

/** What a trial cost; what is not there is 0. All whole numbers. */
export interface Cost {
  readonly tokens?: number;
  readonly moneyMicros?: number;
  readonly timeMs?: number;
}

/** What is known of one node. */
export interface NodeSummary {
  readonly id: number;
  readonly parent: number | null;
  readonly arm: number | null;
  /** Steps from the root. */
  readonly depth: number;
  readonly status: 'open' | 'complete' | 'failed' | 'expired';
  readonly score: number | null;
  /** Scores of its subtree, its own among them, and their mean. */
  readonly visits: number;
  readonly mean: number;
  /** Complete children. */
  readonly children: number;
  /** Open trials of its subtree. */
  readonly open: number;
  readonly cost: Required<Cost>;
  readonly askedAt: number;
  /** 0 while it is open. */
  readonly endedAt: number;
}

/** The whole state, as `toJson` has it: what a page needs to draw the tree. */
export interface SearchState {
  readonly version: number;
  readonly options: SearchOptions;
  readonly arms: readonly { readonly active: boolean; readonly priorMean?: number }[];
  /** In the order of asking; the first has number 1. */
  readonly trials: readonly {
    readonly parent: number;
    readonly arm: number;
    readonly status: NodeSummary['status'];
    /** Of complete trials alone. */
    readonly score?: number;
    readonly cost: Required<Cost>;
    readonly askedAt: number;
    readonly endedAt: number;
    /** 0 for none. */
    readonly deadline: number;
  }[];
}

/** Why no more trials are given. */
export type StopReason = 'score_reached' | 'trials' | 'tokens' | 'money' | 'deadline' | 'failures' | 'gain';

/** One thing that happened to a search. A log of them replays to the same state, bit for bit. Times in milliseconds. */
export type SearchEvent =
  | { readonly event: 'ask'; readonly count: number; readonly now: number }
  | {
      readonly event: 'tell';
      readonly trial: number;
      readonly score: number;
      readonly cost?: Cost;
      readonly now: number;
    }
  | { readonly event: 'fail'; readonly trial: number; readonly cost?: Cost; readonly now: number }
  | { readonly event: 'expire'; readonly now: number }
  | { readonly event: 'add-arm'; readonly priorMean?: number }
  | { readonly event: 'remove-arm'; readonly arm: number };

/** What an event led to. */
export type SearchOutcome =
  | { readonly asked: readonly Trial[] }
  /** False where it was known before and nothing has changed. */
  | { readonly recorded: boolean }
  | { readonly expired: readonly number[] }
  | { readonly armAdded: number };

/** The core has refused a call, and is unchanged. */
export class SearchRefused extends Error {
  override readonly name = 'SearchRefused';
  /** One of the codes of `wasm-rust/search/src/error.rs`, such as `score_invalid`. */
  readonly code: string;

  constructor(code: string, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

const refusing = refusals((code, message, cause) => new SearchRefused(code, message, cause));

/** The module's one live instance. */
export interface SearchModule {
  /** A search that has not begun. */
  begin(options: SearchOptions): SearchCore;
  /** A search from the bytes of `snapshot`. */
  fromSnapshot(bytes: Uint8Array): SearchCore;
  /** A search from the text of `toJson`. */
  fromJson(text: string): SearchCore;
}

/** The generated glue holds one instance for the whole isolate, so whether there is one is the isolate's state too. */
let hasInstance = false;

/** Starts a fresh instance of the isolate's module; searches of the one before it are dead. */
export function startSearch(module: WebAssembly.Module): SearchModule {
  if (hasInstance) resetGlue();
  initSync({ module });
  hasInstance = true;
  return {
    begin: (options) => new SearchCore(refusing(() => new RustSearchClass(JSON.stringify(options)))),
    fromSnapshot: (bytes) => new SearchCore(refusing(() => RustSearchClass.fromSnapshot(bytes))),
    fromJson: (text) => new SearchCore(refusing(() => RustSearchClass.fromJson(text))),
  };
}

/** A search in the module's memory. Lives and dies with the instance; `free` gives its memory back. */
export class SearchCore {
  readonly #inner: RustSearch;

  /** Searches come from a `SearchModule`. */
  constructor(inner: RustSearch) {
    this.#inner = inner;
  }

  /**
   * Up to `count` trials (1 to 1024) to carry out. Open ones are known to the choice. Fewer come where the budget ends
   * or results must come first.
   */
  ask(count: number, now: number): Trial[] {
    const flat = refusing(() => this.#inner.ask(count, now));
    const trials: Trial[] = [];
    for (let at = 0; at < flat.length; at += 3) {
      trials.push({ id: flat[at] ?? 0, parent: flat[at + 1] ?? 0, arm: flat[at + 2] ?? 0 });
    }
    return trials;
  }

  /** Takes a score, 0 to 1, in any order and late; false where the trial had one before. A bad one leaves it open. */
  tell(trial: number, score: number, cost: Cost, now: number): boolean {
    const { tokens = 0, moneyMicros = 0, timeMs = 0 } = cost;
    return refusing(() => this.#inner.tell(trial, score, tokens, moneyMicros, timeMs, now));
  }

  /** Takes note that a trial's call failed; false where it had ended before. */
  fail(trial: number, cost: Cost, now: number): boolean {
    const { tokens = 0, moneyMicros = 0, timeMs = 0 } = cost;
    return refusing(() => this.#inner.fail(trial, tokens, moneyMicros, timeMs, now));
  }

  /** Gives up all open trials past their deadline, and names them. */
  expire(now: number): number[] {
    return [...refusing(() => this.#inner.expire(now))];
  }

  /** Adds an arm and gives its number; `priorMean` is the mean score expected of it, 0 to 1. */
  addArm(priorMean?: number): number {
    return refusing(() => this.#inner.addArm(priorMean));
  }

  /** Takes an arm out of the choice; its answers stay. */
  removeArm(arm: number): void {
    refusing(() => this.#inner.removeArm(arm));
  }

  /** Applies an event of a log. */
  apply(event: SearchEvent): SearchOutcome {
    return JSON.parse(refusing(() => this.#inner.apply(JSON.stringify(event)))) as SearchOutcome;
  }

  /** The best answers, best first; of equal ones the one asked first. */
  top(count: number): NodeSummary[] {
    return JSON.parse(this.#inner.top(count)) as NodeSummary[];
  }

  /** What is known of a node; of the root for 0. */
  statistics(node: number): NodeSummary {
    return JSON.parse(refusing(() => this.#inner.statistics(node))) as NodeSummary;
  }

  /** Why no more trials are given; null while some are. */
  stopReason(now: number): StopReason | null {
    return (refusing(() => this.#inner.stopReason(now)) as StopReason | undefined) ?? null;
  }

  /** What one more trial may be expected to gain at most, in score. */
  get expectedGain(): number {
    return this.#inner.expectedGain;
  }

  /** Trials without an end, in the order of asking. */
  get openTrials(): number[] {
    return [...this.#inner.openTrials()];
  }

  /** Trials asked, whatever became of them. */
  get trials(): number {
    return this.#inner.trials;
  }

  /** All that was spent. */
  get spent(): Required<Cost> {
    return JSON.parse(this.#inner.spent()) as Required<Cost>;
  }

  /** Mean score of an arm and the number of its scores. */
  armStatistics(arm: number): { readonly mean: number; readonly count: number } {
    const [mean = 0, count = 0] = refusing(() => this.#inner.armStatistics(arm));
    return { mean, count };
  }

  /** The state as bytes, about 20 a trial. */
  snapshot(): Uint8Array<ArrayBuffer> {
    return this.#inner.snapshot() as Uint8Array<ArrayBuffer>;
  }

  /** The state as JSON: options, arms, and of every trial what happened to it. */
  toJson(): string {
    return this.#inner.toJson();
  }

  /** The state as an object, to read. */
  state(): SearchState {
    return JSON.parse(this.toJson()) as SearchState;
  }

  /** A hash of the whole state; two searches with the same one go on alike. */
  fingerprint(): string {
    return this.#inner.fingerprint();
  }

  /** Gives the memory back. */
  free(): void {
    this.#inner.free();
  }
}
