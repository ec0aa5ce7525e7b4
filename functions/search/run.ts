/**
 * Carries a search on: asks, calls, scores, and writes down each thing before it counts. Killed at any moment, another run
 * goes on from the log; a trial whose answer or score is in it is not paid for again.
 */
import type { Clock, SearchJournal } from '../ports.ts';
import type { LiveInstance } from '../wasm/instance.ts';
import type { SearchModule } from './core/search-module.ts';
import { type Entry, isRunningAfter, readEntries } from './entries.ts';
import { SearchState, type TrialState } from './state.ts';

/** Times that an entry is added anew because others came first. */
export const appendAttemptsMax = 100;
/** Longest wait for what others write, in milliseconds; then it is asked for again. */
export const listenMs = 15_000;
/** Longest sleep, in milliseconds: timers take no longer ones. */
const sleepMsMax = 60_000;

/** The calls that a trial consists of. Failures are entries too; null where the run's signal ended the call. */
export interface TrialWork {
  generate(state: SearchState, trial: TrialState, signal: AbortSignal): Promise<Entry | null>;
  score(state: SearchState, trial: TrialState, signal: AbortSignal): Promise<Entry | null>;
}

interface RunPorts {
  readonly journal: SearchJournal;
  readonly live: LiveInstance<SearchModule>;
  readonly clock: Clock;
  readonly work: TrialWork;
  /** Ends the run, and the calls under way with it; the search itself goes on with the next run. */
  readonly signal: AbortSignal;
  /** Told of each entry once it is in the log. */
  readonly onEntry?: (entry: Entry, state: SearchState) => void;
}

/** One run of one search. */
export class SearchRun {
  readonly state: SearchState;
  readonly #ports: RunPorts;
  readonly #calls = new Set<number>();
  readonly #results: Entry[] = [];
  readonly #stop = new AbortController();
  #wake: () => void = () => {};
  #isListening = false;
  #isStale = false;
  #failure: { readonly reason: unknown } | null = null;

  private constructor(state: SearchState, ports: RunPorts) {
    this.state = state;
    this.#ports = ports;
  }

  /** A run from what the journal holds. */
  static async from(ports: RunPorts): Promise<SearchRun> {
    const entries = (await readEntries(ports.journal, 0)) ?? [];
    return new SearchRun(SearchState.replay(entries, ports.live), ports);
  }

  /** Runs until the search has ended or the signal aborts. Throws what the journal throws. */
  async run(): Promise<void> {
    const wake = () => this.#wake();
    this.#ports.signal.addEventListener('abort', wake);
    try {
      while (!this.#ports.signal.aborted && this.state.reason === null) {
        await this.#takeResults();
        if (await this.#step()) continue;
        this.#startCalls();
        this.#listen();
        await this.#sleep();
        if (this.#failure !== null) throw this.#failure.reason;
      }
    } finally {
      this.#ports.signal.removeEventListener('abort', wake);
      this.#stop.abort();
      this.state.dispose();
    }
  }

  /** Does what needs no waiting; true where there may be more of it. */
  async #step(): Promise<boolean> {
    const now = this.#ports.clock.now();
    const step = this.state.next(now);
    switch (step.kind) {
      case 'ask':
        await this.#ask(step.count, now);
        return true;
      case 'finish':
        await this.#append({ type: 'finished', at: now, reason: step.reason });
        return true;
      case 'ended':
        return true;
      case 'wait':
        return false;
    }
  }

  async #ask(count: number, now: number): Promise<void> {
    const entry = this.state.ask(count, now);
    if (entry === null) return;
    if (await this.#ports.journal.append(this.state.length, [JSON.stringify(entry)], true)) {
      this.state.accept(entry);
      this.#ports.onEntry?.(entry, this.state);
      return;
    }
    this.state.withdraw();
    await this.#catchUp();
  }

  async #takeResults(): Promise<void> {
    if (this.#isStale) await this.#catchUp();
    for (let entry = this.#results.shift(); entry !== undefined; entry = this.#results.shift()) {
      await this.#append(entry);
    }
  }

  /** Adds an entry, unless what others wrote meanwhile has made it void. */
  async #append(entry: Entry): Promise<void> {
    for (let attempt = 0; attempt < appendAttemptsMax && this.state.reason === null; attempt += 1) {
      const isRunning = isRunningAfter([entry]);
      if (await this.#ports.journal.append(this.state.length, [JSON.stringify(entry)], isRunning)) {
        this.#apply(entry);
        return;
      }
      await this.#catchUp();
    }
  }

  async #catchUp(): Promise<void> {
    this.#isStale = false;
    for (const entry of (await readEntries(this.#ports.journal, this.state.length)) ?? []) this.#apply(entry);
  }

  #apply(entry: Entry): void {
    this.state.apply(entry);
    this.#ports.onEntry?.(entry, this.state);
  }

  /** Begins what each open trial needs next, unless it is under way. The client's scores come by themselves. */
  #startCalls(): void {
    const { work } = this.#ports;
    for (const trial of this.state.open) {
      const isClients = trial.status === 'generated' && this.state.definition.scorer.type === 'client';
      if (this.#calls.has(trial.id) || isClients) continue;
      this.#calls.add(trial.id);
      const begin = trial.status === 'asked' ? work.generate : work.score;
      const signal = AbortSignal.any([this.#stop.signal, this.#ports.signal]);
      begin
        .call(work, this.state, trial, signal)
        .then((entry) => entry !== null && this.#results.push(entry))
        .catch((reason: unknown) => {
          this.#failure = { reason };
        })
        .finally(() => {
          this.#calls.delete(trial.id);
          this.#wake();
        });
    }
  }

  /** Wakes the run when somebody else has written. */
  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.#ports.journal
      .read(this.state.length, listenMs)
      .then((entries) => {
        this.#isStale ||= (entries ?? []).length > 0;
      })
      .catch((reason: unknown) => {
        this.#failure = { reason };
      })
      .finally(() => {
        this.#isListening = false;
        this.#wake();
      });
  }

  /** Until a call is done, somebody has written, the deadline has come, or the run is ended. */
  async #sleep(): Promise<void> {
    const isBusy = this.#results.length > 0 || this.#isStale || this.#failure !== null || this.#ports.signal.aborted;
    if (isBusy) return;
    const untilDeadline = this.state.limits.deadlineAt - this.#ports.clock.now();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, Math.min(sleepMsMax, Math.max(0, untilDeadline)));
    await promise;
    clearTimeout(timer);
  }
}
