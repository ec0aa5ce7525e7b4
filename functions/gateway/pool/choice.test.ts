import { expect, test } from 'vitest';
import { goModules, ManualClock, seededRandom } from '../../../tests/support/ports.ts';
import { loadRouter } from '../../wasm/loader.ts';
import { affinityCallsMax, callMsMax, NodeChoice, nodeOfKey } from './choice.ts';
import type { PoolNode } from './nodes.ts';

const seed = 20_261_125;
const node = (id: string, calls = 0, isFull = false): PoolNode => ({
  id,
  address: `http://127.0.0.1:9/${id}`,
  startedAt: 1,
  models: new Map(),
  calls,
  isFull,
});
const nodes = (count: number): PoolNode[] => Array.from({ length: count }, (_, index) => node(`node-${index}`));

async function setUp() {
  const clock = new ManualClock();
  const live = await loadRouter(goModules);
  return { clock, choice: new NodeChoice({ clock, random: seededRandom(seed), router: async () => live }) };
}

test('a beginning has one node, and keeps it when others come or go', () => {
  const all = nodes(10);
  const keys = Array.from({ length: 1_000 }, (_, index) => `conversation ${index}`);
  const [first] = all;
  let moved = 0;
  for (const key of keys) {
    const own = nodeOfKey(all, key);
    expect(nodeOfKey([...all].reverse(), key)).toBe(own);
    if (nodeOfKey(all.slice(1), key) !== own) {
      moved += 1;
      expect(own).toBe(first);
    }
  }
  expect(moved).toBeGreaterThan(60);
  expect(moved).toBeLessThan(150);
});

test('beginnings are spread over the nodes evenly, near texts as well', () => {
  const all = nodes(8);
  const counts = new Map<string, number>();
  for (let index = 0; index < 8_000; index += 1) {
    const id = nodeOfKey(all, `You are a helpful assistant.\nquestion ${index}`)?.id ?? '';
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  for (const { id } of all) expect(Math.abs((counts.get(id) ?? 0) - 1_000)).toBeLessThan(150);
});

test('calls that share a beginning meet at its node until that has too much more to do', async () => {
  const { choice } = await setUp();
  const all = nodes(4);
  const own = nodeOfKey(all, 'k');
  const chosen = [];
  for (let call = 0; call <= affinityCallsMax; call += 1) chosen.push(await choice.choose(all, 'k'));
  expect(chosen.map((one) => [one?.node.id, one?.reason])).toEqual(chosen.map(() => [own?.id, 'prefix']));
  const next = await choice.choose(all, 'k');
  expect(next?.reason).toBe('load');
  expect(next?.node.id).not.toBe(own?.id);
  for (const one of chosen) one?.over();
  expect((await choice.choose(all, 'k'))?.node.id).toBe(own?.id);
});

test('a node’s own word on its load counts, and a full one is taken only where there is no other', async () => {
  const { choice } = await setUp();
  const own = nodeOfKey(nodes(2), 'k')?.id ?? '';
  const busy = nodes(2).map(({ id }) => node(id, id === own ? affinityCallsMax + 1 : 0));
  expect((await choice.choose(busy, 'k'))?.node.id).not.toBe(own);
  const full = nodes(2).map(({ id }) => node(id, 0, id === own));
  for (let call = 0; call < 20; call += 1) {
    const chosen = await choice.choose(full, 'k');
    expect(chosen?.node.id).not.toBe(own);
    chosen?.over();
  }
  const alone = await choice.choose([node(own, 0, true)], 'k');
  expect(alone?.node.id).toBe(own);
});

test('calls without a beginning spread over the nodes by load', async () => {
  const { choice } = await setUp();
  const all = nodes(4);
  const counts = new Map<string, number>();
  for (let call = 0; call < 40; call += 1) {
    const chosen = await choice.choose(all, null);
    counts.set(chosen?.node.id ?? '', (counts.get(chosen?.node.id ?? '') ?? 0) + 1);
  }
  for (const { id } of all) expect(counts.get(id) ?? 0).toBeGreaterThan(4);
});

test('a node that fails again and again is left alone, also by its own beginnings, and then tried again', async () => {
  const { choice, clock } = await setUp();
  const all = nodes(2);
  const own = nodeOfKey(all, 'k')?.id;
  for (let call = 0; call < 5; call += 1) {
    const chosen = await choice.choose(all, 'k');
    expect(chosen?.node.id).toBe(own);
    chosen?.begun(false, 1);
    chosen?.over();
  }
  expect((await choice.choose(all, 'k'))?.node.id).not.toBe(own);
  clock.advance(10_000);
  expect((await choice.choose(all, 'k'))?.node.id).toBe(own);
});

test('where all have failed just now there is none', async () => {
  const { choice } = await setUp();
  for (let call = 0; call < 5; call += 1) {
    const chosen = await choice.choose(nodes(1), null);
    chosen?.begun(false, 1);
    chosen?.over();
  }
  expect(await choice.choose(nodes(1), null)).toBeNull();
  expect(await choice.choose([], null)).toBeNull();
});

test('a call whose end nobody told does not weigh on its node for ever', async () => {
  const { choice, clock } = await setUp();
  const own = nodeOfKey(nodes(2), 'k')?.id;
  for (let call = 0; call <= affinityCallsMax; call += 1) await choice.choose(nodes(2), 'k');
  expect((await choice.choose(nodes(2), 'k'))?.node.id).not.toBe(own);
  clock.advance(callMsMax + 1);
  expect((await choice.choose(nodes(2), 'k'))?.node.id).toBe(own);
});

test('nodes come and go a thousand times, and every choice is one of those that are there', async () => {
  const { choice } = await setUp();
  for (let round = 0; round < 1_000; round += 1) {
    const there = [node(`round-${round}`), node(`round-${round + 1}`)];
    const chosen = await choice.choose(there, `k${round}`);
    expect(there.map(({ id }) => id)).toContain(chosen?.node.id);
    chosen?.begun(true, 5);
    chosen?.over();
  }
});
