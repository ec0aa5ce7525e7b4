/**
 * The two tiers of the cache. Tier 1 lies in the isolate: the index (which entry, how heavy, until when) is TinyGo, the
 * values stay here. Tier 2 is the shared store. A value lives under its tenant's key, so that no tenant can tell by an
 * answer's speed what another has asked.
 */
import type { CacheIndex } from '../../wasm-go/cache.ts';
import { sha256 } from '../digest.ts';
import type { Clock, Log, SharedStore } from '../ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type LiveInstance, WasmTrapped } from '../wasm/instance.ts';
import type { CacheOutcome, CacheWishes } from './cache-status.ts';

/** Bytes of values that one isolate keeps. */
export const isolateWeightMax = 16 * 1_048_576;
/** Entries that one isolate keeps. */
export const isolateEntriesMax = 16_384;
/** Largest value that is cached, in characters; the shared store's requests are bounded too. */
export const valueLengthMax = 512 * 1_024;
/** How long an answer stays, in seconds. Embeddings never change under one model hash; this bounds what is kept. */
export const timeToLiveSeconds = 3_600;
/** How long the shared store is left alone after it failed, in milliseconds. */
export const sharedStorePauseMs = 5_000;

interface Entry {
  readonly value: string;
  readonly storedAt: number;
}

interface CoordinatorPorts {
  readonly clock: Clock;
  readonly sharedStore: SharedStore | null;
  readonly metrics: Metrics;
  readonly log: Log;
  /** The index. A fresh one (after a trap) is empty, and has another generation. */
  readonly index: () => Promise<LiveInstance<CacheIndex>>;
}

/** What a look-up found. */
export type Found = { readonly value: string; readonly outcome: CacheOutcome & { kind: 'hit' } } | null;

/** SHA-256 of `parts`, each by its length so that no two lists are alike, in hex. */
export function cacheKey(parts: readonly string[]): Promise<string> {
  return sha256(parts.map((part) => `${part.length}:${part}`).join(''));
}

/** Looks up and stores; one an isolate. */
export class CacheCoordinator {
  readonly #ports: CoordinatorPorts;
  #values: (Entry | undefined)[] = [];
  #generation = -1;
  #sharedPausedUntil = 0;

  constructor(ports: CoordinatorPorts) {
    this.#ports = ports;
  }

  /** The value under `key`, from the nearest tier that has one which is young enough for `wishes`. */
  async lookup(key: string, wishes: CacheWishes): Promise<Found> {
    if (!wishes.mayRead) return null;
    return (await this.#fromIsolate(key, wishes)) ?? (await this.#fromSharedStore(key, wishes));
  }

  /** Stores `value` in the isolate now; the promise `shared` is the copy to the shared store, for the background. */
  async store(key: string, value: string): Promise<{ stored: boolean; shared: Promise<void> }> {
    if (value.length > valueLengthMax) return { stored: false, shared: Promise.resolve() };
    const entry = { value, storedAt: this.#ports.clock.now() };
    await this.#keep(key, entry, timeToLiveSeconds * 1e3);
    return { stored: true, shared: this.#share(key, entry) };
  }

  async #fromIsolate(key: string, wishes: CacheWishes): Promise<Found> {
    const { clock, metrics } = this.#ports;
    const now = clock.now();
    const slot = await this.#withIndex(-1, (index) => index.lookup(key, now));
    const entry = slot < 0 ? undefined : this.#values[slot];
    const found = entry === undefined ? null : hit(entry, 'isolate', now, wishes);
    metrics.cacheLookups.inc({ tier: 'isolate', result: found === null ? 'miss' : 'hit' });
    return found;
  }

  async #fromSharedStore(key: string, wishes: CacheWishes): Promise<Found> {
    const { clock, metrics } = this.#ports;
    const text = await this.#useSharedStore('get', (sharedStore) => sharedStore.get(sharedKey(key)));
    const now = clock.now();
    const entry = parseEntry(text);
    const found = entry === null ? null : hit(entry, 'shared', now, wishes);
    metrics.cacheLookups.inc({ tier: 'shared', result: found === null ? 'miss' : 'hit' });
    if (entry !== null && found !== null) await this.#keep(key, entry, entry.storedAt + timeToLiveSeconds * 1e3 - now);
    return found;
  }

  async #keep(key: string, entry: Entry, ttlMs: number): Promise<void> {
    const { clock, metrics } = this.#ports;
    await this.#withIndex(undefined, (index) => {
      // Two bytes a character at most, and the entry's own overhead.
      const { slot, evicted } = index.insert(key, entry.value.length * 2 + 128, ttlMs, clock.now());
      // Released first: the new entry may have been given one of these slots.
      for (const left of evicted) this.#values[left] = undefined;
      if (slot >= 0) this.#values[slot] = entry;
      if (evicted.length > 0) metrics.cacheEvictions.inc({ tier: 'isolate' }, evicted.length);
      metrics.cacheWeight.set({ tier: 'isolate' }, index.statistics().weight);
    });
  }

  async #share(key: string, entry: Entry): Promise<void> {
    const text = `${entry.storedAt} ${entry.value}`;
    await this.#useSharedStore('set', (sharedStore) => sharedStore.set(sharedKey(key), text, timeToLiveSeconds));
  }

  /** Calls the shared store unless it failed just now. A failure is a miss, a count and a log line, never an error. */
  async #useSharedStore<T>(operation: string, call: (sharedStore: SharedStore) => Promise<T>): Promise<T | null> {
    const { clock, sharedStore, metrics, log } = this.#ports;
    if (sharedStore === null || clock.now() < this.#sharedPausedUntil) return null;
    try {
      return await call(sharedStore);
    } catch (thrown) {
      this.#sharedPausedUntil = clock.now() + sharedStorePauseMs;
      metrics.sharedStoreFailures.inc({ operation });
      log.write('warn', 'the shared store failed; the cache goes on in the isolate', {
        operation,
        reason: thrown instanceof Error ? thrown.message : String(thrown),
      });
      return null;
    }
  }

  /**
   * Calls `work` with the live index, after letting go the values of an index that is gone. A trap costs the cache its
   * content, never the request: it counts as `otherwise`.
   */
  async #withIndex<Result>(otherwise: Result, work: (index: CacheIndex) => Result): Promise<Result> {
    const live = await this.#ports.index();
    try {
      return live.run((index, generation) => {
        if (generation !== this.#generation) this.#values = [];
        this.#generation = generation;
        return work(index);
      });
    } catch (thrown) {
      if (thrown instanceof WasmTrapped) return otherwise;
      throw thrown;
    }
  }
}

const sharedKey = (key: string): string => `treeline:cache:1:${key}`;

/** An entry as the shared store holds it: the time of storing, a blank, the value. Anything else is a miss. */
function parseEntry(text: string | null): Entry | null {
  const match = /^(\d{1,15}(?:\.\d+)?) /.exec(text ?? '');
  if (match === null || text === null) return null;
  return { storedAt: Number(match[1]), value: text.slice(match[0].length) };
}

function hit(entry: Entry, tier: 'isolate' | 'shared', now: number, wishes: CacheWishes): Found {
  const ageSeconds = Math.max(0, (now - entry.storedAt) / 1e3);
  const isTooOld = ageSeconds >= timeToLiveSeconds || (wishes.maxAgeSeconds ?? Number.POSITIVE_INFINITY) < ageSeconds;
  const ttlSeconds = Math.round(timeToLiveSeconds - ageSeconds);
  return isTooOld ? null : { value: entry.value, outcome: { kind: 'hit', tier, ttlSeconds } };
}
