/**
 * A search between two entries of its log: definition, tree and answers. Free of I/O and clocks: what is to be done next
 * is returned as a value, and what was done comes back as an entry. The same entries give the same state everywhere.
 */
import type { LiveInstance } from '../wasm/instance.ts';
import { LastingCore } from './core/search-cores.ts';
import type { SearchModule, Trial } from './core/search-module.ts';
import type { SearchDefinition } from './definition.ts';
import { type EndReason, type Entry, type EntryOf, type ModelUsage, summed } from './entries.ts';

/** Failures after each other, without a success between, that end a search. */
export const failuresInRowMax = 5;

/** What is known of one trial. */
export interface TrialState extends Trial {
  readonly status: 'asked' | 'generated' | 'scored' | 'failed';
  readonly text: string | null;
  readonly finishReason: string | null;
  readonly score: number | null;
  readonly feedback: string | null;
  readonly failure: { readonly code: string; readonly message: string } | null;
  readonly usage: readonly ModelUsage[];
  readonly latencyMs: number;
}

/** An answer that may be given out; one without a score was made, but not scored in time. */
export interface Answer {
  readonly trial: number;
  readonly text: string;
  readonly finishReason: string;
  readonly score: number | null;
}

/** What is to be done next. */
export type Step =
  | { readonly kind: 'ask'; readonly count: number }
  /** Calls are under way, or the client's scores are waited for. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'finish'; readonly reason: EndReason }
  | { readonly kind: 'ended' };

/** How a search stands. */
export type SearchStatus = 'running' | 'completed' | 'cancelled' | 'failed';

/** Reasons for which the best answer is only the best so far. */
const partialReasons = new Set<EndReason>(['deadline', 'failures', 'cancelled']);

/** The log contradicts itself, or the core that reads it. */
export class LogDamaged extends Error {
  override readonly name = 'LogDamaged';
}

interface Limits {
  readonly trials: number;
  readonly tokens: number | null;
  readonly scoreReached: number;
  readonly deadlineAt: number;
}

/** One search. */
export class SearchState {
  readonly started: EntryOf<'started'>;
  readonly entries: Entry[] = [];
  readonly #core: LastingCore;
  readonly #trials = new Map<number, TrialState>();
  #limits: Limits;
  #reason: EndReason | null = null;
  #failuresInRow = 0;
  #lastFailure: EntryOf<'failed'> | null = null;
  #isExhausted = false;

  private constructor(started: EntryOf<'started'>, live: LiveInstance<SearchModule>) {
    const { definition } = started;
    this.started = started;
    this.entries.push(started);
    this.#core = new LastingCore(live, {
      algorithm: definition.algorithm,
      strategy: definition.strategy,
      distribution: definition.distribution,
      arms: definition.arms.length,
      seed: definition.seed,
    });
    this.#limits = {
      trials: definition.budget.trials,
      tokens: definition.budget.tokens ?? null,
      scoreReached: definition.score_reached,
      deadlineAt: started.deadline_at,
    };
  }

  /** The state after `entries`, the whole log. @throws LogDamaged */
  static replay(entries: readonly Entry[], live: LiveInstance<SearchModule>): SearchState {
    const [first, ...rest] = entries;
    if (first?.type !== 'started') throw new LogDamaged('the log does not begin with a start');
    const state = new SearchState(first, live);
    for (const entry of rest) state.apply(entry);
    return state;
  }

  get definition(): SearchDefinition {
    return this.started.definition;
  }

  get limits(): Limits {
    return this.#limits;
  }

  /** Entries so far. */
  get length(): number {
    return this.entries.length;
  }

  get trials(): readonly TrialState[] {
    return [...this.#trials.values()];
  }

  get reason(): EndReason | null {
    return this.#reason;
  }

  get status(): SearchStatus {
    if (this.#reason === null) return 'running';
    if (this.#reason === 'cancelled') return 'cancelled';
    return this.#bestTrial() === undefined && this.answers(1).length === 0 ? 'failed' : 'completed';
  }

  /** Whether the search was ended before it was done: its answers are the best so far. */
  get isPartial(): boolean {
    return this.#reason !== null && partialReasons.has(this.#reason);
  }

  /** The last failure, for a search that has no answer. */
  get lastFailure(): EntryOf<'failed'> | null {
    return this.#lastFailure;
  }

  /** Failures since the last success. */
  get failuresInRow(): number {
    return this.#failuresInRow;
  }

  get failures(): number {
    return this.trials.filter(({ status }) => status === 'failed').length;
  }

  /** Tokens of all calls, by model. */
  get usage(): ModelUsage[] {
    return summed(this.trials.flatMap(({ usage }) => usage));
  }

  get tokens(): number {
    return this.usage.reduce((sum, one) => sum + one.input_tokens + one.output_tokens, 0);
  }

  trial(id: number): TrialState | undefined {
    return this.#trials.get(id);
  }

  /** Trials whose next step is not done: an answer is to be made, or scored. */
  get open(): TrialState[] {
    return this.trials.filter(({ status }) => status === 'asked' || status === 'generated');
  }

  /** The best `count` answers, best first, none twice; those without a score come last. */
  answers(count: number): Answer[] {
    const scored = this.#core
      .read((core) => core.top(this.#trials.size))
      .flatMap(({ id }) => this.#trials.get(id) ?? []);
    const unscored = this.trials.filter(({ status }) => status === 'generated');
    const texts = new Set<string>();
    const answers: Answer[] = [];
    for (const { id, text, finishReason, score } of [...scored, ...unscored]) {
      if (answers.length >= count || text === null || texts.has(text)) continue;
      texts.add(text);
      answers.push({ trial: id, text, finishReason: finishReason ?? 'stop', score });
    }
    return answers;
  }

  /** Trials from the root's child to `id`. */
  path(id: number): TrialState[] {
    const path: TrialState[] = [];
    for (let trial = this.#trials.get(id); trial !== undefined; trial = this.#trials.get(trial.parent)) {
      path.unshift(trial);
    }
    return path;
  }

  /** Scores of the trial's subtree, its own among them. */
  visits(id: number): number {
    return this.#core.read((core) => core.statistics(id).visits);
  }

  /** A hash of the tree, by which two of them are told apart. */
  fingerprint(): string {
    return this.#core.read((core) => core.fingerprint());
  }

  /** What is to be done at `now`. */
  next(now: number): Step {
    if (this.#reason !== null) return { kind: 'ended' };
    const reason = this.#stopReason(now);
    const open = this.open.length;
    if (reason === 'deadline' || reason === 'score_reached' || reason === 'failures') return { kind: 'finish', reason };
    if (reason !== null) return open === 0 ? { kind: 'finish', reason } : { kind: 'wait' };
    const left = this.#limits.trials - this.#trials.size;
    const count = Math.min(this.definition.concurrency - open, left);
    if (count > 0 && !this.#isExhausted) return { kind: 'ask', count };
    // The core wants results before it gives more; without any under way there never will be.
    return open === 0 ? { kind: 'finish', reason: 'exhausted' } : { kind: 'wait' };
  }

  /** Trials for `next`'s `ask`, as an entry that is not yet applied; null where results must come first. */
  ask(count: number, at: number): EntryOf<'asked'> | null {
    const trials = this.#core.ask(count, at);
    if (trials.length > 0) return { type: 'asked', at, count, trials };
    this.#isExhausted = true;
    this.#core.forget();
    return null;
  }

  /** Takes back what `ask` did, where its entry found no place in the log. */
  withdraw(): void {
    this.#core.forget();
  }

  /** Applies the entry that `ask` made, once it is in the log. */
  accept(entry: EntryOf<'asked'>): void {
    this.#core.accept(entry.count, entry.at);
    this.#note(entry);
  }

  /** Applies the log's next entry. @throws LogDamaged */
  apply(entry: Entry): void {
    if (entry.type === 'asked') {
      const trials = this.#core.ask(entry.count, entry.at);
      if (JSON.stringify(trials) !== JSON.stringify(entry.trials)) {
        throw new LogDamaged(`the log asked for other trials than the core: ${JSON.stringify(trials)}`);
      }
      this.accept(entry);
      return;
    }
    this.#note(entry);
  }

  /** Gives the core's memory back. */
  dispose(): void {
    this.#core.dispose();
  }

  #note(entry: Entry): void {
    switch (entry.type) {
      case 'started':
        throw new LogDamaged('the log starts twice');
      case 'asked':
        for (const trial of entry.trials) this.#trials.set(trial.id, { ...trial, ...untouched });
        break;
      case 'generated':
        this.#change(entry.trial, {
          status: 'generated',
          text: entry.text,
          finishReason: entry.finish_reason,
          usage: [entry.usage],
          latencyMs: entry.latency_ms,
        });
        break;
      case 'scored':
        this.#score(entry);
        break;
      case 'failed':
        this.#fail(entry);
        break;
      case 'resumed':
        this.#reason = null;
        this.#failuresInRow = 0;
        this.#limits = {
          trials: entry.trials,
          tokens: entry.tokens,
          scoreReached: entry.score_reached,
          deadlineAt: entry.deadline_at,
        };
        break;
      case 'finished':
        this.#reason = entry.reason;
        break;
    }
    this.#isExhausted = false;
    this.entries.push(entry);
  }

  #score(entry: EntryOf<'scored'>): void {
    const trial = this.#known(entry.trial);
    const usage = [...trial.usage, ...entry.usage];
    const cost = { tokens: tokensOf(usage), timeMs: Math.round(trial.latencyMs) };
    this.#core.apply({ event: 'tell', trial: entry.trial, score: entry.score, cost, now: entry.at });
    this.#change(entry.trial, { status: 'scored', score: entry.score, feedback: entry.feedback, usage });
    this.#failuresInRow = 0;
  }

  #fail(entry: EntryOf<'failed'>): void {
    const usage = [...this.#known(entry.trial).usage, ...entry.usage];
    this.#core.apply({ event: 'fail', trial: entry.trial, cost: { tokens: tokensOf(usage) }, now: entry.at });
    this.#change(entry.trial, { status: 'failed', failure: { code: entry.code, message: entry.message }, usage });
    this.#failuresInRow += 1;
    this.#lastFailure = entry;
  }

  #known(id: number): TrialState {
    const trial = this.#trials.get(id);
    if (trial === undefined) throw new LogDamaged(`the log names trial ${id}, which was not asked`);
    return trial;
  }

  #change(id: number, change: Partial<TrialState>): void {
    this.#trials.set(id, { ...this.#known(id), ...change });
  }

  #bestTrial() {
    return this.#core.read((core) => core.top(1))[0];
  }

  #stopReason(now: number): EndReason | null {
    const { trials, tokens, scoreReached, deadlineAt } = this.#limits;
    const best = this.#bestTrial()?.score ?? null;
    const { gain_least: gainLeast } = this.definition;
    if (best !== null && best >= scoreReached) return 'score_reached';
    if (now >= deadlineAt) return 'deadline';
    if (this.#failuresInRow >= failuresInRowMax) return 'failures';
    if (tokens !== null && this.tokens >= tokens) return 'tokens';
    if (this.#trials.size >= trials) return 'trials';
    if (gainLeast !== undefined && best !== null && this.#core.read((core) => core.expectedGain) < gainLeast)
      return 'gain';
    return null;
  }
}

const untouched = {
  status: 'asked',
  text: null,
  finishReason: null,
  score: null,
  feedback: null,
  failure: null,
  usage: [],
  latencyMs: 0,
} as const;

const tokensOf = (usages: readonly ModelUsage[]): number =>
  usages.reduce((sum, { input_tokens: input, output_tokens: output }) => sum + input + output, 0);
