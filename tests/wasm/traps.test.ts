/** The shipped modules trap, and the isolate goes on. */
import { expect, test } from 'vitest';
import { WasmTrapped } from '../../functions/wasm/instance.ts';
import { load, loadCacheIndex, loadRouter } from '../../functions/wasm/loader.ts';
import type { CacheExports } from '../../wasm-go/dist/cache.d.ts';
import { startGoModule } from '../../wasm-go/instance.ts';
import { goModules } from './modules.ts';

test('a key length beyond the buffer traps the Go module, and the next call is served', async () => {
  const traps: WasmTrapped[] = [];
  const live = await load(
    goModules,
    'cache',
    (module) => {
      const exports = startGoModule<CacheExports>(module);
      exports.configure(10, 100, 0);
      return exports;
    },
    (trap) => traps.push(trap),
  );
  expect(() => live.run((exports) => exports.lookup(1_000_000, 0))).toThrow(WasmTrapped);
  expect(traps.map(({ module, generation }) => [module, generation])).toEqual([['cache', 1]]);
  expect(live.run((exports) => exports.lookup(0, 0))).toBe(-1);
});

test('a Go module that is used before it is configured traps', async () => {
  const live = await load(goModules, 'cache', (module) => startGoModule<CacheExports>(module));
  expect(() => live.run((exports) => exports.lookup(0, 0))).toThrow(WasmTrapped);
});

test('after a trap the cache index is empty and of another generation', async () => {
  const live = await loadCacheIndex(goModules, { weightMax: 100, entriesMax: 10 });
  live.run((index) => index.insert('a', 1, 1_000, 0));
  expect(live.run((index) => index.lookup('a', 1))).toBeGreaterThanOrEqual(0);
  expect(() =>
    live.run(() => {
      throw new WebAssembly.RuntimeError('unreachable');
    }),
  ).toThrow(WasmTrapped);
  expect(live.run((index, generation) => [index.lookup('a', 1), generation])).toEqual([-1, 2]);
});

test('after a trap the router has no upstreams and of another generation', async () => {
  const live = await loadRouter(goModules);
  live.run((router) => router.setUpstreams([{ weight: 1 }]));
  expect(() =>
    live.run(() => {
      throw new WebAssembly.RuntimeError('unreachable');
    }),
  ).toThrow(WasmTrapped);
  expect(live.run((router, generation) => [router.choose(0, 0.5, 0.5), generation])).toEqual([-1, 2]);
});
