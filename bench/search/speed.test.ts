import { expect, test } from 'vitest';
import { fastest, scoresOf, typical } from './speed.ts';

test('the slowest fiftieth is left out of a mean', () => {
  const times = [...Array.from({ length: 98 }, () => 2), 1000, 5000];
  expect(typical(times)).toBe(2);
  expect(typical([7])).toBe(7);
});

test('each decision counts with its fastest run', () => {
  expect(
    fastest([
      [1, 90, 3],
      [80, 2, 3],
    ]),
  ).toBe(2);
});

test('scores are the same whenever they are made, and in range', () => {
  const one = { algorithm: 'abmcts-a', arms: 1, nodes: 50, decisions: 10 } as const;
  expect(scoresOf(one)).toEqual(scoresOf(one));
  expect(scoresOf(one)).toHaveLength(60);
  expect(scoresOf(one).every((score) => score >= 0 && score <= 1)).toBe(true);
});
