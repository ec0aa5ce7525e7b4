/** Memory is handed back: 100,000 calls leave each instance as large as the first thousand did. */
import { expect, test } from 'vitest';
import { loadCacheIndex, loadRouter } from '../../functions/wasm/loader.ts';
import { goModules } from './modules.ts';

const warmUpCalls = 1_000;
const calls = 100_000;

/** Runs `call` and returns the memory in bytes after the warm-up and at the end. */
function memoryBytes(call: (at: number) => void, bytes: () => number): { early: number; late: number } {
  for (let at = 0; at < warmUpCalls; at++) call(at);
  const early = bytes();
  for (let at = warmUpCalls; at < warmUpCalls + calls; at++) call(at);
  return { early, late: bytes() };
}

test('the cache index does not grow', async () => {
  const live = await loadCacheIndex(goModules, { weightMax: 10_000, entriesMax: 500 });
  const { early, late } = memoryBytes(
    (at) =>
      live.run((index) => {
        index.insert(`key-${at}`, at % 90, 1 + (at % 700), at);
        index.lookup(`key-${at - (at % 400)}`, at);
        if (at % 3 === 0) index.remove(`key-${at - 7}`);
        if (at % 100 === 0) index.sweep(at);
      }),
    () => live.run((index) => index.memoryBytes()),
  );
  const statistics = live.run((index) => index.statistics());
  expect(late).toBe(early);
  expect(Math.min(statistics.hits, statistics.evictions, statistics.expirations, statistics.removals)).toBeGreaterThan(
    0,
  );
});

test('the router does not grow', async () => {
  const live = await loadRouter(goModules);
  live.run((router) => router.setUpstreams(Array.from({ length: 8 }, (_, at) => ({ weight: at + 1 }))));
  const { early, late } = memoryBytes(
    (at) =>
      live.run((router) => {
        const chosen = router.choose(at, (at * 0.37) % 1, (at * 0.73) % 1);
        if (chosen === -1) return;
        router.begin(chosen, at);
        router.end(chosen, at + 5, 5 + (at % 50), at % 5 !== 0);
      }),
    () => live.run((router) => router.memoryBytes()),
  );
  expect(late).toBe(early);
});

test('a router whose upstreams are set again and again does not grow', async () => {
  const live = await loadRouter(goModules);
  const upstreams = Array.from({ length: 8 }, () => ({ weight: 1 }));
  const { early, late } = memoryBytes(
    () => live.run((router) => router.setUpstreams(upstreams)),
    () => live.run((router) => router.memoryBytes()),
  );
  expect(late).toBe(early);
});
