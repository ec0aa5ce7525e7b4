/** The durable object behind the port `Singletons`, in its real runtime. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { durableSingletons } from '../../functions/platforms/singletons-durable.ts';

const singletons = durableSingletons(env.SINGLETON);

const increment = (state: { count: number } | null) => {
  const count = (state?.count ?? 0) + 1;
  return { state: { count }, result: count };
};

test('a state begins as null and is what was stored last', async () => {
  const seen: unknown[] = [];
  const keep = (next: string) => (state: string | null) => {
    seen.push(state);
    return { state: next, result: next.length };
  };
  expect(await singletons.update('states', keep('one'))).toBe(3);
  expect(await singletons.update('states', keep('three'))).toBe(5);
  expect(seen).toEqual([null, 'one']);
});

test('50 changes at the same time each count once', async () => {
  const results = await Promise.all(Array.from({ length: 50 }, () => singletons.update('busy', increment)));
  expect(results.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
});

test('names are apart', async () => {
  await singletons.update('left', increment);
  expect(await singletons.update('right', increment)).toBe(1);
  expect(await singletons.update('left', increment)).toBe(2);
});

test('a change that throws stores nothing', async () => {
  await singletons.update('careful', increment);
  const fail = () => {
    throw new TypeError('told to fail');
  };
  await expect(singletons.update('careful', fail)).rejects.toThrow('told to fail');
  expect(await singletons.update('careful', increment)).toBe(2);
});
