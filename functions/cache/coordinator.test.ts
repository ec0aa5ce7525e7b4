import { expect, test } from 'vitest';
import { goModules, ManualClock, MemoryLog, MemoryStore } from '../../tests/support/ports.ts';
import type { CacheIndex } from '../../wasm-go/cache.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { type LiveInstance, WasmTrapped } from '../wasm/instance.ts';
import { loadCacheIndex } from '../wasm/loader.ts';
import { cacheWishesOf } from './cache-status.ts';
import { CacheCoordinator, cacheKey, sharedStorePauseMs, timeToLiveSeconds, valueLengthMax } from './coordinator.ts';

const any = cacheWishesOf(undefined);
const key = 'a'.repeat(64);

/** `isolates` coordinators with an index each, in front of one shared store. */
async function setUp(options: { weightMax?: number; shared?: boolean } = {}) {
  const clock = new ManualClock();
  const sharedStore = new MemoryStore(clock);
  const log = new MemoryLog();
  const metrics = createMetrics();
  const isolate = async () => {
    const limits = { weightMax: options.weightMax ?? 1_048_576, entriesMax: 64, seed: 1 };
    const live: LiveInstance<CacheIndex> = await loadCacheIndex(goModules, limits);
    const shared = options.shared === false ? null : sharedStore;
    const cache = new CacheCoordinator({ clock, sharedStore: shared, metrics, log, index: async () => live });
    const put = async (name: string, value: string) => {
      const { stored, shared: copied } = await cache.store(name, value);
      await copied;
      return stored;
    };
    return { cache, live, put };
  };
  const lookups = async () =>
    (await metrics.cacheLookups.get()).values.map(({ labels, value }) => `${labels.tier} ${labels.result} ${value}`);
  return { clock, sharedStore, log, isolate, lookups };
}

test('what was stored is found in the isolate, with the seconds that it has left', async () => {
  const { isolate, clock, sharedStore } = await setUp();
  const { cache, put } = await isolate();
  expect(await cache.lookup(key, any)).toBeNull();
  expect(await put(key, 'value')).toBe(true);
  clock.advance(10_000);
  const asked = sharedStore.calls.length;
  expect(await cache.lookup(key, any)).toEqual({
    value: 'value',
    outcome: { kind: 'hit', tier: 'isolate', ttlSeconds: timeToLiveSeconds - 10 },
  });
  expect(sharedStore.calls).toHaveLength(asked);
});

test('another isolate finds it in the shared store, and the next time in its own memory', async () => {
  const { isolate, clock, lookups } = await setUp();
  const [first, second] = [await isolate(), await isolate()];
  await first.put(key, 'value');
  clock.advance(5_000);
  expect((await second.cache.lookup(key, any))?.outcome).toEqual({ kind: 'hit', tier: 'shared', ttlSeconds: 3_595 });
  expect((await second.cache.lookup(key, any))?.outcome).toMatchObject({ tier: 'isolate', ttlSeconds: 3_595 });
  expect(await lookups()).toEqual(['isolate miss 1', 'shared hit 1', 'isolate hit 1']);
});

test('an entry that was promoted ends when the original does', async () => {
  const { isolate, clock } = await setUp();
  const [first, second] = [await isolate(), await isolate()];
  await first.put(key, 'value');
  clock.advance((timeToLiveSeconds - 1) * 1e3);
  expect(await second.cache.lookup(key, any)).not.toBeNull();
  clock.advance(1_000);
  expect(await second.cache.lookup(key, any)).toBeNull();
  expect(await first.cache.lookup(key, any)).toBeNull();
});

test.each([
  ['no-cache', null],
  ['no-store', null],
  ['max-age=0', null],
  ['max-age=9', null],
  ['max-age=10', 'isolate'],
  [undefined, 'isolate'],
])('an entry of 10 seconds, asked for with Cache-Control %j', async (header, tier) => {
  const { isolate, clock } = await setUp();
  const { cache, put } = await isolate();
  await put(key, 'value');
  clock.advance(10_000);
  expect((await cache.lookup(key, cacheWishesOf(header)))?.outcome.tier ?? null).toBe(tier);
});

test('a shared store that is down is a miss, one log line, and is left alone for a while', async () => {
  const { isolate, clock, sharedStore, log } = await setUp();
  const { cache, put } = await isolate();
  sharedStore.failWith = new Error('refused');
  expect(await cache.lookup(key, any)).toBeNull();
  expect(await cache.lookup(key, any)).toBeNull();
  expect(await put('b'.repeat(64), 'value')).toBe(true);
  expect(sharedStore.calls).toEqual(['get']);
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { operation: 'get', reason: 'refused' } }]);
  clock.advance(sharedStorePauseMs);
  sharedStore.failWith = null;
  expect(await put(key, 'value')).toBe(true);
  expect(sharedStore.calls).toEqual(['get', 'set']);
});

test('the isolate’s own entries are served while the shared store is down', async () => {
  const { isolate, sharedStore } = await setUp();
  const { cache, put } = await isolate();
  await put(key, 'value');
  sharedStore.failWith = new Error('refused');
  expect((await cache.lookup(key, any))?.outcome.tier).toBe('isolate');
});

test('without a shared store the isolate’s memory is the cache', async () => {
  const { isolate, sharedStore } = await setUp({ shared: false });
  const { cache, put } = await isolate();
  await put(key, 'value');
  expect((await cache.lookup(key, any))?.value).toBe('value');
  expect(sharedStore.calls).toEqual([]);
});

test('the largest value is kept, and one character more is not', async () => {
  const { isolate, sharedStore } = await setUp({ weightMax: 16 * 1_048_576 });
  const { cache, put } = await isolate();
  expect(await put(key, 'x'.repeat(valueLengthMax + 1))).toBe(false);
  expect([await cache.lookup(key, any), sharedStore.entries.size]).toEqual([null, 0]);
  expect(await put(key, 'x'.repeat(valueLengthMax))).toBe(true);
  expect((await cache.lookup(key, any))?.value).toHaveLength(valueLengthMax);
});

test('values over the isolate’s weight leave, and are then found in the shared store', async () => {
  const { isolate } = await setUp({ weightMax: 10_000 });
  const { cache, put } = await isolate();
  const names = ['1', '2', '3', '4'].map((digit) => digit.repeat(64));
  for (const name of names) await put(name, 'x'.repeat(1_500));
  const tiers = [];
  for (const name of names.toReversed()) tiers.push((await cache.lookup(name, any))?.outcome.tier);
  expect(tiers.slice(0, 3)).toEqual(['isolate', 'isolate', 'isolate']);
  expect(tiers[3]).toBe('shared');
});

test.each([
  ['nothing like an entry', 'hello'],
  ['an empty text', ''],
  ['a value without its time', ' value'],
  ['a time in another notation', '1e99 value'],
])('%s in the shared store is a miss', async (_, text) => {
  const { isolate, sharedStore } = await setUp();
  const { cache } = await isolate();
  await sharedStore.set(`treeline:cache:1:${key}`, text, 60);
  expect(await cache.lookup(key, any)).toBeNull();
});

test('a trap of the index is a miss; the cache goes on empty and never serves a value under a reused slot', async () => {
  const { isolate } = await setUp({ shared: false });
  const { cache, live, put } = await isolate();
  await put(key, 'before');
  const trap = () => {
    throw new WebAssembly.RuntimeError('unreachable');
  };
  expect(() => live.run(trap)).toThrow(WasmTrapped);
  expect(await cache.lookup(key, any)).toBeNull();
  const other = 'b'.repeat(64);
  await put(other, 'after');
  expect((await cache.lookup(other, any))?.value).toBe('after');
  expect(await cache.lookup(key, any)).toBeNull();
});

test('a trap during a call costs the entry and not the request', async () => {
  const { clock, log } = await setUp();
  const trapping = {
    run: () => {
      throw new WasmTrapped('cache', 1, new Error('unreachable'));
    },
  } as unknown as LiveInstance<CacheIndex>;
  const ports = { clock, log, sharedStore: null, metrics: createMetrics(), index: async () => trapping };
  const cache = new CacheCoordinator(ports);
  expect(await cache.lookup(key, any)).toBeNull();
  await expect(cache.store(key, 'value')).resolves.toMatchObject({ stored: true });
});

test('keys: no two lists of parts are alike, and tenants are apart', async () => {
  const lists = [
    ['embedding', 'tenant-1', 'model', 'text'],
    ['embedding', 'tenant-2', 'model', 'text'],
    ['embedding', 'tenant-1model', '', 'text'],
    ['embedding', 'tenant-1', 'modeltext', ''],
    ['embedding', 'tenant-1', 'mode', 'ltext'],
    ['embedding', 'tenant-1', 'model', 'text', ''],
    ['embedding', 'tenant-1', '5:model4:text'],
  ];
  const keys = await Promise.all(lists.map((parts) => cacheKey(parts)));
  expect(new Set(keys).size).toBe(lists.length);
  for (const one of keys) expect(one).toMatch(/^[0-9a-f]{64}$/);
  expect(await cacheKey(['a'])).toBe(await cacheKey(['a']));
});
