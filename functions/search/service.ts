/** Searches for tenants: begun, driven, read, ended and taken up again. Free of HTTP. */
import type { Tracer } from '@opentelemetry/api';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import { ApiError } from '../errors.ts';
import type { ChatContext } from '../gateway/chat-models.ts';
import { uuid } from '../identifiers.ts';
import type { Background, Log, Random, SearchDriver, Searches, SearchKey, Singletons } from '../ports.ts';
import { Steps } from '../telemetry/tracing.ts';
import type { Caller } from '../tenancy/caller.ts';
import type { UsageLedger } from '../tenancy/usage.ts';
import type { LiveInstance } from '../wasm/instance.ts';
import type { SearchModule } from './core/search-module.ts';
import { modelsOf, type SearchDefinition } from './definition.ts';
import { type Entry, type EntryOf, isRunningAfter, readEntries } from './entries.ts';
import { MemoryJournal } from './memory-journal.ts';
import { SearchRun } from './run.ts';
import { isAllowedWebhook } from './scorers/webhook.ts';
import { SearchState } from './state.ts';
import { ModelWork, type TrialServices } from './trial-work.ts';

/** Times that a change by a client is tried anew because the search has moved on meanwhile. */
export const changeAttemptsMax = 50;
/** Forks behind one search at most. */
export const forkDepthMax = 16;

/** What searches are made of. */
export interface SearchServices extends TrialServices {
  readonly searches: Searches;
  readonly singletons: Singletons;
  readonly live: () => Promise<LiveInstance<SearchModule>>;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly usage: UsageLedger;
  readonly log: Log;
}

/** Searches of one tenant that may run at the same time. */
export const runningMax = 32;

/** The searches of one tenant that run, and when each will have ended at the latest. */
interface Places {
  readonly running: readonly { readonly id: string; readonly until: number }[];
}

/** What a change does: entries to add, or none, and what to answer. */
export interface Change<Result> {
  readonly entries: readonly Entry[];
  readonly result: Result;
}

/** Searches; one an isolate. */
export class SearchService {
  readonly #services: SearchServices;

  constructor(services: SearchServices) {
    this.#services = services;
    services.searches.drivenBy(this.#drive);
  }

  /** A seed for whoever gives none. */
  seed(): number {
    return Math.floor(this.#services.random.fraction() * 2 ** 32);
  }

  /** Refuses what cannot work before anything is paid for. @throws ApiError */
  async check(definition: SearchDefinition, background: Background): Promise<void> {
    const { chat, embedding, webhooks } = this.#services;
    for (const model of modelsOf(definition)) await chat.check(model, background);
    const { scorer } = definition;
    for (const one of scorer.type === 'mix' ? scorer.parts.map((part) => part.scorer) : [scorer]) {
      if (one.type === 'similarity') await embedding.modelAnywhere(one.model, background);
      if (one.type === 'webhook' && !isAllowedWebhook(one.url, webhooks)) {
        throw new ApiError(
          'forbidden',
          'This deployment does not allow that webhook: SEARCH_WEBHOOKS lists those it does.',
          {
            parameter: 'scorer.url',
          },
        );
      }
    }
  }

  /** The entry that a search begins with. */
  start(definition: SearchDefinition, deadlineMs: number, caller: Caller): EntryOf<'started'> {
    const { clock, random } = this.#services;
    const at = clock.now();
    const head = { id: uuid(random), definition, deadline_at: at + deadlineMs, key_id: caller.keyId, origin: null };
    return { type: 'started', at, ...head };
  }

  /** Runs a search to its end inside one request. */
  async runHere(
    started: EntryOf<'started'>,
    context: ChatContext,
    onEntry: (entry: Entry, state: SearchState) => void,
  ): Promise<SearchState> {
    const { clock } = this.#services;
    const run = await SearchRun.from({
      journal: new MemoryJournal([JSON.stringify(started)]),
      live: await this.#services.live(),
      clock,
      work: new ModelWork(this.#services, { ...context, depth: context.depth + 1 }),
      signal: context.signal,
      onEntry,
    });
    await run.run();
    return run.state;
  }

  /** Keeps a search and has it driven. */
  async create(tenantId: string, entries: readonly Entry[], background: Background): Promise<SearchState> {
    const state = SearchState.replay(entries, await this.#services.live());
    const key = { tenantId, id: state.started.id };
    const isRunning = isRunningAfter(entries);
    if (isRunning) await this.#takePlace(key, state.limits.deadlineAt);
    await this.#services.searches.create(
      key,
      entries.map((entry) => JSON.stringify(entry)),
      isRunning,
    );
    if (isRunning) await this.#services.searches.wake(key, background);
    return state;
  }

  /** The next entries from `after` on, waiting up to `waitMs` for one. @throws ApiError search_not_found */
  async entries(key: SearchKey, after: number, waitMs: number): Promise<Entry[]> {
    const texts = await this.#services.searches.journal(key).read(after, waitMs);
    if (texts === null) throw new ApiError('search_not_found');
    return texts.map((text) => JSON.parse(text) as Entry);
  }

  /** How a search stands, for `look`. @throws ApiError search_not_found */
  async look<Result>(key: SearchKey, background: Background, look: (state: SearchState) => Result): Promise<Result> {
    const state = await this.#state(key);
    try {
      if (state.reason === null) await this.#services.searches.wake(key, background);
      return look(state);
    } finally {
      state.dispose();
    }
  }

  /** Changes a search by what `change` says for its present state. @throws ApiError search_not_found, and what `change` does */
  async change<Result>(
    key: SearchKey,
    background: Background,
    change: (state: SearchState) => Change<Result>,
  ): Promise<Result> {
    const { searches } = this.#services;
    for (let attempt = 0; attempt < changeAttemptsMax; attempt += 1) {
      const state = await this.#state(key);
      try {
        const { entries, result } = change(state);
        const texts = entries.map((entry) => JSON.stringify(entry));
        const isRunning = entries.length === 0 ? state.reason === null : isRunningAfter(entries);
        for (const entry of entries) if (entry.type === 'resumed') await this.#takePlace(key, entry.deadline_at);
        if (texts.length > 0 && !(await searches.journal(key).append(state.length, texts, isRunning))) continue;
        if (isRunning) await searches.wake(key, background);
        return result;
      } finally {
        state.dispose();
      }
    }
    throw new ApiError('overloaded', 'The search moves on too fast to be changed; try again.');
  }

  /** A new search that goes on where `of` stands now. */
  fork(of: SearchState, caller: Caller): { readonly started: EntryOf<'started'>; readonly entries: Entry[] } {
    const depth = (of.started.origin?.depth ?? 0) + 1;
    if (depth > forkDepthMax)
      throw new ApiError('invalid_request', `A fork has at most ${forkDepthMax} forks behind it.`);
    const origin = { search: of.started.id, depth };
    const started = { ...of.started, id: uuid(this.#services.random), key_id: caller.keyId, origin };
    return { started, entries: [started, ...of.entries.slice(1)] };
  }

  /** Takes up the tenant's searches that nobody drives any more, in the background. */
  takeUp(tenantId: string, background: Background): void {
    this.#services.searches.takeUp(tenantId, background);
  }

  /** Takes one of the tenant's places. @throws ApiError overloaded */
  async #takePlace({ tenantId, id }: SearchKey, until: number): Promise<void> {
    const now = this.#services.clock.now();
    const isFree = await this.#services.singletons.update<Places, boolean>(`searches/${tenantId}`, (state) => {
      const running = (state?.running ?? []).filter((one) => one.until > now && one.id !== id);
      if (running.length >= runningMax) return { state: { running }, result: false };
      return { state: { running: [...running, { id, until }] }, result: true };
    });
    if (!isFree) throw new ApiError('overloaded', `At most ${runningMax} searches of a tenant run at the same time.`);
  }

  async #leavePlace({ tenantId, id }: SearchKey): Promise<void> {
    await this.#services.singletons.update<Places, null>(`searches/${tenantId}`, (state) => {
      return { state: { running: (state?.running ?? []).filter((one) => one.id !== id) }, result: null };
    });
  }

  async #state(key: SearchKey): Promise<SearchState> {
    const entries = await readEntries(this.#services.searches.journal(key), 0);
    if (entries === null) throw new ApiError('search_not_found');
    return SearchState.replay(entries, await this.#services.live());
  }

  readonly #drive: SearchDriver = async (key, journal, background, signal) => {
    const { tracer, clock, log, usage } = this.#services;
    const steps = new Steps(tracer, clock, 'search', ROOT_CONTEXT);
    try {
      const [first = '{}'] = (await journal.read(0, 0)) ?? [];
      const { key_id: keyId } = JSON.parse(first) as EntryOf<'started'>;
      const context = { caller: { tenantId: key.tenantId, keyId }, steps, signal, background, depth: 1 };
      const work = new ModelWork(this.#services, context);
      const run = await SearchRun.from({ journal, live: await this.#services.live(), clock, work, signal });
      await run.run();
      if (run.state.reason !== null) await this.#leavePlace(key);
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      log.write('warn', 'a search was left to its next driver', { search: key.id, reason, trace_id: steps.traceId });
      throw thrown;
    } finally {
      steps.end();
      background.run(usage.flush());
    }
  };
}
