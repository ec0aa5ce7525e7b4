import { expect, test } from 'vitest';
import { leastAgreement } from './agreement.ts';
import type { Contender } from './contender.ts';
import type { Order, Outcome } from './engine.ts';
import { type Entry, measure, median } from './measure.ts';
import type { Row } from './report.ts';

/** A contender whose iteration takes a known time on a clock of its own, and which writes down what it was asked. */
function contender(name: string, perIterationMs: number, perOrderMs: number, clock = { ms: 0 }, log: string[] = []) {
  const order = async ({ iterations }: Order): Promise<Outcome> => {
    log.push(`${name} ${iterations === 0 ? 'empty' : 'block'}`);
    clock.ms += perOrderMs + perIterationMs * iterations;
    return { embedding: [1], memoryBytes: 1 };
  };
  return { name, pid: process.pid, order, stop: async () => undefined } satisfies Contender;
}

const workload = { name: 'none', texts: [], ids: [] };
const pace = { rounds: 4, blockMs: 8, warmUpMs: 10 };

test('what an order costs by itself is not counted to its iterations', async () => {
  const clock = { ms: 0 };
  const entry: Entry = { contender: contender('one', 0.5, 3, clock), workload, form: 'ids' };
  const [cost] = await measure(
    [entry],
    pace,
    () => undefined,
    () => clock.ms,
  );
  expect(cost?.wallMs).toBeCloseTo(0.5, 9);
  expect(cost?.wallMsLeast).toBeCloseTo(0.5, 9);
});

test('contenders take turns, and each round begins with another', async () => {
  const log: string[] = [];
  const clock = { ms: 0 };
  const entries = ['a', 'b'].map((name) => ({
    contender: contender(name, 0.2, 0, clock, log),
    workload,
    form: 'ids' as const,
  }));
  const from: number[] = [];
  await measure(
    entries,
    pace,
    () => from.push(log.length),
    () => clock.ms,
  );
  const rounds = log.slice(from[0]).filter((line) => line.endsWith('block'));
  expect(rounds.map((line) => line[0]).join('')).toBe('abbaabba');
});

test('the median is the middle, or the mean of the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test('engines that computed something else are found out', () => {
  const row = (engine: string, embedding: number[]): Row => ({
    engine,
    host: 'node',
    form: 'ids',
    workload: 'short',
    peakBytes: null,
    cost: { wallMs: 1, wallMsLeast: 1, cpuMs: 1, iterations: 1, memoryBytes: 0, embedding },
  });
  expect(leastAgreement([row('one', [1, 0]), row('other', [0.99, 0.141])])).toBeCloseTo(0.99, 6);
  expect(() => leastAgreement([row('one', [1, 0]), row('other', [0.5, 0.866])])).toThrow('other in node and one');
});
