import { expect, test } from 'vitest';
import { goModules, ManualClock, seededRandom } from '../../tests/support/ports.ts';
import { WasmTrapped } from '../wasm/instance.ts';
import { loadRouter } from '../wasm/loader.ts';
import { Upstreams } from './upstreams.ts';

async function setUp(baseUrls: string[]) {
  const clock = new ManualClock();
  const live = await loadRouter(goModules);
  const upstreams = new Upstreams(baseUrls, { clock, random: seededRandom(5), router: async () => live });
  return { clock, live, upstreams };
}

const [a, b, c] = ['https://a.example/v1', 'https://b.example/v1', 'https://c.example/v1'];

test('without an upstream the way out is named', async () => {
  const { upstreams } = await setUp([]);
  await expect(upstreams.choose()).rejects.toMatchObject({
    code: 'upstream_not_configured',
    message: expect.stringContaining('UPSTREAM_BASE_URL'),
  });
});

test('calls that run at the same time spread over all replicas', async () => {
  const { upstreams } = await setUp([a, b, c]);
  const counts = new Map<string, number>();
  for (let call = 0; call < 60; call += 1) {
    const { baseUrl } = await upstreams.choose();
    counts.set(baseUrl, (counts.get(baseUrl) ?? 0) + 1);
  }
  expect([...counts.keys()].sort()).toEqual([a, b, c]);
  for (const count of counts.values()) expect(count).toBeGreaterThanOrEqual(15);
});

test('a replica that fails again and again is left alone, then tried again', async () => {
  const { upstreams, clock } = await setUp([a, b]);
  for (let call = 0; call < 40; call += 1) {
    const { baseUrl, end } = await upstreams.choose();
    end(baseUrl === b, 5);
  }
  const chosen = new Set<string>();
  for (let call = 0; call < 20; call += 1) {
    const { baseUrl, end } = await upstreams.choose();
    chosen.add(baseUrl);
    end(true, 5);
  }
  expect([...chosen]).toEqual([b]);
  clock.advance(10 * 60_000);
  for (let call = 0; call < 40; call += 1) {
    const { baseUrl, end } = await upstreams.choose();
    chosen.add(baseUrl);
    end(true, 5);
  }
  expect([...chosen].sort()).toEqual([a, b]);
});

test('with every replica failing the call is refused at once', async () => {
  const { upstreams } = await setUp([a]);
  for (let call = 0; call < 5; call += 1) (await upstreams.choose()).end(false, 5);
  await expect(upstreams.choose()).rejects.toMatchObject({ code: 'upstream_failed' });
});

test('after a trap the router is filled again, and a call of before may still end', async () => {
  const { upstreams, live } = await setUp([a, b]);
  const { end } = await upstreams.choose();
  const trap = () => {
    throw new WebAssembly.RuntimeError('unreachable');
  };
  expect(() => live.run(trap)).toThrow(WasmTrapped);
  expect([a, b]).toContain((await upstreams.choose()).baseUrl);
  expect(() => end(false, 5)).not.toThrow();
});
