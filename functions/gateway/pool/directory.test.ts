import { beforeEach, expect, test } from 'vitest';
import { ManualClock, MemoryBackground, MemoryLog } from '../../../tests/support/ports.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { freshMs, PoolDirectory, readsMax, refusedMs, staleMsMax } from './directory.ts';
import type { PoolNode } from './nodes.ts';

const node = (id: string): PoolNode => ({
  id,
  address: `http://127.0.0.1:9/${id}`,
  startedAt: 1,
  models: new Map(),
  calls: 0,
  isFull: false,
});

let clock: ManualClock;
let log: MemoryLog;
let background: MemoryBackground;
let asked: string[];
/** What each address answers; an address that is not here is away. */
let answers: Record<string, PoolNode[]>;

beforeEach(() => {
  clock = new ManualClock();
  log = new MemoryLog();
  background = new MemoryBackground();
  asked = [];
  answers = {};
});

const directoryOf = (...seeds: string[]) =>
  new PoolDirectory(seeds, {
    clock,
    log,
    metrics: createMetrics(),
    list: async (seed) => {
      asked.push(seed);
      const answer = answers[seed];
      if (answer === undefined) throw new Error('away');
      return answer;
    },
  });

const [a, b] = ['http://127.0.0.1:1', 'http://127.0.0.1:2'];
const ids = async (directory: PoolDirectory) => (await directory.nodes(background)).map(({ id }) => id);

test('without an address nobody is asked', async () => {
  expect(await ids(directoryOf())).toEqual([]);
  expect(asked).toEqual([]);
});

test('what was read is used while it is fresh, and then while the next is fetched in the background', async () => {
  const directory = directoryOf(a);
  answers[a] = [node('1')];
  expect(await ids(directory)).toEqual(['1']);
  clock.advance(freshMs - 1);
  expect(await ids(directory)).toEqual(['1']);
  expect(asked).toHaveLength(1);
  answers[a] = [node('1'), node('2')];
  clock.advance(1);
  expect(await Promise.all([ids(directory), ids(directory)])).toEqual([['1'], ['1']]);
  await background.settle();
  expect(asked).toHaveLength(2);
  expect(await ids(directory)).toEqual(['1', '2']);
});

test('an address that fails is skipped, and said so', async () => {
  answers[b] = [node('1')];
  expect(await ids(directoryOf(a, b))).toEqual(['1']);
  expect(asked).toEqual([a, b]);
  expect(log.lines.map(({ fields }) => fields)).toEqual([{ host: '127.0.0.1:1', reason: 'away' }]);
});

test('nodes that are known answer for a directory that is away', async () => {
  const directory = directoryOf(a);
  const known = node('1');
  answers[a] = [known];
  await ids(directory);
  answers = { [known.address]: [node('2')] };
  clock.advance(freshMs);
  await ids(directory);
  await background.settle();
  expect(await ids(directory)).toEqual(['2']);
});

test('where nobody can be asked, what was read is believed for a bounded time', async () => {
  const directory = directoryOf(a);
  answers[a] = [node('1')];
  await ids(directory);
  answers = {};
  clock.advance(staleMsMax - 1);
  expect(await ids(directory)).toEqual(['1']);
  await background.settle();
  clock.advance(1);
  expect(await ids(directory)).toEqual([]);
});

test('a pool that is away is not asked by every call, and is found again', async () => {
  const directory = directoryOf(a);
  expect(await ids(directory)).toEqual([]);
  answers[a] = [node('1')];
  clock.advance(refusedMs - 1);
  expect(await ids(directory)).toEqual([]);
  expect(asked).toHaveLength(1);
  clock.advance(1);
  expect(await ids(directory)).toEqual(['1']);
});

test('one reading asks a bounded number of addresses', async () => {
  const seeds = Array.from({ length: 20 }, (_, index) => `http://127.0.0.1:${index + 1}`);
  await ids(directoryOf(...seeds));
  expect(asked).toHaveLength(readsMax);
});
